"""How long does it take to score a full test set, METEOR and intervals included?

python benchmarks/scoring.py [--pairs 3858] [--no-meteor]

Draws report pairs of the length of MIMIC-CXR findings (SynthCXR sentences, two systems), then runs what main_score.py runs
and prints the seconds of every part. The targets: 3,858 pairs in at most 60 seconds on 2 cores, 1,000 resamples in less than
10 of them, the labels of the references cached.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.timing import machine, verdict
from modules.corpus.text import postprocess_prediction, truncate_words
from modules.evaluation.metrics.clinical import frequency_thirds
from modules.evaluation.metrics.diversity import diversity
from modules.evaluation.metrics.meteor import meteor_statistics
from modules.evaluation.reports.results import comparisons
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler
from modules.labels import MIMIC_POSITIVE_RATES

SENTENCES = [
    f"{finding} {place}"
    for finding in (
        "there is a small pleural effusion", "no pneumothorax is seen", "the lungs are clear", "mild pulmonary edema",
        "patchy opacity may reflect atelectasis or pneumonia", "the heart is moderately enlarged", "an endotracheal tube ends",
        "no acute osseous abnormality is detected", "lung volumes are low", "there is no focal consolidation",
    )
    for place in ("on the left", "on the right", "at both bases", "as compared to the prior study", "", "in the upper lobe")
]  # fmt: skip


def draw(count: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """References of 20 to 130 words, and predictions that share half of their sentences."""
    references, predictions = [], []
    for _ in range(count):
        chosen = list(rng.choice(SENTENCES, size=rng.integers(4, 14)))
        references.append(" . ".join(chosen) + " .")
        kept = [sentence if rng.random() < 0.5 else str(rng.choice(SENTENCES)) for sentence in chosen]
        predictions.append(". ".join(kept) + ".")
    return predictions, references


def main() -> None:
    """Time every part of a scoring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3858)
    parser.add_argument("--meteor", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    predictions, full = draw(options.pairs, rng)
    references = [truncate_words(text, 100) for text in full]
    other = [predictions[i] for i in rng.permutation(len(predictions))]
    print(machine())
    words = np.mean([len(text.split()) for text in references])
    print(f"{options.pairs} pairs, {words:.0f} words a reference")
    started = time.perf_counter()
    if options.meteor:
        _timed("METEOR alone, one reference each",
               lambda: meteor_statistics([postprocess_prediction(text) for text in predictions], references))  # fmt: skip
    thirds = frequency_thirds(MIMIC_POSITIVE_RATES)
    labelling = "labels of the references"
    scorer = _timed(labelling, lambda: ReportScorer(references, RuleLabeler(), full=full, thirds=thirds))
    begun = time.perf_counter()
    systems = _timed("all scores, cut and whole references", lambda: scorer.systems({"a": predictions}, options.meteor))
    system = systems["a"]
    _timed("1,000 resamples of every figure", system.intervals)
    _timed("per class, with intervals", lambda: scorer.per_class(system))
    _timed("diversity", lambda: diversity(predictions, references, other, full))
    whole = time.perf_counter() - begun
    verdict("one system in all, seconds", whole, 60, f"{whole:.1f}", at_most=True)
    pair = scorer.systems({"a": predictions, "b": other}, meteor=False)
    _timed("comparison of two systems, 10,000 swaps", lambda: comparisons(pair, [("a", "b")], 1000, 0))
    print(f"{time.perf_counter() - started:8.1f} s  this program")


def _timed(what: str, run: Callable[[], Any]) -> Any:
    """Print the seconds of ``run`` and hand on what it returns."""
    started = time.perf_counter()
    result = run()
    print(f"{time.perf_counter() - started:8.1f} s  {what}", flush=True)
    return result


if __name__ == "__main__":
    main()
