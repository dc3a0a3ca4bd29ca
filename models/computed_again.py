"""Layers that forget what they computed and compute it again on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def computed_again(step: Callable[..., Any], layer: nn.Module, *inputs: Any) -> Any:
    """``step(layer, *inputs)``, of which the inputs alone are kept.

    The way back may come when the layer is in the other mode, in training after drawn reports were read without dropout: it is
    computed again in the mode that it was first computed in.
    """
    contexts = partial(around_again, partial(_in_mode, layer, layer.training))
    return checkpoint(step, layer, *inputs, use_reentrant=False, context_fn=contexts)


class Reentered:
    """A context that is made anew for every way back, of which ``--cagrad`` has several."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self.make = make

    def __enter__(self) -> None:
        self.entered = ExitStack()
        self.entered.enter_context(self.make())

    def __exit__(self, *raised: object) -> None:
        self.entered.close()


def around_again(make: Callable[[], AbstractContextManager[None]]) -> tuple[nullcontext, Reentered]:
    """What torch's ``checkpoint`` asks for: nothing around the first computation, what ``make`` makes around every later one."""
    return nullcontext(), Reentered(make)


@contextmanager
def _in_mode(layer: nn.Module, training: bool) -> Iterator[None]:
    before = layer.training
    layer.train(training)
    try:
        yield
    finally:
        layer.train(before)
