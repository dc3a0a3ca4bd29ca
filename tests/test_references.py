"""modules/retrieval/references.py: which report a study gets, on a prepared data set and with a real model."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs import SMALL, call, places, train
from small_set import small_bank
from tiny import tiny_config
from torch.utils.data import get_worker_info

import main_test
from models.revtaf import Revtaf
from modules.corpus.annotations import read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.records import read_json, read_jsonl
from modules.retrieval import references, text_oracle
from modules.retrieval.observation import Views, observe
from modules.retrieval.references import (
    DROPPED,
    find_references,
    reference_agreement,
    refuse_too_many,
    training_references,
)
from modules.retrieval.text_oracle import most_alike


@pytest.fixture(scope="module")
def datasets(prepared):
    store = FeatureStore.open(prepared / "features")
    annotation = read_annotation(prepared / "annotation.json")
    tokenizer = ReportTokenizer.from_reports([study.report for study in annotation["train"]], 1)
    bank = TrainingBank(store)
    return {
        name: ReportDataset(studies, prepared / "images", store, bank, tokenizer, image_size=64, max_report_tokens=60)
        for name, studies in annotation.items()
    }


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Revtaf(tiny_config(visual_extractor="resnet10n"))
    torch.nn.init.normal_(made.diagnosis_head.linear.weight, std=0.5)  # as if it had learnt something
    return made


def options(**changes):
    values = {
        "retrieval": "states",
        "oracle_epochs": 0,
        "drop_references": 0.0,
        "precision": "fp32",
        "batch_size": 8,
        "num_workers": 0,
    }
    words = []
    for name, value in {**values, "seed": 1, **changes}.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None:
            words += [f"--{name}", str(value)]
    return parse_options(MainTrain, words)


def training_rows(model, dataset, epoch=2, **changes):
    training_references(model, dataset, options(**changes), epoch)
    return dataset.reference_rows


def test_a_signal_to_all_processes_does_not_end_those_that_read_images(model, datasets, monkeypatch):
    read = Views.__getitem__

    def signalled(views, place):
        assert get_worker_info() is not None, "read by a process of its own"
        os.kill(os.getpid(), signal.SIGTERM)
        return read(views, place)

    alone = observe(model, datasets["val"], precision="fp32", batch_size=3, num_workers=0)[0]
    monkeypatch.setattr(Views, "__getitem__", signalled)
    torch.testing.assert_close(observe(model, datasets["val"], precision="fp32", batch_size=3, num_workers=1)[0], alone)


def test_views_of_some_studies_are_of_these():
    """Of a split whose studies stand in another order than their features."""
    split = SimpleNamespace(
        image_dir=Path("images"), image_paths=["a", "b", "c", "d"], rows=np.array([5, 2, 4, 0]), bank=None, images=None,
        store={"memory_indices": np.arange(12).reshape(6, 2)}, region_scores=np.arange(4)[:, None], image_size=64,
    )  # fmt: skip
    views = Views(split, [1, 3])
    assert views.paths == [Path("images/b"), Path("images/d")]
    assert views.memories.tolist() == [[4, 5], [0, 1]]
    assert views.region_scores.tolist() == [[1], [3]]


def test_states_are_those_of_the_diagnosis_head_whatever_the_batch(model, datasets):
    dataset = datasets["val"]
    found = observe(model, dataset, precision="fp32", batch_size=3, num_workers=0)[0]
    again = observe(model, dataset, precision="fp32", batch_size=1, num_workers=0)[0]
    torch.testing.assert_close(found, again, rtol=1e-4, atol=1e-4)
    sample = dataset[0]
    image = (sample.image[None].float() / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    expected = model.eval().diagnose(image, sample.memory[None])[1]
    torch.testing.assert_close(found[:1], expected, rtol=1e-4, atol=1e-4)


def test_a_training_study_never_retrieves_itself(model, datasets):
    dataset = datasets["train"]
    own = dataset.store.rows("training", [study.id for study in dataset.studies])
    for how in ("states", "learned", "cosine", "random"):
        rows = training_rows(model, dataset, retrieval=how)
        assert rows.min() >= 0, how
        assert (rows != own).all(), how
    patients = np.array(dataset.bank.patients)
    assert (patients[rows] != patients[own]).all()
    assert (patients == np.roll(patients, 1)).any(), "no patient has two studies"


def test_random_references_are_those_of_the_seed(model, datasets):
    dataset = datasets["train"]
    first, again, other = (training_rows(model, dataset, retrieval="random", seed=seed).copy() for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_share_without_a_reference_is_exact_and_changes_every_epoch(model, datasets):
    dataset = datasets["train"]
    rows = [training_rows(model, dataset, epoch, drop_references=0.25).copy() for epoch in (2, 2, 3)]
    assert [(part < 0).sum() for part in rows] == [round(0.25 * len(dataset))] * 3
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0] < 0, rows[2] < 0)
    assert (training_rows(model, dataset, drop_references=None) < 0).sum() == round(DROPPED * len(dataset))
    assert DROPPED == 0.1, "docs/method.md: a tenth"


def test_label_references_are_as_published(model, datasets):
    dataset = datasets["train"]
    stored = dataset.store["label_neighbours"][:, 0]
    own = dataset.store.rows("training", [study.id for study in dataset.studies])
    rows = training_rows(model, dataset, train_retrieval="label", drop_references=None)
    assert np.array_equal(rows, stored[own])
    mixed = training_rows(model, dataset, train_retrieval="mixed")
    assert 0.3 < (mixed == rows).mean() < 0.8  # every other study, and some that would find the same report
    assert reference_agreement(dataset)["reference_agreement"] == pytest.approx(
        (dataset.bank.labels[mixed] == dataset.labels).mean()
    )


def test_in_every_epoch_other_studies_have_label_references_where_half_of_them_do(model, datasets):
    dataset = datasets["train"]
    label = training_rows(model, dataset, train_retrieval="label").copy()
    first, again, next_one = (
        training_rows(model, dataset, epoch, train_retrieval="mixed") == label for epoch in (2, 2, 3)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next_one)


def test_label_references_are_of_other_patients_even_where_the_features_know_none(model, datasets, monkeypatch):
    """Published label neighbours know no patients: here those of the own patient come first."""
    dataset = datasets["train"]
    groups = dataset.bank.groups(dataset.studies, True)[1]
    own, everyone = np.arange(len(groups)), np.arange(len(groups))
    published = np.array([sorted(everyone[everyone != i], key=lambda j, i=i: groups[j] != groups[i]) for i in own])
    assert (groups[published[:, 0]] == groups).any(), "no patient has two studies"
    stored = FeatureStore.__getitem__
    monkeypatch.setattr(FeatureStore, "__getitem__", lambda s, name: published if name == "label_neighbours" else stored(s, name))  # fmt: skip
    rows = training_rows(model, dataset, train_retrieval="label")
    assert (groups[rows] != groups).all()
    assert np.array_equal(training_rows(model, dataset, train_retrieval="label", exclude_same_patient=False), published[:, 0])  # fmt: skip
    published = published[:, :1]
    with pytest.raises(UserError, match="some training study has 0 label neighbours of other patients in its features"):
        refuse_too_many(dataset, 1, options(train_retrieval="label"))


def test_the_first_epoch_of_a_new_model_asks_the_entity_scores(model, datasets):
    dataset = datasets["train"]
    cosine = training_rows(model, dataset, retrieval="cosine").copy()
    for how in ("states", "learned"):
        assert np.array_equal(training_rows(model, dataset, 1, retrieval=how), cosine)
        assert not np.array_equal(training_rows(model, dataset, 2, retrieval=how), cosine), "learnt by then"
    assert not np.array_equal(training_rows(model, dataset, 1, retrieval="states", init_from="x.pth"), cosine)


def test_the_first_epochs_show_the_reports_most_like_the_own_one(model, datasets):
    dataset = datasets["train"]
    asked = training_rows(model, dataset, 3, oracle_epochs=2).copy()
    found = training_rows(model, dataset, 2, oracle_epochs=2)
    assert not np.array_equal(found, asked)
    words = [set(zip(report.split(), report.split()[1:], strict=False)) for report in dataset.reports]
    shared = np.array([[len(a & b) for b in words] for a in words])
    own = np.arange(len(words))
    np.fill_diagonal(shared, -1)
    assert (dataset.bank.store.rows("training", [study.id for study in dataset.studies]) == own).all()
    assert shared[own, found].mean() > 0.8 * shared.max(axis=1).mean() > shared[own, asked].mean()
    patients = np.array(dataset.bank.patients)
    assert (found != own).all()
    assert (patients[found] != patients[own]).all()
    found = training_rows(model, dataset, 1, oracle_epochs=2, exclude_same_patient=False)
    assert (patients[found] == patients[own]).any()


def test_of_a_large_bank_each_epoch_compares_reports_that_it_draws(model, datasets, monkeypatch):
    dataset, drawn = datasets["train"], []
    monkeypatch.setattr(references, "COMPARED", 12)
    for epoch in (1, 2):
        drawn.append(np.random.default_rng((1, epoch)).choice(len(dataset.bank), 12, replace=False))
        assert np.isin(training_rows(model, dataset, epoch, oracle_epochs=2), drawn[-1]).all()
    assert {*drawn[0]} != {*drawn[1]}


def test_what_is_alike_is_the_same_however_much_is_compared_at_once(datasets, monkeypatch):
    dataset = datasets["train"]
    reports, groups = list(dataset.reports), dataset.bank.groups(dataset.studies, False)
    whole = most_alike(reports, dataset.bank, groups, k=3)
    monkeypatch.setattr(text_oracle, "BLOCK", 7)
    assert np.array_equal(most_alike(reports, dataset.bank, groups, k=3), whole)
    some = np.array([4, 1, 9, 20])
    assert np.isin(most_alike(reports, dataset.bank, groups, k=2, among=some), some).all()


def test_the_order_of_words_makes_reports_alike_and_ties_go_to_the_first_row(tmp_path):
    reports = {"a": "edema but no effusion", "b": "no effusion but edema", "c": "no effusion but edema"}
    bank, groups = small_bank(tmp_path, reports, np.zeros((3, 18))), (np.arange(3), np.array([-1]))
    for among in (None, np.array([2, 0, 1])):
        assert most_alike(["no effusion but edema"], bank, groups, k=3, among=among).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("exclude_same_patient", [False, True])
def test_the_most_alike_are_never_of_the_own_group(datasets, exclude_same_patient):
    """Asked for as many as there are, it gave a study its own report."""
    dataset = datasets["train"]
    reports, groups = list(dataset.reports), dataset.bank.groups(dataset.studies, exclude_same_patient)
    others = len(dataset.bank) - int(np.bincount(groups[0]).max())
    rows = most_alike(reports, dataset.bank, groups, k=others)
    assert (groups[0][rows] != groups[1][:, None]).all()
    with pytest.raises(UserError, match=f"fewer than {others + 1} studies of the retrieval bank may be retrieved"):
        most_alike(reports, dataset.bank, groups, k=others + 1)


@pytest.mark.parametrize(
    "flags", [{"train_retrieval": "label"}, {"train_retrieval": "mixed"}, {}, {"exclude_same_patient": False}]
)
def test_more_references_than_there_are_is_refused(datasets, flags):
    dataset, asked = datasets["train"], options(**flags)
    groups, _ = dataset.bank.groups([], asked.training.exclude_same_patient)
    most = len(dataset) - int(np.bincount(groups).max())
    if "train_retrieval" in flags:
        most = dataset.store["label_neighbours"].shape[1]
        assert most < len(dataset) - 1
    refuse_too_many(dataset, most, asked)
    with pytest.raises(UserError, match=rf"^{most + 1} references of a study are wanted .* has {most} "):
        refuse_too_many(dataset, most + 1, asked)
    refuse_too_many(dataset, most + 1, options(retrieval="none"))


def test_a_training_with_too_many_references_writes_nothing(prepared, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path / "run", "--train_retrieval", "label", "--references", 60, "--reference_memory", 8)
    assert "error: 60 references of a study are wanted (--references), and each study has" in capsys.readouterr().err
    assert not (tmp_path / "run" / "options.json").exists()


def test_no_retrieval_gives_no_reference(model, datasets):
    assert (training_rows(model, datasets["train"], retrieval="none") == -1).all()
    assert reference_agreement(datasets["train"]) == {}


def test_references_of_a_test_study_do_not_depend_on_its_report_or_labels(model, datasets):
    dataset = datasets["test"]
    rows = []
    for labels, report in ((dataset.labels, None), ((dataset.labels + 1) % 4, "Large right pneumothorax.")):
        dataset.labels = labels
        if report:
            dataset.studies = [replace(study, report=report, labels=None) for study in dataset.studies]
        find_references(model, dataset, "states", options())
        rows.append(dataset.reference_rows)
    assert np.array_equal(*rows)


@pytest.mark.slow
def test_a_training_with_states_runs_and_is_judged(prepared, tmp_path):
    train(prepared, tmp_path, "--retrieval", "states")
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    for line in lines[1:]:
        row = dict(zip(names, line.split(","), strict=True))
        assert 0.3 < float(row["reference_agreement"]) <= 1
        assert 0.3 < float(row["val_reference_agreement"]) <= 1
    call(main_test, *places(prepared), *SMALL, "--save_dir", tmp_path, "--gen_min_len", 25, "--gen_max_len", 12,
         "--baselines", "--no-viewer", "--no-meteor", "--load_pretrained", tmp_path / "current_checkpoint.pth")  # fmt: skip
    rows, metrics = read_jsonl(tmp_path / "predictions.jsonl"), read_json(tmp_path / "metrics.json")
    assert all(row["retrieved"] for row in rows)
    assert set(metrics["retrieval"]) == {"learned", "states", "cosine", "random", "oracle"}
    assert "nearest by predicted states" in metrics["baselines"]
    states = metrics["retrieval"]["states"]
    assert states["bleu_4_top1"] == pytest.approx(metrics["baselines"]["nearest by predicted states"]["BLEU_4"])
    low, high = states["intervals"]["bleu_4_top1"]
    assert low <= states["bleu_4_top1"] <= high


def test_the_label_oracle_finds_the_fewest_differing_labels_and_never_the_study_itself(model, datasets):
    for name, dataset in datasets.items():
        find_references(model, dataset, "label", options(retrieval="label"))
        differing = (dataset.bank.labels[None] != dataset.labels[:, None]).sum(axis=2)  # (n, N)
        own = {study: row for row, study in enumerate(dataset.bank.ids)}
        for position, study in enumerate(dataset.studies):
            if study.id in own:
                differing[position, own[study.id]] = 99
        found = differing[np.arange(len(dataset)), dataset.reference_rows]
        np.testing.assert_array_equal(found, differing.min(axis=1))
        assert name != "train" or not any(dataset.bank.ids[row] == s.id
                                          for row, s in zip(dataset.reference_rows, dataset.studies, strict=True))  # fmt: skip


def test_the_label_oracle_is_not_asked_about_a_film_without_a_report(model, datasets):
    dataset = datasets["val"].part(np.arange(2))
    dataset.studies = [dataset.studies[0], replace(dataset.studies[1], report="")]
    with pytest.raises(UserError, match=r"1 of 2 studies have no report.*--retrieval label, an oracle"):
        find_references(model, dataset, "label", options(retrieval="label"))


def test_a_training_says_what_its_features_do_otherwise(prepared, datasets, tmp_path, capsys, monkeypatch):
    """The memory of features that knew no patients, and references that were cleaned otherwise than the reports."""
    dataset, once = datasets["train"], ["--epochs", 1, "--warmup_steps", 2]
    train(prepared, tmp_path / "alike", *once)
    assert "warning: the memory" not in (said := capsys.readouterr().out)
    assert "warning: references were cleaned" not in said
    memory, stored = np.array(dataset.store["memory_indices"]), FeatureStore.__getitem__
    groups = dataset.bank.groups(dataset.studies, True)[1]
    relatives = {i: j for i in range(len(groups)) for j in range(len(groups)) if i != j and groups[i] == groups[j]}
    for one, other in relatives.items():
        memory[dataset.rows[one], 0] = other
    monkeypatch.setattr(FeatureStore, "__getitem__", lambda s, name: memory if name == "memory_indices" else stored(s, name))  # fmt: skip
    train(prepared, tmp_path / "other", *once, "--max_words", 10)
    said = capsys.readouterr().out
    assert "warning: references were cleaned as --cleaning and --max_words published 100, reports are as published 10:" in said  # fmt: skip
    assert f"warning: the memory of {len(relatives)} of {len(groups)} training studies holds a report of their own patient" in said  # fmt: skip
    train(prepared, tmp_path / "allowed", *once, "--no-exclude_same_patient")
    assert "warning: the memory" not in capsys.readouterr().out
