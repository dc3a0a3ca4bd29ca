"""Reports whose errors radiologists have counted: ReXVal and RadEvalExpert.

Source of the layouts: RadCliQ (Yu et al., 2023) and RadEval (Xu et al., 2025).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modules.corpus.cells import is_empty
from modules.corpus.tables import Table, plain_heading, read_table_file
from modules.evaluation.ratings.rated import Rated, finite_number
from modules.messages import UserError, quoted

REXVAL = ("study_number", "candidate_type", "error_category", "clinically_significant", "rater_index", "num_errors")
_YES, _NO = {"true", "1", "1.0"}, {"false", "0", "0.0"}
KINDS = 7  # of errors that RadEvalExpert's readers count, each of them significant and not
_SIDE = re.compile(r"[^a-z]*(?:clinically )?(in)?significant(?: errors)?[^a-z]*")
_COUNT = re.compile(r"\s*([1-7])[.)]\s*\S.*?[:=]\s*(\d{1,3})\s*[.;]?\s*")
_PATIENT = re.compile(r"(?:^|/)(p\d{8}|patient\d+)(?:/|$)")


def read_rexval(samples: Path, counts: Path, significant: bool) -> Rated:
    """Reports that four metrics retrieved for 50 studies, and the errors that radiologists counted in them."""
    reports, errors = read_table_file(samples, ("study_id", "gt_report")), read_table_file(counts, REXVAL)
    places = {name: errors.column([name]) for name in REXVAL}
    missing = [name for name, place in places.items() if place is None]
    truth = reports.column(["gt_report"])
    if missing or truth is None:
        raise UserError(
            f"{samples} and {counts} are not ReXVal's two tables: {', '.join(missing) or 'gt_report'} is missing"
        )
    rows = [{name: cells[place] for name, place in places.items() if place is not None} for _, cells in errors.body()]
    kinds = sorted({row["candidate_type"] for row in rows})
    numbers = sorted(
        {row["study_number"] for row in rows}, key=lambda text: finite_number(counts, "study_number", text)
    )
    body = [cells for _, cells in reports.body()]
    absent = [kind for kind in kinds if kind not in reports.headings]
    if absent or len(numbers) != len(body):
        raise UserError(
            f"{counts} counts the errors of {len(numbers)} studies in {', '.join(kinds)} and {samples} has {len(body)} studies with "
            f"{', '.join(reports.headings)}; expected the same: give the two files of one release"
        )
    numbers = _in_order_of(reports, body, numbers, samples, counts)
    raters = _raters_of(rows)
    if lacking := [f"study {number} in {kind}" for number in numbers for kind in kinds if (number, kind) not in raters]:
        raise UserError(
            f"{counts} has no row of {', '.join(lacking)[:100]}: a report that nobody rated has not 0 errors, so give the whole table"
        )
    _check_counts(counts, rows, significant)
    sums: dict[tuple[str, str], float] = {}
    for row in rows:
        if not significant or row["clinically_significant"].casefold() in _YES:
            key = (row["study_number"], row["candidate_type"])
            sums[key] = sums.get(key, 0.0) + finite_number(counts, "num_errors", row["num_errors"])
    found = Rated([], [], [], "significant errors" if significant else "errors")
    values = []
    for number, cells in zip(numbers, body, strict=True):
        for kind in kinds:
            found.texts.append(cells[reports.headings.index(kind)])
            found.references.append(cells[truth])
            found.studies.append(number)
            values.append(-sums.get((number, kind), 0.0) / len(raters[number, kind]))
    found.ratings = np.array(values)
    return found


def _check_counts(counts: Path, rows: Sequence[Mapping[str, str]], significant: bool) -> None:
    """Check that every rater of a report counts the errors of all kinds, once each: where zeros are written, a count that is not there is none.

    Raises:
        UserError: naming the first count that is missing, stands twice, is below 0, or of which it is not said whether it is significant.
    """
    said = {row["clinically_significant"].casefold() for row in rows}
    if odd := sorted(said - {*_YES, *_NO}):
        raise UserError(
            f"{counts} holds {quoted(odd[0])} under clinically_significant; expected True or False: correct it"
        )
    if not significant and said <= _YES:
        raise UserError(f"{counts} counts clinically significant errors alone: give --significant, or the whole table")
    given: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
    for row in rows:
        rated = (row["study_number"], row["candidate_type"], row["rater_index"])
        kind = (row["error_category"], row["clinically_significant"])
        where = f"errors of category {kind[0]} (significant: {kind[1]}) in {rated[1]} of study {rated[0]} by rater {rated[2]}"
        if kind in given.setdefault(rated, set()):
            raise UserError(f"{counts} counts the {where} twice: remove one of them")
        if finite_number(counts, "num_errors", row["num_errors"]) < 0:
            raise UserError(f"{counts} holds {row['num_errors']} {where}; expected 0 or more: correct it")
        given[rated].add(kind)
    every = set().union(*given.values()) if any(float(row["num_errors"]) == 0 for row in rows) else set()
    for (number, candidate, rater), kinds in given.items():
        if lacking := sorted(every - kinds):
            raise UserError(
                f"{counts} does not count the errors of category {lacking[0][0]} (significant: {lacking[0][1]}) in {candidate} of study {number} by rater "
                f"{rater}: a count that is not there is not 0, so give the whole table"
            )


def _raters_of(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], set[str]]:
    """Who rated each report, by study and kind."""
    by: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        by.setdefault((row["study_number"], row["candidate_type"]), set()).add(row["rater_index"])
    return by


def _in_order_of(
    reports: Table, body: Sequence[Sequence[str]], numbers: Sequence[str], samples: Path, counts: Path
) -> list[str]:
    """The numbers of the studies as the rows of the reports have them: by their ids, or from 0 or 1 row by row."""
    place = reports.column(["study_number", "study_id"])
    ids = [] if place is None else [cells[place] for cells in body]
    if sorted(ids) == sorted(numbers):
        return ids
    values = [finite_number(counts, "study_number", text) for text in numbers]
    if values[0] not in (0, 1) or values != [values[0] + row for row in range(len(values))]:
        raise UserError(
            f"{counts} numbers its studies {', '.join(numbers)[:80]}; expected the numbers of the rows of {samples}, from 0 or from 1 "
            "without a gap: give the two files of one release"
        )
    return list(numbers)


def read_rad_eval_expert(path: Path, table: Table, significant: bool) -> Rated:
    """Three reports of every section of a study, and beside each a text in which a radiologist counts its errors."""
    found = Rated([], [], [], "significant errors" if significant else "errors")
    names = {plain_heading(name): i for i, name in enumerate(table.headings)}
    counts: dict[tuple[str, str, int, str], list[int]] = {}  # of every radiologist who read the report
    without = 0
    for _, cells in table.body():
        film, truth = cells[names["imagespath"]], cells[names["groundtruth"]]
        for slot in (1, 2, 3):
            text, said = (
                cells[names[f"{name}{slot}"]] if f"{name}{slot}" in names else ""
                for name in ("prediction", "annotation")
            )
            count = _errors_in(said, significant)
            if count is None or is_empty(text) or is_empty(truth):
                without += bool(text.strip() or said.strip())
                continue
            counts.setdefault((film, truth, slot, text), []).append(count)
    for film, truth, _, text in counts:
        patient = _PATIENT.search(film)
        found.texts.append(text)
        found.references.append(truth)
        found.studies.append(patient[1] if patient else film)
    found.ratings = np.array([-np.mean(several) for several in counts.values()], dtype=np.float64)
    rated = sum(map(len, counts.values()))
    if len(counts) < rated:
        found.notes.append(f"{rated} counts of {len(counts)} reports: the mean of a report is compared")
    if without:
        found.notes.append(
            f"{without} reports are left out: an error is not counted in all {KINDS} kinds, or a text is empty"
        )
    return found


def _errors_in(said: str, significant: bool) -> int | None:
    """Errors that a text counts: below ``Significant`` and ``Insignificant`` a line for each kind, ``1. Omission: 2``.

    A kind without a number, or with two, leaves the sum unknown: None, not 0.
    """
    counts: dict[tuple[bool, int], int | None] = {}
    side = None
    for line in said.splitlines():
        if heading := _SIDE.fullmatch(line.casefold()):
            side = not heading[1]
        elif (kind := _COUNT.fullmatch(line)) and side is not None:
            key = (side, int(kind[1]))
            counts[key] = None if key in counts else int(kind[2])
    wanted = [
        counts.get((side, kind)) for side in ((True,) if significant else (True, False)) for kind in range(1, KINDS + 1)
    ]
    return None if None in wanted else sum(number for number in wanted if number is not None)
