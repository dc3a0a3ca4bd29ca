"""What the documents say is so: flags, files, commands and scripts exist."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from modules.options.parsing import build_parser
from modules.options.programs import PROGRAMS, MainPrepare
from tools import (
    ablate,
    calibrate,
    check,
    compare_runs,
    convert,
    draw_example,
    draw_sheet,
    ground,
    measure_labeler,
    write_published,
)

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/README.md"), *ROOT.glob("docs/**/*.md")])
SCRIPTS = sorted(ROOT.glob("*.sh"))
OF_OTHER_PROGRAMS = {"--nproc_per_node", "--nnodes", "--local-dir", "--standalone", "--quiet", "--disable-pip-version-check",
                     "--check", "--help", "--porcelain", "--runs", "--threads", "--quick", "--peak_tflops", "--batch",
                     "--maps", "--folder", "--create-dirs", "--processes", "--node_rank", "--rdzv_endpoint", "--nodes", "--ntasks-per-node",
                     "--gpus-per-node", "--logdir", "--requeue", "--signal", "--signals-to-handle", "--slow", "--seconds", "--spread_weight", "--zero_shot", "--own"}  # fmt: skip
TOOLS = (
    ablate.Ablate,
    calibrate.Calibrate,
    check.Check,
    compare_runs.CompareRuns,
    convert.Convert,
    draw_example.DrawExample,
    draw_sheet.DrawSheet,
    ground.Ground,
    measure_labeler.MeasureLabeler,
    write_published.WritePublished,
)
MADE_BY_RUNS = ("data/", "results/", "checkpoints/")


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.fixture(scope="module")
def flags():
    return {
        flag for program in (*PROGRAMS, *TOOLS) for action in build_parser(program)._actions for flag in action.option_strings
    }  # fmt: skip


@pytest.mark.parametrize("path", [*DOCUMENTS, *SCRIPTS], ids=names([*DOCUMENTS, *SCRIPTS]))
def test_every_flag_that_is_named_exists(path, flags):
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*[a-z]", path.read_text(encoding="utf-8")))
    earlier = MainPrepare.moved.keys() if path.name == "CHANGELOG.md" else set()
    assert not named - flags - OF_OTHER_PROGRAMS - earlier


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_file_that_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    quoted = re.findall(r"`([\w./-]+\.(?:py|sh|md|txt|toml))`", text)
    written = {"table.md", "profile.md", "vocab.txt", "utils.py"}  # by runs or by others, or named as what there is not
    missing = [
        name
        for name in {*linked, *quoted} - written
        if not ((ROOT / name).exists() or (path.parent / name).exists() or name.startswith(MADE_BY_RUNS))
        and not ("/" not in name and any(ROOT.glob(f"m*/**/{name}")))
    ]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_every_section_that_is_linked_exists(path):
    """As GitHub names them: small letters, hyphens for blanks, no other signs."""
    missing = []
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        page = (path.parent / file if file else path).read_text(encoding="utf-8")
        sections = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
        if anchor not in {re.sub(r"[^\w\- ]", "", section.lower()).replace(" ", "-") for section in sections}:
            missing.append(f"{file}#{anchor}")
    assert not missing


@pytest.mark.parametrize("path", SCRIPTS, ids=names(SCRIPTS))
def test_scripts_parse_and_call_programs_that_exist(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    for program in re.findall(r"\b(?:main_\w+|tools/\w+)\.py", path.read_text(encoding="utf-8")):
        assert (ROOT / program).is_file(), program


def test_the_readme_names_every_room():
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## Where things are")[1]
    folders = {path.parent.name for path in [*ROOT.glob("models/**/*.py"), *ROOT.glob("modules/**/*.py")]}
    assert [name for name in sorted(folders) if f"{name}/" not in tree] == []


def test_every_difference_from_the_released_code_stands_at_its_place_in_the_code():
    sources = [path.read_text() for folder in ("models", "modules") for path in (ROOT / folder).rglob("*.py")]
    parts = [part for source in sources for part in re.findall(r'Departure:.*?(?:\n\s*\n|""")', source, re.DOTALL)]
    table = (ROOT / "docs" / "method.md").read_text().split("| switch that restores it |")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    switches = {re.search(r"--[\w-]+", row[2])[0] for row in rows if "`--" in row[2] and row[1] != "ablation baselines"}
    assert len(switches) > 12
    assert {name for name in switches if not any(name in part for part in parts)} == set()


def test_quickstart_and_test_commands_open_the_readme():
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "bash quickstart.sh" in first_screen
    assert "bash run_tests.sh" in first_screen


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 9_000


@pytest.mark.slow
def test_scripts_list_what_is_missing_and_end_with_status_two(forks, tmp_path):
    """On a clone without data and weights the published command says everything that it lacks."""
    for script, missing in (("train_mimic_cxr.sh", 5), ("test_mimic_cxr.sh", 4), ("test_iu_xray.sh", 4)):
        flags = ["--ann_path", tmp_path / "a.json", "--image_dir", tmp_path / "images", "--feature_dir", tmp_path / "f"]
        if script.startswith("train"):
            flags += ["--bert_path", tmp_path / "bert", "--resnet_weights", tmp_path / "resnet101.pth"]
        else:
            flags += ["--bank_dir", tmp_path / "bank", "--load_pretrained", tmp_path / "model.pth"]
        done = subprocess.run(
            ["bash", str(ROOT / script), *map(str, flags)], capture_output=True, text=True, timeout=300,
            env={**os.environ, "VIRTUAL_ENV": str(forks.folder)},
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert int(re.search(r"(\d+) files? or folders? (?:are|is) missing", done.stderr)[1]) >= missing
        assert "Traceback" not in done.stderr
