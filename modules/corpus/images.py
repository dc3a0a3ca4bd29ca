"""From an image file to the tensor that the network sees."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from models.config import IMAGENET_MEAN, IMAGENET_STD
from modules.corpus.pixels import open_image

RESIZE_RATIO = 256 / 224  # the shorter side is resized to this multiple of the crop
MAX_ROTATION = 5.0  # degrees, in training
KEPT = 64 * 2**20  # bytes of decoded images that are kept of a data set


class KeptImages:
    """Opens the images of a data set and keeps those of a small one decoded, because every epoch reads them again.

    A data-loading process keeps none: it ends with its epoch.

    Args:
        room: bytes of pixels that are kept at most.
    """

    def __init__(self, room: int = KEPT) -> None:
        self.room = room
        self.images: dict[Path, Image.Image] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without images, when sent to another process."""
        return {"room": self.room, "images": {}}

    def open(self, path: Path) -> Image.Image:
        """An image as :func:`modules.corpus.pixels.open_image` decodes it; nobody may change it."""
        if path in self.images:
            return self.images[path]
        image = open_image(path)
        size = image.width * image.height * len(image.getbands())
        if size <= self.room and get_worker_info() is None:
            self.room -= size
            self.images[path] = image
        return image


def read_image(path: Path, size: int, rng: np.random.Generator | None = None) -> Tensor:
    """Read, resize and crop an image.

    Published protocol: shorter side to 256, then a centre crop of 224 (test), or a random crop and a rotation of up to
    5 degrees (training); both lengths scale with ``size``.

    Args:
        path: image file.
        size: side of the crop in pixels.
        rng: source of crop and angle; centre crop and no rotation if absent.

    Returns:
        ``(3, size, size)`` uint8 pixels.
    """
    return crop_image(open_image(path), size, rng)


def crop_image(image: Image.Image, size: int, rng: np.random.Generator | None = None) -> Tensor:
    """Resize and crop a decoded image; see :func:`read_image`.

    A grey image is turned and resized once, not once per channel: a third of the work for the same pixels.
    """
    shorter = round(size * RESIZE_RATIO)
    scale = shorter / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    if rng is not None:
        left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
    image = image.crop((left, top, left + size, top + size))
    if rng is not None:
        image = image.rotate(rng.uniform(-MAX_ROTATION, MAX_ROTATION), Image.Resampling.BILINEAR)
    return _channels(image)


def read_resized(path: Path, size: int) -> Tensor:
    """Read an image and squeeze it into a square, whatever its proportions: how MedKLIP sees.

    Args:
        path: image file.
        size: side of the square in pixels.

    Returns:
        ``(3, size, size)`` uint8 pixels.
    """
    image = open_image(path).resize((size, size), Image.Resampling.BILINEAR)
    return _channels(image)


def _channels(image: Image.Image) -> Tensor:
    """Pixels ``(3, height, width)``; the channels of a grey image share their memory."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.expand(3, -1, -1) if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def normalise_pixels(pixels: Tensor) -> Tensor:
    """Scale uint8 pixels ``(B, 3, height, width)`` to ImageNet's mean and deviation, float32."""
    mean, std = _imagenet_statistics(pixels.device)
    return (pixels.float() / 255 - mean) / std


@cache
@torch.inference_mode(mode=False)  # whoever asks first, others will train with them
def _imagenet_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``(1, 3, 1, 1)``, brought to the device once."""
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std
