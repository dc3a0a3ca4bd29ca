"""modules/evaluation/ratings/rated_reports.py, calibration.py and tools/calibrate.py: rated reports in every layout, and taus that are known."""

import csv
import json
import re

import numpy as np
import pytest
from programs import call, refused

from modules.evaluation.ratings.calibration import calibrate, tau_b
from modules.evaluation.ratings.rated import Rated
from modules.evaluation.ratings.rated_reports import read_rated
from modules.messages import UserError
from tools import calibrate as program

TRUTH = "There is a small left pleural effusion. The heart is enlarged. No pneumothorax."
WORSE = [TRUTH, "There is a small left pleural effusion. The heart is enlarged.", "There is a left pleural effusion.",
         "The lungs are clear.", "Normal."]  # fmt: skip


@pytest.fixture
def rated(tmp_path):
    path = tmp_path / "rated.csv"
    with path.open("w", newline="") as file:
        rows = [(i, TRUTH, text, i % 5) for i, text in enumerate(WORSE * 4)]
        csv.writer(file).writerows([("study_id", "gt_report", "prediction", "total_errors"), *rows])
    return path


def test_tau_is_kendalls():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rng.integers(0, 6, 30).astype(float), rng.integers(0, 4, 30).astype(float)
        drawn = rng.integers(0, 30, 30)
        weights = np.bincount(drawn, minlength=30)[None].astype(float)
        assert tau_b(first, second, np.ones((1, 30)))[0] == pytest.approx(stats.kendalltau(first, second).statistic)
        assert tau_b(first, second, weights)[0] == pytest.approx(
            stats.kendalltau(first[drawn], second[drawn]).statistic
        )
    assert np.isnan(tau_b(np.zeros(5), np.arange(5.0), np.ones((1, 5)))[0])


def test_errors_count_downwards_and_other_ratings_up(rated):
    found = read_rated(rated)
    assert (found.name, found.ratings[:3].tolist(), found.texts[:2]) == ("total_errors", [0, -1, -2], WORSE[:2])
    assert len(set(found.studies)) == 20
    rated.write_text(rated.read_text().replace("total_errors", "quality"))
    assert read_rated(rated).ratings[:3].tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="no column of ratings is known; say which with --rating"):
        read_rated(rated, rating="stars")
    with pytest.raises(UserError, match="and no number"):
        read_rated(rated, rating="prediction")
    two = [
        line + f",{'score' if number == 0 else number}" for number, line in enumerate(rated.read_text().splitlines())
    ]
    (rated.parent / "two.csv").write_text("\n".join(two))
    with pytest.raises(UserError, match="the ratings may be quality or score; say which with --rating NAME"):
        read_rated(rated.parent / "two.csv")
    assert read_rated(rated.parent / "two.csv", rating="score", larger="better").name == "score"
    rated.write_text(rated.read_text().replace(",4\n", ",nan\n"))
    with pytest.raises(UserError, match="holds 'nan' and no number"):
        read_rated(rated)


@pytest.mark.parametrize(
    "heading",
    [
        "discrepancies",
        "Severity",
        "mistakes",
        "num_edits",
        "penalty score",
        "mean rank",
        "errors (0-10)",
        "false negatives",
        "Error count",
        "missing findings",
        "incorrectness",
        "TotalErrors",
    ],
)
def test_what_is_worse_when_it_is_larger_counts_downwards(rated, heading, capsys):
    rated.write_text(rated.read_text().replace("total_errors", heading))
    assert read_rated(rated, rating=heading).ratings[:3].tolist() == [0, -1, -2]
    call(program, "--rated", rated, "--rating", heading, "--no-meteor", "--resamples", 5, "--chexbert_path", "none")
    assert f"a larger {heading!r} is taken to be worse" in capsys.readouterr().out


@pytest.mark.parametrize(
    "heading",
    [
        "credits",
        "error-free score",
        "Likert",
        "Likert (1-5)",
        "rating_1",
        "5-star rating",
        "10-point score",
        "stars",
        "percent_correct",
    ],
)
def test_other_numbers_count_upwards(rated, heading):
    rated.write_text(rated.read_text().replace("total_errors", heading))
    assert read_rated(rated, rating=heading).ratings[:3].tolist() == [0, 1, 2]


