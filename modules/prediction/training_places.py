"""Where the data lie that a model was trained on, as the options of its run say it, for a test of the same data."""

from __future__ import annotations

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
    """Data set and places of the training that wrote a checkpoint; nothing where nobody knows."""
    with suppress(UserError):
        known = read_run_options(Path(load_pretrained).with_name("options.json"))
        if all(isinstance(known.get(name), str) for name in ("dataset_name", *PLACES)):
            return {name: known[name] for name in ("dataset_name", *PLACES)}
    return {}


def follow_training(options: MainTest) -> str:
    """Let one's own data be those of the training, in place, if no flag names others; a line that says so, if that changes any."""
    data, there = options.data, places_of_training(str(options.testing.load_pretrained))
    if (
        data.dataset_name != "custom"
        or there.pop("dataset_name", "") != "custom"
        or {*PLACES, "bank_dir"} & options.given
    ):
        return ""
    changed = {name: place for name, place in there.items() if place != getattr(data, name)}
    if not changed or not Path(there["ann_path"]).is_file():
        return ""
    for name, place in {**there, "bank_dir": there["feature_dir"]}.items():
        setattr(data, name, place)
    return f"data of the training (yours win): {_flags(there)}"


def how_to_test(options: MainTest, origin: Mapping[str, Any] | None) -> str:
    """What to do if the features of a test are not those that the model was trained on.

    Args:
        options: of the test.
        origin: of the model, see :func:`modules.corpus.pairing.training_origin`.
    """
    data, there = options.data, places_of_training(str(options.testing.load_pretrained))
    if there.pop("dataset_name", "") != data.dataset_name or data.bank_dir != data.feature_dir:
        return GIVE_BANK
    features = trained_features(origin, Path(there["feature_dir"]))
    if features is None:
        return (
            f"the features of its training, {there['feature_dir']}, have been made anew since or are gone: train the model again, "
            "or give copies of what it was trained on with --ann_path and --feature_dir"
        )
    annotation = _annotation_of(features, Path(there["ann_path"]))
    return f"give what it was trained on, {_flags({**there, 'ann_path': annotation, 'feature_dir': features})}"


def _annotation_of(features: Path, annotation: Path) -> Path:
    """The annotation that features were made from: under its name, or where a preparation moved it aside."""
    known = read_object(features / FILE).get("annotation") if (features / FILE).is_file() else None
    beside = sorted(annotation.parent.glob("*.[0-9]*.json"))
    return next((path for path in [annotation, *beside] if path.is_file() and sha256_of(path) == known), annotation)


def _flags(places: Mapping[str, str | Path]) -> str:
    return " ".join(f"--{name} {shlex.quote(str(place))}" for name, place in places.items())
