"""modules/retrieval/likelihood.py: the search finds the likeliest labels, exactly, alone and in two processes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.manifolds import Euclidean
from models.retrieval import RetrievalBank
from modules.corpus.annotations import Study
from modules.distributed import processes, rank
from modules.labels import NEGATIVE, POSITIVE
from modules.retrieval.likelihood import (
    LEAST_PROBABILITY,
    LEAST_RATE,
    PRIOR_POWER,
    SCORES_WEIGHT,
    STATES_WEIGHT,
    label_points,
    state_points,
    state_weights,
)
from modules.retrieval.retriever import Queries, retrieve

N, QUERIES = 500, 40


def made():
    """A bank in which many reports say the same, and what a model predicts of other studies and of some of its own."""
    rng = np.random.default_rng(0)
    said = rng.choice(4, p=[0.7, 0.15, 0.1, 0.05], size=(60, 18)).astype(np.int8)
    labels = said[rng.integers(60, size=N)]
    bank_scores = rng.random((N, 75)).astype(np.float32)
    bank_scores[100:200] = bank_scores[:100]  # the same report about the same image: a tie in everything
    labels[100:200] = labels[:100]
    logits = torch.from_numpy(3 * rng.standard_normal((QUERIES, 4, 18))).float()
    return labels, bank_scores, logits, rng.random((QUERIES, 75)).astype(np.float32)


class Bank:
    def __init__(self):
        self.labels, self.region_scores = made()[:2]
        self.ids = tuple(f"b{i}" for i in range(N))

    def __len__(self):
        return N

    def groups(self, studies, exclude_same_patient):
        numbers = {identifier: i for i, identifier in enumerate(self.ids)}
        return np.arange(N), np.array([numbers.get(study.id, -1) for study in studies])


ENHANCER = torch.nn.Linear(1, 1)  # tells the device of the model


def worth_by_hand(labels, bank_scores, logits, scores):
    """Every report's worth for every query ``(n, N)``, sum by sum in float64."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    positive = p[:, POSITIVE].clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    rate = (labels == POSITIVE).mean(axis=0).clip(LEAST_RATE, 1 - LEAST_RATE)
    z = np.log(positive / (1 - positive)) - PRIOR_POWER * np.log(rate / (1 - rate))
    worth = np.zeros((len(logits), len(labels)))
    for report, row in enumerate(labels):
        for condition, state in enumerate(row):
            sign = 1 if state == POSITIVE else -1
            worth[:, report] -= np.log1p(np.exp(-sign * z[:, condition]))
            worth[:, report] += STATES_WEIGHT * np.log(p[:, state, condition])
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (scores.astype(float), bank_scores.astype(float)))
    return worth + SCORES_WEIGHT * a @ b.T


def points():
    labels, bank_scores, logits, scores = made()
    rate = torch.from_numpy((labels == POSITIVE).mean(axis=0))
    said = label_points(torch.from_numpy(labels), torch.from_numpy(bank_scores))
    return said, state_points(logits, rate, torch.from_numpy(scores))


def test_the_inner_product_is_the_likelihood():
    """Up to what all reports of a query have in common, and to the rounding of float32 points."""
    said, asked = points()
    labels, bank_scores, logits, scores = made()
    expected = worth_by_hand(labels, bank_scores, logits.double().numpy(), scores)
    found = (asked.double() @ said.double().T).numpy()
    gap = found - expected
    assert np.abs(gap - gap.mean(axis=1, keepdims=True)).max() < 2e-5
    assert said.shape == (N, 4 * 18 + 75)
    np.testing.assert_allclose(said.square().sum(dim=1), 19, rtol=1e-6)  # nearest is likeliest


def test_a_rare_finding_loses_a_quarter_of_its_prior_odds():
    """Of odds 1 and a rate of 1 in 17, whose odds are 1/16, a positive report is twice as likely as any other."""
    even = torch.full((1, 4, 1), 1 / 6)
    even[:, POSITIVE] = 0.5
    weights = state_weights(even.log(), torch.tensor([1 / 17]))[0, :, 0]
    expected = torch.full((4,), 1 / 3).log() + 0.3 * torch.tensor(1 / 6).log()
    expected[POSITIVE] = np.log(2 / 3) + 0.3 * np.log(1 / 2)
    torch.testing.assert_close(weights, expected.double(), rtol=1e-6, atol=1e-6)


