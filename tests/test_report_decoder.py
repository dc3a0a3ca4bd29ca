"""models/report_decoder.py and models/beam_search.py: the published decoder and its beam search."""

import pytest
import torch
from tiny import tiny_config
from transformers import BlipTextLMHeadModel

from models import beam_reader
from models.beam_reader import BeamReader
from models.beam_search import GenerationLimits, beam_search
from models.decoder_layers import PackedReports, score_layer, score_reports
from models.decoder_parameters import DecoderNetwork, as_transformers
from models.report_decoder import ReportDecoder


def published(data, dtype=torch.float32, end_id=3):
    config = tiny_config(
        vocab_size=61, hidden_size=32, attention_dim=20, intermediate_size=64, decoder_layers=2, decoder_heads=4,
        max_positions=48, end_id=end_id,
    )  # fmt: skip
    decoder = ReportDecoder(config).to(dtype).eval()
    weights = {k.removeprefix("param/"): torch.tensor(data[k]) for k in data.files if k.startswith("param/")}
    decoder.network.load_state_dict(weights)
    return decoder


@pytest.mark.parametrize(("dtype", "suffix", "tolerance"), [(torch.float64, "f64", 1e-6), (torch.float32, "f32", 1e-4)])
def test_logits_and_gradient_are_the_published_ones(dtype, suffix, tolerance, golden):
    data = golden("text_decoder")
    fused = torch.tensor(data["encoder"], dtype=dtype, requires_grad=True)
    ids, mask = torch.tensor(data["input_ids"]), torch.tensor(data["attention_mask"]).bool()
    logits = published(data, dtype)(fused, ids, mask)
    torch.testing.assert_close(logits, torch.tensor(data[f"logits_{suffix}"]), rtol=tolerance, atol=tolerance)
    targets = torch.tensor(data["targets"])
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), label_smoothing=float(data["label_smoothing"])
    )
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"loss_{suffix}"]), rel=tolerance)
    expected = torch.tensor(data[f"grad_encoder_{suffix}"])
    torch.testing.assert_close(fused.grad, expected, rtol=10 * tolerance, atol=tolerance)


def test_a_seed_draws_the_parameters_that_transformers_draws():
    """Names, their order, every number, and the state of the generator after them; then nothing is a copy."""
    config = tiny_config(pad_id=1)
    torch.manual_seed(5)
    ours = DecoderNetwork(config)
    after, shared = torch.rand(1), as_transformers(ours)
    torch.manual_seed(5)
    theirs = BlipTextLMHeadModel(shared.config)
    assert torch.equal(after, torch.rand(1))
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    expected, state = theirs.state_dict(), ours.state_dict()
    assert state.keys() == expected.keys() == shared.state_dict().keys()
    for name, tensor in shared.state_dict().items():
        assert torch.equal(state[name], expected[name]), name
        assert tensor.data_ptr() == state[name].data_ptr(), name
    assert torch.equal(shared.bert.embeddings.position_ids, theirs.bert.embeddings.position_ids)


def test_packed_reports_are_predicted_as_by_transformers(golden):
    """Same logits of the scored tokens and same gradients, whatever the lengths; padding costs nothing."""
    data = golden("text_decoder")
    decoder, prompt = published(data, torch.float64), 3
    B, T = 3, 9
    fused = torch.tensor(data["encoder"], dtype=torch.float64)[:1].repeat(B, 1, 1).requires_grad_()
    ids = torch.randint(4, 61, (B, T), generator=torch.Generator().manual_seed(0))
    for lengths in ([9, 4, 6], [9, 9, 9]):
        mask = torch.arange(T) < torch.tensor(lengths)[:, None]
        packed = PackedReports.of(ids, mask, prompt)
        assert len(packed.ids) == sum(lengths) - B  # the last token of a report is only predicted
        assert len(packed.targets) == sum(lengths) - B * prompt
        scored = torch.zeros(B, T, dtype=torch.bool)
        scored[:, prompt - 1 : -1] = mask[:, prompt:]
        assert torch.equal(packed.targets, ids[:, 1:][scored[:, :-1]])
        whole, part = decoder(fused, ids, mask)[scored], decoder.predict(fused, packed)
        torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-12)
        weights = [fused, *decoder.parameters()]
        for ours, theirs in zip(
            *(torch.autograd.grad(x.square().mean(), weights, allow_unused=True) for x in (part, whole)), strict=True
        ):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)


