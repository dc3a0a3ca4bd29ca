"""models/retrieval_towers.py and modules/training/towers.py: what is learnt, what it costs nobody else, and the search."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from programs import SMALL, call, places, refused, train, train_until_interrupted
from small_set import small_bank
from test_references import datasets, options  # noqa: F401, fixture
from tiny import tiny_config

import main_predict
import main_test
from models.manifolds import MANIFOLDS
from models.retrieval_towers import GREYS, PLACES, Tower, film_style
from models.revtaf import Revtaf
from modules.labels import NEGATIVE, POSITIVE, UNCERTAIN
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.records import read_json
from modules.retrieval.observation import ask
from modules.retrieval.references import find_references
from modules.retrieval.retriever import what_reports_say
from modules.training import fits, towers, trainer
from modules.training.towers import Wanted, fit_towers, listwise_loss, refit_towers
from modules.weights.checkpoints import load_checkpoint
from modules.weights.saving import save_atomically


class Bank:
    """Four reports: the first two say the same in other words, the third words it like the first, the last is rare."""

    reports = ("the heart is large .", "cardiomegaly is present .", "the heart is normal .", "a fracture is seen .")

    def __init__(self):
        self.labels = np.zeros((4, 18), np.int8)
        self.labels[:2, 1] = POSITIVE
        self.labels[2, 1] = NEGATIVE
        self.labels[3, 11] = POSITIVE
        self.labels[3, 5] = UNCERTAIN

    def __len__(self):
        return 4


def test_worth_counts_words_and_findings_and_no_difference_between_blank_and_negative():
    everyone = np.arange(4)
    no_labels, no_common_words = np.zeros((4, 18), np.int8), list("abcd")
    words = Wanted(Bank().reports, no_labels)(everyone, everyone)
    np.testing.assert_allclose(np.diag(words), 20, rtol=1e-5)  # cosine 1 at temperature .05
    assert words[0, 2] > words[0, 1] > 0
    findings = Wanted(no_common_words, Bank().labels)(everyone, everyone)
    np.testing.assert_allclose(np.diag(findings), 20, rtol=1e-5)
    assert findings[0, 1] == pytest.approx(0, abs=1e-6)
    bank = Bank()
    bank.labels[2] = 0
    bank.labels[2, 4] = NEGATIVE
    blank, rate = np.zeros(18), np.full(18, 1e-3)
    rate[1], rate[11] = 0.5, 0.25
    weight = rate**-0.5 / (rate**-0.5).mean()
    found = Wanted(no_common_words, bank.labels)(everyone, everyone)
    assert found[0, 2] == pytest.approx(-weight[1], rel=1e-4)
    assert found[2, 3] == pytest.approx(-weight[11] - 0.5 * weight[5], rel=1e-4)  # an uncertain finding is half a one
    assert not blank.any()


def test_words_are_worth_the_cosine_of_runs_of_up_to_four():
    """Six of ten runs are the same: a, b, c, a b, b c, a b c."""
    wanted = Wanted(["a b c d", "a b c e"], np.zeros((2, 18), np.int8))
    assert wanted(np.array([0]), np.array([1])) == pytest.approx(20 * 6 / 10)


def test_worth_that_is_kept_is_the_worth_that_is_worked_out():
    rng = np.random.default_rng(0)
    reports = [" ".join(rng.choice(list("abcdefgh"), 12)) for _ in range(150)]
    labels = rng.integers(0, 4, (150, 18))
    kept, anew = (Wanted(reports, labels, keep=keep) for keep in (True, False))
    for _ in range(2):  # the second time from what the first left
        queries, candidates = rng.choice(150, 9, replace=False), rng.choice(150, 70, replace=False)
        np.testing.assert_allclose(kept(queries, candidates), anew(queries, candidates), rtol=1e-5, atol=1e-4)
        others = kept.of_others(queries, candidates)
        assert (others.isneginf().numpy() == (queries[:, None] == candidates)).all()
    assert np.isfinite(kept.kept).all()
    assert anew.kept is None


@pytest.mark.parametrize("name", list(MANIFOLDS))
def test_the_minimum_of_the_loss_is_the_wanted_order(name):
    """Free points end where the nearest report is the one that is worth most, and ties share."""
    manifold = MANIFOLDS[name](0.5)
    generator = torch.Generator().manual_seed(0)
    worth = 6 * torch.rand(8, 12, generator=generator, dtype=torch.float64)
    worth[:, 1] = worth[:, 0]
    worth[torch.arange(8), torch.arange(8) + 2] = -torch.inf
    tangents = [torch.randn(n, 8, generator=generator).mul(0.1).requires_grad_() for n in (8, 12)]
    scale = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.Adam([*tangents, scale], lr=0.05)
    for _ in range(400):
        x, y = (manifold.lift(t.double(), torch.float64) for t in tangents)
        loss = listwise_loss(manifold, x, y, scale, worth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    target = worth.softmax(dim=1)
    least = -(target * target.clamp_min(1e-300).log()).sum(dim=1).mean()
    assert loss.item() < least.item() + 0.1
    distance = manifold.distance(x, y).masked_fill(worth.isinf(), torch.inf)
    chosen = worth.gather(1, distance.argmin(dim=1, keepdim=True))[:, 0]
    assert (worth.amax(dim=1) - chosen).max() < 0.7


@pytest.mark.parametrize("name", list(MANIFOLDS))
def test_the_loss_is_a_cross_entropy_over_scaled_squared_distances(name):
    manifold, generator = MANIFOLDS[name](0.5), torch.Generator().manual_seed(1)
    x, y = (manifold.lift(torch.randn(n, 8, generator=generator).double(), torch.float64) for n in (5, 9))
    worth = 3 * torch.rand(5, 9, generator=generator, dtype=torch.float64)
    expected = 0.0
    for row in range(5):
        distances = torch.stack([manifold.distance(x[row : row + 1], key[None])[0, 0] for key in y])
        scores = -2.5 * distances**2
        expected -= (worth[row].softmax(0) * (scores - scores.exp().sum().log())).sum() / 5
    loss = listwise_loss(manifold, x, y, torch.tensor(2.5).log(), worth)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)


def test_every_geometry_has_equally_many_parameters(tiny_model):
    counts = {
        sum(p.numel() for p in tiny_model(enhancer="towers", manifold=name).retrieval_enhancer.parameters())
        for name in MANIFOLDS
    }
    assert len(counts) == 1


def test_a_site_is_known_by_the_borders_and_the_greys_of_its_films():
    """Two films of one site with other patients are nearer than two of one patient from other sites."""
    rng = np.random.default_rng(0)

    def film(patient: int, border: float, wide: int) -> torch.Tensor:
        pixels = torch.from_numpy(np.random.default_rng(patient).normal(0, 0.5, (110, 110))).float()
        image = torch.full((110, 110), border)
        image[wide:-wide, wide:-wide] = pixels[wide:-wide, wide:-wide]
        return image.expand(1, 3, -1, -1)

    mine, other_patient, other_site = (film_style(film(*of)) for of in ((1, -1.5, 6), (2, -1.5, 6), (1, 0.5, 12)))
    assert mine.shape == (1, 4 * PLACES + 32)
    halves = torch.tensor([-1.0, 1.0]).repeat_interleave(55).expand(1, 3, 110, 110)  # columns are constant, rows alike
    mean, deviation, mean_of_rows, deviation_of_rows = film_style(halves)[0, : 4 * PLACES].reshape(4, PLACES)
    assert (mean[0], mean[-1]) == (-1, 1)
    assert not deviation.any()
    torch.testing.assert_close((mean_of_rows, deviation_of_rows), (torch.zeros(PLACES), torch.ones(PLACES)))
    assert (mine - other_patient).norm() < 0.5 * (mine - other_site).norm()
    image = torch.from_numpy(rng.normal(0, 0.8, (2, 3, 40, 57)).clip(-2.1, 2.2)).float()
    greys = film_style(image)[:, 4 * PLACES :] / len(GREYS)
    torch.testing.assert_close(greys.sum(dim=1), torch.ones(2))
    counts = [np.histogram(part[0].numpy(), GREYS)[0] / (40 * 57) for part in image]
    np.testing.assert_allclose(greys, np.stack(counts), atol=1e-6)


def test_the_query_tower_sees_scores_mean_and_largest_of_every_stage_states_and_film(tiny_model):
    towers = tiny_model(enhancer="towers", tower_inputs="style").retrieval_enhancer
    torch.manual_seed(0)
    scores, stages = torch.rand(2, 5), [torch.randn(2, 3, 4, 6), torch.randn(2, 7, 2, 3)]
    states, image = torch.randn(2, 4, 18), torch.randn(2, 3, 40, 57)
    seen = towers.query_inputs(scores, stages, states, image)
    levels = [pooled for stage in stages for pooled in (stage.mean(dim=(2, 3)), stage.amax(dim=(2, 3)))]
    parts = [(scores / (1 - scores)).log(), *levels, states.log_softmax(dim=1).flatten(1), film_style(image)]
    torch.testing.assert_close(seen, torch.cat(parts, dim=1))
    patches = [stage.flatten(2).transpose(1, 2) for stage in stages]  # of a backbone that is seen as a whole
    torch.testing.assert_close(towers.query_inputs(scores, patches, states, image), seen)
    sure = towers.query_inputs(torch.tensor([[0.0, 1.0]]).repeat(2, 1), stages, states, image)[:, :2]
    torch.testing.assert_close(sure, torch.tensor([[-9.21024, 9.21024]]).repeat(2, 1), rtol=1e-3, atol=0)  # 1 in 10,000


def test_a_tower_standardises_what_it_sees_and_hides_some_of_it_in_training():
    tower = Tower(6, 4, MANIFOLDS["poincare"](0.5))
    training = torch.cat([torch.randn(50, 5) * 4 + 7, torch.full((50, 1), 2.0)], dim=1)  # the last one never varies
    tower.standardise(training)
    plain = copy.deepcopy(tower)
    plain.mean.zero_()
    plain.deviation.fill_(1 - 0.03)
    x = training[:8] + torch.tensor([0.0, 0, 0, 0, 0, 0.03])
    standardised = (x - training.mean(dim=0)) / (training.std(dim=0, correction=0) + 0.03)
    torch.testing.assert_close(standardised[:, 5], torch.ones(8))
    torch.testing.assert_close(tower(x), plain(standardised))
    torch.manual_seed(3)
    hidden = tower(x, 0.5)
    torch.manual_seed(3)
    torch.testing.assert_close(hidden, plain(torch.nn.functional.dropout(standardised, 0.5)))
    assert not torch.allclose(hidden, tower(x))


@pytest.mark.parametrize("name", list(MANIFOLDS))
def test_a_tower_ends_in_the_linear_layer_of_its_manifold(name):
    tower = Tower(6, 4, MANIFOLDS[name](0.5)).double()
    torch.nn.init.normal_(tower.out.bias, std=0.3)
    x = torch.randn(9, 6, dtype=torch.float64)
    hidden = tower.hidden((x - tower.mean) / (tower.deviation + 0.03)).relu() / 4
    lifted = tower.manifold.lift(hidden, torch.float64)
    point = tower.manifold.linear(lifted, tower.out.weight, torch.float64)
    torch.testing.assert_close(tower(x), tower.manifold.translate(point, tower.out.bias, torch.float64))


def test_the_key_tower_sees_how_a_report_begins_and_ends(tmp_path, tiny_model):
    sentences = np.arange(6 * 8, dtype=np.float32).reshape(6, 8)
    labels = np.random.default_rng(0).integers(0, 4, (3, 18)).astype(np.int8)
    bank = small_bank(
        tmp_path, dict(zip("abc", "abc", strict=True)), labels, offsets=np.array([0, 3, 3, 6]), sentences=sentences
    )
    ends = bank.ends(slice(None))
    np.testing.assert_array_equal(ends[0], np.concatenate([sentences[0], sentences[2]]))
    np.testing.assert_array_equal(ends[1], np.zeros(16))  # a report without a sentence
    np.testing.assert_array_equal(bank.ends(np.array([2, 0])), np.stack([np.r_[sentences[3], sentences[5]], ends[0]]))
    seen = {
        name: tiny_model(enhancer="towers", tower_inputs=name, report_feature_dim=8).retrieval_enhancer
        for name in ("style", "thumbnail")
    }
    said = {name: what_reports_say(towers, bank, np.array([0, 2])) for name, towers in seen.items()}
    np.testing.assert_array_equal(said["style"][:, -16:], ends[[0, 2]])
    assert torch.equal(said["style"][:, :-16], said["thumbnail"])
    states = said["thumbnail"][:, :72].reshape(
        2, 4, 18
    )  # state by state, as the weights of a trained tower expect them
    np.testing.assert_array_equal(states, labels[[0, 2], None] == np.arange(4)[:, None])


@pytest.mark.parametrize("name", list(MANIFOLDS))
def test_fitted_towers_find_reports_that_are_worth_more_and_move_nothing_else(datasets, name, monkeypatch):  # noqa: F811
    torch.manual_seed(0)
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers", manifold=name))
    dataset = datasets["train"]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    wanted = Wanted(dataset.bank.reports, dataset.bank.labels)
    rows = dataset.store.rows("training", [study.id for study in dataset.studies])

    def worth():
        find_references(model, dataset, "learned", options())
        assert (dataset.reference_rows != rows).all()
        return np.mean([wanted(rows[[i]], dataset.reference_rows[[i]])[0, 0] for i in range(len(dataset))])

    blind = worth()
    loss = fit_towers(model, dataset, ask(model, dataset, "learned", options()), wanted, (1, 1), 40)
    assert worth() > blind + 2
    assert np.isfinite(loss)
    assert torch.equal(torch.get_rng_state(), state)  # dropout of the model goes on as if nothing had happened
    heldout, found = datasets["test"], []
    for labels in (heldout.labels, (heldout.labels + 1) % 4):  # its own labels and report are not asked
        heldout.labels = labels
        heldout.studies = [replace(study, report="Large right pneumothorax.") for study in heldout.studies]
        find_references(model, heldout, "learned", options())
        found.append(heldout.reference_rows)
    assert np.array_equal(*found)
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert moved
    assert all(key.startswith("retrieval_enhancer.") for key in moved)
    assert not any(parameter.requires_grad for parameter in model.retrieval_enhancer.parameters())
    assert all(
        parameter.grad is None for parameter in model.parameters()
    )  # no step of the model counts the towers' own


def test_an_encoder_of_large_numbers_does_not_poison_the_towers(datasets):  # noqa: F811
    """A ResNet-101 with random weights ends beyond float16, in which the inputs of the towers are kept."""
    dataset = datasets["train"]
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers"))
    last = [m for m in model.visual_encoder.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)][-1]
    torch.nn.init.constant_(last.weight, 1e6)
    seen = ask(model, dataset, "learned", options())
    assert 6e4 < seen.tower_inputs.float().abs().max() < np.inf
    assert np.isfinite(fit_towers(model, dataset, seen, Wanted(dataset.bank.reports, dataset.bank.labels), (1, 1), 5))
    seen.tower_inputs[0] = np.inf
    with pytest.raises(UserError, match="the retrieval towers are not finite after 5 steps"):
        fit_towers(model, dataset, seen, Wanted(dataset.bank.reports, dataset.bank.labels), (1, 1), 5)


@pytest.fixture
def ranked(monkeypatch):
    """What every step of a fit was asked to rank, ``(B, candidates)`` each."""
    worths = []

    def remembered(*arguments):
        worths.append(arguments[-1])
        return listwise_loss(*arguments)

    monkeypatch.setattr(towers, "listwise_loss", remembered)
    return worths


def test_nobody_is_to_find_the_own_report(datasets, ranked):  # noqa: F811
    dataset = datasets["train"]
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers"))
    fit_towers(
        model,
        dataset,
        ask(model, dataset, "learned", options()),
        Wanted(dataset.bank.reports, dataset.bank.labels),
        (1, 1),
        3,
    )
    for worth in ranked:  # of the whole bank
        assert worth.shape == (len(dataset), len(dataset.bank))
        assert (worth.isinf().sum(dim=1) == 1).all()
    best = [worth.masked_fill(worth.isinf(), 99).argmax(dim=1).sort().values.tolist() for worth in ranked]
    rows = dataset.store.rows("training", [study.id for study in dataset.studies])
    assert best == [sorted(rows)] * 3


@pytest.mark.parametrize("alone", [True, False])
def test_nobody_is_to_find_a_report_of_the_own_patient(datasets, ranked, alone):  # noqa: F811
    """What references may not be was what the towers were taught to find: patients' reports are alike."""
    dataset = datasets["train"]
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers"))
    wanted = Wanted.of(dataset, exclude_same_patient=alone)
    fit_towers(model, dataset, ask(model, dataset, "learned", options()), wanted, (1, 1), 2)
    patients = np.array(dataset.bank.patients)
    counts = sorted((patients[:, None] == patients).sum(axis=1)) if alone else [1] * len(patients)
    assert max(counts) > 1 or not alone, "no patient has two studies"
    assert [sorted(worth.isinf().sum(dim=1).tolist()) for worth in ranked] == [counts] * 2


