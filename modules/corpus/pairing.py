"""Whether features, retrieval bank and model belong together: rows and scores of another build look like any others.

What a feature folder says of the scorer that read its images and of the bank that its memory numbers stands in its
manifest; what a model was trained on stands in its checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from modules.corpus.store import FeatureStore
from modules.feature_folder import moved_aside
from modules.messages import UserError
from modules.records import sha256_of

_MEDKLIP = ("checkpoint", "descriptions", "bert", "description_tokens")
PUBLISHED = "the published files"  # they come from MedKLIP
GIVE_BANK = (
    "give the bank of its training with --bank_dir and features that were prepared for it (zero-shot: --feature_dir "
    "features_zero_shot)"
)


def scorer_of(store: FeatureStore) -> str | None:
    """What read the images of a folder, in words: equal words mean one scorer. None if the manifest does not say it."""
    made_by = store.entry("region_scores")["made_by"] if "region_scores" in store else {}
    if made_by.get("entity_scorer") == "medklip":
        return "MedKLIP " + " ".join(str(made_by.get(name))[:12] for name in _MEDKLIP)
    if "published" in made_by:
        return PUBLISHED
    return f"scorer {made_by['scorer'][:12]}" if "scorer" in made_by else None


def training_origin(store: FeatureStore) -> dict[str, Any]:
    """What a model is trained on, for its checkpoint: the scorer and the scores of the bank, and its text features."""
    entry = store.entry("report_features")
    text = {name: entry[name] for name in ("sha256", "made_by")}
    return {"scorer": scorer_of(store), "scores": _training_scores(store), "report_features": text}


def _training_scores(store: FeatureStore) -> str:
    """Checksum of the scores of the training images: a scorer that was trained again to the same weights is the same."""
    rows = store.rows("studies", store.row_ids("training"))
    return hashlib.sha256(np.ascontiguousarray(store["region_scores"][rows]).tobytes()).hexdigest()


def refuse_wrong_pairing(store: FeatureStore, bank: FeatureStore, features: str = "stored") -> None:
    """Refuse features that were not prepared for a bank.

    Args:
        store: of the studies.
        bank: whose training split is retrieved from; may be the same folder.
        features: ``--features``; online, the scorer beside the bank must be the one that made its scores.

    Raises:
        UserError: if the images were read by another scorer than those of the bank, or the memory numbers the reports of
            another bank.
    """
    here, there = store.directory, bank.directory
    again = f"python main_prepare.py with --feature_dir {here} and --bank_dir {there}"
    if here != there and not _one_scorer(scorer_of(store), scorer_of(bank)):
        raise UserError(
            f"the images of {here} were read by {scorer_of(store)}, those of the bank {there} by {scorer_of(bank)}, so that "
            f"their scores do not compare: give the feature folder that was prepared for this bank, or make it: python main_prepare.py "
            f"with --bank_dir {there} and a new --feature_dir"
        )
    if "memory_indices" in store and "report_features" not in bank:
        raise UserError(
            f"{there} was prepared for a test with another data set's bank (zero-shot) and holds none: give the feature folder of "
            "the data set that the model was trained on with --bank_dir"
        )
    if "memory_indices" in store:
        known, entry = store.entry("memory_indices")["made_by"].get("bank"), bank.entry("report_features")
        found = entry["shape"][0] if isinstance(known, int) else entry["sha256"]
        if known not in (None, found):
            raise UserError(
                f"the memory of {here} numbers the reports of another bank than {there} is now: give the bank that it was "
                f"prepared for with --bank_dir, or prepare it again: {again}"
            )
    scorer = there / "entity_scorer.pth"
    wanted = store.entry("region_scores")["made_by"].get("scorer") if "region_scores" in store else None
    if features == "online" and wanted is not None and scorer.is_file() and sha256_of(scorer) != wanted:
        raise UserError(
            f"{scorer} is another scorer than the one that made the scores of {here}, and --features online reads the images "
            f"with it: prepare the features again: {again}"
        )


def refuse_other_features(
    origin: Mapping[str, Any] | None, bank: FeatureStore, model: Path, remedy: Callable[[], str] = lambda: GIVE_BANK
) -> None:
    """Refuse to test a model with scores or text features that mean something else than those it was trained on.

    Args:
        origin: :func:`training_origin` in the checkpoint; None in one that does not have it.
        bank: whose training split is retrieved from, and for which the studies were prepared.
        model: the checkpoint, for the message.
        remedy: says what whoever reads the message can do.

    Raises:
        UserError: naming the folder and what differs.
    """
    if origin is None or "report_features" not in bank:  # a folder without a bank has its own sentence
        return
    if not _one_scorer(origin["scorer"], scorer_of(bank)) and origin["scores"] != _training_scores(bank):
        raise UserError(
            f"{model} was trained on scores of {origin['scorer']} and the images of {bank.directory} were read by "
            f"{scorer_of(bank)}: {remedy()}"
        )
    entry, trained = bank.entry("report_features"), origin["report_features"]
    if trained["sha256"] != entry["sha256"] and trained["made_by"] != entry["made_by"]:
        names = sorted(trained["made_by"].keys() | entry["made_by"].keys())
        first = next(name for name in names if trained["made_by"].get(name) != entry["made_by"].get(name))
        raise UserError(
            f"{model} was trained with other text features than those of {bank.directory} (first difference: {first}): {remedy()}"
        )


def trained_features(origin: Mapping[str, Any] | None, folder: Path) -> Path | None:
    """Where the features that a model was trained on lie now.

    Args:
        origin: :func:`training_origin` in its checkpoint; None in one that does not have it, which is taken at its word.
        folder: where they lay; a preparation may have moved them aside since.

    Returns:
        That folder, or the one beside it that holds them; None if neither does.
    """
    for place in [folder, *(moved_aside(folder) if origin else [])]:
        with suppress(UserError):
            store = FeatureStore.open(place)
            refuse_other_features(origin, store, folder)
            if place == folder or "report_features" in store:
                return place
    return None


def require_own_bank(store: FeatureStore, feature_dir: str | Path, bank_dir: str | Path) -> None:
    """Refuse to train on features that hold no bank, or to be told of another bank, which nothing would read.

    Raises:
        UserError: saying which folder to train on.
    """
    if Path(bank_dir) != Path(feature_dir):
        raise UserError(
            f"a training retrieves from its own training split, so --bank_dir {bank_dir} would be unread: leave it out"
        )
    if "memory_indices" in store and "report_features" not in store:
        raise UserError(
            f"{feature_dir} was prepared for a test with another data set's bank (zero-shot) and holds none of its own: train "
            "on features that main_prepare.py makes without --bank_dir"
        )


def _one_scorer(one: str | None, other: str | None) -> bool:
    """Whether two scorers are one, as far as is known."""
    if one is None or other is None or one == other:
        return True
    others = {one, other} - {PUBLISHED}
    return len(others) == 1 and others.pop().startswith("MedKLIP ")
