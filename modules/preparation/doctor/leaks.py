"""The doctor's search for what a study must not know: its own report, and those of held-out studies.

What may be retrieved is looked at row by row. Of the features of held-out studies two things are asked, neither of which
trusts what the feature folder says about itself:

- Do the features follow from the images? Those of some held-out studies are made again, from the image by the stored
  entity scorer, and the memory from the scores; what was made from a report does not come out.
- Do they know too much? Scores that find the entities of the studies' own reports almost without error cannot come from
  an image, and scores that do so better on held-out studies than on training studies have seen those reports. This is
  all that can be asked of features that somebody else made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import prepare_reports
from modules.corpus.images import normalise_pixels, read_image
from modules.corpus.store import BANK_REPORTS
from modules.labelling.mentions import entity_mentions
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.preparation.doctor.features import AGAIN, BANK_IDS, STUDY_IDS, Examined, opened
from modules.preparation.doctor.findings import Diagnosis
from modules.preparation.features.entities import entity_aurocs, load_entity_scorer
from modules.retrieval.neighbours import memory_indices

TOO_GOOD = 0.97  # mean AUROC against the own report that no image reaches: reports leave out and word freely
TOO_POOR = 0.6  # mean AUROC of held-out studies, below which the scores say little
TOO_MUCH_BETTER = 0.08  # of held-out studies against training studies, whose reports the scorer has seen
_ENOUGH = 30  # reports below which an AUROC says nothing
_ASKED = 1000  # reports a split that the AUROC is taken from
_MADE_AGAIN = 16  # studies
_TOLERANCE = 0.02  # of scores, for other devices and mixed precision
_SHARE = 0.5  # of the memory that must come out again; ties may fall otherwise


def look_at_retrieval(found: Examined, studies: Sequence[Study], diagnosis: Diagnosis) -> None:
    """Check what may be retrieved: training reports only, and never a study's own."""
    diagnosis.looked_at.add("retrieval")
    bank_row = {identifier: row for row, identifier in enumerate(found.bank_ids)}
    owns_bank = found.bank is found.store
    if not found.skipped(diagnosis, "retrieval", "the reports of the bank", found.broken & {BANK_IDS}):
        _look_at_bank(found, studies, diagnosis)
    if owns_bank:
        order = {study.id: row for row, study in enumerate(study for study in studies if study.split == "train")}
        named = {study.id: study.memory_indices for study in studies if study.memory_indices}
        wrong = [name for name, rows in named.items() if max(rows) >= len(order) or order.get(name, -1) in rows]
        text = "clip_indices of {count} studies name themselves or no training study"
        diagnosis.add("error", "retrieval", text, wrong)
    unusable = found.broken & {"label_neighbours", BANK_IDS}
    if not found.skipped(diagnosis, "retrieval", "the label neighbours", unusable):
        neighbours, own = np.asarray(found["label_neighbours"]), np.arange(len(bank_row))
        _look_at_rows("label_neighbours", neighbours, own, found.bank_ids, found, diagnosis)
    unusable = found.broken & {"memory_indices", STUDY_IDS, BANK_IDS}
    if not found.skipped(diagnosis, "retrieval", "the memory", unusable):
        ids = [study.id for study in found.studies]
        own = np.array([bank_row.get(identifier, -1) if owns_bank else -1 for identifier in ids], dtype=np.int64)
        memory = np.asarray(found["memory_indices"])[found.rows()]
        _look_at_rows("memory_indices", memory, own, ids, found, diagnosis)
        _look_for_relatives(found, memory, diagnosis)


def _look_at_bank(found: Examined, studies: Sequence[Study], diagnosis: Diagnosis) -> None:
    """The bank must hold the reports of training studies, under their ids."""
    split_of, ids = {study.id: study.split for study in studies}, found.bank_ids
    held_out = [identifier for identifier in ids if split_of.get(identifier, "train") != "train"]
    text = f"the bank holds the reports of {{count}} studies that are not in training: {AGAIN}"
    diagnosis.add("error", "retrieval", text, held_out)
    if found.bank is not found.store:
        return
    unknown = [identifier for identifier in ids if identifier not in split_of]
    absent = sorted({study.id for study in studies if study.split == "train"} - set(ids))
    diagnosis.add("error", "retrieval", f"{{count}} reports of the bank are of no study: {AGAIN}", unknown)
    diagnosis.add("error", "retrieval", f"{{count}} training studies are not in the bank: {AGAIN}", absent)
    if found.skipped(diagnosis, "retrieval", "the texts of the bank", found.broken & {BANK_REPORTS}):
        return
    name, _, words = str((found.made_by("report_features") or {}).get("cleaning")).partition(" ")
    if words.isdigit() and not unknown:
        report_of: Mapping[str, str] = {study.id: study.report for study in studies}
        expected = prepare_reports([report_of[identifier] for identifier in ids], name, int(words))
        reports = (row["report"] for row in found.bank_reports())
        other = [i for i, mine, theirs in zip(ids, expected, reports, strict=True) if mine != theirs]
        text = f"{{count}} reports of the bank are not those of their study: {AGAIN}"
        diagnosis.add("error", "retrieval", text, other)


