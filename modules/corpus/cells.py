"""What programs write into a cell where a text was expected: nothing, in many spellings, or that something failed."""

from __future__ import annotations

import math
import re
import unicodedata

from modules.messages import UserError, named

MAX_REPORT = 1 << 17  # characters; reports have a few thousand
MAX_ID, MOST_WORDS_OF_ID = 1000, 8
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, invisible, half a character, ends of lines

EMPTY = frozenset(  # folded; what Excel, pandas, R, SQL and JavaScript write where there is nothing
    (
        "", "nan", "-nan", "+nan", "none", "null", "n/a", "na", "n.a.", "nil", "undefined", "#n/a", "#na", "#n/a n/a", "#nv", "#yok", "pd.na", "no data",
        "<na>", "nat", "(null)", "[null]", "<null>", "(none)", "<none>", "(blank)", "(empty)", "<empty>", "[empty]", "missing",
        "no report", "no report available", "no report found", "no report was generated", "not found", "not provided", "blank", "empty",
        "[redacted]", "<unk>", "[unk]", ".nan", "not available", "not reported", "report pending", "pending", "unknown", "tbd",
        "deleted", "removed", "withheld", "redacted", "no text", "empty report", "[deleted]", "[removed]", "(deleted)", "(removed)", "<deleted>",
        "[no report]", "(no report)", "report not available", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "1.#nan", r"\n", "[]", "{}", '""', "''",
    )
)  # fmt: skip
_NOTHING_SAID = re.compile(  # the same as a sentence
    r"(?:the |this )?(?:radiology )?(?:report|text|data|findings section) (?:(?:is |was |has been )?(?:empty|blank|missing|deleted|removed|withheld|unavailable)"
    r"|(?:is |was |has |could )?not (?:been |be )?(?:available|found|provided|given|generated|retrieved))"
    r"|(?:empty|missing|deleted|no) (?:radiology )?(?:report|text|data)(?: (?:is |was |could be )?(?:available|found|provided|given|generated|present))?"
    # before there is one
    r"|(?:(?:final|full|formal|official|radiology) )?(?:reports?|dictation|interpretation|results?) (?:(?:to|will) follow|(?:is |are )?(?:still )?pending)"
    r"|(?:exam(?:ination)?|study|order|procedure)(?: was| is| has been)? (?:cancel+ed|not (?:performed|done|completed))"
    r"|(?:(?:report|study|exam(?:ination)?|film|image) )?(?:is |was |has )?not (?:yet |been ){1,2}(?:reported|read|dictated|interpreted|available|signed)"
    r"|(?:to be|awaiting) (?:report(?:ed)?|dictat(?:ed|ion)|interpret(?:ed|ation))"
)
_PIECE = re.compile(r"[^\s,;|'\"()\[\]]+")
_OF_NO_VALUE = re.compile(r"#[^\W\d_]{1,3}/[^\W\d_]{1,3}")  # Excel's #N/A in other languages: #N/D, #N/B
_CAPITAL = r"[A-Z\u00c0-\u00de\u011e\u0130\u015e\u0410-\u042f]"
_FAILED = (  # what kind of failure, and how a cell shows it
    (
        "a spreadsheet wrote where a formula failed",
        rf"#(?:(?i:[a-zà-ÿ][a-zà-ÿ0-9_/ .]*[!?])|[^\s#]{{2,30}}[!?]|{_CAPITAL}{{4,}}(?:_|{_CAPITAL})*|#+)|Err:\d{{3}}",
    ),
    ("is a formula and not its text", r"=\s*(?:[A-Z][A-Z0-9.]*\(.*|'?[\w .\[\]]*'?!?\$?[A-Z]{1,3}\$?\d+)"),
    (
        "a program wrote where it failed",
        r"[\[(<*]*(?i:errors?|failed|failure|exception|time[ -]?out|timed out|oom|crash(?:ed)?|aborted)[\])>*.!]*"
        r"|(?:(?i:error|exception|fatal|failed|failure)|[A-Za-z_.]*(?:Error|Exception))\s*(?:\d{3})?\s*[:(].*"
        r"|(?i:error code|traceback \(most recent|cuda (?:out of memory|error)|out of memory|http (?:error )?\d{3}).*"
        r"|(?i:[45]\d\d (?:client|server) error|internal server error|bad gateway|too many requests|rate limit).*"
        r"|\[object \w+\]|<[\w.]+ object at 0x.*|(?:tensor|array)\(.*",
    ),
    ("is a number and no text", r"[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf(?:inity)?"),
    ("is a date and no text", r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\d{1,2}[./]\d{1,2}[./](?:\d{2}){1,2}"),
    ("is a truth value and no text", r"(?i:true|false)"),
    ("is a path and no text", r"\S*[/\\]\S+\.\w{2,5}|\S+\.(?i:txt|png|jpe?g|jpe|jfif|dcm|dicom|json|xml)"),
)  # fmt: skip
_KINDS = tuple((kind, re.compile(pattern, re.DOTALL)) for kind, pattern in _FAILED)
_IN_ANY_COLUMN = 3  # the first kinds are wrong in ids and paths too


def is_empty(value: object) -> bool:
    """Whether a cell holds nothing: ``nan``, ``None.`` and their like, or no letter and no digit at all (``/``, ``.``)."""
    if value is None or (isinstance(value, float) and value != value):  # NaN is not itself
        return True
    text = str(value).strip()
    folded = text.casefold()
    if folded in EMPTY or folded.rstrip(" .") in EMPTY or _NOTHING_SAID.fullmatch(folded.strip(" .[]()<>*")):
        return True
    if _OF_NO_VALUE.fullmatch(folded):
        return True
    if set(_PIECE.findall(folded)) <= {"nan", "none", "null"}:  # two empty cells that were joined, a list of them
        return True
    return not any(character.isalnum() for character in text) and not re.fullmatch(r"##+", text)


def failed(value: object, text: bool = True) -> str | None:
    """What is wrong with a cell that holds the word of a failure, such as ``#REF!`` or ``ERROR``; None where nothing is.

    Args:
        value: the cell.
        text: whether a report belongs there, so that a bare number is wrong too.
    """
    if not isinstance(value, str):
        return None
    kinds = _KINDS if text else _KINDS[:_IN_ANY_COLUMN]
    return next((kind for kind, pattern in kinds if pattern.fullmatch(value.strip())), None)


def refuse_odd(where: str, name: str, value: object) -> None:
    """Refuse a text or an id that no program can have meant, before anything reads it.

    Args:
        where: file and row.
        name: of the column.
        value: what stands there; a message quotes it only if it is an id.

    Raises:
        UserError: if it is longer than any report or id; if an id or a patient is a list or the like, or a text of many words;
            if an id holds characters that nobody sees, so that it looks like another.
    """
    if name in ("id", "patient") and (
        not isinstance(value, str | int | float) or isinstance(value, bool) or value in (math.inf, -math.inf)
    ):
        raise UserError(f"{where}: the {name} is a {type(value).__name__}, expected text or a number: correct it")
    value = str(value)
    if name in ("id", "patient") and len(value.split()) > MOST_WORDS_OF_ID:
        raise UserError(
            f"{where}: the {name} is a text of {len(value.split())} words, expected a short name: is it the column of another "
            "thing?"
        )
    most = MAX_ID if name == "id" else MAX_REPORT
    if len(value) > most:
        raise UserError(
            f"{where}: the {name} has {len(value):,} characters, expected at most {most:,}: correct it or remove the study"
        )
    if name == "id" and not value.isprintable() and any(unicodedata.category(letter) in _UNSEEN for letter in value):
        raise UserError(
            f"{where}: the id {named(value)} holds characters that cannot be seen, expected none: correct it"
        )
