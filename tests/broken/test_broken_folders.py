"""Broken folders of Hugging Face models, of images and of texts: one sentence, before main_prepare.py copies or builds anything."""

import json
import shutil

import pytest
import torch
from harness import SECRET, assert_refused, end_of
from PIL import Image
from safetensors.torch import load_file, save_file
from test_text_features import bert_folder  # noqa: F401, fixture
from test_visual_encoder import save_folder

import main_prepare


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def removed(name):
    return lambda folder: (folder / name).unlink()


def configured(name="config.json", **values):
    """Values of a JSON file changed."""

    def change(folder):
        known = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**known, **values}))

    return change


def weights(change):
    """The tensors of a folder changed: name -> tensor."""

    def rewrite(folder):
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})

    return rewrite


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-200])


BOTH = {
    "not there": shutil.rmtree,
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "no configuration": removed("config.json"),
    "configuration is text": written("config.json", "hello"),
    "configuration is a list": written("config.json", "[1]"),
    "configuration is null": written("config.json", "null"),
    "configuration of no type": written("config.json", "{}"),
    "an unknown type": configured(model_type="word\n2vec"),
    "a type that is a number": configured(model_type=3),
    "a width of text": configured(hidden_size="wide"),
    "a width below zero": configured(hidden_size=-16),
}
TEXT = {
    **BOTH,
    "heads that do not divide": configured(num_attention_heads=5),
    "no weights": removed("model.safetensors"),
    "weights cut off": cut,
    "weights of text": written("model.safetensors", "Repository not found"),
    "a tensor missing": weights(lambda found: {name: value for name, value in found.items() if "layer.1.output" not in name}),
    "weights of another network": weights(lambda found: {"a": torch.zeros(3)}),
    "another width": configured(hidden_size=32),
    "numbers that are none": weights(lambda found: {name: value * float("nan") for name, value in found.items()}),
    "no vocabulary": removed("tokenizer.json"),
    "vocabulary of text": written("tokenizer.json", "hello"),
}  # fmt: skip
VISION = {
    **BOTH,
    "no statistics": removed("preprocessor_config.json"),
    "statistics are a list": written("preprocessor_config.json", "[0.5]"),
    "means of text": configured("preprocessor_config.json", image_mean=["a", "b", "c"]),
    "means of nothing": configured("preprocessor_config.json", image_mean=None),
    "two means": configured("preprocessor_config.json", image_mean=[0.5, 0.5]),
    "a deviation of zero": configured("preprocessor_config.json", image_std=[0, 1, 1]),
    "deviations of infinity": configured("preprocessor_config.json", image_std=[float("inf")] * 3),
    "scaled by zero": configured("preprocessor_config.json", rescale_factor=0),
    "scaled by text": configured("preprocessor_config.json", rescale_factor="1/255"),
    "one channel": configured(num_channels=1),
    "a text model": configured(model_type="bert"),
}  # fmt: skip


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    save_folder(folder, "vit")
    return folder


def prepare(tmp_path, *flags):
    """Prepare a film with flags that are to be refused for what is at ``model``; returns the sentence."""
    (tmp_path / "raw").mkdir(exist_ok=True)
    Image.new("L", (40, 40), 9).save(tmp_path / "raw/a.png")
    (tmp_path / "raw/t.jsonl").write_text(json.dumps({"id": "a", "image_path": "a.png", "report": SECRET}))
    ending = end_of(
        main_prepare, "--dataset_name", "custom", "--raw_dir", tmp_path / "raw/t.jsonl", "--resize", 32, "--device", "cpu",
        "--ann_path", tmp_path / "out/annotation.json", "--image_dir", tmp_path / "out/images",
        "--feature_dir", tmp_path / "out/features", *flags,
    )  # fmt: skip
    assert_refused(ending, tmp_path, str(tmp_path / "model"))
    assert "\n" not in ending.err.rsplit("error: ", 1)[-1].strip().split("missing:")[0]
    assert not (tmp_path / "out").exists()
    return ending.err


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.filterwarnings("ignore")  # transformers warns of what it draws
def test_a_broken_text_model_is_refused(name, bert_folder, tmp_path):  # noqa: F811
    TEXT[name](shutil.copytree(bert_folder, tmp_path / "model"))
    prepare(tmp_path, "--text_encoder", tmp_path / "model")


@pytest.mark.parametrize("name", VISION)
@pytest.mark.filterwarnings("ignore")
def test_a_broken_image_model_is_refused(name, vision_folder, tmp_path):
    VISION[name](shutil.copytree(vision_folder, tmp_path / "model"))
    prepare(tmp_path, "--visual_extractor", f"hf:{tmp_path / 'model'}")


def test_everything_that_is_missing_is_listed_before_any_copy(tmp_path):
    """The films were copied first, three quarters of an hour of MIMIC-CXR, and the text model was looked for after days."""
    said = prepare(tmp_path, "--resnet_weights", tmp_path / "model.pth", "--text_encoder", tmp_path / "model")
    assert "2 files or folders are missing" in said
    said = prepare(tmp_path, "--bank_dir", tmp_path / "model")
    assert "features of the retrieval bank" in said
