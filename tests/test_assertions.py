"""modules/labelling/assertions.py: which words of a sentence a cue reaches, and where it stops."""

import time

import pytest

from modules.labelling.assertions import assertion_map, normalised_sentences
from modules.labels import BLANK, NEGATIVE, POSITIVE, UNCERTAIN

LETTERS = {POSITIVE: "+", NEGATIVE: "-", UNCERTAIN: "?", BLANK: "."}


def assertions(report):
    """Assertion of the last character of every word, by word, over all sentences of the report."""
    found = {}
    for sentence in normalised_sentences(report):
        states, end = assertion_map(sentence), -1
        assert len(states) == len(sentence)
        for word in sentence.split(" "):
            end += len(word) + 1
            found[word] = LETTERS[states[end - 1]]
    return found


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        # forward
        ("no effusion or pneumothorax", "effusion - pneumothorax -"),
        ("the lungs are without edema", "lungs + edema -"),
        ("lungs are free of infiltrate", "free + infiltrate -"),
        ("the heart is not enlarged", "heart + enlarged -"),
        ("negative for pneumonia", "pneumonia -"),
        ("absence of edema", "edema -"),
        ("effusion does not appear to be a hydropneumothorax", "effusion + hydropneumothorax -"),
        ("possible small effusion", "effusion ?"),
        ("may be due to edema", "edema ?"),
        ("cannot exclude pneumonia", "pneumonia ?"),
        ("question of nodule", "nodule ?"),
        ("opacity suspicious for pneumonia", "opacity + pneumonia ?"),
        ("history of carcinoma", "carcinoma ."),
        ("recommend ct to exclude nodule", "nodule ."),
        ("follow up to document resolution of pneumonia", "pneumonia ."),
        # backward
        ("effusion or edema is not seen", "effusion - edema -"),
        ("pneumothorax is no longer seen", "pneumothorax -"),
        ("edema has resolved", "edema -"),
        ("edema has completely resolved", "edema -"),
        ("pneumonia cannot be excluded", "pneumonia ?"),
        ("pneumonia cannot be entirely excluded", "pneumonia ?"),
        ("underlying infection is possible", "infection ?"),
        ("pneumonia is a consideration", "pneumonia ?"),
        ("small effusion suspected", "effusion ?"),
        ("atelectasis versus pneumonia", "atelectasis ? pneumonia ?"),
        ("opacity seen at the base atelectasis vs pneumonia", "opacity + atelectasis ?"),
        # the denial stands where both reach
        ("no opacity to suggest pneumonia", "opacity - pneumonia -"),
        ("no findings suspicious for pneumonia", "pneumonia -"),
        ("no effusion possible infiltrate", "effusion - infiltrate ?"),
        ("no atelectasis versus pneumonia", "atelectasis - pneumonia -"),
        # where scopes end
        ("no effusion but mild edema", "effusion - edema +"),
        ("no effusion however edema", "effusion - edema +"),
        ("no effusion with stable cardiomegaly", "effusion - cardiomegaly +"),
        ("no abnormality other than cardiomegaly", "abnormality - cardiomegaly +"),
        ("no effusion the heart is enlarged", "effusion - enlarged +"),
        ("no effusion there is edema", "effusion - edema +"),
        ("possible pneumonia but definite effusion", "pneumonia ? effusion +"),
        ("edema is present and effusion is not seen", "edema + effusion -"),
        ("No effusion. Edema.", "effusion - edema +"),
        ("no effusion . edema .", "effusion - edema +"),
        # looks like a cue and is none
        ("no change in cardiomegaly", "cardiomegaly +"),
        ("no significant interval change in effusion", "effusion +"),
        ("without change in effusion", "effusion +"),
        ("not only edema", "edema +"),
        ("findings consistent with edema", "edema +"),
        ("no findings consistent with edema", "edema -"),
        ("age indeterminate fracture", "fracture +"),
        ("fracture not well seen", "fracture +"),
        ("most suggestive of atelectasis", "atelectasis +"),
    ],
)
def test_scope(sentence, expected):
    found = assertions(sentence)
    words = expected.split()
    assert {word: found[word] for word in words[::2]} == dict(zip(words[::2], words[1::2], strict=True))


def test_denial_reaches_back_a_limited_number_of_words():
    far = assertions("edema " + "word " * 16 + "is not seen")
    near = assertions("edema " + "word " * 15 + "is not seen")
    assert (far["edema"], near["edema"]) == ("+", "-")
    assert assertions("opacity mild atelectasis versus edema")["opacity"] == "+"
    assert assertions("opacity atelectasis versus edema")["opacity"] == "?"


@pytest.mark.parametrize(
    ("report", "sentences"),
    [
        ("The tube ends 4.5 cm above. Lungs: clear!", ["the tube ends 4 5 cm above", "lungs clear"]),
        ("lungs clear . no effusion .", ["lungs clear", "no effusion"]),
        ("No effusion;clear lungs; and/or edema", ["no effusion clear lungs", "and or edema"]),
        ("apex.There is none", ["apex", "there is none"]),
        ("first line\nsecond line\n\nthird", ["first line second line", "third"]),
        ("Patient's right-sided line", ["patients right sided line"]),
        (" . .. ", []),
        ("", []),
    ],
)
def test_sentences(report, sentences):
    assert normalised_sentences(report) == sentences


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No pneumothorax, left basilar atelectasis is unchanged.", "pneumothorax - atelectasis +"), ("No pneumothorax or effusion, right basilar opacity persists.", "effusion - opacity +"),
        ("No pneumothorax, right chest tube in place.", "pneumothorax - tube +"), ("No effusion, ET tube is in good position.", "effusion - tube +"), ("Clear, no effusion, heart enlarged.", "effusion - enlarged +"),
        ("No pneumothorax, a small left effusion is seen.", "pneumothorax - effusion +"), ("No pneumothorax and small left effusion.", "pneumothorax - effusion +"),
        ("No effusion and stable moderate cardiomegaly.", "effusion - cardiomegaly +"), ("No acute process, chronic left effusion.", "effusion +"),
        ("No pneumothorax and mild cardiomegaly is stable.", "pneumothorax - cardiomegaly +"), ("no pneumothorax left basilar atelectasis is unchanged", "pneumothorax - atelectasis +"),
        # a list of what is denied goes on
        ("No pneumothorax, pleural effusion is seen.", "effusion -"), ("No pneumothorax, effusion, or stable nodule.", "effusion - nodule -"), ("no pneumothorax effusion or stable nodule", "nodule -"),
        ("No effusion, heart failure or pneumothorax.", "failure - pneumothorax -"), ("No effusion or a small nodule is seen.", "effusion - nodule -"), ("No new effusion, stable or increased edema.", "effusion - edema -"),
        ("No large effusion and no pneumothorax.", "effusion - pneumothorax -"), ("follow up to exclude an underlying mass", "mass ."),
    ],
)  # fmt: skip
def test_what_is_denied_ends_where_something_is_said_to_be_as_it_was(sentence, expected):
    found = assertions(sentence)
    words = expected.split()
    assert {word: found[word] for word in words[::2]} == dict(zip(words[::2], words[1::2], strict=True))


def test_a_long_salad_of_words_takes_no_minutes():
    """Two hundred times the same two words took five seconds, four hundred times forty."""
    begun = time.perf_counter()
    for salad in ("no effusion ", "no effusion edema ", "no effusion edema unchanged "):
        assert normalised_sentences(salad * 400 + "edema is stable")
    assert time.perf_counter() - begun < 10
