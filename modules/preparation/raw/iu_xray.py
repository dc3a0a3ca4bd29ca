"""IU X-Ray as it is published: Open-i's archive of XML reports, or the Kaggle packaging in two CSV tables.

Open-i names an image ``CXR2_IM-0652-1001``, Kaggle ``2_IM-0652-1001.dcm.png``, R2Gen's archive ``CXR2_IM-0652/0.png``; all
three are found, anywhere below the raw folder.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from modules.corpus.cells import refuse_odd
from modules.corpus.nothing_said import says_nothing
from modules.corpus.spelling import PICTURES
from modules.messages import Needed, UserError, quoted, require
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.drawn_split import draw_split
from modules.preparation.raw.files import find_below, iterate_texts, read_table
from modules.preparation.raw.split_files import names_images, read_split_file, use_split
from modules.preparation.raw.studies import NO_SECTION, RawDataset, RawStudy, join_sections, unmask

REPORTS = r"NLMCXR_reports(\.tgz|\.tar\.gz|\.tar|\.zip)?|ecgen-radiology"
_PACKED = r".*(\.tgz|\.tar\.gz|\.tar|\.zip)"
_SUFFIXES = (*PICTURES, ".dcm")  # of images, the earlier read first
_ENDINGS = re.compile(r"(?:\.(?:png|jpe?g|jpe|jfif|dcm))+$", re.IGNORECASE)
FRONTAL = "frontal"  # of Kaggle's projections, in small letters
_IMAGE_ID = re.compile(r"(?:CXR)?(\d+)_(?:\d+_)?(IM-.+)")  # CXR1_1_IM-0001-3001 is 1_IM-0001-3001 at Kaggle


@dataclass(frozen=True, slots=True)
class _Report:
    """One report, whichever packaging it comes from."""

    number: str  # of the report and of its patient
    images: tuple[str, ...]  # as the source names them, in its order
    findings: str
    impression: str


def read_iu_xray(raw_dir: str | Path, options: RawOptions, with_images: bool = True, seed: int = 0) -> RawDataset:
    """Read every report; the XML archive is preferred to the CSV tables, which hold 3,851 of its 3,955 reports.

    Args:
        raw_dir: folder with ``NLMCXR_reports.tgz`` (or the folder ``ecgen-radiology`` that it unpacks to), or with
            ``indiana_reports.csv`` and ``indiana_projections.csv``, and the images.
        options: ``section``, ``xxxx``, ``items``, ``split_file``.
        with_images: look for the images; else they are taken as they are named.
        seed: of the split, where none is given and not all are to be tested.

    Returns:
        Studies whose ids are R2Gen's; an image that the projections call frontal comes first, the others in Open-i's order.

    Raises:
        UserError: listing what is not in ``raw_dir``; if a file is damaged.
    """
    raw_dir = Path(raw_dir)
    files, said = _image_files(raw_dir) if with_images else (None, [])
    archives, tables, projections = _find(raw_dir, files)
    views = _read_views(projections[0]) if projections else {}
    reports = _read_archive(archives[0]) if archives else _read_kaggle(tables[0], views)
    dataset = RawDataset(studies=[], image_root=raw_dir if with_images else None, notes=said)
    absent: dict[str, list[str]] = {}  # images by patient
    for report in sorted(reports, key=lambda report: int(report.number)):
        dataset.studies.append(_study(report, options, views, files, absent))
    splits = read_split_file(options.split_file, options.items) if options.split_file else {}
    by_image = options.items == "image" and names_images(splits, dataset, _of_images, _key)
    if splits and not by_image:
        use_split(dataset, splits, str(options.split_file), _patient)
    elif not splits and not options.all_test:
        draw_split(dataset, seed)  # before any study is left out: the split is the same for every section
    dataset.keep(lambda study: None if study.report else NO_SECTION[options.section])
    dataset.say_absent([f"{raw_dir}/**/{name}" for study in dataset.studies for name in absent[study.patient or ""]])
    dataset.keep(lambda study: None if study.images else "no image")
    if options.items == "image":
        studies = len(dataset.studies)
        dataset.split_into_images(_of_images)
        if by_image:
            use_split(dataset, splits, str(options.split_file), _key)
        dataset.notes.append(
            f"{len(dataset.studies)} images of {studies} studies are an item each; the published annotation has 4,168 samples, "
            "which are neither all images nor all studies with findings"
        )
    dataset.notes.append(f"reports from {archives[0] if archives else tables[0]}")
    if not views:
        dataset.notes.append("views are unknown without indiana_projections.csv: images stay in Open-i's order")
    elif FRONTAL not in views.values():
        dataset.notes.append(
            f"warning: {projections[0]} calls no image frontal: images stay in Open-i's order, in which many a first one is lateral"
        )
    return dataset


def _find(raw_dir: Path, files: Mapping[str, str] | None) -> tuple[list[Path], list[Path], list[Path]]:
    """Archives of reports, Kaggle's tables of reports and of projections; what is missing is listed at once.

    ``files`` are the images, None if nobody needs them.
    """
    archives = [path for path in find_below(raw_dir, REPORTS) if not path.is_dir() or next(path.rglob("*.xml"), None)]
    tables = find_below(raw_dir, r"indiana_reports\.csv(\.gz)?")
    projections = find_below(raw_dir, r"indiana_projections\.csv(\.gz)?")
    packed = [path for path in find_below(raw_dir, _PACKED) if path not in archives]
    how = "download it from https://openi.nlm.nih.gov/faq (free) into this folder"
    if packed:
        how = f"unpack {packed[0]} if it is in there, or {how}"
    needed = []
    if not archives and not (tables and projections):
        what = "reports of IU X-Ray (or indiana_reports.csv and indiana_projections.csv of the Kaggle packaging)"
        needed.append(Needed(raw_dir / "NLMCXR_reports.tgz", what, how))
    if files is not None and not files:
        what = "images of IU X-Ray: the PNG files that NLMCXR_png.tgz unpacks to"
        needed.append(Needed(raw_dir / "NLMCXR_png" / "*.png", what, how))
    require(needed)
    return archives, tables, projections


def _of_images(study: RawStudy) -> list[RawStudy]:
    """A study of every image, called as Open-i calls it; of R2Gen's archive by study and number."""
    images = []
    for path in study.images:
        name = _ENDINGS.sub("", PurePosixPath(path).name)
        identifier = f"CXR{_key(name)}" if _IMAGE_ID.fullmatch(name) else f"{study.id}-{name}"
        images.append(replace(study, id=identifier, images=(path,)))
    return images


