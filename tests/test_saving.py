"""modules/weights/saving.py and generations.py: what a broken disk, a full one or a flipped bit leaves, and what is said."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
import torchvision
from programs import SMALL, SMALL_MODEL, call, copy_of, places, refused, train

import main_predict
import main_test
import main_train
from modules import folder_locks
from modules.folder_locks import locked
from modules.messages import UserError
from modules.records import ROOT, atomic_write, read_json, sha256_of
from modules.run_folder import hold_results, hold_run
from modules.weights import reading, saving
from modules.weights.checkpoints import load_checkpoint
from modules.weights.generations import newest_checkpoint
from modules.weights.saving import CURRENT, PREVIOUS, save_atomically, save_generation, verified_checksum
from tools import convert


def test_the_checksum_is_of_the_content_and_torch_reads_the_file(tmp_path):
    first = save_atomically({"a": torch.arange(5)}, tmp_path / "a.pth")
    again = save_atomically({"a": torch.arange(5)}, tmp_path / "b.pth")
    other = save_atomically({"a": torch.arange(5) + 1}, tmp_path / "a.pth")
    assert first == again != other
    assert verified_checksum(tmp_path / "a.pth") == other
    assert torch.equal(torch.load(tmp_path / "a.pth", weights_only=True)["a"], torch.arange(5) + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "b.pth"]


def damaged(content):
    """Ways in which a file breaks."""
    flipped = [bytearray(content) for _ in range(3)]
    for number, copy in enumerate(flipped):
        copy[(len(content) // 2, 3, len(content) - 5)[number]] ^= 16
    yield from ((f"bit {number}", bytes(copy)) for number, copy in enumerate(flipped))
    yield from ((f"cut {size}", content[:size]) for size in (0, 1, 70, len(content) // 2, len(content) - 1))
    yield "longer", content + b"x"


def test_every_damage_is_found(tmp_path):
    save_atomically({"a": torch.arange(100.0)}, tmp_path / "a.pth")
    for name, content in damaged((tmp_path / "a.pth").read_bytes()):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.pth is (damaged|cut off)"):
            verified_checksum(path)


def test_a_damaged_state_is_named_and_the_previous_one_taken(prepared, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    whole = load_checkpoint(run / CURRENT)
    for content in (b"", (run / CURRENT).read_bytes()[:-100]):
        (run / CURRENT).write_bytes(content)
        path, checkpoint, _ = newest_checkpoint(run)
        assert path.name == PREVIOUS
        assert f"{run / CURRENT} is cut off" in capsys.readouterr().out
    assert (checkpoint["run"]["epoch"], checkpoint["run"]["step"]) == (2, 6), "before the last validation"
    train(prepared, run, "--resume")
    again = load_checkpoint(run / CURRENT)
    assert all(torch.equal(again["state_dict"][name], value) for name, value in whole["state_dict"].items())
    for name in (CURRENT, PREVIOUS):
        (run / name).write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="2"):
        train(prepared, run, "--resume")
    assert "no state of the run in" in capsys.readouterr().err


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_refuses_leaves_the_last_state(error, tmp_path, monkeypatch):
    save_generation({"a": torch.zeros(10_000)}, tmp_path)

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 3000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(error, "refused")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    class Checked(saving._Checked):
        def __init__(self, file):
            super().__init__(Full(file))

    monkeypatch.setattr(saving, "_Checked", Checked)
    with pytest.raises(UserError, match=r"cannot be written .* the files that are there are whole"):
        save_generation({"a": torch.ones(10_000)}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CURRENT]
    verified_checksum(tmp_path / CURRENT)


def test_two_states_are_kept(tmp_path, monkeypatch):
    def values():
        return [int(torch.load(tmp_path / name, weights_only=True)["n"]) for name in (CURRENT, PREVIOUS)]

    for n in range(3):
        save_generation({"n": torch.tensor(n)}, tmp_path)
    assert values() == [2, 1]

    def no_links(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(saving.os, "link", no_links)
    save_generation({"n": torch.tensor(3)}, tmp_path)
    assert values() == [3, 2]


def test_a_kill_between_the_two_names_leaves_no_third(tmp_path, monkeypatch):
    """A state that is already the previous one is named so again by the next start; a rename onto itself removes nothing."""

    def killed(temporary, path):
        if Path(path).name == CURRENT:
            raise KeyboardInterrupt
        replace(temporary, path)

    save_generation({"n": torch.tensor(0)}, tmp_path)
    replace = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(saving.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_generation({"n": torch.tensor(1)}, tmp_path)
    save_generation({"n": torch.tensor(1)}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURRENT, PREVIOUS]


HERE = {**os.environ, "PYTHONPATH": str(ROOT)}
REPLACING = [sys.executable, "-c", "from modules.run_folder import *; hold_run(ExitStack(), Path(), False, True)"]


def test_a_training_leaves_what_a_test_writes_beside_it_and_each_removes_what_its_own_kind_left(tmp_path):
    with ExitStack() as training, ExitStack() as test:
        (tmp_path / ".table.md.7.tmp").touch()
        (tmp_path / ".model_best.pth.7.tmp").touch()
        hold_results(test, tmp_path, {"predictions": "a"}, False)
        assert not (tmp_path / ".table.md.7.tmp").exists()
        with atomic_write(tmp_path / "predictions.jsonl") as file:
            file.write("{}")
            done = subprocess.run(REPLACING, cwd=tmp_path, env=HERE, capture_output=True, text=True)
            assert "is in use by process" in done.stderr, "it would move them aside"
            hold_run(training, tmp_path, resume=True, overwrite=False)
        assert (tmp_path / "predictions.jsonl").read_text() == "{}"
        assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("kind", ["a file", "a name too long", "below a file"])
def test_a_folder_that_cannot_be_written_is_one_sentence(kind, prepared, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    folder = {"a file": tmp_path / "file", "a name too long": tmp_path / ("x" * 300)}.get(
        kind, tmp_path / "file" / "run"
    )
    words = "is a file" if kind == "a file" else "cannot be written to"
    refused(capsys, words, main_train, *places(prepared), "--save_dir", folder, "--device", "cpu")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_start_that_is_refused_leaves_no_trace(tmp_path):
    """A folder with a lock in it stayed for every mistyped command."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")

    def end(folder, error, *written):
        with locked(folder):
            assert (folder / ".lock").is_file()
            for name in written:
                (folder / name).touch()
            raise error

    for folder in (tmp_path / "run", tmp_path / "mine"):
        with pytest.raises(UserError, match="refused"):
            end(folder, UserError("refused"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "notes.txt"]
    with pytest.raises(KeyboardInterrupt):
        end(tmp_path / "run", KeyboardInterrupt(), "written")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "written"]


