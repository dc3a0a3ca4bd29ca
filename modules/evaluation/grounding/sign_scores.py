"""Do maps fall on the sign? Maps on the patch grid against the drawn masks of SynthCXR, beside rows that need no map.

A sign's map is the mean over the maps of the entities that name it (``SIGN_ENTITIES``). A patch is *on* the sign if the
mask covers it at least half as much as the patch it covers most. Per study and sign:

    hit_rate   whether the highest patch is on the sign; equal highest patches count by the share that is (pointing game)
    auroc      chance that a patch on the sign stands above one that is not
    soft_iou   overlap of the map, scaled to 0..1, with the coverage, scaled to a maximum of 1
    cnr        contrast-to-noise ratio between the patches on the sign and the others

averaged over the studies that show the sign clearly, then over the signs.

Source: pointing game: Zhang et al., Top-down Neural Attention by Excitation Backprop, 2016. Contrast-to-noise ratio:
Boecking et al., Making the Most of Text Semantics to Improve Biomedical Vision-Language Processing, 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modules.corpus.images import RESIZE_RATIO
from modules.labels import CONDITIONS, ENTITIES

SIGN_ENTITIES = {  # signs with a place of their own, and the entities that name them; edema, say, is everywhere
    "enlarged cardiomediastinum": ("widen",),
    "cardiomegaly": ("cardiomegaly", "enlarge"),
    "lung opacity": ("opacity",),
    "lung lesion": ("nodule", "mass"),
    "consolidation": ("consolidation",),
    "pneumonia": ("pneumonia",),
    "atelectasis": ("atelectasis",),
    "pneumothorax": ("pneumothorax", "air"),
    "pleural effusion": ("effusion", "blunt"),
    "pleural other": ("thicken",),
    "fracture": ("fracture",),
    "support devices": ("tube", "line", "catheter", "pacemaker", "device", "wire"),
    "hemidiaphragm abnormal": ("elevation",),
}
SIGNS = tuple(SIGN_ENTITIES)  # G of them
SIGN_CONDITIONS = [CONDITIONS.index(sign) for sign in SIGNS]
MEASURES = ("hit_rate", "auroc", "soft_iou", "cnr")
ON_SIGN = 0.5  # share of the largest coverage from which a patch is on the sign


def sign_maps(entity_maps: np.ndarray) -> np.ndarray:
    """Maps of the signs ``(n, G, M)`` from those of all entities ``(n, K, M)``."""
    named = [[ENTITIES.index(entity) for entity in SIGN_ENTITIES[sign]] for sign in SIGNS]
    return np.stack([entity_maps[:, entities].mean(axis=1) for entities in named], axis=1)  # (n, G, M)


def cell_coverage(mask: np.ndarray, image_size: int, grid: int) -> np.ndarray:
    """How much of each patch of the network's view a mask covers.

    The network sees the centre of the image (``modules.corpus.images``), so the patches are cells of that crop.

    Args:
        mask: of a whole square image at any resolution, ``(h, w)``.
        image_size: side of the network's input in pixels.
        grid: patches along a side.

    Returns:
        Shares ``(grid * grid,)`` in 0..1, row by row.
    """
    shorter = round(image_size * RESIZE_RATIO)
    start = (shorter - image_size) // 2
    edges = (start + image_size * np.arange(grid + 1) / grid) / shorter  # (grid + 1,), of the whole image
    down, across = (_shares(edges, side) for side in mask.shape)  # (grid, h), (grid, w)
    return (down @ mask.astype(np.float64) @ across.T).ravel()  # (M,)


def _shares(edges: np.ndarray, pixels: int) -> np.ndarray:
    """Which share of each cell ``(grid,)`` each of the pixels along a side makes up, ``(grid, pixels)``."""
    borders = np.arange(pixels + 1) / pixels
    low = np.maximum(edges[:-1, None], borders[None, :-1])
    high = np.minimum(edges[1:, None], borders[None, 1:])
    return np.clip(high - low, 0, None) / (edges[1:] - edges[:-1])[:, None]


def pointing(maps: np.ndarray, coverage: np.ndarray) -> dict[str, float | None]:
    """The four measures of one sign, averaged over studies.

    Args:
        maps: ``(n, M)``, higher where the map points; any scale.
        coverage: ``(n, M)`` of the sign's masks, none of them empty.

    Returns:
        A value for each of ``MEASURES``; ``auroc`` and ``cnr`` are taken over the studies where some patch is off the
        sign, and are None where there is no such study.
    """
    most = coverage.max(axis=1, keepdims=True)
    assert (most > 0).all(), "a mask covers no patch"
    on = coverage >= ON_SIGN * most  # (n, M)
    highest = maps == maps.max(axis=1, keepdims=True)
    hit = (highest & on).sum(axis=1) / highest.sum(axis=1)  # (n,)
    low, high = maps.min(axis=1, keepdims=True), maps.max(axis=1, keepdims=True)
    scaled = np.where(high > low, (maps - low) / np.where(high > low, high - low, 1), 1.0)  # a flat map is everywhere
    target = coverage / most
    overlap = np.minimum(scaled, target).sum(axis=1) / np.maximum(scaled, target).sum(axis=1)  # (n,)
    partly = ~on.all(axis=1)
    return {
        "hit_rate": float(hit.mean()),
        "auroc": _mean(_patch_auroc(maps[partly], on[partly])),
        "soft_iou": float(overlap.mean()),
        "cnr": _mean(_contrast_to_noise(maps[partly], on[partly])),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _patch_auroc(maps: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Chance ``(n,)`` that a patch on the sign is above one off it; equal ones count half."""
    above = maps[:, :, None] - maps[:, None, :]  # (n, M, M)
    pairs = on[:, :, None] & ~on[:, None, :]
    return (pairs * ((above > 0) + 0.5 * (above == 0))).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))


