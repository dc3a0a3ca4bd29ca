"""The prepare scripts as one command each: raw files in, a data set that the doctor passes out."""

import os
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from test_raw_iu import golden
from test_raw_mimic import NAMES, TREES, VIEWS, expected, numbers, write_tree

from modules.corpus.annotations import SPLITS, read_annotation
from modules.corpus.store import FeatureStore, verify
from modules.labelling.labelers import RuleLabeler
from modules.labels import CONDITIONS, ENTITIES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
WIDTH, MEMORY = 16, 5
SMALL = [
    "--visual_extractor", "resnet10n", "--batch_size", 32, "--scorer_epochs", 1, "--scorer_width", WIDTH,
    "--scorer_layers", 1, "--scorer_shares", 1, "--text_width", WIDTH, "--clip_k", MEMORY, "--num_workers", 0,
    "--device", "cpu", "--precision", "fp32",
]  # fmt: skip


class Prepared(NamedTuple):
    """Where a script wrote, and what it printed."""

    folder: Path
    printed: str


def prepare(forks, script, raw_dir, folder, *flags):
    """Run a script as a user would; ``fork_server.py`` starts its programs."""
    places = [
        "--ann_path", folder / "annotation.json", "--image_dir", folder / "images", "--feature_dir", folder / "features",
        "--chexbert_path", "none",
    ]  # fmt: skip
    command = ["bash", ROOT / script, raw_dir.name, *places, *SMALL, *flags]  # from where the raw files are
    environment = {**os.environ, "VIRTUAL_ENV": str(forks.folder), "CUDA_VISIBLE_DEVICES": ""}
    where = {"cwd": raw_dir.parent, "env": environment}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    return Prepared(folder, done.stdout)


def write_noise(path, seed, size):
    """A small file with no two alike."""
    pixels = np.random.default_rng(seed).integers(256, size=(8, 8), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(path)


def features_of(folder):
    """The opened features, ids by split and the memory rows of every study."""
    ids = {
        split: [study.id for study in studies] for split, studies in read_annotation(folder / "annotation.json").items()
    }
    store = FeatureStore.open(folder / "features", folder / "annotation.json")
    memory = {split: store["memory_indices"][store.rows("studies", ids[split])] for split in SPLITS}
    return store, ids, memory


def check_features(folder):
    """What must hold of any prepared data set; returns the store."""
    store, ids, memory = features_of(folder)
    assert verify(folder / "features") == []
    assert not store.stale(folder / "annotation.json")
    n, N = sum(map(len, ids.values())), len(ids["train"])
    assert list(store.row_ids("training")) == ids["train"]
    assert [row["id"] for row in store.bank_reports] == ids["train"]
    assert store["labels"].shape == (n, len(CONDITIONS))
    assert store["region_scores"].shape == (n, len(ENTITIES))
    assert store["region_text"].shape == (n, len(ENTITIES), WIDTH)
    assert store["report_features"].shape == (N, WIDTH)
    assert store["sentence_features"].shape == (store["sentence_offsets"][-1], WIDTH)
    for name in ("region_scores", "region_text", "report_features", "sentence_features"):
        assert np.isfinite(store[name]).all(), name
    for split, rows in memory.items():
        assert rows.shape == (len(ids[split]), MEMORY)
        assert ((rows >= 0) & (rows < N)).all()
    own = np.arange(N)[:, None]
    assert not (memory["train"] == own).any()
    neighbours = store["label_neighbours"]
    assert ((neighbours >= 0) & (neighbours < N) & (neighbours != own)).all()
    return store


def findings_of_the_doctor(printed, level):
    """What the doctor, who speaks last, calls an error or a warning."""
    report = printed[printed.rindex("\nannotation") :]
    return re.findall(rf"^  {level} +(.+)", report, re.MULTILINE)


# MIMIC-CXR: PhysioNet's layout, invented reports


@pytest.fixture(scope="module")
def physionet(tmp_path_factory):
    root = write_tree(tmp_path_factory.mktemp("physionet"))
    for seed, path in enumerate(sorted(root.rglob("*.jpg"))):  # the tree's own are small, blank and alike
        write_noise(path, seed, (320, 300))
    return root


@pytest.fixture(scope="module")
def mimic(forks, physionet, tmp_path_factory):
    return prepare(forks, "prepare_mimic_cxr.sh", physionet, tmp_path_factory.mktemp("mimic"), "--image_size", 64)


def items_of_the_tree():
    """Study ids by split, as the tree was written: those whose report has findings."""
    split_of = {f"s{numbers(i)[2]}": SPLITS[i % 3] for i in range(len(NAMES))}
    return Counter(split_of[study] for study in expected("findings"))


def test_mimic_becomes_an_item_for_every_image(mimic):
    annotation = read_annotation(mimic.folder / "annotation.json")
    assert len(NAMES) >= 60
    assert {split: len(items) for split, items in annotation.items()} == {
        split: len(VIEWS) * count for split, count in items_of_the_tree().items()
    }
    reports = expected("findings")
    for item in (item for items in annotation.values() for item in items):
        assert item.report == reports[Path(item.image_path[0]).parent.name]
        assert item.id == Path(item.image_path[0]).stem


def test_mimic_images_are_copied_at_256_pixels(mimic, physionet):
    annotation = read_annotation(mimic.folder / "annotation.json")
    images = [item.image_path[0] for items in annotation.values() for item in items]
    assert len(set(images)) == len(VIEWS) * len(expected("findings"))
    copies = {path.relative_to(mimic.folder / "images").as_posix() for path in (mimic.folder / "images").rglob("*.jpg")}
    assert copies == set(images)
    for image in images:
        assert (physionet / TREES[0] / "files" / image).is_file()
        with Image.open(mimic.folder / "images" / image) as copy:
            assert (copy.size, copy.mode) == ((273, 256), "L")


def test_mimic_features_are_whole_and_the_doctor_finds_no_errors(mimic):
    check_features(mimic.folder)
    last = mimic.printed.strip().splitlines()[-1]
    assert last.startswith("0 kinds of errors, "), mimic.printed
    warnings = " ".join(findings_of_the_doctor(mimic.printed, "warning"))
    causes = {
        "are word for word in the training split too": 2,  # few texts
        "270,790/2,130/3,858": 1,  # few of them
        "hardly more than chance": 1,  # noise
    }
    assert {cause: warnings.count(cause) for cause in causes} == causes
    assert f"{sum(causes.values())} kinds of warnings" in last


def test_mimic_images_of_a_patient_never_retrieve_their_shared_report(mimic):
    store, ids, memory = features_of(mimic.folder)
    patients = np.array([row["patient"] for row in store.bank_reports])
    assert len(patients) == len(ids["train"]) == len(VIEWS) * len(set(patients))
    for rows in (memory["train"], store["label_neighbours"]):
        assert not (patients[rows] == patients[:, None]).any()


def test_a_second_command_for_mimic_redoes_nothing(mimic, forks, physionet):
    def files():
        return {path.relative_to(mimic.folder): path for path in sorted(mimic.folder.rglob("*")) if path.is_file()}

    def built(path):
        return path.parts[0] == "features" or path.suffix == ".jpg"

    before = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in files().items()}
    again = prepare(forks, "prepare_mimic_cxr.sh", physionet, mimic.folder, "--image_size", 64)
    after = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in files().items()}
    assert after.keys() == before.keys()
    # raw.json names the commit and whether the checkout is dirty
    assert [name for name in before if after[name][0] != before[name][0] and name.name != "raw.json"] == []
    assert [name for name in before if built(name) and after[name][1] != before[name][1]] == []
    images = len(VIEWS) * len(expected("findings"))
    assert f"images: 0 of {images} copied" in again.printed
    stages = re.findall(r"^(.+): \d+ items \.\.\.$", mimic.printed, re.MULTILINE)
    assert {"entity scorer", "text features", "label neighbours", "memory"} <= set(stages)
    assert not re.findall(r"items \.\.\.$", again.printed, re.MULTILINE)


