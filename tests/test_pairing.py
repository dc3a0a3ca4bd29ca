"""modules/corpus/pairing.py: folders that do not belong together are refused, whichever two are mixed, by every program."""

import json
import shutil

import numpy as np
import pytest
import torch
from programs import SMALL, SMALL_IMAGE, SMALL_MODEL, call, copy_of, places, refused

import main_predict
import main_prepare
import main_test
import main_train
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_feature
from modules.records import read_json, sha256_of, write_json

SMALL_SCORER = ["--scorer_epochs", 1, "--scorer_width", 16, "--scorer_layers", 1, "--text_width", 16]


def rewrite(folder, name, change=lambda array: array, **made_by):
    """An array as another build would have made it."""
    entry = FeatureStore.open(folder).entry(name)
    array = change(np.array(FeatureStore.open(folder)[name]))
    write_feature(folder, name, array, axis=entry["axis"], made_by={**entry["made_by"], **made_by})


@pytest.fixture(scope="module")
def other(prepared, tmp_path_factory):
    """A second data set: half of the first one's studies, all to be tested, flat; without features."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "images").symlink_to((prepared / "images").resolve())
    content = read_json(prepared / "annotation.json")
    items = [{**item, "split": "test"} for item in content["train"][:20]]
    write_json(folder / "annotation.json", items)
    return folder


def prepare(folder, *flags):
    argv = ["--ann_path", folder / "annotation.json", "--image_dir", folder / "images", "--dataset_name", "iu_xray"]
    scorer = [*SMALL_IMAGE, *SMALL_SCORER]
    own = [] if "--bank_dir" in flags else scorer  # that of the bank reads the images
    call(main_prepare, *argv, *SMALL, "--clip_k", 5, *own, *flags)


@pytest.fixture(scope="module")
def zero_shot(other, prepared):
    """Its features for the bank of the first data set."""
    prepare(other, "--feature_dir", other / "features_zero_shot", "--bank_dir", prepared / "features")
    return other / "features_zero_shot"


@pytest.fixture(scope="module")
def own(other, tmp_path_factory):
    """The same studies as a data set of its own, with its own scorer and bank."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "images").symlink_to((other / "images").resolve())
    items = read_json(other / "annotation.json")
    splits = {"train": items[:12], "val": items[12:16], "test": items[16:]}
    write_json(folder / "annotation.json", {s: [{**i, "split": s} for i in part] for s, part in splits.items()})
    prepare(folder, "--feature_dir", folder / "features", "--seed", 3)
    return folder


def test_argv(folder, features, bank, model, save_dir):
    return [
        "--dataset_name", "iu_xray", "--ann_path", folder / "annotation.json", "--image_dir", folder / "images",
        "--feature_dir", features, "--bank_dir", bank, "--load_pretrained", model, *SMALL, "--gen_min_len", 25, "--gen_max_len", 8,
        "--beam_size", 1, "--no-meteor", "--resamples", 10, "--save_dir", save_dir, "--no-viewer",
    ]  # fmt: skip


test_argv.__test__ = False


@pytest.fixture(scope="module")
def copied(prepared, tmp_path_factory):
    """The features of the first data set, of which each test spoils a copy."""

    def copy():
        return copy_of(prepared / "features", tmp_path_factory.mktemp("copy") / "features")

    return copy


def test_the_pairing_that_was_prepared_is_taken(other, zero_shot, prepared, trained, tmp_path):
    argv = test_argv(other, zero_shot, prepared / "features", trained / "model_best.pth", tmp_path)
    call(main_test, *argv, "--split", "all", "--baselines")
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["studies"] == 20
    assert "all_BLEU_4" in metrics["scores"]
    assert set(metrics["baselines"]) == {
        "most frequent training report", "nearest training image (entities)", "nearest by predicted states",
    }  # fmt: skip


def test_a_bank_of_its_own_beside_somebody_elses(own, prepared, trained, tmp_path, capsys):
    """The features of a data set with a bank of its own are tested with the bank of the model."""
    argv = test_argv(own, own / "features", prepared / "features", trained / "model_best.pth", tmp_path)
    message = refused(capsys, "their scores do not compare", main_test, *argv)
    assert str(own / "features") in message
    assert str(prepared / "features") in message
    assert not (tmp_path / "predictions.jsonl").exists()


