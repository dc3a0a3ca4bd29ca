"""The command line of a program as options, and the model's configuration out of them; the flags are in ``flags.py``."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import fields

from models.config import RevtafConfig
from modules.flags import DATASET_DEFAULTS, PROGRAMS
from modules.labels import CONDITIONS, ENTITIES, STATES

AT_LEAST_ONE = (
    "batch_size", "epochs", "val_every", "save_every", "beam_size", "gen_max_len", "num_studies", "resamples",
    "viewer_studies", "scorer_shares",
)  # fmt: skip


def build_parser(program: str) -> ArgumentParser:
    """Parser of ``main_<program>.py``."""
    parser = ArgumentParser(prog=f"main_{program}.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for add_group in PROGRAMS[program]:
        add_group(parser)
    return parser


def parse_options(program: str, argv: Sequence[str] | None = None) -> Namespace:
    """Read the command line of ``main_<program>.py``.

    Args:
        program: a key of ``PROGRAMS``.
        argv: the words after the program name, ``sys.argv[1:]`` if absent.

    Raises:
        SystemExit: with status 2 and one sentence, if a flag is unknown or two flags contradict each other.
    """
    parser = build_parser(program)
    data_parser = ArgumentParser(prog=parser.prog, add_help=False)
    names = tuple(DATASET_DEFAULTS)
    data_parser.add_argument("--dataset_name", choices=names, default=parser.get_default("dataset_name"))
    dataset_name = data_parser.parse_known_args(argv)[0].dataset_name
    known = {action.dest for action in parser._actions}
    home = {
        "ann_path": f"data/{dataset_name}/annotation.json",
        "image_dir": f"data/{dataset_name}/images",
        "feature_dir": f"data/{dataset_name}/features",
        "save_dir": f"results/{dataset_name}",
    }
    if program == "score":
        home = {"save_dir": "results/scores"}
    parser.set_defaults(**{k: v for k, v in {**home, **DATASET_DEFAULTS[dataset_name]}.items() if k in known})
    options = parser.parse_args(argv)
    if "bank_dir" in known:
        options.bank_dir = options.bank_dir or options.feature_dir
    for name in AT_LEAST_ONE:
        if getattr(options, name, 1) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    if "gen_min_len" in known and options.gen_min_len > 1 + len(CONDITIONS) + options.gen_max_len:
        parser.error(
            f"--gen_min_len {options.gen_min_len} counts the {1 + len(CONDITIONS)} prompt tokens and exceeds them plus "
            f"--gen_max_len {options.gen_max_len}: lower the first or raise the second"
        )
    return options


def given_flags(program: str, argv: Sequence[str] | None = None) -> set[str]:
    """Names of the options that the command line of ``main_<program>.py`` sets itself, not their defaults."""
    parser = build_parser(program)
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return set(vars(parser.parse_args(argv)))


def model_config(options: Namespace, **from_data: int) -> RevtafConfig:
    """Pick the model's fields out of the options of ``main_train.py``.

    Args:
        options: parsed options.
        **from_data: ``report_feature_dim``, ``entity_text_dim``, ``vocab_size``, ``pad_id`` and ``end_id``.
    """
    counts = {"num_conditions": len(CONDITIONS), "num_states": len(STATES), "num_entities": len(ENTITIES)}
    values = {**vars(options), **counts, **from_data}
    return RevtafConfig(**{field.name: values[field.name] for field in fields(RevtafConfig)})
