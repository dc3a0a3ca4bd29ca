"""What is written about scored reports: every figure under its full name, the tables, and files for other tools."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.evaluation.metrics.metric_names import full_name
from modules.evaluation.metrics.significance import compare, with_holm
from modules.evaluation.reports.published_rows import OTHER_PROTOCOLS, conventions, titled_rows
from modules.evaluation.reports.tables import COLUMNS, INTERVAL, latex_table, markdown_table
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.records import atomic_write

COMPARED = (
    "BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr",
    "BLEU_2_sentence", "ROUGE_L_f1", "semb_score", "ce_f1_example", "ce_f1_micro", "ce_f1_macro", "ce_f1_macro_tail",
)  # fmt: skip
SHOWN = ("BLEU_4", "ROUGE_L", "METEOR", "CIDEr", "ce_f1")  # of single studies, on the page
PROTOCOL = {
    "nlg": "predictions get '. ' -> ' . ' and ' - ' -> '-' before scoring, as published",
    "ce": "labels of both sides by the labeler named here; 14 conditions incl. no finding; 0/0 = 0; uncertain counts as "
    "negative unless the name says otherwise",
    "intervals": "95 %, percentile bootstrap over studies; CIDEr keeps its document frequencies",
    "comparison": "interval of the difference: paired bootstrap; p: two-sided approximate randomisation; p_holm: Holm's "
    "correction over all figures and systems compared in this file",
}


def add_scores(rows: Sequence[dict[str, Any]], scorer: ReportScorer, system: SystemScores) -> None:
    """Add labels and per-study scores to the rows of ``predictions.jsonl``, in place."""
    each = system.per_study
    for i, row in enumerate(rows):
        row["labels_reference"] = scorer.reference_labels[i].tolist()
        row["labels_prediction"] = system.labels[i].tolist()
        row["scores"] = {name: round(float(each[name][i]), 6) if name in each else None for name in SHOWN}


def with_split(values: Mapping[str, Any], split: str) -> dict[str, Any]:
    """The same values with the split in front of every name."""
    return {f"{split}_{name}": value for name, value in values.items()}


def figures(
    scorer: ReportScorer, system: SystemScores, split: str, max_words: int, resamples: int, seed: int
) -> dict[str, Any]:
    """``scores``, ``intervals``, ``names`` and ``per_class`` of one system, as ``metrics.json`` holds them."""
    return {
        "scores": with_split(system.scores, split),
        "intervals": with_split(system.intervals(resamples, seed), split),
        "names": with_split({name: full_name(name, max_words) for name in system.scores}, split),
        "per_class": scorer.per_class(system, resamples, seed),
    }


def comparisons(
    systems: Mapping[str, SystemScores], pairs: Sequence[tuple[str, str]], resamples: int, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare pairs of systems, see ``significance.compare``.

    Args:
        systems: by name.
        pairs: names of two systems each; the second is subtracted from the first.
        resamples: of the interval.
        seed: of everything drawn.

    Returns:
        By ``"<first> minus <second>"`` and figure of ``COMPARED``; Holm's correction is over all of it. Nothing of one study,
        of which no other can be drawn.
    """
    if any(len(system.sums.values) < 2 for system in systems.values()):
        return {}
    names = [name for name in COMPARED if all(system.scores.get(name) is not None for system in systems.values())]
    found = [compare(systems[a].sums, systems[b].sums, names, resamples=resamples, seed=seed) for a, b in pairs]
    return {
        f"{a} minus {b}": {figure: difference._asdict() for figure, difference in result.items()}
        for (a, b), result in zip(pairs, with_holm(found), strict=True)
    }


def comparison_lines(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """The same as text, one line per figure; ``*`` marks p_holm below .05."""
    lines = []
    for name, result in found.items():
        lines.append(f"{name}: difference [95 % interval], p by approximate randomisation, p after Holm's correction")
        lines += [
            f"  {figure:18s} {row['difference']:+.4f}  [{row['low']:+.4f}, {row['high']:+.4f}]  {row['p']:.4f}  "
            f"{row['p_holm']:.4f}{' *' if row['p_holm'] < 0.05 else ''}"
            for figure, row in result.items()
        ]
    return lines


def write_tables(
    run_dir: Path,
    dataset: str | None,
    ours: Mapping[str, Mapping[str, float | None]],
    spans: Mapping[str, Mapping[str, tuple[float, float]]],
    notes: Sequence[str],
    columns: Mapping[str, str] = COLUMNS,
) -> str:
    """Write ``table.md`` and ``table.tex``: published rows, then ours, with intervals and uncut references below.

    Args:
        run_dir: folder of the run.
        dataset: whose published rows stand above ours.
        ours: scores by system.
        spans: intervals by system, for those that have them.
        notes: sentences under the table.
        columns: titles by figure; published rows stand above those of the published protocol only.

    Returns:
        The Markdown of our rows alone.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    for name, scores in ours.items():
        rows[name] = scores
        if name in spans:
            rows[f"{INTERVAL}, {name}" if len(spans) > 1 else INTERVAL] = spans[name]
            whole = {full.removesuffix("_full"): value for full, value in scores.items() if full.endswith("_full")}
            rows |= {f"{name}, whole references": whole} if whole else {}
    published = titled_rows(dataset) if columns == COLUMNS else {}
    note = " ".join([*notes, *([conventions(dataset)] if published else [])])
    with atomic_write(run_dir / "table.md") as file:
        file.write(f"{markdown_table({**published, **rows}, columns=columns)}\n\n{note}\n{_other_protocols(dataset)}")
    with atomic_write(run_dir / "table.tex") as file:
        file.write(latex_table({**published, **rows}, note, len(rows), columns))
    return markdown_table(rows, columns=columns)


def _other_protocols(dataset: str | None) -> str:
    """Published figures that no column of the table may hold."""
    rows = OTHER_PROTOCOLS.get(dataset or "", ())
    return (
        "\n".join(["", "Other protocols, not comparable with the table:", "", *(f"- {row}" for row in rows), ""])
        if rows
        else ""
    )


def write_per_study(path: Path, ids: Sequence[str], system: SystemScores) -> None:
    """Write every figure of every study, one row a study, to be joined with other tools' tables by ``study_id``."""
    each = system.per_study
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["study_id", *each])
        writer.writerows([key, *(f"{values[i]:.6g}" for values in each.values())] for i, key in enumerate(ids))


def write_per_class(path: Path, per_class: Mapping[str, Mapping[str, Any]], rates: np.ndarray) -> None:
    """Write ``per_class.csv``: one row per condition, with its positive rate in the training data."""
    columns = [
        "condition",
        "third",
        "training_rate",
        *(name for name in next(iter(per_class.values())) if name != "third"),
    ]
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for (condition, row), rate in zip(per_class.items(), rates, strict=True):
            writer.writerow({"condition": condition, "training_rate": float(rate), **row})
