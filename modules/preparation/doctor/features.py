"""The doctor's look at a feature folder: is everything there, of one build, and made of sensible numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter, methodcaller
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.corpus.store import BANK_REPORTS, FeatureStore, unfinished, verify
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.preparation.doctor.findings import Diagnosis
from modules.records import sha256_of

STUDY_IDS, BANK_IDS = "studies.json", "training.json"
OF_STUDIES = ("labels", "region_scores", "region_text", "memory_indices")
OF_BANK = ("report_features", "sentence_features", "sentence_offsets", "label_neighbours")
MADE_FROM = (  # array, what its origin calls it, what it was made from
    ("label_neighbours", "labels", "labels"),
    ("memory_indices", "scores", "region_scores"),
    ("memory_indices", "bank", "report_features"),
)
MADE_TOGETHER: tuple[tuple[str, str, tuple[str, ...]], ...] = (  # arrays of one build, in what their origins may differ
    ("report_features", "sentence_features", ("published", "width")),
    ("sentence_features", "sentence_offsets", ()),
    ("region_scores", "region_text", ("published", "dtype")),
)
_ROWS = 4096  # rows of an array looked at together
AGAIN = "run main_prepare.py again"


@dataclass
class Examined:
    """A feature folder and the bank that it retrieves from, as far as they can be looked at.

    Args:
        store: features of the studies, None if they cannot be opened.
        bank: features of the training reports, likewise.
        wanted: arrays that a training reads.
        studies: those of the annotation that have features.
        bank_ids: studies of the bank.
        broken: arrays and lists that are missing, damaged or wrong.
        stale: whole arrays that cannot come out again: constant, or made from something else than lies beside them.
        said: what the folders themselves had to say of ``broken``.
    """

    store: FeatureStore | None
    bank: FeatureStore | None
    wanted: tuple[str, ...]
    studies: list[Study] = field(default_factory=list)
    bank_ids: tuple[str, ...] = ()
    broken: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def place(self, name: str) -> FeatureStore | None:
        """Where an array or a list lies."""
        return self.store if name in (*OF_STUDIES, STUDY_IDS) else self.bank

    def __getitem__(self, name: str) -> np.ndarray:
        return opened(self.place(name))[name]

    def bank_reports(self) -> list[dict[str, Any]]:
        """The texts of the bank, which has been opened."""
        return opened(self.bank).bank_reports

    def read(self, name: str, how: Callable[[FeatureStore], Any]) -> Any:
        """What ``how`` returns for the folder of ``name``; None if it cannot, and then ``name`` is broken."""
        place = self.place(name)
        try:
            if place is not None:
                return how(place)
        except UserError as error:
            if str(error) not in self.said:
                self.said.append(str(error))
        self.broken.add(name)
        return None

    def made_by(self, name: str) -> dict[str, Any] | None:
        """Origin of an array; None if it is not there."""
        place = self.place(name)
        return place.entry(name)["made_by"] if place is not None and name in place else None

    def rows(self, studies: Sequence[Study] | None = None) -> np.ndarray:
        """Rows of studies, or of all of them."""
        asked = self.studies if studies is None else studies
        return opened(self.store).rows("studies", [study.id for study in asked])

    def skipped(self, diagnosis: Diagnosis, group: str, what: str, names: set[str]) -> bool:
        """Whether ``what`` cannot be looked at, because of ``names``; if so, a line says it."""
        if names:
            diagnosis.add("warning", group, f"skipped: {what}, because of {', '.join(sorted(names))} (see features)")
        return bool(names)


def opened(store: FeatureStore | None) -> FeatureStore:
    """A store that must have been opened, because what is asked of it is not among what is broken."""
    assert store is not None, "what cannot be opened is among what is broken"
    return store


def open_features(data: DataOptions, studies: Sequence[Study], diagnosis: Diagnosis) -> Examined | None:
    """Open the features and the bank, and check that every array is there, whole and of these studies.

    Returns:
        None if there are none.
    """
    folder, bank_folder = Path(data.feature_dir), Path(data.bank_dir)
    if folder.is_file():
        diagnosis.add(
            "error", "features", f"{folder} is a file, expected a folder: give the one that main_prepare.py wrote"
        )
        return None
    if not (folder / "manifest.json").is_file():
        diagnosis.add("warning", "features", f"{folder} holds no features yet: build them with main_prepare.py")
        return None
    diagnosis.looked_at.add("features")
    online = data.features == "online"
    wanted = tuple(name for name in (*OF_STUDIES, *OF_BANK) if name != "region_text" or not online)
    store = _open(folder, diagnosis)
    found = Examined(store, store if bank_folder == folder else _open(bank_folder, diagnosis), wanted)
    for name in wanted:
        found.read(name, itemgetter(name))
    diagnosis.add("error", "features", "{count} arrays are missing, damaged or of other studies", found.said)
    arrays = len(found.said)
    ids = found.read(STUDY_IDS, methodcaller("row_ids", "studies"))
    found.bank_ids = found.read(BANK_IDS, methodcaller("row_ids", "training")) or ()
    found.read(BANK_REPORTS, attrgetter("bank_reports"))
    for sentence in found.said[arrays:]:
        diagnosis.add("error", "features", sentence)
    if ids is not None:
        known = set(ids)
        found.studies = [study for study in studies if study.id in known]
        text = f"{{count}} of {len(studies):,} studies have no features: {AGAIN} with this annotation"
        diagnosis.add("error", "features", text, [study.id for study in studies if study.id not in known])
    text = f"{{count}} files are of a build that was interrupted, or that is still running: {AGAIN}"
    diagnosis.add("warning", "features", text, unfinished(folder))
    _look_at_origin(found, data, diagnosis)
    return found


def _open(folder: Path, diagnosis: Diagnosis) -> FeatureStore | None:
    """The store of a folder; None, with a line that says why, if it cannot be opened."""
    try:
        return FeatureStore.open(folder)
    except UserError as error:
        diagnosis.add("error", "features", str(error))
        return None


def _look_at_origin(found: Examined, data: DataOptions, diagnosis: Diagnosis) -> None:
    """Arrays made from another annotation, from what has changed since, or by different builds."""
    origins = {name: found.made_by(name) for name in found.wanted}
    made_by = {name: origin for name, origin in origins.items() if origin is not None}
    mine = made_by if found.bank is found.store else {name: made_by[name] for name in OF_STUDIES if name in made_by}
    ann_path, scorer = Path(data.ann_path), Path(data.bank_dir) / "entity_scorer.pth"
    annotation = sha256_of(ann_path) if ann_path.is_file() else None
    other = [name for name in mine if mine[name].get("annotation", annotation) != annotation]
    changed = []
    for name, key, source in MADE_FROM:
        beside = found.bank if {name, source} & {*OF_BANK} else found.store
        checksum = made_by.get(name, {}).get(key)
        if beside and isinstance(checksum, str) and source in beside and checksum != beside.entry(source)["sha256"]:
            changed.append((name, source))
    if scorer.is_file():
        checksum, read = sha256_of(scorer), [name for name in ("region_scores", "region_text") if name in made_by]
        changed += [(name, scorer.name) for name in read if made_by[name].get("scorer", checksum) != checksum]
    found.stale |= {name for name, _ in changed}
    stale = [f"{name}: made from another annotation" for name in other]
    stale += [f"{name}: {source} has changed since it was made" for name, source in changed]
    diagnosis.add("error", "features", f"{{count}} arrays are stale: {AGAIN}", stale)
    text = f"{{count}} pairs of arrays are of two builds, of which the second was interrupted: {AGAIN} with the flags that you want"
    diagnosis.add("error", "features", text, _of_two_builds(made_by))


def _of_two_builds(made_by: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Pairs of arrays that one build makes and two have made, and in what these differ."""
    pairs = []
    for one, two, free in MADE_TOGETHER:
        if one in made_by and two in made_by:
            a, b = made_by[one], made_by[two]
            keys = [key for key in sorted((a.keys() | b.keys()) - {*free}) if a.get(key) != b.get(key)]
            if keys:
                differences = ", ".join(f"{key} {a.get(key)} and {b.get(key)}" for key in keys[:3])
                pairs.append(f"{one} and {two}: {differences}")
    return pairs