# IU X-Ray: the real archive, with noise for images


@pytest.fixture
def open_i(real_cxr, tmp_path):
    """Open-i's archive as it is published, and a small image for every name in it."""
    root = tmp_path / "raw"
    (root / "NLMCXR_png").mkdir(parents=True)
    shutil.copy(real_cxr / "iu_source" / "NLMCXR_reports.tgz", root)
    with tarfile.open(root / "NLMCXR_reports.tgz") as archive:
        texts = [archive.extractfile(member).read() for member in archive if member.name.endswith(".xml")]
    names = [name.decode() for text in texts for name in re.findall(rb'parentImage id="([^"]+)"', text)]
    assert (len(texts), len(names), len(set(names))) == (3955, 7470, 7470)
    for seed, name in enumerate(names):
        write_noise(root / "NLMCXR_png" / f"{name}.png", seed, (8, 8))
    return root


def test_the_real_archive_of_iu_xray_with_r2gens_split(real_cxr, open_i, forks, tmp_path):
    split_file, folder = real_cxr / "annotation_iu_r2gen_layout.json", tmp_path / "prepared"
    done = prepare(forks, "prepare_iu_xray.sh", open_i, folder, "--split_file", split_file, "--image_size", 32)
    annotation = read_annotation(folder / "annotation.json")
    assert [len(annotation[split]) for split in SPLITS] == [2069, 296, 590]
    studies = [study for split in SPLITS for study in annotation[split]]
    assert [(study.id, study.split, study.report) for study in studies] == golden(real_cxr)
    store, labeler = check_features(folder), RuleLabeler()
    assert store.entry("labels")["made_by"]["labeler"] == f"rule {labeler.checksum}"
    labels = store["labels"][store.rows("studies", [study.id for study in studies])]
    assert (labels == labeler([study.report for study in studies])).all()
    assert done.printed.strip().splitlines()[-1].startswith("0 kinds of errors, "), done.printed
    small, blind = findings_of_the_doctor(done.printed, "warning")
    assert "2,955 images have a side below" in small  # the noise
    assert "hardly more than chance" in blind
