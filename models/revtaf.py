"""REVTAF: retrieve, align, fuse, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.beam_search import GenerationLimits, mean_log_probability
from models.coarse_search import CoarseSearch
from models.config import RevtafConfig
from models.decoder_layers import PackedReports, put_states
from models.diagnosis_head import DiagnosisHead
from models.entity_queries import EntityQueries
from models.near_view import NearView
from models.ot_attention import TransportAttention, TransportFusion
from models.reference_tokens import ReferenceTokens
from models.report_decoder import ReportDecoder
from models.report_memory import ReportMemory
from models.retrieval_towers import RetrievalTowers, build_enhancer, stage_widths, stages
from models.visual_encoder import Seen, VisualEncoder

# a beam_search.Choose that is also told what is known of the studies: FusedStudy, hypotheses, scores -> (B,) positions
ChooseKnowing = Callable[["FusedStudy", Tensor, Tensor], Tensor]


@dataclass
class StudyInputs:
    """What the network may know of a study: nothing here comes from its own report or labels."""

    image: Tensor  # (B, 3, height, width)
    region_scores: Tensor  # (B, K), how strongly each entity shows in the image
    region_text: Tensor  # (B, K, E), entity embeddings conditioned on the image
    memory: Tensor  # (B, R, C), features of similar training reports
    reference_text: Tensor  # (B, S, C), sentence features of one retrieved training report
    reference_mask: Tensor  # (B, S), true for real sentences
    reference_tokens: Tensor  # (B, T), the words of the reports that are read, padded; T is 0 for a decoder without

    def to(self, device: torch.device) -> StudyInputs:
        """Copy to a device, asynchronously when the memory is pinned."""
        return StudyInputs(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


@dataclass
class PredictedPrompt:
    """Which studies of a batch have the predicted states in their prompts, as in generation, not the true ones."""

    chosen: Tensor  # (B,) bool
    state_ids: Tensor  # (P,), token ids of the states


@dataclass
class FusedStudy:
    """Everything known of a study before the first word is written."""

    state_logits: Tensor  # (B, P, L), without the class prior
    embedding: Tensor | None  # (B, H), None with towers, which are fitted by themselves
    region_text: Tensor  # (B, K, A), projected
    reference_text: Tensor  # (B, S, A), projected
    region_map: Tensor  # (B, K, M), cosines
    reference_map: Tensor  # (B, S, M), cosines
    presence_logits: Tensor | None  # (B, K), whether the patches show each entity; None where its text is asked instead
    reference_mask: Tensor  # (B, S), the sentences that took part
    fused: Tensor  # (B, M + T, 2 A), fused patches, then the words of the reference


@dataclass
class RevtafOutput(FusedStudy):
    """A fused study with the decoder's predictions."""

    token_logits: Tensor  # (S, V) of the scored tokens of packed reports, else (B, T, V)


