"""modules/feature_folder.py and modules/corpus/kept_features.py: features that are read, or were trained on, are not replaced."""

import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from programs import SMALL, SMALL_MODEL, call, copy_of, places, prepare, refused, train

import main_predict
import main_test
import main_train
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.kept_features import KeptFeatures
from modules.corpus.store import FeatureStore
from modules.feature_folder import TRAININGS, move_features_aside, remember_training, trainings_of
from modules.folder_locks import LOCK
from modules.messages import UserError
from modules.records import read_json, write_json
from modules.run_folder import move_aside

ROOT = Path(__file__).parents[1]
QUIET = ["--gen_min_len", 25, "--gen_max_len", 8, "--beam_size", 1, "--no-meteor", "--no-viewer", "--resamples", 10]
HOLD = "import sys, modules.feature_folder as f\nwith f.{how}(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
SLOWLY = """
import sys, time, modules.feature_folder as f
write = f.write_json
f.write_json = lambda *given: (time.sleep(2), write(*given))
f.remember_training(*sys.argv[1:])
"""


@contextmanager
def another(how, folder):
    """Another program that reads the features of a folder, or is making them."""
    command = [sys.executable, "-c", HOLD.format(how=how), str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "held\n"
        yield program.pid
        program.communicate()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != LOCK}


@pytest.fixture
def copied(prepared, trained, tmp_path):
    """A data set and the run that was trained on it, with nobody else."""
    data, run = copy_of(prepared, tmp_path / "data"), shutil.copytree(trained, tmp_path / "run")
    options = read_json(run / "options.json")
    names = {"ann_path": "annotation.json", "image_dir": "images", "feature_dir": "features", "bank_dir": "features"}
    options["options"].update({name: str(data / place) for name, place in names.items()})
    write_json(run / "options.json", options)
    for beside in (data / "features").glob(".*"):  # what programs that read the first folder write beside it
        beside.unlink()
    remember_training(data / "features", run)
    return data, run


def test_a_training_is_remembered_beside_its_features_until_its_folder_is_gone(prepared, trained, copied):
    assert str(trained) in trainings_of(prepared / "features")
    data, run = copied
    assert trainings_of(data / "features") == [str(run)]
    copy = shutil.copytree(data, data.with_name("copy"))
    assert trainings_of(copy / "features") == []
    data = data.rename(data.with_name("elsewhere"))
    assert trainings_of(data / "features") == [str(run)]
    moved = move_aside(run, [path.name for path in run.iterdir()]).split()[-1]
    assert trainings_of(data / "features") == [moved]
    shutil.rmtree(moved)
    assert trainings_of(data / "features") == []


def test_trainings_that_begin_together_are_all_remembered(tmp_path):
    command = [sys.executable, "-c", SLOWLY, str(tmp_path)]
    started = [subprocess.Popen([*command, str(tmp_path / name)], cwd=ROOT) for name in ("one", "two")]
    assert [program.wait(timeout=60) for program in started] == [0, 0]
    assert read_json(tmp_path / TRAININGS).keys() == {"one", "two"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--text_width", 24], "width of report_features 16 there, 24 here"),
        (["--scorer_epochs", 2], "epochs of region_scores 1 there, 2 here"),
        (["--clip_k", 6], "r of memory_indices 5 there, 6 here"),
    ],
    ids=["texts", "scorer", "memory"],
)
def test_other_flags_do_not_replace_features_that_a_model_was_trained_on(copied, capsys, flags, words):
    """They did, with a warning that scrolled by, and the model could not be used any more."""
    data, run = copied
    before = contents(data / "features")
    prepare(data)  # the same again
    with pytest.raises(SystemExit, match="2"):
        prepare(data, *flags)
    said = capsys.readouterr().err
    assert words in said
    rename = f"rename {data / 'features'} to {data / 'features.1'}, where its models find it"
    assert f"{run} was trained on them: give another --feature_dir, or {rename}" in said
    assert contents(data / "features") == before
    shutil.rmtree(run)
    prepare(data, *flags)


def test_another_annotation_does_not_replace_them(copied, capsys):
    data, _ = copied
    studies = read_json(data / "annotation.json")
    studies["test"][0]["report"] = "Clear lungs."
    write_json(data / "own.json", studies)
    before = contents(data / "features")
    with pytest.raises(SystemExit, match="2"):
        prepare(data, "--dataset_name", "custom", "--ann_path", data / "own.json")
    assert "annotation of labels is another" in capsys.readouterr().err
    assert contents(data / "features") == before


def test_features_that_a_program_reads_are_left_alone_and_those_that_are_made_not_read(copied, capsys):
    """A training ended well, and its own test refused the features that had been made anew under it."""
    data, run = copied
    shutil.rmtree(run)
    features, before = data / "features", contents(data / "features")
    with another("reading", features) as pid:
        prepare(data)  # there is nothing to do
        with pytest.raises(SystemExit, match="2"):
            prepare(data, "--text_width", 24)
        assert f"{features} is in use by process {pid}" in capsys.readouterr().err
        train(data, run)  # several may read
    assert contents(features).keys() == {*before, TRAININGS}
    with another("writing", features) as pid:
        words = f"{features} is in use by process {pid}"
        refused(capsys, words, main_train, *places(data), *SMALL, *SMALL_MODEL, "--save_dir", data / "other")
        refused(capsys, words, main_test, *places(data), *SMALL, *QUIET, "--save_dir", run)
    assert not (features / LOCK).exists()


