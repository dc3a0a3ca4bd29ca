"""Broken files of weights, given to main_test.py and tools/convert.py: one sentence, no code run, no memory taken."""

import collections
import io
import json
import pickle
import shutil
import struct
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from harness import SECRET, assert_no_results, assert_refused, end_of
from PIL import Image
from tiny import tiny_config

import main_predict
import main_test
import main_train
from models.revtaf import Revtaf
from modules.messages import UserError
from modules.weights.checkpoints import load_checkpoint
from modules.weights.saving import save_atomically
from tools import convert

CASES = Path(__file__).parents[1] / "cases"


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def whole():
    """The content of a checkpoint that is well."""
    torch.manual_seed(0)
    config = tiny_config(visual_extractor="resnet10n")
    return {
        "format": "revtaf/1",
        "config": asdict(config),
        "state_dict": Revtaf(config).state_dict(),
        "run": {"epoch": 1},
    }


def written(change):
    """A checkpoint as this project writes it, its bytes changed."""

    def damage(whole):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pth"
            save_atomically(whole, path)
            return change(path.read_bytes())

    return damage


def set_to(number, name="diagnosis_head.linear.weight"):
    """One number of a tensor replaced."""

    def damage(whole):
        value = whole["state_dict"][name].clone()
        value.view(-1)[0] = number
        return saved({**whole, "state_dict": {**whole["state_dict"], name: value}})

    return damage


def changed(**parts):
    return lambda whole: saved({**whole, **parts})


def configured(**fields):
    return lambda whole: saved({**whole, "config": {**whole["config"], **fields}})


def without(part, name):
    return lambda whole: saved({**whole, part: {key: value for key, value in whole[part].items() if key != name}})


def weights(**tensors):
    return lambda whole: saved({**whole, "state_dict": {**whole["state_dict"], **tensors}})


def first(change):
    """Change the tensor of the class head."""

    def damage(whole):
        name = "diagnosis_head.linear.weight"
        return saved({**whole, "state_dict": {**whole["state_dict"], name: change(whole["state_dict"][name])}})

    return damage


def cut(share):
    return lambda whole: saved(whole)[: int(len(saved(whole)) * share)]


def rezipped(change, method=zipfile.ZIP_STORED):
    """The archive of a checkpoint written again, its members changed."""

    def damage(whole):
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(saved(whole))) as old, zipfile.ZipFile(file, "w", method) as new:
            for entry in old.infolist():
                content = change(entry.filename, old.read(entry))
                if content is not None:
                    new.writestr(entry.filename, content)
        return file.getvalue()

    return damage


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


def safetensors(head, data=b""):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data


def plain(content):
    return lambda whole: content


