"""modules/training/self_critical.py, models/report_sampling.py: drawn reports, what they earn, and what a training learns of it."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from programs import train, train_until_interrupted
from small_set import small_bank, small_set
from tiny import tiny_config, tiny_study

from models.beam_reader import BeamReader
from models.beam_search import GenerationLimits
from models.cpu.speed_up import speed_up
from models.decoder_layers import PackedReports
from models.report_sampling import draw_reports
from models.revtaf import Revtaf
from modules.corpus.dataloaders import rarity
from modules.corpus.datasets import Batch
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler
from modules.labels import CONDITIONS, POSITIVE
from modules.options.flags import TrainingOptions
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.records import read_json, write_json
from modules.training.losses import reward_loss
from modules.training.objective import DrawnReports, Step, loss_names, objective, shares
from modules.training.recorded_step import Inputs
from modules.training.run_state import sums_by_name
from modules.training.self_critical import SelfCritical
from modules.training.trainer import Trainer
from modules.training.update import Update
from modules.training.validation import Validation
from modules.weights.checkpoints import load_checkpoint

END, PAD, V = 2, 0, 6
REPORTS = {
    "a": "the heart is enlarged .",
    "b": "small left pleural effusion .",
    "c": "the heart is enlarged . small left pleural effusion .",
}


class Table:
    """A reader with the same log-probabilities ``(V,)`` after every word; it keeps what it was asked."""

    def __init__(self, log_probability):
        self.log_probability, self.asked, self.kept = log_probability, [], []

    def __call__(self, tokens, rows):
        self.asked.append((tokens, rows))
        return self.log_probability.expand(len(tokens), V).clone()

    def keep(self, rows):
        self.kept.append(rows)


def test_layers_that_are_computed_again_are_computed_as_before():
    """Drawn reports are read without dropout, and the way back comes when the decoder is in training again."""
    torch.manual_seed(0)
    model = Revtaf(tiny_config(dropout=0.5))
    decoder = model.report_decoder
    ids = torch.randint(5, 20, (2, 30), generator=torch.Generator().manual_seed(0))
    columns = model.fuse(tiny_study(2)).fused.detach()
    found = []
    for twice in (False, True):
        decoder.network.bert.encoder.gradient_checkpointing = twice
        decoder.zero_grad()
        decoder.eval()
        logits = decoder.predict(columns, PackedReports.of(ids, torch.ones_like(ids, dtype=torch.bool), 19))
        decoder.train()
        logits.square().sum().backward()
        assert all(layer.training for layer in decoder.network.bert.encoder.layer)
        found.append([parameter.grad.clone() for parameter in decoder.parameters() if parameter.grad is not None])
    for once, again in zip(*found, strict=True):
        torch.testing.assert_close(again, once)


def test_every_word_is_drawn_as_often_as_the_square_of_its_probability():
    torch.manual_seed(0)
    probability = torch.tensor([0.3, 0.1, 0.2, 0.1, 0.1, 0.2])  # of padding too, which is never drawn
    limits = GenerationLimits(beams=1, min_length=0, max_new_tokens=4)
    prompt = torch.tensor([[1, 3], [4, 5]]).repeat_interleave(5000, dim=0)
    tokens = draw_reports(Table(probability.log()), prompt, limits, END, PAD)
    assert tokens.shape == (10_000, 6)
    assert torch.equal(tokens[:, :2], prompt)
    expected = probability.square()
    expected[PAD] = 0
    after_end = (tokens[:, 2:] == END).long().cumsum(dim=1) - (tokens[:, 2:] == END).long() > 0
    assert (tokens[:, 2:][after_end] == PAD).all()
    for place in (2, 3, 5):
        found = tokens[:, place][~after_end[:, place - 2]].bincount(minlength=V)
        torch.testing.assert_close(found / found.sum(), expected / expected.sum(), atol=0.02, rtol=0)


def test_no_padding_is_drawn_inside_a_report_whose_probabilities_are_no_numbers():
    torch.manual_seed(0)
    limits = GenerationLimits(beams=1, min_length=0, max_new_tokens=6)
    tokens = draw_reports(Table(torch.full((V,), torch.nan)), torch.tensor([[1, 3]] * 64), limits, END, PAD)
    padding = tokens[:, 2:] == PAD
    assert padding.any()
    assert torch.equal(padding, (tokens[:, 2:] == END).cumsum(dim=1) - (tokens[:, 2:] == END).long() > 0)


def test_a_profile_times_steps_that_draw(prepared, tmp_path, monkeypatch):
    drawn, reward = [], SelfCritical.reward
    monkeypatch.setattr(SelfCritical, "reward", lambda *given: drawn.append(1) or reward(*given))
    train(prepared, tmp_path, "--profile", 2, "--scst", 2, "--scst_epochs", 1)
    assert len(drawn) >= 2


def test_no_report_is_shorter_or_longer_than_asked():
    torch.manual_seed(0)
    ends = torch.full((V,), -20.0)
    ends[END] = 0
    limits = GenerationLimits(beams=1, min_length=5, max_new_tokens=9)
    prompt = torch.tensor([[1, 3]] * 3)
    tokens = draw_reports(Table(ends), prompt, limits, END, PAD)
    assert tokens.shape == (3, 6)  # the prompt of two, three words before the end is allowed, the end
    assert (tokens[:, 5] == END).all()
    assert not (tokens[:, :5] == END).any()
    never = torch.zeros(V)
    never[END] = -torch.inf
    tokens = draw_reports(Table(never), prompt, limits, END, PAD)
    assert tokens.shape == (3, 11)
    assert not (tokens == END).any()


def test_an_ended_report_is_read_no_further():
    torch.manual_seed(0)
    limits, reader = GenerationLimits(beams=1, min_length=0, max_new_tokens=30), Table(torch.zeros(V))
    tokens = draw_reports(reader, torch.tensor([[1, 3]] * 64), limits, END, PAD)
    read, length, kept = torch.arange(64), 2, iter(reader.kept)
    assert len(reader.kept) > 5
    for newest, rows in reader.asked[1:]:
        if len(newest) < len(read):
            read = read[next(kept)]
        assert torch.equal(newest[:, 0], tokens[read, length])
        assert torch.equal(rows, torch.arange(len(read)))
        open_reports = (tokens[read, 2 : length + 1] != END).all(dim=1).sum()
        assert 4 * open_reports > 3 * len(read)
        length += 1
    assert next(kept, None) is None


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """Three studies with a report each, a tiny model of their words, a batch of them, and what draws their reports."""
    bank = small_bank(tmp_path_factory.mktemp("bank"), REPORTS, np.zeros((3, 18)))
    dataset = small_set(bank, REPORTS)
    tokenizer = dataset.tokenizer
    torch.manual_seed(0)
    model = Revtaf(
        tiny_config(
            vocab_size=tokenizer.vocab_size, pad_id=tokenizer.pad_id, end_id=tokenizer.end_id, enhancer="towers",
            reference_memory=0,
        )
    ).train()  # fmt: skip
    study = replace(tiny_study(), reference_tokens=torch.zeros(3, 0, dtype=torch.long))
    ids = [tokenizer.encode(report, [0] * 18, 60) for report in REPORTS.values()]
    width = max(map(len, ids))
    token_ids = torch.tensor([row + [tokenizer.pad_id] * (width - len(row)) for row in ids])
    mask = token_ids != tokenizer.pad_id
    labels = torch.from_numpy(RuleLabeler()(list(REPORTS.values()))).long()
    packed = PackedReports.of(token_ids, mask, model.config.prompt_length)
    batch = Batch(study, token_ids, mask, packed, labels, [0, 1, 2])
    limits = GenerationLimits(beams=1, min_length=22, max_new_tokens=10)
    return model, batch, SelfCritical(model, dataset, RuleLabeler(), limits, 4, "fp32")


def test_the_probability_of_a_draw_is_that_of_its_words(setting, monkeypatch):
    """By transformers' own decoder over the whole padded reports, without words that could not be drawn."""
    model, batch, critic = setting
    critic = SelfCritical(
        model, critic.train_set, RuleLabeler(), critic.limits, 8, "fp32"
    )  # more rows than the prompt is long
    model.eval()
    torch.manual_seed(1)
    fused = model.fuse(batch.study)
    kept = []
    draw = model.report_decoder.draw
    monkeypatch.setattr(model.report_decoder, "draw", lambda *given: kept.append(draw(*given)) or kept[0])
    drawn = critic(fused, batch)
    (tokens,), start = kept, model.config.prompt_length
    assert len(set(map(tuple, tokens.tolist()))) > 6
    states = model.prompted(torch.tensor(critic.train_set.tokenizer.state_ids)[fused.state_logits.argmax(dim=1)])
    assert tokens[:, 1:start].tolist() == states.repeat_interleave(8, dim=0).tolist(), "predicted states, as in a test"
    mask = tokens != PAD
    logits = model.report_decoder(fused.fused.repeat_interleave(8, dim=0), tokens, mask)  # (24, T, V)
    expected = []
    for row, (ids, real) in enumerate(zip(tokens, mask, strict=True)):
        total = 0.0
        for place in range(start, int(real.sum())):
            possible = 2 * logits[row, place - 1]
            possible[PAD] = -torch.inf
            if place < 22:
                possible[END] = -torch.inf
            total += possible.log_softmax(dim=0)[ids[place]]
        expected.append(total)
    torch.testing.assert_close(drawn.log_probability.flatten(), torch.stack(expected), rtol=1e-4, atol=1e-4)
    drawn.log_probability.sum().backward()
    for reached in (model.project_patches, model.report_decoder.network.bert.encoder.layer[0].intermediate.dense):
        assert reached.weight.grad.abs().sum() > 0
    model.zero_grad()
    model.train()


