"""How time and memory grow: with bank rows, studies, image size, report length and processes.

    python benchmarks/scaling.py [--out docs/scaling.png]

Every point is measured in a process of its own; a power law ``a * x ** b`` is fitted to the seconds and to the memory of
every curve, and both are drawn on logarithmic axes. Memory is the most that the process held above what its imports need, so
it counts the bank, the features or the weights too. The bank's points are random and spread; training steps and entity scores
are full size. Of several processes each has one thread and its share of the same work; the memory is that of the first.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.models import our_step, published_config, published_model, random_batch
from benchmarks.retrieval import cloud
from benchmarks.timing import arguments, machine, reset_peak, seconds, status_megabytes
from models.config import RevtafConfig
from models.cpu.speed_up import speed_up
from models.entity_scorer import EntityScorer, EntityScorerConfig
from models.manifolds import PoincareBall
from models.retrieval import RetrievalBank
from modules.corpus.text import split_sentences
from modules.distributed import processes, world_size
from modules.preparation.features.text_features import find_text_encoder, report_and_sentence_features
from modules.retrieval.neighbours import label_neighbours, memory_indices
from modules.retrieval.retriever import search
from modules.retrieval.sharding import shard_rows
from modules.throughput import MIMIC_ITEMS
from modules.training.optimizers import build_optimizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HEAVY = ["benchmarks.scaling", "transformers.models.blip.modeling_blip_text", "sklearn.metrics"]
Curve = list[tuple[float, float, float]]  # x, seconds, MB
WIDTH = 512
SCORER = EntityScorerConfig(
    visual_extractor="resnet101",
    num_entities=75,
    width=768,
    layers=4,
    heads=8,
    dropout=0.1,
    image_size=224,
)


def curve(work: Callable[[int], Callable[[], object]], sizes: Sequence[int], threads: int, runs: int) -> Curve:
    """Measure ``work(size)``, which makes what is to be run, in a process of its own for every size.

    Used memory is not there to be used again, so that a process that has worked shows no need.
    """
    context, found = multiprocessing.get_context("forkserver"), []
    context.set_forkserver_preload(HEAVY)  # imported once for all
    for size in sizes:
        with ProcessPoolExecutor(1, mp_context=context) as fresh:
            found.append((size, *fresh.submit(measured, work, size, threads, runs).result()))
    return found


def measured(work: Callable[[int], Callable[[], object]], size: int, threads: int, runs: int) -> tuple[float, float]:
    """Best seconds of some runs of ``work(size)()``, and the most memory that it and its inputs needed."""
    torch.set_num_threads(threads)
    empty = status_megabytes("VmRSS")
    run = work(size)
    reset_peak()
    return min(seconds(run, runs, warm_up=0)), status_megabytes("VmHWM") - empty


def over_processes(work: Callable[[int], Callable[[], object]], worlds: Sequence[int], size: int, runs: int) -> Curve:
    """Measure ``work(size)`` shared among several processes of one thread."""
    found = []
    for world in worlds:
        with tempfile.TemporaryDirectory() as folder:
            words = (world, work, size, runs, folder)
            multiprocessing.start_processes(one_process, words, world, start_method="forkserver")
            found.append((world, *map(float, Path(folder, "found").read_text().split())))
    return found


def one_process(number: int, world: int, work: Callable, size: int, runs: int, folder: str) -> None:
    """One of several processes; the first writes what it measured."""
    os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(29600 + world))
    with processes("cpu"):
        found = measured(work, size, 1, runs)
    if number == 0:
        Path(folder, "found").write_text(" ".join(map(str, found)))


@dataclass(frozen=True)
class Work:
    """What is measured; every method makes one piece of work at a size, its share of it among several processes."""

    config: RevtafConfig
    scorer: EntityScorerConfig
    queries: int
    tokens: int
    batch: int
    reports: int

    def search(self, rows: int) -> Callable[[], object]:
        """Searching a bank, its preparation included."""
        mine = shard_rows(rows)
        points, asked = cloud("spread", rows, WIDTH)[mine].clone(), cloud("spread", self.queries, WIDTH)
        groups, nobody = torch.arange(rows)[mine], np.full(self.queries, -1)
        return lambda: search(RetrievalBank(PoincareBall(0.01), points, groups), asked, nobody, mine.start)

    def labels(self, studies: int) -> Callable[[], object]:
        """Label neighbours of training studies among themselves."""
        labels = np.random.default_rng(0).integers(0, 4, (studies, 18))
        return lambda: label_neighbours(labels, None, 21)

    def memory(self, studies: int) -> Callable[[], object]:
        """Memory of training studies among themselves."""
        rng, own = np.random.default_rng(0), np.arange(studies)
        scores, mentions = rng.random((studies, 75), dtype=np.float32), rng.integers(0, 4, (studies, 75))
        return lambda: memory_indices(scores, mentions, 21, own, own)

    def text(self, words: int) -> Callable[[], object]:
        """Text features (LSA, fitted on them) of reports in sentences of 8 words, none said twice."""
        drawn = np.random.default_rng(0).zipf(1.3, (self.reports, words // 8, 8)) % 2000
        reports = [" . ".join(" ".join(f"w{word}" for word in sentence) for sentence in report) for report in drawn]
        sentences = [sentence for report in reports for sentence in split_sentences(report)]
        return lambda: report_and_sentence_features(find_text_encoder("lsa", sentences, WIDTH, 0), reports)

    def scores(self, side: int) -> Callable[[], object]:
        """Entity scores of eight images of ``side`` pixels."""
        scorer, image = EntityScorer(replace(self.scorer, image_size=side)).eval(), torch.rand(8, 3, side, side)
        scorer.to(memory_format=torch.channels_last)
        return torch.inference_mode()(lambda: scorer(image))

    def image_step(self, side: int) -> Callable[[], object]:
        """One training step with images of ``side`` pixels."""
        return replace(self, config=replace(self.config, image_size=side)).token_step(self.tokens)

    def token_step(self, tokens: int) -> Callable[[], object]:
        """One training step with reports of ``tokens`` tokens."""
        config = self.config
        model, prior = published_model(config), torch.ones(config.num_conditions)
        speed_up(model)
        model.visual_encoder.to(memory_format=torch.channels_last)
        optimizer, batch = build_optimizer(model, 5e-5, 0.05), random_batch(config, self.batch // world_size(), tokens)
        wrapped = DistributedDataParallel(model) if world_size() > 1 else None
        our_step(model, optimizer, batch, prior, "fp32", wrapped)  # makes the moments of the optimizer
        optimizer.zero_grad(set_to_none=True)
        return lambda: our_step(model, optimizer, batch, prior, "fp32", wrapped)


def exponents(points: Curve) -> tuple[float, float]:
    """Slopes of the seconds and of the memory on logarithmic axes."""
    x, *both = np.log(np.array(points)).T
    return tuple(float(np.polyfit(x, y, 1)[0]) for y in both)


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draw every curve, seconds in blue and memory in grey, with their exponents."""
    figure, axes = plt.subplots(2, 5, figsize=(20, 7.5), layout="constrained")
    for axis, (name, points) in zip(axes.flat, curves.items(), strict=True):
        x, *both = zip(*points, strict=True)
        slopes = exponents(points)
        axis.set(title=f"{name}\nseconds ~ x^{slopes[0]:.2f}, MB ~ x^{slopes[1]:.2f}")
        for side, y, colour, unit in zip((axis, axis.twinx()), both, ("C0", "0.55"), ("seconds", "MB"), strict=True):
            side.loglog(x, y, "o-", color=colour)
            side.minorticks_off()
            side.set_ylim(min(y) / 1.5, max(y) * 1.5)
            apart = [y[i] for i in range(len(y)) if all(abs(y[i] / other - 1) > 0.05 for other in y[:i])]
            side.set_yticks(apart, [f"{v:.3g}" if v < 1000 else f"{v:,.0f}" for v in apart], color=colour)
            side.set_ylabel(unit, color=colour)
        axis.set_xticks(x, [f"{value:,}" for value in x])
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure, print, draw."""
    options = arguments(__doc__.splitlines()[0], runs=2, out=(None, "picture to draw"))
    quick, runs, threads = options.quick, options.runs, options.threads
    print(machine())
    start = time.perf_counter()
    small = replace(SCORER, visual_extractor="resnet18", width=16, layers=1)
    tokens, queries = (30, 20) if quick else (120, 3858)
    work = Work(
        published_config(quick), small if quick else SCORER, queries, tokens, batch=2, reports=400 if quick else 4000
    )
    few, four = replace(work, queries=20 if quick else 1024), replace(work, batch=4)
    rows = [500, 1000] if quick else [135_000, MIMIC_ITEMS, 1_000_000]
    studies = [200, 400] if quick else [12_500, 25_000, 50_000]
    sides, lengths = ([32, 64], [24, 30]) if quick else ([96, 224, 320], [60, 120, 240])
    worlds = [1, 2]
    measurements = {
        f"search, {queries:,} queries, bank rows": lambda: curve(work.search, rows, threads, runs),
        "label neighbours, studies": lambda: curve(work.labels, studies, threads, runs),
        "memory, studies": lambda: curve(work.memory, studies, threads, runs),
        "text features, words a report": lambda: curve(work.text, [24, 48, 96], threads, runs),
        "entity scores, image side": lambda: curve(work.scores, sides, threads, runs),
        "training step, image side": lambda: curve(work.image_step, sides, threads, runs),
        "training step, report tokens": lambda: curve(work.token_step, lengths, threads, runs),
        f"search, {rows[0]:,} rows, processes": lambda: over_processes(few.search, worlds, rows[0], runs),
        f"label neighbours, {studies[1]:,}, processes": lambda: over_processes(work.labels, worlds, studies[1], runs),
        "training step, 4 studies, processes": lambda: over_processes(four.token_step, worlds, tokens, runs),
    }
    print("\n| what grows | points: seconds, MB | seconds | MB |\n|---|---|---:|---:|")
    curves = {}
    for name, measure in measurements.items():
        curves[name] = points = measure()
        shown = "; ".join(f"{x:,}: {y:.3g} s, {m:,.0f} MB" for x, y, m in points)
        print(f"| {name} | {shown} | {' | '.join(f'{slope:.2f}' for slope in exponents(points))} |", flush=True)
    if options.out:
        draw(curves, Path(options.out))
        print(f"\nwrote {options.out}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
