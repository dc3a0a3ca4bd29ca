"""modules/corpus/store.py: nothing half-made, stale or damaged is ever read."""

import json
import multiprocessing
import os
import pickle

import numpy as np
import pytest

from modules.corpus import store_writing as feature_writing
from modules.corpus.store import FeatureStore, is_current, unfinished, verify
from modules.corpus.store_writing import (
    FeatureRows,
    create_feature,
    write_axis,
    write_bank_reports,
    write_base_rates,
    write_feature,
)
from modules.messages import UserError
from modules.records import read_json, sha256_of, write_json

STUDIES, TRAINING = ["a", "b", "c", "d"], ["c", "a"]
MADE = {"seed": 1, "widths": (2, 3)}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "features"
    write_axis(folder, "studies", STUDIES)
    write_axis(folder, "training", TRAINING)
    write_feature(folder, "labels", np.arange(8, dtype=np.int8).reshape(4, 2), axis="studies", made_by=MADE)
    write_feature(folder, "report_features", np.ones((2, 3), np.float32), axis="training", made_by=MADE)
    write_feature(folder, "sentence_features", np.ones((5, 3), np.float32), axis="sentences", made_by=MADE)
    write_feature(folder, "sentence_offsets", np.array([0, 2, 5]), axis="sentences", made_by=MADE)
    write_bank_reports(folder, ({"id": i, "patient": None, "report": f"report {i} ."} for i in TRAINING))
    return folder


def test_arrays_come_back_as_read_only_maps(folder):
    store = FeatureStore.open(folder)
    labels = store["labels"]
    assert isinstance(labels, np.memmap)
    assert labels.dtype == np.int8
    assert labels.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert store["labels"] is labels
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1
    assert "labels" in store
    assert "region_text" not in store
    entry = store.entry("labels")
    assert (entry["shape"], entry["dtype"], entry["axis"]) == ([4, 2], "int8", "studies")
    assert entry["made_by"] == {"seed": 1, "widths": [2, 3]}
    assert not list(folder.glob(".*"))


def test_rows_of_an_axis_or_an_array(folder):
    store = FeatureStore.open(str(folder))
    assert store.row_ids("training") == store.row_ids("report_features") == ("c", "a")
    assert store.row_ids("labels") == tuple(STUDIES)
    rows = store.rows("labels", iter(["d", "a", "d"]))
    assert rows.dtype == np.int64
    assert rows.tolist() == [3, 0, 3]
    assert store.rows("training", ["a"]).tolist() == [1]
    assert store.rows("studies", []).tolist() == []
    with pytest.raises(UserError, match=r"2 of 3 studies have no features in .*, first b, z: run main_prepare\.py"):
        store.rows("training", ["b", "a", "z"])
    with pytest.raises(AssertionError, match="sentence_offsets"):
        store.row_ids("sentence_features")


def test_bank_reports(folder):
    store = FeatureStore.open(folder)
    assert [row["report"] for row in store.bank_reports] == ["report c .", "report a ."]
    write_bank_reports(folder, [{"id": "a", "patient": None, "report": "x"}])
    assert len(store.bank_reports) == 2  # read once
    with pytest.raises(UserError, match="does not list the training studies"):
        _ = FeatureStore.open(folder).bank_reports
    (folder / "training.jsonl").unlink()
    with pytest.raises(UserError, match=r"training\.jsonl does not exist"):
        _ = FeatureStore.open(folder).bank_reports


