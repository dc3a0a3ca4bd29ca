"""The roads through the shell scripts, from raw or published files to a table, each in a fresh checkout with its default folders.

raw MIMIC-CXR -> train -> test, every program a start of the interpreter as in a user's shell; IU X-Ray zero-shot; IU X-Ray's own
training; published files -> train -> test; one's own table. ``fork_server.py`` starts the programs of all roads but the first.
"""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_raw_iu import xml
from test_raw_mimic import write_tree

from modules.corpus.annotations import SPLITS, read_annotation
from modules.corpus.store import FeatureStore
from modules.records import read_json, read_jsonl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LENT = [
    "--batch_size",
    32,
    "--clip_k",
    5,
    "--num_workers",
    0,
    "--device",
    "cpu",
]  # with another data set's scorer and bank
SCORER = [
    *LENT, "--visual_extractor", "resnet10n", "--scorer_epochs", 6, "--scorer_lr", 3e-3, "--scorer_patience", 0, "--scorer_width", 16, "--scorer_layers", 1,
    "--scorer_shares", 1, "--text_width", 16, "--image_size", 64,
]  # fmt: skip
TRAINING = [
    "--visual_extractor", "resnet10n", "--resnet_weights", "none", "--tokenizer", "corpus", "--batch_size", 16, "--epochs", 1,
    "--image_size", 64, "--d_model", 32, "--h_dim", 16, "--memory_feedforward", 32, "--decoder_layers", 1, "--hidden_size", 32,
    "--intermediate_size", 64, "--decoder_heads", 4, "--threshold", 1, "--num_workers", 0, "--device", "cpu",
]  # fmt: skip
WRITING = ["--gen_min_len", 25, "--gen_max_len", 12, "--beam_size", 2]
TESTING = [
    *WRITING,
    "--no-meteor",
    "--resamples",
    20,
    "--viewer_studies",
    3,
    "--batch_size",
    16,
    "--num_workers",
    0,
    "--device",
    "cpu",
]
FINDINGS = [
    "The heart is enlarged. No effusion.", "Heart size is normal. Lungs are clear.", "Small left pleural effusion.",
    "Mild pulmonary edema. Cardiomegaly.", "There is a right pneumothorax.", "No focal consolidation, pneumothorax or effusion.",
]  # fmt: skip


class Checkout:
    """A folder that holds what git holds, by links; data, checkpoints and results are its own.

    ``interpreter`` is the ``bin/python`` of an environment, for its programs.
    """

    def __init__(self, folder, interpreter=Path(sys.executable)):
        self.folder, self.interpreter = folder, interpreter
        for path in ROOT.iterdir():
            if path.suffix in (".py", ".sh", ".txt", ".toml") or path.name in (
                "models",
                "modules",
                "tools",
                "requirements",
            ):
                (folder / path.name).symlink_to(path)

    def bash(self, script, *flags, status=0, timeout=600):
        """Run a script as a user would; returns what it printed."""
        place = str(self.interpreter.parents[1])
        environment = {**os.environ, "VIRTUAL_ENV": place, "CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1"}
        command = ["bash", self.folder / script, *flags]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=timeout, env=environment, cwd=self.folder
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def python(self, program, *flags):
        command = [self.interpreter, self.folder / program, *flags]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def __truediv__(self, place):
        return self.folder / place


def film(rng, kind):
    """Noise with a bright field where the finding of this kind is, in two of three films: more the doctor would not believe."""
    pixels = rng.integers(0, 100, size=(60, 50), dtype=np.uint8)
    top, left = divmod(kind if rng.random() < 0.67 else int(rng.integers(len(FINDINGS))), 2)
    pixels[20 * top : 20 * top + 20, 25 * left : 25 * left + 25] += 150
    return Image.fromarray(pixels)


def write_open_i(root, reports=40):
    """Open-i's archive and PNG folder, with invented reports of a few kinds and films that show which."""
    (root / "NLMCXR_png").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with tarfile.open(root / "NLMCXR_reports.tgz", "w:gz") as archive:
        for number in range(1, reports + 1):
            images = [f"CXR{number}_IM-{number:04d}-{view}" for view in ("1001", "2001")[: 1 + number % 2]]
            content = xml(number, images, FINDINGS[number % len(FINDINGS)], "Normal.").encode()
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            for image in images:
                film(rng, number % len(FINDINGS)).save(root / "NLMCXR_png" / f"{image}.png")
    return root


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """After the first road: MIMIC-like raw files are prepared and trained on."""
    checkout = Checkout(tmp_path_factory.mktemp("revtaf"))
    raw = write_tree(tmp_path_factory.mktemp("physionet"))
    rng = np.random.default_rng(1)
    for kind, path in enumerate(sorted(raw.rglob("s*.txt"))):
        path.write_text(f"FINAL REPORT\n\nFINDINGS:\n{FINDINGS[kind % len(FINDINGS)]}\n")
        for image in sorted(raw.rglob(f"{path.stem}/*.jpg")):
            film(rng, kind % len(FINDINGS)).save(image)
    checkout.said = [
        checkout.bash("prepare_mimic_cxr.sh", raw, *SCORER),
        checkout.bash("train_mimic_cxr.sh", *TRAINING, *WRITING),
    ]
    return checkout


