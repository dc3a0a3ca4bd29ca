"""Lists, pairs of lines and tables whose parts belong together, as one line for each finding.

A heading that says the state of the list below it (``Absent:``), a finding and its status in two lines, boxes of which one
is ticked, a table with a column for yes and one for no, and short lines under the title of an organ (``## Heart``).
"""

from __future__ import annotations

import re
from functools import partial

from modules.labelling.answers import FINDING, PURE, SIDES, answer_of, state_of

RULE = re.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|?)+\s*")
_SIDE = re.compile(SIDES, re.IGNORECASE)
_ANY_SIDE = re.compile(r"\b(?:left|right|bilateral)\b", re.IGNORECASE)
ORGAN = re.compile(
    r"(?:the )?(?:heart(?: size)?|cardiac (?:silhouette|size)|cardiomediastinal (?:silhouette|contours?)|mediastin(?:um|al contours?)"
    r"|lungs?(?: fields?| volumes?)?|aorta|pulmonary vasculature|diaphragms?|hemidiaphragms?|bones?|spine|pleura|pleural spaces?)",
    re.IGNORECASE,
)
_ANSWERED = re.compile(  # "effusion yes, edema no", "Effusion / absent": a name and its answer, with no colon between them
    r"(?:^|(?<=[,;:.]\s))[^\S\n]*(?P<name>[A-Za-z]+(?: [a-z]+){0,2})(?:[^\S\n]*(?:[/~;\u2026]|>>|_{2,})[^\S\n]*|[^\S\n])"
    r"(?P<answer>[01]|yes|no|none|nil|(?:un)?likely|excluded|resolved|uncertain|not (?:present|seen|identified)|absent|present|negative|positive|possible|small|mild|moderate|large|severe)[^\S\n]*(?:[,;.][^\S\n]*|$)",
    re.IGNORECASE | re.MULTILINE,
)
_OPENED = re.compile(r"(?<=[a-z]):(?=[A-Za-z]|-?[01]\b)")  # "Effusion:Yes"
_SHORT_LINE = re.compile(  # a finding in a line of its own, above another: "Effusion - small, left"
    rf"(?m)^(?=[^|<\n]{{4,50}}\n)(?=.*(?i:{FINDING.pattern}|abnormalit|process|disease|normal|clear|unremarkable))(.*[A-Za-z)](?<!\band)(?<!\bor)(?<!\bof)(?<!\bthe)(?<!\bno)(?<!\bwith)(?<!\bwithout)(?<!\bin)(?<!\bis)(?<!\bare))[^\S\n]*\n(?=[^\S\n]*(?=[A-Z])[^|<\n]*(?i:{FINDING.pattern}|\b(?:normal|clear|unremarkable|heart|lungs?|bones?)\b))"
)
_BELOW = re.compile(
    rf"(?im)^[^\S\n]*([a-z][a-z ]{{2,40}})\n+[^\S\n]*({PURE})\.?[^\S\n]*$"
)  # an answer in the line below its finding
_NEXT_SENTENCE = re.compile(  # "Pneumothorax. None."
    r"(?:^|(?<=[.\n]))([^\S\n]*(?!(?:no|not|without|the)\b)[A-Za-z]+(?: [a-z]+){0,3})\.\s+(absent|none|nil|negative|present|positive|yes|no|possible)(?=\.)",
    re.IGNORECASE,
)
_NAMES = re.compile(r"(?m)^(?=.*[a-z]_[a-z])(\s*\w+(?:,\s*\w+)+)\s*\.?$")  # no_edema, pleural_effusion
_NUMBERS = re.compile(r"(?:^|\s+)\(\d{1,2}\)\s+(?=[A-Za-z])")  # "(1) .. (2) .." in one line
_OWN = re.compile(  # how a phrase begins that is not denied with what stands before it
    r"(?:no|possible|probable|small|mild|moderate|severe|large|trace|tiny|minimal|new|stable|unchanged|persistent)\s",
    re.IGNORECASE,
)
_SHORT = 6  # words of a phrase
_ITEM = r"[A-Za-z]+(?:[ -][A-Za-z]+){0,3}?"
_LIST_ANSWERED = re.compile(
    rf"(?P<items>{_ITEM}(?:(?:,\s*(?:and |or )?|\s+(?:and|or)\s+){_ITEM})+):\s*(?:(?:all|both)\s+)?(?P<answer>{PURE})(?=\s*(?:[.;,]|$))",
    re.IGNORECASE,
)
_NAMED_BEFORE = re.compile(r"(?:no|not|none|without|with|the|a|an|of|is|are|and|or|but|any)\b", re.IGNORECASE)
_BESIDE_VERB = re.compile(
    r"\b(?:be|been|is|are|was|were|has|have|had|can|cannot|not|no|to)$"
)  # "is absent" is a sentence
_TITLE = re.compile(r"\s*(?:#{1,6}\s+|\*\*|__)(?P<name>[A-Za-z /-]{3,40}?)\s*:?(?:\*\*|__)?\s*:?\s*")
_BULLET = re.compile(r"\s*(?:[-*+>\u2022]|\d{1,2}[.)])\s+")
_WORDS = 4  # of a line that says something of the organ above it and does not name it
_STATE_TITLE = re.compile(r"\s*(?:#{1,6}\s+|\*\*|__)?(?P<name>[A-Za-z][A-Za-z ]{1,40}?)(?:\*\*|__)?\s*:?(?:\*\*)?\s*")
_NAMED = r"(?:finding|name|observation|condition|abnormality)"
_STATUS = r"(?:status|present|presence|state|answer|value)"
_PAIRS = (
    (re.compile(r"\s*\(?\bL(?:eft)? ?/ ?R(?:ight)?\)?\s*:\s*([^/\n;.]+)/\s*([^/\n;.,]+)"), r": left \1, right \2"),
    (re.compile(r"\s*\(?\bR(?:ight)? ?/ ?L(?:eft)?\)?\s*:\s*([^/\n;.]+)/\s*([^/\n;.,]+)"), r": right \1, left \2"),
    (
        re.compile(r"(?<=[a-z])\s+-\s+(left|right):\s*([^:;\n-]+?)\s*[-;,]\s*(left|right):\s*", re.IGNORECASE),
        r": \1 \2, \3 ",
    ),
    (re.compile(r"(?<=[a-z])\s*(?:[-=]>|\u2192)\s*(?=(?:left|right|[lr])\s)", re.IGNORECASE), ": "),
    (re.compile(r"(?<=[a-z])\s*\.{3,}\s*(?=[\[(\u2610-\u2612])"), " "),
    (re.compile(rf"\b{_NAMED}\s*:\s*([^;:,\n]+?)\s*[;,\n]\s*(?:-\s+)?{_STATUS}\s*:\s*", re.IGNORECASE), r"\1: "),
    (re.compile(rf"(?m)^([^\S\n]*(?:-\s+)?[A-Za-z][\w ]*):[^\S\n]*\n\s+{_STATUS}\s*:\s*", re.IGNORECASE), r"\1: "),
    (
        re.compile(
            r"(?m)(?:^|(?<=[.?!]\s))\s*(?:Q|question)\s*\d*\s*[:.]\s*([^.?\n]+)\.\s*(?:A|answer)\s*\d*\s*[:.]\s*",
            re.IGNORECASE,
        ),
        r"\1? ",
    ),
    (re.compile(r"\?\s*(?:A|Answer)\s*\d*\s*[:.]\s*", re.IGNORECASE), "? "),
    (
        re.compile(
            rf"[(\[]\s*['\"]?([A-Za-z][A-Za-z _-]{{2,40}}?)['\"]?\s*[:,=]\s*['\"]?({PURE})['\"]?\s*[)\]]\s*[,;]?",
            re.IGNORECASE,
        ),
        r"\n\1: \2\n",
    ),
    (re.compile(r"[\[(]\s*([\u2713\u2714\u2717\u2718\u2610\u2611])\s*[\])]"), r"\1"),
    (re.compile(r"\s*[(\[]\s*(?:yes ?/ ?no|y ?/ ?n|present ?/ ?absent)\s*[)\]](?=\s*[:?])", re.IGNORECASE), ""),
    (
        re.compile(
            r"\s*:?\s*\b(?:yes ?/ ?no|y ?/ ?n|present ?/ ?absent)\s*(?::|=|-+>|=>|\u2192)(?=\s*\w)", re.IGNORECASE
        ),
        ":",
    ),
    (re.compile(r"([(\[]\s*(?:[-+?]|neg|pos|no|yes)\s*[)\]])\s+(?=[A-Z][a-z]+\s?[(\[])"), r"\1. "),
    (re.compile(r"(?<=\S)\s+[\u2022\u25cf\u25aa\u00b7\u2023\u25e6]\s+(?=\S)"), "\n\u2022 "),
)
_TICKED, _EMPTY = r"(?:\[\s*[xX]\s*\]|\(\s*[xX]\s*\)|[\u2611\u2612\u2705\u2713\u2714])", r"(?:\[\s*\]|\(\s*\)|\u2610)"
_OPTION = (
    r"(?:yes|no|present|absent|positive|negative|possible|possibly|uncertain|indeterminate|equivocal|unclear|unsure|maybe|unknown|none"
    r"|not (?:assessed|evaluated)|n/a)"
)
_BOX = rf"(?:{_TICKED}|{_EMPTY})"
_TICKS = tuple(  # the box stands before its word, or behind it
    (
        re.compile(
            rf"(?:(?::|(?<=\?))\s*(?:{choice}[\s,/|]*)+|(?<=\w)\s+(?:{choice}[\s,/|]*){{2,}})(?=\s*(?:$|[.;\n]))",
            re.IGNORECASE,
        ),
        re.compile(ticked, re.IGNORECASE),
    )
    for choice, ticked in (
        (rf"{_BOX}\s*{_OPTION}", rf"{_TICKED}\s*({_OPTION})"),
        (rf"{_OPTION}\s*{_BOX}", rf"({_OPTION})\s*{_TICKED}"),
    )
)
_SIGN = r"\(\s*[+-]+\s*\)|[+-]{1,3}"
_SIGNED = (  # "+effusion, -edema", "effusion+, edema-"
    (re.compile(r"(?:(?:^|[\s,;]+)(?:\([+-]\)\s*|[+-](?=[A-Za-z]))[A-Za-z ]+){2,}[.,;]?"), re.compile(r"(?P<sign>[+-])\)?\s*(?P<name>[A-Za-z ]+)")),
    (re.compile(rf"(?:(?:^|[\s,;/|]+)[A-Za-z][A-Za-z ]*?\s?(?:{_SIGN})(?=\s?[,;./|]|$)){{2,}}[.,;]?"), re.compile(rf"(?P<name>[A-Za-z][A-Za-z ]*?)\s?(?P<sign>{_SIGN})(?=\s?[,;./|]|$)")),
)  # fmt: skip
_MARKED = re.compile(
    r"([\u2713\u2714\u2705\u2717\u2718\u274c])\s+(?=[A-Z])"
)  # "Edema \u2713 Fracture \u2717" in one line


