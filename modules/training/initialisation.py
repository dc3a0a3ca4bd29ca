"""What a training starts from: random weights, parts of other networks, or a whole trained model."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.revtaf import Revtaf
from modules.corpus.tokenizer import bert_folder
from modules.weights.checkpoints import load_backbone, load_bert

SWITCHES = (  # options that change what a model does with the same weights; all others belong to the weights
    "image_size", "dropout", "manifold", "curvature", "learn_curvature", "retrieval", "attention", "ot_plan",
    "ot_solver", "ot_epsilon", "ot_iterations", "mask_padding",
)  # fmt: skip


def adopt_options(options: Namespace, given: set[str], checkpoint: Mapping[str, Any]) -> str:
    """Set the model's options to those of a trained model: its sizes, and its switches unless the user set them.

    Args:
        options: of ``main_train.py``; changed in place.
        given: names of the options that the command line sets.
        checkpoint: as :func:`modules.weights.checkpoints.load_checkpoint` returns it.

    Returns:
        One line that says what is set.

    Raises:
        ValueError: if the user asks for another size.
    """
    theirs = dict(checkpoint["config"])
    released = checkpoint["run"].get("released")
    if released:
        options.tokenizer = "bert"
        theirs["align_iou"] = "binary"
    kept = []
    for name, value in theirs.items():
        if not hasattr(options, name):
            continue  # comes from the prepared data or the vocabulary, see load_trained
        if name not in given or getattr(options, name) == value:
            setattr(options, name, value)
        elif name in SWITCHES or name == "align_iou":
            kept.append(f"{name} {getattr(options, name)} instead of {value}")
        else:
            raise ValueError(
                f"{options.init_from} is a model with {name} {value} and the command line asks for "
                f"{getattr(options, name)}: leave that flag out, or do not use --init_from"
            )
    line = released or f"{options.init_from}: a model of this project; its sizes and switches are set"
    return f"{line}; from the command line: {', '.join(kept)}" if kept else line


def load_trained(model: Revtaf, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Load the weights of a trained model into one whose switches may differ.

    Raises:
        ValueError: if it was trained on features of another width or with another vocabulary, or has no weights for
            something that is switched on here.
    """
    ours, theirs = asdict(model.config), checkpoint["config"]
    differences = [
        f"{name} {theirs.get(name)} there, {ours[name]} here"
        for name in ours
        if name not in SWITCHES and theirs.get(name) != ours[name]
    ]
    if differences:
        raise ValueError(
            f"{path} does not fit the prepared data ({'; '.join(differences[:4])}): prepare features of its widths, or "
            "do not use --init_from"
        )
    missing = model.load_state_dict(checkpoint["state_dict"], strict=False).missing_keys
    random = [name for name in missing if name != "retrieval_enhancer.manifold.log_c"]  # c starts where it was
    if random:
        raise ValueError(f"{path} has no {random[0]}, which the switches of this run need: leave out --attention")


def initialise(model: Revtaf, options: Namespace, checkpoint: Mapping[str, Any] | None = None) -> list[str]:
    """Load the starting weights that are there; returns lines that say what came from where."""
    if checkpoint:
        load_trained(model, checkpoint, options.init_from)
        return [f"all weights come from {options.init_from}"]
    scorer = Path(options.feature_dir) / "entity_scorer.pth"
    weights = options.resnet_weights or (str(scorer) if options.init_visual == "entity_scorer" else None)
    name = options.visual_extractor
    lines = [f"visual encoder: {name} starts from random weights (--resnet_weights loads ImageNet's)"]
    if weights:
        lines = [load_backbone(model.visual_encoder.backbone, name, weights)]
    if options.bert_path and options.tokenizer == "bert":
        return [*lines, load_bert(model.report_decoder.network, bert_folder(options.bert_path))]
    return [*lines, "report decoder: starts from random weights (--bert_path loads BERT's)"]
