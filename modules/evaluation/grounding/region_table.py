"""How well maps point at boxed findings: every row's measures by finding, with intervals by patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from modules.evaluation.grounding.phrases import Phrase
from modules.evaluation.grounding.regions import MEASURES, Overlay, ceiling_map, finer, measure

RowMaps = Mapping[str, Sequence[np.ndarray | None]]  # row -> a map (M,) for each phrase, None where it has none


def prior_maps(
    phrases: Sequence[Phrase], overlays: Sequence[Overlay], cells: int
) -> dict[str, list[np.ndarray | None]]:
    """Rows that look at no image.

    ``centre prior`` points at the centre of what is seen; ``location prior`` at the mean place of the same finding in all
    OTHER patients of the file, None for a finding of one patient; ``perfect map`` at the region itself, on this grid.
    """
    axis = (np.arange(cells) + 0.5) / cells - 0.5
    centre = -np.hypot(axis[:, None], axis[None, :]).ravel()  # (M,)
    known = [ceiling_map(overlay) for overlay in overlays]
    sums: dict[str, dict[str, np.ndarray]] = {}
    for phrase, place in zip(phrases, known, strict=True):
        by_patient = sums.setdefault(phrase.finding, {})
        by_patient[phrase.patient] = by_patient.get(phrase.patient, 0) + place
    whole = {finding: sum(places.values()) for finding, places in sums.items()}
    others = [
        whole[phrase.finding] - sums[phrase.finding][phrase.patient] if len(sums[phrase.finding]) > 1 else None
        for phrase in phrases
    ]
    return {"centre prior": [centre] * len(phrases), "location prior": others, "perfect map": list(known)}


def measured_rows(
    rows: RowMaps, overlay_of: Callable[[int, int], Overlay], count: int, cells: int
) -> dict[str, np.ndarray]:
    """Measures ``(n, 5)`` by row, NaN where a row has no map.

    Args:
        rows: maps by row.
        overlay_of: the overlay of a phrase on a grid of so many cells a side.
        count: phrases n.
        cells: a side that every map is interpolated to; 0 for its own patches.
    """
    found = {name: np.full((count, len(MEASURES)), np.nan) for name in rows}
    for name, maps in rows.items():
        for n in range(count):
            values = maps[n]
            if values is not None:
                fine = finer(np.asarray(values)[None], cells)[0]
                measured = measure(fine, overlay_of(n, round(len(fine) ** 0.5)))
                found[name][n] = [measured[kind] for kind in MEASURES]
    return found


def region_table(
    phrases: Sequence[Phrase], measured: Mapping[str, np.ndarray], resamples: int, seed: int
) -> dict[str, dict[str, dict[str, float | int | list[float] | None]]]:
    """Every row's measures over all phrases and by finding.

    Args:
        phrases: n of them.
        measured: what :func:`measured_rows` returned.
        resamples: bootstrap samples of the patients.
        seed: of the samples.

    Returns:
        By row, then by ``"all"``, ``"mean over findings"`` and finding: the mean of every measure, its 95 % interval under
        ``<measure>_interval``, ``phrases`` and ``patients``.
    """
    patients = {name: i for i, name in enumerate(dict.fromkeys(phrase.patient for phrase in phrases))}
    of = np.array([patients[phrase.patient] for phrase in phrases])
    drawn = np.random.default_rng(seed).multinomial(len(patients), np.full(len(patients), 1 / len(patients)), resamples)
    findings = sorted({phrase.finding for phrase in phrases})
    groups = {"all": np.ones(len(phrases), bool)} | {
        name: np.array([phrase.finding == name for phrase in phrases]) for name in findings
    }
    table: dict[str, dict[str, dict[str, float | int | list[float] | None]]] = {}
    for row, values in measured.items():
        weights = np.concatenate([np.ones((1, len(patients))), drawn])[:, of]  # (1 + R, n), first all patients once
        means = {name: _means(values, weights, group) for name, group in groups.items()}  # (1 + R, 5)
        stack = np.stack([means[name] for name in findings])
        known = ~np.isnan(stack)
        means["mean over findings"] = np.divide(
            np.where(known, stack, 0).sum(axis=0),
            known.sum(axis=0),
            out=np.full(stack.shape[1:], np.nan),
            where=known.any(axis=0),
        )
        table[row] = {}
        for name in ("all", "mean over findings", *findings):
            group = groups.get(name, groups["all"]) & ~np.isnan(values[:, MEASURES.index("hit")])
            table[row][name] = {
                **_with_intervals(means[name]),
                "phrases": int(group.sum()),
                "patients": len(set(of[group])),
            }
    return table


def _means(values: np.ndarray, weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Weighted means ``(R, 5)`` of values ``(n, 5)`` over a group, NaN without any."""
    known = ~np.isnan(values) & group[:, None]  # (n, 5)
    total = weights @ known
    return np.divide(weights @ np.where(known, values, 0), total, out=np.full(total.shape, np.nan), where=total > 0)


def _with_intervals(means: np.ndarray) -> dict[str, float | list[float] | None]:
    found: dict[str, float | list[float] | None] = {}
    for i, name in enumerate(MEASURES):
        samples = means[1:, i][~np.isnan(means[1:, i])]
        found[name] = None if np.isnan(means[0, i]) else float(means[0, i])
        found[f"{name}_interval"] = np.quantile(samples, [0.025, 0.975]).tolist() if len(samples) else None
    return found


def region_lines(table: Mapping[str, Mapping[str, Mapping[str, Any]]], part: str = "all") -> list[str]:
    """The rows of one part of the table in Markdown, each figure with its interval."""

    def cell(values: Mapping[str, Any], name: str) -> str:
        span = values[f"{name}_interval"]
        if values[name] is None:
            return "n/a"
        return f"{values[name]:.3f}" + (f" ({span[0]:.3f}-{span[1]:.3f})" if span else "")

    lines = [f"| {part} | {' | '.join(MEASURES)} | phrases | patients |", f"|---|{'---:|' * (len(MEASURES) + 2)}"]
    for row, parts in table.items():
        values = parts[part]
        lines.append(
            f"| {row} | {' | '.join(cell(values, m) for m in MEASURES)} | {values['phrases']} | {values['patients']} |"
        )
    return lines
