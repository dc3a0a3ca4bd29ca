"""Score tables, in the column order of the field's papers."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS = {
    "BLEU_1": "BL-1",
    "BLEU_2": "BL-2",
    "BLEU_3": "BL-3",
    "BLEU_4": "BL-4",
    "METEOR": "MTR",
    "ROUGE_L": "RG-L",
    "CIDEr": "CIDEr",
    "ce_precision": "P",
    "ce_recall": "R",
    "ce_f1": "F1",
    "ce_f1_macro": "F1-macro",
    "ce_f1_micro": "F1-micro",
}


def markdown_table(rows: Mapping[str, Mapping[str, float | None]], title: str = "model") -> str:
    """Markdown table with one row per system.

    Args:
        rows: name of a system -> its scores; a missing score is printed as ``n/a``.
        title: heading of the first column.
    """
    width = max(len(title), *(len(name) for name in rows))
    lines = [
        f"| {title:{width}} | " + " | ".join(f"{short:>8}" for short in COLUMNS.values()) + " |",
        f"|{'-' * (width + 2)}|" + "|".join("-" * 9 + ":" for _ in COLUMNS) + "|",
    ]
    for name, scores in rows.items():
        cells = [scores.get(column) for column in COLUMNS]
        shown = [f"{cell:8.3f}" if cell is not None else f"{'n/a':>8}" for cell in cells]
        lines.append(f"| {name:{width}} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def caption(labeler: str, checksum: str, cleaning: str, max_words: int, split: str) -> str:
    """One sentence that says how the numbers under it were made."""
    cut = f"first {max_words} words" if max_words else "whole reports"
    return (
        f"{split} split; references: {cleaning} cleaning, {cut}; BLEU, METEOR, ROUGE-L and CIDEr by pycocoevalcap; P, R "
        f"and F1 are example-based over 14 conditions, positive = state 1, labels of both sides by the {labeler} labeler "
        f"({checksum}); macro and micro F1 over the same 14."
    )
