"""modules/preparation/costs.py and modules/training/costs.py: what the estimate says is what a run takes, and nothing is written."""

import json
import re
import time

import pytest
import torch
from PIL import Image
from programs import SMALL, SMALL_IMAGE, call, places, prepare, refused
from test_prepare_scripts import items_of_the_tree
from test_raw_mimic import VIEWS, write_tree

import main_prepare
from modules.corpus.annotations import SPLITS, read_annotation
from modules.corpus.store import FeatureStore
from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare
from modules.options.set_size import size_defaults
from modules.preparation.costs import preparation_costs
from modules.throughput import cost_table

SCORER = ["--scorer_epochs", 3, "--scorer_width", 16, "--scorer_layers", 1, "--text_width", 16, "--clip_k", 5]


def test_the_estimate_names_every_stage_and_what_it_leaves_on_disk(prepared):
    argv = [*places(prepared), *SMALL, *SMALL_IMAGE, *SCORER, "--scorer_patience", 0]
    argv[argv.index("--feature_dir") + 1] = prepared / "none"
    options = parse_options(MainPrepare, list(map(str, argv)))
    splits = read_annotation(prepared / "annotation.json")
    costs = {cost.work: cost for cost in preparation_costs(options, splits, torch.device("cpu"))}
    assert list(costs) == ["entity scorer", "entity scores", "text features", "label neighbours", "memory"]
    assert all(cost.seconds > 0 for cost in costs.values())
    assert costs["entity scorer"].basis.endswith("at most 3 epochs")
    store = FeatureStore.open(prepared / "features")
    arrays = {
        "entity scores": ("region_scores", "region_text"),
        "memory": ("memory_indices",),
        "label neighbours": ("label_neighbours",),
    }
    for work, names in arrays.items():
        assert costs[work].disk == sum(store[name].nbytes for name in names), work
    reports = store["report_features"].nbytes + store["sentence_features"].nbytes
    assert costs["text features"].disk == pytest.approx(reports, rel=0.1)


def test_what_lies_there_costs_nothing(prepared):
    """A second start of a preparation was told that the scores of ten hours are still to come."""
    argv = [*places(prepared), *SMALL, *SMALL_IMAGE, "--scorer_width", 16, "--scorer_layers", 1, "--text_width", 16]
    splits = read_annotation(prepared / "annotation.json")

    def works(epochs):
        options = parse_options(MainPrepare, list(map(str, [*argv, "--scorer_epochs", epochs])))
        return [cost.work for cost in preparation_costs(options, splits, torch.device("cpu"))]

    assert works(1) == ["text features", "label neighbours", "memory"]
    assert works(2)[:2] == ["entity scorer", "entity scores"]  # another recipe


@pytest.mark.slow
def test_the_estimate_beside_a_run(tmp_path, capsys):
    """Within a factor of four of what the preparation then takes: on so few studies starts count too."""
    prepare(tmp_path, "--num_studies", 400)  # drawn and built once, to be warm
    argv = [
        *places(tmp_path),
        *SMALL,
        *SMALL_IMAGE,
        *SCORER,
        "--scorer_patience",
        0,
        "--num_studies",
        400,
        "--synth_image_size",
        80,
    ]
    argv[argv.index("--feature_dir") + 1] = tmp_path / "again"
    options = parse_options(MainPrepare, list(map(str, argv)))
    ratios = []
    for again in range(3):  # other tests may begin or end between estimate and run
        costs = preparation_costs(options, read_annotation(tmp_path / "annotation.json"), torch.device("cpu"))
        capsys.readouterr()
        started = time.perf_counter()
        argv[argv.index("--feature_dir") + 1] = tmp_path / f"again{again}"
        call(main_prepare, *argv, "--readers", 100)
        said = capsys.readouterr().out
        stages = re.findall(r"^([\w ]+): \d+ items in ([\d.]+) s", said, re.MULTILINE)
        seconds = {stage: float(s) for stage, s in stages}
        assert seconds["entity scorer"] < time.perf_counter() - started
        expected = {cost.work: cost.seconds for cost in costs}
        ratios.append(expected["entity scorer"] / seconds["entity scorer"])
        if 0.25 < ratios[-1] < 4:
            return
    raise AssertionError(ratios)


