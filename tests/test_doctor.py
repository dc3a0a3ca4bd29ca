"""modules/preparation/doctor*.py: every wrong thing is planted in a sound data set and must be found, and nothing else."""

import json
import re
import shutil
from dataclasses import replace as with_changes

import numpy as np
import pytest
from PIL import Image
from programs import SMALL, SMALL_IMAGE, call, copy_of, places, prepare

import main_train
from modules.corpus import store_writing as feature_writing
from modules.corpus.annotations import Study, read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature
from modules.labelling.mentions import PRESENT, entity_mentions
from modules.options.parsing import parse_options
from modules.preparation.doctor.corpus import look_at_sizes
from modules.preparation.doctor.examination import examine
from modules.preparation.doctor.features import Examined
from modules.preparation.doctor.findings import Diagnosis
from modules.preparation.doctor.leaks import _ask_what_scores_know
from tools import check


@pytest.fixture
def folder(prepared, tmp_path):
    """A copy of the prepared data set to spoil."""
    copy = copy_of(prepared, tmp_path / "data")
    for beside in (copy / "features").glob(".*"):  # what programs that read the first folder write beside it
        beside.unlink()
    return copy


LOOKED_AT = ["--image_size", "64", "--num_workers", 0]


def examined(options, **how):
    return examine(options.data, options.check, **how)


def options(folder, *flags):
    return parse_options(check.Check, list(map(str, [*places(folder), *LOOKED_AT, *flags])))


def found(folder, level="error", **how):
    """Texts of the problems of a level, one string for each, with their examples."""
    return [" | ".join([p.group, p.text, *p.examples]) for p in examined(options(folder), **how).of(level)]


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
        call(check, *places(folder), *LOOKED_AT)
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for group in ("annotation: ok", "images: ok", "splits: ok", "features: ok", "retrieval: ok", "leaks: ok"):
        assert group in shown
    assert "0 kinds of errors" in shown
    assert "are longer than" not in shown  # nothing is


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 kinds of errors"), (1, "1 kind of error"), (2, "2 kinds of errors")]
)
def test_one_kind_is_counted_as_one(count, said):
    diagnosis = Diagnosis()
    for _ in range(count):
        diagnosis.add("error", "images", "broken")
    assert [*diagnosis.lines()][-1] == f"{said}, 0 kinds of warnings"


def test_a_text_of_the_bank_that_was_changed_is_found_and_written_again(folder):
    """Under the right id another report was believed: only the arrays had checksums."""
    path = folder / "features" / "training.jsonl"
    path.write_text(path.read_text().replace("the", "a"))
    assert any("training.jsonl has changed since it was written" in text for text in found(folder))
    prepare(folder)
    assert found(folder) == []


def test_reports_that_are_cut_are_counted(folder):
    shorter = examined(options(folder, "--max_words", 3)).of("note")
    assert [note.text for note in shorter if "longer" in note.text] == [
        "100.0% of the reports are longer than --max_words 3 and are cut"
    ]


def test_exit_status(folder, capsys):
    (folder / "images" / read_annotation(folder / "annotation.json")["train"][0].image_path[0]).unlink()
    for flags, status in (([], 2), (["--strict"], 2)):
        with pytest.raises(SystemExit) as end:
            call(check, *places(folder), *LOOKED_AT, *flags)
        assert end.value.code == status
    spoil_annotation(folder, lambda content: content["train"].pop(0))
    shutil.rmtree(folder / "features")
    for flags, status in (([], 0), (["--strict"], 1)):
        with pytest.raises(SystemExit) as end:
            call(check, *places(folder), *LOOKED_AT, *flags)
        assert end.value.code == status
    assert "holds no features yet" in capsys.readouterr().out


def test_a_file_in_place_of_the_feature_folder_is_an_error(folder, capsys):
    """It was said to hold no features yet, with status 0."""
    with pytest.raises(SystemExit) as end:
        call(check, *places(folder), *LOOKED_AT, "--feature_dir", folder / "features/manifest.json")
    assert end.value.code == 2
    assert "manifest.json is a file, expected a folder: give the one that" in capsys.readouterr().out


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


