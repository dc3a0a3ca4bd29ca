"""modules/training/fitted_maps.py: what trains a finer grid's maps, where they end, and what they leave alone."""

import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import SMALL, SMALL_MODEL, places, refused, train, train_until_interrupted
from test_references import datasets, options  # noqa: F401, fixture
from tiny import tiny_config
from torch.nn import functional as F

import main_train
from models.coarse_search import search_cells
from models.config import IMAGENET_MEAN, IMAGENET_STD
from models.revtaf import Revtaf
from modules.messages import UserError
from modules.processes.stops import StopRequest
from modules.training import fitted_maps
from modules.training.fitted_maps import FittedMaps
from modules.weights.checkpoints import FORMAT, as_checkpoint, load_checkpoint
from modules.weights.saving import save_generation

APART = ("near_view.", "fusion.attention.q.", "entity_queries.")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(fitted_maps, "STEPS", 5)


def maps_of(dataset, seed=0, **changes):
    torch.manual_seed(seed)
    model = Revtaf(tiny_config(**{"visual_extractor": "resnet10n", "grid": "2x", **changes}))
    return FittedMaps.of(model, dataset, options())


class Squares:
    """96 films of noise; a study shows entity k, of the first four, where square k of its four corners is bright."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.shown = rng.random((96, 4)) < 0.4  # (n, 4)
        self.region_scores = np.zeros((96, 75), np.float32)
        self.region_scores[:, :4] = self.shown
        self.images = rng.integers(0, 60, (96, 1, 64, 64)).repeat(3, axis=1).astype(np.uint8)
        for entity, (row, column) in enumerate(((0, 0), (0, 48), (48, 0), (48, 48))):
            self.images[self.shown[:, entity], :, row : row + 16, column : column + 16] += 120

    def __len__(self):
        return 96

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]), torch.zeros(1), torch.zeros(1)


@pytest.mark.parametrize(
    ("changes", "corners"),
    [({}, [0, 3, 12, 15]), ({"map_view": "fine"}, [0, 3, 12, 15]), ({"map_view": "fine", "grid": "1x"}, [0, 1, 2, 3])],
)
def test_the_least_loss_is_a_map_that_points(monkeypatch, changes, corners):
    """Nothing says where: four entities, each a bright corner that the scores name. A map is highest in its corner."""
    films = Squares()

    class Some(torch.utils.data.Dataset):
        def __init__(self, dataset, studies):
            self.studies, self.region_scores = studies, dataset.region_scores[studies]

        def __len__(self):
            return len(self.studies)

        def __getitem__(self, index):
            return films[self.studies[index]]

    monkeypatch.setattr(fitted_maps, "Views", Some)
    maps = maps_of(films, **changes)
    first, last = maps.fit(0, 1), maps.fit(1, 600)
    assert last < first / 40
    cells, _ = maps._look(list(range(96)))
    model = maps.model
    with torch.no_grad():
        seen = F.normalize(
            model.fusion.attention.q(model.near_view(cells.float())), dim=-1
        )  # (n, M, A), or (n, M, c, A)
        seen = seen if seen.dim() == 3 else seen.mean(dim=2)
        found = torch.einsum("nma,ka->nkm", seen, F.normalize(model.entity_queries.query, dim=-1))
    best = found[:, :4].argmax(dim=2).numpy()  # (n, 4)
    assert (best == corners)[films.shown].mean() > 0.95  # chance is .06, of 2 x 2 patches .25
    asked = search_cells(maps.parts.view, maps.parts.q, maps.parts.queries, cells.float())
    expected = model.entity_queries.presence(found)
    torch.testing.assert_close(asked, expected)


def test_a_fit_moves_the_maps_and_nothing_else(datasets, monkeypatch):  # noqa: F811
    maps = maps_of(datasets["train"])
    before = {name: value.clone() for name, value in maps.model.state_dict().items()}
    state = torch.get_rng_state()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a card's dropout would begin anew"))
    losses = [maps.fit(0, steps) for steps in (1, 20, 60)]
    assert losses == sorted(losses, reverse=True)
    assert torch.equal(torch.get_rng_state(), state)
    moved = [name for name, value in maps.model.state_dict().items() if not torch.equal(value, before[name])]
    assert {name for name in moved if not name.startswith(APART)} == {"coarse_search.maps_fitted"}
    assert sum(name.startswith(APART) for name in before) == len(moved) - 1
    assert not any(parameter.requires_grad for parameter in maps.parts.parameters())
    assert all(parameter.grad is None for parameter in maps.model.parameters())


def test_maps_are_fitted_at_first_unless_they_were_before(datasets, monkeypatch, quick):  # noqa: F811
    maps = maps_of(datasets["train"])
    maps.begin()
    first = {name: value.clone() for name, value in maps.parts.state_dict().items()}
    maps.begin()
    assert maps.fitted == 1
    trained = maps_of(datasets["train"])
    trained.fitted += 1
    trained.begin()
    assert trained.fitted == 1
    assert not torch.equal(trained.parts.q.weight, first["q.weight"])


def test_every_fit_begins_with_the_same_random_weights_of_its_seed(datasets, monkeypatch):  # noqa: F811
    """What stood in the maps does not matter, nor does torch's generator."""
    maps, ends = maps_of(datasets["train"]), []
    for scale in (1, 9):
        with torch.no_grad():
            for parameter in maps.parts.parameters():
                parameter.mul_(scale)
        torch.manual_seed(scale)
        maps.fit(1, 3)
        ends.append({name: value.clone() for name, value in maps.parts.state_dict().items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    monkeypatch.setattr(fitted_maps, "LR", 0.0)
    begun = []
    for seed in (1, 1, 2):
        maps.options.runtime.seed = seed
        maps.fit(seed, 1)
        begun.append(maps.parts.q.weight.clone())
    assert torch.equal(begun[0], begun[1])
    assert not torch.equal(begun[0], begun[2])


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": "1x"},
        {"grid": "2x", "entity_keys": "text"},
        {"grid": "2x", "map_view": "patches"},
        {"map_view": "fine", "entity_keys": "text"},
    ],
)
def test_every_other_model_has_maps_that_its_steps_move(datasets, changes):  # noqa: F811
    assert FittedMaps.of(Revtaf(tiny_config(**changes)), datasets["train"], options()) is None


