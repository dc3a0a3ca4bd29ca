"""modules/evaluation/reports/example_picture.py: which study is drawn, and what is drawn of it."""

import numpy as np
import pytest

from modules.evaluation.grounding.sign_scores import SIGNS
from modules.evaluation.reports.example_picture import (
    choose_studies,
    crop_of,
    draw_example,
    same_particulars,
    sign_panels,
    taken_sentences,
)
from modules.labelling.labelers import RuleLabeler
from modules.messages import UserError

G = len(SIGNS)


def row(**changes):
    found = {
        "prediction": "the heart is enlarged . no effusion .",
        "reference": "the heart is enlarged . lungs are clear .",
        "retrieved_report": "the heart is enlarged . there is edema .",
    }
    return {**found, **changes}


def split(studies=3):
    """Every study shows the first two signs, in patch 0, and the maps point there."""
    coverage = np.zeros((studies, G, 9))
    coverage[:, :2, 0] = 0.5
    shown = np.zeros((studies, G), bool)
    shown[:, :2] = True
    return coverage.copy(), coverage, shown


def test_the_first_studies_that_show_everything_are_chosen_each_with_another_sign():
    maps, coverage, shown = split(6)
    maps[0, 1] = np.eye(9)[8]  # one map beside its sign
    shown[1] = False  # no sign
    shown[5, 0] = False  # its first sign is another
    rows = [row() for _ in range(6)]
    rows[2] = row(
        prediction="the heart is enlarged . the right hemidiaphragm is elevated ."
    )  # none of the fourteen scored
    assert choose_studies(rows, maps, coverage, shown, RuleLabeler()) == ([3, 5], 3, 0, 5)
    rows[3] = row(retrieved_report="there is edema .")
    assert choose_studies(rows, maps, coverage, shown, RuleLabeler()) == ([4, 5], 2, 0, 5)
    rows[4] = rows[5] = row(retrieved_report=None)
    with pytest.raises(UserError, match="none of the 5 studies with a sign"):
        choose_studies(rows, maps, coverage, shown, RuleLabeler())


def test_a_report_that_names_another_side_or_grade_is_not_chosen():
    maps, coverage, shown = split(5)
    right = {"reference": "small left effusion .", "retrieved_report": "the lungs are clear ."}
    said = (
        "small left effusion",
        "small right effusion",
        "large left effusion",
        "left effusion",
        "small bilateral effusions",
    )
    rows = [row(**right, prediction=f"{text} . the lungs are clear .") for text in said]
    assert [same_particulars(one, RuleLabeler()) for one in rows] == [True, False, False, True, False]
    assert choose_studies(rows, maps, coverage, shown, RuleLabeler()) == ([0], 2, 3, 5)


def test_sentences_are_taken_word_for_word():
    assert taken_sentences(row()) == {"the heart is enlarged"}
    assert taken_sentences(row(retrieved_report=None)) == set()


def test_the_crop_keeps_the_centre_of_the_mask():
    mask = np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    seen = crop_of(mask, 224)
    assert seen.shape == (224, 224)
    assert seen[112, 112] == 1
    assert seen.mean() == pytest.approx(1 / 16 * (256 / 224) ** 2, abs=0.005)


def test_the_picture_has_a_panel_for_each_sign_and_colours_what_was_taken():
    maps, _, shown = split(1)
    masks = {sign: np.pad(np.ones((8, 8), bool), 12) for sign in SIGNS[:2]}
    panels = sign_panels(maps[0], masks, shown[0], 64)
    assert [name for name, _, _ in panels] == [f"map of {sign}" for sign in SIGNS[:2]]
    figure = draw_example([(np.zeros((64, 64), np.uint8), panels, row())] * 2, "chosen by a rule")
    assert len(figure.axes) == 2 * 3
    coloured = [text.get_text() for text in figure.texts if text.get_color() not in ("black", "0.35")]
    assert coloured == ["the heart is enlarged."] * 4  # retrieved and generated, twice
    assert figure.texts[-1].get_text() == "chosen by a rule"


def test_a_map_is_drawn_by_its_patches_and_the_highest_is_framed():
    """Between patches a map says nothing: smoothed, that of a patch at the border was brightest beyond its sign."""
    grid = np.zeros((3, 3))
    grid[2, 1] = 1
    panels = [("map of atelectasis", grid, np.pad(np.ones((8, 8)), 41))]
    _, axis = draw_example([(np.zeros((90, 90), np.uint8), panels, row())], "").axes
    assert axis.images[1].get_interpolation() == "nearest"
    (frame,) = axis.patches
    assert frame.get_bbox().bounds == (30, 60, 30, 30)
    assert not frame.get_fill()


def test_a_long_note_stays_within_the_picture():
    figure = draw_example([(np.zeros((64, 64), np.uint8), [], row())], "chosen by a rule " * 20)
    figure.canvas.draw()
    place = figure.texts[-1].get_window_extent()
    assert place.x1 <= figure.bbox.x1
    assert place.y0 >= 0
    assert place.y1 < min(axis.get_window_extent().y0 for axis in figure.axes)
