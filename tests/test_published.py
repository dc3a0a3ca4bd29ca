"""modules/preparation/published/conversion.py: every published layout is read, nothing wrong is believed, and it goes back."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_equal_folders, assert_says_speed
from PIL import Image

from modules.corpus import store_writing as feature_writing
from modules.corpus.annotations import Study, read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.kept_features import KeptFeatures
from modules.corpus.store import FeatureStore, verify
from modules.corpus.store_writing import (
    remove_unfinished,
    write_axis,
    write_bank_reports,
    write_base_rates,
    write_feature,
)
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare
from modules.preparation.published import reading as published_reading
from modules.preparation.published.conversion import NEIGHBOURS, RATES, REGIONS, REPORTS, SENTENCES, PublishedFiles
from modules.preparation.published.reading import number_rows
from modules.preparation.published.writing import RECORD, write_published

COUNTS = {"train": 6, "val": 2, "test": 1}
E, C, R = 5, 4, 3
SOURCE = {"annotation": "x"}


def study(split, number, **fields):
    path = (f"p10/p1000000{number}/s{number}/{split}{number}.jpg",)
    return Study(
        id=f"{split}{number}", image_path=path, report=f"{split} {number} .", split=split, labels=(0,) * 18, **fields
    )


def all_splits():
    return {split: [study(split, i) for i in range(count)] for split, count in COUNTS.items()}


@pytest.fixture
def splits():
    return all_splits()


def json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def files(tmp_path, splits):
    """The published files of ``splits``, and what they hold."""
    rng, folder = np.random.default_rng(0), tmp_path / "published"
    content = {"region_text": {}, "sentences": {}, "scores": {}, "memory": {}}
    for split, studies in splits.items():
        content["scores"][split] = rng.random((len(studies), 75)).astype(np.float32)
        others = [[j for j in range(6) if split != "train" or j != i] for i in range(len(studies))]
        content["memory"][split] = np.array([rng.permutation(rows)[:R] for rows in others])  # nobody is in its own
        for i, item in enumerate(studies):
            if split == "train":
                content["sentences"][item.id] = rng.random((i % 3, C)).astype(np.float32)  # none, one or two sentences
            content["region_text"][item.id] = rng.random((75, E)).astype(np.float32)
    folder.mkdir()
    for split, studies in splits.items():
        json_lines(folder / f"image_region_score_{split}.json", content["scores"][split].tolist())
        json_lines(folder / f"labels_indices_{split}.json", content["memory"][split].tolist())
        for item in studies:
            for name, kind in ((REGIONS, "region_text"), (SENTENCES, "sentences")):
                if item.id in content[kind]:
                    path = (folder / name / item.image_path[0]).with_suffix(".npy")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, content[kind][item.id])
    content["reports"] = rng.random((6, C)).astype(np.float32)
    json_lines(folder / REPORTS, content["reports"].tolist())
    content["neighbours"] = [[(i + 1) % 6, (i + 2) % 6] for i in range(6)]
    (folder / NEIGHBOURS).write_text(json.dumps(content["neighbours"]))
    (folder / RATES).write_text(json.dumps([0.1] * 14))
    return folder, content


def pack(folder, name, suffix=".tar.gz", prefix=""):
    """Replace a folder of arrays by an archive of it, members in reverse order."""
    mode = "w:gz" if suffix.endswith("gz") else "w"
    with tarfile.open(folder / f"{name}{suffix}", mode) as archive:
        for path in sorted((folder / name).rglob("*.npy"), reverse=True):
            archive.add(
                path, f"{prefix}{path.relative_to(folder if prefix != 'bare' else folder / name)}".removeprefix("bare")
            )
    shutil.rmtree(folder / name)


def kept_in(target):
    """A feature folder on which no model was trained."""
    return KeptFeatures(target, ExitStack(), False)


def convert(folder, splits, target, dtype="float32", owns_bank=True, no_patient=False):
    """What a preparation does with published files."""
    studies = [item for items in splits.values() for item in items]
    write_axis(target, "studies", [item.id for item in studies])
    write_feature(target, "labels", np.zeros((len(studies), 18), np.int8), axis="studies", made_by=SOURCE)
    published = PublishedFiles(folder, splits, owns_bank, no_patient)
    published.check(DataOptions(dataset_name="mimic_cxr"))
    if owns_bank:
        write_axis(target, "training", [item.id for item in splits["train"]])
        write_base_rates(target, np.zeros((6, 18)), published.base_rates())
    with ExitStack() as held:
        kept = KeptFeatures(target, held, False)
        published.convert(kept, np.dtype(dtype), SOURCE)
        if owns_bank:
            rows = ({"id": item.id, "patient": None, "report": item.report} for item in splits["train"])
            write_bank_reports(target, rows)
            published.neighbours(kept, SOURCE)
    return published, FeatureStore.open(target)


def test_everything_arrives_where_it_belongs(files, splits, tmp_path):
    folder, content = files
    published, store = convert(folder, splits, tmp_path / "features")
    assert published.memory(kept_in(tmp_path / "features"), TrainingBank(store), SOURCE)
    store = FeatureStore.open(tmp_path / "features")
    for split, studies in splits.items():
        rows = store.rows("studies", [item.id for item in studies])
        np.testing.assert_array_equal(store["region_scores"][rows], content["scores"][split])
        np.testing.assert_array_equal(store["memory_indices"][rows], content["memory"][split])
    for number, identifier in enumerate(store.row_ids("studies")):
        np.testing.assert_array_equal(store["region_text"][number], content["region_text"][identifier])
    np.testing.assert_array_equal(store["report_features"], content["reports"])
    np.testing.assert_array_equal(store["label_neighbours"], content["neighbours"])
    assert store.base_rates == [0.1] * 14
    bank = TrainingBank(store)
    for number, item in enumerate(splits["train"]):
        expected = content["sentences"][item.id]
        np.testing.assert_array_equal(bank.sentences(number), expected if len(expected) else np.zeros((1, C)))
    assert verify(tmp_path / "features") == []
    assert not list((tmp_path / "features").glob(".sentences*.tmp"))


@pytest.mark.parametrize(
    ("suffix", "prefix"), [(".tar.gz", ""), (".tgz", "./"), (".tar", "data/mimic_cxr/"), (".tar", "bare")]
)
def test_archives_are_read_without_unpacking(files, splits, tmp_path, suffix, prefix):
    folder, _ = files
    _, plain = convert(folder, splits, tmp_path / "plain")
    for name in (REGIONS, SENTENCES):
        pack(folder, name, suffix, prefix)
    before = sorted(path.name for path in folder.iterdir())
    _, store = convert(folder, splits, tmp_path / "features")
    for name in ("region_text", "sentence_features", "sentence_offsets"):
        np.testing.assert_array_equal(store[name], plain[name])
        assert store.entry(name)["sha256"] == plain.entry(name)["sha256"]
    assert sorted(path.name for path in folder.iterdir()) == before


def test_half_precision_and_a_second_conversion(files, splits, tmp_path):
    folder, content = files
    _, store = convert(folder, splits, tmp_path / "features", "float16")
    for name in ("region_text", "report_features", "sentence_features"):
        assert store[name].dtype == np.float16
    np.testing.assert_allclose(store["report_features"], content["reports"], atol=1e-3)
    arrays = [path for path in (tmp_path / "features").glob("*.npy") if path.stem != "labels"]  # which convert() writes
    before = [path.stat().st_mtime_ns for path in arrays]
    convert(folder, splits, tmp_path / "features", "float16")
    assert [path.stat().st_mtime_ns for path in arrays] == before


@pytest.mark.parametrize("name", [REPORTS, REGIONS, SENTENCES, "image_region_score_val.json", "hash_distance.json"])
def test_files_of_the_same_name_and_size_are_converted_again(files, splits, tmp_path, name):
    """Two builds have the same names and often the same sizes, and a folder would hold arrays of both."""
    folder, _ = files
    convert(folder, splits, tmp_path / "features")
    other = shutil.copytree(folder, tmp_path / "other")
    if name in (REGIONS, SENTENCES):
        for path in (other / name).rglob("*.npy"):
            np.save(path, np.load(path) + 1)
    else:
        whole, lines = json.loads, (other / name).read_text().splitlines()
        rows = [whole(line) for line in lines] if len(lines) > 1 else whole(lines[0])
        json_lines(other / name, rows[::-1])
    _, again = convert(other, splits, tmp_path / "features")
    _, fresh = convert(other, splits, tmp_path / "fresh")
    for array in ("region_scores", "region_text", "report_features", "sentence_features", "label_neighbours"):
        np.testing.assert_array_equal(again[array], fresh[array], err_msg=array)


@pytest.mark.parametrize("archive", [False, True])
def test_an_interrupted_conversion_continues(files, splits, tmp_path, archive, monkeypatch):
    """Half the arrays are read, the program ends, the rest is read by the next one; no array is read twice."""
    folder, _ = files
    _, whole = convert(folder, splits, tmp_path / "whole")
    if archive:
        pack(folder, REGIONS), pack(folder, SENTENCES)
    monkeypatch.setattr(feature_writing, "FLUSH_ROWS", 1)
    monkeypatch.setattr(published_reading, "FLUSH_ROWS", 1)
    real, left, opened = published_reading._array, [0], []

    def limited(content, where):
        opened.append(str(where))
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(content, where)

    monkeypatch.setattr(published_reading, "_array", limited)
    for arrays in (1 + 4, 1 + 5 + 3):  # the first array is also opened for its shape; then 5 embeddings and 3 reports
        left[0] = arrays
        del opened[:]
        with pytest.raises(KeyboardInterrupt):
            convert(folder, splits, tmp_path / "features")
        assert len(opened) == arrays + 1
    left[0] = 3  # the last 3 of 6 reports
    _, store = convert(folder, splits, tmp_path / "features")
    for name in ("region_text", "sentence_features", "sentence_offsets"):
        assert store.entry(name)["sha256"] == whole.entry(name)["sha256"]


# Each start is a fork of a process that has imported everything; it kills itself with SIGKILL before or after a file gets
# its name, or at the n-th array that it opens, so that nothing is flushed that lies in memory.
DRIVER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
import test_published as tests
from modules.corpus import store_writing as feature_writing
from modules.preparation.published import reading as published_reading

folder, target, points = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
feature_writing.FLUSH_ROWS = published_reading.FLUSH_ROWS = 2

def plant(point):
    kind, _, name = point.partition(" ")
    real, opened = {"replace": os.replace, "array": published_reading._array}, []
    def replace(source, where):
        mine = Path(where).name == name
        if mine and kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real["replace"](source, where)
        if mine and kind == "after":
            os.kill(os.getpid(), signal.SIGKILL)
    def array(*arguments):
        opened.append(arguments)
        if kind == "array" and len(opened) == int(name):
            os.kill(os.getpid(), signal.SIGKILL)
        return real["array"](*arguments)
    def flush(spool):
        spool._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)  # before the list says what was written
    os.replace, published_reading._array = replace, array
    if kind == "spool":
        published_reading.SentenceSpool._flush = flush

for point in [*points, ""]:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        if point:
            plant(point)
        tests.convert_all(folder, tests.all_splits(), target)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status != (signal.SIGKILL if point else 0):
        sys.exit(f"{point or 'whole'}: status {status}")
"""
POINTS = [
    "before region_scores.npy", "array 5", "array 4", "after region_text.npy", "after report_features.npy", "array 4",
    "spool", "before sentence_features.npy", "after sentence_features.npy", "before sentence_offsets.npy",
    "after training.jsonl", "before label_neighbours.npy", "after memory_indices.npy",
]  # fmt: skip
CONVERTED = {
    "region_scores.npy", "region_text.npy", "report_features.npy", "sentence_features.npy", "sentence_offsets.npy",
    "label_neighbours.npy", "memory_indices.npy", "training.jsonl", "base_probs.json",
}  # fmt: skip


