"""Texts as hospital systems and spreadsheets export them: HTML, HL7, line breaks written out, sections named inside."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from modules.corpus.cells import is_empty
from modules.corpus.line_marks import BREAK_SIGN, ENTITY, HL7_BREAK, HL7_SIGN, HL7_SIGNS, TAGGED_BREAK, TOGETHER
from modules.corpus.nothing_said import says_nothing
from modules.corpus.section_names import SIGNATURE
from modules.evaluation.reading.one_section import named_sections, one_section
from modules.messages import UserError
from modules.preparation.raw.studies import SECTIONS

_TAG = r"</?(?:{})(?:\s[^<>]*)?/?>"
_BREAKING = re.compile(_TAG.format(r"p|br|div|li|ul|ol|tr|td|th|table|tbody|h\d|html|body|head"), re.IGNORECASE)
_INSIDE = re.compile(_TAG.format("span|b|i|u|em|strong|font|sub|sup|a"), re.IGNORECASE)
_BREAK = re.compile(  # as Excel writes a carriage return; as a program prints one; as hospital systems write one
    rf"_x000[dD]_\n?|(?:\\r)?\\n|\\r(?![a-z])|{HL7_BREAK}|{TAGGED_BREAK}|{BREAK_SIGN}"
)
_HL7_SIGN = re.compile(HL7_SIGN)
_ENTITY = re.compile(ENTITY)
_TIMES_ESCAPED = 2  # &amp;#xD; is &#xD; in a file that was escaped twice
_TOGETHER = re.compile(TOGETHER)
_SECTION = re.compile(r"\b(?:FINDINGS?|IMPRESSIONS?|Findings?|Impressions?)\s*:")
_CLOSES = re.compile(rf"\W*(?:(?:\w+ )?(?:impressions?|conclusions?)\W*:|{SIGNATURE})", re.IGNORECASE)


def plain_text(text: str, where: str) -> str:
    """A report without the tags, entities and written-out line breaks that a program has put between its words.

    Args:
        text: a cell.
        where: file and row, for messages.

    Raises:
        UserError: if it is rich text.
    """
    if text.lstrip().startswith("{\\rtf"):
        raise UserError(f"{where}: the report is rich text (RTF), expected plain text: export it again")
    for _ in range(_TIMES_ESCAPED):
        if _BREAKING.search(text) or _INSIDE.search(text) or _ENTITY.search(text):
            text = html.unescape(_INSIDE.sub("", _BREAKING.sub("\n", text))).replace("\xa0", " ")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HL7_SIGN.sub(lambda sign: HL7_SIGNS[sign[1]], _BREAK.sub("\n", text))


def sentences_apart(text: str) -> str:
    """A report with a blank between sentences that stand together (``clear.No effusion.``), of which a cleaner makes one word."""
    return _TOGETHER.sub(" ", text)


def names_sections(text: str) -> bool:
    """Whether a whole report names findings or impression inside, so that history and technique may stand beside them."""
    return _SECTION.search(text) is not None


def _is_all(part: str, text: str) -> bool:
    """Whether nothing else of a section can stand in its cell: behind the part an impression, a signature, other lines or one sentence.

    In ``PA view. Technique: portable. The heart is large.`` it goes on behind the technique.
    """
    words, kept = text.split(), part.split()
    behind = " ".join(words[len(kept) :])
    filled = [0]  # words up to the end of each line
    for line in text.split("\n"):
        filled.append(filled[-1] + len(line.split()))
    closed = len(kept) in filled or _CLOSES.match(behind) or not re.search(r"[.!?]\s+\w", behind)
    return words[-len(kept) :] == kept or (words[: len(kept)] == kept and bool(closed))


def cut_to_sections(texts: Mapping[str, str]) -> dict[str, str]:
    """Findings and impression of a row, each without what its cell holds beside it: another section, technique, a signature.

    Args:
        texts: cells by ``findings`` and ``impression``. A section without a cell is taken from the other cell if it is named there.
            A cell that does not name its own section is read as if it began with that name. One of which nothing is left stays whole.
    """
    given = {name: texts[name] for name in SECTIONS if not is_empty(texts.get(name))}
    parts = {}
    for name, text in given.items():
        named = name in named_sections(text)
        part = one_section(text if named else f"{name.capitalize()}: {text.strip()}", name)
        whole = says_nothing(part) or part.split() == text.split() or not (named or _is_all(part, text))
        parts[name] = text if whole else part
    for name, other in (SECTIONS, SECTIONS[::-1]):
        # a conclusion may be one of the findings in a cell of theirs
        if name not in given and other in given and name in named_sections(given[other], outright=True):
            parts[name] = one_section(given[other], name)
    return parts
