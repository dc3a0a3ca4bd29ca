"""The layers of the report decoder, run over the parameters of transformers' BLIP decoder.

That decoder is the reference: the tests compare every number with its own forward pass. What is gained here is speed:
no work on padding, and keys and values that are computed once and seldom moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from models.computed_again import computed_again
from models.decoder_parameters import DecoderNetwork

# How it fits together: a layer (_through) reads its own tokens, then the patches, then has its feed-forward part. Training and
# generation differ only in how it reads. score_reports keeps the real tokens of all reports in one list (PackedReports), spreads
# them to (B, T) for attention alone and gathers them again; read_tokens reads a few new tokens and looks up others in Columns.

KeysAndValues = tuple[Tensor, Tensor]  # each (B, heads, columns, d)
Read = Callable[[nn.Module, Tensor], Tensor]  # attention of a layer, hidden -> what it reads
Product = Callable[[nn.Linear, Tensor], Tensor]  # a linear layer and its input -> its output
Attend = Callable[..., Tensor]  # :func:`attend` or one that computes the same


@dataclass
class PackedReports:
    """The tokens of a batch of reports that the decoder reads, one after the other, so that padding costs nothing.

    Its positions are found on the CPU, where the batch is made: finding them on a GPU would make every step wait.
    """

    ids: Tensor  # (N,)
    position: Tensor  # (N,), in the report, prompt included
    place: Tensor  # (N,), in the flattened batch of B * T tokens
    scored: Tensor  # (S,), rows of the tokens that predict a token of a report or its end
    targets: Tensor  # (S,), the tokens they predict
    shape: tuple[int, int]  # B, T
    filled: bool = False  # whether rows without a token stand at the end: they have no target and the place B * T

    @classmethod
    def of(cls, token_ids: Tensor, token_mask: Tensor, prompt_length: int) -> PackedReports:
        """Pack ``token_ids`` ``(B, T + 1)``, real where ``token_mask`` ``(B, T + 1)`` is true, padded at their ends.

        The last token of a report is a target only: the decoder need not read it.
        """
        read = token_mask[:, 1:]  # (B, T), the tokens that have a successor
        B, T = read.shape
        place = read.flatten().nonzero().squeeze(1)  # (N,)
        report, position = place // T, place % T
        assert (position < read.sum(dim=1)[report]).all(), "padding stands at the end of a report"
        scored = (position >= prompt_length - 1).nonzero().squeeze(1)  # (S,)
        targets = token_ids[report[scored], position[scored] + 1]
        return cls(token_ids[report, position], position, place, scored, targets, (B, T))

    def with_states(self, states: Tensor, chosen: Tensor) -> PackedReports:
        """The same reports with the state tokens ``states`` ``(B, L)`` in the prompts of the ``chosen`` ``(B,)``."""
        report = (self.place // self.shape[1]).clamp_max(self.shape[0] - 1)  # (N,)
        slot = self.position - 1  # the start token stands before the states
        inside = (slot >= 0) & (slot < states.shape[1]) & chosen[report]
        state = states[report, slot.clamp(0, states.shape[1] - 1)]  # (N,)
        return replace(self, ids=torch.where(inside, state, self.ids))

    def spread(self, x: Tensor) -> Tensor:
        """Rows ``(N, ...)`` in their places, ``(B, T, ...)``, zero elsewhere."""
        B, T = self.shape
        if self.filled:
            return x.new_zeros(B * T + 1, *x.shape[1:]).index_copy(0, self.place, x)[:-1].unflatten(0, (B, T))
        if len(x) == B * T:
            return x.unflatten(0, (B, T))
        return x.new_zeros(B * T, *x.shape[1:]).index_copy(0, self.place, x).unflatten(0, (B, T))

    def gather(self, x: Tensor) -> Tensor:
        """The rows ``(N, ...)`` of real tokens in ``(B, T, ...)``."""
        x = x.flatten(0, 1)
        if self.filled:
            return _Gather.apply(x, self.place)
        return x if len(x) == len(self.place) else x.index_select(0, self.place)

    @classmethod
    def arrays(cls) -> tuple[str, ...]:
        """Names of what is a tensor."""
        return "ids", "position", "place", "scored", "targets"

    def pin_memory(self) -> PackedReports:
        """Page-lock the tensors."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in self.arrays()})

    def to(self, device: torch.device) -> PackedReports:
        """Copy to a device, asynchronously when the memory is pinned."""
        arrays = {name: getattr(self, name).to(device, non_blocking=True) for name in self.arrays()}
        return replace(self, **arrays)


