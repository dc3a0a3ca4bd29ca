"""How far every metric orders reports as radiologists do.

python tools/calibrate.py --rated reports_with_ratings.csv
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import FlagError, flag
from modules.messages import run
from modules.options.flags import Group, LabelerOptions, RuntimeOptions, StatisticsOptions
from modules.options.parsing import parse_options
from modules.options.programs import Program
from modules.options.scoring_flags import ExtraMetricOptions


@dataclass(kw_only=True)
class RatedOptions(Group):
    """Reports that radiologists rated."""

    rated: str = flag(
        "", "reports with ratings: of ReXVal, RadEvalExpert, RadPref, RadJudge, or any table with a rating"
    )
    raters: str | None = flag(None, "what belongs to them: ReXVal's table of errors, RadPref's folder of annotations")
    significant: bool = flag(False, "of errors, count the clinically significant ones alone")
    rating: str | None = flag(
        None, "heading of the ratings; one of errors, severity or ranks counts downwards, which is said"
    )
    larger: str | None = flag(
        None, "what a larger rating is, if its heading does not say it", choices=("better", "worse")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rated:
            raise FlagError("give the rated reports: --rated FILE")


@dataclass(kw_only=True)
class Calibrate(Program):
    """Print Kendall's tau-b of every metric with the ratings, with its interval."""

    file = "tools/calibrate.py"
    examples = (
        "python tools/calibrate.py --rated reports_with_ratings.csv",
        "python tools/calibrate.py --rated 50_samples_gt_and_candidates.csv --raters 6_valid_raters_per_rater_error_categories.csv",
    )

    rated: RatedOptions
    extra: ExtraMetricOptions
    labeler: LabelerOptions
    statistics: StatisticsOptions
    runtime: RuntimeOptions


def main() -> None:
    """Calibrate on one file."""
    options = parse_options(Calibrate)
    from modules.distributed import processes  # after parsing: these take seconds
    from modules.evaluation.metrics.extra import extra_sums
    from modules.evaluation.ratings.calibration import calibrate, calibration_lines
    from modules.evaluation.ratings.rated_reports import read_rated
    from modules.evaluation.scorer import ReportScorer
    from modules.labelling.labelers import find_labeler

    wanted = options.rated
    rated = read_rated(wanted.rated, wanted.raters, wanted.significant, wanted.rating, wanted.larger)
    with processes(options.runtime.device) as device:
        labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device)
    scorer = ReportScorer(rated.references, labeler, published=False)
    system = scorer.systems({"rated": rated.texts}, options.statistics.meteor)["rated"]
    for metric in options.extra.extra_metrics:
        sums, problem = extra_sums(metric, rated.texts, rated.references, rated.rows, options.extra.metric_models)
        if sums is None:
            print(f"{metric}: {problem}")
        else:
            system.add(sums)
    found = calibrate(rated, system.per_study, resamples=options.statistics.resamples, seed=options.runtime.seed)
    print(*calibration_lines(found, rated), sep="\n")


if __name__ == "__main__":
    run(main)
