"""Which column of somebody's file holds the generated reports, which the references, which the ids: never a guess.

A heading decides by its name, whatever its case, blanks and marks. ``report``, ``findings`` and ``impression`` are
references where generated reports stand beside them, and generated only where they stand alone. What the names do not
decide is refused with the headings and the flag that decides, ``--columns prediction=... reference=... id=...``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modules.corpus.cells import is_empty
from modules.corpus.tables import plain_heading
from modules.evaluation.reading.column_values import are_row_numbers, holds_classes, is_list, is_text
from modules.evaluation.reading.headings import (
    ASIDE,
    NAMES,
    PLAIN,
    hints_at_reference,
    is_called,
    is_known,
    named_headings,
    of_a_model,
    side_of,
)
from modules.evaluation.reading.leftovers import ask_for_reports
from modules.messages import UserError, quoted_name, shown_headings

SECTIONS = ("findings", "impression", "both")
_PARTS = SECTIONS[:2]
_ROLES = {"generated": "prediction", "reference": "reference"}  # what --columns calls the two sides

Row = Mapping[str, object]


@dataclass(frozen=True)
class Roles:
    """Headings by role: ``text`` what the file is read for (two for findings and impression), ``reference`` beside it.

    ``maybe_id`` is the column that may hold the ids where none is known to; rows must then not be taken by order.
    """

    text: tuple[str, ...]
    reference: tuple[str, ...]
    ids: tuple[str, ...]
    whole: tuple[str, ...] = ()
    retrieved: tuple[str, ...] = ()
    maybe_id: str | None = None


@dataclass(frozen=True)
class _Columns:
    """What the columns of a file show of themselves.

    Args:
        path: of the file, for messages.
        headings: of all columns, in order.
        cells: the first cells by heading.
        named: headings by what they are, keys as in ``headings.NAMES``; narrowed down while roles are found.
    """

    path: Path
    headings: list[str]
    cells: dict[str, list[object]]
    named: dict[str, list[str]]

    @classmethod
    def of(cls, path: Path, rows: Sequence[Row]) -> _Columns:
        headings = list(dict.fromkeys(heading for row in rows[:1000] for heading in row))
        cells = {heading: [row.get(heading) for row in rows[:200]] for heading in headings}
        named = {kind: named_headings(headings, names) for kind, names in NAMES.items()}
        if sum(map(is_text, cells.values())) > 1:  # LLaVA's questions are called text, the reports beside them answer
            named["prompt"] = [name for name in named["report"] if ask_for_reports(cells[name])]
            named["report"] = [name for name in named["report"] if name not in named["prompt"]]
        return cls(path, headings, cells, named)

    @property
    def known(self) -> set[str]:
        """Headings of which it is known what they are, also if that is nothing to be read."""
        return {name for names in self.named.values() for name in names} | set(named_headings(self.headings, ASIDE))

    @property
    def unknown_texts(self) -> list[str]:
        """Headings of texts of which nobody knows what they are."""
        known = self.known
        return [name for name in self.headings if name not in known and is_text(self.cells[name])]

    def refuse(self, why: str) -> NoReturn:
        """Refuse the file: what its columns are is not known."""
        shown = shown_headings(self.headings, any(map(is_known, self.headings)))[:300]
        raise UserError(
            f"{self.path} {'begins with' if ' heading' in shown else 'has the columns'} {shown}: {why}; say which is which with "
            "--columns prediction=NAME reference=NAME id=NAME"
        )


def find_roles(
    path: Path, rows: Sequence[Row], wanted: str, section: str, given: Mapping[str, str] | None = None
) -> Roles:
    """Decide what every column is.

    Args:
        path: of the file, for messages.
        rows: cells by heading; every row has the headings of the first.
        wanted: ``"prediction"`` or ``"reference"``: what the file was given as.
        section: of ``SECTIONS``, where findings and impression are apart.
        given: headings by role, what ``--columns`` says.

    Raises:
        UserError: naming the headings, if the names do not decide.
    """
    columns = _Columns.of(path, rows)
    named, given = columns.named, _as_written(columns.headings, given or {})
    _add_composed(columns)
    named["reference"] = _texts_of_references(columns)
    named["generated"] = [name for name in named["generated"] if not all(map(is_list, columns.cells[name]))]
    for side in ("reference",) if wanted == "reference" else ("generated", "reference"):
        if _ROLES[side] not in given:
            named[side] = _of_section(columns, named[side], section)
    either = _either_side(named, section)
    free = tuple(name for name in either if name not in given.values())
    has_prediction = bool(named["generated"]) or "prediction" in given
    has_reference = bool(named["reference"]) or "reference" in given
    if wanted == "reference":
        if not free and not any(is_text(columns.cells[name]) for name in columns.headings if name not in either):
            free = either  # its only text: what is called so in the other file was meant
        if not has_reference:
            _refuse_hints(columns, free)
        text = _read_for(columns, "reference", given, free)
        reference: tuple[str, ...] = ()
    else:
        if has_prediction and not has_reference:
            _refuse_hints(columns, free)
        if not has_prediction and free and "reference" not in given:
            _refuse_strangers(columns, free)
        text = _read_for(columns, "generated", given, free)
        reference = _reference_beside(columns, given, () if text == free else free)
        reference = () if reference == text else reference  # named for both sides: the other one stands in another file
    ids = (given["id"],) if "id" in given else tuple(name for name in named["ids"] if name not in (*text, *reference))
    maybe_id = None if ids else _unknown_id(columns, rows, (*text, *reference))
    return Roles(text, reference, ids, tuple(named["whole"][:1]), tuple(named["retrieved"][:1]), maybe_id)


def unknown_texts(path: Path, rows: Sequence[Row]) -> list[str]:
    """Headings of the texts of some rows that are neither known nor put together from known words."""
    return [name for name in _Columns.of(path, rows).unknown_texts if side_of(name) is None]


def _as_written(headings: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """``--columns`` with the headings as the file writes them; roles whose column another file has are left out."""
    found = {}
    for role, name in given.items():
        same = [heading for heading in headings if is_called(heading, name)]
        if same:
            found[role] = name if name in same else same[0]
    return found


def _add_composed(columns: _Columns) -> None:
    """Add the texts whose headings are put together from known words to the names that say the same, or name a model alone."""
    named, reports, known = columns.named, [], columns.known
    for heading in columns.headings:
        side, values = side_of(heading), columns.cells[heading]
        # A section of a known side is taken for a text also where all its cells are one word.
        of_section = side in named and any(part in plain_heading(heading) for part in _PARTS)
        if heading in known or not (is_text(values) or (of_section and not holds_classes(values))):
            continue
        if side in ("generated", "reference"):
            named[side].append(heading)
        elif side is not None:
            reports.append((side, heading))
    either = named["report"] or named["findings"] or named["impression"]
    if len(reports) == 1 and not either:
        side, heading = reports[0]
        named[side].append(heading)
    unknown = columns.unknown_texts
    decided = named["generated"] or (named["reference"] and either)
    if len(unknown) == 1 and not decided and of_a_model(unknown[0]):
        named["generated"].append(unknown[0])


def _texts_of_references(columns: _Columns) -> list[str]:
    """The headings of references without those of labels, and of classes (``target``) beside which a text stands."""
    named, cells = columns.named, columns.cells
    texts = [
        name
        for kind in ("reference", "report", "findings", "impression")
        for name in named[kind]
        if is_text(cells[name])
    ]
    return [
        name
        for name in named["reference"]
        if name in texts or not (plain_heading(name).startswith("label") or (texts and holds_classes(cells[name])))
    ]


def _of_section(columns: _Columns, names: list[str], section: str) -> list[str]:
    """Of columns whose names say which section they hold, those of the wanted one; for both, the two or neither."""
    names = sorted(names, key=lambda name: "impression" in plain_heading(name))  # findings first, as they are joined
    parts = {name: next((part for part in _PARTS if part in plain_heading(name)), None) for name in names}
    kept = [name for name, part in parts.items() if part in (None, section) or section == "both"]
    alone = section == "both" and len(names) == 1 and parts[names[0]]
    if names and (alone or not kept):
        held = " and ".join(map(quoted_name, names))
        columns.refuse(f"{held} hold another section than --section {section}")
    return kept


def _are_both(names: Sequence[str]) -> bool:
    """Whether two columns hold the findings and the impression of one report."""
    return len(names) == 2 and all(part in plain_heading(name) for part, name in zip(_PARTS, names, strict=True))


def _either_side(named: Mapping[str, list[str]], section: str) -> tuple[str, ...]:
    """The columns that are references or generated according to what stands beside them; two are one report."""
    findings, impression, report = (named[name][:1] for name in ("findings", "impression", "report"))
    if section == "both":
        return tuple(report or [*findings, *impression])
    return tuple((findings if section == "findings" else impression) or report)


def _read_for(columns: _Columns, side: str, given: Mapping[str, str], free: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that a file is read for; ``free`` are those of :func:`_either_side` that nobody has claimed."""
    role, names = _ROLES[side], columns.named[side]
    if role in given:
        return (given[role],)
    if _are_both(names):
        return tuple(names)
    if len(names) > 1:
        columns.refuse(f"{' and '.join(map(quoted_name, names))} may both be the {role}")
    if names or free:
        return tuple(names) or free
    if columns.named["generated" if side == "reference" else "reference"]:
        if columns.unknown_texts:
            columns.refuse(f"{' and '.join(map(quoted_name, columns.unknown_texts))} may be the {role}")
        held = f"only {'generated reports' if side == 'reference' else 'references'}"
    else:
        sections = [quoted_name(name) for name in columns.headings if side_of(name) in _PARTS]
        held = f"{' and '.join(sections)}, another section than --section says," if sections else "no known heading"
    columns.refuse(f"it holds {held} where a {role} is expected")