class Revtaf(nn.Module):
    """The whole network.

    Source: Learnable Retrieval Enhanced Visual-Text Alignment and Fusion for Radiology Report Generation, ICCV 2025,
    arXiv 2507.07568.

    Args:
        config: sizes and switches.
    """

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = VisualEncoder(
            config.visual_extractor, config.image_size, config.visual_folder, fine=config.grid == "2x"
        )
        D, C, A = self.visual_encoder.width, config.report_feature_dim, config.attention_dim
        self.report_memory = None
        if config.memory_layers:
            self.report_memory = ReportMemory(
                visual_dim=D,
                width=C,
                layers=config.memory_layers,
                heads=config.num_heads,
                feedforward=config.memory_feedforward,
                dropout=config.dropout,
            )
        self.diagnosis_head = DiagnosisHead(D, C, config.num_states, config.num_conditions)
        self.retrieval_enhancer = build_enhancer(config, self.visual_encoder)
        self.project_patches = nn.Linear(D, A)
        self.project_region = nn.Linear(config.entity_text_dim, A)
        self.project_reference = nn.Linear(C, A)
        attention = TransportAttention(
            width=A,
            attention=config.attention,
            plan=config.ot_plan,
            solver=config.ot_solver,
            epsilon=config.ot_epsilon,
            iterations=config.ot_iterations,
        )
        self.fusion = TransportFusion(A, config.dropout, attention)
        self.near_view = self.coarse_search = None
        learned_keys = config.entity_keys == "query"
        if config.map_view != "patches":
            widths = stage_widths(self.visual_encoder.backbone, D)[:2]  # of two stages, or of the whole
            self.near_view = NearView(widths[0 if config.maps_first_stage else -1], A, config.map_cells)
            if config.maps_first_stage and learned_keys:
                self.coarse_search = CoarseSearch(config.num_entities, widths[-1], A)
        self.entity_queries = EntityQueries(config.num_entities, A, config.map_view) if learned_keys else None
        words = config.references * config.reference_memory
        self.reference_tokens = ReferenceTokens(words, config.hidden_size, 2 * A) if words else None
        self.report_decoder = ReportDecoder(config)

    def diagnose(self, image: Tensor, memory: Tensor) -> tuple[Seen, Tensor]:
        """See and diagnose: what the image model sees, and ``state_logits`` ``(B, P, L)``."""
        seen = self.visual_encoder(image)
        recalled = seen.pooled.new_zeros(len(image), self.config.report_feature_dim)  # (B, C)
        if self.report_memory is not None:
            recalled = self.report_memory(seen.pooled, memory)
        return seen, self.diagnosis_head(seen.pooled, recalled)  # (B, P, L)

    def look(self, image: Tensor, region_scores: Tensor, memory: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is known before anything is retrieved: ``state_logits`` ``(B, P, L)``, and the query tower's inputs.

        Returns:
            The states, and ``(B, F)`` for the query tower, None if there are no towers.
        """
        towers = self.retrieval_enhancer
        if not isinstance(towers, RetrievalTowers):
            return self.diagnose(image, memory)[1], None
        outputs: list[Tensor] = []
        hooks = [
            stage.register_forward_hook(lambda _, __, output: outputs.append(output))
            for stage in stages(self.visual_encoder.backbone)
        ]
        try:
            state_logits = self.diagnose(image, memory)[1]
        finally:
            for hook in hooks:
                hook.remove()
        return state_logits, towers.query_inputs(region_scores, outputs, state_logits, image)

    def align(self, seen: Seen, study: StudyInputs) -> dict[str, Any]:
        """Fuse entities and reference sentences into the patches: the fields of :class:`FusedStudy`, but for what is known before.

        Departure: the released code lets padding sentences take part. ``mask_padding = False`` does so.

        Departure: the released code lets the alignment loss move texts and patches. Here it moves W_k alone: the texts of
        the sentences and the patches of their maps are constants to it. ``align_pairs = "all"`` does as released.
        """
        patches = self.project_patches(seen.patches)  # (B, M, A)
        view = None
        if self.near_view is not None:
            stage = seen.nearest if self.config.maps_first_stage else seen.near
            if self.coarse_search is not None:  # the maps are fitted apart
                stage = stage.detach()
            view = self.near_view(self.near_view.cells(stage))  # (B, M, A) or (B, M, c, A)
        region_text = self.project_region(study.region_text)  # (B, K, A)
        reference_text = self.project_reference(study.reference_text)  # (B, S, A)
        every_entity = torch.ones_like(study.region_scores, dtype=torch.bool)  # (B, K)
        entity_keys = sentence_keys = None
        if self.entity_queries is not None:
            entity_keys = self.entity_queries.query.expand(len(patches), -1, -1)  # (B, K, A)
        keys_follow = self.config.align_pairs != "all"  # the alignment loss moves sentences' keys, not patches
        if keys_follow:
            sentence_keys = self.fusion.attention.k(reference_text.detach())  # (B, S, A)
        sentences = study.reference_mask
        if not self.config.mask_padding:
            sentences = torch.ones_like(sentences)
        # what is fused, (B, M, A), and the maps, (B, K, M) and (B, S, M)
        by_region, region_map = self.fusion(patches, region_text, every_entity, entity_keys, view)
        by_reference, reference_map = self.fusion(
            patches, reference_text, sentences, sentence_keys, view, fixed_patches=keys_follow
        )
        fused = torch.cat([by_reference, by_region], dim=-1)  # (B, M, 2 A)
        if self.reference_tokens is not None:
            words = self.report_decoder.word_vectors(study.reference_tokens)  # (B, T, hidden)
            columns = self.reference_tokens(words, study.reference_tokens != self.config.pad_id)  # (B, T, 2 A)
            fused = torch.cat([fused, columns.to(fused.dtype)], dim=1)  # (B, M + T, 2 A)
        return {
            "region_text": region_text,
            "reference_text": reference_text,
            "region_map": region_map,
            "reference_map": reference_map,
            "reference_mask": sentences,
            "presence_logits": self.presence(seen, region_map),
            "fused": fused,
        }

    def presence(self, seen: Seen, region_map: Tensor) -> Tensor | None:
        """Logits ``(B, K)`` of each entity: from its map ``(B, K, M)`` or, where maps are fitted apart, from wide cells."""
        if self.coarse_search is not None:
            return self.coarse_search(seen.near)
        return None if self.entity_queries is None else self.entity_queries.presence(region_map)

    def prompted(self, states: Tensor) -> Tensor:
        """What a prompt holds in place of the state tokens ``states`` ``(B, L)``: themselves, or padding (``--prompt none``)."""
        return states if self.config.prompt == "states" else torch.full_like(states, self.config.pad_id)

    def prompt_of(self, state_logits: Tensor, start_id: int, state_ids: Tensor) -> Tensor:
        """The prompt ``(B, 1 + L)`` that a report is written from: the start token and the likeliest states.

        Args:
            state_logits: ``(B, P, L)``.
            start_id: id of the start token.
            state_ids: ``(P,)`` token ids of the states.
        """
        states = state_logits.argmax(dim=1)  # (B, L)
        start = states.new_full((len(states), 1), start_id)
        return torch.cat([start, self.prompted(state_ids[states])], dim=1)

    def fuse(self, study: StudyInputs) -> FusedStudy:
        """See, diagnose, embed and align a batch."""
        seen, state_logits = self.diagnose(study.image, study.memory)
        embedding = None
        if self.config.enhancer == "scores":
            embedding = self.retrieval_enhancer(study.region_scores)  # (B, H)
        return FusedStudy(state_logits=state_logits, embedding=embedding, **self.align(seen, study))

    def forward(
        self,
        study: StudyInputs,
        token_ids: Tensor,
        token_mask: Tensor,
        packed: PackedReports | None = None,
        prompt: PredictedPrompt | None = None,
    ) -> RevtafOutput:
        """Predict the next tokens of known reports.

        Args:
            study: the inputs of a batch.
            token_ids: ``(B, T)`` diagnosis prompt with the true states, report, end token, padding.
            token_mask: ``(B, T)`` true for real tokens.
            packed: the same tokens packed, to predict only those that the report loss asks for.
            prompt: the studies whose prompt shall hold the predicted states instead; none if absent.

        Returns:
            Everything the losses read.
        """
        fused = self.fuse(study)
        states = chosen = None
        if self.config.prompt == "none":
            states = self.prompted(token_ids[:, 1 : self.config.prompt_length])  # (B, L)
            chosen = torch.ones(len(states), dtype=torch.bool, device=states.device)  # (B,)
        elif prompt is not None:
            states, chosen = prompt.state_ids[fused.state_logits.argmax(dim=1)], prompt.chosen
        if states is not None and chosen is not None:
            token_ids = torch.where(chosen.unsqueeze(1), put_states(token_ids, states), token_ids)
            packed = packed and packed.with_states(states, chosen)
        if packed is None:
            token_logits = self.report_decoder(fused.fused, token_ids, token_mask)  # (B, T, V)
        else:
            token_logits = self.report_decoder.predict(fused.fused, packed)  # (S, V)
        return RevtafOutput(**vars(fused), token_logits=token_logits)

    @torch.no_grad()
    def generate(
        self,
        study: StudyInputs,
        start_id: int,
        state_ids: Tensor,
        limits: GenerationLimits,
        choose: ChooseKnowing | None = None,
    ) -> tuple[Tensor, Tensor, FusedStudy]:
        """Write reports from the predicted states.

        Args:
            study: the inputs of a batch.
            start_id: id of the start token.
            state_ids: ``(P,)`` token ids of the states.
            limits: beams and lengths.
            choose: which of the hypotheses of each study is taken; the most probable one if absent.

        Returns:
            ``tokens`` ``(B, T)`` with the prompt, the mean log-probability ``(B,)`` of the words after it, and what was
            known before writing.
        """
        fused = self.fuse(study)
        prompt = self.prompt_of(fused.state_logits, start_id, state_ids)  # (B, 1 + L)
        choose_of = None if choose is None else partial(choose, fused)
        tokens, scores = self.report_decoder.generate(fused.fused, prompt, limits, choose_of)
        pad_id, end_id = self.config.pad_id, self.config.end_id
        return tokens, mean_log_probability(tokens, scores, prompt.shape[1], end_id, pad_id), fused
