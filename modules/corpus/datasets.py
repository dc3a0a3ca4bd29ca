"""Studies of a split as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from models.config import RevtafConfig
from models.decoder_layers import PackedReports
from models.entity_scorer import EntityScorer
from models.revtaf import StudyInputs
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.images import KeptImages, crop_image, normalise_pixels
from modules.corpus.text import CLEANERS, PackedTexts, truncate_words
from modules.corpus.tokenizer import ReportTokenizer
from modules.distributed import is_main


@dataclass
class Sample:
    """One study: inputs of the network, then what is compared with its output."""

    index: int
    image: Tensor  # (3, height, width) uint8
    region_scores: Tensor  # (K,)
    region_text: Tensor  # (K, E), (0, 0) where it is made in the step
    memory: Tensor  # (R, C)
    reference_text: Tensor  # (S, C)
    reference_tokens: list[int]  # (T,), padded
    token_ids: list[int]  # (T,)
    labels: Tensor  # (L,)
    plain_image: Tensor | None = None  # (3, height, width) uint8, not augmented, where region_text is made in the step


@dataclass
class Batch:
    """Studies side by side: inputs of the network, then what is compared with its output."""

    study: StudyInputs  # its image holds uint8 pixels until the batch is on its device
    token_ids: Tensor  # (B, T)
    token_mask: Tensor  # (B, T)
    packed: PackedReports  # the same tokens without padding
    labels: Tensor  # (B, L)
    index: list[int]  # positions in the data set
    plain_image: Tensor | None = None  # (B, 3, height, width) uint8, see Sample

    def pin_memory(self) -> Batch:
        """Page-lock the tensors; called by the data loader."""
        study = StudyInputs(**{name: value.pin_memory() for name, value in vars(self.study).items()})
        return Batch(
            study,
            self.token_ids.pin_memory(),
            self.token_mask.pin_memory(),
            self.packed.pin_memory(),
            self.labels.pin_memory(),
            self.index,
            None if self.plain_image is None else self.plain_image.pin_memory(),
        )

    def to(self, device: torch.device, scorer: EntityScorer | None) -> Batch:
        """Copy to a device, normalise the pixels there and, where it is not stored, read ``region_text`` off the image.

        Args:
            device: of the model.
            scorer: the data set's frozen entity scorer, on that device; see :meth:`ReportDataset.to_device`.
        """
        study = self.study.to(device)
        study.image = normalise_pixels(study.image)
        if self.plain_image is not None:
            assert scorer is not None, "a data set whose entity embeddings are not stored has a scorer"
            study.region_text = read_region_text(scorer, self.plain_image.to(device, non_blocking=True))
        return Batch(
            study,
            self.token_ids.to(device, non_blocking=True),
            self.token_mask.to(device, non_blocking=True),
            self.packed.to(device),
            self.labels.to(device, non_blocking=True),
            self.index,
        )


@torch.no_grad()
def read_region_text(scorer: EntityScorer, pixels: Tensor) -> Tensor:
    """Entity embeddings ``(B, K, E)`` of uint8 images ``(B, 3, height, width)``, rounded as they are when stored.

    In float32 even inside a mixed-precision step, because the stored ones are made so.
    """
    with torch.autocast(pixels.device.type, enabled=False):
        image = normalise_pixels(pixels).contiguous(memory_format=torch.channels_last)
        return scorer(image)[1].half().float()


class Features(Protocol):
    """Arrays by name, and the rows of studies in them: a feature store, or what is made of images that belong to none."""

    @property
    def checksums(self) -> dict[str, str]:
        """Of the stored arrays by their names."""
        ...

    def __getitem__(self, name: str) -> np.ndarray: ...

    def __contains__(self, name: str) -> bool: ...

    def rows(self, axis: str, ids: Sequence[str]) -> np.ndarray:
        """Rows of studies by their ids."""
        ...


class ReportDataset(Dataset):
    """The studies of one split.

    The inputs of a study come from its image, from features made from its image, and from OTHER studies' reports; its
    own report and labels appear only in ``token_ids`` and ``labels``.

    Args:
        studies: the split.
        image_dir: folder that image paths start from.
        store: features of these studies.
        bank: the retrieval bank.
        tokenizer: vocabulary.
        image_size: side of the crop in pixels.
        max_report_tokens: longest report in tokens, without prompt and end token.
        reference_memory: tokens of each reference that the decoder reads.
        references: reports that it reads.
        scorer: frozen entity scorer that makes ``region_text`` in the step, where it is not stored (``--features online``).
    """

    def __init__(
        self,
        studies: Sequence[Study],
        image_dir: Path,
        store: Features,
        bank: TrainingBank,
        tokenizer: ReportTokenizer,
        *,
        image_size: int,
        max_report_tokens: int,
        reference_memory: int = 0,
        references: int = 1,
        scorer: EntityScorer | None = None,
    ) -> None:
        self.studies = list(studies)
        self.image_dir, self.store, self.bank, self.tokenizer = Path(image_dir), store, bank, tokenizer
        self.images = KeptImages()
        self.image_size, self.max_report_tokens = image_size, max_report_tokens
        self.reference_memory = reference_memory
        self.bank_reports = PackedTexts(bank.reports if reference_memory else [])  # as data-loading processes share it
        self.rows = store.rows("studies", [study.id for study in studies])  # (n,)
        self.labels = np.asarray(store["labels"])[self.rows].astype(np.int64)  # (n, L)
        self.image_paths = PackedTexts(study.image_path[0] for study in studies)
        self.reports = self.full_reports = PackedTexts(study.report for study in studies)
        self.refer_to(np.full((len(self.studies), references), -1))
        self.augmentation: tuple[int, int] | None = None  # seed and epoch
        self.scorer = scorer.requires_grad_(False).eval() if scorer else None
        self.plain_size = scorer.config.image_size if scorer else None  # of the image that the scorer sees

    def __getstate__(self) -> dict[str, Any]:
        """Without the scorer, when sent to a data-loading process: it stays with the model."""
        return {**self.__dict__, "scorer": None}

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        """The one way from a loaded batch to the model: it cannot leave out what ``--features online`` reads there."""
        return batch.to(device, self.scorer)

    def use_reports(self, cleaning: str, max_words: int) -> None:
        """Clean and cut the reports, in every split, as published."""
        full = prepare_reports([study.report for study in self.studies], cleaning, 0)
        self.reports = self.full_reports = PackedTexts(full)
        if max_words:
            self.reports = PackedTexts(truncate_words(text, max_words) for text in full)

    def part(self, positions: np.ndarray) -> ReportDataset:
        """The studies at ``positions`` ``(n,)`` as a data set of their own, with the same references."""
        other = copy(self)
        other.scorer = self.scorer  # a copy is made as for a data-loading process, without it
        other.studies = [self.studies[position] for position in positions]
        for name in ("rows", "labels", "read_rows"):
            setattr(other, name, getattr(self, name)[positions])
        for name in ("image_paths", "reports", "full_reports"):
            setattr(other, name, PackedTexts(getattr(self, name)[int(position)] for position in positions))
        return other

    @property
    def with_report(self) -> np.ndarray:
        """Positions ``(k,)`` of the studies that have a report of their own."""
        return np.flatnonzero([bool(study.report) for study in self.studies])

    def refer_to(self, rows: np.ndarray) -> None:
        """Give every study its reference reports, rows ``(n, k)`` of the bank, the nearest first; -1 for none."""
        self.read_rows = np.asarray(rows)  # (n, k)

    @property
    def reference_rows(self) -> np.ndarray:
        """The first reference ``(n,)`` of every study, whose sentences are aligned with the patches; -1 for none."""
        return self.read_rows[:, 0]

    def reference_words(self, rows: Sequence[int]) -> list[int]:
        """Tokens ``(k T,)`` of the bank reports in ``rows`` ``(k,)``, each padded; all padding for row -1, no report."""
        reports = [self.bank_reports[row] if row >= 0 and self.reference_memory else "" for row in rows]
        return [token for report in reports for token in self.tokenizer.words(report, self.reference_memory)]

    @property
    def region_scores(self) -> np.ndarray:
        """Entity scores ``(n, K)`` of all studies, read from disk."""
        return np.asarray(self.store["region_scores"])[self.rows]

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> Sample:
        taken, index = divmod(index, len(self))  # a later taking in an epoch has another crop
        row = self.rows[index]
        rng = np.random.default_rng([*self.augmentation, index, taken]) if self.augmentation else None
        labels = self.labels[index]
        image = self.images.open(self.image_dir / self.image_paths[index])
        reference = int(self.reference_rows[index])
        if self.plain_size:
            region_text, plain_image = torch.zeros(0, 0), crop_image(image, self.plain_size)
        else:
            stored = np.array(self.store["region_text"][row], dtype=np.float32)
            region_text, plain_image = torch.from_numpy(stored), None
        return Sample(
            index=index,
            image=crop_image(image, self.image_size, rng),
            region_scores=torch.from_numpy(np.array(self.store["region_scores"][row], dtype=np.float32)),
            region_text=region_text,
            memory=torch.from_numpy(self.bank.memory(np.asarray(self.store["memory_indices"][row]))),
            reference_text=torch.from_numpy(self.bank.sentences(reference)),
            reference_tokens=self.reference_words(self.read_rows[index]),
            token_ids=self.tokenizer.encode(self.reports[index], labels.tolist(), self.max_report_tokens),
            labels=torch.from_numpy(labels),
            plain_image=plain_image,
        )


def sizes_read(config: RevtafConfig) -> dict[str, Any]:
    """The sizes that a data set of a model must have, as arguments of :class:`ReportDataset`: forgetting one fails late."""
    return {
        "image_size": config.image_size,
        "max_report_tokens": config.max_positions - config.prompt_length - 1,
        "reference_memory": config.reference_memory,
        "references": config.references,
    }


def prepare_reports(reports: Sequence[str], cleaning: str, max_words: int) -> list[str]:
    """Clean reports and keep their first ``max_words`` words (all if 0); no report stays none."""
    bar = tqdm(reports, desc="cleaning reports", unit="report", leave=False, delay=2, disable=not is_main())
    cleaned = [CLEANERS[cleaning](report) if report else "" for report in bar]
    return [truncate_words(report, max_words) for report in cleaned] if max_words else cleaned


def pad_sentences(reports: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sentence features ``(S, C)`` of B reports as ``(B, S, C)``, padded, and ``(B, S)`` true for real sentences."""
    S, C = max(1, *map(len, reports)), reports[0].shape[1]
    text, mask = torch.zeros(len(reports), S, C), torch.zeros(len(reports), S, dtype=torch.bool)
    for b, report in enumerate(reports):
        text[b, : len(report)] = report
        mask[b, : len(report)] = True
    return text, mask


