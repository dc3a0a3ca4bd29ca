"""modules/training/objective.py: every flag reaches its own term and no other, and a term that is added is found everywhere."""

import csv
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from programs import train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import tiny_config
from torch.nn import functional as F

import main_train
from benchmarks.models import LOSS, random_batch
from models.revtaf import PredictedPrompt, Revtaf
from modules import messages
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.training import objective as subject
from modules.training.losses import alignment_loss, known_pairs_loss
from modules.training.objective import LOSSES, Loss, Step, loss_names, next_prior, objective, predicted_prompt, shares
from modules.training.update import Update

NAMES = loss_names()[1:]


@pytest.fixture(scope="module")
def seen():
    """A batch of five studies and what a tiny model makes of it."""
    torch.manual_seed(0)
    model = Revtaf(tiny_config()).eval()
    batch = random_batch(model.config, size=5, tokens=30, sentences=4, lengths=(1, 0.9))
    batch.study.reference_mask[2:, -1] = False
    with torch.no_grad():
        return model, model(batch.study, batch.token_ids, batch.token_mask, batch.packed), batch


@pytest.fixture(scope="module")
def losses_of(seen):
    """The losses under a command line of main_train.py and a class prior."""

    def compute(*flags, prior=0.5):
        words = ["--dataset_name", "synth_cxr", "--enhancer", "scores", "--align_pairs", "all", *map(str, flags)]
        options = parse_options(MainTrain, words).training
        class_prior = torch.linspace(prior, 1, 18)
        return {name: value.item() for name, value in objective(Step(*seen, class_prior, options)).items()}

    return compute


def others_unchanged(before, after, name):
    return all(before[other] == after[other] for other in NAMES if other != name)


def test_the_default_objective_is_the_published_sum_and_the_presence_term(losses_of):
    losses = losses_of()
    assert list(losses) == loss_names() == ["loss", *NAMES]
    assert len({round(losses[name], 3) for name in NAMES}) == len(NAMES), "equal terms could be swapped unseen"
    weights = {
        "loss_report": 1, "loss_diagnosis": 4, "loss_alignment": 0.5, "loss_ranking": 2, "loss_presence": 4,
    }  # fmt: skip
    assert losses["loss"] == pytest.approx(sum(weights[name] * losses[name] for name in weights), rel=1e-6)


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--cls_weight", "loss_diagnosis"),
        ("--align_weight", "loss_alignment"),
        ("--rank_weight", "loss_ranking"),
        ("--presence_weight", "loss_presence"),
    ],
)
def test_a_weight_changes_the_total_by_its_term(flag, name, losses_of):
    without, with_it = losses_of(flag, 1), losses_of(flag, 4)  # 0 leaves the other flags of a loss without a use
    assert [without[other] for other in NAMES] == [with_it[other] for other in NAMES]
    assert with_it["loss"] - without["loss"] == pytest.approx(3 * with_it[name], rel=1e-5)


def test_label_smoothing_is_of_the_report(seen, losses_of):
    _, output, batch = seen
    log_probability = output.token_logits.log_softmax(dim=-1)  # (S, V)
    right = log_probability.gather(1, batch.packed.targets[:, None]).mean()
    for smoothing in (0.0, 0.3):
        losses = losses_of("--label_smoothing", smoothing)
        expected = -(1 - smoothing) * right - smoothing * log_probability.mean()
        assert losses["loss_report"] == pytest.approx(expected.item(), rel=1e-5)
        assert others_unchanged(losses_of(), losses, "loss_report")


def test_the_class_prior_is_of_the_diagnosis(seen, losses_of):
    _, output, batch = seen
    for prior in (1.0, 0.1):
        losses = losses_of(prior=prior)
        logits = output.state_logits.clone()  # (B, P, L)
        logits[:, 1] += torch.linspace(prior, 1, 18).log()
        expected = -logits.log_softmax(dim=1).gather(1, batch.labels[:, None]).mean()
        assert losses["loss_diagnosis"] == pytest.approx(expected.item(), rel=1e-5)
        assert others_unchanged(losses_of(), losses, "loss_diagnosis")


