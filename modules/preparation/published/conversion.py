"""The files of the published REVTAF data set, read exactly as they are published and converted once.

    image_region_score_{split}.json   JSON lines, 75 numbers per study            region_scores
    region_txt_embeddings             .npy per image, (75, E)                     region_text
    labels_indices_{split}.json       JSON lines, 21 training rows per study      memory_indices, else clip_indices
    medclip_text_features.json        JSON lines, C numbers per training study    report_features
    medclip_txt_embeddings            .npy per training image, (S, C)             sentence_features
    hash_distance.json                training rows per training study            label_neighbours, else from the labels
    base_probs.json                   14 rates                                    base_probs.json, else from the labels

The two sets of .npy files may be a folder or an archive (.tar.gz, .tgz, .tar), which is read from front to back and never
unpacked. Rows are studies in the order of the annotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.kept_features import KeptFeatures
from modules.corpus.store import FeatureStore, are_rates
from modules.corpus.store_writing import FeatureRows, create_feature, write_feature
from modules.distributed import barrier, from_main, is_main, print_once
from modules.labels import CHEXPERT_CONDITIONS, ENTITIES
from modules.messages import Needed, UserError, require
from modules.options.flags import DataOptions
from modules.preparation.published.order import check_order, check_scores
from modules.preparation.published.reading import EmbeddingFiles, SentenceSpool, mark_of, number_rows, row_width
from modules.records import read_json
from modules.throughput import measured

SCORES, MEMORY = "image_region_score_{}.json", "labels_indices_{}.json"
REPORTS, NEIGHBOURS, RATES = "medclip_text_features.json", "hash_distance.json", "base_probs.json"
REGIONS, SENTENCES = "region_txt_embeddings", "medclip_txt_embeddings"
MOST_NEIGHBOURS = 100  # that are taken of a row of hash_distance.json
_GET = "download it from the links of the REVTAF-RRG repository, or leave out --published to build it"
_GET_SCORES = (
    "the published IU X-Ray files do not include it. MedKLIP, which made those of the bank, makes it from the images "
    "(checkpoints/README.md), without --published: python main_prepare.py --dataset_name {dataset_name} --ann_path {ann_path} "
    "--entity_scorer medklip --feature_dir {feature_dir} --bank_dir {bank_dir}"
)


class PublishedFiles:
    """The published files of one data set.

    Args:
        folder: where they lie.
        splits: the annotation that they belong to.
        owns_bank: whether the training split of this data set is the retrieval bank.
        exclude_same_patient: the published rows do not know patients, so that they are built instead.
    """

    def __init__(
        self, folder: Path, splits: Mapping[str, list[Study]], owns_bank: bool, exclude_same_patient: bool
    ) -> None:
        self.folder, self.owns_bank, self.exclude_same_patient = folder, owns_bank, exclude_same_patient
        self.splits = {split: studies for split, studies in splits.items() if studies}
        self.studies = [study for studies in self.splits.values() for study in studies]
        self.training = self.splits.get("train", [])

    def check(self, data: DataOptions) -> None:
        """Name everything that is missing at once.

        Args:
            data: ``features``, and the places that a command to make the scores names.

        Raises:
            UserError: if a file that cannot be built instead is missing; with ``--features online``: there is no scorer
                that would make the embeddings again.
        """
        if data.features == "online":
            raise UserError(
                "--published brings stored entity embeddings and no entity scorer: use --features stored, or leave out "
                "--published"
            )
        how = _GET if self.owns_bank else _GET_SCORES.format(**vars(data))
        needed = [Needed(self.folder / SCORES.format(s), f"entity scores, {s} split", how) for s in self.splits]
        needed.append(Needed(EmbeddingFiles(self.folder, REGIONS).path, "entity embeddings", _GET))
        if self.owns_bank:
            needed.append(Needed(self.folder / REPORTS, "report features", _GET))
            needed.append(Needed(EmbeddingFiles(self.folder, SENTENCES).path, "sentence features", _GET))
        require(needed)

    def base_rates(self) -> list[float] | None:
        """The published positive rates, or None.

        Raises:
            UserError: if the file holds anything else than 14 numbers.
        """
        path = self.folder / RATES
        if not path.is_file():
            return None
        rates = read_json(path)
        if not are_rates(rates):
            raise UserError(
                f"{path} does not hold a list of {len(CHEXPERT_CONDITIONS)} rates from 0 to 1: download it again"
            )
        return [float(rate) for rate in rates]

    def convert(self, kept: KeptFeatures, dtype: np.dtype, source: Mapping[str, Any]) -> None:
        """Bring scores and embeddings into a feature folder; called by all processes.

        Args:
            kept: the feature folder, with its axes, and what may be replaced in it.
            dtype: of the embeddings, float16 or float32.
            source: what every array depends on.

        Raises:
            UserError: if a file is damaged or does not belong to the annotation.
        """
        if self.owns_bank and (self.folder / NEIGHBOURS).is_file():
            store = FeatureStore.open(kept.folder)
            labels = np.asarray(store["labels"])[store.rows("studies", [study.id for study in self.training])]  # (N, L)
            check_order(self.folder / NEIGHBOURS, labels)
        scores = {split: self.folder / SCORES.format(split) for split in self.splits}
        made_by = {**source, "published": [mark_of(path) for path in scores.values()]}
        shape = (len(self.studies), len(ENTITIES))
        if not kept.current(made_by, "region_scores"):
            rows = self._split_rows(scores, shape[1])
            self._stream(kept.folder, "region_scores", rows, shape, np.float32, "studies", made_by)
        store = FeatureStore.open(kept.folder)
        for split, studies in self.splits.items():
            studies = [study for study in studies if study.report]
            mine = store.rows("studies", [study.id for study in studies])
            check_scores(scores[split], np.asarray(store["region_scores"][mine]), [study.report for study in studies])
        self._region_text(kept, dtype, source)
        if self.owns_bank:
            path = self.folder / REPORTS
            made_by = {**source, "published": mark_of(path), "dtype": dtype.name}
            if not kept.current(made_by, "report_features"):
                width = row_width(path)
                rows = _checked(path, number_rows(path), len(self.training), width)
                shape = (len(self.training), width)
                self._stream(kept.folder, "report_features", rows, shape, dtype, "training", made_by)
            self._sentences(kept, dtype, source)

    def memory(self, kept: KeptFeatures, bank: TrainingBank, source: Mapping[str, Any]) -> bool:
        """Bring ``memory_indices`` in; false if neither the files nor the annotation have them for every study."""
        files = {split: self.folder / MEMORY.format(split) for split in self.splits}
        have_files = all(path.is_file() for path in files.values())
        if self.exclude_same_patient or not (have_files or all(study.memory_indices for study in self.studies)):
            print_once("published: no labels_indices files and no clip_indices that may be used: the memory is built")
            return False
        marks = [mark_of(path) for path in files.values()] if have_files else "clip_indices"
        made_by = {**source, "published": marks, "bank": len(bank)}
        if not kept.current(made_by, "memory_indices"):
            if have_files:
                width = row_width(next(iter(files.values())))
                rows = self._split_rows(files, width)
            else:
                known = [study.memory_indices or () for study in self.studies]
                width = min(map(len, known))
                rows = (np.array(numbers[:width]) for numbers in known)
            row_of = {identifier: row for row, identifier in enumerate(bank.ids)} if self.owns_bank else {}
            others = _without_self(rows, [row_of.get(study.id, -1) for study in self.studies], len(bank), "memory")
            repeated = (np.resize(row, width) for row in others)
            shape = (len(self.studies), width)
            self._stream(kept.folder, "memory_indices", repeated, shape, np.int32, "studies", made_by)
        return True

    def neighbours(self, kept: KeptFeatures, source: Mapping[str, Any]) -> bool:
        """Bring ``label_neighbours`` in; false if there is no file of them that may be used."""
        path, N = self.folder / NEIGHBOURS, len(self.training)
        if self.exclude_same_patient or not path.is_file():
            print_once(f"published: no {NEIGHBOURS} that may be used: label neighbours are built")
            return False
        made_by = {**source, "published": mark_of(path)}
        if not kept.current(made_by, "label_neighbours") and is_main():
            bar = tqdm(number_rows(path), desc="label_neighbours", total=N, unit="study", delay=2)
            rows = (np.array(row[: MOST_NEIGHBOURS + 1]) for row in bar)
            with measured("published label_neighbours", N):
                others = list(_without_self(_counted(path, rows, N), range(N), N, "neighbours"))
            k = min(MOST_NEIGHBOURS, *map(len, others))
            array = np.array([row[:k] for row in others], dtype=np.int32)
            name, shape = "label_neighbours", array.shape
            with create_feature(
                kept.folder, name, shape=shape, dtype=np.int32, axis="training", made_by=made_by
            ) as out:
                out[...] = array
        barrier()
        return True

    def _split_rows(self, files: Mapping[str, Path], width: int) -> Iterator[np.ndarray]:
        for split, path in files.items():
            yield from _checked(path, number_rows(path), len(self.splits[split]), width)

    def _stream(
        self,
        target: Path,
        name: str,
        rows: Iterator[np.ndarray],
        shape: tuple[int, int],
        dtype: Any,
        axis: str,
        made_by: Mapping[str, Any],
    ) -> None:
        """Write rows as they come; the main process reads."""
        if is_main():
            bar = tqdm(rows, desc=name, total=shape[0], unit="study")
            feature = create_feature(target, name, shape=shape, dtype=dtype, axis=axis, made_by=made_by)
            with measured(f"published {name}", shape[0]), feature as array:
                for number, row in enumerate(bar):
                    array[number] = row
        barrier()

    def _region_text(self, kept: KeptFeatures, dtype: np.dtype, source: Mapping[str, Any]) -> None:
        files = EmbeddingFiles(self.folder, REGIONS)
        made_by = {**source, "published": mark_of(files.path), "dtype": dtype.name}
        if kept.current(made_by, "region_text"):
            return
        width = from_main(lambda: files.width(self.studies))
        shape = (len(self.studies), len(ENTITIES), width)
        array = FeatureRows(kept.folder, "region_text", shape=shape, dtype=dtype, axis="studies", made_by=made_by)
        if is_main():
            waiting = array.waiting()
            try:
                with measured("published region_text", len(waiting)):
                    for row, value in files.read(self.studies, waiting, shape[1:], "region_text"):
                        array.write([row], value[None])
            finally:
                array.flush()
        array.finish()

    def _sentences(self, kept: KeptFeatures, dtype: np.dtype, source: Mapping[str, Any]) -> None:
        files = EmbeddingFiles(self.folder, SENTENCES)
        width = FeatureStore.open(kept.folder)["report_features"].shape[1]
        made_by = {**source, "published": mark_of(files.path), "dtype": dtype.name, "width": width}
        if kept.current(made_by, "sentence_features", "sentence_offsets"):
            return
        offsets = None
        if is_main():
            with SentenceSpool(kept.folder, len(self.training), width, dtype, made_by) as spool:
                waiting = spool.waiting()
                with measured("published sentence_features", len(waiting)):
                    for row, value in files.read(self.training, waiting, (None, width), "sentence_features"):
                        spool.add(row, value)
            offsets = spool.offsets()
            shape, name = (int(offsets[-1]), width), "sentence_features"
            feature = create_feature(kept.folder, name, shape=shape, dtype=dtype, axis="sentences", made_by=made_by)
            with measured("published sentence_features in order", len(self.training)), feature as array:
                for row, value in spool.rows():
                    array[offsets[row] : offsets[row] + len(value)] = value
        barrier()
        every = from_main(lambda: np.asarray(offsets))
        write_feature(kept.folder, "sentence_offsets", every, axis="sentences", made_by=made_by)


def _checked(path: Path, rows: Iterator[list], count: int, width: int) -> Iterator[np.ndarray]:
    """Rows as numbers; UserError unless there are ``count`` of ``width`` finite numbers."""
    for number, row in enumerate(_counted(path, rows, count), start=1):
        values = np.array(row, dtype=np.float64) if len(row) == width else np.array(np.nan)
        if not np.isfinite(values).all():
            raise UserError(
                f"row {number} of {path} does not hold {width} finite numbers (found {len(row)} values): copy the file again"
            )
        yield values


def _counted(path: Path, rows: Iterator[Any], count: int) -> Iterator[Any]:
    """The rows; UserError unless there are ``count``."""
    found = 0
    for row in rows:
        found += 1
        if found <= count:
            yield row
    if found != count:
        raise UserError(
            f"{path} has {found} rows but the annotation has {count} studies for it: give the annotation that the files "
            "were published with"
        )


def _without_self(rows: Iterator[np.ndarray], own: Sequence[int], bank_size: int, what: str) -> Iterator[np.ndarray]:
    """Training rows of every study without its own, of which the number is printed; UserError if one is no row."""
    dropped = 0
    for mine, row in zip(own, rows, strict=True):
        values = np.nan_to_num(row, nan=-1, posinf=-1, neginf=-1).astype(np.int64)
        if len(values) == 0 or (values != row).any() or values.min() < 0 or values.max() >= bank_size:
            raise UserError(
                f"the published {what} name rows outside the {bank_size} training studies: give the bank they belong to"
            )
        others = values[values != mine]
        if len(others) == 0:
            raise UserError(f"the published {what} of training row {mine} name nothing but itself: leave the file out")
        if len(others) < len(values):
            dropped += 1
        yield others
    if dropped:
        print_once(
            f"published: {dropped} studies were in their own {what}, where a training would read its own report: left out"
        )
