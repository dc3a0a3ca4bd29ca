"""Score generated reports against fixed references, by every convention at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.corpus.text import attach_punctuation, normalise_whitespace, plain_blanks, postprocess_prediction
from modules.evaluation.metrics.clinical import class_sums
from modules.evaluation.metrics.measures import METRICS, Metric, Scored
from modules.evaluation.metrics.meteor import MeteorRun
from modules.evaluation.metrics.nlg import NO_CIDER, check_reports
from modules.evaluation.metrics.significance import RESAMPLES, intervals
from modules.evaluation.metrics.sufficient_sums import StudySums, joined, renamed
from modules.labelling.cache import cached_labels
from modules.labelling.labelers import Labeler
from modules.labelling.labelled_texts import labelled_texts
from modules.labels import BLANK, CHEXPERT_CONDITIONS

_NOT_IN_VALIDATION = re.compile(r"_uncertain_positive$|_(?:head|medium|tail)$")  # figures of clinical efficacy


@dataclass
class SystemScores:
    """Everything known of one system.

    ``scores`` by figure (None where a metric could not be computed), ``sums`` behind the scores, ``classes`` behind those
    of single conditions, ``labels`` of its reports.
    """

    scores: dict[str, float | None]
    sums: StudySums
    classes: StudySums
    labels: np.ndarray

    @property
    def per_study(self) -> dict[str, np.ndarray]:
        """Every figure of every study alone, ``(n,)`` by name; averages over conditions of one report say nothing."""
        found = self.sums.figures(self.sums.values)
        return {name: value for name, value in found.items() if "_macro" not in name}

    def intervals(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95 % interval by figure."""
        return intervals(self.sums, resamples, seed)

    def add(self, sums: StudySums) -> None:
        """Add the figures of another metric."""
        self.sums = joined([self.sums, sums])
        self.scores |= sums.scores()


class _Part(NamedTuple):
    """What one metric gives of a system: None where it cannot be computed, and the names of its figures that are not there."""

    sums: StudySums | None
    missing: tuple[str, ...]


_Known = dict[tuple[str, int, int], StudySums | None]  # by metric and the identities of predictions and references


