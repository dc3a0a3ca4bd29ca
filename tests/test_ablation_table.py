"""modules/evaluation/reports/ablation_table.py: small made-up runs with known means, intervals and differences."""

import numpy as np
import pytest
from scipy import stats

from modules.evaluation.reports.ablation_table import (
    Figure,
    Inside,
    _difference_cell,
    differences,
    estimate,
    latex,
    markdown,
    means,
    paired,
    table_cells,
    unlike,
)
from modules.evaluation.reports.run_lines import latest_runs

BLEU = Figure("BLEU-4", "scores.test_BLEU_4")
GAIN = Figure("none - retrieved", "none", "retrieved", 4)


def run(row, seed, bleu, **changes):
    return {
        "benchmark": "made up", "row": row, "seed": seed, "flags": "--retrieval none" if row == "none" else "",
        "named": ["retrieval"] if row == "none" else [], "settings": {"retrieval": row, "epochs": 3},
        "figures": {"scores.test_BLEU_4": bleu}, "data": "d", "commit": "c" * 40, "dirty": False, "hardware": "cpu",
        **changes,
    }  # fmt: skip


RUNS = [
    *(run("full", seed, bleu, settings={"retrieval": "learned", "epochs": 3}) for seed, bleu in ((1, 0.4), (2, 0.5), (3, 0.6))),
    *(run("none", seed, bleu) for seed, bleu in ((1, 0.31), (2, 0.40), (3, 0.49))),
]  # fmt: skip


def rows():
    return latest_runs(RUNS, "made up")


def test_a_later_run_of_the_same_row_and_seed_counts_and_other_benchmarks_do_not():
    again = [*RUNS, run("none", 2, 0.9), run("none", 2, 0.1, benchmark="another")]
    found = latest_runs(again, "made up")
    assert list(found) == ["full", "none"]
    assert found["none"][2]["figures"]["scores.test_BLEU_4"] == 0.9


def test_mean_and_students_interval():
    value = means(rows(), [BLEU])["full"]["BLEU-4"]
    low, high = stats.t.interval(0.95, 2, loc=0.5, scale=0.1 / np.sqrt(3))
    assert value == pytest.approx((0.5, low, high, 3))


def test_one_seed_has_no_interval():
    assert estimate([0.3]) == (0.3, None, None, 1)
    assert paired({1: 0.5}, {1: 0.4}) == pytest.approx((0.1, None, None, None, None, 1))


def test_differences_are_paired_by_seed():
    value = differences(rows(), [BLEU])["none"]["BLEU-4"]
    expected = stats.ttest_rel([0.31, 0.40, 0.49], [0.4, 0.5, 0.6])
    interval = expected.confidence_interval(0.95)
    assert value.difference == pytest.approx(-0.1)
    assert (value.low, value.high) == pytest.approx((interval.low, interval.high))
    assert value.p == value.p_holm == pytest.approx(expected.pvalue)  # a family of one
    assert value.seeds == 3


def test_only_common_seeds_are_compared():
    assert paired({1: 0.5, 2: 0.6}, {2: 0.4, 3: 0.1}).seeds == 1
    assert paired({1: 0.5}, {2: 0.4}) is None


def test_what_no_seed_changes_has_neither_interval_nor_p_and_is_in_no_family():
    """Two rankings that look at no seed differed by 0.000 [0.000, 0.000] with p 0.000."""
    assert paired({1: 0.3, 2: 0.3}, {1: 0.1 + 0.2, 2: 0.3})[1:4] == (None, None, None)
    assert paired({1: 2.0, 2: 3.0}, {1: 1.0, 2: 2.0})[:4] == (1.0, None, None, None)
    assert estimate([0.25, 0.25, 0.25]) == (0.25, None, None, 3)
    more = [
        *RUNS,
        *(run("the same", line["seed"], line["figures"][BLEU.name]) for line in RUNS if line["row"] == "full"),
    ]
    found = differences(latest_runs(more, "made up"), [BLEU])
    assert found["the same"]["BLEU-4"].p_holm is None
    assert found["none"]["BLEU-4"].p_holm == found["none"]["BLEU-4"].p
    assert _difference_cell(found["the same"]["BLEU-4"], 3) == "+0.000"


def test_holm_counts_every_difference_of_the_table():
    more = [*RUNS, *(run("random", seed, bleu) for seed, bleu in ((1, 0.38), (2, 0.49), (3, 0.60)))]
    found = differences(latest_runs(more, "made up"), [BLEU])
    small, large = sorted((found["none"]["BLEU-4"], found["random"]["BLEU-4"]), key=lambda pair: pair.p)
    assert small.p_holm == pytest.approx(2 * small.p)
    assert large.p_holm == pytest.approx(max(2 * small.p, large.p))


