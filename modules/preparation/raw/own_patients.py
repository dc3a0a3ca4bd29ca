"""Which columns of somebody's own table may name its patients, where none is called so: by their headings, or by how they repeat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from modules.corpus.cells import is_empty

MOST_OF_A_PATIENT = 10  # rows in the mean, of which a column may still be one of patients
MANY = 10  # values, none of which is in more than a tenth of the rows; views, labels, sites and scanners are fewer, or pile up
SEVERAL = (
    6  # short codes (p12), none of which is in more than a quarter of the rows; rooms, batches and versions are fewer
)
SOME_TOGETHER = 3  # rows that follow one of their number, which chance does not bring together in every place
LONG = 6  # letters and digits of a code that is one person's however few there are, unless they are a word and three digits or fewer
_WORDS = re.compile(r"[^\W\d_]+")
_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # PatientIDSite

# Words of headings, an idea a line.
_NUMBER = r"ids?|nr|no|num|number|nummer|n[uú]mero|key|uid|identifier|index|idx|barcode"
_SHORT = (
    r"pts?|pat|u?subjs?|persons?|indiv(?:idual)?s?"  # persons as words, or in one word with a number: SUBJID, personid
)
_PERSON = re.compile(
    r"(?:(?<!in)(?<!out)patient(?:s|en)?|pazient|assistit[oi]|pacient|pacjent|пациент|пацієнт|subjects?|sujet|participants?|proband|volunteer|pseudonym"
    rf"|^(?:{_SHORT})(?=(?:{_NUMBER})$)|(?:患者|病人|환자)(?=id|编号|号|番号|번호|$))"
)
_PERSON_WORDS = re.compile(
    rf"{_SHORT}|empi|uhid|mrn|pidm|rid|personsourcevalue"
)  # the last three of Banner, ADNI and OMOP
_ID = r"ids?|uid|identifier|barcode"  # no word of another thing: patient_no_findings
_PLACE = re.compile(
    r"sites?|sources?|hospitals?|cent(?:er|re)s?|clinics?|wards?|institut\w*|departments?|datasets?|databases?|cohorts?"
)
_NUMBER_BEFORE = re.compile(
    r"ids?|uid|key|ident\w*|nummer|n[uú]m[eé]ro|c[oó]digo"
)  # of a patient; not no patient motion
_OF = ("of", "the", "de", "du", "del", "des", "der")
_PERSON_NUMBER = re.compile(r"mrn|empi|uhid|upi|nhc|cpf|ssn|ipp|pseudonym\w*")  # person and number in one word
_HIDDEN = r"\w*hash(?:ed)?|\w*coded?|\w*crypted|masked|token|secret|anon\w*|pseudo\w*|alias|nickname|deid\w*"
_FILE = r"case|folder|files?|chart|records?|folio|dossier|jacket|akten?|expediente|prontuario|cartella"  # of one person
_FILED = r"history|hosp(?:ital)?|clinic|unit|x-?ray|insurance|registration|admission|fall"  # under a number
_VISIT = r"hadm|visit|stay|encounter|admission|episode"  # of one person, counted
_NAMES = r"name|surname|ident\w*|owner|client|donor|resident|member|mr|hn|upi|nhs|nhc|cpf|ssn|ipp"
_SHARED_WORDS = (
    "ages?|sex|gender|weight|height|width|bmi|race|ethnic(?:ity)?|birth|dob|body|smok(?:er|ing)|insurance|history",  # life
    "dates?|times?|year|month|day|week|hour|visit|session|sequence|follow|up",
    "views?|projections?|positions?|orientation|laterality|side|angle|exposure|dose|kvp?|mas?|protocol|procedure",
    "modality|manufacturer|vendor|model|scanner|device|machine|detector|plate|cassette|tube|camera|equipment|software|versions?|station",
    "spacing|pixels?|rows?|columns|bits?|size|shape|resolution|window|photometric|quality",
    "hospital|sites?|cent(?:er|re)|clinic|institut(?:e|ion)|department|dept|wards?|floor|rooms?|beds?|location",
    "city|country|state|region|zip(?:code)?|post(?:al|code)?|language",
    "reader|radiologist|physician|doctor|referr(?:er|ing)|tech|technician|technologist|radiographer",
    "operator|annotator|author|reviewer|labell?er|rater",
    "labels?|findings?|impressions?|diagnos[ie]s|diseases?|pathology|conditions?|symptoms?|problems?|outcome|treatment",
    "class|category|grade|stage|severity|level|score|status|type|kind|tags?|keywords?|priority",
    "icd|cpt|drg|loinc|snomed|mesh|billing|cost",
    "description|indication|reason|complaint|comments?|notes?|remarks?|texts?|reports?|captions?|summary",
    "split|subset|set|fold|batch|lot|dataset|source|database|license|url|link|md|sha|checksum|prefix",
    "film|images?|parts?|acquisition|series|slice|frame|instance|bbox|box|serial|count|n|num|words?|tokens|length|pages?|offset|temperature|saturation|po",
)
_STATE = re.compile(  # behind a person, what is told of him
    r"\w{2,}(?:ed|ing|ion|ity|ness|ment|ance|ency|ant|ent|ous|ive|able|ine)|group|cohort|arm|is|was|has|had|on|in|at|with|without|under|needs?"
)
_LIKE_ID = re.compile(rf"{_HIDDEN}|{_NAMES}|{_FILE}|(?:{_FILE}|{_NAMES}|study|exam)n?(?:{_NUMBER}|zeichen)")
_BY_NUMBER = re.compile(rf"\w*(?:{_FILE}|{_FILED})n?(?:nr|no|num|number|nummer)|(?:{_VISIT})id")
# Of one person or not: the values decide.
_DOUBTFUL = re.compile(r"hosp(?:ital)?(?:id|key)|(?:visit|film)(?:nr|no|num|number)")
_SHARED = re.compile(rf"(?:study|content)?(?:{'|'.join(_SHARED_WORDS)}){{1,3}}(?:id|name|code|nr|no|number)?")

# What stands in cells.
_NUMBERED = re.compile(  # p12, 50414267; not 2019, 20190131, an age
    r"[A-Za-z]{1,8}[-_ ]?\d+|(?!(?:19|20)\d\d(?:\d{4})?$)\d{4,}"
)
_COUNTED = re.compile(r"[^\W\d_]+[-_ ]?\d{1,3}")  # study1, batch-12
_MEASURED = re.compile(  # numbers, with a unit or without, sizes, versions, dates, times
    r"[-+<>]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?\s?(?:[ywmd]|mm|cm|m|k?g|lbs?|kvp?|mas?|ml|%|x|t|yo|yrs?|years?|months?|weeks?|days?|st|nd|rd|th)?"
    r"|\d+ ?[x*] ?\d+|v?(?!\d+(?:\.\d{3})+$)\d{1,3}(?:\.\d{1,3}){2,3}|1\.2\.840\.10008\.[\d.]+"
    r"|(?:\d\d?|(?:19|20)\d\d)[-/.]\d\d?[-/.](?:\d\d?|(?:19|20)\d\d)(?:[t ].*)?|\d{1,2}:\d\d(?::\d\d)?.*"
)
_OF_TIME = re.compile(r"(?:19|20)\d\d(?:\d{4})?")  # years, days
_DATED = re.compile(  # folders of months and of days
    r"(?:.*/)?(?:19|20)\d\d/(?:0[1-9]|1[0-2])(?:/(?:0[1-9]|[12]\d|3[01]))?"
)
_YES_OR_NO = re.compile("yes|no|y|n|true|false|t|f|0|1|unknown|unk|pos(?:itive)?|neg(?:ative)?|present|absent")
_CODE = re.compile(r"(?=\S*\d)[\w.:+/=-]+")  # a hash and its like
_NAME = re.compile(r"[^\W\d_][\w'.-]*(?:\^|, ?)[^\W\d_][\w'.^ -]*")  # Doe^Jane, Doe, Jane
_MOST_WORDS = 4  # of a name

Rows = Sequence[tuple[str, Mapping[str, Any]]]  # place in the file, values by heading


def may_name_patients(heading: str, rows: Rows) -> bool:
    """Whether a column may name the patients, so that they would lie in two splits if it were not used.

    Four kinds of headings:

    - a person's (``participant``), alone or beside a word of an id, says so whatever stands below, and beside an unknown word
      (``PatientSecret``) unless the values are yes and no,
    - a number under which a hospital files persons (``case``, ``history number``), a name or what hides one (``hash``) says so if its
      values repeat as patients do: three and more, not all of them different, with ten rows each in the mean or fewer,
    - one of what several patients share (``site``, ``view``, ``room``, ``reader``) does not; beside a person (``patient location``) only
      if its values repeat and are surely names, and beside a person and an id that belong together (``site_patient_id``) as the first,
    - any other, and what is told of a person (``patient on ventilator``), is judged by its values alone, if they repeat so and most of its
      cells are filled.

    Surely names are long numbers and codes (``50414267``, ``b6589fc6ab``) and names as archives write them (``Doe^Jane``). So are six and more
    short codes (``p12``) if none is in more than a quarter of the rows; ten and more names of up to four words, or numbers that count from
    0 or 1 without a gap, if none is in more than a tenth: categories of so many values pile up in a few of them. So are six and more
    whole numbers of which each stands in one run of rows, as in a table that is written patient by patient. Dates, times,
    ages, measures, labels of 0 and 1, lists and sentences are none.
    """
    values = [row[heading] for _, row in rows if not is_empty(row.get(heading))]
    if any(isinstance(value, bool | list | dict) for value in values):
        return False
    # Pandas writes 7.0 for 7 in a column that has gaps.
    texts = [str(value).strip().casefold().removesuffix(".0") for value in values]
    counts = Counter(texts)
    words = [word.casefold() for word in _WORDS.findall(_BORDER.sub(" ", heading))]
    whole, last = "".join(words), "".join(words[-1:])
    words = [whole] if _PERSON_WORDS.fullmatch(whole) else words
    without_person = [_PERSON.sub("", word) for word in words if not _PERSON_WORDS.fullmatch(word)]
    others = [rest for rest in without_person if len(rest) > 1]
    of_person = any(_PERSON_WORDS.fullmatch(word) or _PERSON.search(word) for word in words)
    filed = bool(re.fullmatch(_FILE, last) or _BY_NUMBER.fullmatch(whole))
    doubtful = bool(_DOUBTFUL.fullmatch(whole))
    shared = not (filed or doubtful) and any(map(_SHARED.fullmatch, [whole, *others]))  # kVp is two words
    named = filed or (not doubtful and bool(re.fullmatch(_NUMBER, last) or any(map(_LIKE_ID.fullmatch, others))))
    few = len(counts) <= 2 and len(values) > 2 * MOST_OF_A_PATIENT
    different = not (few or len(counts) < 2 or all(map(_YES_OR_NO.fullmatch, counts)))
    if shared and _is_id_of_person(words):
        return different
    if of_person and not shared and (named or not any(map(_STATE.fullmatch, others))):
        return named or not others or different
    if not 2 < len(counts) < len(values) <= MOST_OF_A_PATIENT * len(counts) or (shared and not of_person):
        return False
    filled = 2 * len(values) >= len(rows)
    if shared:
        return filled and _are_names(counts)
    return named or (filled and (_are_names(counts) or _are_many(counts) or _stand_together(texts)))


def names_persons(heading: str) -> bool:
    """Whether a heading holds the word of a person or an id of persons, whatever stands below."""
    words = [word.casefold() for word in _WORDS.findall(_BORDER.sub(" ", heading))]
    return any(_PERSON_WORDS.fullmatch(word) or _PERSON.search(word) for word in ("".join(words), *words))


def _is_id_of_person(words: Sequence[str]) -> bool:
    """Whether words hold a person directly beside, or in one word with, an id or a name (``site patient id``)."""
    words = [word for word in words if len(word) > 1 and word not in _OF]
    for place, word in enumerate(words):
        if _PERSON_NUMBER.fullmatch(word):
            return True
        rest = "" if _PERSON_WORDS.fullmatch(word) else _PERSON.sub("", word)
        if rest == word:
            continue
        behind = [rest] * bool(rest) + list(words[place + 1 :])
        if not behind:
            continue
        if re.fullmatch(_NUMBER, behind[0]) and (
            re.fullmatch(_ID, behind[0]) or all(map(_PLACE.fullmatch, behind[1:]))
        ):
            return True
        if len(behind) == 1 and _LIKE_ID.fullmatch(behind[0]) and not _SHARED.fullmatch(behind[0]):
            return True
        if not rest and place and _NUMBER_BEFORE.fullmatch(words[place - 1]):
            return True
    return False


def patients_of_paths(paths: Sequence[str]) -> list[str | None]:
    """The beginning of every path that may name a patient, whose films must not lie in two splits.

    It is ``a/patient00007`` of ``a/patient00007/study1/view1.png``, and ``00000001`` of ``00000001_003.png``.

    Args:
        paths: of the images.

    Returns:
        A beginning, or None, for each; all None where no folder, and no piece before ``_`` or ``-`` of the names, repeats as
        patients do.
    """
    split = [re.split(r"[/\\]", path) for path in paths]
    parts = [[*folders, *name.split("_" if "_" in name else "-")[:-1]] for *folders, name in split]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        named = [folders[depth - 1] for folders in parts if len(folders) >= depth]
        words = {re.sub(r"[\W\d_]+$", "", folder).casefold() for folder in named}
        word = words.pop() if len(words) == 1 else ""
        word = {"p": "patient", "sub": "subject"}.get(word, word)  # MIMIC-CXR's and BIDS'
        beginnings = ["/".join(folders[:depth]) if len(folders) >= depth else None for folders in parts]
        if not 1 < len(set(named)) < len(named) or all(map(_DATED.fullmatch, filter(None, beginnings))):
            continue
        if may_name_patients(word, [("", {word: folder}) for folder in named]):
            return beginnings
    return [None] * len(paths)


def _are_names(values: Mapping[str, int]) -> bool:
    """Whether values, however few, are surely names: of persons as archives write them, or long numbers and codes."""
    if all(map(_NAME.fullmatch, values)):
        return True
    return _are_codes(values) and min(map(len, values)) >= LONG and not all(map(_COUNTED.fullmatch, values))


def _are_codes(values: Mapping[str, int]) -> bool:
    """Whether values are words with digits in them, and not all measures; or long numbers, or numbers behind letters."""
    codes = all(map(_CODE.fullmatch, values)) and not all(map(_MEASURED.fullmatch, values))
    return codes or all(map(_NUMBERED.fullmatch, values))


def _are_many(values: Mapping[str, int]) -> bool:
    """Whether short values are so many and so even that they are no categories."""
    if _are_codes(values):
        return len(values) >= SEVERAL and max(values.values()) * 4 <= sum(values.values())
    if len(values) < MANY or max(values.values()) * MANY > sum(values.values()):
        return False
    if any(map(_MEASURED.fullmatch, values)):
        numbers = {int(value) for value in values if value.isdecimal()}
        return len(numbers) == len(values) and min(numbers) <= 1 and max(numbers) - min(numbers) < len(numbers)
    return all(len(value.split()) <= _MOST_WORDS and not value.endswith(".") for value in values)


def _stand_together(texts: Sequence[str]) -> bool:
    """Whether whole numbers, in the order of the rows, each stand in one run: what several patients share is scattered."""
    different = len(set(texts))
    runs = 1 + sum(one != other for one, other in pairwise(texts))
    numbers = all(map(str.isdecimal, texts)) and not all(map(_OF_TIME.fullmatch, texts))
    return numbers and SEVERAL <= different == runs <= len(texts) - SOME_TOGETHER