def test_a_lock_that_its_holder_removed_is_not_taken_for_that_of_the_folder(tmp_path, monkeypatch):
    """Two programs would hold two files."""
    taken, lockf = [], folder_locks.fcntl.lockf

    def removed_once(file, how):
        lockf(file, how)
        taken.append(file.name)
        if len(taken) == 1:
            (tmp_path / ".lock").unlink()

    monkeypatch.setattr(folder_locks.fcntl, "lockf", removed_once)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith("process ")
    assert len(taken) == 2


def test_a_run_is_not_replaced_unasked(prepared, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / ".lock").unlink()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(SystemExit, match="2"):
        train(prepared, run, "--retrieval", "none")
    assert "holds a run (current_checkpoint.pth" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    train(prepared, run, "--epochs", 1, "--overwrite")
    assert "moved what" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (tmp_path / "run.1").iterdir() if path.is_file()} == before
    assert load_checkpoint(run / CURRENT)["run"]["epoch"] == 2
    with pytest.raises(SystemExit, match="2"):
        train(prepared, run, "--overwrite", "--resume")
    assert "give one of them" in capsys.readouterr().err


def test_a_resume_of_no_run_is_refused_before_anything_is_built(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(main_train, "build", None)
    flags = [*places(prepared), "--save_dir", tmp_path / "none", "--device", "cpu", "--resume"]
    refused(capsys, "current_checkpoint.pth does not exist: start without it", main_train, *flags)
    assert not (tmp_path / "none").exists()


def test_a_resume_takes_what_does_not_change_the_training(prepared, trained, tmp_path, capsys):
    run, data = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(trained, run)
    copy_of(prepared, data)
    train(data, run, "--resume", "--epochs", 3, "--monitor_metric", "val_BLEU_4", "--val_every", 3, "--save_every", 7)
    assert load_checkpoint(run / CURRENT)["run"]["epoch"] == 4
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        train(data, run, "--resume", "--epochs", 4, "--weight_decay", 0.5)
    refusal = capsys.readouterr().err
    assert "weight_decay 0.05 there, 0.5 here" in refusal
    assert "another --save_dir, as after a change of the data" in refusal


def test_a_wrong_metric_is_found_before_the_first_step(prepared, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path / "run", "--monitor_metric", "val_bleu")
    assert "val_bleu is not among the validation scores: choose one of val_BLEU_1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "options.json").exists()


def test_results_of_another_checkpoint_are_not_written_over(prepared, trained, tmp_path, capsys):
    flags = [
        *places(prepared), *SMALL, "--gen_min_len", 25, "--gen_max_len", 7, "--no-viewer", "--no-meteor",
        "--resamples", 10, "--save_dir", tmp_path / "results",
    ]  # fmt: skip
    call(main_test, *flags, "--load_pretrained", trained / "model_best.pth")
    call(main_test, *flags, "--load_pretrained", trained / "model_best.pth")  # the same once more
    metrics = read_json(tmp_path / "results" / "metrics.json")
    made_by = {"checkpoint": sha256_of(trained / "model_best.pth"), "split": "test"}
    assert made_by.items() <= metrics["made_by"].items()
    other = ("--load_pretrained", trained / CURRENT)
    refused(capsys, "holds results of something else", main_test, *flags, *other)
    refused(
        capsys,
        "split test there, val here",
        main_test,
        *flags,
        "--load_pretrained",
        trained / "model_best.pth",
        "--split",
        "val",
    )
    call(main_test, *flags, *other, "--overwrite")
    assert read_json(tmp_path / "results.1" / "metrics.json") == metrics
    assert read_json(tmp_path / "results" / "metrics.json")["made_by"]["checkpoint"] == sha256_of(trained / CURRENT)


def test_a_test_refuses_weights_that_are_not_finite(prepared, trained, tmp_path, capsys):
    checkpoint = load_checkpoint(trained / "model_best.pth")
    checkpoint["state_dict"]["project_patches.weight"][0, 0] = float("inf")
    save_atomically(checkpoint, tmp_path / "model.pth")
    shutil.copy(trained / "tokenizer.json", tmp_path)
    words = f"{tmp_path / 'model.pth'} holds weights that are not finite (1 tensors, first project_patches.weight)"
    flags = [*places(prepared), *SMALL, "--save_dir", tmp_path / "results", "--load_pretrained", tmp_path / "model.pth"]
    refused(capsys, words, main_test, *flags)
    start = "--init_from", tmp_path / "model.pth", "--save_dir", tmp_path / "run"
    refused(capsys, words, main_train, *places(prepared), *SMALL, *start)
    shutil.copy(trained / "options.json", tmp_path)
    film = next((prepared / "images/test").iterdir())
    refused(
        capsys, words, main_predict, "--model", tmp_path / "model.pth", "--images", film, "--out", tmp_path / "reports"
    )
    conversion = "--model", tmp_path / "model.pth", "--to", "released", "--out", tmp_path / "released.pth"
    refused(capsys, words, convert, *conversion)


def test_other_weights_that_are_not_finite_are_refused_too(prepared, tmp_path, capsys):
    network = torchvision.models.resnet18().state_dict()
    network["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(network, tmp_path / "resnet18.pth")
    words = "resnet18.pth holds weights that are not finite (1 tensors, first layer1.0.conv1.weight)"
    start = (
        "--resnet_weights",
        tmp_path / "resnet18.pth",
        "--visual_extractor",
        "resnet18",
        "--save_dir",
        tmp_path / "run",
    )
    refused(capsys, words, main_train, *places(prepared), *SMALL, *SMALL_MODEL, *start)


def test_a_resume_reads_its_state_for_the_checksum_once(trained, monkeypatch):
    """Of a model of 1.5 GB every time is seconds."""
    summed = []
    monkeypatch.setattr(reading, "verified_checksum", lambda path: summed.append(path) or verified_checksum(path))
    monkeypatch.setattr(saving, "verified_checksum", lambda path: summed.append(path) or verified_checksum(path))
    path, _, checksum = newest_checkpoint(trained)
    assert summed == [path]
    assert checksum == verified_checksum(path)
