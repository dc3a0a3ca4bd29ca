"""Which column of somebody's file holds the generated reports, which the references, which the ids: never a guess.

A heading decides by its name, whatever its case, blanks and marks. ``report``, ``findings`` and ``impression`` are
references where generated reports stand beside them, and generated only where they stand alone. What the names do not
decide is refused with the headings and the flag that decides, ``--columns prediction=... reference=... id=...``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.corpus.cells import is_empty
from modules.corpus.tables import plain_heading
from modules.labels import CONDITIONS
from modules.messages import UserError

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
IMPRESSION = ("impression", "section_impression", "impressions")
WHOLE = ("reference_full",)  # ours: the reference before it was cut
RETRIEVED = ("retrieved_report",)
IDS = (
    "id", "ids", "study_id", "dicom_id", "image_id", "example_id", "question_id", "uid", "case_id", "sample_id", "report_id",
    "exam_id", "accession", "accession_number", "study", "case", "key", "image", "image_name", "image_path",
    "key_image_path", "file", "file_name", "filename", "path", "dicom", "study_uid", "study_instance_uid",
    "sop_instance_uid", "studyid", "imageid",
)  # fmt: skip
ASIDE = (  # texts that are neither side of a comparison
    "query", "question", "prompt", "instruction", "context", "indication", "history", "clinical_history", "comparison",
    "technique", "examination", "exam", "conversations", "split", "view", "views", "frontal_lateral", "age", "sex", "gender",
    "patient", "patient_id", "subject_id", "subject", "model", "model_id", "metadata", "retrieved", "states", "scores",
    "state_probability", "positive_probability", "labels_reference", "labels_prediction", "retrieved_report", "reference_full",
    "prior_report", "previous_report", "answer_id", "dataset", "source", "unnamed0", "index", "image_paths",
)  # fmt: skip
KNOWN = (*GENERATED, *REFERENCE, *REPORT, *FINDINGS, *IMPRESSION, *IDS, *WHOLE)
SECTIONS = ("findings", "impression", "both")
_PARTS = SECTIONS[:2]
_SENTENCE = re.compile(r"[a-z]{2}.*\s[a-z]{2}", re.IGNORECASE | re.DOTALL)

Row = Mapping[str, object]


@dataclass(frozen=True)
class Roles:
    """Headings by role: ``text`` what the file is read for (two for findings and impression), ``reference`` beside it."""

    text: tuple[str, ...]
    reference: tuple[str, ...]
    ids: tuple[str, ...]
    whole: str | None = None
    retrieved: str | None = None


def is_text(values: Sequence[object]) -> bool:
    """Whether a column holds sentences: most of its cells have several words that are not a list of conditions."""
    cells = [str(value) for value in values if not (is_empty(value) or isinstance(value, Mapping))]
    names = set(CONDITIONS)
    sentences = [
        cell
        for cell in cells
        if _SENTENCE.search(cell)
        and not {piece.strip(" []'\"").casefold() for piece in re.split(r"[,;|/]", cell)} <= names
        and ("." in cell or len(cell.split()) > 3)
    ]
    return len(sentences) * 2 > len(cells) > 0


def find_roles(
    path: Path, rows: Sequence[Row], wanted: str, section: str, given: Mapping[str, str] | None = None
) -> Roles:
    """Decide what every column is.

    Args:
        path: of the file, for messages.
        rows: cells by heading; every row has the headings of the first.
        wanted: ``"prediction"`` or ``"reference"``: what the file was given as.
        section: of ``SECTIONS``, where findings and impression are apart.
        given: headings by role, what ``--columns`` says.

    Raises:
        UserError: naming the headings, if the names do not decide.
    """
    headings = list(dict.fromkeys(heading for row in rows[:1000] for heading in row))
    given = _checked(path, headings, given or {})
    named = {name: _named(headings, names) for name, names in _NAMES.items()}
    columns = {heading: [row.get(heading) for row in rows[:200]] for heading in headings}
    named["reference"] = [
        name for name in named["reference"] if not plain_heading(name).startswith("label") or is_text(columns[name])
    ]
    named["generated"] = [name for name in named["generated"] if any(not _is_list(value) for value in columns[name])]
    for side in ("reference",) if wanted == "reference" else ("generated", "reference"):
        if not given.get("prediction" if side == "generated" else "reference"):
            named[side] = _of_section(path, headings, named[side], section)
    every = _neutral(named, section)
    neutral = tuple(name for name in every if name not in given.values())
    if wanted == "reference":
        if not neutral and not any(is_text(columns[name]) for name in headings if name not in every):
            neutral = every  # its only text: what is called so in the other file was meant
        text = _one(
            path, headings, given.get("reference"), named["reference"], neutral, "reference", named["generated"]
        )
        reference: tuple[str, ...] = ()
    else:
        if "prediction" not in given and not named["generated"] and neutral and "reference" not in given:
            _refuse_strangers(path, headings, columns, named, neutral)
        text = _one(
            path, headings, given.get("prediction"), named["generated"], neutral, "prediction", named["reference"]
        )
        beside = () if text == neutral else neutral
        reference = (given["reference"],) if "reference" in given else _reference_beside(path, headings, named, beside)
    ids = (given["id"],) if "id" in given else tuple(name for name in named["ids"] if name not in (*text, *reference))
    if not ids:
        _refuse_unknown_ids(path, headings, rows, named, (*text, *reference))
    return Roles(text, reference, ids, *(next(iter(named[name]), None) for name in ("whole", "retrieved")))


_NAMES = {
    "generated": GENERATED, "reference": REFERENCE, "report": REPORT, "findings": FINDINGS, "impression": IMPRESSION,
    "ids": IDS, "whole": WHOLE, "retrieved": RETRIEVED,
}  # fmt: skip


def _named(headings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Headings that are one of ``names``, in the order of ``names``."""
    plain = {plain_heading(name): number for number, name in reversed(list(enumerate(names)))}
    found = [heading for heading in headings if plain_heading(heading) in plain]
    return sorted(found, key=lambda heading: plain[plain_heading(heading)])


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) != 1


