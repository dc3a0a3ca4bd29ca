"""A second search for the reports that do not say what the image showed.

A sentence that no beam holds cannot be taken. So the reports that leave a predicted finding out, or say one that was not
predicted, are searched for again, and every word is pushed away from what the decoder would write if it were told the states
that the first report says. The two prompts differ in the missed findings alone, and so do the words that gain.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from models.beam_reader import NegativePrompt
from models.beam_search import GenerationLimits, written_length
from models.decoder_layers import PackedReports
from models.report_decoder import ReportDecoder
from models.revtaf import FusedStudy, Revtaf
from modules.corpus.tokenizer import ReportTokenizer
from modules.evaluation.reranking import best_hypothesis
from modules.labelling.labelers import Labeler
from modules.labels import CONDITIONS, POSITIVE

UNLIKELY = 1.0  # nats a word by which a report is salad beside the first one: a guidance of 10 writes such, one of 1 lost .38 at most


@dataclass(frozen=True, kw_only=True)
class SecondSearch:
    """Searches once more where a report does not say the predicted findings (``--second_search``).

    Attributes:
        limits: beams and lengths.
        guidance: how far words are pushed away from those of the first report; 0 searches again with other beams alone.
        tokenizer: reads reports.
        labeler: what they say.
        maps: whether the sides of the maps count, see :func:`modules.evaluation.reranking.best_hypothesis`.
    """

    limits: GenerationLimits
    guidance: float
    tokenizer: ReportTokenizer
    labeler: Labeler
    maps: bool

    @torch.no_grad()
    def __call__(self, model: Revtaf, fused: FusedStudy, tokens: Tensor, certainty: Tensor) -> tuple[Tensor, Tensor]:
        """The reports, each replaced by what was found now where that differs from the predicted states in fewer findings.

        One whose words are much less likely (``UNLIKELY``) replaces none.

        Args:
            model: in evaluation.
            fused: what was known of B studies before writing.
            tokens: ``(B, T)`` their reports with the prompt; a decoder that is told no states keeps them.
            certainty: ``(B,)`` mean log-probability of their words.

        Returns:
            ``tokens`` ``(B, T)`` and ``certainty`` ``(B,)``, both of the unguided decoder.

        Departure: published reports are those of one search: ``--second_search 0``.
        """
        predicted = fused.state_logits.argmax(dim=1)  # (B, L)
        said = self.said(tokens, predicted)
        differing = (said != predicted).sum(dim=1)  # (B,)
        again = differing.nonzero()[:, 0]  # (R,)
        if len(again) == 0 or model.config.prompt != "states":
            return tokens, certainty
        part, state_ids = _rows(fused, again), torch.tensor(self.tokenizer.state_ids, device=tokens.device)
        prompt = tokens[again, : model.config.prompt_length]  # (R, 1 + L)
        negative = NegativePrompt(torch.cat([prompt[:, :1], state_ids[said[again]]], dim=1), self.guidance)
        map_view = model.config.map_view
        choose = partial(
            best_hypothesis, part, tokenizer=self.tokenizer, labeler=self.labeler, maps=self.maps, map_view=map_view
        )
        decoder = model.report_decoder
        found, _ = decoder.generate(part.fused, prompt, self.limits, choose, negative if self.guidance else None)
        fewer = (self.said(found, predicted[again]) != predicted[again]).sum(dim=1) < differing[again]  # (R,)
        better, found = again[fewer], found[fewer]
        if len(better) == 0:
            return tokens, certainty
        sure = certainty_of(decoder, fused.fused[better], found, prompt.shape[1]).to(certainty.dtype)
        likely = sure > certainty[better] - UNLIKELY
        better, found, sure = better[likely], found[likely], sure[likely]
        return tokens.index_copy(0, better, found), certainty.index_copy(0, better, sure)

    def said(self, tokens: Tensor, predicted: Tensor) -> Tensor:
        """The predicted states ``(B, L)``, and where a report differs from them in a positive finding what it says."""
        known = [CONDITIONS.index(name) for name in self.labeler.conditions]
        columns = torch.tensor(known, device=predicted.device)
        labels = self.labeler([self.tokenizer.decode(one) for one in tokens.tolist()])
        said = predicted.index_copy(1, columns, torch.as_tensor(labels).to(predicted.device, predicted.dtype))
        return torch.where((said == POSITIVE) != (predicted == POSITIVE), said, predicted)


def certainty_of(decoder: ReportDecoder, fused: Tensor, tokens: Tensor, start: int) -> Tensor:
    """Mean log-probability ``(R,)`` of the words of reports, the end token among them, by reading them.

    Of a search that nothing pushes away :func:`models.beam_search.mean_log_probability` knows it from its score.

    Args:
        decoder: in evaluation.
        fused: ``(R, M + T, 2 A)`` fused patches, then the words of the references.
        tokens: ``(R, T)`` reports with the prompt, padded.
        start: tokens of the prompt.
    """
    length = written_length(tokens, decoder.pad_id)  # (R,)
    written = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]  # (R, T)
    packed = PackedReports.of(tokens, written, start)
    sure = decoder.predict(fused, packed).float().log_softmax(dim=-1)
    sure = sure.gather(1, packed.targets[:, None])[:, 0]  # (S,), one report after the other
    report = torch.arange(len(tokens), device=tokens.device).repeat_interleave(length - start)
    return sure.new_zeros(len(tokens)).index_add(0, report, sure) / (length - start)


def _rows(fused: FusedStudy, rows: Tensor) -> FusedStudy:
    values = {field.name: getattr(fused, field.name) for field in fields(FusedStudy)}
    return replace(fused, **{name: value[rows] for name, value in values.items() if value is not None})
