"""models/gpu/transport.py: its kernels, run by Triton's interpreter where there is no GPU (and no Triton: skipped)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from models.optimal_transport import sinkhorn, solve, solve_system

SHAPES = (5, 75, 49), (3, 7, 49), (2, 1, 4), (2, 20, 100)


def check_transport(device):
    """Plans and gradients of both kernels against float64 on the CPU."""
    from models.gpu.transport import solve_in_one_kernel, solve_system_in_one_kernel

    generator = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        cost, mask = 2 * torch.rand(shape, generator=generator), torch.rand(shape[:2], generator=generator) > 0.3
        mask[:, 0] = True
        weight, found = torch.randn(shape, generator=generator), {}
        for name, solvers, x in (
            ("expected", (solve, solve_system), cost.double()),
            ("found", (solve_in_one_kernel, solve_system_in_one_kernel), cost.to(device)),
        ):
            x.requires_grad_()
            plan = sinkhorn(x, 0.05, 100, mask.to(x.device), tolerance=0, spread=2, solvers=solvers)
            (plan * weight.to(x)).sum().backward()
            found[name] = plan.detach().cpu().double(), x.grad.cpu().double()
        for ours, theirs in zip(found["found"], found["expected"], strict=True):
            assert (ours - theirs).norm() <= 1e-4 * theirs.norm() + 1e-6, shape


def check_word_loss(device):
    """Loss and gradient against float64 on the CPU, with rows further apart than they are long."""
    from models.gpu.word_loss import word_loss

    generator = torch.Generator().manual_seed(0)
    for S, V, dtype in ((7, 50, torch.float32), (5, 9001, torch.float32), (6, 8192, torch.bfloat16)):
        wide, targets = (
            torch.randn(S, V + 30, generator=generator).to(dtype),
            torch.randint(0, V, (S,), generator=generator),
        )
        targets[2] = -100
        x = wide.double()[:, :V].requires_grad_()
        expected = 3 * F.cross_entropy(x, targets, ignore_index=-100, label_smoothing=0.1)
        expected.backward()
        y = wide.to(device).requires_grad_()
        found = 3 * word_loss(y[:, :V], targets.to(device), 0.1, -100)
        found.backward()
        assert abs(found.item() - expected.item()) < 1e-5 * expected.item()
        loose = 1e-5 if dtype == torch.float32 else 5e-3
        assert (y.grad[:, :V].cpu().double() - x.grad).norm() < loose * x.grad.norm()
        assert (y.grad[:, V:] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("check", ["check_transport", "check_word_loss"])
def test_the_kernels_compute_what_torch_computes(check):
    pytest.importorskip("triton")
    words = [
        sys.executable,
        "-c",
        f"import test_gpu_kernels, torch; test_gpu_kernels.{check}(torch.device('cpu'))",
    ]
    here = Path(__file__).parent
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": f"{here}:{here.parent}"}
    done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
