"""From the lines of finished runs to the table of an ablation: means over seeds, and paired differences to a row.

Source of the statistics: Student's t over the seeds, whose differences are paired because equal seeds share the data
order; Holm's correction over all differences of a table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from modules.evaluation.metrics.significance import LEVEL, holm
from modules.evaluation.reports.run_lines import Run

REFERENCE_ROW = "full"
ROUNDING = 1e-9  # values that lie closer are equal


class Figure(NamedTuple):
    """A column of the table: a figure of the runs, or the difference of two."""

    title: str
    name: str
    minus: str | None = None
    digits: int = 3

    def of(self, run: Run) -> float | None:
        """The value in a run, None where the run does not have it."""
        names = (self.name, self.minus) if self.minus else (self.name,)
        values = [run["figures"].get(name) for name in names]
        return None if None in values else float(values[0] - (values[1] if self.minus else 0))


FIGURES = (
    Figure("CE macro F1", "scores.test_ce_f1_macro"),
    Figure("CE tail F1", "scores.test_ce_f1_macro_tail"),
    Figure("tail F1 of the states", "scores.test_state_f1_macro_tail"),
    Figure("BLEU-4", "scores.test_BLEU_4"),
    Figure("none - retrieved", "reference_sensitivity.none", "reference_sensitivity.retrieved", 4),
    Figure("random - retrieved", "reference_sensitivity.random", "reference_sensitivity.retrieved", 4),
    Figure("hit rate", "grounding.rows.maps.hit_rate"),
    Figure("map correlation", "map_correlation"),
    Figure("training s", "seconds.train", digits=0),
)


class Inside(NamedTuple):
    """A comparison inside the runs of one row: several ways of the same model, each with the same figures.

    Args:
        title: of the table.
        prefix: of the figures, before the name of the way.
        reference: the way that others are compared with.
        figures: named without the prefix and the way.
    """

    title: str
    prefix: str
    reference: str
    figures: tuple[Figure, ...]

    def rows(self, runs: Mapping[int, Run]) -> dict[str, dict[int, Run]]:
        """Its ways as rows: way -> seed -> run."""
        found: dict[str, dict[int, Run]] = {}
        for seed, run in runs.items():
            for name, value in run["figures"].items():
                way, dot, figure = name.removeprefix(self.prefix).partition(".")
                if name.startswith(self.prefix) and dot:
                    found.setdefault(way, {}).setdefault(seed, {"figures": {}})["figures"][figure] = value
        return {way: found[way] for way in sorted(found, key=lambda way: way != self.reference)}


INSIDE = (
    Inside(
        "What the full model retrieves first, and what other rankings of the same bank do",
        "retrieval.",
        "cosine",
        (
            Figure("BLEU-4 of the report", "bleu_4_top1"),
            Figure("F1 of its labels", "label_f1_top1"),
            Figure("macro F1", "f1_macro_top1"),
            Figure("tail F1", "f1_macro_tail_top1"),
        ),
    ),
    Inside(
        "Where the maps of the full model point, and what needs no model",
        "grounding.rows.",
        "maps",
        (Figure("hit rate", "hit_rate"), Figure("AUROC", "auroc"), Figure("soft IoU", "soft_iou")),
    ),
)


class Estimate(NamedTuple):
    """A mean over seeds with its 95 % interval, None with one seed or equal values, and how many seeds."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


class Paired(NamedTuple):
    """Mean difference to the reference row over common seeds, its 95 % interval, p and p after Holm's correction."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and Student's interval of the values of several seeds; equal ones do not depend on the seed and have none."""
    mean, n = float(np.mean(values)), len(values)
    if np.ptp(values) < ROUNDING:
        return Estimate(mean, None, None, n)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> Paired | None:
    """Difference of two rows over the seeds that both have; None where there is no such seed.

    Equal differences, those of two rankings that no seed changes, have no interval and no p.
    """
    differences = [values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())]
    if not differences:
        return None
    mean, low, high, n = estimate(differences)
    if low is None:
        return Paired(mean, None, None, None, None, n)
    spread = float(np.std(differences, ddof=1)) / np.sqrt(n)
    return Paired(mean, low, high, float(2 * stats.t.sf(abs(mean) / spread, n - 1)), None, n)


def row_values(runs: Mapping[int, Run], figure: Figure) -> dict[int, float]:
    """A figure of a row by seed, for the runs that have it."""
    values = {seed: figure.of(run) for seed, run in runs.items()}
    return {seed: value for seed, value in values.items() if value is not None}


def means(rows: Mapping[str, Mapping[int, Run]], figures: Sequence[Figure]) -> dict[str, dict[str, Estimate]]:
    """Mean of every figure by row and title, where a run has it."""
    found: dict[str, dict[str, Estimate]] = {}
    for row, runs in rows.items():
        values = {figure.title: list(row_values(runs, figure).values()) for figure in figures}
        found[row] = {title: estimate(of_seeds) for title, of_seeds in values.items() if of_seeds}
    return found


