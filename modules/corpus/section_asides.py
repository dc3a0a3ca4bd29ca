"""Headings of what is neither findings nor impression: the history, the technique, recommendations, what an archive adds.

Readers of free-text reports and of the files that are scored share them.
"""

from __future__ import annotations

import re

from modules.corpus.section_names import OF_THE_FILM, RECORD

HISTORY = r"(?:clinical )?(?:history|information|indications?)|clinical (?:details?|data|questions?|context|background)"
ASIDES = (  # in any case; no escapes of letters, since they are looked for in capitals too
    rf"{HISTORY}|techniques?|procedures?(?: comments?)?|comparisons?"
    r"|(?:(?:type|date) of (?:the )?|reference )?exam(?:ination)?s?|(?:type|date) of (?:the )?study|reason for (?:the )?(?:exam(?:ination)?|study)"
    r"|recommendations?(?:\(s\))?|suggestions?|advice|management|next steps?|plan|notifications?|communications?|addendum|comments?|notes?"
    rf"|limitations?|follow[ -]?ups?|disclaimers?|attestation|wet read|{RECORD}|(?:reported|date|time)(?= ?: ?[0-9])"
)
DIAGNOSIS = rf"(?:(?:{OF_THE_FILM}) )*(?:diagnos[ei]s|dx)"
IN_CAPITALS = (  # with which a heading in capitals may begin; in small letters, of what a line says they may be part
    r"(?:(?:clinical|brief|patient|pertinent|relevant|prior|previous|reference|type of|reason for|referring|additional|final|admitting|admission|"
    r"presenting|discharge|working|outside|initial|preliminary|critical|date of|time of)\s+)*"
    r"(?:indications?|history|information|diagnos[ie]s|symptoms?|exam(?:ination)?s?|study|request|techniques?|"
    r"comparisons?|compared|procedures?|protocol|notifications?|recommendations?|recommend|communications?|"
    r"comments?|notes?|follow ?-?up|discussion|pfi|end of|dr|cc|attestation|disclaimer|"
    r"wet ?read|addend(?:um|a)|dictat\w*|dictation|transcrib\w*|sign(?:ed|ature)\w*|plan|electronically|attending|physician|"
    r"resident|radiologist|accession|order\w*|contrast|dose|radiation|date|time|name|patient|reason|question|consent|"
    r"technologist|transcriptionist|key images?|dx|clinicians?|provider|hx|pmh|priors|dob|mrn|cpt|icd|billing|suggestions?|advice|background|communicated|"
    r"allerg(?:y|ies)|medications?|modality|exposure|referral|operator|unit|correlation|old films?|(?:image )?quality|limitations?|critical results?|"
    r"clinical (?!finding|impression)\w+(?=:|$)|number of images|(?:views?|studies|data|age|sex|site|location|service|management)(?=:|$))\b"
)
WITH_COLON = (  # "RADIATION DOSE:", not "PATIENT FINDINGS:" or "DIAGNOSIS:"
    rf"(?=[A-Z][A-Z0-9 ,./()\[\]&'#-]{{1,70}}:)(?![^:]*(?:FINDING|IMPRESSION|OBSERVATION|CONCLUSION))"
    rf"(?i:(?!{DIAGNOSIS}\s*:){IN_CAPITALS})[^:\n]*:"
)
OF_THE_STUDY = (  # asides with which a section may open before it says anything
    rf"(?:prior |image |exam )?(?:{HISTORY}|comparisons?|techniques?|hx|exam(?:ination)?s?|stud(?:y|ies)|priors"
    r"|procedures?|views?|date|quality|limitations?|notes?|comments?|reason for (?:the )?(?:exam(?:ination)?|study))"
)
FIRST_SENTENCE = re.compile(r"(?<=[.!?])(?<!\bDr\.)\s+|\n")  # ends here
REMARK = r"(?:notes?|comments?)\b"  # what stands under one may be a finding
_CALLED = rf"(?-i:(?=[A-Z]))(?:{ASIDES})[^\S\n]*:"
_LISTED = re.compile(  # "2. Recommendation: CT." of a list
    rf"(?:^|(?<=[.;:!?)]\s))[^\S\n]*\(?(\d{{1,2}})([.)])[^\S\n]+(?=(?:\*\*|__)?{_CALLED})", re.IGNORECASE | re.MULTILINE
)
_INSIDE = re.compile(
    rf"(?:(?<=[.;!?)])[^\S\n]+|\n\s*)(?={_CALLED})", re.IGNORECASE
)  # ".. a nodule. Recommendation: CT."
_NUMBER = re.compile(r"(?:^|(?<=[.;:!?)]\s))[^\S\n]*\(?(\d{1,2})[.)]\s", re.MULTILINE)
_BULLET = re.compile(r"[^\S\n]*([-*+\u2022\u00b7\u2013])[^\S\n]")
_MAIN = re.compile(r"\b(?:findings|impressions?|conclusions?)\W{0,3}:", re.IGNORECASE)
_BEGINNING = re.compile(r"[^\n.;!?]{0,30}")  # of an item, which may be a heading: "3. FINAL IMPRESSION: B."


def without_listed_asides(text: str) -> str:
    """A report without what belongs to neither section in the items of a list, so that the items behind it stay.

    The last item of a list loses its number alone: where that item ends is for the reader of headings to say.
    """
    for item in reversed(list(_LISTED.finditer(text))):
        number, sign = int(item[1]) + 1, re.escape(item[2])
        behind = re.compile(rf"(?:^|(?<=[.;:!?)]\s))[^\S\n]*\(?{number}{sign}\s", re.MULTILINE).search(text, item.end())
        end = item.end()
        beginning = _BEGINNING.match(text, behind.end()) if behind else None
        if behind and beginning and not _MAIN.search(text, end, beginning.end()):
            end = behind.start()
        text = text[: item.start()] + text[end:]
    for aside in reversed(list(_INSIDE.finditer(text))):
        behind_it = _next_item(text, aside)
        if behind_it is not None:
            apart = "\n" if text[behind_it - 1] == "\n" else " "
            text = text[: aside.start()].rstrip() + apart + text[behind_it:]
    return text


def _next_item(text: str, aside: re.Match[str]) -> int | None:
    """Where the item behind the one that an aside is in begins; None if the aside is in none, or in the last."""
    begins = max((main.end() for main in _MAIN.finditer(text, 0, aside.start())), default=0)
    stop = _MAIN.search(text, aside.end())
    stops = text.rfind("\n", 0, stop.start()) if stop else len(text)
    line = text.rfind("\n", 0, aside.start() + 1) + 1 if "\n" not in aside[0] else None
    bullet = _BULLET.match(text, line) if line is not None else None
    if bullet:
        behind = re.compile(rf"\n[^\S\n]*{re.escape(bullet[1])}[^\S\n]").search(text, aside.end(), stops)
        return behind.start() + 1 if behind else None
    *_, last = [None, *_NUMBER.finditer(text, begins, aside.start())]
    following = _NUMBER.search(text, aside.end(), stops)
    goes_on = last and following and int(following[1]) == int(last[1]) + 1
    return following.start() if goes_on and following else None
