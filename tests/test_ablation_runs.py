"""The ablation runner: a real run from drawing to table, what is repeated, and what a failure leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import call
from small_set import small_bank

import main_prepare
from modules.evaluation.reports.ablation_files import write_ablation_files
from modules.messages import UserError
from modules.options.parsing import flat, parse_options
from modules.options.programs import MainPrepare, MainTest, MainTrain
from modules.records import ROOT, plain, read_json, write_json
from modules.training import ablation_lines, ablation_runs
from modules.training.ablation_lines import dotted_numbers, features_checksum
from modules.training.ablation_progress import progress
from modules.training.ablation_runs import (
    finished_runs,
    is_as_asked,
    run_ablation,
    searched_as,
    trained_alike,
)
from modules.training.ablations import (
    ABLATIONS,
    BENCHMARKS,
    QUICK,
    QUICK_ROWS,
    RELEASED,
    WHOLE,
    Ablation,
    Benchmark,
    Job,
)
from modules.training.run_options import drawn_in
from tools import ablate
from tools.ablate import AblateOptions, benchmark_of, chosen_rows, named_options

DATA = ["--dataset_name", "synth_cxr"]
BARE = {"named": [], "data": "d", "commit": "c" * 40, "dirty": False, "hardware": "cpu"}  # of a line
TINY = Benchmark(
    "tiny",
    "--num_studies 40 --val_share 0.1 --test_share 0.2 --readers 4 --synth_image_size 74 --image_size 64 --scorer_epochs 1 "
    "--scorer_width 16 --scorer_layers 1 --text_width 16 --clip_k 3 --batch_size 8",
    "--image_size 64 --batch_size 8 --d_model 32 --h_dim 16 --memory_feedforward 32 --decoder_layers 1 --hidden_size 32 "
    "--intermediate_size 64 --threshold 1 --gen_min_len 25 --gen_max_len 30 --beam_size 1 --epochs 1 --warmup_steps 2",
)


def settings_in(folder, **changes):
    found = {"seeds": 1, "parallel": 1, "root": str(folder / "root"), "runs": str(folder / "runs.jsonl")}
    return AblateOptions(**{**found, **changes})


@pytest.mark.slow
def test_a_run_from_drawing_to_table(tmp_path, capsys, forks, monkeypatch):
    """The real programs: drawn, prepared, trained, tested; then a line, a table, and nothing to do the second time."""
    monkeypatch.setattr(sys, "executable", str(forks.python))
    settings = settings_in(tmp_path)
    rows, named = [Ablation("full")], {"full": [], "broken": ["init_from"], "two beams": ["beam_size"]}
    run_ablation(TINY, rows, named, settings)
    assert "1 of 1 runs are finished" in capsys.readouterr().out
    (line,) = [json.loads(text) for text in Path(settings.runs).read_text().splitlines()]
    assert (line["benchmark"], line["row"], line["seed"]) == ("tiny", "full", 1)
    assert line["settings"]["epochs"] == 1
    assert {"beam_size", "epochs", "batch_size"} <= {*line["shared"]}
    threads = os.environ.get("OMP_NUM_THREADS", os.cpu_count())  # one run at a time has them all
    assert torch.cuda.is_available() or line["hardware"].endswith(f", {threads} threads")
    assert not [name for name, value in line["settings"].items() if str(tmp_path) in str(value)]  # no place on a disk
    by_sign = {name.partition(".signs.")[0] for name in line["figures"] if ".signs." in name}
    assert by_sign == {"grounding.rows.maps"}  # those of what they are compared with would be half of the line
    for name in ("scores.test_BLEU_4", "scores.test_ce_f1_macro_tail", "grounding.rows.maps.hit_rate", "seconds.train"):
        assert line["figures"][name] >= 0
    run_ablation(TINY, rows, named, settings)
    assert len(Path(settings.runs).read_text().splitlines()) == 1
    with pytest.raises(UserError, match=r"1 of 1 runs failed: see .*broken/1/log\.txt"):
        run_ablation(TINY, [*rows, Ablation("broken", "--init_from nowhere.pth")], named, settings)
    shown = capsys.readouterr().out
    assert "broken, seed 1, failed" in shown
    assert "nowhere.pth" in shown
    said = write_ablation_files(Path(settings.runs))
    assert "| full " in (tmp_path / "tiny.md").read_text()
    assert r"\toprule" in (tmp_path / "tiny.tex").read_text()
    assert not [text for text in said if text.endswith(".png")]  # one row has no difference to draw
    run_ablation(TINY, [*rows, Ablation("two beams", "--beam_size 2")], named, settings)  # the same model, other beams
    folder = tmp_path / "root" / "tiny"
    assert "main_train.py" not in (folder / "two_beams" / "1" / "log.txt").read_text()
    assert not (folder / "two_beams" / "1" / "model_best.pth").exists()
    _, two = [json.loads(text) for text in Path(settings.runs).read_text().splitlines()]
    assert two["settings"] == {**line["settings"], "beam_size": 2, "second_search": 12}  # of one beam there is none
    assert two["figures"]["seconds.train"] == line["figures"]["seconds.train"] > 0
    assert two["figures"]["reference_sensitivity.none"] == line["figures"]["reference_sensitivity.none"]


@pytest.mark.parametrize(("given", "threads"), [("1", 1), (" 2", 2), (None, 7), ("0", 7), ("2,1", 7), ("all", 7)])
def test_a_line_names_the_threads_of_its_run(tmp_path, monkeypatch, given, threads):
    """Those of the run's environment, which is its own; where that says none, as many as torch takes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(ablation_lines, "features_checksum", lambda _: "f" * 12)
    (tmp_path / "annotation.json").touch()
    write_json(tmp_path / "metrics.json", {"studies": 1, "commit": None, "dirty": None})
    job, options = Job(Ablation("x"), 1, tmp_path), {"ann_path": str(tmp_path / "annotation.json"), "feature_dir": ""}
    environment = {} if given is None else {"OMP_NUM_THREADS": given}
    line = ablation_lines.run_line(job, "b", {}, options, tmp_path, 1.0, environment)
    assert line["hardware"].endswith(f", {threads} threads")


