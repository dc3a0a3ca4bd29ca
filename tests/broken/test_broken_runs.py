"""What a run wrote about itself, replaced by other JSON: one sentence by every program that reads it."""

import shutil

import pytest
from programs import SMALL, SMALL_MODEL, places, refused

import main_predict
import main_test
import main_train

CONTENTS = {
    "list": "[]",
    "object": "{}",
    "null": "null",
    "number": "3",
    "list inside": '{"options": [], "sha256": 1}',
    "cut": '{"options"',
}


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.parametrize("name", CONTENTS)
def test_options_that_are_none_are_refused(name, run, prepared, tmp_path, capsys):
    (run / "options.json").write_text(CONTENTS[name])
    film = next(iter(sorted((prepared / "images/test").iterdir())))
    refused(
        capsys, str(run / "options.json"), main_predict, "--images", film, "--model", run, "--out", tmp_path / "out"
    )
    resume = [*places(prepared), *SMALL, *SMALL_MODEL, "--save_dir", run, "--epochs", 2, "--resume"]
    refused(capsys, str(run / "options.json"), main_train, *resume)


@pytest.mark.parametrize("name", CONTENTS)
def test_results_of_nobody_knows_what_are_not_written_over(name, run, prepared, capsys):
    (run / "results_of.json").write_text(CONTENTS[name])
    words = [*places(prepared), *SMALL, "--gen_min_len", 25, "--gen_max_len", 8, "--save_dir", run]
    refused(capsys, str(run), main_test, *words)