def convert_all(folder, splits, target):
    """As :func:`convert`, with the memory and the end of a preparation."""
    published, store = convert(folder, splits, target)
    with ExitStack() as held:
        published.memory(KeptFeatures(target, held, False), TrainingBank(store), SOURCE)
    remove_unfinished(target)


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.slow
def test_a_killed_conversion_continues_to_the_same_bytes(files, splits, tmp_path, archive, forks):
    folder, _ = files
    if archive:
        pack(folder, REGIONS), pack(folder, SENTENCES)
    convert_all(folder, splits, tmp_path / "whole")
    command = [forks.python, "-c", DRIVER, str(folder), str(tmp_path / "killed"), *POINTS]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_equal_folders(tmp_path / "whole", tmp_path / "killed", CONVERTED)
    for name, waiting in (
        ("region_text", ["9", "7", "5"]),
        ("sentence_features", ["6", "4", "4"]),
    ):  # a kill costs one array
        began = re.findall(rf"^published {name}: (\d+) items \.\.\.$", done.stdout, re.MULTILINE)
        assert began[: len(waiting)] == waiting
    streamed = [name.removesuffix(".npy") for name in CONVERTED if name.endswith(".npy")]
    assert_says_speed([f"published {name}" for name in streamed if name != "sentence_offsets"], done.stdout)


