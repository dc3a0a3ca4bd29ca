"""Reports in XML or HTML as lines of ``finding: answer``."""

from __future__ import annotations

import re

from modules.labelling.answers import answer_of

_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z][\w.:-]*)(?P<more>(?:\s+[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*/?>"
)
_INNERMOST = re.compile(rf"(?s){_TAG.pattern.replace('(?P<close>/?)', '')}(?P<held>[^<>]*)</(?P=name)\s*>")
_ATTRIBUTE = re.compile(r"([\w.:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_SUBJECT = "name|finding|condition|observation|label|abnormality|pathology|dt|th|key"
_TEXTS = r"li|ul|ol|p|br|div|span|tr|td|table|tbody|b|i|u|em|strong|h\d|html|body|item|\w*(?:reports?|findings?|impressions?|sections?|text|answer|output)"
_LONG = 8  # words of a text that is no answer
_STATE = "status|state|value|presence|present|answer|assertion|certainty|dd|td"
_SPLIT = re.compile(  # a finding and its answer in two elements, in the cells of one row too
    rf"<(?:{_SUBJECT}|td)>\s*([^<>]+?)\s*</(?:{_SUBJECT}|td)>\s*<(?:{_STATE})>\s*([^<>]+?)\s*</(?:{_STATE})>",
    re.IGNORECASE,
)


def without_tags(report: str) -> str:
    """A report whose tags name findings as lines of ``finding: answer``; equal to it where it has no tags."""
    if not _TAG.search(report):
        return report
    text, before = _SPLIT.sub(r"\1: \2\n", report), ""
    while text != before:
        before, text = text, _INNERMOST.sub(_as_line, text)
    return _TAG.sub(_alone, text)


def _as_line(element: re.Match[str]) -> str:
    held = " ".join(element["held"].split()) if "\n" not in element["held"].strip() else element["held"].strip()
    given = _given(element["more"])
    name = given.get("name") or given.get("finding") or element["name"]
    if not held:
        return _alone(element)
    if re.fullmatch(_TEXTS, name, re.IGNORECASE) or "\n" in held or len(held.split()) > _LONG:
        return f"\n{held}\n"
    return f"\n{_plain(name)}: {held}\n"


def _alone(tag: re.Match[str]) -> str:
    """A tag without content: an answer among its attributes or as its name, or nothing."""
    if answer_of(tag["name"]) is not None and not tag["more"]:
        return f": {tag['name']}\n"
    given = _given(tag["more"])
    states = [value for key, value in given.items() if re.fullmatch(_STATE, key, re.IGNORECASE)]
    subjects = [value for key, value in given.items() if re.fullmatch(_SUBJECT, key, re.IGNORECASE)] or [tag["name"]]
    return f"\n{_plain(subjects[0])}: {states[0]}\n" if states else "\n"


def _given(attributes: str) -> dict[str, str]:
    return {key.lower(): double or single for key, double, single in _ATTRIBUTE.findall(attributes)}


def _plain(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_.:-]+", " ", name)
