"""A golden curve: the losses of forty updates of a tiny model, so that nothing changes training unseen.

After a change that is meant to change it, ``PYTHONPATH=. python tests/test_loss_curve.py`` writes the curve anew; say why in the commit.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_config

from benchmarks.models import LOSS, random_batch
from models.revtaf import Revtaf
from modules.training.objective import loss_names
from modules.training.optimizers import Schedule
from modules.training.update import Update

GOLDEN = Path(__file__).parent / "golden" / "loss_curve.json"
STEPS, STEPS_OF_AN_EPOCH = 40, 8
FEW = 14  # steps after which another setting shows
OPTIONS = replace(LOSS, init_lr=1e-3, min_lr=1e-4, warmup_lr=1e-5)


CPU = torch.device("cpu")


def on(device, batch):
    """A batch on a device; its images are no pixels, which would be normalised."""
    parts = {name: getattr(batch, name).to(device) for name in ("study", "token_ids", "token_mask", "packed", "labels")}
    return replace(batch, **parts)


def curve(steps=STEPS, device=CPU):
    """Losses ``(steps, names)`` over at most five epochs of eight batches, with the schedule, clipping and dropout of a training."""
    torch.manual_seed(0)
    config = tiny_config(visual_extractor="resnet10n")
    batches = [random_batch(config, 4, 40, sentences=3, lengths=(1, 0.8)) for _ in range(STEPS_OF_AN_EPOCH)]
    generator = torch.Generator().manual_seed(1)
    for batch in batches:
        batch.study.image.normal_(generator=generator)
        batch.labels.random_(0, config.num_states, generator=generator)
    update = Update(Revtaf(config).to(device), OPTIONS, "fp32", device)
    prior = torch.linspace(0.4, 1, 18, device=device)
    schedule = Schedule(init_lr=1e-3, min_lr=1e-4, warmup_lr=1e-5, warmup_steps=6, epochs=5)
    update.train()
    losses = []
    for number in range(steps):
        epoch, step = divmod(number, STEPS_OF_AN_EPOCH)
        schedule.apply(update.optimizer, epoch + 1, step)
        losses.append(update(step + 1, (on(device, batches[step]),), prior).tolist())
    assert update.finite.read() is None
    return np.array(losses)


def test_forty_updates_give_the_golden_losses():
    golden = json.loads(GOLDEN.read_text())
    assert golden["names"] == loss_names()
    found, expected = curve(), np.array(golden["losses"])
    np.testing.assert_allclose(found[:8], expected[:8], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=5e-2, atol=2e-3)  # roundings of other CPUs grow under AdamW
    assert found[-8:, 0].mean() < 0.9 * found[:8, 0].mean(), "it learns"


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"weight_decay": 40.0}, {"clip_grad_value": 1e-8}, {"cls_weight": 3.0}], ids=str)
def test_another_setting_leaves_the_curve(change, monkeypatch):
    for name, value in change.items():
        monkeypatch.setattr(OPTIONS, name, value)
    expected = np.array(json.loads(GOLDEN.read_text())["losses"])[:FEW]
    assert (np.abs(curve(FEW) - expected) > 5e-2 * np.abs(expected) + 2e-3).any()


if __name__ == "__main__":
    rounded = [[round(value, 6) for value in row] for row in curve().tolist()]
    text = ",\n  ".join(json.dumps(row) for row in rounded)
    GOLDEN.write_text(f'{{"names": {json.dumps(loss_names())},\n "losses": [\n  {text}]}}\n')
    sys.stdout.write(f"wrote {GOLDEN}\n")