class _Gather(torch.autograd.Function):
    """Rows of ``(R, ...)`` at places that differ, or are R and stand for no row: so the way back copies and need not add."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.rows = len(x)
        return x.index_select(0, place.clamp_max(len(x) - 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.rows + 1, *gradient.shape[1:]).index_copy(0, place, gradient)[:-1], None


def put_states(token_ids: Tensor, states: Tensor) -> Tensor:
    """``token_ids`` ``(B, T)`` with the state tokens ``states`` ``(B, L)`` in their prompts."""
    return torch.cat([token_ids[:, :1], states, token_ids[:, 1 + states.shape[1] :]], dim=1)


class Columns:
    """Keys and values of all layers, written in place, one column per token.

    Args:
        size: columns to make room for.
    """

    def __init__(self, size: int) -> None:
        self.size, self.filled = size, 0
        self._layers: list[KeysAndValues] = []  # from the first to the last, as they are read

    def append(self, layer: int, new: KeysAndValues) -> KeysAndValues:
        """Write ``(B, heads, t, d)`` behind the ``filled`` columns of a layer; returns all of them, the new included."""
        if layer == len(self._layers):
            B, heads, _, d = new[0].shape
            self._layers.append((new[0].new_empty(B, heads, self.size, d), new[1].new_empty(B, heads, self.size, d)))
        keys, values = self._layers[layer]
        stop = self.filled + new[0].shape[2]
        keys[:, :, self.filled : stop], values[:, :, self.filled : stop] = new
        return keys[:, :, :stop], values[:, :, :stop]

    def keep(self, order: Tensor) -> None:
        """Keep the columns ``order`` ``(B, n)`` of each text, in this order, in every layer."""
        B, heads, size, d = self._layers[0][0].shape
        first = torch.arange(0, B * heads * size, size, device=order.device).view(B, heads, 1)
        rows = (first + order[:, None]).flatten()  # (B * heads * n,); to select whole rows takes an eighth of a gather
        for array in chain.from_iterable(self._layers):
            array[:, :, : order.shape[1]] = array.view(-1, d).index_select(0, rows).view(B, heads, -1, d)
        self.filled = order.shape[1]

    def keep_texts(self, rows: Tensor) -> None:
        """Keep the texts ``rows`` alone."""
        self._layers = [(keys[rows], values[rows]) for keys, values in self._layers]


def apply(layer: nn.Linear, x: Tensor) -> Tensor:
    """``layer(x)``, the plain :data:`Product`."""
    return layer(x)


def attend(
    query: Tensor, key: Tensor, value: Tensor, dropout: nn.Dropout | None = None, causal: bool = False
) -> Tensor:
    """Scaled dot-product attention ``(..., t, d)`` whose weights are dropped in training; torch's own."""
    p = dropout.p if dropout is not None and dropout.training else 0.0
    return F.scaled_dot_product_attention(query, key, value, dropout_p=p, is_causal=causal)


def patch_keys(network: DecoderNetwork, fused: Tensor) -> list[KeysAndValues]:
    """Keys and values of fused patches and words ``(B, M + T, 2 A)`` in every layer."""
    layers: Any = network.bert.encoder.layer
    attentions = [layer.crossattention.self for layer in layers]
    return [(_heads(cross.key(fused), cross), _heads(cross.value(fused), cross)) for cross in attentions]


def read_tokens(
    network: DecoderNetwork,
    token_ids: Tensor,
    position: Tensor,
    allowed: Tensor,
    columns: Columns,
    patches: Sequence[KeysAndValues],
    product: Product = apply,
) -> Tensor:
    """Run the decoder over new tokens; the network is in evaluation.

    Args:
        network: holds the parameters.
        token_ids: ``(B, t)`` new tokens: the next ones of one text, or the newest of several.
        position: of each token in its text, ``(t,)`` or ``(1,)``.
        allowed: ``(B or 1, 1, t, columns)`` true where a token may look, in the columns before and in its own.
        columns: of the tokens before; those of ``token_ids`` are added.
        patches: see :func:`patch_keys`.
        product: computes the linear layers.

    Returns:
        ``(B, t, hidden)``.
    """

    def read_layer(number: int, layer: Any, hidden: Tensor) -> Tensor:
        def read_own(attention: Any, hidden: Tensor) -> Tensor:
            new = _heads(product(attention.key, hidden), attention), _heads(product(attention.value, hidden), attention)
            query = _heads(product(attention.query, hidden), attention)
            return _joined(F.scaled_dot_product_attention(query, *columns.append(number, new), attn_mask=allowed))

        def read_patches(attention: Any, hidden: Tensor) -> Tensor:
            return _joined(attend(_heads(product(attention.query, hidden), attention), *patches[number]))

        return _through(layer, hidden, read_own, read_patches, product)

    words = network.bert.embeddings.word_embeddings(token_ids)  # (B, t, hidden)
    hidden = _embed(network, words, position)
    for number, layer in enumerate(network.bert.encoder.layer):
        hidden = read_layer(number, layer, hidden)
    columns.filled += token_ids.shape[1]
    return hidden


