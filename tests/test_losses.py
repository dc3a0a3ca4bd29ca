"""modules/training/losses.py: published values, and gradients exactly where the docstrings say."""

import numpy as np
import pytest
import torch
from tiny import report_loss
from torch.nn import functional as F

from models.manifolds import PoincareBall
from models.ot_attention import TransportAttention
from modules.training import losses


@pytest.mark.parametrize("case", [0, 1])
def test_ranking_loss_equals_the_published_one_up_to_its_inexact_distance(case, golden):
    data = golden("ranking_loss")
    points = torch.tensor(data[f"points{case}"], requires_grad=True)
    labels = torch.tensor(data[f"labels{case}"])
    loss = losses.ranking_loss(PoincareBall(float(data[f"c{case}"])), points, labels)
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"loss{case}_f64"]), rel=2e-3)
    expected = torch.tensor(data[f"grad_points{case}_f64"])
    assert (points.grad - expected).abs().max() < 2e-3 * expected.abs().max()
    assert losses.label_hamming(labels, labels).tolist() == data[f"hamming{case}"].tolist()


@pytest.mark.parametrize("case", [0, 1])
def test_ranking_loss_of_the_published_distances_is_the_published_loss(case, golden):
    data = golden("ranking_loss")
    distances = torch.tensor(data[f"dist_offdiag{case}"])
    hamming = torch.tensor(data[f"hamming{case}"])
    off_diagonal = hamming[~torch.eye(len(hamming), dtype=torch.bool)].view(len(hamming), -1)
    assert off_diagonal.argmin(dim=1).tolist() == data[f"target{case}"].tolist()
    loss = F.cross_entropy(-distances, off_diagonal.argmin(dim=1))
    assert loss.item() == pytest.approx(float(data[f"loss{case}_f64"]), rel=1e-6)


def test_ranking_prefers_neighbours_with_equal_labels():
    labels = torch.tensor([[0] * 18, [0] * 18, [1] * 18, [1] * 18])
    near = torch.tensor([[1.0, 0], [1.1, 0], [-1.0, 0], [-1.1, 0]])
    far = near[[0, 2, 1, 3]]
    for kind in ("nearest", "listwise"):
        good, bad = (losses.ranking_loss(PoincareBall(0.01), x, labels, kind=kind) for x in (near, far))
        assert good < bad, kind


def test_listwise_ranking_uses_every_pair():
    labels = torch.randint(0, 4, (6, 18), generator=torch.Generator().manual_seed(0))
    points = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    with_all = losses.ranking_loss(PoincareBall(0.01), points, labels, kind="listwise")
    moved = points.detach().clone()
    moved[5] += 0.5
    changed = losses.ranking_loss(PoincareBall(0.01), moved, labels, kind="listwise")
    assert with_all.item() != pytest.approx(changed.item())


@pytest.mark.parametrize("kind", ["nearest", "listwise"])
def test_a_study_that_a_step_holds_twice_is_no_other_to_itself(kind):
    """Its copy was what it should be near, at distance 0, and nothing was learnt of it."""
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(6, 5, generator=generator), torch.randint(0, 4, (6, 18), generator=generator)
    manifold, twice = PoincareBall(0.01), torch.tensor([0, 1, 2, 3, 4, 5, 0])
    held = points[twice].requires_grad_()
    once = losses.ranking_loss(manifold, points[:1], labels[:1], (points, labels, 0), kind)
    for first in (0, 6):
        loss = losses.ranking_loss(manifold, held[[first]], labels[:1], (held, labels[twice], first), kind)
        assert loss.item() == pytest.approx(once.item(), rel=1e-6)
        (gradient,) = torch.autograd.grad(loss, held)
        assert gradient.isfinite().all()
        assert gradient[6 - first].abs().max() == 0
    alone = losses.ranking_loss(manifold, held[[0, 6]], labels[[0, 0]], kind=kind)
    assert alone.item() == pytest.approx(0)