def test_the_bank_is_left_out(own, zero_shot, other, trained, tmp_path, capsys):
    argv = test_argv(own, own / "features", own / "features", trained / "model_best.pth", tmp_path)
    refused(capsys, "was trained on scores of scorer", main_test, *argv)
    argv = test_argv(other, zero_shot, zero_shot, trained / "model_best.pth", tmp_path)
    refused(capsys, "(zero-shot) and holds none: give", main_test, *argv)


def test_a_model_is_tested_with_another_data_sets_bank(own, prepared, other, zero_shot, trained, tmp_path, capsys):
    model = tmp_path / "model_best.pth"
    content = torch.load(trained / "model_best.pth", weights_only=True)
    entry = FeatureStore.open(own / "features").entry("report_features")
    content["run"]["trained_on"]["report_features"] = {name: entry[name] for name in ("sha256", "made_by")}
    torch.save(content, model)
    shutil.copy(trained / "tokenizer.json", tmp_path)
    argv = test_argv(other, zero_shot, prepared / "features", model, tmp_path / "results")
    refused(capsys, "was trained with other text features", main_test, *argv)


def test_the_bank_was_built_again_since(other, zero_shot, copied, trained, tmp_path, capsys):
    bank = copied()
    rewrite(bank, "report_features", lambda array: array[::-1], seed=7)
    argv = test_argv(other, zero_shot, bank, trained / "model_best.pth", tmp_path)
    refused(capsys, "numbers the reports of another bank", main_test, *argv)
    bank = copied()
    rewrite(bank, "region_scores", scorer="0" * 64)
    argv = test_argv(other, zero_shot, bank, trained / "model_best.pth", tmp_path)
    refused(capsys, "by scorer 000000000000", main_test, *argv)


def test_the_scorer_beside_the_bank_is_another(prepared, copied, trained, own, tmp_path, capsys):
    bank = copied()
    shutil.copy(own / "features" / "entity_scorer.pth", bank)
    argv = test_argv(prepared, bank, bank, trained / "model_best.pth", tmp_path)
    refused(capsys, "is another scorer than the one", main_test, *argv, "--features", "online")
    options = read_json(trained / "options.json")
    for name in ("model_best.pth", "tokenizer.json"):
        shutil.copy(trained / name, tmp_path)
    options["options"]["bank_dir"] = str(bank)
    (tmp_path / "options.json").write_text(json.dumps(options))
    image = next((prepared / "images").rglob("*.png"))
    argv = ["--images", image, "--model", tmp_path, "--out", tmp_path / "out"]
    refused(capsys, "is another scorer than the one", main_predict, *argv)
    shutil.copy(prepared / "features" / "entity_scorer.pth", bank)
    rewrite(bank, "report_features", lambda array: array[:, ::-1], seed=7)
    rewrite(bank, "memory_indices", bank=sha256_of(bank / "report_features.npy"))
    message = refused(capsys, "was trained with other text features", main_predict, *argv)
    assert "train the model again" in message
    assert "--bank_dir" not in message  # main_predict.py has no such flag


def test_as_many_words_of_another_vocabulary_are_refused(prepared, trained, tmp_path, capsys):
    model = shutil.copytree(trained, tmp_path / "model")
    content = read_json(model / "tokenizer.json")
    words = content["model"]["vocab"]
    one, other = [word for word in words if not word.startswith("[")][:2]
    words[one], words[other] = words[other], words[one]
    (model / "tokenizer.json").write_text(json.dumps(content))
    argv = test_argv(
        prepared, prepared / "features", prepared / "features", model / "model_best.pth", tmp_path / "results"
    )
    refused(capsys, "and some of them are others: copy both files of one run", main_test, *argv)
    argv = test_argv(prepared, prepared / "features", prepared / "features", model, tmp_path / "results")
    refused(capsys, f"is a folder: give the model in it, such as {model / 'model_best.pth'}", main_test, *argv)
    image = next((prepared / "images").rglob("*.png"))
    refused(
        capsys, "some of them are others", main_predict, "--images", image, "--model", model, "--out", tmp_path / "out"
    )
    start = [*places(prepared), *SMALL, "--init_from", model / "model_best.pth", "--save_dir", tmp_path / "run"]
    refused(capsys, "some of them are others", main_train, *start)


