"""Every command in the documents is run by a test, or the document says why not: documented_commands.txt answers for each."""

import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import copy_of
from test_calibration import TRUTH, WORSE, rexval
from test_ground import MS_CXR, films, write
from test_raw_images import write_dicom
from test_roads import FINDINGS, Checkout, film

from modules.records import read_json, read_jsonl, write_json

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/README.md"), *ROOT.glob("docs/**/*.md"))
    if path.name != "CHANGELOG.md"  # tells of programs as they were
]
STARTS = (
    r"(?:[A-Z_]+=\S+ )?(?:python3? \S|bash \S|pip install|pip-audit|pre-commit|torchrun \S|srun|git clone"
    r"|hf (?:down|up)load|curl|xdg-open|tensorboard -|(?:main_\w+|tools/\w+)\.py -)"
)
SCORER = (
    "--visual_extractor resnet10q --image_size 64 --scorer_epochs 1 --scorer_width 16 --scorer_layers 1 --text_width 16 "
    "--clip_k 5 --num_workers 0 --device cpu"
)
NETWORK = (
    "--visual_extractor resnet10q --image_size 64 --resnet_weights none --tokenizer corpus --threshold 1 --d_model 32 "
    "--h_dim 16 --memory_feedforward 32 --decoder_layers 1 --hidden_size 32 --intermediate_size 64 --decoder_heads 4 "
    "--epochs 1 --batch_size 8 --num_workers 0 --device cpu --gen_min_len 25 --gen_max_len 12 --beam_size 2"
)
SCORING = "--no-meteor --resamples 20"
SIZES = {
    "$SCORER": SCORER,
    "$NETWORK": NETWORK,
    "$SCORING": SCORING,
    "$TEST": f"{SCORING} --gen_min_len 25 --gen_max_len 12 --beam_size 2 --viewer_studies 3 --num_workers 0 --device cpu",
    "$SMALL": "--image_size 64 --epochs 2 --d_model 32 --hidden_size 64 --device cpu",
}


def commands():
    """Every command of the documents with those that it stands in; comments are taken off, lines that go on are joined."""
    found = {}
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = re.findall(rf"^    ({STARTS}.*)$", text, re.MULTILINE)
        lines += re.findall(rf"`({STARTS}[^`\n]*)`", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))
        for line in lines:
            found.setdefault(" ".join(line.split(" #")[0].split()), []).append(path)
    return found


