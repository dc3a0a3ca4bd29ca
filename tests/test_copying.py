"""modules/evaluation/metrics/copying.py: counted by hand, with the rules that label reports."""

import numpy as np
import pytest

from modules.evaluation.metrics.copying import copying, copying_line
from modules.labelling.labelers import RuleLabeler

OWN = [
    "there is a right pleural effusion .",
    "the heart is mildly enlarged . no pleural effusion .",
    "no pneumothorax .",
]
WRITTEN = [
    "no pleural effusion . no pneumothorax .",  # copied and wrong; its own and right
    "the heart is mildly enlarged. no pleural effusion.",  # both copied, both right
    "there is a left pneumothorax . a rib fracture may be present .",  # its own and wrong; possible: not called present
]
RETRIEVED = [
    "no pleural effusion . the heart is normal .",  # the second sentence is left, and right: the report says nothing of it
    "no pleural effusion . the heart is mildly enlarged . there is a pneumothorax .",  # left and wrong
    "",
]


def test_by_hand():
    labeler = RuleLabeler()
    found = copying(WRITTEN, RETRIEVED, labeler(OWN), labeler, labeler.conditions)
    assert {name: kind["sentences"] for name, kind in found.items()} == {"copied": 3, "own": 3, "left": 2}
    assert found["copied"]["wrong"] == pytest.approx(1 / 3)
    assert found["own"]["wrong"] == pytest.approx(1 / 3)
    assert found["left"]["wrong"] == 0.5
    line = copying_line(found)
    assert (
        line
        == "sentences of the first retrieved report: 3 copied (0.333 wrong), 3 its own (0.333 wrong), 2 left behind (0.500 wrong)"
    )


def test_an_uncertain_finding_of_the_report_may_be_called_present_and_not_denied_at_will():
    labeler = RuleLabeler()
    truth = labeler(["possible pneumonia ."])
    found = copying(
        ["there is pneumonia . no pneumonia ."], ["there is pneumonia ."], truth, labeler, labeler.conditions
    )
    assert found["copied"]["wrong"] == found["own"]["wrong"] == 0


def test_nothing_was_retrieved_and_nothing_written():
    labeler = RuleLabeler()
    found = copying([""], [""], np.zeros((1, len(labeler.conditions)), np.int8), labeler, labeler.conditions)
    assert all(kind == {"sentences": 0, "wrong": None} for kind in found.values())
    assert copying_line(found).endswith("0 copied, 0 its own, 0 left behind")
