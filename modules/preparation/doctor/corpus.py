"""The doctor's look at an annotation, its reports and its images."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from modules.corpus.annotations import SPLITS, Study, annotation_items, item_problems, read_study
from modules.corpus.datasets import prepare_reports
from modules.corpus.images import RESIZE_RATIO
from modules.corpus.language import is_other_language
from modules.corpus.nothing_said import says_nothing
from modules.corpus.patients import patient_key
from modules.corpus.pixels import TWO_DEPTHS, is_blank, of_two_depths, open_image
from modules.corpus.splits import known_split
from modules.corpus.text import normalise_whitespace
from modules.messages import UserError, named
from modules.options.flags import DataOptions
from modules.options.preparation_flags import CheckOptions
from modules.preparation.doctor.findings import Diagnosis

EXPECTED_SIZES = {  # train, val, test of the published protocols
    "mimic_cxr": ((270_790, 2_130, 3_858),),
    "iu_xray": ((2_069, 296, 590), (0, 0, 4_168)),
}
LONG_REPORT = 300  # words; findings of a chest radiograph are shorter
SAME_REPORTS = 0.5  # share of held-out reports that are training reports too, above which it is warned
_WHAT = {
    "item": "{count} items are no objects",
    "image_path": "{count} studies have no usable image_path",
    "traversal": "{count} image paths lead out of the image folder",
    "report": "{count} studies have no report",
    "labels": "{count} studies have wrong labels (14 or 18 numbers from 0 to 3 are expected)",
    "clip_indices": "{count} studies have wrong clip_indices",
}


def look_at_annotation(path: str | Path, diagnosis: Diagnosis) -> list[Study]:
    """Check every item and id.

    Returns:
        The studies that can be read, the first of each id.
    """
    diagnosis.looked_at.add("annotation")
    try:
        items = annotation_items(path)
    except UserError as error:
        diagnosis.add("error", "annotation", str(error))
        return []
    wrong: dict[str, list[str]] = defaultdict(list)
    elsewhere: list[str] = []
    places: dict[str, list[str]] = defaultdict(list)
    studies: dict[str, Study] = {}
    for split, where, item in tqdm(items, desc="annotation", unit="study", leave=False):
        problems = item_problems(path, where, item, split)
        for part, sentence in problems.items():
            kind = "traversal" if "below the image folder" in sentence else part
            wrong[kind].append(sentence.removeprefix(f"{path}, "))
        if not problems:
            study = read_study(path, where, item, split)
            own_split = item.get("split")
            if known_split(own_split) not in (None, split):
                elsewhere.append(f"{study.id}: {split}, {own_split}")
            places[study.id].append(split)
            studies.setdefault(study.id, study)
    for kind, text in _WHAT.items():
        diagnosis.add("error", "annotation", text, wrong[kind])
    twice = [f"{name}: {', '.join(splits)}" for name, splits in places.items() if len(splits) > 1]
    diagnosis.add("error", "annotation", "{count} ids appear more than once: every study needs its own", twice)
    text = "{count} studies lie in one split and say another, which is not obeyed (as they lie, as they say)"
    diagnosis.add("warning", "annotation", text, elsewhere)
    labelled = sum(study.labels is not None for study in studies.values())
    if 0 < labelled < len(studies):
        text = f"{labelled:,} of {len(studies):,} studies have labels; the others get theirs from the labeler"
        diagnosis.add("warning", "annotation", text)
    return list(studies.values())


def look_at_splits(studies: Sequence[Study], diagnosis: Diagnosis) -> None:
    """Check that no patient and no image is in two splits."""
    diagnosis.looked_at.add("splits")
    patients = _splits_of((patient_key(study.patient), study.split) for study in studies if study.patient)
    images = _splits_of((image, study.split) for study in studies for image in study.image_path)
    text = "{count} patients are in two splits, so that a held-out study has relatives in training: split by patient"
    diagnosis.add("error", "splits", text, map(named, patients))
    diagnosis.add(
        "error", "splits", "{count} images are in two splits: give each study its own image", map(named, images)
    )
    unknown = [study.id for study in studies if study.patient is None]
    text = "the patient of {count} studies is unknown, so two splits may share one: add 'patient'"
    diagnosis.add("warning" if unknown else "note", "splits", text, unknown)


def look_at_sizes(dataset_name: str, studies: Sequence[Study], diagnosis: Diagnosis, empty: str = "warning") -> None:
    """Compare the sizes of the splits with those of the published protocols; ``empty`` is the level of an empty one."""
    counts = Counter(study.split for study in studies)
    sizes = tuple(counts[split] for split in SPLITS)
    text = ", ".join(f"{split} {size:,}" for split, size in zip(SPLITS, sizes, strict=True))
    expected = EXPECTED_SIZES.get(dataset_name, ())
    if expected and sizes not in expected and not (sizes[0] == 0 and sum(sizes) == sum(expected[-1])):
        published = " or ".join("/".join(f"{size:,}" for size in row) for row in expected)
        text += f"; the published protocol has {published}: figures will not be comparable"
        diagnosis.add("warning", "sizes", text)
    else:
        diagnosis.add("note", "sizes", text)
    diagnosis.add(empty, "sizes", "{count} splits are empty", [s for s in ("train", "val") if not counts[s]])


def look_at_reports(studies: Sequence[Study], data: DataOptions, diagnosis: Diagnosis) -> None:
    """Check lengths, and how many held-out reports are training reports too."""
    diagnosis.looked_at.add("reports")
    none = [study.id for study in studies if not study.report]
    diagnosis.add("note", "reports", "{count} test studies have no report: they are written and not scored", none)
    studies = [study for study in studies if study.report]
    pointers = [study.id for study in studies if says_nothing(study.report)]
    text = "{count} reports say nothing of the film or only where it is said (See impression): they are learnt and scored as words"
    diagnosis.add("warning", "reports", text, pointers)
    other = [study.id for study in studies if is_other_language(study.report)]
    text = (
        "{count} reports are not English, and labels, entities and cleaner know no other language: translate them first"
    )
    diagnosis.add("error" if 2 * len(other) > len(studies) else "warning", "reports", text, other)
    whole = prepare_reports([study.report for study in studies], data.cleaning, 0)
    empty, long, cut = [], [], 0
    for study, report in zip(studies, whole, strict=True):
        words = [word for word in report.split() if word != "."]
        if data.max_words and len(report.split(" ")) > data.max_words:
            cut += 1
        if not any(character.isalnum() for character in report):
            empty.append(study.id)
        elif len(words) > LONG_REPORT:
            long.append(f"{study.id}: {len(words)} words")
    diagnosis.add("error", "reports", "{count} reports are empty once they are cleaned: remove these studies", empty)
    diagnosis.add(
        "warning", "reports", f"{{count}} reports have more than {LONG_REPORT} words: is it one section?", long
    )
    if cut:
        text = f"{cut / len(studies):.1%} of the reports are longer than --max_words {data.max_words} and are cut"
        diagnosis.add("note", "reports", text)
    training = {report for study, report in zip(studies, whole, strict=True) if study.split == "train"}
    for split in ("val", "test"):
        own = [report for study, report in zip(studies, whole, strict=True) if study.split == split]
        if own and training:
            share = sum(report in training for report in own) / len(own)
            text = f"{share:.1%} of the {len(own):,} {split} reports are word for word in the training split too"
            diagnosis.add("warning" if share > SAME_REPORTS else "note", "reports", text)


def look_at_images(
    studies: Sequence[Study], folder: Path, options: CheckOptions, diagnosis: Diagnosis, thorough: bool
) -> None:
    """Check that the images are there; thoroughly, also that they decode, have a sensible size and differ.

    Args:
        studies: their first images are read in training; of the others only the presence matters.
        folder: of the images.
        options: what they must suit.
        diagnosis: added to.
        thorough: decode every first image.
    """
    diagnosis.looked_at.add("images")
    first = list(dict.fromkeys(study.image_path[0] for study in studies))
    others = list(dict.fromkeys(chain.from_iterable(study.image_path[1:] for study in studies)))
    bar = tqdm([*first, *others], desc="images present", unit="file", leave=False)
    absent = {image for image in bar if not (folder / image).is_file()}
    text = f"{{count}} of {len(first):,} images are not in {folder}: give their folder with --image_dir"
    diagnosis.add("error", "images", text, [named(image) for image in first if image in absent])
    text = f"{{count}} further images of studies are not in {folder}; only the first image of a study is read"
    diagnosis.add("note", "images", text, [named(image) for image in others if image in absent])
    if thorough:
        split_of = {image: study.split for study in reversed(studies) for image in study.image_path}
        _look_inside([image for image in first if image not in absent], split_of, folder, options, diagnosis)


@dataclass(frozen=True, slots=True)
class _Inside:
    """What decoding an image found."""

    size: tuple[int, int] = (0, 0)  # width and height in pixels
    blank: bool = False
    digest: bytes = b""  # of the file
    error: str = ""  # a sentence, if it cannot be decoded


def _look_inside(
    images: list[str], split_of: Mapping[str, str], folder: Path, options: CheckOptions, diagnosis: Diagnosis
) -> None:
    """Decode every image and say what is wrong with them, alone or beside each other."""
    with ThreadPoolExecutor(max(1, options.num_workers)) as pool:  # decoding releases the interpreter
        results = pool.map(partial(_read_inside, folder), images)
        bar = tqdm(results, total=len(images), desc="images decoded", unit="image", leave=False)
        inside = dict(zip(images, bar, strict=True))
    diagnosis.add("error", "images", "{count} images cannot be decoded", [i.error for i in inside.values() if i.error])
    inside = {image: found for image, found in inside.items() if not found.error}
    deep = of_two_depths(folder / image for image in inside)
    diagnosis.add("warning", "images", TWO_DEPTHS, map(str, deep))
    blank = [image for image, found in inside.items() if found.blank]
    diagnosis.add("warning", "images", "{count} images are blank: one grey value throughout", blank)
    shorter = round(options.image_size * RESIZE_RATIO)
    small = [
        f"{image}: {found.size[0]} x {found.size[1]}" for image, found in inside.items() if min(found.size) < shorter
    ]
    text = f"{{count}} images have a side below {shorter} pixels and are enlarged for --image_size {options.image_size}"
    diagnosis.add("warning", "images", text, small)
    flat = [f"{i}: {f.size[0]} x {f.size[1]}" for i, f in inside.items() if max(f.size) > 2.5 * min(f.size)]
    diagnosis.add("warning", "images", "{count} images are more than 2.5 times as long as wide: is it a chest?", flat)
    by_content = _splits_of((found.digest, split_of[image]) for image, found in inside.items())
    names = {found.digest: image for image, found in inside.items()}
    same = [f"{names[digest]} (in {', '.join(splits)})" for digest, splits in by_content.items()]
    diagnosis.add("error", "images", "{count} image files have the same content in two splits: remove one", same)


def _read_inside(folder: Path, image: str) -> _Inside:
    """What decoding one image finds."""
    try:
        with open_image(folder / image) as decoded:
            digest = hashlib.blake2b((folder / image).read_bytes(), digest_size=16).digest()
            return _Inside(decoded.size, is_blank(decoded), digest)
    except UserError as error:
        return _Inside(error=normalise_whitespace(str(error)))


def _splits_of(pairs: Iterable[tuple[object, str]]) -> dict:
    """Splits of what is in more than one."""
    places: dict[object, set[str]] = defaultdict(set)
    for thing, split in pairs:
        places[thing].add(split)
    return {thing: sorted(splits) for thing, splits in places.items() if len(splits) > 1}
