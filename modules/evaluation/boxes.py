"""Findings that somebody boxed, from the files that the data sets come with.

MS-CXR         MS_CXR_Local_Alignment_*.csv: dicom_id, category_name, label_text, path, x, y, w, h, image_width, image_height, split
PadChest-GR    grounded_reports_*.json, and master_table.csv for patients and splits
Chest ImaGenome   gold_bbox_coordinate_annotations_*.csv: image_id, bbox_name, original_x1 .. original_y2
VinDr-CXR      annotations_test.csv: image_id, class_name, x_min, y_min, x_max, y_max
SynthCXR       the folder of masks, beside its annotation

The content decides which of them a file is. Boxes of one phrase on one image are one region.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.corpus.annotations import Study
from modules.corpus.cells import failed, is_empty
from modules.corpus.tables import plain_heading, read_table_file
from modules.evaluation.grounding import SIGN_ENTITIES, SIGNS
from modules.labelling.mentions import EXCLUDED, PRESENT, TAIL, entity_mentions
from modules.labels import CONDITIONS, ENTITIES, POSITIVE
from modules.messages import UserError
from modules.records import read_json

_PATIENT = re.compile(r"(?:^|/)(p\d{8})/")
_MS_CXR = ("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")
_IMAGENOME = ("image_id", "bbox_name", "original_x1", "original_y1", "original_x2", "original_y2")
_VINDR = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True)
class Phrase:
    """One finding on one image, and where it is.

    Args:
        image: id of the image.
        path: of the image below the image folder, None where only the id is known.
        patient: the same for all images of a patient; the image where patients are not known.
        finding: what it is counted under, lower case.
        text: the words that say it.
        boxes: ``(n, 4)`` left, top, right, bottom.
        size: width and height that the boxes are measured in; (1, 1) for shares, None for the pixels of the image file.
        mask: ``(h, w)`` bool of the whole image in place of boxes.
    """

    image: str
    path: str | None
    patient: str
    finding: str
    text: str
    boxes: np.ndarray
    size: tuple[float, float] | None = None
    mask: np.ndarray | None = None


def read_boxes(path: str | Path, split: str | None = None, master_table: str | Path | None = None) -> list[Phrase]:
    """Read the boxes of a data set.

    Args:
        path: one of the files above.
        split: keep this split alone, where the file has splits.
        master_table: PadChest-GR's table of patients and splits.

    Raises:
        UserError: if the file is none of those, a box is no box, or nothing is left.
    """
    path = Path(path)
    if path.suffix == ".json":
        phrases = _padchest_gr(path, split, master_table)
    else:
        table = read_table_file(path, (*_MS_CXR, *_IMAGENOME, *_VINDR))
        rows = [dict(zip(map(plain_heading, table.headings), cells, strict=True)) for _, cells in table.body()]
        there = {plain_heading(heading) for heading in table.headings}
        for names, read in ((_MS_CXR, _ms_cxr), (_IMAGENOME, _imagenome), (_VINDR, _vindr)):
            if {plain_heading(name) for name in names} <= there:
                phrases = read(path, _of_split(path, rows, split))
                break
        else:
            raise UserError(
                f"{path} has the columns {', '.join(table.headings)[:200]}; expected those of MS-CXR, Chest ImaGenome's gold "
                "boxes or VinDr-CXR, or PadChest-GR's grounded_reports_*.json"
            )
    _refuse_failed(path, phrases)
    if not phrases:
        raise UserError(f"{path} holds no box{f' of the {split} split' if split else ''}: give another file or --split")
    return phrases


def _refuse_failed(path: Path, phrases: Sequence[Phrase]) -> None:
    for phrase in phrases:
        cells = (phrase.image, phrase.finding, phrase.text)
        wrong = next(((cell, kind) for cell in cells if (kind := failed(cell, text=False))), None)
        if wrong:
            raise UserError(
                f"{path} names a finding or an image {wrong[0][:12]!r}, which {wrong[1]}: correct it, or remove the box"
            )


def mask_file(folder: Path, study: Study) -> Path:
    """The file of the drawn signs of a study; UserError if its id leads out of the folder."""
    if ".." in study.id or study.id.startswith("/"):
        raise UserError(
            f"the study {study.id[:50]!r} has an id that leads out of {folder}: rename it in the annotation"
        )
    return folder / study.split / f"{study.id}.npz"


def read_masks(folder: str | Path, studies: Sequence[Study]) -> list[Phrase]:
    """The drawn signs of SynthCXR, a phrase for each that a study shows clearly.

    Args:
        folder: ``masks/``, with ``<split>/<id>.npz``.
        studies: whose masks to read.

    Raises:
        UserError: if a study has no file there.
    """
    phrases = []
    for study in studies:
        path = mask_file(Path(folder), study)
        if not path.is_file():
            raise UserError(f"{path} does not exist: give SynthCXR's folder of masks with --boxes, and its annotation")
        with np.load(path) as masks:
            for sign in sorted(set(masks.files) & set(SIGNS)):
                shown = study.labels is None or study.labels[CONDITIONS.index(sign)] == POSITIVE
                if shown and masks[sign].any():
                    patient = study.patient or study.id
                    phrases.append(
                        Phrase(study.id, study.image_path[0], patient, sign, sign, np.empty((0, 4)), None, masks[sign])
                    )
    return phrases


def entities_of(phrase: Phrase) -> list[int]:
    """Entities whose maps stand for a phrase: those of its finding, else those that its words assert; none if it names none."""
    if phrase.finding in SIGN_ENTITIES:
        return [ENTITIES.index(entity) for entity in SIGN_ENTITIES[phrase.finding]]
    for text in (phrase.finding, phrase.text):
        found = [k for k in np.flatnonzero(entity_mentions([text])[0] == PRESENT).tolist() if k not in (TAIL, EXCLUDED)]
        if found:
            return found
    return []


def _of_split(path: Path, rows: list[dict[str, str]], split: str | None) -> list[dict[str, str]]:
    if split is None:
        return rows
    if rows and "split" not in rows[0]:
        raise UserError(f"{path} has no column split, and --split {split} was given: leave it out")
    return [row for row in rows if row["split"] == split]


def _ms_cxr(path: Path, rows: Iterable[Mapping[str, str]]) -> list[Phrase]:
    groups: dict[tuple[str, ...], list[list[float]]] = {}
    for row in rows:
        x, y, w, h, width, height = (
            _number(path, row[name]) for name in ("x", "y", "w", "h", "imagewidth", "imageheight")
        )
        key = (*(row[name] for name in ("dicomid", "path", "categoryname", "labeltext")), str(width), str(height))
        groups.setdefault(key, []).append([x, y, x + w, y + h])
    return [
        Phrase(image, place, _patient(place, image), finding.casefold(), text, _checked(path, image, boxes, float(width), float(height)),
               (float(width), float(height)))
        for (image, place, finding, text, width, height), boxes in groups.items()
    ]  # fmt: skip


def _imagenome(path: Path, rows: Iterable[Mapping[str, str]]) -> list[Phrase]:
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows:
        corners = [_number(path, row[f"original{name}"]) for name in ("x1", "y1", "x2", "y2")]
        groups.setdefault((row["imageid"].removesuffix(".dcm"), row["bboxname"].casefold()), []).append(corners)
    return [
        Phrase(image, None, image, name, name, _checked(path, image, boxes, math.inf, math.inf))
        for (image, name), boxes in groups.items()
    ]


def _vindr(path: Path, rows: Iterable[Mapping[str, str]]) -> list[Phrase]:
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows:
        if not is_empty(row["xmin"]):  # "No finding" has no box
            corners = [_number(path, row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
            groups.setdefault((row["imageid"], row["classname"].casefold()), []).append(corners)
    return [
        Phrase(image, None, image, name, name, _checked(path, image, boxes, math.inf, math.inf))
        for (image, name), boxes in groups.items()
    ]


def _padchest_gr(path: Path, split: str | None, master_table: str | Path | None) -> list[Phrase]:
    content = read_json(path)
    if not isinstance(content, list) or not all(
        isinstance(s, dict) and {"ImageID", "findings"} <= set(s) for s in content
    ):
        raise UserError(f'{path} is not PadChest-GR\'s list of {{"StudyID", "ImageID", "findings"}}')
    known = _master(Path(master_table)) if master_table else {}
    if split is not None and not known:
        raise UserError(f"--split {split} of PadChest-GR stands in master_table.csv: give it with --master_table")
    phrases = []
    for study in content:
        image = str(study["ImageID"])
        patient, part = known.get(image.casefold(), (str(study.get("StudyID", image)), None))
        if split is None or part == split:
            for finding in study["findings"]:
                phrases += _padchest_phrases(path, image, patient, finding)
    return phrases


def _padchest_phrases(path: Path, image: str, patient: str, finding: Mapping[str, Any]) -> list[Phrase]:
    boxes = [*(finding.get("boxes") or []), *(finding.get("extra_boxes") or [])]
    if not boxes or not finding.get("abnormal", True):
        return []
    name = str((finding.get("labels") or ["unnamed"])[0]).casefold()
    return [
        Phrase(
            image,
            image,
            patient,
            name,
            str(finding.get("sentence_en", name)),
            _checked(path, image, boxes, 1, 1),
            (1, 1),
        )
    ]


def _master(path: Path) -> dict[str, tuple[str, str | None]]:
    """Patient and split by image."""
    table = read_table_file(path, ("ImageID", "PatientID", "split"))
    image, patient, split = (table.column([name]) for name in ("ImageID", "PatientID", "split"))
    if image is None or patient is None:
        raise UserError(f"{path} has no columns ImageID and PatientID: give PadChest-GR's master_table.csv")
    return {
        cells[image].casefold(): (cells[patient], None if split is None else cells[split]) for _, cells in table.body()
    }


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path} holds {text[:30]!r} where a number of pixels is expected: correct it") from None


def _checked(path: Path, image: str, boxes: Sequence[Sequence[float]], width: float, height: float) -> np.ndarray:
    """Boxes ``(n, 4)``; half a pixel beyond the image is rounding, more is a mistake."""
    found = np.asarray(boxes, dtype=np.float64)
    slack = 0.01 if width == 1 else 2.0
    good = found.ndim == 2 and found.shape[1:] == (4,) and np.isfinite(found).all()
    if (
        not good
        or (found[:, 2:] <= found[:, :2]).any()
        or found.min() < -slack
        or (found[:, 2:] > [width + slack, height + slack]).any()
    ):
        raise UserError(
            f"{path} has boxes of the image {image} that are none ({str(boxes)[:80]}): expected left and top before right and "
            "bottom, inside the image"
        )
    return found


def _patient(path: str, image: str) -> str:
    match = _PATIENT.search(path)
    return match[1] if match else image