def test_nothing_drawn_has_dropout_and_the_training_goes_on_as_it_was(setting):
    model, batch, critic = setting
    with torch.no_grad():
        fused, drawn = model.eval().fuse(batch.study), []
    for training in (True, False):
        model.train(training)
        torch.manual_seed(3)
        drawn.append(critic(fused, batch))
        assert {module.training for module in model.report_decoder.modules()} == {training}
    assert torch.equal(drawn[0].log_probability, drawn[1].log_probability)
    assert torch.equal(drawn[0].reward, drawn[1].reward)
    model.train()


def test_the_fast_reader_of_a_cpu_draws_the_same(setting):
    model, batch, critic = setting
    fast = Revtaf(model.config)
    fast.load_state_dict(model.state_dict())
    speed_up(fast)
    assert type(fast.report_decoder).drawing_reader is not fast.report_decoder.drawing_reader
    fused, prompt = torch.randn(30, 4, 40), batch.token_ids[:, : model.config.prompt_length].repeat(10, 1)
    drawn = []
    for decoder in (model.report_decoder.eval(), fast.report_decoder.eval()):
        torch.manual_seed(3)
        drawn.append(decoder.draw(fused, prompt, critic.limits))
    assert torch.equal(*drawn)
    model.train()


def test_reports_that_are_left_out_change_no_other(setting):
    model, batch, critic = setting
    torch.manual_seed(0)
    fused, prompt = torch.randn(3, 4, 40), batch.token_ids[:, : model.config.prompt_length]
    network, limits = model.report_decoder.eval().network, critic.limits
    words, rows = torch.tensor([[5], [6], [7]]), torch.arange(3)
    whole, fewer = (BeamReader(network, fused, prompt.shape[1], limits) for _ in range(2))
    for reader in (whole, fewer):
        reader(prompt, None)
        reader(words, rows)
    still = torch.tensor([2, 0])
    fewer.keep(still)
    for _ in range(2):
        torch.testing.assert_close(fewer(words[still], rows[:2]), whole(words, rows)[still], rtol=1e-4, atol=1e-5)
    model.train()


