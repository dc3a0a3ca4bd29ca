"""modules/preparation/raw/iu_xray.py: Open-i's XML archive and the Kaggle tables, invented here; the real ones if they are there."""

import io
import json
import shutil
import tarfile
from itertools import pairwise

import pytest
from PIL import Image
from programs import call

import main_prepare
from modules.corpus.annotations import SPLITS, read_annotation
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.iu_xray import read_iu_xray

REPORTS = {  # number -> images, findings, impression
    1: (["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"], "Heart size is  normal. XXXX lungs.", "Normal chest x-XXXX."),
    2: (["CXR2_IM-0652-1001"], "Clear lungs.", ""),
    3: (["CXR3_IM-1384-1001", "CXR3_IM-1384-2001"], "", "No disease."),
    10: ([], "No effusion.", "Normal."),
    11: (["CXR11_IM-0067-1001-0001", "CXR11_IM-0067-1001-0002"], "XXXX XXXX. No edema.", "Normal."),
}


def options(**changes):
    return RawOptions(**{"section": "findings", "xxxx": "keep", "split_file": None, **changes})


def xml(number, images, findings, impression):
    sections = f'<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">{impression}</AbstractText>'
    parents = "".join(f'<parentImage id="{image}"/>' for image in images)
    return (
        f'<?xml version="1.0"?><eCitation><uId id="CXR{number}"/><Abstract>{sections}</Abstract>{parents}</eCitation>'
    )


def write_archive(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "NLMCXR_reports.tgz", "w:gz") as archive:
        for number, report in REPORTS.items():
            content = xml(number, *report).encode()
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        beside = tarfile.TarInfo("ecgen-radiology/._1.xml")  # as macOS puts one beside every file
        beside.size = 4
        archive.addfile(beside, io.BytesIO(b"\0\5\x16\7"))
    return folder


def write_kaggle(folder):
    folder.mkdir(parents=True, exist_ok=True)
    reports, projections = ["uid,MeSH,findings,impression"], ["uid,filename,projection"]
    for number, (images, findings, impression) in REPORTS.items():
        reports.append(f'{number},normal,"{findings}","{impression}"')
        for k, image in enumerate(images):
            name = image.removeprefix("CXR").replace("1_1_IM", "1_IM")
            projections.append(f"{number},{name}.dcm.png,{('Lateral', 'Frontal')[k % 2]}")
    (folder / "indiana_reports.csv").write_text("\n".join(reports) + "\n")
    (folder / "indiana_projections.csv").write_text("\n".join(projections) + "\n")
    return folder


def write_images(folder, packaging):
    """The images in one of the three packagings."""
    for images, _, _ in REPORTS.values():
        for k, image in enumerate(images):
            path = {
                "open-i": folder / "NLMCXR_png" / f"{image}.png",
                "kaggle": folder / "images" / f"{image.removeprefix('CXR').replace('1_1_IM', '1_IM')}.dcm.png",
                "r2gen": folder / "images" / image.rsplit("-", 1)[0] / f"{k}.png",
            }[packaging]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), k).save(path)


def by_id(dataset):
    return {study.id: study for study in dataset.studies}


def test_the_archive_is_read_unopened_and_every_report_is_accounted_for(tmp_path):
    dataset = read_iu_xray(write_archive(tmp_path), options(), with_images=False)
    studies = by_id(dataset)
    assert list(studies) == ["CXR1_1_IM-0001", "CXR2_IM-0652", "CXR11_IM-0067-1001"]
    assert dataset.dropped == {"CXR3_IM-1384": "no findings in the report", "CXR10": "no image"}
    assert studies["CXR1_1_IM-0001"].report == "Heart size is  normal. XXXX lungs."  # to the letter
    assert studies["CXR1_1_IM-0001"].images == ("CXR1_1_IM-0001-3001.png", "CXR1_1_IM-0001-4001.png")
    assert studies["CXR1_1_IM-0001"].patient == "CXR1"


