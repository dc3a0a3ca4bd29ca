"""The programs end to end on a tiny SynthCXR: prepare, train, resume, test; and what they say to bad input."""

import csv
import json
import re
import shutil
import signal

import numpy as np
import pytest
import torch
from programs import SMALL, SMALL_MODEL, call, copy_of, places, prepare, refused, train

import main_score
import main_test
import main_train
from modules.corpus.annotations import read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.store import FeatureStore
from modules.evaluation.metrics.clinical import frequency_thirds
from modules.labels import CONDITIONS, POSITIVE
from modules.preparation import stages
from modules.records import read_json, read_jsonl
from modules.weights.checkpoints import load_checkpoint
from tools import draw_example

# what is written


def test_prepared_features_have_the_shapes_of_the_method(prepared):
    store = FeatureStore.open(prepared / "features")
    annotation = read_annotation(prepared / "annotation.json")
    n, N = sum(map(len, annotation.values())), len(annotation["train"])
    assert store["labels"].shape == (n, 18)
    assert store["region_scores"].shape == (n, 75)
    assert store["region_text"].shape == (n, 75, 16)
    assert store["memory_indices"].shape == (n, 5)
    assert store["report_features"].shape == (N, 16)
    assert store["sentence_offsets"].shape == (N + 1,)
    assert ((store["region_scores"] >= 0) & (store["region_scores"] <= 1)).all()


def of_the_same_patient(folder):
    """Per training study, whether its memory and its neighbours hold a report of its own patient, two of ``(N, rows)``."""
    store = FeatureStore.open(folder / "features")
    training = read_annotation(folder / "annotation.json")["train"]
    patients = np.array([study.patient for study in training])
    assert len(set(patients)) < len(patients)
    rows = store["memory_indices"][store.rows("studies", [study.id for study in training])], store["label_neighbours"]
    return [patients[part] == patients[:, None] for part in rows]


def test_a_patient_is_not_in_their_own_memory_nor_neighbours_unless_asked_for(prepared, tmp_path):
    assert not any(same.any() for same in of_the_same_patient(prepared))
    copy_of(prepared, tmp_path, dirs_exist_ok=True)
    prepare(tmp_path, "--no-exclude_same_patient")
    assert any(same.any() for same in of_the_same_patient(tmp_path))
    store = FeatureStore.open(tmp_path / "features")
    ids = store.row_ids("training")
    own = np.arange(len(ids))[:, None]
    assert not (store["memory_indices"][store.rows("studies", ids)] == own).any()
    assert not (store["label_neighbours"] == own).any()


def test_a_second_preparation_builds_nothing(prepared, tmp_path):
    copy_of(prepared, tmp_path, dirs_exist_ok=True)

    def files():  # but for what programs that read the first folder write beside it just now, which the copy may hold in part
        return {p.name: p.stat().st_mtime_ns for p in (tmp_path / "features").iterdir() if p.name[0] != "."}

    before = files()
    prepare(tmp_path)
    assert files() == before


def test_a_training_writes_all_its_files(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"options.json", "tokenizer.json", "current_checkpoint.pth", "model_best.pth", "metrics.csv"} <= names
    assert any((trained / "tensorboard").iterdir())
    rows = (trained / "metrics.csv").read_text().splitlines()
    assert len(rows) == 3
    assert {"loss_report", "loss_ranking", "val_ce_f1", "val_BLEU_4", "studies_per_second"} <= set(rows[0].split(","))
    versions = json.loads((trained / "options.json").read_text())["packages"]
    assert torch.__version__.startswith(versions["torch"])


def test_the_checkpoint_rebuilds_the_model_without_flags(trained):
    checkpoint = load_checkpoint(trained / "model_best.pth")
    assert checkpoint["config"]["attention_dim"] == 32
    assert "optimizer" not in checkpoint["run"]