@pytest.mark.slow
def test_every_row_of_the_grid_has_flags_that_training_knows_and_names_what_they_set():
    assert ABLATIONS[0] == Ablation("full")
    assert len({row.name for row in ABLATIONS}) == len({row.flags for row in ABLATIONS}) == len(ABLATIONS)
    assert {*QUICK_ROWS} < {row.name for row in ABLATIONS}
    for row in ABLATIONS:
        for benchmark in (WHOLE, QUICK) if row.name in QUICK_ROWS else (WHOLE,):
            shared = [*DATA, *benchmark.training.split()]
            full, own = (flat(parse_options(MainTrain, [*shared, *flags.split()])) for flags in ("", row.flags))
            changed = {name for name in full if full[name] != own[name]}
            assert bool(changed) == bool(row.flags), f"{row.name} is the full model"
            assert changed <= {*named_options(row, benchmark, "synth_cxr")}
    assert named_options(Ablation("c", "--c 1 --no-mask_padding"), WHOLE, "synth_cxr") == ["curvature", "mask_padding"]


def test_rows_are_chosen_by_name_in_the_order_of_the_grid():
    chosen = chosen_rows(AblateOptions(rows=("no retrieval", "full")))
    assert [row.name for row in chosen] == ["full", "no retrieval"]
    tail = chosen_rows(AblateOptions(rows=("full", "every study once", "most probable of three beams")))
    assert [row.flags for row in tail] == ["", "--rare_sampling 0", "--rerank none --beam_size 3"]
    assert [row.name for row in chosen_rows(AblateOptions(quick=True))] == list(QUICK_ROWS)
    with pytest.raises(UserError, match='--rows names nothing, which is none of "full", "no retrieval"'):
        chosen_rows(AblateOptions(rows=("nothing",)))


def test_prepared_data_of_ones_own_are_a_benchmark_of_their_name():
    benchmark = benchmark_of(AblateOptions(dataset_name="mimic_cxr", training="--epochs 2"))
    assert benchmark == Benchmark("mimic_cxr", None, "--epochs 2")


