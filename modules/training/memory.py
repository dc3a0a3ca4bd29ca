"""Memory of a training step: blocks that are computed twice instead of kept, and what to lower when it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, Bottleneck

from models.computed_again import around_again
from models.config import RevtafConfig
from models.decoder_layers import PackedReports
from models.revtaf import Revtaf, StudyInputs
from modules.corpus.datasets import Batch
from modules.messages import UserError
from modules.options.flags import TrainingOptions


def compute_twice(model: Revtaf) -> int:
    """Let the blocks of a ResNet and the layers of the decoder forget what they computed until the way back.

    Returns:
        The number of blocks and layers.
    """
    blocks = [module for module in model.visual_encoder.modules() if isinstance(module, BasicBlock | Bottleneck)]
    for block in blocks:
        contexts = partial(around_again, partial(_statistics_stay, block))
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)
    encoder = model.report_decoder.network.bert.encoder
    encoder.gradient_checkpointing = True
    return len(blocks) + len(encoder.layer)


@contextmanager
def _statistics_stay(block: nn.Module) -> Iterator[None]:
    """The second computation of a block must not move its running statistics again."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    counts_before = [count.clone() for count in counts]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for count, before in zip(counts, counts_before, strict=True):
            count.copy_(before)


def kept_bytes(config: RevtafConfig, batch: Batch, twice: bool = False) -> int:
    """What a forward pass in float32 keeps for the way back, counted on the CPU.

    Args:
        config: of the model.
        batch: of few studies.
        twice: as with ``--grad_checkpointing``.
    """
    model = Revtaf(config).train()
    if twice:
        compute_twice(model)
    kept: dict[int, torch.Tensor] = {}  # by storage; the tensors stay, so that no address comes twice

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = model(batch.study, batch.token_ids, batch.token_mask, batch.packed)
    assert output.token_logits.requires_grad, "without a gradient nothing is kept"
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    return sum(x.untyped_storage().nbytes() for address, x in kept.items() if address not in weights)


def first_study(batch: Batch, prompt_length: int) -> Batch:
    """The first study of a batch, on the CPU."""
    study = StudyInputs(**{name: value[:1].cpu() for name, value in vars(batch.study).items()})
    ids, mask = batch.token_ids[:1].cpu(), batch.token_mask[:1].cpu()
    return Batch(study, ids, mask, PackedReports.of(ids, mask, prompt_length), batch.labels[:1].cpu(), batch.index[:1])


@contextmanager
def says_what_to_lower(config: RevtafConfig, batch: Batch, options: TrainingOptions, precision: str) -> Iterator[None]:
    """Turn a lack of memory inside the block into a sentence.

    Raises:
        UserError: naming the flags to lower and what each would keep.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise UserError(advice(config, batch, options, precision)) from error


def advice(config: RevtafConfig, batch: Batch, options: TrainingOptions, precision: str) -> str:
    """The sentence of :func:`says_what_to_lower`; its figures are those of the first study times the studies."""
    size, one = len(batch.index), first_study(batch, config.prompt_length)
    with torch.random.fork_rng(devices=[]):
        whole = kept_bytes(config, one, options.grad_checkpointing) * size / 1e9
        twice = whole if options.grad_checkpointing else kept_bytes(config, one, twice=True) * size / 1e9
    drawn = f", and the reports that --scst {options.scst} draws" if options.scst else ""
    ways = []
    if size > 1:
        ways.append(f"--batch_size {size // 2} --grad_accum {options.grad_accum * 2} keeps {whole / 2:.2g} GB")
    if not options.grad_checkpointing:
        ways.append(f"--grad_checkpointing keeps {twice:.2g} GB")
    if options.cagrad:
        ways.append("--cagrad 0 keeps one gradient in place of one of every loss")
    if options.scst > 2:
        ways.append(f"--scst 2 draws fewer reports than {options.scst}")
    if precision == "fp32":
        ways.append("--precision bf16 keeps about half")
    return (
        f"out of memory in a step of {size} studies, which keeps {whole:.2g} GB in float32 for the way back besides "
        f"weights, gradients and optimizer{drawn}: {', '.join(ways) or 'lower --image_size'}"
    )
