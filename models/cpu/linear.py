"""Linear layers on a CPU: oneDNN's float32 products where they are faster than those that torch chooses.

torch multiplies float32 matrices on a CPU by MKL. oneDNN, which torch carries too and uses in bfloat16, was faster on the
CPUs with AVX-512 that were measured, and with few rows also without AVX-512 once the weights lie in its own blocked layout.
It makes a kernel for every new number of rows, which in training is another in every step: a matrix must be large to repay that.
The operators are those that torch.compile emits for the same purpose. Everything else is torch's own product.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE = 500_000  # weights of a layer; where rows vary, 256 x 256 loses an eighth by oneDNN, 768 x 3,072 gains a twentieth: benchmarks/linear.py


@cache
def has_onednn() -> bool:
    """Whether this torch has the operators."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def has_avx512() -> bool:
    """Whether the CPU, as torch sees it, has AVX-512."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x @ weight.T + bias``, differentiable once where oneDNN does it: in large layers.

    Args:
        x: ``(..., in)``.
        weight: ``(out, in)``.
        bias: ``(out,)``.

    Returns:
        ``(..., out)``.
    """
    if x.dim() < 2 or weight.numel() < LARGE or not (_plain_float32(x) and has_onednn() and has_avx512()):
        return F.linear(x, weight, bias)
    return _Linear.apply(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])


class FastLinear(nn.Linear):
    """:class:`torch.nn.Linear` with a bias, by the faster product."""

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` to ``(..., out)``."""
        return linear(x, self.weight, self.bias)


class PackedLinears:
    """Layers whose weights stay the same for many products with few rows: decoding, token by token.

    A weight is copied into oneDNN's layout, in the precision of the product, when it is first used. Make a new one when
    weights have changed.

    Args:
        rows: of a typical product.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._packed: dict[nn.Linear, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """``layer(x)``, under autocast too, without a gradient."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if x.device.type != "cpu" or not _packs(dtype):
            return layer(x)
        if layer not in self._packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(dtype), self.rows)
            self._packed[layer] = weight, layer.bias.to(dtype)
        return _product(x.to(dtype), *self._packed[layer])


@cache
def _packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies packed weights of this precision here."""
    if not has_onednn():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # (n, in), (out, in)
        gradient = gradient.contiguous()  # (n, out)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _product(gradient, weight.t())  # (n, in)
        if ctx.needs_input_grad[1]:  # oneDNN is faster where the input is the wider side, MKL elsewhere
            wide = weight.shape[1] > weight.shape[0]
            of_weight = _product(gradient.t(), x.t()) if wide else gradient.t() @ x  # (out, in)
        return of_x, of_weight, gradient.sum(dim=0)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _plain_float32(x: Tensor) -> bool:
    """Whether ``x`` is multiplied in float32 on a CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
