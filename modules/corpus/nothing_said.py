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


def says_nothing(text: str) -> bool:
    """Whether a section says nothing: each of its sentences is empty or points elsewhere.

    Empty are ``None.``, ``nan``, ``XXXX.`` and ``___``; ``See impression.`` points elsewhere.
    """
    sentences = re.split(r"[.;:!\n]+(?=\s|$)", _BLANKED.sub(" ", text))
    return all(_points_elsewhere(sentence) or is_empty(sentence) for sentence in sentences)


def _points_elsewhere(sentence: str) -> bool:
    return _POINTER.fullmatch(" ".join(sentence.split()).strip(" ()[]*,.-")) is not None
