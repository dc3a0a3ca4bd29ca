"""A map sees what is near, and presence alone teaches it where."""

from dataclasses import replace

import pytest
import torch
from tiny import tiny_study
from torch import nn
from torch.nn import functional as F

from models.near_view import NearView
from models.visual_encoder import VisualEncoder


@pytest.mark.parametrize(
    ("view", "grid", "pixels", "moved"),
    [
        ("near", "1x", 4, [0]), ("patches", "1x", 4, list(range(9))), ("near", "2x", 2, [0]), ("near", "2x", 16, [0, 1, 6, 7]),
    ],
)  # fmt: skip
def test_only_what_is_near_moves_a_map(tiny_model, view, grid, pixels, moved):
    """A corner changes. Of 3 x 3 patches each sees its own 32 pixels and 25 around them, of 6 x 6 its own 16 and 13."""
    model = tiny_model(map_view=view, grid=grid, image_size=96, visual_extractor="resnet10n")
    study = tiny_study(size=96)
    image = study.image.clone()
    image[:, :, :pixels, :pixels] += 1
    change = (model.fuse(study).region_map - model.fuse(replace(study, image=image)).region_map).abs().amax(dim=(0, 1))
    assert (change > 1e-6).nonzero().flatten().tolist() == moved


@pytest.mark.parametrize(
    ("name", "size", "fine"), [("resnet18", 64, False), ("resnet10n", 100, False), ("resnet50", 65, True)]
)
def test_the_view_has_the_grid_of_the_patches(name, size, fine):
    encoder = VisualEncoder(name, size, fine=fine)
    seen = encoder(torch.randn(2, 3, size, size))
    stage = seen.nearest if fine else seen.near
    view = NearView(stage.shape[1], 6)(stage)
    assert view.shape == (2, seen.patches.shape[1], 6)


def test_a_patch_is_the_mean_of_its_own_part_of_the_stage():
    stage = torch.randn(2, 5, 7, 7)
    view = NearView(5, 5)
    nn.init.eye_(view.linear.weight)
    nn.init.zeros_(view.linear.bias)
    corner = stage[:, :, 4:, 4:].mean(dim=(2, 3))  # begun, 3 x 3
    torch.testing.assert_close(view(stage)[:, 3], F.layer_norm(corner, (5,)).relu())


def test_a_model_without_stages_is_seen_by_its_patches():
    patches = torch.randn(2, 9, 5)
    view = NearView(5, 4)
    torch.testing.assert_close(view(patches), view.linear(F.layer_norm(patches, (5,))).relu())
