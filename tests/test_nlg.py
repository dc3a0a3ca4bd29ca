"""modules/evaluation/metrics/nlg.py: golden scores, sums that give them, and odd texts."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from modules.corpus.text import postprocess_prediction
from modules.corpus.tokenizer import ReportTokenizer
from modules.evaluation.metrics.meteor import _java_programs, meteor_statistics, meteor_sums
from modules.evaluation.metrics.nlg import check_reports, overlap_sums, rouge_l
from modules.evaluation.metrics.sufficient_sums import joined
from modules.evaluation.reading.report_files import read_report_file
from modules.evaluation.reports.exports import write_r2gen

GOLDEN = json.loads((Path(__file__).parent / "golden" / "nlg_metrics.json").read_text(encoding="utf-8"))
PREDICTIONS = [pair["hyp_post"] for pair in GOLDEN["pairs"]]
REFERENCES = [pair["ref"] for pair in GOLDEN["pairs"]]
needs_java = pytest.mark.skipif(not _java_programs(), reason="no Java runtime")


def scores_of(predictions, references):
    """Scores of generated reports as a decoder writes them."""
    return overlap_sums([postprocess_prediction(text) for text in predictions], references).scores()


def sums_with_meteor(predictions, references):
    return joined([
        overlap_sums(predictions, references), meteor_sums(meteor_statistics(predictions, references))
    ])  # fmt: skip


@needs_java
@pytest.mark.slow
def test_golden_scores():
    sums = sums_with_meteor(PREDICTIONS, REFERENCES)
    corpus, each = sums.scores(), sums.figures(sums.values)
    assert set(corpus) == set(each) == set(GOLDEN["corpus"])
    for name, value in corpus.items():
        assert value == pytest.approx(GOLDEN["corpus"][name], abs=1e-6 if name == "METEOR" else 1e-9)
        n = int(name[-1]) - 1 if name.startswith("BLEU") else None
        wanted = [pair["BLEU"][n] if n is not None else pair[name] for pair in GOLDEN["pairs"]]
        np.testing.assert_allclose(each[name], wanted, rtol=0, atol=1e-6 if name == "METEOR" else 1e-9)


def test_sums_give_the_scores_of_any_set_of_studies():
    """BLEU of a subset from summed counts equals BLEU of the subset scored alone; means stay means."""
    hypotheses = [postprocess_prediction(text) for text in PREDICTIONS]
    sums = overlap_sums(hypotheses, REFERENCES)
    chosen = [3, 3, 7, 20]
    alone = overlap_sums([hypotheses[i] for i in chosen], [REFERENCES[i] for i in chosen]).scores()
    summed = sums.figures(sums.values[chosen].sum(axis=0, keepdims=True))
    for name in ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "ROUGE_L"):
        assert summed[name][0] == pytest.approx(alone[name], abs=1e-12)
    each = sums.figures(sums.values)["CIDEr"]
    assert summed["CIDEr"][0] == pytest.approx(each[chosen].mean(), abs=1e-12)


def test_bleu_is_that_of_pycocoevalcap():
    from pycocoevalcap.bleu.bleu import Bleu

    for hypotheses, references in ((PREDICTIONS, REFERENCES), (["", ""], ["", "a b"]), (["a b", "c"], ["a", "c d e"])):
        truth, generated = ({i: [text] for i, text in enumerate(texts)} for texts in (references, hypotheses))
        wanted, wanted_each = Bleu(4).compute_score(truth, generated, verbose=0)
        sums = overlap_sums(hypotheses, references)
        scores, each = sums.scores(), sums.figures(sums.values)
        assert [scores[f"BLEU_{n}"] for n in range(1, 5)] == pytest.approx(wanted, abs=1e-12)
        np.testing.assert_allclose([each[f"BLEU_{n}"] for n in range(1, 5)], wanted_each, rtol=0, atol=1e-12)


def released_chain(words):
    """What the released code hands to pycocoevalcap for a sequence of WordPieces."""
    text = PreTrainedTokenizerBase.clean_up_tokenization(None, " ".join(words).replace(" ##", "").strip())
    return (text + " ").replace(". ", " . ").replace(" - ", "-")


def test_token_ids_give_the_released_chains_figures(tmp_path):
    """From token numbers to figures, along our decoder, a predictions file and R2Gen's table: always the same ones."""
    pieces = ["the", "heart", "no", "pneumo ##thorax", "right - sided", ".", ".", ",", "4", "5", "?", "' s", "don ' t"]
    words = " ".join(pieces).split()
    vocabulary = ["[PAD]", "[UNK]", "[SEP]", *dict.fromkeys(words)]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = ReportTokenizer.from_bert(tmp_path)
    rng = random.Random(0)
    sequences = [["the", *" ".join(rng.choices(pieces, k=rng.randint(1, 30))).split()] for _ in range(300)]
    sequences.append(["the", "heart", "the", "heart", ".", "no", "right", ".", "no", "pneumo", "##thorax", "."])
    decoded = [tokenizer.decode([vocabulary.index(word) for word in sequence] + [2]) for sequence in sequences]
    released = [released_chain(sequence) for sequence in sequences]
    assert [postprocess_prediction(text) for text in decoded] == released
    references = [" ".join(sequence).replace(" ##", "") for sequence in sequences]
    assert scores_of(decoded, references) == overlap_sums(released, references).scores()
    write_r2gen(tmp_path, decoded, references)
    assert read_report_file(tmp_path / "res.csv").texts == decoded
    # The released chain's figure of one report against itself: eleven words, and the empty one at the end of the prediction.
    itself = scores_of(decoded[-1:], references[-1:])["ROUGE_L"]
    assert itself == pytest.approx(2.44 * (11 / 12) / (1 + 1.44 * 11 / 12), abs=1e-12)
    spaced, attached = references[-1], "the heart the heart. no right. no pneumothorax."
    assert scores_of([spaced], [spaced]) == scores_of([attached], [spaced])


