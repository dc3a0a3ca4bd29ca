"""The columns that ``--columns`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modules.corpus.tables import plain_heading
from modules.evaluation.reading.headings import is_called
from modules.evaluation.reading.report_files import ReportFile
from modules.messages import UserError, quoted_name


def named_columns(words: Sequence[str]) -> dict[str, str]:
    """Headings by role, from ``prediction=NAME reference=NAME id=NAME``; ``id=`` is the column without a heading.

    Raises:
        UserError: if a word is not of this form, or names another role, or the ids are said to be the reports.
    """
    roles = ("prediction", "reference", "id")
    given: dict[str, str] = {}  # headings by role
    for word in words:
        role, equals, name = word.partition("=")
        if role not in roles or not equals or not (name or role == "id"):
            raise UserError(f"--columns holds {word!r}; expected {', '.join(f'{role}=NAME' for role in roles)}")
        if role in given:
            raise UserError(f"--columns names the {role} twice, {given[role]!r} and {name!r}: leave one of them out")
        given[role] = name
    for role in ("prediction", "reference"):  # these two may share a heading, each in its own file
        if role in given and plain_heading(given[role]) == plain_heading(given.get("id", "")):
            raise UserError(
                f"--columns takes {given[role]!r} for the {role} and for the id: a report is no id, name the column of ids"
            )
    return given


def check_columns(given: Mapping[str, str], files: Sequence[ReportFile]) -> None:
    """Check that every column that was named is in one of the files.

    Args:
        given: headings by role, see :func:`named_columns`.
        files: all that were read.

    Raises:
        UserError: naming the column and the headings.
    """
    for role, name in given.items():
        if not any(is_called(heading, name) for file in files for heading in file.headings):
            held = "; ".join(
                f"{file.path}: {', '.join(map(quoted_name, file.headings)) or 'no headings'}" for file in files
            )
            raise UserError(f"--columns {role}={name} names a column that no file has ({held[:400]}): correct the name")
