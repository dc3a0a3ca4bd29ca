"""Gradients of several losses that pull at the same weights, combined so that none of them is left behind.

The sum of the losses helps some of them at the cost of others where their gradients point apart. The conflict-averse gradient
lies within a ball around their mean and helps most the loss that the mean helps least: one that others oppose, or one whose
gradient is short.

Source: Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch._functorch.config as aot
import torch.distributed as dist
from scipy.optimize import minimize
from torch import Tensor, nn

from modules.distributed import world_size
from modules.training.gradients import MeanGradients

ROUNDING = 1e-7  # of a length beside another one, in float32
TINY = 1e-12  # keeps a slope where gradients of length 1 cancel


def coefficients(gram: np.ndarray, radius: float) -> np.ndarray:
    """What the gradients of the losses are multiplied with before they are added.

    With ``g_0`` their mean and ``g_w`` their mean under weights ``w`` on the simplex, the dual of the problem is to minimise
    ``g_w . g_0 + c |g_0| |g_w|``, and the update is ``T (g_0 + c |g_0| g_w / |g_w|)``. The mean helps the loss of a short gradient
    least, so that this one is lengthened most, whatever its direction.

    The lengths may differ by a factor of a million. So the problem is solved for gradients of length 1 and
    ``y_t = w_t |g_t| / min |g|`` in place of ``w_t``.

    Args:
        gram: ``(T, T)`` inner products of the gradients of T losses.
        radius: ``c`` in [0, 1), of the ball in lengths of ``g_0``; 0 is the plain sum.

    Returns:
        ``(T,)``, at least 1; ones where the gradients are not finite or their mean is 0. A gradient shorter than ``ROUNDING``
        times the longest, whose loss no step can help, has 1 and takes no part; so has one that remains alone.
    """
    plain = np.ones(len(gram))
    if not np.isfinite(gram).all() or gram.diagonal().max() <= 0:
        return plain
    gram = gram / gram.diagonal().max()
    lengths = np.sqrt(gram.diagonal())
    long_enough = lengths > ROUNDING
    if not long_enough.all():
        plain[long_enough] = coefficients(gram[np.ix_(long_enough, long_enough)], radius)
        return plain
    T = len(gram)
    mean = np.sqrt(max(gram.mean(), 0.0))  # length of g_0
    if T == 1 or radius <= 0 or mean <= 0:
        return plain
    unit = gram / np.outer(lengths, lengths)  # (T, T), cosines
    along = gram.mean(axis=1) / lengths / mean  # (T,), cosine of every gradient with the mean
    shares = lengths.min() / lengths  # (T,), w over y: the weights y @ shares add up to 1

    def length(y: np.ndarray) -> float:
        return float(np.sqrt(max(y @ unit @ y, 0.0) + TINY))

    solution = minimize(
        lambda y: y @ along + radius * length(y),
        np.full(T, 1 / shares.sum()),
        jac=lambda y: along + radius * (unit @ y) / length(y),
        method="SLSQP",
        bounds=[(0, None)] * T,
        constraints={"type": "eq", "fun": lambda y: y @ shares - 1, "jac": lambda y: shares},
        options={"ftol": 1e-12, "maxiter": 200},
    )
    y = solution.x.clip(0)
    return plain + T * radius * mean * y / lengths / length(y)


class ConflictAverseGradients(MeanGradients):
    """The gradient of every loss by itself, the mean over all processes, combined where several losses reach one weight.

    Weights that the same losses reach are one group, and each group is combined by itself: else a loss that reaches few
    weights would be the one that is helped least everywhere. A weight that one loss alone reaches has the gradient of that
    loss. A loss of weight 0 asks for no gradient, and the weights that it alone reaches are not decayed.

    Departure: ours; the paper and the released code add the losses. ``--cagrad 0`` does so.

    Args:
        model: whose; its weights and statistics become those of process 0.
        weights: what each loss is multiplied with, by the name that ``objective`` gives it.
        radius: see :func:`coefficients`.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, float], radius: float) -> None:
        super().__init__(model)
        aot.donated_buffer = False  # --compile: what a compiled block kept is wanted for the way back of every loss
        self.weights, self.radius = weights, radius
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def begin(self) -> None:
        """Before a step."""
        self.of_losses: dict[str, list[Tensor | None]] = {}  # gradients of every parameter, by loss

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """The way back of every loss that has one; those of several batches add up."""
        asked = [(name, weight) for name, weight in self.weights.items() if weight and losses[name].requires_grad]
        for name, weight in asked:
            again = name != asked[-1][0]
            new = torch.autograd.grad(weight * losses[name], self.parameters, retain_graph=again, allow_unused=True)
            old = self.of_losses.get(name, [None] * len(new))
            self.of_losses[name] = [_sum(one, other) for one, other in zip(old, new, strict=True)]

    def finish(self) -> None:
        """After the last way back of a step: every weight has its gradient."""
        rows = [self.of_losses.get(name, [None] * len(self.parameters)) for name in self.weights]
        is_reached = [[gradient is not None for gradient in row] for row in rows]
        reached = torch.tensor(is_reached, dtype=torch.int32)  # (T, number of parameters)
        device = self.parameters[0].device
        if world_size() > 1:
            everywhere = reached.to(device)
            dist.all_reduce(everywhere, dist.ReduceOp.MAX)
            reached = everywhere.cpu()
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, losses in enumerate(reached.T.tolist()):
            groups.setdefault(tuple(losses), []).append(place)
        for losses, places in groups.items():
            reaching = [row for row, reaches in zip(rows, losses, strict=True) if reaches]
            if reaching:
                self._give(places, self._combined([self._flat(places, [row[n] for n in places]) for row in reaching]))
        self.of_losses = {}

    def _combined(self, flat: Sequence[Tensor]) -> Tensor:
        """One gradient ``(N,)`` from those of T losses."""
        factors = [1.0]
        if len(flat) > 1:
            gram = torch.stack([torch.stack([one @ other for other in flat]) for one in flat])  # (T, T)
            factors = coefficients(gram.double().cpu().numpy(), self.radius).tolist()
        return torch.stack([factor * one for factor, one in zip(factors, flat, strict=True)]).sum(dim=0)

    def _flat(self, places: Sequence[int], gradients: Sequence[Tensor | None]) -> Tensor:
        """Gradients of some weights in a row, zeros where there is none; the mean over processes."""
        parts = zip(places, gradients, strict=True)
        flat = torch.cat([(torch.zeros_like(self.parameters[n]) if g is None else g).flatten() for n, g in parts])
        if world_size() > 1:
            dist.all_reduce(flat)
            flat /= world_size()
        return flat

    def _give(self, places: Sequence[int], flat: Tensor) -> None:
        chosen = [self.parameters[n] for n in places]
        for parameter, part in zip(chosen, flat.split([p.numel() for p in chosen]), strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))  # in its memory format


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