def each_phrase(report: str) -> str:
    """Short phrases in lines of their own, or between dashes or slashes, as sentences; equal to it where it has none."""
    if "\n" in report:
        report = _SHORT_LINE.sub(r"\1.\n", report)
    if len(_BELOW.findall(report)) > 1:
        report = _BELOW.sub(
            lambda below: f"{below[1]}: {below[2]}." if FINDING.search(below[1].lower()) else below[0], report
        )
    lines = [line for line in report.split("\n") if line.strip()]
    if _are_phrases(lines):
        return ".\n".join(lines)
    return "\n".join(
        ". ".join(pieces) if _are_phrases(pieces := re.split(r"\s+[-/\u2013\u2014]\s+", line)) else line
        for line in report.split("\n")
    )


def _are_phrases(pieces: list[str]) -> bool:
    return (
        len(pieces) > 1
        and all(len(piece.split()) <= _SHORT and FINDING.search(piece.lower()) and ":" not in piece for piece in pieces)
        and all(_OWN.match(piece.strip()) for piece in pieces[1:])
    )


def each_answered(text: str) -> str:
    """``effusion, edema: none`` as one answer for each."""
    return _LIST_ANSWERED.sub(_one_each, text)


def _one_each(match: re.Match[str]) -> str:
    items = re.split(r",\s*(?:and |or )?|\s+(?:and|or)\s+", match["items"])
    if not all(FINDING.search(item.lower()) and not _NAMED_BEFORE.match(item) for item in items):
        return match[0]
    return "; ".join(f"{item}: {match['answer']}" for item in items)


