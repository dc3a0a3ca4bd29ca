"""modules/preparation/raw/annotation.py and the scripts: raw files in, an annotation that the programs read out."""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from programs import call
from test_raw_iu import write_archive, write_images
from test_raw_mimic import TREES, write_tree

import main_prepare
from modules.corpus.annotations import check_images, read_annotation
from modules.feature_folder import remember_training
from modules.records import read_json, write_json

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("physionet"))


def places(folder, dataset):
    return [
        "--dataset_name", dataset, "--ann_path", folder / "annotation.json", "--image_dir", folder / "images",
        "--feature_dir", folder / "features", "--device", "cpu",
    ]  # fmt: skip


def build(folder, dataset, raw_dir, *flags):
    call(
        main_prepare, *places(folder, dataset), "--raw_dir", raw_dir, "--raw_step", "images", "--num_workers", 1, *flags
    )
    return read_annotation(folder / "annotation.json")


def refused(capsys, words, folder, dataset, *flags):
    with pytest.raises(SystemExit) as end:
        call(main_prepare, *places(folder, dataset), "--raw_step", "images", *flags)
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def contents(folder):
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    del files["raw.json"]  # holds the command's folders
    return files


def test_mimic_with_copies(tree, tmp_path, capsys):
    annotation = build(tmp_path, "mimic_cxr", tree, "--resize", 16)
    studies = [study for split in annotation.values() for study in split]
    assert [len(split) > 15 for split in annotation.values()] == [True] * 3
    check_images(studies, tmp_path / "images")
    with Image.open(tmp_path / "images" / studies[0].image_path[0]) as image:
        assert image.size == (20, 16)
    record = read_json(tmp_path / "raw.json")
    with open(tmp_path / "dropped.csv", newline="") as file:
        dropped = list(csv.DictReader(file))
    assert sum(record["items"].values()) == len(studies)
    assert sum(record["dropped"].values()) == len(dropped) > 0
    assert dropped[0]["reason"] == "no findings in the report"
    printed = capsys.readouterr().out
    assert f"left out: {len(dropped)} (no findings in the report)" in printed
    assert "reading the raw files: " in printed
    assert printed.splitlines()[-1].startswith(f"warning: {len(dropped)} of ")
    assert printed.count("are left out") == 1
    assert printed.rstrip().endswith(f"see {tmp_path / 'dropped.csv'}")


def test_mimic_without_copies_links_the_raw_images(tree, tmp_path):
    annotation = build(tmp_path, "mimic_cxr", tree, "--items", "image")
    assert (tmp_path / "images").resolve() == (tree / TREES[0] / "files").resolve()
    check_images(annotation["train"], tmp_path / "images")
    assert build(tmp_path, "mimic_cxr", tree, "--items", "image") == annotation


def test_unreadable_images_leave_their_study(tree, tmp_path, capsys):
    raw = shutil.copytree(tree, tmp_path / "raw")
    folder = raw / TREES[0] / "files/p10/p10000000/s50000000"
    (folder / "0000-3.jpg").write_bytes(b"\xff\xd8 cut")
    annotation = build(tmp_path, "mimic_cxr", raw, "--resize", 16)
    assert annotation["train"][0].image_path[0].endswith("0000-2.jpg")
    assert "1 images cannot be decoded, first: the image" in capsys.readouterr().out
    for film in folder.iterdir():
        film.write_bytes(b"\xff\xd8 cut")
    (tmp_path / "again").mkdir()
    build(tmp_path / "again", "mimic_cxr", raw, "--resize", 16)
    with open(tmp_path / "again" / "dropped.csv", newline="") as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert re.fullmatch(r"no image that can be decoded: the image .*/s50000000/0000-\d\.jpg .*", reasons["s50000000"])
    counted = read_json(tmp_path / "again" / "raw.json")["dropped"]
    assert counted["no image that can be decoded"] == 1


def test_iu_annotation_without_images(tmp_path):
    call(
        main_prepare, *places(tmp_path, "iu_xray"), "--raw_dir", write_archive(tmp_path / "raw"), "--raw_step",
        "annotation",
    )  # fmt: skip
    studies = [study for split in read_annotation(tmp_path / "annotation.json").values() for study in split]
    assert {study.patient for study in studies} == {"CXR1", "CXR2", "CXR11"}
    assert not (tmp_path / "images").exists()


def test_iu_copies(tmp_path):
    write_images(write_archive(tmp_path / "raw"), "open-i")
    annotation = build(tmp_path, "iu_xray", tmp_path / "raw", "--resize", 4, "--copy_format", "png")
    studies = [study for split in annotation.values() for study in split]
    check_images(studies, tmp_path / "images")
    assert all(path.startswith("NLMCXR_png/") for study in studies for path in study.image_path)


