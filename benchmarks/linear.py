"""Linear layers in training on a CPU: oneDNN's products against torch's, where the number of rows is another in every step.

python benchmarks/linear.py
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.timing import arguments, interleaved, machine, spread, verdict
from models.cpu.linear import LARGE, _Linear

LAYERS = (128, 512), (256, 256), (512, 512), (768, 768), (768, 3072)  # in, out
ROWS = range(1200, 2400)
NO_WORSE = 0.95


def steps_of(product: Callable, width: int, out: int, inputs: list[Tensor]) -> Callable[[], None]:
    """Forward and backward of the next input, each of another number of rows."""
    weight, bias = torch.randn(out, width, requires_grad=True), torch.randn(out, requires_grad=True)
    waiting = iter(inputs)

    def step() -> None:
        x = next(waiting).requires_grad_()
        product(x, weight, bias).sum().backward()
        x.grad = None

    return step


def main() -> None:
    """Equal products, then times of both for each size of layer; ``models/cpu/linear.py`` takes oneDNN's for the large ones."""
    options = arguments(__doc__.splitlines()[0], runs=40)
    print(machine())
    for width, out in LAYERS[:1] if options.quick else LAYERS:
        x, weight, bias = torch.randn(7, width), torch.randn(out, width), torch.randn(out)
        torch.testing.assert_close(_Linear.apply(x, weight, bias), F.linear(x, weight, bias), rtol=1e-4, atol=1e-4)
        inputs = [torch.randn(n, width) for n in random.Random(0).sample(ROWS, options.runs + 1)]
        steps = [steps_of(product, width, out, inputs) for product in (F.linear, _Linear.apply)]
        torchs, onednns = interleaved(*steps, options.runs)
        pairs = [theirs / ours for theirs, ours in zip(torchs, onednns, strict=True)]
        print(f"{width} x {out}, equal: products; torch {spread(torchs)} s, oneDNN {spread(onednns)} s")
        taken = "oneDNN" if width * out >= LARGE else "torch"
        pairs = pairs if taken == "oneDNN" else [1 / pair for pair in pairs]
        verdict(f"{taken}, which is taken,", median(pairs), NO_WORSE, f"{spread(pairs)} x as fast")


if __name__ == "__main__":
    main()
