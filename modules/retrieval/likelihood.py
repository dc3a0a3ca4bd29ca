"""How likely predicted states make the labels of a report: an inner product, so that the exact bank search serves it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from modules.labels import POSITIVE, STATES

# Rare findings are asked for more than they are likely: their log-odds lose this much of the prior's. Half of it was best for
# a head trained without the prior; ours is trained with it, and there half costs frequent findings more than it gives rare ones.
PRIOR_POWER = 0.25
STATES_WEIGHT = 0.3  # of the likelihood of all four states, which tells reports with equal findings apart
SCORES_WEIGHT = 1.0  # nats for equal entity scores, which tell reports with equal labels apart
LEAST_RATE = 1e-3  # positive rates are kept this far from 0 and 1
LEAST_PROBABILITY = 1e-6  # predicted probabilities of a positive finding too


def state_weights(state_logits: Tensor, positive_rate: Tensor) -> Tensor:
    """What each state of each condition adds to the worth of a report that says so.

    With ``p_l`` the predicted probability of a positive finding, ``r_l`` its rate in the bank and ``z_l = logit(p_l) -
    PRIOR_POWER logit(r_l)``, a report whose label is positive earns ``log sigmoid(z_l)``, any other ``log sigmoid(-z_l)``;
    both earn ``STATES_WEIGHT`` times the log-probability of the very state.

    Args:
        state_logits: ``(n, P, L)`` without prior.
        positive_rate: ``(L,)`` of the bank.

    Returns:
        ``(n, P, L)`` float64, in nats.
    """
    log_probability = state_logits.double().log_softmax(dim=1)  # (n, P, L)
    odds = log_probability[:, POSITIVE].exp().clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).logit()  # (n, L)
    odds = odds - PRIOR_POWER * positive_rate.double().clamp(LEAST_RATE, 1 - LEAST_RATE).logit()
    weights = F.logsigmoid(-odds).unsqueeze(1).repeat(1, len(STATES), 1)  # (n, P, L)
    weights[:, POSITIVE] = F.logsigmoid(odds)
    return weights + STATES_WEIGHT * log_probability


def label_points(labels: Tensor, region_scores: Tensor) -> Tensor:
    """What the bank says: one-hot labels ``(N, L)`` beside unit entity scores ``(N, K)``, as ``(N, P L + K)`` points.

    All have the same length, so the nearest point is the one with the largest inner product.
    """
    one_hot = F.one_hot(labels.long(), len(STATES)).transpose(1, 2).flatten(1)  # (N, P L)
    return torch.cat([one_hot.float(), F.normalize(region_scores.float(), dim=-1)], dim=1)


def state_points(state_logits: Tensor, positive_rate: Tensor, region_scores: Tensor) -> Tensor:
    """What the images ask for: ``(n, P L + K)`` points whose inner product with :func:`label_points` ranks the reports.

    The weights of a condition are taken from their mean, which moves all reports alike and keeps the points short.
    """
    weights = state_weights(state_logits, positive_rate)
    weights = (weights - weights.mean(dim=1, keepdim=True)).flatten(1)  # (n, P L)
    return torch.cat([weights.float(), SCORES_WEIGHT * F.normalize(region_scores.float(), dim=-1)], dim=1)
