"""JSON that holds its table column by column, or its headings apart: RadEval's lists, pandas' ``columns`` and ``split``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.tables import plain_heading
from modules.evaluation.reading.column_values import are_row_numbers
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.headings import PLAIN, PLAIN_KNOWN, is_known
from modules.evaluation.reading.sections_apart import sections_of
from modules.messages import UserError, quoted_name

_SPLIT = {"columns", "data"}  # pandas' orient="split", and what may stand beside them
_BESIDE = {
    "index",
    "index_names",
    "column_names",
    "_type",
    "column_types",
    "nrows",
    "ncols",
}  # the last four: a table of Weights & Biases


def pandas_rows(path: Path, content: Mapping[str, Any]) -> list[Row] | None:
    """Rows of ``{"columns": [..], "index": [..], "data": [[..], ..]}``, or of ``{"schema": .., "data": [{"index": ..}, ..]}``; None if it is another layout.

    Raises:
        UserError: if a row, or the index, has not as many entries as the headings and the rows say.
    """
    data = content.get("data")
    if content.keys() == {"schema", "data"} and isinstance(data, list) and all(isinstance(row, dict) for row in data):
        indexed = bool(data) and all("index" in row for row in data)
        return _with_ids([row["index"] for row in data], data, [*data[0]]) if indexed else None
    if not _SPLIT <= content.keys() <= _SPLIT | _BESIDE or not all(isinstance(content[name], list) for name in _SPLIT):
        return None
    headings, data = [str(name) for name in content["columns"]], content["data"]
    index = content.get("index", list(range(len(data))))
    whole = all(isinstance(row, list) and len(row) == len(headings) for row in data)
    if not whole or not isinstance(index, list) or len(index) != len(data) or len(set(headings)) < len(headings):
        raise UserError(
            f"{path} holds columns, index and data that do not belong together: expected a name for every column, once, and as many cells in "
            "every row; write it again"
        )
    return _with_ids(index, [dict(zip(headings, row, strict=True)) for row in data], headings)


def column_rows(path: Path, content: Mapping[str, Any]) -> list[Row] | None:
    """Rows of lists by name, or of mappings by name (``{"gts": {id: text}, "res": {id: text}}``), which are matched by their keys.

    What stands beside them and is no such list (the name of a model, scores) is left out and named.

    Returns:
        The rows; None if no list or mapping has a name that is known.

    Raises:
        UserError: if the lists are not of one length, the mappings not of the same keys, or one text or id stands beside them.
    """
    several = [name for name, value in content.items() if isinstance(value, list | dict)]
    named = [name for name in several if plain_heading(name) in PLAIN_KNOWN] or [*filter(is_known, several)]
    if any(sections_of(content[name]) for name in named):
        return [content]  # one study, whose reports are objects of their sections
    if PLAIN["ids"].issuperset(map(plain_heading, named)):
        return None
    if len(named) == 1 < len(content) and len(content[named[0]]) < 2:
        return None  # one list of one value beside something else is no table
    single = [name for name in content if name not in named and plain_heading(name) in PLAIN_KNOWN]
    if single:
        raise UserError(
            f"{path} holds several values under {quoted_name(named[0])} and one under {quoted_name(single[0])}; expected as many of each: "
            "give a list of both, or leave one out"
        )
    first = content[named[0]]
    beside = [name for name, value in content.items() if name not in named and not _is_alike(value, first)]
    columns = {name: value for name, value in content.items() if name not in beside}
    read = _by_key if any(isinstance(value, dict) for value in columns.values()) else _by_place
    rows = read(path, columns)
    if beside:
        print(f"{path.name}: not read, since they are no {len(rows)} values: {', '.join(map(quoted_name, beside))}")
    return rows


def _is_alike(value: Any, first: Any) -> bool:
    """Whether a value of an unknown name is a column beside one that is known."""
    if isinstance(first, dict):
        return isinstance(value, dict) and value.keys() == first.keys()
    return isinstance(value, list) and len(value) == len(first)


def _by_place(path: Path, columns: Mapping[str, list[Any]]) -> list[Row]:
    """Rows of lists, whose values belong together by their places."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"the lists of {path} have {lengths} entries; expected as many of each: correct it")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _by_key(path: Path, columns: Mapping[str, Any]) -> list[Row]:
    """Rows of mappings, whose values belong together by their keys, which are the ids."""
    keys = next((list(values) for values in columns.values() if isinstance(values, dict)), [])
    if any(not isinstance(values, dict) or set(values) != set(keys) for values in columns.values()):
        raise UserError(
            f"{', '.join(map(quoted_name, columns))} of {path} are not of the same keys: give all of them the same ids"
        )
    return _with_ids(keys, [{name: values[key] for name, values in columns.items()} for key in keys], list(columns))


def _with_ids(keys: list[Any], rows: list[Row], headings: list[str]) -> list[Row]:
    """Rows with their keys as ids, where those are no numbers of rows and no column holds ids."""
    if are_row_numbers([str(key) for key in keys]) or not PLAIN["ids"].isdisjoint(map(plain_heading, headings)):
        return rows
    return [{"study_id": key, **row} for key, row in zip(keys, rows, strict=True)]
