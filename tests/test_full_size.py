"""`bash train_mimic_cxr.sh` as it stands, the published network at full size: three steps, a validation, and what they take.

Beside eight other programs on two cores it took 280 s of a core: 263.6 million parameters, batch 4, 5.8 GB at most. Three states of the run lie on the disk at the end, 6.8 GB.
"""

import json
import os
import re
import resource
import shutil

import pytest
from test_raw_mimic import write_tree
from test_roads import Checkout

from modules.records import read_json

pytestmark = pytest.mark.slow

LEAST_MEMORY = 8  # GB that must be free
LEAST_DISK = 12  # GB, for two states of the run and the best model
BATCH = 4  # the published 18 take 9.4 GB, counted in docs/data.md


def free_memory():
    """GB that programs could take."""
    try:
        with open("/proc/meminfo") as file:
            return int(re.search(r"MemAvailable:\s+(\d+)", file.read())[1]) / 1e6
    except OSError:
        return 0


def test_three_steps_and_a_validation_of_the_published_network(tmp_path):
    if not os.environ.get("REVTAF_FULL_SIZE"):
        pytest.skip("takes minutes and 7 GB of disk: set REVTAF_FULL_SIZE=1")
    if free_memory() < LEAST_MEMORY or shutil.disk_usage(tmp_path).free < LEAST_DISK * 1e9:
        pytest.skip(f"needs {LEAST_MEMORY} GB of memory and {LEAST_DISK} GB of disk")
    checkout = Checkout(tmp_path)
    raw = write_tree(tmp_path / "raw")
    small_scorer = ["--visual_extractor", "resnet10n", "--image_size", 32, "--scorer_epochs", 1, "--scorer_shares", 1]
    checkout.bash(
        "prepare_mimic_cxr.sh", raw, *small_scorer, "--device", "cpu", "--num_workers", 0, status=2
    )  # blank films
    path = checkout / "data/mimic_cxr/annotation.json"
    content = read_json(path)
    path.write_text(json.dumps({"train": content["train"][: 3 * BATCH], "val": content["val"][:2], "test": []}))
    words = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"word{i}" for i in range(30522 - len(words))]
    (checkout / "checkpoints/bert-base-uncased").mkdir(parents=True)
    (checkout / "checkpoints/bert-base-uncased/vocab.txt").write_text("\n".join(words) + "\n")
    flags = [
        "--resnet_weights",
        "none",
        "--batch_size",
        BATCH,
        "--epochs",
        1,
        "--num_workers",
        0,
        "--device",
        "cpu",
        "--no-check",
    ]
    said = checkout.bash("train_mimic_cxr.sh", *flags, timeout=3000)
    assert "holds a vocabulary and neither model.safetensors nor pytorch_model.bin: starts from random weights" in said
    parameters = int(re.search(r"([\d,]+) parameters on cpu", said)[1].replace(",", ""))
    assert parameters > 230e6
    (header, row) = (checkout / "results/mimic_cxr/metrics.csv").read_text().splitlines()
    figures = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(figures["loss"]) > 0
    assert 0 <= float(figures["val_ce_f1"]) <= 1
    assert (checkout / "results/mimic_cxr/model_best.pth").is_file()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{parameters / 1e6:.1f} million parameters, batch {BATCH}: {peak:.1f} GB at most")
    assert peak < LEAST_MEMORY