def test_a_decimal_comma_is_read_and_one_before_three_digits_is_not(tmp_path):
    """As spreadsheets write that part cells with semicolons; three digits may be thousands."""
    path, head = tmp_path / "rated.csv", "study_id;gt_report;prediction;quality\n"
    path.write_text(head + "".join(f"{i};{TRUTH};{text};{i},5\n" for i, text in enumerate(WORSE)))
    assert read_rated(path).ratings.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    path.write_text(head + "".join(f"{i};{TRUTH};{text};{i},500\n" for i, text in enumerate(WORSE)))
    with pytest.raises(UserError, match="and no number"):
        read_rated(path)


@pytest.mark.parametrize(
    "heading",
    [
        "grade",
        "harmony",
        "prank",
        "no_errors",
        "harmless",
        "score (lower is better)",
        "Fehler",
        "ranking score",
        "rank rating",
        "1-error_rate",
        "1 - WER",
        "100-errors",
        "1/rank",
        "(-errors)",
        "minus errors",
        "error complement",
        "negative error",
    ],
)
def test_a_direction_that_no_heading_says_is_asked_for(rated, heading, capsys):
    rated.write_text(rated.read_text().replace("total_errors", heading))
    flags = "--rated", rated, "--rating", heading, "--no-meteor", "--resamples", 5, "--chexbert_path", "none"
    refused(capsys, "does not say whether a larger number is better: say it with --larger better or --larger worse", program, *flags)  # fmt: skip
    taus = []
    for larger in ("better", "worse"):
        call(program, *flags, "--larger", larger)
        printed = capsys.readouterr().out
        assert f"a larger {heading!r} is taken to be {larger}" in printed
        taus.append(float(re.search(r"BLEU_1 +([-+]\d.\d+)", printed)[1]))
    assert taus[0] == -taus[1] < 0


@pytest.mark.parametrize(("value", "refused_as"), [("-1", "holds -1 beside numbers from 0 to 3"), ("99", "holds 99 beside numbers from 0 to 3"), ("5", None)])  # fmt: skip
def test_a_number_that_stands_for_no_rating_is_refused(rated, value, refused_as):
    rated.write_text(rated.read_text().replace(",4\n", f",{value}\n"))
    if refused_as is None:
        assert read_rated(rated).ratings.min() == -5
        return
    with pytest.raises(UserError, match=f"{refused_as}, which may stand for no rating"):
        read_rated(rated)


def test_the_ratings_of_several_raters_are_one_of_each_report(rated):
    heading, *rows = rated.read_text().splitlines()
    second = [re.sub(r"(\d)$", lambda number: str(int(number[1]) + 2), row) for row in rows]
    rated.write_text("\n".join([heading, *rows, *second]))
    found = read_rated(rated)
    assert (len(found.texts), found.ratings[:3].tolist()) == (20, [-1, -2, -3])
    assert "40 ratings of 20 reports: the mean of a report is compared" in found.notes


def test_ids_of_reports_are_no_studies(tmp_path):
    """Two systems, each report with an id of its own: the interval draws studies, and their references say which."""
    rows = [
        (f"{i}_{name}", f"{TRUTH} {i} cm.", text, i) for i in range(3) for name, text in zip("ab", WORSE, strict=False)
    ]
    with (tmp_path / "rated.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "reference", "prediction", "rating"), *rows])
    found = read_rated(tmp_path / "rated.csv")
    assert len(set(found.studies)) == 3
    assert "reports with one reference are taken to be of one study: every id stands once" in found.notes


def test_equal_ratings_order_nothing(rated):
    rated.write_text(re.sub(r",\d\n", ",3\n", rated.read_text()))
    with pytest.raises(UserError, match=r"all 20 reports of .* have the same total_errors"):
        read_rated(rated)


def test_a_report_without_a_reference_is_not_rated(rated):
    rated.write_text(rated.read_text().replace(f"3,{TRUTH},", "3,,"))
    with pytest.raises(UserError, match=r"2 of 20 rows of .* have no reference, the first is row 4:"):
        read_rated(rated)


def test_a_parquet_of_ones_own_is_rated_as_its_csv(rated):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    from pyarrow.csv import read_csv

    expected, path = read_rated(rated), rated.with_suffix(".parquet")
    table = read_csv(rated)
    parquet.write_table(table, path)
    found = read_rated(path)
    assert (found.texts, found.references) == (expected.texts, expected.references)
    assert (found.name, found.ratings.tolist()) == (expected.name, expected.ratings.tolist())
    errors = pyarrow.array([None, *table["total_errors"].to_pylist()[1:]])
    parquet.write_table(table.set_column(table.column_names.index("total_errors"), "total_errors", errors), path)
    with pytest.raises(UserError, match="holds None and no number"):
        read_rated(path)


def rexval(folder):
    """The two tables as the release has them: two studies, two retrieving metrics, two raters."""
    samples, counts = (
        folder / "50_samples_gt_and_candidates.csv",
        folder / "6_valid_raters_per_rater_error_categories.csv",
    )
    with samples.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("study_id", "gt_report", "radgraph", "bleu"),
                (501, TRUTH, TRUTH, WORSE[2]),
                (502, TRUTH, WORSE[1], "Normal."),
            ]
        )
    errors = [(0, "radgraph", 0), (0, "bleu", 2), (1, "radgraph", 1), (1, "bleu", 4)]
    with counts.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("study_number", "candidate_type", "error_category", "clinically_significant", "rater_index", "num_errors")
        )
        for study, kind, number in errors:
            for rater in (0, 1):
                writer.writerow((study, kind, 1, True, rater, number))
                writer.writerow((study, kind, 2, False, rater, rater))
    return samples, counts


