"""Side, grade and device of a finding: two reports may both name it and still not say the same.

``small left effusion`` and ``large right effusion`` have one label; a reader must not be told that they agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from modules.labelling.labelers import Labeler
from modules.labels import POSITIVE

PARTICULARS = ("side", "grade", "device")
_CLAUSE = re.compile(r"\s+(?:and|with|but|while)\s+|\s*[,;:]\s*|\s*\.\s+")
_WORDS: Mapping[str, Mapping[str, str]] = {
    "side": {
        "left": r"left\w*|lt|lingula\w*",
        "right": r"right\w*|rt",
        "both": r"bilateral\w*|both|bi(?:basilar|basal|apical)|bibasilar",
    },
    "grade": {
        "slight": r"small|mild\w*|minimal\w*|trace|tiny|slight\w*|minor|subtle|subsegmental|borderline|early|faint",
        "moderate": r"moderate\w*",
        "severe": r"severe\w*|large|marked\w*|massive|extensive|gross|tension|substantial",
    },
    "device": {
        "endotracheal tube": r"endotracheal|ett|intubat\w*|tracheostomy",
        "feeding tube": r"(?:naso|oro)gastric|ngt?|ogt?|dobb?hoff|enteric|feeding|orogastric",
        "chest tube": r"chest tubes?|pigtail|thoracostomy|pleural (?:drain|catheter)s?",
        "central line": r"picc|central (?:venous )?(?:line|catheter)|jugular|subclavian|port(?:s| a cath| ?-a-cath)?|mediport|catheter",
        "pacemaker": r"pace ?makers?|pacer|pacing|icd|aicd|defibrillator|leads?",
        "clips": r"clips?|staples?",
        "wires": r"wires?|sternotomy",
        "valve": r"valves?|valvular|annuloplasty",
        "stent": r"stents?",
        "hardware": r"hardware|screws?|rods?|plates?|fixation|prosthes\w+|arthroplasty",
    },
}
_FOUND = {
    kind: re.compile("|".join(rf"\b(?P<{name.replace(' ', '_')}>{words})\b" for name, words in values.items()))
    for kind, values in _WORDS.items()
}


def particulars(sentence: str, labeler: Labeler) -> dict[int, dict[str, set[str]]]:
    """Sides, grades and devices of every finding that a sentence asserts, by its column.

    Words count for the findings of their own clause alone: in ``small left effusion and atelectasis`` nothing is known of
    the atelectasis.
    """
    clauses = [clause for clause in _CLAUSE.split(sentence.lower()) if clause.strip()]
    found: dict[int, dict[str, set[str]]] = {}
    for clause, states in zip(clauses, labeler(clauses) if clauses else (), strict=True):
        words = {kind: {str(match.lastgroup) for match in pattern.finditer(clause)} for kind, pattern in _FOUND.items()}
        if "both" in words["side"]:
            words["side"] = {"left", "right"}
        for column, state in enumerate(states):
            if state == POSITIVE:
                kinds = found.setdefault(column, {kind: set() for kind in PARTICULARS})
                for kind, values in words.items():
                    if kind != "device" or labeler.conditions[column] == "support devices":
                        kinds[kind] |= values
    return found


def merged(parts: Sequence[Mapping[int, Mapping[str, set[str]]]]) -> dict[int, dict[str, set[str]]]:
    """Particulars of a report from those of its sentences."""
    whole: dict[int, dict[str, set[str]]] = {}
    for part in parts:
        for column, kinds in part.items():
            own = whole.setdefault(column, {kind: set() for kind in PARTICULARS})
            for kind, values in kinds.items():
                own[kind] |= values
    return whole


def difference(ours: Mapping[str, set[str]], theirs: Mapping[str, set[str]]) -> str | None:
    """The first of ``PARTICULARS`` that both sides give and that differs, None if there is none.

    A side or device that only one of several mentions names is no difference; a side that the other has not at all is.
    """
    for kind in PARTICULARS:
        if ours[kind] and theirs[kind] and not ours[kind] <= theirs[kind]:
            return kind
    return None
