"""What follows from the size of one's own data set: network, passes and lengths, unless the command line sets them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.config import flag_name
from modules.options import flags_of, groups_of
from modules.programs import Program
from modules.records import read_json

SMALL = 5000  # training studies below which a large network learns nothing that a small one does not
BY_HEART = 64  # training studies below which they are learnt by heart: the last weights are kept, validated once
STEPS = 1200  # of a training, where the passes allow it
SCORER_STEPS = 600
GIVEN = {  # a flag that brings weights: what they decide instead of the size
    "bert_path": (
        "tokenizer", "decoder_layers", "decoder_heads", "hidden_size", "intermediate_size", "init_lr", "min_lr", "warmup_lr",
        "clip_grad_value", "threshold",
    ),
    "resnet_weights": ("visual_extractor", "image_size", "init_visual"),
}  # fmt: skip
FEW_STEPS, FEW_VAL = 500, 20  # below these a user is told
NETWORK = {  # of a small set; about the quickstart's
    "visual_extractor": "resnet10n", "image_size": 128, "dropout": 0.0, "attention_dim": 128, "hyperbolic_dim": 64,
    "text_width": 128, "memory_feedforward": 256, "decoder_layers": 2, "decoder_heads": 4, "hidden_size": 128,
    "intermediate_size": 256, "reference_memory": 90, "tokenizer": "corpus", "init_visual": "entity_scorer",
    "scorer_width": 64, "scorer_layers": 1, "scorer_lr": 2e-3, "scorer_patience": 0, "init_lr": 2e-3, "min_lr": 1e-4,
    "warmup_lr": 1e-5, "clip_grad_value": 1.0,
}  # fmt: skip


def size_defaults(training: int) -> dict[str, Any]:
    """Flags that suit a number of training studies, by name; nothing for a large set, whose defaults are published."""
    if training >= SMALL:
        return {}
    batch = 8 if training < BY_HEART else 16
    steps = max(1, training // batch)  # in an epoch
    epochs = min(max(math.ceil(STEPS / steps), 6), max(150, math.ceil(FEW_STEPS / steps)))
    few = {"augment": False, "label_smoothing": 0.0} if training < 100 else {}
    by_heart = training < BY_HEART
    return {
        **NETWORK,
        **few,
        "batch_size": batch,
        "epochs": epochs,
        "val_every": epochs if by_heart else max(1, epochs // 15),
        "rerank": "none" if by_heart else "states",
        "warmup_steps": min(steps, 100),
        "scorer_epochs": min(max(math.ceil(SCORER_STEPS / steps), 5), 40),
        "threshold": 1 if training < 100 else 2,
    }


def length_defaults(reports: Sequence[str]) -> dict[str, int]:
    """``gen_min_len`` and ``gen_max_len`` for cleaned training reports.

    The fewest words of all but the shortest twentieth, and room for the longest of all but one in a hundred, in pieces.
    """
    words = [len(report.split()) for report in reports]
    return {
        "gen_min_len": 19 + max(1, int(np.percentile(words, 5))),
        "gen_max_len": min(max(20, math.ceil(1.3 * np.percentile(words, 99))), 300),
    }


def fit_to_size(options: Program, defaults: dict[str, Any]) -> str:
    """Set the flags that the command line does not, in place; returns a line that says which."""
    decided = {name for flag, names in GIVEN.items() if flag in options.given for name in names}
    defaults = {name: value for name, value in defaults.items() if name not in decided}
    said = []
    for attribute, kind in groups_of(type(options)).items():
        group = getattr(options, attribute)
        own = {field.name: field for field in flags_of(kind)}
        changed = {name: value for name, value in defaults.items() if name in own and name not in options.given}
        if "hidden_size" in changed and (heads := group.decoder_heads) and "decoder_heads" not in changed:
            changed["hidden_size"] = heads * max(1, round(changed["hidden_size"] / heads))  # as many as were asked for
        if group.__dataclass_params__.frozen:
            setattr(options, attribute, replace(group, **changed))
        else:
            for name, value in changed.items():
                setattr(group, name, value)
        for name, value in changed.items():
            switched = (
                f"--{'' if value else 'no-'}{name}" if isinstance(value, bool) else f"{flag_name(own[name])} {value}"
            )
            said.append(switched)
    return f"set by the size of the data set (yours win): {' '.join(said)}"


def trained_lengths(load_pretrained: str) -> dict[str, int]:
    """What of writing followed from the size of the set when the model was trained; nothing where nobody knows."""
    path = Path(load_pretrained).with_name("options.json")
    known = read_json(path)["options"] if path.is_file() else {}
    return {name: known[name] for name in ("gen_min_len", "gen_max_len", "rerank") if name in known}


def size_warnings(training: int, validation: int, batch: int, epochs: int) -> list[str]:
    """What to know before a training that is small, with the flag that mends it."""
    steps = max(1, training // batch)
    lines = [f"{training} training studies, {batch} a step: {steps} steps an epoch, {steps * epochs} in all"]
    if steps * epochs < FEW_STEPS:
        lines.append(
            f"warning: {steps * epochs} steps are few, reports may be salads of words: give --epochs {-(-FEW_STEPS // steps)} or more"
        )
    if validation < FEW_VAL:
        lines.append(
            f"warning: {validation} validation studies tell good weights from bad ones nearly by chance: give more of them (a column "
            "split, or --split_file of main_prepare.py)"
        )
    return lines
