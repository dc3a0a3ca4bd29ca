"""What a training starts from: random weights, parts of other networks, or a whole trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.config import FlagError
from models.revtaf import Revtaf
from modules.corpus.vocabularies import bert_folder
from modules.messages import UserError
from modules.options.idle_flags import OF_A_TRAINED_MODEL
from modules.options.programs import MainTrain
from modules.weights.backbones import load_backbone, random_start, starting_weights
from modules.weights.bert import BERT_FILES, load_bert

SWITCHES = (  # options that change what a model does with the same weights; all others belong to the weights
    "image_size", "grid", "dropout", "manifold", "curvature", "learn_curvature", "retrieval", "attention", "align_pairs",
    "ot_plan", "ot_solver", "ot_epsilon", "ot_iterations", "mask_padding",
)  # fmt: skip

LEARNED_CURVATURE = "retrieval_enhancer.manifold.log_c"  # of a model that learned none it starts at --c
MAPS_FITTED = "coarse_search.maps_fitted"
FINER_MAPS = "near_view.", MAPS_FITTED  # which begin anew on another grid
WIDE_CELLS = {  # what searches cells of 32 pixels: on the coarse grid the maps themselves, beside finer maps their own search
    "near_view.": "coarse_search.view.", "fusion.attention.q.": "coarse_search.q.", "entity_queries.": "coarse_search.queries.",
}  # fmt: skip


def adopt_options(options: MainTrain, checkpoint: Mapping[str, Any]) -> str:
    """Set the model's options to those of a trained model: its sizes, and its switches unless the user set them.

    Args:
        options: of ``main_train.py``; changed in place.
        checkpoint: as :func:`modules.weights.checkpoints.load_checkpoint` returns it.

    Returns:
        One line that says what is set.

    Raises:
        UserError: if the user asks for another size, or for what nothing would read beside the switches of that model.
    """
    theirs, released = checkpoint["config"], checkpoint["run"].get("released")
    adopted, kept = {}, []
    for name, ours in asdict(options.model).items():
        value = theirs[name]
        if name not in options.given or ours == value:
            adopted[name] = value
        elif name in SWITCHES:
            kept.append(f"{name} {ours} instead of {value}")
        else:
            raise UserError(
                f"{options.start.init_from} is a model with {name} {value} and the command line asks for {ours}: leave "
                "that flag out, or do not use --init_from"
            )
    options.model = replace(options.model, **adopted)
    try:
        options.refuse_idle(OF_A_TRAINED_MODEL)
    except FlagError as error:
        raise UserError(f"with {options.start.init_from}, whose switches are taken, {error}") from error
    if released:
        options.start.tokenizer = "bert"
        if "align_iou" not in options.given:
            options.training.align_iou = "binary"
        elif options.training.align_iou != "binary":
            kept.append(f"align_iou {options.training.align_iou} instead of binary")
    line = released or f"{options.start.init_from}: a model of this project; its sizes and switches are set"
    return f"{line}; from the command line: {', '.join(kept)}" if kept else line


def load_trained(model: Revtaf, checkpoint: Mapping[str, Any], path: str | Path, maps_fitted: bool = True) -> list[str]:
    """Load the weights of a trained model into one whose switches may differ and whose vocabulary may be longer.

    The rows of words that the trained model does not know stay as they were drawn.

    Args:
        model: to load into.
        checkpoint: as :func:`modules.weights.checkpoints.load_checkpoint` returns it.
        path: of the checkpoint.
        maps_fitted: whether this training fits the maps of a finer grid apart; without a presence loss it does not.

    Returns:
        A line for each part that does not come from there.

    Raises:
        UserError: if it was trained on features of another width or with another vocabulary, or has no weights for
            something that is switched on here.
    """
    ours, theirs = asdict(model.config), checkpoint["config"]
    differences = [
        f"{name} {theirs.get(name)} there, {ours[name]} here"
        for name in ours
        if name not in (*SWITCHES, "vocab_size") and theirs.get(name) != ours[name]
    ]
    new = ours["vocab_size"] - theirs["vocab_size"]
    if new < 0:
        differences.append(f"vocab_size {theirs['vocab_size']} there, {ours['vocab_size']} here")
    if differences:
        raise UserError(
            f"{path} does not fit the prepared data ({'; '.join(differences[:4])}): prepare features of its widths, or "
            "do not use --init_from"
        )
    own, taken, lines = model.state_dict(), checkpoint["state_dict"], []
    if ours["grid"] != theirs["grid"] and ours["map_view"] == "near":
        taken = _on_the_grid(model, checkpoint, path, maps_fitted)
        lines += ["maps: those of 16 pixels begin anew and are fitted"] if ours["grid"] == "2x" else []
    weights = {
        name: torch.cat([value, own[name][len(value) :]]) if _is_shorter(value, own.get(name), new) else value
        for name, value in taken.items()
    }
    missing = model.load_state_dict(weights, strict=False).missing_keys
    needed = [name for name in missing if name != LEARNED_CURVATURE]
    if needed:
        raise UserError(f"{path} has no {needed[0]}, which the switches of this run need: leave out --attention")
    if new:
        lines.append(f"vocabulary: {new} words of these reports are new to {path} and start from random vectors")
    return lines


def _on_the_grid(
    model: Revtaf, checkpoint: Mapping[str, Any], path: str | Path, maps_fitted: bool
) -> dict[str, Tensor]:
    """The weights of a model of the other grid: wide cells are searched as they were, finer maps begin anew."""
    weights, finer = checkpoint["state_dict"], model.config.grid == "2x"
    fits_here, fitted_there = maps_fitted and model.coarse_search is not None, weights.get(MAPS_FITTED, 0) > 0
    if not (fits_here if finer else fitted_there):
        raise UserError(
            f"{path} is a model of another --grid, whose maps become those of this one only where cells of 16 pixels are fitted "
            "apart (--entity_keys query and a --presence_weight above 0): leave out --grid"
        )
    source_of = {
        name: name for name in weights if not name.startswith("near_view.")
    }  # by its name here, its name there
    for maps, beside in WIDE_CELLS.items():
        theirs, ours = (maps, beside) if finer else (beside, maps)
        source_of |= {ours + name.removeprefix(theirs): name for name in weights if name.startswith(theirs)}
    anew = {name: value for name, value in model.state_dict().items() if finer and name.startswith(FINER_MAPS)}
    return anew | {name: weights[source] for name, source in source_of.items()}


def _is_shorter(value: Tensor, own: Tensor | None, by: int) -> bool:
    """Whether a tensor lacks the rows of new words and nothing else."""
    if by == 0 or own is None or value.dim() == 0:  # the counters of a BatchNorm have no rows
        return False
    return value.shape[1:] == own.shape[1:] and len(own) - len(value) == by


def initialise(model: Revtaf, options: MainTrain, checkpoint: Mapping[str, Any] | None = None) -> list[str]:
    """Load the starting weights that are there; returns lines that say what came from where."""
    if checkpoint:
        apart = options.training.presence_weight > 0
        new = load_trained(model, checkpoint, str(options.start.init_from), maps_fitted=apart)
        return [f"all weights come from {options.start.init_from}", *new]
    scorer = Path(options.data.feature_dir) / "entity_scorer.pth"
    name = options.model.visual_extractor
    weights = starting_weights(name, options.start.resnet_weights)
    if weights is None and options.start.init_visual == "entity_scorer":
        weights = str(scorer)
    lines = [load_backbone(model.visual_encoder.backbone, name, weights) if weights else random_start(name)]
    if options.labeler.bert_path and options.start.tokenizer == "bert":
        folder = bert_folder(options.labeler.bert_path)
        if any((folder / name).is_file() for name in BERT_FILES):
            return [*lines, load_bert(model.report_decoder.network, folder)]
        line = f"report decoder: {folder} holds a vocabulary and neither {' nor '.join(BERT_FILES)}: starts from random weights"
        return [*lines, line]
    return [*lines, "report decoder: starts from random weights (--bert_path loads BERT's)"]
