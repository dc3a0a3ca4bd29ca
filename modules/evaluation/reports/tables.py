"""Score tables, in the column order of the field's papers."""

from __future__ import annotations

from collections.abc import Mapping

from modules.evaluation.metrics.profiles import PROFILES

COLUMNS = PROFILES["r2gen"].columns
INTERVAL = "95 % interval"  # how the name of a row of intervals begins
_LATEX = str.maketrans({
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
})  # fmt: skip
Interval = tuple[float, float]


def _cell(value: float | Interval | None) -> str:
    if value is None:
        return "n/a"
    return f"{value[0]:.3f}-{value[1]:.3f}" if isinstance(value, tuple | list) else f"{value:.3f}"


def _latex_cell(value: float | Interval | None) -> str:
    """A cell for LaTeX: a dash between the ends of an interval, a minus sign before what is negative."""
    if value is None:
        return "--"
    ends = value if isinstance(value, tuple | list) else (value,)
    return "--".join(f"{end:.3f}".replace("-", "$-$") for end in ends)


def markdown_table(
    rows: Mapping[str, Mapping[str, float | Interval | None]],
    title: str = "model",
    columns: Mapping[str, str] = COLUMNS,
) -> str:
    """Markdown table with one row per system.

    Args:
        rows: name of a system -> its scores, or their intervals; a missing score is printed as ``n/a``.
        title: heading of the first column.
        columns: titles by figure.
    """
    cells = {name: [_cell(scores.get(column)) for column in columns] for name, scores in rows.items()}
    width = max(len(title), *(len(name) for name in rows))
    size = max(8, *map(len, columns.values()), *(len(cell) for row in cells.values() for cell in row))
    lines = [
        f"| {title:{width}} | " + " | ".join(f"{short:>{size}}" for short in columns.values()) + " |",
        f"|{'-' * (width + 2)}|" + "|".join("-" * (size + 1) + ":" for _ in columns) + "|",
    ]
    lines += [
        f"| {name:{width}} | " + " | ".join(f"{cell:>{size}}" for cell in row) + " |" for name, row in cells.items()
    ]
    return "\n".join(lines)


def latex_table(
    rows: Mapping[str, Mapping[str, float | Interval | None]],
    caption: str,
    ours: int,
    columns: Mapping[str, str] = COLUMNS,
) -> str:
    """The same table for a paper, in LaTeX with the package booktabs.

    Args:
        rows: published systems, then ours.
        caption: one line that says what can be compared.
        ours: how many of the last rows are ours; a rule separates them.
        columns: titles by figure.
    """
    lines = [
        r"\begin{table}[t]\centering\small", rf"\caption{{{caption.translate(_LATEX)}}}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}", r"\toprule",
        " & ".join(["model", *(short.translate(_LATEX) for short in columns.values())]) + r" \\", r"\midrule",
    ]  # fmt: skip
    for number, (name, scores) in enumerate(rows.items()):
        if number and number == len(rows) - ours:
            lines.append(r"\midrule")
        cells = [_latex_cell(scores.get(column)) for column in columns]
        if name.startswith(INTERVAL):
            cells = [rf"{{\scriptsize {cell}}}" for cell in cells]
        lines.append(" & ".join([name.translate(_LATEX), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def counted(split: str, studies: int, of: int) -> str:
    """How many studies of a split were scored, and of how many where it was not all."""
    return f"{split} split, {studies:,}{f' of {of:,}' if studies < of else ''} studies"


def caption(labeler: str, checksum: str, cleaning: str, max_words: int, studies: str) -> str:
    """One sentence that says how the numbers under it were made; ``studies`` is of :func:`counted`."""
    cut = f"first {max_words} words" if max_words else "whole reports"
    cleaned = "as they were found" if cleaning == "none" else f"{cleaning} cleaning"
    return (
        f"{studies}; references: {cleaned}, {cut}; BLEU, METEOR, ROUGE-L and CIDEr by pycocoevalcap; P, R "
        f"and F1 are example-based over 14 conditions, positive = state 1, labels of both sides by the {labeler} labeler "
        f"({checksum}); macro and micro F1 over the same 14."
    )
