"""What preparing a data set takes on this machine, measured on a few of its own studies."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.corpus.annotations import SPLITS, Study, check_images, read_annotation
from modules.corpus.datasets import prepare_reports
from modules.corpus.images import normalise_pixels, read_image
from modules.corpus.manifest import MANIFEST
from modules.corpus.store import FeatureStore
from modules.corpus.text import split_sentences
from modules.distributed import autocast
from modules.labelling.labelers import find_labeler
from modules.labelling.mentions import entity_mentions
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.options.flags import DataOptions
from modules.options.preparation_flags import PreparationOptions
from modules.options.programs import MainPrepare
from modules.options.set_size import fit_to_size, size_defaults
from modules.preparation.features.entities import scorer_origin
from modules.preparation.features.entity_training import scorer_recipe
from modules.preparation.features.text_features import find_text_encoder, report_and_sentence_features
from modules.preparation.raw.images import copy_path
from modules.preparation.raw.pixels import write_copy
from modules.preparation.raw.readers import read_raw
from modules.preparation.raw.studies import RawDataset
from modules.records import plain, sha256_of
from modules.retrieval.neighbours import label_neighbours, memory_indices
from modules.throughput import Cost, duration

FILMS, REPORTS = 4, 400  # looked at; a full-size step of four films takes seconds on a CPU
BANK, QUERIES = 8192, 256  # rows of the searches that are timed


def estimate(options: MainPrepare, device: torch.device) -> tuple[list[Cost], dict[str, list[str]]]:
    """What preparing from the raw files, or from the annotation if there are none, would take; nothing is written.

    Args:
        options: of ``main_prepare.py``; for one's own data set changed to fit the number of studies, as the preparation does.
        device: where networks run.

    Returns:
        The costs, and the reports by split.

    Raises:
        UserError: if the raw files or the annotation cannot be used.
    """
    if not options.raw.raw_dir:
        splits = read_annotation(options.data.ann_path)
        check_images([study for studies in splits.values() for study in studies], options.data.image_dir)
        reports = {split: [study.report for study in studies] for split, studies in splits.items()}
        _fit(options, reports)
        return preparation_costs(options, splits, device), reports
    dataset = read_raw(options, True)
    dataset.require_studies(options.raw.raw_dir)
    reports = {split: [study.report for study in dataset.studies if study.split == split] for split in SPLITS}
    _fit(options, reports)
    return raw_costs(options, dataset, device), reports


def _fit(options: MainPrepare, reports: dict[str, list[str]]) -> None:
    if options.data.dataset_name == "custom" and reports["train"]:
        fit_to_size(options, size_defaults(len(reports["train"])))


def raw_costs(options: MainPrepare, dataset: RawDataset, device: torch.device) -> list[Cost]:
    """:func:`estimate` of raw files that have been read, their images among them."""
    splits: dict[str, list[Study]] = {split: [] for split in SPLITS}
    raw_path: dict[str, str] = {}
    root, suffix = dataset.require_root(), options.raw.copy_format
    for study in dataset.studies:
        copies = tuple(copy_path(image, suffix) for image in study.images)
        raw_path |= dict(zip(copies, study.images, strict=True))
        split = str(study.split)
        splits[split].append(
            Study(
                id=study.id,
                image_path=copies,
                report=study.report,
                split=split,
                patient=study.patient,
                labels=study.labels,
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        for study in _sample([study for split in splits.values() for study in split], FILMS):
            image = study.image_path[0]
            write_copy(root, Path(folder), options.raw.resize or 1 << 16, suffix, (image, raw_path[image]))
        there = replace(options, data=replace(options.data, image_dir=folder))
        costs = preparation_costs(there, splits, device)
    if options.raw.resize:
        costs.insert(0, copying_costs(options, [*raw_path.values()], root))
    return costs


def _sample(things: Sequence, count: int) -> list:
    """``count`` of the things, evenly spread over all of them; all of fewer."""
    return list(things[:: max(1, len(things) // count)][:count])


def preparation_costs(options: MainPrepare, splits: dict[str, list[Study]], device: torch.device) -> list[Cost]:
    """What labels, scorer, scores, text features, neighbours and memory of the whole data set take, in seconds and on disk.

    A scorer and scores that lie in the feature folder, made as these options make them, cost nothing.

    Args:
        options: of ``main_prepare.py``.
        splits: studies whose images lie in ``--image_dir``.
        device: where networks run.
    """
    studies = [study for split in splits.values() for study in split]
    n, N = len(studies), len(splits["train"])
    owns_bank = Path(options.data.bank_dir) == Path(options.data.feature_dir)
    sample = _sample(studies, REPORTS)
    costs = []
    if any(study.labels is None for study in studies):
        costs.append(_labels(options, sample, n, device))
    if options.scorer.entity_scorer == "own" and options.preparation.published in (None, "none"):
        costs += _scorer(options, _sample(studies, FILMS), n, N if owns_bank else 0, device)
    if owns_bank:
        costs += [_texts(options, sample, N, device), _neighbours(options.preparation, N, device)]
    return [*costs, _memory(options.preparation, sample, n, N or n, device)]


def copying_costs(options: MainPrepare, images: Sequence[str], source: Path) -> Cost:
    """Copies of the raw images (``--resize``), which all workers share."""
    sample = _sample(images, 4 * FILMS)
    with tempfile.TemporaryDirectory() as folder:
        suffix = options.raw.copy_format
        jobs = [(f"{number}.{suffix}", image) for number, image in enumerate(sample)]
        seconds = _timed(lambda: [write_copy(source, Path(folder), options.raw.resize, suffix, job) for job in jobs])
        size = float(np.mean([path.stat().st_size for path in Path(folder).iterdir()] or [0]))
    each, workers = seconds / len(sample), max(1, options.loading.num_workers)
    basis = f"{each:.3f} s an image, {workers} workers"
    return Cost(f"copies of {len(images):,} images", each * len(images) / workers, basis, size * len(images))


def _timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes, a GPU's part of it included."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return max(time.perf_counter() - started, 1e-6)


def _labels(options: MainPrepare, sample: Sequence[Study], n: int, device: torch.device) -> Cost:
    bert = None if options.scorer.entity_scorer == "medklip" else options.labeler.bert_path
    labeler = find_labeler(options.labeler.chexbert_path, bert, device)
    labelled = sample if labeler.name == "rule" else sample[:16]
    each = _timed(lambda: labeler([study.report for study in labelled])) / len(labelled)
    return Cost(f"labels ({labeler.name})", each * n, f"{each:.4f} s a report", n * len(CONDITIONS))


def _scorer(options: MainPrepare, sample: Sequence[Study], n: int, bank: int, device: torch.device) -> list[Cost]:
    """Training the entity scorer on ``bank`` studies (0: the bank of another data set brings its own), and scoring n images."""
    config, schedule = scorer_recipe(options)
    scorer = EntityScorer(config).to(device).to(memory_format=torch.channels_last)
    paths = [Path(options.data.image_dir) / study.image_path[0] for study in sample]

    def open_films() -> list[Tensor]:
        return [read_image(path, config.image_size) for path in paths]

    pixels = open_films()
    opening = _timed(open_films) / len(sample)
    image = normalise_pixels(torch.stack(pixels).to(device)).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with autocast(device, schedule["precision"]):
            logits, _ = scorer(image)
        F.binary_cross_entropy_with_logits(logits.float(), torch.zeros_like(logits.float())).backward()

    @torch.no_grad()
    def look() -> None:
        scorer.eval()(image)

    trained, read_already = _made_before(options.data, config, schedule)
    if read_already:
        return []
    step()  # the first one is slower than all others
    learning = _timed(step) / len(sample)
    look()
    looking = _timed(look) / len(sample)
    workers = max(1, options.loading.num_workers)
    learning, looking = (max(seconds, opening / workers) for seconds in (learning, looking))
    E, width = scorer.config.width, np.dtype(options.preparation.feature_dtype).itemsize
    disk = n * len(ENTITIES) * 4 + (n * len(ENTITIES) * E * width if options.data.features == "stored" else 0)
    costs = [Cost("entity scores", looking * n, f"{looking:.4f} s an image", disk)]
    if bank and not trained:
        epochs, patience = int(schedule["epochs"]), int(schedule["patience"])
        basis = f"{learning:.4f} s a study, at most {epochs} epochs"
        if 0 < patience < epochs - 1:
            basis += f", at least {patience + 1} ({duration(learning * bank * (patience + 1))})"
        size = sum(parameter.numel() for parameter in scorer.parameters()) * 4
        costs.insert(0, Cost("entity scorer", learning * bank * epochs, basis, size))
    return costs


def _made_before(data: DataOptions, config: EntityScorerConfig, schedule: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the entity scorer of these options has been trained on the annotation, and has read every image."""
    path, annotation = Path(data.bank_dir) / "entity_scorer.pth", Path(data.ann_path)
    if not (path.is_file() and annotation.is_file()):
        return False, False
    known, source = scorer_origin(path), {"annotation": sha256_of(annotation)}
    own = Path(data.bank_dir) == Path(data.feature_dir)
    wanted = plain({**source, **asdict(config), **schedule}) if own else {}
    wanted.pop("num_workers", None)
    if own and not (known and all(plain(known).get(name) == value for name, value in wanted.items())):
        return False, False
    made = {**source, "scorer": sha256_of(path)}
    names = ["region_scores"] + (["region_text"] if data.features == "stored" else [])
    folder = Path(data.feature_dir)
    store = FeatureStore.open(folder) if (folder / MANIFEST).is_file() else None
    origins = [store.entry(name)["made_by"] if store and name in store else {} for name in names]
    return True, all(origin.get(name) == value for origin in origins for name, value in made.items())