def line_for_line(report: str) -> str:
    """The report with what belongs together in one line; equal to it where it has no such lists."""
    report = re.sub(r"(?im)^([^\S\n]*(?:[-*]\s+)?)(?=lines\s*:)|(?<=[.;|]\s)(?=lines\s*:)", r"\1support ", report)
    report = _NAMES.sub(lambda names: names[1].replace(",", ".\n"), report)
    report = re.sub(r"(?<=[a-z])_(?=[a-z])", " ", _OPENED.sub(": ", report))
    report = _NEXT_SENTENCE.sub(
        lambda pair: f"{pair[1]}: {pair[2]}" if FINDING.search(pair[1].lower()) else pair[0], report
    )
    if len(_NUMBERS.findall(report)) > 1:
        report = _NUMBERS.sub("\n- ", report)
    for pattern, line in _PAIRS:
        report = pattern.sub(line, report)
    if sum(map(_is_answered, _ANSWERED.finditer(report))) > 1:
        report = _ANSWERED.sub(
            lambda match: f"\n{match['name']}: {match['answer']}\n" if _is_answered(match) else match[0], report
        )
    for choices, ticked in _TICKS:
        report = choices.sub(partial(_chosen, ticked), report)
    report = re.sub(r"(?m)^[^\S\n]*[A-Za-z].*", lambda line: _MARKED.sub(r"\1. ", line[0]), report)
    return _named_organs(_stated_lists("\n".join(map(_signed, report.split("\n")))))


