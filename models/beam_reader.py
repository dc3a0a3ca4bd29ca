"""What beam search asks the report decoder: the next word of every beam."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.beam_search import GenerationLimits
from models.decoder_layers import Columns, Product, apply, patch_keys, read_tokens, token_logits
from models.decoder_parameters import DecoderNetwork

TOKENS_BETWEEN = 16  # two looks at which columns are still needed; each makes a GPU wait for a number


class NegativePrompt(NamedTuple):
    """Another prompt for each report, from whose words a search is pushed away."""

    prompt: Tensor  # (B, T0)
    guidance: float  # how far; see :func:`guided`


def guided(log_probs: Tensor, negative: Tensor, guidance: float) -> Tensor:
    """Log-probabilities ``(R, V)``, moved away from those of a negative prompt by ``guidance`` times their difference.

    Source: classifier-free guidance of language models, arXiv 2306.17806.
    """
    return (log_probs + guidance * (log_probs - negative)).log_softmax(dim=-1)


class BeamReader:
    """Reads the newest tokens of all beams; what :func:`models.beam_search.beam_search` calls.

    Keys and values of the patches, of the prompt and of each token are computed once. The beams of a study are tokens side
    by side, and a mask says which columns before them each continues. Columns that no beam continues any more are left out
    from time to time: beams soon have all but their last words in common, so that a late token costs little more than an
    early one.

    Args:
        network: holds the parameters, in evaluation.
        fused: ``(B, M + T, 2 A)`` fused patches, then the words of the references.
        prompt_length: tokens of the prompt.
        limits: beams and lengths.
        negative: what the search is pushed away from; each study is then read twice, the second time with this prompt.
    """

    def __init__(
        self,
        network: DecoderNetwork,
        fused: Tensor,
        prompt_length: int,
        limits: GenerationLimits,
        negative: NegativePrompt | None = None,
    ) -> None:
        fused = fused if negative is None else torch.cat([fused, fused])
        B, self.negative = len(fused), negative
        self.network, self.beams, self.length = network, limits.beams, 0
        self.patches, self.product = patch_keys(network, fused), self.products(B * limits.beams)
        self.columns = Columns(prompt_length + limits.beams * (limits.max_new_tokens - 1))
        shape = (B, limits.beams, self.columns.size)
        self.continued = torch.zeros(shape, dtype=torch.bool, device=fused.device)  # columns that each beam continues
        self.continued[:, :, :prompt_length] = True

    def products(self, rows: int) -> Product:
        """What computes linear layers whose inputs have ``rows`` rows."""
        return apply

    @torch.no_grad()
    def __call__(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        """Log-probabilities ``(B * beams, V)`` of what follows ``tokens``.

        Args:
            tokens: ``(B * beams, P)`` the prompt, once for every beam; in later calls ``(B * beams, 1)``.
            rows: ``(B * beams,)`` of the beams before that the tokens continue; None for the prompt.
        """
        if self.negative is None:
            return self._next(tokens, rows)
        if rows is None:
            prompt = self.negative.prompt.repeat_interleave(self.beams, dim=0)
            log_probs = self._next(torch.cat([tokens, prompt]), None)
        else:
            log_probs = self._next(torch.cat([tokens, tokens]), torch.cat([rows, rows + len(rows)]))
        likely, unwanted = log_probs.chunk(2)
        return guided(likely, unwanted, self.negative.guidance)

    def _next(self, tokens: Tensor, rows: Tensor | None) -> Tensor:
        hidden = self._read_prompt(tokens[:: self.beams]) if rows is None else self._read_next(tokens, rows)
        return token_logits(self.network, hidden, self.product).float().log_softmax(dim=-1)

    def _read_prompt(self, prompt: Tensor) -> Tensor:
        """Read the prompt ``(B, P)`` once, since all beams are still equal: ``(B * beams, hidden)``."""
        order = torch.arange(prompt.shape[1], device=prompt.device)
        causal = (order[:, None] >= order)[None, None]  # (1, 1, P, P)
        return self._read(prompt, order, causal)[:, -1].repeat_interleave(self.beams, dim=0)

    def _read_next(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """Read one token of every beam: ``(B * beams, hidden)``."""
        self.continued = self.continued.flatten(0, 1)[rows].unflatten(0, (-1, self.beams))
        if self.length % TOKENS_BETWEEN == 0:
            self._leave_out()
        start, beam = self.columns.filled, torch.arange(self.beams, device=tokens.device)
        self.continued[:, beam, start + beam] = True
        allowed = self.continued[:, None, :, : start + self.beams]  # (B, 1, beams, columns)
        position = torch.full((1,), self.length, device=tokens.device)
        return self._read(tokens.view(-1, self.beams), position, allowed).flatten(0, 1)

    def _read(self, tokens: Tensor, position: Tensor, allowed: Tensor) -> Tensor:
        self.length += len(position)
        return read_tokens(self.network, tokens, position, allowed, self.columns, self.patches, self.product)

    def keep(self, rows: Tensor) -> None:
        """Go on with the studies ``rows`` ``(R,)`` alone."""
        self.continued = self.continued[rows]
        self.patches = [(keys[rows], values[rows]) for keys, values in self.patches]
        self.columns.keep_texts(rows)

    def _leave_out(self) -> None:
        """Keep the columns that some beam of the study continues; a study with fewer of them keeps as many as the others."""
        continued = self.continued[:, :, : self.columns.filled]
        needed = continued.any(dim=1).int()  # (B, filled)
        most = int(needed.sum(dim=1).max())
        order = needed.sort(dim=1, descending=True, stable=True).indices[:, :most]  # (B, most)
        self.columns.keep(order)
        continued = continued.take_along_dim(order.unsqueeze(1), dim=2)  # (B, beams, most)
        self.continued = F.pad(continued, (0, self.columns.size - most))
