"""The line that a finished run of an ablation leaves: its options, figures, data, commit and hardware."""

from __future__ import annotations

import csv
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from modules.corpus.manifest import read_manifest
from modules.records import read_json, sha256_of
from modules.training.ablations import Job

PLACES = {  # options that say where and how often a row runs, and are no settings of it
    "ann_path", "image_dir", "feature_dir", "bank_dir", "save_dir", "resume", "seed", "eval_batch_size",
}  # fmt: skip
KEPT = (  # parts of metrics.json whose figures the line repeats
    "scores", "retrieval", "grounding", "reference_sensitivity", "map_correlation", "text_cosine", "diversity", "copying",
    "particulars",
)  # fmt: skip
# Figures of single signs of what the maps are compared with: grounding.rows.centre.signs.edema.auroc is left out,
# grounding.rows.maps.signs.edema.auroc stays.
_SIGNS_OF_OTHERS = re.compile(r"grounding\.rows\.(?!maps\.).*\.signs\.")


def run_line(
    job: Job,
    benchmark: str,
    chosen: Mapping[str, Sequence[str]],
    options: Mapping[str, Any],
    trained: Path,
    test_seconds: float,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The line of a finished run: see ``modules/evaluation/reports/run_lines.py``.

    Args:
        job: which.
        benchmark: its name.
        chosen: the options that the row sets (``named``), and those that all rows set (``shared``).
        options: all of them, as ``options.json`` holds them.
        trained: folder of the training.
        test_seconds: what the test took.
        environment: of training and test; how many threads they had.
    """
    metrics = read_json(job.folder / "metrics.json")
    figures = dotted_numbers({name: metrics[name] for name in KEPT if name in metrics})
    figures = {name: value for name, value in figures.items() if not _SIGNS_OF_OTHERS.match(name)}
    return {
        "benchmark": benchmark,
        "row": job.row.name,
        "seed": job.seed,
        "flags": job.row.flags,
        **chosen,
        "settings": {name: value for name, value in options.items() if name not in PLACES},
        "figures": {
            **figures,
            "seconds.train": sum(seconds_of_epochs(trained)),
            "seconds.test": test_seconds,
            "studies": metrics["studies"],
        },
        "data": f"annotation {sha256_of(options['ann_path'])[:12]} features {features_checksum(options['feature_dir'])[:12]}",
        "commit": metrics["commit"],
        "dirty": metrics["dirty"],
        "hardware": hardware(environment.get("OMP_NUM_THREADS")),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def features_checksum(directory: str) -> str:
    """One checksum of the ids and arrays of a feature folder; the commit and the packages that made them do not count."""
    manifest = read_manifest(Path(directory))
    parts = {**manifest["axes"], **manifest["arrays"]}
    return sha256("".join(f"{name} {parts[name]['sha256']}\n" for name in sorted(parts)).encode()).hexdigest()


def dotted_numbers(value: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of nested mappings by dotted name, to five digits; what is no number is left out."""
    numbers: dict[str, float] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            numbers |= dotted_numbers(item, f"{before}{name}.")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            numbers[f"{before}{name}"] = float(f"{item:.5g}")
    return numbers


def hardware(threads: str | None) -> str:
    """Processor or GPU of this machine, and how many threads compute.

    Args:
        threads: ``OMP_NUM_THREADS`` of the run; without a number there, this process's threads are said.
    """
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    number = int(threads) if threads is not None and threads.strip().isdecimal() else 0
    return f"{processor}, {number or torch.get_num_threads()} threads"


def seconds_of_epochs(trained: Path) -> list[float]:
    """What each finished epoch of a training took; none where nothing has been trained.

    Args:
        trained: folder of the training.
    """
    path = trained / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]