def test_an_item_that_says_another_split_than_its_list_is_told(folder):
    """The list counts: a split that was moved in one of the two places alone would train on what is to be tested."""

    def change(content):
        content["train"][0]["split"] = "test"
        content["val"][0]["split"] = "validation"  # the same
        content["test"][0]["split"] = ""

    spoil_annotation(folder, change)
    said = [w for w in found(folder, "warning", thorough=False) if "lie in one split and say another" in w]
    first = json.loads((folder / "annotation.json").read_text())["train"][0]["id"]
    assert len(said) == 1
    assert said[0].startswith("annotation | 1 studies lie")
    assert said[0].endswith(f"{first}: train, test")


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
    assert not any("16 bits" in warning for warning in found(folder, "warning"))
    Image.fromarray(np.arange(80 * 80, dtype=np.uint16).reshape(80, 80)).save(paths[5])
    errors, warnings = found(folder), found(folder, "warning")
    assert any(
        error.startswith(f"images | 1 of {sum(map(len, studies.values()))} images are not in") for error in errors
    )
    assert any(error.startswith("images | 1 images cannot be decoded") and str(paths[1]) in error for error in errors)
    assert any(error.startswith("images | 1 image files have the same content in two splits") for error in errors)
    assert any(warning.startswith("images | 1 images are blank") for warning in warnings)
    assert any(warning.startswith("images | 1 images hold 16 bits, which are spread") for warning in warnings)
    assert any(warning.startswith("images | 1 images have a side below 73 pixels") for warning in warnings)
    assert any(warning.startswith("images | 1 images are more than 2.5 times") for warning in warnings)


def test_images_are_held_against_the_side_that_a_small_set_is_given(folder, capsys):
    """Forty drawings of 110 pixels were said to be enlarged for --image_size 224, and the training read 128."""
    for flags, side in ([], 128), (["--image_size", 96], 96):
        with pytest.raises(SystemExit):
            call(check, *places(folder), "--dataset_name", "custom", "--num_workers", 0, *flags)
        assert f"pixels and are enlarged for --image_size {side}\n" in capsys.readouterr().out


def test_reports(folder):
    def change(content):
        content["train"][0]["report"] = "1. "  # cleaning takes the numbers of a list out
        content["train"][1]["report"] = "A long report. " * 150
        content["train"][3]["report"] = "Kein Erguss. Herz nicht verbreitert."
        for item in content["test"]:
            item["report"] = content["train"][2]["report"]

    spoil_annotation(folder, change)
    assert any(error.startswith("reports | 1 reports are empty once") for error in found(folder))
    warnings = found(folder, "warning")
    assert any(warning.startswith("reports | 1 reports have more than 300 words") for warning in warnings)
    assert any(warning.startswith("reports | 1 reports are not English") for warning in warnings)
    assert any(warning.startswith("reports | 100.0% of the 9 test reports are word for word") for warning in warnings)


def test_a_data_set_of_another_language_is_an_error(folder):
    def change(content):
        for item in [item for items in content.values() for item in items]:
            item["report"] = f"Kein Erguss. Herz nicht verbreitert, {item['id']}."

    spoil_annotation(folder, change)
    assert any(re.match(r"reports \| \d+ reports are not English", error) for error in found(folder))


