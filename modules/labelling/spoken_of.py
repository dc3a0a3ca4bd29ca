"""Whether a text speaks of findings at all, which tells a section of a report from what stands beside it."""

from __future__ import annotations

from functools import cache

from modules.labelling.labelers import RuleLabeler
from modules.labels import BLANK, CONDITIONS


@cache
def _rules() -> RuleLabeler:
    return RuleLabeler()


def speaks_of_a_finding(text: str) -> bool:
    """Whether a text names a condition, be it to deny it."""
    states = _rules()([text])[0]
    return any(state != BLANK for state, name in zip(states, CONDITIONS, strict=True) if name != "no finding")
