"""Score any generated reports, ours or another model's, and compare them.

python main_score.py --predictions results/mimic_cxr/predictions.jsonl
python main_score.py --predictions ours=a.jsonl theirs=b.csv --references annotation.json --baseline theirs
"""

from __future__ import annotations

from modules.options import parse_options
from modules.programs import MainScore

if __name__ == "__main__":
    parse_options(MainScore)  # now already: --help and a mistyped flag are answered before torch is imported

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modules.distributed import processes
from modules.evaluation.metrics.diversity import diversity
from modules.evaluation.metrics.extra import HOW, extra_sums
from modules.evaluation.predictions import Matched, match, named_files
from modules.evaluation.profiles import PROFILES
from modules.evaluation.report_files import check_columns, named_columns, read_report_file
from modules.evaluation.reports import results
from modules.evaluation.reports.exports import write_exports
from modules.evaluation.reports.published_rows import comparability
from modules.evaluation.reports.tables import caption
from modules.evaluation.reports.yardsticks import good_lines, good_values, yardsticks
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.evaluation.training_reports import TrainingReports, open_bank, training_reports
from modules.labelling.labelers import find_labeler
from modules.messages import UserError, run
from modules.options import flat
from modules.records import provenance, sha256_of, write_json, write_options
from modules.run_folder import hold_results

BESIDE = ("options.json", "viewer", "per_class_*.csv", "per_study_*.csv", "rexrank_*.json", "cxr_report_metric_*.csv")


def read_files(options: MainScore) -> Matched:
    """The reports of every system and their references, study by study."""
    scoring = options.scoring
    paths = named_files(scoring.predictions)
    if scoring.baseline is not None and scoring.baseline not in paths:
        raise UserError(f"--baseline is {scoring.baseline!r}; expected one of the predictions: {', '.join(paths)}")
    given, profile = named_columns(scoring.columns), PROFILES[scoring.profile]
    how: dict[str, Any] = {"split": scoring.split, "section": scoring.section or profile.section, "columns": given}
    systems = {name: read_report_file(path, **how) for name, path in paths.items()}
    beside = next((path.with_name("gts.csv") for path in paths.values() if path.name == "res.csv"), None)
    path = scoring.references or (beside if beside and beside.is_file() else None)
    references = read_report_file(path, "reference", **how) if path else None
    check_columns(given, [*systems.values(), *([references] if references else [])])
    cleaning, max_words = (scoring.cleaning, scoring.max_words) if profile.text == "cleaned" else ("none", 0)
    return match(systems, references, cleaning, max_words, by_order=scoring.by_order, named_ids="id" in given)


def add_extra_metrics(options: MainScore, matched: Matched, systems: dict[str, SystemScores]) -> None:
    """Run the metrics of ``--extra_metrics``; what is missing costs one line, once."""
    asked = options.extra.extra_metrics
    wanted = [name for name in PROFILES[options.scoring.profile].extra if name not in asked]
    if wanted:
        print(f"{', '.join(wanted)} of --profile {options.scoring.profile} were not asked for: {HOW}")
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


