"""What the report decoder has learned, under the names that BLIP's text decoder has in transformers.

Importing that decoder takes longer than writing a report, and none of its code writes one: the layers in
``decoder_layers.py`` do. So the parameters stand here, and transformers' own code is imported only to compare with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from models.config import RevtafConfig

if TYPE_CHECKING:
    from transformers import BlipTextLMHeadModel

DEVIATION = 0.02  # of random weights
LAYER_NORM = 1e-12  # added to a variance


class Attention(nn.Module):
    """Queries of the tokens, of ``hidden`` numbers each, and keys and values of the ``width`` numbers that they read."""

    def __init__(self, config: RevtafConfig, width: int) -> None:
        super().__init__()
        self.num_attention_heads = config.decoder_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(width, config.hidden_size)
        self.value = nn.Linear(width, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)


class Added(nn.Module):
    """A projection of ``width`` numbers, to be dropped out, added to the tokens and normalised."""

    def __init__(self, config: RevtafConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM)
        self.dropout = nn.Dropout(config.dropout)


class DecoderLayer(nn.Module):
    """Reads its own tokens, then the patches, then has a feed-forward part."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        hidden, wide = config.hidden_size, config.intermediate_size
        self.attention = nn.ModuleDict({"self": Attention(config, hidden), "output": Added(config, hidden)})
        self.crossattention = nn.ModuleDict(
            {"self": Attention(config, 2 * config.attention_dim), "output": Added(config, hidden)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, wide), "intermediate_act_fn": nn.GELU()})
        self.output = Added(config, wide)


class Embeddings(nn.Module):
    """Words and their positions; there are no segments."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_id)
        self.position_embeddings = nn.Embedding(config.max_positions, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM)
        self.dropout = nn.Dropout(config.dropout)


class Encoder(nn.Module):
    """The layers; so called although they decode."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([DecoderLayer(config) for _ in range(config.decoder_layers)])
        self.gradient_checkpointing = False  # whether layers are computed again on the way back


class Body(nn.Module):
    """Words, then layers."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(config), Encoder(config)


class Transform(nn.Module):
    """What happens to a token's vector before it is compared with the words."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = nn.GELU()
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM)


class Predictions(nn.Module):
    """From a token's vector to the logits of the next word."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))


class Head(nn.Module):
    """Holds the predictions, as in transformers."""

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.predictions = Predictions(config)


class DecoderNetwork(nn.Module):
    """The parameters of a BERT decoder with cross-attention in every layer, drawn in the order in which transformers does.

    Args:
        config: model configuration; the encoder width is ``2 * attention_dim``.
    """

    def __init__(self, config: RevtafConfig) -> None:
        super().__init__()
        self.config = config
        self.bert, self.cls = Body(config).apply(_draw), Head(config).apply(_draw)
        head = self.cls.predictions
        head.decoder.weight, head.decoder.bias = self.bert.embeddings.word_embeddings.weight, head.bias  # one table


@torch.no_grad()
def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        module.weight.normal_(0, DEVIATION)
        module.bias.zero_()
    elif isinstance(module, nn.Embedding):
        module.weight.normal_(0, DEVIATION)
        if module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()


def as_transformers(network: DecoderNetwork) -> BlipTextLMHeadModel:
    """Transformers' decoder over the same parameters and dropouts: what is done to one is done to both."""
    from transformers import (  # on demand: takes seconds, and no report is written by it
        BlipTextConfig,
        BlipTextLMHeadModel,
    )

    config = network.config
    with torch.device("meta"):
        theirs = BlipTextLMHeadModel(
            BlipTextConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.hidden_size,
                encoder_hidden_size=2 * config.attention_dim,
                intermediate_size=config.intermediate_size,
                num_hidden_layers=config.decoder_layers,
                num_attention_heads=config.decoder_heads,
                max_position_embeddings=config.max_positions,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                hidden_act="gelu",
                layer_norm_eps=LAYER_NORM,
                is_decoder=True,
                pad_token_id=config.pad_id,
                bos_token_id=None,
                eos_token_id=config.end_id,
                sep_token_id=config.end_id,
            )
        )
    for name, part in network.named_modules():
        if next(part.children(), None) is None:  # a layer without parts: theirs computes with ours
            theirs.set_submodule(name, part)
    bias = network.cls.predictions.bias
    theirs.cls.predictions.bias = bias
    order = torch.arange(config.max_positions, device=bias.device)
    theirs.bert.embeddings.position_ids = nn.Buffer(order.expand(1, -1), persistent=False)
    return theirs
