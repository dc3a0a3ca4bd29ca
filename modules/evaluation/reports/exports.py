"""Scored reports in the layouts that other tools read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from modules.corpus.text import postprocess_prediction
from modules.evaluation.reading.predictions import Matched
from modules.records import atomic_write, write_json

_REXRANK = (
    "image_path", "key_image_path", "section_findings", "section_impression", "report", "context", "frontal_lateral", "split",
)  # fmt: skip


def write_exports(run_dir: Path, matched: Matched) -> None:
    """Write the studies that were scored as they were found: ReXrank's JSON and CXR-Report-Metric's two tables."""
    write_table(run_dir / "cxr_report_metric_gt.csv", matched.ids, matched.raw_references)
    for name, reports in matched.raw_systems.items():
        write_table(run_dir / f"cxr_report_metric_{name}.csv", matched.ids, reports)
        write_rexrank(run_dir / f"rexrank_{name}.json", matched, name)


def write_table(path: Path, ids: Sequence[str], reports: Sequence[str]) -> None:
    """Write ``study_id,report``, what CXR-Report-Metric reads of either side."""
    with atomic_write(path) as file:
        csv.writer(file, lineterminator="\n").writerows([("study_id", "report"), *zip(ids, reports, strict=True)])


def write_rexrank(path: Path, matched: Matched, system: str) -> None:
    """Write ReXrank's results file: its fields by study, as far as the references had them, and ``model_prediction``."""
    content = {}
    for key, row, reference, report in zip(
        matched.ids, matched.rows, matched.raw_references, matched.raw_systems[system], strict=True
    ):
        known = {name: row[name] for name in _REXRANK if name in row}
        content[key] = {"report": reference, **known, "model_prediction": report}
    write_json(path, content)


def write_r2gen(run_dir: Path, predictions: Sequence[str], references: Sequence[str]) -> None:
    """Write ``res.csv`` and ``gts.csv`` for R2Gen's tools: one column, no heading, rows in the order of the split."""
    spaced = [postprocess_prediction(text).strip() for text in predictions]
    for name, texts in (("res.csv", spaced), ("gts.csv", references)):
        with atomic_write(run_dir / name) as file:
            csv.writer(file, lineterminator="\n").writerows([text] for text in texts)
