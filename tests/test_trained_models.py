"""Trained models through the programs: a released file is tested, converted and trained on; MedKLIP reads the images."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from programs import SMALL, SMALL_IMAGE, call, places, refused
from test_medklip import files as medklip_files  # noqa: F401, a fixture
from test_released import LIKE_RELEASED
from tiny import tiny_config

import main_prepare
import main_test
import main_train
from models.config import ModelOptions
from models.decoder_layers import PackedReports
from models.revtaf import Revtaf
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainTrain
from modules.preparation.features import medklip
from modules.records import read_json, read_jsonl
from modules.training.initialisation import adopt_options, initialise, load_trained
from modules.weights.checkpoints import load_checkpoint
from modules.weights.released import BEHAVIOUR, to_released
from modules.weights.saving import save_checkpoint
from tools import convert

GENERATION = ["--gen_min_len", 22, "--gen_max_len", 8, "--beam_size", 2]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A reduced released file and the folder of a vocabulary with the numbers of BERT's."""
    folder = tmp_path_factory.mktemp("released")
    torch.manual_seed(0)
    model = Revtaf(tiny_config(**LIKE_RELEASED, entity_text_dim=16))
    torch.save(to_released(model.state_dict(), "tiny"), folder / "model_best.pth")
    words = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]"]
    words += ["the", "heart", "lungs", "are", "is", "clear", "normal", "no", "effusion", ".", "edema", "acute"]
    (folder / "bert").mkdir()
    (folder / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


@pytest.mark.slow
def test_a_released_file_is_tested_under_one_flag(prepared, released, tmp_path, capsys):
    few = ["--no-meteor", "--no-viewer", "--resamples", 10]
    arguments = [*places(prepared), *SMALL, *GENERATION, *few, "--save_dir", tmp_path, "--load_pretrained"]
    refused(capsys, "give its folder with --bert_path", main_test, *arguments, released / "model_best.pth")
    call(main_test, *arguments, released / "model_best.pth", "--bert_path", released / "bert")
    shown = capsys.readouterr().out
    assert f"is a released REVTAF: 275 tensors taken, 15 unused ones left out; set: {BEHAVIOUR}" in shown
    whole = read_jsonl(tmp_path / "predictions.jsonl")
    assert all(row["retrieved"] for row in whole)
    call(convert, "--model", released / "model_best.pth", "--to", "ours", "--out", tmp_path / "ours" / "model.pth")
    call(main_test, *arguments, tmp_path / "ours" / "model.pth", "--bert_path", released / "bert", "--overwrite")
    assert read_jsonl(tmp_path / "predictions.jsonl") == whole


def test_another_vocabulary_is_refused(prepared, released, tmp_path, capsys):
    path = tmp_path / "vocab.txt"
    path.write_text((released / "bert" / "vocab.txt").read_text() + "word\n")
    arguments = [*places(prepared), *SMALL, *GENERATION, "--save_dir", tmp_path, "--bert_path", path]
    words = "makes 121 tokens with padding 0 and end 102 but"
    refused(capsys, words, main_test, *arguments, "--load_pretrained", released / "model_best.pth")


@pytest.mark.slow
def test_training_starts_from_a_released_file(prepared, released, tmp_path, capsys):
    arguments = [
        *places(prepared), "--batch_size", 16, "--num_workers", 0, "--device", "cpu", "--precision", "fp32", *GENERATION,
        "--save_dir", tmp_path / "run", "--epochs", 1, "--init_from", released / "model_best.pth", "--bert_path",
        released / "bert", "--ot_plan", "joint", "--init_lr", 0, "--warmup_lr", 0, "--min_lr", 0,
    ]  # fmt: skip
    call(main_train, *arguments)
    shown = capsys.readouterr().out
    assert f"set: {BEHAVIOUR}; from the command line: ot_plan joint instead of single" in shown
    assert f"all weights come from {released / 'model_best.pth'}" in shown
    options = read_json(tmp_path / "run" / "options.json")["options"]
    assert (options["ot_plan"], options["align_iou"], options["mask_padding"]) == ("joint", "binary", False)
    assert (options["decoder_layers"], options["tokenizer"]) == (2, "bert")
    ours, theirs = (load_checkpoint(p) for p in (tmp_path / "run" / "model_best.pth", released / "model_best.pth"))
    assert ours["config"] == {**theirs["config"], "ot_plan": "joint"}
    same = [torch.equal(ours["state_dict"][n], v) for n, v in theirs["state_dict"].items() if "running" not in n
            and "num_batches" not in n]  # fmt: skip
    assert all(same)  # the learning rate was zero
    words = "model with attention_dim 20 and the command line asks for 32"
    refused(capsys, words, main_train, *arguments, "--d_model", 32)


def test_medklip_reads_the_images_of_a_data_set(prepared, medklip_files, monkeypatch, tmp_path, capsys):  # noqa: F811
    monkeypatch.setattr(medklip, "IMAGE_SIZE", 64)
    flags = [
        "--entity_scorer", "medklip", "--medklip_checkpoint", medklip_files.scorer.medklip_checkpoint,
        "--entity_descriptions", medklip_files.scorer.entity_descriptions, "--bert_path", medklip_files.labeler.bert_path,
    ]  # fmt: skip
    places_here = [
        *places(prepared),
        *SMALL,
        "--clip_k",
        5,
        "--readers",
        100,
        "--num_studies",
        60,
        "--synth_image_size",
        80,
    ]
    own = [*SMALL_IMAGE, "--text_width", 16, "--feature_dir", tmp_path / "features"]
    call(main_prepare, *places_here, *own, *flags)
    store = FeatureStore.open(tmp_path / "features")
    n = len(store.row_ids("studies"))
    assert store["region_text"].shape == (n, 75, 16)
    assert store.entry("region_scores")["made_by"]["entity_scorer"] == "medklip"
    assert np.isfinite(store["region_text"]).all()
    assert not (tmp_path / "features" / "entity_scorer.pth").exists()
    words = "were read with --entity_scorer own, these are to be read with medklip"
    bank = ["--bank_dir", prepared / "features", "--feature_dir", tmp_path / "other"]
    refused(capsys, words, main_prepare, *places_here, *bank, *flags)
    refused(capsys, "4 files or folders are missing", main_prepare, *places_here, "--entity_scorer", "medklip",
            "--medklip_checkpoint", tmp_path / "no.pth", "--bert_path", tmp_path / "no")  # fmt: skip


# what a training starts from


def options_like(config, given):
    """Options of main_train.py whose model is that of ``config``, as if the command line had set ``given``."""
    options = parse_options(MainTrain, ["--init_from", "m.pth"])
    options.start.tokenizer = "corpus"
    chosen = {name: value for name, value in asdict(config).items() if hasattr(options.model, name)}
    options.model, options.given = ModelOptions(**chosen), frozenset(given)
    return options


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (["--rank_weight", "3"], "--rank_weight 3.0 would change nothing with --enhancer towers"),
        (["--ot_plan", "single", "--attention", "softmax"], "--ot_plan single would change nothing with --attention softmax"),
    ],
)  # fmt: skip
def test_what_nothing_reads_beside_the_switches_of_the_model_is_refused(words, idle):
    """Two trainings with it and without it became one model, exit 0: nothing was asked where a model is started from."""
    model = {"config": asdict(tiny_config(enhancer="towers")), "run": {}}
    with pytest.raises(UserError, match=f"with m.pth, whose switches are taken, {idle}"):
        adopt_options(parse_options(MainTrain, ["--init_from", "m.pth", *words]), model)
    line = adopt_options(
        parse_options(MainTrain, ["--init_from", "m.pth", "--threshold", "2", "--cls_weight", "1"]), model
    )
    assert "its sizes and switches are set" in line


