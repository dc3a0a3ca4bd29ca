"""Whether published files are in the order of an annotation: they hold no ids, and any order would be believed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from modules.labelling.mentions import PRESENT, entity_mentions
from modules.messages import UserError
from modules.preparation.published.reading import number_rows

LEAST_COMPARED, MOST_COMPARED = 30, 1000  # training studies whose first neighbour is looked at
NEAR_CHANCE = 0.7  # of the difference of any two studies, above which neighbours are no neighbours
LEAST_SCORED = 100  # studies of a split whose scores are compared with their reports
LEAST_PRESENT = 5  # reports that must mention an entity, and entities that must be mentioned so often
NO_BETTER = 0.55  # mean AUROC up to which scores are of other studies; those of a scorer that sees are above .7


def check_order(path: Path, labels: np.ndarray) -> None:
    """Compare the first label neighbour of up to 1,000 training studies with the labels of the annotation.

    Args:
        path: published label neighbours, training rows per training study.
        labels: ``(N, L)`` states of the training studies in the order of the annotation; nothing is said about fewer than 30.

    Raises:
        UserError: if studies and their first neighbours, in the whole file or in one part of it, differ in their labels
            almost as any two studies do.
    """
    N = len(labels)
    if N < LEAST_COMPARED:
        return
    step = max(1, N // MOST_COMPARED)  # from all over the file
    pairs = []
    for number, row in islice(enumerate(number_rows(path)), 0, N, step):
        other = next((int(value) for value in row if value != number), -1)
        if 0 <= other < N:
            pairs.append((number, other))
    rows, nearest = np.array(pairs or [(0, 0)]).T
    any_other = np.random.default_rng(0).permutation(N)[rows]
    near, chance = ((labels[rows] != labels[others]).mean(axis=1) for others in (nearest, any_other))  # (n,)
    parts = np.array_split(near, max(1, len(near) // LEAST_COMPARED // 3))  # a part of the file may be in order
    worst = max(float(part.mean()) for part in parts)
    if worst > NEAR_CHANCE * chance.mean():
        raise UserError(
            f"{path} is in another order than the annotation: a study and its first neighbour differ in {worst:.1%} of their "
            f"labels, any two studies in {chance.mean():.1%}; give the annotation that the files were published with, unsorted"
        )


def check_scores(path: Path, scores: np.ndarray, reports: Sequence[str]) -> None:
    """Compare the entity scores of up to 1,000 studies of a split with what their own reports mention.

    Args:
        path: published scores of the split.
        scores: ``(n, K)`` in the order of the annotation; nothing is said about fewer than 100 studies.
        reports: of the same n studies.

    Raises:
        UserError: if the scores find the entities of the reports no better than chance.
    """
    n = len(reports)
    if n < LEAST_SCORED:
        return
    chosen = np.arange(0, n, max(1, n // MOST_COMPARED))
    present = entity_mentions([reports[int(i)] for i in chosen]) == PRESENT  # (n, K)
    counts = np.minimum(present.sum(axis=0), (~present).sum(axis=0))
    varied = np.flatnonzero(counts >= LEAST_PRESENT)
    if len(varied) < LEAST_PRESENT:
        return
    mean = float(np.mean([roc_auc_score(present[:, k], scores[chosen, k]) for k in varied]))
    if mean < NO_BETTER:
        raise UserError(
            f"{path} is in another order than the annotation: the scores of a study find the entities of its report with a "
            f"mean AUROC of {mean:.2f}, chance is .50; give the annotation that the files were published with, unsorted"
        )
