"""Ids that agree in some of their parts: by chance, as films that two folders count, or because they name one study."""

import csv
import hashlib
import random

import pytest

from modules.evaluation.reading.matching import rows_of
from modules.evaluation.reading.predictions import match
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError


def code(number):
    return hashlib.md5(str(number).encode()).hexdigest()


def pair(folder, ours, theirs, studies):
    """Whether every reference finds its own report ("paired"), none finds one ("none"), or some find others."""
    order = random.Random(0).sample(range(studies), studies)
    files = []
    for name, ids, rows in (("p.csv", ours, order), ("r.csv", theirs, range(studies))):
        with (folder / name).open("w", newline="") as file:
            texts = [(ids(row + 1), f"The heart is enlarged. Nodule of {row + 3} mm.") for row in rows]
            csv.writer(file).writerows([("id", "report"), *texts])
        files.append(folder / name)
    rows = rows_of("p", read_report_file(files[0]), read_report_file(files[1], "reference"), [])
    expected = [order.index(row) for row in range(studies)]
    return "paired" if rows == expected else "none" if set(rows) == {None} else f"others: {rows}"


@pytest.mark.parametrize("studies", [1, 3, 60])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda i: f"val/{i}.png", lambda i: f"test/{i}.png"),
        (lambda i: f"val/images/{i:06d}.png", lambda i: f"test/images/{i:06d}.png"),
        (lambda i: f"x/val/images/cxr/{i}.png", lambda i: f"x/test/images/cxr/{i}.png"),
        (lambda i: f"val/{i}/front.png", lambda i: f"test/{i}/front.png"),
        (lambda i: f"val/{i}/view1_frontal.png", lambda i: f"test/{i}/view1_frontal.png"),
        (lambda i: f"val/case{i}.png", lambda i: f"test/case{i}.png"),
        (lambda i: f"val_img_{i}", lambda i: f"test_img_{i}"),
        (lambda i: f"val/IMG-{i:04d}.png", lambda i: f"test/IMG-{i:04d}.png"),
        (lambda i: f"2018/images/{i}.png", lambda i: f"2019/images/{i}.png"),
        (lambda i: f"val/{2001 + i % 20}/{i}.png", lambda i: f"test/{2001 + i % 20}/{i}.png"),
        (lambda i: f"val/201901{i % 29 + 1:02d}_{i}.png", lambda i: f"test/201901{i % 29 + 1:02d}_{i}.png"),
        (lambda i: f"val/site{'ABC'[i % 3]}/{i}.png", lambda i: f"test/site{'ABC'[i % 3]}/{i}.png"),
        (lambda i: f"val/fold{i % 5}/{i}.png", lambda i: f"test/fold{i % 5}/{i}.png"),
        (lambda i: f"a/patient{1 + i // 2}/study{1 + i % 2}/x.png", lambda i: f"b/patient{1 + i // 2}/study{1 + i % 2}/x.png"),
        (lambda i: f"A:{i}", lambda i: f"B:{i}"),
    ],
)  # fmt: skip
def test_what_two_folders_both_have_names_no_study(tmp_path, ours, theirs, studies):
    assert pair(tmp_path, ours, theirs, studies) == "none"
    assert pair(tmp_path, theirs, ours, studies) == "none"


def test_one_number_in_two_folders_is_one_number(tmp_path):
    assert pair(tmp_path, lambda i: f"val/{i}_{i}.png", lambda i: f"test/{i}_{i}.png", 300) == "none"


@pytest.mark.parametrize("studies", [1, 3, 60])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda i: f"{i}.png", lambda i: f"data/films/{i}.png"),
        (lambda i: f"images/{i}.png", lambda i: f"val/images/{i}.png"),
        (lambda i: f"{i}", lambda i: f"val/{i}/front.png"),
        (lambda i: f"/films/{i}.png", lambda i: f"C:\\films\\{i}.png"),
        (lambda i: f"./test/{i}.png", lambda i: f"data/test/{i}.png"),
        (lambda i: f"../data/test/{i}.png", lambda i: f"test/{i}.png"),
        (lambda i: f"patient{i}_study{i % 2}", lambda i: f"d/patient{i}/study{i % 2}/view.jpg"),
        (lambda i: f"patient{i}-study1", lambda i: f"patient{i}_study1"),
        (lambda i: f"/home/a/valid/patient{64540 + i // 2}/study{1 + i % 2}/v1.jpg", lambda i: f"small/valid/patient{64540 + i // 2}/study{1 + i % 2}/v1.jpg"),
        (lambda i: f"/a/files/p10/p10000032/s{50414267 + i}/{code(i)}.jpg", lambda i: f"/b/p10/p10000032/s{50414267 + i}/{code(i)}.jpg"),
        (lambda i: f"/a/iu/images/CXR{i * 11 + 1000}_IM-{i * 3 + 500:04d}/0.png", lambda i: f"data/images/CXR{i * 11 + 1000}_IM-{i * 3 + 500:04d}/0.png"),
        (lambda i: f"a/{i}_IM-{i * 41:04d}-1001.dcm.png", lambda i: f"b/{i}_IM-{i * 41:04d}-1001.dcm.png"),
        (lambda i: f"a/b/{i * 331 + 10000:08d}_{i % 7:03d}.png", lambda i: f"images_001/images/{i * 331 + 10000:08d}_{i % 7:03d}.png"),
        (lambda i: f"a/ACC{i * 17 + 300000}.png", lambda i: f"b/ACC{i * 17 + 300000}.png"),
        (lambda i: f"a/1.2.840.{i * 7}.{i}/x.dcm", lambda i: f"b/1.2.840.{i * 7}.{i}/y.dcm"),
        (lambda i: f"a/{code(i)[:8]}.png", lambda i: f"b/{code(i)[:8]}.png"),
    ],
)  # fmt: skip
def test_ids_of_one_study_are_paired_whatever_stands_around_them(tmp_path, ours, theirs, studies):
    assert pair(tmp_path, ours, theirs, studies) == "paired"
    assert pair(tmp_path, theirs, ours, studies) == "paired"


def test_strangers_are_told_what_they_share(tmp_path):
    pair(tmp_path, lambda i: f"val/{i}.png", lambda i: f"test/{i}.png", 1)
    system, truth = read_report_file(tmp_path / "p.csv"), read_report_file(tmp_path / "r.csv", "reference")
    with pytest.raises(UserError, match="that 1 is in both may be chance: write their folders alike"):
        match({"p": system}, truth, "none", 0)
