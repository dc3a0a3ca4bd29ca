"""modules/evaluation/baselines.py: whose report each baseline hands out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import small_bank, small_set
from torch.nn import functional as F

from models.hyperbolic_encoder import LearnableRetrievalEnhancer
from modules.evaluation.baselines import baseline_reports, most_frequent_report
from modules.labels import STATES
from modules.retrieval.retriever import Queries

TRAINING = {f"t{number}": f"report {number} ." for number in range(4)}
ASKED = [2, 0, 3, 1]  # the training study that each test study is like
SCORES = "nearest training image (entities)"
NEAREST = (SCORES, "nearest training image (pixels)", "nearest by predicted states")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("bank"), np.random.default_rng(0)
    others = [f"u{number}" for number in range(4)]
    like = [*range(4), *ASKED]
    labels, scores = rng.integers(0, 4, size=(4, 18))[like], rng.random((4, 75)).astype(np.float32)[like]
    scores[4:] += 0.01
    pictures = rng.integers(0, 256, size=(4, 16, 16), dtype=np.uint8)
    for name, number in zip([*TRAINING, *others], like, strict=True):
        Image.fromarray(pictures[number]).resize((64, 64)).save(folder / f"{name}.png")
    return small_bank(folder, TRAINING, labels, others=others, scores=scores)


def handed_out(bank, names):
    dataset = small_set(bank, dict.fromkeys(names, "clear ."))
    training = small_set(bank, TRAINING).studies[::-1]  # in any order
    enhancer = LearnableRetrievalEnhancer(
        num_entities=75, width=4, layers=1, manifold="poincare", curvature=0.01, learn_curvature=False
    )
    states = F.one_hot(torch.from_numpy(dataset.labels), len(STATES)).transpose(1, 2).float() * 8  # (n, P, L)
    queries = Queries(dataset.studies, dataset.region_scores, state_logits=states)
    data = SimpleNamespace(bank_dir="here", feature_dir="here")
    model = SimpleNamespace(retrieval_enhancer=enhancer)
    return baseline_reports(data, model, dataset, queries, {"train": training})


def test_every_study_is_given_the_report_of_the_study_that_is_like_it(bank):
    found = handed_out(bank, [f"u{number}" for number in range(4)])
    for name in NEAREST:
        assert found[name] == [TRAINING[f"t{number}"] for number in ASKED], name
    assert found["most frequent training report"] == ["report 0 ."] * 4


def test_no_training_study_is_given_its_own_report(bank):
    """With ``--split train`` two of the four gave every study its own, and BLEU was 1."""
    found = handed_out(bank, list(TRAINING))
    assert len(found) == 4
    for name, reports in found.items():
        assert not [own for own, report in zip(TRAINING.values(), reports, strict=True) if own == report], name
    scores = bank.region_scores
    distances = np.linalg.norm(scores[:, None] - scores[None], axis=2) + np.diag([np.inf] * 4)
    nearest = [bank.reports[row] for row in distances.argmin(axis=1)]
    assert found[SCORES] == nearest


def test_a_report_that_others_have_more_often_stays_the_most_frequent_for_those_that_have_it(tmp_path):
    reports = {"a": "x .", "b": "y .", "c": "x .", "d": "x ."}
    bank = small_bank(tmp_path, reports, np.zeros((4, 18)))
    studies = small_set(bank, reports).studies
    assert most_frequent_report(bank, studies) == ["x ."] * 4
    bank = small_bank(tmp_path / "tied", {"a": "x .", "b": "y .", "c": "y .", "d": "x ."}, np.zeros((4, 18)))
    assert most_frequent_report(bank, studies) == ["y .", "x .", "x .", "y ."]
    assert most_frequent_report(bank, [replace(study, id=f"new {study.id}") for study in studies]) == ["x ."] * 4
    alone = small_bank(tmp_path / "alone", {"a": "x ."}, np.zeros((1, 18)))
    assert most_frequent_report(alone, studies[:1]) == ["x ."]
