"""Vectors of reports and of their sentences, which the memory and the reference attention read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from tqdm import tqdm

from modules.corpus.text import split_sentences
from modules.messages import UserError
from modules.records import atomic_write, read_json, write_json

FORMAT = "lsa/1"
MAX_TERMS = 50_000  # most frequent words and pairs of words that count
MAX_FIT_SENTENCES = 100_000  # different sentences that the directions are computed from; bounds time and memory
_WORD = r"\w+(?:-\w+)*"
_BLOCK = 4096  # texts encoded at once
_NOISE = 1e-6  # a projection shorter than this is rounding error, not direction


class TextEncoder(Protocol):
    """What turns texts into vectors."""

    @property
    def width(self) -> int:
        """C."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors ``(n, C)`` float32 of unit length, or zero."""
        ...


class LsaEncoder:
    """Latent semantic analysis: TF-IDF of words and pairs of words, projected on the directions of largest variance.

    A term that stands f times in a text weighs ``(1 + ln f) (1 + ln((1 + n) / (1 + n_t)))``, where ``n_t`` of the ``n``
    fitted sentences hold it; texts are scaled to unit length before and after the projection.

    Args:
        terms: V words and pairs of words.
        idf: ``(V,)`` float32, the second factor.
        components: ``(width, V)`` float32 directions; those beyond what the data has are zero.

    Source: Deerwester et al., Indexing by latent semantic analysis, 1990.
    Departure: the published features come from MedCLIP; ``text_models`` or published files replace these.
    """

    def __init__(self, terms: Sequence[str], idf: np.ndarray, components: np.ndarray) -> None:
        self.terms, self.idf, self.components = list(terms), idf, components
        self.width = len(components)
        self._counter = _counter(vocabulary=self.terms)

    @classmethod
    def fit(cls, sentences: Iterable[str], width: int, seed: int) -> LsaEncoder:
        """Fit to sentences of cleaned TRAINING reports.

        Every different sentence counts once, so that the many normal ones do not crowd out the rare. The directions are
        no more than sentences or terms; the width stays as asked.

        Args:
            sentences: any number; beyond ``MAX_FIT_SENTENCES`` different ones, so many are drawn by the seed.
            width: of the vectors, C.
            seed: of the draw and of the randomised decomposition.

        Raises:
            UserError: if there is no word in any sentence.
        """
        unique = list(dict.fromkeys(sentences))
        rng = np.random.default_rng(seed)
        if len(unique) > MAX_FIT_SENTENCES:
            unique = [unique[i] for i in np.sort(rng.choice(len(unique), MAX_FIT_SENTENCES, replace=False))]
        counter = _counter(max_features=MAX_TERMS)
        try:
            counts = counter.fit_transform(unique)  # (n, V)
        except ValueError as error:  # an empty vocabulary
            raise UserError(
                f"the {len(unique)} different sentences of the training reports hold no word: check the reports of "
                "--ann_path"
            ) from error
        holding = np.bincount(counts.indices, minlength=counts.shape[1])  # (V,)
        idf = 1 + np.log((1 + len(unique)) / (1 + holding))
        weighted = _weigh(counts, idf)
        rank = min(width, *weighted.shape)
        found = randomized_svd(weighted, rank, n_iter=5, random_state=int(rng.integers(2**31)))[2]  # (rank, V)
        components = np.zeros((width, weighted.shape[1]), dtype=np.float32)
        components[:rank] = found
        return cls(counter.get_feature_names_out().tolist(), idf.astype(np.float32), components)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors ``(n, C)`` float32 of unit length; zero for a text without a known term."""
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        starts = range(0, len(texts), _BLOCK)
        for start in tqdm(starts, desc="text features", unit="block", leave=False):
            block = slice(start, start + _BLOCK)
            projected = _weigh(self._counter.transform(texts[block]), self.idf) @ self.components.T
            projected[np.linalg.norm(projected, axis=1) < _NOISE] = 0
            vectors[block] = normalize(projected)
        return vectors

    def save(self, folder: str | Path) -> None:
        """Write ``lsa.json`` (terms) and ``lsa.npz`` (numbers) into a folder."""
        folder = Path(folder)
        with atomic_write(folder / "lsa.npz", "wb") as file:
            np.savez(file, idf=self.idf, components=self.components)
        write_json(folder / "lsa.json", {"format": FORMAT, "terms": self.terms}, indent=None)

    @classmethod
    def load(cls, folder: str | Path) -> LsaEncoder:
        """Read what :meth:`save` wrote.

        Raises:
            UserError: if a file is missing; if the files do not belong together.
        """
        folder = Path(folder)
        content = read_json(folder / "lsa.json")
        if not (folder / "lsa.npz").is_file():
            raise UserError(f"{folder / 'lsa.npz'} does not exist: run main_prepare.py again")
        with np.load(folder / "lsa.npz", allow_pickle=False) as arrays:
            idf, components = arrays["idf"], arrays["components"]
        terms = content.get("terms") if isinstance(content, dict) and content.get("format") == FORMAT else None
        if terms is None or idf.shape != (len(terms),) or components.shape[1:] != (len(terms),):
            raise UserError(f"lsa.json and lsa.npz in {folder} do not belong together: run main_prepare.py again")
        return cls(terms, idf, components)


def find_text_encoder(
    text_encoder: str | None,
    sentences: Iterable[str],
    width: int,
    seed: int,
    pooling: str = "mean",
    device: str | torch.device = "cpu",
) -> TextEncoder:
    """The encoder that ``--text_encoder`` names.

    Args:
        text_encoder: ``"lsa"`` (also if None), fitted here, a local model folder, or ``"hub:<name>"``, which is fetched.
        sentences: of the cleaned training reports, for LSA.
        width: of LSA vectors; a model has its own.
        seed: of LSA.
        pooling: of a model, ``"mean"`` or ``"cls"``.
        device: where a model runs.

    Raises:
        UserError: if it is none of them, or the folder holds no model.
    """
    if text_encoder in (None, "lsa"):
        return LsaEncoder.fit(sentences, width, seed)
    from modules.preparation.features.text_models import find_text_model  # on demand: LSA needs no transformers

    return find_text_model(text_encoder, pooling, device)


def report_and_sentence_features(
    encoder: TextEncoder, reports: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encode reports as wholes and sentence by sentence; every different text once.

    Args:
        encoder: of texts.
        reports: N cleaned reports.

    Returns:
        ``report_features`` ``(N, C)`` float32, ``sentence_features`` ``(total, C)`` float32 and ``sentence_offsets``
        ``(N + 1,)`` int64: report i has the sentences ``offsets[i]`` to ``offsets[i + 1]``. A report without a sentence
        has one row of zeros, so that every report has a row to look at.
    """
    sentences = [split_sentences(report) or [""] for report in reports]
    offsets = np.cumsum([0, *map(len, sentences)], dtype=np.int64)
    flat = [sentence for group in sentences for sentence in group]
    sentence_features = _encode_unique(encoder, flat)
    sentence_features[[not sentence for sentence in flat]] = 0
    return _encode_unique(encoder, reports), sentence_features, offsets


def _encode_unique(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    position: dict[str, int] = {}
    rows = [position.setdefault(text, len(position)) for text in texts]
    return encoder.encode(list(position))[rows]


def _counter(**options: object) -> CountVectorizer:
    return CountVectorizer(token_pattern=_WORD, ngram_range=(1, 2), dtype=np.float32, **options)


def _weigh(counts: csr_array, idf: np.ndarray) -> csr_array:
    """Unit rows of TF-IDF weights ``(n, V)`` from counts."""
    weights = counts.copy()
    weights.data = ((1 + np.log(weights.data)) * idf[weights.indices]).astype(np.float32)
    return normalize(weights, copy=False)