HUGE = 10**6
FILES = {  # name -> suffix, content made of what is well
    "Repository not found": (".pth", plain((CASES / "checkpoints/model_best_repository.pth").read_bytes())),
    "a safetensors file of nothing": (".safetensors", plain((CASES / "checkpoints/x.safetensors").read_bytes())),
    **{f"text {text!r}": (".pth", plain(text.encode())) for text in ("hello", "Not Found", "(", "]", "}", "c", "I1\n.", "N.", "version 1", "garbage", "0", "\x85", "K\x01.")},
    "empty": (".pth", plain(b"")),
    "a web page": (".pth", plain(b"<!DOCTYPE html><html></html>")),
    "a pointer of Git LFS": (".pth", plain(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")),
    "JSON": (".pth", plain(b'{"format": "revtaf/1"}')),
    "gzip": (".pth", plain(b"\x1f\x8b\x08\0" + bytes(99))),
    "zeros": (".pth", plain(bytes(5000))),
    "a pickle": (".pth", plain(pickle.dumps({"a": 1}))),
    "a pickle of code": (".pth", plain(pickle.dumps(Evil()))),
    "a list of reports": (".pth", plain(SECRET.encode())),
    "a zip of nothing": (".pth", plain(b"PK\x05\x06" + bytes(18))),
    "a zip of text": (".pth", plain(b"PK\x03\x04" + b"hello" * 20)),
    **{f"cut at {share:.0%}": (".pth", cut(share)) for share in (0.001, 0.1, 0.5, 0.9, 0.999)},
    "code in a checkpoint": (".pth", changed(run={"evil": Evil()})),
    "a checkpoint of code": (".pth", lambda whole: saved(Evil())),
    "old kind cut off": (".pth", lambda whole: saved(whole, _use_new_zipfile_serialization=False)[:2000]),
    "old kind with noise": (".pth", lambda whole: saved(whole, _use_new_zipfile_serialization=False)[:15] + bytes(range(256)) * 4),
    "index emptied": (".pth", rezipped(lambda name, content: b"" if name.endswith("data.pkl") else content)),
    "index of noise": (".pth", rezipped(lambda name, content: bytes(range(256)) if name.endswith("data.pkl") else content)),
    "index missing": (".pth", rezipped(lambda name, content: None if name.endswith("data.pkl") else content)),
    "tensors missing": (".pth", rezipped(lambda name, content: None if "/data/" in name else content)),
    "tensors emptied": (".pth", rezipped(lambda name, content: b"" if "/data/" in name else content)),
    "zip bomb": (".pth", rezipped(lambda name, content: bytes(64 << 20) if name.endswith("data/0") else content, zipfile.ZIP_DEFLATED)),
    "index bomb": (".pth", rezipped(lambda name, content: content + bytes(64 << 20) if name.endswith("data.pkl") else content, zipfile.ZIP_DEFLATED)),
    "a tensor": (".pth", lambda whole: saved(torch.zeros(3))),
    "a list": (".pth", lambda whole: saved([1, 2])),
    "a text": (".pth", lambda whole: saved("hello")),
    "nothing": (".pth", lambda whole: saved(None)),
    "an empty dictionary": (".pth", lambda whole: saved({})),
    "other keys": (".pth", lambda whole: saved({"epoch": 3, "loss": 0.5})),
    "weights of another network": (".pth", lambda whole: saved(collections.OrderedDict(conv1=torch.zeros(3, 3)))),
    "a released model in part": (".pth", lambda whole: saved({"visual_encoder.model.0.weight": torch.zeros(64, 3, 7, 7), "gwd.layers.0.linear.weight": torch.zeros(8, 75), "mpsa_attention.linear1.weight": torch.zeros(4, 4)})),
    "a released model of numbers": (".pth", lambda whole: saved({"visual_encoder.model.0.weight": torch.tensor(1.0), "gwd.layers.0.linear.weight": torch.tensor(1.0), "mpsa_attention.linear1.weight": torch.tensor(1.0)})),
    "format of another version": (".pth", changed(format="revtaf/9")),
    "no configuration": (".pth", lambda whole: saved({key: whole[key] for key in ("format", "state_dict", "run")})),
    "no weights": (".pth", lambda whole: saved({key: whole[key] for key in ("format", "config", "run")})),
    "no run": (".pth", lambda whole: saved({key: whole[key] for key in ("format", "config", "state_dict")})),
    "no configuration under its name": (".pth", lambda whole: saved({("confhg" if key == "config" else key): value for key, value in whole.items()})),
    "configuration is a list": (".pth", changed(config=[1])),
    "weights are a list": (".pth", changed(state_dict=[1])),
    "weights are empty": (".pth", changed(state_dict={})),
    "a field missing": (".pth", without("config", "hidden_size")),
    "a field unknown": (".pth", configured(colour="blue")),
    "a field of two lines": (".pth", configured(**{"enh\nncer": "towers", "x" * 100_000: 1})),
    "a field of text": (".pth", configured(hidden_size="32")),
    "a field of nothing": (".pth", configured(hidden_size=None)),
    "a field of fractions": (".pth", configured(hidden_size=32.5)),
    "a field of a list": (".pth", configured(hidden_size=[32])),
    "a field of zero": (".pth", configured(hidden_size=0)),
    "a field below zero": (".pth", configured(attention_dim=-20)),
    "a field not a number": (".pth", configured(dropout=float("nan"))),
    "dropout of 7": (".pth", configured(dropout=7.0)),
    "heads that do not divide": (".pth", configured(decoder_heads=5)),
    "no heads": (".pth", configured(num_heads=0)),
    "an unknown backbone": (".pth", configured(visual_extractor="resnet9000")),
    "a backbone of a list": (".pth", configured(visual_extractor=["resnet18"])),
    "a million words": (".pth", configured(vocab_size=HUGE * 100)),
    "a million wide": (".pth", configured(hidden_size=HUGE, intermediate_size=HUGE)),
    "a million layers": (".pth", configured(decoder_layers=HUGE)),
    "a million layers of memory": (".pth", configured(memory_layers=HUGE)),
    "a million layers of geometry": (".pth", configured(hyperbolic_layers=HUGE)),
    "a billion positions": (".pth", configured(max_positions=HUGE * 1000)),
    "1e30 wide": (".pth", configured(attention_dim=10**30)),
    "a tensor missing": (".pth", without("state_dict", "diagnosis_head.linear.bias")),
    "a tensor unknown": (".pth", weights(hello=torch.zeros(3))),
    "a tensor of two lines": (".pth", weights(**{"a\rb\nc": torch.zeros(3)})),
    "other keys of two lines": (".pth", lambda whole: saved({"a\nb": 3, "\x1b[2J": 0.5})),
    "a tensor is text": (".pth", first(lambda value: "hello")),
    "a tensor is nothing": (".pth", first(lambda value: None)),
    "a tensor of another shape": (".pth", first(lambda value: value[:-1])),
    "a weight that is none": (".pth", set_to(float("nan"))),
    "an infinite weight": (".pth", set_to(float("inf"))),
    "an infinite variance": (".pth", set_to(float("-inf"), "visual_encoder.backbone.bn1.running_var")),
    "a byte behind its end": (".pth", written(lambda content: content + b"x")),
    "5,000 bytes behind its end": (".pth", written(lambda content: content + bytes(5000))),
    "200,000 bytes behind its end": (".pth", written(lambda content: content + bytes(200_000))),
    "itself behind its end": (".pth", written(lambda content: content + content)),
    "its last byte cut off": (".pth", written(lambda content: content[:-1])),
    "its checksum cut off": (".pth", written(lambda content: content[:-64])),
    "a bit changed": (".pth", written(lambda content: content[:-5000] + bytes([content[-5000] ^ 1]) + content[-4999:])),
    "a tensor turned": (".pth", first(lambda value: value.T)),
    "a sparse tensor": (".pth", first(lambda value: value.to_sparse())),
    "a tensor of complex numbers": (".pth", first(lambda value: value.to(torch.complex64))),
    "a tensor of whole numbers": (".pth", first(lambda value: value.to(torch.int8))),
    "a tensor of yes and no": (".pth", first(lambda value: value.bool())),
    "a switch of a list": (".pth", configured(mask_padding=[1])),
    "a switch of nothing": (".pth", configured(learn_curvature=None)),
    "half an iteration": (".pth", configured(ot_iterations=2.5)),
    "a curvature of yes": (".pth", configured(curvature=True)),
    "an end that is no word": (".pth", configured(end_id=10**7)),
    "padding below all words": (".pth", configured(pad_id=-3)),
    "an end without a word": (".pth", configured(end_id=None)),
    **{f"a run of {name} {value!r}": (".pth", changed(run={name: value})) for name, value in (
        ("epoch", "x"), ("epoch", -1), ("step", None), ("steps", "many"), ("steps", float("nan")), ("steps", -5), ("seconds", []),
        ("world_size", {}), ("history", "x"), ("processes", -1), ("optimizer", {}), ("class_prior", []), ("features", 1),
        ("trained_on", 5), ("trained_on", {"a": 1}), ("trained_on", [1]), ("released", 5),
    )},
    "a tensor without memory": (".pth", first(lambda value: value.to("meta"))),
    "8 GB in four bytes": (".pth", lambda whole: saved({**whole, "config": {**whole["config"], "vocab_size": 62_500_000}, "state_dict": {**whole["state_dict"], "report_decoder.network.bert.embeddings.word_embeddings.weight": torch.zeros(1, 1).expand(62_500_000, 32)}})),
    "safetensors cut off": (".safetensors", plain(safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}))),
    "safetensors of a huge head": (".safetensors", plain(struct.pack("<Q", 1 << 60) + b"{}")),
    "safetensors of 8 GB": (".safetensors", plain(safetensors({"a": {"dtype": "F32", "shape": [2_000_000_000], "data_offsets": [0, 8_000_000_000]}}))),
    "safetensors of text": (".safetensors", plain(safetensors(b"hello"))),
    "safetensors deep": (".safetensors", plain(safetensors(b"[" * 100_000))),
    "safetensors of another network": (".safetensors", plain(safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)))),
    "safetensors empty": (".safetensors", plain(b"")),
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What main_test.py asks for before it reads the model."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("images", "features"):
        (folder / name).mkdir()
    (folder / "features/manifest.json").write_text("{}")
    Image.new("L", (64, 64)).save(folder / "images/a.png")
    item = {"id": "a", "image_path": "a.png", "report": SECRET}
    (folder / "annotation.json").write_text(json.dumps({"train": [], "val": [], "test": [item]}))
    return folder


