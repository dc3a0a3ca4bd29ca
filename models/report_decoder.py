"""The language model that writes the report, looking at the fused patches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.beam_reader import BeamReader, NegativePrompt
from models.beam_search import Choose, GenerationLimits, beam_search
from models.config import RevtafConfig
from models.decoder_layers import PackedReports, attend, score_reports
from models.decoder_parameters import DecoderNetwork, as_transformers
from models.report_sampling import draw_reports

if TYPE_CHECKING:
    from transformers import BlipTextLMHeadModel


class ReportDecoder(nn.Module):
    """BERT decoder with cross-attention.

    ``BlipTextLMHeadModel`` of transformers is the published decoder to the bit: no segment embeddings, post-norm,
    cross-attention in every layer, tied output embeddings. Parameter names below ``network`` are its own.

    Args:
        config: model configuration; the encoder width is ``2 * attention_dim``.
    """

    # models.cpu.speed_up and models.gpu.speed_up put faster ones into an object
    attend, score = staticmethod(attend), staticmethod(score_reports)
    reader: type[BeamReader] = BeamReader
    drawing_reader: type[BeamReader] = BeamReader
    search: Callable[..., tuple[Tensor, Tensor]] = staticmethod(beam_search)
    word_loss: Callable[..., Tensor] | None = None  # in place of torch's cross-entropy

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.end_id, self.pad_id = config.end_id, config.pad_id
        self.network = DecoderNetwork(config)

    @cached_property
    def reference(self) -> BlipTextLMHeadModel:
        """Transformers' decoder over the same parameters; no part of the model's own."""
        return as_transformers(self.network)

    def word_vectors(self, token_ids: Tensor) -> Tensor:
        """Word vectors ``(B, T, hidden)`` of tokens ``(B, T)``, without their positions."""
        return F.embedding(token_ids, self.network.bert.embeddings.word_embeddings.weight)

    def predict(self, fused: Tensor, reports: PackedReports) -> Tensor:
        """Predict the tokens of known reports that the report loss asks for, and nothing else.

        Args:
            fused: ``(B, M + T, 2 A)`` fused patches, then the words of the references.
            reports: their tokens.

        Returns:
            ``(S, V)`` logits of ``reports.targets``.
        """
        return self.score(self.network, reports, fused, self.attend)

    def forward(self, fused: Tensor, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Predict every next token of known reports, prompt and padding included, by transformers' own code.

        Args:
            fused: ``(B, M + T, 2 A)`` fused patches, then the words of the references.
            token_ids: ``(B, T)`` diagnosis prompt, report, end token, padding.
            token_mask: ``(B, T)`` true for real tokens.

        Returns:
            ``(B, T, V)`` logits; position ``t`` predicts token ``t + 1``.
        """
        output = self.reference(
            input_ids=token_ids,
            attention_mask=token_mask.long(),
            encoder_hidden_states=fused,
            is_decoder=True,
            use_cache=False,
        )
        return output.logits  # (B, T, V)

    @torch.no_grad()
    def generate(
        self,
        fused: Tensor,
        prompt: Tensor,
        limits: GenerationLimits,
        choose: Choose | None = None,
        negative: NegativePrompt | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Write reports by beam search.

        Args:
            fused: ``(B, M + T, 2 A)`` fused patches, then the words of the references.
            prompt: ``(B, 1 + L)`` start token and one state token per condition.
            limits: beams and lengths.
            choose: see :func:`models.beam_search.beam_search`.
            negative: another prompt of each report, from whose words the search is pushed away.

        Returns:
            ``tokens`` ``(B, T)`` with the prompt, and ``scores`` ``(B,)``.
        """
        reader = self.reader(self.network, fused, prompt.shape[1], limits, negative)
        return self.search(reader, prompt, limits, self.end_id, self.pad_id, choose)

    @torch.no_grad()
    def draw(self, fused: Tensor, prompt: Tensor, limits: GenerationLimits) -> Tensor:
        """Draw reports; the network is in evaluation.

        Args:
            fused: ``(R, M + T, 2 A)`` of each report, fused patches, then the words of the references.
            prompt: ``(R, 1 + L)`` start token and one state token per condition.
            limits: lengths.

        Returns:
            ``tokens`` ``(R, T)``, see :func:`models.report_sampling.draw_reports`.
        """
        reader = self.drawing_reader(self.network, fused, prompt.shape[1], replace(limits, beams=1))
        return draw_reports(reader, prompt, limits, self.end_id, self.pad_id)
