"""Which column of somebody's file holds the generated reports, which the references, which the ids: never a guess.

A heading decides by its name, whatever its case, blanks and marks. ``report``, ``findings`` and ``impression`` are
references where generated reports stand beside them, and generated only where they stand alone. What the names do not
decide is refused with the headings and the flag that decides, ``--columns prediction=... reference=... id=...``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.corpus.cells import is_empty
from modules.corpus.tables import plain_heading
from modules.evaluation.reading.column_values import holds_classes, is_list, is_numbered, is_text
from modules.evaluation.reading.headings import (
    ASIDE,
    FINDINGS,
    IMPRESSION,
    NAMES,
    hints_at_reference,
    is_known,
    side_of,
)
from modules.messages import UserError, quoted_name, shown_headings

SECTIONS = ("findings", "impression", "both")
_PARTS = SECTIONS[:2]

Row = Mapping[str, object]


@dataclass(frozen=True)
class Roles:
    """Headings by role: ``text`` what the file is read for (two for findings and impression), ``reference`` beside it."""

    text: tuple[str, ...]
    reference: tuple[str, ...]
    ids: tuple[str, ...]
    whole: str | None = None
    retrieved: str | None = None


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
    headings, columns, named = _look_at(rows)
    given = _checked(path, headings, given or {})
    _add_composed(headings, columns, named)
    named["reference"] = _texts_of(named, columns)
    named["generated"] = [name for name in named["generated"] if any(not is_list(value) for value in columns[name])]
    for side in ("reference",) if wanted == "reference" else ("generated", "reference"):
        if not given.get("prediction" if side == "generated" else "reference"):
            named[side] = _of_section(path, headings, named[side], section)
    every = _neutral(named, section)
    neutral = tuple(name for name in every if name not in given.values())
    if wanted == "reference":
        if not neutral and not any(is_text(columns[name]) for name in headings if name not in every):
            neutral = every  # its only text: what is called so in the other file was meant
        if "reference" not in given and not named["reference"]:
            _refuse_hints(path, headings, columns, named, neutral)
        text = _one(
            path, headings, given.get("reference"), named["reference"], neutral, "reference", named["generated"]
        )
        reference: tuple[str, ...] = ()
    else:
        if "reference" not in given and not named["reference"] and (named["generated"] or "prediction" in given):
            _refuse_hints(path, headings, columns, named, neutral)
        if "prediction" not in given and not named["generated"] and neutral and "reference" not in given:
            _refuse_strangers(path, headings, columns, named, neutral)
        text = _one(
            path, headings, given.get("prediction"), named["generated"], neutral, "prediction", named["reference"]
        )
        beside = () if text == neutral else neutral
        reference = (given["reference"],) if "reference" in given else _reference_beside(path, headings, named, beside)
        reference = () if reference == text else reference  # named for both sides: the other one stands in another file
    ids = (given["id"],) if "id" in given else tuple(name for name in named["ids"] if name not in (*text, *reference))
    if not ids:
        _refuse_unknown_ids(path, headings, rows, named, (*text, *reference))
    return Roles(text, reference, ids, *(next(iter(named[name]), None) for name in ("whole", "retrieved")))


def _look_at(rows: Sequence[Row]) -> tuple[list[str], dict[str, list[object]], dict[str, list[str]]]:
    """The headings of some rows, their first cells by heading, and the headings that are known, by what they are."""
    headings = list(dict.fromkeys(heading for row in rows[:1000] for heading in row))
    columns = {heading: [row.get(heading) for row in rows[:200]] for heading in headings}
    return headings, columns, {name: _named(headings, names) for name, names in NAMES.items()}


def _named(headings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Headings that are one of ``names``, in the order of ``names``."""
    plain = {plain_heading(name): number for number, name in reversed(list(enumerate(names)))}
    found = [heading for heading in headings if plain_heading(heading) in plain]
    return sorted(found, key=lambda heading: plain[plain_heading(heading)])