def test_the_unpacked_archive_gives_the_same(tmp_path):
    write_archive(tmp_path / "packed")
    (tmp_path / "open/ecgen-radiology").mkdir(parents=True)
    for number, report in REPORTS.items():
        (tmp_path / f"open/ecgen-radiology/{number}.xml").write_text(xml(number, *report))
    packed, unpacked = (read_iu_xray(tmp_path / name, options(), with_images=False) for name in ("packed", "open"))
    assert packed.studies == unpacked.studies


def test_the_kaggle_tables_put_the_frontal_image_first(tmp_path):
    studies = by_id(read_iu_xray(write_kaggle(tmp_path), options(), with_images=False))
    assert studies["CXR1_IM-0001"].images == ("1_IM-0001-4001.dcm.png", "1_IM-0001-3001.dcm.png")
    write_archive(tmp_path)
    studies = by_id(read_iu_xray(tmp_path, options(), with_images=False))  # the archive, with the views of the table
    assert studies["CXR1_1_IM-0001"].images == ("CXR1_1_IM-0001-4001.png", "CXR1_1_IM-0001-3001.png")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("saved", ["as published", "1.0", "images/1_IM", r"images\1_IM"])
def test_kaggles_tables_as_pandas_and_excel_save_them_are_the_same(tmp_path, encoding, saved):
    """A uid was no number, a folder before a name was refused, and a table in another encoding was taken for one that is cut off."""
    published = by_id(read_iu_xray(write_kaggle(tmp_path / "a"), options(), with_images=False))
    for path in write_kaggle(tmp_path / "b").iterdir():
        heading, *rows = path.read_text().splitlines()
        if saved == "1.0":
            rows = [row.replace(",", ".0,", 1) for row in rows]
        elif path.name == "indiana_projections.csv" and saved != "as published":
            rows = [row.replace(",", f",{saved[:7]}", 1) for row in rows]
        rows[0] = rows[0].replace("Heart size", "Heart size 5 cm² ")
        path.write_bytes(("\n".join([heading, *rows])).encode(encoding))
    again = by_id(read_iu_xray(tmp_path / "b", options(), with_images=False))
    assert "Heart size 5 cm² " in again["CXR1_IM-0001"].report
    assert {name: study.images for name, study in again.items()} == {n: s.images for n, s in published.items()}
    assert again["CXR2_IM-0652"] == published["CXR2_IM-0652"]


@pytest.mark.parametrize("uid", ["1.5", "x1", "", "1e3", "-1"])
def test_a_uid_that_is_no_whole_number_is_refused(tmp_path, uid):
    table = write_kaggle(tmp_path) / "indiana_reports.csv"
    table.write_text(table.read_text().replace("\n1,", f"\n{uid},"))
    with pytest.raises(UserError, match="which is no number"):
        read_iu_xray(tmp_path, options(), with_images=False)


@pytest.mark.parametrize("packaging", ["open-i", "kaggle", "r2gen"])
def test_images_are_found_in_every_packaging(tmp_path, packaging):
    write_images(write_archive(tmp_path), packaging)
    dataset = read_iu_xray(tmp_path, options())
    for study in dataset.studies:
        number = int(study.patient.removeprefix("CXR"))
        assert len(study.images) == len(REPORTS[number][0])
        shades = [Image.open(dataset.image_root / image).getpixel((0, 0)) for image in study.images]
        assert shades == list(range(len(shades)))  # in Open-i's order


@pytest.mark.parametrize(
    ("how", "first", "last"),
    [
        ("keep", "Heart size is  normal. XXXX lungs.", "XXXX XXXX. No edema."),
        ("word", "Heart size is normal. lungs.", "No edema."),
        ("sentence", "Heart size is  normal.", "No edema."),
    ],
)
def test_xxxx(tmp_path, how, first, last):
    studies = read_iu_xray(write_archive(tmp_path), options(xxxx=how), with_images=False).studies
    assert (studies[0].report, studies[-1].report) == (first, last)


def test_sections(tmp_path):
    write_archive(tmp_path)
    both = read_iu_xray(tmp_path, options(section="both"), with_images=False)
    assert by_id(both)["CXR1_1_IM-0001"].report == "Heart size is  normal. XXXX lungs. Normal chest x-XXXX."
    assert by_id(both)["CXR3_IM-1384"].report == "No disease."
    assert set(both.dropped) == {"CXR10"}


