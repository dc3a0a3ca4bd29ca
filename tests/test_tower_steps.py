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
    dataset = small_set(bank, dict(reversed(reports.items())))  # studies stand in another order than the bank's rows
    model = tiny_model(enhancer="towers", report_feature_dim=WIDTH)
    inputs = torch.from_numpy(rng.normal(size=(N, len(model.retrieval_enhancer.query.mean)))).float()
    inputs[:, 0] = 3.0  # an input that never varies
    inputs[:, 1] = torch.arange(N).flip(0)  # the row of the own report
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
        run.loss = fit_towers(model, dataset, queries, wanted, (0, 0), steps)
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


def test_both_towers_see_what_is_standardised_over_the_bank(fit):
    model, bank, run = fit
    run(1)
    said = what_reports_say(model, bank, slice(None))
    torch.testing.assert_close(model.key.mean, said.mean(dim=0))
    assert said.mean(dim=0).abs().max() > 0.1
    assert model.query.mean[1].item() == pytest.approx((N - 1) / 2)


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


def test_weights_that_no_image_asks_for_decay_by_a_tenth_of_every_rate(fit):
    """An input that never varies is standardised to 0, so that no gradient reaches the weights that read it."""
    model, _, run = fit
    before = model.query.hidden.weight[:, 0].clone()
    run(5)
    rates = towers.LR * (1 + np.cos(np.pi * np.arange(5) / 5)) / 2
    after = model.query.hidden.weight[:, 0]
    torch.testing.assert_close(after / before, torch.full_like(after, np.prod(1 - 0.1 * rates)), rtol=1e-6, atol=0)


def test_the_loss_of_a_fit_is_the_mean_of_its_last_tenth(fit, monkeypatch):
    _, _, run = fit
    losses, step = [], towers.towers_step
    monkeypatch.setattr(towers, "towers_step", lambda *given: losses.append(step(*given)) or losses[-1])
    run(20)
    assert len(losses) == 20
    assert run.loss == pytest.approx((losses[18] + losses[19]) / 2)


def test_no_image_is_to_find_its_own_report_whatever_the_order_of_the_studies(fit, monkeypatch):
    _, _, run = fit
    given, step = [], towers.towers_step
    monkeypatch.setattr(towers, "towers_step", lambda *now: given.append((now[2], now[4])) or step(*now))
    run(3)
    for seen, worth in given:
        assert worth.isneginf().nonzero().tolist() == [[place, int(row)] for place, row in enumerate(seen[:, 1])]


def test_a_fit_goes_through_a_large_set_once(fit, monkeypatch):
    monkeypatch.setattr(towers, "ANCHORS", 10)
    ranked, _ = fit[2](2)
    assert len(ranked) == N / 10
