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
from pathlib import Path

import numpy as np

from modules.corpus.annotations import Study
from modules.corpus.cells import failed, is_empty
from modules.corpus.spelling import climbs
from modules.corpus.tables import plain_heading, read_table_file
from modules.evaluation.grounding.padchest_gr import padchest_gr
from modules.evaluation.grounding.phrases import Phrase, checked
from modules.evaluation.grounding.sign_scores import SIGN_ENTITIES, SIGNS
from modules.labelling.mentions import EXCLUDED, PRESENT, TAIL, entity_mentions
from modules.labels import CONDITIONS, ENTITIES, POSITIVE
from modules.messages import UserError, named, quoted, quoted_name, shown_headings

_PATIENT = re.compile(r"(?:^|/)(p\d{8})/")
_MS_CXR = ("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")
_IMAGENOME = ("image_id", "bbox_name", "original_x1", "original_y1", "original_x2", "original_y2")
_VINDR = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")


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
        phrases = padchest_gr(path, split, master_table)
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
                f"{path} has the columns {shown_headings(table.headings, False)[:200]}; expected those of MS-CXR, Chest ImaGenome's gold "
                "boxes or VinDr-CXR, or PadChest-GR's grounded_reports_*.json"
            )
    _refuse_failed(path, phrases)
    if not phrases:
        raise UserError(f"{path} holds no box{f' of the {split} split' if split else ''}: give another file or --split")
    return phrases


def _refuse_failed(path: Path, phrases: Sequence[Phrase]) -> None:
    """Refuse boxes without an image or a finding, and images that are named in two ways."""
    films: dict[str, tuple[str, str, str | None, tuple[float, float] | None]] = {}
    for phrase in phrases:
        for cell, what in ((phrase.image, "image"), (phrase.finding, "finding")):
            if is_empty(cell):
                raise UserError(
                    f"{path} holds a box without its {what} ({quoted(phrase.image)}, {quoted(phrase.finding)}): correct it"
                )
        for cell in (phrase.image, phrase.finding, phrase.text):
            kind = failed(cell, text=False)
            if kind:
                raise UserError(
                    f"{path} names a finding or an image {quoted(cell)}, which {kind}: correct it, or remove the box"
                )
        found = (phrase.image, phrase.patient, phrase.path, phrase.size)
        first = films.setdefault(phrase.image.casefold(), found)
        differing = next((n for n, (one, other) in enumerate(zip(first, found, strict=True)) if one != other), None)
        if differing is not None:
            what = ("in two spellings", "of two patients", "in two files", "in images of two sizes")[differing]
            raise UserError(f"{path} has boxes of the image {phrase.image} {what}: give all in one")


def mask_file(folder: Path, study: Study) -> Path:
    """The file of the drawn signs of a study; UserError if its id leads out of the folder."""
    if ".." in study.id or study.id.startswith("/"):
        raise UserError(
            f"the study {quoted_name(study.id)} has an id that leads out of {folder}: rename it in the annotation"
        )
    return folder / study.split / f"{study.id}.npz"


