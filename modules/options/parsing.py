"""The command line of a program as its options: a parser made from the dataclasses of ``flags.py``."""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

import argparse
import difflib
import importlib.util
import math
import sys
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import Field, asdict, fields, is_dataclass
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from models.config import FlagError, ModelOptions, RevtafConfig, flag_name
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.messages import UserError, escaped, named
from modules.options.agreeing_widths import refuse_heads
from modules.options.dataset_defaults import DATASET_DEFAULTS, SMALL_SET, without_brought
from modules.options.programs import PROGRAMS, MainPrepare, MainTrain, Program
from modules.processes.watch import may_speak

P = TypeVar("P", bound=Program)


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the two screens of usage; of several processes the first says it."""
        self.exit(2, f"{self.prog}: error: {message}\n" if may_speak() else None)


def groups_of(program: type[Program]) -> dict[str, type]:
    """The groups of flags of a program, by the attribute that holds them."""
    return {
        name: kind for name, kind in get_type_hints(program).items() if isinstance(kind, type) and is_dataclass(kind)
    }


def flags_of(group: type) -> list[Field]:
    """The fields of a group that are flags."""
    return [a_field for a_field in fields(group) if "help" in a_field.metadata]


def defaults_of(program: type[Program], dataset_name: str | None) -> dict[str, Any]:
    """The default of every flag of a program for a data set (None: the program's own default)."""
    found = {a_field.name: a_field.default for kind in groups_of(program).values() for a_field in flags_of(kind)}
    name = dataset_name or found.get("dataset_name")
    of_data = DATASET_DEFAULTS.get(str(name), {})
    found |= {flag: value for flag, value in of_data.items() if flag in found and flag not in program.own}
    return {flag: value.format(dataset_name=name) if isinstance(value, str) else value for flag, value in found.items()}


def build_parser(program: type[Program], dataset_name: str | None = None) -> ArgumentParser:
    """The parser of a program; it holds no defaults, so that what it returns is what the command line sets."""
    text = (program.__doc__ or "").split("\n\n")[0]
    parser = _Parser(
        prog=program.file, description="\n".join([*program.examples, "", text]), allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS, usage=argparse.SUPPRESS,
    )  # fmt: skip
    defaults = defaults_of(program, dataset_name)
    for kind in groups_of(program).values():
        section = parser.add_argument_group((kind.__doc__ or "").split("\n")[0].rstrip("."))
        types = get_type_hints(kind)
        for a_field in flags_of(kind):
            _add(section, a_field, types[a_field.name], defaults[a_field.name])
    return parser


def _add(section: Any, a_field: Field, kind: Any, default: Any) -> None:
    """Add a flag to a section of ``--help``."""
    kinds = [part for part in get_args(kind) or (kind,) if part not in (type(None), ...)]
    known = a_field.metadata
    shown = {True: "on", False: "off"}.get(default, default) if isinstance(default, bool) else default
    text = known["help"] + ("" if default in (None, (), "") else f" (default: {shown})")
    how: dict[str, Any] = {"dest": a_field.name, "help": text.replace("%", "%%")}
    if kinds == [bool]:
        how["action"] = BooleanOptionalAction
    else:
        how |= {"type": {int: whole_number, float: number}.get(kinds[0], kinds[0]), "choices": known["choices"] or None}
        how["metavar"] = None if known["choices"] else {int: "N", float: "X"}.get(kinds[0], "TEXT")
    if isinstance(a_field.default, tuple):
        how["nargs"] = "+"
    section.add_argument(flag_name(a_field), **how)


def whole_number(text: str) -> int:
    """A number without fraction; argparse.ArgumentTypeError says what else it is."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{named(text)!r} is no whole number: give one such as 3") from None


def number(text: str) -> float:
    """A number; argparse.ArgumentTypeError says that it is none, or so small or large that it would be read as another."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{named(text)!r} is no number: give one such as 0.1 or 5e-5") from None
    digits = text.lower().partition("e")[0]
    if value == 0 and any(digit.isdecimal() and int(digit) for digit in digits):
        raise argparse.ArgumentTypeError(f"{named(text)} is so small that it would be 0: give 0 or a larger number")
    if math.isinf(value) and any(map(str.isdecimal, text)):
        raise argparse.ArgumentTypeError(f"{named(text)} is so large that it would be infinite: give a smaller number")
    return value


def parse_options(program: type[P], argv: Sequence[str] | None = None) -> P:
    """Read the command line of a program.

    Args:
        program: one of ``modules.options.programs``.
        argv: the words after the program name, ``sys.argv[1:]`` if absent.

    Raises:
        SystemExit: with status 2 and one sentence, if a flag is unknown, out of its range, or contradicts another.
    """
    require_packages(program)
    words = as_declared(program, sys.argv[1:] if argv is None else argv)
    first = _Parser(prog=program.file, add_help=False, allow_abbrev=False)
    first.add_argument("--dataset_name")
    dataset_name = first.parse_known_args(words)[0].dataset_name
    parser = build_parser(program, dataset_name)
    empty = next((word for word in words if word.startswith("--") and word.endswith("=--")), None)
    if empty:  # which argparse takes for an empty list, whatever the flag
        parser.error(f"{empty} gives no value: write one after the =")
    odd = next((word for word in words if word != escaped(word)), None)
    if odd:  # a path that can be opened, and written down nowhere
        parser.error(
            f"{escaped(odd)} is no UTF-8, expected a path that can be written down: rename the file or the folder"
        )
    known, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(_unknown(program, parser, unknown[0]))
    given = vars(known)
    defaults = defaults_of(program, dataset_name)
    try:
        return _made(program, defaults, given)
    except FlagError as error:
        # What a small set is given stands beside these flags, and that the set is large nobody knows yet.
        if dataset_name == "custom":
            with suppress(FlagError):
                return _made(program, {**defaults, **without_brought(SMALL_SET, given)}, given)
        parser.error(str(error))


