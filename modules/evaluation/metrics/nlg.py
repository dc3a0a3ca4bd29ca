"""Word-overlap scores of generated reports: BLEU, METEOR, ROUGE-L and CIDEr, as the published figures were made.

BLEU and CIDEr are those of pycocoevalcap; METEOR is its jar, see :mod:`modules.evaluation.metrics.meteor`; ROUGE-L is its formula
with a faster longest common subsequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from modules.corpus.text import postprocess_prediction
from modules.evaluation.metrics.meteor import MeteorRun, meteor_sums
from modules.evaluation.metrics.sufficient_sums import StudySums, joined, means

NO_CIDER = "CIDEr of a single study is n/a: its document frequencies come from the references that are scored together"
METRICS = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr")
ORDERS = 4  # longest n-gram of BLEU
BETA = 1.2  # recall against precision in ROUGE-L
_SMALL, _TINY = 1e-9, 1e-15  # what pycocoevalcap adds so that nothing is divided by zero


def nlg_scores(predictions: Sequence[str], references: Sequence[str], meteor: bool = True) -> dict[str, float | None]:
    """Scores of a whole set of reports.

    Args:
        predictions: n generated reports; :func:`modules.corpus.text.postprocess_prediction` is applied here.
        references: n reference reports, cleaned the way the result is going to be named; used as they are.
        meteor: whether to run METEOR, which needs Java and takes seconds.

    Returns:
        The values of ``METRICS``: BLEU, METEOR and ROUGE-L in [0, 1], CIDEr in [0, 10]. METEOR is None if it was not
        asked for or could not be run, which one printed sentence explains; CIDEr is None for a single study.

    Raises:
        ValueError: if the lists are empty, of different length, or hold something else than text.
        ModuleNotFoundError: if pycocoevalcap is not installed.
    """
    return score_reports(predictions, references, meteor)[0]


def nlg_scores_per_study(
    predictions: Sequence[str], references: Sequence[str], meteor: bool = True
) -> dict[str, np.ndarray | None]:
    """Scores of every single report, in the order given; see :func:`nlg_scores`.

    BLEU and METEOR of a set are not the mean of these values, since they pool counts over the set.

    Args:
        predictions: n generated reports.
        references: n reference reports.
        meteor: whether to run METEOR.

    Returns:
        ``(n,)`` float64 by metric, or None for METEOR as in :func:`nlg_scores`.

    Raises:
        ValueError: as in :func:`nlg_scores`.
        ModuleNotFoundError: as in :func:`nlg_scores`.
    """
    return score_reports(predictions, references, meteor)[1]


def score_reports(
    predictions: Sequence[str], references: Sequence[str], meteor: bool = True
) -> tuple[dict[str, float | None], dict[str, np.ndarray | None]]:
    """Both results of one pass: those of :func:`nlg_scores` and of :func:`nlg_scores_per_study`.

    Args:
        predictions: n generated reports.
        references: n reference reports.
        meteor: whether to run METEOR.

    Returns:
        Scores of the set, and ``(n,)`` float64 scores of the studies, both by metric.

    Raises:
        ValueError: as in :func:`nlg_scores`.
        ModuleNotFoundError: as in :func:`nlg_scores`.
    """
    check_reports(predictions, references)
    hypotheses = [postprocess_prediction(text) for text in predictions]
    with MeteorRun(hypotheses, references) if meteor else nullcontext() as run:
        found = overlap(hypotheses, list(references))
        if run is not None:
            found = with_meteor(found, run.counts())
    return found.corpus, found.each


@dataclass(frozen=True)
class Overlap:
    """Word-overlap scores by metric: ``corpus`` of the set, ``each`` ``(n,)`` of the studies, ``sums`` behind the set's."""

    corpus: dict[str, float | None]
    each: dict[str, np.ndarray | None]
    sums: StudySums


