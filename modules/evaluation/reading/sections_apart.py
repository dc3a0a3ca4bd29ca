"""Reports that JSON keeps as objects of their sections: ``{"prediction": {"findings": .., "impression": ..}}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from modules.corpus.cells import is_empty
from modules.corpus.tables import plain_heading
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.headings import FINDINGS, IMPRESSION, REPORT
from modules.messages import UserError, quoted_name

_PART = {
    plain_heading(name): part
    for part, names in (("findings", FINDINGS), ("impression", IMPRESSION), ("report", REPORT))
    for name in names
}
_ASIDE = frozenset(  # sections that belong to neither
    ("technique", "comparison", "indication", "history", "clinicalhistory", "clinicalinformation", "examination", "exam", "recommendation",
     "recommendations")
)  # fmt: skip


def sections_of(value: object) -> dict[str, str] | None:
    """Texts of a report by ``findings`` and ``impression``, or a ``report`` alone in a list; None if it is no object of these and nothing else."""
    listed = isinstance(value, list) and len(value) == 1  # pycocoevalcap's [{"caption": ..}]
    value = value[0] if listed else value  # type: ignore[index]
    if not isinstance(value, Mapping):
        return None
    found: dict[str, str] = {}
    for name, text in value.items():
        text = text[0] if isinstance(text, list) and len(text) == 1 else text
        part = _PART.get(plain_heading(str(name)))
        if part in found or not (isinstance(text, str) or is_empty(text)):
            return None
        if part is not None:
            found[part] = "" if is_empty(text) else str(text)
        elif plain_heading(str(name)) not in _ASIDE:
            return None
    return None if not found or ("report" in found and (len(found) > 1 or not listed)) else found


def choose_sections(path: Path, rows: Sequence[Row], section: str) -> list[Row]:
    """Rows with the wanted section in place of the objects that hold it.

    Args:
        path: of the file, for messages.
        rows: of JSON or parquet.
        section: ``"findings"``, ``"impression"`` or ``"both"``, which are joined under their names as two columns are.

    Raises:
        UserError: if the objects of a column all lack it.
    """
    wanted = {"findings", "impression"} if section == "both" else {section}
    apart: dict[str, set[str]] = {}  # sections that the objects of a column hold
    chosen: list[Row] = []
    for row in rows:
        texts: dict[str, str] = {}
        for name, value in row.items():
            parts = sections_of(value)
            if parts is not None:
                apart.setdefault(name, set()).update(part for part, text in parts.items() if text)
                texts[name] = _text(parts, section)
        chosen.append({**row, **texts} if texts else row)
    for name, held in apart.items():
        if held and "report" not in held and not wanted <= held:
            raise UserError(
                f"the column {quoted_name(name)} of {path} holds objects of {' and '.join(sorted(held))}, another section than --section {section}: "
                "give another --section"
            )
    return chosen


def _text(parts: Mapping[str, str], section: str) -> str:
    """The wanted section of a report, or the whole where it is no object of sections."""
    if "report" in parts or section != "both":
        return parts.get("report") or parts.get(section, "")
    named = ("findings", "impression")
    return " ".join(f"{part.capitalize()}: {parts[part].strip()}" for part in named if parts.get(part))
