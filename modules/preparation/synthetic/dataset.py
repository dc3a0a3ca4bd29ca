"""SynthCXR, a data set anybody can make: drawn chest radiographs with reports, labels and masks, from a seed.

    <root>/annotation.json          {"train": [...], "val": [...], "test": [...]}, items as in R2Gen's files
    <root>/images/<split>/<id>.png  the images
    <root>/masks/<split>/<id>.npz   where each sign is, at half resolution; never read in training
    <root>/synthetic_options.json   what it was made with

It has the layout and the long tail of the real data sets and none of their content: it shows that the programs work
and that a model learns, not how good a model is at reading chest radiographs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from modules.labels import CONDITIONS
from modules.messages import UserError
from modules.preparation.synthetic.plan import StudyPlan
from modules.preparation.synthetic.reports import write_report
from modules.preparation.synthetic.sampling import plan_studies
from modules.preparation.synthetic.study import draw_study
from modules.processes.pools import small_pool
from modules.records import atomic_write, read_json, write_json

DRAWING_VERSION = 1  # raise it when the same options draw something else
_FORMERLY = {"readers": 0}  # what a folder was made with that does not say it: earlier versions left no choice
_OPTIONS_FILE = "synthetic_options.json"
_FORMATS = {"png": {}, "jpg": {"quality": 95}}
_WORTHWHILE = 200  # studies that a process must draw to make up for its start


@dataclass(frozen=True, kw_only=True)
class SyntheticOptions:
    """What a synthetic data set is made with; equal options give equal files.

    Args:
        num_studies: studies in all three splits.
        val_share: share of the studies for validation.
        test_share: share of the studies for the test.
        image_size: pixels of the square images' side.
        difficulty: larger makes signs fainter and smaller; 0.5 suits small images, 1 asks for larger ones.
        seed: of everything random.
        image_format: "png" or "jpg".
        readers: radiologists with habits of their own who share the studies; 0 words every report independently.
    """

    num_studies: int = 3000
    val_share: float = 0.05
    test_share: float = 0.15
    image_size: int = 110
    difficulty: float = 0.5
    seed: int = 456789
    image_format: str = "png"
    readers: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UserError: if an option is out of its range.
        """
        shares = self.val_share + self.test_share
        for wrong, message in (
            (self.num_studies < 3, f"num_studies is {self.num_studies}: give at least 3, one for each split"),
            (min(self.val_share, self.test_share) < 0 or shares >= 1, f"val_share {self.val_share} and test_share "
             f"{self.test_share} leave nothing to train on: give shares from 0 to 1 with a sum below 1"),
            (self.image_size < 32, f"image_size is {self.image_size}: give at least 32 pixels"),
            (not self.difficulty > 0, f"difficulty is {self.difficulty}: give a number above 0, 0.5 is the default"),
            (self.seed < 0, f"seed is {self.seed}: give 0 or more"),
            (self.readers < 0, f"readers is {self.readers}: give 0 for reports without habits, or how many readers"),
            (self.image_format not in _FORMATS, f"image_format is {self.image_format!r}: give one of {[*_FORMATS]}"),
        ):  # fmt: skip
            if wrong:
                raise UserError(message)


def plan_dataset(options: SyntheticOptions) -> list[StudyPlan]:
    """What each study of the data set shows, without drawing it."""
    val, test = (round(options.num_studies * share) for share in (options.val_share, options.test_share))
    return plan_studies(options.num_studies, val, test, options.seed, options.readers)


