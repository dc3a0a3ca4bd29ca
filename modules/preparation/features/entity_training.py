"""Training of the entity scorer on the mentions in training reports."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.corpus.annotations import Study
from modules.corpus.dataloaders import epoch_batches, refuse_single_values, settle, share_size
from modules.corpus.images import normalise_pixels
from modules.distributed import autocast, barrier, gather_list, is_main, print_once, shard, world_size
from modules.labelling.mentions import mention_targets
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.options.programs import MainPrepare
from modules.preparation.features.entities import ImageDataset, read_images, score_blocks
from modules.preparation.features.shared_steps import SharedSteps
from modules.throughput import duration
from modules.weights.backbones import load_backbone, read_folder
from modules.weights.reading import load_weights
from modules.weights.saving import nonfinite_tensors, save_atomically

HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 2000  # of the training studies, to stop by


def scorer_recipe(options: MainPrepare) -> tuple[EntityScorerConfig, dict[str, Any]]:
    """Sizes of the scorer and how it is trained, out of the options of ``main_prepare.py``."""
    config = EntityScorerConfig(
        visual_extractor=options.scorer.visual_extractor,
        visual_folder=read_folder(options.scorer.visual_extractor, options.scorer.image_size),
        num_entities=len(ENTITIES),
        width=options.scorer.scorer_width,
        layers=options.scorer.scorer_layers,
        heads=8 if options.scorer.scorer_width % 8 == 0 else 1,
        dropout=options.scorer.scorer_dropout,
        image_size=options.scorer.image_size,
    )
    schedule = {
        "epochs": options.scorer.scorer_epochs,
        "lr": options.scorer.scorer_lr,
        "batch_size": options.loading.batch_size,
        "shares": options.scorer.scorer_shares,
        "seed": options.runtime.seed,
        "precision": options.compute.precision,
        "num_workers": options.loading.num_workers,
        "patience": options.scorer.scorer_patience,
    }
    return config, schedule


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

    With a ``patience`` a twentieth of the training patients is held out; training ends when the loss on them has not
    fallen for so many epochs, and the weights of the best epoch are kept. Validation and test studies take no part.

    A step takes ``shares`` batches of ``batch_size`` studies together; several processes share them, with the same result.

    Args:
        studies: training studies.
        image_dir: folder that image paths start from.
        mentions: ``(n, K)`` entity mentions of their reports.
        config: sizes.
        schedule: of :func:`scorer_recipe`; ``lr`` is the peak, with ``patience`` 0 all epochs are run on all studies.
        device: where to train.
        work_path: checkpoint of the unfinished training; removed by the caller once the result is saved.
        backbone_weights: torchvision weights for the ResNet, random if absent.
        made_by: kept in ``work_path``, so that another training does not continue it.

    Raises:
        UserError: if an epoch leaves weights that are not finite; see :func:`refuse_single_values`.
    """
    kept, held = np.arange(len(studies)), np.arange(0)
    if schedule["patience"]:
        kept, held = _hold_out(studies, int(schedule["seed"]))
    patience = int(schedule["patience"]) if len(held) else 0
    targets, weights = (torch.from_numpy(part) for part in mention_targets(mentions))
    scorer = _new_scorer(config, schedule, backbone_weights, targets[kept], weights[kept]).to(device)
    scorer.to(memory_format=torch.channels_last)
    training, held_out = (_Examples(studies, image_dir, config.image_size, i, targets, weights) for i in (kept, held))
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=schedule["lr"], weight_decay=0.02, fused=True)
    state = _resume(work_path, scorer, optimizer)
    for epoch in range(state["epochs_done"], int(schedule["epochs"])):
        if patience and epoch - state["best_epoch"] >= patience:
            break
        started = time.perf_counter()
        _train_epoch(scorer, optimizer, training, epoch, schedule)
        state |= {"state_dict": scorer.state_dict(), "optimizer": optimizer.state_dict(), "made_by": made_by}
        state["epochs_done"] = epoch + 1
        if patience:
            _keep_best(state, _held_out_loss(scorer, held_out, schedule))
        _say_what_is_left(time.perf_counter() - started, int(schedule["epochs"]) - epoch - 1, patience)
        if is_main():
            save_atomically(state, work_path)
        barrier()
    if state["best_state"] is not None:
        scorer.load_state_dict(state["best_state"])
        best = f"epoch {state['best_epoch']} of {state['epochs_done']}, held-out loss {state['best']:.4f}"
        print_once(f"entity scorer: {best}")
    return scorer.eval()


def _say_what_is_left(seconds: float, epochs: int, patience: int) -> None:
    """After a long epoch, how long the schedule goes on."""
    if seconds > 60 and epochs:
        most = (
            f"at most {epochs} more, {duration(seconds * epochs)}" if patience else f"{duration(seconds * epochs)} more"
        )
        early = f"; it ends earlier once {patience} epochs bring nothing" if patience else ""
        print_once(f"entity scorer: an epoch takes {duration(seconds)}, {most}{early}")


class _Examples:
    """Images of some of the studies, with their targets and weights ``(n, K)``."""

    def __init__(
        self, studies: Sequence[Study], image_dir: Path, size: int, chosen: np.ndarray, targets: Tensor, weights: Tensor
    ) -> None:
        self.images = ImageDataset([studies[i] for i in chosen], image_dir, size)
        self.targets, self.weights = targets[chosen], weights[chosen]


