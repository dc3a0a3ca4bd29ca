"""modules/training/trainer.py: what a step, an epoch and a validation do to the numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from programs import copy_of, train

from models.cpu.linear import FastLinear
from modules.corpus.annotations import read_annotation
from modules.corpus.dataloaders import epoch_batches
from modules.corpus.datasets import prepare_reports
from modules.corpus.store_writing import write_base_rates
from modules.corpus.tokenizer import ReportTokenizer
from modules.evaluation.distinctness import Distinctness
from modules.evaluation.generation import state_sums
from modules.evaluation.kept_rows import KeptRows
from modules.labels import CHEXPERT_CONDITIONS
from modules.options.set_size import FEW_STEPS
from modules.retrieval.references import find_references
from modules.training import trainer as subject
from modules.training.losses import updated_prior
from modules.training.objective import loss_names
from modules.training.optimizers import Schedule
from modules.weights.checkpoints import load_checkpoint

CLIP, SEED, EPOCHS = 1e-3, 12, 3
SCHEDULE = Schedule(init_lr=1e-3, min_lr=1e-5, warmup_lr=1e-4, warmup_steps=4, epochs=EPOCHS)
FLAGS = [
    "--clip_grad_value", CLIP, "--seed", SEED, "--epochs", EPOCHS, "--init_lr", SCHEDULE.init_lr, "--min_lr",
    SCHEDULE.min_lr, "--warmup_lr", SCHEDULE.warmup_lr, "--warmup_steps", SCHEDULE.warmup_steps, "--augment",
    "--weight_decay", 0.03,
]  # fmt: skip


def trainer_of(folder, save_dir, *flags):
    """The trainer that main_train.py makes, before its first step."""
    kept, fit = [], subject.Trainer.fit
    subject.Trainer.fit = lambda trainer: kept.append(trainer)
    try:
        train(folder, save_dir, *(flag for flag in FLAGS if f"--no-{str(flag)[2:]}" not in flags), *flags)
    finally:
        subject.Trainer.fit = fit
    return kept[0]


@pytest.fixture(scope="module")
def epoch(prepared, tmp_path_factory):
    """A trainer after the steps of its first epoch, what each step returned and saw, and the means of the epoch."""
    trainer = trainer_of(prepared, tmp_path_factory.mktemp("trainer"))
    steps, work = [], trainer.train_step

    def watched(*batches):
        (batch,) = batches
        before = [group["lr"] for group in trainer.optimizer.param_groups]
        losses = work(batch)
        largest = max(p.grad.abs().max().item() for p in trainer.model.parameters() if p.grad is not None)
        steps.append((losses, before, largest, len(batch.index), trainer.train_set.augmentation))
        return losses

    trainer.train_step = watched
    means = trainer.train_epoch()
    del trainer.train_step
    return trainer, steps, means


def test_the_means_of_an_epoch_are_those_of_its_steps(epoch):
    trainer, steps, means = epoch
    assert len(steps) == trainer.state.step == len(trainer.train_set) // 8
    expected = torch.stack([losses for losses, *_ in steps]).double().mean(dim=0)
    assert list(means)[: len(expected)] == loss_names()
    np.testing.assert_allclose([means[name] for name in loss_names()], expected, rtol=1e-5)
    assert len({round(means[name], 3) for name in loss_names()}) == len(expected), "equal means could be swapped unseen"


def test_every_step_has_its_rate_of_the_schedule_in_both_groups(epoch):
    _, steps, means = epoch
    for step, (_, rates, *_) in enumerate(steps):
        assert rates == [SCHEDULE.lr(1, step)] * 2
    assert len({rates[0] for _, rates, *_ in steps}) > 3, "a constant rate would hide a shift"
    assert means["lr"] == SCHEDULE.lr(1, len(steps) - 1)


def test_a_model_learns_from_the_training_studies_and_is_chosen_by_those_of_the_validation(epoch, prepared):
    """Chosen by the training studies a model would be the one that knows them by heart; by those of the test it would know these."""
    trainer, *_ = epoch
    ids = {name: [study.id for study in split] for name, split in read_annotation(prepared / "annotation.json").items()}
    assert [study.id for study in trainer.train_set.studies] == ids["train"]
    assert [study.id for study in trainer.val_set.studies] == ids["val"]
    assert trainer.validation.val_set is trainer.val_set
    for dataset in (trainer.train_set, trainer.val_set):
        assert sorted(dataset.bank.ids) == sorted(ids["train"]), "no report of another split is a reference"


def test_weights_decay_as_asked_for(epoch):
    trainer, *_ = epoch
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.03, 0]


def test_gradients_are_clipped_to_the_value_asked_for(epoch):
    _, steps, _ = epoch
    assert [largest for _, _, largest, *_ in steps] == pytest.approx([CLIP] * len(steps))


def test_an_epoch_augments_by_seed_and_number(epoch):
    trainer, steps, _ = epoch
    assert {augmentation for *_, augmentation in steps} == {(SEED, 1)}
    assert trainer.model.training


def test_a_validation_updates_the_prior_of_fourteen_conditions_and_scores(epoch):
    trainer, *_ = epoch
    L = trainer.val_set.labels.shape[1]
    rng = np.random.default_rng(0)
    rows = [
        {"prediction": text, "positive_probability": rng.random(L).tolist(), "states": rng.integers(4, size=L).tolist()}
        for text in trainer.val_set.reports
    ]
    before = trainer.class_prior.clone()
    trainer.validation.distinct.of_studies.append(
        (0.5, 0.25)
    )  # of texts and maps that were seen while these were written
    found, after = trainer.validation.score(rows, before, 3)
    probability = torch.tensor([row["positive_probability"] for row in rows])
    C, labels = len(CHEXPERT_CONDITIONS), torch.from_numpy(trainer.val_set.labels)
    expected = torch.ones(L)
    expected[:C] = updated_prior(probability[:, :C], labels[:, :C], before[:C])
    torch.testing.assert_close(after, expected)
    assert not torch.equal(after, before)
    assert found["val_BLEU_4"] == pytest.approx(1)
    assert (found["val_text_cosine"], found["val_map_correlation"]) == (0.5, 0.25)
    assert found["val_ce_f1_micro"] == pytest.approx(1)
    of_states = state_sums(np.array([row["states"] for row in rows]), trainer.val_set.labels).scores()
    assert {name: found[f"val_{name}"] for name in of_states} == pytest.approx(of_states)
    assert of_states["state_f1"] < 1


def test_a_validation_warns_of_entities_that_are_nearly_one(epoch, capsys):
    trainer, *_ = epoch
    labels = trainer.val_set.labels
    row = {"prediction": "clear lungs .", "positive_probability": [0.5] * labels.shape[1], "states": labels[0].tolist()}
    for alike, said in ((0.94, 0), (0.96, 1)):
        trainer.validation.distinct = Distinctness()
        trainer.validation.distinct.of_studies.append((alike, alike))
        trainer.validation.score([row] * len(labels), trainer.class_prior, 10_000)
        shown = capsys.readouterr().err
        for name in ("text_cosine", "map_correlation"):
            assert shown.count(f"warning: {name} is {alike:.3f}") == said


def test_rare_studies_are_taken_as_often_as_the_flag_says(prepared, tmp_path):
    for power in (0, 1):
        trainer = trainer_of(prepared, tmp_path / str(power), "--rare_sampling", power)
        size = len(trainer.train_set)  # a later taking is told by it
        found = np.bincount([study % size for step in trainer._loader().batch_sampler for study in step])
        assert (found.max() > 1) == (power == 1)


def test_a_step_of_several_batches_is_resumed_behind_all_of_them(prepared, tmp_path):
    trainer = trainer_of(prepared, tmp_path, "--grad_accum", 2)
    whole = list(trainer._loader().batch_sampler)
    trainer.state.step = 2
    assert list(trainer._loader().batch_sampler) == whole[4:] != []
    trainer.train_epoch()  # the rest of it
    assert trainer.state.step == len(whole) // 2
    assert trainer.state.seen == 2 * 8 * (trainer.state.step - 2)  # studies_per_second is of all batches


def test_every_epoch_takes_the_studies_in_the_order_of_its_seed_and_number(prepared, tmp_path):
    """Runs of other seeds would differ in their first weights alone, and epochs of one run would repeat its batches."""
    trainer = trainer_of(prepared, tmp_path, "--rare_sampling", 0)
    for epoch in (1, 2):
        trainer.state.epoch = epoch
        expected = epoch_batches(len(trainer.train_set), 8, 1, SEED, epoch)
        assert [[step] for step in trainer._loader().batch_sampler] == expected


def test_reports_of_both_splits_are_cut_and_the_words_of_the_training_counted_as_the_flags_say(prepared, tmp_path):
    """A validation against whole reports would be of another task than the test; words of the validation are not to be known."""
    trainer = trainer_of(prepared, tmp_path, "--max_words", 12, "--threshold", 4)
    splits = read_annotation(prepared / "annotation.json")
    cut = {
        name: prepare_reports([study.report for study in studies], "published", 12) for name, studies in splits.items()
    }
    assert list(trainer.train_set.reports) == cut["train"]
    assert list(trainer.val_set.reports) == cut["val"]
    sizes = {
        names: ReportTokenizer.from_reports([report for name in names for report in cut[name]], 4).vocab_size
        for names in (("train",), ("train", "val"))
    }
    assert trainer.train_set.tokenizer.vocab_size == trainer.val_set.tokenizer.vocab_size == sizes["train",]
    assert len({*sizes.values()}) == 2, "the validation has no words of its own"


def test_a_model_begins_with_the_weights_of_its_seed(prepared, tmp_path):
    trainers = [trainer_of(prepared, tmp_path / str(run), "--seed", seed) for run, seed in enumerate((1, 1, 2))]
    first, again, other = (trainer.model.project_patches.weight for trainer in trainers)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_towers_learn_to_find_what_references_may_be(prepared, tmp_path):
    """Reports of the own patient, which are alike, unless the flag keeps them out."""
    found = []
    for alone, flags in ((True, []), (False, ["--no-exclude_same_patient"])):
        trainer = trainer_of(prepared, tmp_path / str(alone), "--enhancer", "towers", *flags)
        found.append(trainer.wanted.groups)
        assert np.array_equal(found[-1], trainer.train_set.bank.groups(trainer.train_set.studies, alone)[0])
    assert len({*found[0]}) < len({*found[1]}), "no patient has two studies"


@pytest.mark.parametrize("how", ["cosine", "states"])
def test_validation_studies_have_references_as_test_studies_do_whatever_training_studies_have(prepared, tmp_path, how):
    """Those nearest to their own labels would be an oracle's."""
    trainer = trainer_of(prepared, tmp_path, "--train_retrieval", "label", "--retrieval", how)
    trainer.validation.weights = "of no file"
    trainer.validation.generate()
    trainer.validation.forget()
    found, dataset = trainer.val_set.reference_rows.copy(), trainer.val_set
    for other in {"label", "cosine", "states"} - {how}:
        find_references(trainer.model, dataset, other, trainer.options)
        assert not np.array_equal(dataset.reference_rows, found)
    find_references(trainer.model, dataset, how, trainer.options)
    assert np.array_equal(dataset.reference_rows, found)