@pytest.mark.parametrize("name", ["seed 3", "save_dir elsewhere", "resume", "feature_dir=x", "dataset_name synth_cxr"])
def test_what_the_runner_gives_every_run_is_refused_in_training(name):
    flag = name.replace("=", " ").split()[0]
    with pytest.raises(UserError, match=f"--training sets --{flag}, which the ablation gives every run itself"):
        benchmark_of(AblateOptions(training=f"--epochs 2 --{name}"))


def test_quotes_that_do_not_close_are_refused():
    with pytest.raises(UserError, match="whose quotes do not close"):
        benchmark_of(AblateOptions(training="--epochs '3"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": "1"}, "is not the line of a finished run, it has '1' as its seed"),
        ({"figures": None}, "it has None as its figures"),
        ({"settings": []}, r"it has \[\] as its settings"),
        ({"figures": {"seed": True}}, "has True as seed, expected a number"),
        (
            {"figures": {"map_correlation": float("nan")}},
            r"\(full, seed 1\) has nan as map_correlation, expected a number",
        ),
        ({"figures": {"map_correlation": None}}, "has None as map_correlation, expected a number"),
    ],
    ids=str,
)
def test_a_run_whose_numbers_are_none_is_named(tmp_path, changes, said):
    line = {"benchmark": "b", "row": "full", "seed": 1, "flags": "", "settings": {}, "figures": {}, **BARE, **changes}
    (tmp_path / "runs.jsonl").write_text(json.dumps(line))
    with pytest.raises(UserError, match=said):
        write_ablation_files(tmp_path / "runs.jsonl")


@pytest.mark.parametrize("name", BARE)
def test_a_run_without_what_it_is_compared_by_is_named(tmp_path, name):
    line = {"benchmark": "b", "row": "full", "seed": 1, "flags": "", "settings": {}, "figures": {}, **BARE}
    del line[name]
    (tmp_path / "runs.jsonl").write_text(json.dumps(line))
    with pytest.raises(UserError, match=f"is not the line of a finished run, it has no {name}"):
        write_ablation_files(tmp_path / "runs.jsonl")


def test_a_table_says_what_every_row_was_given(tmp_path):
    """It called what ``--training`` had set the defaults."""
    line = {"benchmark": "b", "row": "full", "seed": 1, "flags": "", "settings": {"epochs": 2}, "figures": {}, **BARE}
    for shared, said in (({}, "The rest are"), ({"shared": ["epochs"]}, "Set for every row: `epochs 2`. The rest are")):
        (tmp_path / "runs.jsonl").write_text(json.dumps({**line, **shared}))
        write_ablation_files(tmp_path / "runs.jsonl")
        assert (said in (tmp_path / "b.md").read_text()) == bool(shared)


def test_a_table_of_one_seed_promises_no_interval(tmp_path):
    line = {"benchmark": "b", "row": "full", "seed": 1, "flags": "", "settings": {}, "figures": {}, **BARE}
    for seeds, words in (((1,), "One seed of each row: no interval"), ((1, 2), "Mean over seeds [95 % interval")):
        (tmp_path / "runs.jsonl").write_text("\n".join(json.dumps({**line, "seed": seed}) for seed in seeds))
        write_ablation_files(tmp_path / "runs.jsonl")
        assert words in (tmp_path / "b.md").read_text()
        assert words in (tmp_path / "b.tex").read_text().replace("\\%", "%")


def test_a_file_without_a_run_gives_no_table(tmp_path):
    (tmp_path / "runs.jsonl").touch()
    with pytest.raises(UserError, match="holds no finished run: give the file of some"):
        write_ablation_files(tmp_path / "runs.jsonl")


