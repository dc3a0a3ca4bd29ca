"""Score any generated reports, ours or another model's, and compare them.

python main_score.py --predictions results/mimic_cxr/predictions.jsonl
python main_score.py --predictions ours=a.jsonl theirs=b.csv --references annotation.json --baseline theirs
"""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from modules.options.parsing import parse_options
from modules.options.programs import MainScore

if __name__ == "__main__":
    parse_options(MainScore)  # now already: --help and a mistyped flag are answered before torch is imported

import sys
from contextlib import ExitStack
from pathlib import Path

from modules.distributed import processes
from modules.evaluation.metrics.extra import INSTALL, extra_sums
from modules.evaluation.metrics.profiles import PROFILES
from modules.evaluation.reading.predictions import Matched
from modules.evaluation.reading.scored_files import checksums, read_files
from modules.evaluation.reports.score_results import write_results
from modules.evaluation.reports.shown_films import require_films
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.evaluation.training_reports import open_bank, training_reports
from modules.labelling.labelers import find_labeler
from modules.messages import run
from modules.options.parsing import flat
from modules.records import write_options
from modules.run_folder import hold_results, refuse_data

BESIDE = ("options.json", "viewer", "per_class_*.csv", "per_study_*.csv", "rexrank_*.json", "cxr_report_metric_*.csv")


def add_extra_metrics(options: MainScore, matched: Matched, systems: dict[str, SystemScores]) -> None:
    """Run the metrics of ``--extra_metrics``; what is missing costs one line, once."""
    asked = options.extra.extra_metrics
    wanted = [name for name in PROFILES[options.scoring.profile].extra if name not in asked]
    if wanted:
        print(
            f"not asked for, of --profile {options.scoring.profile}: {', '.join(wanted)}; {INSTALL}, then --extra_metrics {' '.join(wanted)}"
        )
    problems: dict[str, list[str]] = {}
    for metric in asked:
        for name, system in systems.items():
            reports = matched.raw_systems[name]
            sums, problem = extra_sums(
                metric, reports, matched.raw_references, matched.rows, options.extra.metric_models
            )
            if sums is None:
                problems.setdefault(problem, []).append(metric)
                break
            system.add(sums)
    for problem, metrics in problems.items():
        print(f"{', '.join(metrics)}: {problem}")


def score(options: MainScore, matched: Matched) -> None:
    """Score what was read, and write it."""
    with processes(options.runtime.device) as device:
        labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device)
    train = training_reports(open_bank(options.scoring.feature_dir), options.scoring.train_ann, labeler)
    cache = Path(options.run.save_dir).parent / "label_cache"
    published = PROFILES[options.scoring.profile].text == "cleaned"
    scorer = ReportScorer(
        matched.references, labeler, full=matched.full if published else None, raw=matched.raw_references,
        thirds=train.thirds, cache=cache, published=published,
    )  # fmt: skip
    systems = scorer.systems(matched.systems, options.statistics.meteor, matched.raw_systems)
    add_extra_metrics(options, matched, systems)
    print(write_results(options, matched, scorer, systems, train))


def main() -> None:
    """Score files."""
    options = parse_options(MainScore)
    matched = read_files(options.scoring)
    require_films(matched, options.scoring.image_dir)
    refuse_data(Path(options.run.save_dir), [options.scoring.image_dir, options.scoring.feature_dir])
    with ExitStack() as held:
        hold_results(held, Path(options.run.save_dir), checksums(options.scoring), options.run.overwrite, BESIDE)
        write_options(options.run.save_dir, flat(options), sys.argv)
        score(options, matched)


if __name__ == "__main__":
    run(main, "nothing was lost but time: run the same command again")