@pytest.mark.parametrize(
    ("dataset", "sizes", "fits"),
    [
        ("iu_xray", (2069, 296, 590), True),
        ("iu_xray", (0, 0, 4168), True),
        ("iu_xray", (2069, 296, 591), False),
        ("mimic_cxr", (270_790, 2_130, 3_858), True),
        ("mimic_cxr", (270_790, 2_130, 3_859), False),
        ("mimic_cxr", (3, 2, 1), False),
        ("custom", (3, 2, 1), True),
        ("custom", (3, 0, 1), False),
    ],
)
def test_sizes(dataset, sizes, fits):
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
        ("region_text", lambda a: a[:, :74], "region_text: (60, 74, 16), expected (*, 75, *)"),
        ("report_features", lambda a: a[:, :4], "features | 1 arrays have a wrong shape"),
        ("sentence_features", lambda a: a[:, :15], "15), expected (*, 16)"),
        ("sentence_offsets", lambda a: a[:-1], "does not divide the"),
        ("memory_indices", lambda a: a[:, :4], "memory_indices: (60, 4), expected (*, 5)"),
        ("memory_indices", lambda a: a[:, 0], "memory_indices: (60,), expected (*, 5)"),
        ("label_neighbours", lambda a: a[:, :0], "label_neighbours: (48, 0), expected (48, "),
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


def planted_leak(folder, name="region_scores"):
    """Features of held-out studies that are their own mentions."""
    mentions, held_out = own_mentions(folder)

    def change(array):
        if name == "region_scores":
            array[held_out] = np.where(mentions[held_out], 0.9, 0.1)
        else:
            array[held_out, :, 0] = mentions[held_out]
        return array

    replace(folder, name, change)


def test_what_is_intact_is_looked_at_whatever_is_broken(folder):
    """A missing array, NaN, a wrong neighbour and a leak are all said at once, and so is what was skipped."""
    planted_leak(folder)
    (folder / "features/report_features.npy").unlink()
    replace(folder, "sentence_features", lambda a: np.full_like(a, np.inf))
    replace(folder, "label_neighbours", lambda a: np.where(np.arange(len(a))[:, None] == 3, 3, a).astype(a.dtype))
    replace(folder, "memory_indices", lambda a: a + 1000)
    spoil_annotation(folder, lambda content: content["train"].append({**content["train"][0], "id": "new"}))
    errors, warnings = found(folder), found(folder, "warning")
    for words in (
        "features | 1 arrays are missing, damaged",
        "features | 1 arrays hold NaN or infinity",
        "features | 1 of 61 studies have no features",
        "retrieval | label_neighbours of 1 studies point at themselves",
        "retrieval | memory_indices of 60 studies point outside",
        "retrieval | 1 training studies are not in the bank",
        "leaks | 12 arrays of 12 held-out studies do not come out again",
    ):
        assert sum(error.startswith(words) for error in errors) == 1, (words, errors)
    skipped = [warning for warning in warnings if "skipped" in warning]
    assert skipped == ["leaks | skipped: making the memory again, because of memory_indices (see features)"]


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("region_scores.npy", ["what the scores know", "making the scores", "making the memory"]),
        ("memory_indices.npy", ["the memory,", "making the memory"]),
        ("label_neighbours.npy", ["the label neighbours"]),
        ("report_features.npy", []),
        ("training.jsonl", ["the texts of the bank", "making the memory"]),
        ("training.json", ["the reports of the bank", "the label neighbours", "the memory,", "making the memory"]),
        ("studies.json", ["the memory,", "what the scores know"]),
    ],
)
def test_what_cannot_be_looked_at_is_said(folder, name, skipped):
    (folder / "features" / name).unlink()
    assert any(name in error for error in found(folder))
    said = [warning.split("skipped: ")[1] for warning in found(folder, "warning") if "skipped: " in warning]
    assert len(said) == len(skipped)
    for words in skipped:
        assert any(line.startswith(words) and name.removesuffix(".npy") in line for line in said), (words, said)


def test_a_manifest_that_cannot_be_read_leaves_the_rest_to_be_looked_at(folder):
    (folder / "features/manifest.json").write_text("{")
    (folder / "images" / read_annotation(folder / "annotation.json")["train"][0].image_path[0]).unlink()
    errors = found(folder)
    assert sum("manifest.json is not a JSON file" in error for error in errors) == 1
    assert any(error.startswith("images | 1 of 60 images are not in") for error in errors)


