"""Whether a text speaks of findings at all, which tells a section of a report from what stands beside it."""

from __future__ import annotations

import re
from functools import cache

from modules.corpus.section_asides import FIRST_SENTENCE
from modules.labelling.labelers import RuleLabeler
from modules.labels import BLANK, CONDITIONS

_OFTEN_SAID = re.compile(  # capitals with a colon that may be part of what is said of the film
    r"\W*(?:compared|patient (?!name|id\b|age|sex|dob|number)|exam(?:ination)? (?:is |was )?limited)",
    re.IGNORECASE,
)
_TO_A_COLLEAGUE = re.compile(
    r"\b(?:discussed|communicated|notified|informed|telephoned|called|phoned|paged|relayed|conveyed|dr|doctor|recommend\w*|suggest\w*|consider|advised?"
    r"|correlat\w+|follow[ -]?up)\b",
    re.IGNORECASE,
)


@cache
def _rules() -> RuleLabeler:
    return RuleLabeler()


def speaks_of_a_finding(text: str) -> bool:
    """Whether a text names a condition, be it to deny it."""
    states = _rules()([text])[0]
    return any(state != BLANK for state, name in zip(states, CONDITIONS, strict=True) if name != "no finding")


def is_said_of_the_film(name: str, text: str) -> bool:
    """Whether capitals with a colon, and what follows them, are a sentence (``COMPARED TO JANUARY: THE EFFUSION IS LARGER``)."""
    return bool(_OFTEN_SAID.match(name)) and speaks_of_a_finding(_first_sentence(text))


def remarks_a_finding(text: str) -> bool:
    """Whether what stands under ``Note:`` or ``Comment:`` is of the film: it names a condition, and says nothing to a colleague."""
    first = _first_sentence(text)
    return speaks_of_a_finding(first) and not _TO_A_COLLEAGUE.search(first)


def _first_sentence(text: str) -> str:
    return FIRST_SENTENCE.split(text.strip(), maxsplit=1)[0]
