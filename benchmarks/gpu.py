"""Training, generation and retrieval on a CUDA device: studies per second, what each way gains, where the time goes.

    bash benchmarks/gpu_all.sh                      # the tests that need a GPU, then this
    python benchmarks/gpu.py --only train generate  # some of it

Every figure is kept in the JSON, and in a table beside it, as soon as it is measured, so that it may be stopped at any point.
What is quick comes first, what is compiled last. The network is that of the released code, "defaults" that of today's. A step begins with pinned
uint8 images on the host, as the data loader leaves them, and ends with new weights. FLOPs are counted by PyTorch while one step
runs. The released way is our plain rendering of it, in float32, on the same card. ``--quick`` runs tiny sizes, on the CPU where
there is no GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.alignment import plain_binary_iou
from benchmarks.device_timing import Record, forget, gigabytes, kinds, may_not_fit, seconds, wait
from benchmarks.models import (
    LOSS,
    count_flops,
    default_config,
    published_config,
    published_model,
    random_batch,
    random_pairs,
)
from benchmarks.steps import plain_loss
from models.beam_search import GenerationLimits
from models.retrieval import RetrievalBank
from models.revtaf import Revtaf
from modules.distributed import autocast
from modules.options.flags import TrainingOptions
from modules.retrieval.retriever import embed, search
from modules.throughput import MIMIC_ITEMS
from modules.training.optimizers import clip_gradients
from modules.training.update import Update
from modules.weights.fast import speed_up


def parse() -> Namespace:
    """Read the flags; ``device`` is where everything runs."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts that are measured")
    parser.add_argument("--batches", type=int, nargs="+", default=[18, 64, 256], help="studies per step")
    parser.add_argument("--steps", type=int, default=10, help="timed steps, after four that are not")
    parser.add_argument(
        "--out", type=Path, default=Path("results/gpu.json"), help="where the figures are kept; the table ends in .md"
    )
    options = parser.parse_args()
    options.device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if options.device.type == "cpu" and not options.quick:
        sys.exit("gpu.py needs a CUDA device and PyTorch finds none: run it on one, or add --quick to try it here")
    if options.quick:
        options.batches, options.steps = [2, 3], 2
    return options


def ceilings(options: Namespace, record: Record) -> None:
    """What the card does at most: a large matrix product and a large copy."""
    side = 64 if options.quick else 8192
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        a, b = (torch.randn(side, side, device=options.device, dtype=dtype) for _ in range(2))
        record(
            f"matrix product, {name}",
            tflops=2 * side**3 / seconds(lambda a=a, b=b: a @ b, 10, 3, options.device) / 1e12,
        )
    x = torch.empty(1 << (16 if options.quick else 31), dtype=torch.uint8, device=options.device)
    y = torch.empty_like(x)
    record(
        "copy, read and written",
        terabytes_per_second=2 * len(x) / seconds(lambda: y.copy_(x), 5, 2, options.device) / 1e12,
    )


def host_batch(options: Namespace, size: int, tokens: int = 120, defaults: bool = False, **changes: Any) -> Any:
    """Studies on the host, as a loader leaves them."""
    config = (default_config if defaults else published_config)(options.quick)
    batch = random_batch(config, size, 30 if options.quick else tokens)
    side = changes.get("image_size", config.image_size)
    batch.study.image = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8)
    return batch.pin_memory() if options.device.type == "cuda" else batch


def model_of(options: Namespace, defaults: bool = False, **how: bool) -> Revtaf:
    """The network of the released code, or of today's ``defaults``, on the device, made fast as the flags of a training say."""
    model = published_model((default_config if defaults else published_config)(options.quick)).to(options.device)
    model.visual_encoder.to(memory_format=torch.channels_last)
    if how and options.device.type == "cuda":
        speed_up(model, options.device, **how)
    return model


def step_of(model: Revtaf, host: Any, options: Namespace, recorded: bool) -> Callable[[], Any]:
    """One update of a training, the copy to the device included."""
    known = model.config.align_pairs != "all"
    loss, pairs = (TrainingOptions(), random_pairs(len(host.index))) if known else (LOSS, None)
    update = Update(model, loss, "bf16", options.device, (3, 4, 5, 6), pairs, recorded=recorded)
    update.train()
    prior, numbers = torch.ones(model.config.num_conditions, device=options.device), itertools.count(1)
    return lambda: update(next(numbers), (host.to(options.device, None),), prior)


