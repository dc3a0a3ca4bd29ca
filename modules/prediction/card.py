"""The model card of a release: what it is, how it writes, its scores with their protocol, how to load it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from modules.evaluation.reports.verdict import baseline_line
from modules.options.prediction_flags import ReleaseOptions
from modules.prediction.model_folder import TrainedModel
from modules.prediction.release import CARD, is_release
from modules.records import provenance, read_json
from modules.run_folder import RESULTS_OF

QUOTED = re.compile(r"(## Scores\n\n).*?(?=\n\nReports are written with )", re.DOTALL)  # what a card says of scores
MEASURED = "Measured on this release."
SCORES = (
    "BLEU_1",
    "BLEU_4",
    "METEOR",
    "ROUGE_L",
    "CIDEr",
    "ce_precision",
    "ce_recall",
    "ce_f1",
    "ce_f1_micro",
    "ce_f1_macro",
)
HEAD = """---
library_name: revtaf
pipeline_tag: image-to-text
tags: [radiology-report-generation, chest-x-ray, retrieval-augmented]
license: other
---
"""
BODY = """# REVTAF, trained on {dataset_name}

Writes the report of a chest X-ray: retrieves a training report in {manifold} space, aligns image patches with text by optimal
transport, and generates (Zhou et al., ICCV 2025, arXiv 2507.07568). **Research use only: no report may guide the care of a patient.**

## Use

    python main_predict.py --model DIR --images film.png

    from modules.prediction import Reporter
    print(Reporter.load("DIR").report(["film.png"])[0]["report"])

DIR is this folder; both need a clone of the code. Its files, but not this one, are compared with `SHA256SUMS` at loading. Nothing in it is a pickle.

## What is in it

- {parameters:,} parameters of the network, {scorer_parameters:,} of the entity scorer, {dtype}. Images of {image_size} pixels.
- A vocabulary of {vocab_size:,} tokens.
- A bank of {bank} training reports, {bank_text}.
- {familiarity}

Licence: not chosen here. Weights and reports of a data set stand under its terms: choose one before you publish.

## Scores

{scores}
"""


def model_card(trained: TrainedModel, model: Path, wanted: ReleaseOptions) -> str:
    """The card as Markdown with a Hugging Face head.

    Args:
        trained: what is released.
        model: folder it was opened from, whose ``metrics.json`` is quoted if it is of these weights; of a release its card.
        wanted: ``bank_text`` and ``half``.
    """
    config = trained.model.config
    writing = ", ".join(f"{name} {value}" for name, value in trained.options.items())
    text = BODY.format(
        dataset_name=trained.options["dataset_name"],
        manifold={"poincare": "hyperbolic (Poincar\u00e9)", "lorentz": "hyperbolic (Lorentz)"}.get(
            config.manifold, config.manifold
        ),
        parameters=sum(part.numel() for part in trained.model.parameters()),
        scorer_parameters=sum(part.numel() for part in trained.scorer.parameters()),
        dtype="matrices as float16" if wanted.half else "float32",
        image_size=config.image_size,
        vocab_size=config.vocab_size,
        bank=f"{wanted.bank_size or len(trained.bank):,}",
        bank_text=(
            "with their texts"
            if wanted.bank_text
            else "as features, without texts: a retrieved report is named by its study, and the decoder reads no words of it"
        ),
        familiarity=(
            "An image unlike the training images is reported as such (`unlike_training`)."
            if trained.familiarity
            else "Whether an image is like the training images is not measured."
        ),
        scores=_scores(trained, model, wanted),
    )
    made = provenance()
    versions = ", ".join(f"{name} {version}" for name, version in made["packages"].items() if version)
    return f"{HEAD}{text}\nReports are written with {writing}.\nExported with commit {made['commit']}; {versions}.\n"


def _scores(trained: TrainedModel, model: Path, wanted: ReleaseOptions) -> str:
    """The table of the model's scores with their protocol, or why there is none."""
    folder = model if model.is_dir() else model.parent
    if is_release(folder):
        return _of_release(folder / CARD)
    if not ((folder / RESULTS_OF).is_file() and (folder / "metrics.json").is_file()):
        return "Not tested: there are no results of these weights."
    tested, metrics = read_json(folder / RESULTS_OF), read_json(folder / "metrics.json")
    if tested.get("checkpoint") != trained.checksum:
        return "Not tested: the results in the model's folder are of other weights."
    lines = score_table(metrics["scores"], metrics["intervals"], tested["split"])
    protocol = metrics["protocol"]
    notes = [baseline_line(metrics.get("comparison", {})), protocol["caption"], protocol.get("comparability", "")]
    if wanted.half or not wanted.bank_text or wanted.bank_size:
        notes.append("Measured before export, with float32 weights and the whole bank with its texts.")
    return "\n".join([*lines, "", *filter(None, notes)])


def _of_release(card: Path) -> str:
    """What the card of a release says of its scores, for the card of a release that is made of it."""
    found = QUOTED.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    if found is None:
        return "Not known: the card of the release that this one was made of has no part called Scores."
    said = found[0].removeprefix(found[1]).replace(MEASURED, "Measured on that release.")
    return f"From the card of the release that this one was made of:\n\n{said}"


def score_table(scores: Mapping[str, float], intervals: Mapping[str, Sequence[float]], split: str) -> list[str]:
    """The rows of a card's table, with its head; ``scores`` and ``intervals`` by figure, as ``metrics.json`` has them."""
    lines = ["| figure | value | 95 % interval |", "|---|---:|---:|"]
    for name in SCORES:
        value, interval = scores.get(f"{split}_{name}"), intervals.get(f"{split}_{name}")
        if value is not None:
            between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
            lines.append(f"| {name} | {value:.3f} | {between} |")
    return lines
