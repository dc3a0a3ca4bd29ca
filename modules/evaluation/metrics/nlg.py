"""Word overlap of reports with their references: BLEU, ROUGE-L and CIDEr, as the published figures were made.

BLEU and CIDEr are those of pycocoevalcap; ROUGE-L is its formula with a faster longest common subsequence. METEOR has a file
of its own, :mod:`modules.evaluation.metrics.meteor`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modules.evaluation.metrics.sufficient_sums import StudySums, joined, means

NO_CIDER = "CIDEr of a single study is n/a: its document frequencies come from the references that are scored together"
ORDERS = 4  # longest n-gram of BLEU
BETA = 1.2  # recall against precision in ROUGE-L
_SMALL, _TINY = 1e-9, 1e-15  # what pycocoevalcap adds so that nothing is divided by zero


def overlap_sums(hypotheses: Sequence[str], references: Sequence[str]) -> StudySums:
    """Word overlap of hypotheses that are spaced like their references.

    Args:
        hypotheses: n texts, see :func:`modules.corpus.text.postprocess_prediction`.
        references: n texts, cleaned the way the result is going to be named; used as they are.

    Returns:
        ``BLEU_1`` to ``BLEU_4`` and ``ROUGE_L`` in [0, 1], ``CIDEr`` in [0, 10]; no CIDEr of a single study (``NO_CIDER``).
        CIDEr's sums are per-study values whose document frequencies are those of all n references.

    Raises:
        ModuleNotFoundError: if pycocoevalcap is not installed.
    """
    bleu = bleu_sums(hypotheses, references)
    values = {"ROUGE_L": np.array([rouge_l(*pair) for pair in zip(hypotheses, references, strict=True)])}
    if len(references) > 1:
        from pycocoevalcap.cider.cider import Cider  # on demand: only scoring needs it

        truth = {i: [text] for i, text in enumerate(references)}
        generated = {i: [text] for i, text in enumerate(hypotheses)}
        values["CIDEr"] = np.asarray(Cider().compute_score(truth, generated)[1])
    return joined([bleu, means(values)])


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
    """BLEU-1 to BLEU-4 as a function of n-gram matches, n-gram counts and lengths.

    Args:
        hypotheses: n texts, as in :func:`overlap_sums`.
        references: n texts.

    Raises:
        ModuleNotFoundError: if pycocoevalcap is not installed.

    Source: Papineni et al., 2002, with the small constants of pycocoevalcap.
    """
    try:
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer  # on demand: only scoring needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scoring needs pycocoevalcap; install it with: pip install pycocoevalcap==1.2"
        ) from error
    scorer = BleuScorer(n=ORDERS)
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, [reference])
    values = np.array([
        [*study["correct"], *study["guess"], study["testlen"], np.min(study["reflen"])] for study in scorer.ctest
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
