"""modules/corpus/tables.py: separators, encodings, headings and workbooks are found, and what is doubtful is refused."""

# ruff: noqa: RUF001 (letters and marks of other languages)
import datetime
import gzip
import io
import zipfile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.corpus.tables import Table, plain_heading, read_table_file
from modules.messages import UserError

KNOWN = ("id", "image_path", "report")
ROWS = [["id", "image_path", "report"], ["1", "a.png", "Clear, dry; normal."], ["2", "b.png", 'Größe "normal".']]


def as_text(separator, rows=ROWS):
    def quoted(cell):
        return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',;\t|"\n') else cell

    return "".join(separator.join(map(quoted, row)) + "\r\n" for row in rows)


def read_bytes(folder, content, name="t.csv", known=KNOWN):
    (folder / name).write_bytes(content)
    return read_table_file(folder / name, known)


def cells(table: Table):
    return [row for _, row in table.rows]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_separators_and_encodings_are_found(tmp_path, separator, encoding):
    table = read_bytes(tmp_path, as_text(separator).encode(encoding))
    assert cells(table) == ROWS
    assert ("tab" if separator == "\t" else repr(separator)) in table.read_as
    assert read_bytes(tmp_path, gzip.compress(as_text(separator).encode(encoding)), "t.csv.gz").rows == table.rows


def test_headings_are_found_in_any_spelling(tmp_path):
    table = read_bytes(tmp_path, b" Study ID ;IMAGE-Path;Report\n1;a.png;Clear.\n")
    assert [table.column([name]) for name in ("study_id", "image_path", "report", "text")] == [0, 1, 2, None]
    assert table.column(("text", "report", "image_path")) == 2
    assert plain_heading("StudyID") == plain_heading("study_id") == plain_heading("Study ID ")
    doubled = read_bytes(tmp_path, b"id,ID,report\n1,2,x\n")
    with pytest.raises(UserError, match="two columns 'id'"):
        doubled.column(["id"])


def test_excels_line_of_the_separator_is_no_heading(tmp_path):
    assert cells(read_bytes(tmp_path, b"sep=;\r\nid;report\r\n1;Clear, dry.\r\n"))[0] == ["id", "report"]


def test_a_column_of_reports_without_heading_stays_one_column(tmp_path):
    reports = ["clear lungs ; no effusion .", '"a , b"', "normal ."]
    table = read_bytes(tmp_path, "\n".join(reports).encode(), known=())
    assert cells(table) == [["clear lungs ; no effusion ."], ["a , b"], ["normal ."]]


def test_rows_keep_their_lines_and_short_ones_are_filled(tmp_path):
    table = read_bytes(tmp_path, b'id,report,note\n\n1,"a\nb"\n,,\n2,c,d\n')
    assert list(table.body()) == [(3, ["1", "a\nb", ""]), (6, ["2", "c", "d"])]


def test_every_line_with_too_many_cells_is_named_at_once(tmp_path):
    table = read_bytes(tmp_path, b"id,report\n1,Clear, dry.\n2,fine\n3,Heart, lungs\n")
    with pytest.raises(UserError, match=r"more cells than headings \(2\) in line 2, 4: put texts"):
        list(table.body())