def test_a_report_earns_the_clinical_f1_of_its_own_words(setting):
    _, batch, critic = setting
    prompt = batch.token_ids[0, :19].tolist()
    said = ["the heart is enlarged .", "small left pleural effusion .", "", "the heart is enlarged . small effusion ."]
    rows = [prompt + critic.train_set.tokenizer.words(text, 20) for _ in REPORTS for text in said]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    critic = SelfCritical(
        critic.model, critic.train_set, RuleLabeler(), critic.limits, 4, "fp32"
    )  # has read nothing else
    known = dict(critic.labeler._known)
    reward = critic.reward(tokens, batch)
    # the whole of one finding, none of it, nothing said (which says "no finding"), both findings
    expected = [[1, 0, 0, 2 / 3], [0, 1, 0, 2 / 3], [2 / 3, 2 / 3, 0, 1]]
    torch.testing.assert_close(reward, torch.tensor(expected))
    assert critic.labeler._known == known, "what is drawn is not kept"
    other = replace(batch, index=[2, 0, 1])
    torch.testing.assert_close(
        critic.reward(tokens, other), torch.tensor([expected[2], expected[0], expected[1]]).roll(0)
    )


def test_rare_findings_earn_more_where_rarity_counts(setting, tmp_path):
    """An effusion in one of four training reports counts four times as much as a heart that is enlarged in all of them."""
    _, batch, critic = setting
    heart = "the heart is enlarged ."
    reports = {"a": heart, "b": heart, "c": REPORTS["c"], "d": heart}  # the last is not in the batch
    dataset = small_set(small_bank(tmp_path, reports, np.zeros((4, 18))), reports)
    said = ["the heart is enlarged .", "small left pleural effusion ."]
    prompt = batch.token_ids[0, :19].tolist()
    rows = [prompt + dataset.tokenizer.words(text, 10) for _ in batch.index for text in said]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    found = {}
    for power in (0.0, 1.0):
        rare = SelfCritical(critic.model, dataset, RuleLabeler(), critic.limits, 2, "fp32", power)
        found[power] = rare.reward(tokens, batch)
        turned = SelfCritical(critic.model, dataset, Backwards(), critic.limits, 2, "fp32", power)
        torch.testing.assert_close(turned.reward(tokens, batch), found[power])
    torch.testing.assert_close(found[0.0], torch.tensor([[1, 0], [1, 0], [2 / 3, 2 / 3]]))
    torch.testing.assert_close(found[1.0], torch.tensor([[1, 0], [1, 0], [1 / 3, 8 / 9]]))


