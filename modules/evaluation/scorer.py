"""Score generated reports against fixed references, by every convention at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.corpus.text import postprocess_prediction
from modules.evaluation.metrics.clinical import class_sums, clinical_scores, clinical_sums, example_f1
from modules.evaluation.metrics.meteor import MeteorRun
from modules.evaluation.metrics.nlg import NO_CIDER, Overlap, check_reports, nlg_scores, overlap, with_meteor
from modules.evaluation.metrics.significance import RESAMPLES, intervals
from modules.evaluation.metrics.sufficient_sums import StudySums, joined, renamed
from modules.labelling.cache import cached_labels
from modules.labelling.labelers import Labeler
from modules.labels import BLANK, CHEXPERT_CONDITIONS

PER_STUDY = ("BLEU_4", "ROUGE_L", "METEOR", "CIDEr")


@dataclass
class SystemScores:
    """Everything known of one system.

    ``scores`` by figure (METEOR is None if it was not run), ``per_study`` ``(n,)`` by name, ``sums`` behind the scores,
    ``classes`` behind those of single conditions, ``labels`` of its reports.
    """

    scores: dict[str, float | None]
    per_study: dict[str, np.ndarray | None]
    sums: StudySums
    classes: StudySums
    labels: np.ndarray

    def intervals(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95 % interval by figure."""
        return intervals(self.sums, resamples, seed)

    def add(self, sums: StudySums) -> None:
        """Add the figures of another metric."""
        self.sums = joined([self.sums, sums])
        self.scores |= sums.scores()


class ReportScorer:
    """NLG and clinical-efficacy scores against fixed references, which are labelled once.

    Args:
        references: cleaned references, cut as published; what the plain names are scored against.
        labeler: labels references and predictions alike.
        full: the same references uncut, for the names that end in ``_full``; those are left out if absent.
        thirds: what :func:`modules.evaluation.metrics.clinical.frequency_thirds` returned.
        cache: folder that keeps the labels of the references, if any.
    """

    def __init__(
        self,
        references: Sequence[str],
        labeler: Labeler,
        *,
        full: Sequence[str] | None = None,
        thirds: Mapping[str, str] | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self.references, self.labeler, self.thirds = list(references), labeler, thirds
        self.full = None if full is None else list(full)
        self.reference_labels = cached_labels(labeler, self.references, cache)  # (n, 14 or 18)
        self.notes = [NO_CIDER] if len(self.references) == 1 else []

    def __call__(self, predictions: Sequence[str], meteor: bool = True) -> dict[str, float | None]:
        """The published scores alone, in the order of the references; for a look during training."""
        scores = nlg_scores(list(predictions), self.references, meteor=meteor)
        predicted = self._labels(predictions)
        return {**scores, **clinical_scores(predicted, self.reference_labels, conditions=self.labeler.conditions)}

    def systems(self, systems: Mapping[str, Sequence[str]], meteor: bool = True) -> dict[str, SystemScores]:
        """Every figure of every system.

        Args:
            systems: reports of each system, in the order of the references.
            meteor: whether to run METEOR, once for all.

        Raises:
            ValueError: if a system has another number of reports than there are references.
        """
        for predictions in systems.values():
            check_reports(predictions, self.references)
        spaced = {name: [postprocess_prediction(text) for text in reports] for name, reports in systems.items()}
        targets = {"": self.references} | ({} if self.full is None else {"_full": self.full})
        pairs = [
            pair for texts in spaced.values() for truth in targets.values() for pair in zip(texts, truth, strict=True)
        ]
        with MeteorRun(*zip(*pairs, strict=True)) if meteor else nullcontext() as run:
            scored = [overlap(texts, truth) for texts in spaced.values() for truth in targets.values()]
            counts = None if run is None else run.counts()
        if counts is not None:
            scored = [with_meteor(*both) for both in zip(scored, np.split(counts, len(scored)), strict=True)]
        blocks = iter(scored)
        return {
            name: self._with_labels(reports, {s: next(blocks) for s in targets}) for name, reports in systems.items()
        }

    def _with_labels(self, reports: Sequence[str], scored: Mapping[str, Overlap]) -> SystemScores:
        """Everything of one system whose word-overlap scores are known by suffix of their names."""
        labels, conditions = self._labels(reports), self.labeler.conditions
        clinical = clinical_sums(labels, self.reference_labels, conditions, self.thirds)
        scores = {f"{name}{suffix}": value for suffix, one in scored.items() for name, value in one.corpus.items()}
        per_study = {figure: scored[""].each[figure] for figure in PER_STUDY}
        per_study["ce_f1"] = example_f1(labels, self.reference_labels, conditions)
        sums = joined([*(renamed(one.sums, suffix) for suffix, one in scored.items()), clinical])
        classes = class_sums(labels, self.reference_labels, conditions)
        return SystemScores(scores | clinical.scores(), per_study, sums, classes, labels)

    def _labels(self, reports: Sequence[str]) -> np.ndarray:
        """Labels ``(n, 14 or 18)``; an empty report says nothing, "no finding" neither."""
        labels = np.array(self.labeler(list(reports)))
        labels[[not any(map(str.isalnum, text)) for text in reports]] = BLANK
        return labels

    def per_class(self, system: SystemScores, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Precision, recall, F1 with its interval, support and third of every condition."""
        values, spans = system.classes.scores(), intervals(system.classes, resamples, seed)
        counts = system.classes.values.sum(axis=0).reshape(3, -1)  # hits, found, expected
        return {
            condition: {
                **{measure: values[f"{condition}/{measure}"] for measure in ("precision", "recall", "f1")},
                "support": int(counts[2, i]),
                "predicted": int(counts[1, i]),
                "f1_low": spans[f"{condition}/f1"][0],
                "f1_high": spans[f"{condition}/f1"][1],
                "third": (self.thirds or {}).get(condition),
            }
            for i, condition in enumerate(CHEXPERT_CONDITIONS)
        }
