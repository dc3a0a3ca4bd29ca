"""modules/preparation/stages.py: every array holds what its name says, and only what has changed is built again."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs import call, copy_of, places, prepare
from small_set import small_bank

import main_prepare
from modules.corpus.annotations import Study, read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_bank_reports
from modules.labelling.labelers import RuleLabeler
from modules.labelling.mentions import entity_mentions, mention_targets
from modules.labels import CONDITIONS, ENTITIES, POSITIVE
from modules.preparation.stages import Preparation

CLIP_K, NEIGHBOURS = 5, 10


@pytest.fixture(scope="module")
def read(prepared):
    """The splits and the store of the drawn data."""
    return read_annotation(prepared / "annotation.json"), FeatureStore.open(prepared / "features")


def test_every_study_has_a_row_and_the_training_split_is_the_bank(read):
    splits, store = read
    studies = [study for split in splits.values() for study in split]
    assert list(store.row_ids("studies")) == [study.id for study in studies]
    assert list(store.row_ids("training")) == [study.id for study in splits["train"]]
    assert [row["id"] for row in store.bank_reports] == [study.id for study in splits["train"]]
    labels = store["labels"][store.rows("studies", [study.id for study in studies])]
    np.testing.assert_array_equal(labels, [study.labels for study in studies])


def test_the_prior_is_the_rate_of_positive_training_labels(read):
    splits, store = read
    positive = np.mean([[state == POSITIVE for state in study.labels[:14]] for study in splits["train"]], axis=0)
    np.testing.assert_allclose(store.base_rates, positive)


def test_label_neighbours_differ_in_the_fewest_labels(read):
    splits, store = read
    labels = np.array([study.labels for study in splits["train"]])
    differing = (labels[:, None] != labels[None]).sum(axis=2)  # (N, N)
    patients = np.array([study.patient for study in splits["train"]])
    differing[patients[:, None] == patients] = 99  # nobody is a neighbour of his own patient
    rows = np.asarray(store["label_neighbours"])
    assert rows.shape == (len(labels), NEIGHBOURS)
    found = np.take_along_axis(differing, rows, axis=1)
    np.testing.assert_array_equal(found, np.sort(differing, axis=1)[:, :NEIGHBOURS])


def test_the_memory_holds_the_reports_that_the_scores_make_likelier(read):
    """Against the formula of memory_indices, for every study."""
    splits, store = read
    targets, weights = mention_targets(entity_mentions(TrainingBank(store).reports))  # (N, K) each
    rate = ((weights * targets).sum(axis=0) / weights.sum(axis=0)).clip(0.001, 0.999)  # (K,)
    patients = np.array([study.patient for study in splits["train"]])
    studies = {study.id: study for split in splits.values() for study in split}
    rows = np.asarray(store["memory_indices"])
    assert rows.shape == (len(studies), CLIP_K)
    for number, name in enumerate(store.row_ids("studies")):
        s = np.asarray(store["region_scores"][number], dtype=np.float64).clip(0.001, 0.999)
        evidence = targets * np.log(s / rate) + (1 - targets) * np.log((1 - s) / (1 - rate))  # (N, K)
        worth = (weights * evidence).sum(axis=1)
        worth[patients == studies[name].patient] = -np.inf
        np.testing.assert_allclose(worth[rows[number]], np.sort(worth)[::-1][:CLIP_K], atol=1e-2)
        assert len({*rows[number].tolist()}) == CLIP_K


@pytest.mark.parametrize("no_patient", [True, False])
def test_the_memory_leaves_out_the_patient_if_asked_and_the_study_itself_always(tmp_path, no_patient):
    """Three studies of two patients, whose images all show what the first two reports say."""
    reports = {"a": "large pleural effusion .", "b": "large pleural effusion .", "c": "no pneumothorax ."}
    scores = np.full((3, 75), 0.1, np.float32)
    scores[:, ENTITIES.index("effusion")] = 0.9
    small_bank(tmp_path, reports, np.zeros((3, 18)), scores=scores)
    patients = {"a": "p", "b": "p", "c": "q"}
    write_bank_reports(tmp_path, [{"id": i, "patient": patients[i], "report": text} for i, text in reports.items()])
    wanted = SimpleNamespace(memory_size=1)
    stage = SimpleNamespace(
        options=SimpleNamespace(data=SimpleNamespace(bank_dir=tmp_path), preparation=wanted), folder=tmp_path, apart=[],
        kept=SimpleNamespace(by_patients=lambda *_: {}, current=lambda *_: False), published=None, owns_bank=True,
        studies=[Study(id=i, image_path=("x.png",), report=reports[i], split="train", patient=patients[i]) for i in reports],
        no_patient=no_patient, device=torch.device("cpu"),
    )  # fmt: skip
    Preparation.memory(stage)
    assert FeatureStore.open(tmp_path)["memory_indices"].tolist() == (
        [[2], [2], [0]] if no_patient else [[1], [0], [0]]
    )


def changed(folder, before):
    """Names of the arrays whose file was written anew."""
    return {
        path.stem for path in (folder / "features").glob("*.npy") if before.get(path.name) != path.stat().st_mtime_ns
    }


def test_only_what_depends_on_a_change_is_built_again(prepared, tmp_path):
    folder = copy_of(prepared, tmp_path / "data")
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "features").glob("*.npy")}
    assert {"labels", "region_scores", "region_text", "report_features", "label_neighbours", "memory_indices"} <= {
        Path(name).stem for name in before
    }
    prepare(folder)
    assert changed(folder, before) == set()
    prepare(folder, "--clip_k", 4)
    assert changed(folder, before) == {"memory_indices"}
    assert FeatureStore.open(folder / "features")["memory_indices"].shape[1] == 4


def test_absent_labels_come_from_the_reports(prepared, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("features"))
    annotation = json.loads((folder / "annotation.json").read_text())
    for items in annotation.values():
        for item in items:
            del item["labels"]
    (folder / "annotation.json").write_text(json.dumps(annotation))
    own = ["--dataset_name", "custom", *places(folder)[2:], "--chexbert_path", "none"]
    small = ["--image_size", 64, "--visual_extractor", "resnet10n", "--scorer_epochs", 1, "--scorer_width", 16]
    call(main_prepare, *own, *small, "--scorer_layers", 1, "--text_width", 16, "--num_workers", 0, "--device", "cpu")
    store = FeatureStore.open(folder / "features")
    labels = np.asarray(store["labels"])
    assert labels.shape[1] == len(CONDITIONS)
    reports = [study.report for split in read_annotation(folder / "annotation.json").values() for study in split]
    labeler = RuleLabeler()
    columns = [CONDITIONS.index(name) for name in labeler.conditions]
    np.testing.assert_array_equal(labels[:, columns], labeler(reports))
