"""Where a vocabulary comes from: the file beside a trained model, or a BERT that a flag names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.tokenizer import ReportTokenizer, vocabulary_file
from modules.messages import UserError
from modules.options.flags import BERT_FOLDER

HUB_PREFIX = "hub:"  # in front of a model name that may be downloaded


def bert_vocabulary(bert_path: str | Path | None) -> Path | None:
    """The words of bert-base-uncased that ``--bert_path`` names, or of ``BERT_FOLDER``; None if they are missing."""
    path = vocabulary_file(bert_folder(bert_path or BERT_FOLDER))
    return path if path.is_file() else None


def tokenizer_of(
    checkpoint_path: str | Path, checkpoint: Mapping[str, Any], bert_path: str | Path | None
) -> ReportTokenizer:
    """Vocabulary of a trained model: the file beside it; a released model has none and speaks BERT's.

    Args:
        checkpoint_path: where the model stands.
        checkpoint: as :func:`modules.weights.checkpoints.load_checkpoint` returns it.
        bert_path: where the vocabulary of a released model is, see :func:`bert_vocabulary`.

    Raises:
        UserError: if the vocabulary is missing; if it is not that of the model.
    """
    path, config = Path(checkpoint_path).with_name("tokenizer.json"), checkpoint["config"]
    remedy = "copy both files of one run"
    if "released" in checkpoint["run"]:
        vocabulary, remedy = bert_vocabulary(bert_path), "give the folder of bert-base-uncased with --bert_path"
        if vocabulary is None:
            raise UserError(
                f"{checkpoint_path} is a released model, which has no tokenizer.json, and {bert_path or BERT_FOLDER} "
                "holds no vocab.txt: give the folder of bert-base-uncased (30,522 words, to which 5 are added) with "
                "--bert_path"
            )
        path, tokenizer = vocabulary, ReportTokenizer.from_bert(vocabulary)
    else:
        tokenizer = ReportTokenizer.load(path)
    found = (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.end_id)
    if found != (config["vocab_size"], config["pad_id"], config["end_id"]):
        raise UserError(
            f"{path} makes {found[0]} tokens with padding {found[1]} and end {found[2]} but {checkpoint_path} was "
            f"trained with {config['vocab_size']}, {config['pad_id']} and {config['end_id']}: {remedy}"
        )
    if checkpoint["run"].get("vocabulary", tokenizer.checksum) != tokenizer.checksum:
        raise UserError(
            f"{path} holds {found[0]} tokens, as {checkpoint_path} was trained with, and some of them are others: {remedy}"
        )
    return tokenizer


def bert_folder(bert_path: str | Path) -> Path:
    """The local folder of a BERT.

    Args:
        bert_path: a folder, or ``hub:<name>`` to fetch the model ``<name>`` from the Hugging Face hub, once.

    Raises:
        UserError: if the hub cannot be reached or has no such model.
    """
    if not str(bert_path).startswith(HUB_PREFIX):
        return Path(bert_path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name = str(bert_path).removeprefix(HUB_PREFIX)
    try:
        small = ["config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"]
        folder = Path(snapshot_download(name, allow_patterns=[*small, "model.safetensors"]))
        if not (folder / "model.safetensors").is_file():  # older models have weights of the older kind only
            folder = Path(snapshot_download(name, allow_patterns=[*small, "pytorch_model.bin"]))
        return folder
    except (OSError, HFValidationError) as error:
        raise not_fetched(name, error, "copy the folder here and give it with --bert_path") from error


def not_fetched(name: str, error: Exception, instead: str) -> UserError:
    """Why a model of the Hugging Face hub cannot be had, and what to do."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return UserError(f"hub:{name} cannot be fetched, as {variable} is set: unset it, or {instead}")
    return UserError(
        f"hub:{name} cannot be fetched ({type(error).__name__}): check the name and the connection, or {instead}"
    )
