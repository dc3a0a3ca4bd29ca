"""Generated reports that radiologists have rated, from the files that such studies come with.

ReXVal         50_samples_gt_and_candidates.csv, and 6_valid_raters_per_rater_error_categories.csv
RadEvalExpert  reader_study_final_with_annotations*.csv: ground_truth, images_path, prediction1..3, annotation1..3
RadPref        preference_data.json, and the folder with a file of ratings by each rater
RadJudge       test_cases.py: which of several reports must score higher
one's own      any file that ``main_score.py`` reads, with a reference, a generated report and a number in every row

The content decides which of them a file is.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from modules.corpus.cells import is_empty
from modules.corpus.tables import TABLE_ENDINGS, plain_heading, read_table_file
from modules.evaluation.ratings.counted_errors import read_rad_eval_expert, read_rexval
from modules.evaluation.ratings.preferences import read_radjudge, read_radpref
from modules.evaluation.ratings.rated import Rated, finite_number
from modules.evaluation.reading.leftovers import check_texts
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError, require_file
from modules.records import read_json

ERRORS = ("errors", "num_errors", "total_errors", "significant_errors", "clinically_significant_errors", "error_count")
# A larger number of these is worse.
_WORSE = re.compile(
    r"(?<![a-z])(?:errors?(?![\W_]*free)|mistakes?|discrepan|sever|omission|missed|hallucinat|false|wrong|penalt|edits?|distance|cost|loss|ranks?|fail|harm|risk)(?!on)",
    re.IGNORECASE,
)
RATINGS = ("rating", "ratings", "radiologist_rating", "human_score", "quality")
EXPERT = ("ground_truth", "images_path", "prediction1", "annotation1")
RADPREF = ("id", "ground_truth_report", "C1_report", "C2_report")


def read_rated(
    path: str | Path, raters: str | Path | None = None, significant: bool = False, rating: str | None = None
) -> Rated:
    """Read rated reports in any of the layouts above.

    Args:
        path: the file with the reports.
        raters: ReXVal's table of errors, or RadPref's folder of ratings.
        significant: of errors, count the clinically significant ones alone.
        rating: heading of the numbers in a file of one's own; one of ``RATINGS`` or ``ERRORS`` if absent.

    Raises:
        UserError: if the file is none of those, what belongs to it is missing, or a number is none.
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
        layout, read = "a file of one's own", lambda: _own(path, rating)
    _refuse_unread(path, layout, raters=raters, significant=significant, rating=rating)
    found = read()
    if not found.texts:
        raise UserError(f"{path}, read as {layout}, holds no rated report ({'; '.join(found.notes) or 'it is empty'})")
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
        if value and name not in reads.get(layout, ("rating",)):
            raise UserError(f"{path} is read as {layout}, of which --{name} says nothing: leave it out")


def _own(path: Path, rating: str | None) -> Rated:
    file = read_report_file(path, section="both", columns=None)
    if file.references is None:
        raise UserError(f"{path} has no references beside the generated reports ({', '.join(file.headings)}): add them")
    if absent := [i for i, text in enumerate(file.references) if is_empty(text)]:
        raise UserError(
            f"{len(absent)} of {len(file.references)} rows of {path} have no reference, the first is row {absent[0] + 1}: a "
            "generated report is compared with one, so add them, or leave those rows out"
        )
    names = (rating,) if rating else (*RATINGS, *ERRORS)
    plain = {plain_heading(heading): heading for heading in file.headings}
    found = [plain[plain_heading(name)] for name in names if plain_heading(name) in plain]
    if len(found) != 1:
        what = f"the ratings may be {' or '.join(found)}" if found else "no column of ratings is known"
        raise UserError(f"{path} has the columns {', '.join(file.headings)}: {what}; say which with --rating NAME")
    values = np.array([finite_number(path, found[0], row[found[0]]) for row in file.rows])
    ids = next(iter(file.keys.values()), None)
    studies = file.references if ids is None else [name or str(i) for i, name in enumerate(ids)]
    sign, larger = (-1, "worse") if _WORSE.search(found[0]) else (1, "better")
    notes = [f"a larger {found[0]!r} is taken to be {larger}"]
    return Rated(file.texts, file.references, studies, found[0], sign * values, rows=list(file.rows), notes=notes)


def _is_category(value: object) -> bool:
    return isinstance(value, dict) and (isinstance(value.get("tests"), list) or "expected_ranking" in value)
