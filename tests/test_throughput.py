"""modules/throughput.py: speeds and what they mean for MIMIC-CXR."""

import pytest

from modules.messages import UserError
from modules.throughput import Cost, agree_to_long, cost_table, duration, estimates_for_mimic, measured, speed_line


@pytest.mark.parametrize(
    ("studies", "seconds", "power", "words"),
    [
        (27079, 60, 1, "27079 items in 60.0 s, 451.3 items/s; 270,790 would take 10 min at this speed"),
        (27079, 60, 2, "270,790 would take 100 min with the square of the items"),
        (27079, 6, 1, "270,790 would take 60.0 s at this speed"),
        (270790, 72000, 1, "in 20.0 h, 3.8 items/s"),
        (0, 0, 1, "0 items in 0.0 s, 0.0 items/s"),
    ],
)
def test_lines(studies, seconds, power, words):
    assert words in speed_line("stage", studies, seconds, power)


@pytest.mark.parametrize(("studies", "power"), [(3, 1), (1999, 2), (27079, None), (270790, 1)])
def test_nothing_is_extrapolated_from_few_studies_or_beside_a_schedule(studies, power):
    assert "would take" not in speed_line("stage", studies, 60, power)


def test_costs_add_up_and_more_than_a_day_is_asked_about(monkeypatch, capsys):
    costs = [Cost("scorer", 23 * 3600, ".3 s a study", 2e9), Cost("scores", 7200, ".02 s an image", 3e6)]
    assert cost_table(costs)[2:] == [
        "| scorer | 23.0 h | 2.0 GB | .3 s a study |",
        "| scores | 2.0 h | 3.0 MB | .02 s an image |",
        "| together | 25.0 h | 2.0 GB |  |",
    ]
    agree_to_long(costs[:1])
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UserError, match=r"about 25\.0 h on this machine: begin with --yes"):
        agree_to_long(costs)
    assert "| together | 25.0 h |" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, begins in (("y", True), ("", False), ("no", False)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        if begins:
            agree_to_long(costs)
        else:
            with pytest.raises(UserError, match="was not begun"):
                agree_to_long(costs)
    assert duration(1200 * 3600) == "50 days"


def test_other_things_than_studies_are_counted():
    line = speed_line("copying images", 27079, 60, unit="images")
    assert line == "copying images: 27079 images in 60.0 s, 451.3 images/s; 270,790 would take 10 min at this speed"


def test_begin_and_end_are_printed(capsys):
    with measured("labels", 5):
        pass
    first, second = capsys.readouterr().out.splitlines()
    assert first == "labels: 5 items ..."
    assert second.startswith("labels: 5 items in 0.0 s")


def test_an_estimate_is_made_for_mimic_only(capsys):
    with estimates_for_mimic(False), measured("labels", 5000):
        pass
    assert "270,790" not in capsys.readouterr().out
    assert "270,790" in speed_line("labels", 5000, 1.0)
