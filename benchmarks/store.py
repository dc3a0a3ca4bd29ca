"""Opening a prepared data set of 270,790 studies: memory-mapped arrays against JSON lines.

    python benchmarks/store.py

Released way: report features as one JSON line per study, parsed three times at the start of a run, and the region scores
likewise once. A part of the lines is parsed and multiplied. Ours: the feature store, its ids, rows, labels and scores.
The features of the entities are narrow here (8 instead of 768 numbers), which the opening does not notice.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.timing import arguments, interleaved, machine, report_ratio, spread, status_megabytes, verdict
from modules.corpus.bank import TrainingBank
from modules.corpus.feature_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.features import FeatureStore

READS = 2000  # studies that a worker reads before its memory is taken


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
    write_bank_reports(folder, ({"id": i, "patient": None, "report": "the lungs are clear ."} for i in ids))
    return ids


def open_store(folder: Path, ids: list[str]) -> tuple[FeatureStore, np.ndarray]:
    """Everything a run does before its first batch can be read."""
    store = FeatureStore.open(folder)
    bank = TrainingBank(store)
    rows = store.rows("studies", ids)
    labels = np.asarray(store["labels"])[rows]
    for name in ("region_scores", "region_text", "memory_indices", "report_features"):
        assert len(store[name]) == len(bank) == len(labels)
    return store, rows


def worker_memory(folder: Path, ids: list[str], queue) -> None:
    """Private memory of a process that opens the store and reads studies."""
    before = status_megabytes("RssAnon")
    store, rows = open_store(folder, ids)
    opened = status_megabytes("RssAnon")
    for row in rows[:: max(1, len(rows) // READS)]:
        for name in ("region_scores", "region_text", "memory_indices"):
            np.array(store[name][row], dtype=np.float32)
        np.array(store["report_features"][np.asarray(store["memory_indices"][row])])
    queue.put((opened - before, status_megabytes("RssAnon") - opened))


def main() -> None:
    """Equal numbers, times, memory."""
    options = arguments(__doc__.splitlines()[0], runs=3)
    count, width, lines = (300, 16, 300) if options.quick else (270_790, 512, 5000)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "features"
        ids = fill(folder, count, width)
        store = FeatureStore.open(folder)
        text = {}
        for name in ("report_features", "region_scores"):
            rows = [json.dumps({"id": i, name: row.tolist()}) for i, row in zip(ids, store[name][:lines], strict=False)]
            text[name] = Path(temporary) / f"{name}.jsonl"
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

        parts, ours = interleaved(plain, lambda: open_store(folder, ids), options.runs)
        report_ratio(f"opening {count} studies", [t * count / len(parsed) for t in parts], ours, 100)
        verdict("seconds", max(ours), 1, spread(ours), at_most=True)
        queue = multiprocessing.get_context("fork").Queue()
        process = multiprocessing.get_context("fork").Process(target=worker_memory, args=(folder, ids, queue))
        process.start()
        opened, read = queue.get()
        process.join()
        print(f"  private memory: {opened:.0f} MB to open (shared by forked workers)")
        verdict("private memory of a worker after reading", read, 50, f"{read:.0f} MB", at_most=True)


if __name__ == "__main__":
    main()