def test_another_grid_searches_wide_cells_as_the_model_that_it_starts_from():
    """The maps of a wide grid are what a finer one searches wide cells with, and the other way round."""
    torch.manual_seed(0)
    wide, fine, other, again, unfitted = (Revtaf(tiny_config(grid=grid)) for grid in ("1x", "2x", "2x", "1x", "1x"))

    def searching(model):
        search = model.coarse_search
        if search is None:
            return model.near_view, model.fusion.attention.q, model.entity_queries
        return search.view, search.q, search.queries

    def same(one, two):
        for ours, theirs in zip(searching(one), searching(two), strict=True):
            assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())

    def load(model, start):
        load_trained(model, {"config": asdict(start.config), "state_dict": start.state_dict()}, "m.pth")

    begun = fine.near_view.linear.weight.clone()
    load(fine, wide)
    same(fine, wide)
    assert torch.equal(fine.near_view.linear.weight, begun)  # the fits train it
    assert torch.equal(fine.entity_queries.query, wide.entity_queries.query)
    load(other, fine)
    same(other, fine)
    assert torch.equal(other.near_view.linear.weight, begun)
    with pytest.raises(UserError, match=r"m\.pth is a model of another --grid.*leave out --grid"):
        load(unfitted, fine)  # no fit has trained its wide cells
    fine.coarse_search.maps_fitted += 1
    torch.nn.init.ones_(fine.fusion.attention.q.weight)
    load(again, fine)
    same(again, fine)


