"""modules/throughput.py: speeds and what they mean for MIMIC-CXR."""

import pytest

from modules.throughput import estimates_for_mimic, measured, speed_line


@pytest.mark.parametrize(
    ("studies", "seconds", "quadratic", "words"),
    [
        (27079, 60, False, "27079 studies in 60.0 s, 451.3 studies/s; 270,790 would take 10 min at this speed"),
        (27079, 60, True, "270,790 would take 100 min with the square of the studies"),
        (27079, 6, False, "270,790 would take 60.0 s at this speed"),
        (270790, 72000, False, "in 20.0 h, 3.8 studies/s"),
        (0, 0, False, "0 studies in 0.0 s, 0.0 studies/s"),
    ],
)
def test_lines(studies, seconds, quadratic, words):
    assert words in speed_line("stage", studies, seconds, quadratic)


def test_other_things_than_studies_are_counted():
    line = speed_line("copying images", 27079, 60, unit="images")
    assert line == "copying images: 27079 images in 60.0 s, 451.3 images/s; 270,790 would take 10 min at this speed"


def test_begin_and_end_are_printed(capsys):
    with measured("labels", 5):
        pass
    first, second = capsys.readouterr().out.splitlines()
    assert first == "labels: 5 studies ..."
    assert second.startswith("labels: 5 studies in 0.0 s")


def test_an_estimate_is_made_for_mimic_only(capsys):
    with estimates_for_mimic(False), measured("labels", 5):
        pass
    assert "270,790" not in capsys.readouterr().out
    assert "270,790" in speed_line("labels", 5, 1.0)
