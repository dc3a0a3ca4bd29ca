"""modules/labelling/cache.py: nothing is labelled twice, and a damaged file costs only time."""

import numpy as np

from modules.labelling.cache import cached_labels


class Counting:
    """Labels a text by its length and counts what it is asked."""

    name, checksum, conditions = "counting", "0123", ("a", "b")

    def __init__(self):
        self.asked = []

    def __call__(self, reports):
        self.asked += reports
        return np.array([[len(text) % 4, 1] for text in reports], dtype=np.int8)


def test_texts_are_labelled_once(tmp_path):
    labeler = Counting()
    first = cached_labels(labeler, ["a", "bb", "a", ""], tmp_path / "cache")
    assert first.tolist() == [[1, 1], [2, 1], [1, 1], [0, 1]]
    assert labeler.asked == ["a", "bb", ""]
    again = cached_labels(labeler, ["ccc", "bb"], tmp_path / "cache")
    assert again.tolist() == [[3, 1], [2, 1]]
    assert labeler.asked == ["a", "bb", "", "ccc"]
    (file,) = (tmp_path / "cache").iterdir()
    assert b"bb" not in file.read_bytes()


def test_another_labeler_has_another_cache(tmp_path):
    first, second = Counting(), Counting()
    second.checksum = "4567"
    cached_labels(first, ["a"], tmp_path)
    cached_labels(second, ["a"], tmp_path)
    assert second.asked == ["a"]


def test_a_damaged_cache_is_made_anew(tmp_path):
    labeler = Counting()
    cached_labels(labeler, ["a"], tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert cached_labels(labeler, ["a"], tmp_path).tolist() == [[1, 1]]
    assert labeler.asked == ["a", "a"]
    assert cached_labels(labeler, ["a"], None).tolist() == [[1, 1]]
