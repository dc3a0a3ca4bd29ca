"""Every metric of this project in one tuple: validation, test and ``main_score.py`` compute what stands in it.

To add one, write a function from :class:`Scored` to sums over studies and a row in ``METRICS``: its figures then stand in the
scores with their intervals, in the per-study table and in comparisons.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modules.evaluation.metrics.clinical import clinical_sums
from modules.evaluation.metrics.meteor import meteor_sums
from modules.evaluation.metrics.nlg import overlap_sums, rouge_l
from modules.evaluation.metrics.sufficient_sums import StudySums, means

_EPSILON = 0.1  # what sentence BLEU counts for n-grams without a match
_NOT_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Scored:
    """What a metric may read of n studies.

    Args:
        predictions: cleaned and spaced as the published scorer wants them.
        references: cleaned.
        raw_predictions: as they were found.
        raw_references: as they were found.
        predicted_labels: ``(n, 14 or 18)`` states.
        reference_labels: the same of the references.
        conditions: names of the columns.
        thirds: of the conditions by frequency.
        meteor: ``(n, 23)`` counts of METEOR's program, if it was run.
        embed: CheXbert's vectors ``(n, D)`` of texts, if CheXbert is there.
    """

    predictions: Sequence[str]
    references: Sequence[str]
    raw_predictions: Sequence[str]
    raw_references: Sequence[str]
    predicted_labels: np.ndarray
    reference_labels: np.ndarray
    conditions: Sequence[str]
    thirds: Mapping[str, str] | None = None
    meteor: np.ndarray | None = None
    embed: Callable[[Sequence[str]], np.ndarray] | None = None


@dataclass(frozen=True)
class Metric:
    """One row of ``METRICS``.

    Args:
        name: what it is.
        sums: how it is computed; None where it cannot be, and ``figures`` are then None in the scores.
        figures: names of what it gives; none where they depend on the labels.
        cleaned: whether it reads cleaned references: it is then computed twice, against the cut ones and, as ``_full``,
            against the whole ones.
        validation: whether a validation during training computes it too.
    """

    name: str
    sums: Callable[[Scored], StudySums | None]
    figures: tuple[str, ...] = ()
    cleaned: bool = False
    validation: bool = True


def _overlap(scored: Scored) -> StudySums:
    return overlap_sums(scored.predictions, scored.references)


def _meteor(scored: Scored) -> StudySums | None:
    return None if scored.meteor is None else meteor_sums(scored.meteor)


def _clinical(scored: Scored) -> StudySums:
    return clinical_sums(scored.predicted_labels, scored.reference_labels, scored.conditions, scored.thirds)


def _single_blanks(scored: Scored) -> StudySums:
    pairs = zip(scored.predictions, scored.references, strict=True)
    return means(
        {"ROUGE_L_single_blanks": np.array([rouge_l(*(" ".join(text.split()) for text in pair)) for pair in pairs])}
    )


def _sentence_bleu_2(scored: Scored) -> StudySums:
    pairs = zip(scored.raw_predictions, scored.raw_references, strict=True)
    return means({"BLEU_2_sentence": np.array([sentence_bleu_2(*pair) for pair in pairs])})


def _rouge_f1(scored: Scored) -> StudySums:
    pairs = zip(scored.raw_predictions, scored.raw_references, strict=True)
    return means({"ROUGE_L_f1": np.array([rouge_l_f1(*pair) for pair in pairs])})


def _semb_score(scored: Scored) -> StudySums | None:
    if scored.embed is None:
        return None
    ours, theirs = scored.embed(scored.raw_predictions), scored.embed(scored.raw_references)  # (n, D)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return means({"semb_score": (ours * theirs).sum(axis=1) / np.maximum(norms, 1e-12)})


METRICS = (
    Metric("word overlap of pycocoevalcap", _overlap, ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "ROUGE_L", "CIDEr"), cleaned=True),
    Metric("METEOR", _meteor, ("METEOR",), cleaned=True),
    Metric("clinical efficacy", _clinical),
    Metric("ROUGE-L of R2Gen's chain", _single_blanks, ("ROUGE_L_single_blanks",), validation=False),
    Metric("BLEU-2 of ReXrank", _sentence_bleu_2, ("BLEU_2_sentence",), validation=False),
    Metric("ROUGE-L of rouge-score", _rouge_f1, ("ROUGE_L_f1",), validation=False),
    Metric("SembScore", _semb_score, ("semb_score",), validation=False),
)  # fmt: skip


def sentence_bleu_2(prediction: str, reference: str) -> float:
    """BLEU-2 of one report on raw text: lower case, stops set apart, n-grams without a match count .1.

    Source: CXR-Report-Metric (Yu et al., Patterns 2023), which ReXrank uses; smoothing as method 1 of Chen and Cherry, 2014.
    """
    said, wanted = (text.lower().replace(".", " .").split() for text in (prediction, reference))
    if not said:
        return 0.0
    logs = []
    for n in (1, 2):
        grams, truth = (Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (said, wanted))
        matched = sum((grams & truth).values())
        if n == 1 and not matched:
            return 0.0
        total = max(1, sum(grams.values()))
        logs.append(math.log((matched or _EPSILON) / total))
    penalty = min(0.0, 1 - len(wanted) / len(said))
    return math.exp(sum(logs) / 2 + penalty)


def rouge_l_f1(prediction: str, reference: str) -> float:
    """ROUGE-L of one report on raw text, F1 over words of letters and digits.

    Source: Google's rouge-score without stemming, which RadEval, LLaVA-Rad and others use.
    """
    said, wanted = (_NOT_WORDS.sub(" ", text.lower()).split() for text in (prediction, reference))
    if not said or not wanted:
        return 0.0
    row = [0] * (len(wanted) + 1)
    for word in said:
        before = 0
        for i, other in enumerate(wanted, start=1):
            before, row[i] = row[i], before + 1 if word == other else max(row[i], row[i - 1])
    precision, recall = row[-1] / len(said), row[-1] / len(wanted)
    return 2 * precision * recall / (precision + recall) if row[-1] else 0.0