@pytest.mark.filterwarnings("ignore")  # torch says that sparse tensors are in beta when they are written
@pytest.mark.parametrize("name", FILES)
def test_a_broken_checkpoint_is_refused(name, whole, data, tmp_path, capfd):
    suffix, content = FILES[name]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content(whole))
    (tmp_path / "tokenizer.json").write_text("{}")  # read after the model
    ending = end_of(
        main_test, "--dataset_name", "synth_cxr", "--ann_path", data / "annotation.json", "--image_dir", data / "images",
        "--feature_dir", data / "features", "--save_dir", tmp_path / "run", "--device", "cpu", "--load_pretrained", path,
    )  # fmt: skip
    assert_refused(ending, tmp_path, str(path))
    assert_no_results(tmp_path / "run")
    ending = end_of(convert, "--model", path, "--to", "released", "--out", tmp_path / "out.pth")
    assert_refused(ending, tmp_path, str(path))
    assert not (tmp_path / "out.pth").exists()
    assert "code was run" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "name", ["report_feature_dim", "entity_text_dim", "num_conditions", "num_states", "num_entities"]
)
def test_a_network_of_nothing_is_refused_before_it_is_made(name, whole, tmp_path):
    """Made, it has empty tensors, of which torch warns in words of its own."""
    path = tmp_path / "model.pth"
    path.write_bytes(configured(**{name: 0})(whole))
    with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
        load_checkpoint(path)


