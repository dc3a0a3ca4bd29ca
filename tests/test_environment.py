"""The functions of environment.sh, which the scripts source."""

import os
import pty
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shell(folder, commands, active="VIRTUAL_ENV", files="", status=0):
    """What a script that has sourced environment.sh prints, in a folder of its own; ``active`` names this environment to it.

    That folder has no .venv: a tree whose own .venv runs the tests would fill it with what ``files`` name.
    """
    command, environment = script(folder, commands, active, files)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == status, done.stderr
    return (done.stderr if status else done.stdout).split("\n")[:-1]


def script(folder, commands, active="VIRTUAL_ENV", files=""):
    """The command and the variables of that script."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    text = f"set -euo pipefail\ncd {folder}\nsource {ROOT}/environment.sh {ROOT}/requirements.txt {files}\n{commands}"
    return ["bash", "-c", text], {**environment, active: sys.prefix}


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


@pytest.mark.parametrize(
    ("words", "said"),
    [("--seed 1", "1"), ("", "1"), ("--bert_path hub:x", "unset"), ("--bert_path=hub:x", "unset"), ("my/hub:x", "1")],
)
def test_nothing_is_fetched_unless_a_word_names_it(tmp_path, words, said):
    """With ``hub:`` the scripts forbade what README tells to give, and the message blamed the connection."""
    assert shell(tmp_path, f'unset HF_HUB_OFFLINE\noffline {words}\necho "${{HF_HUB_OFFLINE:-unset}}"') == [said]
    assert shell(tmp_path, f'export HF_HUB_OFFLINE=1\noffline {words}\necho "$HF_HUB_OFFLINE"') == ["1"]


SAVES = """
import signal, sys, time
def save(number, frame):
    time.sleep(0.2)
    print("saved", flush=True)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, save)
print("running", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
@pytest.mark.parametrize("way", ['await "$PYTHON"', "launch"])
def test_a_signal_to_the_script_alone_ends_its_step_and_no_other_begins(tmp_path, way, name):
    """The script ended alone, and the preparation or the training that it had begun went on without it."""
    (tmp_path / "saves.py").write_text(SAVES)
    command, environment = script(tmp_path, f"{way} saves.py\n{way} saves.py")
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    heard = partial(
        signal.signal, signal.SIGHUP, signal.SIG_DFL
    )  # what a shell is started without, as by nohup, it cannot trap
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=heard) as running:
        assert running.stdout.readline() == "running\n"
        running.send_signal(getattr(signal, name))
        said, _ = running.communicate(timeout=120)  # the output is open as long as the step lives
    assert said == "saved\n"
    assert running.returncode == 128 + getattr(signal, name)


def test_ctrl_c_ends_the_step_of_a_script(tmp_path):
    """A terminal sends it to the script and to its step."""
    (tmp_path / "saves.py").write_text(SAVES)
    command, environment = script(tmp_path, 'await "$PYTHON" saves.py\necho next')
    child, terminal = pty.fork()
    if not child:
        os.execvpe(command[0], command, environment)
    said = b""
    while b"running" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(child, 0)
    assert b"next" not in os.read(terminal, 1000)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT


def test_a_step_that_fails_ends_the_script_and_one_that_asks_is_answered(tmp_path):
    asks = """await "$PYTHON" -c 'print(input())' <<<yes\necho next\nawait "$PYTHON" -c 'raise SystemExit("no")'\necho never"""
    assert shell(tmp_path, asks, status=1) == ["no"]
    assert shell(tmp_path, asks.partition("\necho next")[0]) == ["yes"]


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.sh"), *ROOT.glob("examples/*.sh")]), ids=lambda path: path.name)
def test_every_program_of_a_script_hears_its_signals(path):
    """Those of ``-m`` are over in seconds."""
    alone = re.findall(r'^"\$PYTHON" (?!-m )\S+', path.read_text(), re.MULTILINE)
    assert not alone


@pytest.mark.parametrize(
    "name",
    [
        "run_tests.sh",
        "train_custom.sh",
        "prepare_mimic_cxr.sh",
        "prepare_iu_xray.sh",
        "examples/train_demo.sh",
        "benchmarks/gpu_all.sh",
    ],
)
def test_a_script_explains_itself_and_begins_nothing(tmp_path, name):
    """``--help`` was taken for a folder, or tests began."""
    done = subprocess.run(["bash", ROOT / name, "--help"], capture_output=True, text=True, cwd=tmp_path, timeout=10)
    assert done.returncode == 0
    assert done.stdout.startswith(f"bash {name}")
    assert (
        done.stdout.strip()
        == "\n".join(line[2:] for line in (ROOT / name).read_text().partition("set -")[0].splitlines()[1:]).strip()
    )
    assert not done.stderr
