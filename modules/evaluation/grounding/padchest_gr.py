"""The boxes of PadChest-GR: grounded_reports_*.json, and master_table.csv for patients and splits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.tables import read_table_file
from modules.evaluation.grounding.phrases import Phrase, checked
from modules.messages import UserError, named, quoted
from modules.records import read_json

_LAYOUT = 'PadChest-GR\'s list of {"StudyID", "ImageID", "findings": [{"sentence_en", "abnormal", "boxes", "labels"}]}'


def padchest_gr(path: Path, split: str | None, master_table: str | Path | None) -> list[Phrase]:
    """A phrase for every abnormal sentence that has boxes; boxes of one sentence on one image are one region.

    Args:
        path: of the grounded reports.
        split: keep this split alone, as the table names it.
        master_table: the table of patients and splits.

    Raises:
        UserError: if the files are not of this layout, or one image stands twice.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(
        isinstance(s, dict) and {"ImageID", "findings"} <= set(s) for s in content
    ):
        raise UserError(f"{path} is not {_LAYOUT}")
    known = _master(Path(master_table)) if master_table else {}
    if split is not None and not known:
        raise UserError(f"--split {split} of PadChest-GR stands in master_table.csv: give it with --master_table")
    phrases: list[Phrase] = []
    seen: set[str] = set()
    for study in content:
        image = study["ImageID"]
        if not isinstance(image, str) or image.casefold() in seen:
            raise UserError(f"{path} holds the ImageID {quoted(image)}, which is none or stands twice: correct it")
        seen.add(image.casefold())
        if known and image.casefold() not in known:
            raise UserError(
                f"{master_table} does not name the image {named(image)}: give the table that belongs to {path}"
            )
        patient, part = known.get(image.casefold(), (str(study.get("StudyID", image)), None))
        if split is None or part == split:
            phrases += _phrases(path, image, patient, study["findings"])
    return phrases


def _phrases(path: Path, image: str, patient: str, findings: Any) -> list[Phrase]:
    """The abnormal findings of one image, those of one sentence together."""
    if not isinstance(findings, list) or not all(isinstance(finding, dict) for finding in findings):
        raise UserError(f"{path} is not {_LAYOUT}: it has other findings of {image}")
    groups: dict[tuple[str, str], list[Any]] = {}
    for finding in findings:
        abnormal = finding.get("abnormal", True)
        boxes = [*_list(path, image, finding, "boxes"), *_list(path, image, finding, "extra_boxes")]
        if not isinstance(abnormal, bool):
            raise UserError(f'{path} has "abnormal": {quoted(abnormal)} of {image}: expected true or false')
        if boxes and abnormal:
            labels = finding.get("labels") or ["unnamed"]
            first = labels if isinstance(labels, str) else labels[0]
            if not isinstance(first, str) or not re.search("[a-z]", first, re.I):
                raise UserError(
                    f"{path} has the label {quoted(str(first))} of {image}, which names no finding: correct it"
                )
            name = first.casefold()
            groups.setdefault((name, str(finding.get("sentence_en") or name)), []).extend(boxes)
    return [
        Phrase(image, image, patient, name, text, checked(path, image, boxes, 1, 1), (1, 1))
        for (name, text), boxes in groups.items()
    ]


def _list(path: Path, image: str, finding: Mapping[str, Any], name: str) -> list[Any]:
    value = finding.get(name) or []
    if not isinstance(value, list):
        raise UserError(f"{path} has {name} of {image} that are no list ({quoted(value)}): correct it")
    return value


def _master(path: Path) -> dict[str, tuple[str, str | None]]:
    """Patient and split by image."""
    table = read_table_file(path, ("ImageID", "PatientID", "split"))
    image, patient, split = (table.column([name]) for name in ("ImageID", "PatientID", "split"))
    if image is None or patient is None:
        raise UserError(f"{path} has no columns ImageID and PatientID: give PadChest-GR's master_table.csv")
    known: dict[str, tuple[str, str | None]] = {}
    for line, cells in table.body():
        found = (cells[patient], None if split is None else cells[split])
        if known.setdefault(cells[image].casefold(), found) != found:
            raise UserError(
                f"{path} gives the image {cells[image]} two patients or splits, the second in line {line}: correct it"
            )
    return known
