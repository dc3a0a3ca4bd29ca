"""modules/retrieval/neighbours.py: what is nearest, who is left out, and ties."""

import numpy as np
import pytest
import torch

from modules.labelling.mentions import DENIED, NOT_MENTIONED, PRESENT, UNCERTAIN_MENTION, mention_targets
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.retrieval import neighbours
from modules.retrieval.neighbours import LEAST_PROBABILITY, label_neighbours, memory_indices

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def skip_without(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    return rng.choice(4, p=[0.7, 0.2, 0.07, 0.03], size=(300, 18)).astype(np.int8)  # many ties


def nearest_by_hand(labels, allowed, k):
    rows = np.arange(len(labels))
    found = []
    for i in rows:
        differing = (labels != labels[i]).sum(1)
        order = np.lexsort((rows, differing))
        found.append([j for j in order if allowed(i, j)][:k])
    return np.array(found)


@pytest.mark.parametrize("device", DEVICES)
def test_label_neighbours_equal_brute_force(labels, device):
    skip_without(device)
    found = label_neighbours(labels, None, 10, block_size=64, device=device)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, nearest_by_hand(labels, lambda i, j: i != j, 10))


@pytest.mark.parametrize("device", DEVICES)
def test_label_neighbours_of_other_patients(labels, device):
    skip_without(device)
    patients = [None if i % 5 == 0 else f"p{i % 40}" for i in range(len(labels))]
    found = label_neighbours(labels, patients, 7, block_size=50, device=device)
    expected = nearest_by_hand(labels, lambda i, j: i != j and (patients[i] is None or patients[i] != patients[j]), 7)
    np.testing.assert_array_equal(found, expected)


def test_unknown_patients_are_all_different():
    labels = np.zeros((3, 18), np.int8)
    assert label_neighbours(labels, [None, None, None], 2).tolist() == [[1, 2], [0, 2], [0, 1]]


def test_large_banks_are_compared_in_float64(labels, monkeypatch):
    expected = label_neighbours(labels, None, 5)
    monkeypatch.setattr(neighbours, "_EXACT_FLOAT32", 19 * len(labels))
    np.testing.assert_array_equal(label_neighbours(labels, None, 5), expected)


def test_too_few_training_studies():
    labels = np.zeros((3, 18), np.int8)
    assert label_neighbours(labels[:1], None, 0).shape == (1, 0)
    with pytest.raises(UserError, match=r"row 0 has 2 other studies .* but 3 are wanted: lower --neighbours"):
        label_neighbours(labels, None, 3)
    with pytest.raises(UserError, match="row 0 has 2 other studies"):
        label_neighbours(labels, None, 5)
    with pytest.raises(UserError, match=r"row 1 has 1 other studies .* give --no-exclude_same_patient"):
        label_neighbours(labels, [None, "a", "a"], 2, block_size=1)


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(1)
    mentions = rng.choice([NOT_MENTIONED, PRESENT, DENIED, UNCERTAIN_MENTION], p=[0.8, 0.1, 0.07, 0.03], size=(200, 75))
    mentions = mentions.astype(np.int8)
    mentions[150:] = mentions[:50]  # ties
    return rng.random((30, 75)).astype(np.float32), mentions


def worth_by_hand(scores, mentions):
    targets, weights = (part.astype(float) for part in mention_targets(mentions))
    rate = (weights * targets).sum(0) / weights.sum(0)
    s, b = (np.clip(part, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY) for part in (scores.astype(float), rate))
    present, absent = np.log(s / b)[:, None], np.log((1 - s) / (1 - b))[:, None]
    return (weights * (targets * present + (1 - targets) * absent)).sum(2)


@pytest.mark.parametrize("device", DEVICES)
def test_memory_equals_the_formula(bank, device):
    skip_without(device)
    scores, mentions = bank
    worth = np.round(worth_by_hand(scores, mentions), 9)
    expected = np.argsort(-worth, axis=1, kind="stable")[:, :21]
    nobody = np.full(30, -1)
    found = memory_indices(scores, mentions, 21, nobody, np.arange(200), block_size=7, device=device)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("sorted_ids", [True, False])
