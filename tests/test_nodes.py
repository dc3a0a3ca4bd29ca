"""Two network namespaces as two nodes: the command of docs/training.md trains on both."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from programs import SMALL, SMALL_MODEL, places
from test_stops import rows_of

from modules.weights.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[1]
NODES = ("revtaf0", "revtaf1")
ADDRESSES = ("10.213.7.1", "10.213.7.2")


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def nodes():
    """Two namespaces that a cable joins; each calls its end ``cable``."""
    if not shutil.which("ip") or any(ip("netns", "add", node).returncode for node in NODES):
        for node in NODES:
            shutil.which("ip") and ip("netns", "del", node)
        pytest.skip("needs the right to make network namespaces")
    try:
        made = ip("link", "add", "cable", "netns", NODES[0], "type", "veth", "peer", "name", "cable", "netns", NODES[1])
        if made.returncode:
            pytest.skip(f"needs the right to join network namespaces: {made.stderr}")
        for node, address in zip(NODES, ADDRESSES, strict=True):
            ip("-n", node, "addr", "add", f"{address}/24", "dev", "cable")
            for link in ("cable", "lo"):
                ip("-n", node, "link", "set", link, "up")
        yield NODES
    finally:
        for node in NODES:
            ip("netns", "del", node)


@pytest.mark.slow
def test_two_nodes_train_together(nodes, prepared, tmp_path):
    words = [*places(prepared), *SMALL, *SMALL_MODEL, "--epochs", 1, "--batch_size", 4, "--save_dir", tmp_path / "run"]
    started = []
    for number, node in enumerate(nodes):
        launch = [
            sys.executable, "-m", "modules.processes.launch", "--processes", 1, "--nnodes", 2, "--node_rank", number,
            "--rdzv_endpoint", f"{ADDRESSES[0]}:29500", "main_train.py", *words,
        ]  # fmt: skip
        command = list(map(str, ["ip", "netns", "exec", node, *launch]))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable"}
        started.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    said = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "parameters on cpu" in said[0]
    assert said[1] == ""
    assert len(rows_of(tmp_path / "run")) == 1
    run = load_checkpoint(tmp_path / "run" / "current_checkpoint.pth")["run"]
    assert run["world_size"] == 2
    assert not torch.equal(run["processes"][0]["rng"], run["processes"][1]["rng"])