def test_the_round_trip_writes_the_published_layout(files, splits, tmp_path, capsys):
    folder, content = files
    published, store = convert(folder, splits, tmp_path / "features")
    published.memory(kept_in(tmp_path / "features"), TrainingBank(store), SOURCE)
    store = FeatureStore.open(tmp_path / "features")
    write_published(tmp_path / "again", "mimic_cxr", store, splits)
    assert re.search(r"published layout: 9 items in .* items/s\n", capsys.readouterr().out)
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    written = {path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()}
    assert {str(path) for path in written - names} == {"mimic_annotation_promptmrg.json", RECORD}
    assert names <= written
    for name in names:
        ours, theirs = tmp_path / "again" / name, folder / name
        if name.suffix == ".npy":
            expected = np.load(theirs)
            np.testing.assert_array_equal(np.load(ours), expected if len(expected) else np.zeros((1, C)))
        elif name.name == RATES:
            assert json.loads(ours.read_text()) == json.loads(theirs.read_text())
        else:
            for mine, row in zip(number_rows(ours), number_rows(theirs), strict=True):
                np.testing.assert_array_equal(np.float32(mine), np.float32(row))
    annotation = read_annotation(tmp_path / "again" / "mimic_annotation_promptmrg.json")
    assert [item.id for item in annotation["train"]] == [item.id for item in splits["train"]]
    assert annotation["val"][0].memory_indices == tuple(content["memory"]["val"][0])
    convert(tmp_path / "again", annotation, tmp_path / "second")
    assert verify(tmp_path / "second") == []


