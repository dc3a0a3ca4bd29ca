"""The rows of somebody's own studies, whatever the file: a table, JSON lines, or a list in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.splits import known_split
from modules.corpus.tables import read_table_file, read_text_file
from modules.evaluation.reading.report_rows import JSON_ENDINGS, is_json_lines, json_rows, jsonl_rows
from modules.evaluation.reading.sections_apart import sections_of
from modules.messages import UserError
from modules.preparation.raw.own_columns import KNOWN
from modules.preparation.raw.own_patients import Rows
from modules.records import parse_json


def own_rows(path: Path) -> tuple[list[str], Rows, list[str]]:
    """Headings, rows and what was found out about the file.

    Raises:
        UserError: if it is none of these files, a damaged one, or an annotation.
    """
    if not path.name.lower().removesuffix(".gz").endswith(JSON_ENDINGS):
        table = read_table_file(path, KNOWN)
        headings = table.headings
        rows: Rows = [(f"line {line}", dict(zip(headings, cells, strict=True))) for line, cells in table.body()]
        cells = [cell for _, row in rows for cell in row.values() if cell]
        if cells and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells):
            raise UserError(
                f"{path} has its cells between single quotes, expected double quotes or none: export it again"
            )
        return headings, rows, [f"{path}: {len(rows)} rows, {table.read_as}"]
    if is_json_lines(path):
        found, place = jsonl_rows(path, "an object with image_path and report"), "line"
    else:
        content, place = parse_json(read_text_file(path), str(path)), "study"
        if not isinstance(content, list | dict) or (isinstance(content, dict) and any(map(known_split, content))):
            what = "an annotation" if isinstance(content, dict) else "one value"
            raise UserError(
                f"{path} holds {what}, expected a list of studies: give an annotation with --ann_path, leaving out --raw_dir"
            )
        found = json_rows(path, content, "a list of studies, each with image_path and report") if content else []
    rows = [(f"{place} {number}", _apart(row)) for number, row in enumerate(found, start=1)]
    return list(dict.fromkeys(key for _, row in rows for key in row)), rows, []


def _apart(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of JSON whose report is an object of its sections, with these as its findings and impression."""
    sections = sections_of(row.get("report"))
    if sections is None or "report" in sections or row.keys() & sections.keys():
        return row
    return {**{name: value for name, value in row.items() if name != "report"}, **sections}