def test_the_fit_of_every_epoch_draws_for_itself_and_a_repeated_one_the_same(datasets, ranked, monkeypatch):  # noqa: F811
    monkeypatch.setattr(towers, "FIRST_STEPS", 1)
    dataset = datasets["train"]
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers"))
    wanted = Wanted(dataset.bank.reports, dataset.bank.labels)
    for epoch in (1, 2, 1):
        refit_towers(model, dataset, wanted, options(), epoch, epoch_steps=1, epochs=1)
    first, second, again = ranked
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


@pytest.mark.parametrize(("small", "expected"), [(fits.SMALL, 1), (0, 2)])
def test_small_towers_are_fitted_on_one_thread_and_the_rest_of_the_program_keeps_its_own(
    datasets,  # noqa: F811
    monkeypatch,
    small,
    expected,
):
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(fits, "SMALL", small)
    monkeypatch.setattr(
        towers, "listwise_loss", lambda *given: seen.append(torch.get_num_threads()) or listwise_loss(*given)
    )
    dataset = datasets["train"]
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers"))
    queries = ask(model, dataset, "learned", options())
    torch.set_num_threads(2)
    try:
        fit_towers(model, dataset, queries, Wanted(dataset.bank.reports, dataset.bank.labels), (1, 1), 3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {expected}


def test_the_rate_falls_to_nothing(datasets, monkeypatch):  # noqa: F811
    """By half a cosine."""
    rates, steps = [], torch.optim.AdamW.step

    def remembered(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return steps(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", remembered)
    dataset = datasets["train"]
    model = Revtaf(tiny_config(visual_extractor="resnet10n", enhancer="towers"))
    fit_towers(
        model,
        dataset,
        ask(model, dataset, "learned", options()),
        Wanted(dataset.bank.reports, dataset.bank.labels),
        (1, 1),
        10,
    )
    np.testing.assert_allclose(rates, towers.LR * (1 + np.cos(np.pi * np.arange(10) / 10)) / 2)


def test_a_small_set_is_fitted_no_longer_than_it_was_trained(prepared, tmp_path, ranked, monkeypatch):
    monkeypatch.setattr(towers, "FIRST_STEPS", 5)
    train(prepared, tmp_path, "--enhancer", "towers")
    assert len(ranked) == 5 + 6  # two epochs of six steps, and a fit after each


@pytest.mark.parametrize(
    ("flags", "fits"),
    [
        ((), [5 + 6, 6]),  # after the second epoch for the references of the third, and after that for the validation
        (("--val_every", 1), [5, 6, 6]),  # each validation reads them
        (("--val_every", 2, "--oracle_epochs", 9), [5 + 6, 6]),
        (("--oracle_epochs", 1), [5, 6, 6]),
        (("--oracle_epochs", 0), [5, 6, 6, 6]),
        (("--oracle_epochs", 3), [5 + 6 + 6]),
        (("--train_retrieval", "label"), [5 + 6 + 6]),
        (("--train_retrieval", "mixed"), [5, 6, 6, 6]),
        (("--retrieval", "states"), [5 + 6 + 6]),
        (("--retrieval", "none", "--val_every", 2), [5 + 6, 6]),
    ],
)
def test_towers_are_fitted_once_something_reads_them(prepared, tmp_path, ranked, monkeypatch, flags, fits):
    monkeypatch.setattr(towers, "FIRST_STEPS", 5)
    asked, told, fit, refit = [], [], towers.fit_towers, towers.refit_towers
    monkeypatch.setattr(towers, "fit_towers", lambda *given: asked.append(given[-1]) or fit(*given))
    monkeypatch.setattr(trainer, "refit_towers", lambda *given, **more: told.append(given[3]) or refit(*given, **more))
    train(prepared, tmp_path, "--enhancer", "towers", "--epochs", 3, "--val_every", 3, *flags)
    assert asked == fits == towers.fits_of(told[0], 6)  # of which --estimate speaks
    assert len(ranked) == sum(fits)


@pytest.mark.parametrize(
    ("flags", "moved", "fits"),
    [
        ([], 5000, [600, 200, 200, 200, 200]),
        (["--val_every", "5"], 5000, [800, 200, 200, 200]),
        (["--val_every", "5"], 10, [610, 10, 10, 10]),
        (["--oracle_epochs", "0", "--val_every", "5"], 5000, [600, 200, 200, 200, 200, 200]),
        (["--init_from", "model_best.pth"], 5000, [200, 200, 200, 200, 200]),
        (["--init_from", "model_best.pth", "--val_every", "5"], 5000, [400, 200, 200, 200]),
        (["--val_every", "2", "--train_retrieval", "label"], 5000, [800, 400, 200]),
        (["--val_every", "2", "--train_retrieval", "label"], 10, [610, 20, 10]),
    ],
)
def test_the_fits_of_a_long_training(flags, moved, fits):
    options = parse_options(MainTrain, ["--dataset_name", "synth_cxr", "--epochs", "5", *flags])
    assert towers.fits_of(options, moved) == fits


@pytest.mark.parametrize("flags", [("--oracle_epochs", 0), ("--train_retrieval", "mixed")])
def test_towers_that_the_first_epoch_asks_are_fitted_before_it(prepared, tmp_path, ranked, monkeypatch, flags):
    monkeypatch.setattr(towers, "FIRST_STEPS", 5)
    fitted, references = [], trainer.training_references

    def remembered(*arguments):
        fitted.append(len(ranked))
        return references(*arguments)

    monkeypatch.setattr(trainer, "training_references", remembered)
    train(prepared, tmp_path, "--enhancer", "towers", *flags)
    assert fitted == [5, 5 + 6]  # when an epoch is given its references
    assert len(ranked) == 5 + 2 * 6


def test_a_model_that_goes_on_has_fitted_towers(prepared, tmp_path, ranked, monkeypatch):
    monkeypatch.setattr(towers, "FIRST_STEPS", 5)
    train(prepared, tmp_path / "first", "--enhancer", "towers", "--epochs", 1)
    assert len(ranked) == 5
    train(
        prepared,
        tmp_path / "second",
        "--enhancer",
        "towers",
        "--epochs",
        1,
        "--init_from",
        tmp_path / "first" / "current_checkpoint.pth",
    )
    assert len(ranked) == 5 + 6


@pytest.mark.slow
def test_a_training_with_towers_runs_and_is_tested(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(towers, "STEPS", 5)
    monkeypatch.setattr(towers, "FIRST_STEPS", 5)
    train(prepared, tmp_path, "--enhancer", "towers")
    names, *lines = (tmp_path / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(names.split(","), line.split(","), strict=True)) for line in lines]
    assert all(float(row["loss_towers"]) > 0 for row in rows)
    assert all(float(row["loss_ranking"]) == 0 for row in rows)
    weights = load_checkpoint(tmp_path / "current_checkpoint.pth")["state_dict"]
    assert weights["retrieval_enhancer.query.deviation"].std() > 0
    call(main_test, *places(prepared), *SMALL, "--save_dir", tmp_path, "--gen_min_len", 25, "--gen_max_len", 12,
         "--load_pretrained", tmp_path / "current_checkpoint.pth", "--viewer_studies", 1, "--no-meteor")  # fmt: skip
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["retrieval"]["learned"]["bleu_4_top1"] > 0


def test_a_resume_does_not_ask_what_the_training_began_with(prepared, tmp_path, monkeypatch):
    """Towers know themselves whether they were fitted: ``--init_from`` may be left out, or named, where a run goes on."""
    monkeypatch.setattr(towers, "FIRST_STEPS", 7)
    train(prepared, tmp_path / "first", "--enhancer", "towers", "--epochs", 1)
    given, flags = ["--init_from", tmp_path / "first" / "model_best.pth"], ["--epochs", 3, "--val_every", 3]
    asked, fit = [], towers.fit_towers
    monkeypatch.setattr(towers, "fit_towers", lambda *given: asked.append(given[-1]) or fit(*given))
    towered = ["--enhancer", "towers", *flags]
    train_until_interrupted(monkeypatch, 8, prepared, tmp_path / "warm", *towered, *given)
    train(prepared, tmp_path / "warm", *towered, "--resume")
    assert asked == [12, 6]
    asked.clear()
    train_until_interrupted(monkeypatch, 8, prepared, tmp_path / "cold", *towered)
    train(prepared, tmp_path / "cold", *towered, *given, "--resume")
    assert asked == [7 + 6, 6]


def test_a_model_whose_towers_were_never_fitted_is_not_asked(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(towers, "FIRST_STEPS", 7)
    flags = ["--enhancer", "towers", "--retrieval", "learned", "--epochs", 3, "--val_every", 3]
    train_until_interrupted(monkeypatch, 8, prepared, tmp_path / "cut", *flags)
    current = tmp_path / "cut" / "current_checkpoint.pth"
    film = next((prepared / "images" / "test").glob("*.png"))
    sentence = "interrupted before its retrieval towers were fitted"
    refused(
        capsys, sentence, main_test, *places(prepared), "--save_dir", tmp_path / "test", "--load_pretrained", current
    )
    refused(capsys, sentence, main_predict, "--images", film, "--model", tmp_path / "cut", "--out", tmp_path / "out")
    content, cosine = load_checkpoint(current), current.with_name("cosine.pth")
    content["config"]["retrieval"] = "cosine"  # which asks no tower
    save_atomically(content, cosine)
    call(
        main_test, *places(prepared), *SMALL, "--save_dir", tmp_path / "test", "--load_pretrained", cosine, "--gen_min_len", 25,
        "--gen_max_len", 12, "--beam_size", 2, "--no-meteor",
    )  # fmt: skip
    found = read_json(tmp_path / "test" / "metrics.json")["retrieval"]
    assert [*found] == ["states", "cosine", "random", "oracle"]  # and no row of a random ranking that is called learned
    assert '"disk":null' in (tmp_path / "test" / "index.html").read_text().replace(" ", "")
    asked, fit = [], towers.fit_towers
    monkeypatch.setattr(towers, "fit_towers", lambda *given: asked.append(given[-1]) or fit(*given))
    train(prepared, tmp_path / "on", "--enhancer", "towers", "--epochs", 1, "--init_from", current)
    assert asked == [7]  # they begin as new ones do


def test_a_validation_is_of_saved_towers(prepared, tmp_path, monkeypatch):
    """What an interrupted validation goes on with is the checkpoint, which the fit before it must be in."""
    monkeypatch.setattr(towers, "FIRST_STEPS", 7)
    generate, seen = trainer.Validation.generate, []

    def compared(validation):
        saved = load_checkpoint(tmp_path / "current_checkpoint.pth")["state_dict"]
        now = validation.model.state_dict()
        seen.append([name for name, weight in now.items() if not torch.equal(weight, saved[name])])
        return generate(validation)

    monkeypatch.setattr(trainer.Validation, "generate", compared)
    train(prepared, tmp_path, "--enhancer", "towers", "--save_every", 6)
    assert seen == [[], []]


@pytest.mark.parametrize(
    ("step", "more"),
    [
        (8, []),
        (14, ["--epochs", 3, "--val_every", 3]),
    ],  # in the second epoch, and in the third after the first fit of all
)
def test_a_resumed_training_with_towers_equals_an_uninterrupted_one(prepared, tmp_path, monkeypatch, step, more):
    monkeypatch.setattr(towers, "STEPS", 5)
    monkeypatch.setattr(towers, "FIRST_STEPS", 7)
    flags = ["--enhancer", "towers", "--retrieval", "learned", *more]
    train(prepared, tmp_path / "whole", *flags)
    train_until_interrupted(monkeypatch, step, prepared, tmp_path / "parts", *flags)
    assert load_checkpoint(tmp_path / "parts" / "current_checkpoint.pth")["run"]["step"] > 0
    train(prepared, tmp_path / "parts", *flags, "--resume")
    whole, parts = (
        load_checkpoint(tmp_path / name / "current_checkpoint.pth")["state_dict"] for name in ("whole", "parts")
    )
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