def test_memory_leaves_out_the_group_of_the_query(bank, sorted_ids):
    """With ids in any order of the rows too: else a study's own report would be remembered."""
    scores, mentions = bank
    rank = np.arange(200) if sorted_ids else np.random.default_rng(2).permutation(200)
    ids = [f"s{number:03}" for number in rank]
    groups = np.arange(200) % 20
    queries = np.where(np.arange(30) < 10, np.arange(30), -1)
    found = memory_indices(scores, mentions, 21, queries, groups, block_size=4, bank_ids=ids)
    worth = worth_by_hand(scores, mentions).round(9)
    for i in range(30):
        order = [j for j in np.lexsort((rank, -worth[i])) if groups[j] != queries[i]]
        assert found[i].tolist() == order[:21]


def test_memory_finds_the_report_that_says_what_the_image_shows():
    mentions = np.full((4, 75), NOT_MENTIONED, np.int8)
    edema, clear, fracture = (ENTITIES.index(name) for name in ("edema", "clear", "fracture"))
    mentions[0, [edema, clear]] = PRESENT, DENIED
    mentions[1, [edema, clear]] = DENIED, PRESENT
    mentions[2, edema] = UNCERTAIN_MENTION
    mentions[3, fracture] = PRESENT
    scores = np.full((2, 75), 0.05)
    scores[0, [edema, clear]] = 0.95, 0.02
    scores[1, [edema, clear]] = 0.01, 0.9
    found = memory_indices(scores, mentions, 3, np.full(2, -1), np.arange(4))
    assert found[0, :2].tolist() == [0, 2]
    assert found[1, 0] == 1


def test_scores_of_exactly_0_and_1_are_finite(bank):
    _, mentions = bank
    scores = np.zeros((2, 75), np.float32)
    scores[1] = 1
    found = memory_indices(scores, mentions, 3, np.full(2, -1), np.arange(200))
    assert (found >= 0).all()
    assert found.tolist()[0] != found.tolist()[1]


def test_a_small_bank_repeats_in_order(bank):
    scores, mentions = bank
    found = memory_indices(scores[:2], mentions[:3], 7, np.array([1, -1]), np.arange(3))
    assert found.shape == (2, 7)
    assert 1 not in found[0]
    assert found[0].tolist() == [*found[0, :2]] * 3 + [found[0, 0]]
    assert found[1].tolist() == [*found[1, :3]] * 2 + [found[1, 0]]
    assert sorted(found[1, :3]) == [0, 1, 2]


def test_nothing_to_remember(bank):
    scores, mentions = bank
    with pytest.raises(UserError, match=r"row 1 may use none of the 2 training reports: .*--no-exclude_same_patient"):
        memory_indices(scores[:2], mentions[:2], 3, np.array([-1, 4]), np.array([4, 4]), block_size=1)
    with pytest.raises(UserError, match="row 0 may use none of the 0 training reports"):
        memory_indices(scores[:2], mentions[:0], 3, np.array([-1, -1]), np.array([], dtype=int))
    assert memory_indices(scores[:0], mentions, 3, np.array([], dtype=int), np.arange(200)).shape == (0, 3)


def test_ties_go_to_the_first_id_whatever_the_order(labels, bank):
    """Shuffle the studies: every study keeps the same neighbours and the same memory, by id."""
    rng = np.random.default_rng(2)
    ids = [f"s{number:03d}" for number in rng.permutation(len(labels))]
    order = rng.permutation(len(labels))
    plain = label_neighbours(labels, None, 5, ids=ids)
    shuffled = label_neighbours(labels[order], None, 5, ids=[ids[i] for i in order])
    by_id = {ids[i]: [ids[j] for j in plain[i]] for i in range(len(ids))}
    assert by_id == {ids[order[i]]: [ids[order[j]] for j in shuffled[i]] for i in range(len(ids))}
    assert not np.array_equal(plain, label_neighbours(labels, None, 5))  # there are ties
    scores, mentions = bank
    order = rng.permutation(200)
    nobody = np.full(30, -1)
    plain = memory_indices(scores, mentions, 7, nobody, np.arange(200), bank_ids=ids[:200])
    bank_ids = [ids[i] for i in order]
    shuffled = memory_indices(scores, mentions[order], 7, nobody, np.arange(200), bank_ids=bank_ids)
    assert [[ids[j] for j in row] for row in plain] == [[bank_ids[j] for j in row] for row in shuffled]
