"""modules/training/finite.py: a number that is none is found in its step, named, and never saved."""

import math
import os
import shutil
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import SMALL, copy_of, places, refused, train

import main_test
from models.config import out_of_range
from modules.corpus import store
from modules.distributed import rank
from modules.options.flags import TrainingOptions
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.records import read_json, write_json
from modules.training import update
from modules.training.finite import SANE, FiniteWatch, suspects
from modules.training.good_states import GoodStates
from modules.training.run_state import RunState
from modules.training.trainer import Trainer
from modules.weights.checkpoints import load_checkpoint
from modules.weights.saving import save_atomically


@pytest.fixture
def poisoned(monkeypatch):
    """Makes a term of the loss, or only the gradient, infinite or NaN in given steps of a training."""

    def poison(steps, name="alignment", value=float("nan"), gradient=False):
        count = [0]
        real = update.objective

        def objective(step, share):
            count[0] += 1
            losses = real(step, share)
            if count[0] in steps:
                if gradient:
                    weight = next(step.model.parameters())
                    weight.register_hook(lambda grad: torch.full_like(grad, value) if count[0] in steps else grad)
                else:
                    losses[f"loss_{name}"] = losses[f"loss_{name}"] * value
                    losses["loss"] = losses["loss"] * value
            return losses

        monkeypatch.setattr(update, "objective", objective)

    return poison


def test_a_loss_that_is_none_stops_with_its_name_and_its_studies(poisoned, prepared, tmp_path, capsys):
    poisoned([9])
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--save_every", 2, "--c", 50, "--augment")
    message = capsys.readouterr().err
    current = tmp_path / "current_checkpoint.pth"
    assert "step 3 of epoch 2 is not finite, first in loss_alignment" in message
    assert "--c 50 is outside 0.0001 to 10" in message
    previous = tmp_path / "previous_checkpoint.pth"
    assert (
        f"the last good checkpoint: {previous} (epoch 2, step 0); {current} (epoch 2, step 2) is from right" in message
    )
    saved = load_checkpoint(current)
    assert (saved["run"]["epoch"], saved["run"]["step"]) == (2, 2)
    assert all(x.isfinite().all() for x in saved["state_dict"].values() if x.is_floating_point())
    step = torch.load(tmp_path / "nonfinite_step.pt", weights_only=True)
    assert (step["epoch"], step["step"], step["first"]) == (2, 3, "loss_alignment")
    assert len(step["ids"]) == len(step["batch"]["labels"]) == len(step["batch"]["image"]) == 8


def test_an_infinite_gradient_is_found_although_clipping_hides_it(poisoned, prepared, tmp_path, capsys):
    poisoned([2], gradient=True, value=float("inf"))
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path)
    message = capsys.readouterr().err
    assert "step 2 of epoch 1 is not finite, first in grad_norm" in message
    assert "none was written yet" in message
    assert not (tmp_path / "current_checkpoint.pth").exists()


def test_a_step_that_is_skipped_leaves_no_trace(poisoned, prepared, tmp_path, capsys, monkeypatch):
    seen = []

    def state(trainer):
        moments = trainer.optimizer.state_dict()["state"]
        moments = {f"{which} {name}": value for which, part in moments.items() for name, value in part.items()}
        return {**trainer.model.state_dict(), **moments}

    def keep(self, *batches, work=Trainer.train_step):
        before = {name: value.clone() for name, value in state(self).items()}
        values = work(self, *batches)
        seen.append(
            [name for name, value in state(self).items() if not torch.equal(value, before.get(name, value - 1))]
        )
        return values

    monkeypatch.setattr(Trainer, "train_step", keep)
    poisoned([3, 8])
    train(prepared, tmp_path, "--on_nan", "skip")
    assert "left out: step 3 of epoch 1 is not finite" in capsys.readouterr().out
    assert (seen[2], seen[7]) == ([], []), "weights, statistics and moments are as they were"
    assert any(name.endswith("exp_avg_sq") for name in seen[3])
    saved = load_checkpoint(tmp_path / "current_checkpoint.pth")
    assert all(row["loss"] == row["loss"] and row["loss"] < 100 for row in saved["run"]["history"])


def test_a_training_in_which_nothing_is_finite_stops_even_when_it_may_skip(poisoned, prepared, tmp_path, capsys):
    poisoned(range(1, 100))
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--on_nan", "skip")
    assert "is not finite" in capsys.readouterr().err
    assert not (tmp_path / "current_checkpoint.pth").exists()


