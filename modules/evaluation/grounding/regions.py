"""Maps of what a network saw, laid over regions of the whole film: exact areas, in pixels of the film.

A network sees a part of a film, cut into cells. Every measure follows from two numbers a cell: how much of it lies on the
film, and how much of that lies in the region. No map is drawn and no pixel counted, so that a film of ten million pixels
costs what a small one does. What the network does not see is no cell: it is in the region's area alone.

Source: contrast-to-noise ratio and mIoU: Boecking et al., Making the Most of Text Semantics to Improve Biomedical
Vision-Language Processing, 2022. Pointing game: Zhang et al., 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from modules.corpus.images import RESIZE_RATIO

MEASURES = ("cnr", "cnr_signed", "miou", "hit", "energy")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of a map scaled to 0..1


@dataclass(frozen=True)
class View:
    """The part of a film that a network sees, in pixels of the film; it may reach beyond the film."""

    left: float
    top: float
    width: float
    height: float


def view_of(width: int, height: int, size: int, fit: str = "crop") -> View:
    """What ``modules.corpus.images.crop_image`` keeps of a film, or the square around all of it.

    Args:
        width: of the film.
        height: of the film.
        size: side of the network's input in pixels.
        fit: ``"crop"``, the centre of the resized film; ``"pad"``, the whole film.
    """
    if fit == "pad":
        side = max(width, height)
        return View((width - side) / 2, (height - side) / 2, side, side)
    shorter = round(size * RESIZE_RATIO)
    across, down = (max(size, round(length * shorter / min(width, height))) for length in (width, height))
    left, top = ((resized - size) // 2 for resized in (across, down))
    return View(left * width / across, top * height / down, size * width / across, size * height / down)


@dataclass(frozen=True)
class Overlay:
    """Areas ``(M,)`` of the cells on the film, and in the region; ``region`` is its whole area, seen or not."""

    on_film: np.ndarray
    in_region: np.ndarray
    region: float

    @property
    def lost(self) -> float:
        """Share of the region that the network does not see."""
        return float(1 - self.in_region.sum() / self.region)


def overlay_boxes(boxes: np.ndarray, view: View, cells: int, width: int, height: int) -> Overlay:
    """Areas of a grid of ``cells`` by ``cells`` in the union of boxes ``(n, 4)``, all in pixels of the film."""
    across = view.left + view.width * np.arange(cells + 1) / cells
    down = view.top + view.height * np.arange(cells + 1) / cells
    xs, ys = (
        np.unique(np.clip(np.concatenate([edges, boxes[:, part], boxes[:, part + 2], [0, most]]), 0, most))
        for edges, part, most in ((across, 0, width), (down, 1, height))
    )
    area = np.outer(np.diff(ys), np.diff(xs))
    x, y = ((edges[1:] + edges[:-1]) / 2 for edges in (xs, ys))
    covered = np.zeros(area.shape, dtype=bool)
    for left, top, right, bottom in boxes:
        covered |= np.outer((y > top) & (y < bottom), (x > left) & (x < right))
    column = np.floor((x - view.left) / view.width * cells).astype(int)
    row = np.floor((y - view.top) / view.height * cells).astype(int)
    seen = np.outer((row >= 0) & (row < cells), (column >= 0) & (column < cells))
    index = (row[:, None] * cells + column[None, :])[seen]
    on_film = np.bincount(index, area[seen], cells * cells)
    in_region = np.bincount(index, (area * covered)[seen], cells * cells)
    return Overlay(on_film, in_region, float((area * covered).sum()))


def overlay_mask(mask: np.ndarray, view: View, cells: int, width: int, height: int) -> Overlay:
    """The same for a mask ``(h, w)`` of the whole film, at any resolution."""
    shares = []
    for start, length, pixels, most in (
        (view.top, view.height, mask.shape[0], height),
        (view.left, view.width, mask.shape[1], width),
    ):
        edges = start + length * np.arange(cells + 1) / cells
        borders = np.arange(pixels + 1) * (most / pixels)
        low = np.maximum(edges[:-1, None], borders[None, :-1])
        shares.append(np.clip(np.minimum(edges[1:, None], borders[None, 1:]) - low, 0, None))  # (cells, pixels)
    down, across = shares
    on_film = np.outer(down.sum(axis=1), across.sum(axis=1)).ravel()
    in_region = (down @ mask.astype(np.float64) @ across.T).ravel()
    return Overlay(on_film, in_region, float(mask.mean() * width * height))


def finer(maps: np.ndarray, cells: int) -> np.ndarray:
    """Maps ``(n, M)`` of a square grid, interpolated bilinearly to ``(n, cells * cells)``; 0 keeps the patches."""
    side = round(maps.shape[1] ** 0.5)
    if not cells or cells == side:
        return np.asarray(maps, dtype=np.float64)
    grid = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float64)).view(len(maps), 1, side, side)
    return interpolate(grid, size=(cells, cells), mode="bilinear", align_corners=False).flatten(1).numpy()


def ceiling_map(overlay: Overlay) -> np.ndarray:
    """The map ``(M,)`` that knows the region: its share of every cell."""
    return np.divide(overlay.in_region, overlay.on_film, out=np.zeros_like(overlay.on_film), where=overlay.on_film > 0)


def measure(values: np.ndarray, overlay: Overlay) -> dict[str, float]:
    """The measures of one map ``(M,)`` on one region.

    ``cnr`` is the contrast-to-noise ratio without sign, as published, ``cnr_signed`` with it: an inverted map is worse
    than none there. ``miou`` is the mean over ``THRESHOLDS``; the unseen part of the region counts as missed. ``hit`` is
    the share of the highest cell that lies in the region, the mean where several are highest; ``energy`` the share of the map's
    sum that lies in it. NaN where a measure says nothing: ``cnr`` of a region that covers all or nothing of what is seen, or of
    a map without noise.
    """
    film, region = overlay.on_film, overlay.in_region
    outside = film - region
    low, high = values[film > 0].min(), values[film > 0].max()
    scaled = (values - low) / (high - low) if high > low else np.ones_like(values)
    contrast = noise = np.nan
    if region.sum() > 0 and outside.sum() > 1e-9 * film.sum():
        means = [float((values * part).sum() / part.sum()) for part in (region, outside)]
        spread = [
            float((part * (values - mean) ** 2).sum() / part.sum())
            for part, mean in zip((region, outside), means, strict=True)
        ]
        contrast, noise = means[0] - means[1], float(np.sqrt(sum(spread)))
    signed = contrast / noise if noise > 0 else np.where(contrast == 0, 0.0, np.nan).item()
    ious = []
    for threshold in THRESHOLDS:
        chosen = scaled >= threshold
        common = region[chosen].sum()
        ious.append(common / (film[chosen].sum() + overlay.region - common))
    highest = (values == high) & (film > 0)
    total = (scaled * film).sum()
    return {
        "cnr": abs(signed),
        "cnr_signed": signed,
        "miou": float(np.mean(ious)),
        "hit": float((region[highest] / film[highest]).mean()),
        "energy": float((scaled * region).sum() / total),
    }
