"""modules/evaluation/reports/attention_figures.py: what is drawn, and that no report can break it."""

import numpy as np
import pytest
from PIL import Image

from modules.evaluation.reports.attention_figures import _save, draw

IMAGE = np.zeros((32, 32, 3), dtype=np.uint8)


def maps(count, top=1.0):
    return [(f"title {n}", np.linspace(0, top, 16).reshape(4, 4)) for n in range(count)]


def row(prediction="the lungs are clear ."):
    return {"id": "study", "prediction": prediction, "reference": "no effusion ."}


@pytest.mark.parametrize(("sentences", "panels"), [(3, 1 + 4 + 3), (0, 1 + 4)])
def test_every_map_has_a_panel_and_all_share_a_scale(sentences, panels):
    figure = draw(IMAGE, maps(4), maps(sentences, 3.0), row())
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == panels
    assert {axis.images[1].get_clim() for axis in drawn[1:]} == {(0.0, 3.0 if sentences else 1.0)}
    between = {axis.images[1].get_interpolation() for axis in drawn[1:]}
    assert between == {"nearest"}  # between patches a map says nothing
    assert "Generated: the lungs are clear ." in figure.texts[0].get_text()
    assert "Reference: no effusion ." in figure.texts[0].get_text()
    assert "Reference" not in draw(IMAGE, maps(4), [], {**row(), "reference": ""}).texts[0].get_text()


@pytest.mark.slow
def test_both_formats_are_written_whatever_the_report_holds(tmp_path):
    for report in ("$x_{ $ \\frac", "x" * 5_000):
        png, pdf = _save(IMAGE, [maps(2), maps(1)], row(report), tmp_path / "a.b")
        assert pdf.read_bytes().startswith(b"%PDF")
        with Image.open(png) as image:
            assert image.width > 800
            assert image.height < 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.b.pdf", "a.b.png"]