def _of_section(path: Path, headings: Sequence[str], names: list[str], section: str) -> list[str]:
    """Of columns whose names say which section they hold, those of the wanted one; for both, the two or neither."""
    parts = {name: next((part for part in _PARTS if part in plain_heading(name)), None) for name in names}
    kept = [name for name, part in parts.items() if part in (None, section) or section == "both"]
    alone = section == "both" and len(names) == 1 and parts[names[0]]
    if names and (alone or not kept):
        _refuse(path, headings, f"{' and '.join(map(repr, names))} hold another section than --section {section}")
    return kept


def _are_both(names: Sequence[str]) -> bool:
    """Whether two columns hold the findings and the impression of one report."""
    return len(names) == 2 and all(part in plain_heading(name) for part, name in zip(_PARTS, names, strict=True))


def _neutral(named: Mapping[str, list[str]], section: str) -> tuple[str, ...]:
    """The columns that are references or generated according to what stands beside them; two are one report."""
    findings, impression, report = (named[name][:1] for name in ("findings", "impression", "report"))
    if section == "both":
        return tuple(report or [*findings, *impression])
    return tuple((findings if section == "findings" else impression) or report)


def _one(
    path: Path,
    headings: Sequence[str],
    given: str | None,
    sure: Sequence[str],
    neutral: tuple[str, ...],
    what: str,
    opposite: Sequence[str],
) -> tuple[str, ...]:
    """The column that the file is read for."""
    if given is not None:
        return (given,)
    if _are_both(sure):
        return tuple(sure)
    if len(sure) > 1:
        _refuse(path, headings, f"{' and '.join(map(repr, sure))} may both be the {what}")
    if sure:
        return (sure[0],)
    if neutral:
        return neutral
    held = f"only {'generated reports' if what == 'reference' else 'references'}" if opposite else "no known heading"
    _refuse(path, headings, f"it holds {held} where a {what} is expected")
    return ()


def _reference_beside(
    path: Path, headings: Sequence[str], named: Mapping[str, list[str]], neutral: tuple[str, ...]
) -> tuple[str, ...]:
    if len(named["reference"]) > 1 and not _are_both(named["reference"]):
        _refuse(path, headings, f"{' and '.join(map(repr, named['reference']))} may both be the reference")
    return tuple(named["reference"]) or neutral


def _refuse_strangers(
    path: Path,
    headings: Sequence[str],
    columns: Mapping[str, Sequence[object]],
    named: Mapping[str, list[str]],
    neutral: tuple[str, ...],
) -> None:
    """A second text column that nobody knows may be the generated one."""
    known = {name for names in named.values() for name in names} | set(_named(headings, ASIDE))
    if named["reference"]:
        known |= set(headings)  # one side is named, so that the report is the other one
    strangers = [name for name in headings if name not in known and is_text(columns[name])]
    twice = [name for name in named["report"] if name not in neutral] if len(named["report"]) > 1 else []
    if strangers or twice:
        both = " and ".join(map(repr, [*neutral, *twice, *strangers]))
        _refuse(path, headings, f"{both} are texts and it is not said which is the prediction")


def _refuse_unknown_ids(
    path: Path, headings: Sequence[str], rows: Sequence[Row], named: Mapping[str, list[str]], texts: Sequence[str]
) -> None:
    """A column of distinct short values may be an id: rows must then not be taken by order."""
    known = {name for names in named.values() for name in names} | set(_named(headings, ASIDE)) | set(texts)
    for name in headings:
        values = [str(row.get(name)).strip() for row in rows]
        numbered = name.strip() == "" or values in (
            [str(i) for i in range(len(rows))],
            [str(i + 1) for i in range(len(rows))],
        )
        if name not in known and not numbered and len(set(values)) == len(values) and not is_text(values):
            _refuse(path, headings, f"{name!r} may be the id and is not known")


def _checked(path: Path, headings: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """``--columns`` with the headings as the file writes them; roles whose column another file has are left out."""
    found = {}
    for role, name in given.items():
        matches = [heading for heading in headings if heading == name] or [
            heading for heading in headings if plain_heading(heading) == plain_heading(name)
        ]
        if matches:
            found[role] = matches[0]
    return found


def _refuse(path: Path, headings: Sequence[str], why: str) -> None:
    raise UserError(
        f"{path} has the columns {', '.join(repr(name) for name in headings)[:300]}: {why}; say which is which with "
        "--columns prediction=NAME reference=NAME id=NAME"
    )
