"""The weights of a BERT folder, and what of them the report decoder takes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.decoder_parameters import DecoderNetwork
from modules.labels import STATE_TOKENS
from modules.messages import UserError
from modules.records import read_object
from modules.weights.layouts import describe, weights_of
from modules.weights.reading import load_weights

_SIZES = {
    "--hidden_size": "hidden_size",
    "--decoder_heads": "num_attention_heads",
    "--intermediate_size": "intermediate_size",
}
ADDED = 1 + len(STATE_TOKENS)  # tokens of the prompt, behind the words of a BERT
BERT_FILES = ("model.safetensors", "pytorch_model.bin")  # weights in a BERT folder, the first that is there


def load_bert(decoder: DecoderNetwork, folder: str | Path) -> str:
    """Load what fits of a BERT folder into the report decoder.

    Args:
        decoder: the ``network`` of a :class:`models.report_decoder.ReportDecoder`.
        folder: local folder with ``model.safetensors`` or ``pytorch_model.bin``.

    Returns:
        Three lines: what came from where, what was extended, what is new.

    Raises:
        UserError: if the folder holds no weights; if neither its words nor its layers fit, as those of another
            vocabulary or of another kind of network.
    """
    source, path = bert_weights(folder)
    own = decoder.state_dict()
    taken: dict[str, Tensor] = {}
    extended = []
    for key, value in own.items():
        trained = source.get(key, source.get(key.removeprefix("bert.")))
        if trained is None:
            continue
        if trained.shape == value.shape:
            taken[key] = trained
        elif trained.shape == (len(value) - ADDED, *value.shape[1:]):
            taken[key] = torch.cat([trained, value[len(trained) :]])  # the added tokens stay random
            extended.append(key)
    words = "bert.embeddings.word_embeddings.weight"
    theirs = source.get(words, source.get(words.removeprefix("bert.")))
    if theirs is not None and words not in taken and theirs.shape[1:] == own[words].shape[1:]:
        raise UserError(
            f"{path} has {len(theirs):,} words and the vocabulary {len(own[words]) - ADDED:,}, which are of two models: give the "
            "folder of one BERT with --bert_path"
        )
    if words not in taken or not any(key.startswith("bert.encoder.layer.0.") for key in taken):
        raise UserError(
            f"{path} has no {'layers' if words in taken else 'words'} that fit the report decoder: {describe(source)}; give a BERT of width "
            f"{decoder.config.hidden_size}, such as bert-base-uncased for 768{_sizes(folder, decoder.config.hidden_size)}"
        )
    decoder.load_state_dict(taken, strict=False)
    filled = {own[key].data_ptr() for key in taken}  # two names of one tensor are filled by either
    new = [key for key in own if own[key].data_ptr() not in filled]
    return (
        f"report decoder: {len(own) - len(new)} of {len(own)} tensors from {path}\n"
        f"report decoder: extended by the added tokens: {', '.join(extended) or 'none'}\n"
        f"report decoder: new and random: {len(new)} tensors ({', '.join(sorted({_short(k) for k in new})[:3]) or 'none'})"
    )


def _sizes(folder: str | Path, width: int) -> str:
    """The flags of a report decoder that takes a BERT of another width; nothing where its folder does not say its sizes."""
    path = Path(folder) / "config.json"
    described = read_object(path) if path.is_file() else {}
    sizes = {flag: described.get(name) for flag, name in _SIZES.items()}
    if not all(isinstance(size, int) for size in sizes.values()) or sizes["--hidden_size"] == width:
        return ""
    return f", or let the decoder take its sizes: {' '.join(f'{flag} {size}' for flag, size in sizes.items())}"


def bert_weights(folder: str | Path) -> tuple[dict[str, Tensor], Path]:
    """The tensors of a BERT folder by their present-day names, and the file they came from.

    Raises:
        UserError: if the folder holds no weights; if they are no weights, or hold pickled code.
    """
    path = bert_file(folder)
    return {_modern_name(key): value for key, value in weights_of(load_weights(path)).items()}, path


def bert_file(folder: str | Path) -> Path:
    """The weights file of a BERT folder.

    Raises:
        UserError: if there is none.
    """
    for name in BERT_FILES:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise UserError(
        f"{folder} holds neither model.safetensors nor pytorch_model.bin: download the model once, for example "
        "bert-base-uncased, and give its folder with --bert_path"
    )


def _modern_name(key: str) -> str:
    """Old BERT files call the gain and shift of a LayerNorm gamma and beta."""
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _short(key: str) -> str:
    return "crossattention.*" if "crossattention" in key else key
