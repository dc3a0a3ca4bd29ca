"""Sections that a language model adds beside findings and impression: a differential, its reasoning, a word to the patient.

Readers of free-text reports and of the files that are scored leave them out before they look for sections.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modules.corpus.section_asides import ASIDES, DIAGNOSIS, OF_THE_STUDY, REMARK
from modules.corpus.section_names import ORGAN
from modules.corpus.section_titles import CONCLUSION, FINDINGS
from modules.labelling.spoken_of import speaks_of_a_finding

_ADDED = re.compile(  # on a line of their own in any form; inside a sentence or a list, a differential is part of what is said
    r"(?:(?:likely|possible|potential|main|primary) )?differentials?(?: (?:diagnos[ei]s|considerations?))?|discussion|explanations?|justification|(?:\w+ )?rationale"
    r"|(?:(?:clinical|diagnostic|radiolog\w+|step-by-step) )?reasoning|key take-?aways?|take-?(?:home|away)s?(?: (?:messages?|points?))?|caveats?|references?|citations?"
    r"|clinical (?:significance|correlation|context|relevance|implications?|considerations?)|(?:(?:important|further|other|additional) )?considerations"
    r"|(?:image|overall|technical|study|film) quality(?: (?:assessment|control))?|quality assessment|technical (?:factors|adequacy|limitations?)|technique limitations?"
    r"|(?:lay(?:man(?:'s)?|person)?|plain[ -]language|patient(?:[ -]friendly)?|simplified) (?:summary|explanation|report)|summary for (?:the )?patients?"
    r"|patient (?:education|instructions?)|(?:additional|important|general|other|further) (?:notes?|comments?|information|remarks?)|please note|final answer"
    r"|confidence(?: (?:level|score|assessment)s?)?|uncertaint(?:y|ies)|severity|urgency|triage|(?:(?:chexpert|predicted) )?labels|keywords?|tags|mesh(?: terms)?"
    r"|(?:follow[ -]?up|management|clinical|treatment|further) recommendations?|recommended|suggested follow[ -]?up|further (?:evaluation|imaging|work-?up|investigations?)"
    r"|(?:report|study|exam) date|reviewed by|bounding boxes|grounding",
    re.IGNORECASE,
)
_KNOWN = re.compile(ASIDES, re.IGNORECASE)
_READ_ELSEWHERE = re.compile(
    rf"(?:{OF_THE_STUDY}|{REMARK})", re.IGNORECASE
)  # which may stand before what a section says
_MAIN = re.compile(
    rf"(?:[\w'/-]+ ){{0,3}}(?:{FINDINGS}|{CONCLUSION}|{DIAGNOSIS})(?:\s*(?:and|&|/)\s*[\w()]+| of (?:the )?[\w-]+| ?[(\[][^()\[\]]*[)\]])?",
    re.IGNORECASE,
)
_MAIN_INSIDE = re.compile(rf"[*_#]*\b(?:{FINDINGS}|{CONCLUSION})\b[^\w\n]{{0,4}}[:=]", re.IGNORECASE)
_OF_THE_FILM = re.compile(  # names of what may be seen, where, how much of it, and on which view
    rf"\b(?:{ORGAN}|find|observ|(?:ab)?normal|negativ|positiv|other|incident|addition|new\b|stable|chang|interval|compar|views?\b|frontal|lateral|[ap]{{2}}\b"
    r"|mild|moderate|severe|acute|chronic|post|surg|implant|wire|clip|pace|picc|port|ett\b|ng\b|stent|valv|prosthe|costo|hemi|fissur|lob|apic|apex|bas[ei]|peri"
    r"|interstit|parenchym|silhouette|contour|calcif|granulom|scar|fibro|emphys|hyper|volume|inspir|degener|fract|spond|scoli|kypho|stern|clavic|should|scapul"
    r"|humer|joint|subcut|skin|hernia|air|gas|free|fluid|foreign|body|tumou?r|cyst|lesion|trauma|no\b|not\b|without|unremark|clear|is\b|are\b|was\b|were\b"
    r"|size|zone|field|region|area|anatom|struct|system|wall|cavity|great|root|overall|general|detail|descr|summary)",
    re.IGNORECASE,
)
_LINE = re.compile(
    r"[^\S\n]*(?P<hash>#{1,6})?[^\S\n]*(?P<item>(?:[-*+\u2022]|\d{1,2}[.)])[^\S\n]+)?(?P<bold>\*\*|__)?[^\w\s*#|\[(<-]{0,3}[^\S\n]*(?:\d{1,2}[.)][^\S\n]+)?"
    r"(?P<name>[A-Z][\w'/&() -]{1,48}[\w)])[^\S\n]*(?P<colon>:?)(?P<close>\*\*|__)?(?P<after>:?)(?P<rest>.*)"
)


@dataclass(frozen=True, slots=True)
class _Heading:
    """What a line of a report is called.

    Args:
        kind: of its marks: ``"#"``, ``"**"`` or ``""``, behind ``"-"`` in a list, before ``":"`` where a colon follows.
        level: how many ``#`` stand before it.
        name: without marks.
        alone: whether nothing else stands on the line.
    """

    kind: str
    level: int
    name: str
    alone: bool

    @property
    def main(self) -> bool:
        """Whether it is of findings or an impression."""
        return bool(_MAIN.fullmatch(self.name)) and not _ADDED.fullmatch(self.name)


def _heading(line: str) -> _Heading | None:
    """The heading that a line begins with; None for text."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    rest, colon = match["rest"].strip(), bool(match["colon"] or match["after"])
    marked = "#" if match["hash"] else "**" if match["bold"] and match["close"] == match["bold"] else ""
    if (match["bold"] and not match["close"]) or (rest and not colon) or not (marked or colon):
        return None
    list_mark = "-" if match["item"] else ""
    kind = f"{list_mark}{marked}" if marked == "#" else f"{list_mark}{marked}{':' if colon else ''}"
    return _Heading(kind, len(match["hash"] or ""), match["name"].strip(), not rest)


