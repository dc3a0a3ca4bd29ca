"""Annotation files: which studies there are, where their images lie and what their reports say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

from tqdm import tqdm

from modules.corpus.cells import failed, is_empty, refuse_odd
from modules.corpus.patients import MIMIC_PATH, find_patient, patient_key
from modules.corpus.spelling import climbs
from modules.corpus.splits import by_split, known_split
from modules.corpus.text import plain_signs
from modules.labels import CHEXPERT_CONDITIONS, CONDITIONS, STATES
from modules.messages import UserError, named, quoted
from modules.records import read_json

SPLITS = ("train", "val", "test")
SHORTEN = "shorten it and give the folder in front of it with --image_dir"


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One item of an annotation file.

    Args:
        id: unique in its file.
        image_path: paths below the image folder; the first is the one that is read.
        report: raw text, its hyphens and quotes those of ASCII; empty in a test study that has none, which is written and not scored.
        split: ``"train"``, ``"val"`` or ``"test"``.
        labels: state of 14 or 18 conditions, if the file has them.
        patient: the same for all studies of a patient, if known.
        memory_indices: training rows of similar reports as published (``clip_indices``), if the file has them.
    """

    id: str
    image_path: tuple[str, ...]
    report: str
    split: str
    labels: tuple[int, ...] | None = None
    patient: str | None = None
    memory_indices: tuple[int, ...] | None = None


def read_annotation(path: str | Path) -> dict[str, list[Study]]:
    """Read an annotation file in any of three layouts.

    R2Gen's ``{"train": [..], "val": [..], "test": [..]}`` with items of ``id``, ``report`` and ``image_path`` (text or
    list); PromptMRG's, which adds ``labels`` and ``clip_indices`` and may lack ``id``; and PromptMRG's flat list for
    IU X-Ray, whose items are all ``"test"`` unless they carry ``split``.

    A missing id is made from the first image path: its file name in MIMIC-CXR (the DICOM id that R2Gen uses), the path
    without suffix elsewhere. A missing ``patient`` is read from a MIMIC-CXR image path, an IU X-Ray id or ``subject_id``; one
    that is written in several ways (``10``, ``10.0``, ``p10``) has the first of them throughout. A test study may lack ``report``.

    Args:
        path: JSON file.

    Returns:
        Studies by split, in file order; a split that the file lacks is an empty list.

    Raises:
        UserError: if there is no such file; if it is not JSON, has another layout, or an item is wrong; the sentence
            names the study.
    """
    annotation: dict[str, list[Study]] = {split: [] for split in SPLITS}
    for split, where, item in annotation_items(path):
        annotation[split].append(read_study(path, where, item, split))
    _check_unique(path, annotation)
    names: dict[str, str] = {}
    for studies in annotation.values():
        for position, study in enumerate(studies):
            name = study.patient and names.setdefault(patient_key(study.patient), study.patient)
            if name != study.patient:
                studies[position] = replace(study, patient=name)
    return annotation


def annotation_items(path: str | Path) -> list[tuple[str, str, Any]]:
    """Split, place in the file and content of every item of an annotation, the items themselves unchecked.

    Raises:
        UserError: if there is no such file; if it is not JSON, has another layout or names another split.
    """
    content = read_json(path)
    if not isinstance(content, list):
        content = _checked_layout(path, content)
        return [
            (split, f"item {number} of {split}", item)
            for split in SPLITS
            for number, item in enumerate(content.get(split, []))
        ]
    items = []
    for number, item in enumerate(content):
        name = item.get("split", "test") if isinstance(item, dict) else "test"
        split = known_split(name)
        if split is None:
            _reject(path, f"item {number}", f"the split is {quoted(name)}", f"expected one of {SPLITS}", "correct it")
        items.append((split, f"item {number}", item))
    return sorted(items, key=lambda item: SPLITS.index(item[0]))


def item_problems(path: str | Path, where: str, item: Any, split: str) -> dict[str, str]:
    """Everything wrong with one item, as a sentence by the key that is wrong; empty if :func:`read_annotation` would take it."""
    if not isinstance(item, dict):
        return {"item": f"{path}, {where}: found a {type(item).__name__}, expected an object: convert the file"}
    try:
        read_study(path, where, item, split)
        return {}
    except UserError:
        sentences = {}
    probe = {"id": item.get("id") or where, "image_path": "a.png", "report": "a"}
    for part in ("image_path", "report", "labels", "clip_indices"):
        try:
            read_study(path, where, {**probe, part: item.get(part)}, split)
        except UserError as error:
            sentences[part] = str(error)
    return sentences


