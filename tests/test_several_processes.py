"""A training of several processes, started as the documentation says."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from test_pipeline import SMALL, SMALL_MODEL, places, prepared  # noqa: F401, fixture

from modules.weights.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


def torchrun(processes, folder, save_dir, *flags):
    words = [*places(folder), *SMALL, *SMALL_MODEL, "--save_dir", save_dir, *flags]
    command = [*TORCHRUN, processes, "main_train.py", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def metrics(save_dir):
    with (save_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_train_and_resume(prepared, tmp_path):  # noqa: F811
    torchrun(2, prepared, tmp_path, "--epochs", 2)
    rows = metrics(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(3 < float(row["loss_report"]) < 7 for row in rows), "a mean of an epoch, not a sum"
    assert "resuming at epoch 3" in torchrun(2, prepared, tmp_path, "--epochs", 2, "--resume")
    assert metrics(tmp_path) == rows
    run = load_checkpoint(tmp_path / "current_checkpoint.pth")["run"]
    assert (run["epoch"], run["step"], run["world_size"]) == (3, 0, 2)


def test_four_processes_whose_studies_do_not_come_out_even(prepared, tmp_path):  # noqa: F811
    torchrun(4, prepared, tmp_path, "--epochs", 1, "--batch_size", 3)
    (row,) = metrics(tmp_path)
    assert 3 < float(row["loss_report"]) < 7
    assert row["val_BLEU_4"]