def test_the_search_equals_brute_force_in_float64():
    said, asked = points()
    groups = torch.full((QUERIES,), -1)
    rows, distances = RetrievalBank(Euclidean(1.0), said, torch.arange(N)).search(asked, groups, 21)
    plain = (asked.double()[:, None] - said.double()).square().sum(dim=2).sqrt().sort(dim=1, stable=True)
    torch.testing.assert_close(distances, plain.values[:, :21], rtol=1e-12, atol=1e-12)
    worth = worth_by_hand(*made()[:2], made()[2].double().numpy(), made()[3])
    best = np.take_along_axis(worth, rows.numpy(), axis=1)
    np.testing.assert_allclose(best, -np.sort(-worth, axis=1)[:, :21], atol=2e-5)
    twins = rows[:, 0] < 200
    assert twins.any()
    assert (rows[twins, 0] < 100).all()  # of equal reports the first one


def ask():
    """Thirty new studies and ten of the bank."""
    names = [f"q{i}" for i in range(30)] + [f"b{i}" for i in range(10)]
    studies = [Study(id=name, image_path=("x",), report="x", split="test") for name in names]
    return Queries(studies, made()[3], made()[2])


def test_retrieval_takes_the_likeliest_report_but_never_its_own():
    rows = retrieve("states", ENHANCER, Bank(), ask(), exclude_same_patient=False, seed=0)[0][:, 0]
    worth = worth_by_hand(*made()[:2], made()[2].double().numpy(), made()[3])
    own = np.arange(30, 40), np.arange(10)
    worth[own] = -np.inf
    assert (rows[own[0]] != own[1]).all()
    np.testing.assert_allclose(worth[np.arange(QUERIES), rows], worth.max(axis=1), atol=2e-5)


def test_a_rare_finding_is_asked_for_sooner_than_a_frequent_one():
    logits = torch.zeros(1, 4, 18)
    rate = torch.full((18,), 0.3)
    rate[3] = 0.01
    labels = torch.zeros(3, 18)
    labels[0, 3] = labels[1, 4] = POSITIVE
    scores = torch.ones(3, 75)
    said, asked = label_points(labels, scores), state_points(logits, rate, scores[:1])
    rare, frequent, _ = (asked @ said.T)[0].tolist()
    assert rare > frequent


@pytest.mark.parametrize(("blank", "negative", "states_win"), [(0.1, 0.6, False), (0.01, 0.97, True)])
def test_states_tell_reports_of_equal_findings_apart_and_scores_those_of_equal_states(blank, negative, states_win):
    """A report that denies what is to be denied, one that is silent, and one that denies it of another image."""
    logits, rest = torch.zeros(1, 4, 18), (1 - blank - negative) / 2
    logits[0, :, 3] = torch.tensor([blank, rest, negative, rest]).log()
    labels, scores = torch.zeros(3, 18), torch.zeros(3, 75)
    labels[[0, 2], 3] = NEGATIVE
    scores[[0, 1, 2], [4, 4, 5]] = 0.5
    said, asked = label_points(labels, scores), state_points(logits, torch.full((18,), 0.3), scores[:1])
    denied, silent, unlike = (asked.double() @ said.double().T)[0].tolist()
    assert denied - silent == pytest.approx(0.3 * math.log(negative / blank), abs=1e-5)
    assert denied - unlike == pytest.approx(1, abs=1e-5)
    assert (unlike > silent) == states_win


def one_of_two(folder):
    with processes("cpu"):
        rows = retrieve("states", ENHANCER, Bank(), ask(), exclude_same_patient=False, seed=0)[0][:, 0]
        np.save(Path(folder) / f"{rank()}.npy", rows)


def test_two_processes_find_what_one_finds(trainings, tmp_path):
    trainings.call(one_of_two, processes=2, folder=str(tmp_path))
    rows = retrieve("states", ENHANCER, Bank(), ask(), exclude_same_patient=False, seed=0)[0][:, 0]
    for number in range(2):
        assert np.array_equal(np.load(tmp_path / f"{number}.npy"), rows)


def test_states_that_nobody_looked_for_are_not_guessed():
    queries = Queries(ask().studies, made()[3])
    with pytest.raises(AssertionError, match="look at the images first"):
        retrieve("states", ENHANCER, Bank(), queries, exclude_same_patient=False, seed=0)