def test_training_begins_with_the_rates_that_were_prepared(prepared, tmp_path):
    """Those published for MIMIC-CXR are not the rates of the labels at hand."""
    folder, rates = copy_of(prepared, tmp_path / "data"), np.linspace(0.1, 0.4, 14)
    write_base_rates(folder / "features", np.zeros((1, 18)), rates.tolist())
    trainer = trainer_of(folder, tmp_path / "run", "--no-check")
    expected = torch.tensor([*rates / 0.4, *[1] * 4], dtype=torch.float32)
    torch.testing.assert_close(trainer.class_prior, expected)


def test_every_epoch_has_means_of_its_own_and_the_first_of_equal_ones_stays_the_best(prepared, tmp_path):
    chosen_by = "--monitor_metric", "val_BLEU_4"
    trainer = trainer_of(prepared, tmp_path, "--epochs", EPOCHS + 1, "--val_every", EPOCHS, *chosen_by)
    work, steps = trainer.train_step, []
    trainer.train_step = lambda *batches: steps.append(work(*batches)) or steps[-1]
    trainer._one_epoch()
    trainer._one_epoch()
    name = loss_names()[0]
    expected = torch.stack(steps)[:, 0].double().view(2, -1).mean(dim=1)
    np.testing.assert_allclose([row[name] for row in trainer.state.history], expected, rtol=1e-5)
    metric = trainer.options.training.monitor_metric
    trainer.state.history[0][metric] = 0.5
    (tmp_path / "model_best.pth").write_bytes(b"of the first epoch")
    assert not trainer._keep_best({metric: 0.5})
    assert (tmp_path / "model_best.pth").read_bytes() == b"of the first epoch"
    assert trainer._keep_best({metric: 0.51})
    assert load_checkpoint(tmp_path / "model_best.pth")["run"][metric] == 0.51