def require_split(
    annotation: Mapping[str, list[Study]], split: str, path: str | Path, flag: str = "--ann_path"
) -> list[Study]:
    """The studies of a split.

    Args:
        annotation: what :func:`read_annotation` returned.
        split: ``"train"``, ``"val"``, ``"test"``, or ``"all"`` for the studies of all three.
        path: the file, for the message.
        flag: that names it, likewise.

    Raises:
        UserError: if the split is empty.
    """
    studies = [study for name in SPLITS if split in (name, "all") for study in annotation.get(name, [])]
    if studies:
        return studies
    found = ", ".join(f"{name} {len(annotation.get(name, []))}" for name in SPLITS)
    raise UserError(f"{path} has no study in the {split} split (found {found}): give a file that has one with {flag}")


def check_images(studies: Sequence[Study], image_dir: str | Path) -> None:
    """Check that the image of every study, the first of its paths, is there.

    Raises:
        UserError: with the number missing and the first three; if a link leads out of the folder.
    """
    image_dir = Path(image_dir)
    bar = tqdm(studies, desc="images", unit="file", leave=False)
    missing = [study.image_path[0] for study in bar if not (image_dir / study.image_path[0]).is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(studies)} images are not in {image_dir}, first {', '.join(map(named, missing[:3]))}: give the "
            "folder that the paths of the annotation start from with --image_dir, or remove the studies without image"
        )
    outside = leading_out(image_dir, (study.image_path[0] for study in studies))
    if outside:
        raise UserError(
            f"{len(outside)} of {len(studies)} images are links, or below links, that lead out of {image_dir}, first "
            f"{named(outside[0])}: give the folder that holds the images themselves with --image_dir"
        )


def leading_out(image_dir: str | Path, images: Iterable[str]) -> list[str]:
    """Those of the images that a link leads out of the folder, which itself may be a link."""
    root, folders = os.path.realpath(image_dir), {}
    found = []
    for image in images:
        folder, name = os.path.split(os.path.join(image_dir, image))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        place = os.path.join(folders[folder], name)
        if not f"{os.path.realpath(place) if os.path.islink(place) else place}/".startswith(f"{root}/"):
            found.append(image)
    return found


def _reject(path: str | Path, study: str, found: str, expected: str, remedy: str) -> NoReturn:
    raise UserError(f"{path}, {study}: {found}, {expected}: {remedy}")


def _checked_layout(path: str | Path, content: Any) -> dict[str, list[Any]]:
    """The items by split; what is neither layout is refused before any item is looked at."""
    if not isinstance(content, dict):
        found = f"a {type(content).__name__}"
    elif (splits := by_split(content)) is None:
        found = f"an object with the keys {', '.join(map(quoted, sorted(content)[:4])) or 'none'}"
    elif all(isinstance(items, list) for items in splits.values()):
        return splits
    else:
        wrong = next(key for key in content if not isinstance(content[key], list))
        found = f"a {type(content[wrong]).__name__} under {wrong!r}"
    raise UserError(
        f'{path} holds {found}; expected {{"train": [..], "val": [..], "test": [..]}} or a list of studies: convert it '
        "to one of these layouts"
    )


def read_study(path: str | Path, where: str, item: Any, split: str) -> Study:
    """Read one item of :func:`annotation_items`; UserError says what is wrong with it, and its id or else its place ``where``."""
    if not isinstance(item, dict):
        _reject(path, where, f"found a {type(item).__name__}", "expected an object", "convert the file")
    identifier = "" if item.get("id") is None else str(item["id"])
    refuse_odd(f"{path}, {where}", "id", item["id"] if identifier else "")
    image_path = read_image_path(path, f"study {identifier}" if identifier else where, item)
    identifier = identifier or _id_from_path(image_path[0])
    name = f"study {identifier}"
    return Study(
        id=identifier,
        image_path=image_path,
        report=_read_report(path, name, item.get("report"), split),
        split=split,
        labels=read_labels(path, name, item.get("labels")),
        patient=find_patient(item, identifier, image_path[0]),
        memory_indices=_read_memory_indices(path, name, item.get("clip_indices")),
    )


