"""Patches of any vision model that transformers' ``AutoModel`` builds: ViT, DINOv2 and 3, Swin, ConvNeXt and their kin."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from models.config import IMAGENET_MEAN, IMAGENET_STD


class HuggingFacePatches(nn.Module):
    """The last hidden state of a vision model without its class and register tokens; parameter names are its own.

    Width, tokens and unused parameters of a model are found by one pass without memory or arithmetic (torch's meta
    device), so that an architecture needs no line of its own here. Weights are random: ``modules/weights/backbones.py``
    loads a folder's. Parameters that no patch depends on, such as a pooler's, are frozen: they would never get a gradient.

    Args:
        architecture: the fields of transformers' configuration, ``model_type`` among them.
        mean: of each channel, as the model's image processor subtracts it from pixels in [0, 1].
        std: of each channel, as it divides by it.
        image_size: side of the square images in pixels.

    Attributes:
        width: D.
        grid: patches along a side.

    Raises:
        ValueError: if the model cannot read images of this size, or its last hidden state is no square of patches.
    """

    def __init__(
        self, *, architecture: Mapping[str, Any], mean: Sequence[float], std: Sequence[float], image_size: int
    ) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel  # on demand: takes seconds, and ResNets need none of it

        fields = dict(architecture)
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        tokens, self.width, idle = _probe(config, image_size)
        self.network = AutoModel.from_config(config, dtype=torch.float32)
        for name in idle:
            self.network.get_parameter(name).requires_grad_(False)
        self.arguments = _extra_arguments(self.network)
        self.grid, self.prefix = _square(config, tokens, image_size)
        ours, theirs = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]), torch.tensor([list(mean), list(std)])  # (2, 3) each
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", (ours[1] / theirs[1]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", ((ours[0] - theirs[0]) / theirs[1]).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, height, width)``, normalised as for ImageNet, to ``(B, M, D)``."""
        tokens = _last_state(self.network, image * self.scale + self.shift, self.arguments)  # (B, prefix + M, D)
        return tokens[:, self.prefix :]  # (B, M, D)


def _last_state(network: nn.Module, image: Tensor, arguments: Mapping[str, bool]) -> Tensor:
    """Tokens ``(B, T, D)``; a feature map ``(B, D, h, w)`` is read row by row."""
    state = network(pixel_values=image, **arguments).last_hidden_state
    return state if state.dim() == 3 else state.flatten(2).transpose(1, 2)


def _extra_arguments(network: nn.Module) -> dict[str, bool]:
    """Arguments of a forward pass: positions learned for one image size are interpolated, where a model leaves the choice."""
    name = "interpolate_pos_encoding"
    return {name: True} if name in inspect.signature(network.forward).parameters else {}


def _probe(config: Any, image_size: int) -> tuple[int, int, list[str]]:
    """Tokens T, width D, and the parameters that the tokens do not depend on."""
    from transformers import AutoModel

    with torch.inference_mode(False), torch.enable_grad(), torch.device("meta"):
        try:
            network = AutoModel.from_config(config, dtype=torch.float32).eval()
            state = _last_state(network, torch.empty(1, 3, image_size, image_size), _extra_arguments(network))
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"a {config.model_type} cannot read images of {image_size} pixels ({first_line(error)}): give another "
                "--image_size, or the folder of a vision model"
            ) from error
        state.sum().backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    return state.shape[1], state.shape[2], idle


def _square(config: Any, tokens: int, image_size: int) -> tuple[int, int]:
    """Patches along a side, and the tokens before them: class, distillation or register tokens."""
    registers = getattr(config, "num_register_tokens", 0) or 0
    prefixes = [1 + registers] if registers else [0, 1, 2]
    squares = [(isqrt(tokens - prefix), prefix) for prefix in prefixes if tokens > prefix]
    fitting = [(grid, prefix) for grid, prefix in squares if grid**2 == tokens - prefix]
    if not fitting:
        raise ValueError(
            f"a {config.model_type} gives {tokens} tokens, which are no square of patches: give another model"
        )
    grid, prefix = fitting[0]
    patch = getattr(config, "patch_size", None)
    if isinstance(patch, int) and not getattr(config, "depths", None) and grid != image_size // patch:
        raise ValueError(
            f"a {config.model_type} gives {grid} x {grid} patches of {image_size} pixels where patches of {patch} make "
            f"{image_size // patch}: it leaves some out, give another model"
        )
    return grid, prefix


def first_line(error: Exception) -> str:
    """What a library says of an error, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
