"""models/ot_attention.py: the released layer by its switch, and a plan that follows image and text by default."""

import pytest
import torch

from models.optimal_transport import LogDomain, sinkhorn
from models.ot_attention import TransportAttention, TransportFusion


def attention(width=12, **changes):
    torch.manual_seed(0)
    settings = {"attention": "ot", "plan": "joint", "solver": "sinkhorn", "epsilon": 0.05, "iterations": 100}
    return TransportAttention(width=width, **{**settings, **changes})


def released_layer(data):
    parameters = {k.removeprefix("param/"): torch.tensor(data[k]) for k in data.files if k.startswith("param/")}
    layer = TransportFusion(32, 0.1, attention(32, plan="single", epsilon=float(data["eps"])))
    layer.load_state_dict({k.replace("multihead_attn.", "attention."): v for k, v in parameters.items()})
    return layer.eval()


def test_dropout_acts_on_what_is_added_to_the_patches():
    """On the message, and on what the two linear layers make of it; with all dropped, the patches are only normalised."""
    layer, patches = TransportFusion(32, 0.1, attention(32)), torch.randn(2, 5, 32)
    layer.dropout = torch.nn.Dropout(1.0)
    added = layer.add(patches, torch.randn(2, 5, 32))
    torch.testing.assert_close(added, layer.norm3(layer.norm2(patches)))
    assert not torch.equal(layer.eval().add(patches, torch.randn(2, 5, 32)), added)


@pytest.mark.parametrize(
    ("dtype", "suffix", "tolerance"), [(torch.float64, "f64", 1e-6), (torch.float32, "f32", 1e-4)], ids=["f64", "f32"]
)
def test_single_plan_is_the_released_layer(dtype, suffix, tolerance, golden):
    data = golden("ot_attention_layer")
    layer = released_layer(data).to(dtype)
    image = torch.tensor(data["nq1_img"], dtype=dtype)[0].transpose(0, 1).requires_grad_()  # (B, M, A)
    text = torch.tensor(data["nq1_txt"], dtype=dtype, requires_grad=True)  # (B, K, A)
    mask = torch.ones(text.shape[:2], dtype=torch.bool)
    message, score = layer.attention(image, text, mask)
    fused, _ = layer(image, text, mask)
    as_released = fused.transpose(0, 1)[None]  # (1, M, B, A)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(message.transpose(0, 1)[None], torch.tensor(data[f"nq1_attn_out_{suffix}"]), **close)
    torch.testing.assert_close(score.unsqueeze(3), torch.tensor(data[f"nq1_score_{suffix}"]), **close)
    torch.testing.assert_close(as_released, torch.tensor(data[f"nq1_layer_out_{suffix}"]), **close)
    weights = torch.arange(as_released.numel(), dtype=dtype).cos().view(as_released.shape)
    (as_released * weights).sum().backward()
    expected = torch.tensor(data[f"nq1_grad_img_{suffix}"])[0].transpose(0, 1)
    torch.testing.assert_close(image.grad, expected, rtol=10 * tolerance, atol=tolerance)
    torch.testing.assert_close(
        text.grad, torch.tensor(data[f"nq1_grad_txt_{suffix}"]), rtol=10 * tolerance, atol=tolerance
    )


def test_our_pieces_compose_to_the_released_layer_with_four_query_groups(golden):
    """Four groups are no setting of ours; they show that cosine, plan and projections are the released ones.

    The release stops all plans at once, when their mean change is small; we look for the iteration at which it did.
    """
    data = golden("ot_attention_layer")
    block = released_layer(data).double().attention
    image = torch.tensor(data["nq4_img"]).double()  # (G, M, B, A)
    text = torch.tensor(data["nq4_txt"]).double()  # (B, K, A)
    cosine = torch.stack(
        [block.cosine(block.q(group.transpose(0, 1)), block.k(text))[0] for group in image], dim=3
    )  # (B, K, M, G)
    B, K, M, G = cosine.shape
    expected = torch.tensor(data["nq4_score_f64"])

    def solve(iterations):
        return sinkhorn(1 - cosine.flatten(0, 1), float(data["eps"]), iterations, tolerance=0.0).view(B, K, M, G)

    plan = min(map(solve, range(1, 101)), key=lambda plan: (M * G * cosine * plan - expected).abs().max())
    message = block.proj(torch.einsum("bkmg,bka->gmba", plan, block.v(text)))
    torch.testing.assert_close(M * G * cosine * plan, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(message, torch.tensor(data["nq4_attn_out_f64"]), rtol=1e-6, atol=1e-6)


def inputs(batch=2, texts=5, patches=9, width=12):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, patches, width, generator=generator)
    text = torch.randn(batch, texts, width, generator=generator)
    return image, text, torch.ones(batch, texts, dtype=torch.bool)