def _resume(work_path: Path, scorer: EntityScorer, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """State of an unfinished training, whose weights are loaded, or that of a new one."""
    if not work_path.is_file():
        return {"epochs_done": 0, "best": math.inf, "best_epoch": 0, "best_state": None}
    state = load_weights(work_path)
    scorer.load_state_dict(state["state_dict"])
    optimizer.load_state_dict(state["optimizer"])
    return state


def _new_scorer(
    config: EntityScorerConfig, schedule: dict[str, Any], backbone: str | None, targets: Tensor, weights: Tensor
) -> EntityScorer:
    """A scorer that begins with the backbone's weights, if there are any, and every entity at its rate."""
    torch.manual_seed(int(schedule["seed"]))
    scorer = EntityScorer(config)
    together = share_size(len(targets), int(schedule["batch_size"]), int(schedule["shares"]))
    refuse_single_values(scorer.visual_encoder, together)
    if backbone:
        print_once(load_backbone(scorer.visual_encoder.backbone, config.visual_extractor, backbone))
    else:
        print_once("entity scorer: starts from random weights (--resnet_weights or hf:DIR, see checkpoints/README.md)")
    rate = (targets * weights).sum(0).add(0.5) / weights.sum(0).add(1)  # (K,), smoothed share of presence
    scorer.entity_bias.data.copy_(torch.logit(rate))
    return scorer


def _hold_out(studies: Sequence[Study], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the studies to learn from and of those to stop by; a patient is among one of them only."""
    groups: dict[str, list[int]] = {}
    for position, study in enumerate(studies):
        groups.setdefault(study.patient or f"study {study.id}", []).append(position)
    names = list(groups)
    wanted = min(HELD_OUT_MOST, round(len(studies) * HELD_OUT_SHARE))
    held: list[int] = []
    for number in np.random.default_rng(seed).permutation(len(names))[:-1]:  # somebody is left to learn from
        if len(held) >= wanted:
            break
        held += groups[names[number]]
    return np.setdiff1d(np.arange(len(studies)), held), np.sort(np.array(held, dtype=np.int64))


def _train_epoch(
    scorer: EntityScorer, optimizer: torch.optim.Optimizer, examples: _Examples, epoch: int, schedule: dict[str, Any]
) -> None:
    """Train for one epoch, in place; UserError if it leaves weights that are not finite."""
    seed, epochs, shares = int(schedule["seed"]), int(schedule["epochs"]), int(schedule["shares"])
    steps = epoch_batches(len(examples.images), int(schedule["batch_size"]), shares, seed, epoch)
    if epoch == 0 and shares < world_size():
        print_once(
            f"entity scorer: only {shares} of {world_size()} processes have a share to train on: raise --scorer_shares"
        )
    shared = SharedSteps(scorer, shares, seed * 1_000_003 + epoch)  # a resumed epoch drops the same units
    examples.images.augmentation = (seed, epoch)
    loader = DataLoader(
        examples.images,
        batch_sampler=[batches[share] for batches in steps for share in shared.mine],
        num_workers=int(schedule["num_workers"]),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=settle,
        generator=torch.Generator(),  # its own: starting workers must not move the one that dropout uses
    )
    batches = iter(loader)
    scorer.train()
    with tqdm(range(len(steps)), desc=f"entity scorer {epoch + 1}/{epochs}", unit="step", disable=not is_main()) as bar:
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = schedule["lr"] * _one_cycle((epoch + step / len(steps)) / epochs)
            loss = shared.step(lambda: _loss(scorer, examples, next(batches), schedule["precision"]))
            torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
            optimizer.step()
            if step % 10 == 0:  # reading it waits for the device
                bar.set_postfix(loss=f"{loss.item():.3f}")
    if bad := nonfinite_tensors({"weights": scorer.state_dict(), "optimizer": optimizer.state_dict()}):
        raise UserError(
            f"the entity scorer is not finite after its epoch {epoch + 1} ({len(bad)} tensors, first {bad[0]}), so it is not "
            "saved: lower --scorer_lr or give --precision fp32; it goes on from its last whole epoch"
        )


def _one_cycle(progress: float) -> float:
    """Share of the peak learning rate: linear up over the first tenth, then a cosine to zero."""
    if progress < 0.1:
        return 0.05 + 0.95 * progress / 0.1
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


def _loss(scorer: EntityScorer, examples: _Examples, batch: Sequence[Tensor], precision: str) -> Tensor:
    """Loss of one share of a step: positions and uint8 pixels of its images."""
    index, pixels = batch
    device = scorer.score.weight.device
    image = normalise_pixels(pixels.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
    targets, weights = examples.targets[index].to(device), examples.weights[index].to(device)
    with autocast(device, precision):
        logits, _ = scorer(image)  # (B, K)
    return F.binary_cross_entropy_with_logits(logits.float(), targets, weights)


def _held_out_loss(scorer: EntityScorer, examples: _Examples, schedule: dict[str, Any]) -> float:
    """Mean loss over the held-out studies, which the processes share."""
    blocks = shard(score_blocks(len(examples.images)))
    losses = []
    for index, logits, _ in read_images(scorer, examples.images, blocks, int(schedule["num_workers"])):
        targets, weights = examples.targets[index], examples.weights[index]
        loss = F.binary_cross_entropy_with_logits(logits.cpu(), targets, weights, reduction="sum")
        losses.append((int(index[0]), loss.item()))
    return sum(loss for _, loss in sorted(gather_list(losses))) / max(examples.targets.numel(), 1)


def _keep_best(state: dict[str, Any], loss: float) -> None:
    """Keep the weights of the epoch that has ended, if its held-out loss is the lowest so far."""
    if loss < state["best"]:
        copy = {name: value.detach().clone() for name, value in state["state_dict"].items()}
        state |= {"best": loss, "best_epoch": state["epochs_done"], "best_state": copy}