def test_rexval(tmp_path):
    found = read_rated(*rexval(tmp_path))
    assert (found.texts, found.references) == ([WORSE[2], TRUTH, "Normal.", WORSE[1]], [TRUTH] * 4)
    assert (found.ratings.tolist(), found.name) == ([-2.5, -0.5, -4.5, -1.5], "errors")
    assert found.studies == ["0", "0", "1", "1"]
    assert read_rated(*rexval(tmp_path), significant=True).ratings.tolist() == [-2, 0, -4, -1]
    samples, counts = rexval(tmp_path)
    with pytest.raises(UserError, match="are not ReXVal's two tables"):
        read_rated(counts, samples)
    samples.write_text(samples.read_text() + f'503,"{TRUTH}",a b,c d\n')
    with pytest.raises(UserError, match=r"errors of 2 studies in bleu, radgraph and .* has 3 studies"):
        read_rated(samples, counts)


def test_studies_of_rexval_are_those_of_its_rows(tmp_path):
    """By rows without a gap, or by the ids of both tables; what nobody rated has not 0 errors, and a rater who is missing is no 0."""
    samples, counts = rexval(tmp_path)
    whole, found = counts.read_text(), read_rated(samples, counts).ratings.tolist()
    counts.write_text(whole.replace("\n1,", "\n7,"))
    with pytest.raises(UserError, match="numbers its studies 0, 7; expected the numbers of the rows"):
        read_rated(samples, counts)
    counts.write_text(whole.replace("\n1,", "\n501,").replace("\n0,", "\n502,"))  # the rows of the samples: 501, 502
    assert read_rated(samples, counts).ratings.tolist() == [*found[2:], *found[:2]]
    counts.write_text("".join(line for line in whole.splitlines(keepends=True) if not line.startswith("1,bleu")))
    with pytest.raises(UserError, match="no row of study 1 in bleu: a report that nobody rated has not 0 errors"):
        read_rated(samples, counts)
    counts.write_text(
        "".join(line for line in whole.splitlines(keepends=True) if not re.match(r"1,bleu,.*,1,\d$", line.strip()))
    )
    assert read_rated(samples, counts).ratings.tolist() == [*found[:2], -4.0, found[3]]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda text: text.replace("1,bleu,2,False,1,1\n", ""), "does not count the errors of category 2 (significant: False) in bleu of study 1 by rater 1"),
        (lambda text: f"{text}1,bleu,2,False,1,1\n", "category 2 (significant: False) in bleu of study 1 by rater 1 twice"),
        (lambda text: text.replace("False", "no"), "holds 'no' under clinically_significant"),
        (lambda text: text.replace("1,bleu,1,True,0,4", "1,bleu,1,True,0,-4"), "holds -4 errors of category 1"),
        (lambda text: "".join(line for line in text.splitlines(keepends=True) if "False" not in line), "counts clinically significant errors alone"),
        (lambda text: re.sub(r"\d\n", "2\n", text), "all 4 reports of"),
    ],
)  # fmt: skip
def test_counts_of_rexval_that_would_give_another_sum_are_refused(tmp_path, wrong, why):
    samples, counts = rexval(tmp_path)
    counts.write_text(wrong(counts.read_text()))
    with pytest.raises(UserError, match=re.escape(why)):
        read_rated(samples, counts)


