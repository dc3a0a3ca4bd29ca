"""modules/evaluation/viewer.py and what it shows: marks, maps, the disk, the page in a real browser."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from browser import EXECUTABLE, Page
from PIL import Image

from models.manifolds import Euclidean, Lorentz, PoincareBall
from modules.evaluation.agreement import VERDICTS, mark_sentences, sentences_with_stops
from modules.evaluation.attention_maps import MapKeeper, StudyMaps
from modules.evaluation.disk import Disk, project
from modules.evaluation.viewer import write_viewer
from modules.labels import CHEXPERT_CONDITIONS, CONDITIONS, NEGATIVE, POSITIVE
from modules.preparation.labelers import RuleLabeler

LABELER = RuleLabeler()
NORMAL = "the heart size is normal . the lungs are clear . no pleural effusion or pneumothorax ."
EFFUSION = "there is a small left pleural effusion . the heart size is normal ."
FRACTURE = "there is an acute rib fracture . the lungs are clear ."
HOSTILE = (
    "</script><script>window.broken=1</script><img src=x onerror='window.broken=2'> & \u2028 \\u003c \ud800 \u202egnp"
)
HEBREW = "\u05d0\u05d9\u05df \u05ea\u05e4\u05dc\u05d9\u05d8 \u05d1\u05e8\u05d9\u05d0\u05d5\u05ea ."
STUDIES = 500


def study(identifier, prediction, reference, **more):
    states = LABELER([prediction])[0].tolist()
    return {
        "id": identifier, "image": "x.png", "prediction": prediction, "reference": reference, "states": states,
        "positive_probability": [0.9 if state == POSITIVE else 0.1 for state in states], "retrieved": "train_7",
        "retrieval_distance": 0.25, "scores": {"BLEU_4": len(prediction) / 1000, "METEOR": None}, **more,
    }  # fmt: skip


def some_rows():
    """The cases that the tests look for, then many plain ones."""
    special = [
        study("right", EFFUSION, EFFUSION),
        study("extra", EFFUSION, NORMAL),
        study("missed", NORMAL, FRACTURE),
        study("hostile/<b>", HOSTILE, HOSTILE, retrieved_report=HOSTILE),
        study("long", "word " * 4000, "x" * 20_000),
        study("hebrew", HEBREW, HEBREW),
        study("empty", "", NORMAL, retrieved=None, retrieval_distance=None, retrieved_report=""),
    ]
    plain = [study(f"plain_{n:03d}", f"{NORMAL} {n} .", NORMAL) for n in range(STUDIES - len(special))]
    return special + plain


def maps_of(seed, sentences=2):
    rng = np.random.default_rng(seed)
    ranges = [(0.5, 1.5), (0.0, 3.0), *[(0.9, 1.1)] * sentences]
    return StudyMaps([8, 24], [0.9, 0.4], ranges, rng.integers(0, 256, (2 + sentences, 16), dtype=np.uint8))


def some_metrics():
    classes = {
        name: {"precision": 0.5, "recall": 0.4, "f1": 0.45, "support": 90 - 5 * i, "f1_low": 0.4, "f1_high": 0.5,
               "third": ("head", "medium", "tail")[i // 5]}
        for i, name in enumerate(CHEXPERT_CONDITIONS)
    }  # fmt: skip
    scores = {"test_BLEU_4": 0.1, "test_ce_f1": 0.45, "test_METEOR": None}
    return {
        "scores": scores, "intervals": {"test_ce_f1": [0.4, 0.5]}, "per_class": classes,
        "baselines": {"most frequent": {"BLEU_4": 0.05, "ce_f1": 0.3}}, "commit": "0" * 40,
        "protocol": {"caption": "how it was made", "labeler": "rule"},
    }  # fmt: skip


def some_dataset(folder, rows):
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (80, 100), dtype=np.uint8)).save(folder / "x.png")
    return SimpleNamespace(
        image_dir=folder,
        studies=[SimpleNamespace(image_path=["x.png"]) for _ in rows],
        labels=np.array([LABELER([row["reference"]])[0] for row in rows]),
        reference_rows=np.zeros(len(rows), dtype=int),
        bank=SimpleNamespace(reports=["the lungs are clear . no effusion ."]),
    )


def some_disk():
    rng = np.random.default_rng(0)
    return Disk(rng.uniform(-0.5, 0.5, (300, 2)), rng.random((300, 18)) < 0.1, 0.61, 0.01, 1000)