def test_a_flat_test_set_goes_back_flat(files, splits, tmp_path):
    folder, _ = files
    published, store = convert(folder, splits, tmp_path / "bank")
    bank, only_test = TrainingBank(store), {"train": [], "val": [], "test": splits["test"]}
    published, store = convert(folder, only_test, tmp_path / "iu", owns_bank=False)
    assert published.memory(kept_in(tmp_path / "iu"), bank, SOURCE)
    image = tmp_path / "images" / splits["test"][0].image_path[0]
    image.parent.mkdir(parents=True)
    Image.new("L", (7, 5), 90).save(image)
    write_published(tmp_path / "again", "iu_xray", FeatureStore.open(tmp_path / "iu"), only_test, tmp_path / "images")
    (item,) = json.loads((tmp_path / "again" / "iu_annotation_promptmrg.json").read_text())
    assert len(item["labels"]) == 14
    assert item["image_path"] == [splits["test"][0].image_path[0].replace(".jpg", ".png")]
    with Image.open(tmp_path / "again" / "images" / item["image_path"][0]) as written:
        assert (written.format, written.size, written.getpixel((0, 0))) == ("PNG", (7, 5), 90)
    assert (tmp_path / "again" / REGIONS / item["image_path"][0]).with_suffix(".npy").is_file()
    assert not (tmp_path / "again" / NEIGHBOURS).exists()
    with pytest.raises(UserError, match="holds the images that are read"):
        write_published(tmp_path, "iu_xray", FeatureStore.open(tmp_path / "iu"), only_test, tmp_path / "images")
    assert not (tmp_path / RECORD).exists()


def test_iu_xray_with_a_bank_of_its_own_is_not_what_the_released_code_reads(files, splits, tmp_path):
    _, store = convert(files[0], splits, tmp_path / "features")
    with pytest.raises(UserError, match=r"holds a bank of its own.*--zero_shot"):
        write_published(tmp_path / "again", "iu_xray", store, splits)


