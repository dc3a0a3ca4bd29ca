"""examples/demo: the model that comes with the clone writes a report at once, and is what its command makes."""

import contextlib
import io
import re
import shlex

import pytest
from PIL import Image
from programs import call

import main_predict
import main_score
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.prediction.card import SCORES
from modules.preparation.synthetic.dataset import SyntheticOptions, plan_dataset
from modules.preparation.synthetic.reports import write_report
from modules.preparation.synthetic.study import draw_study
from modules.records import ROOT, read_json, read_jsonl, write_json

DEMO, FILM = ROOT / "examples" / "demo", ROOT / "docs" / "drawing.png"


def test_it_is_small_and_holds_drawings_alone():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 3_000_000
    assert {path.suffix for path in files} == {".safetensors", ".npy", ".json", ".jsonl", ".md", ""}
    ids = [row["id"] for row in read_jsonl(DEMO / "bank" / "training.jsonl")]
    assert all(re.fullmatch(r"synth_\d{6}", identifier) for identifier in ids)


class Terminal(io.StringIO):
    """Keeps what is printed, and says that somebody looks at it."""

    def isatty(self):
        return True


def seen(*words):
    """What a terminal shows of a prediction."""
    with contextlib.redirect_stdout(Terminal()) as terminal:
        call(main_predict, *words)
    return terminal.getvalue()


def test_the_readmes_command_for_one_film_needs_nothing_but_the_clone(tmp_path):
    """Without a training before it; noise is a film like none of the training, and gets its report and the warning."""
    (command,) = re.findall(r"`python main_predict\.py (--images film\.png[^`]*)`", (ROOT / "README.md").read_text())
    film = tmp_path / "film.png"
    Image.effect_noise((300, 340), 90).save(film)
    named = {"film.png": film, "examples/demo": DEMO}
    words = (named.get(word, word) for word in shlex.split(command))
    printed = seen(*words, "--out", tmp_path, "--device", "cpu")
    (row,) = read_jsonl(tmp_path / "predictions.jsonl")
    assert row["unlike_training"] is True
    assert row["report"] in printed
    assert "1 report is in" in printed
    assert "warning: 1 image is unlike" in printed
    assert "Research use only" in printed


def test_its_first_command_writes_the_report_of_a_drawing(tmp_path):
    """As the README writes it, from another folder than the clone's; the drawing is of the test split."""
    (command,) = re.findall(
        r"python main_predict\.py (--images docs/\S+ --model examples/demo)", (ROOT / "README.md").read_text()
    )
    words = [str(ROOT / word) if (ROOT / word).exists() else word for word in shlex.split(command)]
    assert str(FILM) in words
    printed = seen(*words, "--out", tmp_path, "--device", "cpu")
    (row,) = read_jsonl(tmp_path / "predictions.jsonl")
    assert row["report"] in printed
    assert row["states"]["atelectasis"] == "positive"
    assert "atelectasis" in row["report"]
    assert row["unlike_training"] is False
    assert row["retrieved_report"]


def test_the_command_that_is_written_down_makes_this_network():
    """Its widths and switches, defaults included: a default that changes asks for another training of it."""
    script = (ROOT / "examples" / "train_demo.sh").read_text().replace("\\\n", " ")
    data = shlex.split(re.search(r"^data=\((.*)\)$", script, re.MULTILINE)[1])
    (line,) = re.findall(r"main_train\.py (.*)", script)
    words = [part for word in shlex.split(line) for part in (data if word == "${data[@]}" else [word])]
    asked = vars(parse_options(MainTrain, words).model)
    network = read_json(DEMO / "config.json")["network"]
    shared = asked.keys() & network.keys()
    assert {"visual_extractor", "map_view", "hidden_size", "retrieval"} <= shared
    assert {name: network[name] for name in shared} == {name: asked[name] for name in shared}


def test_its_card_quotes_the_scores_that_stand_beside_it():
    page, card = (ROOT / "examples" / "README.md").read_text(), (DEMO / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+ to [\d.]+) \|", page, re.MULTILINE)
    quoted = re.findall(r"^\| (\w+) \| 0?([\d.]+) \| ([\d.]+ to [\d.]+) \|$", card, re.MULTILINE)
    assert [(name, value, span.replace("0.", ".")) for name, value, span in quoted] == rows
    assert len(rows) == len(SCORES)
    assert "Measured on this release." in card


@pytest.mark.slow
def test_the_scores_beside_it_are_those_of_the_release(tmp_path):
    """Its test split drawn again, read and scored by the two commands of the page, in a folder of the test."""
    page = (ROOT / "examples" / "README.md").read_text()
    options = SyntheticOptions()
    plans = [plan for plan in plan_dataset(options) if plan.split == "test"]
    assert f"these {len(plans)} studies" in page
    for plan in plans:
        pixels, _ = draw_study(plan, options.image_size, options.difficulty)
        film = tmp_path / "data" / "synth_cxr" / "images" / "test" / f"{plan.study_id}.png"
        film.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(film)
    studies = [
        {
            "id": plan.study_id,
            "report": write_report(plan),
            "image_path": [f"test/{plan.study_id}.png"],
            "split": "test",
        }
        for plan in plans
    ]
    write_json(tmp_path / "data" / "synth_cxr" / "annotation.json", {"train": [], "val": [], "test": studies})
    for program, first in ((main_predict, "--images"), (main_score, "--predictions")):
        (line,) = re.findall(rf"^    python {program.__name__}\.py ({first} .*of_demo.*)$", page, re.MULTILINE)
        words = [
            tmp_path / word if word.startswith(("data/", "results/")) else ROOT / word if "/" in word else word
            for word in shlex.split(line)
        ]
        call(program, *words, "--device", "cpu")
    scored = read_json(tmp_path / "results" / "of_demo" / "scores" / "metrics.json")
    (system,) = scored["systems"].values()
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \|", page, re.MULTILINE)
    assert [name for name, *_ in rows] == list(SCORES)
    for name, *figures in rows:
        found = [system["scores"][f"test_{name}"], *system["intervals"][f"test_{name}"]]
        assert [float(figure) for figure in figures] == pytest.approx(found, abs=0.006)  # a word more or less
