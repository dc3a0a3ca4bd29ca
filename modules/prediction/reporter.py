"""Reports of images: the same reading, retrieval and writing as in a test, without an annotation or a feature folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modules.corpus.annotations import Study
from modules.corpus.datasets import ReportDataset
from modules.corpus.pixels import is_blank, open_image
from modules.evaluation.generation import search_of, write_batches
from modules.labelling.labelers import RuleLabeler
from modules.labels import CONDITIONS, STATES
from modules.messages import UserError, escaped
from modules.options.parsing import parse_options
from modules.options.programs import MainTest
from modules.prediction.film_features import film_dataset
from modules.prediction.model_folder import TrainedModel
from modules.prediction.release import open_trained
from modules.retrieval.observation import ask
from modules.retrieval.references import set_references

FILMS_AT_ONCE = 64  # films held in memory: they are read, and the bank is searched for them, before their first report
ON_A_CPU = 16  # the same where reports take minutes, not seconds; more together are not faster there


@dataclass
class Films:
    """Films that a report can be written of."""

    dataset: ReportDataset
    distances: np.ndarray  # (n,) to what was retrieved, NaN where there is none
    strangeness: np.ndarray  # (n,), above 1 unlike the training images, NaN where that was not measured


class Reporter:
    """Writes reports with one trained model.

        reporter = Reporter.load("results/synth_cxr")
        for row in reporter.report(["film.png"]):
            print(row["report"])

    Args:
        trained: the model and everything that it reads.
        device: where to compute.
    """

    def __init__(self, trained: TrainedModel, device: torch.device) -> None:
        self.trained, self.device = trained, device
        self.options = options_of_a_test(trained.options)
        self.search = search_of(self.options.generation, RuleLabeler())

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Reporter:
        """A reporter from the folder of a training or a release; UserError if something that it needs is missing."""
        place = torch.device(device)
        return cls(open_trained(folder, place), place)

    def report(self, paths: str | Path | Sequence[str | Path]) -> list[dict[str, Any]]:
        """Read films and write their reports.

        Args:
            paths: n PNG, JPEG or DICOM files; one path is a list of one.

        Returns:
            n rows, in order, see :meth:`stream`.
        """
        return list(self.stream(paths))

    def stream(self, paths: str | Path | Sequence[str | Path]) -> Iterator[dict[str, Any]]:
        """The rows of :meth:`report` as they are written, batch by batch, with a few films in memory at a time.

        Yields:
            ``image``, and either ``error`` (a sentence) or ``report``, ``mean_token_log_probability``, ``strangeness``
            (above 1 the image is ``unlike_training``; both None where it was not measured), ``states`` (state by condition),
            ``probability`` (P(positive) by condition), ``retrieved`` (study or None), ``retrieved_report`` and
            ``retrieval_distance``.
        """
        named = [paths] if isinstance(paths, str | Path) else paths
        at_once = ON_A_CPU if self.device.type == "cpu" else FILMS_AT_ONCE
        for start in range(0, len(named), at_once):
            yield from self._rows_of([Path(path).resolve() for path in named[start : start + at_once]])

    def _rows_of(self, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """The rows of a few films, in order; a film that is named twice is read once."""
        rows: dict[Path, dict[str, Any]] = {}
        for path in paths:
            try:
                if escaped(path) != str(path):
                    raise UserError(
                        f"the image {escaped(path)} has a name that is no UTF-8, which no table can hold: rename it"
                    )
                if not path.is_file():
                    what = "is a folder" if path.is_dir() else "does not exist"
                    raise UserError(f"the image {path} {what}: give the path of a PNG, JPEG or DICOM file")
                if is_blank(open_image(path)):
                    raise UserError(
                        f"the image {path} is one grey value throughout, so there is nothing to report: look at it, and export it again"
                    )
            except (UserError, OSError) as error:
                rows[path] = {"image": escaped(path), "error": str(error)}
        readable = [path for path in dict.fromkeys(paths) if path not in rows]
        written = zip(readable, self._write(readable), strict=True) if readable else iter(())
        for path in paths:
            if path not in rows:
                rows |= [next(written)]  # in the order of the readable ones
            yield rows[path]

    def films(self, paths: Sequence[Path]) -> Films:
        """Films, every one readable, as a data set whose references were retrieved."""
        trained, options = self.trained, self.options
        studies = [Study(id=str(path), image_path=(str(path),), report="", split="test") for path in paths]
        dataset, strangeness = film_dataset(studies, trained)
        retrieval = trained.model.config.retrieval
        queries = ask(trained.model, dataset, retrieval, options)
        distances = set_references(trained.model, dataset, retrieval, queries, False, options.runtime.seed)
        return Films(dataset, distances, strangeness)

    def _write(self, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """The rows of films that can be read, batch by batch."""
        films, options = self.films(paths), self.options
        batches = write_batches(
            self.trained.model,
            films.dataset,
            self.search,
            device=self.device,
            precision=options.compute.precision,
            loading=replace(options.loading, num_workers=0),
        )
        for index, row in chain.from_iterable(batches):
            known = row if self.trained.bank_text else {**row, "retrieved_report": None}
            yield _readable(known, films.distances[index], films.strangeness[index])


def options_of_a_test(options: dict[str, Any]) -> MainTest:
    """How main_test.py reads and writes after a training with these options."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return parse_options(MainTest, [*words, "--num_workers", "0"])


def _readable(row: dict[str, Any], distance: float, strangeness: float) -> dict[str, Any]:
    """A row of :func:`modules.evaluation.generation.generate_reports` as :meth:`Reporter.stream` yields it."""
    return {
        "image": row["image"],
        "report": row["prediction"],
        "mean_token_log_probability": row["mean_token_log_probability"],
        "unlike_training": None if np.isnan(strangeness) else bool(strangeness > 1),
        "strangeness": None if np.isnan(strangeness) else round(float(strangeness), 3),
        "states": {name: STATES[state] for name, state in zip(CONDITIONS, row["states"], strict=True)},
        "probability": dict(zip(CONDITIONS, row["positive_probability"], strict=True)),
        "retrieved": row["retrieved"],
        "retrieved_report": row["retrieved_report"],
        "retrieval_distance": None if np.isnan(distance) else round(float(distance), 6),
    }
