"""One training step at full size: forward, backward, optimizer, in float32 and in bfloat16.

    python benchmarks/training.py

Released way: contiguous images, all token positions scored, maps compared at 224 x 224 pixels by broadcasting, Sinkhorn
iterations unrolled, one AdamW kernel per weight. Ours: what main_train.py does. The reference report has 12 sentences. Two
batches: all reports of 120 tokens, and reports of mixed lengths padded to 120, of which .78 is real as in batches of 4
reports of IU X-Ray. Each way runs with its own setting of the C library's allocator and warms up again before every timed step.

The last lines say what the machine could do: the floating-point operations of our step at the best speed of one large matrix
product, in the same precision.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.alignment import plain_binary_iou, plain_soft_iou
from benchmarks.models import WEIGHTS, count_flops, our_loss, our_step, published_config, published_model, random_batch
from benchmarks.sinkhorn import unrolled
from benchmarks.timing import arguments, interleaved, machine, report_ratio, seconds
from models import ot_attention
from models.revtaf import Revtaf
from modules.allocator import keep_freed_memory
from modules.corpus.datasets import Batch
from modules.training.losses import diagnosis_loss, ranking_loss, text_similarity
from modules.training.optimizers import build_optimizer

SENTENCES = 12  # of a reference report, as when the released code was timed
MIXED = (1, 0.87, 0.71, 0.55)  # lengths of reports: the share of a padded batch of 4 that is real is .78


def plain_loss(model: Revtaf, batch: Batch, prior: Tensor, overlap) -> Tensor:
    """Total loss the released way; ``overlap`` compares the maps."""

    def solve(cost: Tensor, epsilon: float, iterations: int, mask: Tensor) -> Tensor:
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
    return report + WEIGHTS[0] * diagnosis + WEIGHTS[1] * align + WEIGHTS[2] * rank


def check_equal(plain: Revtaf, ours: Revtaf, batch: Batch, prior: Tensor, tolerance: float) -> None:
    """With dropout off and the same overlap, both ways give the same loss and gradient."""
    for model, compute in (
        (plain.eval(), lambda model: plain_loss(model, batch, prior, plain_soft_iou)),
        (ours.eval(), lambda model: our_loss(model, batch, prior, "fp32")),
    ):
        model.zero_grad(set_to_none=True)
        model.measured = compute(model)
        model.measured.backward()
    torch.testing.assert_close(plain.measured, ours.measured, rtol=tolerance, atol=0)
    for name in ("diagnosis_head.linear.weight", "fusion.attention.v.weight", "project_patches.weight"):
        a, b = (model.get_parameter(name).grad for model in (plain, ours))
        assert (a - b).norm() < 20 * tolerance * a.norm(), name
    print(f"  equal: loss {ours.measured.item():.5f} and gradients, dropout off, maps on the patch grid")


def peak_gigaflops(precision: str) -> float:
    """Best of some large matrix products."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    return 2 * 2048**3 / min(seconds(lambda: a @ b, 5)) / 1e9


def main() -> None:
    """Equality, then the step in both precisions, on full and on mixed reports."""
    options = arguments(__doc__.splitlines()[0], precisions=(["fp32", "bf16"], "of our step"))
    config = published_config(options.quick)
    B, T = (2, 30) if options.quick else (4, 120)
    print(machine())
    full, mixed = (random_batch(config, B, T, SENTENCES, lengths) for lengths in ((1,), MIXED))
    prior = torch.ones(config.num_conditions)
    plain_model, our_model = published_model(config), published_model(config)
    our_model.visual_encoder.to(memory_format=torch.channels_last)
    check_equal(plain_model, our_model, mixed, prior, 1e-4)
    side = 28 if options.quick else 224
    plain_optimizer = torch.optim.AdamW(plain_model.parameters(), lr=5e-5, weight_decay=0.05, foreach=False)
    our_optimizer = build_optimizer(our_model, 5e-5, 0.05)

    def plain_step(batch: Batch) -> None:
        keep_freed_memory(False)
        loss = plain_loss(plain_model.train(), batch, prior, lambda a, b: plain_binary_iou(a, b, side))
        plain_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_value_(plain_model.parameters(), 0.1, foreach=False)
        plain_optimizer.step()

    def fast_step(batch: Batch, precision: str) -> None:
        keep_freed_memory()
        our_step(our_model, our_optimizer, batch, prior, precision)

    for name, batch in (("full", full), ("mixed", mixed)):
        for precision, target in (("fp32", 1.9), ("bf16", 3.0)):
            if precision not in options.precisions:
                continue
            times = interleaved(
                lambda b=batch: plain_step(b),
                lambda b=batch, p=precision: fast_step(b, p),
                options.runs,
                warm_up=2,
            )
            report_ratio(f"training step, batch {B}, {name} reports of {T} tokens, ours {precision}", *times, target)
        work = count_flops(lambda b=batch: our_loss(our_model.train(), b, prior, "fp32").backward()) / 1e9
        for precision in options.precisions:
            peak = peak_gigaflops(precision)
            print(
                f"  at the speed of a large {precision} product: {work:.0f} GFLOP at {peak:.0f} GFLOP/s take {work / peak:.3g} s"
            )


if __name__ == "__main__":
    main()
