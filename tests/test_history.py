"""modules/training/history.py: the table of a run is written whole from its rows."""

import csv

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modules.training.history import write_history


def test_the_table_has_every_epoch_once_whatever_was_there(tmp_path):
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "val_ce_f1": 0.5}, {"epoch": 3, "loss": float("nan")}]
    for count in (3, 1, 3):  # the last but one as after a resume from an older state
        write_history(tmp_path, rows[:count])
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
