"""How far every metric orders reports as radiologists do.

python tools/calibrate.py --rated reports_with_ratings.csv
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.config import flag
from modules.flags import Group, LabelerOptions, RuntimeOptions, StatisticsOptions
from modules.messages import run
from modules.options import parse_options
from modules.programs import Program


@dataclass(kw_only=True)
class RatedOptions(Group):
    """Reports that radiologists rated."""

    rated: str = flag("", "table or JSON lines: reference, generated report and a rating in every row")
    errors: str | None = flag(
        None, "ReXVal's table of errors by rater; --rated is then its 50_samples_gt_and_candidates.csv"
    )
    significant: bool = flag(False, "of ReXVal, count the clinically significant errors alone")
    rating: str | None = flag(None, "heading of the ratings; a name with 'error' in it counts downwards")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rated:
            raise ValueError("give the rated reports: --rated FILE")
        if self.significant and not self.errors:
            raise ValueError("--significant is of ReXVal's table of errors: give it with --errors")


@dataclass(kw_only=True)
class Calibrate(Program):
    """Print Kendall's tau-b of every metric with the ratings, with its interval."""

    file = "tools/calibrate.py"
    examples = (
        "python tools/calibrate.py --rated reports_with_ratings.csv",
        "python tools/calibrate.py --rated 50_samples_gt_and_candidates.csv --errors 6_valid_raters_per_rater_error_categories.csv",
    )

    rated: RatedOptions
    labeler: LabelerOptions
    statistics: StatisticsOptions
    runtime: RuntimeOptions


def main() -> None:
    """Calibrate on one file."""
    options = parse_options(Calibrate)
    from modules.distributed import processes  # after parsing: these take seconds
    from modules.evaluation.calibration import calibrate, calibration_lines, read_ratings, read_rexval
    from modules.labelling.labelers import find_labeler

    rated = options.rated
    if rated.errors:
        file, ratings, name = read_rexval(rated.rated, rated.errors, rated.significant)
    else:
        file, ratings, name = read_ratings(rated.rated, rated.rating)
    with processes(options.runtime.device) as device:
        labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device)
    found = calibrate(
        file, ratings, labeler, meteor=options.statistics.meteor, resamples=options.statistics.resamples,
        seed=options.runtime.seed,
    )  # fmt: skip
    print(*calibration_lines(found, name, len(ratings)), sep="\n")


if __name__ == "__main__":
    run(main)