def test_a_folder_holds_one_build_or_is_refused(files, splits, tmp_path):
    folder, _ = files
    published, store = convert(folder, splits, tmp_path / "features")
    published.memory(kept_in(tmp_path / "features"), TrainingBank(store), SOURCE)
    store, out = FeatureStore.open(tmp_path / "features"), tmp_path / "out"
    write_published(out, "mimic_cxr", store, splits)
    array = next((out / REGIONS).rglob("*.npy"))
    before = array.stat().st_mtime_ns
    write_published(out, "mimic_cxr", store, splits)  # the same build goes on
    assert array.stat().st_mtime_ns == before
    fewer = {**splits, "train": splits["train"][:5]}
    write_feature(
        tmp_path / "features", "region_scores", np.full((9, 75), 0.5, np.float32), axis="studies", made_by=SOURCE
    )
    store = FeatureStore.open(tmp_path / "features")
    with pytest.raises(UserError, match=r"published files of another build \(first .*replace them with --overwrite"):
        write_published(out, "mimic_cxr", store, fewer)
    (out / "notes.txt").touch()
    (out / "images").mkdir()
    (out / "images" / "a.jpg").touch()  # out may be the folder of the data set, beside its films
    write_published(out, "mimic_cxr", store, fewer, overwrite=True)
    assert (out / "images" / "a.jpg").is_file()
    assert len(list((out / REGIONS).rglob("*.npy"))) == 8  # none of the sixth training study
    assert (out / "notes.txt").is_file()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="published files of somebody else"):
            write_published(folder, "mimic_cxr", store, splits, overwrite=overwrite)


def test_missing_files_are_named_with_what_to_do(files, splits, tmp_path):
    folder, _ = files
    shutil.rmtree(folder / REGIONS)
    (folder / REPORTS).unlink()
    with pytest.raises(UserError, match="2 files or folders are missing") as error:
        convert(folder, splits, tmp_path / "features")
    assert "download it from the links" in str(error.value)
    (folder / "image_region_score_test.json").unlink()
    only_test = {"train": [], "val": [], "test": splits["test"]}
    data = DataOptions(dataset_name="iu_xray", ann_path="a.json", feature_dir="f", bank_dir="b")
    command = "python main_prepare.py --dataset_name iu_xray --ann_path a.json --entity_scorer medklip --feature_dir f --bank_dir b"
    with pytest.raises(UserError, match="the published IU X-Ray files do not include it") as error:
        PublishedFiles(folder, only_test, False, False).check(data)
    assert command in str(error.value)
    assert parse_options(MainPrepare, command.split()[2:]).scorer.entity_scorer == "medklip"
    with pytest.raises(UserError, match="use --features stored"):
        PublishedFiles(folder, splits, True, False).check(replace(data, features="online"))


def test_the_memory_of_the_annotation_stands_in(files, splits, tmp_path, capsys):
    folder, _ = files
    _, store = convert(folder, splits, tmp_path / "features")
    bank, target = TrainingBank(store), tmp_path / "features"
    for path in folder.glob("labels_indices_*.json"):
        path.unlink()
    assert not PublishedFiles(folder, splits, True, False).memory(kept_in(target), bank, SOURCE)
    assert "the memory is built" in capsys.readouterr().out
    with_memory = {split: [study(split, i, memory_indices=(0, 1, 2)) for i in range(n)] for split, n in COUNTS.items()}
    assert PublishedFiles(folder, with_memory, True, False).memory(kept_in(target), bank, SOURCE)
    rows = FeatureStore.open(target)["memory_indices"]
    assert rows[1].tolist() == [0, 2, 0]  # without itself, in order, repeated
    assert rows[6].tolist() == [0, 1, 2]
    assert "3 studies were in their own memory" in capsys.readouterr().out
    assert not PublishedFiles(folder, with_memory, True, True).memory(kept_in(target), bank, SOURCE)


def test_a_study_is_not_its_own_neighbour(files, splits, tmp_path, capsys):
    folder, _ = files
    (folder / NEIGHBOURS).write_text(json.dumps([[i, (i + 1) % 6, (i + 3) % 6] for i in range(6)]))
    _, store = convert(folder, splits, tmp_path / "features")
    assert store["label_neighbours"].tolist() == [[(i + 1) % 6, (i + 3) % 6] for i in range(6)]
    assert "6 studies were in their own neighbours" in capsys.readouterr().out
    (folder / NEIGHBOURS).unlink()
    assert not PublishedFiles(folder, splits, True, False).neighbours(kept_in(tmp_path / "features"), SOURCE)
    json_lines(folder / NEIGHBOURS, [[i] for i in range(6)])
    with pytest.raises(UserError, match="name nothing but itself"):
        convert(folder, splits, tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("image_region_score_val.json", [[0.5] * 75], "has 1 rows but the annotation has 2 studies"),
        ("image_region_score_val.json", [[0.5] * 75] * 3, "has 3 rows but the annotation has 2 studies"),
        (
            "image_region_score_val.json",
            [[0.5] * 75, [0.5] * 74],
            r"row 2 of .* does not hold 75 finite numbers \(found 74",
        ),
        ("image_region_score_val.json", [[0.5] * 75, [float("nan")] * 75], "row 2 of .* does not hold 75 finite"),
        (REPORTS, [["a"] * C] * 6, "row 1 of .* is not a list of numbers"),
        (NEIGHBOURS, [[9]] * 6, "neighbours name rows outside the 6 training studies"),
        (NEIGHBOURS, [[]] * 6, "neighbours name rows outside"),
    ],
)
def test_rows_that_do_not_belong(files, splits, tmp_path, name, rows, words):
    folder, _ = files
    json_lines(folder / name, rows)
    with pytest.raises(UserError, match=words):
        convert(folder, splits, tmp_path / "features")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [REGIONS, SENTENCES])
