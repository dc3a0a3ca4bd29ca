"""A stage of a ResNet that keeps the resolution that it is given."""

from __future__ import annotations

from torch import nn


def keep_resolution(stage: nn.Module) -> None:
    """Take the stride out of a ResNet's stage and spread the 3 x 3 convolutions behind it, in place.

    Every patch of the old grid is computed as before, but for what it sees at the border; between them lie new ones. The
    parameters stay as they are.

    Departure: the released code has stride 32, 7 x 7 patches of a 224-pixel image; ``--grid 1x`` does so.

    Source: dilated residual networks, Yu et al., CVPR 2017.
    """
    passed = False  # the convolution that had the stride
    for module in stage.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        strided = module.stride == (2, 2)
        module.stride = (1, 1)
        if passed and module.kernel_size == (3, 3):
            module.dilation = module.padding = (2, 2)
        passed = passed or strided  # the shortcut has one too, and stands behind it