@pytest.fixture(scope="module")
def checkout(first, forks):
    """The same folder for the other roads."""
    checkout = copy(first)
    checkout.interpreter = forks.python
    return checkout


@pytest.fixture(scope="module")
def open_i(tmp_path_factory):
    return write_open_i(tmp_path_factory.mktemp("open-i"))


def check_results(folder, split, studies):
    """Every study of the split has a report and the table has a row for us."""
    metrics = read_json(folder / "metrics.json")
    assert metrics["studies"] == len(read_jsonl(folder / "predictions.jsonl")) == studies
    assert 0 <= metrics["scores"][f"{split}_BLEU_4"] <= 1
    assert re.search(r"^\| REVTAF +\|", (folder / "table.md").read_text(), re.MULTILINE)
    return metrics


def test_raw_mimic_is_prepared_trained_and_tested(first):
    prepared, trained = first.said
    assert "entity scorer: starts from random weights" in prepared
    assert re.search(r"^0 kinds of errors", prepared, re.MULTILINE)
    assert "labels: rule" in trained
    said = first.bash("test_mimic_cxr.sh", *TESTING)
    test = read_annotation(first / "data/mimic_cxr/annotation.json")["test"]
    check_results(first / "results/mimic_cxr", "test", len(test))
    assert "labels: rule" in said
    assert "cannot be told after 6 steps of training" in said  # no word of what random references cost
    assert "column" not in trained  # of a table that MIMIC-CXR does not have


