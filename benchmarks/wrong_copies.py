"""What do the scores say of reports that are wrong on purpose?

python benchmarks/wrong_copies.py data/iu_xray/annotation.json

Scores copies of all references against the references: with their denials turned into findings, with left and right
exchanged, with their sentences shuffled, and with the report of another study. A clinical score must fall where findings
change and stay where sentences only change places. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from modules.corpus.annotations import read_annotation
from modules.corpus.text import clean_report
from modules.evaluation.reports.tables import markdown_table
from modules.evaluation.scorer import ReportScorer
from modules.labelling.labelers import RuleLabeler
from modules.messages import run

# What is taken out of a report: "no ", "without ", "no evidence of ", "no radiographic evidence of ".
_DENIAL = re.compile(r"\b(?:no|without)\s+(?:\w+ evidence of |evidence of )?", re.IGNORECASE)
_SIDES = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


def flip_negation(report: str) -> str:
    """Denials become findings: "No pleural effusion" -> "pleural effusion"."""
    return _DENIAL.sub("", report)


def flip_side(report: str) -> str:
    """Left becomes right and right becomes left."""
    return re.sub(r"\b(?:left|right|Left|Right)\b", lambda match: _SIDES[match[0]], report)


def shuffle(cleaned: str, rng: np.random.Generator) -> str:
    """The sentences of a cleaned report in another order."""
    return " . ".join(rng.permutation(cleaned.removesuffix(" .").split(" . "))) + " ."


def wrong_copies(reports: list[str]) -> dict[str, list[str]]:
    """Cleaned copies of raw reports, by what is wrong with them."""
    rng = np.random.default_rng(0)
    cleaned = [clean_report(text) for text in reports]
    return {
        "the reference itself": cleaned,
        "denials turned into findings": [clean_report(flip_negation(text)) for text in reports],
        "left and right exchanged": [clean_report(flip_side(text)) for text in reports],
        "sentences shuffled": [shuffle(text, rng) for text in cleaned],
        "another study's report": [cleaned[i] for i in rng.permutation(len(cleaned))],
    }


def main() -> None:
    """Score the copies of every report of an annotation file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotation", help="annotation file, of which all splits are read")
    studies = [study for split in read_annotation(parser.parse_args().annotation).values() for study in split]
    copies = wrong_copies([study.report for study in studies])
    found = ReportScorer(copies["the reference itself"], RuleLabeler()).systems(copies)
    changed = {name: np.mean([a != b for a, b in zip(texts, copies["the reference itself"], strict=True)])
               for name, texts in copies.items()}  # fmt: skip
    print(f"{len(studies)} reports\n")
    print(markdown_table({name: system.scores for name, system in found.items()}, "copy"))
    print("\n" + "; ".join(f"{name}: {share:.1%} of the reports changed" for name, share in changed.items()))


if __name__ == "__main__":
    run(main, "nothing was lost but time: run the same command again")
