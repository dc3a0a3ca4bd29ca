"""modules/labelling/labelers.py: conditions by rule on written sentences and on a public archive of real reports."""

import json

import numpy as np
import pytest

from modules.corpus.annotations import Study
from modules.corpus.text import clean_report
from modules.labelling.labelers import RuleLabeler, find_labeler, label_studies
from modules.labels import BLANK, CHEXPERT_CONDITIONS, CONDITIONS, NEGATIVE, POSITIVE, UNCERTAIN

SIGNS = {"+": POSITIVE, "-": NEGATIVE, "?": UNCERTAIN}
LABELER = RuleLabeler()

# Report, then every condition that is not blank; "no finding" is checked apart.
CASES = [
    ("The cardiac silhouette is mildly enlarged.", "enlarged cardiomediastinum + cardiomegaly +"),
    ("The heart is enlarged.", "cardiomegaly +"),
    ("Moderate cardiomegaly is unchanged.", "cardiomegaly +"),
    ("The heart is not enlarged.", "cardiomegaly -"),
    ("Heart size is normal.", "cardiomegaly -"),
    ("Heart size and pulmonary vascularity appear within normal limits.", "cardiomegaly -"),
    ("Heart size is at the upper limits of normal.", "cardiomegaly ?"),
    ("Borderline cardiomegaly.", "cardiomegaly ?"),
    ("Heart and mediastinum normal.", "enlarged cardiomediastinum - cardiomegaly -"),
    ("Cardiomediastinal silhouette is within normal limits.", "enlarged cardiomediastinum - cardiomegaly -"),
    ("The mediastinum is widened.", "enlarged cardiomediastinum +"),
    ("Cardiomediastinal silhouette is unchanged.", ""),
    ("The lungs are clear.", "lung opacity - consolidation -"),
    ("Clear lungs.", "lung opacity - consolidation -"),
    ("Patchy opacity at the right base.", "lung opacity +"),
    ("No focal airspace disease.", "lung opacity -"),
    ("Left lower lobe consolidation.", "lung opacity + consolidation +"),
    ("Soft tissue density over the breast.", ""),
    ("6 mm nodule in the left apex.", "lung lesion +"),
    ("No nodules or masses.", "lung lesion -"),
    ("Known thyroid mass.", ""),
    ("Mild interstitial edema.", "edema +"),
    ("Pulmonary vascular congestion without frank edema.", "edema +"),
    ("Heart size and pulmonary vascular engorgement appear within limits of normal.", "cardiomegaly - edema -"),
    ("Pneumonia cannot be excluded.", "pneumonia ?"),
    ("Right upper lobe pneumonia.", "pneumonia +"),
    ("No evidence of pneumonia.", "pneumonia -"),
    ("Prior granulomatous infection.", ""),
    ("Bibasilar subsegmental atelectasis.", "atelectasis +"),
    ("Opacity may represent atelectasis versus pneumonia.", "lung opacity + pneumonia ? atelectasis ?"),
    ("No atelectasis.", "atelectasis -"),
    ("Vertebral body collapse.", ""),
    ("Small right apical pneumothorax.", "pneumothorax +"),
    ("No pneumothorax or pleural effusion is seen.", "pneumothorax - pleural effusion -"),
    ("Small bilateral effusions.", "pleural effusion +"),
    ("Small pericardial effusion.", ""),
    ("Costophrenic angles are sharp.", "pleural effusion -"),
    ("Biapical pleural thickening.", "pleural other +"),
    ("Small pleural effusion and calcification of the aortic knob.", "pleural effusion + aorta abnormal +"),
    ("No pleural thickening.", "pleural other -"),
    ("No displaced rib fracture.", "fracture - bone/spine abnormal -"),
    ("Old healed left rib fractures.", "fracture + bone/spine abnormal +"),
    ("The most lateral screw is fractured.", "support devices +"),
    ("Left PICC terminates in the mid SVC.", "support devices +"),
    ("Endotracheal tube has been removed.", "support devices -"),
    ("Interval removal of the chest tube.", "support devices -"),
    ("The pleural line is visible.", ""),
    ("The aorta is tortuous.", "aorta abnormal +"),
    ("The aorta is normal.", "aorta abnormal -"),
    ("Degenerative changes of the thoracic spine.", "bone/spine abnormal +"),
    ("No acute bony abnormality.", "bone/spine abnormal -"),
    ("Bony structures are intact.", "bone/spine abnormal -"),
    ("The right hemidiaphragm is elevated.", "hemidiaphragm abnormal +"),
    ("The hemidiaphragms are sharp.", "hemidiaphragm abnormal -"),
    ("Low lung volumes.", "lung volume abnormal +"),
    ("The lungs are hyperinflated.", "lung volume abnormal +"),
    ("Lung volumes are normal.", "lung volume abnormal -"),
    ("No acute cardiopulmonary process.", ""),
    ("History of lung cancer.", ""),
    ("", ""),
]


