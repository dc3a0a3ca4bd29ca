"""docs/findings.md and docs/more_findings.md: the figures that they state over seeds are those of docs/ablations/runs.jsonl."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import tiny_config

from models.near_view import SIDE
from models.revtaf import Revtaf
from modules.evaluation.reports.run_lines import latest_runs
from modules.training.ablations import ABLATIONS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [(DOCS / name).read_text() for name in ("findings.md", "more_findings.md")]
NOW, BEFORE = "".join(PAGES).split("\n## Shorter trainings")
LINES = [json.loads(line) for line in (DOCS / "ablations" / "runs.jsonl").read_text().splitlines()]
TABLES = {  # where each benchmark is told
    "synth_cxr": NOW, "synth_cxr_thumbnail": NOW, "synth_cxr_small": NOW, "synth_cxr_small_again": NOW, "synth_cxr_rewarded": NOW,
    "synth_cxr_small_rewarded": NOW, "synth_cxr_unseen": NOW, "synth_cxr_unseen_fine": NOW, "small": NOW, "small_own_patient": NOW, "synth_cxr_tail": NOW, "synth_cxr_short": BEFORE, "synth_cxr_last_stage": BEFORE,
}  # fmt: skip
TAIL = DOCS / "ablations" / "synth_cxr_tail.md"
RUNS = {benchmark: latest_runs(LINES, benchmark) for benchmark in TABLES}
THREE = [(benchmark, row) for benchmark, rows in RUNS.items() for row in rows if len(rows[row]) >= 3]
CE = ("scores.test_BLEU_4", "scores.test_ce_f1", "scores.test_ce_f1_macro", "scores.test_ce_f1_macro_tail",
      "scores.test_state_f1_macro_tail")  # fmt: skip
RETRIEVED = ("retrieval.learned.bleu_4_top1", "retrieval.learned.label_f1_top1", "retrieval.learned.f1_macro_top1")
RETRIEVAL = ("bleu_4_top1", "label_f1_top1", "f1_macro_top1", "f1_macro_tail_top1")


def figures(benchmark, row, name):
    """A figure of a row, by seed."""
    return np.array([RUNS[benchmark][row][seed]["figures"][name] for seed in sorted(RUNS[benchmark][row])])


def half_interval(values):
    """Half of the 95 % interval over seeds."""
    return stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5


def stated(row, values):
    """A row of a table as findings.md writes it: means, and intervals where the seeds differ."""
    cells = []
    for value in values:
        mean, half = value.mean(), half_interval(value)
        texts = [re.sub(r"^(-?)0\.", r"\1.", f"{x:.3f}") for x in (mean, mean - half, mean + half)]
        cells.append(f"{texts[0]} [{texts[1]}, {texts[2]}]" if texts[1] != texts[2] else texts[0])
    return f"| {row} | " + " | ".join(cells) + " |"


def difference(row, values):
    """A row of differences as findings.md writes it."""
    cells = []
    for value in values:
        half = half_interval(value)
        cells.append(f"{value.mean():+.3f} [{value.mean() - half:.3f}, {value.mean() + half:.3f}]")
    return re.sub(r"0(?=\.\d)", "", f"| {row} | " + " | ".join(cells) + " |")


def test_the_hours_of_all_lines_are_told():
    def hours(step, lines):
        return sum(line["figures"].get(f"seconds.{step}") or 0 for line in lines) / 3600

    cards = [line for line in LINES if line["hardware"].startswith("NVIDIA")]
    parts = [f"{hours(step, lines):.1f}".removeprefix("0") for lines in (LINES, cards) for step in ("train", "test")]
    assert "The lines hold {} hours of training and {} of test: {} and {} on an NVIDIA H200".format(*parts) in NOW


def test_rows_without_a_line_are_told():
    trained = {line["row"] for line in LINES}
    lacking = [row.name for row in ABLATIONS if row.name not in trained]
    assert not lacking
    assert "Every row of the grid has a line" in NOW


def test_the_oracle_is_marked_in_its_tables():
    for suffix in (".md", ".tex"):
        assert (
            "An oracle, told the labels of the study's own report"
            in (DOCS / "ablations" / f"synth_cxr{suffix}").read_text()
        )
        assert "An oracle" not in (DOCS / "ablations" / f"synth_cxr_unseen{suffix}").read_text()


def test_the_full_model_has_three_seeds():
    assert ("synth_cxr", "full") in THREE
    assert len([row for benchmark, row in THREE if benchmark == "synth_cxr"]) >= 6
    assert len([row for benchmark, row in THREE if benchmark == "synth_cxr_thumbnail"]) >= 6


@pytest.mark.parametrize(("benchmark", "row"), THREE)
def test_a_row_with_three_seeds_stands_as_it_was_measured(benchmark, row):
    assert stated(row, [figures(benchmark, row, name) for name in CE]) in TABLES[benchmark]


@pytest.mark.parametrize(
    ("benchmark", "row"), [pair for pair in THREE if pair[1] != "full" and (pair[0], "full") in THREE]
)
def test_what_the_full_model_has_more_stands_as_it_was_measured(benchmark, row):
    more = [figures(benchmark, "full", name) - figures(benchmark, row, name) for name in CE]
    assert difference(f"full minus {row}", more) in TABLES[benchmark]


def test_what_the_near_view_changes_stands_as_it_was_measured():
    more = [figures("synth_cxr_short", "full", name) - figures("synth_cxr_last_stage", "full", name) for name in CE]
    assert difference("full minus the same with maps of the last stage", more) in BEFORE


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("cosine", "cosine of the entity scores"),
        ("states", "predicted states"),
        ("learned", "two towers (learned)"),
        ("oracle", "fewest differing labels (oracle)"),
    ],
)
def test_retrieval_stands_as_it_was_measured(name, row):
    assert stated(row, [figures("synth_cxr", "full", f"retrieval.{name}.{figure}") for figure in RETRIEVAL]) in NOW


def test_what_gives_the_rare_findings_stands_as_it_was_measured():
    told = NOW.split("\n**Rare studies drawn more often")[1].split("\nEarlier, ")[0]

    def less(row, name, sign=1):
        more = sign * (figures("synth_cxr_tail", "full", name) - figures("synth_cxr_tail", row, name))
        return difference("", [more])[6:-2]

    once, three = "every study once", "most probable of three beams"
    for sentence in (
        f"the text has {less(once, CE[3])} tail F1 and {less(once, CE[2])} macro F1 less, and the states {less(once, CE[4])}",
        f"it has {less(once, CE[0], -1)} BLEU-4 more, and its report loss is {less(once, 'reference_sensitivity.retrieved')}",
        f"has {less(three, CE[2])} macro F1 and {less(three, CE[1])} F1 less. Its tail F1 is {less(three, CE[3])} lower",
        "{} minutes of training and {} of test".format(
            *(minutes("synth_cxr_tail", ["full", once], kind) for kind in ("train", "test"))
        ),
    ):
        assert sentence in told, sentence
    _, row, less_than_full = re.findall(r"^\| (?:full|every study once|minus full) .*", TAIL.read_text(), re.MULTILINE)[
        :3
    ]
    assert row.startswith("| every study once")
    p = [float(value) for value in re.findall(r" p (\S+)", less_than_full)[:3]]
    assert f"macro F1 ({p[0]:.3f}) and the tail of the states".replace("0.", ".") in told
    assert f"the tail of the text ({p[1]:.3f}) does not".replace("0.", ".") in told
    assert p[0] < 0.05 < p[1]
    assert p[2] < 0.05


FIRST_COMMAND = (
    "every study once", "no oracle references at first", "every study has a reference", "most probable of three beams",
)  # fmt: skip


def test_what_the_geometries_of_a_small_model_find_stands_as_it_was_measured():
    told = NOW.split("\n### Rows that had no line")[1].split("\n## ")[0]
    found = {row: [figures("small", row, f"retrieval.learned.{name}") for name in RETRIEVAL] for row in RUNS["small"]}
    apart = []
    for one, other in (
        ("full", "lorentz"),
        ("full", "euclidean"),
        ("released enhancer", "released enhancer, lorentz"),
        ("released enhancer", "released enhancer, euclidean"),
    ):
        for row in (one, other):
            assert stated(row, found[row]) in told
        less = [a - b for a, b in zip(found[one], found[other], strict=True)]
        assert difference(f"{one} minus {other}", less) in told
        apart += [(other, i) for i, values in enumerate(less) if abs(values.mean()) > half_interval(values) > 0]
    assert apart == [("lorentz", 1)], "one of the sixteen intervals excludes zero"
    lorentz = difference("", [found["lorentz"][1] - found["full"][1]])[6:-2]
    assert f"by Lorentz towers the first report has {lorentz} label F1 more" in told
    seen = "towers that see a thumbnail"
    shown = [figures("small", seen, name) - figures("small", "full", name) for name in CE[:4]]
    shown += [theirs - ours for theirs, ours in zip(found[seen], found["full"], strict=True)]
    assert [i for i, values in enumerate(shown) if abs(values.mean()) > half_interval(values)] == [2]
    assert f"a thumbnail the reports have {difference('', [shown[2]])[6:-2]} macro F1 more" in told
    for row in ("lorentz", "euclidean"):  # nor do the reports differ
        less = [figures("small", "full", name) - figures("small", row, name) for name in CE]
        assert all(abs(values.mean()) <= half_interval(values) for values in less)
    bleu, f1 = (
        difference("", [ours - theirs])[6:-2]
        for ours, theirs in zip(found["full"][:2], found["released enhancer"][:2], strict=True)
    )
    reports = difference("", [figures("small", "full", CE[0]) - figures("small", "released enhancer", CE[0])])[6:-2]
    assert f"finds {bleu} BLEU-4 and {f1} label F1 less, and the reports have {reports} BLEU-4 less" in told


def test_what_the_rows_without_a_line_say_stands_as_it_was_measured():
    told = NOW.split("\n### Rows that had no line")[1].split("\n#")[0]
    found = {
        row: [figures("small", row, f"reference_sensitivity.{name}") for name in ("none", "retrieved")]
        for row in ("every study has a reference", "full")
    }
    rises = [stated("", [none - retrieved])[5:-2] for none, retrieved in found.values()]
    assert "its loss rises by {} nats, for {}.".format(*rises) in told
    for name in CE[:4]:
        for row in FIRST_COMMAND:
            low, high = map(
                float,
                re.findall(
                    r"\[(.*), (.*)\]", difference("", [figures("small", "full", name) - figures("small", row, name)])
                )[0],
            )
            assert low <= 0 <= high
    assert not figures("small", "full", CE[3]).any()


def test_what_reports_of_the_own_patient_are_worth_stands_as_it_was_measured():
    told = NOW.split("\n### Reports of the own patient")[1].split("\n#")[0]
    both = [RUNS["small_own_patient"][row] for row in ("full", "reports of the own patient")]
    assert [sorted(runs) for runs in both] == [[1, 2, 3, 4, 5]] * 2
    assert [{run["settings"]["exclude_same_patient"] for run in runs.values()} for runs in both] == [{True}, {False}]
    others = [
        line["settings"].get("exclude_same_patient") for line in LINES if line["benchmark"] != "small_own_patient"
    ]
    assert True not in others

    def more(name):
        return figures("small_own_patient", "full", name) - figures(
            "small_own_patient", "reports of the own patient", name
        )

    less = [more(name) for name in (*CE, *RETRIEVED, "grounding.rows.maps.hit_rate")]
    assert all(abs(values.mean()) <= half_interval(values) for values in less)
    bleu, f1 = (difference("", [values])[5:-2] for values in less[5:7])
    assert (
        f"(BLEU-4 {bleu}, label F1 {f1} without), nor in the hits of the maps ({difference('', [less[-1]])[5:-2]})"
        in told
    )
    taken = [run["figures"]["seconds.train"] / 60 for runs in both for run in runs.values()]
    assert f"Five seeds each, {min(taken):.1f} to {max(taken):.1f} minutes of training" in told


def test_what_unseen_drawings_say_stands_as_it_was_measured():
    told = NOW.split("\n## On unseen drawings")[1].split("\n## ")[0]
    found = {
        name: [figures("synth_cxr_unseen", "full", f"retrieval.{name}.{figure}") for figure in RETRIEVAL]
        for name in ("cosine", "states", "learned", "oracle")
    }
    for name, row in (
        ("cosine", "cosine of the entity scores"),
        ("states", "predicted states"),
        ("learned", "two towers (learned)"),
        ("oracle", "fewest differing labels (oracle)"),
    ):
        assert stated(row, found[name]) in told
    loss = {
        name: figures("synth_cxr_unseen", "full", f"reference_sensitivity.{name}")
        for name in ("retrieved", "random", "none")
    }
    full, released = (
        {name: figures("synth_cxr_unseen", row, name) for name in CE} for row in ("full", "released behaviour")
    )
    for name in CE:
        low, _ = map(float, re.findall(r"\[(.*), (.*)\]", difference("", [full[name] - released[name]]))[0])
        assert low > 0, f"the full model is not above the released behaviour in {name}"

    def more(ours, theirs):
        return difference("", [ours - theirs])[5:-2]

    hits, prior = (
        figures("synth_cxr_unseen", "full", f"grounding.rows.{row}.hit_rate")
        for row in ("maps", "location prior (training masks)")
    )
    hearts = figures("synth_cxr_unseen", "full", "grounding.rows.maps.signs.cardiomegaly.hit_rate")
    correlation = figures("synth_cxr_unseen", "full", "map_correlation")
    text, states = full[CE[3]], full[CE[4]]
    for sentence in (
        f"BLEU-4 {more(found['learned'][0], found['cosine'][0])} over cosine and "
        f"{more(found['learned'][0], found['states'][0])} over the states",
        f"than cosine (tail {more(found['learned'][3], found['cosine'][3])}) and worse than the states "
        f"({more(found['learned'][3], found['states'][3])})",
        f"A random reference costs {more(loss['random'], loss['retrieved'])[1:]} nats more than the retrieved one, none costs "
        f"{more(loss['none'], loss['retrieved'])[1:]} more",
        f"The text lacks {more(states, text)[1:]} of the tail F1 of its states",
        f"on the sign in {stated('', [hits])[5:-2]} of all cases. That is not above the mean place in the training masks "
        f"({prior.mean():.3f}".replace("(0", "(")
        + f"): {more(hits, prior)}.",
        f"correlate {stated('', [correlation])[5:-2]}. The heart is pointed at in "
        + ", ".join(f"{hit:.2f}"[1:] for hit in hearts)
        + ".",
    ):
        assert sentence in " ".join(told.split()), sentence
    readme = " ".join((DOCS.parent / "README.md").read_text().split())
    assert (
        f"**On 3,000 unseen drawings** BLEU-4 is {stated('', [full[CE[0]]])[5:-2]}. There it does not show that the maps beat the mean place of a sign; maps of fine cells do."
        in readme
    )
    taken = [minutes("synth_cxr_unseen", ["full", "released behaviour"], kind) for kind in ("train", "test")]
    assert f"{taken[0]} minutes of training, its fits included, and {taken[1]} of test in each" in " ".join(
        told.split()
    )


def test_what_fine_cells_do_on_unseen_drawings_stands_as_it_was_measured():
    told = " ".join(NOW.split("**Maps of fine cells are above it.**")[1].split("\n## ")[0].split())
    benchmark, row, heart = (
        "synth_cxr_unseen_fine",
        "maps of fine cells",
        "grounding.rows.maps.signs.cardiomegaly.hit_rate",
    )
    hits, prior = (
        figures(benchmark, row, f"grounding.rows.{of}.hit_rate") for of in ("maps", "location prior (training masks)")
    )

    def by_seed(row, name):
        return ", ".join(f"{value:.2f}"[1:] for value in figures(benchmark, row, name))

    low, _ = map(float, re.findall(r"\[(.*), (.*)\]", difference("", [hits - prior]))[0])
    assert low > 0

    def gained(name):
        return difference("", [figures(benchmark, row, name) - figures(benchmark, "full", name)])[5:-2]

    of_full = figures(benchmark, "full", "grounding.rows.maps.hit_rate")
    over = difference("", [of_full - prior])[5:-2]
    assert "[-" in over
    gain, ranking = (gained(f"grounding.rows.maps.{name}") for name in ("hit_rate", "auroc"))
    assert "[-" in gain
    assert "[-" not in ranking
    correlation = [figures(benchmark, each, "map_correlation") for each in ("full", row)]
    taken = [minutes(benchmark, ["full", row], kind) for kind in ("train", "test")]
    for sentence in (
        f"is on the sign in {stated('', [hits])[5:-2]} of all cases, {difference('', [hits - prior])[6:-2]} more than the mean place in the training masks",
        f"The heart is pointed at in {by_seed(row, heart)} of its cases.",
        f"is on the sign in {stated('', [of_full])[5:-2]} of all cases ({over} over the mean place), on the heart in {by_seed('full', heart)}.",
        f"What fine cells gain over the full models does not show: {gain}.",
        f"does (AUROC {ranking}).",
        f"correlate {stated('', correlation[1:])[5:-2]}, {difference('', [correlation[0] - correlation[1]])[6:-2]} less.",
        f"{taken[0]} minutes of training, fits included, and {taken[1]} of test in each",
    ):
        assert sentence in told, sentence


@pytest.mark.parametrize("benchmark", TABLES)
def test_the_losses_stand_as_they_were_measured(benchmark):
    losses = [figures(benchmark, "full", f"reference_sensitivity.{name}").mean() for name in
              ("oracle", "retrieved", "none", "random", "most_different")]  # fmt: skip
    assert "| full | " + " | ".join(f"{loss:.3f}".removeprefix("0") for loss in losses) + " |" in TABLES[benchmark]


def test_what_a_small_model_reads_stands_as_it_was_measured():
    rows = {
        row: {name: figures("synth_cxr_small", row, f"reference_sensitivity.{name}") for name in ("retrieved", "none")}
        for row in ("full", "references not read as text")
    }
    saved, unread = (loss["none"] - loss["retrieved"] for loss in rows.values())
    told = " ".join(NOW.split())
    assert f"the retrieved reference saves {difference('', [saved - unread])[6:-2]} nats less" in told
    f1 = figures("synth_cxr_small", "one reference", CE[1]) - figures("synth_cxr_small", "full", CE[1])
    assert f"and {difference('', [f1])[6:-2]} F1 less" in told
    no_message = [figures("synth_cxr_small", "full", name) - figures("synth_cxr_small", "no attention to text", name)
                  for name in (*CE, "grounding.rows.maps.hit_rate")]  # fmt: skip
    assert difference("", no_message).count("[-") == len(no_message), (
        "an interval excludes zero: the sentence is no longer true"
    )


def test_what_a_small_model_finds_stands_as_it_was_measured():
    def lost(name):
        of_row = [figures("synth_cxr_small", row, name) for row in ("full", "released enhancer")]
        return difference("", [of_row[0] - of_row[1]])[6:-2]

    none, retrieved = (
        figures("synth_cxr_small", "released enhancer", f"reference_sensitivity.{name}")
        for name in ("none", "retrieved")
    )
    told = " ".join(NOW.split())
    assert (
        f"has {lost('retrieval.learned.bleu_4_top1')} BLEU-4 and {lost('retrieval.learned.label_f1_top1')} label F1 less"
        in told
    )
    assert f"against none it saves {stated('', [none - retrieved])[5:-2]} nats" in told
    assert f"The reports have {lost(CE[0])} BLEU-4 less" in told


def less(row, name):
    """What a row of the small model has less than the full one, as findings.md writes it."""
    return difference("", [figures("synth_cxr_small", "full", name) - figures("synth_cxr_small", row, name)])[6:-2]


def test_what_the_released_ways_cost_a_small_model_stands_as_it_was_measured():
    told = " ".join(NOW.split())
    assert f"the reports have {less('label-nearest training references', CE[0])} BLEU-4 less" in told
    hit, alike = "grounding.rows.maps.hit_rate", "map_correlation"
    keys = stated("", [figures("synth_cxr_small", "entity keys from the text", hit)])[5:-2]
    chance = figures("synth_cxr_small", "full", "grounding.rows.chance.hit_rate").mean()
    assert f"on the sign in {keys} of all cases, {less('entity keys from the text', hit)} less and no more" in told
    assert f"than chance ({chance:.2f})".replace("0.", ".") in told
    assert f"at {less('no prompt', CE[1])} F1." in told
    maps = [stated("", [figures("synth_cxr_small", row, alike)])[5:-2] for row in ("alignment of all pairs", "full")]
    assert f"correlate {maps[0]}, in the full model {maps[1]}." in told


@pytest.mark.parametrize(
    ("row", "also"),
    [
        ("entity keys from the text", ()),
        ("alignment of all pairs", ("grounding.rows.maps.hit_rate",)),
        ("alignment of stored texts", ()),
        ("mixed states in the prompt", ()),
        ("single plan", ("grounding.rows.maps.hit_rate",)),
        ("no report memory", ()),
        ("no prompt", ()),
        ("curvature .1", RETRIEVED),
        ("curvature 1", RETRIEVED),
    ],
)
def test_what_is_said_to_change_nothing_has_no_interval_without_zero(row, also):
    for name in (*CE, *also):
        low, high = less(row, name).split("[")[1].strip("]").split(", ")
        assert float(low) <= 0 <= float(high), (row, name)


AGAIN = NOW.split("### Again, on another entity scorer")[1]


def again(one, other, name):
    """What a row of the small model on another entity scorer has more than another one, as findings.md writes it."""
    ours, theirs = (figures("synth_cxr_small_again", row, name) for row in (one, other))
    return difference("", [ours - theirs])[5:-2]


def test_the_small_model_on_another_scorer_stands_as_it_was_measured():
    told, hit = " ".join(AGAIN.split()), "grounding.rows.maps.hit_rate"
    reports, *first = (again("full", "released enhancer", name)[1:] for name in (CE[0], *RETRIEVED[:2]))
    assert (
        f"the reports have {reports} BLEU-4 less, the first report {first[0]} BLEU-4 and {first[1]} label F1." in told
    )
    assert f"the first report has {again('no ranking', 'released enhancer', RETRIEVED[1])[1:]} label F1 more" in told
    macro = again("curvature learned", "full", RETRIEVED[2])[1:]
    assert f"Its macro F1 is {macro} higher" in told
    assert f"that macro F1 of the first report is {macro} higher" in NOW
    rows = "finer grid", "full", "finer grid, second stage", "finer grid, second stage, softmax attention"
    fine, wide, second, softmax = (stated("", [figures("synth_cxr_small_again", row, hit)])[5:-2] for row in rows)
    prior = figures("synth_cxr_small_again", rows[0], "grounding.rows.location prior (training masks).hit_rate").mean()
    assert f"on the sign in {fine} of all cases, the wide ones in {wide}, the mean place" in told
    assert f"on the fine grid in {prior:.2f}.".replace("0.", ".") in told
    assert f"Through the second stage they were on it in {second}." in told
    assert f"{softmax}, difference {again(*rows[2:], hit)}." in told
    cost = figures("synth_cxr_small_again", "full", CE[1]) - figures(
        "synth_cxr_small_again", "predicted states in the prompt", CE[1]
    )
    assert f"the reports have {difference('', [cost])[6:-2]} F1 less" in told
    assert f"what no prompt costs above ({less('no prompt', CE[1])})" in told
    above = f"{figures('synth_cxr_small', 'full', hit).mean():.3f}"[1:]
    assert f"of all cases, in {above} above" in told
    cosine = {
        row: {*figures("synth_cxr_small_again", row, "retrieval.cosine.label_f1_top1")}
        for row in RUNS["synth_cxr_small_again"]
    }
    assert len(set.union(*cosine.values())) == 1, "the rows have not one entity scorer"
    assert {run["commit"] for run in RUNS["synth_cxr_small"]["full"].values()} == {
        run["commit"] for run in RUNS["synth_cxr_small_again"]["full"].values()
    }


@pytest.mark.parametrize(
    ("row", "other", "names"),
    [
        ("listwise ranking", "released enhancer", CE),
        ("no ranking", "released enhancer", CE),
        ("curvature learned", "full", (*CE, *RETRIEVED[:2])),
        ("finer grid, second stage, softmax attention", "finer grid, second stage", ("grounding.rows.maps.hit_rate",)),
    ],
)
def test_what_changes_nothing_again_has_no_interval_without_zero(row, other, names):
    for name in names:
        low, high = again(row, other, name).split("[")[1].strip("]").split(", ")
        assert float(low) <= 0 <= float(high), name


@pytest.mark.parametrize("benchmark", TABLES)
def test_maps_stand_as_they_were_measured(benchmark):
    hits = figures(benchmark, "full", "grounding.rows.maps.hit_rate")
    assert f"is on the sign in {stated('', [hits])[5:-2]} of all cases" in " ".join(TABLES[benchmark].split())


@pytest.mark.parametrize("row", ["no presence term", "maps of the last stage", "softmax attention", "no alignment"])
def test_what_makes_maps_point_stands_as_it_was_measured(row):
    hits = figures("synth_cxr_thumbnail", row, "grounding.rows.maps.hit_rate")
    assert stated("", [hits])[5:-2] in NOW


def test_what_transport_gives_the_finer_grid_stands_as_it_was_measured():
    rows, told = ("finer grid", "finer grid, softmax attention"), " ".join(NOW.split())
    hits, hearts = (
        [figures("synth_cxr", row, f"grounding.rows.maps.{name}hit_rate") for row in rows]
        for name in ("", "signs.cardiomegaly.")
    )
    of_heart = ", ".join(f"{hit:.2f}"[1:] for hit in hearts[1])
    less = difference("", [hits[0] - hits[1]])[6:-2]
    assert f"they are on it in {stated('', [hits[1]])[5:-2]}, {less} less, with the heart in {of_heart}." in told
    more = {
        name: difference("", [figures("synth_cxr", rows[0], name) - figures("synth_cxr", rows[1], name)]) for name in CE
    }
    assert (
        f"There transport gives the states {more.pop(CE[-1])[6:-2]} tail F1 over softmax attention, and no other"
        in told
    )
    for name, text in more.items():
        low, high = map(float, re.findall(r"\[(.*), (.*)\]", text)[0])
        assert low <= 0 <= high, name


def of_grid(benchmark, name):
    return figures(benchmark, "finer grid", f"grounding.rows.{name}hit_rate")


def test_the_finer_grid_stands_as_it_was_measured():
    told = " ".join(NOW.split())
    for benchmark, words, places in (
        ("synth_cxr", "the highest patch is on the sign in", "is pointed at in {} of its cases"),
        ("synth_cxr_thumbnail", "`--tower_inputs thumbnail`):", "with the heart in {}."),
    ):
        hits, of_heart = of_grid(benchmark, "maps."), of_grid(benchmark, "maps.signs.cardiomegaly.")
        seeds = ", ".join(f"{hit:.3f}"[1:] for hit in hits)
        every = " of all cases" if benchmark == "synth_cxr" else ""
        assert f"{words} {stated('', [hits])[5:-2]}{every} ({seeds})" in told
        assert places.format(", ".join(f"{hit:.2f}"[1:] for hit in of_heart)) in told
    prior = "location prior (training masks)."
    above = of_grid("synth_cxr", "maps.") - of_grid("synth_cxr", prior)
    assert f"the maps are above it by {difference('', [above])[6:-2]}" in told
    masks = of_grid("synth_cxr", "linear probe (training masks).").mean()
    assert f"Chance is {of_grid('synth_cxr', 'chance.').mean():.2f}".replace("0.", ".") in told
    assert f"A linear probe of those masks reaches {masks:.2f}".replace("0.", ".") in told
    ranked = [figures("synth_cxr", "finer grid", f"grounding.rows.{row}auroc") for row in ("maps.", prior)]
    assert f"(AUROC minus its {difference('', [ranked[0] - ranked[1]])[5:-2]})" in told


def test_what_the_finer_grid_changes_in_reports_stands_as_it_was_measured():
    more = {name: figures("synth_cxr", "finer grid", name) - figures("synth_cxr", "full", name) for name in CE}
    assert f"has {difference('', [more[CE[0]]])[6:-2]} BLEU-4 more. No clinical figure differs." in NOW
    assert difference("", [more[name] for name in CE[1:]]).count("[-") == 4, "a clinical figure differs"


def test_rows_with_another_entity_scorer_are_named():
    told = " ".join(NOW.split()).split("All seeds of a row begin with one entity scorer")[1].split("(a) Does")[0]
    by_cosine = {row: set(figures("synth_cxr", row, "retrieval.cosine.label_f1_top1")) for row in RUNS["synth_cxr"]}
    of_rest = by_cosine["full"]
    for row, found in by_cosine.items():
        assert len(found) == 1
        assert (found != of_rest) == (f"`{row}`" in told), row
        (value,) = found
        assert f"{value:.3f}"[1:] in told


def test_where_wide_cells_find_the_heart_stands_as_it_was_measured():
    told, heart = " ".join(NOW.split()), "grounding.rows.maps.signs.cardiomegaly.hit_rate"
    for row, words in (
        ("no report memory", "without the report memory point at the heart in {} of its cases"),
        ("alignment of all pairs", "with all pairs aligned in {}, the full ones"),
        ("full", "the full ones in {}."),
    ):
        hits = ", ".join(f"{hit:.2f}"[1:] for hit in figures("synth_cxr_small", row, heart))
        assert words.format(hits) in told


def test_the_summary_says_what_the_sections_say():
    """Every figure of it stands in a section below, whose own test knows where it comes from; so do the intervals of the README."""
    summary, below = NOW.split("\n## In short")[1].split("\n## How it was measured")
    readme = (DOCS.parent / "README.md").read_text().split("## Results")[1].split("## Limits")[0]
    stated_there = re.findall(r"[-+]?\.\d+ \[[^]]*\d\]", summary) + re.findall(r"\.\d+ \[[^]]*\d\]", readme)
    assert len(stated_there) >= 16
    assert [figure for figure in stated_there if figure not in below] == []
    assert re.findall(r"\]\(#([\w-]+)\)", summary)  # each leads to its section, see test_documents


def test_what_fine_cells_do_stands_as_it_was_measured():
    told, rows = " ".join(NOW.split()), {}
    for row in ("full", "maps of fine cells"):
        rows[row] = {
            name: figures("synth_cxr_rewarded", row, name if name == "map_correlation" else f"grounding.rows.{name}")
            for name in (
                "map_correlation", *(f"{of}.{measure}" for of in ("maps", "location prior (training masks)") for measure in ("hit_rate", "auroc", "soft_iou")),
                "linear probe (training masks).hit_rate", "maps.signs.cardiomegaly.hit_rate", "maps.signs.pleural effusion.hit_rate",
            )
        }  # fmt: skip
    fine, full = rows["maps of fine cells"], rows["full"]
    prior = {name: fine[f"location prior (training masks).{name}"] for name in ("hit_rate", "auroc", "soft_iou")}

    def more(one, other):
        return difference("", [one - other])[5:-2]

    training, test = (minutes("synth_cxr_rewarded", ["maps of fine cells"], kind) for kind in ("train", "test"))
    assert (
        f"{training} minutes of steps and validations and {test.split(' to ')[0]} of test in each on one core" in told
    )
    hits, heart, effusion = "maps.hit_rate", "maps.signs.cardiomegaly.hit_rate", "maps.signs.pleural effusion.hit_rate"
    hearts = [", ".join(f"{hit:.2f}" for hit in row[heart]).replace("0.", ".") for row in (fine, full)]
    for words in (
        f"on the sign in {stated('', [fine[hits]])[5:-2]} of all cases, {more(fine[hits], full[hits])[1:]} more than with the second stage "
        f"({stated('', [full[hits]])[5:-2]}). The heart is pointed at in {hearts[0]} of its cases, for {hearts[1]}.",
        f"above the mean place in the training masks by {more(fine[hits], prior['hit_rate'])[1:]},",
        f"a linear probe of those masks that shows ({more(fine[hits], fine['linear probe (training masks).hit_rate'])}).",
        f"(AUROC {more(fine['maps.auroc'], full['maps.auroc'])}) and as well as the mean place ({more(fine['maps.auroc'], prior['auroc'])}).",
        f"(soft IoU {more(prior['soft_iou'], fine['maps.soft_iou'])}).",
        f"correlate {stated('', [fine['map_correlation']])[5:-2]}, {more(full['map_correlation'], fine['map_correlation'])[1:]} less.",
        f"pointed at in {fine[effusion].mean():.2f} for {full[effusion].mean():.2f}.".replace("0.", "."),
    ):
        assert words in told
    for name in CE:
        gained = figures("synth_cxr_rewarded", "maps of fine cells", name) - figures("synth_cxr_rewarded", "full", name)
        low, high = map(float, re.findall(r"\[(.*), (.*)\]", more(gained, 0))[0])
        assert low <= 0 <= high, name
    small, heart_rate = "synth_cxr_small_rewarded", f"grounding.rows.{heart}"
    both = ("maps of fine cells", "full")
    few = [figures(small, row, f"grounding.rows.{hits}") for row in both]
    hearts = [", ".join(f"{hit:.2f}" for hit in figures(small, row, heart_rate)).replace("0.", ".") for row in both]
    assert (
        f"on the sign in {stated('', [few[0]])[5:-2]} of all cases, no more than with the second stage ({more(*few)}), and on the heart "
        f"in {hearts[0]}, for {hearts[1]}."
    ) in told
    for benchmark, row, words in (
        ("synth_cxr_rewarded", "finer grid, fine cells", "on the sign in {} of all cases, of the heart in {}."),
        ("synth_cxr", "finer grid", "with another entity scorer, has {} and {}."),
    ):
        at = [figures(benchmark, row, f"grounding.rows.{name}") for name in (hits, heart)]
        all_hits, of_hearts = (", ".join(f"{hit:.{k}f}" for hit in seeds) for seeds, k in zip(at, (3, 2), strict=True))
        assert words.format(all_hits, of_hearts).replace("0.", ".") in told
    lost = [", ".join(f"{hit:.2f}" for hit in figures(small, row, f"grounding.rows.{effusion}")) for row in both]
    cases = figures(small, "full", f"grounding.rows.{effusion}".replace("hit_rate", "studies"))[0]
    assert f"effusion is pointed at in {lost[0]} of its {cases:.0f} cases, for {lost[1]}.".replace("0.", ".") in told


def test_what_a_second_stage_and_fits_that_go_on_do_to_a_finer_grid_stands_as_it_was_measured():
    row, told = "finer grid, second stage, the other entity scorer", " ".join(NOW.split())
    assert {*figures("synth_cxr", row, "retrieval.cosine.label_f1_top1")} == {
        *figures("synth_cxr", "full", "retrieval.cosine.label_f1_top1")
    }
    names = "maps.", "location prior (training masks).", "maps.signs.cardiomegaly."
    hit, prior, heart = (figures("synth_cxr", row, f"grounding.rows.{name}hit_rate").item() for name in names)
    words = f"seed 1) {hit:.3f}, below the mean place ({prior:.3f}), with the heart in {heart:.2f}."
    assert words.replace("0.", ".") in told
    assert hit < prior
    for row, words in (("second stage", "the three seeds hit {0}, with the heart in {1};"),
                       ("fits that go on", "seeds 1 and 2) hit {2}, with the heart in {1}.")):  # fmt: skip
        hits, hearts = (
            figures("synth_cxr", f"finer grid, {row}", f"grounding.rows.{name}hit_rate")
            for name in (names[0], names[2])
        )
        seeds = " and ".join(f"{value:.3f}" for value in hits)
        each = (", " if row == "second stage" else " and ").join(f"{value:.2f}" for value in hearts)
        whole = stated("", [hits])[5:-2] if row == "second stage" else ""
        assert words.format(whole, each, seeds).replace(" 0.", " .") in told


def test_what_the_towers_see_stands_as_it_was_measured():
    for name, words in (
        ("retrieval.learned.bleu_4_top1", "its BLEU-4 is"),
        ("scores.test_BLEU_4", "over no retrieval,"),
    ):
        more = figures("synth_cxr", "full", name) - figures("synth_cxr_thumbnail", "full", name)
        assert f"{words} {difference('', [more])[6:-2]}" in " ".join(NOW.replace("+", "").split())


def test_what_is_wrong_of_copied_sentences_stands_as_it_was_measured():
    told = " ".join(NOW.split())
    wrong = {
        kind: stated("", [figures("synth_cxr", "full", f"copying.{kind}.wrong")])[5:-2]
        for kind in ("copied", "own", "left")
    }
    assert f"{wrong['copied']} of the copied sentences contradict" in told
    assert f"{wrong['own']} of those that the model words itself" in told
    assert f"left behind {wrong['left']} would have been wrong" in told


def test_what_the_text_lacks_of_its_states_stands_as_it_was_measured():
    for benchmark, told in (("synth_cxr", "it lacks"), ("synth_cxr_short", "That last line was")):
        gap = figures(benchmark, "full", CE[4]) - figures(benchmark, "full", CE[3])
        assert f"{told} {difference('', [gap])[6:-2]}" in NOW


def test_what_more_beams_say_stands_as_it_was_measured():
    gap = figures("synth_cxr", "thirty-two beams", CE[4]) - figures("synth_cxr", "thirty-two beams", CE[3])
    assert f"With 32 beams in place of six it lacks {difference('', [gap])[6:-2]}" in NOW
    more = {name: figures("synth_cxr", "thirty-two beams", name) - figures("synth_cxr", "full", name) for name in CE}
    tail, macro = (difference("", [more[name]])[6:-2] for name in (CE[3], CE[2]))
    assert f"{tail} tail F1 and {macro} macro F1" in " ".join(NOW.split())


def test_what_a_second_search_says_stands_as_it_was_measured():
    told = " ".join(NOW.split())
    states = {CE[3]: CE[4], CE[2]: "scores.test_state_f1_macro"}
    lacked = {}
    for row in ("full", "second search", "second search without guidance"):
        gaps = (
            figures("synth_cxr_rewarded", row, states[name]) - figures("synth_cxr_rewarded", row, name)
            for name in states
        )
        lacked[row] = [stated("", [gap])[5:-2] for gap in gaps]
    one, (tail, macro), plain = lacked.values()
    for words in (
        f"with a second search {tail} (below)",
        f"The text lacks {tail} of the tail F1 of its states, within the .05 that was aimed at. After one search it lacks {one[0]}, and with 12 beams that nothing pushes away {plain[0]}.",
        f"Of all conditions (macro F1) it lacks {macro}, after one search {one[1]}.",
        f"{minutes('synth_cxr_rewarded', ['second search', 'second search without guidance'], 'test')} minutes on one core",
    ):
        assert words in told, words
    for name in CE:
        gained = figures("synth_cxr_rewarded", "second search", name) - figures("synth_cxr_rewarded", "full", name)
        low, high = map(float, re.findall(r"\[(.*), (.*)\]", difference("", [gained]))[0])
        assert low <= 0 <= high, name


def test_sides_stand_as_they_were_measured():
    same, findings = (
        figures("synth_cxr", "sides of the maps", f"particulars.side.{name}") for name in ("same", "findings")
    )
    told = f"{stated('', [same])[5:-2]} of {findings.min():,.0f} to {findings.max():,.0f} findings are on the same side"
    assert told in " ".join(NOW.split())


@pytest.mark.parametrize(("reference", "words"), [("random", "random reference costs"), ("none", "none costs")])
def test_what_a_worse_reference_costs_stands_as_it_was_measured(reference, words):
    losses = {name: figures("synth_cxr", "full", f"reference_sensitivity.{name}") for name in (reference, "retrieved")}
    assert f"{words} {difference('', [losses[reference] - losses['retrieved']])[6:-2]}" in " ".join(NOW.split())


def test_a_model_without_references_and_what_is_copied_stand_as_they_were_measured():
    never = figures("synth_cxr", "no retrieval", "reference_sensitivity.none")
    more = difference("", [never - figures("synth_cxr", "full", "reference_sensitivity.retrieved")])
    assert f"loses more than the full one with its own ({more[5:-2]})" in " ".join(NOW.split())
    copied = stated("", [figures("synth_cxr", "full", "diversity.copied_from_retrieved")])[5:-2]
    assert f"{copied} stand word for word" in " ".join(NOW.split())


@pytest.mark.parametrize("reference", ["random", "none"])
@pytest.mark.parametrize("row", ["cosine retrieval", "states retrieval", "random reports"])
def test_references_that_are_worth_nothing_stand_as_they_were_measured(row, reference):
    losses = {name: figures("synth_cxr", row, f"reference_sensitivity.{name}") for name in (reference, "retrieved")}
    more = difference("", [losses[reference] - losses["retrieved"]])[5:-2]
    assert more in " ".join(NOW.split())
    assert "[-" in more, "the interval excludes zero: the sentence is no longer true"


def test_the_label_oracle_stands_as_it_was_measured():
    bleu, _, macro, _, _ = (
        figures("synth_cxr", "label oracle", name) - figures("synth_cxr", "no retrieval", name) for name in CE
    )
    cost = figures("synth_cxr", "label oracle", "reference_sensitivity.retrieved") - figures(
        "synth_cxr", "label oracle", "reference_sensitivity.none"
    )
    told = " ".join(NOW.split())
    assert f"{difference('', [bleu])[5:-2]} BLEU-4 and {difference('', [macro])[5:-2]} macro F1" in told
    assert f"What it retrieves costs {difference('', [cost])[6:-2]} nats" in told


def test_only_what_the_corrected_p_carry_is_said_to_be_carried():
    """The columns of the table of rows: macro F1, tail F1, tail F1 of the states, BLEU-4."""
    lines = (DOCS / "ablations" / "synth_cxr.md").read_text().split("What the full model retrieves")[0].splitlines()
    cells = [line.split("|")[3:7] for line in lines if line.startswith("| minus full")]
    several = [row for row in cells if all(" p " in cell for cell in row)]  # seeds: of one there is no p
    p = np.array([[float(cell.split(" p ")[1]) for cell in row] for row in several])
    assert p.shape[0] == 12
    assert (p < 0.05).sum() == (p[:, 3] < 0.05).sum() == 6
    carried = p[p < 0.05]
    assert f"({carried.min():.3f} to {carried.max():.3f})".replace("0.", ".") in NOW


def test_what_the_states_give_to_the_tail_stands_as_it_was_measured():
    more = figures("synth_cxr", "states retrieval", CE[3]) - figures("synth_cxr", "full", CE[3])
    assert f"the full model even has {difference('', [more])[6:-2]} less tail F1" in " ".join(NOW.split())


@pytest.mark.parametrize(("figure", "sign"), [("auroc", "(AUROC minus the prior's "), ("soft_iou", "(soft IoU ")])
def test_how_maps_rank_beside_the_prior_stands_as_it_was_measured(figure, sign):
    maps, prior = (figures("synth_cxr", "full", f"grounding.rows.{name}.{figure}")
                   for name in ("maps", "location prior (training masks)"))  # fmt: skip
    more = maps - prior if figure == "auroc" else prior - maps
    assert f"{sign}{difference('', [more])[5:-2]})" in " ".join(NOW.split())


def minutes(benchmark, rows, name):
    """From the shortest to the longest, as findings.md writes it: a minute of seconds more than half counts."""
    taken = np.concatenate([figures(benchmark, row, f"seconds.{name}") for row in rows]) / 60
    return f"{taken.min():.0f} to {taken.max():.0f}"


def test_minutes_stand_as_they_were_measured():
    told = " ".join(NOW.split())
    own = (
        "full",
        "finer grid",
        "finer grid, softmax attention",
        "finer grid, second stage",
        "finer grid, fits that go on",
    )
    assert (
        f"{minutes('synth_cxr', own, 'train')} minutes of training and {minutes('synth_cxr', own, 'test')} of test"
        in told
    )
    beams, sides = ("thirty-two beams",), ("sides of the maps",)
    assert f"such a core in {minutes('synth_cxr', (*beams, *sides), 'train')} minutes" in told
    with_32, with_six = (minutes("synth_cxr", row, "test") for row in (beams, sides))
    assert f"a test took {with_32} minutes with 32 beams and {with_six} with six" in told
    taken = np.concatenate(
        [figures("synth_cxr_small_again", row, "seconds.train") for row in RUNS["synth_cxr_small_again"]]
    )
    assert f"Three seeds each, {taken.min() / 60:.1f} to {taken.max() / 60:.0f} minutes of training." in told


def test_how_far_a_patch_sees_is_said_as_it_is():
    image = torch.randn(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    near = Revtaf(tiny_config(visual_extractor="resnet10n")).visual_encoder.eval().double()(image).near
    near[:, :, 16 : 16 + SIDE, 16 : 16 + SIDE].sum().backward()
    sees = (image.grad.abs().sum(dim=(0, 1)) > 0).any(dim=0).sum().item()
    assert f"A patch of the second stage sees up to {sees} pixels of 96." in NOW


def test_what_rewarded_findings_are_worth_stands_as_it_was_measured():
    told = " ".join(NOW.split("\n## Rewarded findings")[1].split())
    rows = "full", "findings rewarded at the end", "rare findings rewarded at the end"
    training, test = (minutes("synth_cxr_rewarded", rows, kind) for kind in ("train", "test"))
    assert f"other programs, {training} minutes of training and {test} of test in each." in told
    said, states = (
        figures("synth_cxr_rewarded", "full", name).mean() for name in ("scores.test_ce_f1", "scores.test_state_f1")
    )
    assert f"({said:.3f} for {states:.3f})".replace("0.", ".") in told
    text, states = (figures("synth_cxr_rewarded", "full", name) for name in CE[3:])
    assert f"the tail of the text is {difference('', [states - text])[6:-2]} below that of the states" in told
    for name in CE:
        for row in rows[1:]:
            less_than = figures("synth_cxr_rewarded", "full", name) - figures("synth_cxr_rewarded", row, name)
            half = stats.t.ppf(0.975, 2) * less_than.std(ddof=1) / 3**0.5
            assert abs(less_than.mean()) <= half, name


def test_what_rare_findings_are_worth_stands_as_it_was_measured():
    told, row = " ".join(NOW.split("\n## Rewarded findings")[1].split()), "rare findings rewarded at the end"
    text, states = (figures("synth_cxr_rewarded", row, name) for name in CE[3:])
    assert f"It is {difference('', [states - text])[6:-2]} below that of the states then." in told
    f1, tail = (
        difference("", [figures("synth_cxr_small_rewarded", row, n) - figures("synth_cxr_small_rewarded", "full", n)])
        for n in (CE[1], CE[3])
    )
    assert f"the F1 of the plain reward, {f1[5:-2]} over none, and its tail stays where it was ({tail[5:-2]})" in told


def test_what_rewarded_findings_are_worth_to_a_small_model_stands_as_it_was_measured():
    told = " ".join(NOW.split("\n## Rewarded findings")[1].split("\n## ")[0].split())
    rows = "full", "findings rewarded at the end"
    training = minutes("synth_cxr_small_rewarded", rows, "train")
    test = minutes("synth_cxr_small_rewarded", rows, "test").split(" to ")
    assert test[0] == test[1]
    assert f"drawings, {training} minutes of training and {test[0]} of test in each" in told
    bleu, f1 = (
        difference(
            "",
            [figures("synth_cxr_small_rewarded", rows[1], name) - figures("synth_cxr_small_rewarded", rows[0], name)],
        )[5:-2]
        for name in CE[:2]
    )
    assert f"the reward is worth {f1[1:]} F1** and no BLEU-4 that shows ({bleu})" in told


def test_what_combined_gradients_are_worth_stands_as_it_was_measured():
    told = " ".join(NOW.split("\n## Losses that pull apart")[1].split())
    benchmark, row = "synth_cxr_small_rewarded", "conflict-averse gradients"
    test = minutes(benchmark, [row], "test").split(" to ")
    assert test[0] == test[1]
    assert f"three seeds, {minutes(benchmark, [row], 'train')} minutes of training and {test[0]} of test" in told
    for name in CE:
        more = figures(benchmark, row, name) - figures(benchmark, "full", name)
        assert abs(more.mean()) <= stats.t.ppf(0.975, 2) * more.std(ddof=1) / 3**0.5, name
    hits = [figures(benchmark, one, "grounding.rows.maps.hit_rate") for one in (row, "full")]
    assert f"on the sign as often, as far as it shows ({difference('', [hits[0] - hits[1]])[5:-2]})" in told
