"""models/optimal_transport.py: published plans, marginals, POT, and gradients of the optimality conditions."""

import math

import pytest
import torch
from torch.nn import functional as F

from models import optimal_transport
from models.optimal_transport import LARGEST, KernelDomain, LogDomain, log_masses, pot_plan, sinkhorn

DOMAINS = {"logarithms": math.inf, "exponentials": 1.0}  # spread that brings a cost of random_cost() there


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


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
def test_marginals_hold(spread):
    plan = sinkhorn(random_cost(4, 75, 49, dtype=torch.float32), epsilon=0.05, spread=spread)
    assert (plan.sum(dim=1) - 1 / 49).abs().max() < 1e-6
    assert (plan.sum(dim=2) - 1 / 75).abs().max() < 1e-4


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
def test_padding_gets_no_mass_and_the_rest_is_as_without_it(spread):
    cost = random_cost(2, 6, 5)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    plan = sinkhorn(cost, 0.05, 100, mask, 0.0, spread)
    assert plan[1, 3:].abs().max() == 0
    torch.testing.assert_close(plan[1, :3], sinkhorn(cost[1:, :3], 0.05, 100, None, 0.0, spread)[0])


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
def test_no_text_gives_no_plan(spread):
    cost = random_cost(1, 3, 5).requires_grad_()
    plan = sinkhorn(cost, 0.05, 10, torch.zeros(1, 3, dtype=torch.bool), spread=spread)
    plan.sum().backward()
    assert plan.abs().max() == 0
    assert cost.grad.abs().max() == 0