def test_what_no_report_says_counts_as_if_one_did():
    positive = np.zeros((100, 3), bool)
    positive[:50, 0] = positive[:, 2] = True
    np.testing.assert_allclose(rarity(positive, 0.5), [2**0.5, 10, 1])
    assert (rarity(positive[:0], 0.5) == 1).all()


def test_reports_without_a_word_earn_nothing_as_in_a_test(setting):
    """Beside a report without findings full stops earned all, which every scorer gives 0."""
    _, batch, critic = setting
    dataset, tokenizer = critic.train_set, critic.train_set.tokenizer
    normal = SelfCritical(critic.model, dataset, RuleLabeler(), critic.limits, 2, "fp32")
    normal.own = RuleLabeler()(["the lungs are clear ."] * 3)
    prompt = batch.token_ids[0, :19].tolist()
    rows = [prompt + tokenizer.words(text, 20) for _ in range(3) for text in (". .", "the heart .")]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    assert normal.reward(tokens, batch).tolist() == [[0, 1]] * 3
    for text, earned in ((". .", 0.0), ("the heart .", 1.0)):
        assert ReportScorer(["the lungs are clear ."], RuleLabeler())([text], meteor=False)["ce_f1"] == earned


BOXES = "[ ] Pleural effusion\n[x] Cardiomegaly\n[ ] Pneumothorax"


