"""modules/training/history.py: the table of a run is written whole from its rows."""

import csv
import threading

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modules.options.flags import TrainingOptions
from modules.training.history import History, kept_line, seconds_left, table_row
from modules.training.objective import loss_names
from modules.training.run_state import RunState


def test_the_table_has_every_epoch_once_whatever_was_there(tmp_path):
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "val_ce_f1": 0.5}, {"epoch": 3, "loss": float("nan")}]
    for count in (3, 1, 3):  # the last but one as after a resume from an older state
        History(tmp_path, rows[:count]).close()
        with (tmp_path / "metrics.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        assert [row["epoch"] for row in table] == ["1", "2", "3"][:count]
        (events,) = (tmp_path / "tensorboard").iterdir()
        accumulator = EventAccumulator(str(events))
        accumulator.Reload()
        assert [event.step for event in accumulator.Scalars("loss")] == [1, 3][: 1 + (count == 3)]
    assert list(table[0]) == ["epoch", "loss", "val_ce_f1"]
    assert float(table[0]["loss"]) == 0.1 + 0.2
    assert (table[1]["loss"], table[2]["loss"]) == ("", "")


def read_steps(folder):
    with (folder / "steps.csv").open(newline="") as file:
        return [(int(row["epoch"]), int(row["total_step"]), float(row["loss"])) for row in csv.DictReader(file)]


def shown_steps(folder):
    (events,) = (folder / "tensorboard").iterdir()  # one file, whatever happened
    accumulator = EventAccumulator(str(events))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars("step/loss")]


def test_steps_are_kept_as_means_and_those_after_a_kill_go(tmp_path):
    """Sums (steps, then every loss) grow inside an epoch; a row holds the mean since the row before."""
    width = len(loss_names())
    history = History(tmp_path, [])
    for step, total in ((2, 4.0), (4, 10.0)):
        history.keep_step(1, step, step, [step, *[total] * width], 1e-3)
    history.keep_epochs([{"epoch": 1, "loss": 2.0}])
    history.keep_step(2, 2, 7, [2, *[9.0] * width], 1e-3)
    history.close()
    assert read_steps(tmp_path) == [(1, 2, 2.0), (1, 4, 3.0), (2, 7, 4.5)]
    assert shown_steps(tmp_path) == [(2, 2.0), (4, 3.0), (7, 4.5)]  # the first stood there twice
    with (tmp_path / "steps.csv").open("a") as file:
        file.write("2,4,9,1")  # cut off by a kill
    history = History(tmp_path, [{"epoch": 1, "loss": 2.0}], before=(2, 1), sums=[1, *[4.0] * width])
    history.keep_step(2, 2, 7, [2, *[9.0] * width], 1e-3)
    history.close()
    assert read_steps(tmp_path) == [(1, 2, 2.0), (1, 4, 3.0), (2, 7, 5.0)]
    assert shown_steps(tmp_path) == [(2, 2.0), (4, 3.0), (7, 5.0)]


def test_a_disk_that_refuses_tensorboard_is_told_once(tmp_path, capfd):
    """Its thread printed a traceback in front of the sentence."""
    before, width = threading.excepthook, len(loss_names())
    history = History(tmp_path, [])
    history.keep_step(1, 1, 1, [1, *[2.0] * width], 1e-3)
    (tmp_path / "tensorboard").rename(tmp_path / "elsewhere")  # at once: its thread may be writing there
    with pytest.raises(OSError, match="No such file"):
        history.keep_epochs([{"epoch": 1, "loss": 2.0}])
    with pytest.raises(OSError, match="No such file"):
        history.close()
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook == before


def test_an_epoch_is_one_row_of_the_terminal():
    row = {"epoch": 1, "loss": 2.5, "loss_report": 1.25, "val_ce_f1": 0.123456, "lr": 5e-5, "seconds": 61.2}
    row["val_text_cosine"] = 0.3123
    heading, line = table_row(row, "val_ce_f1", True, 7200, heading=True).split("\n")
    assert heading.split()[:4] == ["epoch", "loss", "report", "diagnosis"]
    assert " ".join(line.split()) == "1 2.500 1.250 - - 0.123 - 0.312 - 5.0e-05 61 2.0 h * best"
    second = table_row({**row, "epoch": 2, "val_METEOR": 0.5}, "val_METEOR", False, 30)
    assert "\n" not in second
    assert second.split()[-3:] == ["0.500", "30", "s"]
    assert table_row({**row, "epoch": 2}, "val_ce_f1", False, None).split()[-1] == "-"


def test_the_first_row_that_a_program_shows_stands_under_a_heading(tmp_path, capsys):
    rows = [{"epoch": epoch, "loss": 2.0, "lr": 1e-3, "seconds": 3} for epoch in (1, 2, 3)]
    history = History(tmp_path, rows[:1], before=(2, 0))  # resumed
    for finished in (rows[:2], rows):
        history.end_epoch(finished, TrainingOptions(epochs=4), False)
    history.close()
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["epoch", "loss"]
    assert [line.split()[0] for line in lines] == ["2", "3"]


def test_time_left_counts_epochs_that_draw_reports_by_themselves():
    options = TrainingOptions(epochs=5, scst=2, scst_epochs=2)
    rows = [{"epoch": epoch, "seconds": seconds} for epoch, seconds in enumerate((10, 20, 30, 200), 1)]
    assert seconds_left(rows, options) == 200
    assert seconds_left(rows[:2], options) is None
    assert seconds_left(rows[:2], TrainingOptions(epochs=5)) == 45
    assert seconds_left(rows, TrainingOptions(epochs=4)) == 0


def test_a_run_says_which_weights_it_keeps_and_why():
    rows = [{"epoch": epoch, "val_ce_f1": score} for epoch, score in ((1, 0.3), (2, 0.505), (3, None), (4, 0.4))]
    assert (
        kept_line(RunState(history=rows, best=2), "val_ce_f1")
        == "kept: epoch 2 of 4, val_ce_f1 0.505, of 3 validations"
    )
    assert kept_line(RunState(history=rows[1:2], best=2), "val_ce_f1").endswith("val_ce_f1 0.505")
    assert kept_line(RunState(history=rows, best=3), "val_METEOR") == "kept: epoch 3 of 4"
    assert kept_line(RunState(history=rows), "val_ce_f1") == ""  # of an earlier version
