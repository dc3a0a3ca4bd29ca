"""The functions of environment.sh, which the scripts source."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shell(folder, commands):
    """What a script that has sourced environment.sh prints, in a folder of its own."""
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    text = f"set -euo pipefail\ncd {ROOT}\nsource ./environment.sh requirements.txt\ncd {folder}\n{commands}"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


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
