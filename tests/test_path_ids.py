"""Studies that are named by paths: folders in the middle of a path, and what data sets and programs call the column."""

import csv
import json

import pytest

from modules.evaluation.reading.matching import rows_of, study_names
from modules.evaluation.reading.report_files import read_report_file
from modules.evaluation.reading.study_ids import plain_id
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.custom import read_custom

STUDIES = [f"patient{patient}/study{study}" for patient in (10, 11, 12) for study in (1, 2)]
TEXTS = [f"The heart is enlarged. Nodule of {number + 3} mm." for number in range(6)]
ORDER = [3, 0, 5, 1, 4, 2]


def write(path, heading, names, texts, text="report", **more):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([heading, text, *more])
        writer.writerows(zip(names, texts, *more.values(), strict=True))
    return path


def pair(predictions, references):
    """Place of the generated report for every reference."""
    return rows_of("p", read_report_file(predictions), read_report_file(references, "reference"), [])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("front", ["", "valid/", "CheXpert-v1.0-small/valid/"])
def test_the_folder_of_a_study_is_found_inside_of_paths(tmp_path, front, both):
    """It was said that there were several reports of one study, study2."""
    films = [f"{front}{study}/view1_frontal.jpg" for study in STUDIES]
    ours = write(tmp_path / "p.csv", "id", [STUDIES[i] for i in ORDER], [TEXTS[i] for i in ORDER])
    theirs = write(tmp_path / "r.csv", "image_path", films, TEXTS)
    assert pair(ours, theirs) == [ORDER.index(i) for i in range(6)]
    if both:  # the other way round
        theirs, ours = ours, write(tmp_path / "q.csv", "image_path", films, TEXTS)
        assert pair(ours, theirs) == ORDER


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_list_of_images_in_a_cell_is_named_by_its_first(tmp_path, quote):
    films = [f"{study}/view1.jpg" for study in STUDIES]
    cells = [f"[{quote}{film}{quote}, {quote}{film[:-5]}2.jpg{quote}]" for film in films]
    ours = write(tmp_path / "p.csv", "image", cells[::-1], TEXTS[::-1])
    assert pair(ours, write(tmp_path / "r.csv", "image_path", films, TEXTS)) == [5, 4, 3, 2, 1, 0]
    assert study_names(read_report_file(ours)) == films[::-1]
    odd = write(
        tmp_path / "odd.csv", "id", [f"[{n}x]" for n in range(6)], TEXTS
    )  # an id between brackets stays as it is
    assert study_names(read_report_file(odd))[0] == "[0x]"


@pytest.mark.parametrize(
    "form",
    ["('{}',)", "['{}']", "np.str_('{}')", "b'{}'", "array('{}', dtype='<U9')", "tensor({})", "tensor([{}])", "tensor({}, device='cuda:0')", "np.int64({})"],
)  # fmt: skip
def test_what_python_prints_around_an_id_is_none_of_it(tmp_path, form):
    """As a loop writes str() of what a loader collates; --columns, which was advised, does not help."""
    numbers = [50414267 + 9973 * number**2 for number in range(6)]
    ids = [f"{number}" if "tensor" in form or "int" in form else f"s{number}" for number in numbers]
    ours = write(tmp_path / "p.csv", "id", [form.format(ids[i]) for i in ORDER], [TEXTS[i] for i in ORDER])
    theirs = write(tmp_path / "r.csv", "study_id", numbers, TEXTS)
    assert pair(ours, theirs) == [ORDER.index(i) for i in range(6)]
    assert study_names(read_report_file(ours))[0] == ids[ORDER[0]]


@pytest.mark.parametrize("name", ["tensor([1, 2])", "CXR (1)", "img(3)", "b5", "(a, b)"])
def test_an_id_of_its_own_brackets_stays(name):
    assert plain_id(name) == name.lower()


def test_several_views_of_a_study_share_its_report(tmp_path):
    films = [f"valid/{study}/{view}.jpg" for study in STUDIES for view in ("view1_frontal", "view2_lateral")]
    ours = write(tmp_path / "p.csv", "id", STUDIES[::-1], TEXTS[::-1])
    theirs = write(tmp_path / "r.csv", "image_path", films, [text for text in TEXTS for _ in range(2)])
    assert pair(ours, theirs) == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]


def test_studies_that_no_way_of_reading_brings_together_are_not_said_to_have_several_reports(tmp_path):
    ours = write(tmp_path / "p.csv", "id", STUDIES, TEXTS)
    films = [f"valid/{study.replace('patient', 'subject')}/view1.jpg" for study in STUDIES]
    assert pair(ours, write(tmp_path / "r.csv", "image_path", films, TEXTS)) == [None] * 6


@pytest.mark.parametrize("heading", ["path_to_image", "image_paths", "file_path", "dicom_path"])
def test_headings_of_paths_are_ids_of_the_scorer_and_images_of_a_preparation(tmp_path, heading):
    films = [f"train/{study}/view1_frontal.jpg" for study in STUDIES]
    ours = write(tmp_path / "p.csv", heading, films[::-1], TEXTS[::-1], "generated")
    assert pair(ours, write(tmp_path / "r.csv", heading, films, TEXTS)) == [5, 4, 3, 2, 1, 0]
    own = read_custom(tmp_path / "r.csv", RawOptions(), with_images=False)
    assert [study.images[0] for study in own.studies] == films


def test_chexpert_plus_as_it_is(tmp_path):
    films = [f"train/{study}/view1_frontal.jpg" for study in STUDIES]
    more = {
        "deid_patient_id": [study.split("/")[0] for study in STUDIES], "section_findings": TEXTS,
        "section_impression": ["Stable."] * 6, "age": ["50.0"] * 6,
    }  # fmt: skip
    whole = [f"NARRATIVE: X. FINDINGS: {text} IMPRESSION: Stable." for text in TEXTS]
    path = write(tmp_path / "r.csv", "path_to_image", films, whole, **more)
    studies = read_custom(path, RawOptions(), with_images=False).studies
    assert [(study.report, study.patient) for study in studies] == list(
        zip(TEXTS, more["deid_patient_id"], strict=True)
    )
    assert pair(write(tmp_path / "p.csv", "path_to_image", films[::-1], TEXTS[::-1], "generated"), path) == [5, 4, 3, 2, 1, 0]  # fmt: skip


@pytest.mark.parametrize(
    "image", [lambda film: [film], lambda film: [{"bytes": None, "path": film}], lambda film: film]
)
def test_ms_swift_names_its_studies_by_images(tmp_path, image):
    films = [f"/data/{study}/view1.jpg" for study in STUDIES]
    rows = [{"response": TEXTS[i], "labels": TEXTS[i], "images": image(films[i])} for i in ORDER]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert pair(tmp_path / "p.jsonl", write(tmp_path / "r.csv", "image_path", films, TEXTS)) == [ORDER.index(i) for i in range(6)]  # fmt: skip


@pytest.mark.parametrize("image", ["{{'bytes': None, 'path': '{}'}}", "[{{'bytes': None, 'path': '{}'}}]"])
def test_an_image_in_a_table_may_be_an_object(tmp_path, image):
    films = [f"/data/{study}/view1.jpg" for study in STUDIES]
    ours = write(tmp_path / "p.csv", "image", [image.format(films[i]) for i in ORDER], [TEXTS[i] for i in ORDER])
    assert pair(ours, write(tmp_path / "r.csv", "image_path", films, TEXTS)) == [ORDER.index(i) for i in range(6)]
    assert plain_id(image.format("a/007.png")) == "a/007"
