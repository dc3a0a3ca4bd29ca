"""Training and generation on a CUDA device: studies per second, share of the peak (MFU), memory.

    python benchmarks/gpu.py --peak_tflops 989      # dense bfloat16 peak of an H100 SXM or H200, from its data sheet

Not yet measured. FLOPs are counted by PyTorch while one step runs, so MFU has no guess in it but the peak.
``--quick`` runs tiny sizes, on the CPU where there is no GPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.models import our_step, published_config, published_model, random_batch
from benchmarks.timing import machine, spread
from models.beam_search import GenerationLimits
from models.revtaf import Revtaf
from modules.distributed import autocast
from modules.training.optimizers import build_optimizer


def parse() -> Namespace:
    """Flags."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="of the step and the generation")
    parser.add_argument("--train_batches", type=int, nargs="+", default=[18, 64, 256], help="studies per step")
    parser.add_argument("--generate_batches", type=int, nargs="+", default=[16, 64, 256], help="reports at once")
    parser.add_argument("--steps", type=int, default=20, help="timed steps per batch size")
    parser.add_argument("--peak_tflops", type=float, help="dense peak of the device in that precision, for MFU")
    options = parser.parse_args()
    if options.quick:
        options.train_batches, options.generate_batches, options.steps = [2], [2], 2
    return options


def timed(work: Callable[[], object], device: torch.device, count: int, warm_up: int) -> list[float]:
    """Seconds of each of ``count`` calls; the device has finished at both ends."""
    times = []
    for number in range(warm_up + count):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= warm_up:
            times.append(time.perf_counter() - start)
    return times


def gigabytes(device: torch.device) -> str:
    """Peak memory since the last reset."""
    return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if device.type == "cuda" else "no GPU memory"


def train(model: Revtaf, size: int, options: Namespace, device: torch.device) -> None:
    """Time the whole step at one batch size, data already on the device."""
    batch = random_batch(model.config, size, 30 if options.quick else 120).to(device)
    prior, optimizer = torch.ones(model.config.num_conditions, device=device), build_optimizer(model, 5e-5, 0.05)

    def step() -> None:
        our_step(model, optimizer, batch, prior, options.precision)

    with FlopCounterMode(display=False) as counter:
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = timed(step, device, options.steps, warm_up=5)
    rate = counter.get_total_flops() / statistics.median(times) / 1e12
    mfu = f", MFU {rate / options.peak_tflops:.1%}" if options.peak_tflops else ""
    speed = spread([size / seconds for seconds in times])
    print(f"train, batch {size}: {speed} studies/s, {rate:.2f} TFLOP/s{mfu}, {gigabytes(device)}")


def generate(model: Revtaf, size: int, options: Namespace, device: torch.device) -> None:
    """Time whole reports of the longest length at one batch size."""
    config, new = model.config, 6 if options.quick else 150
    batch = random_batch(config, size, 30).to(device)
    limits = GenerationLimits(beams=3, min_length=config.prompt_length + new - 1, max_new_tokens=new)
    states = torch.arange(config.num_states, device=device) + 3
    model.eval()

    def write() -> None:
        with autocast(device, options.precision):
            model.generate(batch.study, 3, states, limits)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = timed(write, device, 3, warm_up=1)
    speed = [size / seconds for seconds in times]
    print(
        f"generate, batch {size}: {spread(speed)} reports/s, {gigabytes(device)}; "
        f"3,858 reports in {3858 / statistics.median(speed):.0f} s"
    )


def main() -> None:
    """All batch sizes; one that does not fit is named and left out."""
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.quick:
        sys.exit("gpu.py needs a CUDA device and PyTorch finds none: run it on one, or add --quick to try it here")
    print(machine())
    model = published_model(published_config(options.quick)).to(device)
    model.visual_encoder.to(memory_format=torch.channels_last)
    for work, sizes in ((train, options.train_batches), (generate, options.generate_batches)):
        for size in sizes:
            try:
                work(model, size, options, device)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                print(f"{work.__name__}, batch {size}: does not fit into the memory of the device")


if __name__ == "__main__":
    main()
