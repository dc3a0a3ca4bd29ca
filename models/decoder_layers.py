"""The layers of the report decoder, run over parameters that transformers' BLIP decoder holds.

That decoder is the reference: the tests compare every number with its own forward pass. What is gained here is speed:
beams that never move, keys and values written once into their place, and products that suit a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BlipTextLMHeadModel

FEW_ROWS = 192  # up to which the other order of a product is faster on a CPU

KeysAndValues = tuple[Tensor, Tensor]  # each (B, heads, columns, d)


class Columns:
    """Keys and values of all layers, each written once and never moved.

    Args:
        layers: of the decoder.
        size: columns to make room for.
    """

    def __init__(self, layers: int, size: int) -> None:
        self.size, self.filled = size, 0
        self._layers: list[KeysAndValues | None] = [None] * layers

    def append(self, layer: int, new: KeysAndValues) -> KeysAndValues:
        """Write ``(B, heads, t, d)`` behind the ``filled`` columns of a layer; returns all of them, the new included."""
        if self._layers[layer] is None:
            B, heads, _, d = new[0].shape
            self._layers[layer] = (new[0].new_empty(B, heads, self.size, d), new[1].new_empty(B, heads, self.size, d))
        stop = self.filled + new[0].shape[2]
        for array, part in zip(self._layers[layer], new, strict=True):
            array[:, :, self.filled : stop] = part
        return tuple(array[:, :, :stop] for array in self._layers[layer])


def patch_keys(network: BlipTextLMHeadModel, fused: Tensor) -> list[KeysAndValues]:
    """Keys and values of the fused patches ``(B, M, 2 A)`` in every layer."""
    looks = [layer.crossattention.self for layer in network.bert.encoder.layer]
    return [(_heads(look.key(fused), look), _heads(look.value(fused), look)) for look in looks]


def read_tokens(
    network: BlipTextLMHeadModel,
    token_ids: Tensor,
    position: Tensor,
    allowed: Tensor,
    columns: Columns,
    patches: Sequence[KeysAndValues],
) -> Tensor:
    """Run the decoder over new tokens, without dropout.

    Args:
        network: holds the parameters.
        token_ids: ``(B, t)`` new tokens: the next ones of one text, or the newest of several.
        position: of each token in its text, ``(t,)`` or ``(1,)``.
        allowed: ``(B or 1, 1, t, columns)`` true where a token may look, in the columns before and in its own.
        columns: of the tokens before; those of ``token_ids`` are added.
        patches: see :func:`patch_keys`.

    Returns:
        ``(B, t, hidden)``.
    """
    embeddings = network.bert.embeddings
    hidden = embeddings.LayerNorm(embeddings.word_embeddings(token_ids) + embeddings.position_embeddings(position))
    for number, layer in enumerate(network.bert.encoder.layer):
        own, look = layer.attention.self, layer.crossattention.self
        new = (_heads(project(own.key, hidden), own), _heads(project(own.value, hidden), own))
        read = _attend(project(own.query, hidden), columns.append(number, new), allowed)
        hidden = _add(layer.attention.output, read, hidden)
        hidden = _add(layer.crossattention.output, _attend(project(look.query, hidden), patches[number]), hidden)
        wide = layer.intermediate.intermediate_act_fn(project(layer.intermediate.dense, hidden))
        hidden = _add(layer.output, wide, hidden)
    columns.filled += token_ids.shape[1]
    return hidden


def token_logits(network: BlipTextLMHeadModel, hidden: Tensor) -> Tensor:
    """Logits ``(..., V)`` of ``hidden`` ``(..., hidden)``."""
    head = network.cls.predictions
    return project(head.decoder, head.transform.LayerNorm(head.transform.transform_act_fn(
        project(head.transform.dense, hidden)
    )))  # fmt: skip


def project(layer: nn.Linear, x: Tensor) -> Tensor:
    """``layer(x)``; on a CPU few rows are multiplied the other way round, up to 2.5 times faster."""
    rows = x.numel() // x.shape[-1]
    if x.device.type != "cpu" or rows > FEW_ROWS:
        return layer(x)
    product = torch.addmm(layer.bias[:, None], layer.weight, x.reshape(rows, -1).t())  # (out, rows)
    return product.t().contiguous().view(*x.shape[:-1], -1)


def _heads(x: Tensor, attention: nn.Module) -> Tensor:
    """``(B, t, hidden)`` as ``(B, heads, t, d)``."""
    return x.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)


def _attend(query: Tensor, seen: KeysAndValues, allowed: Tensor | None = None) -> Tensor:
    """What queries ``(B, t, hidden)`` read from keys and values: ``(B, t, hidden)``."""
    query = query.unflatten(-1, (seen[0].shape[1], -1)).transpose(1, 2)  # (B, heads, t, d)
    return F.scaled_dot_product_attention(query, *seen, attn_mask=allowed).transpose(1, 2).flatten(2)


def _add(output: nn.Module, x: Tensor, before: Tensor) -> Tensor:
    """The dense layer, residual and norm at the end of a block."""
    return output.LayerNorm(project(output.dense, x) + before)
