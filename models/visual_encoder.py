"""The ResNet that turns an X-ray into patches."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn


class VisualEncoder(nn.Module):
    """ResNet without its classifier; parameter names below ``backbone`` are torchvision's.

    Args:
        name: a torchvision ResNet, for example ``"resnet101"``. Weights are random: ``modules/checkpoints.py`` loads
            trained ones.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        network = getattr(torchvision.models, name)(weights=None)
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
