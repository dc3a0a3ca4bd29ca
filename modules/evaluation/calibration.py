"""Do metrics order reports as radiologists do? Kendall's tau-b of every metric with their ratings, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modules.corpus.tables import plain_heading, read_table_file
from modules.evaluation.report_files import ReportFile, read_report_file
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import Labeler
from modules.messages import UserError

ERRORS = ("errors", "num_errors", "total_errors", "significant_errors", "clinically_significant_errors", "error_count")
REXVAL = ("study_number", "candidate_type", "error_category", "clinically_significant", "rater_index", "num_errors")
RATINGS = ("rating", "ratings", "radiologist_rating", "human_score", "quality")


def read_ratings(path: str | Path, rating: str | None = None) -> tuple[ReportFile, np.ndarray, str]:
    """Pairs of reports with a rating each.

    Args:
        path: any file that ``main_score.py`` reads, with a reference, a generated report and a number in every row.
        rating: heading of the numbers; one of ``RATINGS`` or ``ERRORS`` if absent.

    Returns:
        The reports, ratings ``(n,)`` of which larger is better (counts of errors are negated), and their heading.

    Raises:
        UserError: if there is no such column, no reference, or a cell that is no number.
    """
    file = read_report_file(path, section="both", columns=None)
    if file.references is None:
        raise UserError(f"{path} has no references beside the generated reports ({', '.join(file.headings)}): add them")
    names = (rating,) if rating else (*RATINGS, *ERRORS)
    plain = {plain_heading(heading): heading for heading in file.headings}
    found = [plain[plain_heading(name)] for name in names if plain_heading(name) in plain]
    if len(found) != 1:
        what = f"the ratings may be {' or '.join(found)}" if found else "no column of ratings is known"
        raise UserError(f"{path} has the columns {', '.join(file.headings)}: {what}; say which with --rating NAME")
    try:
        values = np.array([float(str(row[found[0]])) for row in file.rows])
    except ValueError as error:
        raise UserError(f"the column {found[0]!r} of {path} holds no number ({error}): correct it") from error
    errors = "error" in found[0].lower()
    return file, -values if errors else values, found[0]


def read_rexval(samples: str | Path, counts: str | Path, significant: bool) -> tuple[ReportFile, np.ndarray, str]:
    """ReXVal: reports that four metrics retrieved for 50 studies, and the errors that radiologists counted in them.

    Args:
        samples: ``50_samples_gt_and_candidates.csv``: study_id, gt_report and a column of reports for each metric.
        counts: ``6_valid_raters_per_rater_error_categories.csv``: study_number, candidate_type, error_category,
            clinically_significant, rater_index, num_errors.
        significant: count the clinically significant errors alone.

    Returns:
        As :func:`read_ratings`; the rating is the negated mean over the raters of the errors in a report.

    Raises:
        UserError: if a column is missing, or a report has no counts.
    """
    reports, errors = read_table_file(samples, ("study_id", "gt_report")), read_table_file(counts, REXVAL)
    places = {name: errors.column([name]) for name in REXVAL}
    missing = [name for name, place in places.items() if place is None]
    if missing or reports.column(["gt_report"]) is None:
        raise UserError(
            f"{samples} and {counts} are not ReXVal's two tables: {', '.join(missing) or 'gt_report'} is missing"
        )
    rows = [{name: cells[place] for name, place in places.items() if place is not None} for _, cells in errors.body()]
    raters = {row["rater_index"] for row in rows}
    wanted = [row for row in rows if not significant or row["clinically_significant"].casefold() in ("true", "1")]
    kinds = sorted({row["candidate_type"] for row in rows})
    numbers = sorted({row["study_number"] for row in rows}, key=float)
    body = [dict(zip(reports.headings, cells, strict=True)) for _, cells in reports.body()]
    absent = [kind for kind in kinds if kind not in reports.headings]
    if absent or len(numbers) != len(body):
        raise UserError(
            f"{counts} counts the errors of {len(numbers)} studies in {', '.join(kinds)} and {samples} has {len(body)} studies with "
            f"{', '.join(reports.headings)}; expected the same: give the two files of one release"
        )
    sums: dict[tuple[str, str], float] = {}
    for row in wanted:
        key = (row["study_number"], row["candidate_type"])
        sums[key] = sums.get(key, 0.0) + float(row["num_errors"])
    gt = reports.headings[int(reports.column(["gt_report"]) or 0)]
    pairs = [(number, row, kind) for number, row in zip(numbers, body, strict=True) for kind in kinds]
    file = ReportFile(Path(samples), [row[kind] for _, row, kind in pairs], [row[gt] for _, row, _ in pairs])
    values = np.array([sums.get((number, kind), 0.0) / len(raters) for number, _, kind in pairs])
    return file, -values, "significant errors" if significant else "errors"


def tau_b(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of two orders ``(n,)`` in every row of ``weights`` ``(R, n)``, how often each pair was drawn.

    Source: Kendall, 1945; 0 where one of the orders is constant.
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]  # (n, n)
    products = (signs[0] * signs[1], signs[0] ** 2, signs[1] ** 2)
    both, left, right = (np.einsum("rn,nm,rm->r", weights, product, weights, optimize=True) for product in products)
    return np.divide(both, np.sqrt(left * right), out=np.zeros(len(weights)), where=left * right > 0)


def calibrate(
    file: ReportFile, ratings: np.ndarray, labeler: Labeler, *, meteor: bool, resamples: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Tau-b with its 95 % interval by metric, the highest first; metrics that are constant are left out."""
    assert file.references is not None
    scorer = ReportScorer(file.references, labeler, published=False)
    each = scorer.systems({"rated": file.texts}, meteor)["rated"].per_study
    rng, n = np.random.default_rng(seed), len(ratings)
    drawn = np.array([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples)], dtype=np.float64)
    found = {}
    for name, values in each.items():
        if np.ptp(values) > 0:
            low, high = np.quantile(tau_b(values, ratings, drawn), [0.025, 0.975])
            found[name] = (float(tau_b(values, ratings, np.ones((1, n)))[0]), float(low), float(high))
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def calibration_lines(found: Mapping[str, Sequence[float]], rating: str, pairs: int) -> list[str]:
    """The result as text, one metric a line."""
    head = f"Kendall tau-b with {rating!r} over {pairs} rated reports [95 % interval, bootstrap over reports]"
    return [head, *(f"  {name:34s} {tau:+.3f}  [{low:+.3f}, {high:+.3f}]" for name, (tau, low, high) in found.items())]
