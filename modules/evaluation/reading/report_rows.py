"""Rows, cells by heading, from the layouts of reports that are no tables; and which of them belong to a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.corpus.cells import is_empty
from modules.corpus.splits import LIKE_SPLIT, MOST_SPLITS, known_split
from modules.corpus.tables import MAX_BYTES, plain_heading, read_text_file
from modules.evaluation.reading.chats import is_chat
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.headings import PLAIN, PLAIN_KNOWN, is_known
from modules.evaluation.reading.json_columns import column_rows, pandas_rows
from modules.messages import UserError, named, quoted, quoted_name
from modules.records import iterate_jsonl, parse_json

JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
LINES_ENDINGS = JSON_ENDINGS[1:]
EXPECTED = '{"id", "prediction", "reference"}'
_YES_OR_NO = {"true", "false", "yes", "no", "0", "1", "0.0", "1.0"}


def is_json_lines(path: Path) -> bool:
    """Whether a file holds an object a line, whatever it is called: programs name such files ``.json`` too."""
    named_so = path.name.lower().removesuffix(".gz").endswith(LINES_ENDINGS)
    if named_so and path.stat().st_size > MAX_BYTES:
        return True
    text = read_text_file(path).strip()
    first, _, others = text.partition("\n")
    if named_so:
        return not text.startswith("[")
    return bool(others) and first.rstrip().endswith("}") and others.lstrip().startswith("{")


def jsonl_rows(path: Path, expected: str = EXPECTED) -> list[Row]:
    """Rows of JSON lines.

    Raises:
        UserError: if a line is not JSON, or no object.
    """
    if path.stat().st_size > MAX_BYTES:
        values = list(enumerate(iterate_jsonl(path), start=1))
    else:
        lines = enumerate(read_text_file(path).split("\n"), start=1)
        values = [(number, parse_json(line, f"line {number} of {path}")) for number, line in lines if line.strip()]
    for number, value in values:
        if not isinstance(value, dict):
            raise UserError(f"line {number} of {path} holds a {type(value).__name__}; expected {expected}")
    return [value for _, value in values]


def json_rows(path: Path, content: Any, expected: str = f"[{EXPECTED}]") -> list[Row]:
    """Rows of the JSON layouts that are no annotation.

    Raises:
        UserError: if it is none of them.
    """
    if (captions := _captions(content)) is not None:
        return captions
    content = _unwrapped(content)
    if isinstance(content, dict):
        if (rows := pandas_rows(path, content)) is not None:
            return rows
        content = _only_objects(content) or content
    if isinstance(content, list) and content:
        if all(map(is_chat, content)):
            return [{"generated_text": chat} for chat in content]
        if all(isinstance(row, list) and len(row) == 1 and isinstance(row[0], dict) for row in content):
            return [row for (row,) in content]  # of a pipeline, which gives a list of candidates for every prompt
        if all(isinstance(row, dict) for row in content):
            return content
        if all(isinstance(row, str) for row in content):
            return [{"report": row} for row in content]
    if isinstance(content, dict) and content:
        values = list(content.values())
        if (rows := column_rows(path, content)) is not None:
            return rows
        if all(isinstance(value, dict) for value in values):
            return [{"study_id": key, **value} for key, value in content.items()]
        # {"images": [{..}], "annotations": [{..}]} is no mapping of ids, nor is {"id": "a", "report": ".."}
        tables = any(isinstance(one, list | dict) for value in values if isinstance(value, list) for one in value)
        if not tables and len({*map(plain_heading, content)} & PLAIN_KNOWN) < 2:
            return [{"study_id": key, "report": value} for key, value in content.items()]
    raise UserError(
        f"{path} holds a JSON {type(content).__name__} that is no list of objects, no mapping of ids to reports and no "
        f"annotation: expected {expected}"
    )


def _captions(content: Any) -> list[Row] | None:
    """The captions of COCO's ``{"images": [..], "annotations": [{"image_id": .., "caption": .., "id": ..}]}``; the last numbers them alone."""
    rows = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        return None
    whole = all(isinstance(row, dict) and {"image_id", "caption"} <= row.keys() for row in rows)
    return [{name: value for name, value in row.items() if name != "id"} for row in rows] if whole else None


def _unwrapped(content: Any) -> Any:
    """What stands in objects of one entry: the list of ``{"results": [..]}`` and ``{"data": {"results": [..]}}``, the studies of ``{"results": {id: {..}}}``."""
    while isinstance(content, dict) and len(content) == 1:
        inner = next(iter(content.values()))
        if not (isinstance(inner, list) or _wraps_rows(inner) or _maps_ids(inner)):
            break
        content = inner
    return content


def _only_objects(content: Mapping[str, Any]) -> list[Row] | None:
    """The list of ``{"model": "..", "results": [{..}, ..]}``: the only one in an object, if it holds objects."""
    lists = [value for value in content.values() if isinstance(value, list)]
    return lists[0] if len(lists) == 1 and lists[0] and all(isinstance(row, dict) for row in lists[0]) else None


def _wraps_rows(content: Any) -> bool:
    """Whether an object, which is no study itself, holds one list of objects, or the lists of a table."""
    if not isinstance(content, dict):
        return False
    known = [name for name in content if plain_heading(name) in PLAIN_KNOWN]
    if known:
        return len(known) > 1 and all(isinstance(content[name], list) and len(content[name]) > 1 for name in known)
    return _only_objects(content) is not None