def _texts_of(named: Mapping[str, list[str]], columns: Mapping[str, Sequence[object]]) -> list[str]:
    """The headings of references without those of labels, and of classes (``target``) beside which a text stands."""
    texts = [
        name
        for kind in ("reference", "report", "findings", "impression")
        for name in named[kind]
        if is_text(columns[name])
    ]
    return [
        name
        for name in named["reference"]
        if name in texts or not (plain_heading(name).startswith("label") or (texts and holds_classes(columns[name])))
    ]


def _of_section(path: Path, headings: Sequence[str], names: list[str], section: str) -> list[str]:
    """Of columns whose names say which section they hold, those of the wanted one; for both, the two or neither."""
    names = sorted(names, key=lambda name: "impression" in plain_heading(name))  # findings first, as they are joined
    parts = {name: next((part for part in _PARTS if part in plain_heading(name)), None) for name in names}
    kept = [name for name, part in parts.items() if part in (None, section) or section == "both"]
    alone = section == "both" and len(names) == 1 and parts[names[0]]
    if names and (alone or not kept):
        held = " and ".join(map(quoted_name, names))
        _refuse(path, headings, f"{held} hold another section than --section {section}")
    return kept


def _are_both(names: Sequence[str]) -> bool:
    """Whether two columns hold the findings and the impression of one report."""
    return len(names) == 2 and all(part in plain_heading(name) for part, name in zip(_PARTS, names, strict=True))


def _neutral(named: Mapping[str, list[str]], section: str) -> tuple[str, ...]:
    """The columns that are references or generated according to what stands beside them; two are one report."""
    findings, impression, report = (named[name][:1] for name in ("findings", "impression", "report"))
    if section == "both":
        return tuple(report or [*findings, *impression])
    return tuple((findings if section == "findings" else impression) or report)


def _one(
    path: Path,
    headings: Sequence[str],
    given: str | None,
    sure: Sequence[str],
    neutral: tuple[str, ...],
    what: str,
    opposite: Sequence[str],
) -> tuple[str, ...]:
    """The column that the file is read for."""
    if given is not None:
        return (given,)
    if _are_both(sure):
        return tuple(sure)
    if len(sure) > 1:
        _refuse(path, headings, f"{' and '.join(map(quoted_name, sure))} may both be the {what}")
    if sure:
        return (sure[0],)
    if neutral:
        return neutral
    held = f"only {'generated reports' if what == 'reference' else 'references'}" if opposite else "no known heading"
    if other := [] if opposite else [quoted_name(name) for name in headings if side_of(name) in _PARTS]:
        held = f"{' and '.join(other)}, another section than --section says,"
    _refuse(path, headings, f"it holds {held} where a {what} is expected")
    return ()


def _reference_beside(
    path: Path, headings: Sequence[str], named: Mapping[str, list[str]], neutral: tuple[str, ...]
) -> tuple[str, ...]:
    if len(named["reference"]) > 1 and not _are_both(named["reference"]):
        _refuse(path, headings, f"{' and '.join(map(quoted_name, named['reference']))} may both be the reference")
    if neutral and named["reference"] and all(plain_heading(name).startswith("label") for name in named["reference"]):
        both = " and ".join(map(quoted_name, [*named["reference"], *neutral]))
        _refuse(path, headings, f"{both} are texts and may both be the reference")
    return tuple(named["reference"]) or neutral


def unknown_texts(rows: Sequence[Row]) -> list[str]:
    """Headings of the texts of some rows that are neither known nor put together from known words."""
    return [name for name in _unknown(*_look_at(rows)) if side_of(name) is None]


def _add_composed(
    headings: Sequence[str], columns: Mapping[str, Sequence[object]], named: dict[str, list[str]]
) -> None:
    """Add the texts whose headings are put together from known words to the names that say the same."""
    reports, known = [], _known(headings, named)
    for heading in headings:
        side, values = side_of(heading), columns[heading]
        of_section = side in named and any(
            part in plain_heading(heading) for part in _PARTS
        )  # also where all say one word
        if heading in known or not (is_text(values) or (of_section and not holds_classes(values))):
            continue
        if side in ("generated", "reference"):
            named[side].append(heading)
        elif side is not None:
            reports.append((side, heading))
    if len(reports) == 1 and not (named["report"] or named["findings"] or named["impression"]):
        side, heading = reports[0]
        named[side].append(heading)


