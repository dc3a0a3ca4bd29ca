"""modules/training/known_pairs.py: which sentences of the bank speak of which entities."""

import numpy as np
import pytest
import torch
from small_set import small_bank, small_set

from modules.labelling.mentions import EXCLUDED
from modules.labels import ENTITIES
from modules.training.known_pairs import UNKNOWN, KnownPairs

REPORTS = ["no effusion . heart is enlarged .", "large effusion .", "three sentences . of which . two are stored ."]
EFFUSION, ENLARGE, TUBE = (ENTITIES.index(name) for name in ("effusion", "enlarge", "tube"))


@pytest.fixture(scope="module")
def train_set(tmp_path_factory):
    """Studies whose references are the second report, none, the first and the third, whose sentences were split otherwise."""
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float16)
    features[2] = features[0]  # the two sentences about effusion are stored alike
    reports = dict(zip("abc", REPORTS, strict=True))
    folder = tmp_path_factory.mktemp("features")
    bank = small_bank(folder, reports, np.zeros((4, 18)), others="d", offsets=[0, 2, 3, 5], sentences=features)
    dataset = small_set(bank, {**reports, "d": "clear lungs ."})
    dataset.refer_to(np.array([[1], [-1], [0], [2]]))
    return dataset


def test_a_sentence_is_paired_with_the_entities_that_it_asserts_or_denies(train_set):
    pairs = KnownPairs(train_set, "mentions")([0, 2], torch.zeros(2, 3, 9))
    assert pairs.shape == (2, 75, 3)
    assert pairs[0, :, 0].nonzero().flatten().tolist() == [EFFUSION, ENTITIES.index("enlarge")][:1]
    assert pairs[1, EFFUSION, 0] == 1
    assert pairs[1, ENLARGE, 0] == 0
    assert pairs[1, ENLARGE, 1] == 1


def test_a_sentence_that_names_no_entity_is_paired_with_none(tmp_path):
    reports = {"a": "large effusion . as compared with before ."}
    dataset = small_set(small_bank(tmp_path, reports, np.zeros((1, 18))), reports)
    dataset.refer_to(np.array([[0]]))
    for kind in ("mentions", "stored"):
        pairs = KnownPairs.of(dataset, kind)([0], torch.zeros(1, 2, 9))
        assert not pairs[0, EXCLUDED].any()
        assert kind == "stored" or pairs[0].nonzero().tolist() == [[EFFUSION, 0]]


def test_padding_no_reference_and_sentences_stored_otherwise_are_unknown(train_set):
    pairs = KnownPairs(train_set, "mentions")([0, 1, 3], torch.zeros(3, 3, 9))
    assert (pairs[0, :, 1:] == UNKNOWN).all()
    assert (pairs[1:] == UNKNOWN).all()


def test_stored_sentences_that_are_alike_are_paired_alike(train_set):
    stored = KnownPairs(train_set, "stored")
    first, second = stored([2], torch.zeros(1, 3, 9)), stored([0], torch.zeros(1, 3, 9))
    assert first[0, EFFUSION, 0] == second[0, EFFUSION, 0] == pytest.approx(1, abs=1e-3)
    assert first[0, TUBE, 0] == 0, "no sentence names a tube"
    assert ((first == UNKNOWN) | ((first >= 0) & (first <= 1.001))).all()


def test_stored_pairs_are_cosines_with_the_mean_of_the_sentences_that_name_the_entity(tmp_path):
    """The sentence about the heart names no effusion: a mention says 0 there, what is stored says how near it is."""
    reports = {"a": "large effusion . small effusion . heart is enlarged . clear lungs ."}
    features = np.array([[4, 0], [4, 2], [3, 3], [-6, -3]], np.float16)
    bank = small_bank(tmp_path, reports, np.zeros((1, 18)), sentences=features)
    dataset = small_set(bank, reports)
    dataset.refer_to(np.array([[0]]))
    stored = features.astype(float) - features.mean(axis=0)
    effusion = stored[:2].mean(axis=0)
    cosine = stored @ effusion / np.linalg.norm(stored, axis=1) / np.linalg.norm(effusion)
    assert 0.5 < cosine[2] < 0.9
    for kind, expected in (("stored", cosine.clip(0)), ("mentions", [1, 1, 0, 0])):
        pairs = KnownPairs.of(dataset, kind)([0], torch.zeros(1, 4, 9))
        np.testing.assert_allclose(pairs[0, EFFUSION], expected, atol=2e-3)


def test_all_pairs_need_no_truth(train_set):
    assert KnownPairs.of(train_set, "all") is None
