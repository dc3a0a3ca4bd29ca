"""modules/preparation/features/text_models.py: models that are not plain BERT folders."""

import json
import shutil

import numpy as np
import pytest
import torch
from test_text_features import bert_folder  # noqa: F401, fixture

from modules.messages import UserError
from modules.preparation.features import text_models
from modules.preparation.features.text_models import HuggingFaceEncoder, MedclipEncoder, find_text_model

TEXTS = ["the lungs are clear", "edema", "heart normal edema the"]


def test_a_bert_under_another_name(bert_folder, tmp_path):  # noqa: F811
    """CXR-BERT's model type is unknown to transformers and its code is never run."""
    folder = shutil.copytree(bert_folder, tmp_path / "cxr-bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "cxr-bert", "auto_map": {"AutoModel": "code.Model"}, "projection_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('code of the folder was run')")
    found = find_text_model(str(folder), "mean").encode(TEXTS)
    np.testing.assert_allclose(found, HuggingFaceEncoder(bert_folder).encode(TEXTS), atol=1e-6)
    config["model_type"] = "word2vec"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="holds no text model that can be loaded"):
        find_text_model(str(folder), "mean")


def test_medclip_averages_three_layers_and_projects(bert_folder, tmp_path):  # noqa: F811
    folder = shutil.copytree(bert_folder, tmp_path / "medclip")
    model = HuggingFaceEncoder(bert_folder)._model
    projection = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    weights = {f"text_model.model.{name}": value for name, value in model.state_dict().items()}
    weights |= {"text_model.projection_head.weight": projection, "vision_model.model.fc.weight": torch.zeros(2, 2)}
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    encoder = find_text_model(str(folder), "mean")
    assert isinstance(encoder, MedclipEncoder)
    assert encoder.width == 6
    for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        inputs = encoder._tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states
        pooled = torch.stack([states[1], states[2], states[-1]]).mean(0)[0].mean(0) @ projection.T
        np.testing.assert_allclose(vector, (pooled / pooled.norm()).numpy(), atol=1e-5)
    del weights["text_model.model.encoder.layer.1.output.dense.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="lacks 1 weights of MedCLIP's text tower"):
        find_text_model(str(folder), "mean")


def test_only_hub_names_are_fetched(bert_folder, monkeypatch):  # noqa: F811
    fetched = []
    monkeypatch.setattr(text_models, "_fetch", lambda name: fetched.append(name) or str(bert_folder))
    assert find_text_model("hub:someone/encoder", "cls").pooling == "cls"
    with pytest.raises(UserError, match="expected lsa, hub:NAME or a local folder"):
        find_text_model("someone/encoder", "mean")
    assert fetched == ["someone/encoder"]


def test_the_hub_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        UserError,
        match="hub:nobody/nothing cannot be fetched, as HF_HUB_OFFLINE is set: unset it, or give --text_encoder",
    ):
        find_text_model("hub:nobody/nothing", "mean")