def _signed(line: str) -> str:
    """Findings with a plus or a minus each as sentences; the line itself if it is no such list."""
    for whole, one in _SIGNED:
        found = list(one.finditer(line)) if whole.fullmatch(line.strip()) else []
        if found and all(FINDING.search(match["name"].lower()) for match in found):
            return " ".join(f"{'no ' if '-' in match['sign'] else ''}{match['name'].strip()}." for match in found)
    return line


def _chosen(ticked: re.Pattern[str], choices: re.Match[str]) -> str:
    """The one word of some that is ticked; the choices themselves if none or several are."""
    words = [match[1] for match in ticked.finditer(choices[0])]
    return f": {words[0]}\n" if len(words) == 1 else choices[0]


def _is_answered(match: re.Match[str]) -> bool:
    name = match["name"].lower()
    return bool(FINDING.search(name)) and not (_NAMED_BEFORE.match(name) or _BESIDE_VERB.search(name))


def _stated_lists(report: str) -> str:
    """``Absent:`` above a list of findings as ``Absent: effusion, edema``."""
    lines, out = report.split("\n"), []
    while lines:
        line = lines.pop(0)
        title = _STATE_TITLE.fullmatch(line)
        items = []
        if title and state_of(title["name"]) is not None:
            while lines and _BULLET.match(lines[0]) and FINDING.search(lines[0].lower()):
                items.append(_BULLET.sub("", lines.pop(0), count=1).strip(" ."))
        short = all(len(item.split()) <= _WORDS + 2 and not re.search("[:?(]", item) for item in items)
        if title and items and short:
            out.append(f"{title['name']}: {', '.join(items)}.")
        else:
            out += [line, *items]
    return "\n".join(out)


