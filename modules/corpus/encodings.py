"""Which encoding a text file is in: its mark, whole UTF-8, UTF-16 by its zero bytes, else the Western cp1252, or refused.

Nearly every byte is a character in cp1252, so that a table of Mac Roman or ISO-8859-2 decodes without an error into other
words. Such words look strange: a capital inside a word, a superscript between letters. One strange place refuses the file.
Other places are words in two encodings: ``peque–o`` with a dash is ``pequeño`` in Mac Roman. They refuse the file unless
it holds something that is Western beyond doubt, an accented letter or a dash between blanks.
"""

from __future__ import annotations

# ruff: noqa: RUF001 (the letters that look alike are what this file is about)
import codecs
import re
from pathlib import Path

from modules.messages import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d\x00]|[\x80-\xff]{4}")
_L = r"[^\W\d_]"  # a letter
_START = r"(?<![^\s,;|\"])"  # of a word or a cell
_STRANGE = re.compile(  # in a text that was read as cp1252, and what made it there
    r"[šžŠŽŸÿðþÐÞÝýƒ\u00ad]"  # ö and ü of Mac Roman, š and ž of ISO-8859-2, ğ and ş of Turkish
    rf"|(?<=[a-zß-öø-ÿ])[ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜ]|[ÒÕÔ]"  # é and curly quotes of Mac Roman
    rf"|(?<={_L})[ˆ˜†‡‰‹›€™¡-¦¨-³¶-¿„‚•“”‘](?={_L})"  # marks inside a word: Polish ł, Mac á, DOS é
    rf"|(?<={_L})[¡¢£¤¥¦§¹¶¼½¾¿±ˆ†‡‰](?!\w)|(?<![mM])(?<={_L})[²³](?!\w)"  # at its end: Polish ą, ł
    rf"|(?<!\w)[¦¡¤§©ª¹²³¶¼½¾±†‡‰€„](?={_L})|(?<!\w)[²³]"  # at its beginning, and ≤ ≥ of Mac Roman
    r"|[¨¯¸]|(?<=[a-z]{3})ª|(?<=\d)[À-ÖØ-Þ]"  # ®, Ø, ™ and the fixed blank of Mac Roman
    rf"|(?<={_L})[“‘](?!\w)|œ(?!u|d[eèéi]|soph|str|t(?:al|us)|il|nolog)"  # ì and ú of Mac Roman, outside the words that have œ
    rf"|¿(?={_L})(?![^\n?]*\?)|[ˆ˜]|(?<=\d)¡|(?<!\w)[ÉÑÊËÌÍÎÏ](?!\w)"
    rf"|¥(?!\d)|(?<!\w)‚(?={_L})(?![^\n]*‘)|(?<=[a-z])[–—](?=n\b)"  # bullet and Spanish -ón of Mac Roman, é of DOS
    r"|ã(?![oes\W]|$)|õ(?!e)"  # Romanian and Hungarian; both letters are Portuguese too
)
_DOUBTFUL = re.compile(  # words in cp1252 as well as in Mac Roman or DOS
    rf"(?<={_L})[–—](?!\s?\d)|{_START}[–—](?={_L})"  # ñ and ó of Mac Roman, û and ù of DOS
    rf"|(?<=[a-z]{{2}})’(?!(?:s|t|re|ve|ll|d|m)\b)(?={_L})"  # í of Mac Roman
    rf"|{_START}…(?=[a-z\s])|(?<={_L})…(?={_L})"  # Ö of Mac Roman, à of DOS
)
_FIRM = re.compile(  # what is a word or a mark in cp1252 alone
    r"(?<=[a-z])[ß-öø-ü]|[ß-öø-ü](?=[a-z])|(?<=\s)[–—](?=\s)|(?<=\d)[–—](?=\d)|(?<=\d)°|(?<=[cm]m)[²³]"
    r"|(?<!\w)“\w[^“”\n]*”(?!\w)|(?<=[a-z])’(?=s\b)"
)


def find_encoding(path: Path, content: bytes) -> str:
    """Name of the encoding of a file.

    Args:
        path: for messages.
        content: all of it.

    Raises:
        UserError: if the text is damaged, or in an encoding that cannot be told from others.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None and content[:200].count(0) > len(content[:200]) // 4:
        encoding = "utf-16-le" if content[1:200:2].count(0) > content[0:200:2].count(0) else "utf-16-be"
    try:
        text = content.decode(encoding or "utf-8-sig")
        if "\0" in text:
            raise UserError(f"{path} is no text but holds zero bytes: export the table as CSV in UTF-8")
        return encoding or "utf-8-sig"
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    high = len(re.findall(rb"[\x80-\xff]", content))
    western = 2 * len(b"".join(_MULTIBYTE.findall(content))) < high and not _UNDEFINED.search(content)
    if encoding or not western:
        _refuse(path, line)
    text = content.decode("cp1252")
    odd = _STRANGE.search(text) or (None if _FIRM.search(text) else _DOUBTFUL.search(text))
    if odd:
        _refuse(path, text.count("\n", 0, odd.start()) + 1)
    return "cp1252"


def _refuse(path: Path, line: int) -> None:
    raise UserError(
        f"{path} is neither whole UTF-8 or UTF-16 nor surely the Western cp1252, first in line {line}: save it in UTF-8, a "
        "table as CSV"
    )
