"""A step in which a loss reaches a weight on one process alone; run by fork_server.py."""

from pathlib import Path

import torch
from torch import nn

from modules.distributed import is_main, processes, rank
from modules.training.conflict_averse import ConflictAverseGradients

ROWS = torch.tensor(
    [[4.0, 1.0], [-6.0, 2.0]]
)  # gradient of the first loss on every process, of the second on process 0


def one_sided(folder, name):
    """Give a weight of two numbers its gradient and keep it."""
    with processes("cpu"):
        model = nn.Linear(2, 1, bias=False)
        made = ConflictAverseGradients(model, {"loss_a": 1.0, "loss_b": 1.0}, 0.4)
        made.begin()
        first, second = (ROWS @ model.weight[0]).unbind()
        made.backward({"loss_a": first, "loss_b": second if rank() == 0 else torch.zeros(())})
        made.finish()
        if is_main():
            torch.save(model.weight.grad[0], Path(folder) / name)