def test_files_beside_the_arrays_are_known_by_their_checksums(folder):
    """Another report under the right id, and another prior, were believed."""
    path = folder / "training.jsonl"
    write_base_rates(folder, np.zeros((2, 14)))
    whole = path.read_text()
    path.write_text(whole.replace("report a", "other a"))
    with pytest.raises(
        UserError, match=r"training\.jsonl has changed since it was written: run main_prepare\.py again"
    ):
        _ = FeatureStore.open(folder).bank_reports
    assert ["training.jsonl has changed" in problem for problem in verify(folder)] == [True]
    assert not FeatureStore.open(folder).is_intact(
        "training.jsonl"
    )  # what main_prepare.py asks before it leaves it there
    path.write_text(whole)
    (folder / "base_probs.json").write_text(json.dumps([0.5] * 14))
    with pytest.raises(UserError, match=r"base_probs\.json has changed"):
        _ = FeatureStore.open(folder).base_rates
    assert ["base_probs.json has changed" in problem for problem in verify(folder)] == [True]
    write_base_rates(folder, np.zeros((2, 14)))
    assert FeatureStore.open(folder).base_rates == [0.0] * 14
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]  # of an earlier preparation
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path.write_text(whole.replace("report a", "other a"))
    assert len(FeatureStore.open(folder).bank_reports) == 2


def test_a_store_pickles_as_its_path(folder):
    store = FeatureStore.open(folder)
    store["labels"], store.row_ids("studies")
    content = pickle.dumps(store)
    assert len(content) < 400
    assert pickle.loads(content)["labels"].tolist() == store["labels"].tolist()  # noqa: S301


def _sum_labels(store):
    return int(store["labels"].sum())


def test_a_store_reaches_other_processes(folder):
    store = FeatureStore.open(folder)
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert pool.apply(_sum_labels, (store,)) == 28


def test_filling_piece_by_piece(folder):
    made = {"seed": 2}
    with create_feature(folder, "region_scores", shape=(4, 3), dtype="float32", axis="studies", made_by=made) as array:
        assert "region_scores" not in FeatureStore.open(folder)
        assert not array.any()
        array[1:3] = 5
    assert FeatureStore.open(folder)["region_scores"].sum() == 30


def test_two_arrays_filled_at_once(folder):
    options = {"axis": "studies", "made_by": {}}
    with (
        create_feature(folder, "one", shape=(4,), dtype=np.int32, **options) as one,
        create_feature(folder, "two", shape=(4, 1), dtype=np.float16, **options) as two,
    ):
        one[:], two[:] = 1, 2
    store = FeatureStore.open(folder)
    assert (store["one"].sum(), store["two"].sum()) == (4, 8)
    assert verify(folder) == []


def test_an_interrupted_array_leaves_the_old_one(folder):
    def interrupt():
        with create_feature(folder, "labels", shape=(4, 2), dtype=np.int8, axis="studies", made_by={}) as array:
            array[:] = 9
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert FeatureStore.open(folder)["labels"][3, 1] == 7
    assert is_current(folder, "labels", MADE)
    assert not list(folder.glob(".*"))


def test_what_a_killed_process_left_is_removed(folder):
    leftover = folder / ".region_text.npy.0.tmp"
    leftover.write_bytes(b"half")
    assert verify(folder) == []
    write_feature(folder, "one", np.zeros(4), axis="studies", made_by={})
    assert not leftover.exists()


@pytest.mark.parametrize(
    "left", [".region_text.unfinished.npy", ".region_text.npy.7.tmp", "entity_scorer_unfinished.pth"]
)
def test_an_interrupted_build_is_named(folder, left):
    with pytest.raises(UserError, match=r"as a build was interrupted or had other flags: run main_prepare\.py"):
        FeatureStore.open(folder)["region_text"]
    assert unfinished(folder) == []
    (folder / left).touch()
    with pytest.raises(UserError, match=rf"as a build was interrupted and left {left}: run main_prepare\.py"):
        FeatureStore.open(folder)["region_text"]
    assert unfinished(folder) == [left]
    feature_writing.remove_unfinished(folder)
    assert not (folder / left).exists()


def test_empty_arrays(folder):
    write_axis(folder, "studies", [])
    write_feature(folder, "labels", np.zeros((0, 18), np.int8), axis="studies", made_by={})
    assert FeatureStore.open(folder)["labels"].shape == (0, 18)


def test_a_wrong_number_of_rows_is_refused(folder):
    with pytest.raises(AssertionError, match="labels has 3 rows, its axis 4"):
        write_feature(folder, "labels", np.zeros((3, 2)), axis="studies", made_by={})


