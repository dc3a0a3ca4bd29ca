"""Whether published files are in the order of an annotation: they hold no ids, and any order would be believed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from modules.labelling.mentions import PRESENT, entity_mentions
from modules.messages import UserError
from modules.preparation.published.reading import number_rows

LEAST_COMPARED, MOST_COMPARED = 30, 1000  # training studies whose first neighbour is looked at
NEAR_CHANCE = 0.7  # of the difference of any two studies, above which neighbours are no neighbours
LEAST_SCORED = 100  # studies of a split whose scores are compared with their reports
PART = 250  # studies of a part of a split that may alone be in another order
LEAST_PRESENT = 5  # reports that must mention an entity, and entities that must be mentioned so often
NO_BETTER = 0.55  # mean AUROC up to which scores are of other studies; those of a scorer that sees are above .7
WORSE = 0.1  # by which a part must fall behind the others too: chance alone brings a poor scorer down there


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
    bar = tqdm(number_rows(path), desc=f"order of {path.name}", total=N, unit="row", leave=False, delay=2)
    for number, row in islice(enumerate(bar), 0, N, step):
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
        UserError: if the scores of the split, or of one part of it, find the entities of the reports no better than chance.
    """
    n = len(reports)
    if n < LEAST_SCORED:
        return
    chosen = np.arange(0, n, max(1, n // MOST_COMPARED))
    present = entity_mentions([reports[int(i)] for i in chosen]) == PRESENT  # (n, K)
    mean, which = _mean_auroc(present, scores[chosen]), ""
    starts = range(0, max(1, len(chosen) - PART + 1), PART // 4)
    parts = [np.arange(start, min(start + PART, len(chosen))) for start in starts]
    means = [_mean_auroc(present[part], scores[chosen[part]]) for part in parts]
    for number, found in enumerate(means):
        others = [other for other in means[:number] + means[number + 1 :] if other is not None]
        if found is not None and found < NO_BETTER and others and max(others) - found > WORSE:
            first, last = chosen[parts[number][0]] + 1, chosen[parts[number][-1]] + 1
            mean, which = found, f", rows {first:,} to {last:,} of it,"
    if mean is not None and mean < NO_BETTER:
        raise UserError(
            f"{path}{which} is in another order than the annotation: the scores of a study find the entities of its report with a "
            f"mean AUROC of {mean:.2f}, chance is .50; give the annotation that the files were published with, unsorted"
        )


def _mean_auroc(present: np.ndarray, scores: np.ndarray) -> float | None:
    """Mean over the entities that enough reports mention and enough do not; None of too few entities."""
    counts = np.minimum(present.sum(axis=0), (~present).sum(axis=0))
    varied = np.flatnonzero(counts >= LEAST_PRESENT)
    if len(varied) < LEAST_PRESENT:
        return None
    from sklearn.metrics import roc_auc_score  # on demand: every program looks for published files, few find any

    return float(np.mean([roc_auc_score(present[:, k], scores[:, k]) for k in varied]))
