"""What the maps look at: an early stage of the image model, which sees only what is near."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 4  # positions of the stage along a side of a patch


class NearView(nn.Module):
    """What each patch shows of its own neighbourhood: of 32 pixels by the second stage, of 16 by the first.

    A patch of the last stage sees the whole image, so that any patch can answer for a sign anywhere. One of an early
    stage cannot. The second sees up to 25 pixels around a cell (``resnet10n``; 45 of ResNet-101): one of 32 pixels is
    more than that, one of 16 beside a sign answered for it. The first sees up to 13 (17).

    Departure: the released code compares texts with the patches of the last stage. ``--map_view patches`` does so.

    Args:
        channels: C, of the early stage.
        width: A.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, width)

    def forward(self, stage: Tensor) -> Tensor:
        """``(B, C, height, width)``, or ``(B, M, C)`` of a model without stages, to ``(B, M, A)``."""
        return self.linear(self.norm(self.cells(stage))).relu()

    def cells(self, stage: Tensor) -> Tensor:
        """What stands in each patch on the average: ``(B, C, height, width)`` to ``(B, M, C)``, which stay as they are."""
        if stage.dim() == 4:
            stage = F.avg_pool2d(stage, SIDE, ceil_mode=True).flatten(2).transpose(1, 2)  # (B, M, C)
        return stage
