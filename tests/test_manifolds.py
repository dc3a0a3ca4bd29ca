"""models/manifolds.py: identities of the spaces, geoopt's distances, finite gradients from 1e-15 to the boundary."""

import warnings
from functools import partial

import pytest
import torch

from models.manifolds import MANIFOLDS, Euclidean, Lorentz, PoincareBall

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import geoopt


def points(manifold, count=40, width=8, largest=8.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    tangent = torch.nn.functional.normalize(torch.randn(count, width, generator=generator, dtype=dtype), dim=-1)
    return manifold.lift(tangent * largest * torch.rand(count, 1, generator=generator, dtype=dtype), dtype)


@pytest.fixture(params=[0.01, 1.0], ids=["c=0.01", "c=1"])
def c(request):
    return request.param


@pytest.fixture(params=list(MANIFOLDS))
def manifold(request, c):
    return MANIFOLDS[request.param](c)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_distance_is_the_exact_published_formula(case, golden):
    data = golden("poincare_dist")
    x, y = torch.tensor(data[f"x{case}"]), torch.tensor(data[f"y{case}"])
    distance = PoincareBall(float(data[f"c{case}"])).distance(x, y)
    torch.testing.assert_close(distance, torch.tensor(data[f"d{case}_exact"]), rtol=1e-9, atol=1e-9)
    released = torch.tensor(data[f"d{case}_f64"])
    unclamped = released < released.max() * 0.9
    torch.testing.assert_close(distance[unclamped], released[unclamped], rtol=2e-3, atol=1e-5)
    assert distance[:2].diagonal().abs().max() < 1e-5


def test_geoopt_agrees(c):
    ball, hyperboloid = PoincareBall(c), Lorentz(c)
    # geoopt keeps artanh below 1 - 1e-7: its own distances end there
    x, y = (points(ball, largest=2.5 / c**0.5)[i::2] for i in (0, 1))
    expected = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64)).dist(x[:, None], y[None])
    torch.testing.assert_close(ball.distance(x, y), expected, rtol=1e-4, atol=1e-6)
    x, y = (points(hyperboloid, largest=1 / c**0.5)[i::2] for i in (0, 1))
    expected = geoopt.Lorentz(k=torch.tensor(1 / c, dtype=torch.float64)).dist(x[:, None], y[None])
    torch.testing.assert_close(hyperboloid.distance(x, y), expected, rtol=1e-6, atol=1e-6)


def test_lorentz_is_the_same_geometry_as_the_ball(c):
    ball, hyperboloid = PoincareBall(c), Lorentz(c)
    generator = torch.Generator().manual_seed(0)
    tangent = torch.randn(12, 6, generator=generator, dtype=torch.float64) * 0.3 / c**0.5
    weight = torch.randn(6, 6, generator=generator, dtype=torch.float64) * 0.5
    bias = torch.randn(6, generator=generator, dtype=torch.float64) * 0.1 / c**0.5

    def run(space):
        x = space.linear(space.lift(tangent, torch.float64), weight, torch.float64)
        x = space.relu(space.translate(x, bias, torch.float64), torch.float64)
        return space.distance(x, x)

    torch.testing.assert_close(run(hyperboloid), run(ball), rtol=1e-6, atol=1e-6)


def test_distance_is_a_metric(manifold):
    x = points(manifold)
    d = manifold.distance(x, x)
    torch.testing.assert_close(d, d.T, rtol=1e-9, atol=1e-9)
    assert d.diagonal().max() < 1e-6
    assert d[~torch.eye(len(d), dtype=torch.bool)].min() > 0
    assert (d[:, None, :] <= d[:, :, None] + d[None] + 1e-6).all()  # d(i, k) <= d(i, j) + d(j, k)


def test_the_distance_grows_with_the_gap(manifold):
    x, y = points(manifold)[:15], points(manifold)[15:]
    difference = x[:, None].double() - y.double()
    gap = (difference * manifold.flip(difference)).sum(dim=2) / manifold.shrink(y)
    torch.testing.assert_close(manifold.distance_of_gap(gap.T.clamp_min(0), x).T, manifold.distance(x, y))


@pytest.mark.parametrize(("dtype", "longest"), [(torch.float32, 0.996), (torch.float64, 0.99999)])
def test_points_stay_as_far_off_the_boundary_as_published(c, dtype, longest):
    far = PoincareBall(c).lift(torch.full((1, 8), 1e4, dtype=dtype), dtype)
    assert far.norm() * c**0.5 == pytest.approx(longest, rel=1e-6)


@pytest.mark.parametrize("name", list(MANIFOLDS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-8, 0.3, 2.0, 50.0])
def test_lifted_and_translated_points_are_lifted_then_translated(name, dtype, scale, c):
    """The closed form of the ball against geoopt's functions, with gradients, from the origin to the margin."""
    space = MANIFOLDS[name](c, name != "euclidean")
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    u, bias, direction = draw(30, 8) * scale / c**0.5, draw(8) * 0.4 / c**0.5, draw(30, 8 + (name == "lorentz"))
    given = [u.requires_grad_(), bias.requires_grad_(), *space.parameters()]
    found, wanted = space.lift_and_translate(u, bias, dtype), space.translate(space.lift(u, dtype), bias, dtype)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad((y * direction).sum(), given) for y in (found, wanted)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["poincare", "lorentz"])
def test_gradients_are_finite_at_every_scale(name, dtype, c):
    space = MANIFOLDS[name](c)
    scales = 10.0 ** torch.arange(-15, 5, dtype=dtype)
    tangent = (scales[:, None] * torch.ones(1, 8, dtype=dtype)).requires_grad_()
    x = space.relu(space.translate(space.lift(tangent.double(), dtype), torch.full((8,), 0.1).double(), dtype), dtype)
    space.distance(x, x.detach().flip(0)).sum().backward()
    assert torch.isfinite(tangent.grad).all()
    for bias in (torch.zeros(8), torch.full((8,), 10.0)):
        moved = space.lift_and_translate(tangent.double(), bias.double().requires_grad_(), dtype)
        assert torch.isfinite(torch.autograd.grad(moved.sum(), tangent)[0]).all()


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-9, 1e-3])
def test_distance_gradient_is_finite_between_close_points(manifold, gap):
    x = points(manifold).requires_grad_()
    manifold.distance(x, x.detach() + gap).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_learned_curvature_gets_a_gradient_and_stays_in_range():
    ball = PoincareBall(0.01, learned=True)
    x = points(PoincareBall(0.01))
    ball.distance(x[:5], x[5:]).sum().backward()
    assert ball.log_c.grad.abs() > 0
    ball.log_c.data.fill_(10.0)
    assert ball.curvature().item() == pytest.approx(0.1)
    ball.log_c.grad = None
    ball.distance(x[:5], x[5:]).sum().backward()
    assert ball.log_c.grad.abs() > 0, "and may come back"


def test_euclidean_distance_is_the_norm():
    x, y = torch.randn(4, 3), torch.randn(5, 3)
    torch.testing.assert_close(
        Euclidean(1.0).distance(x, y), (x[:, None] - y).norm(dim=-1).double(), rtol=1e-5, atol=1e-6
    )
