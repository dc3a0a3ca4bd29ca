"""modules/labelling/mentions.py: entities by any form of their word, asserted or denied."""

import time

import numpy as np
import pytest

from modules.corpus.text import clean_report
from modules.labelling.mentions import DENIED, NOT_MENTIONED, PRESENT, UNCERTAIN_MENTION, entity_mentions
from modules.labels import ENTITIES


def mentioned(report):
    """Entities of one report by state, without those not mentioned."""
    row = entity_mentions([report])[0]
    return {ENTITIES[i]: int(state) for i, state in enumerate(row) if state != NOT_MENTIONED}


def test_states_and_shape():
    mentions = entity_mentions(["No effusion.", "Possible effusion.", "Effusion.", ""])
    assert mentions.shape == (4, 75)
    assert mentions.dtype == np.int8
    column = mentions[:, ENTITIES.index("effusion")]
    assert column.tolist() == [DENIED, UNCERTAIN_MENTION, PRESENT, NOT_MENTIONED]
    assert not mentions[3].any()


@pytest.mark.parametrize("entity", ENTITIES[:-2])
def test_every_entity_is_found_under_its_own_name(entity):
    assert mentioned(f"there is {entity}")[entity] == PRESENT
    assert mentioned(f"no {entity}")[entity] == DENIED


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("the heart is enlarged", {"cardiomegaly": 1, "enlarge": 1}),
        ("cardiac enlargement", {"cardiomegaly": 1, "enlarge": 1}),
        ("congestive heart failure", {"chf": 1, "congestion": 1}),
        ("bibasilar opacities and opacification", {"opacity": 1}),
        ("lines and tubes", {"line": 1, "tube": 1}),
        ("the lungs are clearly hyperexpanded", {"clear": 1, "hyperinflate": 1}),
        ("low lung volumes", {"low": 1}),
        ("left lower lobe", {"excluded_obs": 1}),
        ("airspace in the spinous process", {"excluded_obs": 1}),
        ("air space disease", {"disease": 1}),
        ("calcified granuloma", {"calcification": 1, "tail_abnorm_obs": 1}),
        ("no lymphadenopathy", {"tail_abnorm_obs": 2}),
        ("unchanged effusion", {"stable": 1, "effusion": 1}),
        ("lungs are free of effusion", {"free": 1, "effusion": 2}),
        ("history of pneumonia", {"excluded_obs": 1}),
    ],
)
def test_forms(report, expected):
    assert mentioned(report) == expected


def test_the_strongest_state_of_a_report_stands():
    assert mentioned("No effusion. Possible effusion.")["effusion"] == UNCERTAIN_MENTION
    assert mentioned("Effusion. No effusion. Possible effusion.")["effusion"] == PRESENT


def test_cleaned_text_gives_the_same_mentions():
    raw = "1. The heart is enlarged, no edema. 2. Small right-sided effusion; picc line tip in the SVC."
    assert mentioned(raw) == mentioned(clean_report(raw))


def test_an_archive_takes_seconds():
    words = (
        "no",
        "mild",
        "left",
        "basilar",
        "effusion",
        "opacity",
        "is",
        "seen",
        "possible",
        "edema",
        "lungs",
        "clear",
    )
    rng = np.random.default_rng(0)
    reports = [". ".join(" ".join(rng.choice(words, 6)) for _ in range(5)) for _ in range(1000)]
    start = time.process_time()
    entity_mentions(reports)
    assert time.process_time() - start < 5