def test_several_findings_of_one_report_are_joined(tmp_path):
    """The last one stood alone before; a name in another case is the same name, and what a mark encloses is text."""
    content = xml(7, ["CXR7_IM-0001-1001"], "The lungs are clear.", "Normal.").replace(
        "</Abstract>", '<AbstractText Label="Findings">The <i>heart</i> is large.</AbstractText></Abstract>'
    )
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology" / "7.xml").write_text(content)
    (study,) = read_iu_xray(tmp_path, options(), with_images=False).studies
    assert study.report == "The lungs are clear. The heart is large."


def test_a_split_file_gives_ids_split_and_order(tmp_path):
    write_archive(tmp_path)
    path = tmp_path / "split.json"
    items = {"train": ["CXR2_IM-0652"], "val": [{"id": "CXR1_IM-0001", "report": "another"}], "test": ["CXR99_IM-1"]}
    path.write_text(json.dumps(items))
    dataset = read_iu_xray(tmp_path, options(split_file=path), with_images=False)
    assert [(study.id, study.split) for study in dataset.studies] == [
        ("CXR2_IM-0652", "train"),
        ("CXR1_IM-0001", "val"),
    ]
    assert dataset.studies[1].report.startswith("Heart size")
    assert any("1 of 3 ids" in note for note in dataset.notes)
    path.write_text(json.dumps({"train": ["CXR77"]}))
    with pytest.raises(UserError, match="none of the 1 ids"):
        read_iu_xray(tmp_path, options(split_file=path), with_images=False)


def test_a_split_file_of_images_takes_no_other_image_of_their_studies(tmp_path):
    """A list of frontal films gave the lateral ones too."""
    write_archive(tmp_path)
    write_images(tmp_path, "open-i")
    path = tmp_path / "split.csv"
    path.write_text("id,split\nCXR1_1_IM-0001-4001,train\n2_IM-0652-1001.dcm.png,test\n")
    dataset = read_iu_xray(tmp_path, options(items="image", split_file=path))
    assert [(study.id, study.split) for study in dataset.studies] == [
        ("CXR1_1_IM-0001-4001", "train"),
        ("2_IM-0652-1001.dcm.png", "test"),
    ]
    assert [len(study.images) for study in dataset.studies] == [1, 1]


@pytest.mark.parametrize("items", ["study", "image"])
def test_a_split_file_may_name_studies_by_kaggles_uid(tmp_path, items):
    write_archive(tmp_path)
    write_images(tmp_path, "open-i")
    path = tmp_path / "split.csv"
    path.write_text("uid,split\n1,train\n2.0,test\n")  # as pandas writes it
    studies = read_iu_xray(tmp_path, options(items=items, split_file=path)).studies
    assert {(study.patient, study.split) for study in studies} == {("CXR1", "train"), ("CXR2", "test")}
    assert len(studies) == (2 if items == "study" else 3)


@pytest.mark.parametrize("packaging", ["open-i", "kaggle", "r2gen"])
def test_an_item_of_every_image(tmp_path, packaging):
    write_archive(tmp_path)
    write_images(tmp_path, packaging)
    studies = read_iu_xray(tmp_path, options(items="image")).studies
    names = {
        1: ("CXR1_IM-0001-3001", "CXR1_IM-0001-4001"), 2: ("CXR2_IM-0652-1001",),
        11: ("CXR11_IM-0067-1001-0001", "CXR11_IM-0067-1001-0002"),
    }  # fmt: skip
    if packaging == "r2gen":
        names = {1: ("CXR1_1_IM-0001-0", "CXR1_1_IM-0001-1"), 2: ("CXR2_IM-0652-0",),
                 11: ("CXR11_IM-0067-1001-0", "CXR11_IM-0067-1001-1")}  # fmt: skip
    assert [(study.id, study.report) for study in studies] == [
        (name, REPORTS[number][1]) for number in names for name in names[number]
    ]
    assert [study.patient for study in studies] == ["CXR1", "CXR1", "CXR2", "CXR11", "CXR11"]
    assert all(len(study.images) == 1 and (tmp_path / study.images[0]).is_file() for study in studies)


