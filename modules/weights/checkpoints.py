"""Checkpoints of a REVTAF, ours or the released one: read from a file, compared with what they claim, made a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from models.config import RevtafConfig
from models.revtaf import Revtaf
from modules.messages import UserError, named
from modules.weights.layouts import OURS, check_weights, describe, nearest_layout, plain_names, weights_of
from modules.weights.reading import build_blank, check_tensors, load_weights
from modules.weights.released import BEHAVIOUR, DEAD, SINCE, from_released, is_released, released_config
from modules.weights.saving import FORMAT

_COUNTS = ("epoch", "step", "steps", "seen", "seconds", "best", "earlier", "world_size")  # of the state of a run
_STATE: dict[str, type] = {
    "history": list,
    "processes": list,
    "features": dict,
    "class_prior": Tensor,
    "released": str,
    "vocabulary": str,
    "studies": dict,
    "labeler": str,
    "flags": dict,
    "shown": list,
}

TAKES_RELEASES = "main_predict.py takes as a folder: --model {}; a training (--init_from) and a test take the model_best.pth that it was made of"


def load_checkpoint(path: str | Path, resumable: bool = False) -> dict[str, Any]:
    """Read a checkpoint written by :func:`modules.weights.saving.save_checkpoint`, or a released REVTAF.

    Args:
        path: of the file.
        resumable: whether the state of a run must be in it.

    Returns:
        ``config``, ``state_dict`` and ``run``; the ``run`` of a released model is ``{"released": <one line>}``, which
        says what was taken and what behaviour goes with it, and stays with the model when it is converted.

    Raises:
        UserError: if there is no such file; if it is something else.
    """
    refuse_release(path)
    checkpoint = as_checkpoint(load_weights(path), path)
    if resumable and "optimizer" not in checkpoint["run"]:
        raise UserError(f"{path} holds no state of a run to resume: start from its weights with --init_from")
    return checkpoint


def refuse_release(path: str | Path) -> None:
    """Refuse the folder of a release where a file that main_train.py wrote is expected; UserError says what takes it."""
    if (Path(path) / "config.json").is_file():
        raise UserError(f"{path} is a release, which {TAKES_RELEASES.format(path)}")


def as_checkpoint(content: Any, path: str | Path) -> dict[str, Any]:
    """The checkpoint in what a file held; UserError if it is no REVTAF, see :func:`load_checkpoint`."""
    if isinstance(content, dict) and content.get("format") == FORMAT:
        if isinstance(content.get("config"), dict):
            content = {**content, "config": {**SINCE, **content["config"]}}
        if isinstance(content.get("state_dict"), dict):
            content = {**content, "state_dict": plain_names(content["state_dict"])}
        _check_ours(content, path)
        return content
    weights = weights_of(content)
    if is_released(weights):
        return released_checkpoint(weights, path)
    lacking = ", ".join(name for name in ("format", "config", "run") if weights and name not in content)
    if nearest_layout(weights)[0] is OURS and lacking:
        raise UserError(
            f"{path} holds the weights of a model of this project and lacks what says of which ({lacking}): "
            + (
                f"it is part of a release, which {TAKES_RELEASES.format(Path(path).parent)}"
                if Path(path).with_name("config.json").is_file()
                else "give the whole file that main_train.py wrote, such as model_best.pth"
            )
        )
    raise UserError(
        f"{path} is no REVTAF: {describe(content)}; give a file written by main_train.py, such as model_best.pth, or "
        "the released state dict"
    )


def _check_ours(content: dict[str, Any], path: str | Path) -> None:
    """Compare what a checkpoint claims with what it holds, before memory is taken for it; UserError says what differs."""
    for name in ("config", "state_dict", "run"):
        if not isinstance(content.get(name), dict):
            raise UserError(f"{path} lacks its {name}: it was not written by main_train.py as a whole, copy it again")
    odd = next((name for name, value in content["run"].items() if not _is_state(name, value)), None)
    if odd is not None:
        raise UserError(
            f"{path} says of its run what no training writes (its {named(odd)} is {named(content['run'][odd])}): copy it again"
        )
    blank = build_blank(Revtaf, RevtafConfig, content["config"], path)
    check_tensors(content["state_dict"], path)
    if content["config"]["grid"] == "2x":
        _refuse_second_stage(content["state_dict"], blank.state_dict(), path)
    check_weights(content["state_dict"], blank.state_dict(), path, "a model of its own configuration")


def _refuse_second_stage(weights: Mapping[str, Tensor], blank: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse a finer grid from before its maps looked at the first stage of the image model, which has half the channels."""
    name = "near_view.norm.weight"
    if name in blank and name in weights and weights[name].shape == (2 * len(blank[name]),):
        raise UserError(
            f"{path} is of a finer grid whose maps looked at the second stage of the image model, and now they look at the first: "
            "train it again, or use the version that wrote it"
        )


def _is_state(name: str, value: Any) -> bool:
    """Whether a value is of the kind that a training writes under this name; under another name anything may stand."""
    if name in _COUNTS:
        return type(value) in (int, float) and value >= 0
    if name == "trained_on" and value is not None:
        return isinstance(value, dict) and {"scorer", "scores", "report_features"} <= {*value}
    if name == "optimizer":
        return isinstance(value, dict) and {"state", "param_groups"} <= {*value}
    return isinstance(value, _STATE.get(name, object))


def released_checkpoint(weights: dict[str, Tensor], path: str | Path) -> dict[str, Any]:
    """A checkpoint of this project with the tensors of a released REVTAF; see :func:`load_checkpoint`.

    Args:
        weights: by the released names.
        path: they came from.

    Raises:
        UserError: if they are not exactly those of a released REVTAF.
    """
    check_tensors(weights, path)
    try:
        config = released_config(weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except LookupError as error:
        raise UserError(
            f"{path} has tensors of other dimensions than a released REVTAF: fetch the file again"
        ) from error
    state_dict = from_released(weights, path)
    blank = build_blank(Revtaf, RevtafConfig, asdict(config), path)
    check_weights(state_dict, blank.state_dict(), path, "a released REVTAF")
    dead = sum(name.startswith(DEAD) for name in weights)
    line = (
        f"{path} is a released REVTAF: {len(state_dict)} tensors taken, {dead} unused ones left out; set: {BEHAVIOUR}"
    )
    return {"format": FORMAT, "config": asdict(config), "state_dict": state_dict, "run": {"released": line}}


def build_model(checkpoint: dict[str, Any]) -> Revtaf:
    """Rebuild the network of a checkpoint with its weights."""
    model = Revtaf(RevtafConfig(**checkpoint["config"]))
    model.load_state_dict(checkpoint["state_dict"])
    return model


def restore(model: Revtaf, checkpoint: dict[str, Any], path: Path) -> None:
    """Load a checkpoint into an existing model.

    Raises:
        UserError: if the sizes or switches differ, naming the first differences.
    """
    ours, theirs = asdict(model.config), checkpoint["config"]
    differences = [
        f"{name} {named(theirs.get(name))} there, {ours[name]} here" for name in ours if theirs.get(name) != ours[name]
    ]
    if differences:
        raise UserError(
            f"{path} holds a model of another size or setting ({'; '.join(differences[:4])}): repeat the flags of that "
            "run, or choose another --save_dir"
        )
    model.load_state_dict(checkpoint["state_dict"])