def test_boxes_of_a_report_are_read_alike_by_rewards_validations_and_tests(tmp_path):
    """Validations and rewards took every box of the cleaned report for a finding."""
    reports = {**REPORTS, "a": BOXES}
    dataset = small_set(small_bank(tmp_path, reports, np.zeros((3, 18))), reports)
    dataset.use_reports("published", 100)
    assert "[" not in dataset.reports[0]
    limits = GenerationLimits(beams=1, min_length=22, max_new_tokens=10)
    critic = SelfCritical(
        Revtaf(tiny_config(vocab_size=dataset.tokenizer.vocab_size)), dataset, RuleLabeler(), limits, 2, "fp32"
    )
    expected = RuleLabeler()([BOXES])[0]
    assert [name for name, state in zip(CONDITIONS, expected, strict=True) if state == POSITIVE] == ["cardiomegaly"]
    np.testing.assert_array_equal(critic.own[0], expected)
    options = parse_options(MainTrain, ["--dataset_name", "custom", "--save_dir", str(tmp_path / "run")])
    validation = Validation(critic.model, dataset, RuleLabeler(), options, torch.device("cpu"), lambda: None)
    np.testing.assert_array_equal(validation.scorer.reference_labels[0], expected)


def test_the_gradient_is_that_of_the_expected_reward():
    """All pairs of draws of a study, each with its probability: no estimate is left."""
    worth = torch.tensor([1.0, 0.2, 0.6])
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    log_probability = logits.log_softmax(dim=0)
    (exact,) = torch.autograd.grad(1 - (log_probability.exp() * worth).sum(), logits)
    estimated, value = torch.zeros(3, dtype=torch.float64), 0.0
    for one in range(3):
        for two in range(3):
            log_probability = logits.log_softmax(dim=0)
            pair = torch.tensor([[one, two]])
            loss = reward_loss(worth[pair].double(), log_probability[pair])
            (gradient,) = torch.autograd.grad(loss, logits)
            weight = (log_probability[one] + log_probability[two]).exp().item()
            estimated, value = estimated + weight * gradient, value + weight * loss.item()
    torch.testing.assert_close(estimated, exact)
    assert value == pytest.approx(1 - (logits.softmax(dim=0) * worth).sum().item())


def test_draws_that_earn_alike_teach_nothing():
    log_probability = torch.randn(2, 3, requires_grad=True)
    reward_loss(torch.tensor([[0.5] * 3, [1.0] * 3]), log_probability).backward()
    assert (log_probability.grad == 0).all()


def test_the_loss_alone_teaches_to_name_the_findings(setting):
    """From words at random to the findings of each study's own report, without ever reading it."""
    model, batch, critic = setting
    torch.manual_seed(0)
    model = Revtaf(replace(model.config, dropout=0.0))
    critic = SelfCritical(model, critic.train_set, RuleLabeler(), critic.limits, 32, "fp32")
    optimizer = torch.optim.AdamW(model.report_decoder.parameters(), lr=3e-3)
    with torch.no_grad():
        known = replace(model.eval().fuse(batch.study), fused=2 * torch.randn(3, 4, 40))  # studies that look apart
    found = []
    for _ in range(80):
        drawn = critic(known, batch)
        loss = reward_loss(drawn.reward, drawn.log_probability)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(1 - loss.item())
    assert np.mean(found[:5]) < 0.45
    assert np.mean(found[-5:]) > 0.9


OPTIONS = {"scst": 4, "scst_weight": 3.0}