def test_maps_that_the_steps_move_do_not_change_their_grid():
    fine, wide = (Revtaf(tiny_config(grid=grid, entity_keys="text")) for grid in ("2x", "1x"))
    for model, start in ((fine, wide), (wide, fine)):
        with pytest.raises(UserError, match=r"m\.pth is a model of another --grid.*leave out --grid"):
            load_trained(model, {"config": asdict(start.config), "state_dict": start.state_dict()}, "m.pth")
    start, fine = (Revtaf(tiny_config(grid=grid)) for grid in ("1x", "2x"))
    checkpoint = {"config": asdict(start.config), "state_dict": start.state_dict()}
    with pytest.raises(UserError, match=r"a --presence_weight above 0\): leave out --grid"):
        load_trained(fine, checkpoint, "m.pth", maps_fitted=False)
    assert load_trained(fine, checkpoint, "m.pth") == ["maps: those of 16 pixels begin anew and are fitted"]
    for view in ("patches", "fine"):
        start, other = (Revtaf(tiny_config(grid=grid, map_view=view)) for grid in ("1x", "2x"))
        assert load_trained(other, {"config": asdict(start.config), "state_dict": start.state_dict()}, "m.pth") == []
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in start.state_dict().items())


def test_a_model_of_ours_gives_its_sizes_and_switches():
    config = tiny_config(ot_plan="single", decoder_layers=3)
    checkpoint = {"config": asdict(config), "run": {}}
    options = options_like(tiny_config(retrieval="cosine"), {"retrieval"})
    line = adopt_options(options, checkpoint)
    model = options.model
    assert (model.ot_plan, model.decoder_layers, model.retrieval) == ("single", 3, "cosine")
    assert (options.training.align_iou, options.start.tokenizer) == ("soft", "corpus")
    assert line.endswith("from the command line: retrieval cosine instead of learned")
    with pytest.raises(UserError, match="decoder_layers 3 and the command line asks for 5: leave that flag out"):
        adopt_options(options_like(tiny_config(decoder_layers=5), {"decoder_layers"}), checkpoint)


def test_weights_are_loaded_under_other_switches_only(tmp_path):
    save_checkpoint(tmp_path / "m.pth", Revtaf(tiny_config()), {})
    checkpoint = load_checkpoint(tmp_path / "m.pth")
    model = Revtaf(tiny_config(learn_curvature=True, manifold="lorentz"))
    load_trained(model, checkpoint, "m.pth")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in checkpoint["state_dict"].items())
    assert model.retrieval_enhancer.manifold.curvature().item() == pytest.approx(0.01)
    with pytest.raises(UserError, match="report_feature_dim 16 there, 32 here"):
        load_trained(Revtaf(tiny_config(report_feature_dim=32)), checkpoint, "m.pth")
    save_checkpoint(tmp_path / "none.pth", Revtaf(tiny_config(attention="none")), {})
    with pytest.raises(UserError, match=r"has no fusion.attention.v.weight"):
        load_trained(Revtaf(tiny_config()), load_checkpoint(tmp_path / "none.pth"), "none.pth")


