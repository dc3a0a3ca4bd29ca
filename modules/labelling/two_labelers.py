"""One labeler in one run: labels by rules beside scores by CheXbert would train on one language and be judged in another."""

from __future__ import annotations

from modules.corpus.manifest import AGAIN
from modules.corpus.store import FeatureStore
from modules.labelling.labelers import Labeler, RuleLabeler
from modules.messages import UserError

ANNOTATION = "annotation"  # what a manifest calls labels that the annotation brought along


def check_one_labeler(store: FeatureStore, labeler: Labeler, dataset_name: str, allowed: bool) -> list[str]:
    """Compare who labelled the studies with who labels the reports that are scored.

    Args:
        store: features of the studies that are trained on or tested.
        labeler: of generated reports and their references.
        dataset_name: MIMIC-CXR's figures are compared with published ones.
        allowed: ``--allow_two_labelers``.

    Returns:
        A line that says which labeler made what, and a warning if they are two.

    Raises:
        UserError: for MIMIC-CXR, if they are two and that is not allowed.
    """
    made = store.entry("labels")["made_by"].get("labeler") if "labels" in store else None
    scores = f"{labeler.name} {labeler.checksum}"
    if made is None:
        return [f"labels: unknown labeler; scores: {scores}"]
    if made == ANNOTATION:
        return [f"labels: the annotation's own; scores: {scores}"]
    line = f"labels: {made}; scores: {scores}"
    if made == scores:
        return [line]
    found = f"the labels in {store.directory} were made by {made} and reports are scored by {scores}"
    remedy = "prepare again with the --chexbert_path of this run, or give here the one of the preparation"
    if labeler.name == RuleLabeler.name and str(made).startswith(f"{labeler.name} "):
        remedy = f"the rules have changed since: {AGAIN} and its other flags, which makes labels and neighbours anew"
    if dataset_name == "mimic_cxr" and not allowed:
        raise UserError(f"{found}: {remedy}, or accept it with --allow_two_labelers")
    return [line, f"warning: {found}, so that training and scores speak of different conditions: {remedy}"]
