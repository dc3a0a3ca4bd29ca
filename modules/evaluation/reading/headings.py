"""What headings of other people's tables are called: generated reports, references, ids, and what is neither.

A heading that is one of these names is known. One that is put together from the words of a side and of a report
(``report_true``, ``findings_hat``, ``AI generated text``) says its side too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from modules.corpus.section_names import ANOTHER
from modules.corpus.tables import plain_heading

GENERATED = (
    "prediction", "predictions", "predicted", "generated_report", "generated_reports", "generated", "generated_text",
    "hypothesis", "hypotheses", "hyp", "hyps", "model_prediction", "model_predictions", "pred", "preds",
    "predicted_report", "prediction_report", "report_prediction", "report_generated", "generation", "generations",
    "output", "outputs", "model_output", "response", "responses", "model_response", "candidate", "candidates", "pred_report",
    "generated_findings", "predicted_findings", "findings_prediction", "findings_generated", "decoded",
    "generated_impression", "predicted_impression", "impression_prediction", "impression_generated", "pred_impression",
    "impression_pred",
    "gen", "res", "pred_findings", "findings_pred", "report_pred", "report_gen", "model_report", "ai_report", "llm_report",
)  # fmt: skip
REFERENCE = (
    "reference", "references", "reference_report", "reference_reports", "ground_truth", "groundtruth", "ground_truths",
    "ground_truth_report", "gt", "gts", "gt_report", "ref", "refs", "ref_report", "target", "targets", "target_report",
    "reference_text", "gold", "gold_report", "label", "labels", "reference_findings", "report_reference", "original_report",
    "gt_findings", "findings_gt", "gt_impression", "impression_gt", "reference_impression", "report_gt", "true_report", "human_report", "radiologist_report",
)  # fmt: skip
REPORT = ("report", "reports", "report_text", "radiology_report", "text", "caption")
FINDINGS = ("findings", "section_findings", "finding")
IMPRESSION = ("impression", "section_impression", "impressions", "report_impression")  # the last: CheXbert's
WHOLE = ("reference_full",)  # ours: the reference before it was cut
RETRIEVED = ("retrieved_report",)
IDS = (
    "id", "ids", "study_id", "dicom_id", "image_id", "example_id", "question_id", "uid", "case_id", "sample_id", "report_id",
    "exam_id", "accession", "accession_number", "study", "case", "key", "image", "image_name", "image_path",
    "key_image_path", "file", "file_name", "filename", "path", "dicom", "study_uid", "study_instance_uid",
    "sop_instance_uid", "studyid", "imageid", "path_to_image", "images", "image_paths", "image_file", "image_filename", "file_path", "filepath",
    "img", "img_path", "dicom_path", "path_to_dcm",
)  # fmt: skip
ASIDE = (  # texts that are neither side of a comparison
    "query", "question", "prompt", "instruction", "context", "indication", "history", "clinical_history", "comparison",
    "technique", "examination", "exam", "conversations", "split", "view", "views", "frontal_lateral", "age", "sex", "gender",
    "patient", "patient_id", "subject_id", "subject", "model", "model_id", "metadata", "retrieved", "states", "scores",
    "state_probability", "positive_probability", "labels_reference", "labels_prediction", "retrieved_report", "reference_full",
    "prior_report", "previous_report", "answer_id", "dataset", "source", "unnamed0", "index",
)  # fmt: skip
NAMES = {  # by what a column is
    "generated": GENERATED, "reference": REFERENCE, "report": REPORT, "findings": FINDINGS, "impression": IMPRESSION,
    "ids": IDS, "whole": WHOLE, "retrieved": RETRIEVED,
}  # fmt: skip
KNOWN = (*GENERATED, *REFERENCE, *REPORT, *FINDINGS, *IMPRESSION, *IDS, *WHOLE)
PLAIN = {kind: frozenset(map(plain_heading, names)) for kind, names in NAMES.items()}  # as plain_heading writes them
PLAIN_KNOWN = frozenset(map(plain_heading, KNOWN))

# Words that headings are put together from. One of _OF_EITHER is generated unless a reference's stands beside it:
# ``response_text`` is generated, ``expected_response`` a reference, and so is ``decoded_labels``.
_OF_GENERATED = (
    r"generat(?:ed|ions?|e|ive)|gen|predict(?:ed|ions?|ive)?|preds?|hypothes[ie]s|hyps?|hypos?|mt|candidates?|cand|inferred|inference"
    r"|synthe(?:tic|si[sz]ed)|machine|model|llm|vlm|ai|system|sys|hat|estimated|produced|sampled"
)
_OF_REFERENCE = (
    r"references?|refs?|ground|truths?|gts?|gold(?:en)?|standard|targets?|trues?|actual|real|original|orig|humans?|radiologists?|doctors?"
    r"|physicians?|experts?|expected|authentic|written|labels?"
)
_ANOTHER_TEXT = r"corrected|edited|revised|amended|final(?:i[sz]ed)?|updated|signed|translated|rewritten|second"
_OF_EITHER = r"outputs?|responses?|completions?|decoded"
_OF_REPORTS = (
    r"radiology|reports?|rpts?|texts?|findings?|impressions?|sections?|captions?|notes?|summar(?:y|ies)|descriptions?|narratives?|sentences?"
    r"|answers?|clean(?:ed)?|raw|full|strings?|str|y|cxr|xray|by|from|of|the"
)
_WORD = re.compile(
    rf"(?P<generated>{_OF_GENERATED})|(?P<reference>{_OF_REFERENCE})|(?P<either>{_OF_EITHER})|(?P<report>{_OF_REPORTS})"
)
_WORDS = re.compile(rf"(?:{_OF_GENERATED}|{_OF_REFERENCE}|{_OF_EITHER}|{_OF_REPORTS})+")
_OF_SOMEBODY = re.compile(  # the last word of a heading whose first ones name a model
    r"predictions?|preds?|outputs?|responses?|generations?|completions?|hypothes[ie]s|hyps?|hypos?|generated|predicted|inference"
)
_NO_MODEL = re.compile(
    rf"{_OF_REFERENCE}|{_ANOTHER_TEXT}|{ANOTHER}|input|prompts?|questions?|instructions?|query|context|retriev\w*|think\w*|reason\w*|cot"
    r"|label\w*|classe?s?|score|error"
)
_VERSION = re.compile(  # of a text that another heading names too: prediction_2, pred_v2, prediction.1, prediction_new
    r"(?:v|version|run|try|sample|seed|epoch|beam|copy)?\d*|[a-d]|new|old|best|last|final|fixed|rerun|retry"
)
_BORDER = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")


def side_of(heading: str) -> str | None:
    """``"generated"`` or ``"reference"`` where every word of a heading is known and one of them says so, whatever its version.

    ``"report"``, ``"findings"`` or ``"impression"`` where all words are those of a report alone; None for anything else.
    """
    written = _pieces(heading)
    unnumbered = [re.sub(r"(?<=[a-z])(?:v?\d+)$", "", piece) for piece in written]
    pieces = [piece for piece in unnumbered if not _VERSION.fullmatch(piece)]
    if not pieces or not all(_WORDS.fullmatch(piece) for piece in pieces):
        return None
    said = {match.lastgroup for piece in pieces for match in _WORD.finditer(piece)}
    if {"generated", "reference"} <= said:
        return None
    if "reference" in said:
        return "reference"
    if said & {"generated", "either"}:
        return "generated"
    if pieces != written:
        return None  # report_new may be either
    plain = plain_heading(heading)
    if ("finding" in plain) == ("impression" in plain):
        return "report"
    return "findings" if "finding" in plain else "impression"


def hints_at_reference(heading: str) -> bool:
    """Whether a word of a heading belongs to the references' side or says that this is another text of the same report."""
    return any(re.fullmatch(f"{_OF_REFERENCE}|{_ANOTHER_TEXT}", piece) for piece in _pieces(heading))


def of_a_model(heading: str) -> bool:
    """Whether a heading ends in a word for what a model writes, behind a name that nobody knows: ``medgemma_output``."""
    *names, last = _pieces(heading) or [""]
    return bool(names and _OF_SOMEBODY.fullmatch(last)) and not any(map(_NO_MODEL.fullmatch, names))


def named_headings(headings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Headings that are one of ``names``, in the order of ``names``."""
    plain = {plain_heading(name): number for number, name in reversed(list(enumerate(names)))}
    found = [heading for heading in headings if plain_heading(heading) in plain]
    return sorted(found, key=lambda heading: plain[plain_heading(heading)])


def is_called(heading: str, name: str) -> bool:
    """Whether somebody means a heading by a name; pandas calls a first column without one ``Unnamed: 0``."""
    plain = plain_heading(name)
    return plain_heading(heading) == plain or (plain == "unnamed0" and not heading.strip())


def is_known(heading: str) -> bool:
    """Whether a heading is one of these names, or says its side."""
    return plain_heading(heading) in PLAIN_KNOWN or side_of(heading) in ("generated", "reference")


def _pieces(heading: str) -> list[str]:
    return [piece.casefold() for piece in _BORDER.split(heading) if piece]
