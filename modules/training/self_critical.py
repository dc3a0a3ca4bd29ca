"""Self-critical training: reports that the decoder draws, and what they are worth."""

from __future__ import annotations

import torch
from torch import Tensor

from models.beam_search import GenerationLimits
from models.decoder_layers import PackedReports
from models.report_sampling import drawable
from models.revtaf import FusedStudy, Revtaf
from modules.corpus.dataloaders import rarity
from modules.corpus.datasets import Batch, ReportDataset
from modules.distributed import autocast
from modules.evaluation.generation import search_of
from modules.evaluation.metrics.clinical import example_f1, positives
from modules.evaluation.scorer import silent_are_blank, texts_to_label
from modules.labelling.labelers import Labeler, label_together
from modules.options.programs import MainTrain
from modules.training.objective import DrawnReports


class SelfCritical:
    """Draws reports of the studies of a step and compares their findings with those of the studies' own reports.

    They are written from the predicted states, as in a test, and from what the forward pass of the step has fused, which takes
    their gradients too. The decoder has no dropout meanwhile, so that a report has the probability that it was drawn with.

    Args:
        model: on its device.
        train_set: studies whose batches are asked for.
        labeler: of drawn and of own reports.
        limits: their lengths.
        number: of each study.
        precision: ``--precision``.
        power: of the rate of a condition, ``--scst_rarity``.

    Attributes:
        active: whether this epoch draws.
    """

    def __init__(
        self,
        model: Revtaf,
        train_set: ReportDataset,
        labeler: Labeler,
        limits: GenerationLimits,
        number: int,
        precision: str,
        power: float = 0.0,
    ) -> None:
        self.model, self.train_set, self.labeler = model, train_set, labeler
        self.limits, self.number, self.precision, self.active = limits, number, precision, True
        raw = [study.report for study in train_set.studies]
        texts = texts_to_label(labeler, train_set.reports, raw, train_set.full_reports)
        self.own = label_together(labeler, texts)  # (n, 14 or 18)
        self.weights = rarity(positives(self.own, labeler.conditions), power)  # (14,)

    @classmethod
    def of(cls, model: Revtaf, train_set: ReportDataset, labeler: Labeler, options: MainTrain) -> SelfCritical | None:
        """What ``--scst`` asks for; None for 0."""
        if not options.training.scst:
            return None
        limits, training = search_of(options.generation, labeler).limits, options.training
        precision = options.compute.precision
        return cls(model, train_set, labeler, limits, training.scst, precision, training.scst_rarity)

    def __call__(self, fused: FusedStudy, batch: Batch) -> DrawnReports:
        """Draw ``n`` reports of every study of ``batch``, of which ``fused`` is known."""
        tokenizer, decoder, device = self.train_set.tokenizer, self.model.report_decoder, fused.fused.device
        state_ids = torch.tensor(tokenizer.state_ids, device=device)
        prompt = self.model.prompt_of(fused.state_logits, tokenizer.start_id, state_ids)  # (B, 1 + L)
        columns, prompt = (x.repeat_interleave(self.number, dim=0) for x in (fused.fused, prompt))
        training = decoder.training
        decoder.eval()
        with autocast(device, self.precision):
            token_ids = decoder.draw(columns, prompt, self.limits)  # (B * n, T)
        real = token_ids != tokenizer.pad_id
        real[:, : prompt.shape[1]] = True  # a prompt that tells nothing is padding
        packed = PackedReports.of(token_ids, real, prompt.shape[1])
        with autocast(device, self.precision):
            logits = decoder.predict(columns, packed)  # (S, V)
        decoder.train(training)
        return DrawnReports(self.reward(token_ids, batch).to(device), self._log_probability(logits, packed))

    def reward(self, token_ids: Tensor, batch: Batch) -> Tensor:
        """``ce_f1`` ``(B, n)`` of the drawn reports ``token_ids`` ``(B * n, T)``, in which conditions have their weights."""
        reports = [self.train_set.tokenizer.decode(ids) for ids in token_ids.tolist()]
        drawn = silent_are_blank(self.labeler.label_once(reports), reports)
        own = self.own[batch.index].repeat(self.number, axis=0)  # (B * n, 14 or 18)
        f1 = example_f1(drawn, own, self.labeler.conditions, self.weights)  # (B * n,)
        return torch.from_numpy(f1).float().view(-1, self.number)

    def _log_probability(self, logits: Tensor, packed: PackedReports) -> Tensor:
        """Log-probability ``(B, n)`` of whole reports with ``logits`` ``(S, V)`` of their words."""
        too_short = packed.position[packed.scored] + 1 < self.limits.min_length  # (S,)
        possible = drawable(logits, too_short, self.model.config.end_id, self.model.config.pad_id)  # (S, V)
        of_words = possible.gather(1, packed.targets[:, None])[:, 0]  # (S,)
        report = packed.place[packed.scored] // packed.shape[1]  # (S,)
        of_reports = of_words.new_zeros(packed.shape[0]).index_add(0, report, of_words)  # (B * n,)
        return of_reports.view(-1, self.number)
