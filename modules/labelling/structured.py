"""Structured answers as sentences: ``Pleural effusion: None.`` says ``no pleural effusion``.

Templates and language models answer in lists, tables and check boxes. The rules read sentences, so an answer is put in
front of what it answers, every line of a list ends its sentence, and a heading whose text is a sentence of its own is
dropped. Text without such forms is not changed.
"""

from __future__ import annotations

import re

from modules.labelling.answers import (
    ASKED_OF,
    BEFORE,
    DESCRIBED,
    FINDING,
    LEFT_OPEN,
    OTHER,
    PURE,
    THEN,
    answer_of,
    line_by_line,
    state_of,
    without_question,
)
from modules.labelling.entries import NAME, begins_name, entries_of
from modules.labelling.listed import (
    RULE,
    cells_of,
    each_answered,
    each_phrase,
    line_for_line,
    sides_below,
    table_row,
)
from modules.labelling.marks import DASHED, IN_BRACKETS, answered_boxes, plain_marks
from modules.labelling.markup import without_tags
from modules.labelling.numbers import answered_numbers

_BULLET = re.compile(
    r"\s*(?:[-*+>\u2022\u25cf\u25b8\u25ba\u25a0\u25cb\u2192\u25e6\u25aa\u2023\u00b7\u2013\u2014]|\(\d{1,2}\)|\d{1,2}(?:[.)]|\s[-\u2013])|\(?[a-z]\)|[\[(]?\d{1,2}:\d\d(?:\s*[AaPp]\.?[Mm]\.?)?[\])]?\s*[:\u2013-]?)\s+(?=\S)"
)
_CHECKED = re.compile(r"\s*(?:\[\s*[xX\u2713\u2714+]\s*\]|[\u2611\u2612\u2705\u2714\u2713]|\(\s*[xX+]\s*\))\s*")
_UNCHECKED = re.compile(r"\s*(?:\[\s*-?\s*\]|[\u2610\u2717\u2718\u274c]|\(\s*-?\s*\))\s*")
_NAMED_BOX = re.compile(r"\s*([A-Za-z][A-Za-z /-]{2,40}?)\s*(\[\s*[xX\u2713\u2714+-]?\s*\]|[\u2610-\u2612])\s*[,;.|]?")
_NUMBERED = re.compile(
    r"(?<!grade)(?<!score)(?<!:)\s+(?=\(?[1-9]\d?[.)]\s+[A-Za-z][^.:\n]{2,40}?(?::|\s[-\u2013])\s)"
)  # answers on one line: 1. .. 2. ..
_SIZED = re.compile(
    r"(?:right|left|bilateral|bibasilar|mild|small|moderate|severe|large|trace|tiny|minimal|slight)\w*\b", re.IGNORECASE
)
_SAID_AGAIN = re.compile(r"^(no|yes|none),\s+(?:there|it|they|this)\b[^.]*", re.IGNORECASE)  # "No, there is not"
_HEADING = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9 /(),'&_-]{1,70}?)\s*(?P<mark>[:?])\s*(?P<rest>.*)", re.DOTALL)
_LISTED = re.compile(r"(?<=\w )(none|absent|nil)[,;]\s+(?=\w)(?!(?:as|so|nor|neither) (?:is|are|was|were|has|have)\b)")
_QUOTED = re.compile(
    r"[\"\u201c\u201d]([^\"\u201c\u201d\n]{1,60})[\"\u201c\u201d](?=\s*(?:[:,}]|$))", re.MULTILINE
)  # JSON
_SINGLE_QUOTED = re.compile(r"(?<![a-z])'([^'\n]{1,60})'(?=\s*[:,}])", re.IGNORECASE)  # a dictionary of Python
_TAG = re.compile(r"</?(?:li|ul|ol|p|br|div|tr|td|b|strong)\s*/?>", re.IGNORECASE)
_BOX = re.compile(r"\s+(?=[\u2610-\u2612\u2705\u2714\u2713\u2717\u2718\u274c]|\[[ xX-]?\]|\(\s*[xX]?\s*\))")
_SPEAKER = re.compile(r"(?:^|(?<=[.?!]\s))\s*(?:Q|A|question|answer)\s*\d*\s*[:.]\s+", re.IGNORECASE)
_PAIR = re.compile(rf"\s*(?P<name>[A-Za-z][A-Za-z _/-]{{2,40}}?)[,;]\s*(?P<rest>{PURE})\s*\.?\s*", re.IGNORECASE)
_TITLE = re.compile(
    r"\s*(?:[-*\u2022]\s+)?(?P<mark>#{1,6}\s+|\*\*|__)?(?P<name>[A-Za-z][A-Za-z /-]{2,40}?)(?:\*\*|__)?\s*(?P<colon>:?)(?:\*\*)?\s*"
)
_OF_SIDE = re.compile(r"\s*\((left|right|bilateral(?:ly)?)\)", re.IGNORECASE)
_RULED_OUT = re.compile(r"^(?:rule out|r ?o|query) ")
_EVIDENCE = re.compile(r"^(?:suspicion|concern|evidence|signs?|presence) (?:of|for) ")
_EXCLUDED = re.compile(r"(?P<name>.+) (?:is |are |was |were )?(?:excluded|ruled out|resolved|absent)")
_CLAUSE = re.compile(r"\s*[,;]\s*|\s+and\s+(?=(?:left|right)\b)|(?<=\w{3})\.\s+")
_ASIDE = re.compile(r"\s*\(([^()]*)\)")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|appears?|shows?|demonstrates?|there)\b")
_NEGATED = re.compile(r"(?:there (?:is|are) )?(?:no|none|not|without|absen\w+|negative|free)\b")
_UNCHANGED = re.compile(
    r"(?:no|not|without)(?: \w+){0,2} (?:change[ds]?|progression|improvement|worsening|enlarged|increased|decreased|larger|worse)|unchanged|stable"
)
_ASKED = re.compile(
    r"(?:clinical |past |medical |patient )*(?:history|indications?|reason for (?:exam\w*|study)|question|comparisons?(?: stud(?:y|ies))?|(?:prior|previous)(?:ly)?(?: (?:study|film|exam\w*|report))?|before)",
    re.IGNORECASE,
)
_LIKELY = re.compile(
    r"(?:most |very )?(?:likely|probabl[ey]|compatible|consistent|suggest\w+|represent\w+|due to|secondary to)\b",
    re.IGNORECASE,
)
_MAY_BE = re.compile(r"opacit|densit|infiltrate|shadow|consolidat|nodul|mass")
_SAYS_NORMAL = re.compile(r"\b(?:normal|unremarkable|clear|intact|within (?:normal )?limits)\b")
_MARKS = re.compile(
    r"</?[A-Za-z][^<>\n]*>|[,;]\s*(?i:no|yes|none|absent|present|possible|true|false|[01])\s*\.?\s*(?:\n|$)|(?m:^\s*#{1,6}\s)|"
    r"[:=?|\[\](){}\u2022\u2192\u2713\u2714\u2717\u2718\u2610-\u2612\u2705\u274c\t]|\s[-\u2013\u2014+]|\w[+-](?=[,;]|\s*$)|\w/(?i:yes|no|none|absent|present)\b|[-+]ve\b|\*|\.{3}|\b(?:none|absent|nil)[,;]|(?i:\w\.\s+(?:absent|none|nil|negative|present|positive|yes|no|possible)\.)|(?i:\w (?:yes|no|unlikely|likely|excluded|resolved|uncertain|not present|not seen|not identified|present|possible|small|mild|moderate|large|severe|negative|positive)\s*[,;])|[~>\u2026]|__|[a-z]_[a-z]|\s/\s|%|(?m:^\s*\d{1,2}[.)]\s)"
)