@pytest.mark.parametrize("flags", [["--save_every", 1], ["--batch_size", 48]], ids=["saves", "epochs of one step"])
def test_looks_after_every_step_do_not_let_it_go_on_for_ever(flags, poisoned, prepared, tmp_path, capsys):
    poisoned(range(1, 100))
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--on_nan", "skip", "--epochs", 5, *flags)
    assert capsys.readouterr().out.count("left out: step 1 of epoch 1 is not finite") == 1


def test_which_state_is_good_is_what_the_steps_from_it_say(tmp_path):
    """A state is good once a step from it was finite; the one before it is, where none was."""
    watch = FiniteWatch(["loss"], torch.device("cpu"))
    states = GoodStates(
        watch, None, parse_options(MainTrain, ["--dataset_name", "custom", "--save_dir", str(tmp_path)])
    )
    state, path, finite = RunState(), tmp_path / "current_checkpoint.pth", torch.ones(1)
    state.epoch = 1

    def step(number, saves):
        watch.note(number, [0], finite[0], finite)
        states.look(state)
        if saves:
            state.step = number
            states.saved(path, state)

    assert "none was written yet" in str(states)
    step(1, saves=True)
    assert str(states).startswith(f"no checkpoint is known to be good: {path} (epoch 1, step 1) is from right before")
    step(2, saves=False)
    assert str(states) == f"the last good checkpoint: {path} (epoch 1, step 1), go on with --resume"
    step(3, saves=True)
    before = tmp_path / "previous_checkpoint.pth"
    assert str(states).startswith(f"the last good checkpoint: {before} (epoch 1, step 1); {path} (epoch 1, step 3) is")
    states.saved(path, state)  # again, with no step between: the one before was never tried
    assert str(states).startswith("no checkpoint is known to be good")


def test_the_first_of_several_steps_is_told():
    watch = FiniteWatch(["diagnosis", "alignment"], torch.device("cpu"))
    for number in range(1, 6):
        losses = torch.tensor([1.0, math.nan if number in (2, 4) else number])
        watch.note(number, [10 * number, 10 * number + 1], torch.tensor(1.0), losses)
    found = watch.read()
    assert (found.step, found.index, found.count, found.earlier, found.first) == (2, [20, 21], 2, 1, "alignment")
    assert watch.read() is None
    watch.note(6, [60], torch.tensor(math.inf), torch.ones(2))
    found = watch.read()
    assert (found.step, found.index, found.count, found.earlier, found.first) == (6, [60], 1, 0, "grad_norm")


def test_an_epoch_without_a_finite_step_has_no_losses(poisoned, prepared, tmp_path):
    poisoned([1])
    train(prepared, tmp_path, "--on_nan", "skip", "--batch_size", 48)
    assert [row["loss"] is None for row in load_checkpoint(tmp_path / "current_checkpoint.pth")["run"]["history"]] == [
        True,
        False,
    ]


def test_the_input_that_is_none_is_named_with_its_study(prepared, tmp_path, capsys, monkeypatch):
    """A preparation reads only small arrays whole when a training opens them: of a large one the step must tell."""
    data = tmp_path / "data"
    copy_of(prepared, data)
    scores = np.load(data / "features/region_scores.npy")
    scores[5, 7] = np.nan
    np.save(data / "features/region_scores.npy", scores)
    monkeypatch.setattr(store, "READ_WHOLE", 0)
    flags = "--no-check", "--save_every", 1
    with pytest.raises(SystemExit, match="2"):
        train(data, tmp_path / "run", *flags)
    name = read_json(data / "features/studies.json")[5]
    message = capsys.readouterr().err
    assert f"; not finite in the features: region_scores of {name}, run main_prepare.py again; the last good" in message
    assert name in torch.load(tmp_path / "run/nonfinite_step.pt", weights_only=True)["ids"]
    train(data, tmp_path / "run", *flags, "--resume", "--on_nan", "skip")
    assert f"region_scores of {name}" in capsys.readouterr().out


def test_a_report_is_not_written_from_features_that_are_none(prepared, trained, tmp_path, capsys, monkeypatch):
    """In a large array, of which the opening reads the head alone; the report would be one like any other."""
    data, run = tmp_path / "data", tmp_path / "run"
    copy_of(prepared, data)
    shutil.copytree(trained, run)
    ids = read_json(data / "features/studies.json")
    tested = read_json(data / "annotation.json")["test"][0]["id"]
    texts = np.load(data / "features/region_text.npy")
    texts[ids.index(tested), 7, 3] = np.inf
    np.save(data / "features/region_text.npy", texts)
    monkeypatch.setattr(store, "READ_WHOLE", 0)
    words = f"not finite in the features: region_text of {tested}, run main_prepare.py again"
    refused(capsys, words, main_test, *places(data), *SMALL, "--save_dir", run, "--no-meteor", "--resamples", 5)
    assert not (run / "predictions.jsonl").exists()


