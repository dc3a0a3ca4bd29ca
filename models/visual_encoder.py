"""The ResNet that turns an X-ray into patches."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet


class NarrowResNet(ResNet):
    """torchvision's ResNet with one basic block a stage and half the channels; there are no trained weights of it."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1])
        self.inplanes = 32
        self.conv1 = nn.Conv2d(3, 32, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        for stage, width in enumerate((32, 64, 128, 256), start=1):
            setattr(self, f"layer{stage}", self._make_layer(BasicBlock, width, 1, stride=1 if stage == 1 else 2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class VisualEncoder(nn.Module):
    """ResNet without its classifier; parameter names below ``backbone`` are torchvision's.

    Args:
        name: a torchvision ResNet, for example ``"resnet101"``, or ``"resnet10n"``, a narrow one for two CPU cores: one
            block a stage, half the channels of ``resnet18``. Weights are random: ``modules/weights/checkpoints.py`` loads
            trained ones.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        network = NarrowResNet() if name == "resnet10n" else getattr(torchvision.models, name)(weights=None)
        self.backbone = nn.Sequential()
        for child in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.backbone.add_module(child, getattr(network, child))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            image: ``(B, 3, height, width)`` normalised images, sides divisible by 32.

        Returns:
            ``patches`` ``(B, M, D)``, row by row over the last feature map, and ``pooled`` ``(B, D)``, their mean.
        """
        feature_map = self.backbone(image)  # (B, D, height / 32, width / 32)
        patches = feature_map.flatten(2).transpose(1, 2)  # (B, M, D)
        return patches, patches.mean(dim=1)  # (B, D)