def test_mixed_precision_reads_and_writes(golden):
    """bfloat16 keys, values and packed rows: logits near those of float32, and a report of the wanted length."""
    data = golden("text_decoder")
    decoder, fused = published(data), torch.tensor(data["encoder"])[:2]
    ids = torch.randint(4, 61, (2, 9), generator=torch.Generator().manual_seed(0))
    packed = PackedReports.of(ids, torch.arange(9) < torch.tensor([[9], [5]]), 3)
    plain = decoder.predict(fused, packed)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = decoder.predict(fused, packed)
        limits = GenerationLimits(beams=3, min_length=8, max_new_tokens=6)
        tokens, scores = decoder.generate(fused, ids[:, :3], limits)
    assert rounded.dtype == torch.bfloat16
    assert (rounded - plain).norm() < 0.05 * plain.norm()
    assert tokens.shape == (2, 9)
    assert scores.isfinite().all()


def test_dropout_acts_in_packed_training_as_often_as_in_transformers(golden):
    """The mean over many draws, and its spread, agree: no dropout layer is left out."""
    data = golden("text_decoder")
    decoder = published(data, torch.float64).train()
    for module in decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    fused = torch.tensor(data["encoder"], dtype=torch.float64)[:1].repeat(400, 1, 1)
    ids = torch.randint(4, 61, (1, 6), generator=torch.Generator().manual_seed(0)).repeat(400, 1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.manual_seed(0)
    with torch.no_grad():
        whole = decoder(fused, ids, mask)[:, 2:-1]  # (400, 3, V)
        part = decoder.predict(fused, PackedReports.of(ids, mask, 3)).unflatten(0, (400, 3))
    error = (whole.var(dim=0) / 400 * 2).sqrt()
    assert ((whole.mean(dim=0) - part.mean(dim=0)).abs() / error).max() < 5
    assert (part.std(dim=0) / whole.std(dim=0)).mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_beam_search_is_the_published_one(case, golden):
    data = golden("text_decoder")
    decoder = published(data, end_id=int(data[f"beam{case}_eos"]))
    limits = GenerationLimits(
        beams=int(data[f"beam{case}_num_beams"]),
        min_length=int(data[f"beam{case}_min_length"]),
        max_new_tokens=int(data[f"beam{case}_max_new_tokens"]),
    )
    fused = torch.tensor(data["encoder"])[:2]
    tokens, scores = decoder.generate(fused, torch.tensor(data[f"beam{case}_prompt"]), limits)
    expected = data[f"beam{case}_sequences"]
    assert tokens[:, : expected.shape[1]].tolist() == expected.tolist()
    assert not tokens[:, expected.shape[1] :].any()
    assert scores.tolist() == pytest.approx(data[f"beam{case}_sequences_scores"].tolist(), rel=1e-4)


def test_cached_generation_equals_reading_the_whole_prefix_again(golden):
    data = golden("text_decoder")
    decoder = published(data)
    fused, prompt = torch.tensor(data["encoder"])[:2], torch.tensor(data["beam0_prompt"])
    limits = GenerationLimits(beams=3, min_length=8, max_new_tokens=12)
    state = {}

    def uncached(tokens, rows):
        state["prefix"] = tokens if rows is None else torch.cat([state["prefix"][rows], tokens], dim=1)
        beams = len(state["prefix"]) // len(fused)
        mask = torch.ones_like(state["prefix"], dtype=torch.bool)
        logits = decoder(fused.repeat_interleave(beams, dim=0), state["prefix"], mask)
        return logits[:, -1].detach().log_softmax(dim=-1)

    slow, slow_scores = beam_search(uncached, prompt, limits, decoder.end_id, decoder.pad_id)
    fast, fast_scores = decoder.generate(fused, prompt, limits)
    assert torch.equal(slow, fast)
    torch.testing.assert_close(slow_scores, fast_scores, rtol=1e-5, atol=1e-6)


def test_leaving_out_columns_changes_no_report(golden, monkeypatch):
    data = golden("text_decoder")
    decoder = published(data)
    B, limits = 5, GenerationLimits(beams=3, min_length=33, max_new_tokens=30)
    generator = torch.Generator().manual_seed(0)
    fused = torch.randn(B, *data["encoder"].shape[1:], generator=generator)
    prompt = torch.randint(4, 61, (B, 3), generator=generator)
    found, widths = {}, {}

    class Watched(BeamReader):
        def _read_next(self, tokens, rows):
            hidden = super()._read_next(tokens, rows)
            widths[self.between].append(self.columns.filled)
            return hidden

    decoder.reader = Watched
    for between in (1000, 4, 1):
        monkeypatch.setattr(beam_reader, "TOKENS_BETWEEN", between)
        Watched.between, widths[between] = between, []
        found[between] = decoder.generate(fused, prompt, limits)
    never = list(range(6, 91, 3))  # one column for each token of each beam
    assert widths[1000] == never
    for between in (4, 1):
        assert torch.equal(found[between][0], found[1000][0])
        torch.testing.assert_close(found[between][1], found[1000][1], rtol=1e-5, atol=1e-6)
        assert all(few <= many for few, many in zip(widths[between], never, strict=True))
        assert widths[between][-1] < never[-1]


def test_transformers_finds_the_same_beams_when_no_report_may_end_early(golden):
    data = golden("text_decoder")
    decoder = published(data)
    fused, prompt = torch.tensor(data["encoder"])[:2], torch.tensor(data["beam0_prompt"])
    limits = GenerationLimits(beams=4, min_length=15, max_new_tokens=10)
    ours, _ = decoder.generate(fused, prompt, limits)
    theirs = decoder.reference.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), encoder_hidden_states=fused, num_beams=4,
        min_length=15, max_new_tokens=10, do_sample=False, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    assert torch.equal(ours, theirs)


