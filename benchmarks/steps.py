"""The training step both ways, each in a process of its own so that the memory of one does not disturb the other."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.alignment import plain_binary_iou
from benchmarks.models import LOSS, our_step, published_config, published_model, random_batch
from benchmarks.sinkhorn import unrolled
from models import ot_attention
from models.cpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.corpus.datasets import Batch
from modules.training.allocator import keep_freed_memory
from modules.training.losses import diagnosis_loss, ranking_loss, text_similarity
from modules.training.optimizers import build_optimizer

SENTENCES = 12  # of a reference report, as when the released code was timed
LENGTHS = {  # of reports, as shares of the padded batch; of a mixed batch of 4, .78 is real
    "full": (1,),
    "mixed": (1, 0.87, 0.71, 0.55),
}


def plain_loss(model: Revtaf, batch: Batch, prior: Tensor, overlap) -> Tensor:
    """Total loss the released way; ``overlap`` compares the maps."""

    def solve(cost: Tensor, epsilon: float, iterations: int, mask: Tensor, **_: Any) -> Tensor:
        return unrolled(cost, iterations)

    with mock.patch.object(ot_attention, "sinkhorn", solve):
        fused = model.fuse(batch.study)
    logits = model.report_decoder(fused.fused, batch.token_ids, batch.token_mask)  # (B, T, V)
    targets = batch.token_ids.clone()
    targets[:, : model.config.prompt_length] = -100
    targets[~batch.token_mask] = -100
    report = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), label_smoothing=0.1)
    iou = overlap(fused.region_map, fused.reference_map)
    align = (1 - text_similarity(fused.region_text, fused.reference_text).sigmoid() * iou).mean()
    rank = ranking_loss(model.retrieval_enhancer.manifold, fused.embedding, batch.labels)
    diagnosis = diagnosis_loss(fused.state_logits, batch.labels, prior)
    return report + LOSS.cls_weight * diagnosis + LOSS.align_weight * align + LOSS.rank_weight * rank


def batch_of(kind: str, quick: bool) -> Batch:
    """The ``"full"`` or the ``"mixed"`` batch."""
    size, tokens = (2, 30) if quick else (4, 120)
    return random_batch(published_config(quick), size, tokens, SENTENCES, LENGTHS[kind])


class Steps:
    """Training steps in a process of their own.

    Args:
        way: ``"plain"`` for the released way or ``"ours"``.
        quick: tiny sizes.
        threads: CPU threads.
        maps: whether the released way compares the maps of the ``"batch"`` at once or ``"study"`` by study.
    """

    def __init__(self, way: str, quick: bool, threads: int, maps: str = "batch") -> None:
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _begin, (way, quick, threads, maps))

    def __call__(self, kind: str, precision: str) -> None:
        """One step on the batch ``kind``."""
        self._process.submit(_step, kind, precision).result()

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


def _begin(way: str, quick: bool, threads: int, maps: str) -> None:
    torch.set_num_threads(threads)
    model = published_model(published_config(quick))
    if way == "ours":
        keep_freed_memory()
        speed_up(model)
        model.visual_encoder.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(model, 5e-5, 0.05)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.05, foreach=False)
    batches = {kind: batch_of(kind, quick) for kind in LENGTHS}
    side, studies = 28 if quick else 224, {"batch": None, "study": 1}[maps]
    overlap = partial(plain_binary_iou, side=side, studies=studies)
    _state.update(way=way, overlap=overlap, model=model, optimizer=optimizer, batches=batches)


_state: dict = {}  # of a process that steps


def _step(kind: str, precision: str) -> None:
    model, optimizer, batch = _state["model"], _state["optimizer"], _state["batches"][kind]
    prior = torch.ones(model.config.num_conditions)
    if _state["way"] == "ours":
        our_step(model, optimizer, batch, prior, precision)
        return
    loss = plain_loss(model.train(), batch, prior, _state["overlap"])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.1, foreach=False)
    optimizer.step()
