"""Sections that stand in a report and say nothing, or only where it is said: one rule for every reader."""

from __future__ import annotations

import re

from modules.corpus.cells import is_empty

_BLANKED = re.compile(r"X{3,}|_{2,}", re.IGNORECASE)  # of IU X-Ray and of MIMIC-CXR
_PLACE = r"(?:impressions?|findings|conclusions?|reports?|dictations?|descriptions?|notes?|comments?|addend(?:um|a)|narrative|body|text|above|below)"
_POINTER = re.compile(  # "Please see the impression section below", "As per the CT report", "Dictated separately"
    r"(?:findings )?(?:(?:are|is) )?(?:please |kindly )?"
    r"(?:see|refer(?: back)? to|(?:the )?same as|as(?: (?:in|per|under|described|noted|stated|mentioned|discussed|detailed|reported|given|dictated))*"
    r"|per|(?:described|noted|stated|mentioned|discussed|detailed|reported|given|dictated|included)(?: (?:in|under))?)"
    rf" (?:(?:the|a|its|my|our|separate|separately|full|complete|final|attached|accompanying|corresponding|dictated|radiology|ct|chest|study|section) )*{_PLACE}"
    rf"(?: (?:section|of the|this|{_PLACE}|for|further|more|full|details?|information|description))*"
    r"|(?:dictated|reported|described) separately",
    re.IGNORECASE,
)
_DATED_STUDY = (  # "Prior CT of the chest from ___.", a sentence that names a study and its day and says nothing else
    r"(?:[\w-]+ ){0,3}(?:cta?|mri?|pet|radiographs?|x-?rays?|films?|images?|stud(?:y|ies)|exams?|examinations?)"
    r"(?: (?:of|the|from|dated|performed|on|chest|abdomen|pelvis|torso|and))*"
    r" (?:_{2,}|X{3,}|\d[\d/.-]*\d|(?-i:[A-Z])[a-z]+ \d{1,2}, \d{4})\.(?:\s+|\Z)"
)
NO_COMPARISON = re.compile(  # behind which a sentence is none of the comparison, unless it names one after all
    r"\s*(?:none|nil|n/?a|not available|unavailable|no (?:\w+ ){0,3}(?:priors?|comparisons?|stud(?:y|ies)|exams?|examinations?|radiographs?|films?|images?|imaging))"
    rf"(?: (?:is|are|was|were))?(?: (?:available|provided|given))?(?: for comparison)?\.\s+(?:{_DATED_STUDY})*",
    re.IGNORECASE,
)


def says_nothing(text: str) -> bool:
    """Whether a section says nothing: each of its sentences is empty or points elsewhere.

    Empty are ``None.``, ``nan``, ``XXXX.`` and ``___``; ``See impression.`` points elsewhere.
    """
    sentences = re.split(r"[.;:!\n]+(?=\s|$)", _BLANKED.sub(" ", text))
    return all(_points_elsewhere(sentence) or is_empty(sentence) for sentence in sentences)


def _points_elsewhere(sentence: str) -> bool:
    return _POINTER.fullmatch(" ".join(sentence.split()).strip(" ()[]*,.-")) is not None