def test_a_figure_may_be_a_difference_and_may_be_missing():
    with_losses = [
        run("full", 1, 0.4, figures={"none": 0.75, "retrieved": 0.70}),
        run("none", 1, 0.3, figures={"retrieved": 0.70}),
    ]
    found = means(latest_runs(with_losses, "made up"), [GAIN])
    assert found["full"]["none - retrieved"].mean == pytest.approx(0.05)
    assert found["none"] == {}
    heading, body = table_cells(latest_runs(with_losses, "made up"), [GAIN])
    assert heading == ["row", "seeds", "none - retrieved"]
    assert [cells[-1] for cells in body] == ["0.0500", "n/a", "n/a"]


def test_runs_that_differ_in_their_named_flags_alone_are_alike():
    assert unlike(rows()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {"retrieval": "none", "epochs": 7}}, "epochs 7 for 3"),
        ({"settings": {"retrieval": "none"}}, "epochs None for 3"),
        ({"commit": "a" * 40}, "commit aaaaaaaaaaaa for cccccccccccc"),
        ({"data": "other"}, "data other for d"),
        ({"hardware": "gpu"}, "hardware gpu for cpu"),
        ({"flags": "--retrieval random"}, "flags --retrieval random for --retrieval none"),
        ({"dirty": True}, "uncommitted changes at cccccccccccc"),
    ],
    ids=str,
)
def test_a_run_that_differs_in_more_is_named(changes, words):
    (sentence,) = unlike(latest_runs([*RUNS, run("none", 2, 0.4, **changes)], "made up"))
    assert sentence.startswith("none, seed 2, differs from full in more than its flags: ")
    assert words in sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {"retrieval": "learned", "epochs": 7}}, "epochs 7 for 3"),
        ({"commit": "a" * 40}, "commit aaaaaaaaaaaa for cccccccccccc"),
        ({"data": "other"}, "data other for d"),
        ({"flags": "--c 1"}, "flags --c 1 for none"),
    ],
    ids=str,
)
def test_a_full_run_that_differs_from_the_others_is_named(changes, words):
    kept = RUNS[1]
    other = latest_runs([*RUNS, {**kept, **changes}], "made up")
    del other["none"]
    (sentence,) = unlike(other)
    assert sentence == f"full, seed 2, differs from seed 1 in more than its seed: {words}"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_full_run_with_uncommitted_changes_is_named_beside_every_row(seed):
    sentences = unlike(latest_runs([*RUNS, {**RUNS[seed - 1], "dirty": True}], "made up"))
    assert sentences == [
        f"full, seed {seed}, was trained with uncommitted changes at cccccccccccc",
        f"none, seed {seed}, differs from full in more than its flags: uncommitted changes at cccccccccccc",
    ]


def test_the_run_that_stands_first_in_the_file_has_the_flags_of_its_row():
    runs = latest_runs([{**RUNS[1], "flags": "--c 1"}, RUNS[0]], "made up")
    assert unlike(runs) == ["full, seed 1, differs from seed 2 in more than its seed: flags none for --c 1"]


def test_the_table_shows_each_row_once_with_its_difference_below_and_its_columns_aligned():
    heading, body = table_cells(rows(), [BLEU])
    assert [cells[0] for cells in body] == ["full", "none", "minus full"]
    assert body[0][2].startswith("0.500 [0.252, 0.748]")
    assert body[2][2].startswith("-0.100 [-0.125, -0.075] p 0.003")
    lines = markdown(heading, body).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + 3


def test_latex_escapes_what_latex_reads():
    text = latex(["row", "a_b"], [["x", "95 %"]], "95 % intervals")
    assert r"a\_b" in text
    assert r"95 \% \\" in text
    assert r"\caption{95 \% intervals}" in text


def test_ways_inside_a_row_are_compared_with_each_other():
    inside = Inside("title", "retrieval.", "cosine", (Figure("F1", "f1"), Figure("BLEU-4", "bleu")))
    runs = {
        seed: {
            "figures": {
                "retrieval.learned.f1": f1,
                "retrieval.cosine.f1": 0.5,
                "retrieval.cosine.bleu": 0.1,
                "text": 1.0,
            }
        }
        for seed, f1 in ((1, 0.6), (2, 0.7), (3, 0.8))
    }
    ways = inside.rows(runs)
    assert list(ways) == ["cosine", "learned"]
    heading, body = table_cells(ways, inside.figures, inside.reference)
    assert heading == ["row", "seeds", "F1", "BLEU-4"]
    assert [line[0] for line in body] == ["cosine", "learned", "minus cosine"]
    assert body[2][2].startswith("+0.200 [-0.048, +0.448] p ")
    assert body[1][3] == "n/a"