class ReportScorer:
    """The metrics of ``METRICS`` against fixed references, which are labelled once.

    Args:
        references: cleaned references, cut as published; what the plain names are scored against.
        labeler: labels references and predictions alike.
        full: the same references uncut, for the names that end in ``_full``; those are left out if absent.
        raw: the same references as they were found, for metrics that read raw text and for structured answers, which the
            rules label as sentences; ``full`` if absent.
        thirds: what :func:`modules.evaluation.metrics.clinical.frequency_thirds` returned.
        cache: folder that keeps the labels of the references, if any.
        published: space predictions alone, as the published scorer does; else both sides alike, which raw text needs.
    """

    def __init__(
        self,
        references: Sequence[str],
        labeler: Labeler,
        *,
        full: Sequence[str] | None = None,
        raw: Sequence[str] | None = None,
        thirds: Mapping[str, str] | None = None,
        cache: str | Path | None = None,
        published: bool = True,
    ) -> None:
        self.references, self.labeler, self.thirds = list(references), labeler, thirds
        self.full = None if full is None else list(full)
        self.raw = list(raw if raw is not None else full if full is not None else references)
        self.published = published
        texts = texts_to_label(labeler, self.references, self.raw, self.full)
        self.reference_labels = cached_labels(labeler, texts, cache)  # (n, 14 or 18)
        self.notes = [NO_CIDER] if len(self.references) == 1 else []

    def __call__(self, predictions: Sequence[str], meteor: bool = True) -> dict[str, float | None]:
        """Scores in the order of the references, for a look during training: no uncertain-positive ones, no thirds."""
        scores = self._systems({"": predictions}, meteor, None, validation=True)[""].scores
        return {name: value for name, value in scores.items() if not _NOT_IN_VALIDATION.search(name)}

    def systems(
        self,
        systems: Mapping[str, Sequence[str]],
        meteor: bool = True,
        raw: Mapping[str, Sequence[str]] | None = None,
    ) -> dict[str, SystemScores]:
        """Every figure of every system.

        Args:
            systems: reports of each system, cleaned, in the order of the references.
            meteor: whether to run METEOR, once for all.
            raw: the same reports as they were found, ``systems`` if absent.

        Raises:
            UserError: if a system has another number of reports than there are references.
        """
        return self._systems(systems, meteor, raw, validation=False)

    def _systems(
        self,
        systems: Mapping[str, Sequence[str]],
        meteor: bool,
        raw: Mapping[str, Sequence[str]] | None,
        validation: bool,
    ) -> dict[str, SystemScores]:
        for predictions in systems.values():
            check_reports(predictions, self.references)
        if not systems:
            return {}
        uncut = {} if self.full is None or validation else {"_full": self.full}
        targets = {suffix: self._spaced(texts, False) for suffix, texts in {"": self.references, **uncut}.items()}
        if uncut and targets["_full"] == targets[""]:
            targets["_full"] = targets[""]  # no reference was cut: what is known of one is known of the other
        truths = {id(truth): truth for truth in targets.values()}
        spaced = {name: self._spaced(reports, True) for name, reports in systems.items()}
        pairs = [
            pair for texts in spaced.values() for truth in truths.values() for pair in zip(texts, truth, strict=True)
        ]
        metrics = [metric for metric in METRICS if metric.validation or not validation]
        waiting = [metric for metric in metrics if metric.name == "METEOR"]  # for Java, which runs beside the others
        known: _Known = {}
        with MeteorRun(*zip(*pairs, strict=True)) if meteor else nullcontext() as run:
            scored = {
                name: self._scored(reports, texts, targets, (raw or systems)[name])
                for (name, reports), texts in zip(systems.items(), spaced.values(), strict=True)
            }
            others = [metric for metric in metrics if metric not in waiting]
            parts = {
                (name, suffix): _parts(one, suffix, others, known)
                for name, by_suffix in scored.items()
                for suffix, one in by_suffix.items()
            }
            counts = None if run is None else run.counts()
        runs = [(name, truth) for name in systems for truth in truths]
        blocks = dict(zip(runs, [None] * len(runs) if counts is None else np.split(counts, len(runs)), strict=True))
        for (name, suffix), found in parts.items():
            one = replace(scored[name][suffix], meteor=blocks[name, id(targets[suffix])])
            found += _parts(one, suffix, waiting, known)
        return {
            name: self._system([part for suffix in targets for part in parts[name, suffix]], scored[name][""])
            for name in systems
        }

    def _spaced(self, texts: Sequence[str], predicted: bool) -> list[str]:
        if self.published:
            even = [plain_blanks(text).replace("\n", " ") for text in texts]  # ROUGE splits at single blanks
            return [postprocess_prediction(text) for text in even] if predicted else even
        return [normalise_whitespace(postprocess_prediction(attach_punctuation(text))) for text in texts]

    def _scored(
        self, reports: Sequence[str], spaced: list[str], targets: Mapping[str, list[str]], raw: Sequence[str]
    ) -> dict[str, Scored]:
        """What the metrics read of one system, by suffix of the reference."""
        labels, conditions = self._labels(reports, raw), self.labeler.conditions
        embed = getattr(self.labeler, "embed", None)
        return {
            suffix: Scored(
                spaced, truth, raw, self.raw, labels, self.reference_labels, conditions, self.thirds, None, embed
            )
            for suffix, truth in targets.items()
        }

    def _system(self, parts: Sequence[_Part], scored: Scored) -> SystemScores:
        """Everything of one system whose sums are known."""
        missing = {name: None for part in parts for name in part.missing}
        sums = joined([part.sums for part in parts if part.sums is not None])
        classes = class_sums(scored.predicted_labels, scored.reference_labels, scored.conditions)
        scores = {**missing, **sums.scores()}
        order = [figure for metric in METRICS for figure in metric.figures]
        ranked = sorted(scores, key=lambda name: order.index(name) if name in order else len(order))
        return SystemScores({name: scores[name] for name in ranked}, sums, classes, scored.predicted_labels)

    def _labels(self, reports: Sequence[str], raw: Sequence[str]) -> np.ndarray:
        """Labels ``(n, 14 or 18)`` of predictions."""
        return silent_are_blank(self.labeler(texts_to_label(self.labeler, reports, raw)), reports)

    def per_class(self, system: SystemScores, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Precision, recall, F1 with its interval, if there is one, support and third of every condition."""
        values, spans = system.classes.scores(), intervals(system.classes, resamples, seed)
        counts = system.classes.values.sum(axis=0).reshape(3, -1)  # hits, found, expected
        return {
            condition: {
                **{measure: values[f"{condition}/{measure}"] for measure in ("precision", "recall", "f1")},
                "support": int(counts[2, i]),
                "predicted": int(counts[1, i]),
                **dict(zip(("f1_low", "f1_high"), spans.get(f"{condition}/f1", (None, None)), strict=True)),
                "third": (self.thirds or {}).get(condition),
            }
            for i, condition in enumerate(CHEXPERT_CONDITIONS)
        }


def texts_to_label(
    labeler: Labeler, reports: Sequence[str], raw: Sequence[str], whole: Sequence[str] | None = None
) -> list[str]:
    """What is labelled: the scored texts, but by the rules the structured answers of the raw ones as sentences.

    Args:
        labeler: that will label them.
        reports: cleaned reports.
        raw: the same as they were found.
        whole: the cleaned ones before they were cut.
    """
    return labelled_texts(reports, raw, whole) if labeler.name == "rule" else list(reports)


def silent_are_blank(labels: np.ndarray, reports: Sequence[str]) -> np.ndarray:
    """A copy of the labels ``(n, 14 or 18)`` of predictions in which one without a word says nothing, "no finding" neither."""
    labels = np.array(labels)
    labels[[not any(map(str.isalnum, text)) for text in reports]] = BLANK
    return labels


def _parts(scored: Scored, suffix: str, metrics: Sequence[Metric], known: _Known) -> list[_Part]:
    """What some metrics give of one system, under names that end in ``suffix``; ``known`` keeps what has been computed."""
    parts = []
    for metric in metrics:
        if suffix and not metric.cleaned:
            continue
        key = metric.name, id(scored.predictions), id(scored.references)
        if key not in known:
            known[key] = metric.sums(scored)
        sums = known[key]
        given = () if sums is None else sums.figures(sums.values[:1])
        missing = tuple(f"{figure}{suffix}" for figure in metric.figures if figure not in given)
        parts.append(_Part(sums if sums is None or not suffix else renamed(sums, suffix), missing))
    return parts
