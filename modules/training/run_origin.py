"""What a run learns from and is judged by: its studies, their reports, words, labeler and flags. A resume must find the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.datasets import ReportDataset
from modules.corpus.pairing import training_origin
from modules.distributed import is_main
from modules.labelling.labelers import Labeler
from modules.messages import UserError, named
from modules.options.programs import MainTrain
from modules.training.run_options import fixed_options

SPLITS = {"train": ("training", "trained"), "val": ("validation", "validated")}


def origin_of(train_set: ReportDataset, val_set: ReportDataset, labeler: Labeler, options: MainTrain) -> dict[str, Any]:
    """What a checkpoint says of its origin; a test compares features and vocabulary with what it reads."""
    return {
        "trained_on": training_origin(train_set.bank.store),
        "vocabulary": train_set.tokenizer.checksum,
        "studies": {"train": _checksum(train_set), "val": _checksum(val_set)},
        "labeler": f"{labeler.name} {labeler.checksum}",
        "flags": fixed_options(options),
    }


def refuse_other_origin(path: Path, run: Mapping[str, Any], origin: Mapping[str, Any], ann_path: str) -> None:
    """Refuse to continue with other data than a run began with: order, references and words would be those of others.

    Args:
        path: of the checkpoint.
        run: its state; one of an earlier version does not say everything, and is taken at its word.
        origin: of :func:`origin_of` now.
        ann_path: where the studies are read.

    Raises:
        UserError: if it is a state of another run, whatever is written beside it; if the studies of a split, their order, their
            reports or the vocabulary are others; if reports are labelled in another way. For another version of the rules only a
            warning is printed: the run can go on with no others.
    """
    flags = [name for name, value in run.get("flags", {}).items() if origin["flags"].get(name, value) != value]
    if flags:
        raise UserError(
            f"{path} is of another run than the options.json beside it ({flags[0]} {named(run['flags'][flags[0]])} there, "
            f"{origin['flags'][flags[0]]} here): copy the files of one run"
        )
    then = run.get("studies", origin["studies"])
    for split, (name, was) in SPLITS.items():
        if then.get(split) != origin["studies"][split]:
            raise UserError(
                f"the {name} studies of {ann_path}, their order or their reports are not those that {path} was {was} with: "
                "give the --ann_path that it began with, or train anew into another --save_dir"
            )
    if run.get("vocabulary", origin["vocabulary"]) != origin["vocabulary"]:
        raise UserError(
            f"{path} was trained with other words than this run would write: repeat the --init_from or --bert_path that it began "
            "with, or train anew into another --save_dir"
        )
    theirs, ours = run.get("labeler", origin["labeler"]), origin["labeler"]
    if theirs == ours:
        return
    if theirs.split()[:1] != ours.split()[:1] or not ours.startswith("rule "):
        raise UserError(
            f"{path} was validated by {theirs} and now it would be by {ours}, whose figures do not compare: give the "
            "--chexbert_path that it began with (none: by the rules), or train anew into another --save_dir"
        )
    if is_main():
        print(f"warning: {path} was validated by {theirs}, and from here on by {ours}: their figures may not compare")


def _checksum(dataset: ReportDataset) -> str:
    """Checksum of the studies in their order: ids, patients, films and reports as they are learnt."""
    digest = hashlib.sha256()
    for study, report in zip(dataset.studies, dataset.reports, strict=True):
        digest.update(json.dumps([study.id, study.patient, study.image_path[0], report]).encode())
    return digest.hexdigest()