def test_a_whole_set_to_be_tested_is_a_flat_list_beside_an_annotation_with_splits(tmp_path):
    raw, out = write_archive(tmp_path / "raw"), tmp_path / "out"
    write_images(raw, "open-i")
    argv = [
        "--dataset_name",
        "iu_xray",
        "--raw_dir",
        raw,
        "--raw_step",
        "images",
        "--resize",
        8,
        "--image_dir",
        out / "images",
    ]
    call(main_prepare, *argv, "--ann_path", out / "annotation.json")
    flat = ["--ann_path", out / "annotation_zero_shot.json", "--items", "image", "--all_test"]
    call(main_prepare, *argv, *flat)
    items = json.loads((out / "annotation_zero_shot.json").read_text())
    assert [item["split"] for item in items] == ["test"] * 5
    annotation = read_annotation(out / "annotation_zero_shot.json")
    assert [len(annotation[split]) for split in SPLITS] == [0, 0, 5]
    assert sum(map(len, read_annotation(out / "annotation.json").values())) == 3
    assert {path.name for path in out.iterdir()} == {
        "annotation.json", "raw.json", "dropped.csv", "annotation_zero_shot.json", "raw_zero_shot.json",
        "dropped_zero_shot.csv", "images",
    }  # fmt: skip
    record = json.loads((out / "raw_zero_shot.json").read_text())
    assert record["items"] == {"train": 0, "val": 0, "test": 5}
    assert "--all_test: all 5 items are to be tested" in record["notes"]
    assert not [note for note in record["notes"] if "split drawn" in note]
    call(main_prepare, *argv, *flat)  # again, over its own
    (out / "raw_zero_shot.json").unlink()
    with pytest.raises(SystemExit):  # an annotation that somebody else made stays
        call(main_prepare, *argv, *flat)


def test_everything_missing_is_listed_at_once(tmp_path):
    with pytest.raises(UserError, match="2 files or folders are missing") as caught:
        read_iu_xray(tmp_path, options())
    assert "NLMCXR_reports.tgz" in str(caught.value)
    assert "NLMCXR_png" in str(caught.value)


def test_images_that_are_not_there_are_counted(tmp_path):
    """A part of the PNG files was taken for all of them, and a zero-shot test was of fewer films without a word."""
    write_archive(tmp_path)
    write_images(tmp_path, "open-i")
    (tmp_path / "NLMCXR_png/CXR1_1_IM-0001-3001.png").unlink()
    (tmp_path / "NLMCXR_png/CXR3_IM-1384-1001.png").unlink()  # of a report without findings, which nobody needs
    dataset = read_iu_xray(tmp_path, options(items="image", all_test=True))
    assert [study.id for study in dataset.studies][:2] == ["CXR1_IM-0001-4001", "CXR2_IM-0652-1001"]
    assert dataset.notes[0].startswith("1 image files were looked for and are not there: ")
    assert dataset.notes[0].endswith("/CXR1_1_IM-0001-3001.png")
    assert dataset.losses()[-1] == "warning: 1 of 5 images (20%) are not there, and no items"


@pytest.mark.parametrize("suffix", [".PNG", ".jpeg", ".JPG", ".dcm.png", ".jpg"])
def test_images_are_found_under_any_suffix(tmp_path, suffix):
    for write, packaging in ((write_archive, "open-i"), (write_kaggle, "kaggle")):
        root = write(tmp_path / packaging)
        write_images(root, packaging)
        for path in list(root.rglob("*.png")):
            path.rename(path.with_name(path.name.removesuffix(".png").removesuffix(".dcm") + suffix))
        studies = read_iu_xray(root, options()).studies
        assert [len(study.images) for study in studies] == [2, 1, 2]