def read_masks(folder: str | Path, studies: Sequence[Study]) -> list[Phrase]:
    """The drawn signs of SynthCXR, a phrase for each that a study shows clearly.

    Args:
        folder: ``masks/``, with ``<split>/<id>.npz``.
        studies: whose masks to read.

    Raises:
        UserError: if a study has no file there, or a mask is none.
    """
    phrases = []
    for study in studies:
        path = mask_file(Path(folder), study)
        if not path.is_file():
            raise UserError(f"{path} does not exist: give SynthCXR's folder of masks with --boxes, and its annotation")
        with np.load(path) as masks:
            for sign in sorted(set(masks.files) & set(SIGNS)):
                mask = masks[sign]
                if mask.ndim != 2 or mask.dtype != bool:
                    raise UserError(
                        f"{path} holds a mask of {sign} of {' x '.join(map(str, mask.shape))} {mask.dtype}: expected true and false of a whole film, (h, w)"
                    )
                shown = study.labels is None or study.labels[CONDITIONS.index(sign)] == POSITIVE
                if shown and mask.any():
                    patient = study.patient or study.id
                    phrases.append(
                        Phrase(study.id, study.image_path[0], patient, sign, sign, np.empty((0, 4)), None, mask)
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
        if climbs(row["path"]):
            raise UserError(
                f"{path} gives {named(row['dicomid'])} the path {named(row['path'])}, expected one below the image folder: correct it"
            )
        x, y, w, h = (_number(path, row[name]) for name in ("x", "y", "w", "h"))
        width, height = _size(path, row, row["dicomid"]) or (math.inf, math.inf)
        key = (*(row[name] for name in ("dicomid", "path", "categoryname", "labeltext")), str(width), str(height))
        groups.setdefault(key, []).append([x, y, x + w, y + h])
    return [
        Phrase(image, place, _patient(place, image), finding.casefold(), text, checked(path, image, boxes, float(width), float(height)),
               (float(width), float(height)))
        for (image, place, finding, text, width, height), boxes in groups.items()
    ]  # fmt: skip


def _imagenome(path: Path, rows: Iterable[Mapping[str, str]]) -> list[Phrase]:
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows:
        corners = [_number(path, row[f"original{name}"]) for name in ("x1", "y1", "x2", "y2")]
        groups.setdefault((row["imageid"].removesuffix(".dcm"), row["bboxname"].casefold()), []).append(corners)
    return [
        Phrase(image, None, image, name, name, checked(path, image, boxes, math.inf, math.inf))
        for (image, name), boxes in groups.items()
    ]


def _vindr(path: Path, rows: Iterable[Mapping[str, str]]) -> list[Phrase]:
    rows = list(rows)
    readers = {row["radid"] for row in rows} if rows and "radid" in rows[0] else set()
    if len(readers) > 1:
        raise UserError(
            f"{path} holds the boxes of {len(readers)} radiologists, which are no one region: give annotations_test.csv, or one rad_id"
        )
    groups: dict[tuple[str, str, tuple[float, float] | None], list[list[float]]] = {}
    normal: set[str] = set()
    for row in rows:
        empty = [is_empty(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
        if all(empty) != (row["classname"].casefold() == "no finding"):
            raise UserError(
                f"{path} has {quoted_name(row['classname'])} {'without' if all(empty) else 'with'} a box on {row['imageid'][:40]}: correct it"
            )
        if all(empty):
            normal.add(row["imageid"])
        else:
            corners = [_number(path, row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
            groups.setdefault(
                (row["imageid"], row["classname"].casefold(), _size(path, row, row["imageid"])), []
            ).append(corners)
    if both := sorted(normal & {image for image, *_ in groups}):
        raise UserError(f"{path} has boxes and 'No finding' on {both[0][:40]}: correct it")
    return [
        Phrase(image, None, image, name, name, checked(path, image, boxes, *(size or (math.inf, math.inf))), size)
        for (image, name, size), boxes in groups.items()
    ]


def _size(path: Path, row: Mapping[str, str], image: str) -> tuple[float, float] | None:
    """Width and height of the image that was boxed; None where the table has no such columns, as VinDr-CXR's own."""
    names = [next((name for name in (f"image{side}", side) if name in row), None) for side in ("width", "height")]
    if None in names:
        return None
    width, height = (_number(path, row[str(name)]) for name in names)
    if not (1 < width < math.inf and 1 < height < math.inf):
        raise UserError(f"{path} gives {named(image)} a size of {width:g} x {height:g} pixels: correct it")
    return width, height


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path} holds {quoted(text)} where a number of pixels is expected: correct it") from None


def _patient(path: str, image: str) -> str:
    match = _PATIENT.search(path)
    return match[1] if match else image
