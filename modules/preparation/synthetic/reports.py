"""The report of a synthetic study: a few sentences that say what its plan shows, in the words of its reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modules.labels import NEGATIVE, POSITIVE
from modules.preparation.synthetic.plan import (
    AORTA,
    ATELECTASIS,
    DEVICES,
    EFFUSION,
    FRACTURE,
    HEART,
    LESION,
    MEDIASTINUM,
    NO_FINDING,
    PLEURA,
    PNEUMOTHORAX,
    SEVERITIES,
    SPINE,
    Sign,
    StudyPlan,
    severity_level,
)
from modules.preparation.synthetic.reader_wording import (
    CHANGES,
    COMPANY,
    COMPANY_FRAMES,
    DEGREES,
    NORMAL_REPORTS,
    REMARKS,
)
from modules.preparation.synthetic.readers import Reader, Voice
from modules.preparation.synthetic.wording import (
    ABSENT,
    ABSENT_FRAMES,
    ABSENT_TOGETHER,
    DOUBT_FRAMES,
    FOUND,
    NORMAL,
    NORMAL_BOTH,
    PLURAL_FRAMES,
    SINGULAR_FRAMES,
)

MIN_SENTENCES, MAX_SENTENCES = 4, 8

_REGION = {  # everything else is lung
    DEVICES: "devices",
    HEART: "heart",
    MEDIASTINUM: "heart",
    AORTA: "heart",
    EFFUSION: "pleura",
    PNEUMOTHORAX: "pleura",
    PLEURA: "pleura",
    FRACTURE: "bones",
    SPINE: "bones",
    NO_FINDING: "summary",
}
_ORDERS = (
    ("devices", "heart", "lungs", "pleura", "bones", "summary"),
    ("heart", "lungs", "pleura", "bones", "devices", "summary"),
    ("devices", "lungs", "pleura", "heart", "bones", "summary"),
    ("lungs", "pleura", "heart", "bones", "devices", "summary"),
)
_PLACES = {"upper": ("{} upper lung",), "mid": ("{} mid lung",), "lower": ("{} lower lung", "{} lung base")}
_LOBES = {"upper": "upper lobe", "mid": "middle lobe", "lower": "lower lobe"}


@dataclass(frozen=True)
class _Statement:
    """What one sentence says: signs that can be joined, absences that can be joined, or one fixed sentence."""

    region: str
    kind: str  # "found", "company", "absent", "normal" or "fixed"
    members: tuple[Any, ...] = ()  # a Sign each if found or company, else a number of a condition
    sentence: str = ""


def write_report(plan: StudyPlan) -> str:
    """Word a study.

    Args:
        plan: what its image shows, and who reads it.

    Returns:
        4 to 8 sentences, one more from a reader who remarks on the film; the same for the same plan.
    """
    reader = None if plan.reader is None else Reader(plan.seed, plan.reader)
    voice = Voice(np.random.default_rng([plan.seed, 5, plan.index]), reader)
    order = voice.pick(_ORDERS) if reader is None else reader.order(_ORDERS[0])
    statements = sorted(_state(plan, voice), key=lambda statement: order.index(statement.region))
    if voice.has_habit("company", 2):
        statements = _put_in_company(statements)
    most = min(len(statements), MAX_SENTENCES)
    if reader is None:
        wanted = int(voice.rng.integers(MIN_SENTENCES, most + 1))
    else:
        wanted = MIN_SENTENCES + round(reader.habit("length", 5) / 4 * (most - MIN_SENTENCES))
    statements = _join(statements, wanted, voice.rng)
    sentences = [_word(statement, voice) for statement in statements]
    if voice.has_habit("remark", 2):
        sentences.insert(0, voice.pick(REMARKS))
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _state(plan: StudyPlan, voice: Voice) -> list[_Statement]:
    """Everything the report says, one statement each, in no order."""
    statements = []
    for sign in plan.signs:
        region = _REGION.get(sign.condition, "lungs")
        if sign.state == POSITIVE:
            statements.append(_Statement(region, "found", (sign,)))
        else:
            statements.append(_Statement(region, "fixed", sentence=_doubt(sign, voice)))
    if plan.labels[NO_FINDING] == POSITIVE and voice.has_habit("normal report", 2):
        template = voice.pick(NORMAL_REPORTS)
        return statements + [_Statement("summary", "fixed", sentence=sentence) for sentence in template]
    absent = [condition for condition, state in enumerate(plan.labels) if state == NEGATIVE]
    for together in ABSENT_TOGETHER:
        if set(together) <= set(absent):
            absent = [condition for condition in absent if condition not in together]
            statements.append(_Statement(_REGION.get(together[0], "lungs"), "absent", together))
    for condition in absent:
        kind = "normal" if condition in NORMAL else "absent"
        statements.append(_Statement(_REGION.get(condition, "lungs"), kind, (condition,)))
    if plan.labels[NO_FINDING] == POSITIVE:
        sentence = voice.pick(FOUND[NO_FINDING, ""].sentences)
        statements.append(_Statement("summary", "fixed", sentence=sentence))
    return statements


def _put_in_company(statements: list[_Statement]) -> list[_Statement]:
    """Make one statement of two signs that belong together, as long as there are sentences enough."""
    for pair in COMPANY:
        found = {statement.members[0].condition: statement for statement in statements if statement.kind == "found"}
        if len(statements) > MIN_SENTENCES and set(pair) <= set(found):
            first, second = (found[condition] for condition in pair)
            together = _Statement(first.region, "company", first.members + second.members)
            statements = [together if one is first else one for one in statements if one is not second]
    return statements


def _join(statements: list[_Statement], wanted: int, rng: np.random.Generator) -> list[_Statement]:
    """Join statements of a kind, neighbours first, until at most `wanted` are left, or none can be joined well."""
    statements = list(statements)
    while len(statements) > wanted:
        crowded = len(statements) > MAX_SENTENCES
        pairs = [
            (second - first + 0.5 * rng.random(), first, second)
            for first in range(len(statements))
            for second in range(first + 1, len(statements))
            if _can_join(statements[first], statements[second], crowded)
        ]
        if not pairs:
            break
        _, first, second = min(pairs)
        joined = statements.pop(second)
        head = statements[first]
        statements[first] = _Statement(head.region, head.kind, head.members + joined.members)
    return statements


def _can_join(first: _Statement, second: _Statement, crowded: bool) -> bool:
    """Whether two statements make one good sentence; in a crowded report one that is too long is better than two."""
    members = len(first.members) + len(second.members)
    if first.kind != second.kind or first.kind in ("fixed", "company"):
        return False
    if first.kind == "absent":
        return members <= 4
    return crowded or (members <= 3 and first.region == second.region)


def _word(statement: _Statement, voice: Voice) -> str:
    """One sentence without capital and stop."""
    if statement.kind == "fixed":
        return statement.sentence
    if statement.kind == "normal":
        return voice.pick(NORMAL[statement.members[0]] if len(statement.members) == 1 else NORMAL_BOTH)
    if statement.kind == "absent":
        if statement.members in ABSENT_TOGETHER and _says_together(voice):
            return voice.pick(ABSENT_TOGETHER[statement.members])
        names = [voice.pick(ABSENT[condition]) for condition in statement.members]
        return voice.pick(ABSENT_FRAMES).format(_enumerate(names, "or"))
    if len(statement.members) == 1:
        return _found(statement.members[0], voice) + _change(statement.members[0], voice)
    wordings = [FOUND[sign.condition, _form(sign)] for sign in statement.members]
    phrases = [_fill(voice.pick(w.phrases), s, voice) for w, s in zip(wordings, statement.members, strict=True)]
    if statement.kind == "company":
        return voice.pick(COMPANY_FRAMES).format(*phrases)
    verb = "are" if wordings[0].plural else "is"
    return f"there {verb} {_enumerate(phrases, 'and')}"


def _says_together(voice: Voice) -> bool:
    """Whether absences that belong together are worded as one."""
    return voice.rng.random() < 0.7 if voice.reader is None else voice.has_habit("together", 2)


def _change(sign: Sign, voice: Voice) -> str:
    """What a reader who compares says on a sign's course, behind the sentence on it."""
    if sign.condition == DEVICES or not voice.has_habit("compares", 1):
        return ""
    low, high = SEVERITIES[severity_level(sign.severity)]
    part = int(3 * (sign.severity - low) / (high - low))
    return f", {voice.pick(CHANGES[min(max(part, 0), 2)])}"


