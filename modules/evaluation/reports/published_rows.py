"""Published figures, to stand beside ours, and what must be equal before they may be compared.

BLEU, METEOR and ROUGE-L are those of pycocoevalcap against references of at most 100 words; P, R and F1 are example-based
over the 14 conditions of CheXbert, uncertain counted as negative.

Source: as transcribed in tables III and IV of EMGKT, table 2 of PACER and table 1 of DRRG; models as named there.
"""

from __future__ import annotations

from typing import NamedTuple

COLUMNS = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "ce_precision", "ce_recall", "ce_f1")


class PublishedTable(NamedTuple):
    """Rows of one data set: what was tested, on how many studies, and figures by model in the order of ``COLUMNS``."""

    what: str
    studies: int
    rows: dict[str, tuple[float | None, ...]]


PUBLISHED = {
    "mimic_cxr": PublishedTable(
        "MIMIC-CXR test split, findings",
        3858,
        {
            "R2Gen (EMNLP 2020)": (0.353, 0.218, 0.145, 0.103, 0.142, 0.277, 0.333, 0.273, 0.276),
            "KiUT (CVPR 2023)": (0.393, 0.243, 0.159, 0.113, 0.160, 0.285, 0.371, 0.318, 0.321),
            "RGRG (CVPR 2023)": (0.373, 0.249, 0.175, 0.126, 0.168, 0.264, 0.461, 0.475, 0.447),
            "PromptMRG (AAAI 2024)": (0.398, 0.239, 0.156, 0.112, 0.157, 0.268, 0.501, 0.509, 0.476),
            "EKAGen (CVPR 2024)": (0.419, 0.258, 0.170, 0.119, 0.157, 0.287, 0.517, 0.483, 0.499),
            "PriorRG (AAAI 2026)": (0.412, 0.290, 0.220, 0.175, 0.189, 0.324, 0.541, 0.485, 0.511),
            "REVTAF (ICCV 2025)": (0.465, 0.318, 0.235, 0.182, 0.199, 0.336, 0.628, 0.613, 0.592),
            "REVTAF baseline, by EMGKT": (0.432, 0.283, 0.210, 0.159, 0.177, 0.311, 0.612, 0.605, 0.580),
            "EMGKT": (0.466, 0.319, 0.236, 0.184, 0.198, 0.334, 0.633, 0.618, 0.598),
            "ESC-RL (ACL 2026)": (0.487, None, None, 0.199, None, 0.352, 0.632, 0.625, 0.608),
        },
    ),
    "iu_xray": PublishedTable(
        "IU X-Ray, zero-shot from MIMIC-CXR, whole set",
        4168,
        {
            "R2Gen (EMNLP 2020)": (0.289, 0.155, 0.087, 0.052, 0.128, 0.243, 0.151, 0.145, 0.145),
            "CvT2DistilGPT2": (0.383, 0.236, 0.157, 0.082, 0.147, 0.277, 0.174, 0.172, 0.168),
            "PromptMRG (AAAI 2024)": (0.401, 0.247, 0.160, 0.098, 0.160, 0.281, 0.213, 0.229, 0.211),
            "REVTAF (ICCV 2025)": (0.420, 0.249, 0.159, 0.107, 0.176, 0.309, 0.286, 0.282, 0.273),
            "EMGKT": (0.428, 0.255, 0.164, 0.110, 0.176, 0.313, 0.303, 0.302, 0.293),
        },
    ),
}


def published_rows(dataset: str | None) -> dict[str, dict[str, float | None]]:
    """Figures by name for every published model on a data set, none for a data set without."""
    table = PUBLISHED.get(dataset or "")
    return {name: dict(zip(COLUMNS, row, strict=True)) for name, row in table.rows.items()} if table else {}


def comparability(dataset: str | None, *, split: str, studies: int, cleaning: str, max_words: int, labeler: str) -> str:
    """Say which published rows ours may be compared with, column by column.

    Args:
        dataset: key of ``PUBLISHED``, or of a data set without published figures.
        split: that was scored.
        studies: scored.
        cleaning: of the references; ``"none"`` if they were taken as they were.
        max_words: kept of the references, 0 for all.
        labeler: that P, R and F1 were made with.
    """
    table = PUBLISHED.get(dataset or "")
    if table is None:
        return (
            f"No figures are published for {dataset or 'these studies'}: our rows can be compared with each other only."
        )
    differs = []
    if split != "test":
        differs.append(f"the {split} split was scored")
    if studies != table.studies:
        differs.append(f"{studies} studies were scored, not {table.studies:,}")
    if cleaning == "minimal":
        differs.append(f"the references were cleaned otherwise ({cleaning})")
    if max_words != 100:
        differs.append(f"the references keep {max_words or 'all'} words, not 100")
    known = "" if cleaning != "none" else " if the references, taken as they were found, were cleaned as published"
    what = f"Published rows: {table.what}, {table.studies:,} studies, taken from the papers, not run again."
    if differs:
        return f"{what} None of them can be compared with ours: {'; '.join(differs)}."
    if labeler != "chexbert":
        return (
            f"{what} BLEU, METEOR and ROUGE-L can be compared{known}. P, R and F1 can not: the published ones are CheXbert's, ours "
            f"the {labeler} labeler's."
        )
    return f"{what} All their columns can be compared with ours{known}; CIDEr, macro and micro F1 were not published."
