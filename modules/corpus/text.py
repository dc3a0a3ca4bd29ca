"""Report text as strings: cleaning, truncation, sentences and the clean-up of generated reports.

A *cleaned* report is lower case and its sentences are separated by ``" . "``. Two cleaners are offered in ``CLEANERS``:
``"published"`` reproduces the one behind the published figures, ``"minimal"`` keeps what that one destroys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

_QUOTES_AND_SLASHES = str.maketrans("", "", "\"/\\'")
# The published character class holds the range ":" to "[", so "<", "=", ">" and "@" go too while "-" stays.
_PUNCTUATION = str.maketrans("", "", ".,?;*!%^&_+()]{}" + "".join(chr(code) for code in range(ord(":"), ord("[") + 1)))
_LIST_NUMBERS = ("2", "3", "4", "5")
_SPACE_PASSES, _DOT_PASSES = 6, 8  # each pass halves a run, so runs up to 2**passes become one

_ODD_BREAK = re.compile(r"\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ODD_BLANK = re.compile(r"[^\S\n]")
_HYPHEN = re.compile(  # not a dash between blanks
    r"(?<=\S)[\u2010-\u2013\u2212\ufe63]|[\u2010-\u2013\u2212\ufe63](?=\S)"
)
_QUOTES = str.maketrans(
    {**dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4\u2032", "'"), **dict.fromkeys("\u201c\u201d\u201e\u201f", '"')}
)
_BACKTICK = re.compile(r"(?<=[^\W\d_])`(?=[^\W\d_])")
_LONE_STOP = re.compile(r"(?<!\S)\.(?!\S)")
_MARK = re.compile(r"[\w)][.,;:?!](?=\s|$)")
_MARK_APART = re.compile(r"(?<=[\w)]) +(?=[.,;:?!)](?:\s|$))|(?<=\() +(?=\w)")
_ATTACHED_STOP = re.compile(r"(?<! )\. (?!\.)")  # not one that was set apart before
_ATTACHED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")  # in the order of the source
_LIST_MARKER = re.compile(r"(?:(?<=^)|(?<=[.] )|(?<=\n))\s*\d{1,2}[.)]\s+")
_DOT = (  # marks that stand before items and nowhere else
    r"[\u2022\u2023\u2043\u204c\u2219\u25a0\u25aa\u25b6\u25b8\u25ba\u25c6\u25c7\u25cb\u25cf\u25e6\u2666\u2794\u27a2\u27a4]"
)
_BULLET = rf"(?:{_DOT}\s*|[-*+\u00b7\u2013\u2014\u2192\u21d2\u2713\u2714]\s+)"
_ITEM = r"(?:\(?\d{1,2}\)|\(?[a-z]\)|o)\s+"  # before one line alone it may be part of a sentence
_ITEMS = re.compile(rf"^[^\S\n]*{_ITEM}\S", re.MULTILINE)
_MARKDOWN = re.compile(
    rf"\*\*[^*\n]+\*\*|^\s{{0,3}}#{{1,6}}\s"  # bold words, a heading
    rf"|^[^\S\n]*[-*+]\s+\S.*\n|^[^\S\n]*(?!\+){_BULLET}\S|^[^\S\n]*>\s"  # items, a quotation
    rf"|\s{_DOT}\s|~~|^[^\S\n]*(?:-{{3,}}|\*{{3,}}|={{3,}})\s*$"  # items on one line, deleted words, a rule
    r"|^[^\S\n]*```|^[^\S\n]*\|.*\|\s*$"  # a block of code, a row of a table
    r"|(?<![\w_])__(?=[^_\s])[^_\n]+__(?![\w_])",  # bold words again
    re.MULTILINE,
)
_ENTRY = re.compile(r"^[ \t]*[A-Za-z][^:\n.]{2,40}:[ \t]+\S+(?:[ \t]\S+){0,3}[ \t]*$", re.MULTILINE)
_MARKDOWN_START = re.compile(rf"^\s*(?:#{{1,6}}\s+|{_BULLET}|\d{{1,2}}\.\s+|>\s+|{_ITEM})")
_DOT_INSIDE = re.compile(rf"(?<=\S) {_DOT} ")
_MARKDOWN_HEADING = re.compile(r"^\s*(?:#{1,6}\s+|\*\*[^*]+\*\*:?\s*$)")
_MARKDOWN_BOLD = re.compile(r"\*\*?\*?([^*\n]+)\*\*?\*?|(?<![\w_])__(?=[^_\s])([^_\n]+)__(?![\w_])|~~")
_MARKDOWN_RULE = re.compile(r"^[ \t]*\|?[-=: |]{3,}[ \t]*$")
_SECTION_NAMES = (
    "findings", "impression", "report", "findings and impression", "chest x-ray report", "radiology report",
)  # fmt: skip
_STOP = re.compile(r"\s*(?:\.+\s+|\.+$)")


def plain_blanks(text: str) -> str:
    """One blank for each mark that looks like one, and one line break for each that is one.

    The published cleaner, BLEU and ROUGE know the blank and the line feed alone: behind a tab, a fixed blank or a carriage
    return a sentence would not end, and two words would be one.
    """
    return _ODD_BLANK.sub(" ", _ODD_BREAK.sub("\n", text))


def plain_signs(text: str) -> str:
    """The hyphens and quotes of ASCII for those that look like them: ``right\u2011sided`` is ``right-sided``.

    A dash between blanks is punctuation and stays: as ``-`` it would be joined to its neighbours in predictions alone
    (:func:`postprocess_prediction`).
    """
    return text if text.isascii() and "`" not in text else _BACKTICK.sub("'", _HYPHEN.sub("-", text.translate(_QUOTES)))


def normalise_whitespace(text: str) -> str:
    """Replace every run of whitespace, line breaks included, by one space and strip both ends."""
    return " ".join(text.split())


def clean_report(report: str) -> str:
    """Clean a raw report the way the published MIMIC-CXR figures were made.

    Lower case; list numbers and most punctuation removed; sentences (text up to a full stop that a space follows)
    joined by ``" . "``; one final ``" ."``. It is reproduced with its flaws, because BLEU moves with them: a stop that
    no space follows vanishes (``4.5 cm`` -> ``45 cm``, ``clear.No`` -> ``clearno``), ``T11. No`` is taken for a list
    number and becomes ``t1no``, list numbers above 5 stay, an empty sentence stays (``""`` -> ``" ."``), and a
    character removed between two spaces leaves both.

    Args:
        report: raw text, any length.

    Returns:
        The cleaned text, not truncated (see :func:`truncate_words`).

    Source: behaviour of R2Gen's MIMIC-CXR cleaner, which the later models share.
    """
    text = report.replace("\n", " ")
    for _ in range(_SPACE_PASSES):
        text = text.replace("  ", " ")
    for _ in range(_DOT_PASSES):
        text = text.replace("..", ".")
    text = text.replace("1. ", "")
    for before in (". ", " "):
        for number in _LIST_NUMBERS:
            text = text.replace(f"{before}{number}. ", ". ")
    sentences = text.strip().lower().split(". ")
    cleaned = [sentence.translate(_QUOTES_AND_SLASHES).strip().translate(_PUNCTUATION) for sentence in sentences]
    return " . ".join(cleaned) + " ."


def clean_report_minimal(report: str) -> str:
    """Lower-case a raw report and set its sentence stops apart, nothing else.

    Decimals (``4.5 cm``), hyphens, commas and colons stay; list numbers at the start of a sentence go; whitespace
    becomes single spaces; an empty report stays empty.

    Args:
        report: raw text, any length.

    Returns:
        The cleaned text, which ends in ``" ."`` unless it is empty.

    Departure: not the published cleaner; figures made with the two are not comparable.
    """
    text = normalise_whitespace(_LIST_MARKER.sub(" ", report.lower()))
    text = _STOP.sub(" . ", text).strip()
    text = re.sub(r"^(?:\. ?)+", "", text)
    if not text:
        return ""
    return text if text.endswith(" .") else f"{text} ."


CLEANERS: dict[str, Callable[[str], str]] = {"published": clean_report, "minimal": clean_report_minimal}


def is_cleaned(text: str) -> bool:
    """Whether a text is what :func:`clean_report` makes, but for blanks and, where it was cut, its last stop."""
    again = normalise_whitespace(clean_report(text))
    return again in (normalise_whitespace(text), f"{normalise_whitespace(text)} .")


def clean_once(text: str) -> str:
    """:func:`clean_report` of a text that may have been cleaned or tokenised before.

    A clean text stays as it is, but for a missing last stop. In a tokenised one, ``clear , no edema .``, the marks go back to
    their words first: cleaned as it stands it would keep two blanks where each mark stood, an empty word to ROUGE.
    """
    if is_cleaned(text):
        return text if text.endswith(" .") or not text.strip(" .") else f"{text.rstrip()} ."
    return clean_report(text if _MARK.search(text) else _MARK_APART.sub("", text))


def strip_markdown(text: str) -> str:
    """Take the marks of Markdown out of a report, as language models write them: ``**bold**``, headings and bullets.

    A line that was a heading, a bullet or a short answer (``Edema: none``) becomes a sentence of its own; a report
    without such marks is not changed.
    """
    entries = len(_ENTRY.findall(text)) > 1  # "Pleural effusion: none" line by line, without stops
    if not entries and not _MARKDOWN.search(text) and len(_ITEMS.findall(text)) < 2:
        return text
    pieces = [piece for line in text.splitlines() for piece in _DOT_INSIDE.split(line)]
    lines = []
    for number, line in enumerate(pieces):
        heading = _MARKDOWN_HEADING.match(line)
        row = line.strip().startswith("|") and line.strip().endswith("|")
        below = pieces[number + 1] if number + 1 < len(pieces) else ""
        if row and _MARKDOWN_RULE.match(below):
            continue  # the headings of a table
        if row and not _MARKDOWN_RULE.match(line):
            first, *rest = (cell.strip() for cell in line.strip().strip("|").split("|"))
            line = f"{first}: {', '.join(cell for cell in rest if cell)}" if any(rest) else first
        bare = _MARKDOWN_BOLD.sub(_unmarked, _MARKDOWN_START.sub("", line))
        bare = re.sub(r"^\s*```\w*|`", "", bare).strip()
        if not bare or re.fullmatch(r"[-*_=| :]+", bare):
            continue
        if heading and bare.rstrip(":").casefold() in _SECTION_NAMES:
            continue
        alone = heading or row or _MARKDOWN_START.match(line) or (entries and _ENTRY.match(line))
        if (alone or len(pieces) > text.count("\n") + 1) and bare[-1] not in ".!?:":
            bare += "."
        lines.append(bare)
    return "\n".join(lines)


def _unmarked(match: re.Match[str]) -> str:
    """The words between two marks of bold; nothing for a lone mark."""
    return match[1] or match[2] or ""


def truncate_words(report: str, limit: int = 100) -> str:
    """Keep the first ``limit`` pieces between single spaces; the empty piece between two spaces counts as one.

    Args:
        report: cleaned text.
        limit: most pieces to keep, at least 1.

    Raises:
        ValueError: if ``limit`` is below 1.
    """
    if limit < 1:
        raise ValueError(f"the word limit is {limit}; expected at least 1, or leave the report untruncated")
    return " ".join(report.split(" ")[:limit])


def split_sentences(cleaned: str) -> list[str]:
    """Non-empty sentences of a cleaned report: what stands between stops that have a space on both sides."""
    sentences = map(normalise_whitespace, _LONE_STOP.split(cleaned))
    return [sentence for sentence in sentences if sentence]


def attach_punctuation(text: str) -> str:
    """Take out the blanks that joining WordPieces leaves: ``clear . no`` -> ``clear. no``, ``a , b`` -> ``a, b``.

    Source: ``clean_up_tokenization`` of BERT's tokenizer in transformers, which the published chain decodes with.
    """
    for spaced in _ATTACHED:
        text = text.replace(spaced, spaced.strip())
    return text


def postprocess_prediction(text: str) -> str:
    """Give a generated report the spacing of a cleaned reference before it is scored.

    A decoder that joins WordPieces writes ``clear. no`` and ``right - sided`` where references hold ``clear . no`` and
    ``right-sided``. Text that is spaced already stays, so that doing it twice changes nothing. The blank at the end
    stays too, as published: ROUGE-L counts it as one empty word, which is why a text scores below 1 against itself.

    Source: post-processing of the published scorer, ``(text + " ").replace(". ", " . ").replace(" - ", "-")``, applied
    to predictions only; equal to it on what BERT's tokenizer decodes, hyphens standing between words.
    """
    return _ATTACHED_STOP.sub(" . ", f"{text.rstrip(' ')} ").replace(" - ", "-")


class PackedTexts(Sequence[str]):
    """Texts in one block of bytes.

    Data-loading processes share it with the process they come from, however much they read: a Python string counts its
    users inside itself, so that reading one copies the page of memory it lies on.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._stops = np.cumsum([0, *map(len, encoded)])  # (n + 1,)

    def __len__(self) -> int:
        return len(self._stops) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # slices are not asked for
        row = range(len(self))[index]  # also from the end; IndexError past it
        start, stop = self._stops[row : row + 2]
        return self._bytes[start:stop].tobytes().decode("utf-8", "surrogatepass")
