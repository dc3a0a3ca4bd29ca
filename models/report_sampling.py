"""Reports drawn word by word from the probabilities of the decoder; beam search looks for the likeliest report instead."""

from __future__ import annotations

import torch
from torch import Tensor

from models.beam_reader import BeamReader
from models.beam_search import GenerationLimits

# Probabilities are raised to this power. Label smoothing leaves a tenth of the probability of every word to all others, so that
# a report that is drawn plainly would hold some nonsense.
SHARPNESS = 2.0


@torch.no_grad()
def draw_reports(reader: BeamReader, prompt: Tensor, limits: GenerationLimits, end_id: int, pad_id: int) -> Tensor:
    """Draw a report for each prompt by :func:`drawable`; those that have ended are read no further.

    Args:
        reader: of the patches of each prompt, with one beam.
        prompt: ``(R, T0)`` token ids, all of one length.
        limits: lengths.
        end_id: id of the end token.
        pad_id: id that fills the rest of ended reports.

    Returns:
        ``tokens`` ``(R, T)`` with the prompt; a report that reached the greatest length has no end token.
    """
    R, start = prompt.shape
    last = start + limits.max_new_tokens
    tokens = torch.cat([prompt, prompt.new_full((R, limits.max_new_tokens), pad_id)], dim=1)  # (R, last)
    read = torch.arange(R, device=prompt.device)  # the reports that the reader still reads
    ended = torch.zeros_like(read, dtype=torch.bool)  # which of those have ended
    log_probs = reader(prompt, None)  # (R, V)
    for length in range(start, last):
        too_short = torch.full_like(ended, length < limits.min_length)
        probability = drawable(log_probs, too_short, end_id, pad_id).exp()  # (R, V)
        probability = probability.nan_to_num(nan=1.0)  # with NaN any word is drawn: the loss of the study will say so
        probability[:, pad_id] = 0
        newest = probability.multinomial(1)[:, 0]
        tokens[read, length] = newest.masked_fill(ended, pad_id)
        ended = ended | (newest == end_id)
        if ended.all() or length + 1 == last:
            break
        if 4 * ended.sum() >= len(ended):
            still = (~ended).nonzero()[:, 0]
            reader.keep(still)
            read, ended = read[still], ended[still]
        log_probs = reader(tokens[read, length : length + 1], torch.arange(len(read), device=read.device))
    return tokens[:, : length + 1]


def drawable(logits: Tensor, too_short: Tensor, end_id: int, pad_id: int) -> Tensor:
    """Log-probabilities ``(S, V)`` of what is drawn where a decoder has ``logits`` ``(S, V)``.

    Its probabilities to the power of ``SHARPNESS``, nothing for padding nor, where ``too_short`` ``(S,)``, for the end of
    the report.
    """
    logits = logits.float() * SHARPNESS
    logits[:, pad_id] = -torch.inf
    logits[:, end_id] = logits[:, end_id].masked_fill(too_short, -torch.inf)
    return logits.log_softmax(dim=-1)
