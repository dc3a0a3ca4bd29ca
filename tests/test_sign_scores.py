"""modules/evaluation/grounding/sign_scores.py: maps and masks drawn by hand, with known values."""

import numpy as np
import pytest
import torch
from PIL import Image

from modules.corpus.images import crop_image
from modules.evaluation.grounding.patch_probes import probe_maps
from modules.evaluation.grounding.sign_scores import (
    MEASURES,
    SIGN_ENTITIES,
    SIGNS,
    cell_coverage,
    centre_maps,
    constant_maps,
    grounding_lines,
    grounding_table,
    location_maps,
    pointing,
    sign_maps,
)
from modules.labels import CONDITIONS, ENTITIES

LEFT_COLUMN = np.array([[1.0, 0, 0, 1, 0, 0, 1, 0, 0]])  # of a 3 x 3 grid
G = len(SIGNS)


def test_signs_and_their_entities_exist():
    assert set(SIGNS) <= set(CONDITIONS)
    assert {entity for entities in SIGN_ENTITIES.values() for entity in entities} <= set(ENTITIES)


def test_a_map_on_the_sign_has_full_marks_and_its_opposite_none():
    right = pointing(LEFT_COLUMN, LEFT_COLUMN)
    assert right["hit_rate"] == right["auroc"] == right["soft_iou"] == 1
    wrong = pointing(-LEFT_COLUMN, LEFT_COLUMN)
    assert wrong["hit_rate"] == wrong["auroc"] == wrong["soft_iou"] == 0


def test_a_flat_map_has_what_chance_gives():
    flat = pointing(np.full((1, 9), 7.0), LEFT_COLUMN)
    assert flat["hit_rate"] == pytest.approx(1 / 3)
    assert flat["auroc"] == 0.5
    assert flat["soft_iou"] == pytest.approx(1 / 3)
    assert flat["cnr"] == 0


def test_the_measures_of_a_hand_made_map():
    maps = np.array([[0.2, 0.8, 0.0, 1.0, 0.4, 0.2, 0.0, 0.0, 0.0]])
    coverage = np.array([[0.4, 0.1, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0]])  # on the sign: patches 0 and 3
    values = pointing(maps, coverage)
    assert values["hit_rate"] == 1
    assert values["auroc"] == pytest.approx((7 + 4.5) / 14)  # 3 beats seven; 0 beats four and ties with one
    assert values["soft_iou"] == pytest.approx((0.2 + 0.25 + 0.75) / (1 + 0.8 + 1 + 0.4 + 0.2))
    outside = np.array([0.8, 0, 0.4, 0.2, 0, 0, 0])
    assert values["cnr"] == pytest.approx((0.6 - outside.mean()) / np.sqrt(0.16 + outside.var()))


def test_equal_highest_patches_count_by_the_share_that_is_on_the_sign():
    assert pointing(np.array([[1.0, 1, 0, 0, 0, 0, 0, 0, 0]]), LEFT_COLUMN)["hit_rate"] == 0.5


def test_a_sign_that_covers_everything_has_no_auroc():
    values = pointing(LEFT_COLUMN, np.ones((1, 9)))
    assert values["hit_rate"] == 1
    assert values["auroc"] is values["cnr"] is None


def test_scale_and_offset_of_a_map_do_not_matter():
    rng = np.random.default_rng(0)
    maps, coverage = rng.random((20, 9)), rng.random((20, 9))
    assert pointing(3 * maps - 5, coverage) == pytest.approx(pointing(maps, coverage))


