"""Published figures, to stand beside ours, and what must be equal before they may be compared.

Every row carries its convention: how P, R and F1 are averaged, what an uncertain label counts as, how many reports were
scored, what the model was given, what the references are, and where the figures were read. Figures of two averages never
stand in one column. F1 = 2PR / (P + R) holds for micro figures and for no mean of F1s, so that a row which obeys it is micro
whatever it calls itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NLG = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L")
CE = ("precision", "recall", "f1")
COLUMNS = (*NLG, *(f"ce_{name}" for name in CE))
TRANSCRIBED = "as transcribed in tables III and IV of EMGKT, table 2 of PACER and table 1 of DRRG"
CUT = "findings, published cleaning, first 100 words"


@dataclass(frozen=True)
class PublishedRow:
    """Figures of one model in the order of ``COLUMNS``, None where none is given, and the convention behind them.

    Args:
        figures: BLEU-1 to 4, METEOR, ROUGE-L, P, R, F1.
        average: of P, R and F1: ``"example"`` or ``"micro"``.
        uncertain: what an uncertain label counts as.
        reports: scored.
        inputs: what the model was given.
        reference: the text it was scored against.
        source: where the figures were read.
        beside: figures of other names that the same source gives.
    """

    figures: tuple[float | None, ...]
    average: str = "example"
    uncertain: str = "negative"
    reports: int = 3858
    inputs: str = "one image"
    reference: str = CUT
    source: str = TRANSCRIBED
    beside: Mapping[str, float] | None = None

    def named(self) -> dict[str, float | None]:
        """Figures by name; P, R and F1 of another average than the example-based one carry it in their names."""
        suffix = "" if self.average == "example" else f"_{self.average}"
        names = (*NLG, *(f"ce_{name}{suffix}" for name in CE))
        return {**dict(zip(names, self.figures, strict=True)), **(self.beside or {})}


@dataclass(frozen=True)
class PublishedTable:
    """Rows of one data set by model: what was tested, and on how many reports most of them were."""

    what: str
    reports: int
    rows: Mapping[str, PublishedRow]


def _iu(*figures: float) -> PublishedRow:
    return PublishedRow(figures, reports=4168)


PUBLISHED = {
    "mimic_cxr": PublishedTable(
        "MIMIC-CXR test split, findings",
        3858,
        {
            "R2Gen (EMNLP 2020)": PublishedRow((0.353, 0.218, 0.145, 0.103, 0.142, 0.277, 0.333, 0.273, 0.276)),
            "KiUT (CVPR 2023)": PublishedRow((0.393, 0.243, 0.159, 0.113, 0.160, 0.285, 0.371, 0.318, 0.321)),
            "RGRG (CVPR 2023)": PublishedRow((0.373, 0.249, 0.175, 0.126, 0.168, 0.264, 0.461, 0.475, 0.447)),
            "PromptMRG (AAAI 2024)": PublishedRow((0.398, 0.239, 0.156, 0.112, 0.157, 0.268, 0.501, 0.509, 0.476)),
            "EKAGen (CVPR 2024)": PublishedRow(  # said nowhere, but obeys F1 = 2PR / (P + R) to .0004
                (0.419, 0.258, 0.170, 0.119, 0.157, 0.287, 0.517, 0.483, 0.499), average="micro"
            ),
            "PriorRG (AAAI 2026)": PublishedRow(
                (0.412, 0.290, 0.220, 0.175, 0.189, 0.324, 0.541, 0.485, 0.511),
                average="micro",
                reports=3852,
                inputs="one image, prior study, indication",
                source="in PriorRG",
                beside={"ce_f1_macro": 0.376},
            ),
            "REVTAF (ICCV 2025)": PublishedRow((0.465, 0.318, 0.235, 0.182, 0.199, 0.336, 0.628, 0.613, 0.592)),
            "REVTAF baseline, by EMGKT": PublishedRow((0.432, 0.283, 0.210, 0.159, 0.177, 0.311, 0.612, 0.605, 0.580)),
            "EMGKT": PublishedRow((0.466, 0.319, 0.236, 0.184, 0.198, 0.334, 0.633, 0.618, 0.598)),
            "ESC-RL (ACL 2026)": PublishedRow((0.487, None, None, 0.199, None, 0.352, 0.632, 0.625, 0.608)),
        },
    ),
    "iu_xray": PublishedTable(
        "IU X-Ray, zero-shot from MIMIC-CXR, whole set",
        4168,
        {
            "R2Gen (EMNLP 2020)": _iu(0.289, 0.155, 0.087, 0.052, 0.128, 0.243, 0.151, 0.145, 0.145),
            "CvT2DistilGPT2": _iu(0.383, 0.236, 0.157, 0.082, 0.147, 0.277, 0.174, 0.172, 0.168),
            "PromptMRG (AAAI 2024)": _iu(0.401, 0.247, 0.160, 0.098, 0.160, 0.281, 0.213, 0.229, 0.211),
            "REVTAF (ICCV 2025)": _iu(0.420, 0.249, 0.159, 0.107, 0.176, 0.309, 0.286, 0.282, 0.273),
            "EMGKT": _iu(0.428, 0.255, 0.164, 0.110, 0.176, 0.313, 0.303, 0.302, 0.293),
        },
    ),
}
# Protocols of their own: not comparable with the rows above, nor with each other.
OTHER_PROTOCOLS = {
    "mimic_cxr": (
        "CXRMate-2 (3B; up to 5 images and the prior study; n = 1,624): BLEU-4 .245, ROUGE-L .421, GREEN .466, RaTEScore .676",
        "PriorRG (raw text; prior study and indication): GREEN .361, RaTEScore .571, 1/RadCliQ 1.050",
        "MLRG: BLEU-4 .158, micro F1-14 .505, macro F1-14 .364",
        "Libra-7B: BLEU-4 .245, RaTEScore .615",
    ),
}


def published_rows(dataset: str | None) -> dict[str, dict[str, float | None]]:
    """Figures by name for every published model on a data set, none for a data set without."""
    table = PUBLISHED.get(dataset or "")
    return {name: row.named() for name, row in table.rows.items()} if table else {}


def unlike(table: PublishedTable, row: PublishedRow) -> str:
    """What a row does otherwise than most of its table, empty for none."""
    usual = PublishedRow(())
    said = [f"n = {row.reports:,}"] if row.reports != table.reports else []
    said += [row.average] if row.average != usual.average else []
    said += [f"uncertain as {row.uncertain}"] if row.uncertain != usual.uncertain else []
    said += [text for text, other in ((row.inputs, usual.inputs), (row.reference, usual.reference)) if text != other]
    return "; ".join(said)


def titled_rows(dataset: str | None) -> dict[str, dict[str, float | None]]:
    """The same as :func:`published_rows` under titles that say what a row does otherwise."""
    table = PUBLISHED.get(dataset or "")
    if table is None:
        return {}
    found = {}
    for name, row in table.rows.items():
        other = unlike(table, row)
        found[f"{name}, published{f' ({other})' if other else ''}"] = row.named()
    return found


def conventions(dataset: str | None) -> str:
    """One sentence under the table: what the published rows are unless their titles say otherwise, and where they were read."""
    table = PUBLISHED.get(dataset or "")
    if table is None:
        return ""
    usual = PublishedRow(())
    others = [f"{name}: {row.source}" for name, row in table.rows.items() if row.source != usual.source]
    return (
        f"Published rows, unless their titles say otherwise: n = {table.reports:,}; P, R and F1 {usual.average}-based, uncertain as "
        f"{usual.uncertain}; {usual.inputs}; {usual.reference}. Read {'; '.join([usual.source, *others])}."
    )


def best_published(dataset: str | None) -> dict[str, tuple[float, str]]:
    """The highest published value of every figure, and whose it is; rows of other inputs, reports or references are left out."""
    best: dict[str, tuple[float, str]] = {}
    table = PUBLISHED.get(dataset or "")
    if table is None:
        return best
    for model, row in table.rows.items():
        if unlike(table, row) not in ("", row.average):
            continue
        for name, value in row.named().items():
            if value is not None and value > best.get(name, (-1.0, ""))[0]:
                best[name] = (value, model)
    return best


def comparability(dataset: str | None, *, split: str, reports: int, cleaning: str, max_words: int, labeler: str) -> str:
    """Say which published rows ours may be compared with, column by column.

    Args:
        dataset: key of ``PUBLISHED``, or of a data set without published figures.
        split: that was scored.
        reports: scored.
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
    if split != "test" and (dataset, split) != ("iu_xray", "all"):  # published on the whole of it
        differs.append(f"the {split} split was scored")
    if reports != table.reports:
        differs.append(f"{reports} reports were scored, not {table.reports:,}")
    if cleaning == "minimal":
        differs.append(f"the references were cleaned otherwise ({cleaning})")
    if max_words != 100:
        differs.append(f"the references keep {max_words or 'all'} words, not 100")
    known = "" if cleaning != "none" else " if the references, taken as they were found, were cleaned as published"
    what = f"Published rows: {table.what}, {table.reports:,} reports, taken from the papers, not run again."
    if differs:
        return f"{what} None of them can be compared with ours: {'; '.join(differs)}."
    if labeler != "chexbert":
        return (
            f"{what} BLEU, METEOR and ROUGE-L can be compared{known}. P, R and F1 can not: the published ones are CheXbert's, ours "
            f"the {labeler} labeler's."
        )
    others = ", ".join(name for name, row in table.rows.items() if unlike(table, row) not in ("", row.average))
    apart = f"; {others} not: its title says what is otherwise" if others else ""
    return f"{what} All their columns can be compared with ours{known}{apart}. Micro figures stand in the micro column. CIDEr was not published."