@pytest.mark.parametrize(
    ("benchmark", "splits", "readers"),
    [
        (BENCHMARKS["whole"], (2700, 300, 3000), 100),
        (BENCHMARKS["small"], (1035, 60, 405), 26),
        (BENCHMARKS["unseen"], (2700, 900, 3000), 100),
        (QUICK, (608, 32, 160), 16),
    ],
    ids=lambda value: value.name if isinstance(value, Benchmark) else "",
)
def test_a_benchmark_is_drawn_as_the_findings_say(benchmark, splits, readers):
    drawing = parse_options(MainPrepare, [*DATA, *benchmark.drawing.split()]).drawing
    val, test = (round(drawing.num_studies * share) for share in (drawing.val_share, drawing.test_share))
    assert (drawing.num_studies - val - test, val, test) == splits
    assert drawing.readers == readers
    trained = parse_options(MainTrain, [*DATA, *benchmark.training.split()])
    assert trained.generation.second_search == 0
    assert trained.training.val_every == trained.training.epochs


def test_every_benchmark_has_its_name():
    assert [*BENCHMARKS] == ["whole", "small", "unseen"]
    assert [benchmark_of(AblateOptions(benchmark=name)) for name in BENCHMARKS] == [*BENCHMARKS.values()]
    assert benchmark_of(AblateOptions(quick=True)) == QUICK
    assert len({one.name for one in (*BENCHMARKS.values(), QUICK)}) == 4


def test_the_quick_benchmark_is_short_and_searches_as_the_released_behaviour_does():
    quick = flat(parse_options(MainTrain, [*DATA, *QUICK.training.split()]))
    released = flat(parse_options(MainTrain, [*DATA, *QUICK.training.split(), *RELEASED.split()]))
    assert (quick["epochs"], quick["batch_size"], quick["decoder_layers"]) == (4, 8, 2)
    assert quick["beam_size"] == released["beam_size"] == 3
    assert QUICK_ROWS == ("full", "no retrieval", "released behaviour")


def test_unseen_drawings_differ_from_the_others_in_nothing_that_is_trained():
    whole, unseen = BENCHMARKS["whole"], BENCHMARKS["unseen"]
    assert (unseen.training, unseen.name != whole.name) == (whole.training, True)
    seeds = [parse_options(MainPrepare, [*DATA, *one.drawing.split()]).runtime.seed for one in (whole, unseen)]
    assert seeds[0] != seeds[1]
    told = [line.split() for line in (ROOT / "tests" / "documented_commands.txt").read_text().splitlines()]
    (preparing,) = [words for words in told if "results/harder/features" in words and "--difficulty" in words]
    asked = [parse_options(MainPrepare, words) for words in (preparing[2:], [*DATA, *unseen.drawing.split()])]
    assert asked[0].drawing == asked[1].drawing
    assert asked[0].runtime.seed == asked[1].runtime.seed


@pytest.mark.parametrize(
    ("flags", "two"),
    [
        (["--benchmark", "small", "--quick"], ("--benchmark", "--quick")),
        (["--quick", "--benchmark", "whole"], ("--benchmark", "--quick")),
        (["--benchmark", "unseen", "--dataset_name", "iu_xray"], ("--benchmark", "--dataset_name iu_xray")),
        (["--quick", "--dataset_name", "iu_xray"], ("--quick", "--dataset_name iu_xray")),
    ],
    ids=str,
)
def test_data_are_chosen_once(tmp_path, capsys, flags, two):
    with pytest.raises(SystemExit, match="2"):
        call(ablate, *flags, "--runs", tmp_path / "runs.jsonl", "--root", tmp_path / "root")
    assert f"{two[0]} chooses the data, and so does {two[1]}: leave out one of them" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("flags", [["--rows", "full"], ["--training", "--epochs 2"], ["--seeds", "7"], ["--quick"]])
def test_a_table_takes_no_flags_of_trainings(tmp_path, capsys, flags):
    with pytest.raises(SystemExit, match="2"):
        call(ablate, "--table", "--runs", tmp_path / "runs.jsonl", *flags)
    assert f"--table makes all tables of a file and trains nothing: leave out {flags[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['{"a": 1}', "3"])
def test_a_file_of_other_lines_is_refused(tmp_path, content):
    (tmp_path / "runs.jsonl").write_text(content)
    for read in (write_ablation_files, lambda path: ablation_runs.finished_runs(path, "x")):
        with pytest.raises(UserError, match=r"value 1 of .* is not the line of a finished run, it has no benchmark"):
            read(tmp_path / "runs.jsonl")