def test_new_words_stand_behind_the_old_ones_whose_numbers_and_vectors_stay(tmp_path):
    """The same sentence of old words costs the extended model what it cost the old one, word by word, but for the new words."""
    old = ReportTokenizer.from_reports(["lungs are clear .", "small effusion ."], threshold=1)
    new = old.extended(
        ["lungs are clear .", "fibrosis fibrosis and scarring scarring .", "small nodule ."], threshold=2
    )
    words = old._tokenizer.get_vocab(with_added_tokens=True)
    extended = new._tokenizer.get_vocab(with_added_tokens=True)
    assert {word: extended[word] for word in words} == words
    assert {word: number for word, number in extended.items() if word not in words} == {
        "fibrosis": len(words), "scarring": len(words) + 1,  # those that are said twice, in order of the alphabet
    }  # fmt: skip
    assert (new.pad_id, new.end_id, new.start_id, new.state_ids) == (
        old.pad_id,
        old.end_id,
        old.start_id,
        old.state_ids,
    )
    assert new.decode(new.words("fibrosis and clear lungs", 4)).split()[0] == "fibrosis"
    sizes = [
        {"vocab_size": one.vocab_size, "pad_id": one.pad_id, "end_id": one.end_id, "max_positions": 48}
        for one in (old, new)
    ]
    torch.manual_seed(0)
    before = Revtaf(tiny_config(**sizes[0])).eval()
    save_checkpoint(tmp_path / "m.pth", before, {})
    after = Revtaf(tiny_config(**sizes[1])).eval()
    drawn = after.report_decoder.network.bert.embeddings.word_embeddings.weight.detach().clone()
    (line,) = load_trained(after, load_checkpoint(tmp_path / "m.pth"), "m.pth")
    assert line.startswith("vocabulary: 2 words of these reports are new to m.pth")
    table = after.report_decoder.network.bert.embeddings.word_embeddings.weight
    assert torch.equal(table[: len(words)], before.report_decoder.network.bert.embeddings.word_embeddings.weight)
    assert torch.equal(table[len(words) :], drawn[len(words) :])
    assert table is after.report_decoder.network.cls.predictions.decoder.weight  # one table still
    ids = torch.tensor([[old.start_id, *old.state_ids[:2], *old.words("lungs are clear .", 4), old.end_id]])
    report = PackedReports.of(ids, torch.ones_like(ids, dtype=torch.bool), 3)
    fused = torch.randn(1, 5, 40)
    with torch.no_grad():
        known, longer = (model.report_decoder.predict(fused, report) for model in (before, after))
    torch.testing.assert_close(longer[:, : len(words)], known)


def test_weights_of_the_image_model_that_are_given_come_before_those_of_the_entity_scorer(tmp_path):
    torch.manual_seed(0)
    model, other = (Revtaf(tiny_config()).visual_encoder.backbone for _ in range(2))
    torch.save(other.state_dict(), tmp_path / "resnet.pth")
    torch.save(
        {f"visual_encoder.backbone.{n}": v for n, v in model.state_dict().items()}, tmp_path / "entity_scorer.pth"
    )
    words = ["--dataset_name", "synth_cxr", "--visual_extractor", "resnet10q", "--feature_dir", str(tmp_path)]
    for given, start in ((["--resnet_weights", str(tmp_path / "resnet.pth")], other), ([], model)):
        begun = Revtaf(tiny_config())
        initialise(begun, parse_options(MainTrain, [*words, *given, "--init_visual", "entity_scorer"]))
        assert torch.equal(begun.visual_encoder.backbone.conv1.weight, start.conv1.weight)


def test_weights_without_a_run_are_not_resumed(tmp_path):
    save_checkpoint(tmp_path / "model_best.pth", Revtaf(tiny_config()), {"epoch": 1})
    with pytest.raises(UserError, match="no state of a run to resume: start from its weights with --init_from"):
        load_checkpoint(tmp_path / "model_best.pth", resumable=True)