def _look_at_rows(
    name: str, rows: np.ndarray, own: np.ndarray, ids: Sequence[str], found: Examined, diagnosis: Diagnosis
) -> None:
    """Check that rows ``(n, k)`` of the bank are there and that none is a study's ``own`` row ``(n,)``, -1 for none."""
    size = len(found.bank_ids)
    outside = [ids[int(i)] for i in np.flatnonzero(((rows < 0) | (rows >= size)).any(1))]
    text = f"{name} of {{count}} studies point outside the {size:,} training reports: {AGAIN}"
    diagnosis.add("error", "retrieval", text, outside)
    if outside:
        found.broken.add(name)
    itself = [ids[int(i)] for i in np.flatnonzero((rows == own[:, None]).any(1) & (own >= 0))]
    diagnosis.add("error", "retrieval", f"{name} of {{count}} studies point at themselves: {AGAIN}", itself)


def _look_for_relatives(found: Examined, memory: np.ndarray, diagnosis: Diagnosis) -> None:
    """Note how many studies have a report of their own patient in their ``memory`` ``(n, R)``."""
    reports = [] if BANK_REPORTS in found.broken else found.bank_reports()
    patients = {row: report["patient"] for row, report in enumerate(reports) if report["patient"] is not None}
    relatives = [
        study.id for study, rows in zip(found.studies, memory, strict=True)
        if study.patient is not None and any(patients.get(int(row)) == study.patient for row in rows)
    ]  # fmt: skip
    text = "the memory of {count} studies holds a report of their own patient; --exclude_same_patient builds it without"
    diagnosis.add("note", "retrieval", text, relatives)


