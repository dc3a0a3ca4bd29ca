"""Files of reports that someone generated, or that are references, in whatever layout they were left.

tables (.csv .tsv .xlsx)   ``study_id,report`` and whatever else ``modules.evaluation.reading.columns`` knows; any separator and encoding
res.csv, gts.csv           R2Gen's: one column without a heading, matched by order
.txt .tok                  one report a line, matched by order
.jsonl .ndjson             an object a line, with or without ids; so may .json be, and .jsonl one list
.json                      an annotation; a list of objects; study id -> text, or -> object (ReXrank); lists of texts by
                           name (RadEval)
.parquet                   where pyarrow is installed
All but the last may be packed (.gz).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules.corpus.annotations import read_annotation, require_split
from modules.corpus.cells import is_empty
from modules.corpus.splits import by_split, known_split
from modules.corpus.tables import TABLE_ENDINGS, plain_heading, read_table_file, read_text_file
from modules.evaluation.reading.column_values import is_numbered
from modules.evaluation.reading.columns import Roles, Row, find_roles, unknown_texts
from modules.evaluation.reading.headings import GENERATED, KNOWN, is_known, side_of
from modules.evaluation.reading.one_section import one_section
from modules.evaluation.reading.report_rows import (
    JSON_ENDINGS,
    has_sections,
    is_json_lines,
    json_rows,
    jsonl_rows,
    of_split,
    parquet_rows,
    refuse_other_keys,
    refuse_word_lists,
)
from modules.evaluation.reading.sections_apart import choose_sections, sections_of
from modules.evaluation.reading.study_ids import id_columns
from modules.messages import UserError, quoted, quoted_name, require_file, shown_headings
from modules.records import parse_json

_ID_BEFORE = re.compile(
    r"[\s\"']*([sp]?\d+(?=[\t,;:|.)\] ])|\S*\d{3,}\S*?(?=[\t,;:|\s])|[\w-]*\d(?=[\t:|])|[A-Za-z](?=[\t:|)])|\S+\.(?:jpe?g|png|dcm|txt))\S?\s*\S"
)
_CELLS_APART = re.compile(r"\t|\|{2,}")
_TYPES = {  # a second line of headings
    "str", "string", "text", "object", "varchar", "char", "int", "int64", "integer", "float", "float64", "number", "numeric", "bool", "id",
}  # fmt: skip


@dataclass
class ReportFile:
    """What one file holds, row by row.

    ``texts`` are what it was read for, generated reports or references, ``""`` where there is none; ``references`` what
    stands beside them, ``whole`` the same uncut, ``retrieved`` what was retrieved; ``keys`` the studies' ids and their
    parts by where they stand; ``ordered`` says that the rows have no ids and no heading; ``read_as`` what was understood; ``rows`` are the
    cells as they were found.
    """

    path: Path
    texts: list[str]
    references: list[str] | None = None
    whole: list[str] | None = None
    retrieved: list[str] | None = None
    keys: dict[str, list[str | None]] = field(default_factory=dict)
    ordered: bool = False
    headings: list[str] = field(default_factory=list)
    read_as: str = ""
    rows: Sequence[Row] = ()


def read_report_file(
    path: str | Path,
    wanted: str = "prediction",
    *,
    split: str = "test",
    section: str = "findings",
    columns: Mapping[str, str] | None = None,
) -> ReportFile:
    """Read a file in any of the layouts above.

    Args:
        path: the file.
        wanted: ``"prediction"`` or ``"reference"``: what it was given as decides what its columns are.
        split: of an annotation file.
        section: ``"findings"``, ``"impression"`` or ``"both"``, where a file keeps them apart.
        columns: headings by role, where their names do not say it.

    Raises:
        UserError: if there is no such file; if its layout is none of these, its columns cannot be told apart, or it is
            empty.
    """
    path = require_file(path)
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".txt", ".tok")):
        lines = io.StringIO(read_text_file(path), newline=None)  # str.splitlines would also cut at U+2028, a form feed
        found = ReportFile(path, [line.strip() for line in lines], ordered=True, read_as="one report a line")
        _refuse_heading(path, found.texts)
    elif name.endswith(TABLE_ENDINGS):
        found = _read_table(path, split, wanted, section, columns)
    elif name.endswith(JSON_ENDINGS) and is_json_lines(path):
        found = _from_rows(path, of_split(path, list(jsonl_rows(path)), split), wanted, section, columns)
    elif name.endswith(JSON_ENDINGS):
        content = parse_json(read_text_file(path), str(path))
        if isinstance(content, dict) and content and all(map(known_split, content)):
            return _read_annotation(path, by_split(content) or {}, split, wanted, section, columns)
        found = _from_rows(path, of_split(path, json_rows(path, content), split), wanted, section, columns)
    elif path.name.lower().endswith(".parquet"):
        found = _from_rows(path, of_split(path, parquet_rows(path), split), wanted, section, columns)
    else:
        raise UserError(
            f"{path} ends in {path.suffix!r}; expected .csv, .tsv, .xlsx, .jsonl, .ndjson, .json, .txt, .tok or .parquet: rename it"
        )
    if not found.texts:
        raise UserError(f"{path} holds no report: give the file that the model wrote")
    if found.ordered:
        found.texts = [one_section(text, section) for text in found.texts]
    return found


def _read_table(path: Path, split: str, wanted: str, section: str, columns: Mapping[str, str] | None) -> ReportFile:
    table = read_table_file(path, KNOWN)
    headings = table.headings
    given = {plain_heading(name) for name in (columns or {}).values()}
    known = [name for name in headings if is_known(name) or side_of(name) or plain_heading(name) in given]
    if headings in (["", "0"], ["0"]):  # a pandas table, with its row numbers or without
        body = [cells for _, cells in table.body()]
        if len(headings) == 2 and not is_numbered([cells[0] for cells in body]):
            raise UserError(
                f"{path} has a first column without a heading that does not count its rows: call it study_id if it holds ids, or remove it"
            )
        return ReportFile(path, [cells[-1] for cells in body], ordered=True, read_as="a table of pandas")
    if headings and max(len(cells) for _, cells in table.rows) == 1 and not known:
        return _one_column(path)
    if headings and not known:
        raise UserError(
            f"{path} begins with {shown_headings(headings, False)[:120]}; expected the heading study_id,report, or one column "
            "of reports without a heading: add the heading, or name the columns with --columns"
        )
    twice = sorted({name for name in headings if name and headings.count(name) > 1})
    if twice:
        raise UserError(
            f"{path} has two columns {quoted_name(twice[0])}: rename one of them, so that it is known which is which"
        )
    rows, plain = [], sorted(map(plain_heading, headings))
    for line, cells in table.body():
        if (again := sorted(map(plain_heading, cells)) == plain) or {
            cell.casefold() for cell in cells if cell
        } <= _TYPES:
            what = "repeats its headings" if again else "holds the types of its columns"
            raise UserError(f"{path} {what} in line {line}: remove them, they would be scored as a report")
        rows.append(dict(zip(headings, cells, strict=True)))
    found = _from_rows(path, of_split(path, rows, split), wanted, section, columns)
    found.read_as = f"{table.read_as}; {found.read_as}"
    return found


def _one_column(path: Path) -> ReportFile:
    """One column without a heading; empty rows are reports too, since the rows are matched by order."""
    # a character of no text: the commas of a report without quotes do not cut it
    rows = list(csv.reader(io.StringIO(read_text_file(path), newline=""), delimiter="\x1f"))
    cells = [row[0].strip() if row else "" for row in rows]
    _refuse_heading(path, cells)
    return ReportFile(path, cells, ordered=True, read_as="one column without a heading")


def _refuse_heading(path: Path, cells: Sequence[str]) -> None:
    """A first line above sentences may be a heading: one word, known words, or a few without the stop that all others have.

    It would be scored as a report; so would ids before the texts, and the cells of a table.
    """
    ids = [match[1] for cell in cells if (match := _ID_BEFORE.match(cell))]
    if 1 < len(ids) == len(set(ids)) == sum(map(bool, cells)):
        raise UserError(
            f"every report in {path} begins with what may be its id, first {quoted(ids[0])}: write a table study_id,report, or remove them"
        )
    apart = [len(_CELLS_APART.findall(cell)) for cell in cells if cell]
    if len(apart) > 1 and len(set(apart)) == 1 and apart[0]:
        raise UserError(
            f"every line of {path} holds {apart[0] + 1} cells, expected one report: write a table (.tsv, .csv) with a heading for each"
        )
    first, *others = [cell for cell in cells if cell] or [""]
    stopless = len(first.split()) <= 5 and first[-1:] not in ".!?" and all(cell[-1] in ".!?" for cell in others)
    one_word = is_known(first) or side_of(first) or re.fullmatch(r"[\w-]+", first)
    if others and (stopless or (one_word and sum(" " in cell for cell in others) * 2 >= len(others))):
        shown = f"{len(first.split())} words" if " " in first else repr(first)  # they may be a report too
        raise UserError(f"{path} begins with {shown}, which may be a heading: call it report in a table, or remove it")


def _read_annotation(
    path: Path, content: Mapping[str, Any], split: str, wanted: str, section: str, columns: Mapping[str, str] | None
) -> ReportFile:
    """An annotation; one whose studies carry generated reports too, or findings and impression, is read by its columns."""
    rows = content.get(split)
    rows = rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else []
    generated = {plain_heading(name) for name in (*GENERATED, *(columns or {}).values())}
    headings = {name for row in rows for name in row}
    strange = unknown_texts(rows) if wanted == "prediction" and headings else []
    apart = any((is_empty(row.get("report")) and has_sections(row)) or sections_of(row.get("report")) for row in rows)
    if strange or apart or any(plain_heading(name) in generated or side_of(name) == "generated" for name in headings):
        if apart:  # an empty column is no report beside them
            rows = [{name: row[name] for name in row if name != "report" or not is_empty(row[name])} for row in rows]
        found = _from_rows(path, rows, wanted, section, columns)
        found.read_as = f"{split} split; {found.read_as}"
        return found
    studies = require_split(
        read_annotation(path), split, path, "--predictions" if wanted == "prediction" else "--references"
    )
    cells = [{"id": study.id, "image_path": study.image_path[0]} for study in studies]
    keys = id_columns(cells, ("id", "image_path"))
    texts = [one_section(study.report, section) for study in studies]
    cut = sum(text != study.report for text, study in zip(texts, studies, strict=True))
    read_as = f"annotation, {split} split" + (
        f", the {section} of {cut} reports that name their sections" if cut else ""
    )
    return ReportFile(path, texts, keys=keys, read_as=read_as, rows=cells)


def _from_rows(
    path: Path, rows: Sequence[Row], wanted: str, section: str, columns: Mapping[str, str] | None
) -> ReportFile:
    if not rows:
        return ReportFile(path, [])
    whole, rows = rows, choose_sections(path, rows, section)
    if wanted == "prediction":
        refuse_word_lists(path, rows)
    roles = find_roles(path, rows, wanted, section, columns)
    refuse_other_keys(path, rows, roles.text)
    found = ReportFile(path, [_text(path, row, roles.text, section) for row in rows])
    if roles.reference:
        found.references = [_text(path, row, roles.reference, section) for row in rows]
    if roles.whole is not None:
        found.whole = [_text(path, row, (roles.whole,), section) for row in rows]
        if wanted == "reference":  # the reference before it was cut, where it was
            found.texts = [whole or text for whole, text in zip(found.whole, found.texts, strict=True)]
    if roles.retrieved is not None:
        found.retrieved = [_text(path, row, (roles.retrieved,), section) for row in rows]
    found.keys = id_columns(rows, roles.ids)
    found.headings = list(dict.fromkeys(heading for row in rows[:1000] for heading in row))
    cut = {name for row, of in zip(rows, whole, strict=True) for name in row if row[name] is not of.get(name)}
    found.read_as, found.rows = _said(roles, wanted, dict.fromkeys(cut, f" ({section})")), rows
    return found


def _said(roles: Roles, wanted: str, cut: Mapping[str, str]) -> str:
    """Which columns are read, and of which a section alone."""
    text, reference = ([name + cut.get(name, "") for name in names or ()] for names in (roles.text, roles.reference))
    parts = [f"{wanted} = {' + '.join(text)}"]
    if reference:
        parts.append(f"reference = {' + '.join(reference)}")
    return ", ".join([*parts, f"id = {' or '.join(roles.ids)}" if roles.ids else "no id"])


def _text(path: Path, row: Row, names: Sequence[str], section: str) -> str:
    """The report in a row, or a section of it; ``""`` if there is none."""
    pieces = []
    for name in names:
        value = row.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]  # pycocoevalcap's {id: [text]}
        if not is_empty(value):
            if not isinstance(value, str):
                more = ": correct it"
                if isinstance(value, Mapping):
                    more = f", or findings and impression alone and not {', '.join(map(quoted_name, [*value][:8]))}: write the text itself"
                raise UserError(
                    f"the column {quoted_name(name)} of {path} holds a {type(value).__name__}; expected text{more}"
                )
            pieces.append((name, value))
    if len(names) == 1:
        return one_section(pieces[0][1], section) if pieces else ""
    return " ".join(
        f"{'Findings' if 'finding' in plain_heading(name) else 'Impression'}: {text.strip()}" for name, text in pieces
    )
