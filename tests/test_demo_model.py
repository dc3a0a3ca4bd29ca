"""examples/demo: the model that comes with the clone writes a report at once, and is what its command makes."""

import re
import shlex

from programs import call

import main_predict
from modules.options import parse_options
from modules.programs import MainTrain
from modules.records import ROOT, read_json, read_jsonl

DEMO, FILM = ROOT / "examples" / "demo", ROOT / "docs" / "drawing.png"


def test_it_is_small_and_holds_drawings_alone():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 3_000_000
    assert {path.suffix for path in files} == {".safetensors", ".npy", ".json", ".jsonl", ".md", ""}
    ids = [row["id"] for row in read_jsonl(DEMO / "bank" / "training.jsonl")]
    assert all(re.fullmatch(r"synth_\d{6}", identifier) for identifier in ids)


def test_its_first_command_writes_the_report_of_a_drawing(tmp_path, capsys):
    """As the README writes it, from another folder than the clone's; the drawing is of the test split."""
    (command,) = re.findall(r"python main_predict\.py (.*--model examples/demo)", (ROOT / "README.md").read_text())
    words = [str(ROOT / word) if (ROOT / word).exists() else word for word in shlex.split(command)]
    assert str(FILM) in words
    call(main_predict, *words, "--out", tmp_path, "--device", "cpu")
    (row,) = read_jsonl(tmp_path / "predictions.jsonl")
    assert row["report"] in capsys.readouterr().out
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


def test_its_scores_stand_beside_it_with_their_protocol():
    page = (ROOT / "examples" / "README.md").read_text()
    card = (DEMO / "README.md").read_text()
    assert "450 drawings" in page
    for name in ("ce_f1_macro", "BLEU_4"):
        assert re.search(rf"\| {name} \| \.\d{{3}} \|", page)
        assert re.search(rf"\| {name} \| 0\.\d{{3}} \|", card)
