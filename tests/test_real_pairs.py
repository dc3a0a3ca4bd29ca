"""Real radiographs with their reports: a small model learns 16 of them by heart, and the whole file goes through."""

import json
import math

import pytest
from programs import call

import main_prepare
import main_test
import main_train
from modules.records import read_jsonl
from modules.training.objective import loss_names

SIZE = ["--dataset_name", "custom", "--visual_extractor", "resnet10n", "--image_size", 64, "--num_workers", 0, "--device",
        "cpu", "--precision", "fp32"]  # fmt: skip
MODEL = ["--tokenizer", "corpus", "--threshold", 1, "--d_model", 64, "--h_dim", 32, "--memory_feedforward", 64,
         "--decoder_layers", 2, "--decoder_heads", 4, "--hidden_size", 128, "--intermediate_size", 256, "--min_lr", 1e-4,
         "--init_lr", 1e-3, "--warmup_steps", 1, "--clip_grad_value", 1.0]  # fmt: skip
LENGTHS = ["--gen_min_len", 20, "--gen_max_len", 100]


def prepare_train_test(folder, images, training, testing):
    """Run the three programs on ``folder/annotation.json``; returns the rows of the predictions file."""
    places = ["--ann_path", folder / "annotation.json", "--image_dir", images, "--feature_dir", folder / "features"]
    call(main_prepare, *SIZE, *places, "--scorer_epochs", 1, "--scorer_width", 16, "--scorer_layers", 1, "--text_width",
         32, "--batch_size", 16)  # fmt: skip
    call(main_train, *SIZE, *MODEL, *LENGTHS, *places, "--save_dir", folder / "run", *training)
    call(main_test, *SIZE[:2], *SIZE[6:], *LENGTHS, *places, "--save_dir", folder / "run", *testing)
    return read_jsonl(folder / "run" / "predictions.jsonl")


@pytest.mark.slow
def test_a_small_model_learns_sixteen_real_pairs_by_heart(real_cxr, tmp_path):
    annotation = json.loads((real_cxr / "annotation_paired.json").read_text())
    few = {"train": annotation["train"][:16], "val": annotation["val"][:1], "test": []}
    (tmp_path / "annotation.json").write_text(json.dumps(few))
    rows = prepare_train_test(
        tmp_path, real_cxr / "images",
        ["--batch_size", 8, "--epochs", 70, "--val_every", 70, "--no-augment", "--dropout", 0,
         "--label_smoothing", 0, "--init_lr", 2e-3],
        ["--split", "train", "--batch_size", 8, "--no-meteor"],
    )  # fmt: skip
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["scores"]
    assert [row["id"] for row in rows] == [str(item["id"]) for item in few["train"]]
    assert scores["train_BLEU_4"] >= 0.8


@pytest.mark.slow
def test_the_whole_file_of_real_pairs_goes_through(real_cxr, tmp_path):
    text = (real_cxr / "annotation_paired.json").read_text()
    (tmp_path / "annotation.json").write_text(text)
    rows = prepare_train_test(tmp_path, real_cxr / "images", ["--batch_size", 16, "--epochs", 1], ["--batch_size", 16])
    assert [row["id"] for row in rows] == [str(item["id"]) for item in json.loads(text)["test"]]
    header, *epochs = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    losses = [float(v) for k, v in zip(header.split(","), epochs[0].split(","), strict=True) if k.startswith("loss")]
    assert len(losses) == len(loss_names()) + 1  # and that of the retrieval towers
    assert all(map(math.isfinite, losses))
