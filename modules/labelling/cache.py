"""Labels of reports kept on disk: references are labelled once, not once per test."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modules.labelling.labelers import Labeler
from modules.records import atomic_write

DIGEST = 16  # bytes kept of a text's hash; the texts themselves are not stored


def cached_labels(labeler: Labeler, reports: Sequence[str], folder: str | Path | None) -> np.ndarray:
    """States of reports, from the cache of this labeler as far as it knows them.

    Args:
        labeler: its name and checksum choose the file.
        reports: n texts.
        folder: of the caches, made if absent; None for no cache. A file that cannot be read is written anew.

    Returns:
        ``(n, len(labeler.conditions))`` int8.
    """
    if folder is None:
        return labeler(list(reports))
    path = Path(folder) / f"labels_{labeler.name}_{labeler.checksum}.npz"
    known = _read(path, len(labeler.conditions))
    keys = [hashlib.sha256(text.encode("utf-8", errors="replace")).digest()[:DIGEST] for text in reports]
    waiting = {key: text for key, text in zip(keys, reports, strict=True) if key not in known}
    if waiting:
        known |= dict(zip(waiting, labeler(list(waiting.values())), strict=True))
        with atomic_write(path, "wb") as file:
            digests = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(-1, DIGEST)
            np.savez_compressed(file, keys=digests, states=np.array(list(known.values()), dtype=np.int8))
    return np.array([known[key] for key in keys], dtype=np.int8).reshape(len(keys), len(labeler.conditions))


def _read(path: Path, conditions: int) -> dict[bytes, np.ndarray]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:  # np.load leaves a bad file open
            keys, states = stored["keys"], stored["states"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if len(keys) != len(states) or states.shape[1:] != (conditions,):
        return {}
    return dict(zip((row.tobytes() for row in keys), states, strict=True))
