"""Alignment loss, forward and backward: maps on the 7 x 7 patch grid against maps blown up to 224 x 224 pixels.

    python benchmarks/alignment.py

Released way: both maps are upsampled to the image, normalised over the batch and binarised, and every entity is
multiplied with every sentence pixel by pixel. Ours: soft overlap on the patch grid.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.timing import arguments, interleaved, machine, report_ratio
from modules.training.losses import alignment_loss, binary_iou, normalise_maps, soft_iou


def plain_binary_iou(region_map: Tensor, reference_map: Tensor, side: int, studies: int | None = None) -> Tensor:
    """Overlap ``(B, K, S)`` of binarised maps by broadcasting over ``side * side`` pixels (0: the patch grid).

    ``studies`` are compared at a time; all at once if absent, as in the released code.
    """

    def binarise(maps: Tensor) -> Tensor:
        maps = maps.detach().unflatten(-1, (round(maps.shape[-1] ** 0.5),) * 2)
        if side:
            maps = F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
        maps = (maps - maps.min()) / (maps.max() - maps.min() + 1e-6)
        return (maps >= 0.5).float().flatten(2)

    a, b = binarise(region_map).unsqueeze(2), binarise(reference_map).unsqueeze(1)  # (B, K, 1, P), (B, 1, S, P)
    overlaps = []
    for of_region, of_reference in zip(*(maps.split(studies or len(maps)) for maps in (a, b)), strict=True):
        shared = of_region * of_reference  # (studies, K, S, P)
        either = of_region + of_reference - shared
        overlaps.append(shared.sum(dim=-1) / (either.sum(dim=-1) + 1e-8))
    return torch.cat(overlaps)


def plain_soft_iou(region_map: Tensor, reference_map: Tensor) -> Tensor:
    """Soft overlap ``(B, K, S)`` by its definition, on the patch grid."""
    a, b = normalise_maps(region_map).unsqueeze(2), normalise_maps(reference_map).unsqueeze(1)
    return torch.minimum(a, b).sum(dim=-1) / (torch.maximum(a, b).sum(dim=-1) + 1e-8)


def main() -> None:
    """Equal values, then times."""
    options = arguments(__doc__.splitlines()[0], runs=10)
    B, K, S, M, side = (2, 7, 3, 49, 28) if options.quick else (18, 75, 8, 49, 224)
    print(machine())
    similarity = torch.randn(B, K, S, requires_grad=True)
    region = torch.rand(B, K, M, requires_grad=True)
    reference = torch.rand(B, S, M, requires_grad=True)
    everyone = torch.ones(B, S, dtype=torch.bool)
    torch.testing.assert_close(soft_iou(region, reference), plain_soft_iou(region, reference))
    for pixels in (0, side):
        torch.testing.assert_close(
            binary_iou(region, reference, pixels), plain_binary_iou(region, reference, pixels), rtol=1e-5, atol=1e-6
        )
    print("  equal values: soft overlap on the patch grid, binary overlap on the patch grid and in pixels")

    def plain() -> None:
        (1 - similarity.sigmoid() * plain_binary_iou(region, reference, side)).mean().backward()

    def ours() -> None:
        alignment_loss(similarity, region, reference, everyone).backward()

    report_ratio(f"alignment loss, batch {B}, {K} entities, {S} sentences", *interleaved(plain, ours, options.runs), 20)


if __name__ == "__main__":
    main()
