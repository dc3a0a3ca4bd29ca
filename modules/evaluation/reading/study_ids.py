"""Which rows of two files are one study: ids as people write them, compared whole and by their parts.

``50414267``, ``s50414267``, ``50414267.0``, ``p10000032/s50414267/abc.jpg`` and ``10000032_50414267_abc`` may all be one
study. Every way to read the ids of a file is a column of its own; two files are matched by the pair of columns that
brings most rows together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modules.corpus.spelling import path_of
from modules.corpus.tables import plain_heading
from modules.evaluation.reading.chance import PARTS, SEPARATORS, contradicts, tells_apart

Keys = Mapping[str, Sequence[str | None]]

_ENDING = re.compile(r"(?:\.(?:jpe?g|jpe|jfif|png|dcm|dicom|nii|gz|tiff?|bmp|webp|npy|txt|json|xml))+$")
_KEPT_AS_TEXT = re.compile(r'="([^"]*)"')  # ="007", by which exports keep Excel from making a number of an id
_LIST = re.compile(r"\s*[\[(]\s*(['\"])(.*?)\1\s*[,\])].*\Z", re.DOTALL)  # ['a/0.png', 'a/1.png'], ('a/0.png',)
_OF_PYTHON = re.compile(  # tensor(5), tensor([5], device='cuda:0'), np.str_('a/0.png'), b'a/0.png'
    r"\s*(?:(?:tensor|array|(?:np|numpy)\.\w+)\(\s*\[?(?P<called>[^,\[\]()]*?)\]?(?:,\s*(?:dtype|device)=[^()]*)?\)|b(?P<bytes>(['\"]).*\3))\s*"
)
_WHOLE_NUMBER = re.compile(r"(\d+)\.0+")
_MIMIC_STUDY = re.compile(r"s(\d{8})")
_OPEN_I = re.compile(r"cxr(?=\d+(?:_(?:\d+_)?im-\d+.*)?$)")  # CXR10, CXR10_IM-0002, CXR1_1_IM-0001-3001
_MIMIC_PATIENT = re.compile(r"p\d{8}|p\d{2}")
_FOLDERS = re.compile(r"[/\\]+")
_MOST_FOLDERS = 5  # of a path, compared together
_NUMBERED = re.compile(r"(\D*?)0*(\d{1,9})")
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_READ = re.compile(r", (?:part \d|last \d|file name|folder|any separator)")  # in the name of a way that reads a part


def plain_id(value: object) -> str | None:
    """An id as it is compared: without case, file ending, a float's ``.0``, the ``s`` of a MIMIC-CXR study and Open-i's ``CXR``."""
    value = _first(value)
    if value is None or value != value:  # NaN is not itself
        return None
    text = _KEPT_AS_TEXT.sub(r"\1", unicodedata.normalize("NFC", str(value)).strip().casefold())
    text = _ENDING.sub("", text)
    if text in ("", "nan", "none", "null", "<na>"):
        return None
    number = _WHOLE_NUMBER.fullmatch(text) or _MIMIC_STUDY.fullmatch(text)
    return number[1] if number else _OPEN_I.sub("", text, count=1)


def written_id(value: object) -> str:
    """An id as it was written; a whole float, which a program made of a number, without its ``.0``."""
    value = _first(value)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _first(value: object) -> object:
    """The first of several images, also of a list in a table's cell, without what Python prints around it; the path of an object."""
    value = path_of(value)
    called = _OF_PYTHON.fullmatch(value) if isinstance(value, str) else None
    if called:
        value = (called["called"] or called["bytes"] or "").strip("'\" ")
    listed = _LIST.match(value) if isinstance(value, str) else None
    if listed:
        return listed[2]
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return None if isinstance(value, Mapping) else value