@pytest.mark.slow
def test_a_test_writes_predictions_and_scores(prepared, trained, tmp_path, capsys):
    arguments = [
        *places(prepared), *SMALL, "--load_pretrained", trained / "model_best.pth", "--save_dir", tmp_path,
        "--gen_min_len", 25, "--gen_max_len", 12, "--baselines", "--plot", 1, "--viewer_studies", 2,
        "--verbose_text",
    ]  # fmt: skip
    call(main_test, *arguments)
    shown = capsys.readouterr().out
    assert shown.count("  reference  ") == 5
    assert "nearest training image (pixels)" in shown
    assert "Content-Security-Policy" in (tmp_path / "index.html").read_text()
    assert len(list((tmp_path / "viewer" / "images").iterdir())) == 2
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".png", ".pdf"}
    refused(
        capsys,
        "--plot_ids names nobody, which is not among",
        main_test,
        *arguments,
        "--plot",
        0,
        "--plot_ids",
        "nobody",
    )
    rows = read_jsonl(tmp_path / "predictions.jsonl")
    test = read_annotation(prepared / "annotation.json")["test"]
    assert [row["id"] for row in rows] == [study.id for study in test]
    training = set(FeatureStore.open(prepared / "features").row_ids("training"))
    assert all(row["retrieved"] in training and row["retrieval_distance"] >= 0 for row in rows)
    bank = {row["id"]: row["report"] for row in FeatureStore.open(prepared / "features").bank_reports}
    for row in rows:
        assert row["retrieved_report"] == bank[row["retrieved"]]
        assert len(row["states"]) == len(row["positive_probability"]) == len(row["labels_reference"]) == 18
        assert np.argmax(row["state_probability"], axis=0).tolist() == row["states"]
        assert [p[1] for p in zip(*row["state_probability"], strict=True)] == row["positive_probability"]
        assert set(row["scores"]) == {"BLEU_4", "ROUGE_L", "METEOR", "CIDEr", "ce_f1"}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    check_metrics(metrics, rows)
    check_grounding(metrics["grounding"], test)
    assert "| location prior (training masks) |" in shown
    drawing = ("--tested", tmp_path, "--out", tmp_path / "example.png")
    refused(capsys, "studies with a sign has maps on its signs", draw_example, *drawing)  # it has learnt nothing yet
    published = (tmp_path / "table.md").read_text()
    assert "published" not in published.split("\n\n")[0]  # nobody published figures of a drawn data set
    assert "No figures are published for synth_cxr" in published
    with (tmp_path / "per_class.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    rates = (TrainingBank(FeatureStore.open(prepared / "features")).labels[:, :14] == POSITIVE).mean(axis=0)
    assert [float(row["training_rate"]) for row in classes] == pytest.approx(rates.tolist())
    assert {row["condition"]: row["third"] for row in classes} == frequency_thirds(rates)
    assert "\\toprule" in (tmp_path / "table.tex").read_text()
    with (tmp_path / "gts.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == [row["reference"] for row in rows]
    call(main_score, "--predictions", tmp_path / "predictions.jsonl", "--save_dir", tmp_path / "again", "--no-meteor")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())["systems"][tmp_path.name]["scores"]
    for name in ("test_BLEU_4", "test_BLEU_4_full", "test_ROUGE_L", "test_CIDEr", "test_ce_f1_macro"):
        assert again[name] == pytest.approx(metrics["scores"][name], abs=1e-12), name


def check_grounding(grounding, studies):
    """The drawn masks judge the maps: every row over the same studies, chance where chance is."""
    rows = grounding["rows"]
    assert len(rows) == 6
    for values in rows.values():
        assert {sign: s["studies"] for sign, s in values["signs"].items()} == {
            sign: s["studies"] for sign, s in rows["chance"]["signs"].items()
        }
    drawn = sum(study.labels[CONDITIONS.index("cardiomegaly")] == POSITIVE for study in studies)
    assert rows["maps"]["signs"]["cardiomegaly"]["studies"] == drawn > 0
    assert rows["chance"]["auroc"] == 0.5
    assert rows["location prior (training masks)"]["hit_rate"] > rows["chance"]["hit_rate"]


def check_metrics(metrics, rows):
    """Every figure has a name and an interval, per-study scores average to those of the set, retrieval is judged."""
    scores, spans = metrics["scores"], metrics["intervals"]
    assert {"test_BLEU_4", "test_BLEU_4_full", "test_ce_f1", "test_ce_f1_macro_tail", "test_CIDEr"} <= set(scores)
    assert {"test_state_f1", "test_ce_recall_micro_5_uncertain_positive"} <= set(scores)
    for name, (low, high) in spans.items():
        assert low <= high
        assert metrics["names"][name] != name.removeprefix("test_"), f"{name} has no full name"
    for name in ("ROUGE_L", "CIDEr", "ce_f1"):
        mean = np.mean([row["scores"][name] for row in rows])
        assert scores[f"test_{name}"] == pytest.approx(mean, abs=1e-5)
    assert len(metrics["baselines"]) == len(metrics["comparison"]) == 4
    assert metrics["protocol"]["labeler"] == "rule"
    assert metrics["diversity"]["reports"] == len(rows)
    assert metrics["retrieval"]["oracle"]["mrr_label_nearest"] == 1
    agreement = {name: value["label_agreement_top1"] for name, value in metrics["retrieval"].items()}
    assert agreement["oracle"] == max(agreement.values())
    assert {row["third"] for row in metrics["per_class"].values()} == {"head", "medium", "tail"}


# resume


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(prepared, tmp_path):
    """With dropout, which draws on as if nothing had happened."""
    train(prepared, tmp_path / "whole", "--dropout", 0.2)
    whole = load_checkpoint(tmp_path / "whole" / "current_checkpoint.pth")["state_dict"]

    class Interrupt:
        """Presses Ctrl-C after the given step."""

        def __init__(self, trainer, step):
            self.trainer, self.left, self.step = trainer, step, trainer.train_step

        def __call__(self, batch):
            self.left -= 1
            if self.left == 0:
                self.trainer.stop.number = signal.SIGINT
            return self.step(batch)

    original = main_train.Trainer.fit

    def interrupted(trainer):
        trainer.train_step = Interrupt(trainer, 8)
        original(trainer)

    main_train.Trainer.fit = interrupted
    try:
        with pytest.raises(SystemExit) as end:
            train(prepared, tmp_path / "half", "--dropout", 0.2)
    finally:
        main_train.Trainer.fit = original
    assert end.value.code == 130
    half = load_checkpoint(tmp_path / "half" / "current_checkpoint.pth")["run"]
    assert (half["epoch"], half["step"]) == (2, 2)
    train(prepared, tmp_path / "half", "--dropout", 0.2, "--resume")
    resumed = load_checkpoint(tmp_path / "half" / "current_checkpoint.pth")["state_dict"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_finished_run_is_not_trained_again(prepared, trained, tmp_path, capsys):
    """And says again which weights it has kept."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    train(prepared, tmp_path, "--resume")
    assert re.search(r"^kept: epoch [12] of 2, val_ce_f1 [01]\.\d{3}", capsys.readouterr().out, re.MULTILINE)
    for name in ("metrics.csv", "current_checkpoint.pth", "model_best.pth"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def test_resuming_with_other_options_is_refused(prepared, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--resume", "--rank_weight", "0")
    assert "rank_weight 2.0 there, 0.0 here" in capsys.readouterr().err


def test_how_many_are_looked_at_at_once_may_change_on_resuming(prepared, trained, tmp_path):
    """Whoever runs out of memory in a validation goes on with fewer."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    train(prepared, tmp_path, "--resume", "--eval_batch_size", 2)
    assert read_json(tmp_path / "options.json")["options"]["eval_batch_size"] == 2


@pytest.mark.parametrize("step", [0, 3])
def test_a_run_of_more_epochs_than_are_asked_for_is_refused(prepared, trained, tmp_path, capsys, step):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "current_checkpoint.pth"
    if step:
        content = load_checkpoint(path)
        content["run"].update(epoch=2, step=step)
        torch.save(content, path)
    before = (tmp_path / "options.json").read_bytes()
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--resume", "--epochs", 1)
    assert "is of epoch 2 and --epochs asks for 1: give 2 or more" in capsys.readouterr().err
    assert (tmp_path / "options.json").read_bytes() == before


def test_a_checkpoint_of_another_size_is_refused(prepared, trained, tmp_path, capsys):
    for name in ("current_checkpoint.pth", "options.json"):
        shutil.copy(trained / name, tmp_path)
    with pytest.raises(SystemExit, match="2"):
        train(prepared, tmp_path, "--resume", "--d_model", "64")
    assert "attention_dim 32 there, 64 here" in capsys.readouterr().err


# no leak


@pytest.mark.slow
def test_inputs_and_reports_do_not_depend_on_the_own_report(prepared, trained, tmp_path):
    """Change report and labels of every test study: features, retrieval and generated text stay as they are."""
    generation = ["--gen_min_len", 25, "--gen_max_len", 12, "--no-meteor", "--no-viewer", "--resamples", 10]
    results = []
    for name in ("as_drawn", "changed"):
        folder = tmp_path / name
        copy_of(prepared, folder)
        if name == "changed":
            annotation = json.loads((folder / "annotation.json").read_text())
            for item in annotation["test"]:
                item["report"] = "Large right pneumothorax. Fractured ribs. A pacemaker is seen."
                item["labels"] = [(value + 1) % 4 for value in item["labels"]]
            (folder / "annotation.json").write_text(json.dumps(annotation))
            shutil.rmtree(folder / "features")
        prepare(folder)
        arguments = ["--load_pretrained", trained / "model_best.pth", "--save_dir", folder / "results"]
        call(main_test, *places(folder), *SMALL, *arguments, *generation)
        results.append(folder)
    stores = [FeatureStore.open(folder / "features") for folder in results]
    for name in ("region_scores", "region_text", "memory_indices", "report_features", "sentence_features"):
        assert np.array_equal(stores[0][name], stores[1][name]), name
    rows = [read_jsonl(folder / "results" / "predictions.jsonl") for folder in results]
    for mine, theirs in zip(*rows, strict=True):
        assert mine["reference"] != theirs["reference"]
        for field in ("prediction", "states", "positive_probability", "retrieved", "retrieval_distance"):
            assert mine[field] == theirs[field], field


def test_a_planted_leak_is_caught(prepared, tmp_path, monkeypatch):
    """Scores that look at the study's own report change with it, which is what the test above looks for."""
    original = stages.score_images

    def leaking(scorer, studies, *arguments):
        for rows, scores, text in original(scorer, studies, *arguments):
            lengths = np.array([len(studies[row].report) for row in rows], dtype=np.float32)
            yield rows, scores * (1 - 1e-3 * lengths[:, None] % 0.5), text

    monkeypatch.setattr(stages, "score_images", leaking)
    scores = []
    for name in ("as_drawn", "changed"):
        folder = copy_of(prepared, tmp_path / name)
        shutil.rmtree(folder / "features")
        if name == "changed":
            annotation = json.loads((folder / "annotation.json").read_text())
            for item in annotation["test"]:
                item["report"] = "Large right pneumothorax."
            (folder / "annotation.json").write_text(json.dumps(annotation))
        prepare(folder)
        store = FeatureStore.open(folder / "features")
        test = [study.id for study in read_annotation(folder / "annotation.json")["test"]]
        scores.append(store["region_scores"][store.rows("studies", test)])
    assert (scores[0] != scores[1]).any(axis=1).all()


# bad input


def test_everything_missing_is_listed_at_once(tmp_path, capsys):
    message = refused(
        capsys, "4 files or folders are missing", main_train, "--ann_path", tmp_path / "a.json", "--image_dir",
        tmp_path / "images", "--feature_dir", tmp_path / "features", "--bert_path", tmp_path / "bert",
    )  # fmt: skip
    for words in ("annotation file", "images", "prepare_mimic_cxr.sh RAW_DIR", "vocab.txt"):
        assert words in message


def test_an_unknown_flag_is_refused(capsys):
    refused(capsys, "there is no flag --colour", main_train, "--colour", "red")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda item: item.update(labels=[0] * 13), "13"),
        (lambda item: item.update(labels=[7] + [0] * 17), "7"),
        (lambda item: item.update(report="  "), "expected text under"),
        (lambda item: item.update(image_path=["train/nowhere.png"]), "nowhere.png"),
    ],
    ids=["13 labels", "label 7", "empty report", "missing image"],
)
def test_a_wrong_study_is_named(prepared, tmp_path, change, words, capsys):
    annotation = json.loads((prepared / "annotation.json").read_text())
    change(annotation["train"][3])
    path = tmp_path / "annotation.json"
    path.write_text(json.dumps(annotation))
    arguments = [*places(prepared), *SMALL, *SMALL_MODEL, "--ann_path", path, "--save_dir", tmp_path / "run"]
    refused(capsys, words, main_train, *arguments)


