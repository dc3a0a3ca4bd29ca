"""modules/preparation/raw/studies.py: which split a study is in, which are left out, and what is said of both."""

from dataclasses import replace

import pytest

from modules.corpus.splits import split_name
from modules.messages import UserError
from modules.preparation.raw.drawn_split import draw_split
from modules.preparation.raw.studies import (
    RawDataset,
    RawStudy,
    join_sections,
    unmask,
)


def data_set(count, studies_of_a_patient=1):
    return RawDataset(
        studies=[
            RawStudy(id=f"s{i}", patient=f"p{i // studies_of_a_patient}", images=(f"{i}.png",), report="x")
            for i in range(count)
        ],
        image_root=None,
    )


def splits_of(dataset):
    return {study.id: study.split for study in dataset.studies}


def test_one_patient_of_all_studies_is_no_patient():
    """A column that says ``anonymous`` everywhere gave a training of all studies and no test."""
    with pytest.raises(UserError, match=r"all 6 studies are of one patient, 'p0', .* --patient_column none"):
        draw_split(data_set(6, studies_of_a_patient=6), seed=1)
    draw_split(data_set(1), seed=1)
    unnamed = data_set(6)  # studies of nobody
    for study in unnamed.studies:
        study.patient = None
    draw_split(unnamed, seed=1)
    assert {*splits_of(unnamed).values()} == {"train", "test"}


def test_a_drawn_split_has_its_shares_and_no_patient_twice():
    dataset = data_set(200, studies_of_a_patient=4)
    draw_split(dataset, seed=1)
    by_patient = {}
    for study in dataset.studies:
        by_patient.setdefault(study.patient, set()).add(study.split)
    assert all(len(splits) == 1 for splits in by_patient.values())
    sizes = [list(splits_of(dataset).values()).count(split) for split in ("train", "val", "test")]
    assert sizes == [140, 20, 40]


def test_a_draw_depends_on_seed_and_patients_alone():
    one, turned, other = data_set(60), data_set(60), data_set(60)
    turned.studies.reverse()
    for dataset, seed in ((one, 1), (turned, 1), (other, 2)):
        draw_split(dataset, seed)
    assert splits_of(one) == splits_of(turned) != splits_of(other)


def test_a_rare_condition_is_in_validation_and_test():
    dataset = data_set(60)
    rare = ("s3", "s30", "s57")
    draw_split(dataset, 1, {study.id: {7} if study.id in rare else {0} for study in dataset.studies})
    assert {"val", "test"} <= {splits_of(dataset)[identifier] for identifier in rare}


def test_names_of_splits_are_those_that_data_sets_use():
    assert [split_name(name, "f") for name in ("Training", " dev", "TEST")] == ["train", "val", "test"]
    for name, shown in (("fold1", "'fold1'"), ("fold 1", "a text of 6 letters")):  # several words may be a report's
        with pytest.raises(UserError, match=f"f: the split is {shown}, expected train, val or test"):
            split_name(name, "f")


def test_studies_and_images_are_not_added_up_where_each_image_is_an_item():
    """Four of forty studies are left out; their 36 others hold two images each."""
    dataset = data_set(40)
    dataset.keep(lambda study: "no report" if int(study.id[1:]) < 4 else None)
    dataset.split_into_images(lambda study: [replace(study, id=f"{study.id}_{k}") for k in range(2)])
    assert len(dataset.studies) == 72
    assert dataset.losses("d/dropped_zero_shot.csv") == [
        "warning: 4 of 40 studies (10%) are left out: 4 no report; see d/dropped_zero_shot.csv"
    ]
    dataset.keep(lambda study: "cannot be decoded" if study.id.startswith("s39") or study.id < "s15" else None)
    assert dataset.losses()[1] == "warning: 12 of 72 images (17%) are left out: 12 cannot be decoded; see dropped.csv"


def test_what_is_left_out_is_counted_by_reason_and_said_again_if_it_is_much(tmp_path):
    dataset = data_set(10)
    dataset.image_root = tmp_path
    for number in range(8):
        (tmp_path / f"{number}.png").touch()
    dataset.keep(lambda study: "no report" if study.id == "s0" else None)
    dataset.keep_present()
    assert [study.id for study in dataset.studies] == [f"s{i}" for i in range(1, 8)]
    assert dataset.dropped == {"s0": "no report", "s8": "no image file", "s9": "no image file"}
    assert dataset.losses() == [
        "warning: 3 of 10 studies (30%) are left out: 2 no image file, 1 no report; see dropped.csv"
    ]
    assert "2 image files were looked for and are not there" in dataset.summary()[-1]
    one = data_set(100)
    one.keep(lambda study: "no report" if study.id == "s0" else None)
    assert one.losses() == []
    one.keep(lambda study: "no report")
    with pytest.raises(UserError, match=r"none of the 100 studies of f can be used \(100 no report\)"):
        one.require_studies("f")


def test_what_to_do_where_nothing_is_left():
    with pytest.raises(UserError, match=r"^f holds no report at all: give the files as they are published"):
        data_set(0).require_studies("f")
    for section, other in (("findings", "impression"), ("impression", "findings")):
        dataset = data_set(3)
        dataset.keep(lambda study, why=f"no {section} in the report": why)
        with pytest.raises(
            UserError, match=rf"\(3 no {section} in the report\): give --section {other} if the reports"
        ):
            dataset.require_studies("f")


def test_sections_are_joined_as_asked():
    assert [join_sections("A.", "B.", how) for how in ("findings", "impression", "both")] == ["A.", "B.", "A. B."]
    assert [join_sections("", "B.", how) for how in ("findings", "both")] == ["", "B."]
    assert join_sections("A.", "A.", "both") == "A."


def test_masked_words_go_as_asked():
    text = "The XXXX are clear. XXXX. No effusion in XXXX-XXXX."
    assert unmask(text, "keep") == text
    assert unmask(text, "word") == "The are clear. No effusion in."
    assert unmask(text, "sentence") == ""
    assert unmask("The XXXX are clear. No effusion.", "sentence") == "No effusion."
