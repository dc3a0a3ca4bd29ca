"""Cross-entropy of words in two kernels that read the logits once each, in the precision that they come in.

As torch operations it writes the logits three times in float32: for 256 reports of 120 tokens that is 9 GB.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

BLOCK = 4096  # words that a program reads at once


@triton.jit
def _forward(logits, stride, targets, losses, norms, words, smoothing, ignored, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    highest = tl.full((BLOCK,), -float("inf"), tl.float32)
    total, every = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(0, words, BLOCK):
        place = start + tl.arange(0, BLOCK)
        x = tl.load(logits + row * stride + place, mask=place < words, other=-float("inf")).to(tl.float32)
        now = tl.maximum(highest, x)
        old = tl.where(highest == -float("inf"), 0.0, tl.exp(highest - now))
        total = total * old + tl.where(x == -float("inf"), 0.0, tl.exp(x - now))
        every += tl.where(place < words, x, 0.0)
        highest = now
    most = tl.max(highest, axis=0)
    norm = most + tl.log(tl.sum(tl.where(highest == -float("inf"), 0.0, total * tl.exp(highest - most)), axis=0))
    counted = target != ignored
    chosen = tl.load(logits + row * stride + tl.where(counted, target, 0)).to(tl.float32)
    loss = (1 - smoothing) * (norm - chosen) + smoothing * (norm - tl.sum(every, axis=0) / words)
    tl.store(losses + row, tl.where(counted, loss, 0.0))
    tl.store(norms + row, norm)


@triton.jit
def _backward(logits, stride, targets, norms, scale, gradient, out, words, smoothing, ignored, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    target, norm = tl.load(targets + row), tl.load(norms + row)
    factor = tl.where(target != ignored, tl.load(scale), 0.0)
    for start in range(0, words, BLOCK):
        place = start + tl.arange(0, BLOCK)
        x = tl.load(logits + row * stride + place, mask=place < words, other=0.0).to(tl.float32)
        share = tl.exp(x - norm) - smoothing / words - tl.where(place == target, 1 - smoothing, 0.0)
        tl.store(gradient + row * out + place, share * factor, mask=place < words)


class _WordLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float, ignored: int) -> Tensor:
        S, V = logits.shape
        losses, norms = logits.new_empty(2, S, dtype=torch.float32)
        _forward[(S,)](logits, logits.stride(0), targets, losses, norms, V, smoothing, ignored, BLOCK, num_warps=8)
        counted = (targets != ignored).sum().clamp_min(1)
        ctx.save_for_backward(logits, targets, norms, counted)
        ctx.smoothing, ctx.ignored = smoothing, ignored
        return losses.sum() / counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        logits, targets, norms, counted = ctx.saved_tensors
        (S, V), words = logits.shape, torch.empty_like(logits, memory_format=torch.contiguous_format)
        scale = (gradient / counted).float()
        _backward[(S,)](
            logits, logits.stride(0), targets, norms, scale, words, V, V, ctx.smoothing, ctx.ignored, BLOCK, num_warps=8
        )  # fmt: skip
        return words, None, None, None


def word_loss(logits: Tensor, targets: Tensor, smoothing: float, ignored: int) -> Tensor:
    """:func:`torch.nn.functional.cross_entropy`, computed in float32; 0 where nothing is counted.

    Args:
        logits: ``(S, V)``, whose rows may lie further apart than V.
        targets: ``(S,)``.
        smoothing: label smoothing.
        ignored: target of rows that do not count.
    """
    if logits.stride(1) != 1 or logits.dtype == torch.float64:
        return F.cross_entropy(logits, targets, ignore_index=ignored, label_smoothing=smoothing)
    return _WordLoss.apply(logits, targets.contiguous(), smoothing, ignored)
