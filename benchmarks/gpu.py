"""Training and generation on a CUDA device: studies per second, share of the peak (MFU), memory.

    python benchmarks/gpu.py --peak_tflops 989      # dense bfloat16 peak of an H100 SXM or H200, from its data sheet
    python benchmarks/gpu.py --compile              # the step through torch.compile, to see whether that pays

Not yet measured. A step begins with pinned uint8 images on the host, as the data loader leaves them, and ends with new
weights; the test of 3,858 reports is their generation beside the retrieval from 270,790 studies, both measured. FLOPs are counted by PyTorch while one step runs, so MFU has no guess in it but the peak.
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

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.models import count_flops, our_step, published_config, published_model, random_batch
from benchmarks.timing import machine, spread
from models.beam_search import GenerationLimits
from models.retrieval import RetrievalBank
from models.revtaf import Revtaf
from modules.distributed import autocast
from modules.retrieval.retriever import embed, search
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
    parser.add_argument("--compile", action="store_true", help="run the training step through torch.compile")
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
    """Time the whole step at one batch size, the copy to the device included."""
    host = random_batch(model.config, size, 30 if options.quick else 120)
    host.study.image = torch.randint(0, 256, host.study.image.shape, dtype=torch.uint8)
    host = host.pin_memory() if device.type == "cuda" else host
    prior, optimizer = torch.ones(model.config.num_conditions, device=device), build_optimizer(model, 5e-5, 0.05)
    compiled = torch.compile(model) if options.compile else None

    def step() -> None:
        our_step(model, optimizer, host.to(device, None), prior, options.precision, compiled)

    work = count_flops(lambda: our_step(model, optimizer, host.to(device, None), prior, options.precision))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = timed(step, device, options.steps, warm_up=5)
    rate = work / statistics.median(times) / 1e12
    mfu = f", MFU {rate / options.peak_tflops:.1%}" if options.peak_tflops else ""
    speed = spread([size / seconds for seconds in times])
    print(f"train, batch {size}: {speed} studies/s, {rate:.2f} TFLOP/s{mfu}, {gigabytes(device)}")


def generate(model: Revtaf, size: int, options: Namespace, device: torch.device) -> None:
    """Time whole reports of the longest length at one batch size."""
    config, new = model.config, 6 if options.quick else 150
    batch = random_batch(config, size, 30).to(device, None)
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


def retrieve(model: Revtaf, options: Namespace, device: torch.device) -> None:
    """Time the retrieval of a test of MIMIC-CXR's size: the bank embedded, and every query searched."""
    rows, queries = (1000, 20) if options.quick else (270_790, 3858)
    scores = np.random.default_rng(0).random((rows + queries, model.config.num_entities), dtype=np.float32)
    nobody = np.full(queries, -1)

    def find() -> None:
        points = embed(model.retrieval_enhancer, scores, device)
        groups = torch.arange(rows, device=device)
        search(RetrievalBank(model.retrieval_enhancer.manifold, points[:rows], groups), points[rows:], nobody)

    times = timed(find, device, 3, warm_up=1)
    print(f"retrieve, {queries:,} queries in {rows:,} rows: {spread(times)} s, {gigabytes(device)}")


def main() -> None:
    """All batch sizes; one that does not fit is named and left out."""
    options = parse()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
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
    retrieve(model, options, device)


if __name__ == "__main__":
    main()
