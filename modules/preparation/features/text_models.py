"""Text encoders from Hugging Face folders: MiniLM, BioClinicalBERT, CXR-BERT, MedCLIP's text tower and their like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast  # type: ignore[attr-defined]

from models.huggingface_backbone import first_line
from modules.corpus.vocabularies import HUB_PREFIX, not_fetched
from modules.distributed import gather_list, is_main, shard
from modules.messages import UserError
from modules.records import read_object
from modules.weights.reading import load_weights

MEDCLIP_LAYERS = (1, 2, -1)  # of the hidden states that MedCLIP's text tower averages
_PROJECTION = "text_model.projection_head.weight"


class HuggingFaceEncoder:
    """Any text model that transformers loads from a folder; no code of the folder is run.

    A model type that transformers does not know but whose name ends in "bert" is loaded as BERT, which CXR-BERT is under
    another name. The several processes share the texts and all get all vectors.

    Args:
        path: folder with ``config.json``, weights and vocabulary.
        pooling: ``"mean"`` of the last layer over all tokens, or ``"cls"``, its first token.
        device: where it runs.
        batch_size: texts at once.

    Raises:
        UserError: if the folder holds no model that can be loaded.
    """

    def __init__(
        self, path: str | Path, pooling: str = "mean", device: str | torch.device = "cpu", batch_size: int = 64
    ) -> None:
        assert pooling in ("mean", "cls")
        try:
            self._tokenizer, model = _load(path)
        except UserError:
            raise
        except Exception as error:  # damage makes transformers raise anything
            raise UserError(
                f"{path} holds no text model that can be loaded ({first_line(error)}): give --text_encoder a folder "
                "with config.json, weights and vocabulary, or lsa"
            ) from error
        self._model = model.float().to(device).eval()
        self.pooling, self.device, self.batch_size = pooling, torch.device(device), batch_size
        self.width: int = self._model.config.hidden_size
        self._max_tokens = min(getattr(self._model.config, "max_position_embeddings", 512), 512)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors ``(n, C)`` float32 of unit length; texts are cut at the model's longest input."""
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # equal lengths together: little padding
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        found = []
        for chosen in tqdm(shard(batches), desc="text features", unit="batch", leave=False, disable=not is_main()):
            batch = self._tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            ).to(self.device)
            pooled = self.pool(**batch)  # (B, C)
            found.append((chosen, nn.functional.normalize(pooled, dim=-1).cpu().numpy()))
        for chosen, part in gather_list(found):
            vectors[chosen] = part
        return vectors

    def pool(self, attention_mask: Tensor, **tokens: Tensor) -> Tensor:
        """One vector ``(B, C)`` per text."""
        hidden = self._model(attention_mask=attention_mask, **tokens).last_hidden_state  # (B, T, C)
        return hidden[:, 0] if self.pooling == "cls" else _mean(hidden, attention_mask)


class MedclipEncoder(HuggingFaceEncoder):
    """MedCLIP's text tower: the mean of three layers of BioClinicalBERT over layers and tokens, projected to 512.

    Args:
        path: folder of MedCLIP's ``pytorch_model.bin`` beside ``config.json`` and the vocabulary of Bio_ClinicalBERT.
        device: where it runs.

    Source: Wang et al., MedCLIP, EMNLP 2022.
    Departure: padding tokens do not enter the mean, so that a vector does not depend on the texts of its batch.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        weights = load_weights(Path(path) / "pytorch_model.bin")
        self._tokenizer = BertTokenizerFast.from_pretrained(path, local_files_only=True)
        model = BertModel(BertConfig.from_pretrained(path, local_files_only=True))
        prefix = "text_model.model."
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        wrong = model.load_state_dict(own, strict=False)
        missing = [key for key in wrong.missing_keys if "position_ids" not in key]
        if missing:
            raise UserError(
                f"{path} lacks {len(missing)} weights of MedCLIP's text tower, first {missing[0]}: copy pytorch_model.bin "
                "of MedCLIP and config.json of Bio_ClinicalBERT there again"
            )
        self._model = model.float().to(device).eval()
        self._projection = weights[_PROJECTION].float().to(device)  # (C, E)
        self.device, self.batch_size, self.width = torch.device(device), 64, len(self._projection)
        self._max_tokens = 512

    def pool(self, attention_mask: Tensor, **tokens: Tensor) -> Tensor:
        """One vector ``(B, C)`` per text."""
        states = self._model(attention_mask=attention_mask, output_hidden_states=True, **tokens).hidden_states
        hidden = torch.stack([states[layer] for layer in MEDCLIP_LAYERS]).mean(0)  # (B, T, E)
        return _mean(hidden, attention_mask) @ self._projection.T


def find_text_model(name: str, pooling: str, device: str | torch.device = "cpu") -> HuggingFaceEncoder:
    """The model in a local folder, or with ``hub:<name>`` that of the Hugging Face hub.

    Raises:
        UserError: if there is none.
    """
    folder = _fetch(name.removeprefix(HUB_PREFIX)) if name.startswith(HUB_PREFIX) else name
    if not (Path(folder) / "config.json").is_file():
        raise UserError(
            f"--text_encoder is {name}; expected lsa, hub:NAME or a local folder of a Hugging Face model with "
            "config.json: download the model and give its folder"
        )
    weights = Path(folder) / "pytorch_model.bin"
    if weights.is_file() and _PROJECTION in load_weights(weights):
        return MedclipEncoder(folder, device)
    return HuggingFaceEncoder(folder, pooling, device)


def _fetch(name: str) -> str:
    """Local folder of a model of the Hugging Face hub, which is fetched once."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model.bin"]
    try:
        return snapshot_download(name, allow_patterns=patterns)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise not_fetched(name, error, "give --text_encoder the folder of a copy") from error


def _load(path: str | Path) -> tuple[Any, Any]:
    """Tokenizer and model of a folder.

    Raises:
        UserError: if its weights are not whole; transformers would draw those that are missing.
    """
    known = read_object(Path(path) / "config.json")
    kind = str(known.get("model_type", ""))
    if kind in CONFIG_MAPPING or not kind.endswith("bert"):
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model, report = AutoModel.from_pretrained(path, local_files_only=True, output_loading_info=True)
    else:
        settings = {key: value for key, value in known.items() if key != "auto_map"}
        config = BertConfig(**{**settings, "model_type": "bert"})
        tokenizer = BertTokenizerFast.from_pretrained(path, local_files_only=True)
        loaded: Any = BertModel.from_pretrained(path, config=config, local_files_only=True, output_loading_info=True)
        model, report = loaded
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))  # which nothing here reads
    if missing:
        raise UserError(f"{path} lacks {len(missing)} weights of its model, first {missing[0]}: copy it again")
    wrong = next((name for name, value in model.named_parameters() if not torch.isfinite(value).all()), None)
    if wrong:
        raise UserError(f"{path}: the weights {wrong} hold numbers that are not finite: copy it again")
    words, rows = len(tokenizer), model.config.vocab_size
    if not rows / 2 <= words <= rows:  # transformers makes a vocabulary of nothing from a folder that lost its own
        raise UserError(f"{path} has a vocabulary of {words} words and vectors of {rows}: copy it again")
    return tokenizer, model


def _mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean ``(B, C)`` of the states ``(B, T, C)`` of real tokens."""
    mask = attention_mask[..., None].to(hidden.dtype)  # (B, T, 1)
    return (hidden * mask).sum(1) / mask.sum(1)
