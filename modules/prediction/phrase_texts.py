"""Phrases as a model reads sentences: encoded by what encoded the sentences of its retrieval bank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from modules.corpus.bank import TrainingBank
from modules.corpus.text import CLEANERS, clean_once, split_sentences
from modules.messages import UserError
from modules.preparation.features.text_features import TextEncoder, find_text_encoder

CHECKED = 50  # sentences of the bank that are encoded again
CLOSE = 0.02  # largest difference from what is stored, which has half precision


def phrase_vectors(bank: TrainingBank, phrases: Sequence[str], device: torch.device) -> np.ndarray:
    """Encode phrases as the sentences of a bank were encoded.

    LSA is fitted anew to the bank's own reports, which gives the same vectors; a text model is loaded from where it was.

    Args:
        bank: of the model.
        phrases: n texts, cleaned here as the reports of the bank were.
        device: where a text model runs.

    Returns:
        Vectors ``(n, C)`` float32; zero for a phrase without a known word.

    Raises:
        UserError: if the encoder is not here, or gives other vectors for sentences of the bank than are stored.
    """
    made_by = bank.store.entry("sentence_features")["made_by"]
    if "encoder" not in made_by:
        raise UserError("the bank does not say what encoded its sentences: a release never does")
    sentences = [sentence for report in bank.reports for sentence in split_sentences(report) or [""]]
    encoder = find_text_encoder(
        made_by["encoder"], filter(None, sentences), made_by["width"], made_by["seed"], made_by["pooling"], device
    )
    _refuse_other_encoder(encoder, bank, sentences)
    name = str(made_by["cleaning"]).split()[0]
    clean = clean_once if name == "published" else CLEANERS.get(name, str)
    return encoder.encode([" ".join(split_sentences(clean(phrase))) for phrase in phrases])


def _refuse_other_encoder(encoder: TextEncoder, bank: TrainingBank, sentences: Sequence[str]) -> None:
    """Encode some sentences of the bank again; UserError if other vectors come out than are stored."""
    stored = bank.store["sentence_features"]
    if (len(sentences), encoder.width) == stored.shape:
        rows = [row for row in np.linspace(0, len(stored) - 1, CHECKED).astype(int) if sentences[row]]
        again = encoder.encode([sentences[row] for row in rows])
        if np.abs(again - np.asarray(stored[rows], dtype=np.float32)).max() < CLOSE:
            return
    raise UserError("the encoder gives other vectors for the bank's sentences than are stored")
