"""The image model that turns an X-ray into patches: a ResNet, or any vision model of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from models.config import BACKBONES
from models.dilation import keep_resolution
from models.huggingface_backbone import HuggingFacePatches

NARROW = {"resnet10n": 32, "resnet10q": 16}  # channels of the first stage


class NarrowResNet(ResNet):
    """torchvision's ResNet with one basic block a stage and fewer channels; there are no trained weights of it.

    Args:
        first: channels of the first stage.
    """

    def __init__(self, first: int) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1])
        self.inplanes = first
        self.conv1 = nn.Conv2d(3, first, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        for stage in range(1, 5):
            blocks = self._make_layer(BasicBlock, first * 2 ** (stage - 1), 1, stride=1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNetPatches(nn.Sequential):
    """A torchvision ResNet without its classifier; parameter names are torchvision's.

    Args:
        name: one of ``BACKBONES``: torchvision's, or ``"resnet10n"`` and ``"resnet10q"``, narrow ones for two CPU cores: one block
            a stage, a half and a quarter of the channels of ``resnet18``. Weights are random: ``modules/weights/checkpoints.py``
            loads trained ones.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        network = NarrowResNet(NARROW[name]) if name in NARROW else getattr(torchvision.models, name)(weights=None)
        for child in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(child, getattr(network, child))
        self.width = 8 * NARROW[name] if name in NARROW else network.fc.in_features

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(B, 3, height, width)`` to patches ``(B, M, D)``, one for every 32 x 32 pixels, begun ones included.

        Returns:
            The patches, the second stage ``(B, C, height / 8, width / 8)`` and the first ``(B, C / 2, height / 4, width / 4)``.
        """
        nearest = self.first_stage(image)
        near = self.get_submodule("layer2")(nearest)
        x = self.get_submodule("layer4")(self.get_submodule("layer3")(near))
        return x.flatten(2).transpose(1, 2), near, nearest

    def first_stage(self, image: Tensor) -> Tensor:
        """The first stage alone: ``(B, C / 2, height / 4, width / 4)``."""
        return self.get_submodule("layer1")(self.begin(image))

    def begin(self, image: Tensor) -> Tensor:
        """What comes before the blocks: a quarter of the height and width."""
        for part in ("conv1", "bn1", "relu", "maxpool"):
            image = self.get_submodule(part)(image)
        return image


def resnet_grid(image_size: int, fine: bool) -> int:
    """Patches along a side of a square image: one for every 32 pixels, or 16 if ``fine``, begun ones included."""
    return -(-image_size // (16 if fine else 32))


class Backbone(NamedTuple):
    """An image model without a head."""

    module: nn.Module  # (B, 3, height, width) -> patches (B, M, D), row by row; and a ResNet's second and first stage
    width: int  # D
    grid: int  # patches along a side of the square image


def build(name: str, image_size: int, folder: Mapping[str, Any] | None = None, fine: bool = False) -> Backbone:
    """Make an image model with random weights.

    Args:
        name: one of ``BACKBONES``, or anything else with ``folder``.
        image_size: side of the square images in pixels.
        folder: what ``modules/weights/backbones.py`` read of a Hugging Face folder: ``architecture``, ``mean``, ``std``.
        fine: whether a ResNet makes patches of 16 pixels instead of 32.

    Raises:
        ValueError: if the model cannot read images of this size, or has no patches.
    """
    if folder is not None:
        patches = HuggingFacePatches(image_size=image_size, **folder)
        return Backbone(patches, patches.width, patches.grid)
    assert name in BACKBONES, f"{name} needs the description of its folder"
    resnet = ResNetPatches(name)
    if fine:
        keep_resolution(cast(nn.Module, resnet.layer4))
    return Backbone(resnet, resnet.width, resnet_grid(image_size, fine))


class Seen(NamedTuple):
    """What an image model makes of a batch of images."""

    patches: Tensor  # (B, M, D), row by row over the image
    pooled: Tensor  # (B, D), their mean
    near: Tensor  # (B, C, height / 8, width / 8), the second stage of a ResNet; else the patches again
    nearest: Tensor  # (B, C / 2, height / 4, width / 4), the first stage of a ResNet; else the patches again


class VisualEncoder(nn.Module):
    """A backbone and the mean of its patches; its arguments are those of :func:`build`.

    Attributes:
        width: D.
        grid: patches along a side; M is its square.
    """

    def __init__(self, name: str, image_size: int, folder: Mapping[str, Any] | None = None, fine: bool = False) -> None:
        super().__init__()
        self.backbone, self.width, self.grid = build(name, image_size, folder, fine)

    def forward(self, image: Tensor) -> Seen:
        """Encode images.

        Args:
            image: ``(B, 3, height, width)``, normalised with ImageNet's mean and deviation whatever the backbone.
        """
        output = self.backbone(image)
        patches, near, nearest = output if isinstance(output, tuple) else (output, output, output)  # (B, M, D)
        return Seen(patches, patches.mean(dim=1), near, nearest)

    def first_stage(self, image: Tensor) -> Tensor:
        """``nearest`` of :class:`Seen`; a ResNet computes nothing behind it."""
        first_stage: Callable[[Tensor], Tensor] | None = getattr(self.backbone, "first_stage", None)
        return self(image).nearest if first_stage is None else first_stage(image)
