"""What a preparation may replace: features that no program reads and on which no model was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from modules.corpus.annotations import Study
from modules.corpus.bank import patients_checksum, patients_of_bank
from modules.corpus.manifest import read_manifest
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import all_current
from modules.distributed import agree_on, from_main, is_main
from modules.feature_folder import move_features_aside, trainings_of, what_was_trained, writing
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.records import plain

_OF_ANNOTATION = ("labels", "region_scores", "report_features")
_OF_OTHER_ARRAYS = ("scores", "bank", "labels", "scorer")  # checksums of other arrays: never what a refusal names
_OTHERS = {"annotation": "is another", "patients": "are others"}  # said in place of a checksum


class ReplacingError(UserError):
    """Features that a model was trained on would be replaced."""


def built(folder: Path, raw: RawOptions, build: Callable[[KeptFeatures], FeatureStore]) -> FeatureStore:
    """What ``build`` makes of a folder; with ``--overwrite`` what a model was trained on is moved aside, and built again.

    Args:
        folder: of the features.
        raw: flags of the preparation: with ``--overwrite`` such features may be moved aside.
        build: asks what it may replace.

    Raises:
        UserError: if another program reads the features that would be replaced, or a model was trained on them and they stay.
    """
    with ExitStack() as held:
        kept = KeptFeatures(folder, held, raw.raw_dir is not None)
        try:
            return build(kept)
        except ReplacingError:
            if not raw.overwrite:
                raise
        kept.move_aside()
        return build(kept)


class KeptFeatures:
    """The features of a folder while a preparation looks what is to be made; every process has one and asks alike.

    Args:
        folder: of the features.
        held: ends with the preparation.
        from_raw: whether ``--overwrite`` is a flag of the preparation.
    """

    def __init__(self, folder: Path, held: ExitStack, from_raw: bool) -> None:
        self.folder = folder
        self._held, self._holds = held, False
        places = (Path(f"{folder}.{number}") for number in range(1, 10_000))
        rename = (
            f"or rename {folder} to {next(place for place in places if not place.exists())}, where its models find it"
        )
        self._patients_then = patients_of_bank(folder)
        self._advice = "or --overwrite, which moves these aside" if from_raw else rename

    def begin(self, source: Mapping[str, Any]) -> None:
        """Hold the folder if its features are of another annotation, or there are none; errors as for :meth:`current`."""
        arrays = read_manifest(self.folder)["arrays"]
        known = [arrays[name]["made_by"].get("annotation") for name in _OF_ANNOTATION if name in arrays]
        self.refuse(source, *_OF_ANNOTATION)
        if from_main(lambda: not known or any(checksum != source["annotation"] for checksum in known)):
            self.hold()

    def current(self, made_by: Mapping[str, Any], *names: str) -> bool:
        """Whether arrays are there as these options and inputs make them; else the folder is held, for they will be made.

        Raises:
            ReplacingError: if a model was trained on those that are there.
            UserError: if another program reads or makes them.
        """
        if all_current(self.folder, names, made_by):
            return True
        self.refuse(made_by, *names)
        self.hold()
        return False

    def by_patients(self, name: str, studies: Sequence[Study]) -> dict[str, str]:
        """What the ``made_by`` of an array that keeps the studies of a patient apart says of these patients.

        An array of an earlier version says nothing of them. It was made for the patients that the bank had then, and stays
        if these are the same.
        """
        entry = read_manifest(self.folder)["arrays"].get(name)
        now = patients_checksum((study.id, study.patient) for study in studies)
        silent = entry is not None and "patients" not in entry["made_by"]
        return {} if not studies or (silent and self._patients_then == now) else {"patients": now}

    def refuse(self, made_by: Mapping[str, Any], *names: str) -> None:
        """Refuse to replace arrays that were made otherwise and that a model was trained on; ReplacingError names both."""
        if refusal := from_main(lambda: self._refusal(made_by, names)):
            raise ReplacingError(refusal)

    def _refusal(self, made_by: Mapping[str, Any], names: Sequence[str]) -> str:
        """Why the arrays may not be replaced; empty if they may."""
        arrays, wanted = read_manifest(self.folder)["arrays"], plain(made_by)
        for name in (name for name in names if name in arrays):
            there = arrays[name]["made_by"]
            other = [key for key in wanted if key not in _OF_OTHER_ARRAYS and there.get(key) != wanted[key]]
            if other and (runs := trainings_of(self.folder)):
                now = _OTHERS.get(other[0]) or f"{there.get(other[0])} there, {wanted[other[0]]} here"
                return (
                    f"the features in {self.folder} would be made anew ({other[0]} of {name} {now}), and {what_was_trained(runs)} on "
                    f"them: give another --feature_dir, {self._advice}"
                )
        return ""

    def hold(self) -> None:
        """Hold the folder from here on, if it is not held yet."""
        if not self._holds:
            agree_on(lambda: self._held.enter_context(writing(self.folder)))
            self._holds = True

    def move_aside(self) -> None:
        """Move everything aside, so that its models find it there."""
        self.hold()
        agree_on(lambda: print(move_features_aside(self.folder)) if is_main() else None)
