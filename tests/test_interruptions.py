"""A preparation that is killed in any stage and started again writes the same bytes as one that never was."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import assert_equal_folders, assert_says_speed

from modules.corpus.store import verify
from modules.preparation.synthetic.dataset import SyntheticOptions, write_synthetic_dataset

ROOT = Path(__file__).parents[1]
# Kills itself with SIGKILL where its last word says, so that nothing is cleaned up. Each start is a fork of a process that
# has imported everything and computed nothing.
DRIVER = """
import os, signal, sys
import main_prepare
from modules.corpus import store_writing as feature_writing
from modules.preparation.features import entities, entity_training

folder, images, points = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.argv = ["main_prepare.py", "--dataset_name", "custom", "--ann_path", folder + "/annotation.json", "--image_dir", images,
    "--visual_extractor", "resnet10q", "--image_size", "64", "--batch_size", "8", "--num_workers", "0", "--device", "cpu",
    "--precision", "fp32", "--scorer_epochs", "3", "--scorer_patience", "2", "--scorer_width", "16", "--scorer_layers", "1",
    "--text_width", "16", "--clip_k", "5", "--feature_dir"]
entities.SCORE_BATCH = 16
feature_writing.FLUSH_ROWS = 4

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def plant(point):
    kind, _, name = point.partition(" ")
    real = {"replace": os.replace, "epoch": entity_training.save_atomically, "rows": feature_writing.FeatureRows.flush}
    count = [0]
    def replace(source, target):
        mine = os.path.basename(target) in (name, name + ".npy")
        if mine and kind == "before":
            die()
        real["replace"](source, target)
        if mine and kind == "after":
            die()
    def save(*arguments):
        real["epoch"](*arguments)
        count[0] += 1
        if count[0] == int(name):
            die()
    def flush(rows):
        real["rows"](rows)
        count[0] += 1
        if count[0] == int(name):
            die()
    if kind == "epoch":
        entity_training.save_atomically = save
    elif kind == "rows":
        feature_writing.FeatureRows.flush = flush
    else:
        feature_writing.os.replace = replace

def start(features, point):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        if point:
            plant(point)
        sys.argv.append(features)
        main_prepare.main()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    expected = signal.SIGKILL if point else 0
    if status != expected:
        sys.exit(f"{point or 'whole'}: status {status}")

start(folder + "/whole", "")
for point in points:
    start(folder + "/killed", point)
start(folder + "/killed", "")
"""
POINTS = [
    "before labels", "after labels", "after base_probs.json", "epoch 1", "epoch 1", "rows 3", "rows 4",
    "before region_scores", "after region_text", "before training.jsonl", "before report_features",
    "after sentence_features", "before sentence_offsets", "before label_neighbours", "after memory_indices",
]  # fmt: skip
STAGES = ("labels", "entity scorer", "entity scores", "text features", "label neighbours", "memory")
FILES = {
    "labels.npy", "region_scores.npy", "region_text.npy", "report_features.npy", "sentence_features.npy",
    "sentence_offsets.npy", "label_neighbours.npy", "memory_indices.npy", "training.jsonl", "base_probs.json",
    "entity_scorer.pth", "studies.json", "training.json",
}  # fmt: skip


@pytest.fixture
def unlabelled(tmp_path):
    """Annotation of drawn studies without labels, so that the labels are a stage too, and the folder of their images."""
    write_synthetic_dataset(tmp_path / "drawn", SyntheticOptions(num_studies=40, image_size=80, difficulty=1.0, seed=1))
    splits = json.loads((tmp_path / "drawn" / "annotation.json").read_text())
    for items in splits.values():
        for item in items:
            del item["labels"]
    return json.dumps(splits), tmp_path / "drawn" / "images"


@pytest.mark.slow
def test_kill_and_start_again(tmp_path, unlabelled, forks):
    annotation, images = unlabelled
    (tmp_path / "annotation.json").write_text(annotation)
    command = [forks.python, "-c", DRIVER, str(tmp_path), str(images), *POINTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_equal_folders(tmp_path / "whole", tmp_path / "killed", FILES)
    assert verify(tmp_path / "killed") == []
    assert not list((tmp_path / "killed").glob(".*"))
    assert_says_speed(STAGES, done.stdout)
    aurocs = json.loads((tmp_path / "whole" / "entity_auroc_val.json").read_text())
    assert aurocs
    assert all(0 <= value <= 1 for value in aurocs.values())
