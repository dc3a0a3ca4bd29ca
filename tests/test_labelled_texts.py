"""Lists, tables, boxes and signs: each finding has its own answer, in the labels and in the scores that are made of them."""

import json
import re
from pathlib import Path

import pytest
from programs import call

import main_score
from modules.corpus.text import clean_report, strip_markdown
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler
from modules.labelling.labelled_texts import labelled_texts
from modules.labels import CONDITIONS, NEGATIVE, POSITIVE, UNCERTAIN

PAIRED = {  # what the marks of tests/cases/labelling/pairs_of_findings.txt stand for in turn
    "pleural effusion": "pleural effusion", "pneumothorax": "pneumothorax", "pulmonary edema": "edema",
    "cardiomegaly": "cardiomegaly", "consolidation": "consolidation", "pneumonia": "pneumonia",
    "atelectasis": "atelectasis", "rib fracture": "fracture", "pulmonary nodule": "lung lesion",
    "pleural thickening": "pleural other",
}  # fmt: skip
SIGNS = {"+": POSITIVE, "-": NEGATIVE, "?": UNCERTAIN}
LABELER = RuleLabeler()


@pytest.mark.parametrize("scored", [False, True])
def test_of_two_findings_each_has_its_own_answer(scored):
    """Every form with ten pairs, as it was written and as the published protocol cleans it before it is labelled."""
    lines = (Path(__file__).parent / "cases" / "labelling" / "pairs_of_findings.txt").read_text(encoding="utf-8")
    names, wrong = list(PAIRED), []
    for line in lines.splitlines():
        form, _, signs = line.replace("\\n", "\n").rpartition(" => ")
        for i, one in enumerate(names):
            other = names[(i + 3) % len(names)]
            text = re.sub(r"((?:^|[.?]\s|\n)[^\w@&]*)@", lambda at, name=one: at[1] + name.capitalize(), form)
            text = re.sub(r"((?:[.?]\s|\n)[^\w@&]*)&", lambda at, name=other: at[1] + name.capitalize(), text)
            text = text.replace("@", one).replace("&", other)
            read = labelled_texts([clean_report(strip_markdown(text))], [text])[0] if scored else text
            (states,) = LABELER([read])
            for name, sign in zip((one, other), signs.split(), strict=True):
                if sign != "." and states[CONDITIONS.index(PAIRED[name])] != SIGNS[sign]:
                    wrong.append((text, name, read))
    assert not wrong


@pytest.mark.parametrize(
    "report",
    [
        "- [x] Pleural effusion\n- [ ] Pneumothorax\n- [ ] Edema",
        "Effusion (+), pneumothorax (-), edema (-)",
        "Pleural effusion - small\nPneumothorax - none\nEdema - none",
        "| Finding | Status |\n|---|---|\n| Effusion | small |\n| Edema | absent |\n| Pneumothorax | absent |",
        "There is a small effusion; pneumothorax is absent; edema has resolved.",
    ],
)
def test_structured_reports_have_the_scores_of_what_they_say(report):
    """What the cleaner leaves of them (``effusion pneumothorax edema``) had an F1 of 0 to .5."""
    truth = "there is a small left pleural effusion . no pneumothorax or edema ."
    judge = ReportScorer([truth], RuleLabeler())
    cleaned = clean_report(strip_markdown(report))
    scores = judge.systems({"a": [cleaned]}, meteor=False, raw={"a": [report]})["a"].scores
    assert scores["ce_f1_micro"] == 1.0
    as_reference = ReportScorer([cleaned], RuleLabeler(), raw=[report])
    assert as_reference.systems({"a": [truth]}, meteor=False)["a"].scores["ce_f1_micro"] == 1.0


def test_structured_references_are_cut_as_the_others():
    raw = ["Effusion (+), edema (-), pneumothorax (+)"]
    assert labelled_texts(["effusion + ."], raw, ["effusion + edema - pneumothorax + ."]) == ["effusion . no"]


def test_sides_and_grades_of_structured_reports_are_those_of_their_own_lines(tmp_path, capsys):
    """Three of five grades agreed: ``Effusion - small, left`` above ``Edema - severe`` was one sentence."""
    truth = ["There is a small left pleural effusion. Severe edema.", "Right consolidation, moderate cardiomegaly."]
    lists = ["Effusion - small, left\nEdema - severe", "Consolidation - right\nCardiomegaly - moderate"]
    found = []
    for name, reports in (
        ("lists", lists),
        ("prose", ["Small left effusion. Severe edema.", "Right consolidation. Moderate cardiomegaly."]),
    ):
        rows = [
            {"id": f"s{i}", "reference": a, "prediction": b}
            for i, (a, b) in enumerate(zip(truth, reports, strict=True))
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        call(main_score, "--predictions", f"x={path}", "--no-meteor", "--resamples", 2, "--save_dir", tmp_path / name)
        found.append(re.findall("agree in .*", capsys.readouterr().out))
    assert found[0] == found[1] != []


def test_the_reference_itself_is_the_best_of_structured_references_too(tmp_path):
    boxes = ["- [x] Effusion\n- [ ] Edema", "- [ ] Effusion\n- [x] Edema", "- [ ] Effusion\n- [ ] Edema"]
    rows = [{"id": f"s{i}", "reference": box, "prediction": "Small effusion. No edema."} for i, box in enumerate(boxes)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call(main_score, "--predictions", path, "--no-meteor", "--resamples", 2, "--save_dir", tmp_path / "out")
    good = json.loads((tmp_path / "out" / "metrics.json").read_text())["good"]
    assert good["ce_f1"]["the reference itself"] == 1.0


@pytest.mark.parametrize(
    ("report", "answers"),
    [
        ("The lungs are clear; no effusion.", False),
        ("1. No acute disease. 2. Stable scar.", False),
        ("Pneumothorax: [ ]", True),
        ("- [x] Pleural effusion\n- [ ] Pneumothorax", True),
        ("Effusion (+), edema (-)", True),
    ],
)
def test_answers_in_marks_are_spoken_of_where_there_are_some(tmp_path, capsys, report, answers):
    """Prose with a semicolon was said to answer in lists."""
    rows = [
        {
            "id": n,
            "prediction": f"{report}\nFilm {n}." if answers else f"{report} Film {n}.",
            "reference": "No effusion or edema.",
        }
        for n in range(3)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    few = ["--no-meteor", "--resamples", 5, "--chexbert_path", "none", "--save_dir", tmp_path / "out"]
    call(main_score, "--predictions", tmp_path / "rows.json", *few)
    assert ("3 reports answer in lists, tables, boxes or signs" in capsys.readouterr().out) is answers
