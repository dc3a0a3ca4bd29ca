"""Processes and devices: one process, or several started by torchrun, on CUDA or CPU.

torch is imported when it is needed, so that scoring runs where it is not installed.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from modules.messages import UserError
from modules.processes.watch import Watch, processes_started

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Item = TypeVar("Item")
# Of this process: its watch over the others, and the group of processes that exchanges without a GPU, None for the usual one.
_here: dict[str, Any] = {"watch": Watch(0, 1), "hosts": None}


def _group() -> Any:
    """torch.distributed, if this process has joined others; one that has not imported it has not."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_initialized() else None


def rank() -> int:
    """Number of this process, 0 when there is only one."""
    return dist.get_rank() if (dist := _group()) else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if (dist := _group()) else 1


def is_main() -> bool:
    """Whether this process writes files and prints."""
    return rank() == 0


def print_once(line: str) -> None:
    """Print a line at once, in the main process alone."""
    if is_main():
        print(line, flush=True)


def barrier() -> None:
    """Wait for all processes."""
    if dist := _group():
        dist.barrier()


@contextmanager
def processes(device: str, n_gpu: int = 0, patience: float | None = None) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        n_gpu: processes that the user asked for; 0 for no wish.
        patience: hours that a process waits for another, torch's minutes if absent.

    Yields:
        The device of this process; None where torch is not installed.

    Raises:
        UserError: if CUDA is asked for and absent, or if ``n_gpu`` processes were not started.
    """
    started = processes_started()
    if find_spec("torch") is None and device != "cuda" and started == 1:
        yield cast(Any, None)  # enough to score by rules
        return
    import torch
    import torch.distributed as dist

    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for but PyTorch finds no CUDA device: use --device auto or cpu")
    if n_gpu > 1 and started % n_gpu:
        raise UserError(
            f"--n_gpu {n_gpu} needs as many processes but {started} was started: use the scripts, "
            f"or torchrun --nproc_per_node {n_gpu} in front of the program"
        )
    use_cuda = device != "cpu" and torch.cuda.is_available()
    cards = torch.cuda.device_count() if use_cuda else 0
    place = torch.device("cuda", local % cards) if use_cuda else torch.device("cpu")
    if use_cuda:
        torch.cuda.set_device(place)
    if started == 1:
        yield place
        return
    wait: dict[str, Any] = {"timeout": timedelta(hours=patience)} if patience else {}
    _here["watch"] = Watch(int(os.environ["RANK"]), started)
    shared = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > cards  # NCCL refuses two processes on one card
    alone = use_cuda and not shared
    dist.init_process_group("nccl" if alone else "gloo", device_id=place if alone else None, **wait)
    _here["hosts"] = dist.new_group(backend="gloo", **wait) if use_cuda else None
    dist.barrier(_here["hosts"])  # if one ended while another still connects, that one would fail
    try:
        yield place
    finally:
        _here["watch"].end()
        dist.destroy_process_group()


def watch() -> Watch:
    """What this process knows of the others; with one process it does nothing."""
    return _here["watch"]


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX); false where Linux does not say."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Mixed precision of training: ``"auto"`` is bfloat16 where the hardware has it, on CUDA and on the CPU."""
    import torch

    has_bfloat16 = device.type == "cuda" or cpu_has_bfloat16()
    enabled = precision == "bf16" or (precision == "auto" and has_bfloat16)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def without_waiting(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to a device; the host does not wait for a GPU."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def choose_arithmetic(precision: str, deterministic: bool) -> None:
    """What a GPU may do for speed.

    Args:
        precision: with ``"fp32"`` it computes convolutions in float32, where it would round their factors to ten bits.
        deterministic: whether it takes only operations that repeat themselves bit for bit; one that has no such form ends
            the program by its name.
    """
    import torch

    if precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it first multiplies
        torch.use_deterministic_algorithms(True)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch; every process gets its own stream."""
    import torch

    random.seed(seed + rank())
    np.random.seed(seed + rank())  # noqa: NPY002, libraries still read the global generator
    torch.manual_seed(seed + rank())


def gather_list(items: list[Item]) -> list[Item]:
    """Concatenate the lists of all processes, in order of rank, on every process."""
    if world_size() == 1:
        return list(items)
    parts: list[list[Item]] = [[] for _ in range(world_size())]
    _group().all_gather_object(parts, items, group=_here["hosts"])
    return [item for part in parts for item in part]


def gather_with_gradient(x: Tensor) -> Tensor:
    """Concatenate equally shaped tensors ``(B, ...)`` of all processes to ``(world * B, ...)``; gradients flow back."""
    if world_size() == 1:
        return x
    from modules.processes.gathering import Gather

    return Gather.apply(x)


def mean_over_processes(values: Tensor) -> list[float]:
    """Average a vector ``(n,)`` over all processes, which call it together."""
    if world_size() > 1:
        values = values.double().clone()
        _group().all_reduce(values)
        values /= world_size()
    return values.tolist()


def highest(number: int) -> int:
    """The largest ``number`` of all processes, which call it together; no GPU waits for it."""
    if world_size() == 1:
        return number
    import torch
    import torch.distributed as dist

    vector = torch.tensor([number])
    dist.all_reduce(vector, dist.ReduceOp.MAX, group=_here["hosts"])
    return int(vector)


def agree_on(act: Callable[[], Item]) -> Item:
    """What ``act`` returns on the main process, on every process, which call it together; what it refuses, all refuse.

    Raises:
        UserError: on every process, if ``act`` raises it on the main process.
    """

    def attempt() -> tuple[Item] | str:
        try:
            return (act(),)
        except UserError as error:
            return str(error)

    answer = from_main(attempt)
    if isinstance(answer, str):
        raise UserError(answer)
    return answer[0]


def from_main(decide: Callable[[], Item]) -> Item:
    """What ``decide`` returns on the main process, on every process, so that all of them do the same next."""
    answer: list[Any] = [decide() if is_main() else None]
    if world_size() > 1:
        _group().broadcast_object_list(answer, group=_here["hosts"])
    return answer[0]


def shard(items: list[Item]) -> list[Item]:
    """The share of ``items`` that this process works on: every ``world_size``-th, no item twice."""
    return items[rank() :: world_size()]
