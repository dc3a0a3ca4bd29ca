"""Lists, pairs of lines and tables whose parts belong together, as one line for each finding.

A heading that says the state of the list below it (``Absent:``), a finding and its status in two lines, boxes of which one
is ticked, a table with a column for yes and one for no, and short lines under the title of an organ (``## Heart``).
"""

from __future__ import annotations

import re

from modules.labelling.answers import FINDING, SIDES, answer_of, state_of

RULE = re.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|?)+\s*")
_SIDE = re.compile(SIDES, re.IGNORECASE)
_ORGAN = re.compile(
    r"(?:the )?(?:heart(?: size)?|cardiac (?:silhouette|size)|cardiomediastinal (?:silhouette|contours?)|mediastin(?:um|al contours?)"
    r"|lungs?(?: fields?| volumes?)?|aorta|pulmonary vasculature|diaphragms?|hemidiaphragms?|bones?|spine|pleura|pleural spaces?)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"\s*(?:#{1,6}\s+|\*\*|__)(?P<name>[A-Za-z /-]{3,40}?)\s*:?(?:\*\*|__)?\s*:?\s*")
_BULLET = re.compile(r"\s*(?:[-*+\u2022]|\d{1,2}[.)])\s+")
_WORDS = 4  # of a line that says something of the organ above it and does not name it
_STATE_TITLE = re.compile(r"\s*(?:#{1,6}\s+|\*\*|__)?(?P<name>[A-Za-z][A-Za-z ]{1,40}?)(?:\*\*|__)?\s*:?(?:\*\*)?\s*")
_NAMED = r"(?:finding|name|observation|condition|abnormality)"
_STATUS = r"(?:status|present|presence|state|answer|value)"
_PAIRS = (
    (re.compile(rf"\b{_NAMED}\s*:\s*([^;:,\n]+?)\s*[;,\n]\s*(?:-\s+)?{_STATUS}\s*:\s*", re.IGNORECASE), r"\1: "),
    (re.compile(rf"(?m)^([^\S\n]*(?:-\s+)?[A-Za-z][\w ]*):[^\S\n]*\n\s+{_STATUS}\s*:\s*", re.IGNORECASE), r"\1: "),
    (re.compile(r"\?\s*(?:A|Answer)\s*\d*\s*[:.]\s*", re.IGNORECASE), "? "),
    (re.compile(r"\s*[(\[]\s*(?:yes ?/ ?no|y ?/ ?n|present ?/ ?absent)\s*[)\]](?=\s*[:?])", re.IGNORECASE), ""),
    (re.compile(r"([(\[]\s*(?:[-+?]|neg|pos|no|yes)\s*[)\]])\s+(?=[A-Z][a-z]+\s?[(\[])"), r"\1. "),
    (re.compile(r"(?<=\S)\s+[\u2022\u25cf\u25aa]\s+(?=\S)"), "\n\u2022 "),
)
_TICKED, _EMPTY = r"(?:\[\s*[xX]\s*\]|\(\s*[xX]\s*\)|[\u2611\u2612\u2705\u2713\u2714])", r"(?:\[\s*\]|\(\s*\)|\u2610)"
_OPTION = r"(yes|no|present|absent|positive|negative|possible)"
_OTHER = _OPTION.replace("(", "(?:")
_TICKS = (
    re.compile(
        rf"(?::|(?<=\?))\s*(?:{_EMPTY}\s*{_OTHER}\s*)?{_TICKED}\s*{_OPTION}(?:\s*{_EMPTY}\s*{_OTHER})?(?=\s*(?:$|[.;\n]))",
        re.IGNORECASE,
    ),
    re.compile(
        rf":\s*(?:{_OTHER}\s*{_EMPTY}\s*)?{_OPTION}\s*{_TICKED}(?:\s*{_OTHER}\s*{_EMPTY})?(?=\s*(?:$|[.;\n]))",
        re.IGNORECASE,
    ),
)


def line_for_line(report: str) -> str:
    """The report with what belongs together in one line; equal to it where it has no such lists."""
    for pattern, line in _PAIRS:
        report = pattern.sub(line, report)
    for ticks in _TICKS:
        report = ticks.sub(r": \1", report)
    return _named_organs(_stated_lists(report))


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
            organ = title["name"].strip() if _ORGAN.fullmatch(title["name"].strip()) else ""
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
