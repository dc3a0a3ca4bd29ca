"""modules/preparation/raw/report_sections.py: findings and impression out of reports of many shapes."""

import pytest
from report_shapes import SHAPES, F, G, I

from modules.preparation.raw.report_sections import Sections, extract, find_sections


def test_there_are_enough_shapes():
    assert len(SHAPES) >= 60


@pytest.mark.parametrize("name", SHAPES)
def test_sections_of_a_shape(name):
    report, findings, impression, unnamed = SHAPES[name]
    assert find_sections(report) == Sections(findings, impression, unnamed)


def test_the_wanted_section_is_taken():
    plain = SHAPES["plain"][0]
    assert extract(plain, "findings") == (F, "header")
    assert extract(plain, "impression") == (I, "header")
    assert extract(plain, "both") == (f"{F} {I}", "header")
    assert extract(SHAPES["and"][0], "both") == (F, "header")
    assert extract(SHAPES["impression only"][0], "both") == (I, "header")
    assert extract(SHAPES["impression only"][0], "findings")[0] == ""


def test_text_under_no_header_is_taken_unless_refused():
    report = SHAPES["paragraph without header"][0]
    assert extract(report, "findings") == (F, "no header")
    assert extract(report, "both") == (f"{F} {I}", "no header")
    assert extract(report, "impression") == (I, "header")
    assert extract(report, "findings", unnamed=False) == ("", "header")
    assert extract(f"FINDINGS: {F}\n\n COMPARISON: ___.\n\n {G}", "findings") == (F, "header")