def _image_files(raw_dir: Path) -> tuple[dict[str, str], list[str]]:
    """Every image below a folder, and a note if several have one name.

    Returns:
        Path below ``raw_dir`` by a name that does not depend on the packaging, and the lines of the note.
    """
    files: dict[str, str] = {}
    others: list[str] = []
    found = [
        (_SUFFIXES.index(path.suffix.lower()), path) for path in raw_dir.rglob("*") if path.suffix.lower() in _SUFFIXES
    ]
    for _, path in sorted(found):
        name = _ENDINGS.sub("", path.name)
        in_r2gen_archive = re.fullmatch(r"\d+", name) and _IMAGE_ID.fullmatch(path.parent.name)
        key = f"{_key(path.parent.name)}/{name}" if in_r2gen_archive else _key(name)
        place = path.relative_to(raw_dir).as_posix()
        if files.setdefault(key, place) != place:
            others.append(f"{files[key]} is read, not {place}")
    if not others:
        return files, []
    return files, [
        f"{len(others)} images lie in several places, of which the first by name is read (first: {others[0]})"
    ]


def _study(
    report: _Report,
    options: RawOptions,
    views: dict[str, str],
    files: dict[str, str] | None,
    absent: dict[str, list[str]],
) -> RawStudy:
    """A study of a report, refused if it is longer than any; images that are not there are added to ``absent``."""
    first = _ENDINGS.sub("", report.images[0]) if report.images else ""
    identifier = first.rsplit("-", 1)[0] if first else f"CXR{report.number}"  # R2Gen's
    identifier = identifier if identifier.startswith("CXR") else f"CXR{identifier}"
    patient, found = f"CXR{report.number}", []
    lacking = absent.setdefault(patient, [])
    for position, image in enumerate(report.images):
        places = (_key(image), f"{_key(identifier)}/{position}")
        path = image if files is None else next((files[place] for place in places if place in files), None)
        if path is None:
            lacking.append(image)
        else:
            found.append((views.get(_key(image)) != FRONTAL, position, path))
    text = unmask(join_sections(report.findings, report.impression, options.section), options.xxxx)
    refuse_odd(f"report CXR{report.number} of IU X-Ray", options.section, text)
    return RawStudy(
        id=identifier,
        patient=patient,
        images=tuple(path for _, _, path in sorted(found)),
        report="" if says_nothing(text) else text,
    )


