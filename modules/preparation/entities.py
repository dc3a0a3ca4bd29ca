"""The entity scorer: trained on mentions in training reports, then read from every image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.checkpoints import load_backbone, load_weights, save_atomically
from modules.corpus.annotations import Study
from modules.corpus.images import normalise_pixels, read_image
from modules.distributed import autocast
from modules.labels import ENTITIES
from modules.preparation.mentions import DENIED, NOT_MENTIONED, PRESENT, UNCERTAIN_MENTION

FORMAT = "entity_scorer/1"
SILENCE_WEIGHT = 0.5  # an entity that a report does not mention is probably, not surely, absent


class ImageDataset(Dataset):
    """Images with their position; augmented when an epoch is set."""

    def __init__(self, studies: Sequence[Study], image_dir: Path, image_size: int) -> None:
        self.studies, self.image_dir, self.image_size = list(studies), Path(image_dir), image_size
        self.augmentation: tuple[int, int] | None = None  # seed and epoch

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        rng = np.random.default_rng([*self.augmentation, index]) if self.augmentation else None
        return index, read_image(self.image_dir / self.studies[index].image_path[0], self.image_size, rng)


def mention_targets(mentions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn mentions ``(n, K)`` into soft targets and weights ``(n, K)`` of a binary cross-entropy."""
    targets = np.select([mentions == PRESENT, mentions == UNCERTAIN_MENTION], [1.0, 0.5], 0.0)
    weights = np.where(mentions == NOT_MENTIONED, SILENCE_WEIGHT, 1.0)
    assert set(np.unique(mentions)) <= {NOT_MENTIONED, PRESENT, DENIED, UNCERTAIN_MENTION}
    return targets.astype(np.float32), weights.astype(np.float32)


