"""Which films and reports the features of a folder were made from: another film under the same name looks like any other.

Of up to 64 studies of every split ``made_from.json`` remembers the path and a thumbnail of the film and a checksum of the
report. Copies of one film in another size or format have nearly one thumbnail; two patients have two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from modules.corpus.annotations import Study
from modules.corpus.manifest import AGAIN
from modules.corpus.pixels import open_image
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import enter_file
from modules.distributed import barrier, is_main
from modules.messages import UserError, named
from modules.records import read_object, sha256_of, write_json

FILE = "made_from.json"
_PER_SPLIT = 64
_SIDE = 16  # of a thumbnail
_TOLERANCE = 3  # grey levels: copies of 120 real films differed by .6 at most, two of them by 5.9 or more
_CORRECTED = 0.1  # share of the reports that somebody may have corrected since, and one at least


def remember_inputs(folder: Path, splits: Mapping[str, Sequence[Study]], image_dir: Path, ann_path: str | Path) -> None:
    """Write down what the features of a folder are made from, before they are; every process must ask.

    Args:
        folder: of the features, with its axes.
        splits: all studies of the annotation.
        image_dir: where their films lie.
        ann_path: the annotation.

    Raises:
        UserError: if the features are of this annotation already, and of other films.
    """
    store, checksum = FeatureStore.open(folder), sha256_of(ann_path)
    known = read_object(folder / FILE) if store.is_intact(FILE) else {}  # else a kill came between it and its checksum
    if known.get("annotation") == checksum:
        refuse_other_inputs(store, [study for part in splits.values() for study in part], image_dir)
        return
    barrier()  # all have looked
    if is_main():
        studies = {}
        for part in splits.values():
            for study in part[:: max(1, len(part) // _PER_SPLIT)][:_PER_SPLIT]:
                pixels = _thumbnail(image_dir / study.image_path[0])
                if pixels is not None:
                    studies[study.id] = {
                        "image": study.image_path[0], "report": _checksum(study), "pixels": pixels.tolist(),
                    }  # fmt: skip
        write_json(folder / FILE, {"annotation": checksum, "studies": studies}, indent=None)
        enter_file(folder, FILE)
    barrier()


def refuse_other_inputs(store: FeatureStore, studies: Sequence[Study], image_dir: str | Path) -> None:
    """Refuse features that were made from other films, or with other reports, than those of the same name now.

    Args:
        store: features of the studies; one of an earlier version remembers nothing.
        studies: those that are read.
        image_dir: where their films lie.

    Raises:
        UserError: naming the first.
    """
    path = store.directory / FILE
    if not path.is_file():
        return
    if not store.is_intact(FILE):
        raise UserError(f"{path} has changed since it was written: {AGAIN}")
    known = read_object(path)["studies"]
    asked = [study for study in studies if study.id in known]
    moved = [study for study in asked if known[study.id]["image"] != study.image_path[0]]
    if moved:
        first = moved[0]
        raise UserError(
            f"study {named(first.id)} has the film {named(first.image_path[0])} and its features in {store.directory} were made "
            f"from {named(known[first.id]['image'])} ({len(moved)} of {len(asked)} studies looked at): give the annotation that "
            f"they were made for with --ann_path, or {AGAIN}"
        )
    other = [study for study in asked if _differs(known[study.id]["pixels"], Path(image_dir) / study.image_path[0])]
    if other:
        raise UserError(
            f"{named(str(Path(image_dir) / other[0].image_path[0]))} is another film than the features in {store.directory} were "
            f"made from ({len(other)} of {len(asked)} films looked at): give the folder that they were made for with "
            "--image_dir, or prepare these into another --feature_dir"
        )
    changed = [study for study in asked if known[study.id]["report"] != _checksum(study)]
    if len(changed) > max(1, _CORRECTED * len(asked)):
        raise UserError(
            f"study {named(changed[0].id)} has another report than its features in {store.directory} were made with "
            f"({len(changed)} of {len(asked)} studies looked at): give the annotation that they were made for with --ann_path, or "
            f"{AGAIN}"
        )


def _thumbnail(path: Path) -> np.ndarray | None:
    """The film as ``(256,)`` grey levels; None if it cannot be read, which whoever needs it says."""
    try:
        image = open_image(path)
    except UserError:
        return None
    return np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)).reshape(-1)


def _differs(known: Sequence[int], path: Path) -> bool:
    found = _thumbnail(path)
    return found is not None and float(np.abs(found.astype(int) - np.array(known)).mean()) > _TOLERANCE


def _checksum(study: Study) -> str:
    return hashlib.sha256(study.report.encode()).hexdigest()
