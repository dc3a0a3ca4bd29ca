"""Everything that a test run of our own model leaves in its folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.evaluation.generation import state_sums
from modules.evaluation.grounding.sign_scores import grounding_lines
from modules.evaluation.metrics.copying import copying, copying_line
from modules.evaluation.metrics.diversity import diversity
from modules.evaluation.metrics.metric_names import full_name
from modules.evaluation.metrics.significance import intervals
from modules.evaluation.model_figures import sensitivity_lines
from modules.evaluation.particulars_agreement import agreement, agreement_line
from modules.evaluation.reading.row_order import no_nearer
from modules.evaluation.reports import results
from modules.evaluation.reports.exports import write_r2gen
from modules.evaluation.reports.published_rows import comparability
from modules.evaluation.reports.tables import caption, counted
from modules.evaluation.reports.verdict import baseline_line, copies_line
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.evaluation.training_reports import TrainingReports, training_reports
from modules.labelling.labelers import Labeler
from modules.options.parsing import flat
from modules.options.programs import MainTest
from modules.records import provenance, read_object, write_json, write_jsonl, write_options
from modules.retrieval.quality import retrieval_quality
from modules.retrieval.retriever import Queries
from modules.run_folder import RESULTS_OF

OURS = "REVTAF"
WRITTEN = (
    "predictions.jsonl", "metrics.json", "per_class.csv", "per_study.csv", "table.md", "table.tex", "res.csv", "gts.csv",
)  # fmt: skip


def save_predictions(options: MainTest, rows: list[dict[str, Any]], distances: np.ndarray) -> None:
    """Write ``predictions.jsonl``, with the ``distances`` ``(n,)`` of the retrieved reports, and the options of the test."""
    for row, distance in zip(rows, distances, strict=True):
        row["retrieval_distance"] = None if np.isnan(distance) else round(float(distance), 6)
    run_dir = Path(options.run.save_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_options(run_dir, flat(options), sys.argv, name=f"options_{options.testing.split}.json")
    write_jsonl(run_dir / "predictions.jsonl", rows)


def show_reports(rows: Sequence[Mapping[str, Any]], count: int) -> None:
    """Print generated reports beside their references."""
    for row in rows[:count]:
        print(f"\n{row['id']}\n  generated  {row['prediction']}\n  reference  {row['reference'] or '(none)'}")


def score_test(
    options: MainTest,
    model: Revtaf,
    dataset: ReportDataset,
    queries: Queries,
    rows: list[dict[str, Any]],
    baselines: Mapping[str, Sequence[str]],
    labeler: Labeler,
    measured: Mapping[str, Any],
) -> str:
    """Score the rows of ``predictions.jsonl`` and write all files of ``results/README.md``.

    Args:
        options: of ``main_test.py``.
        model: that wrote the reports; its retrieval is judged too.
        dataset: the studies of the split that have reports, with their references.
        queries: what the references were asked for with.
        rows: one per study of the split, in order; labels and scores are added to those of ``dataset``.
        baselines: reports of other systems, by name, in the same order.
        labeler: labels references and predictions alike.
        measured: further entries of ``metrics.json``.

    Returns:
        What to print.
    """
    run_dir = Path(options.run.save_dir)
    train = training_reports(dataset.bank)
    scorer = ReportScorer(
        dataset.reports, labeler, full=dataset.full_reports, raw=[study.report for study in dataset.studies],
        thirds=train.thirds, cache=run_dir.parent / "label_cache",
    )  # fmt: skip
    known = {study.id for study in dataset.studies}
    scored = [row for row in rows if row["id"] in known]
    systems = scorer.systems({**baselines, OURS: [row["prediction"] for row in scored]}, options.statistics.meteor)
    results.add_scores(scored, scorer, systems[OURS])
    write_jsonl(run_dir / "predictions.jsonl", rows)
    metrics = _figures(options, dataset, scored, scorer, systems[OURS], train)
    metrics["baselines"] = {name: systems[name].scores for name in baselines}
    pairs = [(OURS, name) for name in baselines]
    metrics["comparison"] = results.comparisons(systems, pairs, options.statistics.resamples, options.runtime.seed)
    metrics["retrieval"] = retrieval_quality(
        model.retrieval_enhancer, dataset, queries, train.thirds, exclude_same_patient=False, seed=options.runtime.seed
    )
    metrics["protocol"] = protocol(options, labeler.name, labeler.checksum, train, len(scored), len(rows))
    metrics["made_by"] = read_object(run_dir / RESULTS_OF)
    metrics["studies"], metrics["studies_without_report"] = len(scored), len(rows) - len(scored)
    write_json(run_dir / "metrics.json", {**metrics, **measured, **provenance()})
    results.write_per_class(run_dir / "per_class.csv", metrics["per_class"], train.rates)
    results.write_per_study(run_dir / "per_study.csv", [row["id"] for row in scored], systems[OURS])
    write_r2gen(run_dir, [row["prediction"] for row in scored], dataset.reports)
    prefix = f"{options.testing.split}_"
    spans = {OURS: {name.removeprefix(prefix): span for name, span in metrics["intervals"].items()}}
    notes = [metrics["protocol"]["caption"], metrics["protocol"]["comparability"]]
    scores = {name: system.scores for name, system in systems.items()}
    table = results.write_tables(run_dir, options.data.dataset_name, scores, spans, notes)
    written = [f"wrote {run_dir / name}" for name in WRITTEN]
    lines = ["", table, "", *_verdict(metrics, scored, dataset), "", *notes, ""]
    lines += [_retrieval_lines(metrics["retrieval"]), "", copying_line(metrics["copying"])]
    lines += [agreement_line(metrics["particulars"]), "", *_measured_lines(measured)]
    return "\n".join([*lines, *written])


def _verdict(metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], dataset: ReportDataset) -> list[str]:
    """What the table means, in at most three lines."""
    nearness = no_nearer(OURS, [row["prediction"] for row in rows], dataset.reports)
    return [*filter(None, (baseline_line(metrics["comparison"]), nearness)), copies_line(metrics["diversity"])]


def _figures(
    options: MainTest,
    dataset: ReportDataset,
    rows: Sequence[Mapping[str, Any]],
    scorer: ReportScorer,
    system: SystemScores,
    train: TrainingReports,
) -> dict[str, Any]:
    """Figures of our own system."""
    found = results.figures(
        scorer,
        system,
        options.testing.split,
        options.data.max_words,
        options.statistics.resamples,
        options.runtime.seed,
    )
    states = state_sums(np.array([row["states"] for row in rows]), dataset.labels, train.thirds)
    found["scores"] |= results.with_split(states.scores(), options.testing.split)
    found["intervals"] |= results.with_split(
        intervals(states, options.statistics.resamples, options.runtime.seed), options.testing.split
    )
    found["names"] |= results.with_split({name: full_name(name, 0) for name in states.scores()}, options.testing.split)
    written, retrieved = [row["prediction"] for row in rows], [row["retrieved_report"] or "" for row in rows]
    found["diversity"] = diversity(written, dataset.reports, retrieved, train.reports)
    labeler = scorer.labeler
    found["copying"] = copying(written, retrieved, scorer.reference_labels, labeler, labeler.conditions)
    found["particulars"] = agreement(written, dataset.reports)
    return found


def protocol(
    options: MainTest, labeler: str, checksum: str, train: TrainingReports, reports: int, of: int
) -> dict[str, Any]:
    """How the figures were made, in words and in the values of the flags."""
    studies = counted(options.testing.split, reports, of)
    return {
        **results.PROTOCOL,
        "caption": caption(labeler, checksum, options.data.cleaning, options.data.max_words, studies),
        "comparability": comparability(
            options.data.dataset_name,
            split=options.testing.split,
            reports=reports,
            cleaning=options.data.cleaning,
            max_words=options.data.max_words,
            labeler=labeler,
        ),
        "dataset_name": options.data.dataset_name,
        "split": options.testing.split,
        "section": f"the reports of {options.data.ann_path}, one image a report",
        "cleaning": options.data.cleaning,
        "max_words": options.data.max_words,
        "generation": {
            "beams": options.generation.beam_size,
            "min_length": options.generation.gen_min_len,
            "max_new_tokens": options.generation.gen_max_len,
            "min_length_counts_prompt": True,
            "rerank": options.generation.rerank,
            "second_search": options.generation.second_search,
            "guidance": options.generation.guidance,
        },
        "labeler": labeler,
        "labeler_checksum": checksum,
        "thirds": train.source,
        "resamples": options.statistics.resamples,
        "seed": options.runtime.seed,
    }


def _measured_lines(measured: Mapping[str, Any]) -> list[str]:
    """What was measured of the model beside its reports, each with a line below."""
    lines: list[str] = []
    if "reference_sensitivity" in measured:
        lines += [*sensitivity_lines(measured), ""]
    if "grounding" in measured:
        lines += [*grounding_lines(measured["grounding"]["rows"]), ""]
    return lines


def _retrieval_lines(retrieval: Mapping[str, Mapping[str, Any]]) -> str:
    """The retrieval table in Markdown."""
    names = [name for name, value in retrieval["cosine"].items() if isinstance(value, float)]
    lines = [f"| retrieval | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    lines += [
        f"| {ranking} | {' | '.join(f'{values[name]:.3f}' for name in names)} |"
        for ranking, values in retrieval.items()
    ]
    return "\n".join(lines)
