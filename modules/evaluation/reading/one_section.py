"""One section of a report that someone wrote as ``Findings: .. Impression: ..``, with whatever else stands around it."""

from __future__ import annotations

import re

_CONCLUSION = "conclusions?|opinion|interpretation|assessment|summary"
_BOTH = r"findings?\s*(?:and|&|/)\s*impressions?"  # one section that is both
_NAMES = rf"{_BOTH}|findings|impressions?|{_CONCLUSION}"
_MARKS = r"(?:[|/\\;\u2022\u00b7\u2013\u2014-]{1,3}|<br\s*/?>)"  # between two sections on one line
_HEADER = re.compile(
    # "Findings: ..", "1. Findings - .." or "[Findings] .." at the beginning of a text, line or sentence
    rf"(?:^|\n|(?<=[.!?:]\s)|\s{_MARKS}(?=\s))\s*(?:{_MARKS}\s+)?(?:\d[.)]\s+)?(?:#{{1,6}}\s+)?\**(?:({_NAMES})\**\s*(?:[:=]\**|[^\S\n]+[-\u2013\u2014](?=\s))|\[({_NAMES})\]:?)\s*"
    # "## Findings", or "FINDINGS" and a text below it, on a line of its own
    rf"|(?:^|\n)\s*(?:#{{1,6}}\s+\**|\*\*)({_NAMES})\**\s*(?=\n)|(?:^|\n)\s*(?-i:(FINDINGS|Findings|IMPRESSION|Impression))[^\S\n]*(?=\n)"
    r"|(?-i:(?<=[a-z0-9,;)])\s+(FINDINGS|IMPRESSION|Impression)):\s*",  # these need no end of a sentence before them
    re.IGNORECASE,
)
_NEXT = rf"[#*]*\s*(?:findings|impression|{_CONCLUSION})\b"
_ASIDE = re.compile(  # a paragraph that is neither: from its name at the beginning of a line to a blank line or a header
    r"(?:^|\n)[ \t]*(?:#{1,6}\s+\**|\*\*)?(?:recommendations?|technique|comparisons?|indications?|examination|notification"
    r"|(?:clinical )?(?:history|information)|follow[ -]?up|differential diagnosis|disclaimer)"
    rf"(?:\**[^\S\n]*:\**|\**(?=\n))(?:\s*\n\s*(?!{_NEXT}))?.*?"
    rf"(?=\n\s*\n|\n\s*{_NEXT}|(?<=[.!?:])\s+{_NEXT}\**\s*:|\s+(?-i:FINDINGS|IMPRESSION|Impression):|\Z)",
    re.IGNORECASE | re.DOTALL,
)


def one_section(text: str, section: str) -> str:
    """One section of a report of the form ``Findings: .. Impression: ..``; the whole text if it has no such headers.

    A conclusion beside findings is the impression; recommendations, technique and their like belong to neither.
    """
    if section == "both" or not any(_is_main(header) for header in _HEADER.finditer(text)):
        return text
    text = _ASIDE.sub("\n", text)
    headers = list(_HEADER.finditer(text))
    stops = [header.start() for header in headers[1:]] + [len(text)]
    found: dict[str, list[str]] = {}
    for header, stop in zip(headers, stops, strict=True):
        name = _name(header) if _is_main(header) else "impression"
        name = section if re.fullmatch(_BOTH, name) else name.replace("impressions", "impression")
        found.setdefault(name, []).append(text[header.end() : stop].strip())
    return " ".join(dict.fromkeys(found.get(section, [text[: headers[0].start()].strip()])))


def _name(header: re.Match[str]) -> str:
    return next(filter(None, header.groups())).lower()


def _is_main(header: re.Match[str]) -> bool:
    return _name(header).startswith(("finding", "impression"))


def named_sections(text: str) -> set[str]:
    """Which of findings and impression a report names."""
    return {
        part for header in _HEADER.finditer(text) for part in ("findings", "impression") if part[:7] in _name(header)
    }
