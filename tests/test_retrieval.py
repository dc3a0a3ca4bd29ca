"""models/retrieval.py: the search equals brute force in float64 wherever the points lie, and respects groups."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import retrieval
from models.manifolds import MANIFOLDS, PoincareBall
from models.retrieval import RetrievalBank


def cloud(kind, manifold, count, width=16):
    generator = torch.Generator().manual_seed(0)
    tangent = torch.randn(count, width, generator=generator, dtype=torch.float64)
    if kind == "clustered":
        tangent = tangent[torch.arange(count) % 10] + 1e-3 * tangent
    if kind == "near-duplicate":
        tangent = tangent[torch.arange(count) % 30] + 1e-6 * tangent
    if kind == "near-boundary":
        tangent = 12 * torch.nn.functional.normalize(tangent, dim=-1) + 0.1 * tangent
    return manifold.lift(tangent, torch.float32).float()


@pytest.mark.parametrize("name", list(MANIFOLDS))
@pytest.mark.parametrize("kind", ["spread", "clustered", "near-duplicate", "near-boundary"])
@pytest.mark.parametrize("k", [1, 21])
def test_search_equals_brute_force(name, kind, k):
    manifold = MANIFOLDS[name](0.01)
    points = cloud(kind, manifold, 1000)
    queries, rows = points[:20], points[20:]
    bank = RetrievalBank(manifold, rows, torch.arange(len(rows)), block=128)
    found, distances = bank.search(queries, torch.full((20,), -1), k)
    expected = manifold.distance(queries, rows).sort(dim=1, stable=True)
    assert torch.equal(found, expected.indices[:, :k])
    torch.testing.assert_close(distances, expected.values[:, :k], rtol=1e-12, atol=1e-12)


def test_result_does_not_depend_on_the_block():
    manifold = PoincareBall(0.01)
    points = cloud("spread", manifold, 300)
    groups = torch.arange(300)
    results = [
        RetrievalBank(manifold, points, groups, block).search(points[:9], groups[:9], 5)[0] for block in (7, 4096)
    ]
    assert torch.equal(*results)


def test_a_study_never_finds_itself_nor_its_group():
    manifold = PoincareBall(0.01)
    points = cloud("spread", manifold, 60)
    own = torch.arange(60)
    found, _ = RetrievalBank(manifold, points, own).search(points, own, 10)
    assert not (found == own[:, None]).any()
    patients = own // 3
    found, _ = RetrievalBank(manifold, points, patients).search(points, patients, 57)
    assert not (patients[found] == patients[:, None]).any()


def test_ties_go_to_the_lowest_row():
    manifold = PoincareBall(0.01)
    point = cloud("spread", manifold, 1)
    bank = RetrievalBank(manifold, point.repeat(9, 1), torch.arange(9), block=4)
    assert bank.search(point, torch.tensor([-1]), 3)[0].tolist() == [[0, 1, 2]]
    assert bank.search(point, torch.tensor([0]), 3)[0].tolist() == [[1, 2, 3]]


def test_too_few_rows_are_refused():
    manifold = PoincareBall(0.01)
    points = cloud("spread", manifold, 4)
    bank = RetrievalBank(manifold, points, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="only 0 of them may be retrieved"):
        bank.search(points, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("name", list(MANIFOLDS))
@pytest.mark.parametrize("kind", ["spread", "clustered", "near-duplicate", "near-boundary", "equal"])
def test_a_shortlist_that_is_too_short_is_noticed(name, kind, monkeypatch):
    monkeypatch.setattr(retrieval, "SPARE", 4)
    manifold = MANIFOLDS[name](0.01)
    points = cloud("spread" if kind == "equal" else kind, manifold, 1060)
    points = points[torch.arange(1060) % 40] if kind == "equal" else points
    queries, rows, groups = points[:20], points[20:], torch.arange(1040) // 2
    bank = RetrievalBank(manifold, rows, groups, block=512)
    found, distances = bank.search(queries, torch.arange(20) - 1, 21)
    plain = manifold.distance(queries, rows).masked_fill(groups == torch.arange(20)[:, None] - 1, torch.inf)
    expected = plain.sort(dim=1, stable=True)
    assert torch.equal(found, expected.indices[:, :21])
    torch.testing.assert_close(distances, expected.values[:, :21], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "tiers"), [("spread", 1), ("near-duplicate", 2), ("equal", 3)])
def test_only_undecided_queries_are_searched_again(kind, tiers, monkeypatch):
    calls = []
    shortlist, compare = RetrievalBank._shortlist, RetrievalBank._compare_all
    monkeypatch.setattr(RetrievalBank, "_shortlist", lambda self, *a: calls.append(a[-1]) or shortlist(self, *a))
    monkeypatch.setattr(RetrievalBank, "_compare_all", lambda self, *a: calls.append("all") or compare(self, *a))
    manifold = PoincareBall(0.01)
    points = cloud("spread" if kind == "equal" else kind, manifold, 6000)
    points = points[:1].repeat(6000, 1) if kind == "equal" else points
    RetrievalBank(manifold, points[1:], torch.arange(5999)).search(points[:1], torch.tensor([-1]))
    assert calls == [torch.float32, torch.float64, "all"][:tiers]


def test_lower_matmul_precision_goes_straight_to_float64(monkeypatch):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    monkeypatch.setattr(RetrievalBank, "_slack", lambda self, dtype: {torch.float64: 1e-12}[dtype])
    manifold = PoincareBall(0.01)
    points = cloud("spread", manifold, 300)
    found, _ = RetrievalBank(manifold, points, torch.arange(300)).search(points, torch.full((300,), -1))
    assert found[:, 0].tolist() == list(range(300))


def test_a_bank_on_disk_is_searched_like_one_in_memory(tmp_path):
    manifold = PoincareBall(0.01)
    points = cloud("spread", manifold, 900)
    np.save(tmp_path / "bank.npy", points[20:].numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "bank.npy", mmap_mode="c"))
    nobody = torch.full((20,), -1)
    banks = [RetrievalBank(manifold, rows, torch.arange(880), block=64) for rows in (points[20:], mapped)]
    (rows, distances), (found, again) = (bank.search(points[:20], nobody, 21) for bank in banks)
    assert torch.equal(rows, found)
    assert torch.equal(distances, again)


def test_missing_neighbours_are_filled_up_if_asked():
    manifold = PoincareBall(0.01)
    points = cloud("spread", manifold, 4)
    bank = RetrievalBank(manifold, points, torch.tensor([0, 0, 1, 1]))
    rows, distances = bank.search(points[:1], torch.tensor([1]), 3, partial=True)
    assert rows.tolist() == [[0, 1, -1]]
    assert distances[0, 2] == torch.inf
    empty = RetrievalBank(manifold, points[:0], torch.zeros(0, dtype=torch.long))
    assert empty.search(points, torch.full((4,), -1), 1, partial=True)[0].tolist() == [[-1]] * 4


@pytest.mark.parametrize("columns", [4096, 4000, 33])
def test_largest_scores_are_those_of_a_whole_sort(columns):
    scores = torch.randn(7, columns, generator=torch.Generator().manual_seed(0))
    top, index = retrieval._largest(scores.clone(), 30)
    assert torch.equal(top.sort(descending=True).values, scores.sort(descending=True).values[:, :30])
    assert torch.equal(scores.gather(1, index), top)


MEMORY = """
import torch
from benchmarks.timing import reset_peak, status_megabytes
from models.manifolds import PoincareBall
from models.retrieval import RetrievalBank
torch.set_num_threads(1)
points = torch.rand(65536, 256) * 0.1
torch.rand(2**22, dtype=torch.float64)  # freed: from now on blocks of its size are taken from the heap
before = status_megabytes("VmRSS")
reset_peak()
RetrievalBank(PoincareBall(0.01), points, torch.arange(65536)).search(points[:2048], torch.arange(2048), 21)
print(status_megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_rows_or_queries():
    """Results kept one by one between large temporaries once pinned 12 kB per row and 5 MB per 16 queries."""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, cwd=root)
    assert float(done.stdout) < 320
