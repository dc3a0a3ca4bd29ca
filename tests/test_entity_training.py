"""modules/preparation/features/entity_training.py: who is held out, when training ends, what precision does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.corpus.annotations import read_annotation
from modules.corpus.images import normalise_pixels
from modules.labelling.mentions import PRESENT, entity_mentions
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare
from modules.preparation.features import entities, entity_training
from modules.preparation.features.entities import auroc_lines, entity_aurocs, lacks_scorer
from modules.preparation.features.entity_training import _say_what_is_left, train_entity_scorer
from modules.preparation.synthetic.dataset import SyntheticOptions, write_synthetic_dataset

CONFIG = EntityScorerConfig(
    visual_extractor="resnet10n", num_entities=len(ENTITIES), width=16, layers=1, heads=2, dropout=0.1,
    image_size=64,
)  # fmt: skip
SCHEDULE = {
    "epochs": 8, "lr": 1e-3, "batch_size": 8, "shares": 1, "seed": 0, "precision": "fp32", "num_workers": 0, "patience": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_synthetic_dataset(folder, SyntheticOptions(num_studies=60, image_size=80, difficulty=0.5, seed=1))
    return folder, read_annotation(folder / "annotation.json")["train"]


def trained(drawn, work_path, **changes):
    folder, studies = drawn
    mentions = entity_mentions([study.report for study in studies])
    schedule = {**SCHEDULE, **changes}
    return train_entity_scorer(studies, folder / "images", mentions, CONFIG, schedule, torch.device("cpu"), work_path)


def weights(scorer):
    return torch.cat([value.flatten().float() for value in scorer.state_dict().values()])


def test_no_patient_is_on_both_sides(drawn):
    """Most patients have two studies, some none that is known."""
    studies = [replace(one, patient=None if n % 7 == 0 else f"p{n // 2}") for n, one in enumerate(drawn[1])]
    kept, held = entity_training._hold_out(studies, seed=0)
    assert sorted([*kept, *held]) == list(range(len(studies)))
    assert 0 < len(held) < len(studies) // 3
    assert not ({studies[i].patient for i in kept} & {studies[i].patient for i in held}) - {None}
    assert entity_training._hold_out(studies, seed=1)[1].tolist() != held.tolist()


def test_what_a_report_does_not_say_weighs_less_in_rate_and_loss(drawn):
    """By hand: the bias begins at the weighted rate of presence, and the loss is a weighted cross-entropy."""
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]]).repeat(1, 38)[:, :75]
    weights = torch.tensor([[1.0, 0.5], [0.25, 1.0], [0.25, 0.75]]).repeat(1, 38)[:, :75]
    scorer = entity_training._new_scorer(CONFIG, {**SCHEDULE, "batch_size": 3}, None, targets, weights)
    bias = scorer.entity_bias.detach()
    assert bias[0].item() == pytest.approx(np.log((1 + 0.5) / (1.5 + 1 - 1.5)))
    assert bias[1].item() == pytest.approx(np.log((1.375 + 0.5) / (2.25 + 1 - 1.875)))
    folder, studies = drawn
    examples = entity_training._Examples(studies, folder / "images", 64, np.arange(3), targets, weights)
    pixels = torch.stack([examples.images[n][1] for n in (2, 0)])
    with torch.no_grad():
        loss = entity_training._loss(scorer.eval(), examples, (torch.tensor([2, 0]), pixels), "fp32").item()
        says = scorer(normalise_pixels(pixels))[0].sigmoid().double()
    t, w = targets[[2, 0]], weights[[2, 0]]
    by_hand = -(w * (t * says.log() + (1 - t) * (1 - says).log())).mean().item()
    assert loss == pytest.approx(by_hand, rel=1e-5)


def test_one_study_at_a_time_and_one_patch_are_refused(drawn, tmp_path):
    folder, studies = drawn
    mentions, small = entity_mentions([study.report for study in studies]), replace(CONFIG, image_size=32)
    with pytest.raises(UserError, match="one patch, so that every channel has one value"):
        train_entity_scorer(
            studies, folder, mentions, small, {**SCHEDULE, "shares": 64}, torch.device("cpu"), tmp_path / "work.pth"
        )


def test_training_ends_when_the_held_out_loss_rises_and_the_best_epoch_is_kept(drawn, tmp_path, monkeypatch, capsys):
    losses = iter([1.0, 0.5, 0.7, 0.6, 0.1])
    seen = []

    def held_out_loss(scorer, *_):
        seen.append(weights(scorer))
        return next(losses)

    monkeypatch.setattr(entity_training, "_held_out_loss", held_out_loss)
    scorer = trained(drawn, tmp_path / "work.pth")
    assert len(seen) == 4
    assert torch.equal(weights(scorer), seen[1])
    assert not torch.equal(seen[1], seen[3])
    assert "epoch 2 of 4, held-out loss 0.5000" in capsys.readouterr().out


def test_held_out_loss_is_the_mean_over_the_held_out_studies(drawn, tmp_path, monkeypatch):
    """Read in one block or in many."""
    found = []
    for size in (64, 1):
        monkeypatch.setattr(entities, "SCORE_BATCH", size)
        real = entity_training._keep_best
        monkeypatch.setattr(entity_training, "_keep_best", lambda state, loss, real=real: found.append(loss))
        trained(drawn, tmp_path / f"{size}.pth", epochs=1)
        monkeypatch.setattr(entity_training, "_keep_best", real)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert 0 < found[0] < 1


def test_bfloat16_trains_float32_weights(drawn, tmp_path):
    whole = trained(drawn, tmp_path / "fp32.pth", epochs=1, patience=0)
    mixed = trained(drawn, tmp_path / "bf16.pth", epochs=1, patience=0, precision="bf16")
    assert {parameter.dtype for parameter in mixed.parameters()} == {torch.float32}
    assert not torch.equal(weights(whole), weights(mixed))
    assert (weights(whole) - weights(mixed)).norm() < 0.05 * weights(whole).norm()


def test_auroc_is_high_for_scores_that_know_and_half_for_scores_that_do_not(drawn):
    _, studies = drawn
    mentions = entity_mentions([study.report for study in studies])
    knowing = np.where(mentions == PRESENT, 0.9, 0.1)
    aurocs = entity_aurocs(knowing, mentions)
    assert set(aurocs.values()) == {1.0}
    assert set(entity_aurocs(np.full(mentions.shape, 0.5), mentions).values()) == {0.5}
    text = "\n".join(auroc_lines(aurocs, len(studies)))
    assert "1.000" in text
    assert all(name in text for name in list(aurocs)[:3])


def test_a_long_epoch_says_what_the_schedule_leaves(capsys):
    _say_what_is_left(90, 9, 3)
    _say_what_is_left(90, 2, 0)
    _say_what_is_left(59, 9, 3)  # short
    _say_what_is_left(90, 0, 3)  # the last
    assert capsys.readouterr().out.splitlines() == [
        "entity scorer: an epoch takes 90.0 s, at most 9 more, 14 min; it ends earlier once 3 epochs bring nothing",
        "entity scorer: an epoch takes 90.0 s, 3 min more",
    ]


def test_a_scorer_that_is_not_finite_is_not_saved(drawn, tmp_path, monkeypatch):
    count = [0]

    def loss(*args, work=entity_training._loss):
        count[0] += 1
        return work(*args) * (float("nan") if count[0] == 7 else 1)

    monkeypatch.setattr(entity_training, "_loss", loss)
    work = tmp_path / "unfinished.pth"
    with pytest.raises(UserError, match=r"the entity scorer is not finite after its epoch 2 .* lower --scorer_lr"):
        trained(drawn, work, patience=0)
    assert torch.load(work, weights_only=True)["epochs_done"] == 1


@pytest.mark.parametrize(("flags", "share"), [((), 0.1), (("--scorer_dropout", "0"), 0.0)])
def test_the_dropout_that_is_asked_for_is_that_of_every_layer(flags, share):
    options = parse_options(MainPrepare, ["--dataset_name", "synth_cxr", *flags])
    config, _ = entity_training.scorer_recipe(options)
    layers = [part for part in EntityScorer(config).modules() if isinstance(part, nn.Dropout)]
    assert layers
    assert {part.p for part in layers} == {share}


def test_a_scorer_made_otherwise_is_named_before_it_is_replaced(tmp_path, capsys):
    """Models trained on its scores no longer fit; nothing was said."""
    path, made_by = tmp_path / "entity_scorer.pth", {"lr": 1e-3, "dropout": 0.1, "epochs": 5}
    assert lacks_scorer(path, made_by)
    torch.save({"made_by": made_by}, path)
    assert not lacks_scorer(path, made_by)
    assert capsys.readouterr().out == ""
    assert lacks_scorer(path, {**made_by, "lr": 2e-3, "dropout": 0.0})
    shown = capsys.readouterr().out
    assert (
        f"{path} was made otherwise (lr 0.001 there, 0.002 here, dropout 0.1 there, 0.0 here) and is replaced" in shown
    )
    torch.save({}, path)
    assert lacks_scorer(path, made_by)
    assert "(lr None there, 0.001 here" in capsys.readouterr().out
