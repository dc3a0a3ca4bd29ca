"""Scoring as one community does it: text, section, averages and names fixed at once, said in one line.

A profile is not a set of metrics alone. ReXrank and RadEval score raw text, so ``4.5 cm`` must stay 4.5; the R2Gen family
scores cleaned text; LLaVA-Rad's Micro-F1-14 counts an uncertain finding as absent, RadEval's F1-CheXbert as present.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNCERTAIN = "_uncertain_positive"


@dataclass(frozen=True)
class Profile:
    """What one community compares.

    Args:
        text: ``"cleaned"`` or ``"raw"``: what word overlap and labels are made from.
        section: of reports that keep findings and impression apart.
        columns: title by figure, in the order of the table.
        extra: metrics of ``--extra_metrics`` that belong to it.
        protocol: one line under the table.
    """

    text: str
    section: str
    columns: Mapping[str, str]
    extra: tuple[str, ...]
    protocol: str


PROFILES = {
    "r2gen": Profile(
        "cleaned",
        "findings",
        {
            "BLEU_1": "BL-1", "BLEU_2": "BL-2", "BLEU_3": "BL-3", "BLEU_4": "BL-4", "METEOR": "MTR", "ROUGE_L": "RG-L",
            "CIDEr": "CIDEr", "ce_precision": "P", "ce_recall": "R", "ce_f1": "F1", "ce_f1_macro": "F1-macro",
            "ce_f1_micro": "F1-micro",
        },
        (),
        "r2gen: cleaned lower-case findings, references cut to 100 words, pycocoevalcap; P, R, F1 example-based over 14 "
        "conditions, uncertain as negative",
    ),
    "rexrank": Profile(
        "raw",
        "both",
        {
            "BLEU_2_sentence": "BLEU-2", "rexrank_bertscore": "BERTScore", "semb_score": "SembScore",
            "radgraph_radcliq": "RadGraph", "radcliq_v1": "1/RadCliQ-v1", "ratescore": "RaTEScore", "green": "GREEN",
        },
        ("rexrank_bertscore", "radgraph_radcliq", "radcliq", "ratescore", "green"),
        "rexrank: raw findings and impression; BLEU-2 as CXR-Report-Metric; BERTScore of distilroberta-base, rescaled; RadGraph is "
        "the mean of the F1s of entities and relations; 1/RadCliQ-v1, larger is better",
    ),
    "radeval": Profile(
        "raw",
        "both",
        {
            "BLEU_4": "BLEU-4", "ROUGE_L_f1": "ROUGE-L", "bertscore": "BERTScore", "radgraph_partial": "RadGraph-partial",
            f"ce_f1_micro{UNCERTAIN}": "CheXbert micro-14", f"ce_f1_macro{UNCERTAIN}": "macro-14",
            f"ce_f1_micro_5{UNCERTAIN}": "micro-5", f"ce_f1_macro_5{UNCERTAIN}": "macro-5", "ratescore": "RaTEScore",
            "green": "GREEN",
        },
        ("bertscore", "radgraph", "ratescore", "green"),
        "radeval: raw findings and impression; F1-CheXbert counts uncertain as POSITIVE",
    ),
    "llava_rad": Profile(
        "raw",
        "findings",
        {
            "BLEU_1": "BLEU-1", "BLEU_4": "BLEU-4", "ROUGE_L_f1": "ROUGE-L", "radgraph_partial": "RadGraph-partial",
            "ce_f1_micro": "Micro-F1-14", "ce_f1_macro": "Macro-F1-14", "ce_f1_micro_5": "Micro-F1-5",
            "ce_f1_macro_5": "Macro-F1-5", f"ce_f1_micro{UNCERTAIN}": "Micro-F1-14+", f"ce_f1_micro_5{UNCERTAIN}": "Micro-F1-5+",
        },
        ("radgraph",),
        "llava_rad: raw findings; F1-14 and F1-5 count uncertain as negative, those with + as positive",
    ),
}  # fmt: skip