def _enumerate(names: Sequence[str], last: str) -> str:
    """Names as English lists them: one, two with `last` between, more with commas."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _found(sign: Sign, voice: Voice) -> str:
    """A sentence on one clear sign."""
    wording = FOUND[sign.condition, _form(sign)]
    frames = PLURAL_FRAMES if wording.plural else SINGULAR_FRAMES
    own = [*wording.sentences[:1], *wording.phrases, *wording.sentences[1:]]
    text = voice.pick(own)
    if text in wording.phrases:
        text = voice.pick(frames).replace("{}", text)
    return _fill(text, sign, voice)


def _doubt(sign: Sign, voice: Voice) -> str:
    """A hedged sentence on a faint sign."""
    wording = FOUND[sign.condition, _form(sign)]
    phrases = [phrase for phrase in wording.phrases if " with " not in phrase]  # what is hedged stays in one piece
    phrase = _fill(voice.pick(phrases), sign, voice)
    bare = phrase.removeprefix("an ").removeprefix("a ")
    frame = voice.pick(DOUBT_FRAMES)
    if wording.plural:
        frame = frame.replace("{} is", "{} are")
    return frame.replace("{bare}", bare).replace("{}", phrase)


def _form(sign: Sign) -> str:
    """Which wording of its condition suits a sign."""
    if sign.condition == LESION:
        return "mass" if severity_level(sign.severity) == 2 else "nodule"
    if sign.condition == FRACTURE:
        return ("one", "two", "several")[severity_level(sign.severity)]
    if sign.condition in (ATELECTASIS, EFFUSION, PLEURA) and sign.side == "bilateral":
        return "bilateral"
    return sign.kind


def _fill(template: str, sign: Sign, voice: Voice) -> str:
    """Put the sign's degree and place into a wording."""
    level = severity_level(sign.severity)
    vocabulary = DEGREES[0 if voice.reader is None else voice.reader.habit("degrees", len(DEGREES))]
    degrees = {name: words[level] if sign.state == POSITIVE else "" for name, words in vocabulary.items()}
    places = {"side": sign.side, "zone": sign.zone, "place": "", "lobe": ""}
    if sign.zone:
        places["place"] = voice.pick(_PLACES[sign.zone]).format(sign.side)
        lobe = "mid lung" if (sign.side, sign.zone) == ("left", "mid") else _LOBES[sign.zone]
        places["lobe"] = f"{sign.side} {lobe}"
    return " ".join(template.format(**degrees, **places).split())
