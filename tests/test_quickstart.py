"""What `bash quickstart.sh` has left: are references read, and do maps differ and point? Skipped where it has not run."""

import pytest

from modules.records import ROOT, read_json

RUN = ROOT / "results" / "synth_cxr"


@pytest.fixture(scope="module")
def metrics():
    if not (RUN / "metrics.json").is_file():
        pytest.skip("bash quickstart.sh has not been run here")
    return read_json(RUN / "metrics.json")


def test_a_better_reference_makes_a_better_report(metrics):
    loss = metrics["reference_sensitivity"]
    assert loss["oracle"] < loss["retrieved"] - 0.01
    assert loss["retrieved"] < loss["none"] - 0.005
    assert loss["retrieved"] < loss["random"] - 0.01
    assert loss["retrieved"] < loss["most_different"] - 0.01


def test_entities_differ_and_their_maps_point(metrics):
    assert metrics["map_correlation"] < 0.6
    assert metrics["text_cosine"] < 0.95
    rows = metrics["grounding"]["rows"]
    assert rows["maps"]["hit_rate"] > 2 * rows["chance"]["hit_rate"]


def test_what_is_retrieved_beats_the_cosine_of_scores(metrics):
    found = metrics["retrieval"]
    assert found["learned"]["bleu_4_top1"] > found["cosine"]["bleu_4_top1"] + 0.05
    assert found["learned"]["label_f1_top1"] > found["cosine"]["label_f1_top1"]


def test_findings_are_on_their_side(metrics):
    side = metrics["particulars"]["side"]
    assert side["findings"] > 200
    assert side["same"] > 0.6  # a coin has .5