def token_logits(network: DecoderNetwork, hidden: Tensor, product: Product = apply) -> Tensor:
    """Logits ``(..., V)`` of ``hidden`` ``(..., hidden)``."""
    transform = network.cls.predictions.transform
    hidden = transform.LayerNorm(transform.transform_act_fn(product(transform.dense, hidden)))
    return product(network.cls.predictions.decoder, hidden)


def score_layer(
    layer: Any, hidden: Tensor, patches: KeysAndValues, reports: PackedReports, attend: Attend = attend
) -> Tensor:
    """One layer over the tokens ``(N, hidden)`` of whole reports."""

    def read_own(attention: Any, hidden: Tensor) -> Tensor:
        parts = (attention.query, attention.key, attention.value)
        query, key, value = (_heads(reports.spread(part(hidden)), attention) for part in parts)  # (B, heads, T, d) each
        return reports.gather(_joined(attend(query, key, value, attention.dropout, causal=True)))

    def read_patches(attention: Any, hidden: Tensor) -> Tensor:
        query = _heads(reports.spread(attention.query(hidden)), attention)  # (B, heads, T, d)
        return reports.gather(_joined(attend(query, *patches, attention.dropout)))

    return _through(layer, hidden, read_own, read_patches, apply)


def score_reports(
    network: DecoderNetwork,
    reports: PackedReports,
    fused: Tensor,
    attend: Attend = attend,
    score_layer: Callable[..., Tensor] = score_layer,
) -> Tensor:
    """Run the decoder over whole reports, with dropout in training, and predict their next tokens.

    Args:
        network: holds the parameters.
        reports: their tokens.
        fused: ``(B, M + T, 2 A)`` fused patches, then the words of the references.
        attend: computes the attention.
        score_layer: computes a layer.

    Returns:
        ``(S, V)`` logits of ``reports.targets``.
    """
    encoder: Any = network.bert.encoder
    twice = encoder.gradient_checkpointing and torch.is_grad_enabled()
    step = partial(computed_again, score_layer) if twice else score_layer
    words = network.bert.embeddings.word_embeddings(reports.ids)  # (N, hidden)
    hidden = _embed(network, words, reports.position)
    for layer, patches in zip(encoder.layer, patch_keys(network, fused), strict=True):
        hidden = step(layer, hidden, patches, reports, attend)
    return token_logits(network, hidden.index_select(0, reports.scored))  # (S, V)


def _embed(network: DecoderNetwork, words: Tensor, position: Tensor) -> Tensor:
    embeddings: Any = network.bert.embeddings
    return embeddings.dropout(embeddings.LayerNorm(words + embeddings.position_embeddings(position)))


def _through(layer: Any, hidden: Tensor, read_own: Read, read_patches: Read, product: Product) -> Tensor:
    """One layer over ``hidden``: what it reads from its own tokens and from the patches, and its feed-forward part."""

    def add(output: Any, x: Tensor, before: Tensor) -> Tensor:
        return output.LayerNorm(before + output.dropout(product(output.dense, x)))

    hidden = add(layer.attention.output, read_own(layer.attention.self, hidden), hidden)
    hidden = add(layer.crossattention.output, read_patches(layer.crossattention.self, hidden), hidden)
    wide = layer.intermediate.intermediate_act_fn(product(layer.intermediate.dense, hidden))
    return add(layer.output, wide, hidden)


def _heads(x: Tensor, attention: Any) -> Tensor:
    """``(B, t, hidden)`` as ``(B, heads, t, d)``."""
    return x.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    """``(B, heads, t, d)`` as ``(B, t, hidden)``."""
    return x.transpose(1, 2).flatten(2)
