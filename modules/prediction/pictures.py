"""What can be looked at after a prediction: the page without references, and attention figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modules.corpus.dataloaders import evaluation_batches, evaluation_loader
from modules.evaluation.reports.attention_figures import plot_studies
from modules.evaluation.reports.attention_maps import MapKeeper
from modules.evaluation.reports.viewer import write_viewer
from modules.labelling.labelers import RuleLabeler
from modules.labels import STATES
from modules.prediction.reporter import Reporter
from modules.prediction.writing import NOTE


@torch.no_grad()
def draw_page(reporter: Reporter, rows: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write ``index.html`` of reports: image, overlays, report, states, retrieved report; no references, no scores.

    Args:
        reporter: that wrote them.
        rows: of the films to show, as :meth:`modules.prediction.reporter.Reporter.stream` yields them.
        folder: of the page.
    """
    dataset = reporter.films([Path(row["image"]) for row in rows]).dataset
    keeper, size = MapKeeper(len(rows)), reporter.options.loading.batch_size
    for batch in evaluation_loader(dataset, size, 0, evaluation_batches(len(dataset), size)):
        batch = dataset.to_device(batch, reporter.device)
        keeper(batch, reporter.trained.model.fuse(batch.study))
    metrics = {"protocol": {"split": "reports", "caption": NOTE}}
    return write_viewer(
        folder, dataset, as_tested(rows), metrics, RuleLabeler(), maps=keeper.gather(), disk=None, limit=len(rows)
    )  # fmt: skip


def draw_figures(reporter: Reporter, rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write one PNG and one PDF of maps per film into ``folder``; arguments as for :func:`draw_page`."""
    dataset = reporter.films([Path(row["image"]) for row in rows]).dataset
    places = list(range(len(rows)))
    return plot_studies(reporter.trained.model, dataset, as_tested(rows), places, folder, reporter.device)


def as_tested(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a prediction under the names that a test gives them, without references; ids are paths, as short as may be."""
    top = os.path.commonpath([os.path.dirname(row["image"]) for row in rows])
    return [
        {
            "id": Path(row["image"]).relative_to(top).as_posix(),
            "prediction": row["report"],
            "reference": "",
            "states": [STATES.index(state) for state in row["states"].values()],
            "positive_probability": list(row["probability"].values()),
            "retrieved": row["retrieved"],
            "retrieved_report": row["retrieved_report"] or "",
            "retrieval_distance": row["retrieval_distance"],
            "unlike_training": row["unlike_training"],
        }
        for row in rows
    ]
