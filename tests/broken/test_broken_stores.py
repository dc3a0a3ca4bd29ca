"""Broken feature folders, given to main_train.py: refused when they are opened, before anything is trained."""

import json
import shutil

import numpy as np
import pytest
from harness import SECRET, assert_no_results, assert_refused, end_of
from PIL import Image

import main_train
from modules.corpus.store_writing import write_axis, write_bank_reports, write_base_rates, write_feature
from modules.records import sha256_of

IDS = [f"s{i}" for i in range(6)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small data set with features that hold together."""
    folder = tmp_path_factory.mktemp("whole")
    features, rng = folder / "features", np.random.default_rng(0)
    (folder / "images").mkdir()
    Image.new("L", (64, 64), 9).save(folder / "images/a.png")
    item = {"image_path": ["a.png"], "report": f"{SECRET} . clear ."}
    splits = {"train": IDS[:4], "val": IDS[4:5], "test": IDS[5:]}
    annotation = {split: [{"id": identifier, **item} for identifier in ids] for split, ids in splits.items()}
    (folder / "annotation.json").write_text(json.dumps(annotation))
    write_axis(features, "studies", IDS)
    write_axis(features, "training", IDS[:4])
    write_bank_reports(features, ({"id": i, "patient": None, "report": f"{SECRET} ."} for i in IDS[:4]))
    labels = np.zeros((6, 18), dtype=np.int8)
    write_base_rates(features, labels[:4])
    arrays = {
        "labels": (labels, "studies"),
        "region_scores": (rng.random((6, 75), dtype=np.float32), "studies"),
        "region_text": (rng.random((6, 75, 16), dtype=np.float32).astype(np.float16), "studies"),
        "memory_indices": (np.zeros((6, 3), dtype=np.int32), "studies"),
        "report_features": (rng.random((4, 16), dtype=np.float32).astype(np.float16), "training"),
        "label_neighbours": (np.zeros((4, 2), dtype=np.int32), "training"),
        "sentence_features": (rng.random((8, 16), dtype=np.float32).astype(np.float16), "sentences"),
        "sentence_offsets": (np.arange(0, 10, 2), "sentences"),
    }
    for name, (array, axis) in arrays.items():
        write_feature(features, name, array, axis=axis, made_by={})
    return folder


def manifest(change):
    def damage(folder):
        path = folder / "manifest.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def entry(name, **changes):
    """Change what the manifest says of an array; a change to None removes the key."""

    def change(content):
        for key, value in changes.items():
            content["arrays"][name].pop(key) if value is None else content["arrays"][name].update({key: value})

    return manifest(change)


def replaced(name, array):
    """Another array under the name, and what the manifest says of it changed with it."""

    def damage(folder):
        np.save(folder / f"{name}.npy", array)
        entry(name, shape=list(array.shape), dtype=str(array.dtype))(folder)

    return damage


FRACTIONS = ("region_scores", "region_text", "report_features", "sentence_features")


def valued(name, value, kind=None):
    """An array of the same shape that holds one value throughout, with the checksum that goes with it."""

    def damage(folder):
        array = np.load(folder / f"{name}.npy")
        replaced(name, np.full(array.shape, value, dtype=kind or array.dtype))(folder)
        entry(name, sha256=sha256_of(folder / f"{name}.npy"))(folder)

    return damage


def file(name, content):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def part(name, share):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def listed(change):
    """Another list of ids, with the checksum that goes with it."""

    def damage(folder):
        import hashlib

        path = folder / "studies.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()

        def adapt(content):
            content["axes"]["studies"]["sha256"] = checksum
            for array in content["arrays"].values():
                if array["axis"] == "studies":
                    array["ids_sha256"] = checksum

        manifest(adapt)(folder)

    return damage


ROW = json.dumps({"id": "s0", "patient": None, "report": SECRET})
DAMAGE = {
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "manifest is empty": file("manifest.json", ""),
    "manifest is cut": part("manifest.json", 0.6),
    "manifest is a list": file("manifest.json", "[]"),
    "manifest is deep": file("manifest.json", "[" * 100_000),
    "manifest of another version": manifest(lambda content: content.update(format="revtaf_features/9")),
    "manifest without arrays": manifest(lambda content: content.pop("arrays")),
    "manifest without axes": manifest(lambda content: content.pop("axes")),
    "arrays are a list": manifest(lambda content: content.update(arrays=[])),
    "an axis is a list": manifest(lambda content: content["arrays"]["labels"].update(axis=["studies"])),
    "an array is null": manifest(lambda content: content["arrays"].update(labels=None)),
    "an array leads out": manifest(lambda content: content["arrays"].update({"../labels": content["arrays"]["labels"]})),
    "an unknown axis": entry("labels", axis="pages"),
    "no axis": entry("labels", axis=None),
    "no shape": entry("labels", shape=None),
    "shape is text": entry("labels", shape="6"),
    "shape is negative": entry("labels", shape=[-6, 18]),
    "no type": entry("labels", dtype=None),
    "type of objects": entry("labels", dtype="object"),
    "type of nonsense": entry("labels", dtype="hello"),
    "no checksum": entry("labels", sha256=None),
    "no ids": entry("labels", ids_sha256=None),
    "no origin": entry("labels", made_by=None),
    "another shape": entry("region_scores", shape=[6, 74]),
    "another type": entry("region_scores", dtype="float64"),
    "labels missing": lambda folder: (folder / "labels.npy").unlink(),
    "labels not in the manifest": manifest(lambda content: content["arrays"].pop("labels")),
    "labels of other studies": entry("labels", ids_sha256="0" * 64),
    **{f"{name} cut off": part(f"{name}.npy", 0.7) for name in ("labels", "region_scores", "region_text", "report_features", "sentence_features", "sentence_offsets", "memory_indices")},
    "array is empty": file("region_text.npy", b""),
    "array is text": file("region_text.npy", "hello"),
    "array is a pickle": file("region_text.npy", b"\x80\x04\x95" + bytes(50)),
    "array with a broken head": file("region_text.npy", b"\x93NUMPY\x01\0\xff\xff" + b"{" * 300),
    "array with an evil head": file("region_text.npy", b"\x93NUMPY\x01\0\x40\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (6,)}".ljust(63) + b"\n"),
    "labels rows fewer than ids": replaced("labels", np.zeros((5, 18), dtype=np.int8)),
    "scores rows fewer than ids": replaced("region_scores", np.zeros((5, 75), dtype=np.float32)),
    "bank rows fewer than ids": replaced("report_features", np.zeros((3, 16), dtype=np.float16)),
    "bank rows more than ids": replaced("report_features", np.zeros((5, 16), dtype=np.float16)),
    "memory rows fewer than ids": replaced("memory_indices", np.zeros((2, 3), dtype=np.int32)),
    "a number instead of an array": replaced("labels", np.array(3, dtype=np.int8)),
    "offsets too few": replaced("sentence_offsets", np.array([0, 8])),
    "offsets too many": replaced("sentence_offsets", np.arange(9)),
    "offsets from 1": replaced("sentence_offsets", np.array([1, 2, 4, 6, 8])),
    "offsets beyond": replaced("sentence_offsets", np.array([0, 2, 4, 6, 99])),
    "offsets fall": replaced("sentence_offsets", np.array([0, 6, 4, 7, 8])),
    "offsets in two columns": replaced("sentence_offsets", np.zeros((5, 2), dtype=np.int64)),
    "ids missing": lambda folder: (folder / "studies.json").unlink(),
    "ids cut": part("studies.json", 0.5),
    "ids are an object": listed(lambda ids: {"ids": ids}),
    "ids are numbers": listed(lambda ids: list(range(len(ids)))),
    "ids fewer than rows": listed(lambda ids: ids[:-1]),
    "ids more than rows": listed(lambda ids: [*ids, "s9"]),
    "ids changed": file("studies.json", json.dumps(IDS[::-1])),
    "rates are NaN": file("base_probs.json", "[" + ", ".join(["NaN"] * 14) + "]"),
    "rates are 13": file("base_probs.json", json.dumps([0.5] * 13)),
    "rates are 15": file("base_probs.json", json.dumps([0.5] * 15)),
    "rates are text": file("base_probs.json", json.dumps(["0.5"] * 14)),
    "rates are an object": file("base_probs.json", "{}"),
    "rates are negative": file("base_probs.json", json.dumps([-0.1] * 14)),
    "rates are infinite": file("base_probs.json", json.dumps([1e400] * 14)),
    "rates are nothing": file("base_probs.json", ""),
    "reports are cut": part("training.jsonl", 0.8),
    "reports hold half a character": file("training.jsonl", (ROW.replace("Mrs", "\\ud800") + "\n") * 4),
    "reports are deep": file("training.jsonl", "[" * 100_000),
    "reports are lists": file("training.jsonl", "[1]\n" * 4),
    "reports lack the text": file("training.jsonl", '{"id": "s0", "patient": null}\n' * 4),
    "report is a number": file("training.jsonl", '{"id": "s0", "patient": null, "report": 3}\n' * 4),
    "reports of other studies": file("training.jsonl", f"{ROW}\n" * 4),
    "reports too few": file("training.jsonl", f"{ROW}\n"),
    "ids twice": listed(lambda ids: [*ids[:-1], ids[0]]),
    "ids in lists": listed(lambda ids: [[identifier] for identifier in ids]),
    "an archive of arrays": lambda folder: (np.savez(folder / "x.npz", np.zeros((6, 18), dtype=np.int8)), (folder / "x.npz").replace(folder / "labels.npy")),
    **{f"{name} of no numbers": valued(name, np.nan) for name in FRACTIONS},
    **{f"{name} infinite": valued(name, np.inf) for name in FRACTIONS},
    **{f"{name} of whole numbers": valued(name, 1, np.int32) for name in FRACTIONS},
    **{f"{name} of fractions": valued(name, 0.5, np.float32) for name in ("labels", "memory_indices", "label_neighbours")},
    "neighbours of truth values": valued("label_neighbours", 1, bool),
    "offsets of fractions": replaced("sentence_offsets", np.array([0.0, 2, 4, 6, 8])),
    "offsets that fall": replaced("sentence_offsets", np.array([0, 4, 2, 6, 8])),
    "an axis of rows below zero": manifest(lambda content: content["axes"]["studies"].update(rows=-6)),
    "an axis of a true number of rows": manifest(lambda content: content["axes"]["studies"].update(rows=True)),
    "a shape that is true": entry("labels", shape=[True, 18]),
    "a shape of 10^15 rows": entry("labels", shape=[10**15, 18]),
    "a checksum in capitals": entry("labels", sha256="A" * 64),
    "files are a list": manifest(lambda content: content.update(files=[])),
    "a manifest in UTF-16": lambda folder: (folder / "manifest.json").write_text((folder / "manifest.json").read_text(), encoding="utf-16"),
    "rates that are true": file("base_probs.json", json.dumps([True] * 14)),
    "the folder is a file": lambda folder: (shutil.rmtree(folder), folder.write_text("hello")),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_broken_store_is_refused_when_it_is_opened(name, whole, tmp_path):
    shutil.copytree(whole / "features", tmp_path / "features")
    DAMAGE[name](tmp_path / "features")
    ending = end_of(
        main_train, "--dataset_name", "synth_cxr", "--ann_path", whole / "annotation.json", "--image_dir", whole / "images",
        "--feature_dir", tmp_path / "features", "--save_dir", tmp_path / "run", "--device", "cpu", "--no-check",
        "--image_size", 64, "--batch_size", 2, "--epochs", 1, "--d_model", 32, "--h_dim", 16, "--memory_feedforward", 32,
        "--decoder_layers", 1, "--hidden_size", 32, "--intermediate_size", 64, "--threshold", 1,
    )  # fmt: skip
    assert_refused(ending, tmp_path, str(tmp_path / "features"))
    assert_no_results(tmp_path / "run")