def look_at_values(found: Examined, diagnosis: Diagnosis, thorough: bool) -> None:
    """Check widths, ranges and values of the arrays that could be opened.

    Args:
        found: features; wrong arrays become ``broken``.
        diagnosis: added to.
        thorough: read the large arrays too and compare checksums.
    """
    _look_at_shapes(found, diagnosis)
    intact = [name for name in found.wanted if name not in found.broken and found[name].ndim > 1]
    small = [name for name in intact if thorough or found[name].nbytes < 1 << 28]
    values = {name: _extremes(found[name], name) for name in small}
    bad = {name: count for name, (count, _) in values.items() if count}
    text = f"{{count}} arrays hold NaN or infinity: {AGAIN}"
    diagnosis.add("error", "features", text, [f"{name}: {count:,} numbers" for name, count in bad.items()])
    same = [name for name, (_, constant) in values.items() if constant and len(found[name]) > 1]
    diagnosis.add("error", "features", f"{{count}} arrays are constant, the same for every study: {AGAIN}", same)
    found.broken |= set(bad)
    found.stale |= set(same)
    _look_at_studies(found, diagnosis)
    if thorough:
        folders = dict.fromkeys(place.directory for place in (found.store, found.bank) if place is not None)
        changed = [sentence for folder in folders for sentence in verify(folder) if sentence not in found.said]
        diagnosis.add("error", "features", "{count} files differ from the manifest", changed)


