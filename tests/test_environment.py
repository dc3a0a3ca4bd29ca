"""The functions of environment.sh, which the scripts source."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shell(folder, commands, active="VIRTUAL_ENV", files="", status=0):
    """What a script that has sourced environment.sh prints, in a folder of its own; ``active`` names this environment to it.

    That folder has no .venv: a tree whose own .venv runs the tests would fill it with what ``files`` name.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    text = f"set -euo pipefail\ncd {folder}\nsource {ROOT}/environment.sh {ROOT}/requirements.txt {files}\n{commands}"
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, env={**environment, active: sys.prefix}, timeout=60
    )
    assert done.returncode == status, done.stderr
    return (done.stderr if status else done.stdout).split("\n")[:-1]


@pytest.mark.parametrize("active", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_the_active_environment_is_taken_where_it_has_everything(tmp_path, active):
    """Under conda the scripts filled a .venv of 6 GB beside the environment that README had asked for."""
    assert shell(tmp_path, 'echo "$PYTHON"', active) == [f"{sys.prefix}/bin/python"]


def test_a_package_that_it_lacks_is_named_with_its_file(tmp_path):
    """Nothing is installed: not into it, and no second environment beside it."""
    more = tmp_path / "more.txt"
    more.write_text("revtaf-no-such-package>=1\n")
    for active in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        (message,) = shell(tmp_path, "", active, more, status=2)
        assert f"the environment {sys.prefix} lacks a package: pip install -r {more}" in message


def test_the_entity_scorer_starts_from_the_weights_that_are_there(tmp_path):
    ask = 'scorer_weights {}; echo "${{WEIGHTS[*]:-}}"'
    weights = tmp_path / "checkpoints" / "resnet101.pth"
    (tmp_path / "checkpoints" / "rad-dino").mkdir(parents=True)
    own = [
        "--resnet_weights none",
        "--visual_extractor=resnet50",
        "--entity_scorer medklip",
        "--bank_dir data/mimic_cxr/features",
    ]
    answers = shell(
        tmp_path, "\n".join([ask.format(""), f"touch {weights}", *(ask.format(words) for words in ["--seed 3", *own])])
    )
    assert answers == [
        "--visual_extractor hf:checkpoints/rad-dino",
        "--resnet_weights checkpoints/resnet101.pth",
        *[""] * len(own),
    ]
    weights.unlink()
    (tmp_path / "checkpoints" / "rad-dino").rmdir()
    assert shell(tmp_path, ask.format("")) == [""]


@pytest.mark.parametrize(
    ("words", "taken", "rest"),
    [("a --zero_shot 'b c'", "--zero_shot", "[a][b c]"), ("a b", "", "[a][b]"), ("", "", "[]")],
)
def test_a_word_of_the_script_itself_is_taken_out(tmp_path, words, taken, rest):
    said = shell(tmp_path, f'take --zero_shot {words}\necho "$TAKEN"\nprintf "[%s]" "${{REST[@]}}"\necho')
    assert said == [taken, rest]
