"""modules/training/towers.py: what a step of the fit sees, on a bank of a hundred made-up reports."""

import numpy as np
import pytest
import torch
from small_set import WIDTH, small_bank, small_set

from modules.retrieval.retriever import Queries, what_reports_say
from modules.training import towers
from modules.training.towers import Wanted, fit_towers

N = 100


@pytest.fixture
def fit(tmp_path, tiny_model, monkeypatch):
    """Towers, their bank, and what fits them for some steps and tells each step's candidates and what those say."""
    rng = np.random.default_rng(0)
    reports = {f"b{i}": " ".join(rng.choice(list("abcdefgh"), 5)) for i in range(N)}
    bank = small_bank(tmp_path, reports, rng.integers(0, 4, (N, 18)))
    dataset, model = small_set(bank, reports), tiny_model(enhancer="towers", report_feature_dim=WIDTH)
    inputs = torch.from_numpy(rng.normal(size=(N, len(model.retrieval_enhancer.query.mean)))).float()
    queries = Queries(dataset.studies, np.zeros((N, 75), np.float32), tower_inputs=inputs)
    wanted, step = Wanted(bank.reports, bank.labels), towers.towers_step
    ranked, said = [], []

    def of_others(rows, candidates):
        ranked.append(candidates)
        return Wanted.of_others(wanted, rows, candidates)

    def stepped(*given):
        said.append(given[3])
        return step(*given)

    monkeypatch.setattr(wanted, "of_others", of_others)
    monkeypatch.setattr(towers, "towers_step", stepped)

    def run(steps):
        fit_towers(model, dataset, queries, wanted, (0, 0), steps)
        return ranked, said

    return model.retrieval_enhancer, bank, run


def test_a_step_ranks_the_whole_bank_or_a_draw_of_all_its_rows(fit, monkeypatch):
    model, bank, run = fit
    ranked, said = run(2)
    assert [candidates.tolist() for candidates in ranked] == [list(range(N))] * 2
    monkeypatch.setattr(towers, "CANDIDATES", 40)
    run(20)
    drawn = ranked[2:]
    assert {len(set(candidates.tolist())) for candidates in drawn} == {40}
    assert len({tuple(sorted(candidates)) for candidates in drawn}) == 20  # anew in each
    assert set(np.concatenate(drawn)) == set(range(N))
    for candidates, words in zip(ranked, said, strict=True):
        assert torch.equal(words, what_reports_say(model, bank, candidates))


def test_a_fit_hides_three_tenths_of_what_is_seen_of_an_image_and_nothing_of_a_report(fit):
    model, _, run = fit
    hidden = {"query": [], "key": []}

    def count(shares):
        return lambda _, given: shares.append((given[0] == 0).float().mean().item())

    for name, shares in hidden.items():
        getattr(model, name).hidden.register_forward_pre_hook(count(shares))
    run(5)
    assert hidden["query"] == pytest.approx([0.3] * 5, abs=0.02)
    assert max(hidden["key"]) < 0.01