def look_for_leaks(found: Examined, data: DataOptions, diagnosis: Diagnosis, thorough: bool) -> None:
    """Search for features of validation and test studies that were made from their own reports.

    Args:
        found: features; only what is neither broken nor stale is asked.
        data: where images and bank are.
        diagnosis: added to.
        thorough: make features again, which needs the images.
    """
    diagnosis.looked_at.add("leaks")
    unusable = found.broken & {"region_scores", STUDY_IDS}
    if not found.skipped(diagnosis, "leaks", "what the scores know of the studies' own reports", unusable):
        _ask_what_scores_know(found, found.studies, diagnosis)
    held_out = [study for study in found.studies if study.split != "train"]
    if thorough and held_out:
        sample = held_out[:: max(1, len(held_out) // _MADE_AGAIN)][:_MADE_AGAIN]
        _make_scores_again(found, sample, data, diagnosis)
        needed = {"memory_indices", "region_scores", BANK_IDS, BANK_REPORTS}
        if found.bank is not None and "report_features" not in found.bank:
            needed.add("report_features")  # no TrainingBank opens without it
        unusable = found.broken & needed | found.stale & {"memory_indices"}
        if not found.skipped(diagnosis, "leaks", "making the memory again", unusable):
            _make_memory_again(found, sample, diagnosis)


def _ask_what_scores_know(found: Examined, studies: Sequence[Study], diagnosis: Diagnosis) -> None:
    """Compare the scores of held-out and of training studies with what their own reports mention."""
    known = {}
    for split, names in (("train", ("train",)), ("held-out", ("val", "test"))):
        asked = [study for study in studies if study.split in names and study.report]
        asked = asked[:: max(1, len(asked) // _ASKED)][:_ASKED]
        if len(asked) < _ENOUGH:
            continue
        scores = np.nan_to_num(np.asarray(found["region_scores"])[found.rows(asked)])
        aurocs = entity_aurocs(scores, entity_mentions([study.report for study in asked]))
        if aurocs:
            known[split] = float(np.mean(list(aurocs.values())))
    if "held-out" not in known:
        return
    said = f"region_scores of held-out studies find the entities of their own reports with a mean AUROC of {known['held-out']:.3f}"
    if known["held-out"] > TOO_GOOD:
        diagnosis.add("error", "leaks", f"{said}, more than an image can tell: they were made from the reports")
    elif known["held-out"] > known.get("train", 1.0) + TOO_MUCH_BETTER:
        text = f"{said}, but those of training studies with {known['train']:.3f}: has the scorer seen held-out reports?"
        diagnosis.add("warning", "leaks", text)
    elif known["held-out"] < TOO_POOR:
        better = "train the entity scorer from weights (--resnet_weights), or longer"
        diagnosis.add("warning", "leaks", f"{said}, hardly more than chance (.5): {better}")
    else:
        diagnosis.add("note", "leaks", said)


@torch.inference_mode()
def _make_scores_again(found: Examined, sample: Sequence[Study], data: DataOptions, diagnosis: Diagnosis) -> None:
    """Read some images again by the stored entity scorer and compare the scores and embeddings."""
    path = Path(data.bank_dir) / "entity_scorer.pth"
    sample = [study for study in sample if (Path(data.image_dir) / study.image_path[0]).is_file()]
    names = [name for name in ("region_scores", "region_text") if name in found.wanted]
    origins = [found.made_by(name) or {} for name in names]
    foreign = any("published" in origin or origin.get("entity_scorer") == "medklip" for origin in origins)
    if foreign or not path.is_file():
        text = "no entity scorer is stored, so it cannot be told whether the scores follow from the images"
        diagnosis.add("note", "leaks", text)
        return
    unusable = (found.broken | found.stale) & set(names)
    found.skipped(diagnosis, "leaks", "making the scores and embeddings again", unusable)
    names = [name for name in names if name not in unusable]
    scorer = load_entity_scorer(path, torch.device("cpu"))
    different = []
    for study in sample if names else ():
        try:
            pixels = read_image(Path(data.image_dir) / study.image_path[0], scorer.config.image_size)
        except UserError:
            continue  # reported where images are decoded
        logits, text = scorer(normalise_pixels(pixels[None]))  # (1, K), (1, K, E)
        made = {"region_scores": (logits.sigmoid(), 1.0), "region_text": (text, float(text.abs().max()))}
        for name in names:
            again, unit = made[name]
            stored = torch.from_numpy(np.asarray(found[name][found.rows([study])], dtype=np.float32))
            if stored.shape != again.shape:
                different.append(f"{study.id}: {name} has the shape {tuple(stored.shape[1:])}")
                continue
            gap = float((again.float() - stored).abs().max()) / max(unit, 1e-6)
            if not gap <= _TOLERANCE:
                different.append(f"{study.id}: {name} differs by {gap:.3f}")
    text = (
        f"{{count}} arrays of {len(sample)} held-out studies do not come out again from image and entity scorer: "
        "they were made from something else"
    )
    diagnosis.add("error", "leaks", text, different)


def _make_memory_again(found: Examined, sample: Sequence[Study], diagnosis: Diagnosis) -> None:
    """Choose the memory of some studies again by their stored scores and compare the reports."""
    made_by, bank = found.made_by("memory_indices") or {}, TrainingBank(opened(found.bank))
    rows = np.asarray(found["memory_indices"])[found.rows(sample)]  # (n, R)
    if "published" in made_by:
        return
    mentions = entity_mentions(bank.reports)
    bank_groups, query_groups = bank.groups(sample, bool(made_by.get("no_patient")))
    scores = np.asarray(found["region_scores"])[found.rows(sample)]
    again = memory_indices(
        scores, mentions, rows.shape[1], query_groups=query_groups, bank_groups=bank_groups, bank_ids=bank.ids
    )
    different = []
    for study, mine, theirs in zip(sample, again, rows, strict=True):
        # Reports that mention the same are worth the same, whichever of them is taken.
        counts = [Counter(mentions[row].tobytes() for row in part) for part in (mine, theirs)]
        share = (counts[0] & counts[1]).total() / rows.shape[1]
        if share < _SHARE:
            different.append(f"{study.id}: {share:.0%} of its {rows.shape[1]} reports")
    text = (
        f"the memory of {{count}} of {len(sample)} held-out studies does not follow from their region_scores: it was made "
        "from something else"
    )
    diagnosis.add("error", "leaks", text, different)
