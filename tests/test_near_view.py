"""A map sees what is near, and presence alone teaches it where."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import tiny_study
from torch import nn
from torch.nn import functional as F

from models.near_view import NearView
from models.ot_attention import TransportAttention
from models.visual_encoder import VisualEncoder
from modules.training.fitted_maps import STUDIES


@pytest.mark.parametrize(
    ("view", "grid", "pixels", "moved"),
    [
        ("near", "1x", 4, [0]), ("patches", "1x", 4, list(range(9))), ("near", "2x", 2, [0]), ("near", "2x", 16, [0, 1, 6, 7]),
        ("fine", "1x", 16, [0]), ("fine", "1x", 32, [0, 1, 3, 4]), ("fine", "2x", 2, [0]), ("fine", "2x", 16, [0, 1, 6, 7]),
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
    look = NearView(stage.shape[1], 6)
    view = look(look.cells(stage))
    assert view.shape == (2, seen.patches.shape[1], 6)


def test_a_patch_is_the_mean_of_its_own_part_of_the_stage():
    stage = torch.randn(2, 5, 7, 7)
    view = NearView(5, 5)
    nn.init.eye_(view.linear.weight)
    nn.init.zeros_(view.linear.bias)
    corner = stage[:, :, 4:, 4:].mean(dim=(2, 3))  # begun, 3 x 3
    torch.testing.assert_close(view(view.cells(stage))[:, 3], F.layer_norm(corner, (5,)).relu())


def test_a_model_without_stages_is_seen_by_its_patches():
    patches = torch.randn(2, 9, 5)
    view = NearView(5, 4)
    torch.testing.assert_close(view(view.cells(patches)), view.linear(F.layer_norm(patches, (5,))).relu())


def test_a_patch_of_fine_cells_has_the_mean_of_their_cosines(tiny_model):
    """Cells of 8 pixels, two positions of the first stage, four along a side of a patch; what the map says, cell by cell."""
    model, study = tiny_model(map_view="fine", image_size=96, visual_extractor="resnet10n"), tiny_study(size=96)
    stage = model.visual_encoder(study.image).nearest  # (B, C, 24, 24)
    cells = F.avg_pool2d(stage, 2).permute(0, 2, 3, 1)  # (B, 12, 12, C)
    seen = F.normalize(model.fusion.attention.q(model.near_view(cells)), dim=-1)
    found = torch.einsum("bhwa,ka->bkhw", seen, F.normalize(model.entity_queries.query, dim=-1))
    fused = model.fuse(study)
    torch.testing.assert_close(fused.region_map, F.avg_pool2d(found, 4).flatten(2))
    sentences = model.fusion.attention.k(model.project_reference(study.reference_text))  # (B, S, A)
    found = torch.einsum("bhwa,bsa->bshw", seen, F.normalize(sentences, dim=-1))
    real = study.reference_mask
    torch.testing.assert_close(fused.reference_map[real], F.avg_pool2d(found, 4).flatten(2)[real])


def test_a_patch_that_a_sign_fills_has_more_than_one_whose_border_it_crosses():
    """What the cells' mean is for: one bright cell of sixteen makes a mean of features as like as sixteen do, or more so."""
    view, queries = NearView(2, 2, across=4), torch.tensor([[[1.0, 0.0]]])
    nn.init.eye_(view.linear.weight)
    nn.init.zeros_(view.linear.bias)
    dark, sign = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    cells = dark.expand(1, 2, 16, 2).clone()
    cells[0, 0, :1] = 9 * sign  # crossed, and bright
    cells[0, 1] = sign
    crossed, filled = TransportAttention.cosine(view(cells), queries)[0][0, 0]
    assert filled > 0.99
    assert float(crossed.detach()) == pytest.approx(1 / 16, abs=0.01)


@pytest.mark.parametrize(("size", "grid", "patches"), [(100, "1x", 16), (96, "1x", 9), (100, "2x", 49), (65, "2x", 25)])
def test_fine_cells_stand_in_their_patches_whatever_the_size(tiny_model, size, grid, patches):
    """A patch beyond the border repeats the last cell before it."""
    model = tiny_model(map_view="fine", image_size=size, visual_extractor="resnet10n", grid=grid)
    study = tiny_study(size=size)
    assert model.fuse(study).region_map.shape[2] == model.visual_encoder(study.image).patches.shape[1] == patches
    across = 4 if grid == "1x" else 2
    view, side = NearView(1, 1, across), -(-size // 4)
    cells = view.cells(torch.arange(side * side).view(1, 1, side, side).float())
    assert cells.shape == (1, patches, across**2, 1)
    rows, stage = round(patches**0.5), torch.arange(side * side).view(side, side).float()
    last = slice((side - 1) // 2 * 2, side)
    right, below = cells[0, rows - 1, across - 1], cells[0, -rows, (across - 1) * across]
    assert [float(right), float(below)] == pytest.approx([float(stage[:2, last].mean()), float(stage[last, :2].mean())])


def test_the_documents_say_what_a_fit_holds():
    """Of a ResNet-101 at 224 pixels, whose first stage has 256 channels, in float16."""
    stage, told = torch.zeros(1, 256, 56, 56), (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    fine, wide = (NearView(256, 1, across).cells(stage) for across in (4, 1))
    held = [f"{2 * cells.numel() * STUDIES / 1e9:.1f}".removeprefix("0") for cells in (fine, wide)]
    assert f"cells of 8 pixels {held[0]} GB of a ResNet-101 at 224 pixels, for {held[1]} GB with those of 16" in told