def overlap(hypotheses: Sequence[str], references: Sequence[str]) -> Overlap:
    """Score hypotheses that are spaced like their references, METEOR left None.

    Args:
        hypotheses: n texts, see :func:`modules.corpus.text.postprocess_prediction`.
        references: n texts.

    Returns:
        The scores, CIDEr None for a single study (``NO_CIDER``); CIDEr's sums are per-study values whose document frequencies are those of all n references.

    Raises:
        ModuleNotFoundError: if pycocoevalcap is not installed.
    """
    try:
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer
        from pycocoevalcap.cider.cider import Cider
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scoring needs pycocoevalcap; install it with: pip install pycocoevalcap==1.2"
        ) from error
    truth = {i: [text] for i, text in enumerate(references)}
    generated = {i: [text] for i, text in enumerate(hypotheses)}
    scorer = BleuScorer(n=ORDERS)
    for i, hypothesis in enumerate(hypotheses):
        scorer += (hypothesis, truth[i])
    bleu, bleu_each = scorer.compute_score(option="closest", verbose=0)
    rouge_each = np.array([rouge_l(*pair) for pair in zip(hypotheses, references, strict=True)])
    cider, cider_each = Cider().compute_score(truth, generated)
    values = {"ROUGE_L": rouge_each, "CIDEr": np.asarray(cider_each)}
    if len(references) == 1:
        del values["CIDEr"]
        cider = cider_each = None
    corpus = dict(zip(METRICS, (*bleu, None, rouge_each.mean(), cider), strict=True))
    each = dict(zip(METRICS, (*bleu_each, None, rouge_each, cider_each), strict=True))
    return Overlap(
        {name: None if value is None else float(value) for name, value in corpus.items()},
        {name: None if value is None else np.asarray(value, dtype=np.float64) for name, value in each.items()},
        joined([_bleu_sums(scorer.ctest), means(values)]),
    )


def with_meteor(found: Overlap, counts: np.ndarray | None) -> Overlap:
    """The same scores and METEOR from its counts ``(n, 23)``; unchanged without counts."""
    if counts is None:
        return found
    sums = meteor_sums(counts)
    corpus, each = {**found.corpus, **sums.scores()}, {**found.each, **sums.figures(sums.values)}
    return Overlap(corpus, each, joined([found.sums, sums]))


def rouge_l(hypothesis: str, reference: str) -> float:
    """ROUGE-L of one pair, F-measure with beta 1.2.

    Source: Lin, 2004; the longest common subsequence holds one row of its table in the bits of one integer (Hyyrö, 2004).
    """
    said, wanted = hypothesis.split(" "), reference.split(" ")
    places: dict[str, int] = {}
    for i, word in enumerate(wanted):
        places[word] = places.get(word, 0) | 1 << i
    whole = row = (1 << len(wanted)) - 1
    for word in said:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & whole
    common = len(wanted) - row.bit_count()
    precision, recall = common / len(said), common / len(wanted)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if common else 0.0


def bleu_sums(hypotheses: Sequence[str], references: Sequence[str]) -> StudySums:
    """BLEU-1 to BLEU-4 alone, of as many hypotheses, see :func:`overlap`, as references."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=ORDERS)
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, [reference])
    return _bleu_sums(scorer.ctest)


def _bleu_sums(counts: Sequence[dict]) -> StudySums:
    """BLEU as a function of n-gram matches, n-gram counts and lengths.

    Source: Papineni et al., 2002, with the small constants of pycocoevalcap.
    """
    values = np.array([
        [*study["correct"], *study["guess"], study["testlen"], np.min(study["reflen"])] for study in counts
    ], dtype=np.float64)  # (n, 10)  # fmt: skip

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        matched, counted = sums[:, :ORDERS], sums[:, ORDERS : 2 * ORDERS]
        precision = np.cumprod((matched + _TINY) / (counted + _SMALL), axis=1)
        length = (sums[:, -2] + _TINY) / (sums[:, -1] + _SMALL)
        penalty = np.exp(np.minimum(0.0, 1 - 1 / length))
        return {f"BLEU_{k + 1}": precision[:, k] ** (1 / (k + 1)) * penalty for k in range(ORDERS)}

    return StudySums(values, figures)


def check_reports(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Check that both are lists of as many texts.

    Raises:
        ValueError: if they are not.
    """
    for name, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name} must be a list of texts; found a {type(texts).__name__} that is not one")
    if len(predictions) != len(references) or len(predictions) == 0:
        counts = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"found {counts}; expected as many of each, at least one")
