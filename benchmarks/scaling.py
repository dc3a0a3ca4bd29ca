"""How time and memory grow: with the rows of the bank, the studies prepared, image size, report length and processes.

    python benchmarks/scaling.py [--out benchmarks/scaling.png]

Every point is measured in a process of its own; a power law ``seconds = a * x ** b`` is fitted to every curve and drawn on
logarithmic axes. The bank's points are random and spread; the step is the full-size training step at batch 2; of several
processes, whose memory is not measured, each has one thread and searches its share of the same bank.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.multiprocessing as multiprocessing

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.models import our_step, published_config, published_model, random_batch
from benchmarks.retrieval import cloud
from benchmarks.timing import arguments, machine, reset_peak, seconds, status_megabytes
from models.config import RevtafConfig
from models.manifolds import PoincareBall
from models.retrieval import RetrievalBank
from modules.distributed import processes
from modules.evaluation.retriever import search
from modules.preparation.neighbours import label_neighbours, memory_indices
from modules.sharding import shard_rows
from modules.training.optimizers import build_optimizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HEAVY = ["torchvision", "transformers.models.blip.modeling_blip_text", "sklearn.metrics", "matplotlib.pyplot"]
Curve = list[tuple[float, float, float]]  # x, seconds, MB above the start
WIDTH = 512


def measured(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Best seconds of some runs and the most memory that they needed."""
    before = status_megabytes("VmRSS")
    reset_peak()
    best = min(seconds(work, runs, warm_up=0))
    return best, status_megabytes("VmHWM") - before


def curve(point: Callable[..., tuple[float, float]], sizes: Sequence[int], *common: object) -> Curve:
    """``point(size, *common)`` for every size, each in a process of its own: used memory is not there to be used again."""
    context, found = multiprocessing.get_context("forkserver"), []
    context.set_forkserver_preload(HEAVY)  # imported once for all
    for size in sizes:
        with ProcessPoolExecutor(1, mp_context=context) as fresh:
            found.append((size, *fresh.submit(point, size, *common).result()))
    return found


def search_rows(rows: int, queries: int, threads: int, runs: int) -> tuple[float, float]:
    """Searching a bank, its preparation included."""
    torch.set_num_threads(threads)
    points, asked, groups = cloud("spread", rows, WIDTH), cloud("spread", queries, WIDTH), torch.arange(rows)
    nobody = np.full(queries, -1)
    return measured(lambda: search(RetrievalBank(PoincareBall(0.01), points, groups), asked, nobody), runs)


def prepare_labels(studies: int, threads: int, runs: int) -> tuple[float, float]:
    """Label neighbours of training studies among themselves."""
    torch.set_num_threads(threads)
    labels = np.random.default_rng(0).integers(0, 4, (studies, 18))
    return measured(lambda: label_neighbours(labels, None, 21), runs)


def prepare_memory(studies: int, threads: int, runs: int) -> tuple[float, float]:
    """Memory of training studies among themselves."""
    torch.set_num_threads(threads)
    rng, own = np.random.default_rng(0), np.arange(studies)
    scores, mentions = rng.random((studies, 75), dtype=np.float32), rng.integers(0, 4, (studies, 75))
    return measured(lambda: memory_indices(scores, mentions, 21, own, own), runs)


def image_step(side: int, config: RevtafConfig, tokens: int, threads: int, runs: int) -> tuple[float, float]:
    """One training step of two studies with images of ``side`` pixels."""
    return token_step(tokens, replace(config, image_size=side), threads, runs)


def token_step(tokens: int, config: RevtafConfig, threads: int, runs: int) -> tuple[float, float]:
    """One training step of two studies with reports of ``tokens`` tokens."""
    torch.set_num_threads(threads)
    model, prior = published_model(config), torch.ones(config.num_conditions)
    model.visual_encoder.to(memory_format=torch.channels_last)
    optimizer, batch = build_optimizer(model, 5e-5, 0.05), random_batch(config, 2, tokens)
    our_step(model, optimizer, batch, prior, "fp32")  # makes the moments of the optimizer
    optimizer.zero_grad(set_to_none=True)
    return measured(lambda: our_step(model, optimizer, batch, prior, "fp32"), runs)


def search_share(number: int, world: int, rows: int, queries: int, runs: int, folder: str) -> None:
    """One of several processes searches its share of a bank."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(29600 + world))
    torch.set_num_threads(1)
    with processes("cpu"):
        mine = shard_rows(rows)
        points, asked = cloud("spread", rows, WIDTH)[mine].clone(), cloud("spread", queries, WIDTH)
        shard = RetrievalBank(PoincareBall(0.01), points, torch.arange(rows)[mine])
        times = seconds(lambda: search(shard, asked, np.full(queries, -1), mine.start), runs)
    if number == 0:
        Path(folder, "seconds").write_text(str(min(times)))


def world_sizes(sizes: list[int], rows: int, queries: int, runs: int) -> Curve:
    """Searching one bank with several processes of one thread."""
    found = []
    for world in sizes:
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(search_share, args=(world, rows, queries, runs, folder), nprocs=world)
            found.append((world, float(Path(folder, "seconds").read_text()), math.nan))
    return found


def exponent(points: Curve) -> float:
    """Slope of the points on logarithmic axes."""
    x, y = np.log(np.array(points)[:, :2]).T
    return float(np.polyfit(x, y, 1)[0])


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draw every curve with its exponent."""
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for axis, (name, points) in zip(axes.flat, curves.items(), strict=True):
        x, y, _ = zip(*points, strict=True)
        axis.loglog(x, y, "o-")
        axis.set(title=f"{name}\nseconds ~ x^{exponent(points):.2f}", ylabel="seconds")
        axis.minorticks_off()
        axis.set_xticks(x, [f"{value:,}" for value in x])
        axis.set_yticks(y, [f"{value:.3g}" for value in y])
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure, print, draw."""
    options = arguments(__doc__.splitlines()[0], runs=2, out=(None, "picture to draw"))
    quick, runs, config = options.quick, options.runs, published_config(options.quick)
    print(machine())
    start = time.perf_counter()
    threads = options.threads
    rows = [500, 1000] if quick else [135_000, 270_790, 1_000_000]
    studies = [200, 400] if quick else [12_500, 25_000, 50_000]
    sides, lengths = ([32, 64], [24, 30]) if quick else ([96, 224, 320], [60, 120, 240])
    tokens, queries = (30, 20) if quick else (120, 3858)
    many, few = (1000, 20) if quick else (135_000, 1024)
    measurements = {
        f"search, {queries} queries, N rows": lambda: curve(search_rows, rows, queries, threads, runs),
        "label neighbours, N studies": lambda: curve(prepare_labels, studies, threads, runs),
        "memory, N studies": lambda: curve(prepare_memory, studies, threads, runs),
        "training step, image side": lambda: curve(image_step, sides, config, tokens, threads, runs),
        "training step, report tokens": lambda: curve(token_step, lengths, config, threads, runs),
        f"search, {few} queries, processes": lambda: world_sizes([1, 2], many, few, runs),
    }
    print("\n| what grows | points: seconds, MB above the start | exponent |\n|---|---|---:|")
    curves = {}
    for name, measure in measurements.items():
        curves[name] = points = measure()
        shown = "; ".join(f"{x:,}: {y:.3g} s" + ("" if math.isnan(m) else f", {m:.0f} MB") for x, y, m in points)
        print(f"| {name} | {shown} | {exponent(points):.2f} |", flush=True)
    if options.out:
        draw(curves, Path(options.out))
        print(f"\nwrote {options.out}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