def _unknown(
    headings: Sequence[str], columns: Mapping[str, Sequence[object]], named: Mapping[str, list[str]]
) -> list[str]:
    """Columns of texts of which nobody knows what they are."""
    known = _known(headings, named)
    return [name for name in headings if name not in known and is_text(columns[name])]


def _known(headings: Sequence[str], named: Mapping[str, list[str]]) -> set[str]:
    return {name for names in named.values() for name in names} | set(_named(headings, ASIDE))


def _refuse_strangers(
    path: Path,
    headings: Sequence[str],
    columns: Mapping[str, Sequence[object]],
    named: Mapping[str, list[str]],
    neutral: tuple[str, ...],
) -> None:
    """A second text column that nobody knows may be the generated one."""
    strangers = _unknown(headings, columns, named)
    others = [name for kind in ("report", "findings", "impression") for name in named[kind] if name not in neutral]
    twice = [name for name in others if is_text(columns[name]) and not _are_parts(columns, name, neutral)]
    if strangers or twice:
        both = " and ".join(map(quoted_name, [*neutral, *twice, *strangers]))
        _refuse(path, headings, f"{both} are texts and it is not said which is the prediction")


def _are_parts(columns: Mapping[str, Sequence[object]], name: str, neutral: tuple[str, ...]) -> bool:
    """Whether a column holds another section of the reports, or the whole of which they are a section."""
    if {plain_heading(one) in map(plain_heading, (*FINDINGS, *IMPRESSION)) for one in (name, *neutral)} == {True}:
        return True
    pairs = [
        (str(text), str(part))
        for one in neutral
        for text, part in zip(columns[name], columns[one], strict=True)
        if not (is_empty(text) or is_empty(part))
    ]
    return all(part.strip() in text or text.strip() in part for text, part in pairs)


def _refuse_hints(
    path: Path,
    headings: Sequence[str],
    columns: Mapping[str, Sequence[object]],
    named: Mapping[str, list[str]],
    neutral: tuple[str, ...],
) -> None:
    """Beside a column that is the reference because nothing else is, one whose heading speaks of a reference."""
    strangers = [name for name in _unknown(headings, columns, named) if hints_at_reference(name)]
    if neutral and strangers:
        both = " and ".join(map(quoted_name, [*neutral, *strangers]))
        _refuse(path, headings, f"{both} may both be the reference")


def _refuse_unknown_ids(
    path: Path, headings: Sequence[str], rows: Sequence[Row], named: Mapping[str, list[str]], texts: Sequence[str]
) -> None:
    """A column of distinct short values may be an id: rows must then not be taken by order."""
    known = _known(headings, named) | set(texts)
    for name in headings:
        values = [str(row.get(name)).strip() for row in rows]
        numbered = name.strip() == "" or is_numbered(values)
        if name not in known and not numbered and len(set(values)) == len(values) and not is_text(values):
            _refuse(path, headings, f"{quoted_name(name)} may be the id and is not known")


def _checked(path: Path, headings: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """``--columns`` with the headings as the file writes them; roles whose column another file has are left out."""
    found = {}
    for role, name in given.items():
        same = [heading for heading in headings if plain_heading(heading) == plain_heading(name)]
        if same:
            found[role] = name if name in same else same[0]
    return found


def _refuse(path: Path, headings: Sequence[str], why: str) -> None:
    shown = shown_headings(headings, any(map(is_known, headings)))[:300]
    raise UserError(
        f"{path} {'begins with' if ' heading' in shown else 'has the columns'} {shown}: {why}; say which is which with "
        "--columns prediction=NAME reference=NAME id=NAME"
    )
