"""models/gpu/beam_search.py without a GPU: its words computed anew each time; test_gpu.py records them."""

from functools import partial

import pytest
import torch
from tiny import tiny_study

from models import beam_reader
from models.beam_search import GenerationLimits, beam_search
from models.gpu.beam_search import ROOM, FixedBeamReader, NextWord, recorded_beam_search

SEARCH = partial(recorded_beam_search, record=NextWord)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("least", [0, 60])
def test_a_search_over_columns_of_fixed_places_writes_the_same(tiny_model, beams, least):
    model = tiny_model(max_positions=128)
    decoder = model.report_decoder
    fused = model.fuse(tiny_study()).fused.detach()
    prompt = torch.randint(3, 50, (3, 19), generator=torch.Generator().manual_seed(1))
    limits = GenerationLimits(beams=beams, min_length=least, max_new_tokens=70)
    expected, scores = decoder.generate(fused, prompt, limits)
    decoder.reader, decoder.search = FixedBeamReader, SEARCH
    found, others = decoder.generate(fused, prompt, limits)
    assert torch.equal(found, expected)
    torch.testing.assert_close(others, scores, rtol=1e-5, atol=1e-6)


def test_recordings_grow_with_what_is_continued(tiny_model, monkeypatch):
    model, rooms = tiny_model(max_positions=128), []
    monkeypatch.setattr(
        FixedBeamReader,
        "make_room",
        lambda self, words, work=FixedBeamReader.make_room: rooms.append(work(self, words)) or rooms[-1],
    )
    fused = model.fuse(tiny_study()).fused.detach()
    limits = GenerationLimits(beams=3, min_length=100, max_new_tokens=80)
    reader = FixedBeamReader(model.report_decoder.network, fused, 19, limits)
    SEARCH(reader, torch.full((3, 19), 4), limits, 2, 0)
    assert len(rooms) == -(-79 // beam_reader.TOKENS_BETWEEN)
    assert rooms == sorted(rooms)
    assert {room % ROOM for room in rooms} == {0}
    assert rooms[0] < rooms[-1] <= reader.columns.size


def test_words_are_those_of_the_plain_search_in_float64(tiny_model):
    model = tiny_model().double()
    network = model.report_decoder.network
    fused = torch.randn(4, 4, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    prompt = torch.full((4, 19), 4)
    limits = GenerationLimits(beams=2, min_length=40, max_new_tokens=40)
    from models.beam_reader import BeamReader

    expected = beam_search(BeamReader(network, fused, 19, limits), prompt, limits, 2, 0)
    found = SEARCH(FixedBeamReader(network, fused, 19, limits), prompt, limits, 2, 0)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=0)
