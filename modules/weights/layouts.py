"""What a file of weights looks like: the layouts that people hold, told apart by the names of their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from modules.messages import UserError, named

WRAPPERS = ("state_dict", "model_state_dict", "model")  # where programs put weights among other things
# In front of every name where a model was saved inside of another: one that spreads it over several GPUs, or that trains it.
HOLDERS = ("module.", "model.", "_forward_module.")
_COMPILED = re.compile(r"(^|\.)_orig_mod\.")  # what torch.compile puts before the names of what it compiled


class Layout(NamedTuple):
    """A kind of file: what it is, the flag that reads it, how its names begin."""

    what: str
    flag: str
    beginnings: tuple[str, ...]


OURS = Layout(
    "a model of this project",
    "--load_pretrained",
    (
        "visual_encoder.backbone.", "report_memory.", "diagnosis_head.", "retrieval_enhancer.", "project_patches.",
        "project_region.", "project_reference.", "fusion.", "report_decoder.",
    ),
)  # fmt: skip
LAYOUTS = (
    OURS,
    Layout(
        "a released REVTAF",
        "--load_pretrained",
        (
            "visual_encoder.model.", "cls_head.", "vision_proj.", "text_decoder.", "memory.", "multihead_attn.",
            "mpsa_attention.", "ot_vision_proj.", "ot_txt_proj1.", "ot_txt_proj2.", "gwd.",
        ),
    ),
    Layout(
        "an entity scorer of this project",
        "--bank_dir",
        ("visual_encoder.backbone.", "project_patches.", "queries.", "layers.", "norm.", "score.", "entity_bias"),
    ),
    Layout(
        "MedKLIP",
        "--medklip_checkpoint",
        ("disease_embedding_layer.", "cl_fc.", "res_features.", "res_l1.", "res_l2.", "decoder.", "classifier."),
    ),
    Layout("CheXbert", "--chexbert_path", ("bert.", "linear_heads.")),
    Layout("a BERT", "--bert_path", ("bert.embeddings.", "bert.encoder.", "bert.pooler.", "cls.")),
    Layout("a BERT", "--bert_path", ("embeddings.", "encoder.", "pooler.")),
    Layout("a torchvision ResNet", "--resnet_weights", ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.", "fc.")),
)  # fmt: skip


def weights_of(content: Any) -> dict[str, Tensor]:
    """The tensors of a loaded file by their plain names.

    Weights may be bare or under some of :data:`WRAPPERS`; for their names see :func:`plain_names`.

    Args:
        content: what a weights file held; empty if that is no dictionary.
    """
    for wrapper in (*WRAPPERS, *WRAPPERS):  # one in another
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        return {}
    return plain_names({str(name): value for name, value in content.items() if isinstance(value, Tensor)})


def plain_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by names without ``_orig_mod.``, and without any of ``HOLDERS`` with which every name begins."""
    plain = {_COMPILED.sub(r"\1", str(name)): value for name, value in values.items()}
    while held := next((holder for holder in HOLDERS if plain and all(name.startswith(holder) for name in plain)), ""):
        plain = {name.removeprefix(held): value for name, value in plain.items()}
    return plain


def beginnings(weights: Mapping[str, Any], wanted: Iterable[str]) -> list[str]:
    """Behind which beginnings all the wanted names stand, such as ``backbone.``; none but ``""`` where they stand as they are."""
    wanted = list(wanted)
    found = [name.removesuffix(wanted[0]) for name in weights if name.endswith(wanted[0])]
    found = [place for place in found if all(place + name in weights for name in wanted)]
    return [""] if "" in found else found


def nearest_layout(names: Mapping[str, Any]) -> tuple[Layout | None, int]:
    """The layout that most names fit, and how many fit; None if it is fewer than half.

    Among layouts that fit alike the one wins whose every beginning occurs.
    """

    def fit(layout: Layout) -> tuple[float, int]:
        fitting = sum(name.startswith(layout.beginnings) for name in names)
        found = sum(any(name.startswith(beginning) for name in names) for beginning in layout.beginnings)
        return fitting / max(len(names), 1) + found / len(layout.beginnings), fitting

    best = max(LAYOUTS, key=fit)
    fitting = fit(best)[1]
    return (best, fitting) if names and 2 * fitting >= len(names) else (None, fitting)


def describe(content: Any) -> str:
    """What a loaded file holds, as the end of a sentence: number of entries, first names, nearest known layout."""
    weights = weights_of(content)
    if not weights:
        if not isinstance(content, Mapping):
            return f"it holds a {type(content).__name__} and no named tensors"
        names = ", ".join(map(named, list(content)[:3])) or "none"
        return f"it holds {len(content)} entries ({names}) and no tensors among them"
    names = ", ".join(map(named, list(weights)[:3]))
    layout, fitting = nearest_layout(weights)
    known = f"most like {layout.what} ({layout.flag}): {fitting} names" if layout else "like no layout known here"
    return f"it holds {len(weights)} tensors ({names}{', ...' if len(weights) > 3 else ''}), {known}"


def check_weights(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: object, expected: str) -> None:
    """Ask for exactly the wanted names and shapes, and for fractions where they are wanted.

    Args:
        weights: tensors of a file, by plain names.
        wanted: tensors of the network.
        path: of the file.
        expected: what the file should be, for example ``"CheXbert's chexbert.pth"``.

    Raises:
        UserError: counting what is missing, of another shape or unknown, with an example.
    """
    missing = [name for name in wanted if name not in weights]
    strange = [name for name in weights if name not in wanted]
    misfit = [
        name
        for name, value in weights.items()
        if name in wanted
        and (value.shape != wanted[name].shape or (wanted[name].is_floating_point() and not value.is_floating_point()))
    ]
    if missing or strange or misfit:
        example = (misfit + missing + strange)[0]
        raise UserError(
            f"{path} is not {expected}: of {len(wanted)} weights {len(missing)} are missing and {len(misfit)} have "
            f"another shape or kind, and {len(strange)} are unknown, for example {named(example)}; {describe(weights)}; give "
            f"{expected}, or fetch it again"
        )