def test_other_studies_make_arrays_stale(folder):
    before = (folder / "manifest.json").stat().st_mtime_ns
    write_axis(folder, "studies", STUDIES)
    assert (folder / "manifest.json").stat().st_mtime_ns == before  # the same ids: nothing to do
    write_axis(folder, "training", ["c", "b"])
    store = FeatureStore.open(folder)
    assert store["labels"].shape == (4, 2)  # of another axis
    for name in ("report_features", "sentence_features", "sentence_offsets"):
        assert not is_current(folder, name, MADE)
        with pytest.raises(UserError, match=rf"{name} in .* was made for other studies .*: run main_prepare\.py"):
            store[name]
    assert len(verify(folder)) == 4  # three arrays and training.jsonl
    write_axis(folder, "training", ["a", "c"])  # the order counts
    assert not is_current(folder, "report_features", MADE)
    write_axis(folder, "training", TRAINING)
    assert is_current(folder, "report_features", MADE)


def test_is_current_depends_on_how_it_was_made(folder):
    assert is_current(folder, "labels", {"widths": [2, 3], "seed": 1})
    assert not is_current(folder, "labels", {"seed": 1})
    assert not is_current(folder, "labels", MADE | {"seed": 2})
    assert not is_current(folder, "region_text", MADE)
    assert not is_current(folder / "elsewhere", "labels", MADE)
    (folder / "labels.npy").unlink()
    assert not is_current(folder, "labels", MADE)


def test_a_crash_while_replacing_leaves_no_entry_for_the_new_file(folder, monkeypatch):
    def crash(source, target):
        os.rename(source, target)
        if target.suffix == ".npy":
            raise KeyboardInterrupt

    monkeypatch.setattr(feature_writing.os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_feature(folder, "labels", np.zeros((4, 2), np.int8), axis="studies", made_by=MADE)
    monkeypatch.undo()
    assert not is_current(folder, "labels", MADE)


def test_paths_may_be_text(tmp_path):
    folder = str(tmp_path / "features")
    write_axis(folder, "studies", iter(["a"]))
    write_feature(folder, "labels", np.zeros((1, 2)), axis="studies", made_by={})
    assert is_current(folder, "labels", {})


def test_rewriting_replaces_entry_and_file(folder):
    store = FeatureStore.open(folder)
    assert store["labels"][0, 1] == 1
    write_feature(folder, "labels", np.full((4, 1), 2.5), axis="studies", made_by={"seed": 3})
    assert store["labels"][0, 1] == 1  # an open store keeps what it mapped
    assert FeatureStore.open(folder)["labels"].tolist() == [[2.5]] * 4
    assert is_current(folder, "labels", {"seed": 3})


def test_duplicate_ids(folder):
    with pytest.raises(UserError, match="1 ids of the studies appear twice"):
        write_axis(folder, "studies", ["a", "b", "a"])


def test_sentences_for_missing_things(folder, tmp_path):
    with pytest.raises(UserError, match=r"holds no manifest\.json: build the features with main_prepare"):
        FeatureStore.open(tmp_path)
    store = FeatureStore.open(folder)
    with pytest.raises(UserError, match=r"has no array region_text \(found labels, report_features"):
        store["region_text"]
    (folder / "labels.npy").unlink()
    with pytest.raises(UserError, match=r"labels\.npy is gone: run main_prepare"):
        store["labels"]
    write_json(folder / "manifest.json", {"format": "other"})
    with pytest.raises(UserError, match="does not describe a feature folder of this version"):
        FeatureStore.open(folder)


def test_damage_is_noticed(folder):
    labels, ids = folder / "labels.npy", folder / "studies.json"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"labels\.npy is damaged"):
        FeatureStore.open(folder)["labels"]
    np.save(labels, np.zeros((4, 2), np.int16))
    with pytest.raises(UserError, match=r"holds \(4, 2\) int16 but the manifest says \(4, 2\) int8"):
        FeatureStore.open(folder)["labels"]
    labels.write_bytes(whole[:-1] + b"\x00")
    assert FeatureStore.open(folder)["labels"][3, 1] == 0  # opening reads no content
    (problem,) = verify(folder)
    assert "labels.npy" in problem
    assert "has changed since it was written" in problem
    ids.write_text(json.dumps(STUDIES[::-1]))
    with pytest.raises(UserError, match=r"studies\.json has changed"):
        FeatureStore.open(folder).rows("studies", ["a"])
    assert len(verify(folder)) == 2


