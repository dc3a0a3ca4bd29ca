"""One section of a report that someone wrote as ``Findings: .. Impression: ..``."""

from __future__ import annotations

import re

_HEADER = re.compile(  # "Findings: .." at the beginning of a text, line or sentence; "## Findings" on a line of its own
    r"(?:^|\n|(?<=[.!?]\s))\s*(?:#{1,6}\s+)?\**(findings|impression)\**\s*:\**\s*"
    r"|(?:^|\n)\s*(?:#{1,6}\s+\**|\*\*)(findings|impression)\**\s*(?=\n)"
    r"|(?-i:(?<=[a-z0-9,;)])\s+(FINDINGS|IMPRESSION)):\s*",  # capitals need no end of a sentence before them
    re.IGNORECASE,
)


def one_section(text: str, section: str) -> str:
    """One section of a report of the form ``Findings: .. Impression: ..``; the whole text if it has no such headers."""
    if section == "both":
        return text
    headers = list(_HEADER.finditer(text))
    if not headers:
        return text
    stops = [header.start() for header in headers[1:]] + [len(text)]
    found = {
        (header[1] or header[2] or header[3]).lower(): text[header.end() : stop].strip()
        for header, stop in zip(headers, stops, strict=True)
    }
    return found.get(section, text[: headers[0].start()].strip())
