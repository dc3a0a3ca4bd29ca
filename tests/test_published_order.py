"""modules/preparation/published/order.py: files without ids are believed only in the order of their own annotation."""

import json

import numpy as np
import pytest

from modules.messages import UserError
from modules.preparation.published.order import check_order
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


def test_a_few_studies_say_nothing(published):
    path, labels = published
    check_order(path, labels[::-1][:20])