def test_the_term_is_there_with_its_flag_alone_and_splits_over_batches(setting):
    model, batch, _ = setting
    assert "loss_reward" not in loss_names()
    assert "loss_reward" not in loss_names(TrainingOptions())
    options = TrainingOptions(**OPTIONS)
    assert loss_names(options) == [*loss_names(), "loss_reward"]
    with torch.no_grad():
        output = model.eval()(batch.study, batch.token_ids, batch.token_mask, batch.packed)
    step = Step(model, output, batch, torch.ones(18), options, drawn=None)
    without = objective(step)
    assert list(without) == loss_names(options)
    assert without["loss_reward"] == 0
    reward, log_probability = torch.rand(3, 4), torch.randn(3, 4)
    with_it = objective(replace(step, drawn=DrawnReports(reward, log_probability)))
    assert with_it["loss_reward"].item() == pytest.approx(1 - reward.mean().item(), rel=1e-5)
    assert (with_it["loss"] - without["loss"]).item() == pytest.approx(3 * (1 - reward.mean().item()), rel=1e-4)
    longer = replace(batch, packed=replace(batch.packed, targets=batch.packed.targets.repeat(2)))
    split = shares(model.config, [batch, longer], [None] * 2)
    assert [share["reward"].item() for share in split] == [0.5, 0.5], "a mean over studies"
    assert split[0]["report"] < split[1]["report"]


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scst")
    train(prepared, folder, "--scst", 2, "--scst_epochs", 1, "--scst_weight", 0.5)
    return folder


def test_a_training_draws_in_its_last_epochs(trained):
    with open(trained / "metrics.csv", encoding="utf-8") as file:
        first, last = csv.DictReader(file)
    assert float(first["loss_reward"]) == 0
    assert 0 < float(last["loss_reward"]) <= 1
    weights = {"report": 1, "diagnosis": 4, "alignment": 0.5, "ranking": 2, "presence": 4, "reward": 0.5}
    for row in (first, last):
        total = sum(weight * float(row[f"loss_{name}"]) for name, weight in weights.items())
        assert float(row["loss"]) == pytest.approx(total, rel=1e-5)


def test_an_interrupted_training_draws_the_same_reports(trained, prepared, tmp_path, monkeypatch):
    train_until_interrupted(monkeypatch, 7, prepared, tmp_path, "--scst", 2, "--scst_epochs", 1, "--scst_weight", 0.5)
    train(prepared, tmp_path, "--scst", 2, "--scst_epochs", 1, "--scst_weight", 0.5, "--resume")
    weights = [load_checkpoint(folder / "current_checkpoint.pth")["state_dict"] for folder in (trained, tmp_path)]
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []


