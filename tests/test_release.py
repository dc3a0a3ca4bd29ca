"""A release folder: everything that the model needs, checked at loading, the same reports as the folder of the training."""

import json
import shutil

import pytest
import torch
from programs import call, refused

import main_predict
import main_score
from modules.messages import UserError
from modules.prediction import Reporter
from modules.prediction.release import write_sums
from modules.records import read_json, read_jsonl, sha256_of, write_json
from modules.weights.safe_files import load_tensors, read_metadata, save_tensors


def export(trained, folder, *flags):
    call(main_predict, "--model", trained, "--export", folder, "--device", "cpu", *flags)
    return folder


@pytest.fixture(scope="module")
def release(trained, tmp_path_factory):
    return export(trained, tmp_path_factory.mktemp("release") / "model")


@pytest.fixture(scope="module")
def films(prepared):
    return sorted((prepared / "images" / "test").iterdir())


def test_a_release_writes_what_its_training_writes(trained, release, films, tmp_path):
    shutil.copytree(release, tmp_path / "elsewhere")
    assert Reporter.load(tmp_path / "elsewhere").report(films) == Reporter.load(trained).report(films)


def test_no_path_patient_or_other_split_leaves_with_it(prepared, trained, release):
    annotation = json.loads((prepared / "annotation.json").read_text())
    everything = b"".join(path.read_bytes() for path in release.rglob("*") if path.is_file())
    assert annotation["train"][0]["id"].encode() in everything
    held_out = [item["id"] for split in ("val", "test") for item in annotation[split]]
    for secret in (str(prepared), str(trained), *held_out, '"patient": "'):
        assert secret.encode() not in everything, secret


def test_without_bank_text_no_report_leaves(trained, release, films, tmp_path):
    bare = export(trained, tmp_path / "bare", "--no_bank_text")  # typed with _ or with -
    reports = [json.loads(line)["report"] for line in (release / "bank" / "training.jsonl").read_text().splitlines()]
    everything = b"".join(path.read_bytes() for path in bare.rglob("*") if path.is_file())
    assert all(reports)
    assert not [report for report in reports if report.encode() in everything]
    (row,) = Reporter.load(bare).report(films[:1])
    assert row["retrieved"] == Reporter.load(release).report(films[:1])[0]["retrieved"]
    assert row["retrieved_report"] is None
    assert "without texts" in (bare / "README.md").read_text()


def test_half_is_half_the_size_and_nearly_the_same(trained, release, films, tmp_path):
    half = export(trained, tmp_path / "half", "--half")
    for name in ("model.safetensors", "entity_scorer.safetensors"):
        assert (half / name).stat().st_size < 0.6 * (release / name).stat().st_size
    (here,), (there,) = (Reporter.load(folder).report(films[:1]) for folder in (half, release))
    assert here["probability"] == pytest.approx(there["probability"], abs=0.01)
    assert read_json(half / "config.json")["network"] == read_json(release / "config.json")["network"]


def test_part_of_the_bank_is_a_bank(trained, release, films, tmp_path, capsys):
    """The first and last report and those between; each keeps its features, and such a release is another model."""
    part = export(trained, tmp_path / "part", "--bank_size", 25)
    whole, some = Reporter.load(release), Reporter.load(part)
    rows = [whole.trained.bank.ids.index(identifier) for identifier in some.trained.bank.ids]
    assert len(rows) == 25
    assert rows == sorted(set(rows))
    assert {0, len(whole.trained.bank) - 1} <= set(rows)
    for here, row in enumerate(rows):
        assert some.trained.bank.reports[here] == whole.trained.bank.reports[row] != ""
        assert (some.trained.bank.sentences(here) == whole.trained.bank.sentences(row)).all()
        assert (some.trained.mentions[here] == whole.trained.mentions[row]).all()
    for name in ("labels", "region_scores"):
        assert (getattr(some.trained.bank, name) == getattr(whole.trained.bank, name)[rows]).all()
    assert all(row["retrieved"] in some.trained.bank.ids for row in some.report(films))
    assert some.trained.checksum != whole.trained.checksum
    assert "A bank of 25 training reports" in (part / "README.md").read_text()
    words = ["--model", trained, "--device", "cpu", "--export", tmp_path / "none", "--bank_size", 1]
    message = refused(capsys, "--bank_size is 1, and the model reads", main_predict, *words)
    assert message.endswith(f"give a number from {whole.trained.memory_size} to {len(whole.trained.bank)}\n")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "bank/labels.npy", "config.json"])