def test_every_weight_that_may_be_large_is_suspected():
    floats = [f for f in fields(TrainingOptions) if f.type == "float" and f.name != "timeout"]
    free = [f.name for f in floats if not out_of_range(5000.0, f.metadata["within"])]
    assert len(free) > 4
    assert set(free) <= set(SANE)
    assert "--presence_weight 5000 is outside 0 to 100" in suspects({"presence_weight": 5000.0, "precision": "fp32"})


MOMENT = ("run", "optimizer", "state", 5, "exp_avg_sq")


@pytest.mark.parametrize(
    "where", [("state_dict", "project_patches.weight"), MOMENT, ("run", "class_prior")], ids=lambda where: where[-1]
)
def test_a_state_that_is_not_finite_is_named_and_the_previous_one_taken(where, trained, prepared, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    content = torch.load(run / "current_checkpoint.pth", weights_only=True)
    tensor = content
    for name in where:
        tensor = tensor[name]
    tensor.view(-1)[0] = float("inf")
    save_atomically(content, run / "current_checkpoint.pth")
    train(prepared, run, "--resume", "--epochs", 3)
    assert "holds weights that are not finite (1 tensors, first" in capsys.readouterr().out


def test_moments_that_are_not_finite_are_not_saved(prepared, tmp_path, capsys, monkeypatch):
    """An infinite second moment stops a weight for ever, and no loss shows it."""

    def step(self, *batches, work=Trainer.train_step):
        values = work(self, *batches)
        if self.state.step == 2:
            next(iter(self.optimizer.state.values()))["exp_avg_sq"].fill_(float("inf"))
        return values

    monkeypatch.setattr(Trainer, "train_step", step)
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--save_every", 2)
    message = capsys.readouterr().err
    assert "1 tensors, first run.optimizer.state.0.exp_avg_sq), so they are not saved" in message
    assert f"the last good checkpoint: {tmp_path / 'current_checkpoint.pth'} (epoch 1, step 2), go on with" in message


def poisoned_process(data, folder, flags):
    """A training of which process 1 alone meets a loss that is none, in its third step; keeps what each process saw."""
    seen, count, real = [], [0], update.objective

    def objective(step, share):
        count[0] += 1
        losses = real(step, share)
        if rank() == 1 and count[0] == 3:
            losses["loss_alignment"] = losses["loss_alignment"] * math.nan
            losses["loss"] = losses["loss"] * math.nan
        return losses

    def step(self, *batches, work=Trainer.train_step):
        values = work(self, *batches)
        weights = zlib.crc32(b"".join(value.numpy().tobytes() for value in self.model.state_dict().values()))
        ids = [self.train_set.studies[i].id for batch in batches for i in batch.index]
        seen.append([ids, weights, math.isfinite(values[0])])
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update, "objective", objective)
        patch.setattr(Trainer, "train_step", step)
        try:
            train(Path(data), Path(folder) / "run", *flags)
        finally:
            write_json(Path(folder) / f"{os.environ['RANK']}.json", seen)


@pytest.mark.slow
def test_a_loss_that_is_none_in_one_of_two_processes_is_left_out_in_both(trainings, tmp_path):
    flags = ["--on_nan", "skip", "--save_every", 1, "--grad_accum", 2, "--batch_size", 3, "--no-check"]
    trainings.call(poisoned_process, 2, data=str(trainings.prepared), folder=str(tmp_path), flags=flags)
    seen = [read_json(tmp_path / f"{number}.json") for number in (0, 1)]
    weights = [[one[1] for one in part] for part in seen]
    assert weights[0] == weights[1], "the same weights in both, and the same statistics"
    assert weights[0][1] == weights[0][0] != weights[0][2], "the second step has changed nothing"
    assert [[one[2] for one in part] for part in seen] == [[True] * 8, [True, False] + [True] * 6]
    step = torch.load(tmp_path / "run/nonfinite_step.pt", weights_only=True)
    assert (step["step"], step["first"], step["ids"]) == (2, "loss_alignment", seen[1][1][0]), "not those of process 0"
    assert len(step["batch"]["image"]) == 6