def _made(program: type[P], defaults: dict[str, Any], given: dict[str, Any]) -> P:
    """The options of a run; FlagError if the values contradict each other."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in {**defaults, **given}.items()}
    groups = {
        name: kind(**{a_field.name: values[a_field.name] for a_field in flags_of(kind)})
        for name, kind in groups_of(program).items()
    }
    return program(given=frozenset(given), **groups)


def require_packages(program: type[Program]) -> None:
    """Leave with one sentence if this Python lacks what a program imports: most often it is another environment's."""
    missing = [name for name in program.packages if importlib.util.find_spec(name) is None]
    if missing:
        _Parser(prog=program.file).error(
            f"{sys.executable} has no {', '.join(missing)}: enter the environment first (source .venv/bin/activate, or "
            f"conda activate), or fill it with pip install -r {program.requirements}"
        )


def as_declared(program: type[Program], argv: Sequence[str]) -> list[str]:
    """The words of a command line with every flag as it is declared, whether it was typed with - or with _ inside."""
    declared = {name.replace("-", "_"): name for name in build_parser(program)._option_string_actions}
    words = []
    for word in argv:
        name, equals, value = word.partition("=")
        known = declared.get(name.replace("-", "_"), name) if name.startswith("--") else name
        words.append(f"{known}{equals}{value}")
    return words


def words_for(program: type[Program], argv: Sequence[str]) -> list[str]:
    """Those of the words of a command line that are flags of a program, with their values."""
    words = as_declared(program, argv)
    flags = build_parser(program)._option_string_actions
    own, is_own = [], False
    for word in words:
        if word.startswith("--"):
            is_own = word.partition("=")[0] in flags
        if is_own:
            own.append(word)
    return own


def share(words: Sequence[str]) -> None:
    """Give each program of a script its share of the words of the script, which asks ``PROGRAM ... -- WORD ...``.

    For one program its words are printed, a line each. For several nothing is printed: a word that none of them reads is
    refused, and so are flags that contradict each other. With ``--check`` among the programs nothing is printed either:
    all words must be flags of each, as it would read them.
    """
    border = list(words).index("--")
    names, rest = list(words[:border]), list(words[border + 1 :])
    programs = [program for program in PROGRAMS if program.__name__ in names]
    if "--check" in names:
        for program in programs:
            parse_options(program, rest)
        return
    if len(programs) == 1:
        own = words_for(programs[0], rest)
        print(*own, sep="\n", end="\n" if own else "")
        return
    read = [word for program in programs for word in words_for(program, rest)]
    for word in rest:
        if word.startswith("--") and not any(as_declared(program, [word])[0] in read for program in programs):
            build_parser(programs[-1]).error(_unknown(programs[-1], build_parser(programs[-1]), word))
    # what contradicts itself is refused before the first of them works for hours
    options = [parse_options(program, words_for(program, rest)) for program in programs]
    preparing = next((one for one in options if isinstance(one, MainPrepare)), None)
    training = next((one for one in options if isinstance(one, MainTrain)), None)
    if preparing and training:
        try:
            refuse_heads(preparing, training)
        except FlagError as error:
            build_parser(MainTrain).error(str(error))


def _unknown(program: type[Program], parser: ArgumentParser, word: str) -> str:
    """A sentence on a word that no flag of a program reads: what it may mean, or which program reads it."""
    name = word.split("=")[0]
    earlier = "--" + name.removeprefix("--").removeprefix("no-").replace("-", "_")
    if name.startswith("--") and earlier in program.moved:
        return f"{name} is a program of its own now: {program.moved[earlier]}"
    if not name.startswith("--"):
        return f"{word!r} belongs to no flag: see --help"
    near = _near(name, parser._option_string_actions)
    if near:
        return f"there is no flag {name}: did you mean {' or '.join(near)}?"
    readers = [other.file for other in PROGRAMS if name in build_parser(other)._option_string_actions]
    return f"there is no flag {name} here: " + (f"it is one of {' and '.join(readers)}" if readers else "see --help")


def _near(name: str, flags: Iterable[str]) -> list[str]:
    """One or two flags that a mistyped or shortened one may mean; none where that would be a guess."""
    words = {flag.removeprefix("--"): flag for flag in flags}
    typed = name.removeprefix("--")
    alike = difflib.get_close_matches(typed, words, 1, cutoff=0.85)
    longer = [word for word in words if word.startswith(f"{typed}_")]
    return [words[word] for word in alike or (longer if len(longer) <= 2 else [])]


def flat(options: Program) -> dict[str, Any]:
    """Every option of a run by its name, as ``options.json`` holds it."""
    return {
        a_field.name: getattr(getattr(options, name), a_field.name)
        for name, kind in groups_of(type(options)).items()
        for a_field in flags_of(kind)
    }


def model_config(chosen: ModelOptions, **from_data: Any) -> RevtafConfig:
    """The configuration of a model: what was chosen, and what follows from the data.

    Args:
        chosen: the model's options.
        **from_data: ``report_feature_dim``, ``entity_text_dim``, ``vocab_size``, ``pad_id``, ``end_id`` and
            ``visual_folder``.

    Raises:
        UserError: if a size that was chosen does not fit the data.
    """
    counts: dict[str, Any] = {
        "num_conditions": len(CONDITIONS),
        "num_states": len(STATES),
        "num_entities": len(ENTITIES),
    }
    try:
        return RevtafConfig(**asdict(chosen), **counts, **from_data)
    except FlagError as error:  # models/ knows no users
        raise UserError(str(error)) from error


if __name__ == "__main__":
    share(sys.argv[1:])