def train_entity_scorer(
    studies: Sequence[Study],
    image_dir: Path,
    mentions: np.ndarray,
    config: EntityScorerConfig,
    schedule: dict[str, Any],
    device: torch.device,
    work_path: Path,
    backbone_weights: str | None = None,
    made_by: dict | None = None,
) -> EntityScorer:
    """Train the scorer on the training split; an interrupted training continues after its last whole epoch.

    Args:
        studies: training studies.
        image_dir: folder that image paths start from.
        mentions: ``(n, K)`` entity mentions of their reports.
        config: sizes.
        schedule: ``epochs``, ``lr`` (peak), ``batch_size``, ``seed``, ``precision``, ``num_workers``.
        device: where to train.
        work_path: checkpoint of the unfinished training; removed by the caller once the result is saved.
        backbone_weights: torchvision weights for the ResNet, random if absent.
        made_by: kept in ``work_path``, so that another training does not continue it.
    """
    epochs, seed = int(schedule["epochs"]), int(schedule["seed"])
    torch.manual_seed(seed)
    scorer = EntityScorer(config)
    if backbone_weights:
        print(load_backbone(scorer.visual_encoder.backbone, config.visual_extractor, backbone_weights))
    targets, weights = (torch.from_numpy(a) for a in mention_targets(mentions))
    rate = (targets * weights).sum(0).add(0.5) / weights.sum(0).add(1)  # (K,), smoothed share of presence
    scorer.entity_bias.data.copy_(torch.logit(rate))
    scorer.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=schedule["lr"], weight_decay=0.02, fused=True)
    dataset = ImageDataset(studies, image_dir, config.image_size)
    batch_size = int(schedule["batch_size"])
    steps = max(1, len(dataset) // batch_size)
    first_epoch = 0
    if work_path.is_file():
        state = load_weights(work_path)
        scorer.load_state_dict(state["state_dict"])
        optimizer.load_state_dict(state["optimizer"])
        first_epoch = state["epochs_done"]
    with tqdm(total=steps * epochs, initial=steps * first_epoch, desc="entity scorer", unit="step") as bar:
        for epoch in range(first_epoch, epochs):
            dataset.augmentation = (seed, epoch)
            for step, (index, pixels) in enumerate(_shuffled(dataset, batch_size, seed, epoch, schedule)):
                for group in optimizer.param_groups:
                    group["lr"] = schedule["lr"] * _one_cycle((epoch * steps + step) / (steps * epochs))
                expected = (targets[index].to(device), weights[index].to(device))
                loss = _step(scorer, optimizer, pixels.to(device), *expected, schedule["precision"])
                bar.update()
                bar.set_postfix(epoch=epoch + 1, loss=f"{loss:.3f}")
            state = {"state_dict": scorer.state_dict(), "optimizer": optimizer.state_dict()}
            save_atomically({**state, "epochs_done": epoch + 1, "made_by": made_by}, work_path)
    return scorer.eval()


def _shuffled(
    dataset: ImageDataset, batch_size: int, seed: int, epoch: int, schedule: dict[str, Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of an epoch; the last, smaller one is dropped unless it is the only one."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return iter(
        DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=True,
            drop_last=len(dataset) >= batch_size,
            generator=generator,
            num_workers=int(schedule["num_workers"]),
        )
    )


def _one_cycle(progress: float) -> float:
    """Share of the peak learning rate: linear up over the first tenth, then a cosine to zero."""
    if progress < 0.1:
        return 0.05 + 0.95 * progress / 0.1
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


def _step(
    scorer: EntityScorer,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    targets: Tensor,
    weights: Tensor,
    precision: str,
) -> float:
    scorer.train()
    image = normalise_pixels(pixels).contiguous(memory_format=torch.channels_last)
    with autocast(image.device, precision):
        logits, _ = scorer(image)  # (B, K)
    loss = F.binary_cross_entropy_with_logits(logits.float(), targets, weights)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def score_images(
    scorer: EntityScorer, studies: Sequence[Study], image_dir: Path, batch_size: int, num_workers: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Read the entities off every image, without augmentation.

    Yields:
        Slice of the studies, ``region_scores`` ``(B, K)`` in [0, 1] and ``region_text`` ``(B, K, E)``, both float32.
    """
    scorer.eval()
    device = scorer.score.weight.device
    dataset = ImageDataset(studies, image_dir, scorer.config.image_size)
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers)
    for index, pixels in tqdm(loader, desc="entity scores", unit="batch"):
        image = normalise_pixels(pixels.to(device)).contiguous(memory_format=torch.channels_last)
        logits, region_text = scorer(image)  # (B, K), (B, K, E)
        rows = slice(int(index[0]), int(index[-1]) + 1)
        yield rows, logits.sigmoid().float().cpu().numpy(), region_text.float().cpu().numpy()


def entity_aurocs(scores: np.ndarray, mentions: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve of each entity that is present in some and not in all reports.

    Args:
        scores: ``(n, K)`` entity scores of images.
        mentions: ``(n, K)`` mentions in the reports of the same studies.
    """
    present = mentions == PRESENT
    varied = [k for k in range(len(ENTITIES)) if 0 < present[:, k].sum() < len(present)]
    return {ENTITIES[k]: float(roc_auc_score(present[:, k], scores[:, k])) for k in varied}


def save_entity_scorer(path: Path, scorer: EntityScorer, made_by: dict) -> None:
    """Write weights, sizes and what the scorer was made by."""
    content = {"format": FORMAT, "config": asdict(scorer.config), "state_dict": scorer.state_dict()}
    save_atomically({**content, "made_by": made_by}, path)


def load_entity_scorer(path: Path, device: torch.device) -> EntityScorer:
    """Read a file written by :func:`save_entity_scorer`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else.
    """
    content = load_weights(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not an entity scorer written by main_prepare.py: give the file of a feature folder"
        )
    scorer = EntityScorer(EntityScorerConfig(**content["config"]))
    scorer.load_state_dict(content["state_dict"])
    return scorer.to(device).eval()