def test_released_plan_ignores_the_image_and_ours_does_not():
    image, text, mask = inputs()
    for plan, follows in (("single", False), ("joint", True)):
        block = attention(plan=plan)
        change = (block(image, text, mask)[0] - block(-image, text, mask)[0]).abs().max()
        assert (change > 1e-3) == follows, plan


def test_only_the_joint_plan_sends_a_gradient_to_queries_and_keys():
    image, text, mask = inputs()
    for plan, reached in (("single", False), ("joint", True)):
        block = attention(plan=plan)
        block(image, text, mask)[0].square().sum().backward()
        assert (block.q.weight.grad is not None and block.q.weight.grad.abs().max() > 1e-6) == reached
        assert (block.k.weight.grad is not None and block.k.weight.grad.abs().max() > 1e-6) == reached


def test_permuted_texts_permute_the_map_and_leave_the_message():
    image, text, mask = inputs()
    block, order = attention(), torch.tensor([3, 0, 4, 1, 2])
    (message, score), (other, permuted) = block(image, text, mask), block(image, text[:, order], mask)
    torch.testing.assert_close(permuted, score[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other, message, rtol=1e-4, atol=1e-5)


def test_every_patch_receives_a_convex_combination_of_texts():
    image, text, mask = inputs()
    block = attention()
    plan = block.weights(block.cosine(block.q(image), block.k(text))[0], mask)
    torch.testing.assert_close(9 * plan.sum(dim=1), torch.ones(2, 9))
    assert plan.min() >= 0
    message, _ = block(image, text, mask)
    torch.testing.assert_close(message, block.proj(9 * plan.transpose(1, 2) @ block.v(text)))


@pytest.mark.parametrize("kind", ["ot", "softmax", "none"])
def test_padding_has_no_effect(kind):
    image, text, mask = inputs()
    mask[1, 3:] = False
    block = attention(attention=kind)
    message, score = block(image, text, mask)
    changed, _ = block(image, torch.where(mask.unsqueeze(2), text, 5.0), mask)
    torch.testing.assert_close(changed, message)
    assert score[1, 3:].abs().max() == 0


@pytest.mark.parametrize("changes", [{"ot_epsilon": 0.2}, {"ot_iterations": 2}], ids=str)
def test_a_plan_has_the_epsilon_and_the_iterations_that_were_asked_for(changes, tiny_model):
    cosine, mask = 2 * torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(2)) - 1, inputs()[2]
    wanted = {"ot_epsilon": 0.05, "ot_iterations": 100, **changes}
    plain, plan = (tiny_model(**how).fusion.attention.weights(cosine, mask) for how in ({}, changes))
    torch.testing.assert_close(plan, sinkhorn(1 - cosine, *wanted.values(), mask))
    assert (plan - plain).abs().max() > 1e-3


def test_softmax_normalises_over_texts_alone():
    """With epsilon as its temperature."""
    image, text, mask = inputs()
    block = attention(attention="softmax")
    cosine = block.cosine(block.q(image), block.k(text))[0]
    plan = block.weights(cosine, mask)
    torch.testing.assert_close(plan, (cosine / 0.05).softmax(dim=1) / 9)
    torch.testing.assert_close(9 * plan.sum(dim=1), torch.ones(2, 9))
    assert (plan.sum(dim=2) - 1 / 5).abs().max() > 1e-3


def test_no_attention_sends_nothing_but_still_draws_maps():
    image, text, mask = inputs()
    message, score = attention(attention="none")(image, text, mask)
    assert message.abs().max() == 0
    assert score.std() > 0


def test_pot_gives_the_same_attention():
    image, text, mask = inputs()
    mask[0, 4] = False
    (a, map_a), (b, map_b) = (attention(solver=s, iterations=500)(image, text, mask) for s in ("sinkhorn", "pot"))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(map_a, map_b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("epsilon", "logarithms"), [(0.05, False), (0.01, True)])
def test_the_default_plan_needs_no_logarithms(epsilon, logarithms, monkeypatch):
    used = []
    iterate = LogDomain.iterate
    monkeypatch.setattr(LogDomain, "iterate", lambda *state: used.append(True) or iterate(*state))
    attention(epsilon=epsilon)(*inputs())
    assert bool(used) == logarithms


def test_autocast_keeps_the_plan_in_float32():
    image, text, mask = inputs()
    block = attention()
    with torch.autocast("cpu", torch.bfloat16):
        _, score = block(image.bfloat16(), text.bfloat16(), mask)
    assert score.dtype == torch.float32
