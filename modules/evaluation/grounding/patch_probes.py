"""Linear probes on a model's patches: how well any map could point that reads them, told labels or told masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from models.revtaf import Revtaf
from modules.corpus.annotations import Study
from modules.corpus.images import normalise_pixels, read_image

STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 400, 64, 3e-3, 0.05
_READ_TOGETHER = 64  # images


@torch.no_grad()
def patch_features(model: Revtaf, image_dir: Path, studies: Sequence[Study], device: torch.device) -> Tensor:
    """Patches ``(n, M, D)`` of the model's visual encoder, on the CPU."""
    found = []
    for start in tqdm(range(0, len(studies), _READ_TOGETHER), desc="patches for the probes", unit="batch"):
        paths = [image_dir / study.image_path[0] for study in studies[start : start + _READ_TOGETHER]]
        pixels = torch.stack([read_image(path, model.config.image_size) for path in paths]).to(device)
        found.append(model.visual_encoder(normalise_pixels(pixels)).patches.float().cpu())
    return torch.cat(found)


def probe_maps(known: Tensor, targets: np.ndarray, patches: Tensor, seed: int) -> np.ndarray:
    """Maps of a linear map from patches to signs.

    Args:
        known: patches of the training studies, ``(N, M, D)``.
        targets: whether each shows the sign, ``(N, G)``: the probe learns where from whether, through the log-mean-exp
            over the patches; or how much of each patch the sign covers, ``(N, G, M)``.
        patches: of the studies to map, ``(n, M, D)``.
        seed: of the batches.

    Returns:
        ``(n, G, M)``.
    """
    mean, deviation = known.mean(dim=(0, 1)), known.std(dim=(0, 1)) + 1e-3
    known, patches = (known - mean) / deviation, (patches - mean) / deviation
    wanted = torch.from_numpy(np.asarray(targets, np.float32))
    generator = torch.Generator().manual_seed(seed)
    probe = nn.Linear(known.shape[2], wanted.shape[1])
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.AdamW(probe.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(known), (min(BATCH, len(known)),), generator=generator)
        logits = probe(known[rows]).transpose(1, 2)  # (B, G, M)
        if wanted.dim() == 2:
            logits = logits.logsumexp(dim=2) - np.log(known.shape[1])  # (B, G)
        loss = binary_cross_entropy_with_logits(logits, wanted[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return probe(patches).transpose(1, 2).numpy()  # (n, G, M)
