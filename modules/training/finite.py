"""Numbers that stopped being numbers: looked for in every step on the device, read late, never saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from modules.distributed import gather_list, world_size

FLAGS = {"curvature": "c"}  # spelling of an option that has another name than its flag
SANE = {  # option of main_train.py: lowest and highest value that is not the first thing to suspect
    "init_lr": (0.0, 1e-2),
    "ot_epsilon": (1e-2, 1.0),
    "rank_temperature": (0.1, 100.0),
    "curvature": (1e-4, 10.0),
    "cls_weight": (0.0, 100.0),
    "align_weight": (0.0, 100.0),
    "rank_weight": (0.0, 100.0),
    "presence_weight": (0.0, 100.0),
    "scst_weight": (0.0, 100.0),
    "clip_grad_value": (0.0, 10.0),
    "weight_decay": (0.0, 1.0),
}


@dataclass(frozen=True)
class Nonfinite:
    """A step whose loss or gradient was not finite.

    Attributes:
        step: its number in the epoch, from 1.
        values: ``grad_norm`` and the losses by name.
        index: positions of its studies in the training set: those of the processes with a loss that is not finite, or those of
            all processes if only the gradient is not.
        count: such steps since the last look.
        earlier: finite steps between the last look and this step.
    """

    step: int
    values: dict[str, float]
    index: list[int]
    count: int
    earlier: int

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"first in {self.first} ({values})"

    @property
    def first(self) -> str:
        """The first term that was not finite; the sum or the gradient if all terms were."""
        bad = [name for name, value in self.values.items() if not math.isfinite(value)]
        return (_bad_terms(self.values) or bad)[0]


def _bad_terms(values: Mapping[str, float]) -> list[str]:
    """The terms of a loss that are not finite. The gradient tells nothing: it is the same on all processes."""
    return [name for name, value in values.items() if name not in ("loss", "grad_norm") and not math.isfinite(value)]


class FiniteWatch:
    """Remembers the first step that is not finite, without making the host wait.

    Args:
        names: of the losses of a step, in order.
        device: they are on.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = ["grad_norm", *names]
        self.left_out = torch.zeros((), device=device)  # 1 if the present step is not finite on any process, else 0
        self.own = torch.zeros((), device=device)  # such steps of this process since the last look
        self.count = torch.zeros((), device=device)  # of any process
        self.record = torch.zeros(1 + len(self.names), device=device)  # step and values of the first
        self.steps: list[tuple[int, list[int]]] = []  # number and studies of every step since the last look

    def note(self, step: int, index: list[int], norm: Tensor, losses: Tensor) -> None:
        """Look at a step.

        Args:
            step: its number in the epoch, from 1.
            index: its studies.
            norm: of the gradient, a scalar.
            losses: of this process, in the order of the names.
        """
        self.steps.append((step, index))
        values = torch.cat([norm.reshape(1).to(losses.dtype), losses])
        bad = (~values.isfinite().all()).to(self.left_out.dtype)
        number = torch.full((1,), float(step), dtype=values.dtype, device=values.device)
        here = torch.cat([number, values]).to(self.record.dtype)
        self.record = torch.where((bad > 0) & (self.own == 0), here, self.record)
        self.own = self.own + bad
        if world_size() > 1:
            dist.all_reduce(bad, dist.ReduceOp.MAX)
        self.left_out.copy_(bad)
        self.count = self.count + bad

    def read(self) -> Nonfinite | None:
        """The first step since the last look that was not finite on any process; waits for the device."""
        own, count, *record = [float(x) for x in torch.cat([self.own[None], self.count[None], self.record]).tolist()]
        steps, self.steps = self.steps, []
        if not count:
            return None
        self.own, self.count = torch.zeros_like(self.own), torch.zeros_like(self.count)
        mine = []
        if own:
            step, values = int(record[0]), dict(zip(self.names, record[1:], strict=True))
            mine = [(step, values, dict(steps)[step])]
        found = gather_list(mine)
        first = min(step for step, _, _ in found)
        of_first = [(values, studies) for step, values, studies in found if step == first]
        blamed = [(values, studies) for values, studies in of_first if _bad_terms(values)] or of_first
        index = [i for _, studies in blamed for i in studies]
        earlier = [step for step, _ in steps].index(first)
        return Nonfinite(first, blamed[0][0], index, int(count), earlier)


class KeptStatistics:
    """A copy of what a forward pass moves, the statistics of normalisation layers: a step that is left out must not move them.

    Args:
        model: whose.
    """

    def __init__(self, model: nn.Module) -> None:
        moving = ("running_mean", "running_var", "num_batches_tracked")
        self.buffers = [buffer for name, buffer in model.named_buffers() if name.endswith(moving)]
        self.copies = [buffer.clone() for buffer in self.buffers]

    def keep(self) -> None:
        """Before a step."""
        torch._foreach_copy_(self.copies, self.buffers)

    def restore_if(self, left_out: Tensor) -> None:
        """After a step: put them back, if ``left_out`` is 1."""
        for buffer, copy in zip(self.buffers, self.copies, strict=True):
            buffer.copy_(torch.where(left_out > 0, copy, buffer))


def suspects(options: Mapping[str, Any]) -> str:
    """What is known that may have caused it: flags out of their sane range, half precision."""
    reasons = []
    for name, (low, high) in SANE.items():
        value = options.get(name)
        if value is not None and not low <= value <= high:
            reasons.append(f"--{FLAGS.get(name, name)} {value:g} is outside {low:g} to {high:g}")
    if options["precision"] != "fp32":
        reasons.append(f"the step may have run in bf16 (--precision {options['precision']}; fp32 does not)")
    return "; ".join(reasons) or "every flag is in its usual range: look at the studies, or lower --init_lr"


def content_of_step(found: Nonfinite, epoch: int, ids: Sequence[str], batch: Any) -> dict[str, Any]:
    """What ``nonfinite_step.pt`` holds; it is read with ``torch.load(weights_only=True)``."""
    study = {name: value for name, value in vars(batch.study).items() if isinstance(value, Tensor)}
    return {
        "epoch": epoch,
        "step": found.step,
        "values": found.values,
        "first": found.first,
        "ids": list(ids),
        "batch": {**study, "token_ids": batch.token_ids, "token_mask": batch.token_mask, "labels": batch.labels},
    }