def _named_organs(report: str) -> str:
    """A report in which what is listed under the title of an organ (``## Heart``, ``- Enlarged``) names it in every line."""
    organ, out = "", []
    for line in report.split("\n"):
        title = _TITLE.fullmatch(line)
        if title:
            organ = title["name"].strip() if ORGAN.fullmatch(title["name"].strip()) else ""
            out.append("" if organ else line)
            continue
        said = _BULLET.sub("", line, count=1).strip()
        if organ and said and len(said.split()) <= _WORDS and not _names_another(said):
            line = f"{organ} {said[0].lower()}{said[1:]}"
            line = line if line[-1] in ".!?" else f"{line}."
        out.append(line)
    return "\n".join(out)


def _names_another(said: str) -> bool:
    """Whether a short line has a subject of its own, is an answer or denies something."""
    return bool(
        re.match(r"(?:no|not|none|without|there|the|new|old)\b", said, re.IGNORECASE)
        or not re.search(
            r"\b(?:enlarged|normal|clear|widened|unremarkable|intact|hyperinflated|tortuous|elevated|stable|prominent|low|small|large)\b",
            said,
            re.IGNORECASE,
        )
        or re.search(
            r"\b(?:effusions?|opacit|nodul|edema|consolidat|atelecta|pneumo|line|tube|catheter)", said, re.IGNORECASE
        )
    )


def sides_below(lines: list[str], title: str) -> list[str]:
    """What the lines of a list below a finding say of each side, up to the first that names none or another finding."""
    said = []
    for line in lines:
        bare = _BULLET.sub("", line, count=1).strip(" .")
        inner = len(line) - len(line.lstrip()) > len(title) - len(title.lstrip())
        listed = _BULLET.match(line) and not _BULLET.match(title)
        if not (inner or listed) or not _ANY_SIDE.search(bare) or FINDING.search(bare.lower()):
            break
        said.append(re.sub(r"^(\w+(?: \w+)?)\s*(?::|\s[-\u2013\u2014]\s)\s*", r"\1 ", bare))
    return said


def cells_of(line: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table_row(cells: list[str], headings: list[str]) -> str:
    """A row of a table as a heading and its answers.

    The columns of a side say it; of columns that are answers the ticked one counts; what follows a denial is a remark.
    """
    name, *rest = cells
    if len(headings) == len(cells) and all(map(FINDING.search, map(str.lower, headings))) and answer_of(name):
        return "; ".join(f"{heading}: {cell}" for heading, cell in zip(headings, cells, strict=True))
    if (
        len(headings) == len(cells) > 1
        and all(map(FINDING.search, map(str.lower, headings[1:])))
        and all(map(answer_of, rest))
    ):
        return "; ".join(f"{heading}: {cell}" for heading, cell in zip(headings[1:], rest, strict=True))
    if all(map(FINDING.search, map(str.lower, cells))) and answer_of(name.split()[-1]):
        return ". ".join(cells)  # "effusion none | pneumothorax small"
    if len(headings) == len(cells) > 2 and all(map(answer_of, headings[1:])):
        ticked = [head for head, cell in zip(headings[1:], rest, strict=True) if re.fullmatch(rf"[xX]|{_TICKED}", cell)]
        return f"{name}: {ticked[0]}" if len(ticked) == 1 else name
    if len(headings) == len(cells) and any(_SIDE.fullmatch(heading) for heading in headings[1:]):
        return f"{name}: {'; '.join(f'{heading} {cell}' for heading, cell in zip(headings[1:], rest, strict=True) if cell)}"
    first = answer_of(rest[0]) if rest else None
    if first is not None and first[0] == "no":
        return f"{name}: {'; '.join([rest[0], *(cell for cell in rest[1:] if FINDING.search(cell.lower()))])}"
    return f"{name}: {' '.join(cell for cell in rest if cell)}"
