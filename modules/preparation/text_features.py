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
from modules.records import atomic_write, read_json, write_json

FORMAT = "lsa/1"
MAX_TERMS = 50_000  # most frequent words and pairs of words that count
MAX_FIT_SENTENCES = 100_000  # different sentences that the directions are computed from; bounds time and memory
_WORD = r"\w+(?:-\w+)*"
_BLOCK = 4096  # texts encoded at once
_NOISE = 1e-6  # a projection shorter than this is rounding error, not direction


class TextEncoder(Protocol):
    """What turns texts into vectors."""

    width: int

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
    Departure: the published features come from MedCLIP; :class:`HuggingFaceEncoder` or published files replace these.
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
            ValueError: if there is no word in any sentence.
        """
        unique = list(dict.fromkeys(sentences))
        rng = np.random.default_rng(seed)
        if len(unique) > MAX_FIT_SENTENCES:
            unique = [unique[i] for i in np.sort(rng.choice(len(unique), MAX_FIT_SENTENCES, replace=False))]
        counter = _counter(max_features=MAX_TERMS)
        try:
            counts = counter.fit_transform(unique)  # (n, V)
        except ValueError as error:  # an empty vocabulary
            raise ValueError(
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
            FileNotFoundError: if a file is missing.
            ValueError: if the files do not belong together.
        """
        folder = Path(folder)
        content = read_json(folder / "lsa.json")
        if not (folder / "lsa.npz").is_file():
            raise FileNotFoundError(f"{folder / 'lsa.npz'} does not exist: run main_prepare.py again")
        with np.load(folder / "lsa.npz", allow_pickle=False) as arrays:
            idf, components = arrays["idf"], arrays["components"]
        terms = content.get("terms") if isinstance(content, dict) and content.get("format") == FORMAT else None
        if terms is None or idf.shape != (len(terms),) or components.shape[1:] != (len(terms),):
            raise ValueError(f"lsa.json and lsa.npz in {folder} do not belong together: run main_prepare.py again")
        return cls(terms, idf, components)


class HuggingFaceEncoder:
    """Any text model that transformers loads from a local folder; nothing is fetched and no code of it is run.

    Args:
        path: folder with ``config.json``, weights and vocabulary.
        pooling: ``"mean"`` of the last layer over all tokens, or ``"cls"``, its first token.
        device: where it runs.
        batch_size: texts at once.

    Raises:
        ValueError: if the folder holds no model that can be loaded.
    """

    def __init__(
        self, path: str | Path, pooling: str = "mean", device: str | torch.device = "cpu", batch_size: int = 64
    ) -> None:
        from transformers import AutoModel, AutoTokenizer  # on demand: LSA needs neither

        assert pooling in ("mean", "cls")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
            self._model = AutoModel.from_pretrained(path, local_files_only=True).float().to(device).eval()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} holds no text model that can be loaded ({_first_line(error)}): give --text_encoder a folder "
                "with config.json, weights and vocabulary, or lsa"
            ) from error
        self.pooling, self.device, self.batch_size = pooling, torch.device(device), batch_size
        self.width = self._model.config.hidden_size
        self._max_tokens = min(getattr(self._model.config, "max_position_embeddings", 512), 512)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors ``(n, C)`` float32 of unit length; texts are cut at the model's longest input."""
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # equal lengths together: little padding
        starts = range(0, len(texts), self.batch_size)
        for start in tqdm(starts, desc="text features", unit="batch", leave=False):
            chosen = order[start : start + self.batch_size]
            batch = self._tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            ).to(self.device)
            hidden = self._model(**batch).last_hidden_state  # (B, T, C)
            mask = batch["attention_mask"][..., None].to(hidden.dtype)  # (B, T, 1)
            pooled = (hidden * mask).sum(1) / mask.sum(1) if self.pooling == "mean" else hidden[:, 0]  # (B, C)
            vectors[chosen] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return vectors


def find_text_encoder(
    text_encoder: str | None, sentences: Iterable[str], width: int, seed: int, device: str | torch.device = "cpu"
) -> TextEncoder:
    """The encoder that ``--text_encoder`` names.

    Args:
        text_encoder: ``"lsa"`` (also if None), fitted here, or a local model folder.
        sentences: of the cleaned training reports, for LSA.
        width: of LSA vectors; a model has its own.
        seed: of LSA.
        device: where a model runs.

    Raises:
        ValueError: if it is neither, or the folder holds no model.
    """
    if text_encoder in (None, "lsa"):
        return LsaEncoder.fit(sentences, width, seed)
    if not (Path(text_encoder) / "config.json").is_file():
        raise ValueError(
            f"--text_encoder is {text_encoder}; expected lsa or a local folder of a Hugging Face model with "
            "config.json: download the model and give its folder"
        )
    return HuggingFaceEncoder(text_encoder, device=device)


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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
