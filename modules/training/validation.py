"""The validation of an epoch: generate, score, update the class prior; goes on where it was interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from models.revtaf import FusedStudy, Revtaf
from modules.corpus.dataloaders import evaluation_batches, evaluation_loader
from modules.corpus.datasets import Batch, ReportDataset
from modules.distributed import autocast, is_main, watch
from modules.evaluation.distinctness import Distinctness
from modules.evaluation.generation import finite, generate_reports, search_of, state_sums
from modules.evaluation.kept_rows import KeptRows
from modules.evaluation.model_figures import warnings
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import Labeler
from modules.messages import UserError
from modules.options.programs import MainTrain
from modules.options.set_size import FEW_STEPS
from modules.retrieval.references import find_references, reference_agreement
from modules.training.objective import next_prior


class Validation:
    """Scores of the validation split.

    Args:
        model: on its device.
        val_set: validation studies.
        labeler: of generated and reference reports.
        options: of ``main_train.py``.
        device: of this process.
        between: called before every batch; may raise to stop.

    Attributes:
        weights: checksum of the checkpoint that holds the model's present weights, None once a step has moved them.

    Raises:
        UserError: if ``--monitor_metric`` is no score of a validation.
    """

    def __init__(
        self,
        model: Revtaf,
        val_set: ReportDataset,
        labeler: Labeler,
        options: MainTrain,
        device: torch.device,
        between: Callable[[], None],
    ) -> None:
        self.model, self.val_set, self.options, self.device, self.between = model, val_set, options, device, between
        self.search = search_of(options.generation, labeler)
        self.distinct = Distinctness()
        self.weights: str | None = None
        self.kept: KeptRows | None = None
        few = [val_set.reports[i] for i in range(min(2, len(val_set)))]  # scored for the names of the scores alone
        meteor = options.training.val_meteor and options.training.monitor_metric == "val_METEOR"
        names = self._scores(ReportScorer(few, labeler), few, val_set.labels[:2], meteor=meteor)
        if options.training.monitor_metric not in names:
            raise UserError(
                f"--monitor_metric {options.training.monitor_metric} is not among the validation scores: choose one of "
                f"{', '.join(names)}"
            )
        raw = [study.report for study in val_set.studies]
        full = val_set.full_reports
        self.scorer = ReportScorer(val_set.reports, labeler, full=full, raw=raw) if is_main() else None

    def generate(self) -> list[dict[str, Any]]:
        """Write the reports of the split, or those that an interrupted validation has not written; all are on disk then."""
        options = self.options
        assert self.weights is not None, "a validation belongs to a saved checkpoint"
        with watch().patience():
            find_references(self.model, self.val_set, options.model.retrieval, options)
        self.kept = KeptRows(Path(options.run.save_dir), self.weights, self.between)
        self.distinct = Distinctness()
        mine = evaluation_batches(len(self.val_set), options.loading.at_once)
        self.distinct.of_studies += [self.kept.notes[i] for batch in mine for i, _ in self.kept.done(batch)]
        return generate_reports(
            self.model,
            self.val_set,
            self.search,
            device=self.device,
            precision=options.compute.precision,
            loading=options.loading,
            kept=self.kept,
            watch=(self.distinct, self._note),
        )

    def _note(self, batch: Batch, _: FusedStudy) -> None:
        assert self.kept is not None, "reports are being generated"
        self.kept.note(self.distinct.of_studies[-len(batch.index) :])

    @torch.no_grad()
    def distinctness(self, steps: int) -> dict[str, float]:
        """``val_text_cosine`` and ``val_map_correlation`` after an epoch that has no validation; warns as one does.

        They are those of the first studies alone, as many as one process looks at together.

        Args:
            steps: of the training so far.
        """
        at_once, distinct = self.options.loading.at_once, Distinctness()
        self.model.eval()
        first = evaluation_batches(min(len(self.val_set), at_once), at_once)
        for batch in evaluation_loader(self.val_set, at_once, 0, first):
            batch = finite(self.val_set, batch)
            with autocast(self.device, self.options.compute.precision):
                distinct(batch, self.model.fuse(self.val_set.to_device(batch, self.device).study))
        figures = distinct.figures()
        if steps >= FEW_STEPS and is_main():
            _say(warnings(figures))
        return {f"val_{name}": value for name, value in figures.items()}

    def score(
        self, rows: list[dict[str, Any]], class_prior: torch.Tensor, steps: int
    ) -> tuple[dict[str, float], torch.Tensor]:
        """Compare reports and states with the references.

        Args:
            rows: of :meth:`generate`.
            class_prior: ``(L,)`` of the epoch.
            steps: of the training so far.

        Returns:
            The scores, on the main process, and the next class prior ``(L,)``.
        """
        probability = np.array([row["positive_probability"] for row in rows])  # (n, L)
        updated = next_prior(probability, self.val_set.labels, class_prior)
        figures = self.distinct.figures()
        if self.scorer is None:
            return {}, updated
        with watch().patience():
            states = np.array([row["states"] for row in rows])  # (n, L)
            predictions, meteor = [row["prediction"] for row in rows], self.options.training.val_meteor
            scores = self._scores(self.scorer, predictions, self.val_set.labels, states, meteor)
        _say(warnings({**figures, "trained_steps": steps}))
        more = {f"val_{name}": value for name, value in {**figures, **reference_agreement(self.val_set)}.items()}
        return scores | more, updated

    @staticmethod
    def _scores(
        scorer: ReportScorer,
        predictions: list[str],
        labels: np.ndarray,
        states: np.ndarray | None = None,
        meteor: bool = False,
    ) -> dict[str, Any]:
        scores = scorer(predictions, meteor=meteor) | state_sums(labels if states is None else states, labels).scores()
        return {f"val_{name}": value for name, value in scores.items() if value is not None}

    def forget(self) -> None:
        """Remove the reports of a validation whose row is saved."""
        if self.kept is not None:
            self.kept.remove()
            self.kept = None


def _say(sentences: Sequence[str]) -> None:
    tqdm.write("".join(f"{sentence}\n" for sentence in sentences), file=sys.stderr, end="")