def collate(samples: list[Sample], pad_id: int) -> Batch:
    """Stack samples; sentences and tokens are padded to the longest of the batch."""
    T = max(len(sample.token_ids) for sample in samples)
    reference_text, reference_mask = pad_sentences([sample.reference_text for sample in samples])
    token_ids = torch.full((len(samples), T), pad_id)  # (B, T)
    token_mask = torch.zeros_like(token_ids, dtype=torch.bool)
    for b, sample in enumerate(samples):
        token_ids[b, : len(sample.token_ids)] = torch.tensor(sample.token_ids)
        token_mask[b, : len(sample.token_ids)] = True
    study = StudyInputs(
        image=torch.stack([sample.image for sample in samples]),
        region_scores=torch.stack([sample.region_scores for sample in samples]),
        region_text=torch.stack([sample.region_text for sample in samples]),
        memory=torch.stack([sample.memory for sample in samples]),
        reference_text=reference_text,
        reference_mask=reference_mask,
        reference_tokens=torch.tensor([sample.reference_tokens for sample in samples], dtype=torch.long),
    )
    labels = torch.stack([sample.labels for sample in samples])  # (B, L)
    images = [sample.plain_image for sample in samples if sample.plain_image is not None]
    plain = torch.stack(images) if images else None
    packed = PackedReports.of(token_ids, token_mask, prompt_length=1 + labels.shape[1])
    return Batch(study, token_ids, token_mask, packed, labels, [sample.index for sample in samples], plain)
