"""modules/evaluation/second_search.py and the guided reader: reports that say other findings than predicted are searched for again."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import tiny_study
from torch.nn import functional as F

from models.beam_reader import BeamReader, NegativePrompt, guided
from models.beam_search import GenerationLimits, beam_search
from models.cpu.packed_reader import PackedBeamReader
from models.gpu.beam_search import FixedBeamReader, NextWord, recorded_beam_search
from modules.corpus.dataloaders import collate
from modules.evaluation import second_search
from modules.evaluation.generation import Search, generate_reports, search_of
from modules.evaluation.reranking import best_hypothesis
from modules.evaluation.rescoring import restore_generation
from modules.evaluation.second_search import UNLIKELY, SecondSearch, certainty_of
from modules.labels import CONDITIONS, POSITIVE, STATES
from modules.messages import UserError
from modules.options.parsing import flat, parse_options
from modules.options.programs import MainTest, MainTrain
from modules.options.set_size import fit_to_size, trained_lengths
from modules.prediction.model_folder import as_options
from modules.prediction.reporter import Reporter
from modules.records import ROOT, plain, write_json
from modules.training.run_options import check_same_run

LIMITS = GenerationLimits(beams=2, min_length=25, max_new_tokens=8)
CPU = torch.device("cpu")
SYNTH = ["--dataset_name", "synth_cxr"]


class Wrong:
    """The demo's model asked to write 18 reports of one film, each with a finding more than its image shows."""

    def __init__(self) -> None:
        reporter = Reporter.load(ROOT / "examples" / "demo")
        self.model, self.tokenizer = reporter.trained.model, reporter.trained.tokenizer
        self.labeler, self.limits = reporter.search.labeler, replace(reporter.search.limits, beams=2)
        self.data = data = reporter.films([Path(ROOT / "docs" / "drawing.png")] * len(CONDITIONS)).dataset
        batch = data.to_device(collate([data[0]], self.tokenizer.pad_id), torch.device("cpu"))
        with torch.no_grad():
            fused = self.model.fuse(batch.study)
        n = len(CONDITIONS)
        self.states = fused.state_logits.argmax(dim=1).repeat(n, 1)
        self.states[range(n), range(n)] = POSITIVE
        known = {
            name: None if value is None else value.expand(n, *value.shape[1:]) for name, value in vars(fused).items()
        }
        known["fused"] = known["fused"] + 0.05 * torch.randn(
            known["fused"].shape, generator=torch.Generator().manual_seed(3)
        )
        known["state_logits"] = 9.0 * F.one_hot(self.states, len(STATES)).transpose(1, 2)
        self.fused = type(fused)(**known)
        self.prompt = self.model.prompt_of(
            self.fused.state_logits, self.tokenizer.start_id, torch.tensor(self.tokenizer.state_ids)
        )
        how = {"tokenizer": self.tokenizer, "labeler": self.labeler, "maps": False, "map_view": "near"}
        choose = partial(best_hypothesis, self.fused, **how)
        self.tokens, _ = self.model.report_decoder.generate(self.fused.fused, self.prompt, self.limits, choose)
        self.certainty = torch.full((n,), -0.123)  # so that one sees where it stays

    def search(self, **changes) -> SecondSearch:
        how = {
            "limits": self.limits,
            "guidance": 1.0,
            "tokenizer": self.tokenizer,
            "labeler": self.labeler,
            "maps": False,
        }
        return SecondSearch(**{**how, **changes})

    def differing(self, tokens) -> torch.Tensor:
        return (self.search().said(tokens, self.states) != self.states).sum(dim=1)

    def again(self, **changes):
        return self.search(**changes)(self.model, self.fused, self.tokens, self.certainty)


@pytest.fixture(scope="module")
def wrong():
    return Wrong()


def test_more_of_the_predicted_findings_are_said_and_no_report_loses(wrong):
    before, (tokens, _) = wrong.differing(wrong.tokens), wrong.again()
    after = wrong.differing(tokens)
    assert (after <= before).all()
    assert after.sum() <= 0.9 * before.sum(), "46 and 37 findings when it was written"
    assert torch.equal(wrong.differing(wrong.again(guidance=0.0)[0]), before), "the same beams find nothing else"


