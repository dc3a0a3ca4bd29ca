"""What the benchmarks share: timing two ways of the same work, memory, and the lines that say how it went."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def arguments(description: str, runs: int = 3, **own: tuple[Any, str]) -> Namespace:
    """Flags of every benchmark: ``--quick`` (tiny sizes, only to see that it works), ``--runs``, ``--threads``.

    ``own`` holds default and help of flags that one benchmark has besides; a list takes several words.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: checks that both ways agree, times mean nothing"
    )
    parser.add_argument("--runs", type=int, default=runs, help="timed repetitions")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    for name, (default, meaning) in own.items():
        parser.add_argument(
            f"--{name}", default=default, nargs="+" if isinstance(default, list) else None, help=meaning
        )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return options


def seconds(work: Callable[[], Any], runs: int, warm_up: int = 1) -> list[float]:
    """Wall-clock seconds of ``runs`` calls, after ``warm_up`` calls that do not count."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def spread(values: list[float], digits: int = 3) -> str:
    """``median [min, max]`` of some numbers."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"


def interleaved(plain: Callable[[], Any], ours: Callable[[], Any], runs: int) -> tuple[list[float], list[float]]:
    """Seconds of both ways, run in turn, so that a slow spell of the machine meets both; one call each warms up."""
    plain_times, our_times = seconds(plain, 0), seconds(ours, 0)
    for _ in range(runs):
        plain_times += seconds(plain, 1, warm_up=0)
        our_times += seconds(ours, 1, warm_up=0)
    return plain_times, our_times


def report_ratio(name: str, plain: list[float], ours: list[float], target: float) -> float:
    """Print seconds of both ways, their ratio run by run, and whether the target is met; returns the median ratio."""
    pairs = [p / o for p, o in zip(plain, ours, strict=True)]
    ratio = statistics.median(pairs)
    print(f"{name}: released way {spread(plain)} s, ours {spread(ours)} s")
    verdict("ratio", ratio, target, f"{spread(pairs)} x")
    return ratio


def verdict(name: str, value: float, target: float, text: str, at_most: bool = False) -> None:
    """Print a figure beside its target."""
    met = value <= target if at_most else value >= target
    print(f"  {name} {text}; target {'at most' if at_most else 'at least'} {target:g}: {'met' if met else 'NOT met'}")


def status_megabytes(field: str) -> float:
    """A memory figure of this process in MB (10^6 bytes): ``VmRSS``, ``VmHWM`` (peak), ``RssAnon``; Linux."""
    return _megabytes("/proc/self/status", field)


def private_megabytes() -> float:
    """Memory in MB (10^6 bytes) that this process shares with no other, not even the one it was forked from; Linux."""
    return _megabytes("/proc/self/smaps_rollup", "Private_Dirty")


def _megabytes(path: str, field: str) -> float:
    """The line ``field: 1234 kB`` of a file of Linux, in MB."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"{path} has no line {field}: this benchmark needs Linux")


def reset_peak() -> None:
    """Start the peak ``VmHWM`` anew from the present memory."""
    Path("/proc/self/clear_refs").write_text("5")


def machine() -> str:
    """One line that says where a figure was measured."""
    names = [line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")]
    cpu = f"{len(names)} x {names[0]}" if names else platform.processor()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{time.strftime('%Y-%m-%d')}, {cpu}{gpu}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
