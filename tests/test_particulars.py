"""modules/labelling/particulars.py: which pairs of reports differ in side, grade or device, and which do not."""

import pytest

from modules.evaluation.particulars_agreement import agreement, agreement_line
from modules.evaluation.reports.sentence_agreement import VERDICTS, mark_sentences
from modules.labelling.labelers import RuleLabeler
from modules.labelling.particulars import PARTICULARS

LABELER = RuleLabeler()
DIFFERENT = [
    ("side", "Bibasilar atelectasis.", "Left basilar atelectasis."),
    ("side", "Right lower lobe consolidation.", "LLL consolidation."),
    ("side", "L pleural effusion.", "R pleural effusion."),
    ("side", "Pleural effusion, small, on the left.", "Small right pleural effusion."),
    ("side", "Small, left-sided effusion.", "Small right effusion."),
    ("side", "Possible left lower lobe pneumonia.", "Possible right lower lobe pneumonia."),
    ("side", "Right middle lobe opacity.", "Lingular opacity."),
    ("side", "Left PICC line.", "Right PICC line."),
    ("side", "Small left and large right effusions.", "Large right effusion."),
    ("grade", "Left pleural effusion, small.", "Left pleural effusion, large."),
    ("grade", "Mild to moderate cardiomegaly.", "Severe cardiomegaly."),
    ("grade", "Moderate/severe edema.", "Mild edema."),
    ("grade", "Pronounced edema.", "Moderate edema."),
    ("grade", "Sizable left pneumothorax.", "Small left pneumothorax."),
    ("grade", "Large right and small left pleural effusions.", "Small right and large left pleural effusions."),
    ("grade", "Bilateral effusions, small on the left, large on the right.", "Small right and large left effusions."),
    ("grade", "Left effusion and severe cardiomegaly.", "Left effusion and mild cardiomegaly."),
    ("grade", "Small right and large left effusion.", "Effusion on the left is small, and large on the right."),
    ("device", "Tracheostomy tube in place.", "Endotracheal tube in place."),
    ("device", "ECG leads overlie the chest.", "Pacemaker in place."),
    ("device", "Right PICC line.", "Right port."),
    ("device", "Pigtail catheter in place.", "Nasogastric tube in place."),
    ("device", "Prosthetic aortic valve.", "Pacemaker leads are in place."),
]
ALIKE = [
    ("Left basilar atelectasis.", "Atelectasis at the left lung base."),
    ("Right lower lobe pneumonia.", "RLL pneumonia."),
    ("Bibasilar atelectasis.", "Left and right basal atelectasis."),
    ("Small bilateral effusions.", "Small right effusion and small left effusion."),
    ("Moderate right effusion with small left effusion.", "Small left and moderate right effusions."),
    ("Left effusion, small and right effusion, large.", "Small left and large right effusion."),
    ("Large left pleural effusion.", "Small right and large left effusions."),
    ("Left chest wall pacemaker with leads in the right atrium and right ventricle.", "Pacemaker with left generator."),
    ("Left PICC with tip in the right atrium.", "Left PICC with tip in the SVC."),
    ("The heart is enlarged. Left atrial enlargement.", "Cardiomegaly with right ventricular prominence."),
    ("Right heart border is obscured by right middle lobe pneumonia.", "RML pneumonia."),
    ("Mild to moderate edema.", "Moderate edema."),
    ("Severe cardiomegaly.", "Moderate-to-severe cardiomegaly."),
    ("Small right pneumothorax.", "Small right pneumothorax without tension."),
    ("Small right pneumothorax without tension.", "Small right pneumothorax."),
    ("Trace left effusion.", "Small left pleural effusion."),
    ("Pigtail catheter in the left pleural space.", "Chest tube on the left."),
    ("Pacemaker wires in place.", "Pacemaker in place."),
    ("Right port.", "Right central venous catheter."),
    ("ET tube in standard position.", "Endotracheal tube in standard position."),
    ("Intubated. NG tube in the stomach.", "Endotracheal and nasogastric tubes."),
    ("Questionable small left pneumothorax.", "Possible left pneumothorax."),
    ("Right pneumothorax.", "Pneumothorax on the right, left lung is clear."),
    ("Effusion on the left is small, and large on the right.", "Small left, large right effusion."),
    ("Small left, large right effusion.", "Effusion on the left is small, and large on the right."),
    ("Left effusion and mild cardiomegaly.", "Large left effusion and mild cardiomegaly."),
]


def tags(generated, reference):
    """Particulars that any finding of the generated report is tagged with."""
    (marked,) = mark_sentences([generated], LABELER([reference]), LABELER, [reference])
    assert any(sentence.findings for sentence in marked), generated
    return {VERDICTS[found] for sentence in marked for _, _, found in sentence.findings} & {*PARTICULARS}


@pytest.mark.parametrize(("kind", "generated", "reference"), DIFFERENT)
def test_another_side_grade_or_device_is_tagged(kind, generated, reference):
    assert tags(generated, reference) == {kind}


@pytest.mark.parametrize(("generated", "reference"), ALIKE)
def test_the_same_in_other_words_is_not(generated, reference):
    assert tags(generated, reference) == set()


def test_agreement_counts_the_findings_that_both_reports_place_grade_or_name():
    reports = [
        "Small left effusion.",
        "Large right effusion. The heart is enlarged.",
        "Left effusion.",
        "Right PICC line.",
    ]
    references = ["Small right effusion.", "Small right effusion. Left atelectasis.", "An effusion.", "Right port."]
    found = agreement(reports, references)
    assert found["side"] == {"findings": 3, "same": pytest.approx(2 / 3)}  # the third has no side on one side
    assert found["grade"] == {"findings": 1, "same": 0.0}  # of one side
    assert found["device"] == {"findings": 1, "same": 0.0}
    assert (
        agreement_line(found)
        == "findings of both reports that agree in side 0.667 of 3, grade 0.000 of 1, device 0.000 of 1"
    )
    nothing = agreement(["The lungs are clear."], ["No effusion on the left."])
    assert {one["same"] for one in nothing.values()} == {None}
    assert agreement_line(nothing).endswith("none names one")


def test_what_agreement_calls_the_same_the_page_does_not_tag():
    for kind, first, second in DIFFERENT:
        assert agreement([first], [second])[kind]["same"] == 0
    for first, second in ALIKE:
        assert not any(one["same"] == 0 for one in agreement([first], [second]).values())