def _reference_beside(columns: _Columns, given: Mapping[str, str], free: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the references that stand beside generated reports; none if there are none."""
    names = columns.named["reference"]
    if "reference" in given:
        return (given["reference"],)
    if len(names) > 1 and not _are_both(names):
        columns.refuse(f"{' and '.join(map(quoted_name, names))} may both be the reference")
    if free and names and all(plain_heading(name).startswith("label") for name in names):
        both = " and ".join(map(quoted_name, [*names, *free]))
        columns.refuse(f"{both} are texts and may both be the reference")
    return tuple(names) or free


def _refuse_strangers(columns: _Columns, free: tuple[str, ...]) -> None:
    """Refuse a second column of texts beside the only one that has a name: it may be the generated one."""
    others = [name for kind in ("report", "findings", "impression") for name in columns.named[kind] if name not in free]
    twice = [name for name in others if is_text(columns.cells[name]) and not _are_parts(columns.cells, name, free)]
    strangers = columns.unknown_texts
    if strangers or twice:
        both = " and ".join(map(quoted_name, [*free, *twice, *strangers]))
        columns.refuse(f"{both} are texts and it is not said which is the prediction")


def _are_parts(cells: Mapping[str, Sequence[object]], name: str, others: tuple[str, ...]) -> bool:
    """Whether a column holds another section of the reports in ``others``, or the whole of which they are a section."""
    sections = PLAIN["findings"] | PLAIN["impression"]
    if all(plain_heading(one) in sections for one in (name, *others)):
        return True
    pairs = [
        (str(text).strip(), str(part).strip())
        for other in others
        for text, part in zip(cells[name], cells[other], strict=True)
        if not (is_empty(text) or is_empty(part))
    ]
    return all(part in text or text in part for text, part in pairs)


def _refuse_hints(columns: _Columns, free: tuple[str, ...]) -> None:
    """Refuse, beside a column that is the reference because nothing else is, one whose heading speaks of a reference."""
    strangers = [name for name in columns.unknown_texts if hints_at_reference(name)]
    if free and strangers:
        both = " and ".join(map(quoted_name, [*free, *strangers]))
        columns.refuse(f"{both} may both be the reference")


def _unknown_id(columns: _Columns, rows: Sequence[Row], texts: Sequence[str]) -> str | None:
    """A column of distinct short values, which may be the id; None if there is none."""
    known = columns.known | set(texts)
    for name in columns.headings:
        values = [str(row.get(name)).strip() for row in rows]
        numbered = name.strip() == "" or are_row_numbers(values)
        if name not in known and not numbered and len(set(values)) == len(values) and not is_text(values):
            return name
    return None