def test_align_iou_is_of_the_alignment(seen, losses_of):
    _, output, _ = seen
    similarity = F.cosine_similarity(
        output.region_text[:, :, None], output.reference_text[:, None], dim=-1
    )  # (B, K, S)
    soft, binary = losses_of("--align_iou", "soft"), losses_of("--align_iou", "binary")
    expected, count = 0.0, 0
    for b, s in output.reference_mask.nonzero().tolist():
        sentence = output.reference_map[b, s] - output.reference_map[b, s].min()
        for k in range(75):
            entity = output.region_map[b, k] - output.region_map[b, k].min()
            one, two = entity / (entity.max() + 1e-6), sentence / (sentence.max() + 1e-6)
            overlap = torch.minimum(one, two).sum() / (torch.maximum(one, two).sum() + 1e-8)
            expected, count = expected + 1 - similarity[b, k, s].sigmoid() * overlap, count + 1
    assert soft["loss_alignment"] == pytest.approx((expected / count).item(), rel=1e-5)
    maps = output.region_map, output.reference_map, output.reference_mask
    assert binary["loss_alignment"] == pytest.approx(alignment_loss(similarity, *maps, "binary").item(), rel=1e-5)
    assert binary["loss_alignment"] != pytest.approx(soft["loss_alignment"], rel=1e-3)
    assert others_unchanged(soft, binary, "loss_alignment")


def test_known_pairs_are_asked_to_agree_as_their_loss_says(seen):
    """Its two means are counted apart, so that batches can share them."""
    _, output, _ = seen
    pairs = torch.randint(-1, 2, output.region_map.shape[:2] + output.reference_map.shape[1:2]).float()  # (B, K, S)
    options = parse_options(MainTrain, ["--dataset_name", "synth_cxr"]).training
    found = objective(Step(*seen, torch.ones(18), options, pairs))["loss_alignment"]
    expected = known_pairs_loss(pairs, output.region_map, output.reference_map, output.reference_mask)
    torch.testing.assert_close(found, expected.sum())


def test_batches_count_by_the_sentences_that_take_part(seen):
    """Without --mask_padding padding takes part too."""
    model, _, batch = seen
    short = replace(batch, study=replace(batch.study, reference_mask=batch.study.reference_mask[:, :1]))
    for masked, counts in ((True, (17, 5)), (False, (20, 5))):
        config = replace(model.config, mask_padding=masked, align_pairs="all")
        split = [share["alignment"].item() for share in shares(config, [batch, short], [None, None])]
        assert split == pytest.approx([count / sum(counts) for count in counts])


def ranking_by_hand(seen, target_of):
    """Mean over anchors of the cross-entropy between ``target_of`` Hamming distances and the softmax of the others."""
    model, output, batch = seen
    distance = model.retrieval_enhancer.manifold.distance(output.embedding, output.embedding)
    total = 0.0
    for i, own in enumerate(batch.labels):
        others = [j for j in range(len(batch.labels)) if j != i]
        hamming = [2 * (own != batch.labels[j]).sum().item() for j in others]
        total -= (target_of(torch.tensor(hamming).double()) * (-distance[i, others]).log_softmax(dim=0)).sum().item()
    return total / len(batch.labels)


def test_rank_loss_and_temperature_are_of_the_ranking(seen, losses_of):
    nearest, listwise = losses_of("--rank_loss", "nearest"), losses_of("--rank_loss", "listwise")
    first = ranking_by_hand(seen, lambda hamming: F.one_hot(hamming.argmin(), len(hamming)))
    assert nearest["loss_ranking"] == pytest.approx(first, rel=1e-5)
    assert listwise["loss_ranking"] == pytest.approx(
        ranking_by_hand(seen, lambda hamming: (-hamming / 2).softmax(dim=0)), rel=1e-5
    )
    sharper = losses_of("--rank_loss", "listwise", "--rank_temperature", 0.25)
    by_hand = ranking_by_hand(seen, lambda hamming: (-hamming / 0.25).softmax(dim=0))
    assert sharper["loss_ranking"] == pytest.approx(by_hand, rel=1e-5)
    values = [losses["loss_ranking"] for losses in (nearest, listwise, sharper)]
    assert len({round(value, 4) for value in values}) == 3
    for losses in (listwise, sharper):
        assert others_unchanged(nearest, losses, "loss_ranking")


def test_the_share_of_studies_that_are_told_their_predicted_states():
    batch = random_batch(tiny_config(image_size=32), size=1000, tokens=25, sentences=1)
    assert predicted_prompt("true", batch, torch.tensor([1, 2, 3, 4])) is None
    assert predicted_prompt("predicted", batch, torch.tensor([1, 2, 3, 4])).chosen.all()
    mixed = predicted_prompt("mixed", batch, torch.tensor([1, 2, 3, 4]))
    assert 400 < mixed.chosen.sum() < 600
    assert mixed.state_ids.tolist() == [1, 2, 3, 4]


