"""Which encoding a text file is in: its mark, whole UTF-8, UTF-16 by its zero bytes, else the Western cp1252, or refused.

Nearly every byte is a character in cp1252, so that a table of Mac Roman or ISO-8859-2 decodes without an error into other
words. Such words look strange: a capital inside a word, a superscript between letters. One strange place refuses the file.
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
_STRANGE = re.compile(  # in a text that was read as cp1252, and what made it there
    r"[šžŠŽŸÿðþÐÞÝýƒ\u00ad]"  # ö and ü of Mac Roman, š and ž of ISO-8859-2, ğ and ş of Turkish
    rf"|(?<=[a-zß-öø-ÿ])[ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜ]|[ÒÕÔ]"  # é and curly quotes of Mac Roman
    rf"|(?<={_L})[ˆ˜†‡‰‹›€™¡-¦¨-³¶-¿„‚•“”](?={_L})"  # marks inside a word: Polish ł, Mac á, DOS é
    rf"|(?<={_L})[¡¢£¤¥¦§¹¶¼½¾¿±ˆ†‡‰](?!\w)|(?<![mM])(?<={_L})[²³](?!\w)"  # at its end: Polish ą, ł
    rf"|(?<!\w)[¦¡¤§©ª¹²³¶¼½¾±†‡‰€„](?={_L})|(?<!\w)[²³](?!\w)"  # at its beginning
    rf"|¿(?={_L})(?![^\n?]*\?)|[ˆ˜]|(?<=\d)¡|(?<!\w)[ÉÑÊËÌÍÎÏ](?!\w)"
    rf"|¥(?!\d)|(?<!\w)‚(?={_L})(?![^\n]*‘)|(?<=[a-z])[–—](?=n\b)"  # bullet and Spanish -ón of Mac Roman, é of DOS
    r"|ã(?![oes\W]|$)|õ(?!e)"  # Romanian and Hungarian; both letters are Portuguese too
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
    if strange := _STRANGE.search(text):
        _refuse(path, text.count("\n", 0, strange.start()) + 1)
    return "cp1252"


def _refuse(path: Path, line: int) -> None:
    raise UserError(
        f"{path} is neither whole UTF-8 or UTF-16 nor surely the Western cp1252, first in line {line}: save the table as "
        "CSV in UTF-8"
    )
