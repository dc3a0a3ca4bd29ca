"""The published network with random weights, a batch for it, and our training step: what several benchmarks run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.config import RevtafConfig
from models.cpu.linear import has_onednn
from models.decoder_layers import PackedReports
from models.revtaf import Revtaf, StudyInputs
from modules.corpus.datasets import Batch, ReportDataset
from modules.distributed import autocast
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.options.flags import TrainingOptions
from modules.training.known_pairs import KnownPairs
from modules.training.objective import Step, objective
from modules.training.optimizers import clip_gradients

LOSS = TrainingOptions(presence_weight=0)  # of the released code
BERT_VOCABULARY = 30522 + 5  # and the start token and four states


def published_config(quick: bool) -> RevtafConfig:
    """The network of the released code in the size of train_mimic_cxr.sh, with BERT's vocabulary; or a tiny one of its shape."""
    tiny = {
        "image_size": 64, "visual_extractor": "resnet10q", "report_feature_dim": 16, "memory_feedforward": 32,
        "hyperbolic_dim": 12, "entity_text_dim": 24, "attention_dim": 20, "decoder_layers": 2, "decoder_heads": 4,
        "hidden_size": 32, "intermediate_size": 64, "vocab_size": 60, "num_heads": 4,
    }  # fmt: skip
    values = {
        "image_size": 224, "visual_extractor": "resnet101", "grid": "1x", "report_feature_dim": 512, "memory_layers": 2,
        "memory_feedforward": 2048, "num_heads": 8, "dropout": 0.1, "num_conditions": len(CONDITIONS),
        "num_states": len(STATES), "num_entities": len(ENTITIES), "enhancer": "scores", "manifold": "poincare",
        "curvature": 0.01, "learn_curvature": False, "hyperbolic_dim": 512, "hyperbolic_layers": 2, "retrieval": "learned",
        "entity_text_dim": 768, "attention_dim": 1024, "attention": "ot", "entity_keys": "text", "map_view": "patches",
        "align_pairs": "all", "reference_memory": 0, "references": 1, "ot_plan": "joint", "ot_solver": "sinkhorn",
        "ot_epsilon": 0.05, "ot_iterations": 100, "mask_padding": True, "vocab_size": BERT_VOCABULARY, "pad_id": 0,
        "end_id": 2, "prompt": "states", "decoder_layers": 12, "decoder_heads": 12, "hidden_size": 768, "intermediate_size": 3072,
        "max_positions": 512,
    }  # fmt: skip
    return RevtafConfig(**{**values, **(tiny if quick else {})})


def default_config(quick: bool) -> RevtafConfig:
    """The network of train_mimic_cxr.sh, which is :func:`published_config` with the switches of today's defaults."""
    return replace(
        published_config(quick), enhancer="towers", entity_keys="query", map_view="near", align_pairs="mentions",
        reference_memory=120,
    )  # fmt: skip


def random_pairs(size: int, sentences: int = 8) -> KnownPairs:
    """Which entities the ``sentences`` of each of ``size`` references name, for ``align_pairs="mentions"``."""
    reports = ["there is a small pleural effusion . " * sentences] * size
    bank = SimpleNamespace(reports=reports, store={"sentence_offsets": np.arange(size + 1) * sentences})
    return KnownPairs(cast(ReportDataset, SimpleNamespace(bank=bank, reference_rows=np.arange(size))), "mentions")


def random_batch(
    config: RevtafConfig, size: int, tokens: int, sentences: int = 8, lengths: Sequence[float] = (1,)
) -> Batch:
    """``size`` studies with reports of ``tokens`` tokens, prompt included; images already normalised.

    ``lengths`` are the shares of ``tokens`` that the reports have in turn; the rest is padding.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    study = StudyInputs(
        image=normal(size, 3, config.image_size, config.image_size),
        region_scores=torch.rand(size, config.num_entities, generator=generator),
        region_text=normal(size, config.num_entities, config.entity_text_dim),
        memory=normal(size, 21, config.report_feature_dim),
        reference_text=normal(size, sentences, config.report_feature_dim),
        reference_mask=torch.ones(size, sentences, dtype=torch.bool),
        reference_tokens=torch.randint(
            3, config.vocab_size, (size, config.references * config.reference_memory), generator=generator
        ),
    )
    ids = torch.randint(3, config.vocab_size, (size, tokens), generator=generator)
    labels = torch.randint(0, config.num_states, (size, config.num_conditions), generator=generator)
    length = torch.tensor([round(lengths[i % len(lengths)] * tokens) for i in range(size)])
    mask = torch.arange(tokens) < length[:, None]  # (size, tokens)
    ids = ids.masked_fill(~mask, config.pad_id)
    return Batch(study, ids, mask, PackedReports.of(ids, mask, config.prompt_length), labels, list(range(size)))


def our_loss(
    model: Revtaf, batch: Batch, prior: torch.Tensor, precision: str, wrapped: nn.Module | None = None
) -> torch.Tensor:
    """Total loss as the trainer computes it; ``wrapped`` is the model of several processes."""
    with autocast(batch.labels.device, precision):
        output = (model if wrapped is None else wrapped)(batch.study, batch.token_ids, batch.token_mask, batch.packed)
    return objective(Step(model, output, batch, prior, LOSS))["loss"]


def our_step(
    model: Revtaf,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    prior: torch.Tensor,
    precision: str,
    wrapped: nn.Module | None = None,
) -> None:
    """Forward, backward and optimizer as in the trainer."""
    loss = our_loss(model.train(), batch, prior, precision, wrapped)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clip_gradients(model.parameters(), 0.1)
    optimizer.step()


def count_flops(work: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and convolutions in ``work``."""

    def of_linear(x_shape: Sequence[int], weight_shape: Sequence[int], *_: Any, **__: Any) -> int:
        return 2 * torch.Size(x_shape).numel() * weight_shape[0]

    own = {torch.ops.mkldnn._linear_pointwise: of_linear} if has_onednn() else {}
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        work()
    return counter.get_total_flops()


def published_model(config: RevtafConfig) -> Revtaf:
    """The network, always with the same random weights."""
    torch.manual_seed(0)
    return Revtaf(config)
