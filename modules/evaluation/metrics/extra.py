"""Metrics of others through RadEval, where it is installed.

radgraph           RadGraph-XL F1 on three levels
radgraph_radcliq   mean of the F1s of entities and relations by the first RadGraph, which ReXrank shows
radcliq            RadCliQ-v1
bertscore          RadEval's BERTScore: distilbert-base-uncased
rexrank_bertscore  ReXrank's BERTScore: distilroberta-base, layer 5, rescaled, without idf
green ratescore srrbert
crimson            by its open model on this machine; age and indication are given to it where the references' file has them

Nothing here is imported, and nothing is fetched, unless a flag names the metric: RadEval takes the weights from the
Hugging Face hub, from its cache when ``HF_HUB_OFFLINE=1`` is set, or from a folder (``--metric_models``).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from modules.corpus.tables import plain_heading
from modules.corpus.text import normalise_whitespace
from modules.evaluation.metrics.sufficient_sums import StudySums, means, ratio
from modules.messages import UserError

INSTALL = "pip install -r requirements/metrics.txt (on Python 3.11 then pip install 'spacy>=3.8,<4')"
CONTEXT = ("age", "indication")  # of a patient, which CRIMSON reads


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


def extra_sums(
    name: str,
    predictions: Sequence[str],
    references: Sequence[str],
    rows: Sequence[Mapping[str, object]] = (),
    models: str | Path | None = None,
) -> tuple[StudySums | None, str]:
    """Run one of ``EXTRA_METRICS``.

    Args:
        name: of the metric.
        predictions: n generated reports.
        references: n references.
        rows: cells of the references' file, n or none.
        models: folder with the models under the hub's names.

    Returns:
        The sums, or None and one sentence that says what is missing and how to get it.
    """
    try:
        with local_models(models):  # some of what it imports fetches data at once
            RadEval = _radeval()
    except ImportError as error:
        return None, f"RadEval cannot be imported ({error}): {INSTALL}, then repeat the command"
    texts = [normalise_whitespace(text) or "." for text in (*references, *predictions)]
    refs, hyps = texts[: len(references)], texts[len(references) :]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), local_models(models):
            warnings.simplefilter("ignore")
            found = _OWN_WAY.get(name, _by_name(name))(RadEval, refs, hyps, rows)
    except UserError:
        raise
    except Exception as error:  # a metric of someone else may fail in any way; the others must go on
        reason = normalise_whitespace(str(error))[:200] or type(error).__name__
        return (
            None,
            f"it could not be run ({reason}): its weights come from the Hugging Face hub, or from --metric_models",
        )
    values = {key: np.asarray(value, dtype=np.float64) for key, value in found.items()}
    if not values or any(value.shape != (len(references),) for value in values.values()):
        return None, f"this RadEval does not give one value per report: {INSTALL}, then repeat the command"
    nothing = max(int(np.isnan(value).sum()) for value in values.values())
    if nothing:
        return (
            None,
            f"it gave no value for {nothing} of {len(references)} reports: a mean over the others would not be comparable",
        )
    return (_inverse_mean(values) if name == "radcliq" else means(values)), ""


Run = Callable[[Any, list[str], list[str], Sequence[Mapping[str, object]]], Mapping[str, Sequence[float]]]


def _by_name(name: str) -> Run:
    def run(radeval: Any, refs: list[str], hyps: list[str], _: object) -> Mapping[str, Sequence[float]]:
        return radeval(metrics=[name], per_sample=True, show_progress=False)(refs=refs, hyps=hyps)

    return run


def _rexrank_bertscore(_: Any, refs: list[str], hyps: list[str], __: object) -> Mapping[str, Sequence[float]]:
    """Source: CXR-Report-Metric, which ReXrank runs: F1, rescaled with the package's baseline, no idf."""
    from radeval.metrics.bertscore.bertscore import BertScore

    return {"rexrank_bertscore": BertScore(model_type="distilroberta-base", num_layers=5)(refs, hyps)[1]}


def _crimson(
    radeval: Any, refs: list[str], hyps: list[str], rows: Sequence[Mapping[str, object]]
) -> Mapping[str, Sequence[float]]:
    scorer = radeval(metrics=["crimson"], per_sample=True, show_progress=False).crimson_scorer
    contexts = [context_of(row) for row in rows] if len(rows) == len(refs) else None
    return {"crimson": scorer(refs, hyps, patient_contexts=contexts)[2]}


_OWN_WAY: dict[str, Run] = {"rexrank_bertscore": _rexrank_bertscore, "crimson": _crimson}


def context_of(row: Mapping[str, object]) -> dict[str, str] | None:
    """Age and indication of a study, None where its row has neither."""
    cells = {plain_heading(name): str(value).strip() for name, value in row.items() if value not in (None, "")}
    return {name: cells[name] for name in CONTEXT if cells.get(name, "nan").casefold() != "nan"} or None


@contextlib.contextmanager
def local_models(folder: str | Path | None) -> Iterator[None]:
    """Let models be taken from a folder that holds them under the hub's names, and nothing be fetched.

    ``folder/distilroberta-base/config.json`` is the model that transformers calls ``distilroberta-base``, if the program
    stands in ``folder``; single files of a repository (``folder/StanfordAIMI/RRG_scorers/radgraph-xl.tar.gz``) and the data
    of nltk (``folder/nltk_data``) are looked for there too.

    Raises:
        UserError: if there is no such folder.
    """
    if folder is None:
        yield
        return
    place = Path(folder).resolve()
    if not place.is_dir():
        raise UserError(
            f"--metric_models {folder} is no folder: give the one that holds distilroberta-base/ and its like"
        )
    import huggingface_hub

    original, before = huggingface_hub.hf_hub_download, Path.cwd()

    def download(repo_id: str, filename: str, **options: Any) -> str:
        if not (place / repo_id / filename).is_file():
            raise FileNotFoundError(f"{repo_id}/{filename} is not in {folder}")
        return str(place / repo_id / filename)

    settings = {"NLTK_DATA": str(place / "nltk_data"), "HF_HUB_OFFLINE": "1"}
    kept = {name: os.environ.get(name) for name in settings}
    try:
        for module in (huggingface_hub, *_users(original)):
            module.hf_hub_download = download  # type: ignore[attr-defined]
        os.environ.update(settings)
        os.chdir(place)
        with _nltk_data(place / "nltk_data"):
            yield
    finally:
        os.chdir(before)
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        for module in (huggingface_hub, *_users(download)):  # those too that were imported meanwhile
            module.hf_hub_download = original  # type: ignore[attr-defined]


def _users(function: Any) -> list[ModuleType]:
    """RadEval's modules that have imported a function of the hub by its name."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("radeval") and getattr(module, "hf_hub_download", None) is function
    ]


@contextlib.contextmanager
def _nltk_data(folder: Path) -> Iterator[None]:
    """Let nltk read a folder and fetch nothing; where nltk is not installed, nothing is needed."""
    try:
        import nltk
    except ImportError:
        yield
        return
    fetch, paths = nltk.download, list(nltk.data.path)
    try:
        nltk.download, nltk.data.path = (lambda *_, **__: True), [str(folder), *paths]
        yield
    finally:
        nltk.download, nltk.data.path = fetch, paths


def _inverse_mean(values: dict[str, np.ndarray]) -> StudySums:
    """RadCliQ is an error; what is reported is 1 over its mean."""
    sums = means(values)
    return StudySums(
        sums.values, lambda summed: {name: ratio(np.ones(()), value) for name, value in sums.figures(summed).items()}
    )
