"""modules/training/profiling.py: a table of stages that add up, and a trace that a viewer can open."""

import gzip
import json
import time

import pytest
import torch
from programs import train

from modules.training import profiling
from modules.training.profiling import STAGES, Stopwatch


def test_stopwatch_gives_every_stage_its_own_time():
    watch = Stopwatch(torch.device("cpu"))
    for name, duration in (("data", 0.02), ("forward", 0.05), ("forward", 0.05), ("eval", 0.02)):
        with watch(name):
            time.sleep(duration)
    assert [len(watch.seconds[name]) for name in STAGES] == [1, 2, 0, 0, 1]
    assert 0.1 <= sum(watch.seconds["forward"]) < 1
    rows = [line.split("|")[1:-1] for line in watch.table().splitlines()[2:]]
    assert [row[0].strip() for row in rows] == list(STAGES)
    assert sum(float(row[3].strip().rstrip("%") or 0) for row in rows) > 99


def test_profile_writes_a_trace_and_no_checkpoint(prepared, tmp_path, capsys):
    train(prepared, tmp_path, "--profile", 2)
    assert "| backward | 2 |" in capsys.readouterr().out
    names = {event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert set(STAGES) <= names
    assert "| eval | 1 |" in (tmp_path / "profile.md").read_text()
    assert not list(tmp_path.glob("*.pth"))


@pytest.mark.slow
def test_of_several_processes_the_first_tells_of_itself(trainings, tmp_path):
    """All of them wrote the same two files, and one of them ended for a trace that another had renamed."""
    status, log = trainings.run(tmp_path, "--profile", 2, processes=2)
    assert status == 0, log
    assert log.count("| backward | 2 |") == log.count("profile.md") == 1
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.slow
def test_a_trace_takes_no_more_than_its_limit(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(profiling, "LARGEST", 2 << 20)
    train(prepared, tmp_path, "--profile", 2)
    assert not (tmp_path / "trace.json").exists()
    assert (tmp_path / "trace.json.gz").stat().st_size < 2 << 20
    with gzip.open(tmp_path / "trace.json.gz") as file:
        assert json.load(file)["traceEvents"]
    assert "| backward | 2 |" in (tmp_path / "profile.md").read_text()
    monkeypatch.setattr(profiling, "LARGEST", 1000)
    train(prepared, tmp_path, "--profile", 1)
    assert sorted(path.name for path in tmp_path.iterdir() if "trace" in path.name) == []
    assert "even compressed and was left out" in capsys.readouterr().out


def test_a_profile_replaces_no_run(prepared, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        train(prepared, tmp_path, "--profile", 2, "--overwrite")
    assert end.value.code == 2
    assert "--profile stops before it writes a model" in capsys.readouterr().err