def test_ranking_with_one_study_is_zero_and_differentiable():
    point = torch.randn(1, 5, requires_grad=True)
    loss = losses.ranking_loss(PoincareBall(0.01), point, torch.zeros(1, 18, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert point.grad.abs().max() == 0


def test_other_ranks_count_as_others():
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(6, 5, generator=generator), torch.randint(0, 4, (6, 18), generator=generator)
    manifold = PoincareBall(0.01)
    whole = losses.ranking_loss(manifold, points, labels)
    parts = [losses.ranking_loss(manifold, points[i : i + 3], labels[i : i + 3], (points, labels, i)) for i in (0, 3)]
    assert sum(parts).item() / 2 == pytest.approx(whole.item(), rel=1e-6)


def test_logit_adjustment_is_the_published_one(golden):
    data = golden("logit_adjust_cls")
    logits = torch.tensor(data["logits"], requires_grad=True)
    prior = torch.tensor(data["base_probs"])
    state_logits = logits.view(-1, 4, 18)
    torch.testing.assert_close(losses.adjust_logits(state_logits, prior), torch.tensor(data["adjusted_f64"]))
    loss = losses.diagnosis_loss(state_logits, torch.tensor(data["labels"]), prior)
    loss.backward()
    assert loss.item() == pytest.approx(float(data["loss_f64"]), rel=1e-9)
    torch.testing.assert_close(logits.grad, torch.tensor(data["grad_logits_f64"]), rtol=1e-9, atol=1e-12)
    assert state_logits.argmax(dim=1).tolist() == data["pred"].tolist()
    probability = state_logits.softmax(dim=1)[:, 1, :14]
    torch.testing.assert_close(probability, torch.tensor(data["pos_prob14"]), rtol=1e-9, atol=0)


def test_prior_update_is_the_published_one(golden):
    data = golden("logit_adjust_cls")
    probability, labels = torch.tensor(data["val_pos_prob"]), torch.tensor(data["val_labels"])
    updated = losses.updated_prior(probability, labels, torch.ones(14, dtype=torch.float64))
    torch.testing.assert_close(updated, torch.tensor(data["updated_prior"])[:14], rtol=1e-9, atol=0)


def test_a_condition_without_positives_keeps_its_prior():
    probability = torch.rand(20, 3)
    labels = torch.zeros(20, 3, dtype=torch.long)
    labels[:5, 0] = 1
    labels[5:9, 1] = 1
    updated = losses.updated_prior(probability, labels, torch.tensor([0.1, 0.2, 0.3]))
    assert updated[2] == pytest.approx(0.3)
    assert updated.max() == 1
    assert torch.equal(
        losses.updated_prior(probability, labels * 0, torch.tensor([0.1, 0.2, 0.3])), torch.tensor([0.1, 0.2, 0.3])
    )


def test_a_condition_that_is_never_expected_where_it_is_leaves_its_loss_finite():
    labels, probability = torch.tensor([[1, 1], [1, 0]]), torch.tensor([[0.5, 0.0], [0.7, 0.2]])
    prior = losses.updated_prior(probability, labels, torch.ones(2))
    torch.testing.assert_close(prior, torch.tensor([1, 1e-4]))
    assert losses.diagnosis_loss(torch.zeros(2, 4, 2), labels, prior).isfinite()


def test_report_loss_ignores_prompt_and_padding():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 9, 11, generator=generator, requires_grad=True)
    ids = torch.randint(0, 11, (2, 9), generator=generator)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 6:] = False
    report_loss(logits, ids, mask, prompt_length=4).backward()
    predicted = logits.grad.abs().sum(dim=-1) > 0
    assert predicted.tolist() == [[False] * 3 + [True] * 5 + [False], [False] * 3 + [True] * 2 + [False] * 4]


