"""Files of reports that someone generated, or that are references, in whatever layout they were left.

tables (.csv .tsv .xlsx)   ``study_id,report`` and whatever else ``modules.evaluation.reading.columns`` knows; any separator and encoding
res.csv, gts.csv (.xlsx)   R2Gen's: one column without a heading, matched by order
.txt .tok                  one report a line, matched by order
.jsonl .ndjson             an object a line, with or without ids; so may .json be, and .jsonl one list
.json                      an annotation; a list of objects; study id -> text, or -> object (ReXrank); lists of texts by
                           name (RadEval); answers of a batch or a chat
.parquet                   where pyarrow is installed
All but the last may be packed (.gz).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from modules.corpus.annotations import read_annotation, require_split
from modules.corpus.cells import is_empty
from modules.corpus.splits import by_split, known_split
from modules.corpus.tables import TABLE_ENDINGS, plain_heading, read_table_file, read_text_file
from modules.evaluation.reading.chats import answer_rows
from modules.evaluation.reading.column_values import are_row_numbers
from modules.evaluation.reading.columns import Roles, Row, find_roles, unknown_texts
from modules.evaluation.reading.headings import KNOWN, PLAIN, is_known, side_of
from modules.evaluation.reading.one_section import one_section
from modules.evaluation.reading.plain_lines import only_column, report_lines
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
from modules.messages import UserError, quoted_name, require_file, shown_headings
from modules.records import parse_json

_TYPES = {  # what a second line below the headings may hold: the types of the columns
    "str", "string", "text", "object", "varchar", "char", "int", "int64", "integer", "float", "float64", "number", "numeric", "bool", "id",
}  # fmt: skip


@dataclass
class ReportFile:
    """What one file holds, row by row.

    Args:
        path: the file.
        texts: what it was read for, generated reports or references, ``""`` where there is none.
        references: what stands beside generated reports, None without such a column.
        whole: the same before they were cut.
        retrieved: the reports that the generated ones were written with.
        keys: every way to read the studies' ids, see :func:`modules.evaluation.reading.study_ids.id_columns`.
        maybe_id: heading of a column that may hold the ids where none is known to.
        ordered: whether the rows have no ids and no heading: their order says which study they are of.
        headings: of all columns.
        read_as: what was understood, for the console.
        rows: the cells as they were found, by heading; none of a file without headings.
    """

    path: Path
    texts: list[str]
    references: list[str] | None = None
    whole: list[str] | None = None
    retrieved: list[str] | None = None
    keys: dict[str, list[str | None]] = field(default_factory=dict)
    maybe_id: str | None = None
    ordered: bool = False
    headings: list[str] = field(default_factory=list)
    read_as: str = ""
    rows: Sequence[Row] = ()


class _Request(NamedTuple):
    """What a file is read for; the fields are arguments of :func:`read_report_file`."""

    wanted: str
    split: str
    section: str
    columns: Mapping[str, str]


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
    path, request = require_file(path), _Request(wanted, split, section, columns or {})
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".txt", ".tok")):
        found = ReportFile(path, report_lines(path), ordered=True, read_as="one report a line")
    elif name.endswith(TABLE_ENDINGS):
        found = _read_table(path, request)
    elif name.endswith(JSON_ENDINGS):
        found = _read_json(path, request)
    elif path.name.lower().endswith(".parquet"):
        found = _from_rows(path, of_split(path, parquet_rows(path), split), request)
    else:
        raise UserError(
            f"{path} ends in {path.suffix!r}; expected .csv, .tsv, .xlsx, .jsonl, .ndjson, .json, .txt, .tok or .parquet: rename it"
        )
    if not found.texts:
        raise UserError(f"{path} holds no report: give the file that the model wrote")
    if found.ordered:
        found.texts = [one_section(text, section) for text in found.texts]
    return found


def _read_json(path: Path, request: _Request) -> ReportFile:
    if is_json_lines(path):
        return _from_rows(path, of_split(path, jsonl_rows(path), request.split), request)
    content = parse_json(read_text_file(path), str(path))
    if isinstance(content, dict) and content and all(map(known_split, content)):
        return _read_annotation(path, by_split(content) or {}, request)
    return _from_rows(path, of_split(path, json_rows(path, content), request.split), request)


def _read_table(path: Path, request: _Request) -> ReportFile:
    table = read_table_file(path, KNOWN)
    headings = table.headings
    given = set(map(plain_heading, request.columns.values()))
    known = [name for name in headings if is_known(name) or side_of(name) or plain_heading(name) in given]
    if headings in (["", "0"], ["0"]):  # a pandas table, with its row numbers or without
        body = [cells for _, cells in table.body()]
        if len(headings) == 2 and not are_row_numbers([cells[0] for cells in body]):
            raise UserError(
                f"{path} has a first column without a heading that does not count its rows: call it study_id if it holds ids, or remove it"
            )
        return ReportFile(path, [cells[-1] for cells in body], ordered=True, read_as="a table of pandas")
    if headings and max(len(cells) for _, cells in table.rows) == 1 and not known:
        return ReportFile(path, only_column(table), ordered=True, read_as="one column without a heading")
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
        again = sorted(map(plain_heading, cells)) == plain
        if again or {cell.casefold() for cell in cells if cell} <= _TYPES:
            what = "repeats its headings" if again else "holds the types of its columns"
            raise UserError(f"{path} {what} in line {line}: remove them, they would be scored as a report")
        rows.append(dict(zip(headings, cells, strict=True)))
    found = _from_rows(path, of_split(path, rows, request.split), request)
    found.read_as = f"{table.read_as}; {found.read_as}"
    return found


def _read_annotation(path: Path, content: Mapping[str, Any], request: _Request) -> ReportFile:
    """An annotation; one whose studies carry generated reports too, or findings and impression, is read by its columns."""
    split, section, for_reports = request.split, request.section, request.wanted == "prediction"
    rows = content.get(split)
    rows = rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else []
    headings = {name for row in rows for name in row}
    generated = PLAIN["generated"].union(map(plain_heading, request.columns.values()))
    has_generated = any(plain_heading(name) in generated or side_of(name) == "generated" for name in headings)
    strange = unknown_texts(path, rows) if for_reports and headings else []
    apart = any((is_empty(row.get("report")) and has_sections(row)) or sections_of(row.get("report")) for row in rows)
    if strange or apart or has_generated:
        if apart:  # an empty column is no report beside them
            rows = [{name: row[name] for name in row if name != "report" or not is_empty(row[name])} for row in rows]
        found = _from_rows(path, rows, request)
        found.read_as = f"{split} split; {found.read_as}"
        return found
    flag = "--predictions" if for_reports else "--references"
    studies = require_split(read_annotation(path), split, path, flag)
    cells = [{"id": study.id, "image_path": study.image_path[0]} for study in studies]
    texts = [one_section(study.report, section) for study in studies]
    cut = sum(text != study.report for text, study in zip(texts, studies, strict=True))
    read_as = f"annotation, {split} split"
    if cut:
        read_as += f", the {section} of {cut} reports that name their sections"
    return ReportFile(path, texts, keys=id_columns(cells, ("id", "image_path")), read_as=read_as, rows=cells)


def _from_rows(path: Path, rows: Sequence[Row], request: _Request) -> ReportFile:
    """What rows, cells by heading, of one split hold."""
    wanted, section = request.wanted, request.section
    if not rows:
        return ReportFile(path, [])
    rows, around = answer_rows(path, rows, wanted, request.columns.values())
    whole_rows, rows = rows, choose_sections(path, rows, section)
    if wanted == "prediction":
        refuse_word_lists(path, rows)
    roles = find_roles(path, rows, wanted, section, request.columns)
    kept = _once(whole_rows) if roles.ids else range(len(rows))
    repeated = len(rows) - len(kept)
    whole_rows, rows = ([given[number] for number in kept] for given in (whole_rows, rows))
    refuse_other_keys(path, rows, roles.text)
    texts, references, whole, retrieved = (
        [_text(path, row, names, section) for row in rows] if names else None
        for names in (roles.text, roles.reference, roles.whole, roles.retrieved)
    )
    assert texts is not None, "a file without a column to read is refused"
    if wanted == "reference" and whole is not None:  # the reference before it was cut, where it was
        texts = [uncut or text for uncut, text in zip(whole, texts, strict=True)]
    cut = {
        name for row, uncut in zip(rows, whole_rows, strict=True) for name in row if row[name] is not uncut.get(name)
    }
    return ReportFile(
        path, texts, references=references, whole=whole, retrieved=retrieved, keys=id_columns(rows, roles.ids),
        maybe_id=roles.maybe_id, headings=list(dict.fromkeys(heading for row in rows[:1000] for heading in row)),
        read_as=f"{around}; " * bool(around) + _said(roles, wanted, dict.fromkeys(cut, f" ({section})"))
        + f"; {repeated} rows that repeat another in every cell are passed over" * bool(repeated), rows=rows,
    )  # fmt: skip


def _once(rows: Sequence[Row]) -> list[int]:
    """Numbers of the rows that are no earlier row again in every cell, as where several processes have filled up a batch."""
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        first.setdefault(repr(sorted(row.items(), key=lambda cell: cell[0])), number)
    return list(first.values())


def _said(roles: Roles, wanted: str, cut: Mapping[str, str]) -> str:
    """Which columns are read, and of which a section alone."""
    text, reference = ([name + cut.get(name, "") for name in names] for names in (roles.text, roles.reference))
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
        if is_empty(value):
            continue
        if not isinstance(value, str):
            mend = ": correct it"
            if isinstance(value, Mapping):
                parts = ", ".join(map(quoted_name, [*value][:8]))
                mend = f", or findings and impression alone and not {parts}: write the text itself"
            raise UserError(
                f"the column {quoted_name(name)} of {path} holds a {type(value).__name__}; expected text{mend}"
            )
        pieces.append((name, value))
    if len(names) == 1:
        return one_section(pieces[0][1], section) if pieces else ""
    return " ".join(
        f"{'Findings' if 'finding' in plain_heading(name) else 'Impression'}: {text.strip()}" for name, text in pieces
    )
