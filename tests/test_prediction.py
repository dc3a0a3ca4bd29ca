"""main_predict.py and modules/prediction: the report of a film is the one that a test writes, wherever it is asked for."""

import contextlib
import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from PIL import Image
from programs import call, copy_of, places, refused
from test_raw_images import COLOUR, write_dicom

import main_predict
import main_test
from modules.evaluation.generation import Search
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainPredict
from modules.prediction import Reporter
from modules.prediction import reporter as reporter_file
from modules.prediction.films import find_films, plain_name
from modules.prediction.reporter import ON_A_CPU
from modules.prediction.rexrank import read_studies
from modules.prediction.writing import PredictionFolder
from modules.records import read_jsonl

ROOT = Path(__file__).parents[1]
NOT_FOR_ONE_PNG = {  # seconds to import, of which no report is made
    "transformers", "huggingface_hub", "sklearn", "pandas", "matplotlib", "pydicom", "tensorboard", "ot", "gradio", "openpyxl",
}  # fmt: skip


@pytest.fixture(scope="module")
def tested(prepared, trained, tmp_path_factory):
    """Reports of the test split as main_test.py writes them, by file name."""
    folder = tmp_path_factory.mktemp("tested")
    generation = [
        "--gen_min_len",
        25,
        "--gen_max_len",
        12,
        "--beam_size",
        2,
        "--no-meteor",
        "--no-viewer",
        "--resamples",
        10,
    ]
    shutil.copytree(trained, folder / "run")
    call(
        main_test,
        *places(prepared),
        "--save_dir",
        folder / "run",
        *generation,
        "--device",
        "cpu",
        "--precision",
        "fp32",
    )
    return {Path(row["image"]).name: row for row in read_jsonl(folder / "run" / "predictions.jsonl")}


def predict(trained, out, *words):
    call(main_predict, "--model", trained, "--out", out, "--device", "cpu", "--images", *words)
    return read_jsonl(out / "predictions.jsonl")


def test_reports_are_those_of_a_test(prepared, trained, tested, tmp_path):
    rows = predict(trained, tmp_path / "out", prepared / "images" / "test")
    assert len(rows) == len(tested)
    for row in rows:
        known = tested[Path(row["image"]).name]
        assert row["report"] == known["prediction"]
        assert row["retrieved"] == known["retrieved"]
        assert list(row["probability"].values()) == known["positive_probability"]
        assert row["mean_token_log_probability"] == known["mean_token_log_probability"] < 0


@pytest.mark.slow
def test_a_fresh_process_elsewhere_writes_the_same(prepared, trained, tested, tmp_path):
    film = next(iter(sorted((prepared / "images" / "test").iterdir())))
    command = [
        sys.executable,
        "-X",
        "importtime",  # names every module that is imported
        ROOT / "main_predict.py",
        "--model",
        trained,
        "--out",
        tmp_path / "out",
        "--images",
        film,
        "--verbose_text",
    ]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert tested[film.name]["prediction"] in done.stdout
    assert "Research use only" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert {"torch", "modules"} <= imported
    assert imported & NOT_FOR_ONE_PNG == set()


def test_three_lines_of_python_do_the_same(prepared, trained, tested):
    film = next(iter(sorted((prepared / "images" / "test").iterdir())))
    reporter = Reporter.load(trained)
    (row,) = reporter.report([film])
    assert row["report"] == tested[film.name]["prediction"]


def test_bad_films_are_listed_and_the_others_written(prepared, trained, tmp_path):
    films = sorted((prepared / "images" / "test").iterdir())[:2]
    folder = tmp_path / "films" / "deep"
    folder.mkdir(parents=True)
    for film in films:
        shutil.copy(film, folder)
    (folder / "cut.png").write_bytes(films[0].read_bytes()[:200])
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("not looked at")
    rows = predict(trained, tmp_path / "out", tmp_path / "films")
    assert {Path(row["image"]).name for row in rows} == {film.name for film in films}
    with open(tmp_path / "out" / "unreadable.csv", newline="") as file:
        listed = {Path(row["image"]).name: row["reason"] for row in csv.DictReader(file)}
    assert listed.keys() == {"cut.png", "text.jpg"}
    assert "is cut off" in listed["cut.png"]
    assert "is not a PNG, JPEG or DICOM" in listed["text.jpg"]


