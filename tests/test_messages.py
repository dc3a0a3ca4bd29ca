"""modules/messages.py: what a user can mend is one sentence and status 2, a bug keeps its traceback and status 1."""

import errno
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from modules import messages
from modules.messages import Needed, UserError, quoted, quoted_name, require, require_file, run, shown_headings

ROOT = Path(__file__).parents[1]


def refused(capsys, program):
    with pytest.raises(SystemExit, match="2"):
        run(program)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def raising(error):
    def program():
        raise error

    return program


def test_what_a_user_can_mend_is_one_sentence(capsys, tmp_path):
    assert "error: give another file" in refused(capsys, raising(UserError("give another file")))
    message = refused(capsys, (tmp_path / "none.txt").read_text)
    assert f"{tmp_path}/none.txt: no such file or directory: check the path and its permissions" in message
    assert f"{tmp_path} is a folder: give a file in it" in refused(capsys, lambda: require_file(tmp_path))
    assert "none.csv does not exist: check the path" in refused(capsys, lambda: require_file(tmp_path / "none.csv"))
    message = refused(capsys, lambda: (tmp_path / ("x" * 300)).mkdir())
    assert "file name too long" in message
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    hint = "make room, then run the same command again"
    assert f"the disk: no space left on device: {hint}" in refused(capsys, raising(full))
    of_a_library = OSError(errno.ENOENT, os.strerror(errno.ENOENT), b"run/events")
    assert "error: run/events: no such file" in refused(capsys, raising(of_a_library))


@pytest.mark.parametrize(
    "error", [ValueError("shape"), KeyError("x"), OSError("a decoder's own words"), TypeError("y")]
)
def test_everything_else_is_a_bug_and_stays_one(error):
    with pytest.raises(type(error)) as seen:
        run(raising(error))
    assert seen.value is error


def test_a_wrong_shape_in_a_loss_shows_file_and_line(tmp_path):
    program = tmp_path / "wrong_loss.py"
    program.write_text(
        "import torch\nfrom modules.messages import run\n\n\ndef new_loss():\n"
        "    return torch.nn.functional.cross_entropy(torch.zeros(16, 4), torch.zeros(17).long())\n\n\nrun(new_loss)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert f'File "{program}", line 6, in new_loss' in done.stderr
    assert "Expected input batch_size (16) to match target batch_size (17)" in done.stderr


def test_whoever_reads_only_the_beginning_sees_no_traceback():
    program = "from modules.messages import run; run(lambda: [print('x' * 1000, flush=True) for _ in range(1000)])"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
    with pytest.raises(BrokenPipeError):  # another pipe, to a process of ours, say
        run(raising(BrokenPipeError()))


def test_a_message_quotes_no_cell_of_two_words():
    """Two words may be a whole report that stands in the wrong column."""
    held = [["Normal chest"], {"Normal chest": 1}, [[1, "Normal chest"]], "Normal chest", "No effusion."]
    assert not any("ormal" in quoted(cell) or "effusion" in quoted(cell) for cell in held)
    assert list(map(quoted, ["fold3", 4, 0.5, None, [1, "a"], {}])) == ["'fold3'", "4", "0.5", "None", "[1, 'a']", "{}"]


def test_a_first_row_is_quoted_only_where_it_is_headings():
    """Names of a few words are quoted where names stand; a sentence is none."""
    assert shown_headings(["Image Index", "report"], known=True) == "'Image Index', 'report'"
    assert shown_headings(["Bild", "Befund"], known=False) == "'Bild', 'Befund'"
    assert shown_headings(["1", "a.png", "Normal chest"], known=False) == "3 cells, none of which is a known heading"
    assert quoted_name("Normal chest.") == "a text of 13 letters"


def test_an_interruption_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit, match="130"):
        run(raising(KeyboardInterrupt()), "add --resume")
    assert "interrupted: add --resume" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_another_signal_says_so_too_and_cleans_up(name, capsys):
    """A preparation, a test or a tool ended without a word, and its temporary files stayed."""
    number, left = getattr(signal, name), []
    before = signal.signal(number, signal.SIG_DFL)

    def work():
        try:
            signal.raise_signal(number)
        finally:
            left.append("cleaned up")

    try:
        with pytest.raises(SystemExit) as end:
            run(work, "repeat it")
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert (end.value.code, left) == (128 + number, ["cleaned up"])
    assert "interrupted: repeat it" in capsys.readouterr().err