def _without_folders(name: str) -> str:
    """The file of a path, unless the path leads out of the folder of the films or begins elsewhere."""
    *folders, file = re.split(r"[/\\]", name)
    return name if {"..", ""} & {*folders} else file


def _checked(name: str, source: Path) -> str:
    """The name of an image, which becomes a path."""
    if not re.fullmatch(r"[\w-][\w.-]*", name, re.ASCII):
        raise UserError(f"{source} names an image {quoted(name)}, expected letters, digits, - and _: copy it again")
    return name


def _read_archive(source: Path) -> Iterator[_Report]:
    """The reports of Open-i's archive of XML files; UserError if one is damaged or there twice."""
    seen: dict[str, str] = {}
    for name, content in iterate_texts(source, ".xml"):
        if b"<!ENTITY" in content.replace(
            b"\0", b""
        ):  # of UTF-16; an entity may stand for a text of millions of characters
            raise UserError(
                f"{name} in {source} declares entities, expected a report as Open-i publishes it: copy the archive again"
            )
        try:
            root = ElementTree.fromstring(content)
        except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two of an unknown encoding
            raise UserError(f"{name} in {source} is not XML: copy the archive again") from error
        texts: dict[str, str] = {}
        for node in root.iter("AbstractText"):  # several of one name are parts of one section
            label, text = node.get("Label", "").strip().upper(), "".join(node.itertext()).strip()
            texts[label] = " ".join(dict.fromkeys(part for part in (texts.get(label), text) if part))
        uid_node = root.find("uId")
        identifier = "" if uid_node is None else uid_node.get("id", "")
        if not re.fullmatch(r"CXR[0-9]{1,9}", identifier):
            raise UserError(f"{name} in {source} names no report (uId): copy the archive again")
        number = identifier.removeprefix("CXR")
        if number in seen:
            raise UserError(f"{name} and {seen[number]} in {source} are both report CXR{number}: remove one of them")
        seen[number] = name
        images = tuple(f"{_checked(image.get('id', ''), source)}.png" for image in root.iter("parentImage"))
        yield _Report(number, images, texts.get("FINDINGS", ""), texts.get("IMPRESSION", ""))


def _read_kaggle(table: Path, views: dict[str, str]) -> Iterator[_Report]:
    """The reports of Kaggle's table; UserError if a ``uid`` is no number or there twice."""
    images: dict[str, list[str]] = {}
    for key in sorted(views):  # the order of the reports in Open-i's archive, by which R2Gen's images are numbered
        images.setdefault(key.split("_")[0], []).append(f"{key}.dcm.png")
    seen: set[str] = set()
    for row in read_table(table, ("uid", "findings", "impression")):
        number = re.sub(r"\.0+$", "", row["uid"].strip())  # as pandas writes it beside a gap
        if not re.fullmatch(r"\d{1,9}", number, re.ASCII) or number in seen:
            what = "twice" if number in seen else "which is no number"
            raise UserError(f"{table} has the uid {quoted(number)} {what}: copy the table again")
        seen.add(number)
        yield _Report(number, tuple(images.get(number, ())), row["findings"].strip(), row["impression"].strip())


def _read_views(table: Path) -> dict[str, str]:
    """Projection of every image of Kaggle's table, in small letters; a folder before a name is none of ours."""
    return {
        _key(_checked(_without_folders(row["filename"].strip()), table)): row["projection"].strip().casefold()
        for row in read_table(table, ("uid", "filename", "projection"))
    }


def _key(name: str) -> str:
    """Name of an image or study that the packagings share: ``1_IM-0001-3001``."""
    name = _ENDINGS.sub("", name)
    match = _IMAGE_ID.fullmatch(name)
    return f"{match[1]}_{match[2]}" if match else name


def _patient(identifier: str) -> str:
    """What ids of R2Gen and Open-i, Kaggle's file names and its ``uid`` have in common."""
    match = re.match(r"(?:CXR)?(\d+)(?:\.0+)?(?:_|$)", identifier)
    return f"CXR{match[1]}" if match else identifier