def test_a_step_tells_the_decoder_the_states_that_the_flag_says(seen):
    model, output, batch = seen
    with torch.no_grad():
        everyone = PredictedPrompt(torch.ones(5, dtype=torch.bool), torch.tensor([3, 4, 5, 6]))
        told = model(batch.study, batch.token_ids, batch.token_mask, batch.packed, everyone)
        found = {}
        for kind in ("true", "predicted"):
            options = replace(LOSS, prompt_states=kind, label_smoothing=0.0)
            update = Update(model, options, "fp32", torch.device("cpu"), (3, 4, 5, 6))
            found[kind] = update.losses(update._inputs(batch, None, torch.ones(18)))["loss_report"]
    for kind, logits in (("true", output.token_logits), ("predicted", told.token_logits)):
        torch.testing.assert_close(found[kind], F.cross_entropy(logits, batch.packed.targets))
    assert abs(found["true"] - found["predicted"]) > 1e-4


def test_the_prior_of_the_auxiliary_conditions_stays_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (50, 18))
    prior = next_prior(rng.random((50, 18)), labels, torch.full((18,), 0.5))
    assert (prior[14:] == 1).all()
    assert (prior[:14] < 1).any()


def test_an_auxiliary_condition_does_not_scale_the_prior_of_the_fourteen(golden):
    """Published: the largest of the fourteen is 1, however sure the model is of the four others."""
    data = golden("logit_adjust_cls")
    probability, labels = (np.asarray(data[name]) for name in ("val_pos_prob", "val_labels"))
    sure = np.full((len(labels), 4), 0.999)
    prior = next_prior(np.hstack([probability, sure]), np.hstack([labels, np.ones_like(sure, int)]), torch.ones(18))
    torch.testing.assert_close(prior, torch.tensor(data["updated_prior"], dtype=torch.float32))


def test_an_added_loss_is_in_the_total_the_bar_the_table_and_tensorboard(prepared, tmp_path, monkeypatch, capsys):
    """From the flags to what a training writes, the other weights included."""

    def parse(program):
        options = parse_options(program)
        options.training.added_weight = 10.0
        return options

    added = Loss("added", lambda step: step.output.embedding.square().mean() + 0.125, weight="added_weight")
    monkeypatch.setattr(subject, "LOSSES", (*LOSSES, added))
    monkeypatch.setattr(main_train, "parse_options", parse)
    monkeypatch.setattr(messages, "in_a_log", nullcontext)  # as on a terminal
    flags = {"--cls_weight": 3, "--align_weight": 7, "--rank_weight": 0.25, "--presence_weight": 5}
    train(prepared, tmp_path, "--epochs", 1, *(word for pair in flags.items() for word in pair))
    assert "added=0." in capsys.readouterr().err
    with open(tmp_path / "metrics.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    names = [name for name in row if name.startswith("loss")]
    assert names == ["loss", *NAMES, "loss_added"]
    loss, *terms = (float(row[name]) for name in names)
    weights = {"report": 1, "diagnosis": 3, "alignment": 7, "ranking": 0.25, "presence": 5, "added": 10}
    weighted = (weights.get(name.removeprefix("loss_"), 0) * float(row[name]) for name in names[1:])
    assert loss == pytest.approx(sum(weighted), rel=1e-5)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", *NAMES, "loss_added"} <= set(events.Tags()["scalars"])
    assert events.Scalars("loss_added")[0].value == pytest.approx(terms[-1], rel=1e-6)


def test_the_first_prior_is_the_positive_rate_over_its_maximum():
    labels = np.zeros((20, 18), dtype=np.int64)
    labels[:10, 0] = labels[:4, 1] = 1
    labels[:5, 2] = 3  # uncertain is not positive
    prior = subject.initial_prior(labels)
    assert prior[:2].tolist() == pytest.approx([1, 0.4])
    assert prior[2:14].tolist() == pytest.approx([0.05] * 12)  # half a positive among ten
    assert prior[14:].tolist() == [1] * 4
    given = subject.initial_prior(labels, [0.1, 0.2, *[0.05] * 12])
    assert given[:3].tolist() == pytest.approx([0.5, 1, 0.25])
