"""benchmarks/: every script runs at tiny sizes, and the fast way gives what the plain way gives."""

import json
import os
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, soak
from benchmarks.models import default_config
from models.revtaf import Revtaf
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare, MainTrain

FOLDER = Path(__file__).parents[1] / "benchmarks"
SAYS = {  # what a script prints only after its comparison of both ways has passed
    "alignment": "equal values",
    "generation": "equal: tokens and scores",
    "linear": "equal: products",
    "loader": "equal: features and tokens",
    "retrieval": "near-duplicate: top-1 and top-21",
    "sinkhorn": "equal: plans",
    "store": "equal: 300 rows",
    "training": "equal: loss",
}


@pytest.mark.parametrize("name", list(SAYS))
@pytest.mark.slow
def test_both_ways_agree(name, capsys, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--runs", "1", "--threads", "1"])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert SAYS[name] in printed
    assert "target at least" in printed


@pytest.mark.slow
def test_the_gpu_script_runs_and_keeps_every_figure(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick", "--out", str(tmp_path / "gpu.json")])
    runpy.run_path(str(FOLDER / "gpu.py"), run_name="__main__")
    printed, kept = capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())["figures"]
    whats = [figure["what"] for figure in kept]
    assert all(f"] {what}: " in printed for what in whats)
    ways = "released way", "plain operations", "recorded", "recorded, compiled"
    assert [way for way in ways if f"train, {way}, batch 2" not in whats] == []
    assert {"generate, recorded words, batch 2", "retrieve, 20 queries in 1000 rows"} < {*whats}
    assert kept[whats.index("train, recorded, batch 2")]["studies_per_second"] > 0
    parts = [
        next(n for n, what in enumerate(whats) if what.startswith(begins))
        for begins in ("generate", "retrieve", "recorded", "train")
    ]
    assert parts == sorted(parts), "what compiles for minutes comes last"
    table = (tmp_path / "gpu.md").read_text().splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in table[4:]] == whats
    assert f"ms {kept[whats.index('recorded step, batch 2, tokens 60')]['ms']}" in "\n".join(table)


def test_the_default_network_of_the_benchmark_is_that_of_the_script():
    flags = parse_options(MainTrain, ["--dataset_name", "mimic_cxr"]).model
    measured = default_config(quick=False)
    assert {name: getattr(measured, name) for name in vars(flags) if name != "visual_folder"} == {
        name: value for name, value in vars(flags).items() if name != "visual_folder"
    }


@pytest.mark.slow
def test_what_does_not_fit_onto_a_card_is_a_line_and_the_rest_is_measured(monkeypatch, tmp_path):
    """A step says in a sentence that memory ran out, where torch raises."""
    record = gpu.Record(tmp_path / "gpu.json")
    options = Namespace(device=torch.device("cpu"), quick=True, batches=[2, 3], steps=1)
    forward, seen = Revtaf.forward, []

    def full(model, study, *rest):
        seen.append(len(study.image))
        if len(study.image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, study, *rest)

    monkeypatch.setattr(Revtaf, "forward", full)
    monkeypatch.setattr(gpu, "kinds", lambda *_: None)
    gpu.train(options, record)
    lines = {figure["what"]: figure for figure in record.content["figures"]}
    assert {what for what in lines if lines[what].get("note") == "does not fit"} == {
        f"train, {way}, batch 3"
        for way in (
            "plain operations",
            *(f"{of}recorded{how}" for of in ("", "defaults, ") for how in ("", ", compiled")),
        )
    }
    assert lines["train, recorded, compiled, batch 2"]["studies_per_second"] > 0
    with pytest.raises(UserError, match="another"), gpu.may_not_fit("it", record):
        raise UserError("another")


def test_the_gpu_script_fails_with_its_tests(tmp_path):
    """Its figures are measured all the same."""
    (tmp_path / "python3").write_text(
        '#!/bin/sh\necho "$@" >> "$OUT/asked"\ncase "$*" in "-m pytest"*) sleep $WAIT; exit $FIRST;; *) exit $SECOND;; esac\n'
    )
    (tmp_path / "python3").chmod(0o755)
    for tests, figures, code, lasts in (
        ("0", "0", 0, "0"),
        ("1", "0", 1, "0"),
        ("0", "2", 2, "0"),
        ("0", "0", 124, "30"),
    ):
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "OUT": str(tmp_path),
            "FIRST": tests,
            "SECOND": figures,
            "WAIT": lasts,
            "TEST_SECONDS": "2",
        }
        done = subprocess.run(["bash", str(FOLDER / "gpu_all.sh")], env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert ("cut after 2 seconds" in done.stdout) == (code == 124)
    assert (tmp_path / "asked").read_text().count("benchmarks/gpu.py") == 4


def test_the_gpu_script_refuses_a_machine_without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        runpy.run_path(str(FOLDER / "gpu.py"), run_name="__main__")


@pytest.mark.slow
def test_curves_are_measured_and_drawn(tmp_path):
    command = [sys.executable, str(FOLDER / "scaling.py"), "--quick", "--runs", "1", "--threads", "1"]
    done = subprocess.run([*command, "--out", str(tmp_path / "a.png")], capture_output=True, text=True, check=True)
    rows = done.stdout.split("|---|---|---:|---:|\n")[1].split("\n\n")[0].splitlines()
    assert len(rows) == 10
    assert all(np.isfinite(float(part)) for row in rows for part in row.split("|")[3:5])
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_soak_asks_for_flags_that_there_are_and_sees_a_process():
    parse_options(MainPrepare, [*soak.COMMON, *soak.DRAWING])
    parse_options(MainTrain, [*soak.COMMON, *soak.MODEL])
    memory, descriptors = soak.look(os.getpid())
    assert memory > 1e7
    assert descriptors > 2
    assert soak.look(2**22 + 1) is None


def test_the_wrong_copies_say_what_they_need(capsys, monkeypatch, tmp_path):
    script = str(FOLDER / "wrong_copies.py")
    for words, status, said in (
        (["--help"], 0, "annotation file"),
        ([], 2, "annotation"),
        (["none.json"], 2, "none.json does not exist"),
    ):
        monkeypatch.setattr(sys, "argv", ["wrong_copies.py", *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(script, run_name="__main__")
        printed = capsys.readouterr()
        assert end.value.code == status
        assert said in printed.out + printed.err
