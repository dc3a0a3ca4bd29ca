"""One section of a report that someone wrote as ``Findings: .. Impression: ..``, with whatever else stands around it."""

from __future__ import annotations

import re

_CONCLUSION = "conclusions?|opinion|interpretation|assessment|summary"
_BOTH = r"findings?\s*(?:and|&|/)\s*impressions?"  # one section that is both
_NAMES = rf"{_BOTH}|findings|impressions?|{_CONCLUSION}"
_OF_WHAT = ("clinical", "overall", "radiographic", "diagnostic", "initial", "general", "prior", "previous")
_NO_WORD_OF = "".join(rf"(?<!{word}\s)" for word in _OF_WHAT)  # "overall impression: normal" goes on with a sentence
_MARKS = r"(?:[|/\\;\u2022\u00b7\u2013\u2014-]{1,3}|<br\s*/?>)"  # between two sections on one line
_HEADER = re.compile(
    # "Findings: ..", "1. Findings - .." or "[Findings] .." at the beginning of a text, line or sentence
    rf"(?:^|\n|(?<=[.!?:]\s)|\s{_MARKS}(?=\s))\s*(?:{_MARKS}\s+)?(?:\d[.)]\s+)?(?:#{{1,6}}\s+)?\**(?:({_NAMES})\**\s*(?:[:=]\**|[^\S\n]+[-\u2013\u2014](?=\s))|\[({_NAMES})\]:?)\s*"
    # "## Findings", or "FINDINGS" and a text below it, on a line of its own
    rf"|(?:^|\n)\s*(?:#{{1,6}}\s+\**|\*\*)({_NAMES})\**\s*(?=\n)|(?:^|\n)\s*(?-i:(FINDINGS|Findings|IMPRESSION|Impression))[^\S\n]*(?=\n)"
    # these need no end of a sentence before them, not even where a model writes small letters alone
    rf"|(?-i:(?<=[a-z0-9,;)_\]])\s+(FINDINGS|IMPRESSION|Impression|{_NO_WORD_OF}impression)):\s*",
    re.IGNORECASE,
)
_NEXT = rf"[#*]*\s*(?:findings|impression|{_CONCLUSION})\b"
_OTHERS = (
    r"recommendations?(?:\(s\))?|technique|comparisons?|indications?|examination|notifications?|(?:clinical )?(?:history|information)"
    r"|follow[ -]?up|differential diagnosis|disclaimer"
)
_ASIDE = re.compile(  # a paragraph that is neither: from its name at the beginning of a line, or in capitals, to a blank line or a header
    rf"(?:(?:^|\n)[ \t]*(?:#{{1,6}}\s+\**|\*\*)?(?:{_OTHERS})|\s(?-i:{_OTHERS.upper()})(?=:))"
    rf"(?:\**[^\S\n]*:\**|\**(?=\n))(?:\s*\n\s*(?!{_NEXT}))?.*?"
    rf"(?=\n\s*\n|\n\s*{_NEXT}|(?<=[.!?:])\s+{_NEXT}\**\s*:|\s+(?-i:FINDINGS|IMPRESSION|Impression):|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_ADDENDUM = re.compile(r"(?:^|\n|(?<=[.!?]))\s*(?:FINAL )?ADDEND(?:UM|A)\b[^\S\n]*:?")
_VIEW = re.compile(
    r"\A\s*[A-Z0-9 ,./()&'-]*\b(?:CHEST|VIEWS?|RADIOGRAPHS?|PORTABLE|LATERAL)\b[A-Z0-9 ,./()&'-]*:\s*"
)  # a title


def one_section(text: str, section: str) -> str:
    """One section of a report of the form ``Findings: .. Impression: ..``; the whole text if it has no such headers.

    A conclusion beside findings is the impression; recommendations, technique and their like belong to neither, nor does an
    addendum below the report.
    """
    if section == "both" or not any(_is_main(header) for header in _HEADER.finditer(text)):
        return text
    named = (part for part in _ADDENDUM.split(text) if any(_is_main(header) for header in _HEADER.finditer(part)))
    text = _ASIDE.sub("\n", next(named, text))
    headers = list(_HEADER.finditer(text))
    stops = [header.start() for header in headers[1:]] + [len(text)]
    found: dict[str, list[str]] = {}
    for header, stop in zip(headers, stops, strict=True):
        name = _name(header) if _is_main(header) else "impression"
        name = section if re.fullmatch(_BOTH, name) else name.replace("impressions", "impression")
        found.setdefault(name, []).append(text[header.end() : stop].strip())
    return " ".join(dict.fromkeys(found.get(section, [_VIEW.sub("", text[: headers[0].start()]).strip()])))


def _name(header: re.Match[str]) -> str:
    return next(filter(None, header.groups())).lower()


def _is_main(header: re.Match[str]) -> bool:
    return _name(header).startswith(("finding", "impression"))


def named_sections(text: str) -> set[str]:
    """Which of findings and impression a report names."""
    return {
        part for header in _HEADER.finditer(text) for part in ("findings", "impression") if part[:7] in _name(header)
    }