def test_features_are_looked_at_without_an_annotation(folder):
    replace(folder, "report_features", lambda a: np.full_like(a, np.nan))
    (folder / "annotation.json").write_text("[")
    errors = found(folder)
    assert any("is not a JSON file" in error for error in errors)
    assert any("1 arrays hold NaN" in error for error in errors)
    assert "leaks | skipped: there are no studies to search" in found(folder, "warning")


def test_a_skipped_search_for_leaks_is_not_called_ok(folder):
    shutil.rmtree(folder / "features")
    lines = list(examined(options(folder)).lines())
    assert "leaks" in lines
    assert any("skipped: there are no features to search" in line for line in lines)


def test_what_a_killed_training_leaves_is_no_interrupted_build(folder):
    (folder / "features/..trainings.json.17.tmp").write_bytes(b"half")
    assert [warning for warning in found(folder, "warning", thorough=False) if "interrupted" in warning] == []


def test_an_interrupted_build_is_named(folder):
    """Of a first build arrays are missing; of a rebuild the old ones are there."""
    (folder / "features/.region_text.npy.17.tmp").write_bytes(b"half")
    (warning,) = [w for w in found(folder, "warning", thorough=False) if "interrupted" in w]
    assert ".region_text.npy.17.tmp" in warning
    manifest = json.loads((folder / "features/manifest.json").read_text())
    del manifest["arrays"]["region_text"]
    (folder / "features/manifest.json").write_text(json.dumps(manifest))
    (error,) = found(folder, thorough=False)
    assert "has no array region_text" in error
    assert "a build was interrupted and left .region_text.npy.17.tmp: run main_prepare.py again" in error
    prepare(folder)
    assert found(folder) == []
    assert not list((folder / "features").glob(".*"))


def test_a_rebuild_that_was_interrupted_between_two_arrays(folder, monkeypatch, capsys, tmp_path):
    """New report features beside old sentence features of equal width: nothing is missing, and yet training refuses."""
    enter = feature_writing._enter

    def interrupt(directory, name, *rest):
        enter(directory, name, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_writing, "_enter", interrupt)
    with pytest.raises(SystemExit):
        prepare(folder, "--text_pooling", "cls")
    monkeypatch.undo()
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        call(main_train, *places(folder), *SMALL, *SMALL_IMAGE, "--save_dir", tmp_path / "run")
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "1 pairs of arrays are of two builds, of which the second was interrupted: run main_prepare.py" in message
    assert "report_features and sentence_features: pooling cls and mean" in message
    prepare(folder, "--text_pooling", "cls")
    assert found(folder) == []


@pytest.mark.parametrize(
    ("name", "origin", "words"),
    [
        ("report_features", {"seed": 5}, ["report_features and sentence_features: seed 5 and 456789"]),
        ("sentence_offsets", {"encoder": "x"}, ["sentence_features and sentence_offsets: encoder lsa and x"]),
        ("region_scores", {"epochs": 7}, ["region_scores and region_text: epochs 7 and 1"]),
        (
            "region_text",
            {"scorer": "x"},
            ["region_text: entity_scorer.pth has changed", "region_scores and region_text"],
        ),
        ("region_text", {"dtype": "float64"}, []),
    ],
)
def test_arrays_of_two_builds(folder, name, origin, words):
    replace(folder, name, lambda array: array, **origin)
    errors = found(folder)
    assert len(errors) == len(words)
    for sentence in words:
        assert any(sentence in error for error in errors), errors


def test_published_arrays_come_from_files_of_their_own(folder):
    """Each has a file to name, so that only what else they were made by is compared."""
    for name, mark in (("report_features", "a"), ("sentence_features", "b"), ("sentence_offsets", "b")):
        replace_origin(folder, name, {"published": mark, "dtype": "float16", **({"width": 16} if mark == "b" else {})})
    for name, mark in (("region_scores", ["c"]), ("region_text", "d")):
        replace_origin(folder, name, {"published": mark})
    assert found(folder) == []
    replace_origin(folder, "sentence_offsets", {"published": "e", "dtype": "float16", "width": 16})
    (error,) = found(folder)
    assert "sentence_features and sentence_offsets: published b and e" in error


