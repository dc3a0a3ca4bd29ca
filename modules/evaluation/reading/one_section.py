"""One section of a report that someone wrote as ``Findings: .. Impression: ..``, with whatever else stands around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modules.corpus.archive_lines import without_archive_lines
from modules.corpus.cells import is_empty
from modules.corpus.lost_line_ends import with_paragraphs
from modules.corpus.nothing_said import NO_COMPARISON
from modules.corpus.section_asides import (
    ASIDES,
    DIAGNOSIS,
    FIRST_SENTENCE,
    OF_THE_STUDY,
    REMARK,
    WITH_COLON,
    without_listed_asides,
)
from modules.corpus.section_names import ANOTHER, GOES_ON, OF_THE_FILM, ORGAN, RECORD, SIGNATURE, WEIGHED
from modules.corpus.section_titles import (
    DESCRIBED,
    MARKS,
    MARKS_BEHIND,
    NAMES,
    final_parts,
    kind_of_title,
    without_titles,
)
from modules.labelling.added_sections import without_added_sections
from modules.labelling.findings_apart import with_findings_apart
from modules.labelling.spoken_of import is_said_of_the_film, remarks_a_finding

_DEGREE = r"(?:ab)?normal|positive|negative"
_WHOSE = rf"(?:(?:{OF_THE_FILM}|{WEIGHED}|{_DEGREE}|{ANOTHER}|report|techniques?[^\S\n]+(?:and|&))[^\S\n]+){{1,3}}"
_BETWEEN = r"(?:[|/\\;\u2022\u00b7\u2013\u2014-]{1,3}|<br\s*/?>)"  # between two sections on one line
_BOLD = r"[*_]{0,3}"
_LINE = rf"(?:^|\n)\s*{MARKS}"  # where a line begins
_NUMBER = r"(?:(?:(?:\d{1,2}|[IVX]{1,4})[.)]|[A-F]\))\s+)?"  # "vitamin D. Impression: .." has none
_BEGINS = (  # a text, a line or a sentence, also one without a blank before it
    rf"(?:{_LINE}|(?:(?<=[.!?:]\s)|\s{_BETWEEN}(?=\s))\s*(?:{_BETWEEN}\s+)?(?-i:{_NUMBER})(?:#{{1,6}}\s+)?{_BOLD}(?-i:{_NUMBER})|(?-i:(?<=[.!?:)\]a-z])(?=[A-Z])))"
)
_HEADER = re.compile(
    # "## 1. Findings", "=== FINDINGS ===", or "FINDINGS" and a text below it, on a line of its own
    rf"{_LINE}(?P<whose_line>{_WHOSE})?(?P<line>{NAMES})[^\S\n]*{MARKS_BEHIND}(?=\n)"
    # "Findings: ..", "1. Findings - ..", "[Findings] .." or "Final Impression: .." at such a place
    rf"|{_BEGINS}(?:(?P<whose>{_WHOSE})?(?P<name>{NAMES})[\])]?{_BOLD}\s*[:=]{_BOLD}(?:\n[=-]{{3,}}(?=\n))?|(?P<dashed>{NAMES}){_BOLD}[^\S\n]+[-\u2013\u2014](?=\s)"
    rf"|\[(?P<marked>{NAMES})\]:?|(?P<diagnosis>{DIAGNOSIS}){_BOLD}[^\S\n]*:{_BOLD})"
    # these need no end of a sentence before them, not even where a model writes small letters alone
    r"|(?-i:(?<=[a-z0-9,;)_\]])\s+(?:(?:FINAL|OVERALL|RADIOLOG\w+)\s+)?(?P<capitals>FINDINGS|IMPRESSION|IMP):|(?<=[A-Za-z0-9,;)_\]])\s+(?P<inside>[Ii]mpression):)",
    re.IGNORECASE,
)
_QUOTED_HEADING = re.compile(rf"^[^\S\n]*>[^\S\n]*[#*_]*[^\S\n]*{NAMES}", re.IGNORECASE | re.MULTILINE)
_GOES_ON = re.compile(  # a sentence that "an impression: .." is part of
    rf"\b(?:{GOES_ON}|clinical|overall|radiographic|initial|general|prior|previous|final)\s*\Z", re.IGNORECASE
)
_OPENS, _REMARK = re.compile(rf"(?i)\W*{OF_THE_STUDY}\b"), re.compile(rf"(?i)\W*{REMARK}")
_OF_THE_RECORD = re.compile(rf"\b(?:{RECORD})\W*\Z", re.IGNORECASE)
_NO_ITEM = r"(?![-*+\u2022\u00b7\u2013\u2014][^\S\n]|\w{1,4}[.)])"  # of a list, which goes on behind it
_ASIDE = re.compile(  # what is neither: at the beginning of a line, behind a sentence or in capitals
    rf"(?:^|\n)[ \t]*{_NO_ITEM}{MARKS}(?:(?:{ASIDES})(?:{_BOLD}[^\S\n]*:{_BOLD})|(?=(?-i:[A-Z]))(?:{ASIDES})[^\S\n]*{MARKS_BEHIND}(?=\n))"
    rf"|(?:(?:^|\n)\s*|(?-i:(?<=[a-z.?!;:)_]))\s+)(?-i:{WITH_COLON})"
    rf"|(?-i:(?<=[a-z0-9.?!;:)_\]]))\s(?-i:{ASIDES.upper()}):|(?<=[.!?:])\s*(?=(?-i:[A-Z]))(?:{ASIDES})[^\S\n]*:|(?-i:\sRecommendations?:)",
    re.IGNORECASE,
)
_CLOSES = re.compile(rf"(?:(?:^|\n)[^\w\n]{{0,40}}|(?<=[.!?])\s+){SIGNATURE}|\s(?-i:END OF (?:REPORT|IMPRESSION|FINDINGS))\b", re.IGNORECASE)  # fmt: skip
_BODY = r"[^\S\n]*[*#_]*(?:report|results?)[*_]*[^\S\n]*:[*_]*"
_REPORT, _SENTENCE = re.compile(rf"^{_BODY}", re.IGNORECASE | re.MULTILINE), re.compile(r"[a-z]{2}\.(?=\s|\Z)")
_ENDS_ASIDE = re.compile(
    rf"\n\s*\n|\n(?={_BODY}|\s*(?:[-*\u2022]\s+)?{_BOLD}(?:{ORGAN})[^:\n.]{{0,40}}:)", re.IGNORECASE
)
_NOTHING_MORE = re.compile(  # "Additional Findings: None." on a line of its own
    rf"(?:^|\n)[ \t]*{_BOLD}(?:additional|other|incidental|further|associated|unexpected|remaining)[^\S\n]+findings{_BOLD}[^\S\n]*:{_BOLD}"
    r"[^\S\n]*(?:none(?: \w+)?|nil|n/?a|not applicable)[.\s]*(?=\n|\Z)",
    re.IGNORECASE,
)
_RULE = re.compile(r"\s*\n[ \t]*(?:-{3,}|\*{3,}|_{3,}|={3,})\s*\Z")
_TITLE = re.compile(  # of the report, or of a view
    rf"\A\s*(?:[*#_ ]*(?:results?|narrative|(?:report )?body|{DESCRIBED})(?:[*_]*\s*:[*_]*|(?<=[a-zA-Z])[*_]*(?=\s*\n))"
    r"|[*#_ ]*(?:(?:final|radiology|chest|x-?ray|cxr|imaging)\s+)*report\b[*_]*(?:\s*:|(?=\s*(?:\n|\Z))|(?-i:(?<=REPORT)))[*_]*)?"
    r"(?:\s*(?-i:[A-Z0-9 ,./()&'-]*\b(?:CHEST|VIEWS?|RADIOGRAPHS?|PORTABLE|LATERAL)\b(?:[A-Z0-9 ,./()&'_-]|(?<=\d):(?=\d))*):(?!\d)\s*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Heading:
    """Where something stands that begins or ends a section.

    Args:
        start: of the heading in the text.
        stop: where the heading ends and its section begins.
        kind: of the section: ``findings``, ``impression``, ``both`` of them in one, ``doubtful`` (an impression where there is
            no other), ``aside`` (neither), or ``end`` (a signature: what follows belongs to no section).
        main: whether it is called findings or impression.
    """

    start: int
    stop: int
    kind: str
    main: bool = False


def one_section(text: str, section: str) -> str:
    """One section of a report of the form ``Findings: .. Impression: ..``; the whole text if it has no such headers.

    A conclusion below something else is the impression; recommendations, technique and their like belong to neither, nor does what
    stands under a signature, an addendum below the report, or what stands above its last FINAL REPORT. Without a heading of
    findings, they are what stands before the impression, unless that only says what was examined.

    Args:
        text: the report.
        section: ``"findings"``, ``"impression"``, or ``"both"``: ``Findings: .. Impression: ..`` again, without the rest; a text
            that is just that stays as it is.

    Returns:
        The section; ``""`` if the report has headers and not this section.
    """
    whole, text = text, with_paragraphs(without_archive_lines(text))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines()))
    if _QUOTED_HEADING.search(text):
        text = re.sub(r"(?m)^[^\S\n]*>[^\S\n]?", "", text)
    if not _has_sections(text):
        return whole
    text = with_findings_apart(without_listed_asides(_NOTHING_MORE.sub("", without_added_sections(text))))
    text, *added = final_parts(text, _has_sections)
    parts = _parts(text)
    for more in map(_parts, added):  # a section that stands nowhere above
        parts |= {kind: more[kind] for kind in ("findings", "impression") if more.get(kind) and not parts.get(kind)}
    joined = {kind: ("\n" if "\n" in whole else " ").join(dict.fromkeys(pieces)) for kind, pieces in parts.items()}
    impression = joined.get("impression") or joined.get("doubtful", "")
    findings = joined["findings"] if "findings" in joined else joined["before"]
    if section != "both":
        return {"findings": findings, "impression": impression}[section]
    once = impression == findings and any(heading.kind == "both" for heading in _headings(text))
    named = {"Findings": findings, "Impression": "" if once else impression}
    plain = " ".join(f"{name}: {part}" for name, part in named.items() if part)
    said = " ".join(f"{name}: {part}" for name, part in named.items() if not is_empty(part))
    return whole if said and plain.split() == whole.split() else said  # as ReXrank writes it, "Impression: None" too


def _parts(text: str) -> dict[str, list[str]]:
    """Texts by the kind of the section that they stand in; what stands before the first heading is ``"before"``."""
    parts: dict[str, list[str]] = {}
    headings = _headings(text)
    kind, stops = "before", [heading.start for heading in headings]
    _add(parts, kind, text[: stops[0]])
    closed, stops = False, [*stops[1:], len(text)]
    for heading, stop in zip(headings, stops, strict=True):
        body = text[heading.stop : stop]
        name = text[heading.start : heading.stop]
        if kind == "before" and not parts[kind] and (heading.kind == "end" or _OF_THE_RECORD.search(name)):
            _add(
                parts, kind, body.partition("\n")[2]
            )  # above the report: "Thank you for referring ..", "Radiologist: Dr X"
            continue
        closed = heading.kind == "end" or (closed and not heading.main)
        if closed:
            continue
        if heading.kind == "aside":
            none = NO_COMPARISON.match(body) if "comparison" in name.lower() else None
            begins = kind != "before" and not any(parts.get(kind, ()))  # the section, which goes on behind it
            begins = begins and bool(_OPENS.match(name) or (kind == "findings" and "plan" in name.lower()))
            remark = _REMARK.match(name) and (begins or kind == "findings") and remarks_a_finding(body)
            _add(parts, kind, body if remark else body[none.end() :] if none else _behind(body, begins))
            continue
        kind = heading.kind
        _add(parts, kind, body)
    parts["before"] = list(filter(None, map(_untitled, _below_the_record(parts["before"]))))
    for piece in parts.pop("both", []):
        for of in ("findings", "impression"):
            _add(parts, of, piece)
    return parts


def _below_the_record(texts: list[str]) -> list[str]:
    """Texts under no heading from a line ``Report: ..`` on, if there is one with no sentence above: what an archive knows stands there."""
    for number, text in enumerate(texts):
        report = _REPORT.search(text)
        if report and not any(map(_SENTENCE.search, [*texts[:number], text[: report.start()]])):
            return [text[report.end() :], *texts[number + 1 :]]
    return texts


def _untitled(text: str) -> str:
    """What a text under no heading says, without the titles of a report or of a view above it."""
    return without_titles(_TITLE.sub("", without_titles(text)).strip())


def _add(parts: dict[str, list[str]], kind: str, text: str) -> None:
    """Add a text to a section, which is there even if it is empty."""
    texts = parts.setdefault(kind, [])
    text = _RULE.sub("", text).strip()
    if text:
        texts.append(text)


def _behind(body: str, first_sentence: bool) -> str:
    """What goes on behind an aside: it owns a paragraph, up to an organ's line, or one sentence of a section that has not begun."""
    body = body.lstrip()
    if first_sentence:
        return "".join(FIRST_SENTENCE.split(body, maxsplit=1)[1:])
    end = _ENDS_ASIDE.search(body)
    return body[end.end() :] if end else ""


