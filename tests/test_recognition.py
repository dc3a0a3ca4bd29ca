"""modules/preparation/published/recognition.py: published files lie where they were unpacked, under their own names."""

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
    assert how_to_prepare(data) == f"build them: {command}"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert how_to_prepare(data) == f"convert them: {command} --published {tmp_path}"


def test_the_command_makes_the_features_that_are_missing(tmp_path, monkeypatch, capsys):
    """Without its places it would train another scorer and fill IU X-Ray's own folder; with them nothing else is asked."""
    monkeypatch.chdir(tmp_path)
    named = "--feature_dir data/iu_xray/features_zero_shot --bank_dir data/mimic_cxr/features"
    message = refused(capsys, "prepared features", main_test, "--dataset_name", "iu_xray", *named.split())
    assert f"build them: python main_prepare.py --dataset_name iu_xray {named}\n" in message
    online = places("synth_cxr", features="online", image_dir="my films")
    words = "build them: python main_prepare.py --dataset_name synth_cxr --image_dir 'my films' --features online"
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
