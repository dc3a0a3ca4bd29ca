"""Whether a larger rating says better or worse: what its heading says, and nothing where it does not."""

from __future__ import annotations

import re

_BORDER, _END = r"(?<![a-z])", r"(?![a-z])"
_BETTER = re.compile(
    rf"{_BORDER}(?:quality|credits?{_END}|stars?{_END}|likert|accura|agree|correct(?:{_END}|ness)|good|complete|faithful|factual|satisf"
    rf"|useful|helpful|usab|similar|prefer|acceptab|safety|fluen|readab|coheren|errors?[\W_]*free|mos{_END})"
)
# Better, where nothing else is said.
_NUMBER = re.compile(rf"{_BORDER}(?:ratings?|scores?|overall|human|radiologists?){_END}")
_WORSE = re.compile(
    rf"{_BORDER}(?:errors?(?![\W_]*free)|mistakes?|discrepan|sever|omission|missed|missing|hallucinat|false|wrong|penalt|edits?{_END}|distance|cost|loss|ranks?{_END}|ranking"
    rf"|fail|harm(?:{_END}|ful)|risk|incorrect|inaccura|disagree|deviat|contradict|flaws?|issues?{_END}|overcalls?|undercalls?|corrections?|defects?|problems?|wer{_END})"
)
# What turns the other word around, or says the direction itself.
_TURNED = re.compile(
    rf"{_BORDER}(?:no|non|not|without|absence|lack|free|inver\w+|revers\w+|low|lower|less|fewer|smaller|best|worst|minus|negated|negative|neg"
    rf"|complement(?:ary)?|reciprocal|opposite|flipped){_END}"
)
_CALCULATED = re.compile(  # 1-error_rate, 1/rank, -errors; not 5-star, (1-5), reader1-errors
    r"^\W*[-\u2212]\s*[a-z]|(?<![a-z\d])\d+\s*%?\s*[-\u2212\u2013/]\s*(?!stars?|points?|scale|level)[a-z]",
    re.IGNORECASE,
)
_RANK = re.compile(rf"{_BORDER}rank(?:s|ed|ing)?{_END}")
_POINTS = re.compile(rf"{_BORDER}(?:scores?|ratings?|points?){_END}")


def says_worse(heading: str) -> bool | None:
    """Whether a larger number below a heading is worse; None if its words do not say so, or say both.

    Args:
        heading: as it is written; ``Num errors``, ``TotalErrors`` and ``num_errors`` are read alike.
    """
    words = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", heading)).lower()
    free = re.sub(rf"{_BORDER}(?:errors? free|false negatives?){_END}", "", words)
    if _CALCULATED.search(heading) or (_RANK.search(words) and _POINTS.search(words)):
        return None  # the first place of a ranking may have the most points
    better, worse = _BETTER.search(words) is not None, _WORSE.search(words) is not None
    if _TURNED.search(free) or (better and worse):
        return None
    if worse:
        return True
    return False if better or _NUMBER.search(words) else None