def differences(
    rows: Mapping[str, Mapping[int, Run]], figures: Sequence[Figure], reference: str = REFERENCE_ROW
) -> dict[str, dict[str, Paired]]:
    """Paired difference of every other row to the reference row, by row and title; Holm over all that have a p."""
    base = {figure: row_values(rows.get(reference, {}), figure) for figure in figures}
    found: dict[str, dict[str, Paired]] = {}
    for row, runs in rows.items():
        if row != reference:
            pairs = {figure.title: paired(row_values(runs, figure), base[figure]) for figure in figures}
            found[row] = {title: pair for title, pair in pairs.items() if pair is not None}
    ps = {(row, title): pair.p for row, pairs in found.items() for title, pair in pairs.items() if pair.p is not None}
    for (row, title), p in zip(ps, holm(list(ps.values())), strict=True):
        found[row][title] = found[row][title]._replace(p_holm=p)
    return found


def unlike(rows: Mapping[str, Mapping[int, Run]], reference: str = REFERENCE_ROW) -> list[str]:
    """Where a run differs from the reference run of its seed in more than the options that its flags name.

    Or has other flags than the first run of its row, whose flags stand for the row. Runs of the reference row are held
    against the first of them, from which they may differ in their seed alone.

    Returns:
        A sentence for each such run; empty if every comparison is of the named flags alone.
    """
    full = rows.get(reference, {})
    found = _unlike_each_other(full, reference) if full else []
    for row, runs in rows.items():
        flags = next(iter(runs.values()))["flags"]
        for seed, run in sorted(runs.items()):
            other = full.get(seed)
            if row == reference or other is None:
                continue
            changes = _changes(run, other, {*run["named"], *other["named"]})
            changes += [f"flags {run['flags'] or 'none'} for {flags or 'none'}"] if run["flags"] != flags else []
            changes += [f"uncommitted changes at {_short(one['commit'])}" for one in (run, other) if one["dirty"]]
            if changes:
                found.append(
                    f"{row}, seed {seed}, differs from {reference} in more than its flags: {', '.join(changes)}"
                )
    return found


def _unlike_each_other(runs: Mapping[int, Run], row: str) -> list[str]:
    """Where runs of one row differ from the one whose flags stand for it, or were made of uncommitted changes."""
    first, found = next(iter(runs)), []
    for seed, run in sorted(runs.items()):
        if run["dirty"]:
            found.append(f"{row}, seed {seed}, was trained with uncommitted changes at {_short(run['commit'])}")
        changes = _changes(run, runs[first], ())
        if run["flags"] != runs[first]["flags"]:
            changes.append(f"flags {run['flags'] or 'none'} for {runs[first]['flags'] or 'none'}")
        if changes:
            found.append(f"{row}, seed {seed}, differs from seed {first} in more than its seed: {', '.join(changes)}")
    return found


def _changes(run: Run, other: Run, allowed: Collection[str]) -> list[str]:
    names = sorted(run["settings"].keys() | other["settings"].keys())
    return [
        f"{name} {run['settings'].get(name)} for {other['settings'].get(name)}"
        for name in names
        if name not in allowed and run["settings"].get(name) != other["settings"].get(name)
    ] + [
        f"{name} {_short(run[name])} for {_short(other[name])}"
        for name in ("data", "commit", "hardware")
        if run[name] != other[name]
    ]


def _short(value: object) -> str:
    return str(value)[:12] if isinstance(value, str) and len(value) == 40 else str(value)


def table_cells(
    rows: Mapping[str, Mapping[int, Run]], figures: Sequence[Figure] = FIGURES, reference: str = REFERENCE_ROW
) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table as text: mean and interval, and below it the difference to the reference row."""
    shown = [figure for figure in figures if any(row_values(runs, figure) for runs in rows.values())]
    mean, difference = means(rows, shown), differences(rows, shown, reference)
    body = []
    for row, runs in rows.items():
        body.append([row, str(len(runs)), *(_mean_cell(mean[row].get(f.title), f.digits) for f in shown)])
        if row != reference and reference in rows:
            cells = (_difference_cell(difference[row].get(f.title), f.digits) for f in shown)
            body.append([f"minus {reference}", "", *cells])
    return ["row", "seeds", *(figure.title for figure in shown)], body


def _mean_cell(value: Estimate | None, digits: int) -> str:
    if value is None:
        return "n/a"
    span = "" if value.low is None else f" [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{value.mean:.{digits}f}{span}"


def _difference_cell(value: Paired | None, digits: int) -> str:
    if value is None:
        return "n/a"
    span = "" if value.low is None else f" [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"
    p = "" if value.p_holm is None else f" p {value.p_holm:.3f}"
    return f"{value.difference:+.{digits}f}{span}{p}"


def markdown(heading: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """The table in Markdown, its columns aligned."""
    widths = [max(len(row[column]) for row in [heading, *body]) for column in range(len(heading))]
    lines = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in [heading, *body]]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [lines[0], rule, *lines[1:]])


def latex(heading: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """The table in LaTeX with the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.replace("%", r"\%").replace("_", r"\_") for cell in cells) + r" \\"

    head = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{l{'r' * (len(heading) - 1)}}}", r"\toprule"]
    tail = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption.replace('%', chr(92) + '%')}}}", r"\end{table}"]
    return "\n".join([*head, line(heading), r"\midrule", *(line(row) for row in body), *tail])
