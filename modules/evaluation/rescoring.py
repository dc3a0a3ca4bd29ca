"""What an earlier test left in its folder, for ``main_test.py --rescore``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from modules.corpus.datasets import ReportDataset
from modules.evaluation.generation import reference_fields
from modules.messages import UserError
from modules.options.programs import MainTest
from modules.records import read_jsonl, read_object, read_run_options

OF_THE_MODEL = (  # entries of metrics.json beside the scores
    "reference_sensitivity", "map_correlation", "text_cosine", "trained_steps", "trained_epochs", "grounding",
)  # fmt: skip


def kept_reports(run_dir: Path, dataset: ReportDataset) -> list[dict[str, Any]]:
    """The rows of ``predictions.jsonl``, with the references of this test.

    Raises:
        UserError: if they are of other studies.
    """
    path = run_dir / "predictions.jsonl"
    rows = read_jsonl(path)
    if [row.get("id") for row in rows] != [study.id for study in dataset.studies]:
        raise UserError(
            f"{path} holds the reports of {len(rows)} studies that are not the {len(dataset)} of this test: leave out --rescore"
        )
    kept = [{name: value for name, value in row.items() if name not in ("reference", "reference_full")} for row in rows]
    return [{**row, **reference_fields(dataset, index)} for index, row in enumerate(kept)]


def restore_generation(options: MainTest) -> None:
    """Set the flags of generation to those that the test recorded which wrote the reports: this one does not write any."""
    path = Path(options.run.save_dir) / f"options_{options.testing.split}.json"
    if not path.is_file():
        return
    recorded = {"second_search": 0, **read_run_options(path)}  # 0 of a test from before there was one
    for flag in fields(options.generation):
        if flag.name in recorded:
            setattr(options.generation, flag.name, recorded[flag.name])


def kept_figures(run_dir: Path) -> dict[str, Any]:
    """What was measured of the model beside its reports; nothing if it never was."""
    path = run_dir / "metrics.json"
    kept = read_object(path) if path.is_file() else {}
    return {name: kept[name] for name in OF_THE_MODEL if name in kept}
