"""Sinkhorn iterations in one kernel: a study is one program that keeps its costs in registers.

As torch operations an iteration is four kernels of a few microseconds, and a training step asks for two plans of a hundred.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.optimal_transport import SHARP, KernelDomain, LogDomain, solve, solve_system

LARGEST = 1 << 14  # costs of a study, padded, that one program can hold


@triton.jit
def _plans(
    costs, log_rows, log_columns, plans, K, M, epsilon, iterations, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    study = tl.program_id(0).to(tl.int64)
    k, m = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (k[:, None] < K) & (m[None, :] < M)
    place = study * K * M + k[:, None] * M + m[None, :]
    cost = tl.load(costs + place, mask=inside, other=float("inf"))  # (ROWS, COLUMNS)
    least = tl.where(k < K, tl.min(cost, axis=1), 0.0)
    kernel = tl.where(inside, tl.exp((least[:, None] - cost) / epsilon), 0.0)
    rows = tl.exp(tl.load(log_rows + study * K + k, mask=k < K, other=-float("inf")))
    columns = tl.exp(tl.load(log_columns + study * M + m, mask=m < M, other=-float("inf")))
    v = tl.where(m < M, 1.0, 0.0)
    u = rows
    for _ in range(iterations):
        u = rows / tl.where(k < K, tl.sum(kernel * v[None, :], axis=1), 1.0)
        v = columns / tl.where(m < M, tl.sum(kernel * u[:, None], axis=0), 1.0)
    tl.store(plans + place, kernel * u[:, None] * v[None, :], mask=inside)


@triton.jit
def _solutions(systems, targets, solutions, M, SIZE: tl.constexpr):
    study = tl.program_id(0).to(tl.int64)
    row, column = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    inside = (row < M) & (column < M)
    system = tl.load(systems + study * M * M + row * M + column, mask=inside, other=0.0)  # (SIZE, SIZE)
    system = tl.where((row == column) & (row >= M), 1.0, system)
    y = tl.load(targets + study * M + row, mask=row < M, other=0.0)  # (SIZE, 1)
    for j in range(M):
        pivots = tl.sum(tl.where(row == j, system, 0.0), axis=0, keep_dims=True)  # (1, SIZE)
        beside = tl.sum(tl.where(column == j, system, 0.0), axis=1, keep_dims=True)  # (SIZE, 1)
        pivot = tl.sum(tl.where(row == j, beside, 0.0), axis=0, keep_dims=True)  # (1, 1)
        factor = tl.where(row == j, 0.0, beside / pivot)
        y -= factor * tl.sum(tl.where(row == j, y, 0.0), axis=0, keep_dims=True)
        system -= factor * pivots
    diagonal = tl.sum(tl.where(row == column, system, 0.0), axis=1, keep_dims=True)  # (SIZE, 1)
    tl.store(solutions + study * M + row, y / diagonal, mask=row < M)


def solve_system_in_one_kernel(system: Tensor, target: Tensor, epsilon: float) -> Tensor:
    """:func:`models.optimal_transport.solve_system` by elimination, a study a program.

    The systems are symmetric and positive definite, so that no pivot has to be looked for.
    """
    M = system.shape[1]
    if not _here(system) or epsilon < SHARP or triton.next_power_of_2(M) ** 2 > LARGEST or not len(system):
        return solve_system(system, target, epsilon)
    solution, size = torch.empty_like(target, memory_format=torch.contiguous_format), triton.next_power_of_2(M)
    _solutions[(len(system),)](system.contiguous(), target.contiguous(), solution, M, size, num_warps=8)
    return solution


def _here(x: Tensor) -> bool:
    """Whether the kernels serve a tensor; their interpreter, which is for tests, also runs on a CPU."""
    return x.dtype == torch.float32 and (x.device.type == "cuda" or triton.knobs.runtime.interpret)


@torch.no_grad()
def solve_in_one_kernel(
    cost: Tensor,
    log_rows: Tensor,
    log_columns: Tensor,
    epsilon: float,
    iterations: int,
    tolerance: float,
    domain: type[LogDomain | KernelDomain] = LogDomain,
) -> Tensor:
    """:func:`models.optimal_transport.solve`, all iterations of every study in one kernel.

    Costs in float64, those that need logarithms and those too many for a program take the way of ``solve``.
    """
    B, K, M = cost.shape
    size = triton.next_power_of_2(K), triton.next_power_of_2(M)
    if not _here(cost) or domain is not KernelDomain or size[0] * size[1] > LARGEST or not B:
        return solve(cost, log_rows, log_columns, epsilon, iterations, tolerance, domain)
    plan = torch.empty_like(cost, memory_format=torch.contiguous_format)
    inputs = (x.contiguous() for x in (cost, log_rows, log_columns))
    _plans[(B,)](*inputs, plan, K, M, epsilon, iterations, *size, num_warps=4 if size[0] * size[1] <= 4096 else 8)
    return plan
