"""From a table to scores: no program prints a word of the reports, all of which are marked, and nobody else may read what it writes."""

import os
import stat

import numpy as np
import pytest
from PIL import Image
from programs import SMALL, SMALL_IMAGE, SMALL_MODEL, call

import main_predict
import main_prepare
import main_score
import main_test
import main_train
from tools import check, compare_runs, ground

MARK = "zqx"
REPORTS = ("Zqxa zqxb effusion.", "Zqxc zqxd.", "No zqxe pneumothorax, zqxf zqxg.", "Zqxh cardiomegaly zqxi zqxj.")
BOXES = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height\n"


def write_studies(folder):
    """Films of noise, a table of marked reports, and boxes whose texts are marked too."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, boxes = ["id,image_path,report,patient"], [BOXES.strip()]
    for n in range(32):
        Image.fromarray(rng.integers(0, 255, (80, 80)).astype(np.uint8)).save(folder / f"f{n}.png")
        rows.append(f'S{n},f{n}.png,"{REPORTS[n % len(REPORTS)]}",p{n}')
        boxes.append(f"f{n},Pneumothorax,{MARK} left,files/p10/p1000{n:04}/s5/f{n}.jpg,20,10,30,40,80,80")
    (folder / "studies.csv").write_text("\n".join(rows) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")


def roads(raw, place):
    """The command lines from a table to scores."""
    data = ["--dataset_name", "custom", "--ann_path", place / "data/annotation.json", "--image_dir", place / "data/images",
            "--feature_dir", place / "data/features"]  # fmt: skip
    run, cpu = ["--save_dir", place / "run"], ["--device", "cpu"]
    scorer = [*SMALL_IMAGE, "--scorer_epochs", 1, "--scorer_width", 16, "--scorer_layers", 1]
    predictions = place / "run/predictions.jsonl"
    return [
        (main_prepare, *data, "--raw_dir", raw / "studies.csv", "--resize", 64, *SMALL, *scorer),
        (main_train, *data, *SMALL, *SMALL_MODEL, *run, "--epochs", 2, "--tokenizer", "corpus"),
        (main_test, *data, *SMALL, *run, "--baselines", "--no-meteor", "--plot", 1, "--resamples", 10),
        (main_predict, "--model", place / "run", "--images", raw, "--out", place / "predicted", "--text", *cpu),
        (main_predict, "--model", place / "run", "--export", place / "release", *cpu),
        (main_score, "--predictions", predictions, "--save_dir", place / "scores", "--no-meteor", "--resamples", 10, *cpu),
        (main_test, *data, *SMALL, "--load_pretrained", place / "run/model_best.pth", "--save_dir", place / "again", "--no-viewer",
         "--no-meteor", "--resamples", 10),
        (compare_runs, place / "run", place / "again", "--resamples", 10, *cpu),
        (ground, "--boxes", raw / "boxes.csv", "--image_dir", raw, "--model", place / "run", "--save_dir", place / "grounding",
         "--resamples", 10, *cpu),
        (check, *data),
    ]  # fmt: skip


@pytest.mark.slow
def test_no_report_is_printed_and_nobody_else_may_read_what_is_written(tmp_path, capfd):
    raw, place, before = tmp_path / "raw", tmp_path / "made", os.umask(0)
    write_studies(raw)
    place.mkdir()
    try:
        for program, *words in roads(raw, place):
            os.umask(0)
            if program is check:
                with pytest.raises(SystemExit, match="0"):
                    call(program, *words)
            else:
                call(program, *words)
            printed = "".join(capfd.readouterr()).lower()
            assert len(printed) > 50
            assert MARK not in printed, program.__name__
    finally:
        os.umask(before)
    written = [path for path in place.rglob("*") if not path.is_symlink()]
    assert MARK in (place / "predicted/predictions.jsonl").read_text(), "the model writes marked words"
    assert len(written) > 60
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
