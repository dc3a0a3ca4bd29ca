"""--features online: entity embeddings read off the image in the step train the same model as stored ones."""

import csv
import gc
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from programs import SMALL, call, copy_of, places, prepare, refused, train

import main_prepare
import main_test
from modules.corpus.annotations import read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.dataloaders import evaluation_loader
from modules.corpus.datasets import ReportDataset, collate
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.preparation.features.entities import find_scorer
from modules.records import read_jsonl


@pytest.fixture(scope="module")
def without_text(prepared, tmp_path_factory):
    """The prepared data set without stored embeddings."""
    folder = tmp_path_factory.mktemp("online") / "synth"
    copy_of(prepared, folder)
    shutil.rmtree(folder / "features")
    (folder / "features").mkdir()
    shutil.copy(prepared / "features" / "entity_scorer.pth", folder / "features")
    prepare(folder, "--features", "online")
    return folder


def test_nothing_is_stored(prepared, without_text):
    stored, online = (FeatureStore.open(folder / "features") for folder in (prepared, without_text))
    assert "region_text" not in online
    assert not (without_text / "features" / "region_text.npy").exists()
    for name in ("region_scores", "memory_indices", "label_neighbours"):
        np.testing.assert_array_equal(stored[name], online[name])


def rows_of(run):
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_loading_process_keeps_the_collector_from_what_it_inherits(prepared):
    store = FeatureStore.open(prepared / "features")
    studies = read_annotation(prepared / "annotation.json")["train"][:4]
    tokenizer = ReportTokenizer.from_reports(["a"], 1)
    images, bank = prepared / "images", TrainingBank(store)
    dataset = Inherited(studies, images, store, bank, tokenizer, image_size=32, max_report_tokens=9)
    assert gc.get_freeze_count() == 0
    (batch,) = evaluation_loader(dataset, 4, 1)
    assert min(batch.index) > 10_000


class Inherited(ReportDataset):
    """Gives the number of frozen objects as the index of a study."""

    def __getitem__(self, index):
        return replace(super().__getitem__(index), index=gc.get_freeze_count())


def test_both_train_the_same(trained, without_text, tmp_path):
    """Two epochs with augmentation: the scorer sees the plain image, the model the cropped and turned one."""
    train(without_text, tmp_path, "--features", "online")
    for stored, online in zip(rows_of(trained), rows_of(tmp_path), strict=True):
        for name in ("loss", "loss_report", "loss_diagnosis", "loss_alignment", "loss_ranking", "val_ce_f1"):
            assert float(online[name]) == pytest.approx(float(stored[name]), abs=1e-4), name


def test_a_profile_reads_them_off_the_images_too(without_text, tmp_path):
    train(without_text, tmp_path, "--features", "online", "--profile", 1)
    assert "| eval | 1 |" in (tmp_path / "profile.md").read_text()


@pytest.mark.slow
def test_both_write_the_same_reports(prepared, trained, without_text, tmp_path):
    arguments = [*SMALL, "--load_pretrained", trained / "model_best.pth", "--gen_min_len", 25, "--gen_max_len", 12]
    arguments += ["--no-meteor", "--resamples", 10]
    call(main_test, *places(prepared), *arguments, "--save_dir", tmp_path / "stored", "--plot", 1)
    call(
        main_test,
        *places(without_text),
        *arguments,
        "--save_dir",
        tmp_path / "online",
        "--plot",
        1,
        "--features",
        "online",
    )
    stored, online = (read_jsonl(tmp_path / name / "predictions.jsonl") for name in ("stored", "online"))
    assert [row["prediction"] for row in stored] == [row["prediction"] for row in online]


def test_a_batch_reads_the_plain_image(prepared, trained):
    """Augmented or not, the embeddings are those of the stored array."""
    store = FeatureStore.open(prepared / "features")
    studies = read_annotation(prepared / "annotation.json")["train"][:3]
    scorer = find_scorer("online", prepared / "features", torch.device("cpu"))
    tokenizer = ReportTokenizer.load(trained / "tokenizer.json")
    dataset = ReportDataset(
        studies,
        prepared / "images",
        store,
        TrainingBank(store),
        tokenizer,
        image_size=64,
        max_report_tokens=40,
        scorer=scorer,
    )
    dataset.augmentation = (1, 2)
    batch = dataset.to_device(collate([dataset[i] for i in range(3)], tokenizer.pad_id), torch.device("cpu"))
    rows = store.rows("studies", [study.id for study in studies])
    np.testing.assert_allclose(batch.study.region_text, store["region_text"][rows].astype(np.float32), atol=2e-3)
    text = batch.study.region_text
    assert torch.equal(text, text.half().float()), "rounded as when stored"
    assert not text.requires_grad
    assert dataset.__getstate__()["scorer"] is None


def test_a_missing_scorer_and_published_files_are_refused(prepared, tmp_path, capsys):
    folder = copy_of(prepared, tmp_path / "copy")
    (folder / "features" / "entity_scorer.pth").unlink()
    with pytest.raises(SystemExit, match="2"):
        train(folder, tmp_path / "run", "--features", "online")
    assert "entity_scorer.pth" in capsys.readouterr().err
    arguments = [
        *places(prepared),
        "--readers",
        100,
        "--num_studies",
        60,
        "--synth_image_size",
        80,
        "--features",
        "online",
    ]
    refused(capsys, "use --features stored", main_prepare, *arguments, "--published", tmp_path)