def test_a_table_says_whether_its_seconds_leave_out_the_fits(tmp_path):
    line = {"benchmark": "b", "row": "full", "flags": "", "settings": {}, "figures": {"seconds.train": 60.0}, **BARE}
    for day, said in (("2026-11-29T20:59:59+00:00", True), ("2026-11-29T21:00:01+00:00", False)):
        runs = [{**line, "seed": seed, "finished": day} for seed in (1, 2)]
        (tmp_path / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
        write_ablation_files(tmp_path / "runs.jsonl")
        assert ("Training seconds of runs before 2026-11-29" in (tmp_path / "b.md").read_text()) == said


def test_the_small_benchmark_is_the_small_model_of_the_findings():
    options = AblateOptions(benchmark="small", rows=("full", "one reference"))
    benchmark, rows = benchmark_of(options), chosen_rows(options)
    trained = flat(parse_options(MainTrain, [*DATA, *benchmark.training.split()]))
    assert (trained["epochs"], trained["val_every"], trained["decoder_layers"]) == (8, 8, 2)
    assert [named_options(row, benchmark, "synth_cxr") for row in rows] == [[], ["references"]]


@pytest.mark.parametrize(("benchmark", "epochs"), [("whole", 14), ("small", 8)])
def test_findings_are_rewarded_in_the_last_two_epochs_of_their_row(benchmark, epochs):
    """As both tables of docs/findings.md have it."""
    rows = ("full", "findings rewarded at the end", "rare findings rewarded at the end")
    options = AblateOptions(benchmark=benchmark, rows=rows)
    chosen, drawn, rarity = benchmark_of(options), {}, []
    for row in chosen_rows(options):
        trained = parse_options(MainTrain, [*DATA, *chosen.training.split(), *row.flags.split()]).training
        assert trained.epochs == trained.val_every == epochs
        drawn[row.name] = [epoch for epoch in range(1, epochs + 1) if drawn_in(trained, epoch) == 3]
        rarity.append(trained.scst_rarity)
    assert drawn == {rows[0]: [], rows[1]: [epochs - 1, epochs], rows[2]: [epochs - 1, epochs]}
    assert rarity == [0, 0, 1]


def test_gradients_are_combined_in_their_row_alone():
    options = AblateOptions(benchmark="small", rows=("full", "conflict-averse gradients"))
    benchmark, rows = benchmark_of(options), chosen_rows(options)
    asked = [flat(parse_options(MainTrain, [*DATA, *benchmark.training.split(), *row.flags.split()])) for row in rows]
    assert [(one["cagrad"], one["epochs"]) for one in asked] == [(0, 8), (0.4, 8)]
    assert [named_options(row, benchmark, "synth_cxr") for row in rows] == [[], ["cagrad"]]


@pytest.mark.parametrize("benchmark", ["whole", "small"])
def test_maps_of_fine_cells_are_those_of_their_row_alone(benchmark):
    options = AblateOptions(benchmark=benchmark, rows=("full", "maps of fine cells"))
    chosen, rows = benchmark_of(options), chosen_rows(options)
    asked = [flat(parse_options(MainTrain, [*DATA, *chosen.training.split(), *row.flags.split()])) for row in rows]
    assert [(one["map_view"], one["grid"]) for one in asked] == [("near", "1x"), ("fine", "1x")]
    assert [named_options(row, chosen, "synth_cxr") for row in rows] == [[], ["map_view"]]


@pytest.mark.parametrize(
    ("dataset_name", "quick", "rerank"),
    [("synth_cxr", False, "states"), ("synth_cxr", True, "maps"), ("iu_xray", False, "states")],
)
def test_a_second_search_is_that_of_its_rows_alone_on_every_data_set(dataset_name, quick, rerank):
    names = ("full", "second search", "second search without guidance")
    options = AblateOptions(quick=quick, dataset_name=dataset_name, rows=names)
    benchmark, rows = benchmark_of(options), chosen_rows(options)
    data = ["--dataset_name", dataset_name]
    asked = [flat(parse_options(MainTrain, [*data, *benchmark.training.split(), *row.flags.split()])) for row in rows]
    assert [(one["second_search"], one["guidance"]) for one in asked] == [(0, 1.0), (12, 1.0), (12, 0.0)]
    assert [one["rerank"] for one in asked[1:]] == [rerank, rerank]
    assert [named_options(row, benchmark, dataset_name) for row in rows] == [
        [],
        ["second_search"],
        ["guidance", "second_search"],
    ]


def test_a_row_whose_flags_have_changed_is_run_again(tmp_path):
    path, training = tmp_path / "runs.jsonl", Benchmark("a", None, "--epochs 4 --rerank states")
    runs = [
        {"benchmark": "a", "row": "full", "seed": 1, "flags": "--c 1", "settings": {"epochs": 9}},
        {
            "benchmark": "a",
            "row": "full",
            "seed": 1,
            "flags": "",
            "settings": {"epochs": 4, "rerank": "states", "c": 3},
        },
        {"benchmark": "b", "row": "full", "seed": 1, "flags": "--c 1", "settings": {}},
    ]
    for run in runs:
        run |= {"figures": {}, **BARE}
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    assert finished_runs(path, "a") == {("full", 1): runs[1]}
    assert finished_runs(tmp_path / "none.jsonl", "a") == {}
    full, changed = Ablation("full"), Ablation("full", "--c 1")
    assert is_as_asked(runs[1], full, training, "synth_cxr")
    assert not is_as_asked(runs[1], changed, training, "synth_cxr")
    assert not is_as_asked(None, full, training, "synth_cxr")
    longer = training._replace(training="--epochs 4 --rerank states --epochs 8")  # as --training adds to it
    assert not is_as_asked(runs[1], full, longer, "synth_cxr")
    unranked = Ablation("unranked", "--rerank none")
    run = {"flags": unranked.flags, "settings": {"epochs": 4, "rerank": "none"}}  # a row may change what all share
    assert is_as_asked(run, unranked, training, "synth_cxr")


def test_a_run_that_was_given_more_flags_is_not_taken_and_not_gone_on_with(tmp_path):
    """Those of ``--training`` at that time: they were taken for defaults of then."""
    benchmark, full = Benchmark("a", None, "--epochs 4"), Ablation("full")
    options = ablation_runs.options_of(full, benchmark, "synth_cxr")
    given = ablation_runs.shared_options(benchmark._replace(training="--epochs 4 --init_lr 0.5"), "synth_cxr")
    assert {"epochs", "init_lr"} <= {*given}
    other = {**options, "init_lr": 0.5}
    assert is_as_asked({"flags": "", "settings": other}, full, benchmark, "synth_cxr")  # another default of then
    assert not is_as_asked({"flags": "", "settings": other, "shared": given}, full, benchmark, "synth_cxr")
    assert is_as_asked({"flags": "", "settings": options, "shared": given}, full, benchmark, "synth_cxr")
    settings = settings_in(tmp_path)
    folder = tmp_path / "root" / "a" / "full" / "1"
    write_json(folder / "options.json", {"options": other})
    line = {"benchmark": "a", "row": "full", "seed": 1, "flags": "", "settings": other, "figures": {}, **BARE}
    Path(settings.runs).write_text(json.dumps({**line, "shared": given}) + "\n")
    with pytest.raises(UserError, match=r"full/1 holds a training with other flags \(init_lr 0.5 there, 0.0025 here\)"):
        run_ablation(benchmark, [full], {"full": []}, settings)


@pytest.mark.parametrize("benchmark", [WHOLE, BENCHMARKS["unseen"]], ids=["whole", "unseen"])
def test_the_committed_runs_are_as_asked(benchmark):
    runs = finished_runs(ROOT / "docs" / "ablations" / "runs.jsonl", benchmark.name)
    assert len(runs) >= 6
    rows = {row.name: row for row in ABLATIONS}
    before = "finer grid, "  # as its maps were made before
    asked = {key: rows["finer grid" if key[0].startswith(before) and key[0] not in rows else key[0]] for key in runs}
    assert [key for key, run in runs.items() if not is_as_asked(run, asked[key], benchmark, "synth_cxr")] == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--epochs 3", "epochs 1 there, 3 here"),
        ("--scst 3", "scst 0 there, 3 here"),
        ("--init_lr 0.5", r"init_lr 0.0025 there, 0.5 here"),
    ],
)
def test_a_folder_with_another_training_is_refused_before_anything_is_run(tmp_path, flags, said):
    """Resumed, it would be neither of the two."""
    settings, rows = settings_in(tmp_path), [Ablation("full")]
    folder = tmp_path / "root" / "tiny" / "full" / "1"
    folder.mkdir(parents=True)
    options = plain(flat(parse_options(MainTrain, [*DATA, *TINY.training.split()])))
    write_json(folder / "options.json", {"options": options})
    other = TINY._replace(training=f"{TINY.training} {flags}")
    if flags.startswith("--scst"):
        del options["scst"]  # of a run from before there was the flag
        write_json(folder / "options.json", {"options": options})
    with pytest.raises(UserError, match=rf"full/1 holds a training with other flags \({said}\): give another"):
        run_ablation(other, rows, {"full": []}, settings)
    assert not (folder.parents[1] / "prepare.log").exists()


