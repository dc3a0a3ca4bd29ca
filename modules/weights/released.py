"""The released REVTAF: its state dict under our names and back, its sizes and its behaviour.

The released file is a bare state dict. Most of it is our network under other names. What it holds besides takes no part
in any output and is left out: an attention block that is never called (``multihead_attn``), two parts that its fusion
layer inherits (``mpsa_attention.self_attn``, ``mpsa_attention.norm1``) and the positions 0, 1, 2, ...

Source: names and shapes of the class at commit 298af2b of the released code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from models.config import RevtafConfig
from modules.labels import CONDITIONS, STATES
from modules.messages import UserError

RESNET_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
RENAMED = (  # released beginning -> ours, in the order of the released file
    *((f"visual_encoder.model.{i}.", f"visual_encoder.backbone.{name}.") for i, name in enumerate(RESNET_CHILDREN)),
    ("cls_head.", "diagnosis_head.linear."),
    ("vision_proj.", "report_memory.query."),
    ("text_decoder.", "report_decoder.network."),
    ("memory.", "report_memory."),
    ("mpsa_attention.multihead_attn.", "fusion.attention."),
    ("mpsa_attention.", "fusion."),
    ("ot_vision_proj.", "project_patches."),
    ("ot_txt_proj1.", "project_region."),
    ("ot_txt_proj2.", "project_reference."),
)
HYPERBOLIC = re.compile(r"gwd\.layers\.(\d+)\.linear\.(bias|weight)")
POSITIONS = "text_decoder.bert.embeddings.position_ids"
DEAD = ("multihead_attn.", "mpsa_attention.self_attn.", "mpsa_attention.norm1.", POSITIONS)  # take no part
TIED = (  # stored twice, one tensor
    ("text_decoder.cls.predictions.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"),
    ("text_decoder.cls.predictions.decoder.bias", "text_decoder.cls.predictions.bias"),
)
MARKS = ("visual_encoder.model.0.weight", "gwd.layers.0.linear.weight", "mpsa_attention.linear1.weight")
RESNETS = {(False, 2): "resnet18", (False, 6): "resnet34", (True, 6): "resnet50", (True, 23): "resnet101"}
SINCE = {  # what models from before a switch do
    "enhancer": "scores", "grid": "1x", "entity_keys": "text", "map_view": "patches",
    "align_pairs": "all", "reference_memory": 0, "references": 1, "prompt": "states", "tower_inputs": "thumbnail",
}  # fmt: skip
CONSTANTS: dict[str, Any] = {  # of the released code, not in its file
    "image_size": 224, "num_heads": 8, "dropout": 0.1, "num_conditions": len(CONDITIONS), "num_states": len(STATES),
    "manifold": "poincare", "curvature": 0.01, "learn_curvature": False, "retrieval": "learned",
    "attention": "ot", **SINCE, "ot_plan": "single", "ot_solver": "sinkhorn", "ot_epsilon": 0.05, "ot_iterations": 100,
    "mask_padding": False,
    "pad_id": 0, "end_id": 102, "decoder_heads": 12,
}  # fmt: skip
BEHAVIOUR = "--ot_plan single --align_iou binary --no-mask_padding --enhancer scores --entity_keys text --map_view patches --align_pairs all --reference_memory 0"


def is_released(weights: Mapping[str, Any]) -> bool:
    """Whether these names are those of a released REVTAF."""
    return all(mark in weights for mark in MARKS)


def our_name(name: str) -> str | None:
    """Our name of a tensor of the released file; None if it takes no part in any output, or is not known."""
    if name.startswith(DEAD):
        return None
    if match := HYPERBOLIC.fullmatch(name):
        return f"retrieval_enhancer.layers.{match[1]}.{match[2]}"
    for theirs, ours in RENAMED:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None


def released_config(weights: Mapping[str, Tensor]) -> RevtafConfig:
    """Sizes of a released REVTAF from the shapes of its tensors; the rest are constants of the released code.

    Raises:
        UserError: if a tensor that tells a size is missing, or the sizes are none of a released model.
    """

    def shape(name: str) -> torch.Size:
        if name not in weights:
            raise UserError(f"the released REVTAF lacks {name}, which tells a size: fetch the file again")
        return weights[name].shape

    def count(beginning: str) -> int:
        return len({name.removeprefix(beginning).split(".")[0] for name in weights if name.startswith(beginning)})

    bert = "text_decoder.bert.encoder.layer."
    blocks = ("visual_encoder.model.4.0.conv3.weight" in weights, count("visual_encoder.model.6."))
    rows, expected = shape("cls_head.weight")[0], len(STATES) * len(CONDITIONS)
    if blocks not in RESNETS or rows != expected:
        raise UserError(
            f"the released REVTAF has a ResNet with {blocks[1]} blocks in its third layer and {rows} states; expected "
            f"one of {', '.join(RESNETS.values())} and {expected}: fetch the file again"
        )
    return RevtafConfig(
        visual_extractor=RESNETS[blocks],
        report_feature_dim=shape("vision_proj.weight")[0],
        memory_layers=count("memory.encoder.layers."),
        memory_feedforward=shape("memory.encoder.layers.0.linear1.weight")[0],
        num_entities=shape("gwd.layers.0.linear.weight")[1],
        hyperbolic_dim=shape("gwd.layers.0.linear.weight")[0],
        hyperbolic_layers=count("gwd.layers."),
        entity_text_dim=shape("ot_txt_proj1.weight")[1],
        attention_dim=shape("ot_vision_proj.weight")[0],
        vocab_size=shape("text_decoder.bert.embeddings.word_embeddings.weight")[0],
        decoder_layers=count(bert),
        hidden_size=shape(f"{bert}0.attention.self.query.weight")[0],
        intermediate_size=shape(f"{bert}0.intermediate.dense.weight")[0],
        max_positions=shape("text_decoder.bert.embeddings.position_embeddings.weight")[0],
        **CONSTANTS,
    )


def from_released(weights: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    """The tensors of a released REVTAF under our names; those that take no part are left out.

    Raises:
        UserError: if a name is known neither as live nor as dead, or two names of one tensor hold different values.
    """
    weights = dict(weights)
    for name, other in TIED:
        if other in weights and not torch.equal(weights.setdefault(name, weights[other]), weights[other]):
            raise UserError(f"{path} holds two values of one tensor, {name} and {other}: fetch the file again")
    strange = [name for name in weights if our_name(name) is None and not name.startswith(DEAD)]
    if strange:
        raise UserError(
            f"{path} begins like a released REVTAF but {len(strange)} of its {len(weights)} names are unknown, for "
            f"example {strange[0]}: fetch the file again"
        )
    by_our_name = ((our_name(name), value) for name, value in weights.items())
    return {name: value for name, value in by_our_name if name}


def to_released(state_dict: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    """Our tensors under the released names, with neutral values for those that take no part in any output.

    Args:
        state_dict: of a :class:`models.revtaf.Revtaf`.
        path: it came from.

    Raises:
        UserError: if the released model has no place for a tensor, or needs one that is not there.
    """
    released, homeless = {}, []
    for name, value in state_dict.items():
        theirs = released_name(name)
        if theirs:
            released[theirs] = value
        else:
            homeless.append(name)
    needed = "mpsa_attention.multihead_attn.v.weight"
    if homeless or needed not in released:
        problem = f"has no place for {homeless[0]}" if homeless else f"needs {needed}, which --attention none lacks"
        raise UserError(
            f"{path} cannot be written for the released code, which {problem}: convert a model that was trained with "
            f"{BEHAVIOUR}"
        )
    A = len(released["ot_vision_proj.weight"])
    for part in ("q", "k", "v", "proj"):
        released |= {f"multihead_attn.{part}.weight": torch.zeros(A, A), f"multihead_attn.{part}.bias": torch.zeros(A)}
    unused = "mpsa_attention.self_attn"
    released |= {f"{unused}.in_proj_weight": torch.zeros(3 * A, A), f"{unused}.in_proj_bias": torch.zeros(3 * A)}
    released |= {f"{unused}.out_proj.weight": torch.zeros(A, A), f"{unused}.out_proj.bias": torch.zeros(A)}
    released |= {"mpsa_attention.norm1.weight": torch.ones(A), "mpsa_attention.norm1.bias": torch.zeros(A)}
    positions = len(released["text_decoder.bert.embeddings.position_embeddings.weight"])
    return {**released, POSITIONS: torch.arange(positions).unsqueeze(0)}


def released_name(name: str) -> str | None:
    """The released name of one of our tensors; None if the released model has no such tensor."""
    if match := re.fullmatch(r"retrieval_enhancer\.layers\.(\d+)\.(bias|weight)", name):
        return f"gwd.layers.{match[1]}.linear.{match[2]}"
    for theirs, ours in RENAMED:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return None


def other_behaviour(config: RevtafConfig) -> list[str]:
    """How a model computes otherwise than the released code, which its file does not tell: one phrase a difference."""
    ours = asdict(config)
    return [f"{name} {ours[name]} instead of {value}" for name, value in CONSTANTS.items() if ours[name] != value]
