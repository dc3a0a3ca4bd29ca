"""What a scoring reads: the files of every system and of the references, matched study by study."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modules.evaluation.metrics.profiles import PROFILES
from modules.evaluation.reading.given_columns import check_columns, named_columns
from modules.evaluation.reading.predictions import Matched, match
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError
from modules.options.scoring_flags import ScoringOptions
from modules.records import sha256_of


def named_files(words: Sequence[str]) -> dict[str, Path]:
    """Files by the name of their system, from ``NAME=FILE`` or ``FILE``.

    A file without a name is called as it is, packed or not, ``predictions.jsonl`` and ``res.csv`` as their folder.

    Raises:
        UserError: if two have one name.
    """
    files: dict[str, Path] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        path = Path(rest if equals else word)
        if not equals:
            plain = Path(path.name.removesuffix(".gz"))
            name = plain.stem if plain.name not in ("predictions.jsonl", "res.csv") else path.absolute().parent.name
        if not re.fullmatch(r"[\w.+-][\w .+-]*", name):
            raise UserError(f"the system name {name!r} holds other characters than letters, digits, blanks and -_.+")
        if name in files:
            raise UserError(f"{files[name]} and {path} are both called {name}: name them, --predictions a=FILE b=FILE")
        files[name] = path
    return files


def read_files(scoring: ScoringOptions) -> Matched:
    """The reports of every system and their references, study by study.

    Raises:
        UserError: if ``--baseline`` is none of the systems; if a file cannot be read, or the files are not of the same
            studies.
    """
    paths = named_files(scoring.predictions)
    if scoring.baseline is not None and scoring.baseline not in paths:
        raise UserError(f"--baseline is {scoring.baseline!r}; expected one of the predictions: {', '.join(paths)}")
    given, profile = named_columns(scoring.columns), PROFILES[scoring.profile]
    how: dict[str, Any] = {"split": scoring.split, "section": scoring.section or profile.section, "columns": given}
    systems = {name: read_report_file(path, **how) for name, path in paths.items()}
    beside = next((path.with_name("gts.csv") for path in paths.values() if path.name == "res.csv"), None)
    path = scoring.references or (beside if beside and beside.is_file() else None)
    references = read_report_file(path, "reference", **how) if path else None
    check_columns(given, [*systems.values(), *([references] if references else [])])
    cleaning, max_words = (scoring.cleaning, scoring.max_words) if profile.text == "cleaned" else ("none", 0)
    return match(systems, references, cleaning, max_words, by_order=scoring.by_order, named_ids="id" in given)


def checksums(scoring: ScoringOptions) -> dict[str, str]:
    """What the results are of: the files that are scored, and how."""
    files = {f"predictions of {name}": sha256_of(path) for name, path in named_files(scoring.predictions).items()}
    references = {"references": sha256_of(scoring.references)} if scoring.references else {}
    return {**files, **references, "profile": scoring.profile}
