"""Which columns of somebody's own table may name its patients, where none is called so: by their headings, or by how they repeat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from modules.corpus.cells import is_empty
from modules.corpus.tables import plain_heading

MOST_OF_A_PATIENT = 10  # rows in the mean, of which a column may still be one of patients
MANY = 10  # values, none of which is in more than a tenth of the rows: views, labels, sites and scanners are fewer, or pile up
_WORDS = re.compile(r"[^\W\d_]+")
_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PATIENT = re.compile(  # a plain heading that says it, whatever stands below
    r"(?:(?<!in)(?<!out)patients?|patienten?|subjects?|person|pat)(?:id|nr|no|num|number|nummer|name|key|code|uid)?$|mrn$"
    r"|^(?:pt|medicalrecord|hospital|nhs)(?:id|nr|no|num|number|key|code)$"
)
_PERSON = re.compile(
    r"(?<!in)(?<!out)(?:patient|pazient|pacient)|subject|sujet|participant|proband|volunteer|pseudonym"
)
_PERSON_WORDS = re.compile(r"pts?|pat|subjs?|persons?|individuals?|empi|uhid")
_LIKE_ID = re.compile(r"(id|nr|no|num|number|nummer|key|uid|case|name|code|folder|owner|barcode|identifier)$")
_LIKE_ID_WORDS = re.compile(  # a hash or a client may be a person's; so may names and numbers of archives
    "mr|hn|upi|nhs|nhc|cpf|ssn|ipp|chart|hash|token|anon|anonymous|pseudo|alias|nickname|identity|surname|client|donor|resident|member|record"
)
_NOBODY = (  # words of what several patients share, and of what is told of one
    "ages?|sex|gender|weight|height|width|bmi|race|ethnic(?:ity)?|birth|dob|dates?|times?|year|month|day|week|hour|views?|projections?|positions?"
    "|orientation|laterality|side|modality|manufacturer|vendor|model|scanner|device|machine|detector|station|equipment|kvp?|mas?|exposure|dose"
    "|spacing|pixels?|rows?|columns|bits?|size|shape|photometric|angle|hospital|sites?|cent(?:er|re)|clinic|institut(?:e|ion)|department|dept|ward"
    "|location|city|country|state|region|language|reader|radiologist|physician|doctor|referr(?:er|ing)|technician|technologist|radiographer"
    "|operator|annotator|author|reviewer|labell?er|rater|labels?|findings?|impressions?|diagnos[ie]s|diseases?|pathology|conditions?|class"
    "|category|grade|stage|severity|score|status|type|kind|protocol|procedure|description|body|history|indication|reason|complaint|symptoms?"
    "|comments?|notes?|remarks?|texts?|reports?|captions?|summary|split|subset|set|fold|dataset|source|database|license|url|link|md|sha|checksum"
    "|quality|insurance|smok(?:er|ing)|icd|mesh|tags?|keywords?|problems?|priority|outcome|treatment|follow|up|visit|slice|frame|instance|bbox|box"
    "|count|film"
)
_SHARED = re.compile(
    rf"(?:patients?|subjects?|study|series|image|acquisition|content)?(?:{_NOBODY}){{1,3}}(?:id|name|code|nr|no|number)?"
)
_NUMBERED = re.compile(
    r"[A-Za-z]{1,8}[-_ ]?\d+|(?!(?:19|20)\d\d(?:\d{4})?$)\d{4,}"
)  # p12, 50414267; not 2019, 20190131, an age
_MEASURED = re.compile(  # numbers, with a unit or without, dates, times
    r"[-+<>]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?\s?(?:[ywmd]|mm|cm|m|k?g|lbs?|kvp?|mas?|ml|%|x|t|yo|yrs?|years?|months?|weeks?|days?|st|nd|rd|th)?"
    r"|(?:\d\d?|(?:19|20)\d\d)[-/.]\d\d?[-/.](?:\d\d?|(?:19|20)\d\d)(?:[t ].*)?|\d{1,2}:\d\d(?::\d\d)?.*"
)
_CODE = re.compile(r"(?=\S*\d)[\w.:+/=-]+")  # a hash and its like
_NAME = re.compile(r"[^\W\d_][\w'.-]*(?:\^|, ?)[^\W\d_][\w'.^ -]*")  # Doe^Jane, Doe, Jane
_MOST_WORDS = 4  # of a name

Rows = Sequence[tuple[str, Mapping[str, Any]]]  # place in the file, values by heading


def may_name_patients(heading: str, rows: Rows) -> bool:
    """Whether a column may name the patients, so that they would lie in two splits if it were not used.

    A heading that has a word for a person says so whatever stands below (``participant``, ``PatientSecret``), if it is not that
    of a property (``Patient Age``); one of an id or a name (``hash``, ``client``) if its values repeat as patients do. Any other
    column is judged by its values alone, if no word of its heading is one of what several patients share (``site``, ``view``,
    ``scanner``, ``label``, ``date``, ``reader``, ...) and most of its cells are filled. What repeats as patients do has at
    least three values with ten rows each in the mean or fewer, not all of them different, and they are

    - numbers of four and more digits, a word with a number (``p12``), codes without blanks that hold digits (``b6589fc6ab``), names
      as archives write them (``Doe^Jane``), or
    - ten and more names of up to four words, or numbers that count from 0 or 1 without a gap, none of which is in more than a tenth of the
      rows: categories of so many values pile up in a few of them.

    Dates, times, ages, measures, labels of 0 and 1, lists and sentences are none of these.
    """
    plain = plain_heading(heading)
    words = {word.casefold() for word in _WORDS.findall(_BORDER.sub(" ", heading))}
    values = [row[heading] for _, row in rows if not is_empty(row.get(heading))]
    if any(isinstance(value, bool | list | dict) for value in values):
        return False
    if _PATIENT.search(plain):
        return True
    of_person = bool(_PERSON.search(plain) or any(map(_PERSON_WORDS.fullmatch, words)))
    shared = any(map(_SHARED.fullmatch, words))
    counts = Counter(str(value).strip().casefold() for value in values)
    if of_person is not shared:
        return of_person and (
            len(counts) > 2 or 1 < len(counts) <= len(values) <= 2 * MOST_OF_A_PATIENT
        )  # not yes and no
    if not 2 < len(counts) < len(values) <= MOST_OF_A_PATIENT * len(counts):
        return False
    if not shared and (_LIKE_ID.search(plain) or any(map(_LIKE_ID_WORDS.fullmatch, words))):
        return True
    return 2 * len(values) >= len(rows) and (_are_names(counts) or (not shared and _are_many(counts)))


def _are_names(values: Mapping[str, int]) -> bool:
    """Whether values are numbers, codes or names of persons, however few there are."""
    codes = all(map(_CODE.fullmatch, values)) and not all(map(_MEASURED.fullmatch, values))
    return codes or all(map(_NUMBERED.fullmatch, values)) or all(map(_NAME.fullmatch, values))


def _are_many(values: Mapping[str, int]) -> bool:
    """Whether short values are so many and so even that they are no categories."""
    if len(values) < MANY or max(values.values()) * MANY > sum(values.values()):
        return False
    if any(map(_MEASURED.fullmatch, values)):
        numbers = {int(value) for value in values if value.isdecimal()}
        return len(numbers) == len(values) and min(numbers) <= 1 and max(numbers) - min(numbers) < len(numbers)
    return all(len(value.split()) <= _MOST_WORDS and not value.endswith(".") for value in values)