def _contrast_to_noise(maps: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Difference of the means on and off the sign over the root of their summed variances, ``(n,)``; 0 for a flat map."""
    inside, outside = (np.where(there, maps, np.nan) for there in (on, ~on))
    noise = np.sqrt(np.nanvar(inside, axis=1) + np.nanvar(outside, axis=1))
    contrast = np.nanmean(inside, axis=1) - np.nanmean(outside, axis=1)
    return np.where(noise > 0, contrast / np.where(noise > 0, noise, 1), 0.0)


def constant_maps(studies: int, grid: int) -> np.ndarray:
    """Maps that point everywhere ``(n, G, M)``: what chance gives, exactly."""
    return np.ones((studies, len(SIGNS), grid * grid))


def centre_maps(studies: int, grid: int) -> np.ndarray:
    """Maps that point at the centre of the image ``(n, G, M)``."""
    axis = (np.arange(grid) + 0.5) / grid - 0.5
    distance = np.hypot(axis[:, None], axis[None, :]).ravel()  # (M,)
    return np.broadcast_to(-distance, (studies, len(SIGNS), grid * grid))


def location_maps(studies: int, coverage: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Maps that point where the sign is on average ``(n, G, M)``: they know masks, and no image.

    Args:
        studies: how many maps.
        coverage: of the TRAINING studies, ``(N, G, M)``.
        shown: which of them show the sign clearly, ``(N, G)`` bool.
    """
    weights = shown / np.maximum(shown.sum(axis=0), 1)  # (N, G)
    return np.broadcast_to(np.einsum("ng,ngm->gm", weights, coverage), (studies, *coverage.shape[1:]))


def grounding_table(
    rows: Mapping[str, np.ndarray], coverage: np.ndarray, shown: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Every row's measures, averaged over the signs and for each sign.

    Args:
        rows: maps ``(n, G, M)`` by name.
        coverage: of the same studies, ``(n, G, M)``.
        shown: which of them show the sign clearly, ``(n, G)`` bool.

    Returns:
        By row: a value for each of ``MEASURES``, and under ``signs`` those of each sign that some study shows, with the
        number of ``studies``.
    """
    wanted = shown & (coverage.max(axis=2) > 0)  # what the crop or the collimation hides cannot be pointed at
    table: dict[str, dict[str, Any]] = {}
    for name, maps in rows.items():
        signs = {
            sign: {
                **pointing(np.asarray(maps[wanted[:, g], g], np.float64), coverage[wanted[:, g], g]),
                "studies": int(wanted[:, g].sum()),
            }
            for g, sign in enumerate(SIGNS)
            if wanted[:, g].any()
        }
        table[name] = {}
        for measure in MEASURES:
            values = [value for value in (of_sign[measure] for of_sign in signs.values()) if value is not None]
            if values:
                table[name][measure] = float(np.mean(values))
        table[name]["signs"] = signs
    return table


def grounding_lines(table: Mapping[str, Mapping[str, object]]) -> Sequence[str]:
    """The table in Markdown, a row each, without the signs."""
    lines = [f"| maps on the drawn signs | {' | '.join(MEASURES)} |", f"|---|{'---:|' * len(MEASURES)}"]
    return lines + [
        f"| {name} | {' | '.join(f'{values[measure]:.3f}' for measure in MEASURES)} |"
        for name, values in table.items()
        if set(MEASURES) <= set(values)
    ]