def report(
    options: MainScore, matched: Matched, scorer: ReportScorer, systems: dict[str, SystemScores], train: TrainingReports
) -> None:
    """Write everything and print the table."""
    scoring, run_dir = options.scoring, Path(options.run.save_dir)
    profile, draws = PROFILES[scoring.profile], (options.statistics.resamples, options.runtime.seed)
    max_words = scoring.max_words if scorer.published else 0
    protocol = protocol_of(options, matched, scorer, train, max_words)
    notes = [note for note in (protocol["references"], protocol["comparability"]) if note]
    found, spans = {}, {}
    for name, system in systems.items():
        found[name] = results.figures(scorer, system, scoring.split, max_words, *draws)
        found[name]["diversity"] = diversity(
            matched.systems[name], matched.references, matched.retrieved[name], train.reports
        )
        spans[name] = {key.removeprefix(f"{scoring.split}_"): span for key, span in found[name]["intervals"].items()}
        results.write_per_class(run_dir / f"per_class_{name}.csv", found[name]["per_class"], train.rates)
        results.write_per_study(run_dir / f"per_study_{name}.csv", matched.ids, system)
    pairs = [(name, scoring.baseline) for name in systems if scoring.baseline not in (None, name)]
    versus = results.comparisons(systems, pairs, *draws)
    basis = scorer.systems(yardsticks(matched.references, train.reports, draws[1]), meteor=False)
    published = scoring.dataset_name if scorer.published else None
    good = good_values(profile.columns, {name: system.scores for name, system in basis.items()}, published)
    content = {"systems": found, "comparison": versus, "baseline": scoring.baseline, "good": good}
    write_json(run_dir / "metrics.json", {**content, "studies": len(matched.ids), "protocol": protocol, **provenance()})
    scores = {name: system.scores for name, system in systems.items()}
    text = results.write_tables(run_dir, scoring.dataset_name, scores, spans, notes, profile.columns)
    write_exports(run_dir, matched)
    if scoring.page:
        from modules.evaluation.reports.comparison_page import (
            write_comparison_page,  # on demand: it needs torch for films
        )

        chosen = chosen_for_page(systems, scoring.baseline)
        print(
            f"wrote {write_comparison_page(run_dir, matched, scorer, chosen, {**content, 'protocol': protocol}, scoring.image_dir)}"
        )
    print("\n".join(["", *matched.notes, *scorer.notes, "", text, "", *notes, ""]))
    print("\n".join(["what is good:", *good_lines(profile.columns, good), ""]))
    print("\n".join(results.comparison_lines(versus)))
    print(f"wrote metrics.json, table.md, table.tex, per_class_*.csv and per_study_*.csv into {run_dir}")


def chosen_for_page(systems: dict[str, SystemScores], baseline: str | None) -> dict[str, SystemScores]:
    """At most two systems: the first, and the baseline or else the second."""
    first = next(name for name in systems if name != baseline or len(systems) == 1)
    others = [name for name in ([baseline] if baseline else systems) if name != first]
    return {name: systems[name] for name in (first, *others[:1]) if name is not None}


def protocol_of(
    options: MainScore, matched: Matched, scorer: ReportScorer, train: TrainingReports, max_words: int
) -> dict[str, Any]:
    """How the figures were made, in words and in the values of the flags."""
    scoring, labeler, done = options.scoring, scorer.labeler, matched.cleaning
    note, compared = PROFILES[scoring.profile].protocol, ""
    if scorer.published:
        note = caption(labeler.name, labeler.checksum, done, max_words, scoring.split)
        compared = comparability(
            scoring.dataset_name, split=scoring.split, studies=len(matched.ids), cleaning=done, max_words=max_words,
            labeler=labeler.name,
        )  # fmt: skip
    return {
        **results.PROTOCOL, "references": note, "comparability": compared, "matching": [*matched.notes, *scorer.notes],
        "labeler": labeler.name, "labeler_checksum": labeler.checksum, "thirds": train.source, "cleaning": done,
        "max_words": max_words, "profile": scoring.profile, "resamples": options.statistics.resamples,
        "seed": options.runtime.seed,
    }  # fmt: skip


def results_of(options: MainScore) -> dict[str, str]:
    """What the results are of: the files that are scored, and how."""
    scoring = options.scoring
    files = {f"predictions of {name}": sha256_of(path) for name, path in named_files(scoring.predictions).items()}
    references = {"references": sha256_of(scoring.references)} if scoring.references else {}
    return {**files, **references, "profile": scoring.profile}


def main() -> None:
    """Score files."""
    options = parse_options(MainScore)
    matched = read_files(options)
    with ExitStack() as held:
        hold_results(held, Path(options.run.save_dir), results_of(options), options.run.overwrite, BESIDE)
        write_options(options.run.save_dir, flat(options), sys.argv)
        score(options, matched)


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
    report(options, matched, scorer, systems, train)


if __name__ == "__main__":
    run(main, "nothing was lost but time: run the same command again")
