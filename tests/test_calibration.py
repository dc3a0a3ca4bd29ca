"""modules/evaluation/calibration.py and tools/calibrate.py: metrics that order reports as people do get a high tau."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modules.evaluation.calibration import read_ratings, read_rexval, tau_b
from modules.messages import UserError

ROOT = Path(__file__).parents[1]
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
    assert tau_b(np.zeros(5), np.arange(5.0), np.ones((1, 5)))[0] == 0


def test_errors_count_downwards_and_other_ratings_up(rated):
    file, ratings, name = read_ratings(rated)
    assert (name, ratings[:3].tolist(), file.texts[:2]) == ("total_errors", [0, -1, -2], WORSE[:2])
    with pytest.raises(UserError, match="no column of ratings is known; say which with --rating"):
        read_ratings(rated, "stars")
    with pytest.raises(UserError, match="holds no number"):
        read_ratings(rated, "prediction")


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
    file, ratings, name = read_rexval(*rexval(tmp_path), significant=False)
    assert (file.texts, file.references) == ([WORSE[2], TRUTH, "Normal.", WORSE[1]], [TRUTH] * 4)
    assert (ratings.tolist(), name) == ([-2.5, -0.5, -4.5, -1.5], "errors")
    assert read_rexval(*rexval(tmp_path), significant=True)[1].tolist() == [-2, 0, -4, -1]
    samples, counts = rexval(tmp_path)
    with pytest.raises(UserError, match="are not ReXVal's two tables"):
        read_rexval(counts, samples, significant=False)
    samples.write_text(samples.read_text() + f'503,"{TRUTH}",a b,c d\n')
    with pytest.raises(UserError, match=r"errors of 2 studies in bleu, radgraph and .* has 3 studies"):
        read_rexval(samples, counts, significant=False)


def test_the_program_prints_a_tau_for_every_metric(rated):
    done = subprocess.run(
        [sys.executable, "tools/calibrate.py", "--rated", rated, "--no-meteor", "--resamples", "20", "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("  ")}
    assert rows["ROUGE_L_f1"] > 0.9
    assert {"BLEU_1", "BLEU_2_sentence", "ce_f1"} <= set(rows)