def test_what_was_changed_or_lost_is_named_at_loading(release, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} missing, changed"):
        Reporter.load(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name} missing"):
        Reporter.load(folder)


def test_the_card_may_be_edited(release, prepared, tmp_path):
    """Who publishes a model adds to its card; and a kill between card and checksums left a release that nobody could open."""
    folder = shutil.copytree(release, tmp_path / "copy")
    with open(folder / "README.md", "a") as file:
        file.write("Trained on drawings.")
    film = min((prepared / "images" / "test").iterdir())
    assert Reporter.load(folder).report([film])[0]["report"]


@pytest.mark.parametrize(
    "name", ["network", "entity_scorer", "writing", "memory_size", "bank_text", "checkpoint_sha256"]
)
def test_a_configuration_that_says_too_little_is_refused(release, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(release, folder)
    content = read_json(folder / "config.json")
    write_json(folder / "config.json", {key: value for key, value in content.items() if key != name})
    write_sums(folder)
    with pytest.raises(UserError, match="describes no release of this version"):
        Reporter.load(folder)


def test_a_release_lists_every_file_of_its_own(release, tmp_path):
    sums = dict(reversed(line.split("  ")) for line in (release / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()}
    assert sums.keys() == files - {"SHA256SUMS"}
    assert all(sha256_of(release / name) == value for name, value in sums.items())
    shutil.copytree(release, tmp_path / "copy")
    (tmp_path / "copy" / "SHA256SUMS").write_text("")  # would check nothing
    with pytest.raises(UserError, match="not in SHA256SUMS"):
        Reporter.load(tmp_path / "copy")


def test_nothing_is_written_over(trained, release, tmp_path, capsys):
    refused(capsys, "is not empty", main_predict, "--model", trained, "--export", release)
    refused(capsys, "give one of them", main_predict, "--images", release, "--export", tmp_path / "new")


def test_the_card_quotes_the_scores_of_these_weights_only(trained, release, tmp_path):
    assert "Not tested" in (release / "README.md").read_text()
    shutil.copytree(trained, tmp_path / "run")
    metrics = {
        "comparison": {"REVTAF minus nearest": {"BLEU_4": {"difference": -0.1, "p": 0.2}}},
        "scores": {"test_BLEU_4": 0.1234}, "intervals": {"test_BLEU_4": [0.1, 0.2]}, "studies": 9,
        "protocol": {"caption": "test split, 9 of 12 studies; the protocol in words"},
    }  # fmt: skip
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(metrics))
    tested = {"checkpoint": sha256_of(tmp_path / "run" / "model_best.pth"), "split": "test"}
    (tmp_path / "run" / "results_of.json").write_text(json.dumps(tested))
    card = (export(tmp_path / "run", tmp_path / "one") / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: revtaf\n")
    assert "| BLEU_4 | 0.123 | 0.100 to 0.200 |" in card
    assert (
        "\nno better than: nearest in BLEU-4 (better or worse is p below 0.05, paired, after Holm's correction over these 1)\ntest split, 9 of 12 studies; the protocol in words"
        in card
    )
    (tmp_path / "run" / "results_of.json").write_text(json.dumps({**tested, "checkpoint": "another"}))
    assert "of other weights" in (export(tmp_path / "run", tmp_path / "two") / "README.md").read_text()


def test_a_release_of_a_release_has_the_scores_of_its_card_and_no_texts_that_it_lacks(
    trained, release, films, tmp_path
):
    """It said "Not tested" of tested weights, and "with their texts" of empty ones."""
    bare = export(trained, tmp_path / "bare", "--no-bank_text")
    card = (bare / "README.md").read_text()
    (bare / "README.md").write_text(
        card.replace("Not tested: there are no results of these weights.", "BLEU_4 0.321\n\nMeasured on this release.")
    )
    again = export(bare, tmp_path / "again")
    card = (again / "README.md").read_text()
    assert (
        "From the card of the release that this one was made of:\n\nBLEU_4 0.321\n\nMeasured on that release." in card
    )
    assert "without texts" in card
    assert Reporter.load(again).report(films) == Reporter.load(bare).report(films)
    (bare / "README.md").unlink()
    assert "Not known" in (export(bare, tmp_path / "third") / "README.md").read_text()


@pytest.mark.parametrize(
    "flags", [("--half",), ("--no-bank_text",), ("--bank_size", "30"), ("--half", "--bank_size", "30")]
)
def test_what_an_export_with_less_writes_is_no_report_of_the_whole_model(flags, trained, release, tmp_path):
    """Scores of the whole model went into the card of half of it as "measured on this release"."""
    less = Reporter.load(export(trained, tmp_path / "less", *flags)).trained.checksum
    assert less != Reporter.load(release).trained.checksum == Reporter.load(trained).trained.checksum


def test_the_scores_of_its_own_reports_go_into_its_card(trained, release, films, tmp_path, capsys):
    """Those of the export are older: with half the bits or a part of the bank it may write other words."""
    model, reports, scores = tmp_path / "model", tmp_path / "reports", tmp_path / "scores"
    shutil.copytree(release, model)
    call(main_predict, "--images", *films, "--model", model, "--out", reports, "--no-viewer", "--device", "cpu")
    rows = read_jsonl(reports / "predictions.jsonl")
    references = [{"id": row["image"], "reference": row["report"]} for row in rows]
    (tmp_path / "references.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in references))
    files = ["--predictions", reports / "predictions.jsonl", "--references", tmp_path / "references.jsonl"]
    call(main_score, *files, "--save_dir", scores, "--resamples", 10, "--no-meteor", "--device", "cpu")
    refused(capsys, "holds no metrics.json", main_predict, "--model", model, "--scores", reports, "--device", "cpu")
    call(main_predict, "--model", model, "--scores", scores, "--device", "cpu")
    card = (model / "README.md").read_text()
    assert "| BLEU_4 | 1.000 | 1.000 to 1.000 |" in card
    assert f"test split, {len(films)} studies; " in card
    assert "Measured on this release." in card
    assert "Not tested" not in card
    assert "Reports are written with" in card
    Reporter.load(model)  # its sums are those of the new card
    refused(capsys, "is no release", main_predict, "--model", trained, "--scores", scores, "--device", "cpu")
    other = export(trained, tmp_path / "other", "--no-bank_text")
    refused(capsys, "did not write with", main_predict, "--model", other, "--scores", scores, "--device", "cpu")


def test_a_tensor_of_two_names_is_written_once_and_read_twice(tmp_path):
    shared = torch.randn(40, 40)
    weights = {"a": shared, "b": shared, "c": torch.randn(3), "count": torch.tensor(7)}
    save_tensors(tmp_path / "w.safetensors", weights, said={"scorer": "x"})
    assert (tmp_path / "w.safetensors").stat().st_size < 1.2 * shared.nbytes
    read = load_tensors(tmp_path / "w.safetensors")
    assert all(torch.equal(read[name], value) for name, value in weights.items())
    assert read["a"].data_ptr() == read["b"].data_ptr()
    assert read_metadata(tmp_path / "w.safetensors")["scorer"] == "x"
    (tmp_path / "w.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="readable"):
        read_metadata(tmp_path / "w.safetensors")