def test_arrays_of_other_images_are_refused_in_a_sentence(files, splits, tmp_path, name, packed):
    """An archive of another data set, or an empty folder, ended in StopIteration."""
    folder, _ = files
    for path in list((folder / name).rglob("*.npy")):
        path.rename(path.with_name(f"other_{path.name}"))
    if packed:
        pack(folder, name)
    words = "holds no array of any of the 9 images" if name == REGIONS else "lacks the arrays of 6 of 6 images"
    with pytest.raises(UserError, match=words):
        convert(folder, splits, tmp_path / "features")


def test_an_array_without_rows_is_refused(files, splits, tmp_path):
    folder, _ = files
    np.save((folder / REGIONS / splits["train"][0].image_path[0]).with_suffix(".npy"), np.float32(1))
    with pytest.raises(
        UserError, match=r"train0\.jpg in .* has the shape \(\), expected \('any', 'any'\): copy it again"
    ):
        convert(folder, splits, tmp_path / "features")


@pytest.mark.parametrize("name", [REPORTS, "labels_indices_train.json", NEIGHBOURS])
def test_an_empty_file_is_refused(files, splits, tmp_path, name):
    folder, _ = files
    (folder / name).write_bytes(b"")

    def converted():
        published, store = convert(folder, splits, tmp_path / "features")
        published.memory(kept_in(tmp_path / "features"), TrainingBank(store), SOURCE)

    with pytest.raises(UserError, match=rf"{name} (is empty: copy it again|has 0 rows)"):
        converted()


def test_arrays_that_do_not_belong(files, splits, tmp_path):
    folder, _ = files
    image = splits["train"][2].image_path[0]
    path = (folder / REGIONS / image).with_suffix(".npy")
    whole = path.read_bytes()
    for content, words in (
        (whole[:-5], "is not a whole .npy array"),
        (b"", "is not a whole .npy array"),
        (_npy(np.zeros((74, E))), r"train2.jpg in .* has the shape \(74, 5\), expected \(75, 5\)"),
        (_npy(np.full((75, E), np.nan)), "holds NaN"),
        (None, rf"lacks the arrays of 1 of 9 images, first {image}"),
    ):
        path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            convert(folder, splits, tmp_path / "features")
    path.write_bytes(whole)
    pack(folder, REGIONS)
    archive = folder / f"{REGIONS}.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UserError, match="is damaged or cut off"):
        convert(folder, splits, tmp_path / "features")


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_lists_in_one_json_value_are_streamed(tmp_path, monkeypatch):
    path, rows = tmp_path / "rows.json", [[i, -i, 0.5] for i in range(50)]
    monkeypatch.setattr(published_reading, "_CHUNK", 7)
    for text in (json.dumps(rows), json.dumps(rows, indent=1)):
        path.write_text(text)
        assert list(number_rows(path)) == rows
    path.write_text(json.dumps(rows)[:-9])
    with pytest.raises(UserError, match="ends in the middle of its list"):
        list(number_rows(path))
    json_lines(path, rows)
    assert list(number_rows(path)) == rows
    path.write_text('{"a": 1}\n')
    with pytest.raises(UserError, match=r"row 1 of .* is not a list of numbers"):
        list(number_rows(path))


def test_rates_of_another_length(files, splits, tmp_path):
    folder, _ = files
    (folder / RATES).write_text("[0.1, 0.2]")
    with pytest.raises(UserError, match="does not hold a list of 14 rates"):
        convert(folder, splits, tmp_path / "features")