def _headings(text: str) -> list[_Heading]:
    """Everything that begins or ends a section, in order."""
    asides = (match for match in _ASIDE.finditer(text) if not is_said_of_the_film(match[0], text[match.end() :]))
    found = [_Heading(match.start(), match.end(), "aside") for match in asides]
    for match in _CLOSES.finditer(text):
        found.append(_Heading(match.start(), match.end(), "aside" if match[0].lower().endswith("findings") else "end"))
    kind = ""  # of the section that the text stands in
    headers = [
        (match, _name(match), (match["whose"] or match["whose_line"] or "").strip()) for match in _HEADER.finditer(text)
    ]
    plain = any(name.startswith("findings") and not whose for _, name, whose in headers)
    for match, name, whose in headers:
        begun = _kind_of(name, whose, text, match)
        weighed = kind and re.search(rf"(?i)\b(?:{WEIGHED})\b", whose) and not _on_own_line(text, match)
        if not begun or (whose and begun == kind) or weighed:
            continue  # "Key findings: .." inside a section goes on with it
        degree = re.search(rf"(?i)\b(?:{_DEGREE})\b", whose)
        if begun == "findings" and (degree or not re.match(r"findings(?!\()", name)):  # by another name
            sure = match[0].isupper() or (_on_own_line(text, match) and (kind, name) != ("impression", "finding"))
            if plain or not sure or (degree and not found and _untitled(text[: match.start()])):
                continue
        kind = begun if begun != "aside" else kind
        main = re.search(r"finding|observation|\bimp", name) is not None
        found.append(_Heading(match.start(), match.end(), begun, main))
    apart: list[_Heading] = []  # of those that overlap the first, and of these the longest
    for heading in sorted(found, key=lambda heading: (heading.start, -heading.stop)):
        if not apart or heading.start >= apart[-1].stop:
            apart.append(heading)
    return apart


