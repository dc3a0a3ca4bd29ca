"""Beam search on a GPU: one word of all beams is recorded as a CUDA graph and repeated.

A word takes about a thousand small kernels, which a host starts more slowly than a card runs them. A recording needs tensors
that keep shape and place: the columns stand in memory of their final size, how many are filled is known to the card alone, and
from time to time, where columns are left out, a recording of the size that is needed now takes over.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from models.beam_reader import TOKENS_BETWEEN, BeamReader, NegativePrompt
from models.beam_search import Choose, GenerationLimits, Search
from models.decoder_layers import Columns, KeysAndValues

ROOM = 64  # columns that recordings differ by
WORDS_BETWEEN = 8  # two looks at whether all studies are done


class FixedColumns(Columns):
    """Columns in memory of their final size; the new ones are written at ``places``, and all up to ``room`` are read."""

    places: Tensor | None = None  # (t,), where the newest columns go; None for the prompt, which comes first
    room = 0  # columns

    def append(self, layer: int, new: KeysAndValues) -> KeysAndValues:
        """Write ``(B, heads, t, d)``; returns the columns up to ``room``, those that are not filled included."""
        if layer == len(self._layers):  # zeros, since what is not filled is read too, with weights of zero
            B, heads, _, d = new[0].shape
            self._layers.append((new[0].new_zeros(B, heads, self.size, d), new[1].new_zeros(B, heads, self.size, d)))
        if self.places is None:
            return super().append(layer, new)
        keys, values = self._layers[layer]
        keys.index_copy_(2, self.places, new[0].to(keys.dtype))
        values.index_copy_(2, self.places, new[1].to(values.dtype))
        return keys[:, :, : self.room], values[:, :, : self.room]


class FixedBeamReader(BeamReader):
    """:class:`models.beam_reader.BeamReader` whose tensors keep their places from word to word."""

    columns: FixedColumns

    def __init__(
        self,
        network,
        fused: Tensor,
        prompt_length: int,
        limits: GenerationLimits,
        negative: NegativePrompt | None = None,
    ) -> None:
        super().__init__(network, fused, prompt_length, limits, negative)
        size = -(-self.columns.size // ROOM) * ROOM
        self.columns = FixedColumns(size)
        self.continued = torch.zeros(*self.continued.shape[:2], size, dtype=torch.bool, device=fused.device)
        self.continued[:, :, :prompt_length] = True
        self.filled = torch.full((), prompt_length, device=fused.device)  # columns
        self.position = torch.full((1,), prompt_length, device=fused.device)  # of the next word
        self.beam = torch.arange(limits.beams, device=fused.device)
        self.column = torch.arange(size, device=fused.device)

    def make_room(self, words: int) -> int:
        """Leave out what no beam continues, and say how many columns the next ``words`` words have to read; waits for the card."""
        self._leave_out()
        self.filled.fill_(self.columns.filled)
        needed = -(-(self.columns.filled + words * self.beams) // ROOM) * ROOM
        self.columns.room = min(needed, self.columns.size)
        return self.columns.room

    def _leave_out(self) -> None:
        before = self.continued
        super()._leave_out()
        before.copy_(self.continued)
        self.continued = before

    def _read_next(self, tokens: Tensor, rows: Tensor) -> Tensor:
        B = len(self.continued)
        self.columns.places = self.filled + self.beam  # (beams,)
        continued = self.continued.flatten(0, 1)[rows].unflatten(0, (B, self.beams))
        self.continued.copy_(continued | (self.column == self.columns.places.unsqueeze(1)))
        allowed = self.continued[:, None, :, : self.columns.room]  # (B, 1, beams, columns)
        hidden = self._read(tokens.view(B, self.beams), self.position, allowed)
        self.filled += self.beams
        self.position += 1
        return hidden.flatten(0, 1)  # (B * beams, hidden)


class NextWord:
    """The next word of a search, computed anew each time; what a :class:`Recording` repeats.

    Args:
        reader: of the search.
        search: between two words.
    """

    def __init__(self, reader: FixedBeamReader, search: Search) -> None:
        self.reader, self.search = reader, search

    def __call__(self) -> None:
        """Read the newest words and write the next; the host's counts of the reader stay, since a recording cannot move them."""
        reader, search = self.reader, self.search
        filled, length = reader.columns.filled, reader.length
        search.advance(reader(search.newest, search.rows))
        reader.columns.filled, reader.length = filled, length


class Recording(NextWord):
    """The next word of a search as a CUDA graph; what it allocates stays allocated as long as it lives."""

    def __init__(self, reader: FixedBeamReader, search: Search) -> None:
        super().__init__(reader, search)
        self.graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.graph.capture_begin(capture_error_mode="thread_local")
            super().__call__()
            self.graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self) -> None:
        """Start the recording."""
        self.graph.replay()


def recorded_beam_search(
    reader: BeamReader,
    prompt: Tensor,
    limits: GenerationLimits,
    end_id: int,
    pad_id: int,
    choose: Choose | None = None,
    record: type[NextWord] = Recording,
) -> tuple[Tensor, Tensor]:
    """:func:`models.beam_search.beam_search` with a :class:`FixedBeamReader`, whose words are recorded and repeated."""
    reader, start = cast(FixedBeamReader, reader), prompt.shape[1]
    log_probs = reader(prompt.repeat_interleave(limits.beams, dim=0), None)  # (B * beams, V)
    search = Search(prompt, limits, end_id, pad_id, log_probs.dtype)
    search.advance(log_probs)
    recordings: dict[int, NextWord] = {}  # by the columns that they read
    for number, length in enumerate(range(start + 1, start + limits.max_new_tokens)):
        if number % TOKENS_BETWEEN == 0:
            room = reader.make_room(TOKENS_BETWEEN)
            if room not in recordings:
                recordings[room] = record(reader, search)
        recordings[room]()
        reader.columns.filled += reader.beams
        reader.length += 1
        if length >= limits.min_length and number % WORDS_BETWEEN == 0 and search.done.all():
            break
    return search.end(choose)
