"""What follows from the size of one's own data set: network, passes and lengths, unless the command line sets them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.config import FlagError
from modules.labels import CONDITIONS
from modules.messages import UserError
from modules.options.dataset_defaults import SMALL, SMALL_SET, without_brought
from modules.options.idle_flags import typed
from modules.options.parsing import defaults_of, flags_of, groups_of
from modules.options.programs import Program
from modules.records import read_run_options

BY_HEART = 64  # training studies below which they are learnt by heart: the last weights are kept, validated once
STEPS = 1200  # of a training, where the passes allow it
SCORER_STEPS = 600
FEW_STEPS = 500  # below these a user is told
F1_SPREAD = 0.4  # standard deviation of the example F1 of single studies: .30 and .35 of 54 real ones, rounded up
FEW_VAL = 100  # below these a user is told: the mean is off by more than .04, as far as one training's scores lie apart


def size_defaults(training: int, processes: int = 1) -> dict[str, Any]:
    """Flags that suit a number of training studies, by name; nothing for a large set, whose defaults are published.

    Args:
        training: studies.
        processes: that share a step, whose studies stay as many if they can.
    """
    if training >= SMALL:
        return {}
    batch = max(1, (8 if training < BY_HEART else 16) // processes)  # of a process
    steps = max(1, training // (batch * processes))  # in an epoch
    epochs = min(max(math.ceil(STEPS / steps), 6), max(150, math.ceil(FEW_STEPS / steps)))
    few = {"augment": False, "label_smoothing": 0.0} if training < 100 else {}
    by_heart = training < BY_HEART
    return {
        **SMALL_SET,
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
    """Set the flags that the command line does not, in place; returns a line that says which.

    Raises:
        UserError: if a flag of the command line does not fit one that follows from the size.
    """
    published = defaults_of(type(options), "custom")  # of a large set, whatever the command line was read with
    large = {name: published[name] for name in SMALL_SET if name in published}
    said = []
    try:
        for attribute, kind in groups_of(type(options)).items():
            group = getattr(options, attribute)
            own = {field.name: field for field in flags_of(kind)}
            free = {name for name in without_brought(own, options.given) if name not in options.given}
            changed = {name: value for name, value in {**large, **defaults}.items() if name in free}
            fitted = _beside(changed, {name: getattr(group, name) for name in own if name in options.given})
            setattr(options, attribute, replace(group, **{**changed, **fitted}))
            for name, value in {**changed, **fitted}.items():
                if name in defaults or name in fitted:
                    said.append(typed(own[name], value))
        replace(options)  # checks the groups beside each other
    except FlagError as error:
        raise UserError(str(error)) from error
    return f"set by the size of the data set (yours win): {' '.join(said)}"


def _beside(changed: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Other values for those that follow from the size and do not suit what the command line sets of their group.

    Args:
        changed: what follows from the size, by name.
        given: what the command line sets.
    """
    fitted: dict[str, Any] = {}
    if "hidden_size" in given and "decoder_heads" in changed:
        fitted["decoder_heads"] = math.gcd(given["hidden_size"], changed["decoder_heads"])
    if "decoder_heads" in given and "hidden_size" in changed:  # as many as were asked for
        heads = given["decoder_heads"]
        fitted["hidden_size"] = heads * max(1, round(changed["hidden_size"] / heads))
    if "init_lr" in given:  # the others fall from it or rise to it as they would
        for name in ("min_lr", "warmup_lr"):
            if changed.get(name) == SMALL_SET[name]:
                fitted[name] = float(f"{SMALL_SET[name] * given['init_lr'] / SMALL_SET['init_lr']:.3g}")
    prompt = 1 + len(CONDITIONS)
    if "gen_max_len" in given and "gen_min_len" in changed:
        fitted["gen_min_len"] = min(changed["gen_min_len"], prompt + given["gen_max_len"])
    if "gen_min_len" in given and "gen_max_len" in changed:
        fitted["gen_max_len"] = max(changed["gen_max_len"], given["gen_min_len"] - prompt)
    return fitted


# Flags of a search for reports; a test takes them from the training where that has set them.
FOLLOWED = ("gen_min_len", "gen_max_len", "rerank", "second_search", "guidance")


def trained_lengths(load_pretrained: str) -> dict[str, int]:
    """What of writing followed from the size of the set when the model was trained; nothing where nobody knows."""
    path = Path(load_pretrained).with_name("options.json")
    known = read_run_options(path) if path.is_file() else {}
    return {name: known[name] for name in FOLLOWED if name in known}


MORE_VALIDATION = {  # studies, by data set: where they come from
    "custom": "give more of them (a column split, or --split_file of main_prepare.py)",
    "synth_cxr": "draw more of them (--val_share or --num_studies of main_prepare.py)",
    "iu_xray": "R2Gen's split has 296 (--split_file of main_prepare.py)",
    "mimic_cxr": "the published split has 2,130, all files of RAW_DIR taken",
}


def size_warnings(
    dataset_name: str, training: int, validation: int, batch: int, epochs: int, val_every: int = 1
) -> list[str]:
    """What to know before a training that is small, with what mends it.

    Args:
        dataset_name: names what gives more validation studies.
        training: studies.
        validation: studies; where ``val_every`` leaves one validation they choose nothing.
        batch: studies of a step.
        epochs: of the training.
        val_every: epochs between validations.
    """
    steps = max(1, training // batch)
    lines = [f"{training} training studies, {batch} a step: {steps} steps an epoch, {steps * epochs} in all"]
    if steps * epochs < FEW_STEPS:
        lines.append(
            f"warning: {steps * epochs} steps are few, reports may be salads of words: give --epochs {-(-FEW_STEPS // steps)} or more"
        )
    if validation < FEW_VAL and val_every < epochs:
        lines.append(
            f"warning: {validation} validation studies tell good weights from bad ones nearly by chance, as their F1 is off by "
            f"{F1_SPREAD / math.sqrt(max(validation, 1)):.2f} (one sigma), that of {FEW_VAL} by {F1_SPREAD / math.sqrt(FEW_VAL):.2f}: "
            f"{MORE_VALIDATION.get(dataset_name, 'give more of them')}, or keep the last weights with --val_every {epochs}"
        )
    return lines
