"""One folder that holds everything a model needs to write reports: made by ``--export``, opened like the folder of a run.

README.md                   model card: what it is, its scores and their protocol, how to load it
config.json                 sizes and switches of the network and of the entity scorer, how reports are written
model.safetensors           the network
entity_scorer.safetensors   what scores the entities of an image
familiarity.safetensors     what the training images look like to it, where the preparation measured that
tokenizer.json              vocabulary
bank/                       the training reports that are retrieved: features, and their texts where they may be given
SHA256SUMS                  checksum of every file, compared at loading
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.corpus.bank import TrainingBank
from modules.corpus.manifest import MANIFEST
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.tokenizer import ReportTokenizer
from modules.messages import UserError
from modules.prediction.model_folder import TrainedModel, as_options
from modules.preparation.features.familiarity import FILE as FAMILIARITY
from modules.preparation.features.familiarity import Familiarity
from modules.records import atomic_write, read_json, sha256_of, write_json
from modules.weights.checkpoints import as_checkpoint, build_model
from modules.weights.layouts import check_weights
from modules.weights.reading import build_blank
from modules.weights.safe_files import load_tensors, save_tensors
from modules.weights.saving import FORMAT as NETWORK_FORMAT

FORMAT = "revtaf_release/1"
CONFIG, WEIGHTS, SCORER = "config.json", "model.safetensors", "entity_scorer.safetensors"
VOCABULARY, CARD, SUMS, BANK = "tokenizer.json", "README.md", "SHA256SUMS", "bank"
BANK_ARRAYS = {  # what of a feature folder is read when a report is written, and its axis
    "report_features": "training", "sentence_features": "sentences", "sentence_offsets": "sentences",
    "region_scores": "studies", "labels": "studies",
}  # fmt: skip
AGAIN = "copy the whole folder again, or export it again"


def is_release(folder: Path) -> bool:
    """Whether a folder was made by :func:`write_release`, whole or not."""
    return (
        any((folder / name).is_file() for name in (CONFIG, SUMS, WEIGHTS)) and not (folder / "options.json").is_file()
    )


def write_release(trained: TrainedModel, folder: Path, card: str, *, bank_text: bool, half: bool) -> None:
    """Write a release folder.

    Args:
        trained: what is released.
        folder: made; must be absent or empty.
        card: text of the model card.
        bank_text: give the training reports with it. Without them a retrieved report is named by its study alone, and the
            decoder reads no words of it.
        half: keep matrices as float16, half the size; reports may differ in a word.

    Raises:
        UserError: if something is in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: give --export a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    network = trained.model.state_dict()
    save_tensors(folder / WEIGHTS, network, half)
    save_tensors(folder / SCORER, trained.scorer.state_dict(), half)
    if trained.familiarity:
        trained.familiarity.save(folder / FAMILIARITY, sha256_of(folder / SCORER))
    trained.tokenizer.save(folder / VOCABULARY)
    write_json(
        folder / CONFIG,
        {
            "format": FORMAT,
            "model_type": "revtaf",
            "architectures": ["Revtaf"],
            "network": asdict(trained.model.config),
            "entity_scorer": asdict(trained.scorer.config),
            "writing": trained.options,
            "memory_size": trained.memory_size,
            "bank_text": bank_text,
            "checkpoint_sha256": trained.checksum,
        },
    )
    _write_bank(trained, folder / BANK, bank_text, half)
    with atomic_write(folder / CARD) as file:
        file.write(card)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with atomic_write(folder / SUMS) as file:
        file.writelines(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


def _write_bank(trained: TrainedModel, folder: Path, bank_text: bool, half: bool) -> None:
    """The arrays that writing reads, of training studies alone; no patient is named."""
    bank = trained.bank
    for axis in ("studies", "training"):
        write_axis(folder, axis, bank.ids)
    rows = bank.store.rows("studies", bank.ids)
    for name, axis in BANK_ARRAYS.items():
        array = np.asarray(bank.store[name])
        array = array[rows] if axis == "studies" else array
        narrow = half and array.dtype == np.float32
        write_feature(folder, name, array.astype(np.float16) if narrow else array, axis=axis, made_by={})
    write_feature(folder, "entity_mentions", trained.mentions.astype(np.int8), axis="training", made_by={})
    reports = bank.reports if bank_text else [""] * len(bank)
    write_bank_reports(
        folder, ({"id": i, "patient": None, "report": report} for i, report in zip(bank.ids, reports, strict=True))
    )


def check_sums(folder: Path) -> None:
    """Compare every file with its checksum.

    Raises:
        UserError: naming the files that are missing or have changed.
    """
    path = folder / SUMS
    if not path.is_file():
        raise UserError(f"{folder} is a release without {SUMS}: {AGAIN}")
    lines = [line.partition("  ") for line in path.read_text(encoding="utf-8").splitlines() if "  " in line]
    sums = {name: checksum for checksum, _, name in lines}
    unlisted = [name for name in (CONFIG, WEIGHTS, SCORER, VOCABULARY, f"{BANK}/{MANIFEST}") if name not in sums]
    bad = [name for name in sums if not (folder / name).is_file() or sha256_of(folder / name) != sums[name]]
    if unlisted or bad:
        raise UserError(
            f"{folder} is not what was released: {', '.join((bad + unlisted)[:4])} missing, changed or not in {SUMS}: {AGAIN}"
        )


def open_release(folder: Path, device: torch.device) -> TrainedModel:
    """Load a release folder, once its checksums are those that were written.

    Raises:
        UserError: if a file is missing, changed, or of another version.
    """
    check_sums(folder)
    config = read_json(folder / CONFIG)
    if not isinstance(config, Mapping) or config.get("format") != FORMAT:
        raise UserError(f"{folder / CONFIG} describes no release of this version: {AGAIN}")
    weights = load_tensors(folder / WEIGHTS)
    content = {"format": NETWORK_FORMAT, "config": config["network"], "state_dict": weights, "run": {}}
    model = build_model(as_checkpoint(content, folder / WEIGHTS))
    store = FeatureStore.open(folder / BANK).check()
    return TrainedModel(
        model.to(device).eval(),
        ReportTokenizer.load(folder / VOCABULARY),
        _open_scorer(folder / SCORER, config["entity_scorer"]).to(device).eval(),
        TrainingBank(store),
        as_options(config["writing"]),
        config["checkpoint_sha256"] if config["bank_text"] else sha256_of(folder / CONFIG),
        np.asarray(store["entity_mentions"]),
        config["memory_size"],
        Familiarity.load(folder / FAMILIARITY),
        config["bank_text"],
    )


def _open_scorer(path: Path, config: dict[str, Any]) -> EntityScorer:
    weights = load_tensors(path)
    check_weights(weights, build_blank(EntityScorer, EntityScorerConfig, config, path).state_dict(), path, "its config")
    scorer = EntityScorer(EntityScorerConfig(**config))
    scorer.load_state_dict(weights)
    return scorer