def test_what_was_not_replaced_stays_as_it_was_and_what_was_is_as_sure_as_the_decoder(wrong):
    tokens, certainty = wrong.again()
    replaced = (tokens != wrong.tokens).any(dim=1)
    assert 0 < replaced.sum() < len(tokens)
    assert torch.equal(replaced, wrong.differing(tokens) < wrong.differing(wrong.tokens))
    assert torch.equal(certainty[~replaced], wrong.certainty[~replaced])
    pad = wrong.model.report_decoder.pad_id
    for row in replaced.nonzero()[:, 0].tolist():
        written = tokens[row : row + 1, : int((tokens[row] != pad).nonzero().max()) + 1]
        with torch.no_grad():
            logits = wrong.model.report_decoder(wrong.fused.fused[row : row + 1], written, torch.ones_like(written))
        words = logits[0, 18:-1].log_softmax(dim=-1).gather(1, written[0, 19:, None])
        assert certainty[row].item() == pytest.approx(words.mean().item(), abs=1e-4)


@pytest.mark.parametrize("map_view", ["near", "fine"])
def test_sides_are_read_off_maps_as_sharp_as_those_of_the_model(wrong, monkeypatch, map_view):
    asked, choose = [], second_search.best_hypothesis

    def watched(*given, **how):
        asked.append(how["map_view"])
        return choose(*given, **how)

    monkeypatch.setattr(second_search, "best_hypothesis", watched)
    monkeypatch.setattr(wrong.model, "config", replace(wrong.model.config, map_view=map_view))
    wrong.again(maps=True)
    first = Search(wrong.limits, wrong.labeler, maps=True)
    model = SimpleNamespace(config=wrong.model.config, generate=lambda *given: (given[-1].keywords["map_view"], 0, 0))
    study = SimpleNamespace(image=torch.zeros(1))
    assert {*asked} == {first.write(model, study, wrong.tokenizer)[0]} == {map_view}


def test_a_report_that_says_its_states_is_not_searched_for_again(wrong, monkeypatch):
    search = wrong.search()
    said = search.said(
        wrong.tokens, torch.zeros_like(wrong.states)
    )  # what differs from nothing: the findings of the texts
    known = replace(wrong.fused, state_logits=9.0 * F.one_hot(said, len(STATES)).transpose(1, 2))
    monkeypatch.setattr(type(wrong.model.report_decoder), "generate", None)
    tokens, certainty = search(wrong.model, known, wrong.tokens, wrong.certainty)
    assert torch.equal(tokens, wrong.tokens)
    assert torch.equal(certainty, wrong.certainty)


def test_a_decoder_that_is_told_no_states_keeps_its_reports(wrong, monkeypatch):
    monkeypatch.setattr(wrong.model, "config", replace(wrong.model.config, prompt="none"))
    assert torch.equal(wrong.again()[0], wrong.tokens)


def test_the_other_prompt_holds_what_the_first_report_says_and_nothing_else_differs(wrong, monkeypatch):
    asked = []
    decoder = wrong.model.report_decoder

    def remember(fused, prompt, limits, choose, negative):
        asked.append((prompt, limits, negative))
        assert torch.equal(fused, wrong.fused.fused[again])
        assert torch.equal(choose.args[0].state_logits, wrong.fused.state_logits[again])
        assert len(choose.args[0].reference_map) == len(again)
        assert choose.keywords["maps"] is True
        return type(decoder).generate(decoder, fused, prompt, limits, choose, negative)

    monkeypatch.setattr(decoder, "generate", remember)
    again = wrong.differing(wrong.tokens).nonzero()[:, 0]
    wrong.again(limits=replace(wrong.limits, beams=3), guidance=2.0, maps=True)
    ((prompt, limits, negative),) = asked
    said, states = wrong.search().said(wrong.tokens, wrong.states)[again], wrong.states[again]
    ids = torch.tensor(wrong.tokenizer.state_ids)
    assert torch.equal(prompt, wrong.prompt[again])
    assert torch.equal(negative.prompt[:, 1:], ids[said])
    assert torch.equal((negative.prompt != prompt)[:, 1:], (said == POSITIVE) != (states == POSITIVE))
    assert (limits.beams, negative.guidance) == (3, 2.0)


def test_guidance_goes_beyond_the_one_prompt_seen_from_the_other():
    likely, others = torch.tensor([[0.5, 0.3, 0.2]]).log(), torch.tensor([[0.5, 0.1, 0.4]]).log()
    found = guided(likely, others, 1.0).exp()
    by_hand = torch.tensor([[0.5, 0.9, 0.1]])  # p^2 / q
    torch.testing.assert_close(found, by_hand / by_hand.sum())
    torch.testing.assert_close(guided(likely, others, 0.0), likely)
    torch.testing.assert_close(guided(likely, likely, 5.0), likely)


