"""One training step at full size: forward, backward, optimizer, in float32 and in bfloat16.

    python benchmarks/training.py

Released way: contiguous images, all token positions scored, maps compared at 224 x 224 pixels by broadcasting, Sinkhorn
iterations unrolled, one AdamW kernel per weight. Ours: what main_train.py does. The reference report has 12 sentences. Two
batches: all reports of 120 tokens, and reports of mixed lengths padded to 120, of which .78 is real as in batches of 4
reports of IU X-Ray. The ways take turns in two processes, each with the memory allocator as its program sets it.

With ``--maps study`` the released way forms its temporaries of 75 x 12 maps of 224 x 224 pixels (181 MB) for one study, not for four.

The last lines say what the machine could do: the floating-point operations of our step at the best speed of one large matrix
product, in the same precision.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.alignment import plain_soft_iou
from benchmarks.models import count_flops, our_loss, published_config, published_model
from benchmarks.steps import LENGTHS, Steps, batch_of, plain_loss
from benchmarks.timing import arguments, interleaved, machine, report_ratio, seconds
from models.cpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.corpus.datasets import Batch

WARM_UP = 8  # steps until the allocator has found a place for everything


def check_equal(plain: Revtaf, ours: Revtaf, batch: Batch, prior: Tensor, tolerance: float) -> None:
    """With dropout off and the same overlap, both ways give the same loss and gradient."""
    losses = []
    for model, compute in (
        (plain.eval(), lambda: plain_loss(plain, batch, prior, plain_soft_iou)),
        (ours.eval(), lambda: our_loss(ours, batch, prior, "fp32")),
    ):
        model.zero_grad(set_to_none=True)
        loss = compute()
        loss.backward()
        losses.append(loss.detach())
    torch.testing.assert_close(*losses, rtol=tolerance, atol=0)
    for name in ("diagnosis_head.linear.weight", "fusion.attention.v.weight", "project_patches.weight"):
        a, b = (model.get_parameter(name).grad for model in (plain, ours))
        assert (a - b).norm() < 20 * tolerance * a.norm(), name
    print(f"  equal: loss {losses[1].item():.5f} and gradients, dropout off, maps on the patch grid")


def peak_gigaflops(precision: str, side: int) -> float:
    """Best of some matrix products; a CPU without bfloat16 of its own takes a minute for one of 2048 rows."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    return 2 * side**3 / min(seconds(lambda: a @ b, 5)) / 1e9


def main() -> None:
    """Equality, then the step in both precisions, on full and on mixed reports."""
    options = arguments(
        __doc__.splitlines()[0],
        precisions=(["fp32", "bf16"], "of our step"),
        maps=(
            "batch",
            "how the released way compares maps: all of the batch at once, as released, or study by study: study",
        ),
    )
    config = published_config(options.quick)
    print(machine())
    prior = torch.ones(config.num_conditions)
    model = published_model(config)
    speed_up(model)
    check_equal(published_model(config), model, batch_of("mixed", options.quick), prior, 1e-4)
    plain, ours = (Steps(way, options.quick, options.threads, options.maps) for way in ("plain", "ours"))
    for kind in LENGTHS:
        batch = batch_of(kind, options.quick)
        for precision, target in (("fp32", 1.9), ("bf16", 3.0)):
            if precision not in options.precisions:
                continue

            def our_step(kind: str = kind, precision: str = precision) -> None:
                ours(kind, precision)

            seconds(our_step, 0, warm_up=1 if options.quick else WARM_UP)
            times = interleaved(lambda k=kind: plain(k, "fp32"), our_step, options.runs)
            B, T = batch.token_ids.shape
            report_ratio(f"training step, batch {B}, {kind} reports of {T} tokens, ours {precision}", *times, target)
        work = count_flops(lambda b=batch: our_loss(model.train(), b, prior, "fp32").backward()) / 1e9
        for precision in options.precisions:
            peak = peak_gigaflops(precision, 256 if options.quick else 2048)
            print(
                f"  at the speed of a large {precision} product: {work:.0f} GFLOP at {peak:.0f} GFLOP/s take {work / peak:.3g} s"
            )
    plain.close()
    ours.close()


if __name__ == "__main__":
    main()
