"""modules/preparation/raw/mimic_cxr.py: PhysioNet's trees, written here in their layout with invented reports."""

import gzip
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from programs import call, refused
from report_shapes import SHAPES
from test_raw_images import write_dicom

import main_prepare
from modules.corpus.annotations import check_images, read_annotation
from modules.labels import CHEXPERT_CONDITIONS
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw import mimic_cxr
from modules.preparation.raw.acceptance import refuse_links
from modules.preparation.raw.mimic_cxr import read_mimic_cxr

NAMES = list(SHAPES)
SPLITS = ("train", "validate", "test")
VIEWS = ("LATERAL", "", "AP", "PA")  # of the images of a study, in the order of the table
TREES = "mimic-cxr-jpg/2.0.0", "mimic-cxr/2.0.0"


def options(**changes):
    values = {"section": "findings", "unnamed": True, "items": "study", "chexpert_labels": False, "split_file": None}
    return RawOptions(**{**values, **changes})


def numbers(i):
    """Group, subject and study of the i-th shape."""
    return f"p1{i % 3}", f"1{i % 3}{i:06d}", f"5{i:07d}"


def write_gzip(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") as file:
        file.write("\n".join(lines) + "\n")


def write_tree(root, suffix="jpg"):
    """The two trees that PhysioNet publishes, one study for each shape of a report.

    With ``"dcm"`` the images are DICOM files beside the reports, and of mimic-cxr-jpg there are only the tables.
    """
    jpg, reports = (root / tree for tree in TREES)
    images = jpg if suffix == "jpg" else reports
    split, metadata = ["dicom_id,study_id,subject_id,split"], ["dicom_id,subject_id,study_id,ViewPosition,Rows"]
    names = [name.title() for name in CHEXPERT_CONDITIONS]
    chexpert = [f"subject_id,study_id,{','.join(names)}"]
    for i, name in enumerate(NAMES):
        group, subject, study = numbers(i)
        report = reports / "files" / group / f"p{subject}" / f"s{study}.txt"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_bytes(SHAPES[name][0].encode())
        folder = images / "files" / group / f"p{subject}" / f"s{study}"
        folder.mkdir(parents=True)
        for k, view in enumerate(VIEWS):
            path = folder / f"{i:04x}-{k}.{suffix}"
            if suffix == "dcm":
                write_dicom(path, np.tile(np.arange(30) * (k + 1), (24, 1)))
            else:
                Image.new("L", (30, 24), 40 * k).save(path)
            split.append(f"{i:04x}-{k},{study},{subject},{SPLITS[i % 3]}")
            metadata.append(f"{i:04x}-{k},{subject},{study},{view},24")
        chexpert.append(f"{subject},{study},1.0,0.0,-1.0" + "," * 11)
    write_gzip(jpg / "mimic-cxr-2.0.0-split.csv.gz", split)
    write_gzip(jpg / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    write_gzip(jpg / "mimic-cxr-2.0.0-chexpert.csv.gz", chexpert)
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("physionet"))


def expected(section):
    """Text by study id, for the shapes that have the section."""
    texts = {}
    for i, name in enumerate(NAMES):
        findings, impression, unnamed = SHAPES[name][1:]
        unnamed = "" if impression else unnamed  # a report that names one section hides no other under no header
        wanted = {"findings": [findings or unnamed], "impression": [impression]}.get(
            section, [findings or unnamed, impression]
        )
        text = " ".join(dict.fromkeys(part for part in wanted if part))
        if text:
            texts[f"s{numbers(i)[2]}"] = text
    return texts


@pytest.mark.parametrize("section", ["findings", "impression", "both"])
def test_the_wanted_section_of_every_report(tree, section):
    dataset = read_mimic_cxr(tree, options(section=section))
    assert {study.id: study.report for study in dataset.studies} == expected(section)
    assert len(dataset.studies) + len(dataset.dropped) == len(NAMES)
    lacking = "findings and no impression" if section == "both" else section
    assert set(dataset.dropped.values()) == {f"no {lacking} in the report"}


def test_official_split_patients_and_order(tree):
    dataset = read_mimic_cxr(tree, options())
    official = {f"s{numbers(i)[2]}": ("train", "val", "test")[i % 3] for i in range(len(NAMES))}
    assert all(study.split == official[study.id] for study in dataset.studies)
    assert all(study.patient == study.images[0].split("/")[1] for study in dataset.studies)
    places = [(["train", "val", "test"].index(study.split), study.patient, study.id) for study in dataset.studies]
    assert places == sorted(places)


def test_frontal_views_come_first_and_paths_are_those_of_physionet(tree):
    study = read_mimic_cxr(tree, options()).studies[0]
    assert study.images == tuple(f"p10/p10000000/s50000000/0000-{k}.jpg" for k in (3, 2, 1, 0))


def test_dicom_files_beside_the_reports_are_read_and_copied(tree, tmp_path, capsys):
    raw = write_tree(tmp_path / "raw", "dcm")
    studies, as_jpg = (read_mimic_cxr(root, options()).studies for root in (raw, tree))
    assert [study.images for study in studies] == [
        tuple(path.replace(".jpg", ".dcm") for path in study.images) for study in as_jpg
    ]
    places = [
        "--dataset_name",
        "mimic_cxr",
        "--ann_path",
        tmp_path / "annotation.json",
        "--image_dir",
        tmp_path / "images",
    ]
    words = [
        *places,
        "--raw_dir",
        raw,
        "--raw_step",
        "images",
        "--device",
        "cpu",
        "--num_workers",
        1,
        "--items",
        "study",
    ]
    with pytest.raises(SystemExit):
        call(main_prepare, *words, "--resize", 0)
    assert "the raw images are DICOM files, which training does not read: give --resize 256" in capsys.readouterr().err
    call(main_prepare, *words, "--resize", 12)
    annotation = read_annotation(tmp_path / "annotation.json")
    check_images([study for split in annotation.values() for study in split], tmp_path / "images")
    assert [study.id for split in annotation.values() for study in split] == [study.id for study in studies]
    for path in annotation["train"][0].image_path:
        with Image.open(tmp_path / "images" / path) as image:
            assert (image.mode, image.size) == ("L", (15, 12))
            assert image.getextrema()[0] < 20 < 235 < image.getextrema()[1]


def test_an_item_for_every_image_as_in_r2gen(tree):
    studies = read_mimic_cxr(tree, options()).studies
    items = read_mimic_cxr(tree, options(items="image")).studies
    assert len(items) == len(VIEWS) * len(studies)
    assert [item.id for item in items[:4]] == ["0000-3", "0000-2", "0000-1", "0000-0"]
    assert all(len(item.images) == 1 and item.images[0].endswith(f"/{item.id}.jpg") for item in items)
    assert {item.report for item in items} == {study.report for study in studies}


def test_the_zip_of_reports_is_read_unopened(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    reports = root / TREES[1] / "files"
    with zipfile.ZipFile(root / TREES[1] / "mimic-cxr-reports.zip", "w") as archive:
        for path in sorted(reports.rglob("*.txt")):
            archive.write(path, path.relative_to(reports.parent))
    shutil.rmtree(reports)
    assert read_mimic_cxr(root, options()).studies == read_mimic_cxr(tree, options()).studies


def test_a_zip_beside_its_tree_is_the_one_that_is_read_and_named(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    beside = root / TREES[1] / "mimic-cxr-reports.zip"
    first = next((root / TREES[1] / "files").rglob("*.txt"))
    with zipfile.ZipFile(beside, "w") as archive:
        archive.writestr(first.relative_to(root / TREES[1]).as_posix(), "FINDINGS: The heart is as the zip has it.")
    dataset = read_mimic_cxr(root, options())
    assert [study.report for study in dataset.studies] == ["The heart is as the zip has it."]
    assert f"reports from {beside}" in dataset.notes


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        *("FINDINGS: By a protégé.".encode(name) for name in ("cp1252", "utf-16", "utf-8-sig")),
        b"FINDINGS: By \x81\x8d.",
    ],
)
def test_a_report_in_another_encoding_is_read_or_refused_and_never_changed(tree, tmp_path, packed, content):
    root = shutil.copytree(tree, tmp_path / "copy")
    group, subject, study = numbers(0)
    path = root / TREES[1] / "files" / group / f"p{subject}" / f"s{study}.txt"
    path.write_bytes(content)
    if packed:
        with zipfile.ZipFile(root / TREES[1] / "mimic-cxr-reports.zip", "w") as archive:
            archive.write(path, path.relative_to(root / TREES[1]))
    if b"\x81" in content:
        with pytest.raises(UserError, match=f"s{study}.txt is neither whole UTF-8"):
            read_mimic_cxr(root, options())
    else:
        (found,) = [one.report for one in read_mimic_cxr(root, options()).studies if one.id == f"s{study}"]
        assert found == "By a protégé."


def test_text_without_header_can_be_refused(tree):
    dataset = read_mimic_cxr(tree, options(unnamed=False))
    with_header = {f"s{numbers(i)[2]}" for i, name in enumerate(NAMES) if SHAPES[name][1]}
    assert {study.id for study in dataset.studies} == with_header
    assert any("0 under none" in note for note in dataset.notes) or "of 0 under none" in " ".join(dataset.notes)


def test_images_that_were_not_downloaded_are_left_out(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    folder = root / TREES[0] / "files"
    shutil.rmtree(folder / "p11")
    (folder / "p10/p10000000/s50000000/0000-3.jpg").unlink()
    dataset = read_mimic_cxr(root, options())
    assert dataset.studies[0].images[0].endswith("0000-2.jpg")
    assert all(study.images[0].startswith(("p10", "p12")) for study in dataset.studies)
    assert sum(why == "no image file" for why in dataset.dropped.values()) > 10


def test_chexpert_labels(tree):
    study = read_mimic_cxr(tree, options(chexpert_labels=True)).studies[0]
    assert study.labels == (1, 2, 3) + (0,) * 11
    assert read_mimic_cxr(tree, options()).studies[0].labels is None


def test_everything_missing_is_listed_at_once(tmp_path):
    with pytest.raises(UserError, match="4 files or folders are missing") as caught:
        read_mimic_cxr(tmp_path, options())
    for words in ("split.csv.gz", "metadata.csv.gz", "mimic-cxr-reports.zip", "p10", "PhysioNet account"):
        assert words in str(caught.value)


def test_a_tree_of_reports_alone_lacks_its_images(tmp_path):
    """The folder of a patient was there, with his reports: it ended in an IndexError."""
    write_tree(tmp_path)
    for film in list(tmp_path.rglob("*.jpg")):
        film.rename(film.with_suffix(".txt"))
    with pytest.raises(UserError, match=r"(?s)1 file or folder is missing.*DICOM files of mimic-cxr"):
        read_mimic_cxr(tmp_path, options())


@pytest.mark.parametrize("suffix", ["png", "JPG", "jpeg", "JPEG", "Jpg", "jfif"])
@pytest.mark.parametrize("every", [1, 3])
def test_images_under_another_suffix_are_the_images(tree, tmp_path, suffix, every):
    """Smaller copies are often PNG files, and a part of them may be named otherwise: each was taken for absent."""
    root = shutil.copytree(tree, tmp_path / "copy")
    for film in sorted(root.rglob("*.jpg"))[::every]:
        film.rename(film.with_suffix(f".{suffix}"))
    there, as_published = (read_mimic_cxr(folder, options()) for folder in (root, tree))
    assert there.looked_for == []
    assert all((there.image_root / image).is_file() for study in there.studies for image in study.images)
    names = [
        [[image.rpartition(".")[0] for image in study.images] for study in dataset.studies]
        for dataset in (there, as_published)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize("place", ["mimic_512", "MIMIC-CXR-JPG/images-resized/x"])
def test_the_trees_are_found_under_any_name(tree, tmp_path, place):
    root = shutil.copytree(tree, tmp_path / "copy")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / TREES[0] / "files").rename(root / place)
    (root / TREES[1] / "files").rename(root / TREES[1] / "reports")
    assert read_mimic_cxr(root, options()).studies == read_mimic_cxr(tree, options()).studies


def test_a_few_images_among_many_reports_are_found(tree, tmp_path, monkeypatch):
    """Only the first patients of two groups were looked at: a small download below the unpacked reports was said to be none."""
    monkeypatch.setattr(mimic_cxr, "QUICK", 1)
    root = shutil.copytree(tree, tmp_path / "copy")
    images, reports = (root / place / "files" for place in TREES)
    shutil.copytree(reports, images, dirs_exist_ok=True)
    for film in list(images.rglob("*.jpg")):
        film.unlink() if "p12" not in film.parts else None
    for folder in (images / "p10", images / "p11"):
        (folder / "p1").mkdir()  # looked at first, or one of the others, none of which has an image
    studies = read_mimic_cxr(root, options()).studies
    assert {study.patient[:3] for study in studies} == {"p12"}


def test_of_two_trees_of_images_the_one_that_is_read_is_said(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    first, second = root / TREES[0] / "files", root / "resized/smaller/files"
    shutil.copytree(first, second)
    assert (
        f"images from {first}; {second} holds images too, which are not read" in read_mimic_cxr(root, options()).notes
    )


def test_a_zip_that_windows_packed_holds_the_same_reports(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    reports = root / TREES[1] / "files"
    with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w") as archive:
        for path in sorted(reports.rglob("*.txt")):
            entry = zipfile.ZipInfo("x")
            entry.filename = str(path.relative_to(reports.parent)).replace("/", "\\")
            archive.writestr(entry, path.read_bytes())
    shutil.rmtree(reports)
    assert read_mimic_cxr(root, options()).studies == read_mimic_cxr(tree, options()).studies


def rewritten(root, name, change):
    """A table of the tree, its lines changed."""
    table = root / TREES[0] / f"mimic-cxr-2.0.0-{name}.csv.gz"
    head, *rows = gzip.decompress(table.read_bytes()).decode().splitlines()
    write_gzip(table, change(head, rows))


def test_tables_that_pandas_or_excel_wrote_anew_say_the_same(tree, tmp_path):
    """Numbers with .0, s and p before them, states without it, other separators and headings in small letters."""
    root = shutil.copytree(tree, tmp_path / "copy")

    def ids(head, rows):
        cells = (row.split(",") for row in rows)
        return [head, *(f"{image},s{study},p{patient},{split}" for image, study, patient, split in cells)]

    def states(head, rows):
        rows = [row.replace("-1.0", "-1").replace("1.0", "1").replace("0.0", "-0.0") for row in rows]
        cells = [[cell or "nan" for cell in row.split(",")] for row in rows]
        return [head.lower().replace(",", ";"), *(";".join([c[0], f"{c[1]}.0", *c[2:]]) for c in cells)]

    rewritten(root, "split", ids)
    rewritten(root, "chexpert", states)
    wanted = options(chexpert_labels=True)
    assert read_mimic_cxr(root, wanted).studies == read_mimic_cxr(tree, wanted).studies


@pytest.mark.parametrize("cell", ["2.0", "yes", "-", "0.5"])
def test_a_label_that_is_none_is_named(tree, tmp_path, cell):
    root = shutil.copytree(tree, tmp_path / "copy")
    rewritten(root, "chexpert", lambda head, rows: [head, *(row.replace("-1.0", cell) for row in rows)])
    with pytest.raises(UserError, match=f"study 50000000: the label '{cell}' is none of -1.0, 0.0, 1.0 and empty"):
        read_mimic_cxr(root, options(chexpert_labels=True))


def test_a_split_file_replaces_the_official_split(tree, tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("id,split\n0000-3,test\n0003-3,validate\n")
    dataset = read_mimic_cxr(tree, options(items="image", split_file=path))
    assert [(study.id, study.split) for study in dataset.studies] == [("0000-3", "test"), ("0003-3", "val")]
    with pytest.raises(UserError, match=r"split\.csv names images, and the items are studies: give --items image"):
        read_mimic_cxr(tree, options(items="study", split_file=path))


@pytest.mark.parametrize("items", ["study", "image"])
@pytest.mark.parametrize("written", ["s{}", "{}", "{}.0"])
def test_a_split_file_of_studies_splits_studies_and_their_images(tree, tmp_path, items, written):
    """Tables of studies were refused with the ids of images, and numbers without the s of the files."""
    path = tmp_path / "split.csv"
    rows = [f"{written.format(numbers(i)[2])},{split}" for i, split in ((0, "test"), (3, "validate"))]
    path.write_text("study_id,split\n" + "\n".join(rows) + "\n")
    studies = read_mimic_cxr(tree, options(items=items, split_file=path)).studies
    assert {(study.patient, study.split) for study in studies} == {("p10000000", "test"), ("p10000003", "val")}
    assert len(studies) == (2 if items == "study" else 2 * len(VIEWS))


@pytest.mark.parametrize("items", ["study", "image"])
def test_the_official_table_may_be_the_split_file(tree, items):
    table = tree / TREES[0] / "mimic-cxr-2.0.0-split.csv.gz"
    given = read_mimic_cxr(tree, options(items=items, split_file=table)).studies
    official = read_mimic_cxr(tree, options(items=items)).studies
    assert {(study.images, study.split) for study in given} == {(study.images, study.split) for study in official}


def test_a_damaged_table_is_named(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    table = root / TREES[0] / "mimic-cxr-2.0.0-split.csv.gz"
    table.write_bytes(table.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"split\.csv\.gz cannot be unpacked"):
        read_mimic_cxr(root, options())
    write_gzip(table, ["dicom_id,study_id,split"])
    with pytest.raises(UserError, match="has no column subject_id"):
        read_mimic_cxr(root, options())


def test_a_download_by_wget_is_found_from_any_folder_above_it(tmp_path):
    root = tmp_path / "physionet.org" / "files"
    write_tree(root)
    for folder in (root, root.parent, tmp_path):
        assert len(read_mimic_cxr(folder, options()).studies) == len(expected("findings"))


@pytest.mark.parametrize("link", ["p10/p10000000/s50000000/0000-0.jpg", "p10/p10000000/s50000000", "p10"])
def test_images_that_links_lead_out_are_refused_before_anything_is_copied(tmp_path, capsys, link):
    raw = write_tree(tmp_path / "raw")
    inside, outside = raw / TREES[0] / "files" / link, tmp_path / "outside"
    shutil.move(inside, outside)
    inside.symlink_to(outside)
    places = ["--ann_path", tmp_path / "annotation.json", "--image_dir", tmp_path / "images"]
    argv = ["--dataset_name", "mimic_cxr", *places, "--raw_dir", raw, "--raw_step", "images", "--resize", 16]
    refused(capsys, "images are links, or below links, that lead out of", main_prepare, *argv)
    assert not (tmp_path / "images").exists()


def test_the_whole_tree_may_be_a_link(tmp_path):
    raw = write_tree(tmp_path / "raw")
    files = raw / TREES[0] / "files"
    shutil.move(files, tmp_path / "elsewhere")
    files.symlink_to(tmp_path / "elsewhere")
    dataset = read_mimic_cxr(raw, options())
    refuse_links(dataset)
    assert len(dataset.studies) == len(expected("findings"))


def change(table, old, new):
    """Rows of a packed table with something else in them."""
    with gzip.open(table, "rt") as file:
        lines = file.read().splitlines()
    write_gzip(table, new(lines) if callable(new) else [line.replace(old, new) for line in lines])


def changed(tree, folder, name, old, new):
    root = shutil.copytree(tree, folder / "changed")
    change(root / TREES[0] / f"mimic-cxr-2.0.0-{name}.csv.gz", old, new)
    return root


def cut(lines):
    return lines[:-9]


def again(**changes):
    """The first row once more, with changes."""

    def add(lines):
        row = lines[1]
        for old, new in changes.items():
            row = row.replace(old, new)
        return [*lines, row]

    return add


@pytest.mark.parametrize(
    ("name", "new", "said"),
    [
        ("metadata", cut, r"metadata\.csv\.gz has no row of 9 of the \d+ images of .*split\.csv\.gz, first \w+-\d, so that a lateral film"),
        ("metadata", again(LATERAL="PA"), "gives image 0000-0 to two views, 'LATERAL' and 'PA'"),
        ("split", again(train="test"), "gives study 50000000 to two splits, 'train' and 'test'"),
        ("split", again(**{"10000000": "10000009"}), "gives study 50000000 to two patients, '10000000' and '10000009'"),
        ("split", again(**{"50000000": "50000999"}), "gives image 0000-0 to two studies, '50000000' and '50000999'"),
        ("chexpert", again(**{",1.0,": ",0.0,"}), "has two rows of study 50000000, which differ"),
        ("chexpert", lambda lines: lines[:1], r"has no row of the \d+ studies: give the table of this data set"),
    ],
)  # fmt: skip
def test_tables_that_contradict_themselves_or_another_are_refused(tree, tmp_path, name, new, said):
    """The last row won without a word, and a film without a row was one of an unknown view: a lateral one was read first."""
    with pytest.raises(UserError, match=said):
        read_mimic_cxr(changed(tree, tmp_path, name, "", new), options(chexpert_labels=True))


def test_a_row_that_stands_twice_is_one_image(tree, tmp_path):
    dataset = read_mimic_cxr(changed(tree, tmp_path, "split", "", again()), options(items="image"))
    assert dataset.studies == read_mimic_cxr(tree, options(items="image")).studies
    assert any("1 rows of" in note and "stand there twice" in note for note in dataset.notes)


def test_what_the_tables_lack_is_said(tree, tmp_path):
    assert not any("warning" in note for note in read_mimic_cxr(tree, options(chexpert_labels=True)).notes)
    root = changed(tree, tmp_path, "metadata", "", lambda lines: [line.replace(",PA,", ",,") for line in lines])
    change(root / TREES[0] / "mimic-cxr-2.0.0-metadata.csv.gz", ",AP,", ",,")
    for name in ("split", "chexpert"):
        change(root / TREES[0] / f"mimic-cxr-2.0.0-{name}.csv.gz", "", cut)
    notes = "\n".join(read_mimic_cxr(root, options(chexpert_labels=True)).notes)
    images = len(VIEWS) * len(NAMES)
    assert f"warning: {(images - 9) * 3 // 4:,} of {images - 9:,} images have no ViewPosition" in notes
    assert f"9 images of {root}" in notes  # of the metadata
    assert f"2 reports are of no study of {root}" in notes  # nine images are two studies and one of a third
    assert f"warning: 7 of {len(NAMES) - 2} studies have no row in {root}" in notes


def test_two_tables_of_one_name_must_say_the_same(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    table = root / TREES[0] / "mimic-cxr-2.0.0-split.csv.gz"
    beside = root / "old" / "mimic-cxr-2.1.0-split.csv"
    beside.parent.mkdir()
    beside.write_text(gzip.decompress(table.read_bytes()).decode())
    assert read_mimic_cxr(root, options()).studies == read_mimic_cxr(tree, options()).studies
    beside.write_text(beside.read_text().replace("validate", "train"))
    with pytest.raises(UserError, match=r"are two split tables, which differ in \d+ rows: leave the one"):
        read_mimic_cxr(root, options())


def test_a_zip_without_reports_is_no_study_that_lacks_one(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    with zipfile.ZipFile(root / TREES[1] / "mimic-cxr-reports.zip", "w") as archive:
        archive.writestr("files/readme.txt", "Reports follow.")
    with pytest.raises(UserError, match=r"reports\.zip has 0 files with a name as s50414267\.txt, none of them of the"):
        read_mimic_cxr(root, options())


def test_a_report_longer_than_any_is_refused(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "copy")
    report = next((root / TREES[1]).rglob("s*.txt"))
    report.write_text("FINDINGS: " + "Clear lungs. " * 20000)
    with pytest.raises(UserError, match=rf"{report.name} in .*: the findings has 259,999 characters, expected at most"):
        read_mimic_cxr(root, options())
