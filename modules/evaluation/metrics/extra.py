"""RadGraph-F1, RadCliQ, BERTScore, GREEN and RaTEScore through RadEval, where it is installed.

Nothing here is imported, and nothing is fetched, unless a flag names the metric: RadEval takes the weights from the
Hugging Face hub, or from its cache when ``HF_HUB_OFFLINE=1`` is set.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from modules.corpus.text import normalise_whitespace
from modules.evaluation.metrics.sufficient_sums import StudySums, means, ratio
from modules.flags import EXTRA_METRICS

HOW = (
    "pip install -r requirements/metrics.txt (on Python 3.11 then pip install 'spacy>=3.8,<4'), then --extra_metrics "
    + " ".join(EXTRA_METRICS)
)


class _FormerName(MetaPathFinder, Loader):
    """Finds ``RadEval.x`` as ``radeval.x``: half the files of RadEval 2 import the package under its former name."""

    former, present = "RadEval", "radeval"

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A specification for the former name, None for every other one."""
        return ModuleSpec(name, self) if name.split(".")[0] == self.former else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of today's name; the import machinery would put the former one's specification into it."""
        module = importlib.import_module(self.present + spec.name[len(self.former) :])
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it has been run under today's name."""
        module.__spec__ = self.own


def _radeval() -> Any:
    """RadEval's class, importable under both names of its package."""
    if not any(isinstance(finder, _FormerName) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FormerName())  # before the one that would load its files a second time
    from radeval import RadEval

    return RadEval


def extra_sums(name: str, predictions: Sequence[str], references: Sequence[str]) -> tuple[StudySums | None, str]:
    """Run one of ``EXTRA_METRICS``.

    Args:
        name: of the metric.
        predictions: n generated reports.
        references: n references.

    Returns:
        The sums, or None and one sentence that says what is missing and how to get it.
    """
    try:
        RadEval = _radeval()
    except ImportError as error:
        return None, f"RadEval cannot be imported ({error}): {HOW}"
    texts = [normalise_whitespace(text) or "." for text in (*references, *predictions)]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            evaluate = RadEval(metrics=[name], per_sample=True, show_progress=False)
            found = evaluate(refs=texts[: len(references)], hyps=texts[len(references) :])
    except Exception as error:  # a metric of someone else may fail in any way; the others must go on
        reason = normalise_whitespace(str(error))[:200] or type(error).__name__
        return None, f"it could not be run ({reason}): its weights come from the Hugging Face hub"
    values = {key: np.asarray(value, dtype=np.float64) for key, value in found.items()}
    if not values or any(value.shape != (len(references),) for value in values.values()):
        return None, f"this RadEval does not give one value per report; {HOW}"
    return (_inverse_mean(values) if name == "radcliq" else means(values)), ""


def _inverse_mean(values: dict[str, np.ndarray]) -> StudySums:
    """RadCliQ is an error; what is reported is 1 over its mean."""
    sums = means(values)
    return StudySums(
        sums.values, lambda summed: {name: ratio(1.0, value) for name, value in sums.figures(summed).items()}
    )
