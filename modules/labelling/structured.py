"""Structured answers as sentences: ``Pleural effusion: None.`` says ``no pleural effusion``.

Templates and language models answer in lists, tables and check boxes. The rules read sentences, so an answer is put in
front of what it answers, every line of a list ends its sentence, and a heading whose text is a sentence of its own is
dropped. Text without such forms is not changed.
"""

from __future__ import annotations

import re

from modules.labelling.condition_rules import PRESENT

_FINDING = re.compile(rf"\b(?:{'|'.join(pattern for patterns in PRESENT.values() for pattern in patterns)})\b")
_SEEN = r"(?:seen|identified|visuali[sz]ed|noted|demonstrated|detected|evident|appreciated|present|found|apparent|observed|shown|visible)"
_SIDES = r"(?:on the |in the )?(?:left|right|bilateral(?:ly)?|both sides|either side|lt|rt|l|r)(?: side| lung)?"
_ANSWERS = {
    "no": (
        rf"(?:no|none|nil|absent|negative|neg|false|0|n|nope|not (?:clearly |definitely )?{_SEEN}|nothing|unlikely|-|\u2212|\u2013|-ve|\(-\)"
        rf"|no evidence|without evidence|excluded|ruled out|normal|unremarkable|clear|resolved|no longer {_SEEN}|none {_SEEN}"
        rf"|no {_SEEN}|within normal limits|wnl|none acute|not any|denied|\u2717|\u2718|\u274c|no evidence (?:of|for) (?:this|it|one)"
        r"|no (?:acute|significant|definite|obvious|focal|large|discrete|convincing|radiographic)(?: evidence)?)"
    ),
    "yes": rf"(?:yes|y|{_SEEN}|positive|pos|true|1|\+|\+ve|\(\+\)|confirmed|definite(?:ly)?|\u2713|\u2714|\u2705|\u2611)",
    "possible": (
        r"(?:possible|possibly|-1|maybe|perhaps|questionable|question|\?|equivocal|indeterminate|uncertain|unclear|suspected|probable"
        r"|cannot be (?:\w+ )?excluded|can ?not (?:exclude|be ruled out)|not (?:\w+ )?excluded|unsure|borderline|suspicious|may be present)"
    ),
    "": (
        r"(?:not (?:assessed|evaluated|mentioned|applicable|reported|stated|commented on|imaged|included|done|described)|n/?a|unknown"
        r"|not available|limited(?: evaluation)?|undetermined|see (?:above|below|impression)|blank|-{2,}|_+)"
    ),
}
_ANSWER = {
    word: re.compile(rf"(?:(?P<side>{_SIDES})\s+)?{pattern}(?:\s+(?P<place>{_SIDES}))?", re.IGNORECASE)
    for word, pattern in _ANSWERS.items()
}
_PURE = "|".join(_ANSWERS.values())
_BULLET = re.compile(r"\s*(?:[-*+\u2022\u25e6\u25aa\u2023\u00b7\u2013\u2014]|\d{1,2}[.)]|\(?[a-z]\))\s+(?=\S)")
_CHECKED = re.compile(r"\s*(?:\[\s*[xX\u2713\u2714+]\s*\]|[\u2611\u2612\u2705\u2714\u2713]|\(\s*[xX+]\s*\))\s*")
_UNCHECKED = re.compile(r"\s*(?:\[\s*-?\s*\]|[\u2610\u2717\u2718\u274c]|\(\s*-?\s*\))\s*")
_IN_BRACKETS = re.compile(rf"\s*[(\[]\s*({_PURE})\s*[)\]]", re.IGNORECASE)
_DASHED = re.compile(
    rf"(?<=[\w)])\s*(?:\s[-\u2013\u2014]+\s|\s*(?:->|=>|\u2192|=|\.{{3,}}|\t)\s*)\s*(?=(?:{_SIDES}\s+)?(?:{_PURE})\s*(?:[.,;]|$))",
    re.IGNORECASE,
)
_SIGN = re.compile(r"(?<=[a-z])\s+([-+\u2212]|[-+\u2212]ve)\s*(?=$|[.,;])", re.IGNORECASE)
_HEADING = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9 /(),'&_-]{1,70}?)\s*(?P<mark>[:?])\s*(?P<rest>.*)", re.DOTALL)
_NEXT_HEADING = re.compile(  # where one line holds several answers
    r"(?:[,;.]\s+|(?<=[a-z0-9+?)-])\s+(?<=(?:none|sent|tive|ible|rmal|lear|s no|:\sno|\syes)\s))(?=[A-Z][A-Za-z /-]{2,40}:\s)|,\s+(?=[a-z_ ]{4,40}:\s)"
)
_LISTED = re.compile(r"(?<=\w )(none|absent|nil)[,;]\s+(?=\w)")
_QUOTED = re.compile(
    r"[\"\u201c\u201d]([^\"\u201c\u201d\n]{1,60})[\"\u201c\u201d](?=\s*(?:[:,}]|$))", re.MULTILINE
)  # JSON
_CLAUSE = re.compile(r"\s*[,;]\s*|\s+and\s+(?=(?:left|right)\b)|(?<=\w{3})\.\s+")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|appears?|shows?|demonstrates?|there)\b")
_NEGATED = re.compile(r"(?:there (?:is|are) )?(?:no|none|not|without|absen\w+|negative|free)\b")
_UNCHANGED = re.compile(
    r"(?:no|not|without)(?: \w+){0,2} (?:change[ds]?|progression|improvement|worsening)|unchanged|stable"
)
_SAYS_NORMAL = re.compile(r"\b(?:normal|unremarkable|clear|intact|within (?:normal )?limits)\b")
_MARKS = re.compile(
    r"[:=?|\[\](){}\u2022\u2192\u2713\u2714\u2717\u2718\u2610-\u2612\u2705\u274c\t]|\s[-\u2013\u2014+]|[-+]ve\b|\*|\.{3}|\b(?:none|absent|nil)[,;]|(?m:^\s*\d{1,2}[.)]\s)"
)


