"""modules/preparation/doctor*.py: every wrong thing is planted in a sound data set and must be found, and nothing else."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from test_pipeline import SMALL, call, places, prepare, prepared  # noqa: F401, a fixture

import main_prepare
import main_train
from modules.corpus.annotations import read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.feature_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.features import FeatureStore
from modules.options import parse_options
from modules.preparation.doctor import examine
from modules.preparation.mentions import PRESENT, entity_mentions


@pytest.fixture
def folder(prepared, tmp_path):  # noqa: F811
    """A copy of the prepared data set to spoil."""
    return shutil.copytree(prepared, tmp_path / "data")


def options(folder, *flags):
    words = [*places(folder), *SMALL, *flags]
    return parse_options("prepare", list(map(str, words)))


def found(folder, level="error", **how):
    """Texts of the problems of a level, one string for each, with their examples."""
    return [" | ".join([p.group, p.text, *p.examples]) for p in examine(options(folder), **how).of(level)]


def spoil_annotation(folder, change):
    path = folder / "annotation.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replace(folder, name, change, **made_by):
    """Overwrite an array, with a manifest that vouches for it."""
    store = FeatureStore.open(folder / "features")
    array = np.array(store[name])
    entry = store.entry(name)
    array = change(array)
    write_feature(folder / "features", name, array, axis=entry["axis"], made_by={**entry["made_by"], **made_by})


def test_a_sound_data_set_has_no_errors(folder, capsys):
    assert found(folder) == []
    with pytest.raises(SystemExit) as end:
        call(main_prepare, *places(folder), *SMALL, "--check")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for group in ("annotation: ok", "images: ok", "splits: ok", "features: ok", "retrieval: ok", "leaks: ok"):
        assert group in shown
    assert "0 kinds of errors" in shown


def test_exit_status(folder, capsys):
    (folder / "images" / read_annotation(folder / "annotation.json")["train"][0].image_path[0]).unlink()
    for flags, status in ((["--check"], 2), (["--check", "--strict"], 2)):
        with pytest.raises(SystemExit) as end:
            call(main_prepare, *places(folder), *SMALL, *flags)
        assert end.value.code == status
    spoil_annotation(folder, lambda content: content["train"].pop(0))
    shutil.rmtree(folder / "features")
    for flags, status in ((["--check"], 0), (["--check", "--strict"], 1)):
        with pytest.raises(SystemExit) as end:
            call(main_prepare, *places(folder), *SMALL, *flags)
        assert end.value.code == status
    assert "holds no features yet" in capsys.readouterr().out


def test_wrong_items_are_all_listed(folder):
    def change(content):
        items = content["train"]
        items[0]["labels"] = [0] * 13
        items[1]["labels"] = [9] * 18
        items[2]["report"] = "  "
        items[3]["image_path"] = ["../outside.png"]
        items[4]["image_path"] = []
        items[5]["clip_indices"] = [-1]
        items[6]["id"] = content["test"][0]["id"]
        items[7] = "no object"
        items[8].update(report="", labels=[1])

    spoil_annotation(folder, change)
    errors = found(folder, thorough=False)
    for words in (
        "annotation | 3 studies have wrong labels",
        "annotation | 2 studies have no report",
        "annotation | 1 image paths lead out of the image folder",
        "annotation | 1 studies have no usable image_path",
        "annotation | 1 studies have wrong clip_indices",
        "annotation | 1 items are no objects",
        "annotation | 1 ids appear more than once",
    ):
        assert sum(error.startswith(words) for error in errors) == 1, (words, errors)
    assert any("found 13 labels" in error for error in errors)


def test_a_file_that_is_no_annotation(tmp_path):
    (tmp_path / "annotation.json").write_text("[1")
    assert "is not a JSON file" in found(tmp_path)[0]
    assert "does not exist" in found(tmp_path / "nowhere")[0]


def test_patients_and_images_in_two_splits(folder):
    def change(content):
        content["test"][0]["patient"] = content["train"][0]["patient"]
        content["val"][0]["image_path"] = content["train"][1]["image_path"]
        del content["train"][2]["patient"]

    spoil_annotation(folder, change)
    errors = found(folder, thorough=False)
    assert any(error.startswith("splits | 1 patients are in two splits") for error in errors)
    assert any(error.startswith("splits | 1 images are in two splits") for error in errors)
    assert any(w.startswith("splits | the patient of 1 studies is unknown") for w in found(folder, "warning"))


def test_images(folder):
    studies = read_annotation(folder / "annotation.json")
    paths = [folder / "images" / study.image_path[0] for study in studies["train"]]
    held_out = folder / "images" / studies["test"][0].image_path[0]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    shutil.copy(paths[2], held_out)
    Image.new("RGB", (80, 80), (7, 7, 7)).save(paths[3])
    Image.open(paths[4]).resize((90, 30)).save(paths[4])
    errors, warnings = found(folder), found(folder, "warning")
    assert any(
        error.startswith(f"images | 1 of {sum(map(len, studies.values()))} images are not in") for error in errors
    )
    assert any(error.startswith("images | 1 images cannot be decoded") and str(paths[1]) in error for error in errors)
    assert any(error.startswith("images | 1 image files have the same content in two splits") for error in errors)
    assert any(warning.startswith("images | 1 images are blank") for warning in warnings)
    assert any(warning.startswith("images | 1 images have a side below 73 pixels") for warning in warnings)
    assert any(warning.startswith("images | 1 images are more than 2.5 times") for warning in warnings)


def test_reports(folder):
    def change(content):
        content["train"][0]["report"] = "??"
        content["train"][1]["report"] = "A long report. " * 150
        for item in content["test"]:
            item["report"] = content["train"][2]["report"]

    spoil_annotation(folder, change)
    assert any(error.startswith("reports | 1 reports are empty once") for error in found(folder))
    warnings = found(folder, "warning")
    assert any(warning.startswith("reports | 1 reports have more than 300 words") for warning in warnings)
    assert any(warning.startswith("reports | 100.0% of the 9 test reports are word for word") for warning in warnings)


@pytest.mark.parametrize(
    ("dataset", "sizes", "fits"),
    [
        ("iu_xray", (2069, 296, 590), True),
        ("iu_xray", (0, 0, 4168), True),
        ("iu_xray", (2069, 296, 591), False),
        ("mimic_cxr", (3, 2, 1), False),
        ("custom", (3, 2, 1), True),
        ("custom", (3, 0, 1), False),
    ],
)
def test_sizes(dataset, sizes, fits):
    from modules.corpus.annotations import Study
    from modules.preparation.diagnosis import Diagnosis
    from modules.preparation.doctor_corpus import look_at_sizes

    study = {split: Study(id="a", image_path=("a",), report="a", split=split) for split in ("train", "val", "test")}
    diagnosis = Diagnosis()
    look_at_sizes(dataset, [s for size, s in zip(sizes, study.values(), strict=True) for _ in range(size)], diagnosis)
    empty = sizes[0] == 0
    assert (len(diagnosis.of("warning")) == (1 if empty else 0)) == fits


# features


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "region_scores",
            lambda a: np.where(np.arange(75) == 3, np.nan, a),
            "features | 1 arrays hold NaN or infinity",
        ),
        ("region_scores", lambda a: np.full_like(a, 0.5), "features | 1 arrays are constant"),
        ("region_scores", lambda a: a + 1, "leave [0, 1]"),
        ("region_scores", lambda a: a[:, :74], "features | 1 arrays have a wrong shape"),
        ("region_text", lambda a: np.zeros_like(a), "features | 1 arrays are constant"),
        ("report_features", lambda a: a[:, :4], "features | 1 arrays have a wrong shape"),
        ("labels", lambda a: a + 4, "leave 0 to 3"),
        ("labels", lambda a: (a + 1) % 4, "are not the annotation's"),
        ("memory_indices", lambda a: a + 1000, "memory_indices of 60 studies point outside the"),
        ("memory_indices", lambda a: a * 0 - 1, "memory_indices of 60 studies point outside the"),
        ("label_neighbours", lambda a: np.arange(len(a))[:, None] + 0 * a, "point at themselves"),
    ],
)
def test_wrong_arrays(folder, name, change, words):
    dtype = FeatureStore.open(folder / "features")[name].dtype
    replace(folder, name, lambda array: change(array).astype(dtype))
    errors = found(folder, thorough=False)
    assert any(words in error for error in errors), errors


def test_a_study_in_its_own_memory(folder):
    store = FeatureStore.open(folder / "features")
    rows = store.rows("studies", store.row_ids("training"))

    def change(memory):
        memory[rows[5], 2] = 5
        return memory

    replace(folder, "memory_indices", change)
    errors = found(folder, thorough=False)
    assert any("memory_indices of 1 studies point at themselves" in error for error in errors), errors


def test_missing_damaged_and_changed_arrays(folder):
    (folder / "features/region_text.npy").unlink()
    path = folder / "features/label_neighbours.npy"
    path.write_bytes(path.read_bytes()[:-8])
    assert any(error.startswith("features | 2 arrays are missing, damaged") for error in found(folder, thorough=False))


def test_bytes_that_changed(folder):
    path = folder / "features/report_features.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert found(folder, thorough=False) == []
    assert any("1 files differ from the manifest" in error for error in found(folder))


def test_features_of_an_older_annotation(folder):
    spoil_annotation(folder, lambda content: content["train"][0].update(report="Another report of the heart."))
    errors = found(folder, thorough=False)
    assert any("arrays are stale" in error and "labels: made from another annotation" in error for error in errors)
    spoil_annotation(folder, lambda content: content["train"].append({**content["train"][0], "id": "new"}))
    assert any("1 of 61 studies have no features" in error for error in found(folder, thorough=False))


def test_arrays_made_from_others_that_changed(folder):
    replace(folder, "region_scores", lambda array: array * np.float32(0.999))
    errors = found(folder, thorough=False)
    assert any("memory_indices: region_scores has changed since it was made" in error for error in errors), errors


# leaks


def own_mentions(folder):
    """Whether each entity is present in the own report of every study, in the order of the features."""
    store = FeatureStore.open(folder / "features")
    studies = {s.id: s for split in read_annotation(folder / "annotation.json").values() for s in split}
    ordered = [studies[identifier] for identifier in store.row_ids("studies")]
    held_out = np.array([study.split != "train" for study in ordered])
    return entity_mentions([study.report for study in ordered]) == PRESENT, held_out


def test_scores_made_from_the_test_report_are_caught(folder):
    """The planted leak: everything else is rebuilt from it, so that the manifest is in order."""
    mentions, held_out = own_mentions(folder)

    def change(scores):
        scores[held_out] = np.where(mentions[held_out], 0.9, 0.1)
        return scores

    replace(folder, "region_scores", change)
    prepare(folder)  # brings the memory in line with the scores, as whoever planted it would
    assert found(folder, thorough=False) == []
    errors = found(folder)
    assert len(errors) == 1
    assert errors[0].startswith(
        "leaks | 12 arrays of 12 held-out studies do not come out again from image and entity scorer"
    )
    assert "region_scores differs" in errors[0]


def test_embeddings_made_from_the_test_report_are_caught(folder):
    mentions, held_out = own_mentions(folder)

    def change(text):
        text[held_out, :, 0] = mentions[held_out]
        return text

    replace(folder, "region_text", change)
    errors = found(folder)
    assert len(errors) == 1
    assert "region_text differs" in errors[0]


def test_a_memory_made_from_the_test_report_is_caught(folder):
    mentions, held_out = own_mentions(folder)
    bank = TrainingBank(FeatureStore.open(folder / "features"))
    in_bank = entity_mentions(bank.reports) == PRESENT
    nearest = np.argsort((mentions[:, None] != in_bank[None]).sum(-1), axis=1)

    def change(memory):
        memory[held_out] = nearest[held_out, : memory.shape[1]]
        return memory

    replace(folder, "memory_indices", change)
    errors = found(folder)
    assert len(errors) == 1
    assert errors[0].startswith("leaks | the memory of")


def test_scores_that_know_too_much_are_caught_without_a_scorer(folder):
    """Features that somebody else made cannot be made again; the AUROC tells, given enough reports."""
    from modules.preparation.diagnosis import Diagnosis
    from modules.preparation.doctor_leaks import _ask_what_scores_know

    mentions, _ = own_mentions(folder)
    studies = [s for split in read_annotation(folder / "annotation.json").values() for s in split]
    store = FeatureStore.open(folder / "features")
    from dataclasses import replace as with_changes

    diagnosis = Diagnosis()
    everyone = [with_changes(study, split="test") for study in studies]
    _ask_what_scores_know(store, everyone, diagnosis)
    assert not diagnosis.of("error")
    replace(folder, "region_scores", lambda scores: np.where(mentions, 0.9, 0.1).astype(np.float32))
    _ask_what_scores_know(FeatureStore.open(folder / "features"), everyone, diagnosis)
    assert "more than an image can tell" in diagnosis.of("error")[0].text


def test_a_bank_that_holds_test_reports_is_caught(folder):
    annotation = read_annotation(folder / "annotation.json")
    features = folder / "features"
    store = FeatureStore.open(features)
    ids = list(store.row_ids("training"))
    reports = [dict(row) for row in store.bank_reports]
    ids[0] = reports[0]["id"] = annotation["test"][0].id
    arrays = {name: (np.array(store[name]), store.entry(name)) for name in
              ("report_features", "sentence_features", "sentence_offsets", "label_neighbours")}  # fmt: skip
    write_axis(features, "training", ids)
    write_bank_reports(features, reports)
    for name, (array, entry) in arrays.items():
        write_feature(features, name, array, axis=entry["axis"], made_by=entry["made_by"])
    errors = found(folder, thorough=False)
    assert any("the bank holds the reports of 1 studies that are not in training" in error for error in errors)
    assert any("1 training studies are not in the bank" in error for error in errors)


def test_another_text_in_the_bank_is_caught(folder):
    reports = [dict(row) for row in FeatureStore.open(folder / "features").bank_reports]
    reports[4]["report"] = read_annotation(folder / "annotation.json")["test"][0].report
    write_bank_reports(folder / "features", reports)
    errors = found(folder, thorough=False)
    assert any("1 reports of the bank are not those of their study" in error for error in errors)


# training


def test_training_refuses_what_the_doctor_refuses(folder, capsys, tmp_path):
    def change(content):
        content["test"][0]["patient"] = content["train"][0]["patient"]
        content["train"][1]["labels"] = [0] * 13

    spoil_annotation(folder, change)
    with pytest.raises(SystemExit) as end:
        call(main_train, *places(folder), *SMALL, "--save_dir", tmp_path / "run")
    assert end.value.code == 2
    message = capsys.readouterr().err
    for words in ("things are wrong with this data set", "13 labels", "1 patients are in two splits", "--check"):
        assert words in message
    assert not (tmp_path / "run").exists()
