"""Cross-attention in which patches receive text by optimal transport."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.optimal_transport import Solvers, pot_plan, sinkhorn, solve, solve_system
from models.precision import at_least_float32


class TransportAttention(nn.Module):
    """Single-head attention whose weights are a transport plan between the texts and the patches of a study.

    Departure: the released code transports all patches to ONE target, which forces the plan to be uniform, so that its
    output is the same vector for every patch and every image. Here one plan couples all texts with all patches.
    ``plan="single"`` (``--ot_plan single``) restores the released arithmetic.

    Args:
        width: A.
        attention: ``"ot"``; ``"softmax"`` normalises over the texts only, with temperature ``epsilon``; ``"none"``
            sends no message at all.
        plan: ``"joint"`` or ``"single"``.
        solver: ``"sinkhorn"`` (ours) or ``"pot"``.
        epsilon: entropic regularisation, in units of cost (1 - cosine).
        iterations: most Sinkhorn iterations.
    """

    solvers: Solvers = (solve, solve_system)  # models.gpu.speed_up puts faster ones into an object

    def __init__(self, *, width: int, attention: str, plan: str, solver: str, epsilon: float, iterations: int) -> None:
        super().__init__()
        self.attention, self.plan, self.solver = attention, plan, solver
        self.epsilon, self.iterations = epsilon, iterations
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        if attention != "none":
            self.v = nn.Linear(width, width)
            self.proj = nn.Linear(width, width)

    @staticmethod
    def cosine(queries: Tensor, keys: Tensor, fixed_patches: bool = False) -> tuple[Tensor, Tensor]:
        """Cosine between texts and patches, in at least float32.

        Args:
            queries: ``(B, M, A)`` of the patches; of patches of several cells ``(B, M, c, A)``, whose mean cosine they have.
            keys: ``(B, K, A)`` of the texts.
            fixed_patches: whether no gradient of the second cosine reaches the patches.

        Returns:
            The cosine ``(B, K, M)`` twice.
        """
        q, k = (F.normalize(at_least_float32(x), dim=-1) for x in (queries, keys))
        if q.dim() == 4:
            q = q.mean(dim=2)
        cosine = k @ q.transpose(1, 2)  # (B, K, M)
        return cosine, k @ q.detach().transpose(1, 2) if fixed_patches else cosine

    def weights(self, cosine: Tensor, mask: Tensor) -> Tensor:
        """Transport plan ``(B, K, M)`` for ``cosine`` ``(B, K, M)`` and ``mask`` ``(B, K)``, float32 under autocast."""
        M = cosine.shape[2]
        if self.attention == "softmax":
            scores = cosine.masked_fill(~mask.unsqueeze(2), -1e4) / self.epsilon
            return scores.softmax(dim=1) * mask.unsqueeze(2) / M
        if self.plan == "single":  # one target per text: the row constraint alone fixes the plan at 1 / M
            return mask.unsqueeze(2) / M * torch.ones_like(cosine)
        if self.solver == "pot":
            return pot_plan(1 - cosine, self.epsilon, self.iterations, mask)
        return sinkhorn(1 - cosine, self.epsilon, self.iterations, mask, spread=2, solvers=self.solvers)

    def forward(
        self,
        patches: Tensor,
        text: Tensor,
        mask: Tensor,
        keys: Tensor | None = None,
        view: Tensor | None = None,
        fixed_patches: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Send text to patches.

        The map of a text is its cosine with every patch, as released (where M * plan is 1 everywhere): a joint plan gives
        every patch the same mass, wherever the signs are, and maps made of it point worse.

        Args:
            patches: ``(B, M, A)``.
            text: ``(B, K, A)`` projected texts (entities or sentences).
            mask: ``(B, K)`` true for real texts.
            keys: ``(B, K, A)`` what is compared with W_q patches; W_k ``text`` if absent.
            view: ``(B, M, A)`` what stands for the patches where they are compared, or ``(B, M, c, A)`` for their cells; the
                patches themselves if absent.
            fixed_patches: whether a gradient of the map reaches the keys alone, not the patches.

        Returns:
            ``message`` ``(B, M, A)`` and ``score_map`` ``(B, K, M)`` in [-1, 1], zero for padding.
        """
        q, k = self.q(patches if view is None else view), self.k(text) if keys is None else keys
        with torch.autocast(patches.device.type, enabled=False):
            cosine, score_map = self.cosine(q, k, fixed_patches)  # (B, K, M) each
            score_map = score_map * mask.unsqueeze(2)
            if self.attention == "none":
                return torch.zeros_like(
                    patches
                ) + 0 * text.sum(), score_map  # a gradient of 0: several processes wait for every one
            plan = self.weights(cosine, mask)  # (B, K, M)
        released = self.attention == "ot" and self.plan == "single"  # its weights sum to K / M at a patch, ours to 1
        message = (plan if released else cosine.shape[2] * plan).transpose(1, 2) @ self.v(text)  # (B, M, A)
        return self.proj(message), score_map


class TransportFusion(nn.Module):
    """Residual layer around :class:`TransportAttention`: message, LayerNorm, ReLU feed-forward, LayerNorm.

    Args:
        width: A; the feed-forward layer has 4 A.
        dropout: dropout rate.
        attention: the attention block, shared by entities and sentences.
    """

    def __init__(self, width: int, dropout: float, attention: TransportAttention) -> None:
        super().__init__()
        self.attention = attention
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        patches: Tensor,
        text: Tensor,
        mask: Tensor,
        keys: Tensor | None = None,
        view: Tensor | None = None,
        fixed_patches: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Fuse text into patches: ``fused`` ``(B, M, A)`` and ``score_map`` ``(B, K, M)``.

        Args as :meth:`TransportAttention.forward`, with projected patches and texts.
        """
        message, score_map = self.attention(patches, text, mask, keys, view, fixed_patches)
        return self.add(patches, message), score_map

    def add(self, patches: Tensor, message: Tensor) -> Tensor:
        """What follows the attention ``(B, M, A)``."""
        fused = self.norm2(patches + self.dropout(message))
        hidden = self.dropout(self.linear1(fused).relu())  # (B, M, 4 A)
        return self.norm3(fused + self.dropout(self.linear2(hidden)))