def test_wide_beams_find_the_best_of_all_sequences():
    """With as many beams as prefixes the search is exhaustive: compare with trying every sequence."""
    V, end, steps = 4, 3, 3
    table = torch.randn(V, V, generator=torch.Generator().manual_seed(3)).log_softmax(dim=-1)
    prompt = torch.tensor([[0, 1]])

    def next_log_probs(tokens, rows):
        return table[tokens[:, -1]].clone()

    limits = GenerationLimits(beams=32, min_length=0, max_new_tokens=steps)
    found, score = beam_search(next_log_probs, prompt, limits, end_id=end, pad_id=0)
    best = -float("inf")
    frontier = [([0, 1], 0.0)]
    for _ in range(steps):
        grown = []
        for sequence, total in frontier:
            for token in range(V):
                value = total + table[sequence[-1], token].item()
                if token == end:
                    best = max(best, value / len(sequence))
                else:
                    grown.append(([*sequence, token], value))
        frontier = grown
    best = max([best, *(total / len(sequence) for sequence, total in frontier)])
    assert score.item() == pytest.approx(best, rel=1e-5)
    assert found[0, :2].tolist() == [0, 1]


def searched_in_lists(table, prompt, limits, end):
    """The rule of transformers 4.19 for one study, written down with lists; tokens without padding, and their score."""
    open_beams, ended = [(0.0, prompt)], []
    for follows in table:  # (V, V), one for each word
        length = len(open_beams[0][1])
        grown = [
            (score + value, tokens, token)
            for score, tokens in open_beams
            for token, value in enumerate(follows[tokens[-1]].tolist())
            if token != end or length >= limits.min_length
        ]
        best = sorted(grown, key=lambda one: -one[0])[: 2 * limits.beams]
        ended += [(score / length, [*tokens, end]) for score, tokens, token in best[: limits.beams] if token == end]
        ended = sorted(ended, key=lambda one: -one[0])[: limits.beams]
        open_beams = [(score, [*tokens, token]) for score, tokens, token in best if token != end][: limits.beams]
        if len(ended) == limits.beams and ended[-1][0] >= best[0][0] / length:
            return max(ended)
    return max([*ended, *((score / len(tokens), tokens) for score, tokens in open_beams)])


