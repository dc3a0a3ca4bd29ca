"""modules/labelling/agreement.py: the table that tools/measure_labeler.py prints."""

import json

import numpy as np
import pytest
from programs import call, refused

from modules.labelling.agreement import INDEX_HABITS, agreement_table, measure_rules
from modules.labels import BLANK, CHEXPERT_CONDITIONS, NEGATIVE, POSITIVE, UNCERTAIN
from modules.messages import UserError
from tools import measure_labeler

EDEMA = CHEXPERT_CONDITIONS.index("edema")


def test_counts_of_a_condition():
    states, index = np.zeros((60, 14), np.int8), np.zeros((60, 14), bool)
    index[:40, EDEMA] = True
    states[:30, EDEMA] = POSITIVE
    states[30:40, EDEMA] = [BLANK] * 5 + [NEGATIVE] * 2 + [UNCERTAIN] * 3
    states[40:50, EDEMA] = POSITIVE
    *lines, last = agreement_table(states, index, "title")
    (line,) = (line for line in lines if line.startswith("edema"))
    assert line.split()[:5] == ["edema", "0.750", "0.750", "0.750", "40"]
    assert "10 (5/2/3)" in line
    assert last == "mean F1 over 1 conditions with at least 30 positives: 0.7500"
    assert "none" in agreement_table(states[:9], index[:9], "few")[-1]


def test_habits_name_conditions():
    assert set(INDEX_HABITS) < set(CHEXPERT_CONDITIONS)


def test_the_command_measures_a_file(tmp_path, capsys):
    labels = [0] * 14
    labels[EDEMA] = POSITIVE
    rows = [{"findings": "Mild edema.", "impression": None, "labels_mesh": labels}] * 30
    rows += [{"findings": "", "impression": "", "labels_mesh": labels}, {"findings": "Edema.", "labels_mesh": None}]
    path = tmp_path / "reports.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call(measure_labeler, "--reports", path)
    printed = capsys.readouterr().out
    assert ", 30 reports of reports.jsonl" in printed
    assert "30 positives: 1.0000" in printed
    path.write_text("{}\n")
    refused(capsys, "give a file of JSON lines", measure_labeler, "--reports", path)


def test_real_reports_reach_the_target(real_cxr):
    """The one figure of the README that needs no model: macro-F1 against labels assigned by hand."""
    last = measure_rules(real_cxr / "reports.jsonl")[-1]
    assert last.startswith("mean F1 over 13 conditions")
    assert float(last.rsplit(" ", 1)[1]) >= 0.88


@pytest.mark.parametrize("content", ["", '{"findings": "Clear."}\n', '{"findings": "Clear.", "labels_mesh": [1, 0]}\n'])
def test_files_without_labels(tmp_path, content):
    path = tmp_path / "reports.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match="has no report with 14 values under labels_mesh"):
        measure_rules(path)
