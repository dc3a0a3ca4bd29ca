"""The smallest sensible model, inputs for it, and numbers that every machine makes alike."""

import math
import zlib

import numpy as np
import torch

from models.config import RevtafConfig
from models.revtaf import StudyInputs
from modules.training.losses import IGNORED, token_loss


def hashed(name, count):
    """Numbers that every machine makes alike: integer hashing to multiples of 2**-23 in [-1, 1)."""
    values, seed = np.empty(count), np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over="ignore"):
        for start in range(0, count, 1 << 15):  # what fits the cache is done ten times as fast
            z = np.arange(start, min(start + (1 << 15), count), dtype=np.uint64) + seed
            z = z * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            values[start : start + len(z)] = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return values


def golden_values(name, shape):
    """Made-up weights of the golden CheXbert and MedKLIP: hashed numbers, scaled by kind."""
    values = hashed(name, math.prod(shape))
    if len(shape) > 1:
        doubled = name.endswith(("in_proj_weight", "query.weight", "key.weight"))
        values *= math.sqrt(3 / math.prod(shape[1:])) * (2 if doubled else 1)
    else:
        values = 1 + 0.2 * values if name.endswith((".weight", "running_var")) else 0.1 * values
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


PUBLISHED_SWITCHES = {
    "ot_plan": "single", "mask_padding": False, "entity_keys": "text", "map_view": "patches", "align_pairs": "all",
    "reference_memory": 0, "tower_inputs": "thumbnail",
}  # fmt: skip


def tiny_config(**changes):
    """The smallest sensible model."""
    values = {
        "image_size": 64, "visual_extractor": "resnet10q", "grid": "1x", "report_feature_dim": 16, "memory_layers": 2,
        "memory_feedforward": 32, "num_heads": 4, "dropout": 0.1, "num_conditions": 18, "num_states": 4,
        "num_entities": 75, "enhancer": "scores", "manifold": "poincare", "curvature": 0.01, "learn_curvature": False,
        "hyperbolic_dim": 12, "hyperbolic_layers": 2, "tower_inputs": "style", "retrieval": "learned", "entity_text_dim": 24, "attention_dim": 20,
        "attention": "ot", "entity_keys": "query", "map_view": "near", "align_pairs": "mentions", "reference_memory": 6,
        "references": 1,
        "ot_plan": "joint", "ot_solver": "sinkhorn", "ot_epsilon": 0.05, "ot_iterations": 100, "mask_padding": True,
        "vocab_size": 50, "pad_id": 0, "end_id": 2, "prompt": "states", "decoder_layers": 2, "decoder_heads": 4, "hidden_size": 32,
        "intermediate_size": 64, "max_positions": 96,
    }  # fmt: skip
    return RevtafConfig(**{**values, **changes})


def tiny_study(batch=3, sentences=4, seed=0, size=64):
    """Random inputs for :func:`tiny_config`; the last study has one padding sentence."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.randn(*shape, generator=generator)

    mask = torch.ones(batch, sentences, dtype=torch.bool)
    mask[-1, -1] = False
    return StudyInputs(
        image=rand(batch, 3, size, size),
        region_scores=torch.rand(batch, 75, generator=generator),
        region_text=rand(batch, 75, 24),
        memory=rand(batch, 21, 16),
        reference_text=rand(batch, sentences, 16) * mask.unsqueeze(-1),
        reference_mask=mask,
        reference_tokens=torch.randint(0, 50, (batch, 6), generator=generator),
    )


def report_loss(token_logits, token_ids, token_mask, prompt_length, label_smoothing=0.1):
    """Cross-entropy of every next token from padded logits ``(B, T, V)``; prompt and padding are not predicted."""
    targets = token_ids.masked_fill(~token_mask, IGNORED)
    targets[:, :prompt_length] = IGNORED
    logits = token_logits[:, prompt_length - 1 : -1].flatten(0, 1)
    return token_loss(logits, targets[:, prompt_length:].flatten(), label_smoothing)