KINDS = ["False prediction of finding", "Omission of finding", "Incorrect location/position of finding",
         "Incorrect severity of finding", "Mention of comparison not in reference", "Omission of change from previous study",
         "Inarticulate report (grammar and readability)"]  # fmt: skip


def counted(significant, insignificant):
    """A radiologist's text on one report."""
    parts = [("Significant", significant), ("Insignificant", insignificant)]
    return "\n\n".join(
        "\n".join(
            [
                f"{name}:",
                *(f"{i}. {kind}: {count}" for i, (kind, count) in enumerate(zip(KINDS, counts, strict=True), 1)),
            ]
        )
        for name, counts in parts
    )


def rad_eval_expert(folder, said):
    """The release's one table, a study a row, with three reports and what a radiologist says of each."""
    path = folder / "reader_study_final_with_annotationsv3.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "annotator",
                "type",
                "ground_truth",
                "images_path",
                *(f"{name}{i}" for i in (1, 2, 3) for name in ("prediction", "annotation")),
            ]
        )
        for number, texts in enumerate(said):
            film = f"/data/p1000000{number}/s5000000{number}/a.jpg"
            cells = [cell for pair in zip(WORSE[:3], texts, strict=True) for cell in pair]
            writer.writerow(["reader", "findings", TRUTH, film, *cells])
    return path


def test_rad_eval_expert(tmp_path):
    none, some, unknown = [0] * 7, [1, 2, 0, 0, 0, 0, 0], [1, 0, "", 0, 0, 0, 0]
    path = rad_eval_expert(tmp_path, [(counted(none, none), counted(some, none), counted(none, some)),
                                      (counted(some, some), counted(some, unknown), "")])  # fmt: skip
    found = read_rated(path)
    assert found.ratings.tolist() == [0, -3, -3, -6]
    assert (found.texts, found.references) == ([*WORSE[:3], WORSE[0]], [TRUTH] * 4)
    assert found.studies == ["p10000000"] * 3 + ["p10000001"]
    assert found.notes == ["2 reports are left out: an error is not counted in all 7 kinds, or a text is empty"]
    significant = read_rated(path, significant=True)
    assert (significant.ratings.tolist(), significant.name) == ([0, -3, 0, -3, -3], "significant errors")


def test_an_error_that_is_counted_twice_is_not_known(tmp_path):
    twice = counted([0] * 7, [0] * 7) + "\n7. Inarticulate report: 3"
    path = rad_eval_expert(tmp_path, [(twice, twice, "Significant:\n1. Omission: 2")])
    with pytest.raises(UserError, match=r"read as RadEvalExpert, holds no rated report .3 reports are left out"):
        read_rated(path)
    with pytest.raises(UserError, match="is read as RadEvalExpert, of which --rating says nothing"):
        read_rated(path, rating="annotator")


def test_a_report_that_two_radiologists_read_is_one(tmp_path):
    none, some = [0] * 7, [1, 2, 0, 0, 0, 0, 0]
    path = rad_eval_expert(tmp_path, [(counted(none, none), counted(some, none), counted(none, some))])
    with path.open(newline="") as file:
        heading, first = csv.reader(file)
    with path.open("a", newline="") as file:
        csv.writer(file).writerow([cell.replace(counted(none, none), counted(some, none)) for cell in first])
    found = read_rated(path)
    assert heading[0] == "annotator"
    assert (found.texts, found.ratings.tolist()) == (WORSE[:3], [-1.5, -3, -3])
    assert "6 counts of 3 reports: the mean of a report is compared" in found.notes


def radpref(folder):
    """Two cases of two reports, and the ratings of two radiologists; one of them did not finish."""
    cases = [
        {"id": i, "PatientAge": "60", "PatientSex": "F", "Indication": "cough", "ground_truth_report": TRUTH,
         "ground_truth_findings": [], "C1_report": WORSE[i], "C2_report": WORSE[4 - i], "C1_findings": [], "C2_findings": []}
        for i in range(3)
    ]  # fmt: skip
    (folder / "preference_data.json").write_text(json.dumps(cases))
    raters = folder / "radiologist_annotations"
    raters.mkdir(exist_ok=True)
    for name, ratings in (("user_1", {"0": (5, 1), "1": (4, 2)}), ("user_2", {"0": (4, 1), "1": (2, None)})):
        said = {case: {"C1": {"rating": first}, "C2": {"rating": second}} for case, (first, second) in ratings.items()}
        said["2"] = {"C1": {"rating": 1}, "C2": {"rating": 5}, "needs_review": True}
        (raters / f"{name}.json").write_text(json.dumps({"annotations": said}))
    return folder / "preference_data.json", raters