def named(states):
    """Conditions that are not blank, without "no finding"."""
    return {name: int(state) for name, state in zip(CONDITIONS, states, strict=True) if state and name != "no finding"}


@pytest.mark.parametrize(("report", "expected"), CASES)
def test_sentences_raw_and_cleaned(report, expected):
    words = expected.replace(" +", "|+,").replace(" -", "|-,").replace(" ?", "|?,").split(",")
    wanted = {name.strip(): SIGNS[sign] for name, _, sign in (word.partition("|") for word in words if word)}
    for text in (report, clean_report(report)):
        assert named(LABELER([text])[0]) == wanted


def test_every_condition_has_a_positive_and_a_negative_case():
    states = LABELER([report for report, _ in CASES])
    assert (states == POSITIVE).any(axis=0).all()
    denied = {name for name, column in zip(CONDITIONS, states.T, strict=True) if (column == NEGATIVE).any()}
    assert denied == set(CONDITIONS) - {"no finding"}


def test_aggregation_over_a_report():
    column = CONDITIONS.index("edema")
    reports = ["No edema.", "No edema. Possible edema.", "Possible edema. Edema. No edema.", "Clear."]
    assert LABELER(reports)[:, column].tolist() == [NEGATIVE, UNCERTAIN, POSITIVE, BLANK]


@pytest.mark.parametrize(
    ("report", "state"),
    [
        ("No acute cardiopulmonary process.", POSITIVE),
        ("", POSITIVE),
        ("Pacemaker. No effusion.", POSITIVE),  # devices and denials are no finding
        ("Tortuous aorta. Scoliosis.", POSITIVE),  # nor are the auxiliary conditions
        ("Small effusion.", BLANK),
        ("Possible small effusion.", BLANK),
    ],
)
def test_no_finding(report, state):
    assert LABELER([report])[0, CONDITIONS.index("no finding")] == state


def test_shape_and_identity():
    states = LABELER([])
    assert (states.shape, states.dtype) == ((0, 18), np.int8)
    assert (LABELER.name, LABELER.conditions) == ("rule", CONDITIONS)
    assert LABELER.checksum == RuleLabeler().checksum
    assert len(LABELER.checksum) == 12


def test_checksum_follows_the_rules(monkeypatch):
    from modules.labelling import condition_rules

    monkeypatch.setitem(condition_rules.PRESENT, "edema", (r"oedema",))
    changed = RuleLabeler()
    assert changed.checksum != LABELER.checksum
    assert not changed(["edema"])[0, CONDITIONS.index("edema")]


def test_checksum_follows_the_reading_of_answers(monkeypatch, tmp_path):
    """Labels that were kept under other rules are not those of these."""
    from modules.labelling import structured

    (tmp_path / "structured.py").write_text("# other rules")
    monkeypatch.setattr(structured, "__file__", str(tmp_path / "structured.py"))
    assert RuleLabeler().checksum != LABELER.checksum


