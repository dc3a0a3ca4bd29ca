"""modules/training/allocator.py: memory that is freed is used again instead of being asked for anew."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from claimed_cuda import ON_CUDA, cuda
from programs import train

import main_train

PROGRAM = """
import resource, sys, torch
from modules.training.allocator import keep_freed_memory
taken = keep_freed_memory() if sys.argv[1] == "keep" else True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(24):
    if step == 20:
        start = faults()
    torch.ones(16 << 20)  # 64 MB
print(taken, faults() - start)
"""


def faults(way):
    """Page faults of four allocations of 64 MB, after twenty that may still find their place."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    taken, count = result.stdout.split()
    return taken == "True", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes this advice")
@pytest.mark.slow
def test_steps_stop_touching_new_pages():
    taken, kept = faults("keep")
    assert taken
    assert kept < 100
    assert faults("default")[1] > 10_000


def test_other_c_libraries_are_left_alone(monkeypatch):
    from modules.training.allocator import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1"))
    assert not keep_freed_memory()


@pytest.mark.slow
def test_training_asks_for_it_on_a_cpu_only(prepared, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(main_train, "keep_freed_memory", lambda: asked.append(True))
    train(prepared, tmp_path / "cpu", "--epochs", 1)
    assert asked == [True]
    with cuda():
        train(prepared, tmp_path / "cuda", "--epochs", 1, *ON_CUDA)
    assert asked == [True]
