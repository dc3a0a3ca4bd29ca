"""A layer that forgets what it computed and computes it again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def computed_again(step: Callable[..., Any], layer: nn.Module, *inputs: Any) -> Any:
    """``step(layer, *inputs)``, of which the inputs alone are kept.

    The way back may come when the layer is in the other mode, in training after drawn reports were read without dropout: it is
    computed again in the mode that it was first computed in.
    """
    contexts = partial(_contexts, layer, layer.training)
    return checkpoint(step, layer, *inputs, use_reentrant=False, context_fn=contexts)


class _Mode:
    """The mode of a layer; entered for every way back, of which ``--cagrad`` has several."""

    def __init__(self, layer: nn.Module, training: bool) -> None:
        self.layer, self.training = layer, training

    def __enter__(self) -> None:
        self.before = self.layer.training
        self.layer.train(self.training)

    def __exit__(self, *raised: object) -> None:
        self.layer.train(self.before)


def _contexts(layer: nn.Module, training: bool) -> tuple[nullcontext, _Mode]:
    return nullcontext(), _Mode(layer, training)