@pytest.mark.parametrize(
    "spread",
    [
        pytest.param(spread, id=name, marks=pytest.mark.slow if name == "logarithms" else ())
        for name, spread in DOMAINS.items()
    ],
)
def test_pot_agrees(spread):
    cost = random_cost(3, 7, 9)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [True] * 7])
    ours = sinkhorn(cost, 0.05, 2000, mask, 0.0, spread)
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


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
@pytest.mark.slow
def test_gradient_equals_finite_differences(spread):
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    cost = random_cost(2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: sinkhorn(c, 0.2, 2000, mask, 0.0, spread), (cost,))


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
def test_a_study_does_not_depend_on_the_studies_beside_it(spread):
    easy, hard = random_cost(1, 6, 5) * 0.01, random_cost(1, 6, 5, seed=1) * 2
    together = sinkhorn(torch.cat([easy, hard]), 0.05, spread=2 * spread)
    assert torch.equal(together[0], sinkhorn(easy, 0.05, spread=2 * spread)[0])
    assert torch.equal(together[1], sinkhorn(hard, 0.05, spread=2 * spread)[0])


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
def test_stopping_early_stays_within_the_tolerance(spread):
    cost = random_cost(3, 20, 16)
    early = sinkhorn(cost, 0.05, 1000, tolerance=1e-8, spread=spread)
    torch.testing.assert_close(early, sinkhorn(cost, 0.05, 1000, tolerance=0.0), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("spread", DOMAINS.values(), ids=DOMAINS)
def test_iterations_end_when_the_mean_potential_of_a_real_text_hardly_moves(spread):
    """Looked at every ten iterations; three of twelve texts are padding, which neither moves nor counts."""
    epsilon, cost = 0.03, random_cost(1, 12, 16)
    v, potential, moved = torch.zeros(1, 16, dtype=torch.float64), torch.zeros(1, 9, dtype=torch.float64), [math.inf]
    for _ in range(40):
        u = -math.log(9) - (v.unsqueeze(1) - cost[:, :9] / epsilon).logsumexp(dim=2)
        v = -math.log(16) - (u.unsqueeze(2) - cost[:, :9] / epsilon).logsumexp(dim=1)
        moved.append(epsilon * (u - potential).abs().mean().item())
        potential = u
    end, tolerance = 30, 0.9 * moved[20]
    assert 9 * moved[end] > tolerance > moved[end], "their sum would end it later"
    assert 9 / 12 * moved[end - 10] < tolerance, "the mean over padding too would end it sooner"
    mask = torch.arange(12)[None] < 9
    stopped = sinkhorn(cost, epsilon, 200, mask, tolerance, spread)
    of_as_many, before = (sinkhorn(cost, epsilon, number, mask, 0.0, spread) for number in (end, end - 10))
    torch.testing.assert_close(stopped, of_as_many, rtol=1e-12, atol=0)
    assert (stopped / before - 1)[:, :9].abs().max() > 1e-6


def test_backward_keeps_only_the_plan():
    """Memory of the gradient must not grow with the iterations: no graph is recorded inside the solver."""
    cost = random_cost(2, 6, 5).requires_grad_()
    columns = torch.full((2, 5), 0.2, dtype=torch.float64).log()
    for domain in (LogDomain, KernelDomain):
        plan = optimal_transport.solve(
            cost, log_masses(torch.ones(2, 6, dtype=torch.bool)).double(), columns, 0.05, 50, 0.0, domain
        )
        assert plan.grad_fn is None
    plan = sinkhorn(cost, 0.05, 50)  # what is saved is this tensor: torch 2.11 lets go of it with its last name
    (saved,) = plan.grad_fn.next_functions[0][0].saved_tensors
    assert saved.shape == cost.shape


def test_exponentials_are_as_exact_as_logarithms_up_to_the_largest_spread():
    """Costs of 0 and 2 alone, the farthest apart that 1 - cosine can be, at the smallest epsilon for exponentials."""
    generator = torch.Generator().manual_seed(0)
    epsilon = 2 / LARGEST[torch.float32]
    cost = torch.cat([2.0 * (torch.rand(4, 30, 20, generator=generator) < share) for share in (0.05, 0.5, 0.95)])
    cost = torch.cat([cost, 2 * torch.rand(4, 30, 20, generator=generator)])
    exact = sinkhorn(cost.double(), epsilon, 200, tolerance=0.0)
    errors = {
        name: (sinkhorn(cost, epsilon, 200, tolerance=0.0, spread=spread) - exact).abs().max() / exact.max()
        for name, spread in (("logarithms", math.inf), ("exponentials", 2.0))
    }
    assert errors["exponentials"] < errors["logarithms"] < 1e-5


@pytest.mark.parametrize(("dtype", "spread", "domain"), [
    (torch.float32, 2.0, KernelDomain), (torch.float32, 3.1, LogDomain), (torch.float64, 3.1, KernelDomain),
    (torch.float32, math.inf, LogDomain),
])  # fmt: skip
def test_logarithms_are_taken_where_exponentials_would_not_do(dtype, spread, domain):
    seen = []
    solvers = (lambda *args: seen.append(args[-1]) or args[0]), optimal_transport.solve_system
    sinkhorn(random_cost(1, 3, 4, dtype=dtype), 0.05, spread=spread, solvers=solvers)
    assert seen == [domain]


@pytest.mark.parametrize(
    ("alike", "epsilon"),
    [(False, 0.005), (True, 0.005), (True, 0.001), pytest.param(False, 0.001, marks=pytest.mark.slow)],
)
def test_a_sharp_plan_holds_its_masses_and_has_a_gradient(epsilon, alike):
    """Random costs, and costs of studies whose texts and patches come in groups that are nearly the same."""
    generator = torch.Generator().manual_seed(0)

    def rows(count, groups):
        some = torch.randn(2, groups if alike else count, 16, generator=generator)
        some = some.repeat(1, count // groups, 1) if alike else some
        return F.normalize(some + 0.05 * torch.randn(some.shape, generator=generator), dim=-1)

    cost = (1 - rows(20, 5) @ rows(49, 7).transpose(1, 2)).requires_grad_()
    weight = torch.randn(cost.shape, generator=generator)
    plan = sinkhorn(cost, epsilon, spread=2)
    assert (plan.sum(dim=2) * 20 - 1).abs().max() < 2e-3
    assert (plan.sum(dim=1) * 49 - 1).abs().max() < 1e-4
    (plan * weight).sum().backward()
    direction = torch.randn(cost.shape, generator=generator, dtype=torch.float64)
    ends = [(exact_plan(cost, direction, sign * 1e-3 * epsilon, epsilon) * weight).sum() for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2e-3 * epsilon)
    whole = (cost.grad.double().norm() * direction.norm() / cost.numel() ** 0.5).item()
    assert (cost.grad * direction).sum().item() == pytest.approx(slope.item(), abs=0.02 * whole)


def exact_plan(cost, direction, length, epsilon):
    """The plan of a moved cost, iterated far beyond what is asked of ours."""
    moved = cost.detach().double() + length * direction
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            optimal_transport, "ROW_TOLERANCE", 1e-7
        )  # 1e-10 gives the same slope to a ten-thousandth of what is allowed
        patch.setattr(optimal_transport, "WARNED_ERROR", 1)
        return sinkhorn(moved, epsilon, 1000)


def test_a_sharp_plan_that_does_not_settle_says_so_once(monkeypatch):
    monkeypatch.setattr(optimal_transport, "SHARP_FACTOR", 0)
    monkeypatch.setattr(optimal_transport, "_warned", set())
    cost = torch.rand(2, 20, 49, generator=torch.Generator().manual_seed(0)) * 2
    with pytest.warns(RuntimeWarning, match=r"at --ot_epsilon 0.0001 rows of the transport plan are off by up to"):
        sinkhorn(cost, 1e-4)
    sinkhorn(cost, 1e-4)  # a second warning would be an error here