def test_a_stop_while_torch_is_imported_ends_at_once():
    """Raised in there, it may become an abort."""
    program = "import signal, sys, torch; from modules.messages import run; torch.__spec__._initializing = True\n"
    program += "run(lambda: signal.raise_signal(signal.SIGTERM))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (143, 2), ended.stderr
    assert "interrupted before it began: run the same command again" in ended.stderr


def test_everything_that_is_missing_is_listed_at_once(tmp_path):
    needed = [Needed(tmp_path / name, f"the {name}", "make it") for name in ("one", "two")]
    with pytest.raises(UserError, match=r"(?s)2 files or folders are missing:.*one.*two"):
        require(needed)
    require([Needed(tmp_path, "a folder", "it is there")])


def test_a_log_gets_no_marks_of_bars_below_each_other():
    """Each block of films left the codes of a terminal behind, two for every 64 reports."""
    stream = io.StringIO()
    lines = messages.LogLines(stream, 0)
    with tqdm(total=3, file=lines, mininterval=0) as outer:
        for _ in range(3):
            for _ in tqdm(range(2), file=lines, mininterval=0, leave=False):
                pass
            outer.update()
    assert "3/3" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "\n\n" not in stream.getvalue()


def test_a_log_gets_a_line_a_minute_of_a_bar_and_all_else_as_it_is(monkeypatch):
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    lines = messages.LogLines(stream)
    lines.write("begins\n")
    for step in range(200):
        now[0] = float(step)
        lines.write(f"\rbar: {step:3d}   ")
        lines.flush()
    lines.write("\n")
    lines.write("ends\n")
    assert stream.getvalue() == "begins\nbar:  60\nbar: 120\nbar: 180\nends\n"
    assert not lines.isatty()


def test_the_error_stream_is_given_back(monkeypatch):
    seen = []
    before = sys.stderr
    run(lambda: seen.append(sys.stderr))
    assert isinstance(seen[0], messages.LogLines)
    assert sys.stderr is before


@pytest.mark.parametrize("program", ["main_train.py", "tools/check.py"])
def test_ctrl_c_while_torch_is_imported_is_one_sentence(program):
    """Before torch, and early, midway and late in its import; tools import it inside their work."""
    command = [sys.executable, "-X", "importtime", program, "--dataset_name", "synth_cxr"]
    barely = {"pipesize": 4096, "bufsize": 0}  # so that the program waits for who reads it, and has not ended before
    barely["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background inherits none
    for moment in ("modules.labels", "torch._C", "torch.nn.modules.module", "torch.optim"):
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT, **barely
        ) as process:
            lines = iter(process.stderr.readline, b"")
            assert any(line.decode().split("|")[-1].strip() == moment for line in lines), f"{moment} is never imported"
            process.send_signal(signal.SIGINT)
            said = [line.decode() for line in lines if line.strip() and not line.startswith(b"import time:")]
        assert process.returncode == 130, said
        assert len(said) == 1
        assert f"{Path(program).name}: interrupted" in said[0]
        assert "run the same command again" in said[0]


def test_every_program_answers_an_early_ctrl_c():
    started = {name for path in ROOT.glob("*.sh") for name in re.findall(r"-m modules\.([\w.]+)", path.read_text())}
    assert started == {"options.parsing", "training.beforehand", "processes.launch"}
    helpers = [ROOT / "modules" / f"{name.replace('.', '/')}.py" for name in started - {"processes.launch"}]
    for path in [*ROOT.glob("main_*.py"), *(ROOT / "tools").glob("[a-z]*.py"), *helpers]:
        before = path.read_text().split('if __name__ == "__main__":\n    answer_early_stops()\n')[0]
        assert re.findall(r"^(?:from|import) (m\w+(?:\.\w+)*)", before, re.MULTILINE) == [
            "modules.processes.early_stop"
        ], path