def test_a_film_on_which_nothing_is_to_be_seen_gets_no_report(trained, tmp_path):
    """One grey value throughout: of the file, of a slope of zero, of a picture in the transparency."""
    values = np.arange(0, 4096, 16).reshape(16, 16)
    Image.new("RGB", (40, 40), (0, 0, 9)).save(tmp_path / "flat.png")
    write_dicom(tmp_path / "slope.dcm", values, RescaleSlope=0, RescaleIntercept=0)
    alpha = Image.fromarray((values // 16).astype(np.uint8))
    Image.merge("LA", (Image.new("L", alpha.size), alpha)).save(tmp_path / "alpha.png")
    rows = Reporter.load(trained).report(sorted(tmp_path.iterdir()))
    assert len(rows) == 3
    assert all("is one grey value throughout, so there is nothing to report" in row["error"] for row in rows)


def test_images_of_a_folder_that_are_not_read_are_listed(prepared, trained, tmp_path, capsys):
    """They were passed over without a word; a file of no image still is."""
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    film = min((prepared / "images" / "test").iterdir())
    shutil.copy(film, films)
    with Image.open(film) as image:
        for name in ("t.tif", "b.bmp", "w.webp", "g.GIF"):
            image.convert("L").save(films / name)
    dicom = write_dicom(films / "lateral.dcm", np.arange(0, 4096, 16).reshape(16, 16), ViewPosition="LL").read_bytes()
    (films / "packed.dcm.gz").write_bytes(gzip.compress(dicom))
    (films / "IM0001").write_bytes(dicom[132:])
    for name, content in (
        ("notes.txt", b"x"),
        ("README", b"BM, II*, 8"),
        ("table.csv.gz", gzip.compress(b"x")),
        ("masks.npz", b"PK"),
    ):
        (films / name).write_bytes(content)
    assert len(predict(trained, out, films)) == 2
    with open(out / "unreadable.csv", newline="") as file:
        listed = {Path(row["image"]).name: row["reason"] for row in csv.DictReader(file)}
    assert listed.keys() == {"t.tif", "b.bmp", "w.webp", "g.GIF", "packed.dcm.gz", "IM0001"}
    assert "unpack it" in listed["packed.dcm.gz"]
    assert "without its preamble" in listed["IM0001"]
    said = capsys.readouterr().out
    assert "6 images are left out (.bmp, .gif, .gz, .tif, .webp among them)" in said
    assert "warning: 1 of 2 images is a lateral view (ViewPosition, code of the view), first" in said


def test_films_of_which_none_can_be_read_end_with_a_sentence(trained, tmp_path, capsys):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "text.jpg").write_text("no image")
    words = ["--model", trained, "--images", tmp_path / "films", "--out", tmp_path / "out", "--device", "cpu"]
    message = refused(capsys, "no image could be read, so there is no report: the image", main_predict, *words)
    assert "text.jpg is not a PNG, JPEG or DICOM" in message
    assert "leave it out" in message  # "remove its study" was said of a film that belongs to none
    assert not (tmp_path / "out").exists()
    (tmp_path / "films" / "cut.jpg").write_text("no image")
    words[words.index(tmp_path / "out")] = tmp_path / "two"
    message = refused(capsys, "so there is no report: first: the image", main_predict, *words)
    assert "unreadable.csv says why of each of 2" in message


def test_a_film_whose_name_no_table_can_hold_is_left_out(prepared, trained, tmp_path, capsys):
    """As of an archive that another system packed: the names of all films went down with it."""
    (tmp_path / "films").mkdir()
    film = min((prepared / "images" / "test").iterdir())
    for name in (b"good.png", b"R\xf6ntgen.png"):
        shutil.copy(film, os.fsencode(tmp_path / "films") + b"/" + name)
    (row,) = predict(trained, tmp_path / "out", tmp_path / "films")
    assert Path(row["image"]).name == "good.png"
    assert "R\\xf6ntgen.png has a name that is no UTF-8" in (tmp_path / "out" / "unreadable.csv").read_text()
    assert "1 image is left out" in capsys.readouterr().out
    words = ["--model", trained, "--images", os.fsdecode(b"R\xf6ntgen.png"), "--device", "cpu"]
    assert "rename the file or the folder" in refused(
        capsys, r"error: R\xf6ntgen.png is no UTF-8", main_predict, *words
    )


def test_a_second_run_reads_only_what_has_no_report_yet(prepared, trained, tmp_path, monkeypatch, capsys):
    films = sorted((prepared / "images" / "test").iterdir())[:3]
    first = predict(trained, tmp_path / "out", films[0], films[1])
    with open(tmp_path / "out" / "predictions.jsonl", "a") as file:
        file.write('{"image": "half a li')  # a kill in the middle of a row
    read = []
    original = Reporter.stream
    monkeypatch.setattr(Reporter, "stream", lambda self, paths: (read.extend(paths), original(self, paths))[1])
    capsys.readouterr()
    rows = predict(trained, tmp_path / "out", *films, "--verbose_text")
    assert read == [films[2]]
    assert rows[:2] == first
    shown = capsys.readouterr().out
    predict(trained, tmp_path / "out", *films, "--verbose_text")
    assert all(shown.count(f"{row['image']}\n") + shown.count(f"{row['image']}  (unlike") == 1 for row in first)
    assert capsys.readouterr().out.count(rows[2]["image"]) == 1  # shown again, though nothing was read
    assert [Path(row["image"]).name for row in rows] == [film.name for film in films]


def test_reports_are_printed_on_a_terminal_and_into_no_log(prepared, trained, tmp_path, capsys):
    film = min((prepared / "images" / "test").iterdir())
    (row,) = predict(trained, tmp_path / "out", film)
    printed = capsys.readouterr().out
    assert row["report"] not in printed
    assert "reports are printed on a terminal, or with --verbose_text" in printed
    screen, ours = os.openpty()
    with open(ours, "w") as terminal, contextlib.redirect_stdout(terminal):
        predict(trained, tmp_path / "out", film)
    with open(screen, "rb") as file:
        assert row["report"] in file.read1(65536).decode()


@pytest.mark.slow
def test_ctrl_c_and_the_same_command_again_write_every_film_once(prepared, trained, forks, tmp_path, capsys):
    """A real process and a real SIGINT, after the first films and before the last."""
    films, pixels = tmp_path / "films", sorted((prepared / "images" / "test").iterdir())
    films.mkdir()
    for number in range(3 * ON_A_CPU):
        shutil.copy(pixels[number % len(pixels)], films / f"{number:03d}.png")
    rows, log = tmp_path / "out" / "predictions.jsonl", tmp_path / "log"
    words = ["--model", trained, "--out", tmp_path / "out", "--images", films, "--no-viewer", "--device", "cpu"]
    program = list(map(str, [ROOT / "main_predict.py", *words]))
    pid = forks.ask({"words": program, "cwd": str(tmp_path), "environment": dict(os.environ)}, log)
    deadline = time.monotonic() + 120
    while not (rows.is_file() and rows.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    status, said = forks.wait(pid), log.read_text()
    assert status == 128 + signal.SIGINT, said
    assert "main_predict.py: interrupted" in said
    assert "Traceback" not in said
    before = read_jsonl(rows)
    assert 0 < len(before) < 3 * ON_A_CPU
    after = predict(trained, tmp_path / "out", films, "--no-viewer")
    assert after[: len(before)] == before
    assert sorted(Path(row["image"]).name for row in after) == sorted(path.name for path in films.iterdir())
    assert "images/s)" in capsys.readouterr().out
    assert predict(trained, tmp_path / "out", films, "--no-viewer") == after
    assert "images/s)" not in capsys.readouterr().out  # nothing was read
    reports = {}  # copies of a film have one report, whenever it was written
    for row in after:
        reports.setdefault(int(Path(row["image"]).stem) % len(pixels), set()).add(row["report"])
    assert all(len(texts) == 1 for texts in reports.values())


def test_films_are_let_go_once_their_reports_are_written(prepared, trained, tmp_path, monkeypatch):
    """However many films there are: what was made of those of a block goes with it."""
    monkeypatch.setattr(reporter_file, "ON_A_CPU", 2)
    kept, original = [], Reporter.films
    monkeypatch.setattr(
        Reporter, "films", lambda self, paths: (films := original(self, paths), kept.append(ref(films.dataset)))[0]
    )
    stream = Reporter.load(trained).stream(sorted((prepared / "images" / "test").iterdir())[:9])
    for written, _ in enumerate(stream, start=1):
        assert sum(one() is not None for one in kept) <= 1, f"after {written} films"
    assert len(kept) == 5


def test_every_batch_is_kept_as_soon_as_it_is_written(prepared, trained, monkeypatch):
    """Of fewer than 64 films nothing was kept before the last was read."""
    films = sorted((prepared / "images" / "test").iterdir())[:5]
    written, write, reporter = [], Search.write, Reporter.load(trained)
    reporter.options.loading.batch_size = 2
    monkeypatch.setattr(
        Search,
        "write",
        lambda self, model, study, *rest: (written.append(len(study.image)), write(self, model, study, *rest))[1],
    )
    rows = reporter.stream([films[0].parent / "gone.png", *films, films[1]])
    assert "error" in next(rows)
    assert written == []
    images = [(Path(row["image"]), sum(written)) for row in rows]
    assert [image for image, _ in images] == [*films, films[1]]  # in order, what is named twice too
    assert [done for _, done in images] == [2, 2, 4, 4, 5, 5]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_says_that_the_command_may_be_repeated(number, prepared, trained, tmp_path, monkeypatch, capsys):
    """SIGTERM ended it without a word."""
    films = sorted((prepared / "images" / "test").iterdir())[:3]
    keep, before = PredictionFolder.keep, signal.getsignal(signal.SIGTERM)

    def stopped(self, rows, total):
        for nth, row in enumerate(keep(self, rows, total), start=1):
            yield row
            if nth == 2:
                os.kill(os.getpid(), number)

    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with monkeypatch.context() as patch:
            patch.setattr(PredictionFolder, "keep", stopped)
            with pytest.raises(SystemExit) as end:
                predict(trained, tmp_path / "out", *films)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert end.value.code == 128 + number
    assert "main_predict.py: interrupted: run the same command again to continue" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    first = read_jsonl(tmp_path / "out" / "predictions.jsonl")
    assert [Path(row["image"]).name for row in first] == [film.name for film in films[:2]]
    assert predict(trained, tmp_path / "out", *films)[:2] == first


def test_one_path_is_a_list_of_one(prepared, trained, tmp_path):
    """A string was taken for a list of letters, and a message named flags that this call does not have."""
    film = min((prepared / "images" / "test").iterdir())
    reporter = Reporter.load(trained)
    assert reporter.report(str(film)) == reporter.report(film) == reporter.report([film])
    gone, folder = reporter.report([tmp_path / "gone.png", tmp_path])
    assert gone == {
        "image": str(tmp_path / "gone.png"),
        "error": f"the image {tmp_path / 'gone.png'} does not exist: give the path of a PNG, JPEG or DICOM file",
    }
    assert f"{tmp_path} is a folder" in folder["error"]


def test_reports_of_another_model_are_not_mixed_in(prepared, trained, tmp_path, capsys):
    film = next(iter(sorted((prepared / "images" / "test").iterdir())))
    predict(trained, tmp_path / "out", film)
    assert "holds no model_best.pth" not in capsys.readouterr().out
    shutil.copytree(trained, tmp_path / "other")
    (tmp_path / "other" / "model_best.pth").unlink()  # the last epoch's weights are other weights
    words = ["--model", tmp_path / "other", "--out", tmp_path / "out", "--images", film]
    said = refused(capsys, "holds the reports of another model", main_predict, *words)
    assert "give another --out, or move it aside with --overwrite" in said
    rows = read_jsonl(tmp_path / "out" / "predictions.jsonl")
    call(main_predict, *words, "--overwrite", "--device", "cpu")
    printed = capsys.readouterr().out
    assert "moved what" in printed
    assert (
        f"{tmp_path / 'other'} holds no model_best.pth, which the first validation writes: "
        "reports are those of current_checkpoint.pth"
    ) in printed
    assert read_jsonl(tmp_path / "out.1" / "predictions.jsonl") == rows
    assert len(read_jsonl(tmp_path / "out" / "predictions.jsonl")) == 1


@pytest.mark.slow
def test_reports_of_other_images_or_of_what_an_image_was_are_not_mixed_in(prepared, trained, tmp_path, capsys):
    """The old report of a film that was replaced stayed as that of the new one; those of a folder stood among another's."""
    films = sorted((prepared / "images" / "test").iterdir())[:3]
    for film in films[:2]:
        shutil.copy(film, tmp_path)
    one, two = (tmp_path / film.name for film in films[:2])
    before = predict(trained, tmp_path / "out", one)
    words = ["--model", trained, "--out", tmp_path / "out", "--device", "cpu", "--images"]
    said = refused(capsys, f"holds 1 report of other images (first {one})", main_predict, *words, two)
    assert "--overwrite" in said
    shutil.copy(films[2], one)
    refused(capsys, "holds 1 report of images that have changed since", main_predict, *words, one, two)
    assert read_jsonl(tmp_path / "out" / "predictions.jsonl") == before
    after = predict(trained, tmp_path / "out", one, two, "--overwrite")
    assert [row["image"] for row in after] == [str(one), str(two)]
    assert after[0]["probability"] != before[0]["probability"]
    assert read_jsonl(tmp_path / "out.1" / "predictions.jsonl") == before
    assert ",file," not in (tmp_path / "out" / "predictions.csv").read_text().splitlines()[0]


def test_every_film_has_a_folder_of_its_own_unless_one_is_named(tmp_path):
    (tmp_path / "1.2.840").mkdir()
    for words, name in (
        (["--images", "a/film.png", "b.png"], "film"),
        (["--images", f"{tmp_path}/1.2.840/"], "1.2.840"),
        (["--images", "a/1.2.840.7"], "1.2.840.7"),
        (["--input_json_file", "in/studies.json"], "studies"),
    ):
        wanted = parse_options(MainPredict, words).prediction
        assert main_predict.folder_of(wanted) == Path("results/predictions/synth_cxr", name)
    wanted = parse_options(MainPredict, ["--images", "film.png", "--out", "there"]).prediction
    assert main_predict.folder_of(wanted) == Path("there")


def test_every_model_has_a_folder_of_its_own_too(trained, monkeypatch):
    """The commands of the documents in their order: one film, by the demo model, by the quickstart's, by a release."""
    for model, name in (
        ("examples/demo", "demo"),
        ("release/", "release"),
        (trained, trained.name),
        (trained / "model_best.pth", trained.name),
    ):
        wanted = parse_options(MainPredict, ["--images", "film.png", "--model", str(model)]).prediction
        assert main_predict.folder_of(wanted) == Path("results/predictions", name, "film")
    monkeypatch.chdir(trained)
    wanted = parse_options(MainPredict, ["--images", "film.png", "--model", "."]).prediction
    assert main_predict.folder_of(wanted) == Path("results/predictions", trained.name, "film")


@pytest.mark.parametrize(
    "name", ["predictions.jsonl", "model_best.pth", "metrics.json", "predictions.csv", "unreadable.csv"]
)
def test_what_a_training_or_a_test_wrote_is_not_mixed_with(name, tmp_path):
    """The films' rows went behind those of a test, or a traceback came of them."""
    (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=f"holds a training, the results of a test or files of your own .{name}"):
        PredictionFolder(tmp_path, "0" * 64, [])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / "model.json").write_text("[]")
    with pytest.raises(UserError, match=r"model\.json holds a list"):
        PredictionFolder(tmp_path, "0" * 64, [])


def test_dicom_films_of_each_kind_give_the_report_of_their_png(prepared, trained, tmp_path):
    """Grey of 8 and of 12 bits, white first, three colours, luminance and chrominance, a palette."""
    film = min((prepared / "images" / "test").iterdir())
    pixels = np.asarray(Image.open(film).convert("L"))
    pixels = ((pixels - pixels.min()) * (255.0 / np.ptp(pixels))).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    grey = {f"{name}PaletteColorLookupTableData": bytes(range(256)) for name in ("Red", "Green", "Blue")}
    grey |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 8] for name in ("Red", "Green", "Blue")}
    three, neutral = np.stack([pixels] * 3, axis=-1), np.full_like(pixels, 128)
    kinds = {
        "MONOCHROME2": (pixels * np.uint16(16), {}), "MONOCHROME1": (255 - pixels, eight), "PALETTE COLOR": (pixels, eight | grey),
        "RGB": (three, COLOUR), "YBR_FULL": (np.stack([pixels, neutral, neutral], axis=-1), COLOUR),
    }  # fmt: skip
    for kind, (values, tags) in kinds.items():
        tags = {**tags, "PhotometricInterpretation": kind}
        write_dicom(tmp_path / f"{kind}.dcm", values.astype(np.uint16), **tags)
    paths = [tmp_path / "film.png", *(tmp_path / f"{kind}.dcm" for kind in kinds)]
    png, *dicoms = Reporter.load(trained).report(paths)
    assert {kind: row["report"] for kind, row in zip(kinds, dicoms, strict=True)} == dict.fromkeys(kinds, png["report"])
    assert [row["probability"] for row in dicoms] == [png["probability"]] * len(kinds)


