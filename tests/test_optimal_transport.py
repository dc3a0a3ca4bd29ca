"""models/optimal_transport.py: published plans, marginals, POT, and gradients of the optimality conditions."""

import pytest
import torch

from models.optimal_transport import log_masses, pot_plan, sinkhorn, solve_log_domain


def random_cost(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize(("suffix", "rtol"), [("f64", 1e-6), ("f32", 1e-4)])
def test_plans_are_the_published_ones(case, suffix, rtol, golden):
    data = golden("sinkhorn")
    expected = torch.tensor(data[f"plan{case}_{suffix}"])
    cost = torch.tensor(data[f"cost{case}"], dtype=expected.dtype)
    plan = sinkhorn(cost, float(data["eps"]), int(data[f"iters{case}_{suffix}"]), tolerance=0.0)
    torch.testing.assert_close(plan, expected, rtol=rtol, atol=rtol * 1e-3)


def test_marginals_hold():
    plan = sinkhorn(random_cost(4, 75, 49, dtype=torch.float32), epsilon=0.05)
    assert (plan.sum(dim=1) - 1 / 49).abs().max() < 1e-6
    assert (plan.sum(dim=2) - 1 / 75).abs().max() < 1e-4


def test_padding_gets_no_mass_and_the_rest_is_as_without_it():
    cost = random_cost(2, 6, 5)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    plan = sinkhorn(cost, 0.05, 100, mask, tolerance=0.0)
    assert plan[1, 3:].abs().max() == 0
    torch.testing.assert_close(plan[1, :3], sinkhorn(cost[1:, :3], 0.05, 100, tolerance=0.0)[0])


def test_no_text_gives_no_plan():
    cost = random_cost(1, 3, 5).requires_grad_()
    plan = sinkhorn(cost, 0.05, 10, torch.zeros(1, 3, dtype=torch.bool))
    plan.sum().backward()
    assert plan.abs().max() == 0
    assert cost.grad.abs().max() == 0


def test_pot_agrees():
    cost = random_cost(3, 7, 9)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [True] * 7])
    ours = sinkhorn(cost, 0.05, 2000, mask, tolerance=0.0)
    torch.testing.assert_close(ours, pot_plan(cost, 0.05, 2000, mask), rtol=1e-5, atol=1e-8)


def test_gradient_is_that_of_pots_unrolled_iterations():
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(2, 7, 9, generator=generator, dtype=torch.float64)
    gradients = []
    for solve in (lambda c: sinkhorn(c, 0.1, 3000, tolerance=0.0), lambda c: pot_plan(c, 0.1, 3000)):
        cost = random_cost(2, 7, 9).requires_grad_()
        (solve(cost) * weights).sum().backward()
        gradients.append(cost.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-8)


def test_gradient_equals_finite_differences():
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    cost = random_cost(2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: sinkhorn(c, 0.2, 2000, mask, 0.0), (cost,))


def test_a_study_does_not_depend_on_the_studies_beside_it():
    easy, hard = random_cost(1, 6, 5) * 0.01, random_cost(1, 6, 5, seed=1) * 2
    together = sinkhorn(torch.cat([easy, hard]), 0.05)
    assert torch.equal(together[0], sinkhorn(easy, 0.05)[0])
    assert torch.equal(together[1], sinkhorn(hard, 0.05)[0])


def test_stopping_early_stays_within_the_tolerance():
    cost = random_cost(3, 20, 16)
    early = sinkhorn(cost, 0.05, 1000, tolerance=1e-8)
    torch.testing.assert_close(early, sinkhorn(cost, 0.05, 1000, tolerance=0.0), rtol=1e-4, atol=1e-9)


def test_backward_keeps_only_the_plan():
    """Memory of the gradient must not grow with the iterations: no graph is recorded inside the solver."""
    cost = random_cost(2, 6, 5).requires_grad_()
    columns = torch.full((2, 5), 0.2, dtype=torch.float64).log()
    plan = solve_log_domain(cost, log_masses(torch.ones(2, 6, dtype=torch.bool)).double(), columns, 0.05, 50, 0.0)
    assert plan.grad_fn is None
    (saved,) = sinkhorn(cost, 0.05, 50).grad_fn.next_functions[0][0].saved_tensors
    assert saved.shape == cost.shape