def workbook(folder, *sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def test_workbooks(tmp_path):
    rows = [["id", "image_path", "report"], [50414267.0, "a.png", "Clear."], [None, None, None], [2, "b.png", None]]
    table = read_table_file(workbook(tmp_path, ("Notes", [["ours"]]), ("Studies", rows)), KNOWN)
    assert table.rows[1:] == [(2, ["50414267", "a.png", "Clear."]), (4, ["2", "b.png"])]
    assert "sheet 'Studies'" in table.read_as
    assert "not read: 'Notes'" in table.read_as
    (tmp_path / "t.xlsx").rename(tmp_path / "t.csv")  # the content decides
    assert read_table_file(tmp_path / "t.csv", KNOWN).rows == table.rows


def change(path, how):
    book = openpyxl.load_workbook(path)
    how(book)
    book.save(path)
    return path


STUDIES = [["patient", "id", "report"], ["p1", 1, "Clear."], ["p1", 2, "Large."], ["p2", 3, "Normal."]]
HEADINGS = ("patient", *KNOWN)


def test_the_value_of_merged_cells_is_that_of_each_of_their_rows(tmp_path):
    """A patient's name that reaches over two rows: the second study was taken for another patient's."""
    path = change(workbook(tmp_path, ("s", STUDIES)), lambda book: book.active.merge_cells("A2:A3"))
    table = read_table_file(path, HEADINGS)
    assert [row[0] for row in cells(table)[1:]] == ["p1", "p1", "p2"]
    assert "merged cells" in table.read_as


def test_formulas_without_their_values_are_refused(tmp_path):
    rows = [["id", "image_path", "report"], [1, "a.png", '="Clear "&"lungs."'], [2, "b.png", "=C2"], [3, "c.png", "x"]]
    with pytest.raises(UserError, match="2 formulas whose values were never computed, first in C2: open and save"):
        read_table_file(workbook(tmp_path, ("s", rows)), KNOWN)


def test_two_sheets_of_studies_are_asked_about_and_hidden_ones_are_not_read(tmp_path):
    path = workbook(tmp_path, ("train", STUDIES), ("test", STUDIES))
    with pytest.raises(UserError, match="holds studies in the sheets 'train', 'test'"):
        read_table_file(path, HEADINGS)

    def hide(book):
        book["train"].sheet_state = "hidden"
        book["test"]["C2"] = "New."

    table = read_table_file(change(path, hide), HEADINGS)
    assert cells(table)[1][2] == "New."
    assert "not read: 'train'" in table.read_as


def test_cells_are_read_as_they_are_seen(tmp_path):
    values = [
        7,
        1.0,
        12345678901234567.0,
        datetime.datetime(2020, 1, 2),
        datetime.datetime(2020, 1, 2, 3, 4),
        2.5,
        "a_x000D_\nb",
        True,
    ]

    def zeros(book):
        book.active["A1"].number_format = "00000"

    path = change(workbook(tmp_path, ("s", [values])), zeros)
    found = ["00007", "1", "1.23456789012346E+16", "2020-01-02", "2020-01-02T03:04:00", "2.5", "a\r\nb", "True"]
    assert cells(read_table_file(path)) == [found]


def test_a_title_above_the_headings_is_passed_over(tmp_path):
    table = read_bytes(tmp_path, b"Export of our hospital\n\n" + as_text(";").encode())
    assert cells(table) == ROWS
    assert "headings in line 3" in table.read_as
    assert table.rows[1][0] == 4
    path = change(
        workbook(tmp_path, ("s", [["Export", None, None], *STUDIES])), lambda book: book.active.merge_cells("A1:C1")
    )
    assert cells(read_table_file(path, HEADINGS)) == [[str(cell) for cell in row] for row in STUDIES]


def test_a_blank_before_a_quote_is_no_part_of_the_cell(tmp_path):
    assert cells(read_bytes(tmp_path, b'id, image_path, report\n1, a.png, "Clear, dry."\n'))[1] == [
        "1",
        "a.png",
        "Clear, dry.",
    ]


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'id,report\n1,"never closed\n2,x\n', "from line 2 on"),
        (b'id,report\n1,"so" called\n', "from line 2 on"),
        ("id,report\n1,Нормальное сердце\n".encode("cp1251"), "neither whole UTF-8"),
        ("id,report\n1,心肺正常未見異常\n".encode("gbk"), "neither whole UTF-8"),
        ("id,report\n1,Größe, Öl, Maß".encode()[:-1], "neither whole UTF-8"),
        (b"id,report\n1,a\0b" + b" " * 300, "zero bytes"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old kind"),
        (b"<html><table></table></html>", "a page or XML"),
        (b'{"id": 1}\n', "JSON"),
        (b'[\n {"id": 1}]', "JSON"),
        (b"%PDF-1.4", "a PDF"),
        (b"PAR1\x15\x04\x15" + bytes(100), "is no table but a parquet file: write the table as CSV"),
        (b"ARROW1\x00\x00" + bytes(100), "a Feather file"),
        (b"SQLite format 3\x00" + bytes(100), "an SQLite data base"),
        (gzip.compress(b"id,report\n1,x\n" * 1000, mtime=0)[:-20], "cannot be unpacked"),
        (b"PK\x03\x04 cut", "damaged Excel workbook"),
        (zipped("a.txt", "x"), "no table"),
        (zipped("xl/workbook.xml", "<x"), "damaged Excel workbook"),
        (b"," * 2000 + b"x\n", "2001 cells"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, content, words):
    with pytest.raises(UserError, match=r"t\.csv") as caught:
        read_bytes(tmp_path, content)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "Länge frei, Größe “normal” – ‘x’ patient’s 5 cm² 3 cm³ ± 2 mm 37° 5 µm … Müller",
        "œdema; cœur élargi; épanchement à gauche, déjà vu; l’œsophage en août",
        "¿Derrame pleural? No. Señora; coração, lesões; Bjørn Ångström hjärta",
        "• item one – two; tube—ends at T4; 3–4 cm; ¼ of the lung ×2 © 2020 ™",
    ],
)
def test_western_letters_and_marks_are_read(tmp_path, text):
    assert read_bytes(tmp_path, f"id;report\n1;{text.replace(';', ',')}\n".encode("cp1252")).rows[1][1][
        1
    ] == text.replace(";", ",")


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        (
            "mac_roman",
            [
                "no “effusion” – patient’s",
                "naïve café",
                "Größe",
                "Länge",
                "37° and",
                "≥ 5 mm",
                "clear… no",
                "• item",
                "pulmón",
                "pequeño derrame",
                "señal",
                "se observó",
                "órgano",
                "clínica",
                "músculo",
                "según",
                "Ödem",
                "perché è lì",
                "≥5 mm",
                "≤ 5 mm",
                "5\N{NO-BREAK SPACE}mm",
                "Name®",
                "device™",
                "Zoë",
            ],
        ),
        (
            "iso8859_2",
            ["płuca czyste", "żebra złamane", "ciało obce", "srdce zvětšené", "są", "pleurální výpotek", "łopatka"],
        ),
        ("cp1250", ["płuca", "są zmiany", "srdce zvětšené"]),
        ("iso8859_15", ["cœur"]),
        ("cp1254", ["akciğer", "göğüs"]),
        ("cp850", ["Größe", "Länge", "élargi", "pneumothorax à gauche", "août", "où"]),
    ],
)
def test_other_one_byte_encodings_are_not_read_as_western(tmp_path, encoding, texts):
    """Each of them decodes as cp1252 without an error, into other words."""
    for text in texts:
        with pytest.raises(UserError, match="first in line 3: save it in UTF-8, a table as CSV"):
            read_bytes(tmp_path, f"id,report\n1,clear\n2,{text}\n".encode(encoding))


