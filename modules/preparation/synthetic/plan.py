"""What a synthetic study shows: patient, split, signs with side, zone and severity, and the labels that follow.

Nothing is drawn or worded here; `sampling` makes the plans. The labels are read off the plan, so that neither
the image nor the report can disagree with them: a sign that is drawn is positive, one that is drawn faintly is
uncertain, and which absent signs are stated as absent is a fixed function of what is drawn (`stated_absences`), hence
learnable from the image alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modules.labels import BLANK, CONDITIONS, NEGATIVE, POSITIVE

(
    MEDIASTINUM, HEART, OPACITY, LESION, EDEMA, CONSOLIDATION, PNEUMONIA, ATELECTASIS, PNEUMOTHORAX, EFFUSION, PLEURA,
    FRACTURE, DEVICES, NO_FINDING, AORTA, SPINE, DIAPHRAGM, VOLUME,
) = range(len(CONDITIONS))  # fmt: skip

PARENCHYMAL = (OPACITY, LESION, EDEMA, CONSOLIDATION, PNEUMONIA, ATELECTASIS)
# A consolidated lung is opaque and a broken rib is an abnormal bone: the first counts for the second condition too.
IMPLIED = {CONSOLIDATION: OPACITY, FRACTURE: SPINE}

SIDES = ("right", "left")
ZONES = ("upper", "mid", "lower")
SEVERITIES = ((0.1, 0.3), (0.45, 0.65), (0.8, 1.0))  # drawn severities that are called mild, moderate, severe


@dataclass(frozen=True)
class Sign:
    """One drawn sign.

    Args:
        condition: index in ``CONDITIONS``.
        state: POSITIVE or UNCERTAIN, never another.
        side: "right", "left" (the patient's), "bilateral", or "" where a side has no meaning.
        zone: "upper", "mid", "lower", or "".
        severity: 0 faintest .. 1 strongest; `severity_level` gives the word's index.
        kind: which form of the sign, e.g. "pacemaker"; "" where there is only one.
    """

    condition: int
    state: int
    side: str = ""
    zone: str = ""
    severity: float = 0.5
    kind: str = ""


@dataclass(frozen=True)
class StudyPlan:
    """One study before anything is drawn.

    Args:
        seed: of the data set.
        index: of the study in the data set.
        patient: index of the patient; equal anatomy for equal patients.
        split: "train", "val" or "test".
        signs: everything that is drawn beyond healthy anatomy, ordered by condition.
        reader: number of the radiologist whose site made the film and who words the report; None for nobody's habits.
    """

    seed: int
    index: int
    patient: int
    split: str
    signs: tuple[Sign, ...]
    reader: int | None = None

    @property
    def study_id(self) -> str:
        """Name of the study and of its files."""
        return f"synth_{self.index:06d}"

    @property
    def patient_id(self) -> str:
        """Name of the patient."""
        return f"synthp_{self.patient:05d}"

    @property
    def labels(self) -> list[int]:
        """State of each of the 18 conditions, in the order of ``CONDITIONS``."""
        drawn = {sign.condition: sign.state for sign in self.signs}
        states = [drawn.get(condition, BLANK) for condition in range(len(CONDITIONS))]
        for condition, implied in IMPLIED.items():
            if condition in drawn and states[implied] != POSITIVE:
                states[implied] = drawn[condition]
        for condition in stated_absences(drawn):
            states[condition] = NEGATIVE
        if not set(drawn) - {DEVICES}:
            states[NO_FINDING] = POSITIVE
        return states


def severity_level(severity: float) -> int:
    """0 mild, 1 moderate or 2 severe, from a severity in 0..1."""
    return int(severity > 0.37) + int(severity > 0.72)


def stated_absences(drawn: Collection[int]) -> tuple[int, ...]:
    """Conditions that a report on these drawn conditions denies: the pertinent negatives.

    Args:
        drawn: indices of the drawn conditions, clear or faint.

    Returns:
        Indices of the conditions stated as absent, ascending; none of them is drawn.
    """
    lungs_clear = not any(condition in drawn for condition in PARENCHYMAL)
    findings = set(drawn) - {DEVICES}
    bones_stated = (not findings or PNEUMOTHORAX in drawn) and FRACTURE not in drawn
    pertinent = {
        HEART: True,
        PNEUMOTHORAX: True,
        EFFUSION: True,
        OPACITY: lungs_clear,
        CONSOLIDATION: lungs_clear,
        MEDIASTINUM: HEART not in drawn and AORTA not in drawn,
        EDEMA: HEART in drawn or EFFUSION in drawn,
        PNEUMONIA: ATELECTASIS in drawn and not findings & {OPACITY, CONSOLIDATION, EDEMA},
        FRACTURE: bones_stated,
        SPINE: bones_stated,
        LESION: PLEURA in drawn,
    }
    return tuple(sorted(condition for condition, denied in pertinent.items() if denied and condition not in drawn))
