"""A split that somebody else has drawn (``--split_file``), for the studies of raw files or for their images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.corpus.splits import split_name
from modules.corpus.tables import TABLE_ENDINGS, read_table_file
from modules.messages import UserError, named, shown_headings
from modules.preparation.raw.studies import NOT_LISTED, RawDataset, RawStudy
from modules.records import read_json

_OF_STUDIES, _OF_IMAGES = ("study_id", "uid"), ("dicom_id",)  # headings of ids
Key = Callable[[str], str]


def read_split_file(path: str | Path, items: str = "study") -> dict[str, str]:
    """Split by study id, in file order.

    Args:
        path: an annotation in R2Gen's layout, of which only ids and splits are used, an object of lists of ids, or a
            table with the columns ``id`` and ``split``.
        items: ``"image"`` if a table that names both the image and the study of a row is asked for images.

    Raises:
        UserError: if there is no such file; if it has another layout, names no study or puts one into two splits.
    """
    path = Path(path)
    if path.name.lower().endswith(TABLE_ENDINGS):
        return _without_contradiction(path, _of_table(path, items))
    content = read_json(path)
    if isinstance(content, list):
        pairs = [(item, item.get("split") if isinstance(item, dict) else None) for item in content]
    elif isinstance(content, dict) and all(isinstance(items, list) for items in content.values()):
        pairs = [(item, split) for split, items in content.items() for item in items]
    else:
        pairs = [(None, None)]
    return _without_contradiction(path, _of_json(path, pairs))


def _of_json(path: Path, pairs: Sequence[tuple[Any, Any]]) -> Iterator[tuple[str, str]]:
    """Ids and splits of items or ids with their splits; UserError if one lacks either."""
    for item, split in pairs:
        identifier = item.get("id") if isinstance(item, dict) else item
        if identifier is None or split is None:
            raise UserError(
                f'{path} says no id and split of every study: give {{"train": [..], "val": [..], "test": [..]}} with ids '
                "or items with 'id', or a table with the columns id and split"
            )
        yield str(identifier), split_name(split, f"{path}, {identifier}")


def _of_table(path: Path, items: str) -> Iterator[tuple[str, str]]:
    """Ids and splits of a table; UserError if it has no such columns."""
    names = ("id", *_OF_IMAGES, *_OF_STUDIES) if items == "image" else ("id", *_OF_STUDIES, *_OF_IMAGES)
    table = read_table_file(path, (*names, "split"))
    identifier, split = table.column(names), table.column(("split",))
    if identifier is None or split is None:
        found = shown_headings(table.headings[:8], identifier is not None or split is not None)
        raise UserError(f"{path} needs the columns id and split (found {found}): name them so")
    for line, cells in table.body():
        yield cells[identifier], split_name(cells[split], f"{path}, line {line}")


def _without_contradiction(path: Path, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs as a mapping: of two splits of one id the last would win, and a study move into the test or out of it."""
    splits: dict[str, str] = {}
    for identifier, split in pairs:
        if splits.setdefault(identifier, split) != split:
            raise UserError(f"{path} puts {named(identifier)} into {splits[identifier]} and into {split}: correct it")
    if not splits:
        raise UserError(f"{path} names no study: give the split of this data set")
    return splits


def names_images(
    splits: Mapping[str, str], dataset: RawDataset, of_study: Callable[[RawStudy], Sequence[RawStudy]], key: Key
) -> bool:
    """Whether the ids of a split file are those of images.

    Args:
        splits: what :func:`read_split_file` returned.
        dataset: of studies.
        of_study: makes an item of each image of one.
        key: as of :func:`use_split`, for images.
    """
    images = {key(image.id) for study in dataset.studies for image in of_study(study)}
    return not images.isdisjoint(map(key, splits))


def use_split(dataset: RawDataset, splits: Mapping[str, str], path: str | Path, key: Key = str) -> None:
    """Give the studies the splits, ids and order of a split file; those that it does not name are left out.

    Args:
        dataset: changed in place.
        splits: what :func:`read_split_file` returned.
        path: its path, for messages.
        key: maps an id of the file, and of a study, to what the two have in common.

    Raises:
        UserError: if the file names none of the studies, or puts one of them, under two names, into two splits.
    """
    by_key = {key(study.id): study for study in dataset.studies}
    chosen: dict[str, RawStudy] = {}
    unknown: set[str] = set()
    for identifier, split in splits.items():
        name = key(identifier)
        if name not in by_key:
            unknown.add(identifier)
            continue
        if name not in chosen:
            chosen[name] = study = by_key[name]
            study.id, study.split = identifier, split
        elif chosen[name].split != split:
            raise UserError(
                f"{path} puts one study into {chosen[name].split}, as {named(chosen[name].id)}, and into {split}, as "
                f"{named(identifier)}: correct it"
            )
    if not chosen:
        raise UserError(
            f"none of the {len(splits)} ids of {path} is in the raw files (first {', '.join([*splits][:2])}; the files "
            f"hold {', '.join(study.id for study in dataset.studies[:2])}): give the split of this data set"
        )
    dataset.dropped |= {study.id: NOT_LISTED for name, study in by_key.items() if name not in chosen}
    dataset.studies = [*chosen.values()]
    if unknown:
        dataset.notes.append(f"{len(unknown)} of {len(splits)} ids of {path} have no usable study here")
