"""The doctor's search for features of held-out studies that were made from their own reports.

Two questions, neither of which trusts what the feature folder says about itself:

- Do the features follow from the images? Those of some held-out studies are made again, from the image by the stored
  entity scorer, and the memory from the scores; what was made from a report does not come out.
- Do they know too much? Scores that find the entities of the studies' own reports almost without error cannot come from
  an image, and scores that do so better on held-out studies than on training studies have seen those reports. This is
  all that can be asked of features that somebody else made.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.features import FeatureStore
from modules.corpus.images import normalise_pixels, read_image
from modules.preparation.diagnosis import Diagnosis
from modules.preparation.entities import entity_aurocs, load_entity_scorer
from modules.preparation.mentions import entity_mentions
from modules.preparation.neighbours import memory_indices

TOO_GOOD = 0.97  # mean AUROC against the own report that no image reaches: reports leave out and word freely
TOO_MUCH_BETTER = 0.08  # of held-out studies against training studies, whose reports the scorer has seen
_ENOUGH = 30  # reports below which an AUROC says nothing
_ASKED = 1000  # reports a split that the AUROC is taken from
_MADE_AGAIN = 16  # studies
_TOLERANCE = 0.02  # of scores, for other devices and mixed precision
_SHARE = 0.5  # of the memory that must come out again; ties may fall otherwise


def look_for_leaks(
    store: FeatureStore,
    bank: TrainingBank,
    studies: Sequence[Study],
    options: Namespace,
    diagnosis: Diagnosis,
    thorough: bool,
) -> None:
    """Search for features of validation and test studies that were made from their own reports.

    Args:
        store: features of the studies.
        bank: training reports.
        studies: of the annotation.
        options: ``image_dir``, ``bank_dir``, ``exclude_same_patient`` if there.
        diagnosis: added to.
        thorough: make features again, which needs the images.
    """
    diagnosis.looked_at.add("leaks")
    held_out = [study for study in studies if study.split != "train"]
    _ask_what_scores_know(store, studies, diagnosis)
    if thorough and held_out:
        step = max(1, len(held_out) // _MADE_AGAIN)
        sample = held_out[::step][:_MADE_AGAIN]
        _make_scores_again(store, sample, options, diagnosis)
        _make_memory_again(store, bank, sample, options, diagnosis)


def _ask_what_scores_know(store: FeatureStore, studies: Sequence[Study], diagnosis: Diagnosis) -> None:
    known = {}
    for split, names in (("train", ("train",)), ("held-out", ("val", "test"))):
        asked = [study for study in studies if study.split in names]
        asked = asked[:: max(1, len(asked) // _ASKED)][:_ASKED]
        if len(asked) < _ENOUGH:
            continue
        scores = np.nan_to_num(np.asarray(store["region_scores"])[store.rows("studies", [study.id for study in asked])])
        aurocs = entity_aurocs(scores, entity_mentions([study.report for study in asked]))
        if aurocs:
            known[split] = float(np.mean(list(aurocs.values())))
    if "held-out" not in known:
        return
    found = f"region_scores of held-out studies find the entities of their own reports with a mean AUROC of {known['held-out']:.3f}"
    if known["held-out"] > TOO_GOOD:
        diagnosis.add("error", "leaks", f"{found}, more than an image can tell: they were made from the reports")
    elif known["held-out"] > known.get("train", 1.0) + TOO_MUCH_BETTER:
        text = (
            f"{found}, but those of training studies with {known['train']:.3f}: has the scorer seen held-out reports?"
        )
        diagnosis.add("warning", "leaks", text)
    else:
        diagnosis.add("note", "leaks", f"{found}")


@torch.inference_mode()
def _make_scores_again(store: FeatureStore, sample: Sequence[Study], options: Namespace, diagnosis: Diagnosis) -> None:
    path = Path(options.bank_dir) / "entity_scorer.pth"
    sample = [study for study in sample if (Path(options.image_dir) / study.image_path[0]).is_file()]
    if "published" in store.entry("region_scores")["made_by"] or not path.is_file():
        text = "no entity scorer is stored, so it cannot be told whether the scores follow from the images"
        diagnosis.add("note", "leaks", text)
        return
    scorer = load_entity_scorer(path, torch.device("cpu"))
    different = []
    for study in sample:
        try:
            pixels = read_image(Path(options.image_dir) / study.image_path[0], scorer.config.image_size)
        except ValueError:
            continue  # reported where images are decoded
        logits, text = scorer(normalise_pixels(pixels[None]))  # (1, K), (1, K, E)
        row = store.rows("studies", [study.id])
        pairs = [("region_scores", logits.sigmoid().float().numpy(), 1.0)]
        if "region_text" in store:
            pairs.append(("region_text", text.float().numpy(), float(text.abs().max())))
        for name, made, unit in pairs:
            gap = float(np.abs(made - np.asarray(store[name][row], dtype=np.float32)).max()) / max(unit, 1e-6)
            if not gap <= _TOLERANCE:
                different.append(f"{study.id}: {name} differs by {gap:.3f}")
    text = (
        f"{{count}} arrays of {len(sample)} held-out studies do not come out again from image and entity scorer: "
        "they were made from something else"
    )
    diagnosis.add("error", "leaks", text, different)


def _make_memory_again(
    store: FeatureStore, bank: TrainingBank, sample: Sequence[Study], options: Namespace, diagnosis: Diagnosis
) -> None:
    made_by = store.entry("memory_indices")["made_by"]
    rows = np.asarray(store["memory_indices"])[store.rows("studies", [study.id for study in sample])]  # (n, R)
    if "published" in made_by or ((rows < 0) | (rows >= len(bank))).any():
        return
    mentions = entity_mentions(bank.reports)
    bank_groups, query_groups = bank.groups(sample, bool(made_by.get("no_patient")))
    scores = np.asarray(store["region_scores"])[store.rows("studies", [study.id for study in sample])]
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