def as_prose(report: str) -> str:
    """The report with its structured answers as sentences; equal to it where it has none."""
    if not _MARKS.search(report):
        return report
    report = _LISTED.sub(r"\1. ", report.replace("{", "").replace("}", ""))
    lines = _QUOTED.sub(r"\1", report.replace("**", "").replace("__", "")).split("\n")
    out = []
    for number, line in enumerate(lines):
        following = next((other for other in lines[number + 1 :] if other.strip()), "")
        last = not "".join(lines[number + 1 : number + 2]).strip() or _begins_entry(following)
        out.append(_line_as_prose(line, closes=last and (len(lines) > 1)))
    return "\n".join(out)


def _begins_entry(line: str) -> bool:
    """Whether a line begins an entry of a list: what stands above it has ended."""
    heading = _HEADING.match(line.strip())
    return bool(
        _BULLET.match(line) or _CHECKED.match(line) or _UNCHECKED.match(line) or "|" in line
        or (heading and len(heading["name"].split()) <= 6) or _DASHED.search(line) or _IN_BRACKETS.search(line)
    )  # fmt: skip


def _line_as_prose(line: str, closes: bool) -> str:
    if line.count("|") >= 1:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if all(not cell.strip("-: ") for cell in cells):
            return ""
        line, closes = f"{cells[0]}: {' '.join(cell for cell in cells[1:] if cell)}", True
    text = _BULLET.sub("", line, count=1) if _BULLET.match(line) else line
    unchecked, checked = _UNCHECKED.match(text), _CHECKED.match(text)
    if checked and _FINDING.search(text.lower()):
        return f"{text[checked.end() :].rstrip(' .')}."
    if unchecked and _FINDING.search(text.lower()):
        return f"no {text[unchecked.end() :].rstrip(' .')}."
    text = _SIGN.sub(r": \1", _DASHED.sub(": ", _IN_BRACKETS.sub(r": \1", text)))
    asked = _NEXT_HEADING.split(text)
    pieces = [_entry(piece) for piece in asked]
    if pieces != asked or text != line:
        stop = "." if closes or pieces[-1] != asked[-1] else ""
        return ". ".join(piece.rstrip(" .") for piece in pieces if piece.strip(" .")) + stop
    return f"{text.rstrip()}." if closes and text.strip() and text.rstrip()[-1] not in ".!?:;" else text


def _entry(piece: str) -> str:
    """One heading and its answer as sentences; the piece itself if it is none."""
    match = _HEADING.match(piece.strip())
    if match is None:
        return piece
    name, rest = match["name"].strip(), match["rest"].strip()
    plain = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    if match["mark"] == "?":
        answer = _answer(_CLAUSE.split(rest.rstrip(" ."))[0]) if rest else None
        if not _FINDING.search(plain):
            return piece
        if answer is None:
            return f"possible {_without_question(plain)}. {_entry(rest)}"
    elif not _FINDING.search(plain):
        inner = _entry(rest)
        return piece if inner == rest else f"{name}. {inner}"
    if _NEGATED.match(plain) or not rest.strip(" ."):
        return "" if plain == "no finding" else piece
    if match["mark"] == "?":
        plain = _without_question(plain)
    return _answered(plain, rest)


def _without_question(plain: str) -> str:
    return re.sub(r"^(?:is|are|was|were)?(?: ?there)?(?: ?(?:any|an?|evidence of|signs of))* ", "", f"{plain}")


def _answer(clause: str) -> tuple[str, str] | None:
    """What a clause answers (``no``, ``yes``, ``possible`` or ``""``) and on which side, None if it is no answer."""
    for word, pattern in _ANSWER.items():
        match = pattern.fullmatch(clause.strip(" ."))
        if match:
            return word, match["side"] or match["place"] or ""
    return None


def _answered(name: str, rest: str) -> str:
    """A finding and what is said of it."""
    whole = rest.strip().rstrip(" .")
    lower = whole.lower()
    stems = {word[:6] for word in name.split() if len(word) > 3}
    said_again = any(word[:6] in stems for word in re.findall(r"[a-z]+", lower))
    if _answer(whole) is None and (said_again or _VERB.search(lower)) and not _UNCHANGED.match(lower):
        if not (lower.startswith(("is ", "are ", "was ", "were ", "has ", "have ")) or "excluded" in lower):
            return rest  # a sentence of its own: the heading is its topic
        return f"{name} {rest}"
    sentences, open_answer = [], False
    for clause in _CLAUSE.split(whole):
        answer = _answer(clause)
        if answer is not None:
            word, side = answer
            open_answer = word == "possible"
            said = {"yes": "", "": None}.get(word, word)
            sentences.append("" if said is None else f"{said} {side} {name}")
        elif _UNCHANGED.match(clause.lower()):
            sentences.append(f"{name} unchanged")
        elif _NEGATED.match(clause.lower()):
            bare = re.sub(r"^(?:none|not|no|without|absent|negative)\b(?: evidence of| for)?\s*", "", clause.lower())
            sentences.append(clause if _FINDING.search(bare) else f"no {name} {bare}")
        elif _SAYS_NORMAL.search(clause.lower()):
            sentences.append(clause)
        elif open_answer:
            sentences.append(f"possible {name} {clause}")
        elif clause:
            sentences.append(f"{clause} {name}" if len(clause.split()) <= 3 else f"{name} {clause}")
    return ". ".join(sentence.strip() for sentence in sentences if sentence.strip())