def test_features_with_another_bank(folder, tmp_path):
    """A test set that retrieves from the training reports of another data set."""
    other = shutil.copytree(folder, tmp_path / "other")
    shutil.rmtree(other / "features")
    spoil_annotation(other, lambda content: content.update(train=[], val=[]))
    flags = ["--dataset_name", "custom", "--bank_dir", folder / "features"]
    prepare(other, *flags)

    def errors():
        return [" | ".join([p.text, *p.examples]) for p in examined(options(other, *flags)).of("error")]

    assert errors() == []
    replace(folder, "report_features", lambda a: a[::-1])
    (error,) = errors()
    assert "memory_indices: report_features has changed since it was made" in error
    shutil.rmtree(folder / "features")
    replace(other, "labels", lambda a: a * 0 + 1)
    said = errors()
    assert any("holds no manifest.json" in error for error in said)
    assert any("arrays are constant" in error and "labels" in error for error in said)


def replace_origin(folder, name, made_by):
    """Let the manifest say that an array was made otherwise."""
    path = folder / "features/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["arrays"][name]["made_by"] = made_by
    path.write_text(json.dumps(manifest))


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
    planted_leak(folder)
    prepare(folder)  # brings the memory in line with the scores, as whoever planted it would
    assert found(folder, thorough=False) == []
    errors = found(folder)
    assert len(errors) == 1
    assert errors[0].startswith(
        "leaks | 12 arrays of 12 held-out studies do not come out again from image and entity scorer"
    )
    assert "region_scores differs" in errors[0]


def test_embeddings_made_from_the_test_report_are_caught(folder):
    planted_leak(folder, "region_text")
    errors = found(folder)
    assert len(errors) == 1
    assert "region_text differs" in errors[0]


def test_embeddings_of_another_width_are_caught_unless_another_scorer_made_them(folder):
    replace(folder, "region_text", lambda array: array[..., :8])
    (error,) = found(folder)
    assert "leaks | 12 arrays of 12" in error
    assert "region_text has the shape (75, 8)" in error
    for name in ("region_scores", "region_text"):
        replace_origin(folder, name, {"entity_scorer": "medklip"})  # beside the scorer of an earlier build
    assert found(folder) == []


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
    mentions, _ = own_mentions(folder)
    studies = [s for split in read_annotation(folder / "annotation.json").values() for s in split]
    store = FeatureStore.open(folder / "features")
    diagnosis = Diagnosis()
    everyone = [with_changes(study, split="test") for study in studies]
    _ask_what_scores_know(Examined(store, store, ()), everyone, diagnosis)
    assert not diagnosis.of("error")
    replace(folder, "region_scores", lambda scores: np.where(mentions, 0.9, 0.1).astype(np.float32))
    store = FeatureStore.open(folder / "features")
    _ask_what_scores_know(Examined(store, store, ()), everyone, diagnosis)
    assert "more than an image can tell" in diagnosis.of("error")[0].text
    rng = np.random.default_rng(0)
    replace(folder, "region_scores", lambda scores: rng.random(scores.shape, dtype=np.float32))
    diagnosis, store = Diagnosis(), FeatureStore.open(folder / "features")
    _ask_what_scores_know(Examined(store, store, ()), everyone, diagnosis)
    assert "hardly more than chance" in diagnosis.of("warning")[0].text


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
        call(main_train, *places(folder), *SMALL, *SMALL_IMAGE, "--save_dir", tmp_path / "run")
    assert end.value.code == 2
    message = capsys.readouterr().err
    for words in ("things are wrong with this data set", "13 labels", "1 patients are in two splits", "tools/check.py"):
        assert words in message
    assert not (tmp_path / "run").exists()  # the claim to the folder is given up