@pytest.fixture
def called(monkeypatch):
    """The commands of runs that train nothing; those of a row with ``--c 9`` fail. Their lines hold row and seed."""
    commands = []

    def call(words, log, environment):
        commands.append(words)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("what it said")
        if "--c" in words:
            raise subprocess.CalledProcessError(1, words)
        if words[0] == "main_train.py":
            save_dir = Path(words[words.index("--save_dir") + 1])
            write_json(save_dir / "options.json", {"options": plain(flat(parse_options(MainTrain, words[1:])))})

    monkeypatch.setattr(ablation_runs, "_call", call)

    def line(job, benchmark, chosen, options, trained, seconds, environment):
        return {"row": job.row.name, "seed": job.seed, "threads": environment.get("OMP_NUM_THREADS")}

    monkeypatch.setattr(ablation_runs, "run_line", line)
    return commands


def test_a_run_gets_its_seed_and_flags_and_goes_on_where_it_was_interrupted(tmp_path, called):
    job = Job(Ablation("x", "--align_weight 0"), 2, tmp_path / "tiny" / "x" / "2")
    for resumed in (False, True):
        ablation_runs.run_one(job, TINY, ["align_weight"], settings_in(tmp_path), {"OMP_NUM_THREADS": "3"})
        assert json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[-1])["threads"] == "3"
        command = called[-2]
        assert command[command.index("--seed") + 1] == "2"
        assert command[command.index("--align_weight") + 1] == "0"
        assert ("--resume" in command) == resumed
        (job.folder / "current_checkpoint.pth").touch()