def test_training_wants_the_bank_of_its_own_data(other, own, zero_shot, prepared, tmp_path, capsys):
    def argv(folder, features):
        return [
            "--dataset_name", "synth_cxr", "--ann_path", folder / "annotation.json", "--image_dir", folder / "images",
            "--feature_dir", features, *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run",
        ]  # fmt: skip

    train = [*argv(own, own / "features"), "--bank_dir", prepared / "features"]
    refused(capsys, "leave it out", main_train, *train)
    mixed = own / "mixed"
    shutil.copytree(zero_shot, mixed)
    refused(capsys, "(zero-shot) and holds none of its own", main_train, *argv(own, mixed))


@pytest.mark.parametrize("name", ["region_scores", "label_neighbours", "memory_indices", "region_text"])
def test_one_file_of_another_build_is_refused(name, prepared, copied, trained, tmp_path, capsys):
    """Its shape is the same, so that every study would get another's row, with exit status 0."""
    features = copied()
    np.save(features / f"{name}.npy", np.load(features / f"{name}.npy")[::-1])
    argv = test_argv(prepared, features, features, trained / "model_best.pth", tmp_path / "results")
    refused(capsys, f"{name}.npy in {features} has changed since it was written", main_test, *argv)
    train = [*places(prepared), "--feature_dir", features, *SMALL, *SMALL_MODEL, "--save_dir", tmp_path / "run"]
    refused(capsys, f"{name}.npy in {features} has changed since", main_train, *train, "--no-check")


def test_preparation_reads_images_with_the_scorer_of_the_bank(other, prepared, tmp_path, capsys):
    argv = ["--ann_path", other / "annotation.json", "--image_dir", other / "images", "--dataset_name", "iu_xray"]
    for name in ("medklip.pth", "descriptions.json", "vocab.txt", "config.json"):
        (tmp_path / name).touch()
    medklip = [
        "--entity_scorer", "medklip", "--medklip_checkpoint", tmp_path / "medklip.pth", "--entity_descriptions",
        tmp_path / "descriptions.json", "--bert_path", tmp_path,
    ]  # fmt: skip
    where = ["--feature_dir", tmp_path / "features", "--bank_dir", prepared / "features"]
    refused(capsys, "were read with --entity_scorer own", main_prepare, *argv, *where, *medklip, *SMALL)


def test_features_with_a_bank_of_their_own_are_not_replaced_by_those_for_another(own, prepared, tmp_path, capsys):
    """The scorer of the one would have read the images of the other, and its hours be lost."""
    before = {path.name: path.read_bytes() for path in (own / "features").iterdir() if path.is_file()}
    argv = ["--ann_path", own / "annotation.json", "--image_dir", own / "images", "--dataset_name", "iu_xray", *SMALL]
    where = ["--feature_dir", own / "features", "--bank_dir", prepared / "features"]
    refused(capsys, "holds a bank of its own", main_prepare, *argv, *where)
    assert {path.name: path.read_bytes() for path in (own / "features").iterdir() if path.is_file()} == before


def test_an_annotation_of_other_studies_is_refused(zero_shot, prepared, trained, tmp_path, capsys):
    argv = test_argv(prepared, zero_shot, prepared / "features", trained / "model_best.pth", tmp_path)
    refused(capsys, f"studies have no features in {zero_shot}", main_test, *argv)


def test_places_of_the_first_data_set_still_work(prepared, trained, tmp_path):
    argv = ["--load_pretrained", trained / "model_best.pth", "--save_dir", tmp_path, "--no-meteor", "--no-viewer"]
    call(main_test, *places(prepared), *SMALL, "--gen_min_len", 25, "--gen_max_len", 8, "--resamples", 10, *argv)