def id_columns(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> dict[str, list[str | None]]:
    """Every way to read the ids of some rows.

    Args:
        rows: cells by heading.
        names: headings of the ids.

    Returns:
        Ids by the way in which they are read, None where a row has none; of a column ``path`` with ``a/007/1.png``

        ``path``                              the whole one, without its ending
        ``path without zeros``                ``a/7/1``, where zeros lead
        ``path, any separator``               the same for ``a/007/1`` and ``a_007-1``
        ``path, part 2 from the end``         ``007``; a part that names a patient is left out: several studies share it
        ``path, file name``                   ``1``
        ``path, folder``                      ``007``
        ``path, last 2 parts``                ``007/1``: the last part may be the same in every study's folder
        ``path, last 2 parts before the file``   ``a/007``
    """
    columns: dict[str, list[str | None]] = {}
    for name in names:
        whole = [plain_id(row.get(name)) for row in rows]
        columns[name] = whole
        bare = [text and _ZEROS.sub("", text) for text in whole]  # Excel makes 7 of 007
        if bare != whole:
            columns[f"{name} without zeros"] = bare
        joined = [text and _joined([text]) for text in whole]
        if joined != whole:
            columns[f"{name}, any separator"] = joined
        pieces = [PARTS.split(text) if text else [] for text in whole]
        for place in range(1, max(map(len, pieces), default=0) + 1):
            columns[f"{name}, part {place} from the end"] = [
                _part(piece[-place]) if 1 < len(piece) >= place else None for piece in pieces
            ]
        folders = [_FOLDERS.split(text) if text else [] for text in whole]
        for length in range(1, min(max(map(len, folders), default=0), _MOST_FOLDERS)):
            end = f"last {length} parts" if length > 1 else "file name"
            before = f"{end} before the file" if length > 1 else "folder"
            columns[f"{name}, {end}"] = [_joined(path[-length:]) if len(path) >= length else None for path in folders]
            columns[f"{name}, {before}"] = [  # the folder may be all that the other file names
                _joined(path[-length - 1 : -1]) if len(path) > length else None for path in folders
            ]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _joined(parts: Sequence[str]) -> str:
    """Parts of an id with one sign between them, whatever signs stand inside of them."""
    return SEPARATORS.sub("/", "/".join(parts))


def _part(text: str) -> str | None:
    """A part as an id of its own; None of a patient of MIMIC-CXR."""
    return None if _MIMIC_PATIENT.fullmatch(text) else plain_id(text)


def pair_rows(ours: Keys, theirs: Keys) -> tuple[list[int | None], str, str]:
    """The row of ``ours`` for every row of ``theirs``.

    Args:
        ours: ids of generated reports; one report may belong to several rows of ``theirs``, as a study's does to its
            images.
        theirs: ids of references.

    Returns:
        A row or None by row of ``theirs``, and the two columns that were compared; empty names if none fit.
    """
    studies = len(next(iter(theirs.values()), ()))
    best: tuple[list[int | None], str, str] = ([None] * studies, "", "")
    best_rank = _rank(best[0])
    for name, values in ours.items():
        row_of = {value: row for row, value in enumerate(values) if value is not None}
        if len(row_of) < len(values):
            continue  # two reports under one id, or one without
        for other, wanted in theirs.items():
            rows = [None if value is None else row_of.get(value) for value in wanted]
            if _rank(rows) <= best_rank:
                continue
            if _READ.search(name) or _READ.search(other):
                rows = _without_chance(rows, wanted, ours[_whole(name)], theirs[_whole(other)])
                reports, _ = _rank(rows)
                if 2 * reports < min(len(values), len(set(wanted))):
                    continue  # parts that agree by chance
            if _rank(rows) > best_rank:
                best, best_rank = (rows, name, other), _rank(rows)
    return best


def disagreeing(ours: Keys, theirs: Keys, rows: Sequence[int | None]) -> str | None:
    """A column of both files by which most rows belong together, and some of them otherwise than in ``rows``; None if there is none."""
    for name, values in ours.items():
        other = next((heading for heading in theirs if plain_heading(heading) == plain_heading(name)), None)
        if _READ.search(name) or other is None:
            continue
        row_of = {value: row for row, value in enumerate(values) if value is not None}
        pairs = [None if value is None else row_of.get(value) for value in theirs[other]]
        differ = any(None not in both and both[0] != both[1] for both in zip(pairs, rows, strict=True))
        distinct = len(row_of) == len(values) - list(values).count(None)
        if distinct and differ and 2 * len(set(pairs) - {None}) >= min(len(values), len(pairs)):
            return name
    return None


def _rank(rows: Sequence[int | None]) -> tuple[int, int]:
    """What makes one pairing better than another: more reports with a reference, then fewer references that share one."""
    found = [row for row in rows if row is not None]
    return len(set(found)), -len(found)


def _without_chance(
    rows: Sequence[int | None], matched: Sequence[str | None], ours: Sequence[str | None], theirs: Sequence[str | None]
) -> list[int | None]:
    """The rows without those of which too little agrees, unless one whole id holds all parts of the other."""
    if tells_apart([value for row, value in zip(rows, matched, strict=True) if value and row is not None]):
        return list(rows)
    return [
        None if row is None or contradicts(ours[row], whole) else row for row, whole in zip(rows, theirs, strict=True)
    ]


def _whole(name: str) -> str:
    """The name of the column that a part was read from."""
    return _READ.split(name)[0]


class _Numbering(NamedTuple):
    """What numbers some ids are: the text before them, the numbers, and whether they count the rows."""

    start: str
    numbers: set[int]
    counts_rows: bool


def _numbering_of(values: Sequence[str | None]) -> _Numbering | None:
    """The numbers of ids such as ``case_7``; None if an id is no number, or another text stands before it."""
    matches = [_NUMBERED.fullmatch(value or "") for value in values]
    starts = {match[1] if match else None for match in matches}
    if len(starts) != 1 or None in starts:
        return None
    numbers = [int(match[2]) for match in matches if match]
    return _Numbering(str(starts.pop()), set(numbers), numbers == list(range(numbers[0], numbers[0] + len(numbers))))


def numbering_conflict(ours: Sequence[str | None], theirs: Sequence[str | None]) -> str | None:
    """Why ids that are small numbers may be row numbers of different studies, None if nothing speaks for it.

    Two kinds: one file counts from 0 and the other from 1, ``case_0`` too; or the ids of one are the numbers of its rows
    and those of the other, with gaps, are not.
    """
    first, second = _numbering_of(ours), _numbering_of(theirs)
    if first is None or second is None or first.start != second.start:
        return None
    dense = all(max(one.numbers) < 2 * len(one.numbers) for one in (first, second))
    if dense and {min(first.numbers), min(second.numbers)} == {0, 1}:
        return "one numbers its studies from 0 and the other from 1"
    for one, other in ((first, second), (second, first)):
        numbers, others = one.numbers, other.numbers
        gaps = max(others) - min(others) + 1 > len(others) or min(others) > 1
        counts = one.counts_rows and len(numbers) > 1 and min(numbers) in (0, 1)
        if counts and gaps and not others <= numbers:
            return "the ids of one are the numbers of its rows and those of the other are not"
    return None


def both_count_rows(ours: Sequence[str | None], theirs: Sequence[str | None]) -> bool:
    """Whether the ids of both files are the numbers of their rows: they then say no more than the order does."""
    found = [_numbering_of(values) for values in (ours, theirs)]
    return all(one is not None and one.counts_rows and min(one.numbers) in (0, 1) for one in found)


def repeated_id(keys: Keys) -> str | None:
    """An id that stands twice, if no way to read the ids tells all rows apart."""
    found = None
    for values in keys.values():
        twice = _first_repeated(values)
        if twice is None:
            return None
        found = found or twice
    return found


def _first_repeated(values: Sequence[str | None]) -> str | None:
    seen: set[str | None] = set()
    for value in values:
        if value in seen:
            return str(value)
        seen.add(value)
    return None