def test_without_a_presence_loss_the_steps_of_the_model_move_the_maps(datasets):  # noqa: F811
    model, given = Revtaf(tiny_config(grid="2x")), options()
    given.training = replace(given.training, presence_weight=0.0)
    assert FittedMaps.of(model, datasets["train"], given) is None
    assert all(parameter.requires_grad for parameter in model.near_view.parameters())


def test_maps_that_are_not_finite_end_the_training_in_a_sentence(datasets, monkeypatch):  # noqa: F811
    maps = maps_of(datasets["train"])
    nothing = torch.full((8, 16, 32), torch.inf)
    monkeypatch.setattr(maps, "_look", lambda studies: (nothing, torch.ones(8, 75)))
    with pytest.raises(UserError, match=r"the maps are not finite after 2 steps.*--precision fp32"):
        maps.fit(0, 2)


def test_no_more_studies_are_looked_at_than_fit_into_memory(datasets, monkeypatch):  # noqa: F811
    monkeypatch.setattr(fitted_maps, "STUDIES", 5)
    maps, asked = maps_of(datasets["train"]), []
    look = maps._look
    monkeypatch.setattr(maps, "_look", lambda studies: asked.append(studies) or look(studies))
    for epoch in (0, 1, 1):
        maps.fit(epoch, 1)
    assert asked[0] != asked[1] == asked[2]  # a resumed epoch looks at the same ones
    assert all(len(set(studies)) == 5 for studies in asked)


@pytest.mark.parametrize("apart", [("--grid", "2x"), ("--map_view", "fine")], ids=" ".join)
def test_a_training_says_what_its_maps_lack_and_a_resumed_one_ends_with_the_same(
    prepared, tmp_path, monkeypatch, quick, apart
):
    fitted, fit = [], FittedMaps.fit
    monkeypatch.setattr(FittedMaps, "fit", lambda maps, epoch, **more: fitted.append(epoch) or fit(maps, epoch, **more))
    train(prepared, tmp_path / "whole", *apart)
    assert fitted == [0, 1, 2]  # each epoch draws other studies to look at
    names, *lines = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(names.split(","), line.split(","), strict=True)) for line in lines]
    assert all(0 < float(row["loss_maps"]) < np.log(2) for row in rows)  # of a logit 0 it is log 2
    train_until_interrupted(monkeypatch, 8, prepared, tmp_path / "parts", *apart)  # in the second epoch
    train(prepared, tmp_path / "parts", *apart, "--resume")
    whole, parts = (
        load_checkpoint(tmp_path / name / "current_checkpoint.pth")["state_dict"] for name in ("whole", "parts")
    )
    assert whole["coarse_search.maps_fitted"] == 3
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


