"""Scores of many images on their way into the feature store, kept block by block: an interruption costs one block."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.records import atomic_write, plain, read_json, write_json

BLOCK = 1024  # images kept at once; a multiple of every batch size, so that a resumed pass has the same batches

Score = Callable[[Sequence[Study]], Iterable[tuple[np.ndarray, np.ndarray]]]


def score_in_blocks(
    folder: Path, made_by: Mapping[str, Any], studies: Sequence[Study], score: Score, block: int = BLOCK
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Score studies, or read what an interrupted pass has kept.

    Args:
        folder: of the blocks; emptied first if they were made otherwise or for other studies. The caller removes it.
        made_by: what the scores depend on.
        studies: all of them.
        score: gives ``(B, K)`` scores and ``(B, K, E)`` embeddings of studies, batch by batch and in order.
        block: studies kept at once.

    Yields:
        Slice of the studies, their scores float32 and embeddings float16.
    """
    ids = hashlib.sha256("\n".join(study.id for study in studies).encode()).hexdigest()
    origin = plain({**made_by, "ids": ids})
    if not (folder / "origin.json").is_file() or read_json(folder / "origin.json") != origin:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "origin.json", origin)
    row = 0
    with tqdm(total=len(studies), desc="entity scores", unit="image") as bar:
        while (path := folder / f"{row:08d}.npz").is_file():
            with np.load(path, allow_pickle=False) as kept:
                scores, text = kept["scores"], kept["text"]
            yield slice(row, row + len(scores)), scores, text
            row += len(scores)
            bar.update(len(scores))
        bar.reset(len(studies))  # so that the speed is that of the work done now
        bar.initial = bar.n = row
        for scores, text in _gather(score(studies[row:]), block):
            with atomic_write(folder / f"{row:08d}.npz", "wb") as file:
                np.savez(file, scores=scores, text=text)
            yield slice(row, row + len(scores)), scores, text
            row += len(scores)
            bar.update(len(scores))


def _gather(batches: Iterable[tuple[np.ndarray, np.ndarray]], block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches joined until there are ``block`` rows, and the rest."""
    scores, texts = [], []
    for batch_scores, batch_text in batches:
        scores.append(batch_scores.astype(np.float32))
        texts.append(batch_text.astype(np.float16))
        if sum(map(len, scores)) >= block:
            yield np.concatenate(scores), np.concatenate(texts)
            scores, texts = [], []
    if scores:
        yield np.concatenate(scores), np.concatenate(texts)