def _read_report(path: str | Path, name: str, report: Any, split: str) -> str:
    if report is None and split == "test":
        return ""
    if not isinstance(report, str) or not report.strip():
        kind = "empty" if isinstance(report, str) else f"a {type(report).__name__}"
        found = "no report" if report is None else f"the report is {kind}"
        _reject(path, name, found, "expected text under 'report'", "add the text or remove the study")
    refuse_odd(f"{path}, {name}", "report", report)
    if is_empty(report) or failed(report):
        expected = "expected a text and not what programs write where there is none"
        _reject(path, name, f"the report is {quoted(report.strip())}", expected, "remove the study")
    return plain_signs(report)


def read_image_path(path: str | Path, name: str, item: Mapping[str, Any], advice: str = SHORTEN) -> tuple[str, ...]:
    """Image paths of an item, at least one; UserError names file and study, and has ``advice`` on one that leads out."""
    value = item.get("image_path")
    images: list[Any] = value if isinstance(value, list) else [value]
    if not images or not all(isinstance(image, str) and image.strip() for image in images):
        found = "no image_path" if value is None else f"image_path is {_short(value)}"
        _reject(path, name, found, "expected one path or a list of paths", "add the image or remove the study")
    for image in images:
        absolute = PurePosixPath(image).is_absolute() or PureWindowsPath(image).anchor
        if absolute or climbs(image):
            _reject(path, name, f"image_path is {_short(image)}", "expected a path below the image folder", advice)
        longest = max(len(piece.encode("utf-8", "replace")) for piece in image.split("/"))
        if "\0" in image or longest > 255 or len(image) > 4000:
            _reject(path, name, f"image_path is {_short(image)}", "expected the name of a file", "correct it")
    return tuple(str(PurePosixPath(image)) for image in images)  # one film has one name: ./a.png is a.png


def _id_from_path(image_path: str) -> str:
    """The id of an item that has none, see :func:`read_annotation`."""
    path = PurePosixPath(image_path)
    return path.stem if MIMIC_PATH.search(image_path) else str(path.with_suffix(""))


def read_labels(path: str | Path, name: str, labels: Any) -> tuple[int, ...] | None:
    """States of 14 or 18 conditions, None if absent; UserError names the file and the study."""
    if labels is None:
        return None
    lengths = (len(CHEXPERT_CONDITIONS), len(CONDITIONS))
    if not isinstance(labels, list) or len(labels) not in lengths:
        found = f"found {len(labels)} labels" if isinstance(labels, list) else f"labels is {_short(labels)}"
        expected = f"expected a list of {lengths[0]} or {lengths[1]}"
        _reject(path, name, found, expected, "label the reports again or remove the key 'labels' from every study")
    states = range(len(STATES))
    for index, label in enumerate(labels):
        if type(label) not in (int, float) or label not in states:
            meaning = ", ".join(f"{number} {state}" for number, state in enumerate(STATES))
            found = f"the label of {CONDITIONS[index]} is {_short(label)}"
            _reject(path, name, found, f"expected 0 to {states[-1]} ({meaning})", "correct it")
    return tuple(int(label) for label in labels)


def _read_memory_indices(path: str | Path, name: str, indices: Any) -> tuple[int, ...] | None:
    if indices is None:
        return None
    if not isinstance(indices, list) or not all(type(index) is int and index >= 0 for index in indices):
        found = f"clip_indices is {_short(indices)}"
        _reject(path, name, found, "expected a list of row numbers from 0", "remove the key 'clip_indices'")
    return tuple(indices)


def _short(value: Any) -> str:
    """A value as it appears in a message."""
    text = quoted(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_unique(path: str | Path, annotation: Mapping[str, list[Study]]) -> None:
    seen: dict[str, str] = {}
    for split, studies in annotation.items():
        for study in studies:
            if study.id in seen:
                found = f"this id appears twice (in {seen[study.id]} and in {split})"
                _reject(path, f"study {study.id}", found, "expected every id once", "rename or remove one of the two")
            seen[study.id] = split
