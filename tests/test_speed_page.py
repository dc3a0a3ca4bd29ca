"""docs/speed.md: every measured figure of the GPU stands in benchmarks/h100.json."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "speed.md").read_text().split("## On a GPU", 1)[1]
FIGURES = {f["what"]: f for f in json.loads((ROOT / "benchmarks" / "h100.json").read_text())["figures"]}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("released way, float32", "released way"), ("plain operations", "plain operations"), ("recorded", "recorded"),
        ("recorded, `--compile`", "recorded, compiled"),
    ],
)  # fmt: skip
def test_speeds_of_training_are_the_measured_ones(name, way):
    (line,) = [
        line for line in PAGE.split("| training, studies/s", 1)[1].splitlines() if line.startswith(f"| {name} |")
    ]
    cells = dict(zip((18, 64, 256), line.split("|")[2:5], strict=True))
    found = {size: float(cell) for size, cell in cells.items() if cell.strip()}
    measured = {size: FIGURES.get(f"train, {way}, batch {size}") for size in cells}
    assert found == {size: figure["studies_per_second"] for size, figure in measured.items() if figure}


def test_speeds_of_generation_are_the_measured_ones():
    lines = [line for line in PAGE.splitlines() if re.match(r"\| (plain operations|recorded words), batch", line)]
    assert len(lines) == 5
    for line in lines:
        name, rate, word, whole, memory = (cell.strip() for cell in line.split("|")[1:6])
        figure = FIGURES[f"generate, {name}"]
        keys = "reports_per_second", "ms_per_word", "seconds_of_3858", "gigabytes"
        assert [float(x.removesuffix(" s")) for x in (rate, word, whole, memory)] == [figure[key] for key in keys]


def test_kernels_and_sentences_hold_what_was_measured():
    kernels = FIGURES["kernels of a step, recorded, compiled, batch 256: milliseconds"]
    for kind, spent in kernels.items():
        if kind != "what":
            assert f"| {kind} | {spent} |" in PAGE
    together = sum(kernels[kind] for kind in ("matrix products", "convolutions", "attention"))
    work, step = FIGURES["work of a study"]["gflop"], FIGURES["train, recorded, compiled, batch 256"]
    assert f"{256 * work / together:.0f} TFLOP/s" in PAGE
    assert f"{step['minutes_of_mimic']} minutes" in PAGE
    assert f"a step of {step['ms_per_step']} ms does {step['tflops']} TFLOP/s" in PAGE
    for what, figure in FIGURES.items():
        if what.startswith(("retrieve", "recorded step", "matrix product", "copy")):
            number = next(value for key, value in figure.items() if key != "what")
            assert f"{number:g}".lstrip("0") in PAGE, what
