"""From raw files to an annotation and its images, for ``main_prepare.py --raw_dir``.

    <ann_path>               {"train": [..], "val": [..], "test": [..]}, as R2Gen's
    <folder>/dropped.csv     id and reason of every study that is left out
    <folder>/raw.json        flags, counts and program version that made them
    <image_dir>              copies of the images, or a link to the raw ones

An annotation called annotation_zero_shot.json has dropped_zero_shot.csv and raw_zero_shot.json beside it: two annotations
of one folder share its images. With ``--all_test`` it is a flat list of studies, all of which are tested.

The annotation is written last: its presence says that everything is there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modules.corpus.annotations import SPLITS, annotation_items
from modules.distributed import agree_on, gather_list, is_main
from modules.feature_folder import move_features_aside, trainings_of, what_was_trained, writing
from modules.folder_locks import refuse_held
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.options.parsing import flat
from modules.options.programs import MainPrepare
from modules.preparation.raw.images import copy_images, copy_path
from modules.preparation.raw.readers import read_raw, require_reader
from modules.preparation.raw.studies import RawDataset, RawStudy
from modules.records import atomic_write, plain, provenance, read_object, sha256_of, write_json
from modules.throughput import speed_line

FORMAT = "revtaf_raw/1"
_RECORDED = ("dataset_name", "section", "unnamed", "items", "all_test", "chexpert_labels", "split_file", "patient_column",
             "xxxx", "resize", "copy_format", "raw_step", "seed")  # fmt: skip


def build_annotation(options: MainPrepare, agree: Callable[[RawDataset], None] | None = None) -> list[str]:
    """Read the raw files, copy the images if ``--resize`` asks for it, and write the annotation.

    Every process of ``torchrun`` calls it; one reads, all copy.

    Args:
        options: of ``main_prepare.py``.
        agree: asked by the main process about what was read, before any image is copied; raises if nothing shall begin.

    Returns:
        A line to end with, if many studies were left out.

    Raises:
        UserError: listing the raw files that are missing; if a raw file is damaged, or the annotation that is there was
            not made from raw files, was made from others or has been changed since, unless ``--overwrite`` says so.
    """
    annotation, image_dir = Path(options.data.ann_path), Path(options.data.image_dir)
    raw_dir = require_reader(options)
    changed = _check_ours(annotation, options.raw.overwrite)
    with_images = options.raw.raw_step != "annotation"
    started = time.perf_counter()
    # One process reads: eight would read the same 227,835 reports.
    read = [read_raw(options, with_images)] if is_main() else []
    dataset: RawDataset = gather_list(read)[0]
    if is_main():
        if dataset.studies_before is None:
            count, unit = len(dataset.studies) + len(dataset.dropped), "studies"
        else:
            count, unit = len(dataset.studies), "images"
        print(speed_line("reading the raw files", count, time.perf_counter() - started, unit=unit), flush=True)
    dataset.require_studies(raw_dir)
    agree_on(lambda: refuse_replacing(dataset, options))
    if agree is not None:
        agree_on(lambda: agree(dataset))
    if with_images and options.raw.resize:
        _use_copies(dataset, options, image_dir)
        dataset.require_studies(raw_dir)
    elif with_images:
        if any(image.endswith(".dcm") for study in dataset.studies for image in study.images):
            raise UserError(
                "the raw images are DICOM files, which training does not read: give --resize 256, or a large number to keep "
                "their size"
            )
        if is_main():
            _link(image_dir, dataset.require_root())
    if is_main():
        print(*dataset.summary(), sep="\n")
    agree_on(lambda: _write(annotation, dataset, options, changed))
    return dataset.losses(_beside(annotation, "dropped.csv"))


def _use_copies(dataset: RawDataset, options: MainPrepare, image_dir: Path) -> None:
    """Copy the images and let the studies name the copies; what cannot be decoded is left out."""
    images = list(dict.fromkeys(image for study in dataset.studies for image in study.images))
    unreadable = copy_images(
        images,
        dataset.require_root(),
        image_dir,
        resize=options.raw.resize,
        suffix=options.raw.copy_format,
        workers=options.loading.num_workers,
    )
    for study in dataset.studies:
        readable = [image for image in study.images if image not in unreadable]
        if not readable:
            dataset.details[study.id] = unreadable[study.images[0]]
        study.images = tuple(copy_path(image, options.raw.copy_format) for image in readable)
    dataset.keep(lambda study: None if study.images else "no image that can be decoded")
    if unreadable:
        dataset.notes.append(f"{len(unreadable)} images cannot be decoded, first: {next(iter(unreadable.values()))}")


def _check_ours(annotation: Path, overwrite: bool) -> bool:
    """Whether somebody has changed our annotation, before hours of reading.

    Raises:
        UserError: if somebody else made it; if it has been changed and is not to be replaced.
    """
    record = _beside(annotation, "raw.json")
    there = [path for path in (annotation, record, _beside(annotation, "dropped.csv")) if path.is_file()]
    known: dict[str, Any] = {}
    if record.is_file():
        with suppress(UserError):  # a file of somebody else, which may hold anything
            known = read_object(record)
    if there and known.get("format") != FORMAT:
        raise UserError(
            f"{there[0]} is there already and was not made from raw files: move it away, or give another --ann_path"
        )
    changed = annotation.is_file() and "annotation" in known and known["annotation"] != sha256_of(annotation)
    if changed and not overwrite:
        raise UserError(
            f"{annotation} has been changed since it was made from {known.get('raw_dir')}: go on with it without --raw_dir, move "
            "it away, or replace it with --overwrite"
        )
    return changed


def _move_aside(annotation: Path) -> str:
    """Give an annotation another name, because somebody changed it or a model was trained on it; returns a line that says so."""
    names = (annotation.with_suffix(f".{number}.json") for number in range(1, 10_000))
    target = next(path for path in names if not path.exists())
    os.replace(annotation, target)
    return f"moved {annotation} as it was to {target}"


def refuse_replacing(dataset: RawDataset, options: MainPrepare) -> None:
    """Refuse to replace an annotation in which something would be lost, unless ``--overwrite`` says so.

    Args:
        dataset: what was read, before any image is copied.
        options: of ``main_prepare.py``.

    Raises:
        UserError: if the annotation is of other raw files, which may have moved, and these lack its studies or reports; if
            it differs at all and a model was trained on its features.
    """
    annotation, raw = Path(options.data.ann_path), options.raw
    if not annotation.is_file():
        return
    made_from, raw_dir = str(read_object(_beside(annotation, "raw.json")).get("raw_dir")), str(raw.raw_dir)
    reports = {study.id: study.report for study in dataset.studies}
    items = [item for _, _, item in annotation_items(annotation)]
    lost = sum(reports.get(item["id"]) != item["report"] for item in items)
    if lost and not raw.overwrite and os.path.realpath(made_from) != os.path.realpath(raw_dir):
        raise UserError(
            f"{annotation} was made from {made_from}, and {lost} of its {len(items)} items are not in {raw_dir} or have another report "
            f"there: {_own_places(options.data)}, or replace it with --overwrite"
        )
    if differences := _differences(items, dataset, annotation):
        _refuse_trained(options, differences)


def _differences(items: list[dict], dataset: RawDataset, annotation: Path) -> str:
    """What differs between the items of an annotation and what was read, images aside, which are not copied yet."""
    known = {item["id"]: {**item, "image_path": None} for item in items}
    found = {study.id: {**plain(_item(study)), "image_path": None} for study in dataset.studies}
    with open(_beside(annotation, "dropped.csv"), newline="", encoding="utf-8") as file:
        dropped = {row["id"] for row in csv.DictReader(file)}  # whose images could not be read
    counts = {
        "changed": sum(found[name] != item for name, item in known.items() if name in found),
        "gone": len(known.keys() - found.keys()),
        "new": len(found.keys() - known.keys() - dropped),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _refuse_trained(options: MainPrepare, differences: str) -> None:
    """Refuse to replace an annotation whose features are being read or that models were trained on; UserError says what to do."""
    refuse_held(Path(options.data.feature_dir), "--feature_dir")
    if not options.raw.overwrite and (runs := trainings_of(options.data.feature_dir)):
        flags, annotation = _other_flags(options), options.data.ann_path
        why = f"is not as it was when {annotation} was made, or is read otherwise by this version"
        if flags:
            why = f"read with {', '.join(flags)} gives something else than {annotation}"
        advice = "main_train.py --resume goes on with what is there"
        if any(flag.startswith("--seed ") for flag in flags):
            advice += (
                f", and with --seed {options.runtime.seed} --save_dir DIR it trains another model on the same split"
            )
        raise UserError(
            f"{options.raw.raw_dir} {why} ({differences}), and {what_was_trained(runs)} on its features, which would be replaced: "
            f"{_own_places(options.data)}, or --overwrite, which moves annotation and features aside; {advice}"
        )


def _other_flags(options: MainPrepare) -> list[str]:
    """Flags that an annotation was made with other values of: ``--seed 2 instead of 1``."""
    then = read_object(_beside(Path(options.data.ann_path), "raw.json")).get("options") or {}
    now = plain(flat(options))
    read = (name for name in _RECORDED if name in then and name not in ("raw_step", "resize", "copy_format"))
    return [f"--{name} {now[name]} instead of {then[name]}" for name in read if then[name] != now[name]]


def _own_places(data: DataOptions) -> str:
    """The advice to give another table places of its own, with the flags as they may be typed."""
    folder = Path(data.ann_path).parent
    places = (Path(f"{folder}_{number}") for number in range(2, 10_000))
    free = next(place for place in places if not place.exists())
    flags = f"--ann_path {free}/annotation.json --image_dir {free}/images --feature_dir {free}/features"
    return f"give it places of its own, {flags} (and train into another --save_dir)"


def _beside(annotation: Path, name: str) -> Path:
    """A file that belongs to an annotation; ``annotation_zero_shot.json`` has ``raw_zero_shot.json``."""
    which = annotation.stem.removeprefix("annotation") if annotation.stem.startswith("annotation") else ""
    path = annotation.with_name(name)
    return path.with_stem(f"{path.stem}{which}")


def _link(image_dir: Path, root: Path) -> None:
    """Let the image folder be the raw one, unless somebody has filled it."""
    root = root.resolve()
    if image_dir.exists() and image_dir.resolve() == root:
        return
    if image_dir.is_symlink():
        image_dir.unlink()
    elif image_dir.is_dir() and any(image_dir.iterdir()):
        raise UserError(
            f"{image_dir} holds files already, so it cannot be a link to {root}: remove it, or give --image_dir {root}"
        )
    elif image_dir.is_dir():
        image_dir.rmdir()
    image_dir.parent.mkdir(parents=True, exist_ok=True)
    image_dir.symlink_to(root, target_is_directory=True)


def _write(annotation: Path, dataset: RawDataset, options: MainPrepare, changed: bool) -> None:
    """Write the annotation and the files beside it; an earlier one that somebody ``changed`` or a model needs is moved aside."""
    splits = {split: [_item(study) for study in dataset.studies if study.split == split] for split in SPLITS}
    content = json.dumps(plain(splits["test"] if options.raw.all_test else splits), ensure_ascii=False) + "\n"
    checksum = hashlib.sha256(content.encode()).hexdigest()
    if annotation.is_file() and sha256_of(annotation) != checksum:
        _refuse_trained(options, "images can be read that could not, or the other way")
        if trainings_of(options.data.feature_dir):
            with writing(options.data.feature_dir):
                print(move_features_aside(options.data.feature_dir))
            changed = True
    if changed:
        print(_move_aside(annotation))
    record = {
        "format": FORMAT,
        "options": {name: value for name, value in flat(options).items() if name in _RECORDED},
        "raw_dir": options.raw.raw_dir,
        "items": {split: sum(study.split == split for study in dataset.studies) for split in SPLITS},
        "dropped": Counter(dataset.dropped.values()),
        "notes": dataset.notes,
        "annotation": checksum,
        **provenance(),
    }
    annotation.unlink(missing_ok=True)  # a kill must not leave an earlier one beside what this one was made from
    write_json(_beside(annotation, "raw.json"), record)
    with atomic_write(_beside(annotation, "dropped.csv")) as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "reason"), *dataset.reasons().items()])
    with atomic_write(annotation) as file:
        file.write(content)
    print(f"wrote {annotation}")


def _item(study: RawStudy) -> dict[str, Any]:
    """The item of an annotation that a study becomes."""
    item = {"id": study.id, "report": study.report, "image_path": study.images, "split": study.split}
    known = {"patient": study.patient, "labels": study.labels}
    return item | {name: value for name, value in known.items() if value}
