"""What the maps look at: an early stage of the image model, which sees only what is near."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 4  # positions of the stage along a side of a patch
FINE = 2  # positions of the first stage along a side of a fine cell, which is 8 pixels wide


class NearView(nn.Module):
    """What each patch shows of its own neighbourhood: patches of 32 pixels by the second stage, of 16 by the first.

    A patch of the last stage sees the whole image, so that any patch can answer for a sign anywhere. One of an early
    stage cannot, if it is wider than what the stage sees around it: up to 25 pixels for the second stage of a
    ``resnet10n`` (45 for that of a ResNet-101), up to 13 (17) for the first. So patches of 16 pixels look at the first
    stage: by the second, they answered for signs beside them.

    With fine cells (``across`` above 1) the cells of 8 pixels in a patch are compared one by one, and the patch has the mean
    of their cosines. A sign that only reaches into a patch then counts less there than one that fills it.

    Departure: the released code compares texts with the patches of the last stage. ``--map_view patches`` does so.

    Args:
        channels: C, of the early stage.
        width: A.
        across: cells along a side of a patch.
    """

    def __init__(self, channels: int, width: int, across: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, width)
        self.across = across

    def forward(self, cells: Tensor) -> Tensor:
        """``(B, M, C)`` to ``(B, M, A)``, or cells by patch, ``(B, M, c, C)`` to ``(B, M, c, A)``."""
        return self.linear(self.norm(cells)).relu()

    def cells(self, stage: Tensor) -> Tensor:
        """Mean of the stage over each cell.

        Args:
            stage: ``(B, C, height, width)``, or the patches ``(B, M, C)`` of a model without stages.

        Returns:
            ``(B, M, C)``, or ``(B, M, c, C)`` for patches of several cells, of which those beyond the border repeat the last
            one before it.
        """
        if stage.dim() == 3:
            return stage
        if self.across == 1:
            return F.avg_pool2d(stage, SIDE, ceil_mode=True).flatten(2).transpose(1, 2)  # (B, M, C)
        cells = F.avg_pool2d(stage, FINE, ceil_mode=True)  # (B, C, h, w)
        for dim in (2, 3):
            size = cells.shape[dim]
            whole_patches = -(-size // self.across) * self.across
            cells = cells.index_select(dim, torch.arange(whole_patches, device=cells.device).clamp(max=size - 1))
        cells = cells.unflatten(3, (-1, self.across)).unflatten(2, (-1, self.across))  # (B, C, rows, a, columns, a)
        return cells.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)  # (B, M, c, C)