@pytest.mark.parametrize(("side", "image_size", "grid"), [(110, 96, 3), (110, 96, 6), (128, 112, 7), (64, 224, 7)])
def test_coverage_is_that_of_the_crop_which_the_network_sees(side, image_size, grid):
    """Against the crop itself: the mask drawn as an image, cropped as images are, and averaged over the patches."""
    mask = np.zeros((side, side), bool)
    mask[side // 5 : side // 2, side // 4 : side // 3] = True
    mask[: side // 10] = True
    seen = crop_image(Image.fromarray((255 * mask).astype(np.uint8)), image_size)[0].double() / 255
    average = torch.nn.functional.adaptive_avg_pool2d(seen[None, None], grid).flatten().numpy()
    tolerance = 1e-9 if round(image_size * 256 / 224) == side else 0.03  # a resized mask has soft edges
    assert cell_coverage(mask, image_size, grid) == pytest.approx(average, abs=tolerance)


def test_coverage_does_not_depend_on_the_resolution_of_the_mask():
    mask = np.random.default_rng(1).random((55, 55)) > 0.7
    fine = mask.repeat(2, 0).repeat(2, 1)
    assert cell_coverage(mask, 96, 3) == pytest.approx(cell_coverage(fine, 96, 3))


def test_the_map_of_a_sign_is_the_mean_over_the_entities_that_name_it():
    maps = np.random.default_rng(2).random((2, len(ENTITIES), 9))
    found = sign_maps(maps)
    lesion = (maps[:, ENTITIES.index("nodule")] + maps[:, ENTITIES.index("mass")]) / 2
    assert found.shape == (2, G, 9)
    assert found[:, SIGNS.index("lung lesion")] == pytest.approx(lesion)


def everywhere_but(sign, studies=4):
    """Coverage and shown: only one sign is drawn, in the left column."""
    coverage, shown = np.zeros((studies, G, 9)), np.zeros((studies, G), bool)
    coverage[:, SIGNS.index(sign)] = LEFT_COLUMN
    shown[:, SIGNS.index(sign)] = True
    return coverage, shown


def test_the_table_has_a_row_for_every_map_and_the_signs_that_are_shown():
    coverage, shown = everywhere_but("fracture")
    shown[3] = False
    rows = {"maps": coverage, "chance": constant_maps(4, 3), "centre": centre_maps(4, 3)}
    table = grounding_table(rows, coverage, shown)
    assert table["maps"]["hit_rate"] == 1
    assert table["chance"]["hit_rate"] == pytest.approx(1 / 3)
    assert table["centre"]["hit_rate"] == 0
    assert list(table["maps"]["signs"]) == ["fracture"]
    assert table["maps"]["signs"]["fracture"]["studies"] == 3
    assert set(MEASURES) < set(table["maps"])
    assert len(grounding_lines(table)) == 2 + 3


def test_a_sign_that_the_crop_hides_is_not_asked_for():
    coverage, shown = everywhere_but("fracture")
    coverage[0] = 0
    assert grounding_table({"maps": coverage}, coverage, shown)["maps"]["signs"]["fracture"]["studies"] == 3


def test_the_location_prior_is_the_mean_mask_of_the_training_studies_that_show_the_sign():
    coverage, shown = everywhere_but("fracture")
    coverage[0, SIGNS.index("fracture")] = np.eye(9)[4]
    shown[1] = False
    prior = location_maps(5, coverage, shown)
    assert prior.shape == (5, G, 9)
    assert prior[2, SIGNS.index("fracture")] == pytest.approx((np.eye(9)[4] + 2 * LEFT_COLUMN[0]) / 3)


@pytest.mark.slow
def test_a_probe_told_only_labels_finds_the_patch_that_makes_them():
    """The label is positive where one patch, at a random place, carries the sign's direction."""
    rng = np.random.default_rng(3)
    shown = rng.random((300, G)) < 0.5
    places = rng.integers(9, size=(300, G))
    patches = 0.1 * rng.standard_normal((300, 9, 2 * G)).astype(np.float32)
    for g in range(G):
        patches[np.arange(300), places[:, g], g] += shown[:, g]
    known = torch.from_numpy(patches)
    coverage = np.eye(9)[places] * shown[..., None]  # (n, G, M)
    table = grounding_table({"probe": probe_maps(known, shown, known, seed=1)}, coverage, shown)
    assert table["probe"]["hit_rate"] > 0.9
    told = grounding_table({"probe": probe_maps(known, coverage, known, seed=1)}, coverage, shown)
    assert told["probe"]["hit_rate"] > 0.9
