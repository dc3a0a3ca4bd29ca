"""The report of a synthetic study: 4 to 8 sentences that say what its plan shows and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    SPINE,
    Sign,
    StudyPlan,
    severity_level,
)
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
_DEGREES = {
    "sev": ("mild", "moderate", "severe"),
    "adv": ("mildly", "moderately", "severely"),
    "size": ("small", "moderate", "large"),
    "area": ("a small area of", "an area of", "a large area of"),
    "bulk": ("small", "large", "large"),
}
_PLACES = {"upper": ("{} upper lung",), "mid": ("{} mid lung",), "lower": ("{} lower lung", "{} lung base")}
_LOBES = {"upper": "upper lobe", "mid": "middle lobe", "lower": "lower lobe"}


@dataclass(frozen=True)
class _Statement:
    """What one sentence says: signs that can be joined, absences that can be joined, or one fixed sentence."""

    region: str
    kind: str  # "found", "absent", "normal" or "fixed"
    members: tuple[Sign | int, ...] = ()
    sentence: str = ""


def write_report(plan: StudyPlan) -> str:
    """Word a study.

    Args:
        plan: what its image shows.

    Returns:
        4 to 8 sentences; the same for the same plan.
    """
    rng = np.random.default_rng([plan.seed, 5, plan.index])
    order = _pick(_ORDERS, rng)
    statements = sorted(_state(plan, rng), key=lambda statement: order.index(statement.region))
    most = min(len(statements), MAX_SENTENCES)
    statements = _join(statements, int(rng.integers(MIN_SENTENCES, most + 1)), rng)
    sentences = [_word(statement, rng) for statement in statements]
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _pick(choices: Sequence, rng: np.random.Generator):
    """One of the choices, the n-th with a probability in proportion to 1 / n: radiologists have habits."""
    odds = 1 / np.arange(1, len(choices) + 1)
    return choices[int(np.searchsorted(odds.cumsum() / odds.sum(), rng.random()))]


def _state(plan: StudyPlan, rng: np.random.Generator) -> list[_Statement]:
    """Everything the report says, one statement each, in no order."""
    statements = []
    for sign in plan.signs:
        region = _REGION.get(sign.condition, "lungs")
        if sign.state == POSITIVE:
            statements.append(_Statement(region, "found", (sign,)))
        else:
            statements.append(_Statement(region, "fixed", sentence=_doubt(sign, rng)))
    absent = [condition for condition, state in enumerate(plan.labels) if state == NEGATIVE]
    for together in ABSENT_TOGETHER:
        if set(together) <= set(absent):
            absent = [condition for condition in absent if condition not in together]
            statements.append(_Statement(_REGION.get(together[0], "lungs"), "absent", together))
    for condition in absent:
        kind = "normal" if condition in NORMAL else "absent"
        statements.append(_Statement(_REGION.get(condition, "lungs"), kind, (condition,)))
    if plan.labels[NO_FINDING] == POSITIVE:
        sentence = _pick(FOUND[NO_FINDING, ""].sentences, rng)
        statements.append(_Statement("summary", "fixed", sentence=sentence))
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
    if first.kind != second.kind or first.kind == "fixed":
        return False
    if first.kind == "absent":
        return members <= 4
    return crowded or (members <= 3 and first.region == second.region)


def _word(statement: _Statement, rng: np.random.Generator) -> str:
    """One sentence without capital and stop."""
    if statement.kind == "fixed":
        return statement.sentence
    if statement.kind == "normal":
        return _pick(NORMAL[statement.members[0]] if len(statement.members) == 1 else NORMAL_BOTH, rng)
    if statement.kind == "absent":
        if statement.members in ABSENT_TOGETHER and rng.random() < 0.7:
            return _pick(ABSENT_TOGETHER[statement.members], rng)
        names = [_pick(ABSENT[condition], rng) for condition in statement.members]
        return _pick(ABSENT_FRAMES, rng).format(_enumerate(names, "or"))
    if len(statement.members) == 1:
        return _found(statement.members[0], rng)
    wordings = [FOUND[sign.condition, _form(sign)] for sign in statement.members]
    phrases = [_fill(_pick(w.phrases, rng), s, rng) for w, s in zip(wordings, statement.members, strict=True)]
    verb = "are" if wordings[0].plural else "is"
    return f"there {verb} {_enumerate(phrases, 'and')}"


def _enumerate(names: Sequence[str], last: str) -> str:
    """Names as English lists them: one, two with `last` between, more with commas."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _found(sign: Sign, rng: np.random.Generator) -> str:
    """A sentence on one clear sign."""
    wording = FOUND[sign.condition, _form(sign)]
    frames = PLURAL_FRAMES if wording.plural else SINGULAR_FRAMES
    own = [*wording.sentences[:1], *wording.phrases, *wording.sentences[1:]]
    text = _pick(own, rng)
    if text in wording.phrases:
        text = _pick(frames, rng).replace("{}", text)
    return _fill(text, sign, rng)


def _doubt(sign: Sign, rng: np.random.Generator) -> str:
    """A hedged sentence on a faint sign."""
    wording = FOUND[sign.condition, _form(sign)]
    phrases = [phrase for phrase in wording.phrases if " with " not in phrase]  # what is hedged stays in one piece
    phrase = _fill(_pick(phrases, rng), sign, rng)
    bare = phrase.removeprefix("an ").removeprefix("a ")
    frame = _pick(DOUBT_FRAMES, rng)
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


def _fill(template: str, sign: Sign, rng: np.random.Generator) -> str:
    """Put the sign's degree and place into a wording."""
    level = severity_level(sign.severity)
    degrees = {name: words[level] if sign.state == POSITIVE else "" for name, words in _DEGREES.items()}
    places = {"side": sign.side, "zone": sign.zone, "place": "", "lobe": ""}
    if sign.zone:
        places["place"] = _pick(_PLACES[sign.zone], rng).format(sign.side)
        lobe = "mid lung" if (sign.side, sign.zone) == ("left", "mid") else _LOBES[sign.zone]
        places["lobe"] = f"{sign.side} {lobe}"
    return " ".join(template.format(**degrees, **places).split())