def test_report_loss_equals_the_published_decoder(golden):
    data = golden("text_decoder")
    mask = torch.tensor(data["attention_mask"]).bool()
    loss = report_loss(
        torch.tensor(data["logits_f64"]), torch.tensor(data["input_ids"]), mask, int(data["prompt_length"]),
        float(data["label_smoothing"]),
    )  # fmt: skip
    assert loss.item() == pytest.approx(float(data["loss_f64"]), rel=1e-9)


@pytest.mark.parametrize("case", [0, 1])
def test_binary_overlap_is_the_published_one(case, golden):
    data = golden("overlap_loss")
    region, reference = (torch.tensor(data[f"{name}{case}"]).double().flatten(2) for name in "lg")
    similarity = torch.tensor(data[f"s{case}"]).double().requires_grad_()
    overlap = losses.binary_iou(region, reference, side=0 if case == 0 else 224)
    torch.testing.assert_close(overlap, torch.tensor(data[f"iou{case}_f64"]), rtol=1e-6, atol=1e-9)
    loss = (1 - similarity.sigmoid() * overlap).mean()
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"loss{case}_f64"]), rel=1e-6)
    torch.testing.assert_close(similarity.grad, torch.tensor(data[f"grad_s{case}_f64"]), rtol=1e-6, atol=1e-9)
    if case == 1:
        everyone = torch.ones(reference.shape[:2], dtype=torch.bool)
        again = losses.alignment_loss(similarity, region, reference, everyone, "binary")
        assert again.item() == pytest.approx(loss.item(), rel=1e-9)


def test_alignment_reaches_the_maps_only_with_soft_overlap():
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randn(2, 5, 3, generator=generator)
    everyone = torch.ones(2, 3, dtype=torch.bool)
    for kind, reached in (("soft", True), ("binary", False)):
        region = torch.rand(2, 5, 9, generator=generator, requires_grad=True)
        reference = torch.rand(2, 3, 9, generator=generator, requires_grad=True)
        loss = losses.alignment_loss(similarity.clone().requires_grad_(), region, reference, everyone, kind)
        loss.backward()
        assert (region.grad is not None and region.grad.abs().sum() > 0) == reached, kind
        assert (reference.grad is not None and reference.grad.abs().sum() > 0) == reached, kind


def test_soft_overlap_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    region, reference = torch.rand(2, 5, 9, generator=generator), torch.rand(2, 3, 9, generator=generator)
    a = losses.normalise_maps(region).unsqueeze(2)
    b = losses.normalise_maps(reference).unsqueeze(1)
    expected = torch.minimum(a, b).sum(-1) / torch.maximum(a, b).sum(-1)
    torch.testing.assert_close(losses.soft_iou(region, reference), expected)
    torch.testing.assert_close(losses.soft_iou(region, region).diagonal(dim1=1, dim2=2), torch.ones(2, 5))


def test_a_study_does_not_change_its_neighbours_soft_overlap():
    generator = torch.Generator().manual_seed(0)
    region, reference = torch.rand(2, 5, 9, generator=generator), torch.rand(2, 3, 9, generator=generator)
    alone = losses.soft_iou(region[:1], reference[:1])
    region[1] *= 100
    torch.testing.assert_close(losses.soft_iou(region, reference)[:1], alone)


def test_padding_sentences_do_not_count_in_the_alignment():
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randn(1, 5, 3, generator=generator)
    region, reference = torch.rand(1, 5, 9, generator=generator), torch.rand(1, 3, 9, generator=generator)
    mask = torch.tensor([[True, True, False]])
    masked = losses.alignment_loss(similarity, region, reference, mask)
    cut = losses.alignment_loss(similarity[..., :2], region, reference[:, :2], mask[:, :2])
    torch.testing.assert_close(masked, cut)


# what the minimum of a loss is


def correlation(maps):
    """Mean correlation between the maps ``(B, K, M)`` of different entities of a study."""
    K = maps.shape[1]
    upper = torch.triu_indices(K, K, 1)
    return torch.stack([torch.corrcoef(study)[upper[0], upper[1]].mean() for study in maps.detach()]).mean().item()


