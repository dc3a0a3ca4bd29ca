"""Whose study it is: patients as annotations, image paths and ids name them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from modules.corpus.cells import is_empty

MIMIC_PATH = re.compile(r"(?:^|/)p\d{2}/(p\d{8})/")
_IU_ID = re.compile(r"(CXR\d+)(?:_|$)")
_NUMBER = re.compile(r"p?0*(\d+)(?:\.0+)?")
_BETWEEN_NAMES = re.compile(r"[\s,^]+")  # of DICOM and of tables
_FIELDS = ("subject_id", "patient_id", "subject")  # R2Gen's MIMIC-CXR annotation has the first; paths come before them


def patient_key(patient: str) -> str:
    """What the spellings of one patient have in common: ``10``, ``10.0``, ``p10`` and ``P10``, ``DOE^J^^^`` and ``Doe,  J``, are one."""
    name = " ".join(_BETWEEN_NAMES.split(unicodedata.normalize("NFKC", patient).lower())).strip()
    number = _NUMBER.fullmatch(name)
    return number[1] if number else name


def find_patient(item: Mapping[str, Any], identifier: str, image_path: str) -> str | None:
    """The patient of an item of an annotation, if anything names it.

    Its ``patient`` is asked first, then a MIMIC-CXR path, an IU X-Ray id, and at last ``subject_id`` and the like, because films
    in one folder have no such path. Without a patient a study would be given reports of its own patient to read.
    """
    if not is_empty(item.get("patient")):
        return str(item["patient"])
    if mimic := MIMIC_PATH.search(image_path):
        return mimic[1]
    if iu := _IU_ID.match(identifier):
        return iu[1]
    for name in _FIELDS:
        value = item.get(name)
        if type(value) in (str, int, float) and not is_empty(value):
            return str(value).strip()
    return None