def test_the_whole_road_is_estimated_from_raw_files_and_nothing_is_written(tmp_path, capsys, monkeypatch):
    raw = write_tree(tmp_path / "raw")
    monkeypatch.setattr(
        main_prepare,
        "training_costs",
        lambda options, *studies, **widths: said.append((options.data.dataset_name, studies[:3])) or [],
    )
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    said = []
    out = tmp_path / "out"
    argv = ["--ann_path", out / "annotation.json", "--image_dir", out / "images", "--feature_dir", out / "features"]
    flags = [*SMALL, *SMALL_IMAGE, *SCORER, "--visual_extractor", "resnet10n", "--resize", 16, "--items", "image"]
    call(main_prepare, "--dataset_name", "mimic_cxr", "--raw_dir", raw, *argv, *flags, "--estimate")
    printed = capsys.readouterr().out
    items = {split: len(VIEWS) * count for split, count in items_of_the_tree().items()}
    counts = ", ".join(f"{items[split]} {split}" for split in SPLITS)
    assert "warning: other programs run here (1000 on " in printed
    assert re.search(
        rf"^{counts} items on cpu, \d+ CPU cores; measured on a few of them in [\d.]+ s, [\d.]+ s of a core$",
        printed,
        re.MULTILINE,
    )
    assert re.search(
        rf"^\| copies of {sum(items.values())} images \| .* \| 0\.\d MB \| \d\.\d+ s an image, 1 workers \|$",
        printed,
        re.MULTILINE,
    )
    for work in (
        "labels \\(rule\\)",
        "entity scorer",
        "entity scores",
        "text features",
        "label neighbours",
        "memory",
        "together",
    ):
        assert re.search(rf"^\| {work} \| [\d.]+ (?:s|min|h) \|", printed, re.MULTILINE), work
    assert said == [("mimic_cxr", tuple(items[split] for split in SPLITS))]
    assert not out.exists()


def test_a_preparation_of_many_studies_asks_first(prepared, tmp_path, capsys, monkeypatch):
    argv = [
        *places(prepared),
        *SMALL,
        *SMALL_IMAGE,
        *SCORER,
        "--num_studies",
        60,
        "--synth_image_size",
        80,
        "--readers",
        100,
    ]
    argv[argv.index("--feature_dir") + 1] = tmp_path / "features"
    monkeypatch.setattr(main_prepare, "MANY", 60)
    monkeypatch.setattr("modules.throughput.DAY", 0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SystemExit):
        call(main_prepare, *argv)
    assert "on this machine: begin with --yes" in capsys.readouterr().err
    assert not (tmp_path / "features" / "entity_scorer.pth").exists()
    call(main_prepare, *argv, "--yes", "--scorer_epochs", 1)
    assert json.loads((tmp_path / "features" / "manifest.json").read_text())["arrays"]


