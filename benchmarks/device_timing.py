"""What a device took: a record on disk, seconds and memory, and the kernels of a step by kind."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import machine
from modules.messages import UserError
from modules.records import atomic_write, write_json

KINDS = {  # of kernels, by a part of their names; the first kind that fits counts
    "attention": ("sdpa", "flash", "dot_do_o"), "convolutions": ("implicit_gemm", "fprop", "dgrad", "wgrad"),
    "matrix products": ("nvjet", "gemm", "cutlass"), "compiled and normalisation": ("triton", "batch_norm"),
    "own kernels": ("_plans", "_solutions", "_forward", "_backward"), "optimizer and clipping": ("multi_tensor",),
    "copies and fills": ("emcpy", "emset", "copy", "fill"),
}  # fmt: skip


class Record:
    """What was measured, on disk after every line: as JSON, and as a table beside it."""

    def __init__(self, path: Path) -> None:
        self.path, self.began = path, time.time()
        self.content: dict[str, Any] = {"machine": machine(), "figures": []}

    def __call__(self, what: str, **figures: float | str) -> None:
        """Keep and print one line."""
        rounded = {name: float(f"{x:.4g}") if isinstance(x, float) else x for name, x in figures.items()}
        self.content["figures"].append({"what": what, **rounded})
        write_json(self.path, self.content)
        with atomic_write(self.path.with_suffix(".md"), "w") as file:
            file.write(self.table())
        print(
            f"[{time.time() - self.began:5.0f} s] {what}: {', '.join(f'{n} {x}' for n, x in rounded.items())}",
            flush=True,
        )

    def table(self) -> str:
        """A row for every figure, in Markdown."""
        rows = [
            f"| {what} | {', '.join(f'{name} {value}' for name, value in figures.items())} |"
            for what, figures in (
                (line["what"], {n: x for n, x in line.items() if n != "what"}) for line in self.content["figures"]
            )
        ]
        return "\n".join([self.content["machine"], "", "| what | figures |", "|---|---|", *rows, ""])


def wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], count: int, warm_up: int, device: torch.device) -> float:
    """Mean seconds of ``count`` calls that may overlap, as in a training; the device has finished at both ends."""
    for _ in range(warm_up):
        work()
    wait(device)
    start = time.perf_counter()
    for _ in range(count):
        work()
    wait(device)
    return (time.perf_counter() - start) / count


def forget(device: torch.device) -> None:
    """Give back the memory of what is gone, and count the most that is held anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def gigabytes(device: torch.device) -> float:
    """Most memory that PyTorch has held since :func:`forget`, recordings included."""
    return torch.cuda.max_memory_reserved() / 1e9 if device.type == "cuda" else 0.0


@contextmanager
def may_not_fit(what: str, record: Record) -> Iterator[str]:
    """Record that the card is too small for ``what``, which torch and a training step say in their own ways, and go on."""
    try:
        yield what
    except (torch.OutOfMemoryError, UserError) as error:
        if "out of memory" not in str(error):
            raise
        record(what, note="does not fit")


def kinds(step: Callable[[], Any], what: str, device: torch.device, record: Record) -> None:
    """Record the milliseconds of a step by kind of kernel."""
    if device.type != "cuda":
        return
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        step()
        wait(device)
    spent: dict[str, float] = {}
    count = 0
    for event in seen.events():
        if str(event.device_type).endswith("CUDA") and event.name not in ("forward", "backward", "optimizer"):
            kind = next((k for k, parts in KINDS.items() if any(part in event.name for part in parts)), "other")
            spent[kind] = spent.get(kind, 0) + event.time_range.elapsed_us() / 1e3
            count += 1
    record(f"{what}: milliseconds", count=count, **{k: spent[k] for k in sorted(spent, key=lambda k: -spent[k])})