def _look_at_shapes(found: Examined, diagnosis: Diagnosis) -> None:
    """Check the lengths of every array; wrong ones become ``broken``."""
    N = len(found.bank_ids) or None
    width = None if "report_features" in found.broken else found["report_features"].shape[-1]
    expected = {
        "labels": (None, len(CONDITIONS)),
        "region_scores": (None, len(ENTITIES)),
        "region_text": (None, len(ENTITIES), None),
        "memory_indices": (None, (found.made_by("memory_indices") or {}).get("r")),
        "report_features": (N, None),
        "sentence_features": (None, width),
        "sentence_offsets": (None if N is None else N + 1,),
        "label_neighbours": (N, (found.made_by("label_neighbours") or {}).get("k")),
    }
    wrong = {}
    for name in (name for name in found.wanted if name not in found.broken):
        shape, wish = found[name].shape, expected[name]
        if len(shape) != len(wish) or any(s == 0 or e not in (None, s) for s, e in zip(shape, wish, strict=True)):
            wrong[name] = f"{name}: {shape}, expected ({', '.join(str(e or '*') for e in wish)})"
    diagnosis.add("error", "features", f"{{count}} arrays have a wrong shape: {AGAIN}", wrong.values())
    found.broken |= set(wrong)


def _look_at_studies(found: Examined, diagnosis: Diagnosis) -> None:
    """Check the scores and labels of every study."""
    studies = found.studies
    if not studies:
        return
    rows = found.rows()
    if "region_scores" not in found.broken:
        scores = found["region_scores"][rows]
        outside = [studies[i].id for i in np.flatnonzero(~((scores >= 0) & (scores <= 1)).all(1))]
        diagnosis.add("error", "features", "region_scores of {count} studies leave [0, 1]", outside)
        if outside:
            found.broken.add("region_scores")
    if "labels" not in found.broken:
        labels = found["labels"][rows]
        wrong = [studies[i].id for i in np.flatnonzero(~((labels >= 0) & (labels < len(STATES))).all(1))]
        diagnosis.add("error", "features", "labels of {count} studies leave 0 to 3", wrong)
        own = [(labels[i, : len(study.labels or ())] == (study.labels or ())).all() for i, study in enumerate(studies)]
        other = [study.id for study, equal in zip(studies, own, strict=True) if not equal]
        text = f"the stored labels of {{count}} studies are not the annotation's: {AGAIN}"
        diagnosis.add("error", "features", text, other)


def _extremes(array: np.ndarray, name: str) -> tuple[int, bool]:
    """How many numbers are not finite, and whether all rows are the same."""
    broken, constant = 0, True
    first = np.asarray(array[:1])
    for start in tqdm(range(0, len(array), _ROWS), desc=name, unit="block", leave=False):
        block = np.asarray(array[start : start + _ROWS])
        broken += int((~np.isfinite(block)).sum()) if block.dtype.kind == "f" else 0
        constant = constant and bool((block == first).all())
    return broken, constant