@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_to_the_script_saves_the_training(checkout, processes):
    """The script ended alone, and the training went on without it."""
    run = checkout / f"results/stopped_{processes}"
    flags = [*TRAINING, *WRITING, "--epochs", 500, "--val_every", 500, "--save_dir", run, "--n_gpu", processes]
    place = {
        **os.environ,
        "VIRTUAL_ENV": str(Path(sys.executable).parents[1]),
        "CUDA_VISIBLE_DEVICES": "",
    }  # which gets the signal itself
    command = list(map(str, ["bash", checkout / "train_mimic_cxr.sh", *flags]))
    script = subprocess.Popen(command, env=place, cwd=checkout.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not (run / "current_checkpoint.pth").is_file():
        assert script.poll() is None, script.stdout.read().decode()
        time.sleep(0.05)
    script.send_signal(signal.SIGTERM)
    said, _ = script.communicate(timeout=300)  # the output is open as long as any process of the training lives
    assert script.returncode == 128 + signal.SIGTERM, said.decode()
    assert "main_train.py: interrupted: add --resume to continue" in said.decode()


def test_iu_xray_zero_shot_is_one_command_and_a_test(checkout, open_i):
    prepared = checkout.bash("prepare_iu_xray.sh", open_i, "--zero_shot", *LENT)
    assert "entity scorer:" not in prepared.replace("entity scorer: mean AUROC", "")  # none is trained
    assert re.search(r"^0 kinds of errors", prepared, re.MULTILINE)
    assert "split drawn" not in prepared
    assert "warning  2 splits are empty" not in prepared  # they are meant to be
    refused = checkout.bash("prepare_iu_xray.sh", open_i, "--zero_shot", "--image_size", 64, *LENT, status=2)
    assert "(prepare_iu_xray.sh --zero_shot names it): leave it out" in refused
    folder = checkout / "data/iu_xray"
    assert {path.name for path in folder.iterdir()} == {
        "annotation_zero_shot.json", "raw_zero_shot.json", "dropped_zero_shot.csv", "images", "features_zero_shot",
    }  # fmt: skip
    store = FeatureStore.open(folder / "features_zero_shot")
    assert "report_features" not in store
    assert not (folder / "features_zero_shot" / "entity_scorer.pth").exists()
    checkout.bash("test_iu_xray.sh", *TESTING)
    metrics = check_results(checkout / "results/iu_xray_zero_shot", "all", 60)
    bank = {row["id"] for row in FeatureStore.open(checkout / "data/mimic_cxr/features").bank_reports}
    rows = read_jsonl(checkout / "results/iu_xray_zero_shot/predictions.jsonl")
    assert {row["retrieved"] for row in rows} <= bank
    assert metrics["protocol"]["split"] == "all"


def test_iu_xray_trains_on_itself_beside_the_zero_shot_features(checkout, open_i):
    checkout.bash("prepare_iu_xray.sh", open_i, *SCORER)
    assert (checkout / "data/iu_xray/features/entity_scorer.pth").is_file()
    checkout.bash("train_iu_xray.sh", *TRAINING, *WRITING, "--enhancer", "scores")
    checkout.bash("test_iu_xray.sh", "--own", *TESTING)
    annotation = read_annotation(checkout / "data/iu_xray/annotation.json")
    assert [len(annotation[split]) for split in SPLITS] == [28, 4, 8]
    check_results(checkout / "results/iu_xray", "test", 8)
    # the model of the one is refused the features of the other, by its default folders
    wrong = ["--load_pretrained", "results/iu_xray/model_best.pth", "--save_dir", "results/wrong", *TESTING]
    message = checkout.bash("test_iu_xray.sh", *wrong, status=2)
    assert "results/iu_xray/model_best.pth was trained on scores of scorer" in message
    assert not (checkout / "results/wrong").exists()
    assert "Traceback" not in message


def test_published_files_are_converted_trained_and_tested(checkout, forks, tmp_path):
    source = checkout / "data/mimic_cxr"
    other = Checkout(tmp_path, forks.python)
    folder = other / "data/mimic_cxr"
    checkout.python("tools/write_published.py", "--dataset_name", "mimic_cxr", "--out", folder)
    shutil.copytree(source / "images", folder / "images", symlinks=True)
    missing = other.bash("train_mimic_cxr.sh", *TRAINING, *WRITING, status=2)
    command = re.search(r"convert them: (python main_prepare\.py .*)", missing)[1]
    assert command.endswith("--published data/mimic_cxr")  # as docs/data.md writes it
    other.python("main_prepare.py", *command.split()[2:], "--device", "cpu", "--num_workers", 0)
    one, two = FeatureStore.open(source / "features"), FeatureStore.open(folder / "features")
    for name in ("labels", "region_scores", "region_text", "report_features", "sentence_features", "sentence_offsets"):
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    for name in ("memory_indices", "label_neighbours"):
        np.testing.assert_array_equal(one[name], two[name][:, : one[name].shape[1]], err_msg=name)
    assert one.base_rates == two.base_rates
    other.bash("train_mimic_cxr.sh", *TRAINING, *WRITING)
    other.bash("test_mimic_cxr.sh", *TESTING)
    check_results(
        other / "results/mimic_cxr",
        "test",
        len(json.loads((folder / "mimic_annotation_promptmrg.json").read_text())["test"]),
    )


def test_ones_own_table_is_prepared_trained_tested_and_predicted_with(forks, tmp_path):
    """Forty films beside a table with semicolons, a mark and its own headings; the second start goes on and trains nothing."""
    place = tmp_path / "own"
    place.mkdir()
    rng = np.random.default_rng(2)
    rows = ["StudyID;Filename;Text;Patient ID"]
    for n in range(40):
        film(rng, n % len(FINDINGS)).save(place / f"f{n}.png")
        rows.append(f"S{n};f{n}.png;{FINDINGS[n % len(FINDINGS)] if n else 'nan'};p{n // 2}")
    (place / "studies.csv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")
    checkout = Checkout(tmp_path, forks.python)
    small = [
        "--image_size",
        64,
        "--epochs",
        2,
        "--scorer_epochs",
        2,
        "--d_model",
        32,
        "--hidden_size",
        64,
        "--device",
        "cpu",
    ]
    refused = checkout.bash("train_custom.sh", place / "studies.csv", *small, "--nhead", 12, status=2)
    assert "--nhead 12 must divide the width of the report features, 128" in refused
    refused = checkout.bash("train_custom.sh", place / "studies.csv", *small, "--tokenizer", "bert", status=2)
    assert "main_train.py: error: 1 file or folder is missing" in refused
    assert "vocabulary of bert-base-uncased" in refused
    assert not (tmp_path / "data").exists()
    said = checkout.bash("train_custom.sh", place / "studies.csv", *small)
    assert "--decoder_heads 4" in said
    assert "39 items: train" in said
    assert "left out: 1 (no report)" in said
    assert "set by the size of the data set (yours win)" in said
    annotation = read_annotation(tmp_path / "data/custom/annotation.json")
    assert sum(map(len, annotation.values())) == 39
    assert "steps are few, reports may be salads of words: give --epochs" in said
    epochs = (tmp_path / "results/custom/metrics.csv").read_text().splitlines()
    scored = epochs[0].split(",").index("val_BLEU_4")
    assert [bool(row.split(",")[scored]) for row in epochs[1:]] == [False, True], (
        "so few studies are validated once, at the end"
    )
    assert "all 2 epochs are trained" in checkout.bash("train_custom.sh", place / "studies.csv", *small)
    other = tmp_path / "other"
    shutil.copytree(place, other)
    (other / "studies.csv").write_text((place / "studies.csv").read_text().replace("Small left", "Large right"))
    refused = checkout.bash("train_custom.sh", other / "studies.csv", *small, status=2)
    assert f"are not in {other}" in refused
    shutil.rmtree(tmp_path / "data/custom/images")  # are those of the first table
    anew = checkout.bash("train_custom.sh", other / "studies.csv", *small, "--overwrite")
    assert "moved what results/custom held to results/custom.1" in anew
    assert "resuming" not in anew
    annotation = read_annotation(tmp_path / "data/custom/annotation.json")
    assert any("Large right" in study.report for study in annotation["train"])
    checkout.bash("test_custom.sh", *TESTING[len(WRITING) :])
    check_results(tmp_path / "results/custom", "test", len(annotation["test"]))
    assert (tmp_path / "results/custom/index.html").is_file()
    found = checkout.python(
        "main_predict.py", "--model", "results/custom", "--images", place / "f1.png", "--out", "out"
    )
    assert "1 report is in" in found
