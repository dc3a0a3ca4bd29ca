"""What SECURITY.md promises of patient data: files for their owner only, and a git that takes no images, tables or weights."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import torch

from modules.messages import run
from modules.records import write_json
from modules.weights.saving import save_atomically

ROOT = Path(__file__).parents[1]
REFUSED = (
    "scan.dcm", "films/IM1.DICOM", "a.png", "a.JPG", "b/c.jpeg", "studies.csv", "my/studies.TSV", "t.xlsx", "data/mimic_cxr/annotation.json",
    "results/x/metrics.json", "checkpoints/bert/vocab.txt", "model_best.pth", "labels.npy", "x.safetensors", "tests/x.npy", "a.pkl",
    "reports/predictions.jsonl", "reports/index.html", "reports/texts/a.txt", "release/bank/training.jsonl", "out.json", "annotation.json",
    "maps.npz", "rated.parquet", "scan.tif", "film.TIFF", "film.bmp", "film.gif", "old.xls", "mimic-cxr-2.0.0-split.csv.gz", "physionet.org/NLMCXR_png.tgz",
    "mimic-cxr-reports.zip", "files.tar.gz", "a.tar", "run/nonfinite_step.pt", "ct.nii.gz", "ct.nii", "images.h5", "ecgen-radiology/1.xml", "reports.tok",
    "run/tensorboard/events.out.tfevents.1.host.2.0", "docs/films.zip", "tests/a.csv.gz",
    "examples/x.safetensors", "examples/demo/model.pth", "examples/demo/labels.npy", "examples/demo/a.png", "examples/demo/bank/a.csv",
)  # fmt: skip
TAKEN = (
    "docs/example.png", "docs/a/b.csv", "tests/cases/dicom/a.dcm", "tests/cases/tables/a.csv", "tests/cases/checkpoints/a.pth", "tests/cases/raw/a.zip",
    "data/README.md", "results/README.md", "modules/records.py", "README.md", "tests/golden/a.npz",
    "examples/demo/model.safetensors", "examples/demo/bank/labels.npy", "examples/demo/bank/training.jsonl",
    "requirements.txt", "requirements/dev.txt", "benchmarks/h100.json", "docs/ablations/runs.jsonl", "tests/golden/a.json",
)  # fmt: skip


@pytest.fixture
def pattern():
    """What the commit hook refuses."""
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    return re.compile(re.search(r"id: no-patient-data.*?files: (\S+)", text, re.DOTALL)[1])


def test_the_commit_hook_refuses_patient_data_and_nothing_that_is_here(pattern):
    assert [path for path in REFUSED if not pattern.search(path)] == []
    assert [path for path in TAKEN if pattern.search(path)] == []
    if (ROOT / ".git").exists():
        tracked = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True)
        assert [path for path in tracked.stdout.splitlines() if pattern.search(path)] == []


def test_git_ignores_patient_data(tmp_path):
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    ignored = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "--no-index", "--stdin"],
        input="\n".join([*REFUSED, *TAKEN]), capture_output=True, text=True,
    )  # fmt: skip
    assert [path for path in REFUSED if path not in ignored.stdout.splitlines()] == []
    assert not set(TAKEN) & set(ignored.stdout.splitlines())


def test_what_a_program_writes_is_for_its_owner_only(tmp_path):
    before = os.umask(0o022)
    try:

        def program():
            write_json(tmp_path / "run/metrics.json", {"a": 1})
            save_atomically({"a": torch.zeros(1)}, tmp_path / "run/model.pth")
            (tmp_path / "run/plain.txt").write_text("x")

        run(program)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "run", *(tmp_path / "run").iterdir()]}
    assert modes == {"run": 0o700, "metrics.json": 0o600, "model.pth": 0o600, "plain.txt": 0o600}