@pytest.mark.parametrize("augment", [True, False])
def test_every_epoch_trains_with_dropout_and_its_own_crops(prepared, tmp_path, augment):
    """Also after a validation, which sets the model to writing."""
    trainer = trainer_of(prepared, tmp_path, "--epochs", 2, "--val_every", 1, *(() if augment else ("--no-augment",)))
    work, seen = trainer.train_step, []

    def watched(*batches):
        seen.append((trainer.model.training, trainer.train_set.augmentation))
        return work(*batches)

    trainer.train_step = watched
    trainer._one_epoch()
    trainer._one_epoch()
    half = len(seen) // 2
    assert seen == [(True, (SEED, epoch) if augment else None) for epoch in (1, 2) for _ in range(half)]


def test_an_epoch_without_a_validation_says_how_alike_texts_and_maps_are(prepared, tmp_path, capsys, monkeypatch):
    trainer = trainer_of(prepared, tmp_path, "--epochs", 2, "--val_every", 2)
    trainer._one_epoch()
    trainer._one_epoch()
    first, second = trainer.state.history
    for name in ("val_text_cosine", "val_map_correlation"):  # all three studies of the split are looked at together
        assert -1 < first[name] < 1
        assert first[name] != second[name]
    assert "val_BLEU_4" in second
    assert "val_BLEU_4" not in first
    validation = trainer.validation
    trainer.model.train()
    statistics = {name: value.clone() for name, value in trainer.model.named_buffers()}
    again = validation.distinctness(3)
    torch.testing.assert_close(dict(trainer.model.named_buffers()), statistics, rtol=0, atol=0)
    validation.generate()
    assert again == pytest.approx({f"val_{name}": value for name, value in validation.distinct.figures().items()})
    validation.forget()
    monkeypatch.setattr(trainer.model, "fuse", lambda study, fuse=trainer.model.fuse: alike(fuse(study)))
    capsys.readouterr()
    validation.distinctness(FEW_STEPS - 1)
    assert capsys.readouterr().err == ""
    assert validation.distinctness(FEW_STEPS)["val_map_correlation"] == pytest.approx(1, abs=1e-4)
    shown = capsys.readouterr().err
    assert "warning: text_cosine is 1.000" in shown
    assert "warning: map_correlation is 1.000" in shown