def test_verify_of_a_whole_and_of_an_absent_store(folder, tmp_path):
    assert verify(folder) == []
    assert verify(tmp_path) == [f"{tmp_path} holds no manifest.json: build the features with main_prepare.py"]
    write_feature(folder, "sentence_offsets", np.array([0, 2, 4]), axis="sentences", made_by={})
    assert ["does not divide the 5 sentences among 2 reports" in problem for problem in verify(folder)] == [True]


def test_pickled_content_is_never_loaded(folder):
    np.save(folder / "labels.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    manifest = read_json(folder / "manifest.json")
    manifest["arrays"]["labels"] |= {"shape": [1, 1]}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(UserError, match=r"labels\.npy is damaged"):
        FeatureStore.open(folder)["labels"]


def rows_of(folder, made=MADE):
    return FeatureRows(folder, "region_text", shape=(4, 2, 3), dtype=np.float16, axis="studies", made_by=made)


def test_rows_are_filled_across_interruptions(folder, monkeypatch):
    monkeypatch.setattr(feature_writing, "FLUSH_ROWS", 2)
    values = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    rows = rows_of(folder)
    rows.write([3, 0], values[[3, 0]])
    rows.write([1], values[[1]])  # not flushed: a kill here loses it
    again = rows_of(folder)
    assert again.waiting().tolist() == [1, 2]
    assert "region_text" not in FeatureStore.open(folder)
    again.write([2, 1], values[[2, 1]])
    again.finish()
    assert (FeatureStore.open(folder)["region_text"] == values).all()
    assert is_current(folder, "region_text", MADE)
    assert verify(folder) == []
    assert not list(folder.glob(".*unfinished*"))


def test_rows_of_other_options_begin_anew(folder):
    rows = rows_of(folder)
    rows.write(range(4), np.ones((4, 2, 3)))
    rows.flush()
    assert rows_of(folder).waiting().tolist() == []
    assert rows_of(folder, {"seed": 2}).waiting().tolist() == [0, 1, 2, 3]
    with pytest.raises(AssertionError, match="rows of region_text are missing"):
        rows_of(folder).finish()
    with pytest.raises(AssertionError, match=r"region_text row 0 has the shape \(3, 2\)"):
        rows_of(folder).write([0], np.ones((1, 3, 2)))
    feature_writing.remove_unfinished(folder)
    assert not list(folder.glob(".*"))


def test_an_entry_says_which_code_made_it(folder):
    code = FeatureStore.open(folder).entry("labels")["code"]
    assert {"python", "packages", "commit", "dirty"} == set(code)


def test_base_rates(folder):
    labels = np.zeros((4, 18), np.int8)
    labels[0, 2] = 1
    assert FeatureStore.open(folder).base_rates is None
    feature_writing.write_base_rates(folder, labels)
    assert FeatureStore.open(folder).base_rates == [0, 0, 0.25] + [0] * 11
    feature_writing.write_base_rates(folder, labels, [0.5] * 14)
    assert FeatureStore.open(folder).base_rates == [0.5] * 14


def test_a_changed_annotation_is_said(folder, tmp_path, capsys):
    path = tmp_path / "annotation.json"
    path.write_text("[]")
    write_feature(
        folder, "labels", np.zeros((4, 18), dtype=np.int8), axis="studies", made_by={"annotation": sha256_of(path)}
    )
    assert FeatureStore.open(folder, path).stale(path) == []
    assert capsys.readouterr().err == ""
    path.write_text("[1]")
    assert FeatureStore.open(folder, path).stale(path) == ["labels"]
    assert "warning: labels in" in capsys.readouterr().err
