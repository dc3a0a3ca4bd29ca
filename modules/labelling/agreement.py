"""How far the rule labeler agrees with labels that people gave: precision and recall of every condition.

The Indiana University reports carry MeSH terms assigned by hand, from which positives of the 14 conditions follow. A
disagreement there is not always the labeler's: see ``INDEX_HABITS``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modules.labelling.labelers import RuleLabeler
from modules.labels import BLANK, CHEXPERT_CONDITIONS, NEGATIVE, POSITIVE, STATES, UNCERTAIN
from modules.messages import UserError
from modules.records import iterate_jsonl

LEAST_POSITIVES = 30  # of a condition that counts in the mean
INDEX_HABITS = {  # what was found in the disagreements and is the index's own; none of it is for rules to copy
    "enlarged cardiomediastinum": "an enlarged heart silhouette or a paratracheal contour is indexed here",
    "lung opacity": "interstitial markings and densities outside the lung are indexed as such",
    "lung lesion": "nodular opacities and densities are indexed as opacity or density",
    "edema": "indistinct vessels that may be crowding are indexed as congestion",
    "pneumonia": "opacities that represent infection are indexed as opacity alone",
    "atelectasis": "what stands before or after versus is indexed as found",
    "pleural effusion": "what stands before or after versus is indexed as found",
    "pleural other": "pleural-based nodules and pleuroparenchymal scars are indexed elsewhere",
    "fracture": "a report of fractures outside the chest, or of old ones, may be indexed as normal",
    "support devices": "the release blanks device names as XXXX; clips in the abdomen are not indexed",
    "no finding": "normal means that nothing at all was indexed: hyperinflation, a granuloma or the spine costs it",
}


def measure_rules(path: Path) -> list[str]:
    """Compare the rules with ``labels_mesh`` of a file of reports.

    Args:
        path: JSON lines with ``findings``, ``impression`` and ``labels_mesh`` (14 states, or null to leave out).

    Returns:
        A table: precision, recall, F1 and positives of every condition, who says what in the disagreements, the mean F1
        over the conditions with at least 30 positives.

    Raises:
        UserError: if the file has no such report.
    """
    texts: list[str] = []
    rows: list[list[int]] = []
    for item in iterate_jsonl(path):
        labels = (item.get("labels_mesh") if isinstance(item, dict) else None) or []
        text = f"{item.get('findings') or ''} {item.get('impression') or ''}".strip() if labels else ""
        if text:
            texts.append(text)
            rows.append(labels)
    if not texts or len(rows[0]) != len(CHEXPERT_CONDITIONS):
        raise UserError(
            f"{path} has no report with {len(CHEXPERT_CONDITIONS)} values under labels_mesh: give a file of JSON lines with "
            "findings, impression and labels_mesh"
        )
    index = np.array(rows) == POSITIVE  # (n, 14)
    labeler = RuleLabeler()
    states = labeler(texts)[:, : len(CHEXPERT_CONDITIONS)]  # (n, 14)
    return agreement_table(states, index, f"rule labeler {labeler.checksum}, {len(texts)} reports of {path.name}")


def agreement_table(states: np.ndarray, index: np.ndarray, title: str) -> list[str]:
    """Lines of the table; ``states`` ``(n, 14)`` are the labeler's, ``index`` ``(n, 14)`` is true for positives of people."""
    lines = [
        title,
        f"{'':28s} precision recall    F1  positives   missed (blank/neg./unc.)   added   habit of the index",
    ]
    scores = []
    for column, name in enumerate(CHEXPERT_CONDITIONS):
        found, given = states[:, column] == POSITIVE, index[:, column]
        hits = int((found & given).sum())
        precision, recall = hits / max(found.sum(), 1), hits / max(given.sum(), 1)
        f1 = 2 * hits / max(found.sum() + given.sum(), 1)
        missed = np.bincount(states[given & ~found, column], minlength=len(STATES))
        counts = f"{missed.sum():5d} ({missed[BLANK]}/{missed[NEGATIVE]}/{missed[UNCERTAIN]})"
        scores.append((f1, int(given.sum())))
        habit = INDEX_HABITS.get(name, "")
        lines.append(
            f"{name:28s} {precision:9.3f} {recall:6.3f} {f1:6.3f} {given.sum():6d}   {counts:>27s} {(found & ~given).sum():7d}"
            f"   {habit}".rstrip()
        )
    counted = [f1 for f1, positives in scores if positives >= LEAST_POSITIVES]
    mean = f"{np.mean(counted):.4f}" if counted else "none"
    return [*lines, f"mean F1 over {len(counted)} conditions with at least {LEAST_POSITIVES} positives: {mean}"]