def test_radpref(tmp_path):
    path, raters = radpref(tmp_path)
    found = read_rated(path, raters)
    assert found.texts == [WORSE[0], WORSE[4], WORSE[1], WORSE[3]]
    assert found.ratings.tolist() == [4.5, 1, 4, 2]
    assert found.pairs.tolist() == [[0, 1], [2, 3]]
    assert found.rows[0] == {"age": "60", "indication": "cough"}
    assert found.notes == ["1 of 3 cases have no rating of both reports and are left out"]
    with pytest.raises(UserError, match="give its folder radiologist_annotations with --raters"):
        read_rated(path)
    with pytest.raises(UserError, match="is read as RadPref, of which --significant says nothing"):
        read_rated(path, raters, significant=True)


RADJUDGE = """from somewhere import nothing

RANKING_TESTS = [
    {"category": "One kind", "description": "...", "tests": [
        {"id": "1a", "ground_truth": "Small left effusion.", "expected_ranking": "C1 > C2",
         "candidates": {"C1": {"text": "Left effusion."}, "C2": {"text": "Clear lungs.", "context": {"age": "25"}}}},
        {"id": "1b", "ground_truth": "Clear lungs.", "expected_ranking": ["C3 > C2", "C1 = C3"],
         "candidates": {"C1": {"text": "Clear lungs."}, "C2": {"text": "Edema."}, "C3": {"text": "Clear lungs."}}},
    ]},
]
print(1 / 0)
"""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"0": {"C1": {"rating": 7}, "C2": {"rating": 1}}}, "rates case 0 7 and 1; expected 1 to 5"),
        ({"0": {"C1": 5, "C2": 1}}, "is not RadPref's"),
        ({"0": {"C1": {"rating": 3}, "C2": {"rating": 3}}}, "both reports of every case of"),
    ],
)
def test_ratings_of_radpref_that_say_no_order_are_refused(tmp_path, said, why):
    path, raters = radpref(tmp_path)
    for file in raters.glob("*.json"):
        file.write_text(json.dumps({"annotations": said}))
    with pytest.raises(UserError, match=why):
        read_rated(path, raters)


def test_cases_of_radpref_are_those_that_were_rated(tmp_path):
    path, raters = radpref(tmp_path)
    (raters / "user_3.json").write_text(json.dumps({"annotations": {"77": {"C1": {"rating": 1}, "C2": {"rating": 5}}}}))
    assert (
        read_rated(path, raters).notes[-1] == "1 rated cases are not in preference_data.json and are left out, first 77"
    )
    cases = json.loads(path.read_text())
    path.write_text(json.dumps([*cases, {**cases[0], "C1_report": WORSE[3]}]))
    with pytest.raises(UserError, match="has case 0 twice"):
        read_rated(path, raters)


@pytest.mark.parametrize(
    ("orders", "why"), [(["C1 > C1"], "expects 'C1 > C1'"), ([], "expects no order of any reports")]
)
def test_cases_of_radjudge_that_order_nothing_are_refused(tmp_path, orders, why):
    path = tmp_path / "test_cases.json"
    candidates = {"C1": {"text": WORSE[0]}, "C2": {"text": WORSE[3]}}
    case = {"id": "1a", "ground_truth": TRUTH, "candidates": candidates, "expected_ranking": orders}
    path.write_text(json.dumps([{"category": "a", "tests": [case]}]))
    with pytest.raises(UserError, match=why):
        read_rated(path)


def test_radjudge_is_read_as_data_and_never_run(tmp_path):
    path = tmp_path / "test_cases.py"
    path.write_text(RADJUDGE)
    found = read_rated(path)
    assert found.texts == ["Left effusion.", "Clear lungs.", "Clear lungs.", "Edema.", "Clear lungs."]
    assert found.orders.tolist() == [[0, 1, 1], [4, 3, 1], [2, 4, 0]]
    assert found.rows[1] == {"age": "25"}
    path.write_text(RADJUDGE.replace("C1 = C3", "C1 = C4"))
    with pytest.raises(UserError, match=r"case 1b of .* expects 'C1 = C4'"):
        read_rated(path)
    path.write_text("RANKING_TESTS = [open('x')]")
    with pytest.raises(UserError, match=r"is not RadJudge's test_cases.py"):
        read_rated(path)


