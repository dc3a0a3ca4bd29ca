"""modules/preparation/published/recognition.py: published files lie where they were unpacked, under their own names."""

from pathlib import Path

import pytest
from programs import call, refused

import main_prepare
import main_test
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.preparation.published.recognition import find_annotation, how_to_prepare, refuse_to_build


def test_the_published_annotation_is_found_when_there_is_no_other(tmp_path):
    path = tmp_path / "annotation.json"
    assert find_annotation(path) == str(path)
    published = tmp_path / "mimic_annotation_promptmrg.json"
    published.write_text("{}")
    assert find_annotation(path) == str(published)
    (tmp_path / "iu_annotation_promptmrg.json").write_text("{}")
    with pytest.raises(UserError, match="2 published annotations do"):
        find_annotation(path)
    path.write_text("{}")
    assert find_annotation(path) == str(path)


def test_nothing_is_drawn_for_published_files_of_an_annotation_that_is_not_there(tmp_path, capsys):
    """Three thousand drawings went into the folder of a mistyped path."""
    (tmp_path / "published").mkdir()
    flags = ["--ann_path", tmp_path / "wrong" / "annotation.json", "--published", tmp_path / "published"]
    words = f"and {tmp_path / 'wrong' / 'annotation.json'} does not exist: correct --ann_path"
    refused(capsys, words, main_prepare, "--dataset_name", "synth_cxr", *flags, "--device", "cpu")
    assert not (tmp_path / "wrong").exists()


def places(dataset_name, **others):
    """As a command line gives them that names no others."""
    usual = {f"{name}_dir": f"data/{dataset_name}/{name}s" for name in ("image", "feature")}
    ann_path = f"data/{dataset_name}/annotation.json"
    return DataOptions(**{"dataset_name": dataset_name, "ann_path": ann_path, **usual, **others})


@pytest.mark.parametrize(
    "name",
    [
        "hash_distance.json",
        "image_region_score_test.json",
        "region_txt_embeddings.tar.gz",
        "region_txt_embeddings/a.npy",
    ],
)
def test_published_files_are_converted_rather_than_built(tmp_path, name):
    data = places("mimic_cxr", ann_path=str(tmp_path / "annotation.json"))
    command = f"python main_prepare.py --dataset_name mimic_cxr --ann_path {data.ann_path}"
    assert how_to_prepare(data) == f"from raw files: bash prepare_mimic_cxr.sh RAW_DIR --ann_path {data.ann_path}"
    Path(data.ann_path).touch()
    assert how_to_prepare(data) == f"build them: {command}"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert how_to_prepare(data) == f"convert them: {command} --published {tmp_path}"


def test_the_command_makes_the_features_that_are_missing(tmp_path, monkeypatch, capsys):
    """Without its places it would train another scorer and fill IU X-Ray's own folder; with them nothing else is asked."""
    monkeypatch.chdir(tmp_path)
    named = "--feature_dir data/iu_xray/features_zero_shot --bank_dir data/mimic_cxr/features"
    message = refused(capsys, "prepared features", main_test, "--dataset_name", "iu_xray", *named.split())
    assert "from raw files: bash prepare_iu_xray.sh RAW_DIR --zero_shot\n" in message
    assert "bash prepare_iu_xray.sh RAW_DIR --zero_shot, or see data/README.md" in message  # the annotation
    assert "bash prepare_mimic_cxr.sh RAW_DIR, or give --bank_dir" in message
    Path("data/iu_xray").mkdir(parents=True)
    Path("data/iu_xray/annotation.json").touch()
    message = refused(capsys, "prepared features", main_test, "--dataset_name", "iu_xray", *named.split())
    assert f"build them: python main_prepare.py --dataset_name iu_xray {named}\n" in message
    Path("data/iu_xray/raw.json").touch()  # the annotation is the own split, made from raw files
    message = refused(capsys, "prepared features", main_test, "--dataset_name", "iu_xray", *named.split())
    assert "from raw files: bash prepare_iu_xray.sh RAW_DIR --zero_shot\n" in message
    (Path("data/iu_xray") / "region_txt_embeddings").mkdir()  # as published: no scores
    zero_shot = places("iu_xray", feature_dir=named.split()[1], bank_dir=named.split()[3])
    with pytest.raises(UserError, match=f"{named} --entity_scorer medklip; or build"):
        refuse_to_build(zero_shot)
    Path(named.split()[3]).mkdir(parents=True)
    (Path(named.split()[3]) / "entity_scorer.pth").touch()  # which reads the images for a bank of ours
    refuse_to_build(zero_shot)
    online = places("synth_cxr", features="online", image_dir="my films")
    words = "from raw files: python main_prepare.py --dataset_name synth_cxr --image_dir 'my films' --features online"
    assert how_to_prepare(online) == words


def test_nothing_is_built_for_days_beside_what_can_be_converted(tmp_path, prepared, capsys, monkeypatch):
    annotation, features = tmp_path / "annotation.json", tmp_path / "features"
    annotation.write_text((prepared / "annotation.json").read_text())
    argv = [
        "--dataset_name", "custom", "--ann_path", annotation, "--image_dir", prepared / "images", "--feature_dir", features,
    ]  # fmt: skip
    (tmp_path / "hash_distance.json").write_text("[[1]]")
    message = refused(capsys, "holds published files: convert them: python main_prepare.py", main_prepare, *argv)
    assert f"--published {tmp_path}" in message
    assert not features.exists()
    monkeypatch.setattr(main_prepare, "Preparation", begins)
    with pytest.raises(AssertionError, match="begins to build"):
        call(main_prepare, *argv, "--published", "none")
    features.mkdir()
    (features / "manifest.json").write_text("{}")
    refuse_to_build(DataOptions(dataset_name="custom", ann_path=str(annotation), feature_dir=str(features)))


def begins(*_):
    raise AssertionError("begins to build")


def test_published_files_in_the_place_of_raw_ones_are_named(tmp_path, capsys):
    """Their owner was sent to PhysioNet for the tables and reports that they were made from."""
    (tmp_path / "hash_distance.json").touch()
    (tmp_path / "images").mkdir()
    argv = ["--dataset_name", "mimic_cxr", "--raw_dir", tmp_path, "--ann_path", tmp_path / "out/annotation.json"]
    assert "mimic-cxr-reports.zip" in refused(capsys, "missing", main_prepare, *argv)
    (tmp_path / "mimic_annotation_promptmrg.json").write_text("{}")
    message = refused(
        capsys, "holds published files, no raw ones: convert them: python main_prepare.py", main_prepare, *argv
    )
    assert f"--image_dir {tmp_path}/images" in message
    assert message.endswith(f" --published {tmp_path}\n")


def test_a_training_that_was_interrupted_is_told_from_none(tmp_path, capsys):
    argv = ["--dataset_name", "mimic_cxr", "--save_dir", tmp_path]
    assert "train one with train_*.sh or main_train.py" in refused(capsys, "trained model", main_test, *argv)
    (tmp_path / "current_checkpoint.pth").touch()
    message = refused(capsys, "trained model", main_test, *argv)
    assert "interrupted before its first validation: continue it with --resume, or test it as it is" in message
    assert f"--load_pretrained {tmp_path}/current_checkpoint.pth" in message
