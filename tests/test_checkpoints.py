"""modules/weights/checkpoints.py: what is read back is what was trained, and what does not fit is named."""

import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_config

from models.revtaf import Revtaf
from modules.corpus.tables import read_table_file, read_text_file
from modules.corpus.tokenizer import ReportTokenizer
from modules.messages import UserError
from modules.records import read_json, read_jsonl
from modules.weights.bert import bert_weights
from modules.weights.checkpoints import as_checkpoint, build_model, load_checkpoint, restore
from modules.weights.reading import Unread, load_weights
from modules.weights.saving import content_of, save_checkpoint


@pytest.fixture
def model():
    torch.manual_seed(1)
    model = Revtaf(tiny_config())
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.01 * (number + 1))  # no tensor is as it is drawn
    return model


def test_a_file_gives_the_same_network_back(model, tmp_path):
    save_checkpoint(tmp_path / "m.pth", model, {"epoch": 3})
    checkpoint = load_checkpoint(tmp_path / "m.pth")
    assert checkpoint["run"] == {"epoch": 3}
    again = build_model(checkpoint)
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_only_a_run_can_be_resumed(trained):
    assert load_checkpoint(trained / "current_checkpoint.pth", resumable=True)["run"]["epoch"] == 3
    with pytest.raises(UserError, match=r"model_best.pth holds no state of a run to resume: .* --init_from"):
        load_checkpoint(trained / "model_best.pth", resumable=True)


def test_a_model_from_before_a_switch_does_what_it_did_then(model):
    content = content_of(model, {})
    new = ("enhancer", "grid", "references")
    content["config"] = {name: value for name, value in content["config"].items() if name not in new}
    config = as_checkpoint(content, "old.pth")["config"]
    assert [config[name] for name in new] == ["scores", "1x", 1]


def test_restoring_takes_every_value_or_names_what_differs(model, tmp_path):
    content = content_of(model, {})
    other = Revtaf(tiny_config())
    restore(other, content, tmp_path / "m.pth")
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    wide = Revtaf(tiny_config(attention_dim=24, manifold="lorentz"))
    with pytest.raises(UserError, match="attention_dim 20 there, 24 here") as refusal:
        restore(wide, content, tmp_path / "m.pth")
    assert "manifold poincare there, lorentz here" in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("run"), "lacks its run"),
        (lambda content: content["state_dict"].popitem(), "missing"),
        (lambda content: content["state_dict"].update(more=torch.zeros(1)), "more"),
        (lambda content: content["config"].update(attention_dim=24), "attention_dim|size|shape"),
        (lambda content: content.update(format="another"), "is no REVTAF"),
    ],
    ids=["no run", "a tensor less", "a tensor more", "another size", "another format"],
)
def test_what_does_not_hold_together_is_refused(model, change, words):
    content = content_of(model, {})
    change(content)
    with pytest.raises(UserError, match=words):
        as_checkpoint(content, "m.pth")


def test_a_folder_in_place_of_a_file_is_called_one(tmp_path):
    with pytest.raises(UserError, match=r"is a folder: give a file in it"):
        load_checkpoint(tmp_path)


def test_old_names_of_bert_are_read_as_new_ones(tmp_path):
    gain = torch.arange(3.0)
    torch.save({"bert.LayerNorm.gamma": gain, "bert.LayerNorm.beta": -gain}, tmp_path / "pytorch_model.bin")
    weights, path = bert_weights(tmp_path)
    assert path == tmp_path / "pytorch_model.bin"
    assert torch.equal(weights["bert.LayerNorm.weight"], gain)
    assert torch.equal(weights["bert.LayerNorm.bias"], -gain)
    with pytest.raises(UserError, match=r"holds neither model.safetensors nor pytorch_model.bin"):
        bert_weights(tmp_path / "nowhere")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_several_gpus_and_of_a_compiled_model_are_read(model, tmp_path, prefix):
    save_checkpoint(tmp_path / "a.pth", model, {})
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    content["state_dict"] = {f"{prefix}{name}": value for name, value in content["state_dict"].items()}
    torch.save(content, tmp_path / "b.pth")
    found = build_model(load_checkpoint(tmp_path / "b.pth")).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


def test_weights_without_what_says_of_which_are_refused_by_what_lacks(model, tmp_path):
    """The sentence named the very flag that had been given."""
    for content in (dict(model.state_dict()), {"model": {"state_dict": dict(model.state_dict())}}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(
            UserError, match=r"lacks what says of which \(format, config, run\): give the whole file"
        ) as error:
            load_checkpoint(tmp_path / "a.pth")
        assert "--load_pretrained" not in str(error.value)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        UserError, match=rf"part of a release, which main_predict.py takes as a folder: --model {tmp_path}"
    ):
        load_checkpoint(tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=rf"{tmp_path} is a release, .*--init_from.* take the model_best\.pth that it was"
    ):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"is a folder: give a file in it"):
        load_checkpoint(tmp_path)


def test_a_file_of_weights_is_known_by_its_content_and_an_archive_around_one_is_called_so(model, tmp_path):
    save_checkpoint(tmp_path / "a.pth", model, {})
    (tmp_path / "a.pth").rename(tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors")["state_dict"].keys() == model.state_dict().keys()
    save_file({"a": torch.ones(2)}, tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").rename(tmp_path / "b.pth")
    assert load_weights(tmp_path / "b.pth")["a"].tolist() == [1, 1]
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.write(tmp_path / "a.safetensors", "model_best.pth")
    with pytest.raises(
        UserError, match=r"is a zip archive that torch\.save did not write, it holds model_best\.pth: unpack it"
    ):
        load_weights(tmp_path / "c.pth")


def test_what_programs_keep_beside_weights_is_passed_over(model, tmp_path):
    """A best score of NumPy, or the arguments of a command, refused the whole file as code."""
    beside = {"args": Namespace(lr=np.float32(0.1), out=Path("runs")), "best": np.float64(0.5)}
    torch.save({**content_of(model, {"epoch": 1}), **beside}, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert found["state_dict"].keys() == model.state_dict().keys()
    assert {type(found[name]) for name in beside} == {Unread}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_of_torchscript_is_called_one(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"is a model that TorchScript wrote"):
        load_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(257) + b"ustar\x0000", "no weights file but a tar archive: unpack it"),
        (b"[]", "no weights file but JSON: give the file of the weights"),
        (b'"x"', "no weights file but JSON"),
        (b"NaN", "no weights file but JSON"),
        (b' {"a": 1}', "no weights file but JSON"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "no weights file but an array of NumPy"),
        (b"", "is empty, expected a file of weights"),
        (b"some words", "no weights file but something else: download it again"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path, content, words):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "name", ["a.pth", "model.safetensors", "vocab.txt", "tokenizer.json", "a.json", "a.jsonl", "a.csv", "a.txt"]
)
def test_what_git_left_in_place_of_a_file_of_a_model_is_called_so(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 440449768\n")
    read = {
        "vocab.txt": ReportTokenizer.from_bert, "tokenizer.json": ReportTokenizer.load, "a.json": read_json, "a.jsonl": read_jsonl,
        "a.csv": read_table_file, "a.txt": read_text_file,
    }.get(name, load_weights)  # fmt: skip
    with pytest.raises(UserError, match=rf"{name} is a pointer of Git LFS: fetch the file itself with git lfs pull"):
        read(tmp_path / name)
