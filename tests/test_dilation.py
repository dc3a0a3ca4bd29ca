"""models/dilation.py: a finer grid from the same weights."""

import pytest
import torch
from tiny import tiny_config
from torchvision.models.resnet import resnet50

from models.dilation import keep_resolution
from models.revtaf import Revtaf
from models.visual_encoder import VisualEncoder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet10n", "resnet18", "resnet50"])
def test_the_old_patches_are_among_the_new_ones(name):
    """Inside the image, where no border is seen: every second new patch is an old one."""
    torch.manual_seed(0)
    encoder = VisualEncoder(name, 352).eval()
    image = torch.randn(1, 3, 352, 352)
    with torch.no_grad():
        coarse = encoder(image).patches
        keep_resolution(encoder.backbone.layer4)
        fine = encoder(image).patches
    fine, coarse = (patches.transpose(1, 2).unflatten(2, (side, side)) for patches, side in ((fine, 22), (coarse, 11)))
    inside = slice(4, -4)
    torch.testing.assert_close(
        fine[..., ::2, ::2][..., inside, inside], coarse[..., inside, inside], rtol=1e-3, atol=1e-4
    )


def test_the_dilation_of_bottlenecks_is_torchvisions():
    plain, dilated = resnet50(weights=None), resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
    keep_resolution(plain.layer4)
    ours, theirs = ([(m.stride, m.dilation, m.padding) for m in net.layer4.modules() if isinstance(m, torch.nn.Conv2d)]
                    for net in (plain, dilated))  # fmt: skip
    assert ours == theirs


def test_the_finer_grid_reaches_the_maps():
    model = Revtaf(tiny_config(grid="2x", visual_extractor="resnet18"))
    assert model.visual_encoder.grid == 4
    patches, pooled, *_ = model.visual_encoder(torch.randn(2, 3, 64, 64))
    assert patches.shape == (2, 16, 512)
    assert pooled.shape == (2, 512)
