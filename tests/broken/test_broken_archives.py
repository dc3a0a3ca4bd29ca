"""Broken raw files of MIMIC-CXR and IU X-Ray, given to main_prepare.py: refused in a sentence, in bounded memory."""

import gzip
import io
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from harness import SECRET, assert_refused, end_of
from PIL import Image

import main_prepare

CASES = Path(__file__).parents[1] / "cases"
REPORT = f"FINAL REPORT\n FINDINGS: {SECRET}.\n".encode()
NAME = "files/p10/p10000032/s50414267.txt"
SPLIT = "dicom_id,study_id,subject_id,split\nabc,50414267,10000032,train\n"
METADATA = "dicom_id,ViewPosition\nabc,PA\n"


def zipped(content=REPORT, name=NAME, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def zipped_twice(second):
    """Two texts of one report."""
    file = io.BytesIO(zipped())
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr(second, REPORT + b"No.")
    return file.getvalue()


def patched(old, new):
    """A zip file with a number of its two heads changed."""
    content = zipped()
    assert old in content
    return content.replace(old, new)


def tarred(*members, mode="w", form=tarfile.GNU_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                archive.addfile(info)
    return file.getvalue()


def claimed(size, kind=tarfile.REGTYPE, name=NAME):
    """The head of a tar member that claims any size."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


def bomb(kind, name=NAME, size=1_500_000_000):
    """A packed archive of 1.5 GB of zeros in one member."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        packed.write(claimed(size, kind, name)[:512])
        for _ in range(200):
            packed.write(bytes(1 << 20))
    return file.getvalue()


def huge_zip():
    content = zipped(b"FINDINGS: x. " * 2_000_000)
    assert len(content) < 1_000_000
    return content


WHOLE = tarred((NAME, tarfile.REGTYPE, REPORT), mode="w:gz")
TWO = tarred((NAME, tarfile.REGTYPE, REPORT), ("s2.txt", tarfile.REGTYPE, REPORT))
ONE = 1024  # head and text of the first
MIMIC = {  # name of the archive of reports, content
    "encrypted": ("zip", (CASES / "raw/encrypted.zip").read_bytes()),
    "encrypted by its head": ("zip", patched(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0")),
    "unknown method": ("zip", zipped().replace(b"PK\x01\x02\x14\x03\x14\0\0\0\x08\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0").replace(b"PK\x03\x04\x14\0\0\0\x08\0", b"PK\x03\x04\x14\0\0\0\x63\0")),
    "zip cut off": ("zip", zipped()[:100]),
    "zip of nothing": ("zip", b""),
    "zip of text": ("zip", b"hello"),
    "zip without its end": ("zip", zipped()[:-22]),
    "zip with wrong checksum": ("zip", zipped(method=zipfile.ZIP_STORED).replace(b"FINDINGS", b"FINDINGZ")),
    "zip with a huge report": ("zip", huge_zip),
    "zip without the reports": ("zip", zipped(name="readme.md")),
    "zip with two texts of a report": ("zip", zipped_twice(NAME)),
    "zip with two texts in two folders": ("zip", zipped_twice(f"again/{NAME}")),
    "zip in a zip": ("zip", zipped(zipped(), "mimic-cxr-reports.zip")),
    "zip of backslashes without the reports": ("zip", zipped(name="files\\p10\\readme.txt")),
    "zip of a link": ("zip", zipped(b"/etc/passwd")),
    "zip of empty reports": ("zip", zipped(b" \n")),
    "zip of bytes": ("zip", zipped(bytes(range(256)))),
    "zip that is a tar": ("zip", tarred((NAME, tarfile.REGTYPE, REPORT))),
    "tar that is a zip": ("tar", zipped()),
    "tar with two texts of a report": ("tar", tarred((NAME, tarfile.REGTYPE, REPORT), (NAME, tarfile.REGTYPE, REPORT + b"No."))),
    "tar in a tar": ("tar", tarred(("reports.tar", tarfile.REGTYPE, tarred((NAME, tarfile.REGTYPE, REPORT))))),
    "tar of a hard link to the system": ("tar", tarred((NAME, tarfile.LNKTYPE, "../../../../etc/passwd"))),
    "tar of a hard link to another": ("tar", tarred(("s1.txt", tarfile.REGTYPE, REPORT), (NAME, tarfile.LNKTYPE, "s1.txt"))),
    "tar of a pipe": ("tar", tarred((NAME, tarfile.FIFOTYPE, ""))),
    "tar of a disk": ("tar", tarred((NAME, tarfile.BLKTYPE, ""))),
    "tar of a folder": ("tar", tarred((NAME, tarfile.DIRTYPE, ""))),
    "tar packed twice": ("tar.gz", gzip.compress(WHOLE)),
    "tar packed by bzip2": ("tar.gz", tarred((NAME, tarfile.REGTYPE, REPORT), mode="w:bz2")),
    "tar packed by xz": ("tar.gz", tarred((NAME, tarfile.REGTYPE, REPORT), mode="w:xz")),
    "tar behind its end": ("tar", bytes(512) + tarred((NAME, tarfile.REGTYPE, REPORT))),
    "tar cut off": ("tar.gz", WHOLE[:-40]),
    "tar cut between two files": ("tar", TWO[:ONE]),
    "tar cut in a head": ("tar", TWO[: ONE + 100]),
    "tar cut before it was packed": ("tar.gz", gzip.compress(TWO[:ONE])),
    "tar with a damaged head": ("tar", TWO.replace(b"s2.txt", b"s3.txt")),
    "tar packed with a damaged head": ("tar.gz", gzip.compress(TWO.replace(b"s2.txt", b"s3.txt"))),
    "tar with wrong checksum": ("tar.gz", gzip.compress(TWO, 0).replace(b"FINDINGS", b"FINDINGZ")),
    "tar with another behind it": ("tar", TWO + tarred(("s3.txt", tarfile.REGTYPE, REPORT))),
    "tar of nothing": ("tar.gz", b""),
    "tar of text": ("tar", b"hello " * 300),
    "tar of noise": ("tar.gz", b"\x1f\x8b\x08\0" + bytes(range(256))),
    "tar with a report of 1.5 GB": ("tar.gz", lambda: bomb(tarfile.REGTYPE)),
    "tar with a long name of 1.5 GB": ("tar.gz", lambda: bomb(tarfile.GNUTYPE_LONGNAME, "././@LongLink")),
    "tar with a head of 1.5 GB": ("tar.gz", lambda: bomb(tarfile.XHDTYPE, "head")),
    "tar with a global head of 1.5 GB": ("tar.gz", lambda: bomb(tarfile.XGLTYPE, "head")),
    "tar of looping links": ("tar", tarred((NAME, tarfile.SYMTYPE, NAME), ("b.txt", tarfile.LNKTYPE, "b.txt"))),
    "tar of a link to the system": ("tar", tarred((NAME, tarfile.SYMTYPE, "/etc/passwd"))),
    "tar of a device": ("tar", tarred((NAME, tarfile.CHRTYPE, ""))),
    "tar claims a report of 1 TB": ("tar", claimed(1 << 40)),
    "tar claims a negative size": ("tar", claimed(1).replace(b"00000000001\0", b"\xff" * 12)),
}  # fmt: skip
TABLES = {  # split table, metadata table
    "id leads out": (SPLIT.replace("abc", "../../../../outside"), METADATA),
    "id is absolute": (SPLIT.replace("abc", "/etc/passwd"), METADATA),
    "id is empty": (SPLIT.replace("abc", ""), METADATA),
    "id holds a zero byte": (SPLIT.replace("abc", "a\0c"), METADATA),
    "id is two dots": (SPLIT.replace("abc", ".."), METADATA),
    "study leads out": (SPLIT.replace("50414267", "../50414267"), METADATA),
    "subject leads out": (SPLIT.replace("10000032", "1/../../.."), METADATA),
    "subject is text": (SPLIT.replace("10000032", "Mrs. p10000032"), METADATA),
    "split is weird": (SPLIT.replace("train", "weird"), METADATA),
    "split is missing": ("dicom_id,study_id,subject_id\nabc,1,1\n", METADATA),
    "table is empty": ("", METADATA),
    "table is of bars": (SPLIT.replace(",", "|"), METADATA),
    "table is of semicolons below its heading": (SPLIT.replace(",", ";").replace(";", ",", 3), METADATA),
    "table is latin-1": (SPLIT.encode() + "é".encode("latin-1"), METADATA),
    "table of one long line": ("x" * 3_000_000, METADATA),
    "too many cells": (SPLIT + "a,1,2,train,3\n", METADATA),
    "metadata without views": (SPLIT, "dicom_id\nabc\n"),
    "metadata is empty": (SPLIT, ""),
    "no study at all": ("dicom_id,study_id,subject_id,split\n", METADATA),
}


def tree(raw):
    folder = raw / "files/p10/p10000032/s50414267"
    folder.mkdir(parents=True)
    Image.new("L", (40, 40), 9).save(folder / "abc.jpg")
    Image.new("L", (40, 40), 9).save(raw.parent / "outside.jpg")
    (raw / "mimic-cxr-2.0.0-split.csv").write_text(SPLIT)
    (raw / "mimic-cxr-2.0.0-metadata.csv").write_text(METADATA)
    return raw


def prepare(tmp_path, dataset, *flags):
    ending = end_of(
        main_prepare, "--dataset_name", dataset, "--raw_dir", tmp_path / "raw", "--raw_step", "images", "--device", "cpu",
        "--resize", 32, "--ann_path", tmp_path / "out/annotation.json", "--image_dir", tmp_path / "out/images", *flags,
    )  # fmt: skip
    assert not (tmp_path / "out/annotation.json").exists()
    return ending


@pytest.mark.parametrize("name", MIMIC)
def test_a_broken_archive_is_refused(name, tmp_path):
    ending, content = MIMIC[name]
    tree(tmp_path / "raw")
    (tmp_path / f"raw/mimic-cxr-reports.{ending}").write_bytes(content() if callable(content) else content)
    assert_refused(prepare(tmp_path, "mimic_cxr"), tmp_path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table_of_mimic_is_refused(name, packed, tmp_path):
    raw = tree(tmp_path / "raw")
    (raw / "mimic-cxr-reports.zip").write_bytes(zipped())
    for kind, content in zip(("split", "metadata"), TABLES[name], strict=True):
        content = content if isinstance(content, bytes) else content.encode()
        path = raw / f"mimic-cxr-2.0.0-{kind}.csv"
        path.write_bytes(content)
        if packed:
            path.with_suffix(".csv.gz").write_bytes(gzip.compress(content))
            path.unlink()
    assert_refused(prepare(tmp_path, "mimic_cxr"), tmp_path)
    assert not [*(tmp_path).glob("*.jpg")][1:]  # nothing but outside.jpg lies above the image folder


@pytest.mark.parametrize("name", ["mimic-cxr-reports.zip", "mimic-cxr-2.0.0-split.csv", "mimic-cxr-2.0.0-split.csv.gz"])
def test_a_page_that_asks_to_log_in_is_called_so(name, tmp_path):
    """It was called cut off, and copied again it is the same page."""
    raw = tree(tmp_path / "raw")
    (raw / "mimic-cxr-reports.zip").write_bytes(zipped())
    if "split" in name:
        (raw / "mimic-cxr-2.0.0-split.csv").unlink()
    (raw / name).write_text("\n<!DOCTYPE html><html>Log in</html>")
    ending = prepare(tmp_path, "mimic_cxr")
    assert_refused(ending, tmp_path)
    assert f"{name} is a web page: the address led to no file, or asked to log in; download it again" in str(ending)


def test_the_tree_that_led_out_is_refused(tmp_path):
    shutil.copytree(CASES / "raw/mimic_traversal", tmp_path / "raw")
    assert_refused(prepare(tmp_path, "mimic_cxr"), tmp_path)


@pytest.mark.parametrize("content", ["link that leads out", "huge"])
def test_a_report_that_is_no_report_is_refused(content, tmp_path):
    raw = tree(tmp_path / "raw")
    report = raw / NAME
    if content == "huge":
        report.write_bytes(REPORT * 200_000)
    else:
        (tmp_path / "outside.txt").write_bytes(REPORT)
        report.symlink_to(tmp_path / "outside.txt")
    assert_refused(prepare(tmp_path, "mimic_cxr"), tmp_path)


XML = '<?xml version="1.0"?><eCitation><uId id="CXR1"/><Abstract><AbstractText Label="FINDINGS">Clear.</AbstractText></Abstract><parentImage id="CXR1_IM-1"/></eCitation>'
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]><eCitation>&j;</eCitation>"
)
OPEN_I = {
    "no XML": {"1.xml": "hello"},
    "empty": {"1.xml": ""},
    "cut off": {"1.xml": XML[:-30]},
    "no id": {"1.xml": XML.replace('<uId id="CXR1"/>', "")},
    "other id": {"1.xml": XML.replace("CXR1", "1")},
    "id leads out": {"1.xml": XML.replace("CXR1", "CXR../1")},
    "image leads out": {"1.xml": XML.replace("CXR1_IM-1", "../../outside")},
    "image is absolute": {"1.xml": XML.replace("CXR1_IM-1", "/etc/passwd")},
    "image without id": {"1.xml": XML.replace(' id="CXR1_IM-1"', "")},
    "id twice": {"1.xml": XML, "2.xml": XML},
    "a billion laughs": {"1.xml": LAUGHS},
    "the system's files": {"1.xml": XML.replace("<eCitation>", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><eCitation>').replace("Clear.", "&e;")},
    "unknown encoding": {"1.xml": XML.replace('"1.0"', '"1.0" encoding="klingon"')},
    "UTF-32 in name only": {"1.xml": XML.replace('"1.0"', '"1.0" encoding="utf-32"')},
    "no findings in any": {"1.xml": XML.replace("Clear.", "")},
    "no reports": {"readme.txt": "hello"},
}  # fmt: skip
KAGGLE = {
    "uid twice": ("uid,findings,impression\n1,x,y\n1,x,y\n", "uid,filename,projection\n1,1_IM-1.dcm.png,Frontal\n"),
    "uid is text": ("uid,findings,impression\na,x,y\n", "uid,filename,projection\n1,1_IM-1.dcm.png,Frontal\n"),
    "file leads out": ("uid,findings,impression\n1,x,y\n", "uid,filename,projection\n1,../1_IM-1.dcm.png,Frontal\n"),
    "file is absolute": ("uid,findings,impression\n1,x,y\n", "uid,filename,projection\n1,/etc/passwd,Frontal\n"),
    "no findings": ("uid,impression\n1,y\n", "uid,filename,projection\n1,1_IM-1.dcm.png,Frontal\n"),
    "no files": ("uid,findings,impression\n1,x,y\n", "uid,projection\n1,Frontal\n"),
    "no pictures of it": ("uid,findings,impression\n9,x,y\n", "uid,filename,projection\n9,9_IM-1.dcm.png,Frontal\n"),
}


@pytest.mark.parametrize("name", OPEN_I)
def test_broken_reports_of_open_i_are_refused(name, tmp_path):
    raw = tmp_path / "raw"
    (raw / "NLMCXR_png").mkdir(parents=True)
    Image.new("L", (40, 40), 9).save(raw / "NLMCXR_png/CXR1_IM-1.png")
    members = [(f"ecgen-radiology/{file}", tarfile.REGTYPE, text.encode()) for file, text in OPEN_I[name].items()]
    (raw / "NLMCXR_reports.tgz").write_bytes(tarred(*members, mode="w:gz"))
    assert_refused(prepare(tmp_path, "iu_xray"), tmp_path)


@pytest.mark.parametrize("name", KAGGLE)
def test_broken_tables_of_kaggle_are_refused(name, tmp_path):
    raw = tmp_path / "raw"
    (raw / "images").mkdir(parents=True)
    Image.new("L", (40, 40), 9).save(raw / "images/1_IM-1.dcm.png")
    for kind, content in zip(("reports", "projections"), KAGGLE[name], strict=True):
        (raw / f"indiana_{kind}.csv").write_text(content)
    assert_refused(prepare(tmp_path, "iu_xray"), tmp_path)