def alike(fused):
    """All entities with the text and the map of the first."""
    text, where = fused.region_text[:, :1], fused.region_map[:, :1]
    return replace(fused, region_text=text.expand_as(fused.region_text), region_map=where.expand_as(fused.region_map))


def test_a_longer_run_that_is_validated_once_keeps_its_last_weights(prepared, tmp_path):
    """The weights of three epochs stayed beside those of five, whose score was lower by chance."""
    trainer = trainer_of(prepared, tmp_path, "--val_every", EPOCHS)
    metric = trainer.options.training.monitor_metric
    trainer.state.history.append({"epoch": 1, metric: 0.5})
    assert trainer._keep_best({metric: 0.4})
    assert (tmp_path / "model_best.pth").exists()


def test_training_goes_on_with_the_prior_of_its_validation(prepared, tmp_path):
    trainer = trainer_of(prepared, tmp_path, "--val_every", 1)
    score, found = trainer.validation.score, []
    trainer.validation.score = lambda *given: found.append(score(*given)) or found[0]
    before = trainer.class_prior.clone()
    trainer._one_epoch()
    ((_, after),) = found
    assert not torch.equal(after, before)
    assert torch.equal(trainer.class_prior, after)
    assert torch.equal(load_checkpoint(tmp_path / "current_checkpoint.pth")["run"]["class_prior"], after)


@pytest.mark.parametrize(("flags", "layer"), [([], FastLinear), (["--no-fast_cpu"], torch.nn.Linear)])
def test_fast_cpu_chooses_the_layers_of_the_model(flags, layer, prepared, tmp_path):
    model = trainer_of(prepared, tmp_path, *flags).model
    assert type(model.project_patches) is layer


def test_rows_of_a_validation_that_a_kill_cut_inside_a_letter_are_those_before_it(tmp_path):
    kept = KeptRows(tmp_path, "weights", lambda: None)
    kept._write({0: {"prediction": "clear\u2028lungs"}, 1: {"prediction": "caf\u00e9"}})
    kept.file.close()
    path = tmp_path / ".validation.0.jsonl"
    path.write_bytes(path.read_bytes().split(b"\xa9")[0])
    again = KeptRows(tmp_path, "weights", lambda: None)
    again.file.close()
    assert again.rows == {0: {"prediction": "clear\u2028lungs"}}