def test_raw_files_are_asked_about_before_any_image_is_copied(tmp_path, capsys, monkeypatch):
    raw, out = write_tree(tmp_path / "raw"), tmp_path / "out"
    argv = ["--ann_path", out / "annotation.json", "--image_dir", out / "images", "--feature_dir", out / "features"]
    flags = [*SMALL, *SMALL_IMAGE, *SCORER, "--visual_extractor", "resnet10n", "--resize", 16, "--items", "image"]
    monkeypatch.setattr(main_prepare, "MANY", 60)
    monkeypatch.setattr("modules.throughput.DAY", 0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    message = refused(
        capsys,
        "on this machine: begin with --yes",
        main_prepare,
        "--dataset_name",
        "mimic_cxr",
        "--raw_dir",
        raw,
        *argv,
        *flags,
    )
    assert message.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "train", "times", "steps"),
    [
        ([], 1000, 6, 600 + 5 * 62),  # 62 steps of 16 studies in an epoch
        (["--val_every", "6"], 1000, 5, 600 + 62 + 4 * 62),
        ([], 100_000, 6, 6 * (100_000 // 64)),  # a fit goes once through so many studies
    ],
)
def test_costs_of_fitting_the_towers(flags, train, times, steps):
    from modules.options.programs import MainTrain
    from modules.training.costs import training_costs

    words = ["--dataset_name", "synth_cxr", *SMALL_IMAGE, "--device", "cpu", "--batch_size", "8", "--grad_accum", "2"]
    _, look, fit, *_ = training_costs(parse_options(MainTrain, [*words, *flags]), train, 10, 20, torch.device("cpu"))
    assert (look.work, fit.work) == (f"looking for the towers, {times} times", f"fitting the towers, {times} times")
    seconds = [float(cost.basis.split()[0]) for cost in (look, fit)]
    assert fit.basis.endswith(f"s a step, {steps:,} steps")
    assert look.seconds == pytest.approx(seconds[0] * train * times, abs=0.00006 * train * times)  # of four decimals
    assert fit.seconds == pytest.approx(seconds[1] * steps, abs=0.00006 * steps)


def test_an_estimate_is_of_the_network_that_will_be_trained(monkeypatch, tmp_path):
    """The widths of its features are those that are prepared, not those of large encoders."""
    asked = []
    monkeypatch.setattr(main_prepare, "training_costs", lambda *given, **widths: asked.append(widths) or [])
    monkeypatch.setattr(main_prepare, "estimate", lambda *_: ([], {split: [] for split in SPLITS}))
    for name in ("annotation.json", "images"):
        (tmp_path / name).mkdir()
    where = ["--ann_path", tmp_path / "annotation.json", "--image_dir", tmp_path / "images", "--feature_dir", tmp_path]
    for more in (
        [],
        ["--text_encoder", "bert"],
        ["--text_width", 40, "--scorer_width", 24],
        ["--entity_scorer", "medklip"],
    ):
        call(main_prepare, "--dataset_name", "synth_cxr", *where, *more, "--estimate")
    drawn = {"text_dim": 128, "entity_dim": 64}
    assert asked == [drawn, {"entity_dim": 64}, {"text_dim": 40, "entity_dim": 24}, {"text_dim": 128}]


def test_training_costs_of_a_small_model(capsys):
    from modules.options.programs import MainTrain
    from modules.training.costs import training_costs

    words = ["--dataset_name", "synth_cxr", *SMALL_IMAGE, "--device", "cpu", "--batch_size", "8"]
    costs = training_costs(parse_options(MainTrain, words), 1000, 10, 20, torch.device("cpu"))
    step, look, fit, validation, test, memory = costs
    assert (step.work, validation.work, test.work) == ("training, 6 epochs", "validation, 6 times", "test")
    assert (look.work, fit.work) == ("looking for the towers, 6 times", "fitting the towers, 6 times")
    assert fit.basis.endswith(f"s a step, {600 + 5 * 125:,} steps")  # as many as an epoch of 1,000 studies has
    assert look.seconds > 0
    assert memory.seconds == 0
    assert cost_table(costs)[-2].split("|")[2].strip() == ""  # a size takes no time
    assert validation.seconds == pytest.approx(test.seconds * 6 * 10 / 20)
    found = re.fullmatch(r"memory of a step of 8: ([\d.]+) GB in float32", memory.work)
    assert 0 < float(found[1]) < 2


def test_ones_own_data_set_is_estimated_with_the_network_and_passes_of_its_size(tmp_path, capsys):
    """The published network was timed, and six passes: 28 hours where 55 minutes are needed."""
    table = tmp_path / "studies.csv"
    rows = ["image_path,report"]
    for number in range(40):
        Image.new("L", (70, 60), number).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'The heart is enlarged.' if number % 2 else 'The lungs are clear.'}")
    table.write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    argv = ["--ann_path", out / "annotation.json", "--image_dir", out / "images", "--feature_dir", out / "features"]
    words = [
        "--dataset_name",
        "custom",
        "--raw_dir",
        table,
        *argv,
        "--resize",
        64,
        "--device",
        "cpu",
        "--num_workers",
        0,
    ]
    call(main_prepare, *words, "--estimate")
    printed = capsys.readouterr().out
    training = int(re.search(r"^(\d+) train", printed, re.MULTILINE)[1])
    sizes = size_defaults(training)
    assert f"| training, {sizes['epochs']} epochs |" in printed
    assert "| validation, 1 times |" in printed  # so few are learnt by heart and validated once
    assert f"at most {sizes['scorer_epochs']} epochs" in printed
    assert float(re.search(r"GB for (\d+) million weights", printed)[1]) < 30  # 264 as published
    assert not out.exists()


def test_an_estimate_without_a_data_set_says_how_to_get_one(tmp_path, capsys):
    argv = ["--ann_path", tmp_path / "annotation.json", "--image_dir", tmp_path / "images", "--estimate"]
    message = refused(
        capsys, "main_prepare.py --dataset_name synth_cxr", main_prepare, "--dataset_name", "synth_cxr", *argv
    )
    assert "2 files or folders are missing" in message