@pytest.mark.parametrize("kind", [BeamReader, PackedBeamReader, FixedBeamReader])
def test_a_guided_reader_reads_both_prompts_with_the_same_words(tiny_model, kind):
    """Against two readers that are guided by hand, word by word, for beams that change their places."""
    model = tiny_model(max_positions=128)
    fused = model.fuse(tiny_study()).fused.detach()
    network, B = model.report_decoder.network, len(fused)
    prompt, other = torch.randint(3, 50, (2, B, 19), generator=torch.Generator().manual_seed(1))
    limits = GenerationLimits(beams=3, min_length=60, max_new_tokens=50)
    plain, told = (BeamReader(network, fused, 19, limits) for _ in range(2))

    def by_hand(tokens, rows):
        given = other.repeat_interleave(3, dim=0) if rows is None else tokens
        return guided(plain(tokens, rows), told(given, rows), 1.5)

    expected, scores = beam_search(by_hand, prompt, limits, 2, 0)
    search = partial(recorded_beam_search, record=NextWord) if kind is FixedBeamReader else beam_search
    found, others = search(kind(network, fused, 19, limits, NegativePrompt(other, 1.5)), prompt, limits, 2, 0)
    assert torch.equal(found, expected)
    torch.testing.assert_close(others, scores, rtol=1e-4, atol=1e-5)
    unguided, _ = beam_search(BeamReader(network, fused, 19, limits), prompt, limits, 2, 0)
    assert not torch.equal(found, unguided)


def test_reports_without_an_end_and_with_padding_among_their_words_are_as_sure_as_their_words(tiny_model):
    decoder = tiny_model().report_decoder
    fused = torch.randn(2, 4, 40, generator=torch.Generator().manual_seed(2))
    tokens = torch.full((2, 26), 5)
    tokens[0, 21], tokens[0, 23:] = 0, 0  # padding between words, and after them
    with torch.no_grad():
        found = certainty_of(decoder, fused, tokens, 19)
        logits = decoder(fused, tokens, torch.ones_like(tokens)).log_softmax(dim=-1)
    words = logits[:, 18:-1].gather(2, tokens[:, 19:, None])[:, :, 0]  # (2, 7)
    torch.testing.assert_close(found, torch.stack([words[0, :4].mean(), words[1].mean()]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "beams"),
    [
        (SYNTH, 12),
        ([*SYNTH, "--second_search", "0"], 0),
        ([*SYNTH, "--rerank", "none"], 0),
        ([*SYNTH, "--beam_size", "1"], 0),
        ([*SYNTH, "--rerank", "none", "--second_search", "12"], 0),
        (["--dataset_name", "mimic_cxr"], 0),
        (["--dataset_name", "mimic_cxr", "--rerank", "states", "--second_search", "5", "--guidance", "0.5"], 5),
        (["--dataset_name", "custom", "--second_search", "5"], 5),
    ],
)
def test_drawings_are_searched_twice_and_others_on_demand(wrong, words, beams):
    options = parse_options(MainTest, words).generation
    search = search_of(options, wrong.labeler)
    second = search.second(wrong.tokenizer)
    assert (second.limits.beams if second else 0) == beams
    if second:
        assert second.limits == replace(search.limits, beams=beams)
        assert (second.guidance, second.maps) == (options.guidance, options.rerank == "maps")


def test_a_training_from_before_is_not_resumed_with_a_second_search(tmp_path):
    """Its validations would choose by other reports."""
    asked = [*SYNTH, "--save_dir", str(tmp_path), "--resume"]
    before = plain(flat(parse_options(MainTrain, asked)))
    del before["second_search"], before["guidance"]
    write_json(tmp_path / "options.json", {"options": before})
    with pytest.raises(UserError, match="second_search 0 there, 12 here"):
        check_same_run(parse_options(MainTrain, asked))
    check_same_run(parse_options(MainTrain, [*asked, "--second_search", "0"]))


