"""Which row of one file of reports belongs to which of another: by their ids, or by order where that is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from modules.corpus.cells import is_empty
from modules.corpus.text import normalise_whitespace
from modules.evaluation.reading.counters import count_up
from modules.evaluation.reading.report_files import ReportFile
from modules.evaluation.reading.row_order import speaks_for_order
from modules.evaluation.reading.study_ids import (
    both_count_rows,
    disagreeing,
    numbering_conflict,
    pair_rows,
    repeated_id,
    written_id,
)
from modules.messages import UserError, quoted_name

LONG = 80  # letters; an id of more is a text


def study_names(file: ReportFile) -> list[str]:
    """What the studies of a file are called: their ids as they are written there, or the numbers of their rows.

    Other programs find their studies by them, so that nothing is folded that is folded where ids are compared.
    """
    if not file.keys:
        return [str(number) for number in range(1, len(file.texts) + 1)]
    heading, ids = next(iter(file.keys.items()))
    rows = zip(ids, file.rows, strict=True)
    return [
        str(number) if value is None else written_id(row[heading]) for number, (value, row) in enumerate(rows, start=1)
    ]


def find_references(
    systems: Mapping[str, ReportFile], references: ReportFile | None, *, by_order: bool = False, named_ids: bool = False
) -> tuple[ReportFile, list[str]]:
    """The file whose rows are the studies, and the reference of every row.

    Raises:
        UserError: if there are no references, an id stands twice beside them, or those of two systems differ.
    """
    if references is not None:
        _check_ids(references)
        return references, references.texts
    carrying = [(name, system) for name, system in systems.items() if system.references is not None]
    if not carrying:
        verb = "carries" if len(systems) == 1 else "carry"
        raise UserError(
            f"{', '.join(systems)} {verb} no references{_headings_of(systems)}: give them with --references (CSV, JSONL, JSON or "
            "annotation file), or name their column with --columns reference=NAME"
        )
    (first, file), *others = carrying
    _check_ids(file)
    texts = references_beside(file)
    for name, other in others:
        theirs = references_beside(other)
        for i, row in enumerate(rows_of(name, other, file, [], by_order=by_order, named_ids=named_ids)):
            if row is not None and normalise_whitespace(theirs[row]) != normalise_whitespace(texts[i]):
                raise UserError(
                    f"the references of study {study_names(file)[i]} differ between {first} and {name}: give one with "
                    "--references"
                )
    return file, texts


def _headings_of(systems: Mapping[str, ReportFile]) -> str:
    """The headings of files that hold more than ids and generated reports."""
    said = {name: [*map(quoted_name, file.headings)] for name, file in systems.items() if len(file.headings) > 2}
    return "".join(f" ({name} has the columns {', '.join(headings)[:200]})" for name, headings in said.items())


def references_beside(system: ReportFile) -> list[str]:
    """The references in a file of predictions, uncut where it has them so."""
    assert system.references is not None
    whole = system.whole or [""] * len(system.texts)
    return [full or cut for full, cut in zip(whole, system.references, strict=True)]


def _check_ids(file: ReportFile) -> None:
    """Refuse ids that stand twice, however they are read."""
    twice = repeated_id(file.keys)
    if twice is None:
        return
    if len(twice) > LONG:
        raise UserError(
            f"{file.path} repeats {twice[:LONG]!r}... in its column of ids; expected a name of every study: say which column "
            "holds them with --columns id=NAME, or exchange the headings"
        )
    rounded = re.fullmatch(r"\d(\.\d+)?[eE]\+?\d+", twice)  # 5.04143E+07: both studies are wanted
    mend = "a spreadsheet rounded the ids, give the file it was made from" if rounded else "remove one of them"
    raise UserError(f"{file.path} repeats study {twice}; expected every study once: {mend}")


def rows_of(
    name: str,
    system: ReportFile,
    truth: ReportFile,
    notes: list[str],
    *,
    by_order: bool = False,
    named_ids: bool = False,
) -> list[int | None]:
    """The row of a system's report for every study.

    Args:
        name: of the system.
        system: its reports.
        truth: whose rows are the studies.
        notes: what is to be said is added.
        by_order: take the rows in their order, whatever ids they have.
        named_ids: the user has named the column of the ids, so that numbers in it are ids.

    Raises:
        UserError: if ids are missing, stand twice or may be row numbers; if rows without ids do not fit each other; or if hardly
            any study is in both files.
    """
    if system is truth:
        return list(range(len(truth.texts)))
    if not by_order:
        _refuse_unknown_ids(system, truth)
    without_ids = system.ordered or truth.ordered or not (system.keys or truth.keys)
    if by_order or without_ids:
        _check_order(system, truth, by_order)
        notes.append(f"{name} is matched with its references by order")
        return list(range(len(truth.texts)))
    for file, other in ((system, truth), (truth, system)):
        if not file.keys:
            raise UserError(
                f"{file.path} has no ids and {other.path} has: name its column with "
                "--columns id=NAME, or give --by_order if the rows of both are the same studies in the same order"
            )
    _check_ids(system)
    ids = next(iter(system.keys.values()))
    if all(None in values for values in system.keys.values()):
        raise UserError(
            f"{system.path} has no id for its report {ids.index(None) + 1} of {len(ids)}; expected one of every report: add it"
        )
    rows, ours, theirs = pair_rows(system.keys, truth.keys)
    _check_pairs(system, truth, rows)
    if not ours:
        return rows
    if not named_ids:
        _check_chance(system, truth, rows, (ours, theirs))
    _note_how(name, system, truth, rows, (ours, theirs), notes)
    return rows


def _refuse_unknown_ids(*files: ReportFile) -> None:
    """Refuse a column that may hold the ids of rows that are to be found in another file; texts in one row need none."""
    for file in files:
        if file.maybe_id is not None:
            raise UserError(
                f"{quoted_name(file.maybe_id)} of {file.path} may be the id and is not known: name the column of ids with --columns id=NAME, or "
                "give --by_order if the rows of both are the same studies in the same order"
            )


def _check_order(system: ReportFile, truth: ReportFile, by_order: bool) -> None:
    """Refuse rows that cannot be matched by their order: ``--by_order`` says that they can, in so far as they are as many."""
    if not (by_order or system.ordered or truth.ordered):
        raise UserError(
            f"neither {system.path} nor {truth.path} has ids: name their column with --columns id=NAME, or give --by_order if the rows of both "
            "are the same studies in the same order"
        )
    if len(system.texts) != len(truth.texts):
        raise UserError(
            f"{system.path} has {len(system.texts)} reports and {truth.path} {len(truth.texts)}, and they are matched "
            "by order; expected as many of each: add ids"
        )
    if by_order:
        return
    references = _references_of(truth)
    empty = [[row for row, text in enumerate(side) if is_empty(text)] for side in (system.texts, references)]
    if empty[0] and empty[0] == empty[1]:
        why = f"have no text in the same rows, first {empty[0][0] + 1}: a report of several lines would be scored line by line"
    elif not speaks_for_order(system.texts, references):
        why = "are matched by order, and the reports are not nearer to their own references than to those of other rows"
    else:
        return
    raise UserError(
        f"{system.path} and {truth.path} {why}; give ids, or --by_order if the rows of both are the same studies in the same order"
    )


def _check_pairs(system: ReportFile, truth: ReportFile, rows: Sequence[int | None]) -> None:
    """Refuse one report beside references that differ: they are of one patient perhaps, and not of one study."""
    if all(row is None for row in rows):
        _refuse_several(system, truth)
    first: dict[int, str] = {}  # reference that stood beside a report first
    for row, reference in zip(rows, _references_of(truth), strict=True):
        if row is None or is_empty(reference):
            continue
        text = normalise_whitespace(reference)
        if first.setdefault(row, text) != text:
            raise UserError(
                f"{truth.path} has references of {quoted_name(study_names(system)[row])} that differ, and {system.path} one report: give a report of "
                "every reference, with the same ids, or one reference of every study"
            )


def _note_how(
    name: str,
    system: ReportFile,
    truth: ReportFile,
    rows: Sequence[int | None],
    by: tuple[str, str],
    notes: list[str],
) -> None:
    """Say by which columns the rows of two files were matched, where it is not plain."""
    ours, theirs = by
    found = [row for row in rows if row is not None]
    if by != (next(iter(system.keys)), next(iter(truth.keys))):
        notes.append(f"{name} is matched by {ours} = {theirs} of {truth.path.name}")
    if len(found) > 1 and both_count_rows(system.keys[ours], truth.keys[theirs]):
        notes.append(
            f"{name}: the ids of both files are the numbers of their rows, so that studies are matched by their order"
        )
    if len(found) > len(set(found)):
        notes.append(f"{name}: {len(set(found))} reports of studies count for each of their {len(found)} images")


def _refuse_several(system: ReportFile, truth: ReportFile) -> None:
    """Refuse several reports of one study: which of them is scored is not known."""
    studies = {value for values in truth.keys.values() if _one_reference(truth, values) for value in values if value}
    for name, values in system.keys.items():
        known = [value for value in values if value is not None]
        twice = next((value for value in known if value in studies and known.count(value) > 1), None)
        if twice is not None and studies.issuperset(known):
            raise UserError(
                f"{system.path} has several reports of study {twice} (by {name}) and {truth.path} one: give one report a study, or "
                "references of every image"
            )


def _one_reference(truth: ReportFile, values: Sequence[str | None]) -> bool:
    """Whether each value stands beside one reference: ``study1`` of many patients does not."""
    said: dict[str | None, str] = {}
    pairs = zip(values, _references_of(truth), strict=True)
    return all(said.setdefault(value, text) == text for value, text in pairs if value is not None)


def _order_conflict(
    system: ReportFile, truth: ReportFile, rows: Sequence[int | None], by: tuple[str, str]
) -> str | None:
    """Why rows may belong together otherwise than by the ids that were compared, None if nothing speaks for it."""
    ours, theirs = by
    other = disagreeing(system.keys, truth.keys, rows)
    if other is not None:
        return f"the columns {quoted_name(ours)} and {quoted_name(other)} bring other rows together"
    counted = [count_up(file.keys[name]) for file, name in ((system, ours), (truth, theirs))]
    if not any(counted):
        return None
    matched = [row for row in rows if row is not None]
    references = [text for row, text in zip(rows, _references_of(truth), strict=True) if row is not None]
    if system.references is not None:
        every = references_beside(system)
        if [normalise_whitespace(every[row]) for row in matched] == list(map(normalise_whitespace, references)):
            return None
    if speaks_for_order([system.texts[row] for row in matched], references):
        return None
    numbers = "the ids of both are the numbers of their rows" if all(counted) else "the ids of one count its rows"
    return f"{numbers}, and the reports are not nearer to their own references than to others"


def _references_of(truth: ReportFile) -> list[str]:
    return truth.texts if truth.references is None else references_beside(truth)


def _check_chance(system: ReportFile, truth: ReportFile, rows: Sequence[int | None], by: tuple[str, str]) -> None:
    """Refuse ids that may agree by chance: ``rows`` are those that the columns ``by`` bring together."""
    ours, theirs = by
    matched = len(set(rows) - {None})
    conflict = numbering_conflict(system.keys[ours], truth.keys[theirs]) or _order_conflict(system, truth, rows, by)
    if conflict is None and 2 * matched < min(len(system.texts), len(truth.texts)):
        conflict = f"only {matched} of {len(system.texts)} and {len(truth.texts)} studies have the same id"
    if conflict:
        raise UserError(
            f"{system.path} and {truth.path} may not name the same studies alike ({conflict}): confirm the ids with --columns "
            "id=NAME, or give --by_order if the rows of both are the same studies in the same order"
        )
