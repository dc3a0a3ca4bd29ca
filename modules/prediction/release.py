"""One folder that holds everything a model needs to write reports: made by ``--export``, opened like the folder of a run.

README.md                   model card: what it is, its scores and their protocol, how to load it
config.json                 sizes and switches of the network and of the entity scorer, how reports are written
model.safetensors           the network
entity_scorer.safetensors   what scores the entities of an image
familiarity.safetensors     what the training images look like to it, where the preparation measured that
tokenizer.json              vocabulary
bank/                       the training reports that are retrieved: features, and their texts where they may be given
SHA256SUMS                  checksum of every file, compared at loading but for the card's
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
from modules.options.prediction_flags import ReleaseOptions
from modules.prediction.model_folder import TrainedModel, as_options, open_model
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
    "region_scores": "studies", "labels": "studies", "entity_mentions": "training",
}  # fmt: skip
_READ = ("network", "entity_scorer", "writing", "memory_size", "bank_text", "checkpoint_sha256")  # of config.json
AGAIN = "copy the whole folder again, or export it again"


def is_release(folder: Path) -> bool:
    """Whether a folder was made by :func:`write_release`, whole or not."""
    return (
        any((folder / name).is_file() for name in (CONFIG, SUMS, WEIGHTS)) and not (folder / "options.json").is_file()
    )


def write_release(trained: TrainedModel, folder: Path, card: str, wanted: ReleaseOptions) -> None:
    """Write a release folder.

    Args:
        trained: what is released.
        folder: made; must be absent or empty.
        card: text of the model card.
        wanted: without ``bank_text`` a retrieved report is named by its study alone, and the decoder reads no words of it.
            With ``half`` matrices are float16, half the size; reports may differ in a word. ``bank_size`` is how many
            training reports go with it.

    Raises:
        UserError: if something is in the folder; if more or fewer training reports are wanted than there are or are read.
    """
    bank, half = trained.bank, wanted.half
    size = len(bank) if wanted.bank_size is None else wanted.bank_size
    if wanted.bank_size is not None and not trained.memory_size <= size <= len(bank):
        raise UserError(
            f"--bank_size is {size}, and the model reads {trained.memory_size} training reports at once of the {len(bank)} "
            f"there are: give a number from {trained.memory_size} to {len(bank)}"
        )
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
            "bank_text": wanted.bank_text,
            "bank_size": wanted.bank_size,
            "half": half,
            "checkpoint_sha256": trained.checksum,
        },
    )
    rows = np.linspace(0, len(bank) - 1, size).round().astype(np.int64)
    _write_bank(trained, folder / BANK, rows, wanted)
    with atomic_write(folder / CARD) as file:
        file.write(card)
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """Write the checksum of every file of a release."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    with atomic_write(folder / SUMS) as file:
        file.writelines(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


def _write_bank(trained: TrainedModel, folder: Path, rows: np.ndarray, wanted: ReleaseOptions) -> None:
    """The arrays that writing reads, of the training studies in ``rows`` ``(n,)`` alone; no patient is named."""
    bank = trained.bank
    ids = [bank.ids[row] for row in rows]
    offsets = np.asarray(bank.store["sentence_offsets"])
    sentences = np.concatenate([np.arange(*offsets[row : row + 2]) for row in rows])
    for axis in ("studies", "training"):
        write_axis(folder, axis, ids)
    arrays = {
        "report_features": np.asarray(bank.store["report_features"])[rows],
        "sentence_features": np.asarray(bank.store["sentence_features"])[sentences],
        "sentence_offsets": np.concatenate([[0], np.diff(offsets)[rows].cumsum()]),
        "region_scores": bank.region_scores[rows],
        "labels": bank.labels[rows],
        "entity_mentions": trained.mentions[rows].astype(np.int8),
    }
    for name, array in arrays.items():
        narrow = wanted.half and array.dtype == np.float32
        write_feature(folder, name, array.astype(np.float16) if narrow else array, axis=BANK_ARRAYS[name], made_by={})
    reports = [bank.reports[row] if wanted.bank_text else "" for row in rows]
    write_bank_reports(
        folder, ({"id": i, "patient": None, "report": report} for i, report in zip(ids, reports, strict=True))
    )


def check_sums(folder: Path) -> None:
    """Compare every file with its checksum but the card, which people may add to and no program reads.

    Raises:
        UserError: naming the files that are missing or have changed.
    """
    path = folder / SUMS
    if not path.is_file():
        raise UserError(f"{folder} is a release without {SUMS}: {AGAIN}")
    lines = [line.partition("  ") for line in path.read_text(encoding="utf-8").splitlines() if "  " in line]
    sums = {name: checksum for checksum, _, name in lines}
    unlisted = [name for name in (CONFIG, WEIGHTS, SCORER, VOCABULARY, f"{BANK}/{MANIFEST}") if name not in sums]
    read = [name for name in sums if name != CARD]
    bad = [name for name in read if not (folder / name).is_file() or sha256_of(folder / name) != sums[name]]
    if unlisted or bad:
        raise UserError(
            f"{folder} is not what was released: {', '.join((bad + unlisted)[:4])} missing, changed or not in {SUMS}: {AGAIN}"
        )


def open_trained(folder: str | Path, device: torch.device) -> TrainedModel:
    """Load a model from the folder of a training or of a release; UserError if something that it needs is missing."""
    folder = Path(folder)
    return open_release(folder, device) if is_release(folder) else open_model(folder, device)


def open_release(folder: Path, device: torch.device) -> TrainedModel:
    """Load a release folder, once its checksums are those that were written.

    Raises:
        UserError: if a file is missing, changed, or of another version.
    """
    check_sums(folder)
    config = read_json(folder / CONFIG)
    if not isinstance(config, Mapping) or config.get("format") != FORMAT or not set(_READ) <= set(config):
        raise UserError(f"{folder / CONFIG} describes no release of this version: {AGAIN}")
    weights = load_tensors(folder / WEIGHTS)
    content = {"format": NETWORK_FORMAT, "config": config["network"], "state_dict": weights, "run": {}}
    model = build_model(as_checkpoint(content, folder / WEIGHTS))
    store = FeatureStore.open(folder / BANK).check()
    less = not config["bank_text"] or config.get("bank_size") is not None or config.get("half", False)
    return TrainedModel(
        model.to(device).eval(),
        ReportTokenizer.load(folder / VOCABULARY),
        _open_scorer(folder / SCORER, config["entity_scorer"]).to(device).eval(),
        TrainingBank(store),
        as_options(config["writing"]),
        sha256_of(folder / CONFIG) if less else config["checkpoint_sha256"],  # with less it may write other reports
        np.asarray(store["entity_mentions"]),
        config["memory_size"],
        Familiarity.load(folder / FAMILIARITY),
        config["bank_text"],
    )


def _open_scorer(path: Path, config: dict[str, Any]) -> EntityScorer:
    """The entity scorer of a release; UserError if its weights do not fit its configuration."""
    weights = load_tensors(path)
    check_weights(weights, build_blank(EntityScorer, EntityScorerConfig, config, path).state_dict(), path, "its config")
    scorer = EntityScorer(EntityScorerConfig(**config))
    scorer.load_state_dict(weights)
    return scorer