def mean_cosine(texts):
    """Mean cosine between different texts ``(B, K, A)`` of a study."""
    K = texts.shape[1]
    cosine = losses.text_similarity(texts, texts).detach()
    return ((cosine.sum(dim=(1, 2)) - K) / (K * (K - 1))).mean().item()


def optimised(pairs_kind, steps=120):
    """Free texts, entity keys and patches, moved by the alignment loss alone through the attention.

    Returns the texts and the maps of the entities, the overlap of the pairs that mean the same, and the share of maps that
    still have their largest value where it was.
    """
    torch.manual_seed(0)
    B, K, S, M, A = 2, 20, 5, 9, 32
    attention = TransportAttention(
        width=A, attention="none", plan="joint", solver="sinkhorn", epsilon=0.05, iterations=100
    )  # the map of a text does not depend on the plan
    region, reference, patches, queries = (torch.nn.Parameter(torch.randn(B, n, A)) for n in (K, S, M, K))
    every, sentences = torch.ones(B, K, dtype=torch.bool), torch.ones(B, S, dtype=torch.bool)
    pairs = (torch.rand(B, K, S) < 0.2).float()
    optimizer = torch.optim.Adam([region, reference, patches, queries, *attention.parameters()], lr=0.02)
    follow, first = pairs_kind != "all", None
    for _ in range(steps):
        _, region_map = attention(patches, region, every, queries if follow else None)
        keys = attention.k(reference.detach()) if follow else None
        _, reference_map = attention(patches, reference, sentences, keys, fixed_patches=follow)
        first = region_map.detach() if first is None else first
        if follow:
            loss = losses.known_pairs_loss(pairs, region_map, reference_map, sentences).sum()
        else:
            similarity = losses.text_similarity(region, reference)
            loss = losses.alignment_loss(similarity, region_map, reference_map, sentences)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    overlap = losses.soft_iou(region_map, reference_map).detach()
    kept = (first.argmax(dim=2) == region_map.argmax(dim=2)).float().mean().item()
    return region, region_map, ((overlap * pairs).sum() / pairs.sum()).item(), kept


def test_the_released_pairs_make_all_texts_and_all_maps_one():
    region, maps, _, kept = optimised("all")
    assert mean_cosine(region) > 0.6
    assert correlation(maps) > 0.6
    assert kept < 0.7


def test_known_pairs_collapse_neither_texts_nor_maps():
    """Sentences come to look where their entities are seen, and no entity comes to be seen elsewhere for it."""
    region, maps, overlap, kept = optimised("mentions")
    assert mean_cosine(region) < 0.1
    assert correlation(maps) < 0.3
    assert overlap > optimised("mentions", steps=1)[2] + 0.05
    assert kept == 1


def test_known_pairs_are_two_means_and_what_is_not_known_or_no_sentence_counts_in_neither():
    """The mean over what means the same, and a quarter of that over what does not."""
    torch.manual_seed(3)
    B, K, S, M = 2, 3, 4, 9
    region_map, reference_map = torch.rand(B, K, M), torch.rand(B, S, M)
    pairs = torch.tensor([0.0, 1.0, 0.25, -1.0]).repeat(B * K * S // 4).view(B, S, K).transpose(1, 2)
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    overlap = losses.soft_iou(region_map, reference_map)
    parts = [[0.0, 0.0], [0.0, 0.0]]  # sum and weight of both
    for b, k, s in np.ndindex(B, K, S):
        same, iou = pairs[b, k, s].item(), overlap[b, k, s].item()
        if mask[b, s] and same >= 0:
            for part, value, weight in zip(parts, (1 - iou, iou), (same, 1 - same), strict=True):
                part[0] += weight * value
                part[1] += weight
    (together, same), (apart, other) = parts
    expected = together / same + 0.25 * apart / other
    found = losses.known_pairs_loss(pairs, region_map, reference_map, mask).sum().item()
    assert found == pytest.approx(expected, rel=1e-5)
