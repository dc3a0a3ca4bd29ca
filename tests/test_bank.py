"""modules/corpus/bank.py: whose reports a study must not be given."""

import numpy as np
import pytest

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature

NOBODY, PATIENTS = [None, None, None], ["p1", "p1", "p2"]


@pytest.fixture
def groups(tmp_path):
    """Of three studies, whose patients the features have as ``stored`` and the annotation as ``now``."""

    def numbered(stored, now, same_patient):
        names = [f"s{n}" for n in range(len(stored))]
        rows = [
            {"id": name, "patient": patient, "report": "Clear."} for name, patient in zip(names, stored, strict=True)
        ]
        write_axis(tmp_path, "training", names)
        write_feature(tmp_path, "report_features", np.zeros((len(rows), 2), np.float32), axis="training", made_by={})
        write_bank_reports(tmp_path, rows)
        studies = [
            Study(id=name, image_path=(f"{name}.png",), report="Clear.", split="train", patient=patient)
            for name, patient in zip(names, now, strict=False)
        ]
        return TrainingBank(FeatureStore.open(tmp_path)).groups(studies, same_patient)

    return numbered


@pytest.mark.parametrize("same_patient", [False, True])
@pytest.mark.parametrize("now", [NOBODY, PATIENTS])
@pytest.mark.parametrize("stored", [NOBODY, PATIENTS])
def test_no_study_is_given_its_own_report_where_patients_have_come_or_gone_since_the_features(
    groups, stored, now, same_patient
):
    """Each was, where a version that reads ``subject_id`` met features of one that did not: the decoder copied its target."""
    rows, queries = groups(stored, now, same_patient)
    np.testing.assert_array_equal(rows, queries)
    assert (rows[0] == rows[1]) == (same_patient and now is PATIENTS)


def test_a_study_of_another_list_meets_its_patients_rows_by_what_the_features_say(groups):
    rows, queries = groups(PATIENTS, PATIENTS, True)
    bank_alone, _ = groups(PATIENTS, [], True)
    np.testing.assert_array_equal(rows, bank_alone)
    assert queries[2] == rows[2] != rows[0]
