"""Entropic optimal transport between the texts and the patches of a study.

Source: Cuturi, Sinkhorn Distances: Lightspeed Computation of Optimal Transport, NeurIPS 2013; the gradient through the
optimality conditions follows Eisenberger et al., A Unified Framework for Implicit Sinkhorn Differentiation, CVPR 2022.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

CHECK_EVERY = 10  # iterations between two convergence tests; each test on a GPU would wait for the device
NO_MASS = -1e4  # logarithm of the mass of a padding text: exp() of it is exactly 0
LARGEST = {torch.float32: 60, torch.float64: 500}  # spread / epsilon up to which exponentials keep their precision
SHARP = 0.01  # epsilon below which plain iterations stop far from the plan and its gradient is badly conditioned
FIRST_EPSILON = 0.05  # a sharp plan is approached from this epsilon, which is halved until it is small enough
ITERATIONS_EACH = 50  # of a sharp plan at each epsilon, and between two looks at its rows
SHARP_FACTOR = 20  # a sharp plan may take that many times ``--ot_iterations``
ROW_TOLERANCE = 1e-4  # relative error of the rows at which a sharp plan is done
WARNED_ERROR = 1e-2  # relative error of a sharp plan's rows, or of its gradient's system, that is worth a warning
_warned: set[str] = set()  # which of these two warnings the run has had

Solvers = tuple[Callable[..., Tensor], Callable[..., Tensor]]  # :func:`solve`, :func:`solve_system` or faster ones


def log_masses(mask: Tensor) -> Tensor:
    """Logarithm of uniform masses over the true entries of ``mask`` ``(B, K)``; ``NO_MASS`` elsewhere."""
    uniform = -mask.sum(dim=1, keepdim=True).clamp_min(1).log()  # (B, 1)
    return torch.where(mask, uniform, NO_MASS)


class LogDomain:
    """Sinkhorn iterations on logarithms, for any cost: two logsumexp, of several kernels each, an iteration."""

    @staticmethod
    def start(cost: Tensor, log_rows: Tensor, log_columns: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        """``kernel`` ``(B, K, M)``, ``rows`` ``(B, K)``, ``columns`` ``(B, M)`` and the first ``v`` ``(B, M)``."""
        return -cost / epsilon, log_rows, log_columns, torch.zeros_like(log_columns)

    @staticmethod
    def iterate(kernel: Tensor, rows: Tensor, columns: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """One iteration: ``u`` ``(B, K)`` and ``v`` ``(B, M)``."""
        u = rows - (kernel + v.unsqueeze(1)).logsumexp(dim=2)  # (B, K)
        return u, columns - (kernel + u.unsqueeze(2)).logsumexp(dim=1)

    @staticmethod
    def logarithm(u: Tensor) -> Tensor:
        """Logarithm of the potential ``u``."""
        return u

    @staticmethod
    def plan(kernel: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """``(B, K, M)`` plan."""
        return (kernel + u.unsqueeze(2) + v.unsqueeze(1)).exp()


class KernelDomain:
    """The same iterations on the exponentials, where these stay finite: two products and two divisions an iteration."""

    @staticmethod
    def start(cost: Tensor, log_rows: Tensor, log_columns: Tensor, epsilon: float) -> tuple[Tensor, ...]:
        """As :meth:`LogDomain.start`; the largest element of each row of ``kernel`` is 1."""
        kernel = ((cost.amin(dim=2, keepdim=True) - cost) / epsilon).exp()  # (B, K, M)
        return kernel, log_rows.exp(), log_columns.exp(), torch.ones_like(log_columns)

    @staticmethod
    def iterate(kernel: Tensor, rows: Tensor, columns: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`LogDomain.iterate`."""
        u = rows / (kernel @ v.unsqueeze(2)).squeeze(2)  # (B, K)
        return u, columns / (u.unsqueeze(1) @ kernel).squeeze(1)

    @staticmethod
    def logarithm(u: Tensor) -> Tensor:
        """As :meth:`LogDomain.logarithm`."""
        return u.log()

    @staticmethod
    def plan(kernel: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """As :meth:`LogDomain.plan`."""
        return kernel * u.unsqueeze(2) * v.unsqueeze(1)


@torch.no_grad()
def solve(
    cost: Tensor,
    log_rows: Tensor,
    log_columns: Tensor,
    epsilon: float,
    iterations: int,
    tolerance: float,
    domain: type[LogDomain | KernelDomain] = LogDomain,
) -> Tensor:
    """Sinkhorn iterations.

    A study stops once the mean change of its own row potential falls below ``tolerance``, so that its plan does not
    depend on the studies beside it. On a GPU the number of iterations is fixed instead: a test would copy a number to
    the host each time.

    Args:
        cost: ``(B, K, M)`` cost of moving mass from row ``k`` to column ``m``.
        log_rows: ``(B, K)`` logarithm of the row masses.
        log_columns: ``(B, M)`` logarithm of the column masses.
        epsilon: entropic regularisation, in units of cost.
        iterations: most iterations.
        tolerance: mean absolute change of the row potential, in units of cost; 0 runs all iterations.
        domain: whether the iterations work on logarithms or on their exponentials.

    Returns:
        ``(B, K, M)`` plan; columns hold their masses exactly, rows up to convergence.
    """
    kernel, rows, columns, v = domain.start(cost, log_rows, log_columns, epsilon)
    plan = torch.empty_like(kernel)
    u = torch.ones_like(rows)
    running = torch.arange(len(cost), device=cost.device)  # (B,)
    may_stop = tolerance > 0 and cost.device.type == "cpu"
    for iteration in range(1, iterations + 1):
        previous = u
        u, v = domain.iterate(kernel, rows, columns, v)
        if may_stop and iteration % CHECK_EVERY == 0:
            real = log_rows > NO_MASS / 2
            moved = (domain.logarithm(u) - domain.logarithm(previous)).abs()  # (B, K); NaN where there is no mass
            change = torch.where(real, moved, 0).sum(dim=1) * epsilon / real.sum(dim=1).clamp_min(1)
            done = change < tolerance  # (B,)
            plan[running[done]] = domain.plan(kernel[done], u[done], v[done])
            running, log_rows = running[~done], log_rows[~done]
            kernel, rows, columns, u, v = (x[~done] for x in (kernel, rows, columns, u, v))
            if not len(running):
                return plan
    plan[running] = domain.plan(kernel, u, v)
    return plan


@torch.no_grad()
def solve_sharply(cost: Tensor, log_rows: Tensor, log_columns: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The plan for an epsilon below ``SHARP``, in float64, approached through larger ones.

    The iterations at ``epsilon`` itself go on until the rows hold their masses. Every look at the rows makes a GPU wait.

    Args: as for :func:`solve`; there are at most ``SHARP_FACTOR * iterations`` at ``epsilon`` itself.

    Returns:
        ``(B, K, M)`` plan.
    """
    cost, log_rows, log_columns = cost.double(), log_rows.double(), log_columns.double()
    real = log_rows > NO_MASS / 2  # (B, K)
    potential, larger = torch.zeros_like(log_columns), FIRST_EPSILON  # (B, M), in units of cost
    while larger > epsilon:
        kernel, v = -cost / larger, potential / larger
        for _ in range(ITERATIONS_EACH):
            _, v = LogDomain.iterate(kernel, log_rows, log_columns, v)
        potential, larger = v * larger, larger / 2
    kernel, v = -cost / epsilon, potential / epsilon
    for _ in range(max(1, SHARP_FACTOR * iterations // ITERATIONS_EACH)):
        for _ in range(ITERATIONS_EACH):
            u, v = LogDomain.iterate(kernel, log_rows, log_columns, v)
        plan = LogDomain.plan(kernel, u, v)  # (B, K, M)
        off = (plan.sum(dim=2) / log_rows.exp() - 1).abs()  # (B, K); infinite where there is no mass
        error = float(off[real].max()) if real.any() else 0.0
        if error < ROW_TOLERANCE:
            break
    if error > WARNED_ERROR:
        _warn_once("rows", epsilon, error)
    return plan


def _warn_once(kind: str, epsilon: float, error: float) -> None:
    """Warn about the accuracy of sharp plans, once in a run for the plan and once for its gradient."""
    if kind not in _warned:
        _warned.add(kind)
        what = f"at --ot_epsilon {epsilon:g} {kind} of the transport plan are off by up to {error:.1%}"
        warnings.warn(f"{what}: raise --ot_epsilon or --ot_iterations", RuntimeWarning, stacklevel=3)


def solve_system(system: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """Solve the ``(B, M, M)`` systems of the gradient for ``(B, M)`` targets.

    A sharp plan falls into parts that hardly exchange mass; each adds a direction in which the system is flat and the
    gradient does not change. There float64 and a ridge far below the masses keep the solution finite, and it is checked.
    """
    if epsilon >= SHARP:
        return torch.linalg.solve_ex(system, target)[0]  # solve() would make a GPU wait to see whether it worked
    system, right = system.double(), target.double()
    ridge = 1e-9 / system.shape[1] * torch.eye(system.shape[1], dtype=system.dtype, device=system.device)
    y = torch.linalg.solve_ex(system + ridge, right)[0]
    for _ in range(2):  # refinement takes back what the ridge has added
        y = y + torch.linalg.solve_ex(system + ridge, right - (system @ y.unsqueeze(2)).squeeze(2))[0]
    residual = (system @ y.unsqueeze(2)).squeeze(2) - right
    error = float(residual.norm() / right.norm().clamp_min(1e-300))
    if not error < WARNED_ERROR:  # what is no number is worth a warning too
        _warn_once("gradients", epsilon, error)
    return y.to(target.dtype)


class SinkhornPlan(torch.autograd.Function):
    """Transport plan with the gradient of its optimality conditions: memory does not grow with the iterations."""

    @staticmethod
    def forward(ctx, cost, log_rows, log_columns, epsilon, iterations, tolerance, domain, solvers):  # noqa: D102
        if epsilon < SHARP:
            plan = solve_sharply(cost, log_rows, log_columns, epsilon, iterations)
        else:
            plan = solvers[0](cost, log_rows, log_columns, epsilon, iterations, tolerance, domain)
        ctx.save_for_backward(plan)
        ctx.epsilon, ctx.solve_system = epsilon, solvers[1]
        return plan.to(cost.dtype)

    @staticmethod
    def backward(ctx, grad_plan):
        """Solve the linear system that keeps both marginals fixed while the cost moves.

        With ``H = plan * grad`` and potentials ``x`` ``(B, K)``, ``y`` ``(B, M)``: ``rowsum(plan) x + plan y =
        rowsum(H)``, ``plan^T x + colsum(plan) y = colsum(H)``; eliminating ``x`` leaves an ``M x M`` system whose one
        null direction (adding a constant to ``y``) is fixed by asking for ``sum(y) = 0``.
        """
        (plan,) = ctx.saved_tensors
        weighted = plan * grad_plan  # (B, K, M)
        rows = plan.sum(dim=2)  # (B, K)
        columns = plan.sum(dim=1)  # (B, M)
        inverse_rows = torch.where(rows > 0, 1 / rows.clamp_min(torch.finfo(rows.dtype).tiny), 0)  # (B, K)
        scaled = inverse_rows.unsqueeze(2) * plan  # (B, K, M)
        target = weighted.sum(dim=1) - (scaled * weighted.sum(dim=2, keepdim=True)).sum(dim=1)  # (B, M)
        M = plan.shape[2]
        system = torch.diag_embed(columns) - plan.transpose(1, 2) @ scaled + 1 / M**2  # (B, M, M)
        y = ctx.solve_system(system, target, ctx.epsilon)  # (B, M)
        x = inverse_rows * (weighted.sum(dim=2) - (plan * y.unsqueeze(1)).sum(dim=2))  # (B, K)
        grad_cost = (plan * (x.unsqueeze(2) + y.unsqueeze(1)) - weighted) / ctx.epsilon  # (B, K, M)
        return grad_cost.to(grad_plan.dtype), None, None, None, None, None, None, None


def sinkhorn(
    cost: Tensor,
    epsilon: float,
    iterations: int = 100,
    mask: Tensor | None = None,
    tolerance: float = 1e-6,
    spread: float = math.inf,
    solvers: Solvers = (solve, solve_system),
) -> Tensor:
    """Transport plan between uniform distributions over texts and patches, differentiable in the cost.

    With one text or one patch the plan is uniform whatever the cost.

    Args:
        cost: ``(B, K, M)`` cost of moving mass from text ``k`` to patch ``m``, float32 or float64.
        epsilon: entropic regularisation, in units of cost.
        iterations: most Sinkhorn iterations.
        mask: ``(B, K)`` true for real texts; padding gets no mass. All real if absent.
        tolerance: see :func:`solve`.
        spread: the most by which two costs can differ; where it is small enough for ``epsilon`` the iterations need no
            logarithms.
        solvers: what computes plans and the systems of their gradients.

    Returns:
        ``(B, K, M)`` plan with columns summing to ``1 / M`` and rows to one over the number of real texts; all zero for
        a study without texts.
    """
    B, K, M = cost.shape
    if mask is None:
        mask = torch.ones(B, K, dtype=torch.bool, device=cost.device)
    some = mask.any(dim=1, keepdim=True)  # (B, 1)
    log_rows = log_masses(mask | ~some).to(cost.dtype)  # (B, K); a study without texts is solved and then left out
    log_columns = torch.full_like(cost[:, 0], 1 / M).log()  # (B, M)
    domain = KernelDomain if spread <= LARGEST[cost.dtype] * epsilon else LogDomain
    plan = SinkhornPlan.apply(cost, log_rows, log_columns, epsilon, iterations, tolerance, domain, solvers)
    return plan * some.unsqueeze(2)


def pot_plan(cost: Tensor, epsilon: float, iterations: int = 100, mask: Tensor | None = None) -> Tensor:
    """The same plan from the POT library, one study at a time: slow, for checking (``--ot_solver pot``).

    Args and returns as :func:`sinkhorn`; the gradient is POT's, through its iterations.
    """
    import ot  # on demand: importing POT takes a second, and only this ablation needs it

    plans = []
    for b, study_cost in enumerate(cost):
        real = torch.ones_like(study_cost[:, 0], dtype=torch.bool) if mask is None else mask[b]
        plan = torch.zeros_like(study_cost)
        if real.any():
            rows = study_cost.new_full((int(real.sum()),), 1 / int(real.sum()))
            columns = study_cost.new_full((study_cost.shape[1],), 1 / study_cost.shape[1])
            solved = ot.sinkhorn(
                rows, columns, study_cost[real], epsilon, method="sinkhorn_log", numItermax=iterations,
                stopThr=1e-9, warn=False,
            )  # fmt: skip
            plan = plan.index_put((real.nonzero()[:, 0],), solved)
        plans.append(plan)
    return torch.stack(plans)
