"""modules/evaluation/grounding/sign_masks.py: which row of the table knows which masks."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import small_bank, small_set

from modules.corpus.annotations import Study
from modules.evaluation.grounding.boxes import mask_file
from modules.evaluation.grounding.sign_masks import ground
from modules.labels import CONDITIONS, POSITIVE

SIGN, SIDE = "pleural effusion", 16
PRIOR, TOLD_LABELS, TOLD_MASKS = (
    "location prior (training masks)",
    "linear probe (labels)",
    "linear probe (training masks)",
)


def draw(folder, studies, half):
    """The sign in one half of every study that shows it, the first ones."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, half] = True
    for n, study in enumerate(studies):
        path = mask_file(folder, study)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{SIGN: mask} if n < 3 else {})


@pytest.fixture
def grounded(tmp_path, tiny_model):
    """The rows of a test whose signs are on the left, from training masks in a half of one's choice."""
    rng = np.random.default_rng(0)
    train = [Study(id=f"b{i}", image_path=(f"b{i}.png",), report="a .", split="train") for i in range(8)]
    asked = {f"q{i}": "a ." for i in range(6)}
    labels = np.zeros((14, len(CONDITIONS)))
    labels[[0, 1, 2, 8, 9, 10], CONDITIONS.index(SIGN)] = POSITIVE
    bank = small_bank(tmp_path, {study.id: study.report for study in train}, labels, others=asked)
    dataset = small_set(bank, asked)
    for study in [*train, *dataset.studies]:
        pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / study.image_path[0])
    draw(tmp_path / "masks", dataset.studies, slice(0, SIDE // 2))
    maps = np.zeros((6, 13, 4), np.float32)

    def rows(half):
        draw(tmp_path / "masks", train, half)
        return ground(tiny_model(), maps, dataset, train, tmp_path / "masks", torch.device("cpu"), seed=0)["rows"]

    return rows


def test_the_location_prior_is_of_the_training_masks_and_a_probe_of_labels_knows_no_mask(grounded):
    left, right = grounded(slice(0, SIDE // 2)), grounded(slice(SIDE // 2, SIDE))
    assert [rows[PRIOR]["hit_rate"] for rows in (left, right)] == [1, 0]
    assert left[TOLD_LABELS] == right[TOLD_LABELS]
    assert left[TOLD_MASKS]["hit_rate"] > right[TOLD_MASKS]["hit_rate"]
    for name in ("maps", "chance", "centre"):
        assert left[name] == right[name]
        assert left[name]["signs"][SIGN]["studies"] == 3
