"""modules/training/finite.py: a number that is none is found in its step, named, and never saved."""

import pytest
import torch
from programs import train

from modules.training import update
from modules.training.trainer import Trainer
from modules.weights.checkpoints import load_checkpoint


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
    assert f"the last good checkpoint: {current} (epoch 2, step 2)" in message
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
