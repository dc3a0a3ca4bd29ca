"""What people call the three splits, in columns and in files of splits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modules.messages import UserError, quoted

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train", "val": "val", "validate": "val", "validation": "val", "valid": "val",
    "dev": "val", "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
MOST_SPLITS = 6  # different values of a column of splits
LIKE_SPLIT = re.compile(r"(is|in)?(train|training|test|testing|val|validation)(set|split)?")  # a plain heading


def known_split(name: object) -> str | None:
    """``"train"``, ``"val"`` or ``"test"`` for the names that data sets use (``Testing``, ``test set``), None for others."""
    return SPLIT_NAMES.get(re.sub(r"[\s_-]+(?:set|split)$", "", str(name).strip().casefold()))


def by_split(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an object holds by split, whatever it calls them (``validation``); None if a key is no split or two are one."""
    found = {split: value for name, value in content.items() if (split := known_split(name)) is not None}
    return found if found and len(found) == len(content) else None


def split_name(name: str, where: str) -> str:
    """:func:`known_split` of a name that must be one.

    Raises:
        UserError: if it is none of them.
    """
    found = known_split(name)
    if found is None:
        raise UserError(f"{where}: the split is {quoted(name)}, expected train, val or test: correct it")
    return found