def test_rouge_is_that_of_pycocoevalcap():
    from pycocoevalcap.rouge.rouge import Rouge

    rng = random.Random(0)
    texts = [
        "",
        " ",
        "a",
        "  a b ",
        "heart heart heart",
        *(" ".join(rng.choices("abcdefg ", k=n)) for n in (*range(70), 200)),
    ]
    for _ in range(600):
        pair = rng.choice(texts), rng.choice(texts)
        assert rouge_l(*pair) == Rouge().calc_score([pair[0]], [pair[1]]), pair


def test_cider_is_that_of_pycocoevalcap():
    assert scores_of(PREDICTIONS, REFERENCES)["CIDEr"] == pytest.approx(GOLDEN["corpus"]["CIDEr"], abs=1e-9)


def odd_pairs(count):
    """Pairs that put a line protocol out of step: line breaks of every kind, separators, nothing, other scripts."""
    rng = random.Random(0)
    odd = [
        "",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\u2028",
        "\x85",
        "\x0b",
        "\t",
        "\x00",
        "\ud800",
        "\U0001fac1",
        "心臓",
        "œdème",
        "½",
    ]
    odd += [
        "|||",
        "EVAL ||| 1",
        "SCORE",
        "Segment 1 score:\t0.9",
        "Final score: 0.9",
        "%s",
        "<s>",
        "' \"",
        "-",
        ". . .",
    ]
    odd += ["no effusion .", "heart size is normal .", "4.5 cm"]
    return [["".join(rng.choices(odd, k=rng.randint(0, 6))) for _ in range(2)] for _ in range(count)]


@needs_java
@pytest.mark.slow
def test_ten_thousand_odd_pairs_are_all_scored():
    pairs = odd_pairs(10_000)
    pairs[-1] = ["the heart is enlarged .", "the heart is enlarged ."]
    pairs[1500] = ["clear\nlungs |||", "clear lungs"]
    predictions, references = zip(*pairs, strict=True)
    sums = sums_with_meteor([postprocess_prediction(text) for text in predictions], references)
    corpus, each = sums.scores(), sums.figures(sums.values)
    assert all(len(values) == 10_000 and np.isfinite(values).all() for values in each.values())
    assert all(np.isfinite(value) for value in corpus.values())
    assert each["METEOR"][-1] == pytest.approx(1.0, abs=0.05)  # the last line still meets its own reference
    assert each["METEOR"][1500] > 0.9


def test_one_pair_and_empty_texts():
    alone = scores_of(["no effusion ."], ["no effusion ."])
    assert alone["BLEU_1"] == pytest.approx(1.0)
    assert "CIDEr" not in alone
    scores = scores_of(["", "a b"], ["a b", ""])
    assert all(np.isfinite(value) for value in scores.values())
    assert scores["BLEU_1"] < 1e-6


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap.bleu.bleu_scorer", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pycocoevalcap"):
        overlap_sums(["a"], ["a"])


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [([], [], "0 predictions"), (["a"], ["a", "b"], "1 predictions and 2 references"), ("a", ["a"], "list of texts"),
     (["a"], [None], "references must be a list")],
)  # fmt: skip
def test_guards(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        check_reports(predictions, references)
