"""What programs leave in a text, or in its place, and what a metric would read as words of the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from modules.corpus.cells import failed
from modules.corpus.language import refuse_other_language
from modules.corpus.line_marks import BREAK_SIGN, ENTITY, HL7_BREAK, HL7_SIGN, TAGGED_BREAK, TOGETHER
from modules.evaluation.reading.chat_marks import OFFER, OPENING, SPEAKER
from modules.evaluation.reading.column_values import is_class
from modules.evaluation.reading.labels_before import label_before
from modules.evaluation.reading.written_objects import BOXES, NUMBER, WRITTEN_OUT
from modules.messages import UserError, quoted, quoted_name

_TOKENS = (
    r"</?(?:s|n|pad|bos|eos|eo[pd]|so[ps]|sep|cls|mask|start|end|unused_?\d+|special_?\d+|reserved_?\d+|extra_id_\d+|(?:loc|seg|bin|[xy])_?\d+|delim"
    r"|patch_index_\d+|think|thinking|answer|image\d*|img|imagehere|object|phrase|grounding|box|ref|report|(?:start|end|bos|eos|pad|im|img|begin)_\w+|\w+_(?:start|end|of_turn|token|pad))\s*/?>"
    r"|<0x[0-9a-f]{2}>|(?:<\d{1,4}>){2}|<<?/?sys>>?|<[|\uff5c][^|\uff5c<>\n]{1,40}[|\uff5c]>|\[\|[^|\[\]\n]{1,20}\|\]"
    r"|\[/?(?:CLS|SEP|PAD|BOS|EOS|EOT|INST|IMG(?:_\w+)?|g?MASK|sMASK|DEC|ENC|BLA|POS|NEG|UNC|unused_?(?:token_)?\d+"
    r"|PMT(?:-SEP)?|NPF|NPI|NF|NI|SYS|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)\]|\b(?:start|end)seq\b"
    r"|\u2581|\u0120\w|\u010a|(?<=[a-z] )##[a-z]|[a-z]@@(?=\s)"  # the blanks of SentencePiece and of byte-level BPE, pieces of BERT and of BPE
)
_ESCAPES = rf"(?-i:\\[nrt])|[.:;]\\[nrt]|\\u[0-9a-f]{{4}}|\\x[0-9a-f]{{2}}|_x00[01][0-9a-f]_|[.:;]/n(?=\s?[A-Z])|(?-i:{HL7_BREAK}|{TAGGED_BREAK})"
_NO_BLANKS = r"\w%20\w|(?<![a-z\[{<*_])[a-z]+(?:_[a-z]+){2,}(?![a-z\]}>*_\d])"  # of an address or a file's name
_UNFILLED = r"\{+\s*(?-i:[a-z_]+)\s*\}+"  # a template's; in capitals what stands for a name
_JOINED = r"(?<=\S\s)nan(?![\w-])|(?<![\w-])nan(?=[.\s]+\w)|\A(?-i:None|null|undefined)\s+(?-i:[A-Z])"  # an empty cell and a text in one
_OF_PDF = r"\(cid:\d+\)"  # a sign that a PDF's font does not name
_LATEX = r"\\[a-z]{2,}\*?\{"  # \boxed{..}
_SOURCE = r"\[cite[:_\]]|\u3010[^\u3011\n]{0,40}\u2020"  # that a model names behind a sentence
_FENCED = r"```\w*\s*[\[{<]"  # JSON or XML between the marks of code
_MACHINE = re.compile(
    f"{WRITTEN_OUT}|{_FENCED}|{_TOKENS}|{_ESCAPES}|{_JOINED}|{SPEAKER}|{_OF_PDF}|{_LATEX}|{_SOURCE}",
    re.IGNORECASE | re.DOTALL,
)
_MISREAD = (  # UTF-8 that was read as another encoding, also where the blank behind the sign is one of ASCII
    r"\u00e2\u20ac|\u00c2[\u00a0-\u00bf]|\u00c3[\u0080-\u00bf]|(?<=[\s\d.,;:)%])[\u00c2\u00c3](?=\s|\Z)|(?<=[a-z])(?-i:[\u00c2\u00c3])(?=\s|\Z)"
    r"|\u00ef\u00bf\u00bd|\u00ef\u00bb\u00bf|\u0393\u00c7|\u252c[\u2591\u2592\u00e1\u00b1]|\u00ac[\u2020\u221e\u00b1]"
)
_BLANKS_OF_A_FORM = (  # [Name] behind a label; [NAME] and [Name] inside a sentence stand for what was taken out of a report
    r"\[(?:insert|enter|fill in|your)\s[^\]\n]{0,60}\]|\[(?-i:Patient|Radiologist|Physician)(?:'s)?\s(?-i:Name|Age|ID|Signature)\b[^\]\n]{0,30}\]"
    r"|\b(?:name|date|time|age|sex|gender|id|mrn|dob|birth|physician|radiologist|by)\**:\**[^\S\n]{0,8}\[(?-i:(?:[A-Z][a-z]+ ){0,3}(?:Name|Date|Time|Age|Sex|Gender|ID|MRN|Number))\b[^\]\n]{0,30}\]"
)
_LIKE_LATIN = (  # letters of other scripts that look like Latin ones, beside Latin ones; not those of units and angles (\u03bcm, \u0394)
    r"(?-i:[\u0391\u0392\u0395-\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c5\u03c7"
    r"\u0131\u0237\u0251\u0261\u0400-\u04ff\u0530-\u058f\u13a0-\u13ff\u2170-\u217f])"
)
_UNSEEN = (  # characters that nobody sees or that look like others, so that equal words differ
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u2060-\u2064\u202a-\u202e\u2066-\u2069\ufeff\ue000-\uf8ff]|[\u200c-\u200f](?=[a-z ])"
    rf"|[\ufb00-\ufb06\uff01-\uff5e\U0001d400-\U0001d7ff]|[a-z][\u0300-\u036f]|(?-i:[A-Za-z]){_LIKE_LATIN}|{_LIKE_LATIN}(?-i:[A-Za-z])|(?<=[a-z] )[\u0400-\u04ff\u03bf](?= [a-z])"
    r"|[a-z\d%)][\u2024\u0964\u3001\u3002\uff61]"  # stops of other scripts behind Latin words, which the cleaners leave on them
)
# In a few texts these may be the author's own: what a template asks for, HTML, XML and entities, signs between
# sentences, letters of another encoding, a report between quotation marks.
_SELDOM = re.compile(
    rf"{_UNSEEN}|{_NO_BLANKS}|{_UNFILLED}|{_BLANKS_OF_A_FORM}|{_MISREAD}|{BOXES}|<!(?:--|\[CDATA\[|DOCTYPE\b)|</[a-z][\w.:-]*\s*>|</?(?:[bh]r|p|div|span|b|i|u|em|strong|ul|ol|li|h\d|td|tr|table)\s*/?>|(?-i:{HL7_SIGN}|{ENTITY}|{BREAK_SIGN})|\ufffd|\A\s*\"[^\"]*\"\s*\Z|\A\s*'.+'\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_OF_MOST = (  # what one text may begin with, and most texts of a file only if a program wrote it; of it the group is shown
    (
        "ask for a report",
        r"\s*(?:<image>\s*)?(?:please |can you |could you )?(describe|provide|generate|write|produce|give|create|summari[sz]e|analy[sz]e|interpret|what)\b"
        r"[^.?!\n]*\b(?:reports?|findings|images?|x-?rays?|films?|radiographs?|cxr|scan)\b",
    ),
    ("begin with words to a reader", OPENING),
    ("begin with a question or an instruction", r"\W*(question\s*:|you are an?\b|instructions?\s*:)"),
    (
        "begin with what is known before the findings",
        r"\W*((?:clinical )?(?:indications?|history|information|comparisons?|technique|exam(?:ination)?)\s*:)",
    ),
    (
        "begin with a label",
        r"\W*((?-i:FINAL REPORT)\b|(?-i:[A-Z][a-z]+[A-Z]\w*(?:[-.]\w+)*)\s*:"
        r"|(?:findings|impression)\b(?!\**\s*:)|finding\s*:(?![\s\S]*\bfinding\s*:))",
    ),
    ("begin with a number, which may be an id", r"(?!\[\*\*)\W*(s?\d{4,})\b"),
    (
        "begin with the word of a program",
        r"\s*(\[UNK\]|<unk>|\u2047|(?-i:UNK|SOS|BOS|CLS)\b|unk\b|<\w{1,20}>|\[(?!findings|impression)[a-z]\w{0,20}(?: \d+)?\])",
    ),
    ("begin with signs", r"\s*([@=~|$^`+\\]{2,}|-{3,}(?=\s*\w))"),
    ("hold sentences without a blank between them", rf"[\s\S]*?((?-i:\w{{3}}\.{TOGETHER}\w\w))"),
    ("hold words that a tokenizer does not know", r"[\s\S]*?(\u2047)"),
)
_UNIT = r"(?:\s*(?:%|s|sec|secs|seconds|ms|tokens?(?:/s)?|tok/s|words?|nats|bits|/\s*\d+))?"
_OF_A_MODEL = (
    r"(?:[a-z]+[ _-])?(?:confidence|conf|p|probability|prob|log[ _-]?prob(?:ability|s)?|logp|likelihood|perplexity|ppl|loss|time|took|latency"
    r"|elapsed|tokens|word[ _-]?count|words|similarity|bleu|f1)"
)
_OF_SCORES = rf"(?:{_OF_A_MODEL}|(?:[a-z]+[ _-])?(?:score|rating))"  # of which radiology has whole numbers too
_REST = r"(?:[^.!?\n]|\.(?=\S))"  # of a sentence
_AT_END = (  # the same at the end
    (
        "end with a date and a time",
        r"(?<=[.!?])\s*([\[(]?(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})(?:T|,?\s+(?:at\s+)?)\d{1,2}:\d\d[\d:.,+Z]*(?:\s?[ap]\.?m\.?)?[\])]?)\Z",
    ),
    (
        "end with a note that is no part of a report",
        rf"(?<=[.!?\n])\s*({_REST}{{0,150}}?(?:\(continued\)|\b(?:end of (?:the |this )?(?:\w+ )?(?:report|text|document|findings)|generated (?:by|with|using|from|based on)|(?-i:AI)|artificial intelligence"
        r"|language model|disclaimer|consult (?:an?|your|with)|research (?:use|purposes)|educational purposes|qualified (?:\w+ )?(?:radiologist|physician|doctor|professional)|not an? (?:\w+ )?(?:doctor|physician|diagnosis)|medical advice|reviewed by an?|page \d+\s?(?:/|of)\s?\d+)\b)"
        rf"{_REST}{{0,150}}[.!)]*)\Z",
    ),
    (
        "end with a number",
        rf"([([{{<|]\s*(?:{_OF_SCORES}\s*[:=]?\s*)?{NUMBER}{_UNIT}(?:\s*[,;/]\s*{NUMBER}{_UNIT})*\s*[)\]}}>|]"
        rf"|\b(?:{_OF_A_MODEL}\s*[:=]\s*{NUMBER}|{_OF_SCORES}\s*[:=]\s*[-+\u2212]?\d*[.,]\d+){_UNIT}"
        rf"|(?<=[.!?])[\"')]?\s+(?:[|/;,]\s*)?{NUMBER}{_UNIT}|(?<=\s)(?:[-+\u2212]\d*[.,]?\d+(?:e[-+]?\d+)?|\d*\.\d{{3,}}(?:e[-+]?\d+)?|\d+(?:\.\d+)?e[-+]?\d+))\Z",
    ),
    (
        "end with the word of a program",
        r"(\[(?-i:UNK)\]|<unk>|\u2047|</?\w{1,20}>|(?<=[.!?])\s*\[/?[a-z]\w{0,20}\]|(?<=\s)(?:(?-i:UNK|EOS|BOS|PAD|EOT|EOF|END)|unk|eos)|(?<=[.!?]\s)(?:(?-i:None|NULL|N/A)|null|undefined|true|false|end|stop)|\b(?:finish|stop)_?reason\W{1,4}\w+[\"')}]{0,3})\Z",
    ),
    (
        "end with how sure a model is",
        r"([([{<|]?\s*\b(?:confidence|certainty)(?:[ _-](?:level|score))?\s*[:=]?\s*(?:very[ _-])?(?:high|low|medium|moderate|sure|certain)\s*[)\]}>|.]{0,2})\Z",
    ),
    ("end with words to a reader", OFFER),
    ("end with signs", r"(?<=[\s.])([#@=~|$^`+\\]+|-{3,}|\*{3,})\Z"),
)
_END = 200  # last characters of a text, in which it stands
SHORTEST_CUT = 40  # characters; below, texts of one length are common
_CUT = re.compile(
    r"(?:(?:(?<!\.)\.{3}|\u2026)[\])]?|[\[(<](?:\.{3}|\u2026)?\s?(?:output |text )?(?:truncated|cut[ -]off|\+?\d{0,6} ?more(?: \w+)?)[\])>])\s*\Z",
    re.IGNORECASE,
)
_ENDED = re.compile(r"(?<!\.\.)[.!?][\"')\]]*\s*\Z")  # with a stop, not with three
FEW = 0.01  # share of such reports that are let pass: a few of the public archives have a line break


def check_texts(files: Iterable[tuple[Path, Sequence[str]]]) -> None:
    """Check that texts are reports and nothing that a program has left in them, or in their place.

    Args:
        files: path and texts of every side; one file may hold both sides.

    Raises:
        UserError: if some hold the tokens of a model, HTML, an escaped end of a line, what a model thought, or JSON; if some
            are the word of a failure (``#REF!``, ``ERROR``), a formula, a number or a path; if all are names of classes; if
            most ask for a report, begin with a label or an id, or end with a number or a word that a program wrote, or in dots.
    """
    for path, texts in files:
        wrong = [text for text in texts if failed(text)]
        if wrong:
            text, kind = wrong[0], failed(wrong[0])
            raise UserError(
                f"{len(wrong)} of {len(texts)} reports in {path} are none, first {quoted(text.strip())}, which {kind}: it would be "
                "scored as words, so write the text, or leave the cell empty where there is none"
            )
        refuse_classes(path, texts, "name the column of the texts with --columns prediction=NAME reference=NAME")
        refuse_leftovers(path, texts)
        _refuse_of_most(path, texts)
        cut = _end_in_dots(texts)
        if 2 * cut > len(texts) > 1:
            raise UserError(
                f"{cut} of {len(texts)} reports in {path} end in dots or [truncated], as what shows a table leaves them: they are cut off, so give the whole texts"
            )


def ask_for_reports(cells: Sequence[object]) -> bool:
    """Whether most cells of a column ask for a report: they are what a model was given."""
    asks = re.compile(_OF_MOST[0][1], re.IGNORECASE).match
    return 2 * sum(bool(asks(str(cell))) for cell in cells) > len(cells)


def refuse_classes(path: Path, texts: Sequence[str], mend: str) -> None:
    """Refuse texts that are all names of classes, as a classifier is trained with; ``mend`` says what to do."""
    if len(texts) > 1 and all(map(is_class, texts)):
        raise UserError(
            f"{path} holds names of classes where reports are expected, first {quoted(texts[0].strip())}: {mend}"
        )


def refuse_leftovers(path: Path, texts: Sequence[str], done: str = "scored") -> None:
    """Refuse texts that hold the tokens of a model, HTML, escapes, JSON or the like; ``done`` is what would be done with these words."""
    found = [match[0] for match in map(_MACHINE.search, texts) if match]
    if not found:
        seldom = [match[0] for match in map(_SELDOM.search, texts) if match]
        found = seldom if len(seldom) > FEW * len(texts) else []
    if found:
        raise UserError(
            f"{len(found)} of {len(texts)} reports in {path} hold what a program left in them, first {quoted(found[0].strip())}: it would be "
            f"{done} as words, so remove it"
        )
    refuse_other_language(path, texts)


def _refuse_of_most(path: Path, texts: Sequence[str]) -> None:
    """Refuse texts of which most begin or end with what only a program writes there."""
    beginnings = [(what, re.compile(pattern, re.IGNORECASE).match, texts) for what, pattern in _OF_MOST]
    ends = [text.rstrip()[-_END:] for text in texts]
    endings = [(what, re.compile(pattern, re.IGNORECASE).search, ends) for what, pattern in _AT_END]
    labels = ("begin with a label", label_before(texts))
    for what, found in (
        *((what, [match[1] for match in map(find, parts) if match]) for what, find, parts in (*beginnings, *endings)),
        labels,
    ):
        if 2 * len(found) > len(texts) > 1:
            raise UserError(
                f"{len(found)} of {len(texts)} reports in {path} {what}, first {quoted_name(found[0].strip())}: it would be scored as words, so "
                "remove it, or name the column of the reports with --columns"
            )


def note_cuts(name: str, texts: Sequence[str]) -> list[str]:
    """A line where what wrote a file has cut its texts off: most end in dots, or a column of limited width has cut the longest.

    These have one length, ``SHORTEST_CUT`` or more, are three or more different texts and more than ``FEW`` of all, and most of
    them end inside a sentence.
    """
    dots = _end_in_dots(texts)
    if 2 * dots > len(texts):
        return [f"{dots} of {len(texts)} texts in {name} end in dots: they may be cut off"]
    length = max(map(len, texts), default=0)
    longest = {text for text in texts if len(text) == length}
    inside = sum(not _ENDED.search(text) for text in longest)
    if length < SHORTEST_CUT or len(longest) <= max(2, FEW * len(texts)) or 2 * inside <= len(longest):
        return []
    return [
        f"{len(longest)} texts in {name} have exactly {length} characters, the most there, and do not end there: they may be cut off"
    ]


def _end_in_dots(texts: Sequence[str]) -> int:
    return sum(bool(_CUT.search(text)) for text in texts)