def _kind_of(name: str, whose: str, text: str, match: re.Match[str]) -> str | None:
    """Kind of what a header begins, None where it is part of a sentence."""
    small = match[0].islower() and not text.lstrip().startswith("findings")
    if small and (match["inside"] or (match[0][0] in " \t" and text[: match.start()].rstrip()[-1:] not in ".!?:")):
        return None  # "the following / findings: a nodule"
    if match["inside"] and _GOES_ON.search(text, max(0, match.start() - 20), match.start()):
        return None
    if match["diagnosis"]:
        return "doubtful"
    if match["line"] and _ends_sentence(text, match):
        return None
    if re.search(rf"[(\[,].*\b(?:{ANOTHER})\b", name):
        return "aside" if _on_own_line(text, match) else None
    kind = kind_of_title(name)
    if kind == "both":
        return kind
    findings = kind == "findings"
    if re.search(rf"(?i)\b(?:{ANOTHER})\b", whose):
        if not findings and re.fullmatch(r"(?i)clinical", whose):
            return "doubtful"  # of the film as the clinic sees it, or of the clinic
        return "aside" if _on_own_line(text, match) or whose.isupper() else None
    return kind


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    """Whether what stands alone on a line without a mark is the end of a sentence: ``seen on / CT findings``."""
    start = match.start("whose_line" if match["whose_line"] else "line")
    if (text[match.start() : start] + text[match.end("line") : match.end()]).strip():
        return False
    goes_on = re.search(r"[\w,]\Z", text[: match.start()]) and not re.match(r"\n\s*\n", match[0])
    known = text[start : match.end()].strip().lower() in ("findings", "impression")
    return match["line"][0].islower() or (goes_on is not None and not known)