def as_prose(report: str) -> str:
    """The report with its structured answers as sentences; equal to it where it has none."""
    report = each_phrase(report)
    if not _MARKS.search(report):
        return report
    report = answered_boxes(line_for_line(without_tags(report)))
    report = ASKED_OF.sub("possible ", _NUMBERED.sub("\n", answered_numbers(line_by_line(report))))
    report = _LISTED.sub(r"\1. ", _TAG.sub("\n", report).replace("{", "").replace("}", ""))
    lines = _SINGLE_QUOTED.sub(r"\1", _QUOTED.sub(r"\1", report.replace("**", "").replace("__", ""))).split("\n")
    marked = _TAG.sub("\n", report).split("\n")
    lines = _joined(lines, marked) if len(marked) == len(lines) else lines
    out, headings = [], []
    for number, line in enumerate(lines):
        following = next((other for other in lines[number + 1 :] if other.strip()), "")
        last = not "".join(lines[number + 1 : number + 2]).strip() or _begins_entry(following)
        if RULE.fullmatch(following) and "|" in line:
            headings = cells_of(line)
            continue
        out.append(_line_as_prose(line, last and len(lines) > 1, headings))
    return "\n".join(out)


def _joined(lines: list[str], marked: list[str]) -> list[str]:
    """Lines where a finding that stands alone as a title is joined with the answer below it."""
    out: list[str] = []
    skip = 0
    for number, line in enumerate(lines):
        if number < skip:
            continue
        title = _TITLE.fullmatch(marked[number])
        below = next((i for i in range(number + 1, len(lines)) if lines[i].strip()), None)
        if (
            title
            and below is not None
            and FINDING.search(title["name"].lower())
            and not _NEGATED.match(title["name"].lower())
        ):
            sides = sides_below(lines[below:], line)
            if (title["colon"] or title["mark"]) and len(sides) > 1:
                out.append(f"{title['name']}: {'; '.join(sides)}")
                skip = below + len(sides)
                continue
            answer = _BULLET.sub("", lines[below], count=1)
            nested = len(lines[below]) - len(lines[below].lstrip()) > len(line) - len(line.lstrip())
            listed = _BULLET.match(lines[below]) and not _BULLET.match(line)
            if (title["mark"] or title["colon"] or nested or listed) and answer_of(answer) is not None:
                out.append(f"{title['name']}: {answer.strip()}")
                skip = below + 1
                continue
        out.append(line)
    return out


