"""The mathematics of the losses, and the class prior; `objective.py` makes them one sum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from models.manifolds import Manifold
from models.precision import at_least_float32
from modules.labels import POSITIVE

IGNORED = -100  # target of tokens that are not predicted
APART = 0.25  # weight of the known pairs that mean different things


def token_loss(
    logits: Tensor, targets: Tensor, label_smoothing: float = 0.1, word_loss: Callable[..., Tensor] | None = None
) -> Tensor:
    """Cross-entropy of logits ``(S, V)`` and targets ``(S,)``, the mean over those that are not ``IGNORED``; float32.

    ``word_loss`` computes it in place of torch, see ``models/gpu/word_loss.py``.
    """
    if word_loss is not None:
        return word_loss(logits, targets, label_smoothing, IGNORED)
    with torch.autocast(logits.device.type, enabled=False):
        logits = at_least_float32(logits)
        return F.cross_entropy(logits, targets, ignore_index=IGNORED, label_smoothing=label_smoothing)


def adjust_logits(state_logits: Tensor, class_prior: Tensor) -> Tensor:
    """Add the logarithm of ``class_prior`` ``(L,)`` to the positive row of ``state_logits`` ``(B, P, L)``.

    Source: logit adjustment, Menon et al., ICLR 2021, on the positive state alone, as published.
    """
    adjustment = torch.zeros_like(state_logits[0])  # (P, L)
    adjustment[POSITIVE] = class_prior.to(state_logits.dtype).log()
    return state_logits + adjustment


def diagnosis_loss(state_logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
    """Four-way cross-entropy of every condition with logit adjustment. Reaches diagnosis head, memory and ResNet.

    Args:
        state_logits: ``(B, P, L)`` logits without prior.
        labels: ``(B, L)`` states.
        class_prior: ``(L,)`` in (0, 1].

    Returns:
        Mean over B * L.
    """
    with torch.autocast(state_logits.device.type, enabled=False):
        adjusted = adjust_logits(at_least_float32(state_logits), class_prior).transpose(1, 2)  # (B, L, P)
        return F.cross_entropy(adjusted.flatten(0, 1), labels.flatten())


def updated_prior(positive_probability: Tensor, labels: Tensor, old_prior: Tensor) -> Tensor:
    """Class prior after a validation: mean predicted P(positive) over the true positives, divided by its maximum.

    Departure: the released code divides by the number of positives of each condition and becomes NaN when there are
    none; here such a condition keeps its old prior. No switch: the old behaviour cannot be trained.

    Args:
        positive_probability: ``(n, L)`` softmax P(positive), without prior.
        labels: ``(n, L)`` states.
        old_prior: ``(L,)``.

    Returns:
        ``(L,)`` new prior in (0, 1].
    """
    positive = labels == POSITIVE  # (n, L)
    count = positive.sum(dim=0)  # (L,)
    seen = count > 0
    mean = (positive_probability * positive).sum(dim=0) / count.clamp_min(1)  # (L,)
    if not seen.any() or mean.max() <= 0:
        return old_prior.clone()
    return torch.where(seen, (mean / mean.max()).clamp_min(1e-4), old_prior)


def label_hamming(labels: Tensor, others: Tensor) -> Tensor:
    """Hamming distance ``(B, N)`` between one-hot codes of ``labels`` ``(B, L)`` and ``others`` ``(N, L)``.

    Every differing label counts two bits.
    """
    return 2 * (labels.unsqueeze(1) != others.unsqueeze(0)).sum(dim=-1)  # (B, N)


def ranking_loss(
    manifold: Manifold,
    embedding: Tensor,
    labels: Tensor,
    others: tuple[Tensor, Tensor, int] | None = None,
    kind: str = "nearest",
    temperature: float = 1.0,
) -> Tensor:
    """Make studies with similar labels neighbours on the manifold. Reaches the hyperbolic layers (and c, if learned).

    For each anchor, a softmax over minus the distances to the other studies is compared with a target: the study with
    the smallest Hamming distance between labels (``nearest``, ties to the first), or the whole distribution
    ``softmax(-hamming / temperature)`` (``listwise``, ours, which uses every pair). A study that a step holds twice
    (``--rare_sampling``) is no other to itself.

    Args:
        manifold: geometry of the embeddings.
        embedding: ``(B, H)`` anchors.
        labels: ``(B, L)`` their states.
        others: embeddings ``(N, H)`` and labels ``(N, L)`` of the studies of all ranks, and the position of this rank's
            first anchor among them; the batch itself if absent.
        kind: ``"nearest"`` or ``"listwise"``.
        temperature: of the listwise target, in bits.

    Returns:
        Mean over anchors; zero when there are no other studies.
    """
    other_points, other_labels, first = others or (embedding, labels, 0)
    B, N = len(embedding), len(other_points)
    if N < 2:
        return embedding.sum() * 0
    with torch.autocast(embedding.device.type, enabled=False):
        distance = manifold.distance(embedding, other_points)  # (B, N), float64
        hamming = label_hamming(labels, other_labels)  # (B, N)
        own = first + torch.arange(B, device=distance.device).unsqueeze(1)  # (B, 1)
        column = torch.arange(N - 1, device=distance.device)
        column = column + (column >= own)  # (B, N - 1): a mask instead would make a GPU wait for its count
        copy = (embedding.unsqueeze(1) == other_points).all(dim=-1)  # (B, N)
        distance, hamming, copy = (x.gather(1, column) for x in (distance, hamming, copy))
        copy = copy & ~copy.all(dim=1, keepdim=True)  # with nothing but copies they are compared
        distance, hamming = distance.masked_fill(copy, 1e9), hamming.masked_fill(copy, 4 * labels.shape[1])
        if kind == "nearest":
            return F.cross_entropy(-distance, hamming.argmin(dim=1)).to(embedding.dtype)
        target = (-hamming.double() / temperature).masked_fill(copy, -torch.inf).softmax(dim=1)  # (B, N - 1)
        return F.cross_entropy(-distance, target).to(embedding.dtype)


def normalise_maps(maps: Tensor) -> Tensor:
    """Min-max-normalise each map of ``(B, K, M)`` over its patches."""
    low, high = maps.amin(dim=-1, keepdim=True), maps.amax(dim=-1, keepdim=True)
    return (maps - low) / (high - low + 1e-6)


def soft_iou(region_map: Tensor, reference_map: Tensor) -> Tensor:
    """Overlap of every pair of normalised maps: sum of minima over sum of maxima.

    As min(a, b) + max(a, b) = a + b, only the minima need the ``(B, K, S, M)`` pairs; they are taken sentence by
    sentence.

    Args:
        region_map: ``(B, K, M)``.
        reference_map: ``(B, S, M)``.

    Returns:
        ``(B, K, S)`` in [0, 1].
    """
    a, b = normalise_maps(region_map), normalise_maps(reference_map)
    shared = torch.stack([torch.minimum(a, b[:, s : s + 1]).sum(dim=-1) for s in range(b.shape[1])], dim=2)  # (B, K, S)
    return shared / (a.sum(-1).unsqueeze(2) + b.sum(-1).unsqueeze(1) - shared + 1e-8)


def binary_iou(region_map: Tensor, reference_map: Tensor, side: int = 224) -> Tensor:
    """The released overlap: maps upsampled to ``side`` pixels, min-max over the batch, threshold .5; no gradient.

    Args:
        region_map: ``(B, K, M)``, M a square number.
        reference_map: ``(B, S, M)``.
        side: pixels of the upsampled maps; 0 keeps the patch grid.

    Returns:
        ``(B, K, S)``.
    """

    def binarise(maps: Tensor) -> Tensor:
        grid = round(maps.shape[-1] ** 0.5)
        maps = maps.detach().unflatten(-1, (grid, grid))  # (B, K, grid, grid)
        if side:
            maps = F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
        maps = (maps - maps.min()) / (maps.max() - maps.min() + 1e-6)
        return (maps >= 0.5).flatten(2).to(region_map.dtype)  # (B, K, side * side)

    a, b = binarise(region_map), binarise(reference_map)
    shared = a @ b.transpose(1, 2)  # (B, K, S)
    return shared / (a.sum(-1).unsqueeze(2) + b.sum(-1).unsqueeze(1) - shared + 1e-8)


def alignment_loss(
    similarity: Tensor, region_map: Tensor, reference_map: Tensor, mask: Tensor, iou: str = "soft"
) -> Tensor:
    """Ask entities and sentences that mean the same to look at the same patches.

    Departure: the released code binarises the maps, so that no gradient reaches them, normalises them over the whole
    batch, and lets padding sentences take part. ``iou="binary"`` (``--align_iou binary``) restores the first two,
    ``--no-mask_padding`` the third. With ``"soft"`` the gradient reaches the maps, hence W_q and W_k of the attention.

    Args:
        similarity: ``(B, K, S)`` cosine between projected entity and sentence texts.
        region_map: ``(B, K, M)`` attention maps of the entities.
        reference_map: ``(B, S, M)`` attention maps of the reference sentences.
        mask: ``(B, S)`` true for the sentences that take part.
        iou: ``"soft"`` or ``"binary"``.

    Returns:
        Mean of ``1 - sigmoid(similarity) * IoU`` over all pairs of an entity and a real sentence.
    """
    with torch.autocast(similarity.device.type, enabled=False):
        overlap = (soft_iou if iou == "soft" else binary_iou)(region_map, reference_map)  # (B, K, S)
        loss = 1 - similarity.sigmoid() * overlap
        pairs = mask.unsqueeze(1).expand_as(loss)
        return (loss * pairs).sum() / pairs.sum().clamp_min(1)


def known_pairs_loss(pairs: Tensor, region_map: Tensor, reference_map: Tensor, mask: Tensor) -> Tensor:
    """Ask a sentence to look where the entities that it names are seen, and not where others are.

    Departure: the released loss asks every pair to agree, each by how alike its learnt texts are. All texts alike and
    all maps alike is its minimum, whatever the data. Here the truth about a pair is given, and the maps of the entities
    are constants, so that they cannot come to code the text instead of the image: with the maps of sentences made for
    it (``--align_pairs mentions`` or ``stored``) the gradient reaches W_k of the attention and nothing else.
    ``--align_pairs all`` restores the released pairs, see :func:`alignment_loss`.

    Args:
        pairs: ``(B, K, S)`` how far sentence and entity mean the same, in [0, 1]; below 0 where that is not known.
        region_map: ``(B, K, M)`` maps of the entities.
        reference_map: ``(B, S, M)`` maps of the reference sentences.
        mask: ``(B, S)`` true for the sentences that take part.

    Returns:
        Two terms to be added, ``(2,)``: the mean of ``1 - IoU`` over what means the same, and ``APART`` times the mean IoU
        over what does not.
    """
    with torch.autocast(region_map.device.type, enabled=False):
        overlap = soft_iou(region_map.detach(), reference_map)  # (B, K, S)
        same, other = same_and_other(pairs, mask)  # (B, K, S)
        together = ((1 - overlap) * same).sum() / same.sum().clamp_min(1)
        return torch.stack([together, APART * (overlap * other).sum() / other.sum().clamp_min(1)])


def same_and_other(pairs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How far the known ``pairs`` ``(B, K, S)`` of real sentences ``mask`` ``(B, S)`` mean the same, and how far they do not."""
    known = mask.unsqueeze(1) & (pairs >= 0)
    return pairs * known, (1 - pairs) * known  # (B, K, S)