def answers():
    """``{command: [kind, what]}`` of the table."""
    lines = (ROOT / "tests" / "documented_commands.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    assert all(not command.startswith(" ") and answer.startswith("    ") for command, answer in pairs)
    table = {command: (*answer.split(maxsplit=1), "")[:2] for command, answer in pairs}
    assert len(table) == len(pairs)
    return table


COMMANDS, ANSWERS = commands(), answers()
WALK = [(command, what) for command, (kind, what) in ANSWERS.items() if kind == "run"]


def test_every_command_has_an_answer_and_every_answer_a_command():
    assert len(COMMANDS) > 100
    assert sorted(COMMANDS) == sorted(ANSWERS)
    assert {kind for kind, _ in ANSWERS.values()} == {"run", "test", "ci", "not"}


def test_no_command_is_set_as_text():
    pattern = re.compile(r"^(?:python3? \S+\.py|bash \S+\.sh|pip install) .*$", re.MULTILINE)
    assert [line for path in DOCUMENTS for line in pattern.findall(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("command", [command for command, (kind, _) in ANSWERS.items() if kind == "test"])
def test_the_test_that_is_named_runs_this_program_with_these_flags(command):
    """As far as can be read: the test is there, and its file names the program and each of the flags."""
    file, name = ANSWERS[command][1].split("::")
    source = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert not name or name in {getattr(node, "name", None) for node in ast.parse(source).body}
    flags = set(re.findall(r"--\w+", command)) - {"--dataset_name", "--out", "--image_dir", "--ann_path", "--feature_dir", "--save_dir"}  # fmt: skip
    assert [flag for flag in flags if flag not in source and f"{flag[2:]}=" not in source] == []
    program = re.search(r"(\w+)\.(?:py|sh)\b", command)
    assert not program or program[1] in source


@pytest.mark.parametrize("command", [command for command, (kind, _) in ANSWERS.items() if kind == "ci"])
def test_the_workflow_runs_it(command):
    """Itself, with other flags, or by a script that it runs."""
    workflow = (ROOT / ".github/workflows/tests.yml").read_text() + (ROOT / "environment.sh").read_text()
    last = command.split(" && ")[0].rsplit(" ", 1)[-1] if command.startswith(("pip install", "python3")) else ""
    start = " ".join(command.split(" && ")[0].split()[:2]) if not command.startswith("pip-audit") else "pip-audit"
    assert start in workflow
    assert last.strip("'") in workflow


@pytest.mark.parametrize("command", [command for command, (kind, _) in ANSWERS.items() if kind == "not"])
def test_the_document_says_why_no_test_runs_it(command):
    for path in COMMANDS[command]:
        assert ANSWERS[command][1] in " ".join(path.read_text(encoding="utf-8").split())


def write_studies(place):
    """Forty films beside a table, one of them without a report."""
    place.mkdir()
    rng = np.random.default_rng(2)
    rows = [("id", "image_path", "report", "patient")]
    for n in range(40):
        film(rng, n % len(FINDINGS)).save(place / f"f{n}.png")
        rows.append((f"S{n}", f"f{n}.png", FINDINGS[n % len(FINDINGS)] if n else "", f"p{n // 2}"))
    with (place / "studies.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_films(folder, drawings):
    """``film.png``, two in ``films``, one of ReXrank, a DICOM file, and predictions and references of the two."""
    for name, drawing in zip(("film.png", "films/one.png", "films/two.png", "images/a.png"), drawings, strict=False):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(drawing, folder / name)
    write_dicom(folder / "scan.dcm", np.tile(np.arange(90) * 30, (80, 1)))
    study = {"study_id": "a", "image_path": ["a.png"], "key_image_path": "a.png", "section_findings": "Clear."}
    write_json(folder / "in.json", {"a": study})
    studies = [
        {"id": name, "report": report, "image_path": [f"{name}.png"], "split": "test"}
        for name, report in (("one", TRUTH), ("two", "The lungs are clear."))
    ]
    write_json(folder / "annotation.json", {"train": [], "val": [], "test": studies})
    shutil.copy(drawings[0], folder / "data/mimic_cxr/images/one.png")
    rows = [
        {"id": row["id"], "image": "one.png", "prediction": row["report"], "reference": row["report"]}
        for row in studies
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "b.csv").write_text(f"id,prediction\none,{WORSE[2]}\ntwo,Normal.\n")


def write_ratings(folder):
    """Rated reports, labels given by hand, boxes beside a film."""
    rows = "".join(f'{i},"{TRUTH}","{text}",{i % 5}\n' for i, text in enumerate(WORSE * 4))
    (folder / "reports_with_ratings.csv").write_text("study_id,gt_report,prediction,total_errors\n" + rows)
    rexval(folder)
    row = {"findings": "Mild edema.", "impression": None, "labels_mesh": [1] + [0] * 13}
    (folder / "reports.jsonl").write_text((json.dumps(row) + "\n") * 30)
    write(folder, "MS_CXR_Local_Alignment_v1.1.0.csv", MS_CXR)
    films(
        folder / "mimic-cxr-jpg",
        [f"files/p10/p1000000{n}/s5000000{n}/{name}.jpg" for n, name in ((1, "aa-1"), (2, "bb-2"))],
    )


@pytest.fixture(scope="module")
def clone(prepared, trained, forks, tmp_path_factory):
    """A checkout with everything that the commands name, its data sets and models small ones of drawings."""
    folder = tmp_path_factory.mktemp("clone")
    checkout = Checkout(folder, forks.python)
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / "results").mkdir()
    for name in ("synth_cxr", "mimic_cxr"):
        copy_of(prepared, folder / "data" / name)
        shutil.copytree(trained, folder / "results" / name)
    copy_of(prepared, folder / "results/ablations/data/synth_cxr")
    shutil.copytree(trained, folder / "results/ablations/synth_cxr/full/1")
    shutil.copy(trained / "model_best.pth", folder / "FILE")
    shutil.copy(trained / "tokenizer.json", folder)
    rows = read_json(prepared / "annotation.json")["test"]
    for name, rate in (("one", 1e-3), ("two", 2e-3)):
        shutil.copytree(trained, folder / "results" / name)
        options = read_json(trained / "options.json")
        options["options"]["init_lr"] = rate
        write_json(folder / "results" / name / "options.json", options)
        lines = [{"id": row["id"], "prediction": row["report"], "reference": row["report"]} for row in rows]
        (folder / "results" / name / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    write_studies(folder / "my")
    write_films(folder, sorted((prepared / "images" / "test").iterdir()))
    write_ratings(folder)
    checkout.ids = " ".join(row["id"] for row in rows[:2])
    return checkout


@pytest.mark.slow
@pytest.mark.parametrize(("command", "what"), WALK, ids=[command for command, _ in WALK])
def test_it_does_what_the_document_says(command, what, clone):
    """As it stands there, in a shell; behind it the sizes that make it quick."""
    sizes, expected = what.split("=> ")
    for name, flags in SIZES.items():
        sizes = sizes.replace(name, flags)
    line = f"{command} {sizes}".replace("50414267 50578114", clone.ids)
    place = clone.interpreter.parents[1]
    environment = {**os.environ, "VIRTUAL_ENV": str(place), "PATH": f"{place}/bin:{sys.prefix}/bin:{os.environ['PATH']}", "TQDM_DISABLE": "1"}  # fmt: skip
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=600, env=environment, cwd=clone.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout + done.stderr


@pytest.mark.slow
def test_reports_of_every_command_are_their_own(clone):
    """One film by three models: each has its folder, so that the documents can be followed from top to bottom."""
    found = {path.parents[1].name: read_jsonl(path) for path in clone.folder.glob("results/predictions/*/film/*.jsonl")}
    assert sorted(found) == ["demo", "release", "synth_cxr"]
    assert found["release"][0]["report"] == found["synth_cxr"][0]["report"]