def _maps_ids(content: Any) -> bool:
    """Whether an object maps ids to studies: several objects, each with a heading that is known, under names that are none."""
    if not isinstance(content, dict) or len(content) < 2 or any(map(is_known, content)):
        return False
    return all(isinstance(study, dict) and any(map(is_known, study)) for study in content.values())


def refuse_word_lists(path: Path, rows: Sequence[Row]) -> None:
    """Refuse generated reports that are all lists of words, of several texts, or of texts with boxes; UserError names their column."""
    headings = [name for name in rows[0] if plain_heading(name) in PLAIN["generated"]]
    listed = [name for name in headings if all(_holds_texts(row.get(name)) for row in rows)]
    if listed and listed == headings:
        words = isinstance(rows[0][listed[0]][0], str)  # type: ignore[index]
        what = "a list of several texts or words" if words else "a list of texts with their boxes"
        raise UserError(
            f"{path} holds {what} under {quoted_name(listed[0])} in every row, expected one text: join the words or sentences with blanks, or keep "
            "one of the texts"
        )


def _holds_texts(value: object) -> bool:
    """Whether a cell is a list of texts, or of a text and its boxes each, as a grounded report: ``[["No edema.", null], ..]``."""
    if not isinstance(value, list) or not value:
        return False
    pairs = all(isinstance(part, list | tuple) and part and isinstance(part[0], str) for part in value)
    return pairs or (len(value) > 1 and all(isinstance(part, str) for part in value))


def refuse_other_keys(path: Path, rows: Sequence[Row], texts: Sequence[str]) -> None:
    """Refuse rows whose text stands under another name than that of the others: they would count as empty.

    Args:
        path: of the file.
        rows: of JSON, which need not have all headings.
        texts: headings of what the file is read for.

    Raises:
        UserError: naming both headings.
    """
    without = [row for row in rows if not any(name in row for name in texts)]
    there = {name for row in rows if any(text in row for text in texts) for name in row}
    other = next((name for row in without for name in row if name not in there and is_known(name)), None)
    if other is not None:
        raise UserError(
            f"{len(without)} of {len(rows)} rows of {path} have {quoted_name(other)} and no {quoted_name(texts[0])}, which the others have: give "
            "the texts of all rows one name"
        )


def has_sections(row: Row) -> bool:
    """Whether a row holds findings or an impression of its own."""
    sections = PLAIN["findings"] | PLAIN["impression"]
    return any(plain_heading(name) in sections and not is_empty(value) for name, value in row.items())


def parquet_rows(path: Path) -> list[Row]:
    """Rows of a parquet file.

    Raises:
        UserError: if pyarrow is not installed, the file is damaged, or two columns have one name.
    """
    try:
        from pyarrow import ArrowException, parquet  # on demand: only this layout needs it
    except ImportError:
        raise UserError(f"{path} needs pyarrow: pip install pyarrow, or write the table as CSV") from None
    with path.open("rb") as file:
        try:
            table = parquet.ParquetFile(file).read()
            rows = table.to_pylist()
        except (ArrowException, OSError, UnicodeDecodeError):  # an OSError of Arrow says that pages are damaged
            raise UserError(f"{path} is no whole parquet file: write it again, or give the table as CSV") from None
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise UserError(f"{path} has two columns called {named(twice[0])}: rename one of them")
    return rows


def of_split(path: Path, rows: Sequence[Row], split: str) -> Sequence[Row]:
    """The rows of a split, where a column names splits, ``split`` or whatever it is called; all of them where none does.

    Raises:
        UserError: if none is of this split, two columns name splits, or one names something else beside them.
    """
    found = {name: [known_split(row.get(name)) for row in rows] for name in (rows[0] if rows else ())}
    named_so = [name for name in found if plain_heading(name) == "split"]
    several = [name for name, splits in found.items() if None not in splits and len(set(splits)) > 1]
    headings = [name for name in named_so if name in several] or several
    if len(headings) > 1:
        raise UserError(
            f"{path} has the columns {' and '.join(map(quoted_name, headings))}, which both name splits: remove one of them"
        )
    _refuse_unknown_splits(path, rows, found)
    splits = found[(headings or named_so)[0]] if headings or named_so else []
    if not splits or None in splits or set(splits) == {split}:
        return rows
    kept = [row for row, one in zip(rows, splits, strict=True) if one == split]
    others = ", ".join(sorted({str(one) for one in splits} - {split}))
    if not kept:
        raise UserError(f"{path} holds no row of the {split} split but of {others}: give another file or --split")
    print(f"{path.name}: {len(rows) - len(kept)} rows of other splits ({others}) than --split {split} are left out")
    return kept


def _refuse_unknown_splits(path: Path, rows: Sequence[Row], found: Mapping[str, Sequence[str | None]]) -> None:
    """Columns that divide the rows, and not into splits that are known: ``dev2``, nothing, a fold, ``is_test``."""
    for name, splits in found.items():
        values = {str(row.get(name)).strip().casefold() for row in rows}
        like = plain_heading(name) == "split" or len(set(splits) - {None}) > 1
        flag = LIKE_SPLIT.fullmatch(plain_heading(name)) and values <= _YES_OR_NO
        if None in splits and 1 < len(values) <= MOST_SPLITS and (like or flag):
            raise UserError(
                f"the column {quoted_name(name)} of {path} holds {', '.join(map(quoted, sorted(values)))}; expected train, val and test: correct "
                "it, or leave the column out if all rows are to be scored"
            )
