"""modules/corpus/text.py: the published cleaner to the letter, and the small rules around it."""

import copy
import json
import random
import time
from pathlib import Path

import pytest

from modules.corpus.text import (
    CLEANERS,
    PackedTexts,
    attach_punctuation,
    clean_report,
    clean_report_minimal,
    normalise_whitespace,
    plain_signs,
    postprocess_prediction,
    split_sentences,
    strip_markdown,
    truncate_words,
)

CASES = json.loads((Path(__file__).parent / "golden" / "report_cleaning.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[str(i) for i in range(len(CASES))])
def test_published_cleaner_to_the_letter(case):
    assert truncate_words(clean_report(case["raw"])) == case["cleaned"]


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a 4. 5. cm", "a . cm ."),
        ("21. x. 31. y", "2x . 3y ."),  # "1. " goes wherever it stands
        ("x. 2. 2. 2. y", "x . y ."),
        ("a \"/ b. ' c", "a  b . c ."),  # quotes go before the strip, other punctuation after it
        ("a ( b )", "a  b  ."),
        ("a" + " " * 64 + "b", "a b ."),
        ("a" + " " * 65 + "b", "a  b ."),  # six passes halve a run of 65 to 2
        ("a" + "." * 256 + " b", "a . b ."),
        ("a" + "." * 300 + " b", "a . b ."),  # ".." before the space: the second stop is punctuation
        ("x:<=>?@[]^-~`|#$y", "x-~`|#$y ."),
        ("STRASSE ẞ İ", "strasse ß i̇ ."),
    ],
)
def test_published_cleaner_on_corner_cases(raw, cleaned):
    assert clean_report(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("The tube ends 4.5 cm above.  No effusion.", "the tube ends 4.5 cm above . no effusion ."),
        ("Right-sided line, no kink", "right-sided line, no kink ."),
        ("1. Clear.\n2. T11. 10) Old.", "clear . t11 . old ."),
        ("...", ""),
        ("", ""),
        ("a .. b .", "a . b ."),
    ],
)
def test_minimal_cleaner_keeps_decimals_and_hyphens(raw, cleaned):
    assert CLEANERS["minimal"](raw) == clean_report_minimal(raw) == cleaned
    assert clean_report_minimal(cleaned) == cleaned


def test_truncation_counts_empty_pieces():
    assert truncate_words("a  b c", 3) == "a  b"
    assert len(truncate_words("w " * 300).split(" ")) == 100
    with pytest.raises(ValueError, match="at least 1"):
        truncate_words("a", 0)


def test_sentences_are_never_empty_and_survive_the_cleaner():
    assert split_sentences(" .") == split_sentences("") == []
    assert split_sentences("a b . .  . c  d .") == ["a b", "c d"]
    assert split_sentences("4.5 cm . x.y") == ["4.5 cm", "x.y"]
    raw = "Heart size is normal. The lungs are clear.. No effusion."
    for clean in CLEANERS.values():
        assert split_sentences(clean(raw)) == ["heart size is normal", "the lungs are clear", "no effusion"]


def test_prediction_spacing():
    assert postprocess_prediction("clear. right - sided.") == "clear . right-sided . "
    assert postprocess_prediction("clear . no .") == "clear . no . "
    assert postprocess_prediction("4.5 cm. 4. 5") == "4.5 cm . 4 . 5 "
    assert attach_punctuation("a , b . c ? ' d ' it 's . 5") == "a, b. c?'d' it's. 5".replace("' it", "'it")


def test_spacing_twice_changes_nothing():
    rng = random.Random(0)
    for _ in range(20_000):
        text = "".join(
            rng.choices([".", ". ", " .", " ", "a", "b", "a - b", "a-b", ",", "..", "4.5"], k=rng.randint(0, 9))
        )
        for spaced in (postprocess_prediction(text), postprocess_prediction(attach_punctuation(text))):
            assert postprocess_prediction(spaced) == spaced, repr(text)


def test_whitespace():
    assert normalise_whitespace(" a\r\n\tb\u2028c\u00a0 ") == "a b c"


def test_packed_texts_are_the_texts():
    texts = ["the lungs are clear .", "", "œdème, 心臓", "\ud800", "a\nb"]
    packed = PackedTexts(texts)
    assert list(packed) == texts
    assert [packed[i] for i in range(-5, 0)] == texts
    assert len(packed) == 5
    assert "" in packed
    with pytest.raises(IndexError):
        packed[5]
    assert list(PackedTexts([])) == []
    assert list(copy.deepcopy(packed)) == texts


@pytest.mark.parametrize("hyphen", "\u2010\u2011\u2012\u2013\u2212")
def test_hyphens_that_look_like_one_are_one(hyphen):
    assert plain_signs(f"A right{hyphen}sided tube, 3{hyphen}4 mm, {hyphen}5") == "A right-sided tube, 3-4 mm, -5"
    apart = f"Large heart {hyphen} old."
    assert plain_signs(apart) == apart  # a dash, which "-" would join to its neighbours
    assert clean_report(plain_signs(apart)) == postprocess_prediction(clean_report(plain_signs(apart))).rstrip(" ")


@pytest.mark.parametrize("quote", "\u2018\u2019`\u00b4\u02bc")
def test_apostrophes_that_look_like_one_are_one(quote):
    assert plain_signs(f"The patient{quote}s heart.") == "The patient's heart."
    assert plain_signs("A \u201cground-glass\u201d nodule.") == 'A "ground-glass" nodule.'


def test_signs_of_ascii_stay():
    text = 'The patient\'s - right-sided `tube` -- "old" ```x``` 3-4 mm \u2014 at 4\u00b0.'
    assert plain_signs(text) == text


BULLETS = "-*\u2022\u25cf\u25aa\u25a0\u25e6\u2023\u00b7\u2013\u2014\u2192\u2043\u2666\u2713"


@pytest.mark.parametrize("marks", [*([mark] * 3 for mark in BULLETS), ["(1)", "(2)", "(3)"], ["1)", "2)", "3)"], ["a)", "b)", "c)"], ["(a)", "(b)", "(c)"], ["o"] * 3])  # fmt: skip
def test_bullets_are_no_words(marks):
    sentences = ["The heart is large.", "No effusion", "Tube in place."]
    listed = "\n".join(f"{mark} {sentence}" for mark, sentence in zip(marks, sentences, strict=True))
    assert strip_markdown(listed) == "The heart is large.\nNo effusion.\nTube in place."
    assert strip_markdown(f"Findings\n\n  {listed}".replace("\n", "\n  ")).split() == ["Findings", *strip_markdown(listed).split()]  # fmt: skip


@pytest.mark.parametrize("text", ["a) The heart is large.", "T8\n12) mm old", "Size 3 \u2013 4 mm\nis old", "the stent is 3\u20134\nmm", "No change \u2192 stable", "+ effusion"])  # fmt: skip
def test_marks_inside_sentences_are_no_bullets(text):
    assert strip_markdown(text) == text


def test_blank_lines_take_no_longer_than_they_are_many():
    start = time.perf_counter()
    strip_markdown("\n" * 20000 + "x")
    assert time.perf_counter() - start < 2
