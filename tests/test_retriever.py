"""modules/retrieval/retriever.py: whom a random and an exact search find."""

import numpy as np
import pytest
import torch

from models.manifolds import PoincareBall
from models.retrieval import RetrievalBank
from modules.corpus.annotations import Study
from modules.messages import UserError
from modules.retrieval.retriever import BLOCK, embed, random_rows, search

STUDIES = [Study(id=f"study {i}", image_path=("x.png",), report="clear .", split="train") for i in range(40)]


def test_a_random_report_is_of_another_group_and_every_row_is_found():
    groups = np.repeat(np.arange(20), 2)  # two rows a patient
    rows = random_rows(groups, groups, STUDIES, seed=1, k=3)
    assert (groups[rows] != groups[:, None]).all()
    assert all(len(set(row)) == 3 for row in rows.tolist())
    np.testing.assert_array_equal(rows, random_rows(groups, groups, STUDIES, seed=1, k=3))
    assert (rows != random_rows(groups, groups, STUDIES, seed=2, k=3)).any()
    assert len(set(rows.ravel().tolist())) > 25
    with pytest.raises(UserError, match="may be retrieved for some query"):
        random_rows(groups[:4], groups[:4], STUDIES[:4], seed=1, k=3)


def test_a_search_gives_the_nearest_row_of_another_group_and_its_distance():
    generator = torch.Generator().manual_seed(0)
    manifold, points = PoincareBall(1.0), 0.5 * torch.randn(40, 5, generator=generator).tanh()
    groups = torch.arange(40) // 2
    rows, distances = search(RetrievalBank(manifold, points, groups), points[:17], groups[:17].numpy())
    every = manifold.distance(points[:17], points)  # (17, 40)
    every = every.masked_fill(groups[:17, None] == groups, torch.inf)
    np.testing.assert_array_equal(rows[:, 0], every.argmin(dim=1))
    np.testing.assert_allclose(distances[:, 0], every.amin(dim=1), rtol=1e-6)


def test_points_of_a_bank_are_those_of_a_test_whatever_the_network_did_before():
    """A network with dropout would put the bank elsewhere in every evaluation."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5)).train()
    inputs = np.random.default_rng(0).normal(size=(BLOCK + 1, 3)).astype(np.float32)
    with torch.no_grad():
        expected = network[0](torch.from_numpy(inputs))
    torch.testing.assert_close(embed(network, inputs, torch.device("cpu")), expected)
