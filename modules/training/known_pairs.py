"""Which sentences of the bank speak of which entities: the truth that the alignment loss holds the maps to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.text import split_sentences
from modules.distributed import without_waiting
from modules.labelling.mentions import EXCLUDED, NOT_MENTIONED, entity_mentions

UNKNOWN = -1.0  # of a pair that no loss may read


class KnownPairs:
    """How far each sentence of a bank report means the same as each entity, in [0, 1]; fixed before training.

    Args:
        train_set: studies whose references are asked for; the sentences are those of its bank.
        kind: ``"mentions"``: 1 where the sentence names the entity, asserted or denied, else 0. ``"stored"``: the cosine,
            cut at 0, of the stored sentence and the mean of the stored sentences that name the entity, both less the mean
            of all sentences.
    """

    def __init__(self, train_set: ReportDataset, kind: str) -> None:
        self.train_set, bank = train_set, train_set.bank
        self.offsets = np.asarray(bank.store["sentence_offsets"])  # (N + 1,)
        texts = [split_sentences(report) or [""] for report in bank.reports]
        split, stored = np.array([len(sentences) for sentences in texts]), np.diff(self.offsets)  # (N,) each
        self.known = split == stored  # (N,), a store of others may split otherwise
        named = _named([sentence for sentences in texts for sentence in sentences])
        values = np.zeros((self.offsets[-1], named.shape[1]), dtype=bool)  # (total, K)
        values[np.repeat(self.known, stored)] = named[np.repeat(self.known, split)]
        self.values = values if kind == "mentions" else _stored_cosine(bank, values)

    @classmethod
    def of(cls, train_set: ReportDataset, kind: str) -> KnownPairs | None:
        """What ``--align_pairs`` names; None for ``"all"``."""
        return None if kind == "all" else cls(train_set, kind)

    def __call__(self, index: Sequence[int], reference_map: Tensor) -> Tensor:
        """Pairs ``(B, K, S)`` of the studies ``index`` ``(B,)``, whose references have the maps ``(B, S, M)``.

        Padding, and a report whose sentences nobody stored one by one, have ``UNKNOWN``.
        """
        rows = self.train_set.reference_rows[index]  # (B,)
        pairs = np.full((*reference_map.shape[:2], self.values.shape[1]), UNKNOWN, dtype=np.float32)
        for b, row in enumerate(rows):
            if row >= 0 and self.known[row]:
                start, stop = self.offsets[row : row + 2]
                pairs[b, : stop - start] = self.values[start:stop]
        return without_waiting(torch.from_numpy(pairs), reference_map.device).transpose(1, 2)  # (B, K, S)


def _named(sentences: list[str]) -> np.ndarray:
    """Whether each sentence names each entity ``(total, K)``; equal sentences are read once."""
    row_of = {sentence: row for row, sentence in enumerate(dict.fromkeys(sentences))}
    mentions = entity_mentions(list(row_of))
    mentions[:, EXCLUDED] = NOT_MENTIONED  # "names none of the others" is nothing that could be seen
    return (mentions != NOT_MENTIONED)[[row_of[sentence] for sentence in sentences]]


def _stored_cosine(bank: TrainingBank, named: np.ndarray) -> np.ndarray:
    """Cosine ``(total, K)``, at least 0, of stored sentences and entities; an entity that none names has 0."""
    stored = np.asarray(bank.store["sentence_features"], dtype=np.float32)  # (total, C)
    stored = stored - stored.mean(axis=0)
    entities = named.T.astype(np.float32) @ stored  # (K, C)
    stored, entities = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-6) for x in (stored, entities))
    return (stored @ entities.T).clip(min=0).astype(np.float16)