@pytest.mark.parametrize("name", ["films/a.png", "a.png", "studies.csv"])
def test_films_and_tables_beside_features_are_not_moved_aside_with_them(name, copied):
    """All of one's folder was moved, and the preparation then looked for it where it had been."""
    data, _ = copied
    own = data / "features" / name
    own.parent.mkdir(exist_ok=True)
    own.write_bytes(b"one's own")
    before = contents(data / "features")
    with pytest.raises(
        UserError, match=rf"holds '?{name.split('/')[0]}'?, which is no feature and would be moved aside"
    ):
        move_features_aside(data / "features")
    assert contents(data / "features") == before


def test_what_a_kill_left_of_the_register_is_removed(copied):
    data, run = copied
    left = data / "features" / f".{TRAININGS}.123.tmp"
    left.write_text("{")
    remember_training(data / "features", run)
    assert not left.exists()


def test_a_model_finds_the_features_that_were_moved_aside(copied, tmp_path, capsys):
    data, run = copied
    print(move_features_aside(data / "features"))
    prepare(data, "--scorer_epochs", 2, "--text_width", 24)
    film = next((data / "images").rglob("*.png"))
    call(main_predict, "--images", film, "--model", run, "--out", tmp_path / "out", "--device", "cpu")
    (data / "annotation.json").rename(data / "annotation.1.json")
    studies = read_json(data / "annotation.1.json")
    write_json(data / "annotation.json", {**studies, "test": studies["test"][1:]})
    testing = [*SMALL, *QUIET, "--save_dir", run]
    message = refused(capsys, "give what it was trained on, ", main_test, *places(data), *testing)
    flags = shlex.split(message.split("give what it was trained on, ")[1])
    kept = [
        "--ann_path",
        data / "annotation.1.json",
        "--image_dir",
        data / "images",
        "--feature_dir",
        data / "features.1",
    ]
    assert flags == list(map(str, kept))
    call(main_test, "--dataset_name", "synth_cxr", *flags, *testing)
    shutil.rmtree(data / "features.1")
    refused(capsys, "have been made anew since or are gone", main_test, *places(data), *testing)


def rows_of_others(data):
    """Rows of ``label_neighbours`` and ``memory_indices`` that belong to the study's own patient, and what they were made by."""
    store = FeatureStore.open(data / "features")
    bank = TrainingBank(store)
    studies = read_json(data / "annotation.json")["train"]
    patient = {row: study["patient"] for row, study in enumerate(studies) if study["id"] == bank.ids[row]}
    own = 0
    for name, rows in (("label_neighbours", range(len(bank))), ("memory_indices", store.rows("studies", bank.ids))):
        found = np.asarray(store[name])[rows]
        own += sum(
            patient[int(other)] == patient[row] for row, line in enumerate(found) for other in line if other >= 0
        )
    return own, [store.entry(name)["made_by"].get("patients") for name in ("label_neighbours", "memory_indices")]


def name_patients(data):
    """Give each training study the patient of the one that it was given as its nearest."""
    nearest = np.asarray(FeatureStore.open(data / "features")["label_neighbours"])[:, 0]
    content = read_json(data / "annotation.json")
    for study in content["train"]:
        study["patient"] = study["id"]
    for row in range(0, len(nearest), 9):
        content["train"][nearest[row]]["patient"] = content["train"][row]["patient"]
    write_json(data / "annotation.json", content)


def test_references_are_chosen_anew_where_patients_were_named_since(prepared, tmp_path):
    """They were kept, since neither labels nor scores had changed, and held reports of the own patient."""
    data = copy_of(prepared, tmp_path / "data")
    for beside in (data / "features").glob(".*"):
        beside.unlink()
    name_patients(data)
    assert rows_of_others(data)[0] > 0
    prepare(data, "--dataset_name", "custom")
    own, made_by = rows_of_others(data)
    assert own == 0
    assert len(set(made_by)) == 1
    assert made_by[0]
    before = contents(data / "features")
    prepare(data, "--dataset_name", "custom")
    assert contents(data / "features") == before


def test_features_of_an_earlier_version_stay_if_their_patients_are_the_same(copied):
    """It did not write down by which patients it chose them."""
    data, _ = copied
    manifest = read_json(data / "features" / "manifest.json")
    for name in ("label_neighbours", "memory_indices"):
        del manifest["arrays"][name]["made_by"]["patients"]
    write_json(data / "features" / "manifest.json", manifest)
    before = contents(data / "features")
    prepare(data)
    assert contents(data / "features") == before


def test_other_patients_do_not_replace_features_that_a_model_was_trained_on(copied, capsys):
    data, _ = copied
    kept = KeptFeatures(data / "features", ExitStack(), False)
    studies = [Study(id=name, image_path=("x.png",), report="", split="train", patient="p") for name in ("a", "b")]
    made_by = kept.by_patients("label_neighbours", studies)
    assert [*made_by] == ["patients"]
    with pytest.raises(UserError, match="patients of label_neighbours are others"):
        kept.current(made_by, "label_neighbours")
    assert kept.by_patients("label_neighbours", []) == {}