def test_kaggles_tables_number_r2gens_images_as_open_i_does(tmp_path):
    """395 studies had the views of 0.png and 1.png exchanged: their lateral film was read for the frontal one."""
    write_kaggle(tmp_path)
    table = tmp_path / "indiana_projections.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *reversed(rows)]) + "\n")  # frontal images first, as in the published one
    write_images(tmp_path, "r2gen")
    for path in list(tmp_path.glob("images/CXR1_1_IM-0001/*")):
        (tmp_path / "images/CXR1_IM-0001").mkdir(exist_ok=True)
        path.rename(tmp_path / "images/CXR1_IM-0001" / path.name)
    study = by_id(read_iu_xray(tmp_path, options()))["CXR1_IM-0001"]
    assert study.images == ("images/CXR1_IM-0001/1.png", "images/CXR1_IM-0001/0.png")  # 4001, the frontal one, and 3001


def test_of_two_files_of_one_image_the_one_that_is_read_is_said(tmp_path):
    """Masks of the lungs have the names of the films, and whichever folder came first was read without a word."""
    write_archive(tmp_path)
    write_images(tmp_path, "open-i")
    shutil.copytree(tmp_path / "NLMCXR_png", tmp_path / "masks")
    dataset = read_iu_xray(tmp_path, options())
    assert {image.split("/")[0] for study in dataset.studies for image in study.images} == {"NLMCXR_png"}
    assert dataset.notes[0].startswith(
        "7 images lie in several places, of which the first by name is read (first: NLMCXR_png/"
    )
    assert dataset.notes[0].endswith("is read, not masks/CXR11_IM-0067-1001-0001.png)")


@pytest.mark.parametrize("written", ["FRONTAL", " frontal "])
def test_a_projection_in_another_case_is_the_same(tmp_path, written):
    table = write_kaggle(tmp_path) / "indiana_projections.csv"
    table.write_text(table.read_text().replace("Frontal", written))
    studies = by_id(read_iu_xray(tmp_path, options(), with_images=False))
    assert studies["CXR1_IM-0001"].images == ("1_IM-0001-4001.dcm.png", "1_IM-0001-3001.dcm.png")


def test_a_table_without_frontal_images_is_said(tmp_path):
    table = write_kaggle(tmp_path) / "indiana_projections.csv"
    table.write_text(table.read_text().replace("Frontal", "PA"))
    dataset = read_iu_xray(tmp_path, options(), with_images=False)
    assert any(note.startswith(f"warning: {table} calls no image frontal") for note in dataset.notes)


def test_an_empty_folder_and_packed_images_are_no_images(tmp_path):
    write_archive(tmp_path)
    (tmp_path / "NLMCXR_png").mkdir()
    (tmp_path / "NLMCXR_png.tgz").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"(?s)1 file or folder is missing.*unpack \S+/NLMCXR_png\.tgz if it is in there"
    ):
        read_iu_xray(tmp_path, options())


def test_reports_unpacked_without_their_folder_are_found_and_an_empty_folder_is_not(tmp_path):
    write_archive(tmp_path)
    (tmp_path / "NLMCXR_reports").mkdir()
    packed = read_iu_xray(tmp_path, options(), with_images=False).studies
    for number, report in REPORTS.items():
        (tmp_path / f"NLMCXR_reports/{number}.xml").write_text(xml(number, *report))
    (tmp_path / "NLMCXR_reports.tgz").unlink()
    assert read_iu_xray(tmp_path, options(), with_images=False).studies == packed


