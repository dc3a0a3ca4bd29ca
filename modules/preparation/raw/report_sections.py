"""Find the findings and the impression in a free-text radiology report as MIMIC-CXR publishes it.

A report is read line by line. A line may begin a section with a header, which is

    capital letters up to a colon                     FINDINGS:   CHEST, PA AND LATERAL:   REASON FOR EXAM:
    a known name up to a colon, in any case           Findings:   impression:
    a known name alone on its line                    FINDINGS

where a name that is not in capitals counts only at the start of a paragraph or after the end of a sentence, so that
``the following / findings: small effusion`` stays text. FINDINGS and IMPRESSION in capitals with a colon count inside a
line too. A header of the history, technique, communication ... owns one paragraph; findings and impression go on to the
next header, and names of organs (``LUNGS:``) or views inside them are text.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from modules.preparation.raw.studies import join_sections

_CAPITALS = re.compile(r"\s*(?P<name>[A-Z](?:[A-Z0-9 ,./()&_'-]|(?<=\d):(?=\d)){1,70}?)\s*[:;](?P<rest>\s.*|$)")
_KNOWN = re.compile(
    r"\s*(?P<name>(?:findings?|impressions?|conclusions?)(?:\s*(?:and|/|&|,)\s*(?:findings?|impressions?|conclusions?))?)"
    r"(?:\s*[:;](?P<rest>.*)|\s*)",
    re.IGNORECASE,
)
_ASIDE_IN_ANY_CASE = re.compile(
    r"\s*(?P<name>indications?|(?:clinical )?history|technique|comparisons?|examination|reason for exam(?:ination)?|"
    r"recommendations?|notification|addendum|clinical information)\s*:(?P<rest>.*)",
    re.IGNORECASE,
)
_INSIDE = re.compile(  # not behind capitals: AND IMPRESSION:, CRITICAL FINDINGS:
    r"(?:(?<=[a-z.?!;)_]\s)|(?<=[.?!_]\s\s))(?=(?:FINDINGS?|IMPRESSIONS?)(?:\s*(?:AND|/|&)\s*(?:FINDINGS?|IMPRESSIONS?))?:)"
)
_ASIDE = re.compile(
    r"(?:(?:clinical|brief|patient|pertinent|relevant|prior|type of|reason for|referring|additional|final|"
    r"preliminary|critical|date of|time of)\s+)*"
    r"(?:indications?|history|information|diagnos[ie]s|symptoms?|exam(?:ination)?s?|study|request|techniques?|"
    r"comparisons?|compared|procedures?|protocol|notifications?|recommendations?|recommend|communications?|results?|"
    r"wet read|addend(?:um|a)|report|dictat\w*|dictation|transcrib\w*|sign\w*|electronically|attending|physician|"
    r"resident|radiologist|accession|order\w*|contrast|dose|radiation|date|time|name|patient|reason|question|consent)\b",
    re.IGNORECASE,
)
_FINAL = re.compile(r"^\s*FINAL (?:REPORT|ADDENDUM)\b.*$", re.MULTILINE)
_RULE = re.compile(r"\s*[_=-]{5,}\s*")
_POINTER = re.compile(r"(?:please )?(?:see|as)\s+(?:above|below|impression|findings)\W*", re.IGNORECASE)
_SIGNATURE = re.compile(r"\s*(?:dictated by|electronically signed|report signed|approved by)\b.*", re.IGNORECASE)
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
    texts: dict[str, list[str]] = {"findings": [], "impression": [], "unnamed": [], "aside": []}
    for kind, paragraphs in _sections(_final_part(report)):
        text = " ".join(" ".join(paragraphs).split())
        if not text or _POINTER.fullmatch(text):
            continue
        for part in ("findings", "impression") if kind == "combined" else (kind,):
            if text not in texts[part]:
                texts[part].append(text)
    return Sections(*(" ".join(texts[kind]) for kind in ("findings", "impression", "unnamed")))


def extract(report: str, section: str, unnamed: bool = True) -> tuple[str, str]:
    """The text of the wanted section and where it stood.

    Args:
        report: whole report.
        section: ``"findings"``, ``"impression"`` or ``"both"``; a section "findings and impression" is either.
        unnamed: take paragraphs without a header for the findings of a report that names none.

    Returns:
        The text, empty if the report lacks the section, and ``"header"`` or ``"no header"``.
    """
    found = find_sections(report)
    by_header = join_sections(found.findings, found.impression, section)
    if found.findings or not unnamed or section == "impression":
        return by_header, "header"
    text = join_sections(found.unnamed, found.impression, section)
    return text, "no header" if found.unnamed else "header"


def _final_part(report: str) -> str:
    """What stands behind the last FINAL REPORT line, so that neither a wet read nor an addendum above it counts."""
    report = report.replace("\r\n", "\n").replace("\r", "\n")
    parts = _FINAL.split(report)
    return next((part for part in reversed(parts) if part.strip()), report)


def _sections(report: str) -> list[tuple[str, list[str]]]:
    """Kind and lines of each section."""
    sections: list[tuple[str, list[str]]] = [("preamble", [])]
    before, in_paragraph = "", False
    for whole_line in report.split("\n"):
        for line in _INSIDE.split(whole_line):
            kind, lines = sections[-1]
            if not line.strip():
                if kind in ("aside", "preamble", "unnamed") and any(part.strip() for part in lines):
                    sections.append(("preamble", []))  # an aside owns one paragraph
                before, in_paragraph = "", False
                continue
            if _RULE.fullmatch(line) or _SIGNATURE.fullmatch(line):
                sections.append(("aside" if _SIGNATURE.fullmatch(line) else "preamble", []))
                before, in_paragraph = "", False
                continue
            header = _header(line, not in_paragraph or bool(_ENDS_SENTENCE.search(before)), kind)
            if header:
                sections.append((header[0], [header[1]]))
            else:
                lines.append(line)
            before, in_paragraph = line, True
    return [(kind, lines) if kind != "preamble" else ("unnamed", _without_title(lines)) for kind, lines in sections]


def _header(line: str, at_start: bool, inside: str) -> tuple[str, str] | None:
    """Kind and rest of a line that begins a section, None for text."""
    match = _KNOWN.fullmatch(line)
    if match and (at_start or match["name"].isupper()) and (match["rest"] is not None or len(match["name"]) > 7):
        return _kind_of_known(match["name"]), match["rest"] or ""
    match = _ASIDE_IN_ANY_CASE.fullmatch(line)
    if match and at_start:
        return "aside", match["rest"]
    match = _CAPITALS.fullmatch(line)
    if not match or not re.search(r"[A-Z]{2}", match["name"]):
        return None
    name = match["name"].lower()
    if _ASIDE.match(name):
        return "aside", match["rest"]
    if re.search(r"finding|impression|conclusion", name) or _misspelt(name):
        return _kind_of_known(name), match["rest"]
    if inside in ("findings", "impression", "combined"):
        return None  # LUNGS: or CHEST, PA AND LATERAL: inside the findings
    return "unnamed", match["rest"] if _is_view(name) else line


def _kind_of_known(name: str) -> str:
    name = name.lower()
    findings = bool(re.search(r"finding", name)) or _misspelt(name) == "findings"
    impression = bool(re.search(r"impression|conclusion", name)) or _misspelt(name) == "impression"
    return "combined" if findings and impression else "findings" if findings else "impression"


def _misspelt(name: str) -> str | None:
    close = difflib.get_close_matches(name, ("findings", "impression"), n=1, cutoff=0.8)
    return close[0] if close else None


def _is_view(name: str) -> bool:
    return bool(re.search(r"chest|radiograph|view|portable|film|x-?ray|\bpa\b|\bap\b|lateral|frontal", name))


def _without_title(lines: list[str]) -> list[str]:
    """A paragraph under no header; nothing if it is a title such as PORTABLE CHEST or lacks a sentence."""
    while lines and not re.search(r"[a-z]", lines[0]):
        lines = lines[1:]
    text = " ".join(lines).strip()
    return lines if re.search(r"[.?!]\s*$", text) and len(text.split()) >= 3 else []