def _begins_entry(line: str) -> bool:
    """Whether a line begins an entry of a list: what stands above it has ended."""
    heading = _HEADING.match(line.strip())
    return bool(
        _BULLET.match(line) or _CHECKED.match(line) or _UNCHECKED.match(line) or "|" in line
        or (heading and len(heading["name"].split()) <= 6) or DASHED.search(line) or IN_BRACKETS.search(line)
    )  # fmt: skip


def _line_as_prose(line: str, closes: bool, headings: list[str]) -> str:
    if RULE.fullmatch(line):
        return "" if "|" in line else line
    boxes = _BOX.split(line) if _CHECKED.match(line) or _UNCHECKED.match(line) else [line]
    if len(boxes) > 1 and all(_CHECKED.match(box) or _UNCHECKED.match(box) for box in boxes):
        return " ".join(_line_as_prose(box, True, []) for box in boxes)
    bare = _BULLET.sub("", line, count=1) if _BULLET.match(line) else line
    behind = [match.groups() for match in _NAMED_BOX.finditer(bare)]
    if behind and not _NAMED_BOX.sub("", bare).strip() and all(FINDING.search(name.lower()) for name, _ in behind):
        return " ".join(f"{'' if _CHECKED.fullmatch(box) else 'no '}{name}." for name, box in behind)
    if line.count("|") >= 1:
        cells = cells_of(line)
        if sum(bool(NAME.match(plain_marks(cell))) for cell in cells) < 2:
            line, closes = table_row(cells, headings), True
    text = re.sub(r"^\s*#{1,6}\s+", "", _BULLET.sub("", line, count=1) if _BULLET.match(line) else line)
    unchecked, checked = _UNCHECKED.match(text), _CHECKED.match(text)
    if checked and FINDING.search(text.lower()):
        return f"{text[checked.end() :].rstrip(' .')}."
    if unchecked and FINDING.search(text.lower()):
        return f"no {text[unchecked.end() :].rstrip(' .')}."
    pair = _PAIR.fullmatch(text)
    if pair and FINDING.search(pair["name"].lower()) and not _NEGATED.match(pair["name"].lower()):
        text = f"{pair['name']}: {pair['rest']}"
    text = each_answered(_SPEAKER.sub("", plain_marks(_OF_SIDE.sub(r" \1", text))))
    asked = entries_of(text)
    pieces = [_entry(piece) for piece in asked]
    if pieces != asked or text != line:
        stop = "." if closes or pieces[-1] != asked[-1] else ""
        return ". ".join(piece.rstrip(" .") for piece in pieces if piece.strip(" .")) + stop
    return f"{text.rstrip()}." if closes and text.strip() and text.rstrip()[-1] not in ".!?:;" else text


