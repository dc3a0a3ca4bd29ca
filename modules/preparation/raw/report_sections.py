"""Find the findings and the impression in a free-text radiology report as MIMIC-CXR publishes it.

A report is read line by line. A line may begin a section with a header, which is

    capital letters up to a colon                     FINDINGS:   CHEST, PA AND LATERAL:   REASON FOR EXAM:
    a known name up to a colon, in any case           Findings:   impression:
    a known name behind words of the film             Final Impression:   Radiographic Findings:
    a known name alone on its line                    FINDINGS
    a known name in capitals before a dash or sentence   FINDINGS - Clear.   FINDINGS The lungs are clear.
    a known name in marks                             [FINDINGS]   **Findings:**   ## Findings   (FINDINGS)   --- FINDINGS ---
    a known name with a number, a bullet, another mark   1. FINDINGS:   - FINDINGS:   FINDINGS =   FINDINGS | underlined

where a name without a capital letter counts only at the start of a paragraph or after the end of a sentence, so that
``the following / findings: small effusion`` stays text. FINDINGS and IMPRESSION in capitals with a colon count inside a
line too, in other cases after the end of a sentence or behind another header of the line (:mod:`modules.corpus.lost_line_ends`). A header of the history, technique, communication ... owns one
paragraph, and so does one of another's findings (``PRIOR FINDINGS:``, ``CLINICAL IMPRESSION:``, ``CRITICAL FINDINGS:``); findings and
impression go on to the next header, and names of organs (``LUNGS:``) inside them are text. Of other headers (``DETAILS:``,
``CHEST, TWO VIEWS:``) the text stays and the name goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modules.corpus.archive_lines import without_archive_lines
from modules.corpus.lost_line_ends import with_paragraphs
from modules.corpus.nothing_said import says_nothing
from modules.corpus.section_asides import ASIDES, OF_THE_STUDY, REMARK, WITH_COLON, without_listed_asides
from modules.corpus.section_names import OF_THE_FILM, ORGAN, RECORD, SIGNATURE
from modules.corpus.section_titles import DESCRIBED, final_parts, without_titles
from modules.labelling.added_sections import without_added_sections
from modules.labelling.findings_apart import with_findings_apart
from modules.labelling.spoken_of import remarks_a_finding, speaks_of_a_finding
from modules.preparation.raw.report_headings import (
    DOUBTFUL,
    NAMES,
    OF_FINDINGS,
    OWNS_MORE,
    heading,
)
from modules.preparation.raw.studies import SECTIONS, join_sections

_QUOTED = re.compile(r"^[^\S\n]*>[^\S\n]?", re.MULTILINE)
_LISTED = re.compile(  # "1. FINDINGS:", "II. FINDINGS:", "- **Findings:**", an emoji before it
    rf"^[^\S\n]*(?:[-*\u2022]{{1,3}}[^\S\n]+|\(?(?:\d{{1,2}}|[IVX]{{1,4}}|[A-D])[.)][^\S\n]+|[^\w\s(\[<#*_-]+[^\S\n]*)"
    rf"(?=(?:\*\*|__)?(?=(?-i:[A-Z])){NAMES}[^\S\n]*(?:[:;|=]|\*\*|__))",
    re.MULTILINE | re.IGNORECASE,
)
_OTHER_MARK = re.compile(  # "FINDINGS::", "FINDINGS:-", "FINDINGS |", "FINDINGS =", a colon in the next line
    rf"^([^\S\n]*(?=(?-i:[A-Z])){NAMES})[^\S\n]*(?:::+|:-+(?=\s)|\||=|[\u2013\u2014](?=\S)|\n[^\S\n]*:)[^\S\n]*",
    re.MULTILINE | re.IGNORECASE,
)
_MARK = r"(?:(?:[|/\\>*\u2022\u00b7\u2192\u2013\u2014-]{1,3}|\d{1,2}[.)])[^\S\n]+)"  # a bullet or a number
_OPENS_MARKED = r"(?:\*{2,3}|__|\[|[=-]{2,5}[^\S\n]*|#{1,6}[^\S\n]+)"
_CLOSES_MARKED = r"(?::|\*\*|__|\]|[^\S\n]*[=-]{2,5}(?![=-]))"
_MARKED_INSIDE = re.compile(  # "A nodule. [IMPRESSION] ..", ".. | IMPRESSION:", ".. 2. **Impression:**", ".. **Note:** .." on one line
    rf"(?<!\s\d[.])(?<!\s\d\d[.])(?<!^\d[.])(?<=[.;!?|])[^\S\n]+(?=(?:{_MARK}{_OPENS_MARKED}?(?-i:(?=[A-Z])){NAMES}|{_OPENS_MARKED}(?-i:(?=[A-Z]))(?:{NAMES}|{ASIDES})){_CLOSES_MARKED})",
    re.MULTILINE | re.IGNORECASE,
)
_RULED = re.compile(  # "=== FINDINGS ===", "--- IMPRESSION ---", "=== FINDINGS"
    rf"^[^\S\n]*([=-]{{2,5}})[^\S\n]*((?=(?-i:[A-Z]))(?:{NAMES}|{ASIDES})):?[^\S\n]*(?:\1[=-]*|$)",
    re.MULTILINE | re.IGNORECASE,
)
_MARKED_WHOSE = re.compile(  # "**Overall Impression:** ..", "### Image Analysis"; a name without a word before it is known with its marks
    rf"^[^\S\n]*(?:#{{1,6}}[^\S\n]+(?:\*\*|__)?|\*\*|__)((?=(?-i:[A-Z]))(?:(?:[\w'/-]+[^\S\n]){{1,3}}(?:findings?|impressions?)|(?:{OF_THE_FILM})?[^\S\n]?diagnos[ie]s|{DESCRIBED}))"
    r"(?::(?:\*\*|__)?|(?:\*\*|__):?|[^\S\n]*$)",
    re.MULTILINE | re.IGNORECASE,
)
_UNDERLINED = re.compile(
    rf"^([^\S\n]*(?=(?-i:[A-Z])){NAMES}:?)[^\S\n]*\n[^\S\n]*[-=]{{3,}}[^\S\n]*$", re.MULTILINE | re.IGNORECASE
)
_INSIDE = re.compile(  # where a section begins inside a line; not behind capitals: AND IMPRESSION:, CRITICAL FINDINGS:
    # as in "No nodule.IMPRESSION: .."
    r"(?<=[.?!:])(?=(?:FINDINGS?|IMPRESSIONS?|CONCLUSIONS?|Findings?|Impressions?|Conclusions?):)"
    # as in "no nodule IMPRESSION: ..", "no nodule. RECOMMENDATION: .."
    r"|(?<=[a-z.?!;:)_])\s+(?=(?:FINDINGS?|IMPRESSIONS?|CONCLUSIONS?|INTERPRETATION|SUMMARY|OPINION|ASSESSMENT|IMPR?|CONCL|DIAGNOS[IE]S|DX)"
    r"(?:\s*(?:AND|/|&)\s*(?:FINDINGS?|IMPRESSIONS?|RECOMMENDATIONS?(?:\(S\))?))?:"
    rf"|{ASIDES.upper()}:|{WITH_COLON})"
    # as in "Cough. FINDINGS, PA AND LATERAL: ..", "Cough. FINDINGS The lungs .."
    r"|(?<=[a-z_][.?!])\s+(?=(?:FINDINGS?|IMPRESSIONS?)(?:\s*;|\s+:|,? [(\[]?[A-Z][A-Z ,/]{1,30}[)\]]?:|\.?\s+[A-Z][a-z]))"
    # as in "No nodule. CRITICAL FINDINGS: ..", "No nodule. I, the attending, ..", "No nodule. Final Impression: .."
    r"|(?<=[a-z_][.?!])\s+(?=(?:[A-Z][A-Z'/-]+\s+){1,3}(?:FINDINGS?|IMPRESSIONS?|DIAGNOS[IE]S):)"
    rf"|(?<=[.?!])\s+(?=(?i:{SIGNATURE}|(?:{RECORD})\s*:))"
    r"|(?<=[.?!])\s+(?=(?:[A-Z][\w'/-]+\s+){1,3}(?:[Ff]indings?|[Ii]mpressions?):)"
    # as in "No nodule. Impression: .."
    r"|(?<=[.?!])\s+(?=(?:Findings?|Impressions?(?:\s*(?:and|/|&)\s*[Rr]ecommendations?(?:\([Ss]\))?)?|Conclusions?|Interpretation|Summary|Opinion|Assessment|Diagnos[ie]s"
    rf"|(?=[A-Z])(?i:{ASIDES})|findings?|impressions?|conclusions?)\s*:)"
    # as in "Chest: Findings: .."
    rf"|(?<=:)\s+(?=(?:Findings?|Impressions?|Conclusions?|(?=[A-Z])(?i:{OF_THE_STUDY}))\s*:)"
)
_RULE = re.compile(r"(?i)\s*(?:[_=-]{5,}|[*_=-]{2,}\s*final(?: report)?\s*[*_=-]{2,})\s*")
_THIN_RULE = re.compile(r"^[^\S\n]*(?:-{3,4}|={3,4}|\*{3,})[^\S\n]*$", re.MULTILINE)  # of Markdown, inside a section
_TAGS = re.compile(r"<(/?)(findings?|impressions?|conclusions?)\s*>", re.IGNORECASE)
_SIGNATURE = re.compile(rf"[^\w\n]{{0,40}}{SIGNATURE}.*", re.IGNORECASE)
_CLOSES = re.compile(r"\s*end of (?:report|impression)\b", re.IGNORECASE)
_REOPENS = re.compile(r"\W*(?:[\w-]+\s+){0,3}(?:findings?|impressions?)\b", re.IGNORECASE)
_DOCTOR = re.compile(r"\s*DR\.? [A-Z_].*")
_OF_THE_RECORD = re.compile(rf"(?i)\s*(?:{RECORD})\s*:")
_ORGANS_LINE = re.compile(rf"(?i)\s*(?:[-*\u2022]\s+)?(?:{ORGAN})[^:\n.]{{0,40}}:")
_REMARK = re.compile(rf"(?i)\W*{REMARK}")
_OPENS = re.compile(rf"(?i)\W*(?:{OF_THE_STUDY})\b")
_WET_READ = re.compile(r"^[^\S\n]*WET READ\b[^:\n]*(?:\d:\d\d[^:\n]*)?$", re.MULTILINE)  # of a version and an hour
_OF_THE_VIEW = re.compile(  # a paragraph that says what was looked at, and with what it was compared
    r"(?:(?:[\w-]+ ){0,6}(?:radiographs?|views?|films?|images?|study|studies|examination)(?: of the chest)? (?:was|were|is|are) "
    r"(?:reviewed|compared|obtained|provided|submitted|performed)|comparison (?:is|was) made)\b[^.;]*\.?"
    r"|(?:(?:single|portable|upright|supine|erect|semi-?erect|frontal|lateral|oblique|pa|ap|one|two|three|[123]|of|the|and|chest"
    r"|views?|radiographs?|films?|x-?rays?|images?|projections?)\b[\s,/&-]*)+\.?",
    re.IGNORECASE,
)
_ENDS_SENTENCE = re.compile(r"[.:;?!]\s*$")


@dataclass(frozen=True, slots=True)
class Sections:
    """Texts of a report, with single spaces; empty where the report has none.

    Args:
        findings: under a header that names findings.
        impression: under a header that names an impression or conclusion.
        unnamed: paragraphs under no header, or under a header of views or organs, that read like findings.
    """

    findings: str
    impression: str
    unnamed: str


def find_sections(report: str) -> Sections:
    """Read a report; several sections of one kind are joined in order, repeated ones once."""
    report = with_findings_apart(without_added_sections(with_paragraphs(without_archive_lines(report))))
    texts, *addenda = map(_texts, final_parts(report, _says_something if "FINAL REPORT" in report else str.strip))
    for kind in SECTIONS:
        texts[kind] = next((found[kind] for found in (texts, *addenda) if found[kind]), [])
    return Sections(*(" ".join(texts[kind]) for kind in (*SECTIONS, "unnamed")))


def _says_something(part: str) -> bool:
    """Whether a part of a report has a section, or a text that speaks of a finding; a footer has neither."""
    texts = _texts(part)
    named = texts["impression"] or texts["findings"] != texts["report"]
    return bool(named) or speaks_of_a_finding(" ".join(texts["report"] + texts["unnamed"]))


def _texts(part: str) -> dict[str, list[str]]:
    """The texts of a part of a report by the kind of their section."""
    texts: dict[str, list[str]] = {"findings": [], "impression": [], "unnamed": [], "aside": [], "report": []}
    for kind, lines in _sections(_with_plain_headers(part)):
        text = " ".join(" ".join(lines).split())
        if not text or says_nothing(text) or (kind == "unnamed" and _OF_THE_VIEW.fullmatch(text)):
            continue
        if kind == "described":  # DESCRIPTION: XR CHEST 2 VIEWS is none
            kind = "report" if speaks_of_a_finding(text) else "unnamed"
        both = kind.endswith("combined")
        for one in [kind.replace("combined", section) for section in SECTIONS] if both else [kind]:
            found = texts.setdefault(one, [])
            if text not in found:
                found.append(text)
    for kind in SECTIONS:
        texts[kind] = texts[kind] or texts.get(f"{DOUBTFUL}{kind}", [])
    texts["findings"] = texts["findings"] or texts["report"]
    return texts


def _with_plain_headers(report: str) -> str:
    """The report with its headers as ``FINDINGS: ..``, whatever mark, number or line stands beside them."""
    report = _RULED.sub(r"\2:", _MARKED_INSIDE.sub("\n", without_listed_asides(report)))
    report = _TAGS.sub(lambda tag: "\n" if tag[1] else f"\n{tag[2].upper()}: ", report.replace("\uff1a", ":"))
    report = _MARKED_WHOSE.sub(r"\1:", report)
    report = _UNDERLINED.sub(r"\1:", _OTHER_MARK.sub(r"\1: ", _LISTED.sub("", _QUOTED.sub("", report))))
    return _THIN_RULE.sub("", _WET_READ.sub(r"\g<0>:", report))


def extract(report: str, section: str, unnamed: bool = True) -> tuple[str, str]:
    """The text of the wanted section and where it stood.

    Args:
        report: whole report.
        section: ``"findings"``, ``"impression"`` or ``"both"``; a section "findings and impression" is either.
        unnamed: take paragraphs without a header for the findings of a report that names neither findings nor an
            impression, if they speak of a finding.

    Returns:
        The text, empty if the report lacks the section, and ``"header"`` or ``"no header"``.
    """
    found = find_sections(report)
    by_header = join_sections(found.findings, found.impression, section)
    if by_header or found.findings or found.impression or not unnamed or section == "impression":
        return by_header, "header"
    return (found.unnamed, "no header") if speaks_of_a_finding(found.unnamed) else ("", "header")


def _sections(report: str) -> list[tuple[str, list[str]]]:
    """Kind and lines of each section of a report, in order; for the kinds see :func:`heading`."""
    sections: list[tuple[str, list[str]]] = [("preamble", [])]
    before = ""  # the line before, empty where a paragraph begins
    owed = ""  # kind of a section in which an aside has begun before it said anything
    closed = False  # whether END OF REPORT stands above
    for whole_line in report.split("\n"):
        for line in _INSIDE.split(whole_line):
            kind, lines = sections[-1]
            if owed and kind == "aside" and (not line.strip() or _ENDS_SENTENCE.search(before)):
                sections.append((owed, []))  # "FINDINGS: COMPARISON: None." does not end the findings before they begin
                kind, lines = sections[-1]
                owed = ""
            if kind == "aside" and _ORGANS_LINE.match(line) and sections[-2:-1] and sections[-2][0] in OF_FINDINGS:
                sections.append((sections[-2][0], [line]))  # "Comparison: None." between the lines of two organs
                before = line
                continue
            if not line.strip():
                if kind in ("aside", "preamble", "unnamed") and any(part.strip() for part in lines):
                    sections.append(("preamble", []))  # an aside owns one paragraph
                before = ""
                continue
            ruled = _RULE.fullmatch(line)
            if ruled or _SIGNATURE.fullmatch(line) or _DOCTOR.fullmatch(line):
                begins = not any(
                    any(texts) for _, texts in sections
                )  # "Thank you for referring ..": its line alone is no text
                sections.append(("preamble" if ruled or begins else "aside", []))
                before, closed = "", closed or bool(_CLOSES.match(line))
                continue
            at_start = not without_titles(before) or bool(_ENDS_SENTENCE.search(before))
            header = heading(line, at_start, kind)
            before = line
            if header is None:
                lines.append(line)
                continue
            begun, text = header
            if closed and not _REOPENS.match(line):
                begun = "aside"  # "SUMMARY: 1-NO ABNORMALITY" is a code
            if begun != "aside":
                owed = ""
            elif kind in OWNS_MORE and not any(part.strip() for part in lines) and _OPENS.match(line):
                owed = kind
            if begun == "aside" and _OF_THE_RECORD.match(line) and all(k == "aside" or not any(t) for k, t in sections):
                sections += [("aside", [text]), ("preamble", [])]  # above the report a line of the archive's is its own
                continue
            aside, rest = _first_sentence(text) if owed else (text, "")
            in_findings = owed or (kind if kind.endswith("findings") else "")
            if begun == "aside" and in_findings and _REMARK.match(line) and remarks_a_finding(text):
                begun, aside, rest, owed = in_findings, text, "", ""  # "FINDINGS: Note: a nodule is seen."
            sections.append((begun, [aside]))
            if rest:
                sections.append((owed, [rest]))
                owed = ""
    return [(kind, lines) if kind != "preamble" else ("unnamed", _without_title(lines)) for kind, lines in sections]


def _first_sentence(text: str) -> tuple[str, str]:
    """The first sentence of a line and the rest of it."""
    first, _, rest = text.strip().partition(". ")
    return first, rest


def _without_title(lines: list[str]) -> list[str]:
    """A paragraph under no header; nothing if it is a title such as PORTABLE CHEST or lacks a sentence."""
    while lines and not re.search(r"[a-z]", lines[0]):
        lines = lines[1:]
    lines = without_titles("\n".join(lines)).split("\n")
    text = " ".join(lines).strip()
    return lines if len(text.split()) >= 3 else []