def test_custom_files_go_all_the_way_to_an_annotation(tmp_path):
    raw = tmp_path / "mine"
    raw.mkdir()
    Image.new("L", (40, 40), 9).save(raw / "a.png")
    rows = [{"id": f"s{i}", "image_path": ["a.png"], "report": f"Report {i}.", "patient": i} for i in range(10)]
    (raw / "studies.jsonl").write_text("\n".join(map(json.dumps, rows)))
    annotation = build(tmp_path, "custom", raw / "studies.jsonl")
    assert {name: len(studies) for name, studies in annotation.items()} == {"train": 7, "val": 1, "test": 2}
    assert {study.patient for study in annotation["train"]} <= {str(i) for i in range(10)}


@pytest.mark.parametrize("name", ["dropped.csv", "raw.json"])
def test_a_file_of_ones_own_beside_the_annotation_is_not_replaced(name, tree, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    refused(capsys, f"{name} is there already and was not made", tmp_path, "mimic_cxr", "--raw_dir", tree)
    assert (tmp_path / name).read_text() == "mine"


def test_what_somebody_else_made_is_not_replaced(tree, tmp_path, capsys):
    (tmp_path / "annotation.json").write_text('{"train": []}')
    refused(capsys, "was not made from raw files: move it away", tmp_path, "mimic_cxr", "--raw_dir", tree)
    assert (tmp_path / "annotation.json").read_text() == '{"train": []}'
    (tmp_path / "annotation.json").unlink()
    (tmp_path / "images").mkdir()
    (tmp_path / "images/mine.png").touch()
    refused(capsys, "holds files already", tmp_path, "mimic_cxr", "--raw_dir", tree)


def own_table(folder, reports):
    """A table of one's own studies beside their images; its path."""
    folder.mkdir()
    for study in reports:
        Image.new("L", (30, 24), 9).save(folder / f"{study}.png")
    (folder / "t.csv").write_text("".join(["image_path,report\n", *(f"{s}.png,{r}\n" for s, r in reports.items())]))
    return folder / "t.csv"


@pytest.mark.parametrize(
    ("reports", "lost"),
    [
        ({"d": "Clear.", "e": "Small effusion.", "f": "Cardiomegaly."}, 3),
        ({"a": "Clear.", "b": "Large effusion.", "c": "Cardiomegaly."}, 1),
    ],
    ids=["other studies", "another report"],
)
def test_another_table_replaces_an_annotation_only_if_it_is_told_to(tmp_path, capsys, reports, lost):
    one = own_table(tmp_path / "one", {"a": "Clear.", "b": "Small effusion.", "c": "Cardiomegaly."})
    other = own_table(tmp_path / "other", reports)
    data = tmp_path / "data"
    build(data, "custom", one)
    before = contents(data)
    refused(capsys, f"{lost} of its 3 items are not in {other}", data, "custom", "--raw_dir", other)
    assert contents(data) == before
    annotation = build(data, "custom", other, "--overwrite")
    assert {study.id: study.report for split in annotation.values() for study in split} == reports


def test_the_same_preparation_may_be_repeated_corrected_moved_and_grow(tmp_path, monkeypatch):
    reports = {"a": "Clear.", "b": "Small effusion.", "c": "Cardiomegaly."}
    one, data = own_table(tmp_path / "one", reports), tmp_path / "data"
    build(data, "custom", one)
    before = contents(data)
    build(data, "custom", one)
    assert contents(data) == before
    one.write_text(one.read_text().replace("Small", "Large"))  # somebody corrects a report
    monkeypatch.chdir(tmp_path)
    build(data, "custom", Path("one/t.csv"))
    moved = own_table(tmp_path / "moved", {**reports, "b": "Large effusion.", "d": "Clear lungs."})
    annotation = build(data, "custom", moved)
    assert {study.id for split in annotation.values() for study in split} == {*"abcd"}


def test_a_table_that_has_changed_does_not_replace_what_a_model_was_trained_on(tmp_path, capsys):
    """The features of the first model were made anew, and it could not be used any more."""
    reports = {"a": "Clear.", "b": "Small effusion.", "c": "Cardiomegaly."}
    table, data = own_table(tmp_path / "one", reports), tmp_path / "data"
    build(data, "custom", table)
    (data / "features").mkdir()
    (data / "features/manifest.json").write_text("theirs")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model_best.pth").touch()
    remember_training(data / "features", tmp_path / "run")
    before, first = contents(data), table.read_text()
    build(data, "custom", table)  # unchanged
    grown = first + "d.png,Clear lungs.\n"
    shutil.copy(tmp_path / "one/a.png", tmp_path / "one/d.png")
    for content, found in (
        (first.replace("Small", "Large"), ", or is read otherwise by this version (1 changed)"),
        (grown, " 1 new)"),
    ):
        table.write_text(content)
        refused(capsys, found, data, "custom", "--raw_dir", table)
    refused(capsys, "; main_train.py --resume goes on with what is there\n", data, "custom", "--raw_dir", table)
    table.write_text(first)
    for words in (
        f"t.csv read with --seed 5 instead of 456789 gives something else than {data / 'annotation.json'} (",
        ", and with --seed 5 --save_dir DIR it trains another model on the same split\n",
    ):
        refused(capsys, words, data, "custom", "--raw_dir", table, "--seed", 5)
    turned = dict(zip(("val", "test", "train"), read_json(data / "annotation.json").values(), strict=True))
    write_json(tmp_path / "of{two}.json", turned)  # a name with braces is a name
    refused(
        capsys,
        "of{two}.json instead of None gives something else than",
        data,
        "custom",
        "--raw_dir",
        table,
        "--split_file",
        tmp_path / "of{two}.json",
    )
    table.write_text(grown)
    own = f"--ann_path {data}_2/annotation.json --image_dir {data}_2/images --feature_dir {data}_2/features"
    refused(capsys, f"run was trained on its features, which would be replaced: give it places of its own, {own} (and train into another --save_dir), or",
            data, "custom", "--raw_dir", table)  # fmt: skip
    assert contents(data) == before
    build(data, "custom", table, "--overwrite")
    assert (data / "annotation.1.json").read_bytes() == before["annotation.json"]
    assert (data / "features.1/manifest.json").read_text() == "theirs"
    assert not any((data / "features").iterdir())
    build(tmp_path / "data_2", "custom", table)


def test_an_annotation_that_somebody_corrected_is_not_made_again(tmp_path, capsys):
    table = own_table(tmp_path / "one", {"a": "Clear.", "b": "Effusion.", "c": "Cardiomegaly."})
    data = tmp_path / "data"
    build(data, "custom", table)
    content = read_json(data / "annotation.json")
    corrected = json.dumps({split: items for split, items in content.items() if split != "test"})
    (data / "annotation.json").write_text(corrected)
    refused(capsys, "has been changed since it was made from", data, "custom", "--raw_dir", table)
    assert (data / "annotation.json").read_text() == corrected
    for kept in ("annotation.1.json", "annotation.2.json"):
        build(data, "custom", table, "--overwrite")
        assert f"moved {data / 'annotation.json'} as it was to {data / kept}" in capsys.readouterr().out
        assert (data / kept).read_text() == corrected
        assert read_json(data / "annotation.json") == content
        build(data, "custom", table, "--overwrite")
        assert "moved" not in capsys.readouterr().out
        (data / "annotation.json").write_text(corrected)


def test_bad_input_is_told(tmp_path, capsys):
    refused(capsys, "does not exist", tmp_path, "mimic_cxr", "--raw_dir", tmp_path / "nowhere")
    refused(capsys, "4 files or folders are missing", tmp_path, "mimic_cxr", "--raw_dir", tmp_path)
    refused(capsys, "--raw_dir goes with", tmp_path, "synth_cxr", "--raw_dir", tmp_path)
    (tmp_path / "annotation.json").unlink(missing_ok=True)
    (tmp_path / "a.csv").write_text("image_path,report\nx.dcm,Clear.\n")
    (tmp_path / "x.dcm").touch()
    refused(capsys, "give --resize 256", tmp_path, "custom", "--raw_dir", tmp_path / "a.csv")


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_same_files(tree, forks, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    build(folders[0], "mimic_cxr", tree, "--resize", 16)
    words = [
        *places(folders[1], "mimic_cxr"),
        "--raw_dir",
        tree,
        "--raw_step",
        "images",
        "--resize",
        16,
        "--num_workers",
        1,
    ]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "main_prepare.py", *words]
    environment = {**os.environ, "PYTHON_EXEC": str(forks.python)}  # for the processes that torchrun starts
    done = subprocess.run(
        [forks.python, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert contents(folders[0]) == contents(folders[1])


@pytest.mark.parametrize("script", ["prepare_mimic_cxr.sh", "prepare_iu_xray.sh"])
def test_scripts_ask_for_the_raw_folder(script):
    done = subprocess.run(["bash", str(ROOT / script)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "RAW_DIR" in done.stderr
