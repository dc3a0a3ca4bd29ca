"""Beam search with the scoring rule of the published results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GenerationLimits:
    """How long and how broad the search is.

    Attributes:
        beams: hypotheses kept per study.
        min_length: least tokens INCLUDING the prompt before the end token is allowed, as published.
        max_new_tokens: most tokens after the prompt.
    """

    beams: int
    min_length: int
    max_new_tokens: int

    def __post_init__(self) -> None:
        if self.beams < 1 or self.max_new_tokens < 1:
            raise ValueError(
                f"--beam_size and --gen_max_len must be at least 1, got {self.beams} and {self.max_new_tokens}"
            )


Choose = Callable[[Tensor, Tensor], Tensor]  # ended hypotheses (B, beams, T), scores (B, beams) -> (B,) positions


@dataclass
class Finished:
    """The best ended hypotheses of each study: ``tokens`` ``(B, beams, T)`` and ``scores`` ``(B, beams)``."""

    tokens: Tensor
    scores: Tensor

    def add(self, tokens: Tensor, scores: Tensor) -> None:
        """Merge candidates ``(B, n, T)`` with ``scores`` ``(B, n)``, -inf where there is none."""
        beams = self.scores.shape[1]
        merged, order = torch.cat([self.scores, scores], dim=1).sort(dim=1, descending=True, stable=True)
        order = order[:, :beams, None].expand(-1, -1, self.tokens.shape[2])
        self.tokens.copy_(torch.cat([self.tokens, tokens], dim=1).gather(1, order))
        self.scores.copy_(merged[:, :beams])

    def take(self, choose: Choose | None) -> tuple[Tensor, Tensor]:
        """``tokens`` ``(B, T)`` and ``scores`` ``(B,)`` of the chosen hypotheses, of the best ones without a choice."""
        if choose is None:
            return self.tokens[:, 0], self.scores[:, 0]
        every, chosen = torch.arange(len(self.scores), device=self.scores.device), choose(self.tokens, self.scores)
        return self.tokens[every, chosen], self.scores[every, chosen]


class Search:
    """The state of a beam search between two words.

    Every tensor keeps its place in memory, so that a GPU can repeat a recorded word.

    Args:
        prompt: ``(B, T0)`` token ids, all of one length.
        limits: beams and lengths.
        end_id: id of the end token.
        pad_id: id that fills the rest of ended reports.
        dtype: of the scores.
    """

    def __init__(self, prompt: Tensor, limits: GenerationLimits, end_id: int, pad_id: int, dtype: torch.dtype) -> None:
        B, start = prompt.shape
        beams, last = limits.beams, start + limits.max_new_tokens
        self.limits, self.end_id = limits, end_id
        self.tokens = prompt.new_full((B, beams, last), pad_id)
        self.tokens[:, :, :start] = prompt.unsqueeze(1)
        self.scores = torch.full((B, beams), -1e9, dtype=dtype, device=prompt.device)
        self.scores[:, 0] = 0  # all beams of a study start equal: let only the first one branch
        self.finished = Finished(self.tokens.clone(), torch.full_like(self.scores, -torch.inf))
        self.done = torch.zeros(B, dtype=torch.bool, device=prompt.device)
        self.length = torch.full((), start, device=prompt.device)  # tokens that are written
        self.first_beam = torch.arange(B, device=prompt.device).unsqueeze(1) * beams  # (B, 1)
        self.newest = prompt.new_zeros(B * beams, 1)
        self.rows = prompt.new_zeros(B * beams)  # the beams that the newest tokens continue

    def advance(self, log_probs: Tensor) -> None:
        """Write the next word of every beam from the log-probabilities ``(B * beams, V)`` of what may follow."""
        (B, beams, last), V = self.tokens.shape, log_probs.shape[1]
        too_short = self.length < self.limits.min_length
        log_probs[:, self.end_id] = torch.where(too_short, -torch.inf, log_probs[:, self.end_id])
        total = (self.scores.view(-1, 1) + log_probs).view(B, -1)  # (B, beams * V)
        candidates, index = total.topk(2 * beams, dim=1)
        origin, token = index // V, index % V  # (B, 2 * beams)
        ended = token == self.end_id
        grown = self.tokens.gather(1, origin.unsqueeze(2).expand(-1, -1, last))  # (B, 2 * beams, T)
        grown.scatter_(2, self.length.expand(B, 2 * beams, 1), token.unsqueeze(2))
        finished = ended[:, :beams] & ~self.done.unsqueeze(1)  # an end token ranked below the beams is dropped
        self.finished.add(grown[:, :beams], torch.where(finished, candidates[:, :beams] / self.length, -torch.inf))
        self.done |= self.finished.scores[:, -1] >= candidates[:, 0] / self.length
        open_beams = _first_open(ended, beams)  # (B, beams)
        self.tokens.copy_(_take(grown, open_beams))
        self.scores.copy_(candidates.gather(1, open_beams))
        self.newest.copy_(token.gather(1, open_beams).view(-1, 1))
        self.rows.copy_((origin.gather(1, open_beams) + self.first_beam).view(-1))
        self.length += 1

    def end(self, choose: Choose | None) -> tuple[Tensor, Tensor]:
        """``tokens`` ``(B, T)`` with the prompt, and ``scores`` ``(B,)``; open hypotheses take part where a study is not done."""
        open_scores = torch.where(self.done.unsqueeze(1), -torch.inf, self.scores / self.length)
        self.finished.add(self.tokens, open_scores)
        return self.finished.take(choose)


@torch.no_grad()
def beam_search(
    next_log_probs: Callable[[Tensor, Tensor | None], Tensor],
    prompt: Tensor,
    limits: GenerationLimits,
    end_id: int,
    pad_id: int,
    choose: Choose | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the most probable continuation of each prompt.

    The score of a hypothesis is its summed log-probability (that of the end token included) divided by its whole
    length, prompt included and end token not. A study is done when its worst kept hypothesis is at least as good as
    its best open one could be at the present length. This is the rule of transformers 4.19, with which the published
    reports were made; later versions divide by the generated length and may choose other reports.

    Args:
        next_log_probs: called with the newest tokens ``(B * beams, t)`` and, after the first call, the rows
            ``(B * beams,)`` they continue; returns log-probabilities ``(B * beams, V)``.
        prompt: ``(B, T0)`` token ids, all of one length.
        limits: beams and lengths.
        end_id: id of the end token.
        pad_id: id that fills the rest of ended reports.
        choose: which of the ended hypotheses is taken, scores -inf where there is none; the best if absent.

    Returns:
        ``tokens`` ``(B, T)`` with the prompt, and ``scores`` ``(B,)``.
    """
    log_probs = next_log_probs(prompt.repeat_interleave(limits.beams, dim=0), None)  # (B * beams, V)
    search, start = Search(prompt, limits, end_id, pad_id, log_probs.dtype), prompt.shape[1]
    for length in range(start, start + limits.max_new_tokens):
        search.advance(log_probs)
        if length == start + limits.max_new_tokens - 1:
            break
        if length >= limits.min_length and search.done.all():  # before, no study can be done
            break
        log_probs = next_log_probs(search.newest, search.rows)
    return search.end(choose)


