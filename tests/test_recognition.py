"""modules/preparation/published/recognition.py: published files lie where they were unpacked, under their own names."""

import pytest

from modules.messages import UserError
from modules.preparation.published.recognition import find_annotation, how_to_prepare


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
    path = tmp_path / "annotation.json"
    assert how_to_prepare("mimic_cxr", path) == "build them: python main_prepare.py --dataset_name mimic_cxr"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert (
        how_to_prepare("mimic_cxr", path)
        == f"convert them: python main_prepare.py --dataset_name mimic_cxr --published {tmp_path}"
    )