@pytest.mark.parametrize(
    ("program", "words", "why"),
    [
        (MainTest, "--rerank none --second_search 5", "--second_search 5 would change nothing with --rerank none"),
        (MainTest, "--beam_size 1 --second_search 5", "--second_search 5 would change nothing with --beam_size 1"),
        (MainTrain, "--prompt none --second_search 5", "--second_search 5 would change nothing with --prompt none"),
        (MainTest, "--second_search 0 --guidance 2", "--guidance 2.0 would change nothing without a second search"),
        (MainTrain, "--rerank none --guidance 2", "--guidance 2.0 would change nothing without a second search"),
        (MainTest, "--rescore --second_search 5", "--second_search 5 would change nothing with --rescore"),
        (MainTest, "--rescore --guidance 2", "--guidance 2.0 would change nothing with --rescore"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(program, words, why, capsys):
    with pytest.raises(SystemExit) as end:
        parse_options(program, [*SYNTH, *words.split()])
    assert end.value.code == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--rerank none", "--beam_size 1", "--prompt none"])
def test_a_search_that_does_not_take_place_is_recorded_as_none(words):
    assert parse_options(MainTrain, [*SYNTH, *words.split()]).generation.second_search == 0


def test_a_test_of_ones_own_model_asks_as_its_training_did(tmp_path):
    write_json(tmp_path / "options.json", {"options": {"rerank": "states", "second_search": 5, "guidance": 0.5}})
    followed = trained_lengths(str(tmp_path / "model_best.pth"))
    asked = {}
    for words in ("", "--guidance 2", "--second_search 7"):
        options = parse_options(MainTest, ["--dataset_name", "custom", *words.split()])
        fit_to_size(options, followed)
        asked[words] = (options.generation.rerank, options.generation.second_search, options.generation.guidance)
    assert asked == {
        "": ("states", 5, 0.5), "--guidance 2": ("states", 5, 2.0), "--second_search 7": ("states", 7, 0.5),
    }  # fmt: skip


def test_scoring_anew_reports_of_before_tells_of_no_second_search(tmp_path):
    write_json(tmp_path / "options_test.json", {"options": {"rerank": "maps", "beam_size": 6}})
    options = parse_options(MainTest, [*SYNTH, "--rescore", "--save_dir", str(tmp_path)])
    restore_generation(options)
    assert options.generation.second_search == 0


def test_a_report_of_much_less_likely_words_replaces_none(wrong):
    search, usual = wrong.search(), wrong.again()[1]
    replaced = usual != wrong.certainty
    first = wrong.certainty.double()
    first[replaced.nonzero()[0]] = 9.0  # one of the first reports is so likely that no other is near it
    tokens, certainty = search(wrong.model, wrong.fused, wrong.tokens, first)
    assert certainty.dtype is torch.float64
    assert (certainty != first).sum() == replaced.sum() - 1
    assert ((tokens != wrong.tokens).any(dim=1) == (certainty != first)).all()
    assert UNLIKELY > 0.39, "more than a fluent report of a test lost"


def test_labelers_with_fewer_conditions_in_another_order_say_the_same_of_these(wrong):
    class Few:
        conditions = tuple(reversed(CONDITIONS[3:]))

        def __call__(self, texts):
            return wrong.labeler(texts)[:, [CONDITIONS.index(name) for name in self.conditions]]

    few, every = (s.said(wrong.tokens, wrong.states) for s in (wrong.search(labeler=Few()), wrong.search()))
    assert torch.equal(few[:, 3:], every[:, 3:])
    assert torch.equal(few[:, :3], wrong.states[:, :3])


def test_whoever_writes_reports_searches_twice(wrong, monkeypatch):
    monkeypatch.setattr(wrong.model, "fuse", lambda study: wrong.fused)
    options = parse_options(MainTest, [*SYNTH, "--rerank", "states", "--batch_size", "18", "--num_workers", "0"])
    options.loading.eval_batch_size = 18
    differing = []
    for beams in (0, 2):
        search = replace(search_of(options.generation, wrong.labeler), limits=wrong.limits, second_beams=beams)
        rows = generate_reports(wrong.model, wrong.data, search, device=CPU, precision="fp32", loading=options.loading)
        said = torch.from_numpy(wrong.labeler([row["prediction"] for row in rows]))
        differing.append(((said == POSITIVE) != (wrong.states == POSITIVE)).sum().item())
    assert differing[1] < differing[0] == wrong.differing(wrong.tokens).sum()


def test_a_model_from_before_is_asked_as_it_was_tested():
    assert as_options({"dataset_name": "synth_cxr"})["second_search"] == 0
    assert as_options({"beam_size": 1, "rerank": "maps"})["rerank"] == "none"
    assert as_options({"second_search": 12, "guidance": 0.5}) == {"second_search": 12, "guidance": 0.5}