def presence_loss(presence_logits: Tensor | None, region_scores: Tensor) -> Tensor:
    """Ask some patch to answer to every entity that the image shows, and none to the others.

    Departure: ours; the released code trains its maps by nothing. ``--presence_weight 0`` leaves it out. Reaches the
    entity queries, W_q, the projection of what the maps look at and, below it, the ResNet.

    Args:
        presence_logits: ``(B, K)`` from the maps of the entities; None for a model that asks their texts.
        region_scores: ``(B, K)`` in [0, 1], how strongly each entity shows.

    Returns:
        Mean binary cross-entropy; zero without logits.
    """
    if presence_logits is None:
        return region_scores.new_zeros(())
    with torch.autocast(presence_logits.device.type, enabled=False):
        return F.binary_cross_entropy_with_logits(presence_logits.float(), region_scores.float())


def reward_loss(reward: Tensor, log_probability: Tensor) -> Tensor:
    """Make drawn reports that earn more than the others of their study more probable. Reaches what the decoder reads.

    Departure: ours; the released code trains words alone. ``--scst 0`` leaves it out.

    Source: self-critical sequence training, Rennie et al., CVPR 2017; the mean of the other drawn reports as the
    baseline, Luo, arXiv 2003.09971. A baseline that does not know the report keeps the gradient unbiased: it is that of
    the expected value.

    Args:
        reward: ``(B, n)`` in [0, 1] of ``n`` >= 2 drawn reports of each study.
        log_probability: ``(B, n)`` of each report, the sum over its words.

    Returns:
        Mean of ``1 - reward``; its gradient is that of the expected mean, estimated by the advantages.
    """
    n = reward.shape[1]
    others = (reward.sum(dim=1, keepdim=True) - reward) / (n - 1)  # (B, n)
    surrogate = ((others - reward) * log_probability).mean()
    return (1 - reward).mean() + surrogate - surrogate.detach()


def text_similarity(region_text: Tensor, reference_text: Tensor) -> Tensor:
    """Cosine ``(B, K, S)`` between ``region_text`` ``(B, K, A)`` and ``reference_text`` ``(B, S, A)``."""
    with torch.autocast(region_text.device.type, enabled=False):
        region_text = at_least_float32(region_text)
        reference_text = reference_text.to(region_text.dtype)
        return F.normalize(region_text, dim=-1) @ F.normalize(reference_text, dim=-1).transpose(1, 2)