def test_a_signal_ends_a_fit_which_a_resume_begins_anew(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(fitted_maps, "STEPS", 8)
    monkeypatch.setattr(fitted_maps, "LOOK", 2)
    train(prepared, tmp_path / "whole", "--map_view", "fine")
    made, step, requests, enter = [], fitted_maps.maps_step, [], StopRequest.__enter__

    def signalled(*given):
        made.append(1)
        if len(made) == 8 + 3:  # in the fit of the first epoch
            signal.raise_signal(signal.SIGTERM)
            while not requests[-1].number:  # until the thread that listens has read it
                time.sleep(0.01)
        return step(*given)

    def entered(request):
        requests.append(request)
        return enter(request)

    monkeypatch.setattr(StopRequest, "__enter__", entered)

    monkeypatch.setattr(fitted_maps, "maps_step", signalled)
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path / "parts", "--map_view", "fine")
    assert (end.value.code, len(made)) == (128 + signal.SIGTERM, 8 + 4)
    train(prepared, tmp_path / "parts", "--map_view", "fine", "--resume")
    whole, parts = (
        load_checkpoint(tmp_path / name / "current_checkpoint.pth")["state_dict"] for name in ("whole", "parts")
    )
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


def test_the_seconds_of_an_epoch_are_those_of_its_fits_too(prepared, tmp_path, monkeypatch, quick):
    fit = FittedMaps.fit
    monkeypatch.setattr(FittedMaps, "fit", lambda maps, epoch, **more: time.sleep(3) or fit(maps, epoch, **more))
    started = time.perf_counter()
    train(prepared, tmp_path / "run", "--map_view", "fine", "--epochs", 2)
    took = time.perf_counter() - started
    names, *lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    seconds = [float(dict(zip(names.split(","), line.split(","), strict=True))["seconds"]) for line in lines]
    assert seconds[0] > 6  # the first look and the first fit are the first epoch's
    assert seconds[1] > 3
    assert sum(seconds) < took


@pytest.mark.parametrize(("grid", "fits"), [("2x", 3), ("1x", 2)])
def test_maps_that_were_fitted_before_are_not_fitted_at_first(prepared, tmp_path, capsys, quick, grid, fits):
    once = ["--epochs", 1, "--warmup_steps", 2]
    train(prepared, tmp_path / "first", "--grid", grid, *once)
    train(prepared, tmp_path / "next", "--grid", "2x", *once, "--init_from", tmp_path / "first" / "model_best.pth")
    weights = load_checkpoint(tmp_path / "next" / "current_checkpoint.pth")["state_dict"]
    assert weights["coarse_search.maps_fitted"] == fits
    said = capsys.readouterr().out
    assert ("maps: those of 16 pixels begin anew and are fitted" in said) == (grid == "1x")
    if grid == "1x":
        words = [
            *places(prepared),
            *SMALL,
            *SMALL_MODEL,
            "--grid",
            "2x",
            "--save_dir",
            tmp_path / "moved",
            "--presence_weight",
            0,
        ]
        words += ["--init_from", tmp_path / "first" / "model_best.pth"]
        refused(capsys, "is a model of another --grid", main_train, *words)


def test_a_finer_grid_from_before_is_refused_in_a_sentence():
    """Its maps looked at the second stage, which has twice the channels."""
    model = Revtaf(tiny_config(grid="2x"))
    weights = model.state_dict() | {
        f"near_view.{name}": value for name, value in model.coarse_search.view.state_dict().items()
    }
    content = {"format": FORMAT, "config": asdict(model.config), "state_dict": weights, "run": {}}
    with pytest.raises(
        UserError, match=r"b\.pth is of a finer grid whose maps looked at the second stage.*train it again"
    ):
        as_checkpoint(content, "b.pth")
    wide = {**content, "config": asdict(replace(model.config, grid="1x"))}
    wide["state_dict"] = {name: value for name, value in weights.items() if not name.startswith("coarse_search.")}
    assert as_checkpoint(wide, "b.pth") == wide
    size = wide["state_dict"]["near_view.norm.weight"].shape
    for odd, damaged in (
        (torch.ones(()), wide),
        (torch.ones(()), content),
        (torch.ones(5), content),
        (torch.ones(2 * size[0]), wide),
    ):
        weights = {**damaged["state_dict"], "near_view.norm.weight": odd}
        with pytest.raises(UserError, match="a model of its own configuration"):
            as_checkpoint({**damaged, "state_dict": weights}, "b.pth")
    for broken in ({}, {1: torch.ones(1)}):
        with pytest.raises(UserError):
            as_checkpoint({**content, "state_dict": broken}, "b.pth")