def ratings_of(values, studies, **more):
    n = len(studies)
    return Rated(["x"] * n, ["y"] * n, studies, "r", None if values is None else np.array(values), **more)


def test_reports_that_were_rated_in_pairs_are_compared_by_their_differences():
    """Between the cases the metric orders falsely; within each it is right."""
    metric = {"m": np.array([0.9, 1.0, 0.1, 0.3, 0.5, 0.8])}
    rated = ratings_of([1.0, 2, 3, 5, 1, 4], ["a", "a", "b", "b", "c", "c"])
    alone = calibrate(rated, metric, resamples=50, seed=0)["m"]
    rated.pairs = np.arange(6).reshape(3, 2)
    paired = calibrate(rated, metric, resamples=50, seed=0)["m"]
    assert alone.tau < 0.3 < paired.tau == 1


def test_of_expected_orders_tau_and_the_cases_passed_are_counted():
    orders = np.array([[0, 1, 1], [2, 3, 1], [4, 5, 0], [6, 7, 1]])
    rated = ratings_of(None, ["a", "a", "b", "b", "c", "c", "d", "d"], orders=orders)
    metric = np.array([0.9, 0.1, 0.2, 0.4, 0.500, 0.505, 0.3, 0.3])  # right, turned round, the same, undecided
    found = calibrate(rated, {"m": metric}, resamples=200, seed=0)["m"]
    assert (found.tau, found.passed) == (0, 0.5)
    assert found.interval[0] < 0 < found.interval[1]


def test_studies_are_drawn_and_not_reports():
    """Four reports of each study that are rated and scored alike: the interval is that of the studies."""
    rng = np.random.default_rng(0)
    values = rng.random(12)
    ratings = values + rng.normal(0, 0.4, 12)
    apart = calibrate(ratings_of(ratings, list(map(str, range(12)))), {"m": values}, resamples=500, seed=1)["m"]
    four = calibrate(
        ratings_of(np.repeat(ratings, 4), [str(i // 4) for i in range(48)]),
        {"m": np.repeat(values, 4)},
        resamples=500,
        seed=1,
    )["m"]
    as_many = calibrate(
        ratings_of(np.repeat(ratings, 4), list(map(str, range(48)))), {"m": np.repeat(values, 4)}, resamples=500, seed=1
    )["m"]
    assert four.tau == pytest.approx(apart.tau)
    widths = [span.interval[1] - span.interval[0] for span in (apart, four, as_many)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert widths[2] < 0.7 * widths[1]
    one = calibrate(ratings_of(ratings, ["a"] * 12), {"m": values}, resamples=50, seed=1)["m"]
    assert one.interval is None


FLAGS = ["--no-meteor", "--resamples", "20", "--device", "cpu"]


def test_the_program_prints_a_tau_for_every_metric(rated, capsys):
    call(program, "--rated", rated, *FLAGS)
    shown = capsys.readouterr().out
    rows = {line.split()[0]: float(line.split()[1]) for line in shown.splitlines() if line.startswith("  ")}
    assert rows["ROUGE_L_f1"] > 0.9
    assert {"BLEU_1", "BLEU_2_sentence", "ce_f1"} <= set(rows)
    refused(capsys, "does not exist", program, "--rated", rated.with_name("none.csv"), *FLAGS)


def test_the_program_reads_every_layout(tmp_path, capsys):
    (tmp_path / "test_cases.py").write_text(RADJUDGE)
    expert = rad_eval_expert(
        tmp_path, [(counted([0] * 7, [i] * 7), counted([i] * 7, [1] * 7), counted([2] * 7, [0] * 7)) for i in range(2)]
    )
    for words, said in (
        (rexval(tmp_path), "4 reports of 2 studies"),
        ((expert,), "6 reports of 2 studies"),
        (radpref(tmp_path), "4 reports of 2 studies"),
        ((tmp_path / "test_cases.py",), "2 strict orders in 2 cases"),
    ):
        call(program, "--rated", words[0], *(["--raters", words[1]] if len(words) > 1 else []), *FLAGS)
        shown = capsys.readouterr().out
        assert said in shown
        assert "  ROUGE_L_f1 " in shown
