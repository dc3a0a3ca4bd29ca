"""Beam search on a CPU: every weight is packed once per batch."""

from __future__ import annotations

from models.beam_reader import BeamReader
from models.cpu.linear import PackedLinears


class PackedBeamReader(BeamReader):
    """:class:`models.beam_reader.BeamReader` whose products with few rows take weights in oneDNN's layout."""

    def products(self, rows: int) -> PackedLinears:
        """Linear layers, for products of ``rows`` rows."""
        return PackedLinears(rows)
