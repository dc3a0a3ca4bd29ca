"""models/retrieval.py: the search equals brute force in float64 wherever the points lie, and respects groups."""

import pytest
import torch

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
