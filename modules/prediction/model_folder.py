"""The folder of a trained model: a run of main_train.py with what it read; a release folder is in ``release``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.entity_scorer import EntityScorer
from models.revtaf import Revtaf
from modules.corpus.bank import TrainingBank
from modules.corpus.pairing import refuse_other_features, refuse_wrong_pairing, trained_features
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.corpus.vocabularies import tokenizer_of
from modules.feature_folder import moved_aside
from modules.labelling.mentions import entity_mentions
from modules.messages import UserError
from modules.preparation.features.entities import load_entity_scorer
from modules.preparation.features.familiarity import FILE as FAMILIARITY
from modules.preparation.features.familiarity import Familiarity
from modules.records import ROOT, read_run_options, sha256_of
from modules.retrieval.retriever import require_fitted
from modules.weights.checkpoints import build_model, load_checkpoint
from modules.weights.fast import speed_up
from modules.weights.saving import BEST, CURRENT

CHECKPOINTS = (BEST, CURRENT)  # of a run's folder, the one to load first
MADE_ANEW = "they have been made anew since: train the model again, or copy the features of its training there"
WRITING = (  # options of a training that say how reports are written after it
    "dataset_name", "precision", "seed", "batch_size", "beam_size", "gen_min_len", "gen_max_len", "rerank",
    "second_search", "guidance",
)  # fmt: skip


@dataclass
class TrainedModel:
    """Everything that writing a report needs."""

    model: Revtaf  # on the device, in evaluation mode
    tokenizer: ReportTokenizer
    scorer: EntityScorer
    bank: TrainingBank
    options: dict[str, Any]  # WRITING, by name
    checksum: str  # of what writes, so that reports of two models are never mixed
    mentions: np.ndarray  # (N, K), entities in the reports of the bank
    memory_size: int  # reports R in the memory of a film
    familiarity: Familiarity | None  # None where an earlier preparation measured none
    bank_text: bool = True  # whether the reports of the bank are there, or only what was made from them


def model_file(folder: str | Path) -> Path:
    """The checkpoint of a run's folder, or the one that is named; UserError if there is none."""
    folder = Path(folder)
    named = [folder] if folder.is_file() else [folder / name for name in CHECKPOINTS]
    found = [path for path in named if path.is_file()]
    if not found:
        fault = f"holds no {CHECKPOINTS[0]}" if folder.exists() else "does not exist"
        raise UserError(
            f"{folder} {fault}: give the folder of a trained model with --model (examples/demo comes with the "
            "clone and knows drawings alone, bash quickstart.sh makes results/synth_cxr)"
        )
    return found[0]


def unvalidated(folder: str | Path) -> str:
    """A line where the last state of a training writes, because no validation has chosen one yet; else ""."""
    folder = Path(folder)
    best, current = (folder / name for name in CHECKPOINTS)
    if best.is_file() or not current.is_file():
        return ""
    return f"{folder} holds no {best.name}, which the first validation writes: reports are those of {current.name}"


def open_model(folder: str | Path, device: torch.device) -> TrainedModel:
    """Load a model from its folder.

    Args:
        folder: ``--save_dir`` of a training, or a checkpoint in it.
        device: where to compute.

    Raises:
        UserError: naming what is missing, or why images cannot be read with this model.
    """
    path = model_file(folder)
    options_file = path.with_name("options.json")
    if not options_file.is_file():
        load_checkpoint(path)  # of a file that is no model, what lacks beside it is not what is wrong
        raise UserError(
            f"{path.parent} holds no options.json, which says where the model's features lie: copy the whole folder"
        )
    options = read_run_options(options_file)
    if not isinstance(options.get("bank_dir"), str):
        raise UserError(
            f"{options_file} names no bank_dir, where the model's features lie: copy the whole folder again"
        )
    checkpoint = load_checkpoint(path)
    origin, bank_dir = checkpoint["run"].get("trained_on"), _where(options["bank_dir"], path.parent)
    bank_dir = trained_features(origin, bank_dir) or bank_dir
    store = FeatureStore.open(bank_dir).check()
    _refuse_foreign_scores(store, bank_dir)
    refuse_wrong_pairing(store, store, "online")  # images are read by the scorer beside the bank
    refuse_other_features(origin, store, path, lambda: MADE_ANEW)
    tokenizer = tokenizer_of(path, checkpoint, options.get("bert_path"))
    model = build_model(checkpoint).to(device).eval()
    require_fitted(model, path)
    speed_up(model, device)
    scorer = load_entity_scorer(bank_dir / "entity_scorer.pth", device).requires_grad_(False)
    bank = TrainingBank(store)
    return TrainedModel(
        model,
        tokenizer,
        scorer,
        bank,
        as_options(options),
        sha256_of(path),
        entity_mentions(bank.reports),
        store.entry("memory_indices")["shape"][1],
        Familiarity.load(bank_dir / FAMILIARITY),
    )


def as_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options of a training that say how reports are written after it."""
    known = {"second_search": 0, **options}  # a model from before there was one writes as it did then
    if known.get("beam_size") == 1:
        known["rerank"] = "none"  # one beam leaves no choice
    return {name: known[name] for name in WRITING if name in known}


def _where(bank_dir: str, folder: Path) -> Path:
    """The retrieval bank of a training, by the path that it has in its options.

    A relative path is looked for from the model's folder and those above it, then from here, then from the project.
    """
    folder = folder.resolve()
    tried = [place / bank_dir for place in (folder, *folder.parents, Path(), ROOT)]
    for path in tried:
        if any((place / "manifest.json").is_file() for place in (path, *moved_aside(path))):
            return path
    raise UserError(
        f"the model in {folder} retrieves from {bank_dir}, which is not there: run from the folder that the training ran in, "
        "or copy the features"
    )


def _refuse_foreign_scores(store: FeatureStore, bank_dir: Path) -> None:
    """Images can be read only with the scorer that the features were made with."""
    made_by = store.entry("region_scores")["made_by"]
    if (bank_dir / "entity_scorer.pth").is_file():
        return
    who = "MedKLIP" if made_by.get("entity_scorer") == "medklip" else "an extractor that is not part of this project"
    raise UserError(
        f"the features in {bank_dir} come from {who} and hold no entity_scorer.pth: this model can be tested on prepared "
        "data (main_test.py), and reads new images only after training on features of --entity_scorer own"
    )
