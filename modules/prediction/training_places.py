"""What the folder of a training tells a test: where its data lie, and how long it went on."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from modules.corpus.made_from import FILE
from modules.corpus.pairing import GIVE_BANK, trained_features
from modules.messages import UserError
from modules.options.programs import MainTest
from modules.records import read_object, read_run_options, sha256_of

PLACES = ("ann_path", "image_dir", "feature_dir")


def places_of_training(load_pretrained: str) -> dict[str, str]:
    """Data set and places of the training that wrote a checkpoint, by flag; empty where its folder does not say them."""
    with suppress(UserError):
        known = read_run_options(Path(load_pretrained).with_name("options.json"))
        if all(isinstance(known.get(name), str) for name in ("dataset_name", *PLACES)):
            return {name: known[name] for name in ("dataset_name", *PLACES)}
    return {}


def trained_epochs(load_pretrained: str, run: Mapping[str, Any]) -> dict[str, int] | None:
    """The epoch whose weights a checkpoint keeps and the last of its training; None where nobody knows.

    Args:
        load_pretrained: the checkpoint; ``metrics.csv`` beside it has a row an epoch.
        run: what it says of its run.
    """
    table = Path(load_pretrained).with_name("metrics.csv")
    if "steps" not in run or not table.is_file():
        return None
    with open(table, encoding="utf-8", newline="") as file:
        return {"kept": run["epoch"], "of": sum(1 for _ in csv.DictReader(file))}


def follow_training(options: MainTest) -> str:
    """Test a model of one's own data on the data of its training, unless a flag names others; the options change in place.

    Returns:
        A line that names the data, empty if nothing has changed.
    """
    data, places = options.data, places_of_training(str(options.testing.load_pretrained))
    own_data = data.dataset_name == places.pop("dataset_name", "") == "custom"
    if not own_data or {*PLACES, "bank_dir"} & options.given:
        return ""
    changed = {name: place for name, place in places.items() if place != getattr(data, name)}
    if not changed or not Path(places["ann_path"]).is_file():
        return ""
    for name, place in {**places, "bank_dir": places["feature_dir"]}.items():
        setattr(data, name, place)
    return f"data of the training (yours win): {_flags(places)}"


def how_to_test(options: MainTest, origin: Mapping[str, Any] | None) -> str:
    """What to do if the features of a test are not those that the model was trained on.

    Args:
        options: of the test.
        origin: of the model, see :func:`modules.corpus.pairing.training_origin`.
    """
    data, places = options.data, places_of_training(str(options.testing.load_pretrained))
    if places.pop("dataset_name", "") != data.dataset_name or data.bank_dir != data.feature_dir:
        return GIVE_BANK
    features = trained_features(origin, Path(places["feature_dir"]))
    if features is None:
        return (
            f"the features of its training, {places['feature_dir']}, have been made anew since or are gone: train the model again, "
            "or give copies of what it was trained on with --ann_path and --feature_dir"
        )
    annotation = _annotation_of(features, Path(places["ann_path"]))
    return f"give what it was trained on, {_flags({**places, 'ann_path': annotation, 'feature_dir': features})}"


def _annotation_of(features: Path, annotation: Path) -> Path:
    """The annotation that features were made from: under its name, or where a preparation moved it aside."""
    known = read_object(features / FILE).get("annotation") if (features / FILE).is_file() else None
    beside = sorted(annotation.parent.glob("*.[0-9]*.json"))
    return next((path for path in [annotation, *beside] if path.is_file() and sha256_of(path) == known), annotation)


def _flags(places: Mapping[str, str | Path]) -> str:
    return " ".join(f"--{name} {shlex.quote(str(place))}" for name, place in places.items())
