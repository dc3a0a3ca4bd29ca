"""Your own studies: a CSV table or a JSON-lines file with one study a row.

image_path   one path or several separated by ";" (a list in JSON lines), from the folder of the file
report       the text; or findings and impression, of which --section chooses
id           optional, the first image's path without suffix if absent
patient      optional, keeps a patient's studies in one split
split        optional, train / val / test; drawn by patient if absent
labels       optional, JSON lines only: 14 or 18 states
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from modules.corpus.annotations import read_image_path, read_labels
from modules.preparation.raw.files import find_below, read_table
from modules.preparation.raw.studies import (
    RawDataset,
    RawStudy,
    draw_split,
    join_sections,
    read_split_file,
    split_name,
    use_split,
)
from modules.records import iterate_jsonl


def read_custom(raw_dir: str | Path, options: Namespace, with_images: bool = True) -> RawDataset:
    """Read one's own studies.

    Args:
        raw_dir: the file, or a folder that holds one ``.csv``, ``.csv.gz`` or ``.jsonl`` file.
        options: ``section``, ``split_file``, ``seed``.
        with_images: leave out studies whose images are not there.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: counting the rows that are wrong, with the first of them.
    """
    path = _table(Path(raw_dir))
    dataset = RawDataset(studies=[], image_root=path.parent)
    problems: list[str] = []
    seen: set[str] = set()
    for where, row in _rows(path):
        try:
            study = _study(path, where, row, options)
            if study.id in seen:
                raise ValueError(f"{path}, {where}: the id {study.id} appears twice, expected every id once")
        except ValueError as error:
            problems.append(str(error))
            continue
        seen.add(study.id)
        dataset.studies.append(study)
    if problems:
        more = f" ({len(problems)} rows are wrong in all)" if len(problems) > 1 else ""
        raise ValueError(problems[0] + more)
    if not dataset.studies:
        raise ValueError(f"{path} holds no study: write one row for each, see README.md")
    without = [study.id for study in dataset.studies if study.split is None]
    if options.split_file:
        use_split(dataset, read_split_file(options.split_file), options.split_file)
    elif len(without) == len(dataset.studies):
        draw_split(dataset, options.seed)
    elif without:
        raise ValueError(
            f"{len(without)} of {len(dataset.studies)} studies of {path} have no split, first {without[0]}: give one to "
            "all or to none"
        )
    dataset.keep(lambda study: None if study.report else f"no {options.section} in the report")
    if with_images:
        for study in dataset.studies:
            study.images = tuple(image for image in study.images if (path.parent / image).is_file())
        dataset.keep(lambda study: None if study.images else "no image file")
    return dataset


def _table(place: Path) -> Path:
    if place.is_file():
        return place
    if not place.is_dir():
        raise FileNotFoundError(f"{place} does not exist: give --raw_dir a CSV or JSON-lines file of your studies")
    found = find_below(place, r".*\.(csv|csv\.gz|jsonl)", depth=1)
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:3]) or "none"
        raise ValueError(
            f"{place} holds {len(found)} CSV and JSON-lines files ({names}), expected one: give the file itself with "
            "--raw_dir"
        )
    return found[0]


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.name.endswith((".csv", ".csv.gz")):
        for number, row in enumerate(read_table(path, ("image_path",)), start=2):
            paths = [part.strip() for part in row["image_path"].split(";") if part.strip()]
            yield f"line {number}", {**{k: v for k, v in row.items() if v != "" and k != "labels"}, "image_path": paths}
    else:
        for number, row in enumerate(iterate_jsonl(path), start=1):
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: found a {type(row).__name__}, expected an object")
            yield f"line {number}", row


def _study(path: Path, where: str, row: Mapping[str, Any], options: Namespace) -> RawStudy:
    images = read_image_path(path, where, row)
    identifier = str(PurePosixPath(images[0]).with_suffix("") if row.get("id") in (None, "") else row["id"])
    if not any(isinstance(row.get(name), str) for name in ("report", "findings", "impression")):
        raise ValueError(f"{path}, {where}: found no report, expected text under 'report' or 'findings': add it")
    parts = {name: re.sub(r"\s+", " ", str(row.get(name) or "")).strip() for name in ("findings", "impression")}
    report = str(row.get("report") or "").strip() or join_sections(**parts, section=options.section)
    return RawStudy(
        id=identifier,
        patient=identifier if row.get("patient") in (None, "") else str(row["patient"]),
        images=images,
        report=report,
        split=split_name(str(row["split"]), f"{path}, {where}") if row.get("split") else None,
        labels=read_labels(path, where, row.get("labels")),
    )