def _on_own_line(text: str, match: re.Match[str]) -> bool:
    """Whether a header begins a line."""
    return match.start() == 0 or text[match.start()] == "\n"


def _name(header: re.Match[str]) -> str:
    """What a header is called, in small letters: which of the forms of ``_HEADER`` it has does not matter."""
    names = ("name", "dashed", "marked", "diagnosis", "line", "capitals", "inside")
    return next(filter(None, (header[name] for name in names))).lower()


def _named(text: str) -> set[str]:
    """Kinds of the sections that a text calls findings or impression, both included."""
    return {heading.kind for heading in _headings(text) if heading.main and heading.kind != "aside"}


def _has_sections(text: str) -> bool:
    """Whether a text names findings or impression; or a conclusion below something else, or a history above ``Report:``."""
    if (named := bool(_named(text))) or not _headings(text):
        return named
    parts = _parts(text)
    return bool(parts["before"] and (parts.get("impression") or _REPORT.search(text)))


def named_sections(text: str, outright: bool = False) -> set[str]:
    """Which of findings and impression a report names; ``outright`` by these names, so that a conclusion is none."""
    kinds = {heading.kind for heading in _headings(text) if heading.main or not outright}
    return kinds & {"findings", "impression"} | ({"findings", "impression"} if "both" in kinds else set())
