"""The least precision of the parts that autocast leaves alone: cosines, losses, statistics."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Leave float64 alone and raise everything else to float32."""
    return x if x.dtype == torch.float64 else x.float()
