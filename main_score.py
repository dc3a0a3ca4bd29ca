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
from pathlib import Path

from modules.distributed import processes
from modules.evaluation.metrics.diversity import diversity
from modules.evaluation.metrics.extra import HOW, extra_sums
from modules.evaluation.predictions import Matched, match, named_files
from modules.evaluation.report_files import check_columns, named_columns, read_report_file
from modules.evaluation.reports import results
from modules.evaluation.reports.exports import write_exports
from modules.evaluation.reports.published_rows import comparability
from modules.evaluation.reports.tables import caption
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.evaluation.training_reports import TrainingReports, open_bank, training_reports
from modules.labelling.labelers import find_labeler
from modules.messages import run
from modules.options import flat
from modules.records import provenance, write_json, write_options


def read_files(options: MainScore) -> Matched:
    """The reports of every system and their references, study by study."""
    paths = named_files(options.scoring.predictions)
    if options.scoring.baseline is not None and options.scoring.baseline not in paths:
        raise ValueError(
            f"--baseline is {options.scoring.baseline!r}; expected one of the predictions: {', '.join(paths)}"
        )
    given = named_columns(options.scoring.columns)
    how = {"split": options.scoring.split, "section": options.scoring.section, "columns": given}
    systems = {name: read_report_file(path, **how) for name, path in paths.items()}
    beside = next((path.with_name("gts.csv") for path in paths.values() if path.name == "res.csv"), None)
    path = options.scoring.references or (beside if beside and beside.is_file() else None)
    references = read_report_file(path, "reference", **how) if path else None
    check_columns(given, [*systems.values(), *([references] if references else [])])
    return match(
        systems, references, options.scoring.cleaning, options.scoring.max_words, by_order=options.scoring.by_order
    )


def add_extra_metrics(options: MainScore, matched: Matched, systems: dict[str, SystemScores]) -> None:
    """Run the metrics of ``--extra_metrics``; say what is missing."""
    if not options.scoring.extra_metrics:
        print(f"RadGraph-F1, RadCliQ, BERTScore, GREEN and RaTEScore were not asked for: {HOW}")
    for metric in options.scoring.extra_metrics:
        for name, system in systems.items():
            sums, problem = extra_sums(metric, matched.raw_systems[name], matched.raw_references)
            if sums is None:
                print(problem)
                break
            system.add(sums)


def report(
    options: MainScore, matched: Matched, scorer: ReportScorer, systems: dict[str, SystemScores], train: TrainingReports
) -> None:
    """Write everything and print the table."""
    run_dir, split, labeler = Path(options.run.save_dir), options.scoring.split, scorer.labeler
    done = matched.cleaning
    note = caption(labeler.name, labeler.checksum, done, options.scoring.max_words, split)
    compared = comparability(
        options.scoring.dataset_name, split=split, studies=len(matched.ids), cleaning=done,
        max_words=options.scoring.max_words, labeler=labeler.name,
    )  # fmt: skip
    protocol = {
        **results.PROTOCOL, "references": note, "comparability": compared, "matching": [*matched.notes, *scorer.notes],
        "labeler": labeler.name, "labeler_checksum": labeler.checksum, "thirds": train.source, "cleaning": done,
        "max_words": options.scoring.max_words, "resamples": options.statistics.resamples, "seed": options.runtime.seed,
    }  # fmt: skip
    found, spans = {}, {}
    for name, system in systems.items():
        found[name] = results.figures(
            scorer, system, split, options.scoring.max_words, options.statistics.resamples, options.runtime.seed
        )
        found[name]["diversity"] = diversity(
            matched.systems[name], matched.references, matched.retrieved[name], train.reports
        )
        spans[name] = {key.removeprefix(f"{split}_"): value for key, value in found[name]["intervals"].items()}
        results.write_per_class(run_dir / f"per_class_{name}.csv", found[name]["per_class"], train.rates)
    pairs = [(name, options.scoring.baseline) for name in systems if options.scoring.baseline not in (None, name)]
    versus = results.comparisons(systems, pairs, options.statistics.resamples, options.runtime.seed)
    content = {
        "systems": found,
        "comparison": versus,
        "baseline": options.scoring.baseline,
        "studies": len(matched.ids),
    }
    write_json(run_dir / "metrics.json", {**content, "protocol": protocol, **provenance()})
    scores = {name: system.scores for name, system in systems.items()}
    text = results.write_tables(run_dir, options.scoring.dataset_name, scores, spans, [note, compared])
    write_exports(run_dir, matched)
    print("\n".join(["", *matched.notes, *scorer.notes, "", text, "", note, compared, ""]))
    print("\n".join(results.comparison_lines(versus)))
    print(f"wrote metrics.json, table.md, table.tex and per_class_*.csv into {run_dir}")


def main() -> None:
    """Score files."""
    options = parse_options(MainScore)
    matched = read_files(options)
    write_options(options.run.save_dir, flat(options), sys.argv)
    with processes(options.runtime.device) as device:
        labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device)
    train = training_reports(open_bank(options.scoring.feature_dir), options.scoring.train_ann, labeler)
    cache = Path(options.run.save_dir).parent / "label_cache"
    scorer = ReportScorer(matched.references, labeler, full=matched.full, thirds=train.thirds, cache=cache)
    systems = scorer.systems(matched.systems, options.statistics.meteor)
    add_extra_metrics(options, matched, systems)
    report(options, matched, scorer, systems, train)


if __name__ == "__main__":
    run(main, "nothing was lost but time: run the same command again")
