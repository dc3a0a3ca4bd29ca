"""Generated reports that radiologists have rated, from the files that such studies come with.

ReXVal         50_samples_gt_and_candidates.csv, and 6_valid_raters_per_rater_error_categories.csv
RadEvalExpert  reader_study_final_with_annotations*.csv: ground_truth, images_path, prediction1..3, annotation1..3
RadPref        preference_data.json, and the folder with a file of ratings by each rater
RadJudge       test_cases.py: which of several reports must score higher
one's own      any file that ``main_score.py`` reads, with a reference, a generated report and a number in every row

The content decides which of them a file is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modules.corpus.cells import is_empty
from modules.corpus.tables import TABLE_ENDINGS, plain_heading, read_table_file
from modules.evaluation.ratings.counted_errors import read_rad_eval_expert, read_rexval
from modules.evaluation.ratings.direction import says_worse
from modules.evaluation.ratings.preferences import read_radjudge, read_radpref
from modules.evaluation.ratings.rated import Rated, finite_number
from modules.evaluation.reading.leftovers import check_texts
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError, require_file
from modules.records import read_json

ERRORS = ("errors", "num_errors", "total_errors", "significant_errors", "clinically_significant_errors", "error_count")
RATINGS = ("rating", "ratings", "radiologist_rating", "human_score", "quality")
_MAY_BE_RATINGS = ("score", "scores", "severity", "grade", "likert")
STAND_INS = (-999, -99, -9, -1, 99, 999, 9999)
MOST_POINTS = 10  # of usual scales
EXPERT = ("ground_truth", "images_path", "prediction1", "annotation1")
RADPREF = ("id", "ground_truth_report", "C1_report", "C2_report")


def read_rated(
    path: str | Path,
    raters: str | Path | None = None,
    significant: bool = False,
    rating: str | None = None,
    larger: str | None = None,
) -> Rated:
    """Read rated reports in any of the layouts above.

    Args:
        path: the file with the reports.
        raters: ReXVal's table of errors, or RadPref's folder of ratings.
        significant: of errors, count the clinically significant ones alone.
        rating: heading of the numbers in a file of one's own; one of ``RATINGS`` or ``ERRORS`` if absent.
        larger: ``"better"`` or ``"worse"``, what a larger one of them is; what its heading says if absent.

    Raises:
        UserError: if the file is none of those, what belongs to it is missing, a number is none, all are the same, or it is not
            said whether a larger one is better.
    """
    path = require_file(path)
    content = read_json(path) if path.suffix == ".json" else None
    table = read_table_file(path, (*EXPERT, "gt_report")) if path.name.lower().endswith(TABLE_ENDINGS) else None
    headings = set(map(plain_heading, table.headings)) if table else set()
    if table and set(map(plain_heading, EXPERT)) <= headings:
        layout, read = "RadEvalExpert", lambda: read_rad_eval_expert(path, table, significant)
    elif raters is not None and Path(raters).is_file():
        layout, read = "ReXVal", lambda: read_rexval(path, Path(raters), significant)
    elif isinstance(content, list) and content and isinstance(content[0], dict) and set(RADPREF) <= set(content[0]):
        layout, read = "RadPref", lambda: read_radpref(path, content, raters)
    elif path.suffix == ".py" or (isinstance(content, list) and content and _is_category(content[0])):
        layout, read = "RadJudge", lambda: read_radjudge(path, content)
    else:
        layout, read = "a file of one's own", lambda: _own(path, rating, larger)
    _refuse_unread(path, layout, raters=raters, significant=significant, rating=rating, larger=larger)
    found = read()
    if not found.texts:
        raise UserError(f"{path}, read as {layout}, holds no rated report ({'; '.join(found.notes) or 'it is empty'})")
    if found.ratings is not None and np.ptp(found.ratings) == 0:
        raise UserError(
            f"all {len(found.texts)} reports of {path} have the same {found.name}: expected ratings that order them, give the others too"
        )
    check_texts([(path, [*found.texts, *found.references])])
    return found


def _refuse_unread(path: Path, layout: str, **given: object) -> None:
    """A flag that a layout does not read."""
    reads = {
        "ReXVal": ("raters", "significant"),
        "RadEvalExpert": ("significant",),
        "RadPref": ("raters",),
        "RadJudge": (),
    }
    for name, value in given.items():
        if value and name not in reads.get(layout, ("rating", "larger")):
            raise UserError(f"{path} is read as {layout}, of which --{name} says nothing: leave it out")


def _own(path: Path, rating: str | None, larger: str | None) -> Rated:
    file = read_report_file(path, section="both", columns=None)
    if file.references is None:
        raise UserError(f"{path} has no references beside the generated reports ({', '.join(file.headings)}): add them")
    if absent := [i for i, text in enumerate(file.references) if is_empty(text)]:
        raise UserError(
            f"{len(absent)} of {len(file.references)} rows of {path} have no reference, the first is row {absent[0] + 1}: a "
            "generated report is compared with one, so add them, or leave those rows out"
        )
    name = _heading(path, file.headings, rating)
    values = np.array([finite_number(path, name, row[name]) for row in file.rows])
    _refuse_stand_ins(path, name, values)
    worse = says_worse(name) if larger is None else larger == "worse"
    if worse is None:
        raise UserError(
            f"the heading {name!r} of {path} does not say whether a larger number is better: say it with --larger better or --larger worse"
        )
    notes = [f"a larger {name!r} is taken to be {'worse' if worse else 'better'}"]
    ids = next(iter(file.keys.values()), None)
    studies = file.references if ids is None else [one or str(i) for i, one in enumerate(ids)]
    if len(set(studies)) == len(studies) and _in_groups(file.references):
        studies = file.references
        notes.append("reports with one reference are taken to be of one study: every id stands once")
    rows_of: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(zip(studies, file.texts, file.references, strict=True)):
        rows_of.setdefault(key, []).append(row)
    if len(rows_of) < len(values):
        notes.append(f"{len(values)} ratings of {len(rows_of)} reports: the mean of a report is compared")
    means = np.array([values[rows].mean() for rows in rows_of.values()])
    texts, references = [text for _, text, _ in rows_of], [truth for _, _, truth in rows_of]
    return Rated(
        texts, references, [study for study, _, _ in rows_of], name, -means if worse else means,
        rows=[file.rows[rows[0]] for rows in rows_of.values()], notes=notes,
    )  # fmt: skip


def _heading(path: Path, headings: Sequence[str], rating: str | None) -> str:
    """The heading of the ratings, as the file writes it."""
    plain = {plain_heading(heading): heading for heading in headings}
    names = (rating,) if rating else (*RATINGS, *ERRORS)
    found = [plain[plain_heading(name)] for name in names if plain_heading(name) in plain]
    if found and not rating:  # what is no rating by its name, and may be one
        found += [heading for name, heading in plain.items() if name in _MAY_BE_RATINGS]
    if len(found) != 1:
        what = f"the ratings may be {' or '.join(found)}" if found else "no column of ratings is known"
        raise UserError(f"{path} has the columns {', '.join(headings)}: {what}; say which with --rating NAME")
    return found[0]


def _refuse_stand_ins(path: Path, name: str, values: np.ndarray) -> None:
    """Refuse numbers that programs write where there is none, such as -1 and 99, beside ratings of another range."""
    odd = np.isin(values, STAND_INS)
    usual = values[~odd]
    for value in sorted({float(value) for value in values[odd]}) if usual.size else ():
        if (value < 0 <= usual.min()) or (value > 0 and usual.max() <= MOST_POINTS):
            raise UserError(
                f"the column {name!r} of {path} holds {value:g} beside numbers from {usual.min():g} to {usual.max():g}, which may stand for "
                "no rating: leave those rows out"
            )


def _in_groups(references: Sequence[str]) -> bool:
    """Whether every reference stands in as many rows as every other, and in several: those of several systems."""
    sizes = Counter(references)
    return len(sizes) > 1 and len(set(sizes.values())) == 1 and len(sizes) < len(references)


def _is_category(value: object) -> bool:
    return isinstance(value, dict) and (isinstance(value.get("tests"), list) or "expected_ranking" in value)
