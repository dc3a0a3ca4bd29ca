"""CheXbert: the network that clinical efficacy is published with.

BERT-base reads a report; fourteen linear heads on the state of its first token name the state of each condition, four
states for thirteen conditions and two for "no finding". The checkpoint is the one its authors publish
(``checkpoints/stanford/chexbert/chexbert.pth``, see checkpoints/README.md).

Source: Smit et al., CheXbert, EMNLP 2020.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm
from transformers import BertConfig, BertModel

from modules.corpus.text import normalise_whitespace
from modules.corpus.tokenizer import vocabulary_file, word_pieces
from modules.distributed import is_main, rank
from modules.labels import CHEXPERT_CONDITIONS, STATES
from modules.messages import UserError
from modules.records import atomic_write, sha256_of
from modules.weights.layouts import check_weights, weights_of
from modules.weights.reading import load_weights

BERT_CONFIG = BertConfig()  # BERT-base as CheXbert was trained: 12 layers, width 768, 30,522 WordPieces
MAX_TOKENS = 512
SAVE_EVERY = 8192  # reports between two savings of their states
START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
EXPECTED = "CheXbert's chexbert.pth"
OUTPUTS = (len(STATES),) * 13 + (2,)  # of each head; "no finding" is only ever blank or positive


class ChexbertNetwork(nn.Module):
    """BERT and the fourteen heads, under the names of the published checkpoint."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config)
        self.linear_heads = nn.ModuleList(nn.Linear(config.hidden_size, outputs) for outputs in OUTPUTS)

    def forward(self, token_ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Logits of every head.

        Args:
            token_ids: ``(B, T)`` WordPiece numbers, padded with 0.
            mask: ``(B, T)`` 1 for tokens, 0 for padding.

        Returns:
            Thirteen ``(B, 4)`` and one ``(B, 2)``, in the order of ``CHEXPERT_CONDITIONS``.
        """
        first = self.first_vector(token_ids, mask)
        return [head(first) for head in self.linear_heads]

    def first_vector(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """BERT's vector ``(B, D)`` of the first token; arguments as in :meth:`forward`."""
        return self.bert(input_ids=token_ids, attention_mask=mask).last_hidden_state[:, 0]


class KnownStates:
    """States of texts on disk, by the SHA-256 of the text; every process writes its own file and reads all of them."""

    def __init__(self, folder: str | Path | None, checksum: str) -> None:
        self._folder, self._name = Path(folder) if folder else None, f"chexbert_{checksum}"

    def read(self) -> dict[bytes, np.ndarray]:
        """States ``(14,)`` by hash; a file that cannot be read counts for nothing."""
        known: dict[bytes, np.ndarray] = {}
        for path in sorted(self._folder.glob(f"{self._name}_*.npz")) if self._folder else ():
            try:
                with np.load(path, allow_pickle=False) as content:
                    keys, states = content["keys"], content["states"]
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                continue
            if keys.shape[1:] == (32,) and states.shape == (len(keys), len(OUTPUTS)):
                known.update((key.tobytes(), row) for key, row in zip(keys, states, strict=True))
        return known

    def write(self, known: dict[bytes, np.ndarray]) -> None:
        """Replace this process's file."""
        if self._folder:
            keys = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(-1, 32)
            with atomic_write(self._folder / f"{self._name}_{rank()}.npz", "wb") as file:
                np.savez(file, keys=keys, states=np.array(list(known.values()), dtype=np.int8))


class ChexbertLabeler:
    """States of the 14 conditions by CheXbert.

    A text is labelled once; the result is kept under the hash of the text for as long as the labeler lives and, with a
    ``cache_dir``, on disk: a program that is killed labels at most ``SAVE_EVERY`` reports again, and the network is not
    even loaded where nothing is left to label.

    Args:
        checkpoint: ``chexbert.pth``; its weights may be bare or wrapped, with or without ``module.`` in front.
        bert_path: ``vocab.txt`` of bert-base-uncased, or the folder that holds it.
        device: where the network runs.
        batch_size: reports in one pass.
        cache_dir: folder of the kept states; they are named after the checkpoint and the process that writes them.

    Raises:
        UserError: if the checkpoint or the vocabulary is missing; if the checkpoint does not hold exactly CheXbert's
            weights, or the vocabulary is another one.

    Departure: the published code loads with ``strict=False``, so that a wrong checkpoint labels at random, and fails on
    reports of more than 512 tokens, which are cut here as CheXbert's authors cut them.
    """

    name = "chexbert"
    conditions = CHEXPERT_CONDITIONS

    def __init__(
        self,
        checkpoint: str | Path,
        bert_path: str | Path,
        device: str | torch.device = "cpu",
        batch_size: int = 64,
        cache_dir: str | Path | None = None,
    ) -> None:
        self._tokenizer = _word_pieces(Path(bert_path))
        self._start, self._end = (cast(int, self._tokenizer.token_to_id(token)) for token in (START, END))
        self._checkpoint = Path(checkpoint)
        if not self._checkpoint.is_file():
            raise UserError(f"the CheXbert checkpoint {checkpoint} does not exist; see checkpoints/README.md")
        self._device, self._batch_size = torch.device(device), batch_size
        self.checksum = sha256_of(checkpoint)[:12]
        self._cache = KnownStates(cache_dir, self.checksum)
        self._known = self._cache.read()
        if not self._known:  # else this very file has labelled before, and may not be needed again
            _ = self._network

    @cached_property
    def _network(self) -> ChexbertNetwork:
        """The network, on its device; loaded when a text waits for it."""
        weights = _weights(self._checkpoint)
        network = ChexbertNetwork(BERT_CONFIG)
        check_weights(weights, network.state_dict(), self._checkpoint, EXPECTED)
        network.load_state_dict(weights)
        return network.to(self._device).eval()

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """States of n reports as ``(n, 14)`` int8."""
        return self._label(reports, self._known, self._cache.write)

    def label_once(self, reports: Sequence[str]) -> np.ndarray:
        """The same, keeping no state that was not known."""
        return self._label(reports, ChainMap({}, self._known), lambda known: None)

    def _label(
        self,
        reports: Sequence[str],
        known: MutableMapping[bytes, np.ndarray],
        write: Callable[[Any], None],
    ) -> np.ndarray:
        texts = [normalise_whitespace(report) for report in reports]
        keys = [hashlib.sha256(text.encode("utf-8", errors="replace")).digest() for text in texts]
        waiting = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        # Sorted by length: a batch is as long as its longest report. Longest first: memory runs out at once or never.
        queue = sorted(((self._token_ids(text), key) for key, text in waiting.items()), key=lambda item: -len(item[0]))
        with tqdm(
            total=len(queue), desc="labels by CheXbert", unit="report", leave=False, delay=2, disable=not is_main()
        ) as bar:
            for number, first in enumerate(range(0, len(queue), self._batch_size), start=1):
                batch = queue[first : first + self._batch_size]
                states = self._states([token_ids for token_ids, _ in batch])
                known.update((key, row) for (_, key), row in zip(batch, states, strict=True))
                bar.update(len(batch))
                if number * self._batch_size % SAVE_EVERY < self._batch_size:
                    write(known)
        if queue:
            write(known)
        return np.array([known[key] for key in keys], dtype=np.int8).reshape(len(keys), len(self.conditions))

    @torch.inference_mode()
    def embed(self, reports: Sequence[str]) -> np.ndarray:
        """Vectors ``(n, 768)`` of n reports, of which SembScore takes the cosine; equal texts are embedded once."""
        texts = [normalise_whitespace(report) for report in reports]
        known: dict[str, np.ndarray] = {}
        for text in tqdm(
            dict.fromkeys(texts), desc="vectors by CheXbert", unit="report", leave=False, delay=2, disable=not is_main()
        ):
            token_ids = torch.tensor([self._token_ids(text)], device=self._device)  # (1, T)
            with torch.autocast(self._device.type, enabled=False):
                known[text] = self._network.first_vector(token_ids, torch.ones_like(token_ids))[0].cpu().numpy()
        return np.stack([known[text] for text in texts])

    def _token_ids(self, text: str) -> list[int]:
        pieces = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [self._start, *pieces[: MAX_TOKENS - 2], self._end]

    @torch.inference_mode()
    def _states(self, rows: list[list[int]]) -> np.ndarray:
        """Most likely states ``(B, 14)`` of reports given as token numbers."""
        length = max(len(row) for row in rows)
        token_ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=self._device)  # (B, T)
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=self._device)
        with torch.autocast(self._device.type, enabled=False):  # states must not depend on who asks
            logits = self._network(token_ids, mask)
        return torch.stack([head.argmax(dim=1) for head in logits], dim=1).to("cpu", torch.int8).numpy()  # (B, L)


def _word_pieces(path: Path) -> Tokenizer:
    """WordPiece tokenizer, lower case, of a local vocabulary."""
    path = vocabulary_file(path)
    if not path.is_file():
        raise UserError(
            f"CheXbert needs the vocabulary of bert-base-uncased and {path} does not exist; see checkpoints/README.md "
            "and give the folder that holds vocab.txt with --bert_path"
        )
    tokenizer = word_pieces(path)
    size = tokenizer.get_vocab_size()
    if size != BERT_CONFIG.vocab_size or None in (tokenizer.token_to_id(token) for token in (START, END, UNKNOWN)):
        raise UserError(
            f"{path} holds {size} entries; CheXbert expects the {BERT_CONFIG.vocab_size} of bert-base-uncased, so give "
            "the folder of its vocab.txt with --bert_path"
        )
    return tokenizer


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    """The network's weights out of a checkpoint, by plain names."""
    plain = weights_of(load_weights(checkpoint))
    # Some versions of BERT kept this constant among their weights.
    plain.pop("bert.embeddings.position_ids", None)
    return plain
