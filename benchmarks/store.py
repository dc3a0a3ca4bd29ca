"""Opening a prepared data set of 270,790 studies: memory-mapped arrays against JSON lines.

    python benchmarks/store.py

Released way: report features as one JSON line per study, parsed three times at the start of a run, and the region scores
likewise once. A part of the lines is parsed and multiplied. Ours: the feature store, the bank and the data set of all
studies. The features of the entities are narrow here (8 instead of 768 numbers) and all studies share one small image,
which the opening does not notice. What both ways have to do besides, reading the annotation and cleaning the reports, is
timed once and printed.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.timing import (
    arguments,
    interleaved,
    machine,
    private_megabytes,
    report_ratio,
    spread,
    status_megabytes,
    verdict,
)
from modules.corpus.annotations import Study, read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.dataloaders import spare_inherited
from modules.corpus.datasets import ReportDataset
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.tokenizer import ReportTokenizer
from modules.throughput import MIMIC_ITEMS

READS = 20_000  # studies that a worker reads before its memory is taken
REPORT = "The lungs are clear. There is no pleural effusion or pneumothorax. The heart size is normal. " * 3


def fill(folder: Path, count: int, width: int) -> list[str]:
    """Write a feature folder of random numbers; returns the ids."""
    rng = np.random.default_rng(0)
    ids = [f"{i:08x}-{i * 2654435761 % 2**32:08x}-5a5a5a5a-a5a5a5a5-{i:08x}" for i in range(count)]
    for axis in ("studies", "training"):
        write_axis(folder, axis, ids)
    shapes = {
        "labels": (18,),
        "region_scores": (75,),
        "region_text": (75, 8),
        "memory_indices": (21,),
        "report_features": (width,),
    }
    kinds = {"labels": np.int8, "region_text": np.float16, "memory_indices": np.int32}
    for name, shape in shapes.items():
        array = (rng.random((count, *shape), dtype=np.float32) * 4).astype(kinds.get(name, np.float32))
        write_feature(folder, name, array, axis="training" if name == "report_features" else "studies", made_by={})
    sentences = rng.random((2 * count, 8), dtype=np.float32)
    write_feature(folder, "sentence_features", sentences, axis="sentences", made_by={})
    write_feature(folder, "sentence_offsets", np.arange(count + 1) * 2, axis="sentences", made_by={})
    write_bank_reports(folder, ({"id": i, "patient": None, "report": REPORT} for i in ids))
    return ids


def draw_annotation(folder: Path, ids: list[str]) -> list[Study]:
    """Write an annotation of the studies, which share one image, and read it."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 36), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    rows = [{"id": i, "image_path": ["image.png"], "report": f"{n} {REPORT}"} for n, i in enumerate(ids)]
    (folder / "annotation.json").write_text(json.dumps({"train": rows, "val": [], "test": []}))
    start = time.perf_counter()
    studies = read_annotation(folder / "annotation.json")["train"]
    print(f"  the annotation is read in {time.perf_counter() - start:.1f} s", flush=True)
    return studies


def open_dataset(folder: Path, studies: list[Study]) -> ReportDataset:
    """Everything a run does with the features before its first batch can be read."""
    store = FeatureStore.open(folder / "features")
    bank, tokenizer = TrainingBank(store), ReportTokenizer.from_reports([REPORT.lower()], 1)
    dataset = ReportDataset(studies, folder, store, bank, tokenizer, image_size=32, max_report_tokens=480)
    dataset.refer_to(np.arange(len(studies))[:, None])
    return dataset


def worker_memory(dataset: ReportDataset, queue) -> None:
    """Private memory that a forked process gains by reading studies."""
    spare_inherited()
    torch.set_num_threads(1)  # both as data-loading processes do: threads do not outlive a fork
    generator = np.random.default_rng(0)
    dataset[0]  # modules loaded on first use
    before = private_megabytes()
    for index in generator.permutation(len(dataset))[:READS].tolist():
        dataset[index]
    queue.put(private_megabytes() - before)


def main() -> None:
    """Equal numbers, times, memory."""
    options = arguments(__doc__.splitlines()[0], runs=3)
    count, width, lines = (300, 16, 300) if options.quick else (MIMIC_ITEMS, 512, 5000)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ids = fill(folder / "features", count, width)
        store = FeatureStore.open(folder / "features")
        studies = draw_annotation(folder, ids)
        text = {}
        for name in ("report_features", "region_scores"):
            rows = [json.dumps({"id": i, name: row.tolist()}) for i, row in zip(ids, store[name][:lines], strict=False)]
            text[name] = folder / f"{name}.jsonl"
            text[name].write_text("\n".join(rows))

        def parse(name: str) -> dict[str, list[float]]:
            with open(text[name], encoding="utf-8") as file:
                return {row["id"]: row[name] for row in map(json.loads, file)}

        parsed = parse("report_features")
        assert all(np.array_equal(np.float32(parsed[i]), store["report_features"][row]) for row, i in enumerate(parsed))
        print(f"  equal: {len(parsed)} rows read both ways")

        def plain() -> None:
            for name in ("report_features",) * 3 + ("region_scores",):
                parse(name)

        parts, ours = interleaved(plain, lambda: open_dataset(folder, studies), options.runs)
        report_ratio(f"opening {count} studies", [t * count / len(parsed) for t in parts], ours, 100)
        verdict("seconds", max(ours), 1, spread(ours), at_most=True)
        before = status_megabytes("RssAnon")
        dataset = open_dataset(folder, studies)
        print(f"  private memory: {status_megabytes('RssAnon') - before:.0f} MB to open, shared by forked workers")
        start = time.perf_counter()
        dataset.use_reports("published", 100)
        print(f"  the reports are cleaned in {time.perf_counter() - start:.1f} s")
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=worker_memory, args=(dataset, queue))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit("the worker failed")
        gained = queue.get()
        name = f"private memory that a worker gains by reading {min(READS, count):,} studies"
        verdict(name, gained, 50, f"{gained:.0f} MB", at_most=True)


if __name__ == "__main__":
    main()
