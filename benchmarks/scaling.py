"""How time and memory grow: with the rows of the bank, the studies prepared, image size, report length and processes.

    python benchmarks/scaling.py [--out benchmarks/scaling.png]

Every curve is measured here, drawn on logarithmic axes and fitted with a power law ``seconds = a * x ** b`` over its last
points; the printed table is that of benchmarks/README.md. The bank's points are random and spread; the step is the
full-size training step at batch 2; processes have one thread each and search the same bank together.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.multiprocessing as multiprocessing

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dataclasses import replace

from benchmarks.models import published_config, published_model, random_batch
from benchmarks.retrieval import cloud
from benchmarks.timing import arguments, machine, reset_peak, seconds, status_megabytes
from benchmarks.training import our_loss
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

Curve = list[tuple[float, float, float]]  # x, seconds, MB above the start
QUERIES, WIDTH = 3858, 512
NOBODY = -1


def measured(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Best seconds of some runs and the most memory that they needed."""
    before = status_megabytes("VmRSS")
    reset_peak()
    best = min(seconds(work, runs, warm_up=0))
    return best, status_megabytes("VmHWM") - before


def bank_rows(sizes: list[int], queries: int, runs: int) -> Curve:
    """Searching a bank of N rows, its preparation included."""
    curve, asked = [], cloud("spread", queries, WIDTH)
    for N in sizes:
        points, groups = cloud("spread", N, WIDTH), torch.arange(N)

        def work(points=points, groups=groups) -> None:
            search(RetrievalBank(PoincareBall(0.01), points, groups), asked, np.full(queries, NOBODY))

        curve.append((N, *measured(work, runs)))
    return curve


def prepared_studies(sizes: list[int], runs: int) -> dict[str, Curve]:
    """Label neighbours and memory of N training studies among themselves."""
    rng, curves = np.random.default_rng(0), {"label neighbours, N studies": [], "memory, N studies": []}
    for N in sizes:
        labels, scores = rng.integers(0, 4, (N, 18)), rng.random((N, 75), dtype=np.float32)
        mentions, own = rng.integers(0, 4, (N, 75)), np.arange(N)
        curves["label neighbours, N studies"].append(
            (N, *measured(lambda labels=labels: label_neighbours(labels, None, 21), runs))
        )
        work = (scores, mentions, 21, own, own)
        curves["memory, N studies"].append((N, *measured(lambda work=work: memory_indices(*work), runs)))
    return curves


def step(config: RevtafConfig, tokens: int, runs: int) -> tuple[float, float]:
    """One training step of two studies."""
    model, prior = published_model(config).train(), torch.ones(config.num_conditions)
    model.visual_encoder.to(memory_format=torch.channels_last)
    optimizer, batch = build_optimizer(model, 5e-5, 0.05), random_batch(config, 2, tokens)

    def work() -> None:
        loss = our_loss(model, batch, prior, "fp32")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    work()  # the moments of the optimizer
    optimizer.zero_grad(set_to_none=True)
    return measured(work, runs)


def search_share(number: int, world: int, rows: int, queries: int, runs: int, folder: str) -> None:
    """One of several processes searches its share of a bank."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(29600 + world))
    torch.set_num_threads(1)
    with processes("cpu"):
        mine = shard_rows(rows)
        points, asked = cloud("spread", rows, WIDTH)[mine].clone(), cloud("spread", queries, WIDTH)
        shard = RetrievalBank(PoincareBall(0.01), points, torch.arange(rows)[mine])
        times = seconds(lambda: search(shard, asked, np.full(queries, NOBODY), mine.start), runs)
    if number == 0:
        Path(folder, "seconds").write_text(str(min(times)))


def world_sizes(sizes: list[int], rows: int, queries: int, runs: int) -> Curve:
    """Searching one bank with several processes of one thread."""
    curve = []
    for world in sizes:
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(search_share, args=(world, rows, queries, runs, folder), nprocs=world)
            curve.append((world, float(Path(folder, "seconds").read_text()), 0.0))
    return curve


def exponent(curve: Curve, points: int = 3) -> float:
    """Slope of the last points on logarithmic axes."""
    x, y, _ = np.log(np.maximum(np.array(curve[-points:]), 1e-9)).T
    return float(np.polyfit(x, y, 1)[0])


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draw every curve with its exponent."""
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for axis, (name, curve) in zip(axes.flat, curves.items(), strict=True):
        x, y, _ = zip(*curve, strict=True)
        axis.loglog(x, y, "o-")
        axis.set(title=f"{name}\nseconds ~ x^{exponent(curve):.2f}", ylabel="seconds")
        axis.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure, print, draw."""
    options = arguments(__doc__.splitlines()[0], runs=2, out=(None, "picture to draw"))
    quick, runs, config = options.quick, options.runs, published_config(options.quick)
    print(machine())
    start = time.perf_counter()
    rows = [500, 1000] if quick else [33_750, 67_500, 135_000, 270_790, 1_000_000]
    studies = [200, 400] if quick else [6_250, 12_500, 25_000, 50_000]
    sides, lengths = ([32, 64], [24, 30]) if quick else ([112, 160, 224, 320], [60, 120, 240, 480])
    tokens, queries = (30, 20) if quick else (120, QUERIES)
    curves = {f"search, {queries} queries, N rows": bank_rows(rows, queries, runs)}
    curves |= prepared_studies(studies, runs)
    curves["training step, image side"] = [
        (side, *step(replace(config, image_size=side), tokens, runs)) for side in sides
    ]
    curves["training step, report tokens"] = [(length, *step(config, length, runs)) for length in lengths]
    many, few = (1000, 20) if quick else (135_000, 1024)
    curves[f"search, {few} queries, processes"] = world_sizes([1, 2], many, few, runs)
    print("\n| what grows | points: seconds, MB above the start | exponent |\n|---|---|---:|")
    for name, curve in curves.items():
        points = "; ".join(f"{x:,}: {y:.3g} s, {m:.0f} MB" for x, y, m in curve)
        print(f"| {name} | {points} | {exponent(curve):.2f} |")
    if options.out:
        draw(curves, Path(options.out))
        print(f"\nwrote {options.out}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
