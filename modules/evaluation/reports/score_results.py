"""Everything that a scoring of anybody's reports leaves in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.evaluation.metrics.diversity import diversity
from modules.evaluation.metrics.profiles import PROFILES
from modules.evaluation.particulars_agreement import agreement, agreement_line
from modules.evaluation.reading.predictions import Matched
from modules.evaluation.reports import results
from modules.evaluation.reports.exports import write_exports
from modules.evaluation.reports.published_rows import comparability
from modules.evaluation.reports.tables import caption, counted
from modules.evaluation.reports.yardsticks import ITSELF, good_lines, good_values, yardsticks
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.evaluation.training_reports import TrainingReports
from modules.labelling.labelled_texts import labelled_texts
from modules.options.programs import MainScore
from modules.records import provenance, write_json


def write_results(
    options: MainScore, matched: Matched, scorer: ReportScorer, systems: dict[str, SystemScores], train: TrainingReports
) -> str:
    """Write all files of a scoring.

    Args:
        options: of ``main_score.py``.
        matched: what was scored.
        scorer: that scored it.
        systems: what it found, by system.
        train: what the training data say about it.

    Returns:
        What to print.
    """
    scoring, run_dir = options.scoring, Path(options.run.save_dir)
    profile, draws = PROFILES[scoring.profile], (options.statistics.resamples, options.runtime.seed)
    max_words = scoring.max_words if scorer.published else 0
    protocol = _protocol(options, matched, scorer, train.source, max_words)
    notes = [note for note in (protocol["references"], protocol["comparability"]) if note]
    found, spans = {}, {}
    truth = labelled_texts(matched.references, matched.raw_references, matched.full)
    for name, system in systems.items():
        found[name] = results.figures(scorer, system, scoring.split, max_words, *draws)
        found[name]["diversity"] = diversity(
            matched.systems[name], matched.references, matched.retrieved[name], train.reports
        )
        said = labelled_texts(matched.systems[name], matched.raw_systems[name])
        found[name]["particulars"] = agreement(said, truth)
        spans[name] = {key.removeprefix(f"{scoring.split}_"): span for key, span in found[name]["intervals"].items()}
        results.write_per_class(run_dir / f"per_class_{name}.csv", found[name]["per_class"], train.rates)
        results.write_per_study(run_dir / f"per_study_{name}.csv", matched.ids, system)
    pairs = [(name, scoring.baseline) for name in systems if scoring.baseline not in (None, name)]
    versus = results.comparisons(systems, pairs, *draws)
    basis = _basis(matched, scorer, train, draws[1])
    published = scoring.dataset_name if scorer.published else None
    good = good_values(profile.columns, {name: system.scores for name, system in basis.items()}, published)
    content = {
        "systems": found, "comparison": versus, "baseline": scoring.baseline, "good": good, "studies": len(matched.ids),
        "protocol": protocol, **provenance(),
    }  # fmt: skip
    write_json(run_dir / "metrics.json", content)
    scores = {name: system.scores for name, system in systems.items()}
    text = results.write_tables(run_dir, scoring.dataset_name, scores, spans, notes, profile.columns)
    write_exports(run_dir, matched)
    lines = [f"wrote {_page(options, matched, scorer, systems, content)}"] if scoring.page else []
    lines += ["", *matched.notes, *scorer.notes, "", text, "", *notes, ""]
    lines += ["what is good:", *good_lines(profile.columns, good), ""]
    lines += [f"{name}: {agreement_line(one['particulars'])}" for name, one in found.items()]
    lines += ["", *(results.comparison_lines(versus) or [""])]
    lines.append(f"wrote metrics.json, table.md, table.tex, per_class_*.csv and per_study_*.csv into {run_dir}")
    return "\n".join(lines)


def _page(
    options: MainScore,
    matched: Matched,
    scorer: ReportScorer,
    systems: Mapping[str, SystemScores],
    content: Mapping[str, Any],
) -> Path:
    """The page of at most two systems: the first, and the baseline or else the second."""
    from modules.evaluation.reports.comparison_page import write_comparison_page  # on demand: films need torch

    baseline = options.scoring.baseline
    first = next(name for name in systems if name != baseline or len(systems) == 1)
    others = [name for name in ([baseline] if baseline else systems) if name != first]
    chosen = {name: systems[name] for name in (first, *others[:1]) if name is not None}
    return write_comparison_page(
        Path(options.run.save_dir), matched, scorer, chosen, content, options.scoring.image_dir
    )


def _protocol(
    options: MainScore, matched: Matched, scorer: ReportScorer, thirds: str, max_words: int
) -> dict[str, Any]:
    """How the figures were made, in words and in the values of the flags."""
    scoring, labeler, done = options.scoring, scorer.labeler, matched.cleaning
    studies, compared = counted(scoring.split, len(matched.ids), matched.of), ""
    note = f"{studies}; {PROFILES[scoring.profile].protocol}"
    if scorer.published:
        note = caption(labeler.name, labeler.checksum, done, max_words, studies)
        compared = comparability(
            scoring.dataset_name, split=scoring.split, reports=len(matched.ids), cleaning=done, max_words=max_words,
            labeler=labeler.name,
        )  # fmt: skip
    return {
        **results.PROTOCOL, "references": note, "comparability": compared, "matching": [*matched.notes, *scorer.notes],
        "labeler": labeler.name, "labeler_checksum": labeler.checksum, "thirds": thirds, "cleaning": done,
        "max_words": max_words, "profile": scoring.profile, "resamples": options.statistics.resamples,
        "seed": options.runtime.seed,
    }  # fmt: skip


def _basis(matched: Matched, scorer: ReportScorer, train: TrainingReports, seed: int) -> dict[str, SystemScores]:
    """The scores of reports without an image, each with its raw text, from which structured answers are labelled."""
    systems = yardsticks(matched.references, train.reports, seed)
    raw_of = dict(zip(matched.references, matched.raw_references, strict=True))
    raw = {name: [raw_of.get(text, text) for text in texts] for name, texts in systems.items()}
    return scorer.systems(systems, meteor=False, raw=raw | ({ITSELF: matched.raw_references} if raw else {}))
