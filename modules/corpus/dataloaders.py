"""Batches of a split, in an order that a resumed run can continue."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from models.visual_encoder import VisualEncoder
from modules.corpus.datasets import Batch, ReportDataset, collate
from modules.distributed import rank, world_size
from modules.labels import POSITIVE
from modules.messages import UserError
from modules.processes.stops import ignore_stops


def rarity(positive: np.ndarray, power: float) -> np.ndarray:
    """How rare each condition is: its rate to minus ``power``, ``(L,)``.

    Args:
        positive: ``(n, L)``, true where a study has a condition. One that no study has counts as if one had it.
        power: 0 makes all alike.
    """
    return (positive.sum(axis=0).clip(1) / max(len(positive), 1)) ** -power


def rare_first(labels: np.ndarray, power: float) -> np.ndarray:
    """How often an epoch takes each study, on average once: ``(n,)``.

    A study counts by its rarest positive condition, the rate of that condition to minus ``power``; one without any counts
    as the most frequent condition would.

    Departure: a published epoch takes every study once: ``--rare_sampling 0``.

    Args:
        labels: ``(n, L)`` states.
        power: 0 takes every study once.
    """
    positive = labels == POSITIVE  # (n, L)
    weights = rarity(positive, power)  # (L,)
    wanted = np.where(positive, weights, weights.min()).max(axis=1)
    return wanted / wanted.mean()


def share_size(size: int, batch_size: int, shares: int) -> int:
    """Studies per share and step of :func:`epoch_batches`."""
    return min(batch_size, -(-size // shares))


def refuse_single_values(encoder: VisualEncoder, studies: int) -> None:
    """Refuse training steps in which a channel has one value: batch normalisation needs a second one.

    Args:
        encoder: of images.
        studies: of a step whose statistics are taken together.

    Raises:
        UserError: naming what to raise.
    """
    normalised = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in encoder.modules())
    if normalised and encoder.grid == 1 and studies == 1:
        raise UserError(
            "batch normalisation would see one study at a time, and at this --image_size an image is one patch, so that every "
            "channel has one value: give a larger --image_size, or --batch_size 2 or more and as many training studies"
        )


def epoch_batches(
    size: int, batch_size: int, shares: int, seed: int, epoch: int, taken: np.ndarray | None = None
) -> list[list[list[int]]]:
    """Indices of every share of every step of an epoch, the same for the same seed and epoch.

    A last, smaller step is dropped unless it is the only one: the ranking loss compares the studies of a batch.

    Args:
        size: studies.
        batch_size: studies per share and step.
        shares: equal parts of a step.
        seed: of the order.
        epoch: number of the epoch.
        taken: how often each study is taken on average, ``(size,)`` with mean 1; each is taken as often as that, rounded up
            or down by chance. Once each if absent.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(size, generator=generator).tolist()
    if taken is not None:
        marks = np.cumsum(taken[order])  # neighbours on this line are as random as the order
        ticks = float(torch.rand((), generator=generator)) + np.arange(size)
        drawn = np.searchsorted(marks, ticks * (marks[-1] / size), side="right").clip(max=size - 1)
        order = [order[place] for place in drawn[torch.randperm(size, generator=generator).numpy()]]
    total = batch_size * shares
    if size < total:
        order = (order * total)[: -(-size // shares) * shares]
    batch_size = share_size(size, batch_size, shares)
    starts = [
        range(step * total, step * total + shares * batch_size, batch_size) for step in range(max(1, size // total))
    ]
    return [[order[start : start + batch_size] for start in of_step] for of_step in starts]


def numbered(steps: list[list[list[int]]], size: int) -> list[list[list[int]]]:
    """The same studies of every share of every step, the k-th taking of one in the epoch as its index + (k - 1) ``size``.

    :class:`ReportDataset` gives each taking its own crop.
    """
    times = Counter[int]()
    for step in steps:
        for share in step:
            for place, index in enumerate(share):
                share[place] += size * times[index]
                times[index] += 1
    return steps


class EpochSampler(Sampler[list[int]]):
    """This process's batches of one training epoch; see :func:`epoch_batches` and :func:`numbered`.

    Args:
        size: studies.
        batch_size: studies per process and step.
        seed: of the order.
        epoch: number of the epoch, from 1.
        first_step: steps to leave out, already done before a resume.
        taken: how often each study is taken, see :func:`epoch_batches`.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, epoch: int, first_step: int = 0, taken: np.ndarray | None = None
    ) -> None:
        steps = numbered(epoch_batches(size, batch_size, world_size(), seed, epoch, taken), size)
        self.batches = [batches[rank()] for batches in steps[first_step:]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def training_loader(
    dataset: ReportDataset,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int,
    num_workers: int,
    rare_sampling: float = 0.0,
) -> DataLoader:
    """Shuffled batches of this process for one epoch; with ``rare_sampling`` see :func:`rare_first`."""
    taken = rare_first(dataset.labels, rare_sampling) if rare_sampling else None
    sampler = EpochSampler(len(dataset), batch_size, seed, epoch, first_step, taken)
    return _loader(dataset, num_workers, batch_sampler=sampler)


def evaluation_batches(size: int, batch_size: int) -> list[list[int]]:
    """This process's share of ``size`` studies, in order, none twice."""
    indices = list(range(rank(), size, world_size()))
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


def evaluation_loader(
    dataset: ReportDataset, batch_size: int, num_workers: int, batches: list[list[int]] | None = None
) -> DataLoader:
    """This process's share of the studies, or some of its batches; see :func:`evaluation_batches`."""
    batches = evaluation_batches(len(dataset), batch_size) if batches is None else batches
    return _loader(dataset, num_workers, batch_sampler=batches)


def _loader(dataset: ReportDataset, num_workers: int, batch_sampler) -> DataLoader:
    return DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        num_workers=num_workers if len(batch_sampler) else 0,
        collate_fn=partial(collate, pad_id=dataset.tokenizer.pad_id),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=settle,
        generator=torch.Generator(),  # its own: starting an epoch must not move the generator that dropout uses
    )


def spare_inherited() -> None:
    """Let the garbage collector of a forked process pass over what it inherits.

    A collection writes into every object that it looks at, which would copy hundreds of MB of a large data set.
    """
    gc.freeze()


def settle(_: int) -> None:
    """Begin a data-loading process: a signal that goes to all processes is for the one that started them."""
    ignore_stops()
    spare_inherited()


def blamed_inputs(ids: Sequence[str], batch: Batch) -> str:
    """Which input of which study of a batch holds a number that is not finite; empty if none does."""
    found = []
    for name, value in vars(batch.study).items():
        if isinstance(value, Tensor) and value.is_floating_point():
            finite = value.flatten(1).isfinite().all(dim=1).tolist()  # of each study
            found += [f"{name} of {ids[b]}" for b, good in enumerate(finite) if not good]
    if not found:
        return ""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"not finite in the features: {', '.join(found[:3])}{more}, run main_prepare.py again"