def test_an_annotation_in_place_of_raw_files_has_its_command(tmp_path, capsys):
    """What most people have of IU X-Ray is R2Gen's archive: annotation.json beside images."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotation.json").write_text("{}")
    with pytest.raises(SystemExit):
        call(
            main_prepare,
            "--dataset_name",
            "iu_xray",
            "--raw_dir",
            tmp_path,
            "--ann_path",
            tmp_path / "out/annotation.json",
        )
    said = capsys.readouterr().err
    assert "NLMCXR_reports.tgz" in said
    command = f"python main_prepare.py --dataset_name iu_xray --ann_path {tmp_path}/annotation.json --image_dir {tmp_path}/images"
    assert command in said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_report_that_declares_entities_is_refused(tmp_path, encoding):
    """649 bytes became a report of 3,400,000 characters."""
    (tmp_path / "ecgen-radiology").mkdir()
    path = tmp_path / "ecgen-radiology/2.xml"
    entities = '<!ENTITY a "Clear. ">' + "".join(f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in pairwise("abcdef"))
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    body = xml(*(2, *REPORTS[2])).partition("?>")[2]
    path.write_text(f"{head}<!DOCTYPE x [{entities}]>{body.replace('Clear lungs.', '&f;')}", encoding)
    with pytest.raises(UserError, match=r"2\.xml in .* declares entities"):
        read_iu_xray(tmp_path, options(), with_images=False)
    path.write_text(f"{head}<!DOCTYPE eCitation>{body.replace('Clear', '&quot;&#67;lear')}", encoding)
    assert read_iu_xray(tmp_path, options(), with_images=False).studies[0].report == '"Clear lungs.'


@pytest.mark.parametrize("packaging", [write_archive, write_kaggle])
def test_a_report_longer_than_any_is_refused(tmp_path, monkeypatch, packaging):
    monkeypatch.setitem(REPORTS, 2, (*REPORTS[2][:1], "Clear. " * 20000, ""))
    with pytest.raises(
        UserError, match=r"report CXR2 of IU X-Ray: the findings has 139,999 characters, expected at most"
    ):
        read_iu_xray(packaging(tmp_path), options(), with_images=False)
    monkeypatch.setitem(REPORTS, 2, (*REPORTS[2][:1], "Clear. " * 1000, ""))
    assert len(read_iu_xray(packaging(tmp_path), options(), with_images=False).studies) == 3


def test_damaged_archives_are_named(tmp_path):
    path = write_archive(tmp_path) / "NLMCXR_reports.tgz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="is damaged or cut off"):
        read_iu_xray(tmp_path, options(), with_images=False)
    (tmp_path / "ecgen-radiology").mkdir()
    path.unlink()
    (tmp_path / "ecgen-radiology/1.xml").write_text("<eCitation>")
    with pytest.raises(UserError, match=r"1\.xml in .* is not XML"):
        read_iu_xray(tmp_path, options(), with_images=False)


# the real collection


def golden(real_cxr):
    content = json.loads((real_cxr / "annotation_iu_r2gen_layout.json").read_text())
    return [(item["id"], split, item["report"]) for split in SPLITS for item in content[split]]


@pytest.mark.parametrize("source", ["archive", "kaggle"])
@pytest.mark.slow
def test_r2gens_annotation_comes_out_of_the_real_files(real_cxr, tmp_path, source):
    names = ["NLMCXR_reports.tgz"] if source == "archive" else ["indiana_reports.csv", "indiana_projections.csv"]
    for name in names:
        shutil.copy(real_cxr / "iu_source" / name, tmp_path)
    split_file = real_cxr / "annotation_iu_r2gen_layout.json"
    dataset = read_iu_xray(tmp_path, options(split_file=split_file), with_images=False)
    found = [(study.id, study.split, study.report) for study in dataset.studies]
    assert len(found) == 2955
    assert found == golden(real_cxr)


def test_all_real_reports_are_covered_by_a_drawn_split(real_cxr):
    datasets = [
        read_iu_xray(real_cxr / "iu_source", options(section=section), with_images=False)
        for section in ("findings", "both")
    ]
    for dataset, studies, reasons in (
        (datasets[0], 3337, {"no findings in the report", "no image"}),
        (datasets[1], 3826, {"no findings and no impression in the report", "no image"}),
    ):
        assert len(dataset.studies) == studies
        assert len(dataset.studies) + len(dataset.dropped) == 3955
        assert set(dataset.dropped.values()) == reasons
    split_of = [{study.patient: study.split for study in dataset.studies} for dataset in datasets]
    assert all(split_of[1][patient] == split for patient, split in split_of[0].items())
    sizes = [sum(study.split == split for study in datasets[1].studies) / 3826 for split in SPLITS]
    assert sizes == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
