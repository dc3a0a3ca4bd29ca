"""docs/extending.md: what its snippets add is found where it says, in a copy of the project that trains and tests."""

import ast
import base64
import csv
import json
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from programs import SMALL_MODEL, copy_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modules.training.objective import loss_names, losses_of

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n# (\S+): (above|in|first in) (\w+)\n(.*?)```", TEXT, re.DOTALL)


def node_of(source, name):
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        if name in {getattr(target, "id", getattr(target, "name", None)) for target in targets}:
            return node
    raise AssertionError(f"there is no {name}")


def put(path, where, name, code):
    """Put a snippet above something, at its end or at its beginning."""
    source = path.read_text(encoding="utf-8")
    lines, node = source.splitlines(), node_of(source, name)
    if where == "above":
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        lines[first - 1 : first - 1] = [*code.splitlines(), "", ""]
    elif where == "first in":
        first = node.body[1].lineno  # behind the docstring
        lines[first - 1 : first - 1] = textwrap.indent(code, "    ").splitlines()
    elif isinstance(node, ast.ClassDef):
        last = max(child.end_lineno for child in node.body if isinstance(child, ast.AnnAssign))
        lines[last:last] = textwrap.indent(code, "    ").splitlines()
    else:  # before the bracket that closes a tuple or a table
        line, column = node.value.end_lineno - 1, node.value.end_col_offset - 1
        head = lines[line][:column].rstrip()
        comma = (
            "" if lines[line - 1 if not head else line][: column or None].rstrip().endswith((",", "(", "{")) else ","
        )
        lines[line : line + 1] = [f"{head}{comma}" if head else head, f"{code.rstrip(',')},", lines[line][column:]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def extended(prepared, forks, tmp_path_factory):
    """A copy of the project with all snippets, and a run of it on the added data set."""
    folder = tmp_path_factory.mktemp("extended")
    for part in ("models", "modules"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for program in ROOT.glob("main_*.py"):
        shutil.copy(program, folder)
    for file, where, name, code in SNIPPETS:
        put(folder / file, where, name, code.rstrip())
    copy_of(prepared, folder / "data" / "my_hospital")
    common = ["--dataset_name", "my_hospital", "--batch_size", "8", "--num_workers", "0", "--device", "cpu"]
    threshold = SMALL_MODEL.index("--threshold")
    model = SMALL_MODEL[:threshold] + SMALL_MODEL[threshold + 2 :]
    train = [*model, "--visual_extractor", "stem", "--spread_weight", "0.5", "--epochs", "1"]
    run = folder / "results" / "my_hospital"
    few = ["--resamples", "10", "--no-meteor"]
    scoring = ["--predictions", run / "predictions.jsonl", "--save_dir", run / "scored", *few]
    for program, flags in (
        ("main_train.py", [*common, *train]),
        ("main_test.py", [*common, *few]),
        ("main_score.py", scoring),
    ):
        done = subprocess.run([forks.python, program, *flags], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    return run


def test_every_snippet_says_where_it_goes():
    assert len(SNIPPETS) == TEXT.count("```python") == 10


def test_the_loss_is_a_number_of_one_study_too():
    """It was none, and the training stopped."""
    (code,) = (code for _, _, name, code in SNIPPETS if name == "LOSSES" and "def spread" in code)
    names = {"torch": torch, "Step": object, "Tensor": torch.Tensor}
    exec(code, names)
    logits = torch.arange(12.0).view(3, 2, 2)
    one, three = (
        names["spread"](SimpleNamespace(output=SimpleNamespace(state_logits=part))) for part in (logits[:1], logits)
    )
    assert one == 0
    assert torch.equal(three, (-torch.pdist(logits.flatten(1))).exp().mean())


@pytest.mark.slow
def test_the_loss_is_in_total_table_and_tensorboard(extended):
    with open(extended / "metrics.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["loss_spread"]) > 0
    terms = sorted(name for name in row if name.startswith("loss_"))
    options = json.loads((extended / "options.json").read_text(encoding="utf-8"))["options"]
    weights = {f"loss_{loss.name}": options[loss.weight] if loss.weight else 1 for loss in losses_of()}
    total = sum(weight * float(row[name]) for name, weight in {**weights, "loss_spread": 0.5}.items())
    assert float(row["loss"]) == pytest.approx(total, rel=1e-5)
    assert "loss_spread" in EventAccumulator(str(extended / "tensorboard")).Reload().Tags()["scalars"]
    assert terms == sorted(["loss_spread", *loss_names()[1:]])


def test_the_flag_the_backbone_and_the_data_set_are_in_the_options(extended):
    options = json.loads((extended / "options.json").read_text(encoding="utf-8"))["options"]
    added = {"dataset_name": "my_hospital", "visual_extractor": "stem", "spread_weight": 0.5}
    assert added.items() <= options.items()


def test_the_metric_is_in_validation_test_and_scoring(extended):
    with open(extended / "metrics.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_length_ratio"]) > 0
    tested, scored = (
        json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in (extended, extended / "scored")
    )
    ratio = tested["scores"]["test_length_ratio"]
    assert ratio > 0
    assert tested["names"]["test_length_ratio"].startswith("words of a report over")
    (system,) = scored["systems"].values()
    assert system["scores"]["test_length_ratio"] == pytest.approx(ratio)
    low, high = system["intervals"]["test_length_ratio"]
    assert low <= ratio <= high


def test_what_is_added_fits_into_its_file(extended):
    for file in {file for file, *_ in SNIPPETS}:
        assert len((extended.parents[1] / file).read_text(encoding="utf-8").splitlines()) <= 300, file


def test_the_maps_have_the_grid_of_the_backbone(extended):
    page = (extended / "index.html").read_text(encoding="utf-8")
    content = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)[1]
    maps = json.loads(content)["studies"][0]["maps"]
    assert len(base64.b64decode(maps["levels"])) == len(maps["ranges"]) * (64 // 16) ** 2