def test_a_conversion_replaces_no_file_unasked(whole, tmp_path):
    """A trained model that stands at --out, days of work, was written over."""
    (tmp_path / "model.pth").write_bytes(saved(whole))
    (tmp_path / "out.pth").write_bytes(b"days of work")
    words = ["--model", tmp_path / "model.pth", "--to", "ours", "--out", tmp_path / "out.pth"]
    assert_refused(end_of(convert, *words), tmp_path, "replace it with --overwrite")
    assert (tmp_path / "out.pth").read_bytes() == b"days of work"
    ending = end_of(convert, *words, "--overwrite")
    assert_refused(ending, tmp_path, "already has the layout")


@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
def test_a_changed_bit_of_a_trained_model_is_known(place, trained, data, tmp_path):
    """Of a changed weight torch knows nothing: a test went on with it, and so did a prediction and a training from it."""
    content = bytearray((trained / "model_best.pth").read_bytes())
    content[int(len(content) * place)] ^= 1
    path = shutil.copytree(trained, tmp_path / "model") / "model_best.pth"
    path.write_bytes(content)
    Image.new("L", (64, 64)).save(tmp_path / "film.png")
    for program, words in (
        (main_test, ["--ann_path", data / "annotation.json", "--image_dir", data / "images", "--feature_dir", data / "features", "--load_pretrained", path]),
        (main_train, ["--ann_path", data / "annotation.json", "--image_dir", data / "images", "--feature_dir", data / "features", "--init_from", path]),
    ):  # fmt: skip
        words = ["--dataset_name", "synth_cxr", "--device", "cpu", "--save_dir", tmp_path / "run", *words]
        assert_refused(end_of(program, *words), tmp_path, "the checksum differs")
    words = ["--images", tmp_path / "film.png", "--model", path.parent, "--out", tmp_path / "out"]
    assert_refused(end_of(main_predict, *words), tmp_path, "the checksum differs")