def test_a_run_begins_and_ceases_to_draw_between_epochs(prepared, tmp_path, monkeypatch, capsys):
    """Words first, findings later; inside an epoch its figures would be of both."""
    few = ["--log_every", 1]
    train_until_interrupted(monkeypatch, 4, prepared, tmp_path, *few, "--epochs", 1)
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path, *few, "--epochs", 1, "--resume", "--scst", 2)
    assert end.value.code == 2
    assert "inside an epoch that draws 0 reports of each study, and now it would draw 2" in capsys.readouterr().err
    train(prepared, tmp_path, *few, "--resume", "--epochs", 1)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path, *few, "--resume", "--epochs", 1, "--scst", 2)
    assert end.value.code == 2
    assert (
        "its 1 epochs, in which --scst was 0, and none is left for --scst 2: give --epochs 3" in capsys.readouterr().err
    )
    train(prepared, tmp_path, *few, "--resume", "--epochs", 1)
    capsys.readouterr()
    options = read_json(tmp_path / "options.json")
    options["options"] = {name: value for name, value in options["options"].items() if not name.startswith("scst")}
    write_json(tmp_path / "options.json", options)  # of a run from before there was the flag
    train_until_interrupted(
        monkeypatch, 3, prepared, tmp_path, *few, "--resume", "--epochs", 2, "--scst", 2, "--scst_epochs", 1
    )
    assert "from here on --scst 2, 0 before\n" in capsys.readouterr().out
    for changed in (["--scst", 0], ["--scst", 2, "--scst_epochs", 1, "--epochs", 3]):
        with pytest.raises(SystemExit) as end:
            train(prepared, tmp_path, *few, "--resume", *changed)
        assert end.value.code == 2
        assert "draws 2 reports of each study, and now it would draw 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path, *few, "--resume", "--scst", 2, "--scst_epochs", 1, "--scst_weight", 1)
    assert end.value.code == 2
    assert "inside an epoch whose --scst_weight is 0.05, and now it would be 1.0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path, *few, "--resume", "--scst", 2, "--scst_epochs", 1, "--scst_rarity", 1)
    assert end.value.code == 2
    assert "inside an epoch whose --scst_rarity is 0.0, and now it would be 1.0" in capsys.readouterr().err
    train(prepared, tmp_path, *few, "--resume", "--scst", 2, "--scst_epochs", 1)
    told = (tmp_path / "options.json").read_text()
    for name, before, now in (("scst_weight", 0.05, 7.0), ("scst_rarity", 0.0, 1.0)):
        with pytest.raises(SystemExit) as end:
            train(prepared, tmp_path, *few, "--resume", "--scst", 2, "--scst_epochs", 1, f"--{name}", now)
        assert end.value.code == 2
        assert f"in which --{name} was {before}, and none is left for --{name} {now}" in capsys.readouterr().err
        assert (tmp_path / "options.json").read_text() == told
    train(prepared, tmp_path, *few, "--resume", "--epochs", 3)
    assert "from here on --scst 0, 2 before\n" in capsys.readouterr().out
    with open(tmp_path / "steps.csv", encoding="utf-8", newline="") as file:
        steps = list(csv.DictReader(file))
    assert [int(row["total_step"]) for row in steps] == list(range(1, 19))
    assert all(None not in row for row in steps), "every row has the columns of the head"
    drawn = [row["loss_reward"] for row in steps]
    assert drawn[:6] == [""] * 6
    assert drawn[12:] == [""] * 6
    assert all(0 < float(row["lr"]) < 1e-3 for row in steps)
    with open(tmp_path / "metrics.csv", encoding="utf-8", newline="") as file:
        rewards = [row["loss_reward"] for row in csv.DictReader(file)]
    assert rewards[0] == rewards[2] == ""
    assert float(rewards[1]) == pytest.approx(np.mean([float(reward) for reward in drawn[6:12]]), rel=1e-5)


def test_sums_are_restored_by_name():
    sums = torch.tensor([6.0, 1.0, 2.0, 3.0])
    assert sums_by_name(sums, ["loss", "a", "b"], ["loss", "a", "new", "b"]).tolist() == [6, 1, 2, 0, 3]
    assert sums_by_name(sums, ["loss", "a", "b"], ["loss", "b"]).tolist() == [6, 1, 3]


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_a_study_that_is_no_number_is_met_as_without_drawing(on_nan, prepared, tmp_path, monkeypatch, capsys):
    fit = Trainer.fit

    def spoiled(trainer):
        to_device, seen = trainer.train_set.to_device, []

        def second_is_none(batch, device):
            batch = to_device(batch, device)
            seen.append(batch)
            if len(seen) == 2:
                batch.study.image[0, 0, 0, 0] = torch.nan
            return batch

        trainer.train_set.to_device = second_is_none
        fit(trainer)

    monkeypatch.setattr(Trainer, "fit", spoiled)
    words = ["--epochs", 1, "--scst", 2, "--on_nan", on_nan]
    if on_nan == "skip":
        train(prepared, tmp_path, *words)
        assert (tmp_path / "model_best.pth").is_file()
        return
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path, *words)
    assert end.value.code == 2
    assert "not finite" in capsys.readouterr().err
    assert (tmp_path / "nonfinite_step.pt").is_file()


