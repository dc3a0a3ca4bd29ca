"""tools/compare_runs.py: options that differ, scores with intervals, and p of the differences, of two tested runs."""

import json

import pytest
from programs import call, refused

from tools import compare_runs

REFERENCE = "the heart is enlarged . there is a left pleural effusion . no pneumothorax ."
WRONG = "the heart is normal . the lungs are clear . no pneumothorax ."


@pytest.fixture
def runs(tmp_path):
    for name, report, lr in (("good", REFERENCE, 1e-3), ("poor", WRONG, 2e-3)):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"id": f"s{n}", "prediction": report, "reference": f"{REFERENCE} {n} ."} for n in range(30)]
        (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = {"init_lr": lr, "epochs": 6, "save_dir": str(folder)}
        (folder / "options.json").write_text(json.dumps({"options": options}))
    return tmp_path / "good", tmp_path / "poor"


def test_two_runs_are_compared(runs, capsys):
    call(compare_runs, *runs, "--no-meteor", "--resamples", 50)
    said = capsys.readouterr().out
    options, scores = said.split("\n\n", 1)
    assert options.splitlines()[:2] == ["differing options:", "  init_lr: good 0.001, poor 0.002"]
    assert "30 studies" in scores
    difference = next(line for line in scores.splitlines() if line.strip().startswith("ce_f1_example"))
    assert difference.split()[1].startswith("-")
    assert difference.endswith("*")
    assert "poor minus good" in scores


def test_other_code_and_other_numbers_of_processes_are_named(runs, capsys):
    """Two processes take twice the studies of a step, and no flag says so where torchrun starts them."""
    for folder, processes, dirty in zip(runs, (1, 2), (False, True), strict=True):
        record = {"options": {}, "processes": processes, "commit": "0123456789abcdef", "dirty": dirty}
        (folder / "options.json").write_text(json.dumps(record))
    call(compare_runs, *runs, "--no-meteor", "--resamples", 5)
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "  processes: good 1, poor 2",
        "  commit: good 0123456789ab, poor 0123456789ab with uncommitted changes",
    ]


def test_a_run_is_not_compared_with_itself(runs, capsys):
    refused(capsys, "none of them twice", compare_runs, runs[0], runs[0].parent / "." / runs[0].name)


def test_a_run_without_a_test_is_told_how_to_test_it(runs, capsys):
    (runs[1] / "predictions.jsonl").unlink()
    (runs[1] / "options.json").write_text(json.dumps({"options": {"dataset_name": "custom"}}))
    words = f"test it first: python main_test.py --dataset_name custom --save_dir {runs[1]}"
    refused(capsys, words, compare_runs, *runs)


def test_runs_of_different_data_are_told_so(runs, capsys):
    flags = [*runs, "--no-meteor", "--resamples", 5]
    for sums, said in ((("1", "1"), False), (("1", "2"), True)):
        for folder, checksum in zip(runs, sums, strict=True):
            (folder / "results_of.json").write_text(json.dumps({"annotation": checksum, "bank": "3"}))
        call(compare_runs, *flags)
        assert ("the data differ (annotation): scores are of the studies in common" in capsys.readouterr().out) is said


def test_runs_that_share_the_root_alone_are_named_by_their_whole_path(runs, capsys, monkeypatch):
    monkeypatch.setattr(compare_runs.os.path, "commonpath", lambda folders: runs[0].anchor)
    call(compare_runs, *runs, "--no-meteor", "--resamples", 5)
    assert f"init_lr: {runs[0].resolve()} 0.001," in capsys.readouterr().out


@pytest.mark.parametrize("common", [0, 2])
def test_runs_of_other_studies_are_told_what_mends_it(runs, common, capsys):
    """They were told flags that the program does not have."""
    file = runs[1] / "predictions.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[common:] = [{**row, "id": f"other{row['id']}"} for row in rows[common:]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refused(capsys, f"the runs have {common} studies in common (good 30, poor 30)", compare_runs, *runs)
    assert "--" not in message


def test_what_is_no_run_is_named(runs, tmp_path, capsys):
    refused(capsys, "two tested runs at least", compare_runs, runs[0])
    assert "predictions.jsonl" in refused(capsys, "is missing", compare_runs, runs[0], tmp_path / "none")