def test_the_documents_say_how_long_maps_are_fitted():
    told = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    steps, looked = fitted_maps.STEPS, fitted_maps.STUDIES
    assert f"{steps:,} steps of {fitted_maps.BATCH} studies. A fit looks at up to {looked:,} training images" in told
    assert f"looks for signals every {fitted_maps.LOOK} of its steps" in told


def test_the_first_stage_alone_is_what_the_whole_image_model_sees():
    image = torch.randn(2, 3, 64, 64)
    for name in ("resnet10n", "resnet50"):
        encoder = Revtaf(tiny_config(visual_extractor=name, grid="2x")).visual_encoder.eval()
        assert torch.equal(encoder.first_stage(image), encoder(image).nearest)


def test_a_fit_makes_the_steps_that_are_documented(datasets, monkeypatch, quick):  # noqa: F811
    made, step = [], fitted_maps.maps_step
    monkeypatch.setattr(fitted_maps, "maps_step", lambda *given: made.append(1) or step(*given))
    maps = maps_of(datasets["train"])
    maps.begin()
    assert len(made) == fitted_maps.STEPS
    maps.fit(1)
    assert len(made) == 2 * fitted_maps.STEPS


def test_the_rate_of_a_fit_falls_to_nothing(datasets, monkeypatch):  # noqa: F811
    rates, step = [], torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda one, *given: rates.append(one.param_groups[1]["lr"]) or step(one, *given)
    )
    maps_of(datasets["train"]).fit(0, 10)
    np.testing.assert_allclose(rates, fitted_maps.LR * (1 + np.cos(np.pi * np.arange(10) / 10)) / 2)


def test_the_loss_of_a_fit_is_the_mean_of_its_last_tenth(datasets, monkeypatch):  # noqa: F811
    losses, step = [], fitted_maps.maps_step
    monkeypatch.setattr(fitted_maps, "maps_step", lambda *given: losses.append(step(*given)) or losses[-1])
    assert maps_of(datasets["train"]).fit(0, 20) == pytest.approx((losses[18] + losses[19]) / 2)
    assert losses[0] > losses[19]


def test_matrices_of_maps_decay_and_vectors_do_not(datasets, monkeypatch):  # noqa: F811
    groups, step = [], fitted_maps.maps_step
    monkeypatch.setattr(fitted_maps, "maps_step", lambda *given: groups.append(given[1].param_groups) or step(*given))
    maps_of(datasets["train"]).fit(0, 1)
    ((matrices, vectors),) = groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.05, 0)
    assert {weight.dim() for weight in matrices["params"]} == {2}
    assert {weight.dim() for weight in vectors["params"]} == {0, 1}


def test_a_fit_looks_at_films_as_the_steps_of_the_model_do(datasets):  # noqa: F811
    dataset = datasets["train"]
    maps, chosen = maps_of(dataset), [3, 7]
    cells, scores = maps._look(chosen)
    mean, deviation = (torch.tensor(three).view(3, 1, 1) for three in (IMAGENET_MEAN, IMAGENET_STD))
    image = torch.stack([(dataset[index].image / 255 - mean) / deviation for index in chosen])
    with torch.no_grad():
        seen = maps.model.eval().visual_encoder(image).nearest
    torch.testing.assert_close(cells.float(), maps.parts.view.cells(seen), rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(scores, dataset.region_scores[chosen])


def test_an_early_stage_beyond_float16_does_not_poison_the_maps(datasets):  # noqa: F811
    maps = maps_of(datasets["train"])
    last = [
        part for part in maps.model.visual_encoder.backbone.layer1.modules() if isinstance(part, torch.nn.BatchNorm2d)
    ]
    torch.nn.init.constant_(last[-1].weight, 1e6)
    cells, _ = maps._look([0, 1])
    assert cells.float().abs().max() == torch.tensor(6e4).half()
    assert np.isfinite(maps.fit(0, 5))


def test_a_run_of_the_wide_grid_from_before_is_resumed(prepared, tmp_path, monkeypatch):
    """It knows nothing of a loss of maps."""
    train_until_interrupted(monkeypatch, 8, prepared, tmp_path)
    content = load_checkpoint(tmp_path / "current_checkpoint.pth")
    del content["run"]["loss_maps"]
    save_generation(content, tmp_path)
    train(prepared, tmp_path, "--resume")
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
