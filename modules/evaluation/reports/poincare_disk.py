"""The retrieval space drawn on a disk: hyperbolic embeddings in two dimensions, with geometry kept where it can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.manifolds import Euclidean, Lorentz, Manifold
from models.revtaf import Revtaf
from modules.corpus.bank import TrainingBank
from modules.labels import POSITIVE
from modules.retrieval.retriever import embed_bank

BANK_POINTS = 4000  # studies of the bank that are drawn; a random sample of a larger bank


@dataclass
class Disk:
    """Training studies in two dimensions."""

    points: np.ndarray  # (n, 2), in the unit disk; of a Euclidean space scaled into it
    positive: np.ndarray  # (n, L) bool, conditions of each study
    share: float  # part of the variance in the tangent space that the two axes hold
    curvature: float  # 0 for a Euclidean space
    total: int  # studies in the bank


def bank_disk(model: Revtaf, bank: TrainingBank, device: torch.device, seed: int, limit: int = BANK_POINTS) -> Disk:
    """Embed the bank, or a random ``limit`` of its studies, and project it.

    Args:
        model: trained network.
        bank: training studies.
        device: of the model.
        seed: of the sample.
        limit: most studies drawn.
    """
    rows = np.arange(len(bank))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    enhancer = model.retrieval_enhancer
    points = embed_bank(enhancer, bank, rows, device).double().cpu()  # (n, H)
    flat, share = project(points, enhancer.manifold)
    labels = np.asarray(bank.store["labels"])[bank.store.rows("studies", [bank.ids[row] for row in rows])]
    curvature = 0.0 if isinstance(enhancer.manifold, Euclidean) else float(enhancer.manifold.curvature())
    return Disk(flat, labels == POSITIVE, share, curvature, len(bank))


def project(points: torch.Tensor, manifold: Manifold) -> tuple[np.ndarray, float]:
    """Points in the unit disk by principal components of the tangent space at their centre.

    The centre is the gyromidpoint; a Moebius translation, which keeps every distance, moves it to the origin. There
    the logarithm gives tangent vectors, their two principal axes are kept and the exponential brings them back. So
    distances from the centre are exact for points that lie in the plane of the two axes, and too short for others.

    Source: Fletcher et al., Principal geodesic analysis, IEEE TMI 2004, in its tangent-space approximation; Ungar,
    Barycentric calculus in Euclidean and hyperbolic geometry, 2010, for the gyromidpoint.

    Args:
        points: ``(n, H)`` points of the manifold (``(n, H + 1)`` on the hyperboloid), float64.
        manifold: their geometry.

    Returns:
        ``(n, 2)`` points, and the share of the variance that the two axes hold.
    """
    if isinstance(manifold, Euclidean):
        flat, share = _two_axes(points.numpy() - points.numpy().mean(axis=0))
        return flat / max(np.linalg.norm(flat, axis=1).max(), 1e-12) * 0.95, share
    x = _unit_ball(points, manifold)  # (n, H)
    moved = _translate(-_gyromidpoint(x), x)
    norm = np.linalg.norm(moved, axis=1, keepdims=True).clip(1e-15, 1 - 1e-15)
    flat, share = _two_axes(np.arctanh(norm) * moved / norm)  # (n, 2)
    norm = np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-15)
    return np.tanh(norm) * flat / norm, share


def _unit_ball(points: torch.Tensor, manifold: Manifold) -> np.ndarray:
    """Coordinates in the ball of curvature -1."""
    root = float(manifold.curvature()) ** 0.5
    if isinstance(manifold, Lorentz):
        return (root * points[:, 1:] / (1 + root * points[:, :1])).numpy()  # stereographic
    return (root * points).numpy()


def _gyromidpoint(x: np.ndarray) -> np.ndarray:
    """Centre ``(H,)`` of points ``(n, H)``."""
    weight = 2 / (1 - np.square(x).sum(axis=1))  # (n,)
    doubled = weight @ x / (weight - 1).sum()  # (H,)
    return doubled / (1 + np.sqrt(1 - np.square(doubled).sum()))


def _translate(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Moebius sum of ``a`` ``(H,)`` and points ``(n, H)``."""
    inner, aa, xx = x @ a, a @ a, np.square(x).sum(axis=1)  # (n,), (), (n,)
    above = (1 + 2 * inner + xx)[:, None] * a + (1 - aa) * x  # (n, H)
    return above / (1 + 2 * inner + aa * xx)[:, None]


def _two_axes(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Coordinates ``(n, 2)`` along the two principal axes, and their share of the squared length."""
    values, axes = np.linalg.eigh(vectors.T @ vectors)  # ascending
    axes = axes[:, ::-1][:, :2]  # (H, 2)
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # the same picture on every machine
    return vectors @ axes, float(values[-2:].sum() / max(values.sum(), 1e-300))