def test_a_run_that_fails_does_not_keep_the_others_from_their_lines(tmp_path, called, capsys):
    rows = [Ablation("broken", "--c 9"), Ablation("whole")]
    with pytest.raises(UserError, match=r"2 of 4 runs failed: see .*broken/1/log\.txt"):
        run_ablation(TINY, rows, {"broken": ["curvature"], "whole": []}, settings_in(tmp_path, seeds=2))
    lines = [json.loads(text) for text in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [(line["row"], line["seed"]) for line in lines] == [("whole", 1), ("whole", 2)]
    assert "broken, seed 1, failed:\n    what it said" in capsys.readouterr().out


def test_data_that_cannot_be_prepared_are_told(tmp_path):
    """As where an older version drew others in the same place."""
    drawn = tmp_path / "root" / "data" / "tiny"
    call(main_prepare, *DATA, "--ann_path", drawn / "annotation.json", "--image_dir", drawn / "images", "--feature_dir", drawn / "features",
         *TINY.drawing.replace("--num_studies 40", "--num_studies 30").split(), "--device", "cpu")  # fmt: skip
    with pytest.raises(
        UserError, match=r"the data could not be prepared, see .*prepare\.log:\n.*num_studies 30 instead of 40"
    ):
        run_ablation(TINY, [Ablation("full")], {"full": []}, settings_in(tmp_path))
    assert not (tmp_path / "runs.jsonl").exists()


def test_a_model_is_trained_once_for_rows_that_differ_in_the_search_alone(tmp_path):
    def options_of(flags, **places):
        return plain(flat(parse_options(MainTrain, [*DATA, *TINY.training.split(), *flags.split()]))) | places

    def trained(row, seed, epochs, flags=""):
        folder = tmp_path / row / str(seed)
        folder.mkdir(parents=True)
        write_json(folder / "options.json", {"options": options_of(flags, save_dir=str(folder), seed=seed)})
        (folder / "metrics.csv").write_text("epoch,seconds\n" + "".join(f"{n},2.5\n" for n in range(1, epochs + 1)))
        return folder

    def found(flags):
        return trained_alike(Job(Ablation("own"), 1, tmp_path / "own" / "1"), options_of(flags, save_dir="own"))

    assert found("--beam_size 2") is None
    trained("own", 1, 1)
    trained("another seed", 2, 1)
    trained("another training", 1, 1, "--retrieval none")
    trained("unfinished", 1, 0)
    assert found("--beam_size 2") is None
    whole = trained("whole", 1, 1, "--beam_size 9 --rerank states")
    assert found("--beam_size 2 --gen_min_len 30") == whole
    assert found("--beam_size 2 --align_weight 0") is None
    trained("chosen by its reports", 1, 2, "--epochs 2 --val_every 1")
    assert found("--epochs 2 --val_every 1 --beam_size 2") is None


def test_progress_marks_every_seed_and_estimates_the_time_left(tmp_path):
    jobs = [Job(Ablation(name), seed, tmp_path) for name in ("full", "none") for seed in (1, 2, 3)]
    text = progress(jobs, jobs[2:], seconds=240, done=2, at_once=1)
    assert text.splitlines() == [
        "  full  xx.",
        "  none  ...",
        "2 of 6 runs are finished, 2.0 min a run, about 8 min left",
    ]
    assert "about 1 h 0 min left" in progress(jobs, jobs[2:], seconds=1800, done=2, at_once=2)
    assert progress(jobs, [], seconds=9, done=6, at_once=1).endswith("6 of 6 runs are finished")


def test_a_run_that_failed_is_not_counted_as_finished(tmp_path):
    jobs = [Job(Ablation("full"), seed, tmp_path) for seed in (1, 2, 3)]
    text = progress(jobs, jobs[2:], seconds=240, done=2, at_once=1, broken=jobs[1:2])
    assert text.splitlines() == [
        "  full  x!.",
        "1 of 3 runs are finished, 1 failed, 2.0 min a run, about 2 min left",
    ]
    assert progress(jobs, [], seconds=240, done=3, at_once=1, broken=jobs).endswith(
        "0 of 3 runs are finished, 3 failed"
    )


def test_figures_are_numbers_by_dotted_name():
    nested = {"scores": {"a": 0.1234567, "name": "x", "flag": True}, "map_correlation": 1, "none": None}
    assert dotted_numbers(nested) == {"scores.a": 0.12346, "map_correlation": 1.0}


def test_the_checksum_of_features_is_of_their_numbers_and_not_of_the_commit_that_made_them(tmp_path):
    small_bank(tmp_path, {"a": "clear lungs ."}, np.zeros((1, 18)))
    first, path = features_checksum(str(tmp_path)), tmp_path / "manifest.json"
    manifest = read_json(path)
    for entry in manifest["arrays"].values():
        entry["code"] = {"commit": "another"}
    write_json(path, manifest)
    assert features_checksum(str(tmp_path)) == first
    for part in ("arrays", "axes"):
        changed = {**manifest, part: {**manifest[part]}}
        name = min(changed[part])
        changed[part][name] = {**changed[part][name], "sha256": "0" * 64}
        write_json(path, changed)
        assert features_checksum(str(tmp_path)) != first


def test_reports_are_searched_for_in_the_test_as_in_the_training():
    trained = parse_options(MainTrain, [*DATA, "--rerank", "states", "--beam_size", "6"])
    tested = parse_options(MainTest, [*DATA, *searched_as(flat(trained))])
    assert tested.generation == trained.generation