def write_synthetic_dataset(root: Path, options: SyntheticOptions, workers: int | None = None) -> Path:
    """Write the data set, or what is missing of it.

    An interrupted run is continued, a finished one is only checked. The annotation is written last, so that its
    presence says that everything is there.

    Args:
        root: folder of the data set; made if absent.
        options: what to draw.
        workers: processes that draw, None for one per core. The files do not depend on it.

    Returns:
        Path of the annotation file.

    Raises:
        UserError: if the folder holds another data set.
    """
    root = Path(root)
    annotation = root / "annotation.json"
    _claim(root, options)
    plans = plan_dataset(options)
    for plan in plans:
        for folder in ("images", "masks"):
            (root / folder / plan.split).mkdir(parents=True, exist_ok=True)
    missing = [plan for plan in plans if not _is_written(root, options, plan)]
    write = partial(_write_study, root, options)
    workers = min(workers or os.cpu_count() or 1, len(missing) // _WORTHWHILE + 1)
    if missing:
        annotation.unlink(missing_ok=True)
        if workers == 1:
            _follow(map(write, missing), len(missing))
        else:
            with small_pool(workers) as pool:
                _follow(pool.imap_unordered(write, missing, chunksize=8), len(missing))
    if not annotation.exists():
        write_json(annotation, _annotation(plans, options), indent=None)
    return annotation


def _follow(results: Iterable[None], total: int) -> None:
    """Go through the results behind a progress bar."""
    for _ in tqdm(results, total=total, desc="drawing SynthCXR", unit="study"):
        pass


def _claim(root: Path, options: SyntheticOptions) -> None:
    """Make the folder ours, or check that it is."""
    path = root / _OPTIONS_FILE
    wanted = {**asdict(options), "drawing_version": DRAWING_VERSION}
    if path.exists():
        found = {**_FORMERLY, **read_json(path)}
        different = sorted(name for name in wanted if found.get(name) != wanted[name])
        if different:
            changes = ", ".join(f"{name} {found.get(name)} instead of {wanted[name]}" for name in different)
            raise UserError(
                f"{root} holds a synthetic data set made with {changes}: remove the folder or give another one"
            )
        return
    for name in ("annotation.json", "images", "masks"):
        if (root / name).exists():
            raise UserError(
                f"{root} holds {name} but no {_OPTIONS_FILE}, so it is another data set: give another folder"
            )
    write_json(path, wanted)


def _image_path(plan: StudyPlan, options: SyntheticOptions) -> str:
    return f"{plan.split}/{plan.study_id}.{options.image_format}"


def _mask_path(root: Path, plan: StudyPlan) -> Path:
    return root / "masks" / plan.split / f"{plan.study_id}.npz"


def _is_written(root: Path, options: SyntheticOptions, plan: StudyPlan) -> bool:
    """Whether the study's image can be read and its masks are there."""
    path = root / "images" / _image_path(plan, options)
    if not path.exists() or not _mask_path(root, plan).exists():
        return False
    try:
        with Image.open(path) as image:
            image.load()
            return image.size == (options.image_size, options.image_size)
    except (OSError, SyntaxError, UnidentifiedImageError):
        return False


def _write_study(root: Path, options: SyntheticOptions, plan: StudyPlan) -> None:
    """Draw one study and write its image and masks."""
    pixels, masks = draw_study(plan, options.image_size, options.difficulty)
    named: dict[str, Any] = {CONDITIONS[index].replace("/", " "): _halve(mask) for index, mask in masks.items()}
    with atomic_write(_mask_path(root, plan), "wb") as file:
        np.savez_compressed(file, **named)
    kind = "jpeg" if options.image_format == "jpg" else "png"
    with atomic_write(root / "images" / _image_path(plan, options), "wb") as file:
        Image.fromarray(pixels).save(file, kind, **_FORMATS[options.image_format])


def _halve(mask: np.ndarray) -> np.ndarray:
    """A mask at half resolution: set where any of its four pixels is; an odd last row or column is dropped."""
    half = np.array(mask.shape) // 2
    four = mask[: 2 * half[0], : 2 * half[1]].reshape(half[0], 2, half[1], 2)
    return np.any(four, axis=(1, 3))


def _annotation(plans: list[StudyPlan], options: SyntheticOptions) -> dict[str, list[dict]]:
    """The annotation in R2Gen's layout."""
    splits: dict[str, list[dict]] = {"train": [], "val": [], "test": []}
    for plan in plans:
        splits[plan.split].append(
            {
                "id": plan.study_id,
                "report": write_report(plan),
                "image_path": [_image_path(plan, options)],
                "split": plan.split,
                "labels": plan.labels,
                "patient": plan.patient_id,
            }
        )
    return splits
