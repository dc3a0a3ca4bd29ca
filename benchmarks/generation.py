"""Report generation, full size, 3 beams: key/value cache against reading the whole prefix again at every token.

    python benchmarks/generation.py

Both ways run the same beam search to the same length (weights are random, so the end token is held back until the last
position). The released way takes minutes: ``--runs 1`` by default.
"""

from __future__ import annotations

import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.models import published_config, published_model
from benchmarks.timing import arguments, machine, report_ratio, seconds, spread, verdict
from models.beam_search import GenerationLimits, beam_search
from models.cpu.speed_up import speed_up
from models.report_decoder import ReportDecoder


@torch.no_grad()
def plain_generate(
    decoder: ReportDecoder, fused: Tensor, prompt: Tensor, limits: GenerationLimits
) -> tuple[Tensor, Tensor]:
    """Beam search without cache: prefix and patches are read anew for every token, all positions are scored."""
    patches = fused.repeat_interleave(limits.beams, dim=0)
    prefix = prompt.new_zeros(0)

    def next_log_probs(tokens: Tensor, rows: Tensor | None) -> Tensor:
        nonlocal prefix
        prefix = tokens if rows is None else torch.cat([prefix[rows], tokens], dim=1)
        logits = decoder(patches, prefix, torch.ones_like(prefix, dtype=torch.bool))
        return logits[:, -1].log_softmax(dim=-1)

    return beam_search(next_log_probs, prompt, limits, decoder.end_id, decoder.pad_id)


def step_seconds(decoder: ReportDecoder, generate) -> list[float]:
    """Seconds from one decoding step to the next."""
    stamps = []
    words = decoder.network.bert.embeddings.word_embeddings  # looked up once per step
    hook = words.register_forward_pre_hook(lambda *_: stamps.append(time.perf_counter()))
    generate()
    hook.remove()
    return [after - before for before, after in pairwise(stamps[1:])]


def main() -> None:
    """Equal reports, then times, then the cost of a token early and late."""
    options = arguments(__doc__.splitlines()[0], runs=1, batch=("4", "reports at once"))
    config = published_config(options.quick)
    new, B = (12, 2) if options.quick else (150, int(options.batch))
    print(machine())
    plain_decoder, decoder = (published_model(config).report_decoder.eval() for _ in range(2))
    speed_up(decoder)
    start = config.prompt_length
    prompt = torch.randint(3, config.vocab_size, (B, start))
    fused = torch.randn(B, 49, 2 * config.attention_dim)
    short = GenerationLimits(beams=3, min_length=0, max_new_tokens=min(new, 12))
    slow, slow_scores = plain_generate(plain_decoder, fused, prompt, short)
    fast, fast_scores = decoder.generate(fused, prompt, short)
    assert torch.equal(slow, fast)
    torch.testing.assert_close(slow_scores, fast_scores, rtol=1e-4, atol=1e-5)
    print(f"  equal: tokens and scores of {B} reports of {short.max_new_tokens} tokens")
    limits = GenerationLimits(beams=3, min_length=start + new - 1, max_new_tokens=new)
    ours = seconds(lambda: decoder.generate(fused, prompt, limits), options.runs)
    plain = seconds(lambda: plain_generate(plain_decoder, fused, prompt, limits), options.runs, warm_up=0)
    report_ratio(f"{B} reports of {new} tokens, 3 beams", plain, ours, 20)
    print(f"  seconds per report: released way {spread([t / B for t in plain])}, ours {spread([t / B for t in ours])}")
    growth = []
    for _ in range(max(3, options.runs)):
        steps = step_seconds(decoder, lambda: decoder.generate(fused, prompt, limits))
        part = min(20, len(steps) // 2)
        growth.append(statistics.median(steps[-part:]) / statistics.median(steps[:part]))
    verdict("last 20 tokens over the first 20", statistics.median(growth), 1.2, f"{spread(growth)} x", at_most=True)


if __name__ == "__main__":
    main()
