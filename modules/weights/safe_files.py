"""Weights as safetensors: no code in them, and a tensor that has two names is written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from modules.messages import UserError
from modules.records import temporary_name
from modules.weights.reading import load_weights

SAME_AS = "same_as:"  # in front of the second name of a tensor, in the metadata of a file


def save_tensors(
    path: str | Path, weights: Mapping[str, Tensor], half: bool = False, said: Mapping[str, str] | None = None
) -> None:
    """Write tensors, whole or not at all.

    Args:
        path: ends in ``.safetensors``.
        weights: by name; names that share memory are written once, as Hugging Face expects.
        half: keep matrices and kernels as float16. Vectors, such as running variances, stay as they are.
        said: words kept in the file's head.
    """
    first: dict[tuple[int, torch.Size], str] = {}
    kept: dict[str, Tensor] = {}
    said = {"format": "pt", **(said or {})}
    for name, value in weights.items():
        value = value.detach().cpu()
        original = first.setdefault((value.data_ptr(), value.shape), name) if value.numel() else name
        if original != name:
            said[f"{SAME_AS}{name}"] = original
            continue
        narrow = half and value.is_floating_point() and value.dim() > 1
        kept[name] = (value.half() if narrow else value).clone().contiguous()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        save_file(kept, temporary, metadata=said)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read what :func:`save_tensors` wrote, every tensor under all its names, float16 as float32.

    Raises:
        UserError: if there is no such file, or it is damaged.
    """
    weights = {k: v.float() if v.dtype == torch.float16 else v for k, v in load_weights(path).items()}
    for name, original in read_metadata(path).items():
        if name.startswith(SAME_AS):
            if original not in weights:
                raise UserError(f"{path} says that a tensor is its {original}, which it lacks: copy the file again")
            weights[name.removeprefix(SAME_AS)] = weights[original]
    return weights


def read_metadata(path: str | Path) -> dict[str, str]:
    """The words in the head of a file; UserError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}): copy it again") from error