def released_step(model: Revtaf, host: Any, options: Namespace) -> Callable[[], None]:
    """One update the released way."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.05)
    prior, side = torch.ones(model.config.num_conditions, device=options.device), 28 if options.quick else 224
    model.train()

    def step() -> None:
        batch = host.to(options.device, None)
        loss = plain_loss(model, batch, prior, partial(plain_binary_iou, side=side, studies=1))
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), 0.1)
        optimizer.step()

    return step


def train(options: Namespace, record: Record) -> None:
    """Studies per second of every way and batch size; the work of a study; where the time of the fastest goes."""
    device, first, most = options.device, options.batches[0], options.batches[-1]
    flops = {}
    for defaults in (False, True):
        host = host_batch(options, first, defaults=defaults)
        flops[defaults] = count_flops(step_of(model_of(options, defaults), host, options, recorded=False)) / first
        forget(device)
    record("work of a study", gflop=flops[False] / 1e9, gflop_of_the_defaults=flops[True] / 1e9)
    host = host_batch(options, first)
    with may_not_fit(f"train, released way, batch {first}", record) as what:
        taken = seconds(released_step(model_of(options), host, options), 3, 2, device)
        record(what, studies_per_second=first / taken, gigabytes=gigabytes(device))
    recorded, compiled = {"compiled": False}, {"compiled": True}
    ways: list[tuple[str, list[int], dict[str, bool]]] = [
        ("plain operations", [first, most], {}),
        ("recorded", options.batches, recorded),
        ("defaults, recorded", [first, most], {"defaults": True, **recorded}),
        ("recorded, compiled", [most, first], compiled),
        ("defaults, recorded, compiled", [most], {"defaults": True, **compiled}),
        ("recorded, compiled", [384], compiled),
    ]
    for way, sizes, how in ways[: -1 if options.quick else None]:
        for size in sizes:
            forget(device)
            torch.compiler.reset()  # else a second size is compiled for all sizes, which a training is not
            with may_not_fit(f"train, {way}, batch {size}", record) as what:
                profiled = way.endswith("recorded, compiled") and size in (first, most)
                one_way(what, how, size, flops[how.get("defaults", False)], profiled, options, record)


def one_way(
    what: str, how: dict[str, bool], size: int, flops: float, profiled: bool, options: Namespace, record: Record
) -> None:
    """One way at one batch size; its memory is free again when this returns, also where it did not fit."""
    device = options.device
    host = host_batch(options, size, defaults=how.get("defaults", False))
    step = step_of(model_of(options, **how), host, options, recorded="compiled" in how)
    start = time.perf_counter()
    step()
    wait(device)
    first_step = time.perf_counter() - start
    taken = seconds(step, options.steps, 3, device)
    rate = size / taken
    record(
        what, studies_per_second=rate, ms_per_step=1e3 * taken, tflops=flops * rate / 1e12, gigabytes=gigabytes(device),
        seconds_before_the_first_step=first_step, minutes_of_mimic=MIMIC_ITEMS * 6 / rate / 60,
    )  # fmt: skip
    if profiled:
        kinds(step, f"kernels of a step, {what.removeprefix('train, ')}", device, record)


def curves(options: Namespace, record: Record) -> None:
    """How a recorded step grows with images and reports."""
    size = 2 if options.quick else 64
    for name, values in (("image_size", (96, 224, 320)), ("tokens", (60, 120, 240))):
        for value in values[: 1 if options.quick else None]:
            forget(options.device)
            with may_not_fit(f"recorded step, batch {size}, {name} {value}", record) as what:
                host = host_batch(options, size, **{name: value})
                taken = seconds(
                    step_of(model_of(options, compiled=False), host, options, recorded=True),
                    options.steps, 3, options.device,
                )  # fmt: skip
                record(what, ms=1e3 * taken, studies_per_second=size / taken)


def generate(options: Namespace, record: Record) -> None:
    """Whole reports of the longest length, plain and with recorded words."""
    device, new = options.device, 6 if options.quick else 150
    sizes = [2] if options.quick else [18, 64, 256, 512]
    for way, how, batches in (
        ("plain operations", {}, sizes[-2:-1] or sizes),
        ("recorded words", {"compiled": False}, sizes),
    ):
        model = model_of(options, **how).eval()
        limits = GenerationLimits(beams=3, min_length=model.config.prompt_length + new - 1, max_new_tokens=new)
        states = torch.arange(model.config.num_states, device=device) + 3
        for size in batches:
            forget(device)
            with may_not_fit(f"generate, {way}, batch {size}", record) as what:
                batch = random_batch(model.config, size, 30).to(device, None)
                work = partial(write_reports, model, batch, states, limits, device)
                taken = seconds(work, 2 if how else 1, 1, device)
                record(
                    what, reports_per_second=size / taken, ms_per_word=1e3 * taken / new,
                    seconds_of_3858=3858 * taken / size, gigabytes=gigabytes(device),
                )  # fmt: skip


def write_reports(
    model: Revtaf, batch: Any, states: torch.Tensor, limits: GenerationLimits, device: torch.device
) -> None:
    """Write the reports of a batch."""
    with autocast(device, "bf16"):
        model.generate(batch.study, 3, states, limits)


def search_bank(enhancer: Any, points: torch.Tensor, rows: int) -> None:
    """Find the nearest of the first ``rows`` points to each of the others."""
    groups, nobody = torch.arange(rows, device=points.device), np.full(len(points) - rows, -1)
    search(RetrievalBank(enhancer.manifold, points[:rows], groups), points[rows:], nobody)


def retrieve(options: Namespace, record: Record) -> None:
    """The retrieval of a test of MIMIC-CXR's size: the bank embedded, and every query searched."""
    model, queries = model_of(options), 20 if options.quick else 3858
    for rows in (1000,) if options.quick else (135_000, MIMIC_ITEMS, 1_000_000):
        scores = np.random.default_rng(0).random((rows + queries, model.config.num_entities), dtype=np.float32)
        enhancer = model.retrieval_enhancer
        embedded = seconds(partial(embed, enhancer, scores, options.device), 1, 1, options.device)
        points = embed(enhancer, scores, options.device)
        taken = seconds(partial(search_bank, enhancer, points, rows), 1, 1, options.device)
        record(f"retrieve, {queries} queries in {rows} rows", seconds_of_search=taken, seconds_of_embedding=embedded)


PARTS = {"ceilings": ceilings, "generate": generate, "retrieve": retrieve, "curves": curves, "train": train}


def main() -> None:
    """One part after the other."""
    options = parse()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = Record(options.out)
    print(record.content["machine"])
    for part in options.only:
        PARTS[part](options, record)
        forget(options.device)
    print(json.dumps({"kept": str(options.out), "figures": len(record.content["figures"])}))


if __name__ == "__main__":
    main()