@pytest.mark.parametrize("text", ["tube—ends", "peque–o", "dell’arteria", "clear …no"])
def test_what_is_a_word_in_two_encodings_needs_something_that_is_western(tmp_path, text):
    table = "id,report\n1,clear\n2,{}\n3,{}\n"
    with pytest.raises(UserError, match="nor surely the Western cp1252, first in line 3"):
        read_bytes(tmp_path, table.format(text, "clear").encode("cp1252"))
    for firm in ("Länge", "T4 – T5", "3–4 cm", "37°", "5 cm²", "a “normal” heart", "the patient’s heart"):
        assert cells(read_bytes(tmp_path, table.format(text, firm).encode("cp1252")))[2][1] == text


def test_tables_too_large_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("modules.corpus.tables.MAX_BYTES", 1 << 16)
    with pytest.raises(UserError, match="too much for one table"):
        read_bytes(tmp_path, gzip.compress(bytes(1 << 20)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", " " * (1 << 17))
    with pytest.raises(UserError, match="unpacks to more"):
        read_bytes(tmp_path, file.getvalue())
    with pytest.raises(UserError):
        read_table_file(tmp_path / "none.csv")


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30).map(str.strip)


@given(
    st.lists(st.tuples(text, text), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-16"]),
)
def test_what_is_written_is_read(tmp_path_factory, rows, separator, encoding):
    rows = [["id", "image_path", "report"], *([str(i), *row] for i, row in enumerate(rows))]
    table = read_bytes(tmp_path_factory.getbasetemp(), as_text(separator, rows).encode(encoding))
    assert cells(table) == rows