def without_added_sections(report: str) -> str:
    """A report without the sections that are neither findings nor impression, below the first heading of one of these.

    Known names count on a line of their own. Where findings or impression have marks (``##``, ``** **``), another line with the
    same marks ends a section too, unless it names something of the film or is the first of those by which a section is divided.
    A marked section goes on to the next such line, another owns a paragraph.
    """
    lines = report.split("\n")
    headings = [_heading(line) for line in lines]
    levels = {found.kind: found.level for found in headings if found and found.main and found.kind not in ("", ":")}
    kept: list[str] = []
    begun = divided = said = False  # a main section; whether it is divided by marks of its kind; whether it has text
    said_here = False  # whether what is left out has text
    cut = ""  # how far what is left out goes: to the end of its "section" or "paragraph"
    for line, found in zip(lines, headings, strict=True):
        marked = found is not None and found.kind in levels and found.level <= levels[found.kind]
        if found and found.main:
            begun, divided, said, cut = True, False, not found.alone, ""
        elif found and begun and _is_added(found, marked, said and not divided):
            cut = "section" if marked else "paragraph"
            said_here = not found.alone
        elif marked or (cut == "paragraph" and ((not line.strip() and said_here) or found)):
            divided, cut = divided or (marked and not said), ""
        inside = _MAIN_INSIDE.search(line, line.find(":") + 1 if found else 0) if cut else None
        if inside:  # "Reasoning: A shadow. Impression: .."
            divided, said, cut = False, True, ""
            kept.append(line[inside.start() :])
            continue
        if cut:
            said_here = said_here or bool(line.strip() and not found)
            continue
        said = said or bool(line.strip() and not (found and found.main))
        kept.append(line)
    return "\n".join(kept)


def _is_added(heading: _Heading, marked: bool, unknown_too: bool) -> bool:
    """Whether a heading, which is of neither findings nor impression, begins a section that is none of them.

    Args:
        heading: of a line.
        marked: whether its marks are those of findings or impression.
        unknown_too: whether a name that is not known ends the section that it stands in.
    """
    if heading.kind.startswith("-") and not marked:
        return False  # an item of a list
    if _ADDED.fullmatch(heading.name):
        return True
    if not marked or heading.kind.startswith("-"):
        return False
    if _KNOWN.fullmatch(heading.name):
        return heading.alone and not _READ_ELSEWHERE.fullmatch(heading.name)
    name = heading.name
    return unknown_too and len(name.split()) <= 5 and not _OF_THE_FILM.search(name) and not speaks_of_a_finding(name)
