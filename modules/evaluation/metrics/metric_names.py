"""What a figure is called in full: a short name is one convention among several, and papers mix them."""

from __future__ import annotations

import re

_NLG = {
    "BLEU": "BLEU-{} of the whole set (pycocoevalcap)",
    "METEOR": "METEOR 1.5 of the whole set (jar of pycocoevalcap)",
    "ROUGE_L": "ROUGE-L, mean over reports (pycocoevalcap, beta 1.2)",
    "CIDEr": "CIDEr, mean over reports (pycocoevalcap; document frequencies of the references scored)",
}
_AVERAGES = {
    "example": "per report over the conditions, then the mean over reports (example-based)",
    "micro": "over all pairs of report and condition at once (micro)",
    "macro": "per condition over the reports, then the mean over conditions (macro)",
}
_GROUPS = {
    None: "14 CheXpert conditions",
    "5": "cardiomegaly, edema, consolidation, atelectasis and pleural effusion",
    "head": "the most frequent third of the 14 conditions (5)",
    "medium": "the middle third of the 14 conditions by frequency (5)",
    "tail": "the rarest third of the 14 conditions (4)",
}
_CLINICAL = re.compile(
    r"(?P<what>ce|state)_(?P<measure>precision|recall|f1)(?:_(?P<average>example|micro|macro))?"
    r"(?:_(?P<group>5|head|medium|tail))?(?P<uncertain>_uncertain_positive)?"
)
FURTHER = {
    "ROUGE_L_single_blanks": "ROUGE-L, mean over reports (pycocoevalcap, beta 1.2), every blank single as R2Gen decodes",
    "BLEU_2_sentence": "BLEU-2, mean over reports of raw text (CXR-Report-Metric, ReXrank)",
    "ROUGE_L_f1": "ROUGE-L F1, mean over reports of raw text (rouge-score without stemming)",
    "semb_score": "SembScore, mean cosine of CheXbert's vectors of raw text (CXR-Report-Metric)",
    "radgraph_simple": "RadGraph-XL F1, simple (RadEval)",
    "radgraph_partial": "RadGraph-XL F1, partial (RadEval)",
    "radgraph_complete": "RadGraph-XL F1, complete (RadEval)",
    "radgraph_radcliq": "RadGraph, mean of the F1s of entities and relations by the first model (RadEval; ReXrank)",
    "radcliq_v1": "1 / mean RadCliQ-v1 (RadEval; larger is better)",
    "bertscore": "BERTScore F1, distilbert-base-uncased, layer 5, rescaled (RadEval)",
    "rexrank_bertscore": "BERTScore F1, distilroberta-base, layer 5, rescaled, no idf (RadEval; ReXrank)",
    "green": "GREEN (RadEval)",
    "ratescore": "RaTEScore (RadEval)",
    "srrbert_weighted_f1": "SRR-BERT, mean over reports of F1 over leaves with statuses (RadEval)",
    "srrbert_weighted_precision": "SRR-BERT, mean over reports of precision (RadEval)",
    "srrbert_weighted_recall": "SRR-BERT, mean over reports of recall (RadEval)",
    "crimson": "CRIMSON, mean over reports (RadEval, its open model)",
}


def full_name(name: str, max_words: int) -> str:
    """The full name of a figure.

    Args:
        name: short name, without ``test_``.
        max_words: words kept of the references, 0 for all.

    Returns:
        What is averaged over what; the short name itself if it is none of ours.
    """
    if name in FURTHER:
        return FURTHER[name]
    stem, full = (name[: -len("_full")], True) if name.endswith("_full") else (name, False)
    base = stem.split("_")[0] if stem.startswith("BLEU") else stem
    if base in _NLG:
        cut = f"references cut to their first {max_words} words" if max_words and not full else "whole references"
        return f"{_NLG[base].format(stem[-1])}; {cut}"
    match = _CLINICAL.fullmatch(name)
    if match:
        source = "labels of the generated report" if match["what"] == "ce" else "states predicted from the image"
        uncertain = "positive" if match["uncertain"] else "negative"
        average = _AVERAGES[match["average"] or "example"]
        return f"{match['measure']}, {average}; {_GROUPS[match['group']]}; uncertain as {uncertain}; {source}"
    return name