def _entry(piece: str) -> str:
    """One heading and its answer as sentences; the piece itself if it is none."""
    match = _HEADING.match(re.sub(r"\?\s*:", "?", piece.strip(), count=1))
    if match is None:
        return piece
    name, rest = match["name"].strip(), _SAID_AGAIN.sub(r"\1", match["rest"].strip())
    plain = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    if match["mark"] == "?":
        rest = rest.lstrip("-\u2013\u2014 ")
        rest = re.sub(r"^(yes|no)\s*(?::|\s[-\u2013\u2014]\s)\s*", r"\1, ", rest, flags=re.IGNORECASE)
        first = _CLAUSE.split(rest.rstrip(" ."))[0]
        answer = answer_of(first) if rest else None
        if answer and _VERB.search(first.lower()):  # "It is, on the left."
            rest = f"{answer[0]}{rest[len(first) :]}"
        if not FINDING.search(plain):
            return piece
        if answer is None and not _SIZED.match(rest):
            if re.match(r"(?:is|are|was|were|does|do)\b", plain) and FINDING.search(_CLAUSE.split(rest.lower())[0]):
                return _entry(rest)  # the answer names what it speaks of
            return f"possible {without_question(plain)}. {_entry(rest)}"
    elif not FINDING.search(plain):
        asked, _, after = re.sub(r"(?<=[.?])\s+", "\n", rest, count=1).partition("\n")
        if _ASKED.fullmatch(name) and (FINDING.search(asked.lower()) or not name.lower().startswith("comparison")):
            # what was asked, or was known before, is no finding
            return _entry(f"{asked} {after}" if asked.endswith("?") and answer_of(after) else after)
        state = state_of(name)
        if state is not None and FINDING.search(rest.lower()):
            items = re.split(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+", rest.rstrip(" ."))
            if all(len(item.split()) <= 6 and not _VERB.search(item) for item in items):
                return ". ".join(f"{state}{item}" for item in items if item)
        inner = _entry(rest)
        return piece if inner == rest else f"{name}. {inner}"
    if _NEGATED.match(plain) or not rest.strip(" ."):
        return "" if plain == "no finding" else piece
    if match["mark"] == ":" and _VERB.search(plain) and (answer_of(rest) or ("no",))[0] == "":
        return plain  # "The heart is enlarged (see below)."
    if match["mark"] == "?":
        plain = without_question(plain)
    ruled = _EXCLUDED.fullmatch(plain)
    if ruled and (answer_of(rest) or "")[:1] == ("yes",):
        return f"no {ruled['name']}"
    names, parts = re.split(r"\s*/\s*", name), re.split(r"\s*/\s*", rest.rstrip(" ."))
    if len(names) == len(parts) > 1 and all(FINDING.search(one.lower()) for one in names) and answer_of(rest) is None:
        return ". ".join(_answered(*both) for both in zip(map(str.lower, names), parts, strict=True))
    return _answered(plain, rest)


def _answered(name: str, rest: str) -> str:
    """A finding and what is said of it."""
    name = _RULED_OUT.sub("", name)
    rest = re.sub(r"^(unchanged|stable):\s*", r"\1, ", THEN.sub("", rest), flags=re.IGNORECASE)
    whole = rest.strip().rstrip(" .")
    lower = whole.lower()
    stems = {word[:6] for word in name.split() if len(word) > 3}
    said_again = any(word[:6] in stems for word in re.findall(r"[a-z]+", lower))
    if answer_of(whole) is None and (said_again or _VERB.search(lower)) and not _UNCHANGED.match(lower):
        if not (lower.startswith(("is ", "are ", "was ", "were ", "has ", "have ")) or "excluded" in lower):
            return rest  # a sentence of its own: the heading is its topic
        return f"{name} {rest}"
    sentences, open_answer, denied = [], False, False
    whole = re.sub(r",\s+(?=versus|vs\b)", " ", whole)
    clauses = [whole] if answer_of(whole) is not None else _CLAUSE.split(_ASIDE.sub(_aside, whole))
    doubted = any((answer_of(clause) or "")[:1] == ("possible",) for clause in clauses)
    for clause in clauses:
        answer = answer_of(clause)
        if answer is None and len(clauses) > 1 and BEFORE.match(clause):
            continue  # what was there before
        if answer is not None:
            word, side = answer
            open_answer, denied = word == "possible", word == "no" and not side
            name = _EVIDENCE.sub("", name) if denied else name
            said = {"yes": "", "": None}.get(word, word)
            sentences.append("" if said is None else f"{said} {side} {name}")
        elif OTHER.match(clause.lower()):
            sentences.append(clause)  # an answer to something that is none of the findings
        elif left_open := LEFT_OPEN.fullmatch(clause.strip()):
            open_answer = True
            if FINDING.search((left_open["rest"] or "").lower()):  # what the finding may be
                sentences += [name, f"possible {left_open['rest']}"]
                continue
            sentences.append(f"possible {name} {left_open['rest'] or left_open['asked'] or ''}")
        elif versus := re.search(r"\b(?:versus|vs)\b", clause):
            if FINDING.search(clause[: versus.start()].lower()):  # what the finding may be
                sentences += [name, f"possible {clause}"]
                continue
            sentences.append(f"possible {name} {re.sub(r'(?:versus|vs) (?:none|no)$', '', clause)}")
        elif _of_another(clause) and (not open_answer or begins_name(clause) or DESCRIBED.match(clause.lower())):
            if not sentences and (_LIKELY.match(clause) or _MAY_BE.search(name)):
                sentences.append(name)  # and the clause says what it is
            sentences.append(re.sub(r"^but\s+", "", _entry(clause)))  # speaks of something else
        elif _UNCHANGED.match(clause.lower()):
            sentences += [] if denied or ("no", "") in map(answer_of, clauses) else [f"{name} unchanged"]
        elif _NEGATED.match(clause.lower()):
            bare = re.sub(r"^(?:none|not|no|without|absent|negative)\b(?: evidence of| for)?\s*", "", clause.lower())
            sentences.append(clause if FINDING.search(bare) else f"no {name} {bare}")
        elif _SAYS_NORMAL.search(clause.lower()):
            sentences.append(clause)
        elif open_answer or doubted:
            sentences.append(f"possible {name} {clause}")
        elif clause:
            sentences.append(f"{clause} {name}" if len(clause.split()) <= 3 else f"{name} {clause}")
    return ". ".join(sentence.strip() for sentence in sentences if sentence.strip())


def _aside(match: re.Match[str]) -> str:
    """What stands in brackets as a clause of its own if it names a finding, and nothing of what was before."""
    said = match[1]
    return "" if BEFORE.match(said) else f", {said}" if FINDING.search(said.lower()) else match[0]


def _of_another(clause: str) -> bool:
    return bool(FINDING.search(clause.lower())) and not _NEGATED.match(clause.lower())
