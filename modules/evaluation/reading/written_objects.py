"""Objects as programs write them out: mappings and lists of JSON and Python, answers of a library, columns of pandas, boxes of numbers."""

from __future__ import annotations

_QUOTE = "[\"']"
NUMBER = r"[-+\u2212]?(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:e[-+]?\d+)?"
_MAPPING = (
    rf"\A\s*(?:\[\s*)?\{{\s*(?:{_QUOTE}|\d+\s*:)|\A\s*\"?\w+\"\s*:|\w[.!?]?\s*\"\s*[}}\]]+\s*\Z"
    rf"|\{{\s*{_QUOTE}\w+{_QUOTE}\s*:|\{{\s*\w+\s*:\s*{_QUOTE}"  # inside of a text, also where the key has no quotes
    r"|\A\s*\w+\s*:\s*[>|][-+]?[^\S\n]*\n"  # a block of YAML
)
_LIST = (  # also a tuple or bytes; a limit of tokens may leave the first half
    rf"\A\s*\[\s*{_QUOTE}(?-i:[A-Z])|\A\s*[\[(]\s*[\[(]\s*b?{_QUOTE}"
    r"|\A\s*[\[(]\s*b?(?P<item>[\"']).*(?P=item)\s*,?\s*[\])]\s*\Z|\Ab(?P<bytes>[\"']).*(?P=bytes)\Z"
    r"|\A\s*[\[(]\s*b?(?P<pair>[\"']).*(?P=pair)\s*,\s*(?:None|null|True|False|[-\d\[({])[^\"']*[\])]\s*\Z"  # a text and what belongs to it
)
_ANSWER = (  # the whole object of which the text is one field
    r"\b(?-i:(?:[A-Z]+[a-z]+){2,})\(\s*\w+\s?=|\A\s*(?:[\[(]\s*)?[a-z_][\w.]*\((?:\s*[a-z_]\w*=[\"'\[({]|[\[({]+\s*[\"'])"
    r"|\A\s*\w+=(?:[\"'\[{]|(?-i:None)\b)|<[a-z][\w. ]{0,60} at 0x[0-9a-f]+"
    r"|\bdtype[:=]\s?\w"  # a column of pandas, an array of numpy
)
WRITTEN_OUT = f"{_MAPPING}|{_LIST}|{_ANSWER}"
BOXES = (  # of what a sentence speaks of, behind it
    rf"\[\s?\[\s?{NUMBER}\s?,\s?{NUMBER}|\[\s?{NUMBER}(?:\s?,\s?{NUMBER}){{3}}\s?\]|\({NUMBER},\s?{NUMBER}\),\({NUMBER},"
)
