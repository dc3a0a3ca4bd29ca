"""Do metrics order reports as radiologists do? Kendall's tau-b of every metric with their ratings, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from modules.corpus.tables import plain_heading
from modules.evaluation.report_files import ReportFile, read_report_file
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import Labeler
from modules.messages import UserError

ERRORS = ("errors", "num_errors", "total_errors", "significant_errors", "clinically_significant_errors", "error_count")
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
