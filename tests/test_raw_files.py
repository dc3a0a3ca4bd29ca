"""modules/preparation/raw/files.py: published tables, packed or not, and texts in folders and archives."""

import gzip
import tarfile
import zipfile

import pytest

from modules.messages import UserError
from modules.preparation.raw import files
from modules.preparation.raw.files import find_below, iterate_texts, read_table

TABLE = 'id,split\ns1,train\ns2,"a, b"\ns3\n'
TEXTS = {"b/s2.txt": b"two", "a/s1.txt": b"one", "a/list.csv": b"no"}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_table_is_read_packed_or_not(name, tmp_path):
    content = ("\ufeff" + TABLE).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    rows = list(read_table(tmp_path / name, ("id", "split")))
    assert rows == [{"id": "s1", "split": "train"}, {"id": "s2", "split": "a, b"}, {"id": "s3", "split": ""}]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_content_says_whether_a_table_is_packed(name, packed, tmp_path):
    """A browser unpacks a file and keeps its name, or the other way."""
    (tmp_path / name).write_bytes(gzip.compress(TABLE.encode()) if packed else TABLE.encode())
    assert len(list(read_table(tmp_path / name, ("id", "split")))) == 3


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_that_was_saved_anew_is_the_same(separator, tmp_path):
    (tmp_path / "t.csv").write_text(f'ID{separator} Split \ns1{separator}"a{separator} b"\n')
    assert list(read_table(tmp_path / "t.csv", ("id", "split"))) == [{"id": "s1", "split": f"a{separator} b"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_that_was_saved_in_another_encoding_is_the_same(encoding, packed, tmp_path):
    """It was said to be cut off, and to be copied again."""
    content = (TABLE + "s4,5 cm² 6°\n").encode(encoding)
    (tmp_path / "t.csv").write_bytes(gzip.compress(content) if packed else content)
    assert [row["split"] for row in read_table(tmp_path / "t.csv", ("id", "split"))] == [
        "train",
        "a, b",
        "",
        "5 cm² 6°",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"id\ns1\n", r"has no column split \(found 'id'\)"),
        (b"", r"has no column id, split \(found none\)"),
        (b"id,split\ns1,a,b\n", "has more cells than headings in line 2"),
        (b"id,split\n\xff,a\n", r"is neither whole UTF-8 or UTF-16 nor surely the Western cp1252, first in line 2"),
        (b"id,split\n" + 200 * b"x", "has a line of more than 100 characters"),
    ],
)
def test_a_table_that_is_none_is_told(content, words, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 100)
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        list(read_table(tmp_path / "t.csv", ("id", "split")))


def test_a_table_that_is_cut_off_is_told(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TABLE.encode() * 99)[:-20])
    with pytest.raises(UserError, match=r"t\.csv\.gz cannot be unpacked \(EOFError\): it may be cut off"):
        list(read_table(tmp_path / "t.csv.gz", ("id", "split")))


@pytest.mark.parametrize(
    "content", ['id,"split\n1,clear lungs\n2,test\n', 'id,split\n1,"train\n2,test\n', 'id,split\n1,"a" b\n']
)
def test_a_lost_quote_takes_no_rows_with_it_and_shows_none(content, tmp_path):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError) as end:
        list(read_table(tmp_path / "t.csv", ("id", "split")))
    assert "lungs" not in str(end.value)
    assert "\n" not in str(end.value)


def test_texts_are_the_same_from_folder_zip_and_tar(tmp_path):
    folder = tmp_path / "reports"
    for name, content in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "reports.zip", "w") as archive:
        for name in TEXTS:
            archive.write(folder / name, name)
    with tarfile.open(tmp_path / "reports.tgz", "w:gz") as archive:
        for name in TEXTS:
            archive.add(folder / name, name)
    assert list(iterate_texts(folder, ".txt")) == [("a/s1.txt", b"one"), ("b/s2.txt", b"two")]
    for packed in ("reports.zip", "reports.tgz"):
        assert list(iterate_texts(tmp_path / packed, ".txt")) == [("b/s2.txt", b"two"), ("a/s1.txt", b"one")]


def test_what_is_no_report_and_a_link_that_leads_out_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "reports"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("mine")
    (folder / "s1.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UserError, match="is a link that leads out of"):
        list(iterate_texts(folder, ".txt"))
    (folder / "s1.txt").unlink()
    monkeypatch.setattr(files, "MAX_TEXT", 5)
    (folder / "s1.txt").write_bytes(b"123456")
    with pytest.raises(UserError, match="has 6 bytes, expected at most 5: it is no report"):
        list(iterate_texts(folder, ".txt"))


def test_files_are_found_some_levels_below_but_not_among_patients(tmp_path):
    for name in ("x/files.zip", "x/y/FILES.ZIP", "x/p10/files.zip", ".hidden/files.zip", "a/b/c/d/e/files.zip"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_below(tmp_path, r"files\.zip")]
    assert found == ["x/files.zip", "x/y/FILES.ZIP"]
    assert len(find_below(tmp_path, r"files\.zip", depth=6)) == 3
