"""modules/preparation/published/order.py: files without ids are believed only in the order of their own annotation."""

import json
import re

import numpy as np
import pytest

from modules.labels import ENTITIES
from modules.messages import UserError
from modules.preparation.published.order import check_order, check_scores
from modules.retrieval.neighbours import label_neighbours


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Labels of 200 studies of a few kinds, and their label neighbours, the study itself among them as published."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, (12, 18))
    labels = np.where(rng.random((200, 18)) < 0.1, rng.integers(0, 4, (200, 18)), kinds[rng.integers(0, 12, 200)])
    rows = label_neighbours(labels, None, 5)
    path = tmp_path_factory.mktemp("published") / "hash_distance.json"
    path.write_text(json.dumps([[number, *row] for number, row in enumerate(rows.tolist())]))
    return path, labels


def test_the_order_of_the_annotation_is_taken(published):
    check_order(*published)


def test_another_order_is_refused(published):
    path, labels = published
    order = np.random.default_rng(1).permutation(len(labels))
    for wrong in (labels[order], labels[::-1], np.roll(labels, 1, axis=0)):
        with pytest.raises(
            UserError, match="is in another order than the annotation: a study and its first neighbour differ"
        ):
            check_order(path, wrong)


def test_a_part_in_another_order_is_refused(published):
    """As one study more at the front of the last part and one less at its end make it."""
    path, labels = published
    wrong = labels.copy()
    wrong[130:] = np.roll(labels[130:], 1, axis=0)
    with pytest.raises(UserError, match="is in another order than the annotation"):
        check_order(path, wrong)


def test_a_few_studies_say_nothing(published):
    path, labels = published
    check_order(path, labels[::-1][:20])


def some_scores(studies):
    """Scores that half know what is in a report, and the reports."""
    rng = np.random.default_rng(0)
    found = rng.random((studies, 10)) < 0.2
    reports = [
        " . ".join(["the heart is normal", *(f"there is {ENTITIES[k]}" for k in np.flatnonzero(row))]) for row in found
    ]
    scores = rng.random((studies, len(ENTITIES)), dtype=np.float32)
    scores[:, :10] += 0.3 * found
    return scores, reports


@pytest.mark.slow
def test_scores_of_which_a_part_is_of_other_studies_are_refused(tmp_path):
    """The mean over the whole split is far from chance then; every other row exchanged cannot be told from a poor scorer."""
    scores, reports = some_scores(3000)
    path = tmp_path / "image_region_score_test.json"
    check_scores(path, scores, reports)
    for first, last in ((1500, 3000), (0, 1500), (1000, 2000)):
        wrong = scores.copy()
        wrong[first:last] = np.random.default_rng(1).permutation(scores[first:last])
        with pytest.raises(UserError, match=r"test\.json, rows [\d,]+ to [\d,]+ of it, is in another order") as refusal:
            check_scores(path, wrong, reports)
        begin, end = (int(word.replace(",", "")) for word in re.findall(r"[\d,]+(?= to| of it)", str(refusal.value)))
        assert begin < last
        assert end > first


def test_a_poor_scorer_is_not_taken_for_another_order(tmp_path):
    scores, reports = some_scores(3000)
    poor = scores.copy()
    poor[:, :10] = np.random.default_rng(2).random((3000, 10)) + 0.3 * (scores[:, :10] - 0.5)
    check_scores(tmp_path / "image_region_score_test.json", poor, reports)


def test_scores_of_other_studies_are_refused(tmp_path):
    """In their order and in two others."""
    scores, reports = some_scores(200)
    rng = np.random.default_rng(0)
    path = tmp_path / "image_region_score_test.json"
    check_scores(path, scores, reports)
    for wrong in (np.roll(scores, 1, axis=0), scores[rng.permutation(200)], scores[::-1]):
        with pytest.raises(
            UserError, match=r"test\.json is in another order than the annotation: the scores of a study"
        ):
            check_scores(path, wrong, reports)
    check_scores(path, scores[::-1][:99], reports[:99])  # too few to say
