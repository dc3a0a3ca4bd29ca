"""The page of ``main_score.py --page``: one system, or two side by side, with who is nearer to the reference, study by study."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.evaluation.reading.predictions import Matched
from modules.evaluation.reports.results import COMPARED
from modules.evaluation.reports.sentence_agreement import mark_sentences
from modules.evaluation.reports.shown_films import film_of
from modules.evaluation.reports.viewer import lengths_of, render, write_images
from modules.evaluation.scorer import ReportScorer, SystemScores
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.records import atomic_write

MOST = 1000  # studies shown, the worst first
SCORES = ("ce_f1", *(name for name in COMPARED if "ce_" not in name))
DIFFERENCE = "difference in "  # as page/compare.js has it


def write_comparison_page(
    run_dir: Path,
    matched: Matched,
    scorer: ReportScorer,
    systems: Mapping[str, SystemScores],
    metrics: Mapping[str, Any],
    image_dir: str | None,
) -> Path:
    """Write ``index.html``.

    Args:
        run_dir: its folder.
        matched: the studies.
        scorer: whose references and labeler the systems were scored with.
        systems: one or two, the one that is compared first.
        metrics: content of ``metrics.json``.
        image_dir: folder of the films, if they are to be shown.

    Returns:
        The page.
    """
    names = list(systems)
    each = {
        name: {score: system.per_study[score] for score in SCORES if score in system.per_study}
        for name, system in systems.items()
    }
    score = next(name for name in SCORES if name in each[names[0]])
    margin = each[names[0]][score] - (each[names[1]][score] if len(names) > 1 else 0)
    order = np.argsort(margin, kind="stable")[:MOST].tolist()
    content = {
        "title": " and ".join(names),
        "written": datetime.datetime.now().isoformat(sep=" ", timespec="minutes"),
        "commit": metrics.get("commit"),
        "caption": metrics["protocol"]["references"],
        "labeler": scorer.labeler.name,
        "references": True,
        "systems": names if len(names) > 1 else [],
        "score": score,
        "sort": f"{DIFFERENCE}{score}" if len(names) > 1 else score,
        "limited": "the worst" if len(order) < len(matched.ids) else "",
        "conditions": CONDITIONS,
        "columns": [CONDITIONS.index(name) for name in scorer.labeler.conditions],
        "states": STATES,
        "entities": ENTITIES,
        "total": len(matched.ids),
        "studies": _studies(run_dir, matched, scorer, systems, each, order, image_dir),
        "summary": _summary(metrics, names, lengths_of(matched.raw_systems[names[0]], matched.raw_references)),
    }
    path = run_dir / "index.html"
    with atomic_write(path) as file:
        file.write(render(content))
    return path


def _summary(metrics: Mapping[str, Any], names: Sequence[str], lengths: Mapping[str, Any]) -> dict[str, Any]:
    """What the summary shows; a file of reports has no states, no curves and no disk."""
    first = metrics["systems"][names[0]]
    return {
        **{name: first[name] for name in ("scores", "intervals", "per_class")},
        "baselines": {name: _plain(metrics["systems"][name]["scores"]) for name in names[1:]},
        "comparison": metrics["comparison"],
        "lengths": lengths,
        "confusion": None,
        "curves": {},
        "disk": None,
    }


def _plain(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name.split("_", 1)[1]: value for name, value in scores.items()}


def _studies(
    run_dir: Path,
    matched: Matched,
    scorer: ReportScorer,
    systems: Mapping[str, SystemScores],
    each: Mapping[str, Mapping[str, np.ndarray]],
    order: Sequence[int],
    image_dir: str | None,
) -> list[dict[str, Any]]:
    references = [matched.raw_references[i] for i in order]
    truth = scorer.reference_labels[order]
    sides: list[list[dict[str, Any]]] = []
    for name, system in systems.items():
        reports = [matched.raw_systems[name][i] for i in order]
        marked = mark_sentences(reports, truth, scorer.labeler, references)
        sides.append(
            [
                {
                    "generated": marked[place],
                    "said": system.labels[i],
                    "scores": {score: round(float(values[i]), 6) for score, values in each[name].items()},
                }
                for place, i in enumerate(order)
            ]
        )
    first = next(iter(systems))
    ours = [matched.raw_systems[first][i] for i in order]
    expected = mark_sentences(references, systems[first].labels[order], scorer.labeler, ours)
    images = _images(run_dir, matched, order, image_dir)
    return [
        {
            "id": matched.ids[i],
            "image": images[place],
            **sides[0][place],
            "others": [side[place] for side in sides[1:]],
            "reference": expected[place],
            "truth": truth[place],
            "sentences": [],
            "maps": None,
        }
        for place, i in enumerate(order)
    ]


def _images(run_dir: Path, matched: Matched, order: Sequence[int], image_dir: str | None) -> list[str | None]:
    if image_dir is None:
        return [None] * len(order)
    films = [film_of(Path(image_dir), matched.rows[i], matched.ids[i]) for i in order]
    return write_images(run_dir, films)