@pytest.mark.parametrize(
    "flags",
    [
        ["--prompt", "none"],
        ["--precision", "bf16"],
        ["--grad_checkpointing", "--dropout", "0.5"],
        ["--grad_checkpointing", "--dropout", "0.5", "--cagrad", "0.4"],
    ],
    ids=" ".join,
)
def test_other_trainings_draw_too(flags, prepared, tmp_path):
    train(prepared, tmp_path, "--epochs", 1, "--scst", 3, *flags)
    with open(tmp_path / "metrics.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss_reward"]) <= 1


def test_the_flags_say_how_many_and_how_long(setting):
    model, _, critic = setting
    words = [
        "--dataset_name",
        "synth_cxr",
        "--scst",
        "5",
        "--gen_min_len",
        "33",
        "--gen_max_len",
        "44",
        "--scst_rarity",
        "2",
    ]
    options = parse_options(MainTrain, [*words, "--precision", "bf16"])
    made = SelfCritical.of(model, critic.train_set, RuleLabeler(), options)
    assert (made.number, made.limits.min_length, made.limits.max_new_tokens, made.precision) == (5, 33, 44, "bf16")
    assert made.weights.max() == pytest.approx(len(critic.own) ** 2)
    assert SelfCritical.of(model, critic.train_set, RuleLabeler(), parse_options(MainTrain, words[:2])) is None


class Backwards(RuleLabeler):
    """Columns in the other order."""

    conditions = RuleLabeler.conditions[::-1]

    def __call__(self, reports):
        return super().__call__(reports)[:, ::-1]

    def label_once(self, reports):
        return super().label_once(reports)[:, ::-1]


def test_columns_are_found_by_name(setting):
    _, batch, critic = setting
    other = SelfCritical(critic.model, critic.train_set, Backwards(), critic.limits, 4, "fp32")
    tokens = batch.token_ids.repeat_interleave(4, dim=0).roll(3, dims=0)
    assert 0 < critic.reward(tokens, batch).mean() < 1
    torch.testing.assert_close(other.reward(tokens, batch), critic.reward(tokens, batch))


def test_precision_is_that_of_the_training(setting, monkeypatch):
    model, batch, critic = setting
    found, predict, draw, halved = [], model.report_decoder.predict, model.report_decoder.draw, []
    monkeypatch.setattr(
        model.report_decoder, "draw", lambda *given: halved.append(torch.is_autocast_enabled("cpu")) or draw(*given)
    )
    monkeypatch.setattr(model.report_decoder, "predict", lambda *given: found.append(predict(*given)) or found[-1])
    fused = model.fuse(batch.study)
    for precision in ("fp32", "bf16"):
        SelfCritical(model, critic.train_set, RuleLabeler(), critic.limits, 2, precision)(fused, batch)
        made = SelfCritical(model, critic.train_set, RuleLabeler(), critic.limits, 2, precision)(fused, batch)
        assert made.log_probability.dtype == torch.float32
    assert [logits.dtype for logits in found[::2]] == [torch.float32, torch.bfloat16]
    assert halved == [False, False, True, True]


def test_a_recorded_step_is_not_repeated_in_an_epoch_that_draws(setting):
    model, batch, critic = setting
    update = Update(model, TrainingOptions(scst=4), "fp32", torch.device("cpu"), (1, 2, 3, 4), self_critical=critic)
    update.recorded = lambda inputs: pytest.fail("nothing can be drawn in it")
    critic.active = True
    assert update.losses(Inputs(batch, None, None, torch.ones(18)))["loss_reward"] > 0
    update._step_optimizer = lambda *given: None
    update(1, (batch,), torch.ones(18))
    critic.active, update.recorded = False, lambda inputs: torch.full((7,), 5.0)
    assert update(2, (batch,), torch.ones(18)).tolist() == [5] * 7
    critic.active = True
    model.zero_grad()
