"""Real reports against themselves: every metric of every profile at its maximum, or below it for a cause that is known."""

import csv
import json

import numpy as np
import pytest
from programs import call

import main_score
from modules.corpus.text import clean_report
from modules.evaluation.metrics.nlg import BETA
from modules.labelling.labelers import RuleLabeler
from modules.labels import FIVE_CONDITIONS, POSITIVE, UNCERTAIN

LABELER = RuleLabeler()
WORDS = 100  # kept of published references
CASES = [("r2gen", "findings")] + [
    (profile, section) for profile in ("rexrank", "radeval", "llava_rad") for section in ("findings", "both")
]


def real_reports(folder, section):
    """The longest, the shortest and some in between; the first have more words than a published reference keeps."""
    rows = [json.loads(line) for line in (folder / "reports.jsonl").read_text().splitlines()]
    texts = [
        " ".join([row["findings"], row["impression"] * (section == "both")]).strip() for row in rows if row["findings"]
    ]
    ranked = sorted(set(texts), key=lambda text: len(text.split()))
    return [*ranked[:8], *ranked[60:-8:150], *ranked[-8:]]


def has_condition(states, name):
    """Whether the conditions that a figure counts hold a positive one; 0 / 0 = 0 else."""
    counted = (POSITIVE, UNCERTAIN) if "_uncertain_positive" in name else (POSITIVE,)
    return any(
        state in counted and ("_5" not in name or condition in FIVE_CONDITIONS)
        for condition, state in zip(LABELER.conditions[:14], states, strict=False)
    )


def ceiling(name, raw, text, states, published):
    """The most that a report can have beside itself, None where it is merely below 1."""
    words = (raw.lower() if name == "BLEU_2_sentence" else text).replace(".", " .").split()
    if (
        published
        and len(words) > WORDS
        and not name.endswith("_full")
        and name not in ("BLEU_2_sentence", "ROUGE_L_f1")
    ):
        return None
    name = name.removesuffix("_full")
    if name == "ROUGE_L" and published:  # the empty word behind the last stop
        words = text.split(" ")  # a doubled blank of the published cleaning is a word of both sides
        precision = len(words) / (len(words) + 1)
        return (1 + BETA**2) * precision / (1 + BETA**2 * precision)
    if name.startswith("ce_"):
        return float(has_condition(states, name))
    orders = 4 if name == "CIDEr" else 2 if name == "BLEU_2_sentence" else int(name[-1]) if name[:5] == "BLEU_" else 1
    return None if len(words) < orders else 10.0 if name == "CIDEr" else 1.0


@pytest.mark.parametrize(("profile", "section"), CASES)
def test_a_report_reaches_the_maximum_beside_itself(profile, section, real_cxr, tmp_path):
    texts = real_reports(real_cxr, section)
    rows = [{"id": f"s{i}", "prediction": text, "reference": text} for i, text in enumerate(texts)]
    (tmp_path / "same.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call(
        main_score, "--predictions", f"same={tmp_path / 'same.jsonl'}", "--profile", profile, "--section", section,
        "--save_dir", tmp_path / "out", "--no-meteor", "--resamples", 2,
    )  # fmt: skip
    with (tmp_path / "out" / "per_study_same.csv").open() as file:
        found = {row.pop("study_id"): row for row in csv.DictReader(file)}
    assert len(found) == len(texts)
    cleaned = [clean_report(text) for text in texts] if profile == "r2gen" else texts
    states = LABELER(cleaned)
    reached = 0
    for i, (text, labels) in enumerate(zip(cleaned, states.tolist(), strict=True)):
        for name, value in found[f"s{i}"].items():
            most = ceiling(name, texts[i], text, labels, profile == "r2gen")
            if most is None:
                assert 0 <= float(value) <= 10
            else:
                assert float(value) == pytest.approx(most, abs=2e-5), (name, len(text.split()))
                reached += most in (1, 10)
    assert reached > len(texts) * 8
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())["systems"]["same"]["scores"]
    for name in next(iter(found.values())):
        if (
            not any(word in name for word in ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "_micro"))
            or name == "BLEU_2_sentence"
        ):
            mean = np.mean(
                [float(row[name]) for row in found.values()]
            )  # the figure of the table is that of the column
            assert scores[f"test_{name}"] == pytest.approx(mean, abs=1e-5), name