def test_find_labeler_says_that_it_uses_rules(capsys):
    labeler = find_labeler()
    assert labeler.name == "rule"
    printed = capsys.readouterr().out
    assert labeler.checksum in printed
    assert printed.count("\n") == 1


class Fourteen:
    """A labeler that knows 14 conditions, as CheXbert does."""

    name, checksum, conditions = "fourteen", "0", CHEXPERT_CONDITIONS

    def __call__(self, reports):
        assert reports == ["The aorta is tortuous. Pneumothorax."]
        return np.full((len(reports), 14), UNCERTAIN, dtype=np.int8)


def test_what_annotation_and_labeler_do_not_know_is_labelled_by_rule():
    report = "The aorta is tortuous. Pneumothorax."
    labels = [(BLANK,) * 18, (NEGATIVE,) * 14, None]
    studies = [
        Study(id=str(i), image_path=("a.png",), report=report, split="train", labels=each)
        for i, each in enumerate(labels)
    ]
    by_rule = LABELER([report])[0]
    assert by_rule[14:].any()
    states = label_studies(studies, Fourteen(), LABELER)
    assert states.dtype == np.int8
    assert states[0].tolist() == [BLANK] * 18
    assert states[1].tolist() == [NEGATIVE] * 14 + by_rule[14:].tolist()
    assert states[2].tolist() == [UNCERTAIN] * 14 + by_rule[14:].tolist()
    assert label_studies(studies[2:], LABELER, LABELER).tolist() == [by_rule.tolist()]


def test_real_reports_against_their_human_index(capsys, real_cxr):
    """Positives of the Indiana University reports against those of their human indexers.

    Not every disagreement is the labeler's. The index calls a report normal only if nothing at all was indexed, so that
    scoliosis costs "no finding"; files nodular opacities under opacity and interstitial markings under neither; indexes
    what "may represent" or stands before "versus" as found; and knows devices whose name the release blanks as XXXX.
    """
    lines = (real_cxr / "reports.jsonl").read_text(encoding="utf-8").splitlines()
    studies = [study for study in map(json.loads, lines) if study["labels_mesh"]]
    texts = [f"{study['findings']} {study['impression']}" for study in studies]
    studies, texts = zip(*[pair for pair in zip(studies, texts, strict=True) if pair[1].strip()], strict=True)
    index = np.array([study["labels_mesh"] for study in studies]) == POSITIVE
    states = LABELER(texts)
    found = states[:, : len(CHEXPERT_CONDITIONS)] == POSITIVE
    hits, n_found, n_index = (found & index).sum(0), found.sum(0), index.sum(0)
    f1 = 2 * hits / (n_found + n_index)
    with capsys.disabled():
        print(f"\n{'':28s} precision recall    F1  positives")
        for row in zip(CHEXPERT_CONDITIONS, hits / n_found, hits / n_index, f1, n_index, strict=True):
            print("{:28s} {:9.3f} {:6.3f} {:6.3f} {:6d}".format(*row))
    assert f1[n_index >= 30].mean() > 0.884
    cleaned = LABELER([clean_report(text) for text in texts])
    assert (states == cleaned).mean() > 0.998


def test_rules_that_were_asked_for_are_not_called_a_missing_file(tmp_path, capsys):
    find_labeler("none")
    assert "--chexbert_path none asks for it" in capsys.readouterr().out
    find_labeler(tmp_path / "chexbert.pth")
    assert f"there is no {tmp_path / 'chexbert.pth'}" in capsys.readouterr().out


def test_air_under_the_skin_is_no_emphysema_of_the_lung():
    name = CONDITIONS.index("lung volume abnormal")
    texts = ["Subcutaneous emphysema of the neck.", "Soft tissue emphysema is seen.", "Emphysema of the upper lobes."]
    assert [int(labels[name]) for labels in RuleLabeler()(texts)] == [BLANK, BLANK, POSITIVE]