def test_a_duplicate_id_and_an_empty_split_are_named(prepared, tmp_path, capsys):
    annotation = json.loads((prepared / "annotation.json").read_text())
    path = tmp_path / "annotation.json"
    arguments = [*places(prepared), *SMALL, *SMALL_MODEL, "--ann_path", path, "--save_dir", tmp_path / "run"]
    path.write_text(json.dumps({**annotation, "val": []}))
    refused(capsys, "val", main_train, *arguments)
    annotation["train"][1]["id"] = annotation["train"][0]["id"]
    path.write_text(json.dumps(annotation))
    refused(capsys, annotation["train"][0]["id"], main_train, *arguments)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_truncated_image_is_named(prepared, tmp_path, workers, capsys):
    folder = tmp_path / "copy"
    copy_of(prepared, folder)
    image = folder / "images" / read_annotation(folder / "annotation.json")["train"][0].image_path[0]
    image.write_bytes(image.read_bytes()[:200])
    arguments = [*places(folder), *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run", "--num_workers", workers]
    message = refused(capsys, f"the image {image} cannot be decoded", main_train, *arguments)
    assert len(message.strip().splitlines()[-1]) < 400


def test_a_file_that_is_no_checkpoint_is_refused(prepared, trained, tmp_path, capsys):
    shutil.copy(trained / "tokenizer.json", tmp_path)
    path = tmp_path / "model.pth"
    arguments = [*places(prepared), *SMALL, "--load_pretrained", path]
    torch.save({"weight": torch.zeros(2)}, path)
    refused(capsys, "is no REVTAF: it holds 1 tensors (weight), like no layout known here", main_test, *arguments)
    path.write_bytes(b"not a weights file")
    refused(capsys, f"{path}", main_test, *arguments)
    torch.save({"code": Refused()}, path)
    refused(capsys, "pickled objects besides tensors, which are refused", main_test, *arguments)


class Refused:
    """Any class of ours: its pickle would need our code to load."""
