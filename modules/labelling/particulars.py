"""Side, grade and device of a finding: two reports may both name it and still not say the same.

``small left effusion`` and ``large right effusion`` have one label; a reader must not be told that they agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from modules.labelling.labelers import Labeler
from modules.labels import POSITIVE, UNCERTAIN

PARTICULARS = ("side", "grade", "device")
_AFTER_STOP = re.compile(r"(?<=[.!?])\s+")
_CLAUSE = re.compile(r"\s+(?:and|with|but|while)\s+|\s*[,;:]\s*(?:(?:and|with|but|while)\s+)?|\s*\.\s+")
_ABSENT = re.compile(r"\bwithout\b[^,;:.]*")  # "without tension" is no grade
_WORDS: Mapping[str, Mapping[str, str]] = {
    "side": {
        "chamber": r"(?:right|left)[ -]?(?:sided )?(?:atri\w*|ventric\w*|heart)",  # of the heart: no side of the chest
        "left": r"left\w*|lt|l|l[lu]l|lingula\w*",
        "right": r"right\w*|rt|r(?!/o)|r[lmu]l",
        "both": r"bilateral\w*|both|bi(?:basilar|basal|apical)|bibasilar",
    },
    "grade": {
        "slight": r"small|mild\w*|minimal\w*|trace|tiny|slight\w*|minor|subtle|subsegmental|borderline|early|faint",
        "moderate": r"moderate\w*",
        "severe": r"severe\w*|large|marked\w*|massive|extensive|gross|tension|substantial|pronounced|size?able",
    },
    "device": {
        "monitor": r"(?:ecg|ekg|telemetry|monitor\w*) (?:leads?|wires?)",
        "tracheostomy": r"tracheostomy",
        "endotracheal tube": r"endotracheal|ett|et tubes?|intubat\w*",
        "feeding tube": r"(?:naso|oro)gastric|ngt?|ogt?|dobb?hoff|enteric|feeding|orogastric",
        "chest tube": r"chest tubes?|(?:pigtail|thoracostomy|(?:pleural )?drain(?:age)?)(?: (?:catheter|tube)s?)?|pleural (?:drain|catheter)s?",
        "picc": r"piccs?(?: (?:line|catheter)s?)?",
        "port": r"(?:medi)?ports?(?:[ -]a[ -]?cath)?(?: catheters?)?",
        "central line": r"central (?:venous )?(?:line|catheter)|jugular|subclavian|catheters?",
        "pacemaker": r"(?:pace ?makers?|pacer|pacing|a?icd|defibrillator)(?: (?:lead|wire)s?)?|leads?",
        "clips": r"clips?|staples?",
        "wires": r"wires?|sternotomy",
        "valve": r"valves?|valvular|annuloplasty",
        "stent": r"stents?",
        "hardware": r"hardware|screws?|rods?|plates?|fixation|prosthes\w+|arthroplasty",
    },
}
_ANY = "any side"
_MEANS = {"both": ("left", "right"), "chamber": ()}
_ALIKE = {"central line": {"central line", "picc", "port"}}  # the general word for both
_FOUND = {
    kind: re.compile("|".join(rf"\b(?P<{name.replace(' ', '_')}>{words})\b" for name, words in values.items()))
    for kind, values in _WORDS.items()
}
_RANGE = re.compile(r"\s+to\s+|-to-|\s*[-/]\s*")
_LINKS = re.compile(r"\b(?:on|at|in|the|a|is|are|of|sided?|size[ds]?|greater|larger|worse|more|than)\b|[^a-z]+")


def sentences_with_stops(report: str) -> list[str]:
    """Sentences of a raw or cleaned report with their stops; joined by spaces they give the report again."""
    return [piece for piece in _AFTER_STOP.split(report.strip()) if piece]


def _words_of(clause: str) -> dict[str, set[str]]:
    """Sides, grades and devices that a clause names; a range, as ``mild to moderate``, is one grade, with the side it is of."""
    found: dict[str, set[str]] = {kind: set() for kind in PARTICULARS}
    for part in clause.split(","):
        matches = {kind: list(pattern.finditer(part)) for kind, pattern in _FOUND.items()}
        named = {kind: [str(match.lastgroup).replace("_", " ") for match in matches[kind]] for kind in PARTICULARS}
        sides = {side for name in named["side"] for side in _MEANS.get(name, (name,))}
        grades: list[str] = []
        for i, (match, name) in enumerate(zip(matches["grade"], named["grade"], strict=True)):
            if i and _RANGE.fullmatch(part[matches["grade"][i - 1].end() : match.start()]):
                grades[-1] += f" to {name}"
            else:
                grades.append(name)
        found["side"] |= sides
        found["grade"] |= {f"{side}: {grade}" for side in sides or {_ANY} for grade in grades}
        found["device"] |= set(named["device"])
    return found


def _only_describes(clause: str) -> bool:
    """Whether a clause holds sides and grades alone, as ``small left`` of ``small left and large right effusions``."""
    return not _LINKS.sub("", _FOUND["grade"].sub(" ", _FOUND["side"].sub(" ", clause)))


@lru_cache(maxsize=50_000)  # reports repeat their sentences; nobody changes what it gives
def particulars(sentence: str, labeler: Labeler) -> dict[int, dict[str, set[str]]]:
    """Sides, grades and devices of every finding that a sentence asserts or suspects, by its column.

    Words count for the findings of their own clause alone: in ``small left effusion and atelectasis`` nothing is known of
    the atelectasis. A clause of sides and grades alone belongs to the next one, the last to the one before.
    """
    clauses: list[str] = []
    open_words = ""
    for clause in filter(str.strip, _CLAUSE.split(_ABSENT.sub("", sentence.lower()))):
        if _only_describes(clause):
            open_words += f"{clause} , "
        else:
            clauses, open_words = [*clauses, open_words + clause], ""
    if open_words and clauses:
        clauses[-1] += f" , {open_words}"
    found: dict[int, dict[str, set[str]]] = {}
    for clause, states in zip(clauses, labeler(clauses) if clauses else (), strict=True):
        words = _words_of(clause)
        for column, state in enumerate(states):
            if state in (POSITIVE, UNCERTAIN):
                kinds = found.setdefault(column, {kind: set() for kind in PARTICULARS})
                for kind, values in words.items():
                    if kind != "device" or labeler.conditions[column] == "support devices":
                        kinds[kind] |= values
    return found


def report_particulars(report: str, labeler: Labeler) -> dict[int, dict[str, set[str]]]:
    """Those of all sentences of a report together."""
    whole: dict[int, dict[str, set[str]]] = {}
    for sentence in sentences_with_stops(report):
        for column, kinds in particulars(sentence, labeler).items():
            own = whole.setdefault(column, {kind: set() for kind in PARTICULARS})
            for kind, values in kinds.items():
                own[kind] |= values
    return whole


def difference(ours: Mapping[str, set[str]], theirs: Mapping[str, set[str]]) -> str | None:
    """The first of ``PARTICULARS`` that both sides give and that differs, None if there is none.

    A side or device that only one of several mentions names is no difference; a side that the other has not at all is.
    Ranges that overlap do not differ, and grades are compared on one side.
    """
    return next((kind for kind in PARTICULARS if agree_on(kind, ours, theirs) is False), None)


def agree_on(kind: str, ours: Mapping[str, set[str]], theirs: Mapping[str, set[str]]) -> bool | None:
    """Whether both say the same of a kind, None where one of them says nothing of it; see :func:`difference`."""
    agree: bool | None = None
    for value in ours[kind]:
        others = [other for other in theirs[kind] if kind != "grade" or _one_side(value, other)]
        if others:
            agree = True
            if not any(_meet(value, other) for other in others):
                return False
    return agree


def _one_side(grade: str, other: str) -> bool:
    first, second = (text.split(": ")[0] for text in (grade, other))
    return first == second or _ANY in (first, second)


def _meet(value: str, other: str) -> bool:
    first, second = ({*text.split(": ")[-1].split(" to ")} for text in (value, other))
    return bool(first & second) or other in _ALIKE.get(value, ()) or value in _ALIKE.get(other, ())