@pytest.mark.slow
def test_what_can_be_looked_at_is_written(prepared, trained, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(min((prepared / "images" / "test").iterdir()), tmp_path / folder / "0.png")  # two films of one name
    words = ["--model", trained, "--out", tmp_path / "out", "--images", tmp_path / "one", tmp_path / "two"]
    call(main_predict, *words, "--plot", 2, "--text", "--device", "cpu")
    rows = read_jsonl(tmp_path / "out" / "predictions.jsonl")
    assert {path.name for path in (tmp_path / "out" / "figures").glob("*.png")} == {"one_0.png.png", "two_0.png.png"}
    texts = sorted((tmp_path / "out" / "texts").iterdir())
    assert [path.name for path in texts] == ["one_0.png.txt", "two_0.png.txt"]
    assert texts[0].read_text().startswith(rows[0]["report"])
    assert "Research use only" in texts[0].read_text()
    page = (tmp_path / "out" / "index.html").read_text()
    assert rows[0]["report"].split(" . ")[0] in page
    assert '"references":false' in page
    assert '"unlike":' + ("true" if rows[0]["unlike_training"] else "false") in page
    assert "Research use only" in page
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == [row["image"] for row in rows]
    assert table[0]["retrieved_report"] == rows[0]["retrieved_report"]
    assert float(table[0]["p_edema"]) == rows[0]["probability"]["edema"]


@pytest.mark.parametrize("spelling", ["_", "-"])
def test_studies_of_rexrank_come_back_with_their_reports(prepared, trained, tested, tmp_path, spelling, capsys):
    names = sorted(path.name for path in (prepared / "images" / "test").iterdir())[:3]
    studies = {
        "a": {"image_path": [f"test/{names[1]}"], "key_image_path": f"test/{names[0]}", "report": "kept"},
        "b": {"image_path": [f"test/{names[1]}", f"test/{names[2]}"]},
        "c": {"image_path": ["test/lost.png"]},
    }
    (tmp_path / "in.json").write_text(json.dumps(studies))
    places = {"input_json_file": "in.json", "save_json_file": "saved.json", "img_root_dir": prepared / "images"}
    words = [part for name, at in places.items() for part in (f"--{name.replace('_', spelling)}", tmp_path / at)]
    call(main_predict, "--model", trained, "--out", tmp_path / "out", "--device", "cpu", "--no-viewer", *words)
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert saved["a"] == {**studies["a"], "model_prediction": tested[names[0]]["prediction"]}
    assert saved["b"]["model_prediction"] == tested[names[1]]["prediction"]
    assert saved["c"]["model_prediction"] == ""
    assert "lost.png" in (tmp_path / "out" / "unreadable.csv").read_text()
    again = ["--model", trained, "--device", "cpu", "--no-viewer", *words]
    call(main_predict, *again, "--out", tmp_path / "out")  # the same again
    (tmp_path / "saved.json").write_text("{}")
    for out in ("out", "new"):  # before the first report, and where all of them are there
        said = refused(capsys, "holds something else", main_predict, *again, "--out", tmp_path / out)
        assert "replace it with --overwrite" in said
    assert (tmp_path / "saved.json").read_text() == "{}"
    call(main_predict, *again, "--out", tmp_path / "out", "--overwrite")
    assert json.loads((tmp_path / "saved.json").read_text()) == saved


def test_studies_of_rexrank_as_a_list(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "in.json").write_text(json.dumps([{"study_id": 7, "image_path": "a.png"}]))
    assert read_studies(tmp_path / "in.json", tmp_path)[1] == {"7": tmp_path / "a.png"}
    for wrong, words in (
        ([{"study_id": 7}], "names no image"),
        ([1], "is no ReXrank file"),
        ({}, "is no ReXrank file"),
    ):
        (tmp_path / "in.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=words):
            read_studies(tmp_path / "in.json", tmp_path)
    (tmp_path / "in.json").write_text(json.dumps({"a": {"image_path": ["x.png"]}}))
    with pytest.raises(UserError, match="--img_root_dir"):
        read_studies(tmp_path / "in.json", tmp_path)
    (tmp_path / "films").mkdir()
    for name in ("../a.png", "/../a.png", "..\\a.png", "deep/../../a.png"):
        (tmp_path / "in.json").write_text(json.dumps({"a": {"image_path": [name]}}))
        with pytest.raises(
            UserError, match=r"study a: its image .* may lie outside --img_root_dir, expected a path without"
        ):
            read_studies(tmp_path / "in.json", tmp_path / "films")


def test_rexranks_paths_are_found_whatever_form_their_letters_have(tmp_path):
    film = tmp_path / unicodedata.normalize("NFD", "Größe.png")
    film.touch()
    (tmp_path / "in.json").write_text(json.dumps({"a": {"image_path": unicodedata.normalize("NFC", film.name)}}))
    assert read_studies(tmp_path / "in.json", tmp_path)[1] == {"a": film}


def test_rexranks_paths_are_found_as_people_write_them(tmp_path):
    """Below the folder with a slash in front or none, whole, with backslashes, as a list of one."""
    film = tmp_path / "films" / "a.png"
    film.parent.mkdir()
    Image.new("L", (40, 40)).save(film)
    for name in ("films/a.png", "/films/a.png", str(film), "films\\a.png"):
        for study in (
            {"image_path": [name]},
            {"image_path": name},
            {"key_image_path": name},
            {"key_image_path": [name]},
        ):
            (tmp_path / "in.json").write_text(json.dumps({"s": study}))
            _, films = read_studies(tmp_path / "in.json", tmp_path)
            assert films["s"].samefile(film)


def test_what_is_named_but_not_there_is_said_at_once(tmp_path, capsys):
    refused(capsys, "nowhere.png does not exist", main_predict, "--images", tmp_path / "nowhere.png")
    refused(capsys, "holds no model_best.pth", main_predict, "--images", __file__, "--model", tmp_path)
    refused(
        capsys, "none does not exist: give the folder", main_predict, "--images", __file__, "--model", tmp_path / "none"
    )
    refused(capsys, "examples/demo comes with the clone", main_predict, "--images", __file__, "--model", tmp_path)
    (tmp_path / "empty").mkdir()
    refused(capsys, "hold no file that ends in .png", main_predict, "--images", tmp_path / "empty")


@pytest.mark.parametrize("name", ["x.safetensors", "model.pth"])
def test_a_broken_model_is_looked_at_before_what_lacks_beside_it(prepared, tmp_path, capsys, name):
    """The vocabulary and the options beside it were asked for."""
    (tmp_path / name).write_bytes(b"\0" * 9 + b"x")
    tested = [
        *places(prepared),
        "--load_pretrained",
        tmp_path / name,
        "--save_dir",
        tmp_path / "out",
        "--device",
        "cpu",
    ]
    for program, words in ((main_test, tested), (main_predict, ["--images", __file__, "--model", tmp_path / name])):
        said = refused(capsys, rf"{name} is", program, *words)
        assert "no weights file" in said or "damaged or cut off" in said
    (tmp_path / name).unlink()
    said = refused(capsys, "2 files or folders are missing", main_test, *tested)  # all at once, as ever
    assert "tokenizer.json" in said


def test_a_model_on_foreign_features_says_what_is_missing(prepared, trained, tmp_path):
    features = prepared / "features"
    copy_of(features, tmp_path / "features")
    (tmp_path / "features" / "entity_scorer.pth").unlink()
    shutil.copytree(trained, tmp_path / "run")
    text = (tmp_path / "run" / "options.json").read_text().replace(str(features), str(tmp_path / "features"))
    (tmp_path / "run" / "options.json").write_text(text)
    with pytest.raises(UserError, match=r"hold no entity_scorer\.pth"):
        Reporter.load(tmp_path / "run")


def test_jpegs_are_read_whatever_they_are_called(tmp_path):
    """Two of these names were neither read nor listed."""
    names = ["a.JPE", "b.jfif", "c.jpeg", "d.jpg"]
    for name in names:
        Image.new("L", (8, 8)).save(tmp_path / name, "jpeg")
    assert [path.name for path in find_films([tmp_path])] == names
    assert [plain_name(path) for path in find_films([tmp_path])] == ["a", "b", "c", "d"]


def test_a_folder_stands_for_its_images_each_once(tmp_path):
    for name in ("b.png", "a.JPG", "deep/c.dcm", ".hidden/d.png", "e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("IM0001", "1.2.840.7", "DICOMDIR"):  # as scanners and their exports write them
        (tmp_path / "deep" / name).write_bytes(bytes(128) + b"DICM")
    (tmp_path / "deep" / "README").write_text("DICM")
    found = find_films([tmp_path / "b.png", tmp_path])
    expected = ["b.png", "a.JPG", "deep/1.2.840.7", "deep/IM0001", "deep/c.dcm"]
    assert [str(path.relative_to(tmp_path)) for path in found] == expected


def test_a_link_that_leads_nowhere_is_a_film_that_cannot_be_read(tmp_path):
    """It was passed over, so that a film without a report was in no list."""
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "notes").symlink_to(tmp_path / "gone.txt")
    assert [path.name for path in find_films([str(tmp_path)])] == ["a.png", "b.png"]
