"""modules/corpus/bank.py: whose reports a study must not be given."""

from types import SimpleNamespace

import numpy as np
import pytest

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank

NOBODY, PATIENTS = [None, None, None], ["p1", "p1", "p2"]


def groups(stored, now, same_patient):
    """Of three studies, whose patients the features have as ``stored`` and the annotation as ``now``."""
    rows = [{"id": f"s{n}", "patient": patient, "report": "Clear."} for n, patient in enumerate(stored)]
    bank = TrainingBank(SimpleNamespace(row_ids=lambda _: tuple(row["id"] for row in rows), bank_reports=rows))
    studies = [
        Study(id=f"s{n}", image_path=(f"{n}.png",), report="Clear.", split="train", patient=patient)
        for n, patient in enumerate(now)
    ]
    return bank.groups(studies, same_patient)


@pytest.mark.parametrize("same_patient", [False, True])
@pytest.mark.parametrize("now", [NOBODY, PATIENTS])
@pytest.mark.parametrize("stored", [NOBODY, PATIENTS])
def test_no_study_is_given_its_own_report_where_patients_have_come_or_gone_since_the_features(
    stored, now, same_patient
):
    """Each was, where a version that reads ``subject_id`` met features of one that did not: the decoder copied its target."""
    rows, queries = groups(stored, now, same_patient)
    np.testing.assert_array_equal(rows, queries)
    assert (rows[0] == rows[1]) == (same_patient and now is PATIENTS)


def test_a_study_of_another_list_meets_its_patients_rows_by_what_the_features_say():
    rows, queries = groups(PATIENTS, PATIENTS, True)
    bank_alone, _ = groups(PATIENTS, [], True)
    np.testing.assert_array_equal(rows, bank_alone)
    assert queries[2] == rows[2] != rows[0]