def _texts(options: MainPrepare, sample: Sequence[Study], bank: int, device: torch.device) -> Cost:
    wanted = options.preparation
    reports = prepare_reports([study.report for study in sample], options.data.cleaning, options.data.max_words)
    sentences = [sentence for report in reports for sentence in split_sentences(report)]
    how = (wanted.text_encoder, sentences, wanted.text_width, 0, wanted.text_pooling, device)
    encoder = find_text_encoder(*how)
    each = _timed(lambda: report_and_sentence_features(encoder, reports)) / len(reports)
    if wanted.text_encoder == "lsa":
        each += _timed(lambda: find_text_encoder(*how)) / len(reports)
    size = np.dtype(wanted.feature_dtype).itemsize * wanted.text_width
    disk = bank * size * (1 + len(sentences) / len(reports))
    return Cost("text features", each * bank, f"{each:.4f} s a report", disk)


def _neighbours(wanted: PreparationOptions, bank: int, device: torch.device) -> Cost:
    rows, k = min(bank, BANK), max(1, min(wanted.neighbours, bank - 1))
    labels = np.random.default_rng(0).integers(0, len(STATES), (rows, len(CONDITIONS)), dtype=np.int8)
    seconds = _timed(lambda: label_neighbours(labels, None, min(k, max(1, rows - 1)), device=device))
    basis = f"{seconds:.2f} s for {rows:,}, with the square of the studies"
    return Cost("label neighbours", seconds * (bank / max(rows, 1)) ** 2, basis, bank * k * 4)


def _memory(wanted: PreparationOptions, sample: Sequence[Study], n: int, bank: int, device: torch.device) -> Cost:
    """Every image against every report of the bank, whose mentions are found first."""
    rng, size = np.random.default_rng(0), wanted.memory_size
    rows, queries = min(bank, BANK), min(n, QUERIES)
    reports = [study.report for study in sample]
    finding = _timed(lambda: entity_mentions(reports)) / len(reports)
    mentions = entity_mentions(reports)[rng.integers(0, len(reports), rows)]  # (rows, K)
    scores = rng.random((queries, len(ENTITIES)), dtype=np.float32)
    groups: dict[str, Any] = {"query_groups": np.full(queries, -1), "bank_groups": np.arange(rows)}
    pair = _timed(lambda: memory_indices(scores, mentions, size, **groups, device=device)) / (queries * rows)
    basis = f"{pair * 1e9:.0f} ns a pair of image and report, {finding:.5f} s a report"
    return Cost("memory", pair * n * bank + finding * bank, basis, n * size * 4)
