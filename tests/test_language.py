"""modules/corpus/language.py: reports in other languages are refused, since no label of theirs would be right."""

import json
from pathlib import Path

import pytest
from programs import refused

import main_score
from modules.corpus.language import is_other_language, refuse_other_language
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.custom import read_custom
from modules.records import read_jsonl, write_jsonl

OTHERS = (
    "Kein Pneumothorax. Herz normal groß.", "Herz nicht vergrößert, keine Infiltrate.", "Silueta cardiaca normal. No se observan infiltrados.",
    "cambi pulmonar cronic sever . sign fibrosis bibasal .", "sin hallazg patolog relevant", "Coeur de taille normale. Pas d'épanchement.",
    "Não há derrame pleural.", "Nessun versamento pleurico. Ombra cardiaca nei limiti.", "Geen pleuravocht. Hart niet vergroot.",
    "Serce niepowiększone. Płuca bez zmian.", "Bóng tim không to. Không tràn dịch màng phổi", "心影不大。双肺清晰。", "Сердце не увеличено.", "لا يوجد انصباب",
)  # fmt: skip


@pytest.mark.parametrize("text", OTHERS)
def test_other_languages_are_known(text):
    assert is_other_language(text)


@pytest.mark.parametrize(
    "text",
    [
        "cardiomegaly, edema, effusion",
        "No acute disease.",
        "Non-specific interstitial opacities.",
        "x y z",
        "",
        "Sjögren.",
    ],
)
def test_terms_and_short_reports_are_no_other_language(text):
    assert not is_other_language(text)


def test_no_real_report_is_taken_for_another_language(real_cxr):
    rows = read_jsonl(real_cxr / "reports.jsonl")
    assert [
        row["id"] for row in rows for part in ("findings", "impression") if is_other_language(row[part] or "")
    ] == []


def test_half_of_the_reports_may_be_of_another_language():
    refuse_other_language(Path("a"), [OTHERS[0], "The heart is normal.", "..."])
    with pytest.raises(UserError, match=r"^a: 2 of 3 reports are not English, and .* translate them first$"):
        refuse_other_language(Path("a"), [*OTHERS[:2], "The heart is normal.", "..."])


def test_reports_that_contradict_each_other_in_chinese_are_not_given_a_figure(tmp_path, capsys):
    """They had an F1 of 1.000: neither side has a word that the labeler knows."""
    rows = [
        {"id": str(n), "reference": "心影不大。双肺清晰。", "prediction": f"心影增大。未见胸腔积液{n}。"}
        for n in range(3)
    ]
    write_jsonl(tmp_path / "a.jsonl", rows)
    refused(capsys, "3 of 3 reports are not English", main_score, "--predictions", tmp_path / "a.jsonl")


def test_a_table_of_german_reports_is_not_learnt(tmp_path):
    """Kein Pneumothorax was labelled as a pneumothorax."""
    rows = [{"image_path": f"{n}.png", "report": f"Kein Pneumothorax. Herz {n} cm."} for n in range(3)]
    (tmp_path / "studies.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match="3 of 3 reports are not English"):
        read_custom(tmp_path / "studies.json", RawOptions(), with_images=False)