def mean_log_probability(tokens: Tensor, scores: Tensor, start: int, end_id: int, pad_id: int) -> Tensor:
    """Mean log-probability ``(B,)`` of the words that a search wrote, the end token among them.

    Args:
        tokens: ``(B, T)`` of :func:`beam_search`.
        scores: ``(B,)`` of it, whose sum is divided by the prompt too and never by the end token.
        start: tokens of the prompt.
        end_id: id of the end token.
        pad_id: id that fills the rest of ended reports.
    """
    length = written_length(tokens, pad_id)  # (B,), end token included
    ended = tokens.gather(1, length[:, None] - 1)[:, 0] == end_id
    return scores * (length - ended.long()) / (length - start).clamp_min(1)


def written_length(tokens: Tensor, pad_id: int) -> Tensor:
    """Tokens ``(B,)`` of each row of ``tokens`` ``(B, T)`` before the padding at its end; padding among words counts."""
    place = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != pad_id) * place).amax(dim=1)


def _first_open(ended: Tensor, beams: int) -> Tensor:
    """Positions ``(B, beams)`` of the best candidates that have not ended; ``ended`` is ``(B, 2 * beams)``."""
    return ended.long().sort(dim=1, stable=True)[1][:, :beams]


def _take(grown: Tensor, positions: Tensor) -> Tensor:
    """Rows ``positions`` ``(B, beams)`` of ``grown`` ``(B, 2 * beams, T)``."""
    return grown.gather(1, positions.unsqueeze(2).expand(-1, -1, grown.shape[2]))
