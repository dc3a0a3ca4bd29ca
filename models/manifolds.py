"""The three geometries the retrieval space can have, on top of geoopt.

A manifold here lifts tangent vectors at the origin, applies linear maps, translations and ReLUs, and measures distances.

The distance of ``y`` from ``x`` grows with the gap ``(x - y) . flip(x - y) / shrink(y)``, whose expansion is one inner
product per pair: so a bank can be searched with matrix products.

Everything is computed in float64 inside a visible island: float32 loses tangent vectors shorter than 1e-7 and
saturates near the boundary. Points come back in the dtype of the input.

Sources: Ganea, Becigneul, Hofmann, Hyperbolic Neural Networks, NeurIPS 2018; Nickel, Kiela, Learning Continuous
Hierarchies in the Lorentz Model, ICML 2018.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # geoopt 0.5 compiles with torch.jit.script, which warns 73 times
    from geoopt.manifolds.lorentz import math as lorentz_math
    from geoopt.manifolds.stereographic import math as ball_math

MARGIN = {torch.float32: 4e-3, torch.float64: 1e-5}  # points keep this relative distance from the boundary
CURVATURE_RANGE = 10.0  # a learned curvature stays within this factor of where it started


class Manifold(nn.Module):
    """A space of constant curvature ``-c``, fixed or learned.

    Args:
        curvature: c, positive.
        learned: whether c is a parameter (kept positive through its logarithm).
    """

    def __init__(self, curvature: float, learned: bool = False) -> None:
        super().__init__()
        self.initial = curvature
        self.log_c = nn.Parameter(torch.tensor(curvature).log()) if learned else None

    def curvature(self) -> Tensor:
        """Curvature magnitude c as a float64 scalar; on the host when it is fixed, so that reading it costs no sync."""
        if self.log_c is None:
            return torch.tensor(self.initial, dtype=torch.float64)
        c = self.log_c.double().exp()
        clamped = c.clamp(self.initial / CURVATURE_RANGE, self.initial * CURVATURE_RANGE)
        return c + (clamped - c).detach()  # a clamp has no slope outside of its range: c could never come back

    def lift(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Exponential map at the origin: tangent vectors to points that keep the margin of ``dtype``."""
        raise NotImplementedError

    def linear(self, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """The linear map ``weight`` of points."""
        raise NotImplementedError

    def translate(self, x: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Points moved by the tangent vector ``u`` at the origin."""
        raise NotImplementedError

    def lift_and_translate(self, u: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        """Tangent vectors ``u`` ``(..., H)`` at the origin as points, moved by the tangent vector ``bias`` ``(H,)``."""
        return self.translate(self.lift(u, dtype), bias, dtype)

    def relu(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Points whose tangent vectors at the origin went through a ReLU."""
        raise NotImplementedError

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance of points that broadcast."""
        raise NotImplementedError

    def distance_of_gap(self, gap: Tensor, x: Tensor) -> Tensor:
        """Geodesic distance from ``x`` of points that lie behind a ``gap`` (above)."""
        raise NotImplementedError

    def flip(self, x: Tensor) -> Tensor:
        """Change the sign of the time coordinate of ``x`` ``(..., H)``, if there is one."""
        return x

    def shrink(self, y: Tensor) -> Tensor:
        """How much shorter straight lines are near ``y`` ``(..., H)`` than distances: float64 ``(...)`` in (0, 1]."""
        return torch.ones_like(y[..., 0], dtype=torch.float64)


class PoincareBall(Manifold):
    """Open ball of radius ``1 / sqrt(c)``; points keep a norm of at most ``(1 - margin) / sqrt(c)``."""

    def project(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Pull points ``(..., H)`` back inside the margin that belongs to ``dtype``."""
        return ball_math.project(x, k=-self.curvature(), eps=MARGIN[dtype])

    def lift(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Exponential map at the origin: tangent vectors ``(..., H)`` to points ``(..., H)``."""
        return self.project(ball_math.expmap0(u, k=-self.curvature()), dtype)

    def linear(self, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Moebius matrix-vector product of ``weight`` ``(H_out, H_in)`` with points ``(..., H_in)``."""
        return self.project(ball_math.mobius_matvec(weight, x, k=-self.curvature()), dtype)

    def translate(self, x: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Moebius addition of the lifted tangent vector ``u`` ``(H,)`` to points ``(..., H)``."""
        return self.project(ball_math.mobius_add(x, self.lift(u, dtype), k=-self.curvature()), dtype)

    def lift_and_translate(self, u: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        """The same in closed form: geoopt's functions pass over all ``(n, H)`` coordinates in each of their many steps.

        Source: the Moebius addition of Ganea et al., 2018, whose factors follow from three inner products.

        Args:
            u: ``(n, H)`` tangent vectors at the origin.
            bias: ``(H,)``, another.
            dtype: decides the margin.

        Returns:
            ``(n, H)`` points in the dtype of ``u``.
        """
        c, b = self.curvature(), self.lift(bias, dtype)
        longest = 1 - MARGIN[dtype]  # of sqrt(c) times the norm of a point
        radius = c.sqrt() * u.square().sum(dim=-1, keepdim=True).clamp_min(1e-30).sqrt()  # (n, 1)
        lifted = radius.tanh().clamp_max(longest) / radius  # (n, 1): the lifted point is p = lifted * u
        inner = c * lifted * (u @ b.unsqueeze(-1))  # (n, 1), c times the inner product of p and b
        square, moved = (lifted * radius).square(), c * b.square().sum()  # c |p|^2 and c |b|^2
        whole = (1 + 2 * inner + square * moved).clamp_min(1e-15)
        of_p, of_b = (1 + 2 * inner + moved) / whole, (1 - square) / whole  # (n, 1): p and b sum to of_p p + of_b b
        norm = of_p.square() * square + 2 * of_p * of_b * inner + of_b.square() * moved  # (n, 1), c times its square
        inside = (longest * norm.clamp_min(1e-30).rsqrt()).clamp_max(1)
        return inside * of_p * lifted * u + inside * of_b * b

    def relu(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """ReLU in the tangent space at the origin, of points ``(..., H)``."""
        return self.lift(ball_math.logmap0(x, k=-self.curvature()).relu(), dtype)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance between every ``x`` and every ``y``, without a ``(B, N, H)`` tensor.

        ``d = 2 / sqrt(c) asinh(sqrt(c) |x - y| / sqrt((1 - c |x|^2)(1 - c |y|^2)))``: equal to the artanh of the
        Moebius sum, but accurate for close points.

        Departure: the released code adds 1e-5 to the Moebius denominator and clamps artanh, which moves distances by
        up to 0.12 %; there is no switch, because the exact value ranks the same neighbours.

        Args:
            x: ``(..., B, H)`` points.
            y: ``(..., N, H)`` points.

        Returns:
            ``(..., B, N)`` float64 distances, with a finite gradient everywhere (zero between equal points).
        """
        c = self.curvature()
        x, y = x.double(), y.double()
        chord = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")  # (..., B, N)
        shrink = self.shrink(x).unsqueeze(-1) * self.shrink(y).unsqueeze(-2)  # (..., B, N)
        return 2 / c.sqrt() * (c.sqrt() * chord * shrink.rsqrt()).asinh()

    def shrink(self, y: Tensor) -> Tensor:
        """``1 - c |y|^2`` of points ``(..., H)``."""
        return (1 - self.curvature() * y.double().square().sum(-1)).clamp_min(1e-15)

    def distance_of_gap(self, gap: Tensor, x: Tensor) -> Tensor:
        """Distance ``(B,)`` from ``x`` ``(B, H)`` of a point whose gap is ``gap`` ``(B,)``."""
        c = self.curvature()
        return 2 / c.sqrt() * (c * gap / self.shrink(x)).sqrt().asinh()


class Lorentz(Manifold):
    """The same geometry on the hyperboloid; points carry one more, leading coordinate.

    Tangent vectors at the origin are doubled on the way in and halved on the way out, and end where the margin of the
    ball lies, which makes this model isometric to :class:`PoincareBall` as geoopt scales it: equal weights give equal
    distances.
    """

    def lift(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Exponential map at the origin: tangent vectors ``(..., H)`` to points ``(..., H + 1)``."""
        c = self.curvature()
        longest = math.atanh(1 - MARGIN[dtype]) / c.sqrt()
        u = u * (longest / u.norm(dim=-1, keepdim=True).clamp_min(1e-15)).clamp_max(1)
        return lorentz_math.expmap0(nn.functional.pad(2 * u, (1, 0)), k=1 / c)

    def lower(self, x: Tensor) -> Tensor:
        """Logarithm at the origin: points ``(..., H + 1)`` to tangent vectors ``(..., H)``."""
        c = self.curvature()
        spatial = x[..., 1:]
        norm = spatial.norm(dim=-1, keepdim=True).clamp_min(1e-15)
        return (c.sqrt() * norm).asinh() / (2 * c.sqrt() * norm) * spatial

    def linear(self, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Apply ``weight`` in the tangent space at the origin."""
        return self.lift(self.lower(x) @ weight.T, dtype)

    def translate(self, x: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Follow ``u``, carried from the origin to ``x`` by parallel transport, along its geodesic."""
        k = 1 / self.curvature()
        moved = lorentz_math.parallel_transport0(x, nn.functional.pad(2 * u, (1, 0)).expand_as(x), k=k)
        return self.lift(self.lower(lorentz_math.expmap(x, moved, k=k)), dtype)

    def relu(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """ReLU in the tangent space at the origin."""
        return self.lift(self.lower(x).relu(), dtype)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance ``(..., B, N)`` between every ``x`` ``(..., B, H)`` and every ``y``, float64."""
        c = self.curvature()
        x, y = x.double(), y.double()
        space = torch.cdist(x[..., 1:], y[..., 1:], compute_mode="donot_use_mm_for_euclid_dist")  # (..., B, N)
        time = x[..., :1] - y[..., 0].unsqueeze(-2)  # (..., B, N)
        chord = ((space - time) * (space + time)).clamp_min(1e-30).sqrt()  # (..., B, N), Minkowski length of x - y
        return 2 / c.sqrt() * (c.sqrt() * chord / 2).asinh()

    def flip(self, x: Tensor) -> Tensor:
        """Change the sign of the first coordinate of ``x`` ``(..., H + 1)``."""
        return torch.cat([-x[..., :1], x[..., 1:]], dim=-1)

    def distance_of_gap(self, gap: Tensor, x: Tensor) -> Tensor:
        """Distance ``(B,)`` from any ``x`` of a point whose gap is ``gap`` ``(B,)``."""
        c = self.curvature()
        return 2 / c.sqrt() * ((c * gap).sqrt() / 2).asinh()


class Euclidean(Manifold):
    """Flat space: the ablation without hyperbolic geometry."""

    def lift(self, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Tangent vectors are points."""
        return u

    def linear(self, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Matrix-vector product."""
        return x @ weight.T

    def translate(self, x: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Vector addition."""
        return x + u

    def relu(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """ReLU."""
        return x.relu()

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Straight-line distance ``(..., B, N)``, float64."""
        return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")

    def distance_of_gap(self, gap: Tensor, x: Tensor) -> Tensor:
        """Distance ``(B,)`` from any ``x`` of a point whose gap is ``gap`` ``(B,)``."""
        return gap.sqrt()


MANIFOLDS = {"poincare": PoincareBall, "lorentz": Lorentz, "euclidean": Euclidean}