@pytest.mark.parametrize("seed", range(8))
def test_a_study_is_done_when_its_worst_kept_hypothesis_is_as_good_as_the_best_open_one(seed):
    """Of studies that are searched together each ends by itself."""
    V, end = 9, 3
    table = (3 * torch.randn(20, V, V, generator=torch.Generator().manual_seed(seed))).double().log_softmax(dim=-1)
    prompts, words = [[0, token] for token in range(4, V)], iter(table)
    limits = GenerationLimits(beams=3, min_length=4, max_new_tokens=len(table))
    tokens, scores = beam_search(
        lambda tokens, rows: next(words)[tokens[:, -1]].clone(), torch.tensor(prompts), limits, end_id=end, pad_id=1
    )
    for prompt, found, score in zip(prompts, tokens.tolist(), scores.tolist(), strict=True):
        expected_score, expected = searched_in_lists(table, prompt, limits, end)
        assert found == expected + [1] * (2 + len(table) - len(expected))
        assert score == pytest.approx(expected_score)


def test_a_report_that_is_done_stays_as_it_is_while_others_are_written():
    """What else could follow its prompt has a better mean by then: a seldom word that is followed by certain ones."""
    end, rare, long = 3, 6, 5
    probability = torch.full((9, 9), 1e-9)
    probability[4, end], probability[4, rare], probability[rare, rare], probability[long, long] = 0.5, 0.25, 1, 1
    table = probability.log()

    def written(*last):
        limits = GenerationLimits(beams=1, min_length=0, max_new_tokens=12)
        prompt = torch.tensor([[0, word] for word in last])
        return beam_search(lambda tokens, _: table[tokens[:, -1]], prompt, limits, end_id=end, pad_id=1)

    (alone,), (score,) = written(4)
    together, scores = written(4, long)
    assert together[0].tolist() == alone.tolist() == [0, 4, end] + [1] * 11
    assert together[1].tolist() == [0] + [long] * 13
    assert scores[0] == score == pytest.approx(probability[4, end].log().item() / 2)


@pytest.mark.parametrize(("beams", "new"), [(0, 5), (3, 0)])
def test_impossible_limits_are_refused(beams, new):
    with pytest.raises(ValueError, match="at least 1"):
        GenerationLimits(beams=beams, min_length=0, max_new_tokens=new)


@pytest.mark.parametrize("training", [True, False])
def test_layers_are_computed_twice_wherever_a_gradient_is_asked_for(training):
    """Drawn reports are scored in evaluation."""
    decoder = ReportDecoder(tiny_config(dropout=0.0)).train(training)
    decoder.network.bert.encoder.gradient_checkpointing = True
    ids, calls = torch.randint(3, 50, (2, 30)), []
    packed = PackedReports.of(ids, torch.ones_like(ids, dtype=torch.bool), 19)
    fused = torch.randn(2, 4, 40, requires_grad=True)

    def counted(*given):
        calls.append(1)
        return score_layer(*given)

    score_reports(decoder.network, packed, fused, score_layer=counted).square().mean().backward()
    assert len(calls) == 4, "two layers, forth and again on the way back"
    with torch.no_grad():
        score_reports(decoder.network, packed, fused, score_layer=counted)
    assert len(calls) == 6
