"""modules/retrieval/sharding.py with two real processes: a bank on disk in two parts is searched like a whole one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.manifolds import PoincareBall
from models.retrieval import RetrievalBank
from modules.distributed import processes, rank
from modules.messages import UserError
from modules.retrieval.sharding import search_shards, shard_rows

MANIFOLD = PoincareBall(0.01)


def whole_bank():
    tangent = torch.randn(301, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = MANIFOLD.lift(tangent, torch.float32).float()
    points[200] = points[10]  # a tie across the shards: the lower row must win
    return points, torch.arange(301) // 3


def mapped_bank(folder):
    """The same bank, its points on disk."""
    path = Path(folder) / "bank.npy"
    return torch.from_numpy(np.load(path, mmap_mode="c")), whole_bank()[1]


def one_of_two(folder):
    with processes("cpu"):
        points, groups = mapped_bank(folder)
        mine = shard_rows(len(points))
        shard = RetrievalBank(MANIFOLD, points[mine], groups[mine])
        found = search_shards(shard, mine.start, points[:40], groups[:40], 21)
        with pytest.raises(UserError, match="fewer than 300 studies"):
            search_shards(shard, mine.start, points[:40], groups[:40], 300)
        torch.save({"rows": found[0], "distances": found[1]}, Path(folder) / f"{rank()}.pth")


def test_two_processes_find_what_one_finds(trainings, tmp_path):
    np.save(tmp_path / "bank.npy", whole_bank()[0].numpy())
    trainings.call(one_of_two, processes=2, folder=str(tmp_path))
    points, groups = whole_bank()
    rows, distances = RetrievalBank(MANIFOLD, points, groups).search(points[:40], groups[:40], 21)
    for number in range(2):
        result = torch.load(tmp_path / f"{number}.pth", weights_only=True)
        assert torch.equal(result["rows"], rows)
        assert torch.equal(result["distances"], distances)


def test_shares_cover_every_row_once(monkeypatch):
    monkeypatch.setattr("modules.retrieval.sharding.world_size", lambda: 4)
    rows = []
    for number in range(4):
        monkeypatch.setattr("modules.retrieval.sharding.rank", lambda number=number: number)
        rows += range(*shard_rows(10).indices(10))
    assert rows == list(range(10))
