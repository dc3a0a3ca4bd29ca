"""One update of a tiny model from a batch of eight studies, alone or shared among processes and batches; run by fork_server.py."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from small_set import small_bank, small_set
from tiny import tiny_config

from benchmarks.models import LOSS, random_batch
from models.decoder_layers import PackedReports
from models.revtaf import Revtaf, StudyInputs
from modules.corpus.datasets import Batch
from modules.distributed import gather_list, is_main, mean_over_processes, processes, rank, world_size
from modules.training.known_pairs import KnownPairs
from modules.training.objective import loss_names
from modules.training.update import Update


def part(batch, rows, prompt_length):
    """Some studies of a batch as a batch, padded no further than they need."""
    study = StudyInputs(**{f.name: getattr(batch.study, f.name)[rows] for f in fields(StudyInputs)})
    S = int(study.reference_mask.sum(dim=1).max())
    study.reference_text, study.reference_mask = study.reference_text[:, :S], study.reference_mask[:, :S]
    T = int(batch.token_mask[rows].sum(dim=1).max())
    ids, mask = batch.token_ids[rows, :T], batch.token_mask[rows, :T]
    packed = PackedReports.of(ids, mask, prompt_length)
    return Batch(study, ids, mask, packed, batch.labels[rows], list(range(8))[rows])


SENTENCES = ("small effusion", "no pneumothorax", "the heart is enlarged", "lungs are clear", "a tube is in place")


def pairs_of(mask, folder):
    """What is known of the sentences of the references, of which the sixth study has none; ``mask`` is ``(8, S)``."""
    counts = mask.sum(dim=1).tolist()
    reports = {
        str(row): " . ".join(SENTENCES[(row + s) % len(SENTENCES)] for s in range(count)) + " ."
        for row, count in enumerate(counts)
    }
    train_set = small_set(small_bank(folder, reports, np.zeros((len(counts), 18))), reports)
    train_set.refer_to(np.array([[0], [1], [2], [3], [4], [-1], [6], [7]]))
    pairs = KnownPairs(train_set, "mentions")
    assert pairs.known.all()
    assert pairs.values.any()
    return pairs


def one_step(
    folder,
    name,
    batches=1,
    freeze_bn=False,
    sync_bn=None,
    checkpointing=False,
    rank_loss="nearest",
    mentions=False,
    cagrad=0.0,
    **changes,
):
    """Update once and keep losses, gradients and statistics."""
    torch.manual_seed(0)
    with processes("cpu"):
        config = tiny_config(dropout=0.0, **changes)
        model = Revtaf(config).double()
        whole = random_batch(config, size=8, tokens=60, sentences=5, lengths=(1, 0.5, 0.7))
        for field, value in vars(whole.study).items():
            setattr(whole.study, field, value.double() if value.is_floating_point() else value)
        whole.study.reference_mask[::3, 2:] = False
        options = replace(
            LOSS, rank_loss=rank_loss, init_lr=1e-3, min_lr=0.0, warmup_lr=0.0, weight_decay=0.0, sync_bn=sync_bn,
            freeze_bn=freeze_bn, grad_checkpointing=checkpointing, cagrad=cagrad,
        )  # fmt: skip
        pairs = pairs_of(whole.study.reference_mask, Path(folder) / f"{name}_bank") if mentions else None
        update = Update(model, options, "fp32", torch.device("cpu"), known_pairs=pairs)
        update.train()
        size = 8 // (world_size() * batches)
        starts = [(j * world_size() + rank()) * size for j in range(batches)]
        mine = tuple(part(whole, slice(start, start + size), config.prompt_length) for start in starts)
        gradients = {}
        update.optimizer.register_step_pre_hook(
            lambda *_: gradients.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        )
        import modules.training.update as module

        module.clip_gradients = lambda *_: None
        losses = update(1, mine, torch.linspace(0.4, 1, 18, dtype=torch.float64))
        losses = dict(zip(loss_names(), mean_over_processes(losses), strict=True))
        statistics = {n: b for n, b in model.named_buffers() if "running_" in n}
        kept = {
            "losses": losses,
            "gradients": gradients,
            "statistics": statistics,
            "everywhere": gather_list([statistics]),
        }
        if is_main():
            torch.save(kept, Path(folder) / f"{name}.pth")
