"""modules/weights/released.py and modules/weights/layouts.py: names, sizes, both directions, and files that are something else."""

import json
from pathlib import Path

import pytest
import torch
from tiny import PUBLISHED_SWITCHES, tiny_config, tiny_study

from models.beam_search import GenerationLimits
from models.revtaf import Revtaf
from modules.messages import UserError
from modules.weights.backbones import load_backbone, random_start
from modules.weights.bert import load_bert
from modules.weights.checkpoints import build_model, load_checkpoint, released_checkpoint
from modules.weights.conversion import convert
from modules.weights.layouts import describe, weights_of
from modules.weights.released import BEHAVIOUR, DEAD, from_released, our_name, released_config, to_released
from modules.weights.saving import save_checkpoint

GOLDEN = Path(__file__).parent / "golden"
LIKE_RELEASED = {  # sizes that the constants of the released code fit
    "report_feature_dim": 16, "num_heads": 8, "hidden_size": 48, "decoder_heads": 12, "vocab_size": 120, "end_id": 102,
    **PUBLISHED_SWITCHES, "image_size": 224, "visual_extractor": "resnet18",
}  # fmt: skip


def tiny_released():
    """A reduced released state dict with noise in the tensors that take no part, and the model it was made from."""
    torch.manual_seed(0)
    model = Revtaf(tiny_config(**LIKE_RELEASED)).eval()
    for parameter in model.parameters():  # no tensor may be all zeros or ones, else a swapped name would not show
        torch.nn.init.normal_(parameter, std=0.1)
    released = to_released(model.state_dict(), "tiny.pth")
    for name in released:
        if name.startswith(DEAD) and released[name].is_floating_point():
            released[name] = torch.randn(released[name].shape)
    return released, model


def full_size():
    """Names and shapes of the released file, without memory, and the status of every tensor."""
    rows = json.loads((GOLDEN / "released_keys.json").read_text())
    integer = {row[0] for row in rows if len(row) == 3}
    shapes = {
        name: torch.empty(shape, device="meta", dtype=torch.int64 if name in integer else torch.float32)
        for name, shape, *_ in rows
    }
    return shapes, {row[0]: row[2] for row in rows}


def test_every_name_of_the_released_file_has_its_place():
    shapes, status = full_size()
    config = released_config(shapes)
    with torch.device("meta"):
        ours = Revtaf(config).state_dict()
    mapped = {our_name(name): value for name, value in shapes.items() if our_name(name)}
    assert {name: value.shape for name, value in mapped.items()} == {name: value.shape for name, value in ours.items()}
    left_out = {name for name in shapes if our_name(name) is None}
    assert {name for name in left_out if status[name] not in ("dead", "buffer")} == set()
    assert sum(shapes[name].numel() for name in left_out if status[name] == "dead") == 8_398_848
    kept_dead = {name for name, value in status.items() if value == "dead"} - left_out
    assert all(name.endswith("num_batches_tracked") for name in kept_dead)
    back = to_released(ours, "f")
    assert {name: value.shape for name, value in back.items()} == {name: value.shape for name, value in shapes.items()}


def test_sizes_come_from_shapes():
    config = released_config(full_size()[0])
    sizes = (config.visual_extractor, config.report_feature_dim, config.entity_text_dim, config.attention_dim)
    assert sizes == ("resnet101", 512, 768, 1024)
    assert (config.vocab_size, config.decoder_layers, config.hidden_size, config.max_positions) == (30527, 12, 768, 512)
    assert (config.hyperbolic_dim, config.hyperbolic_layers, config.memory_feedforward) == (512, 2, 2048)
    assert (config.ot_plan, config.mask_padding, config.curvature) == ("single", False, 0.01)
    released, model = tiny_released()
    assert released_config(released) == model.config


@pytest.mark.parametrize("wrapper", [None, "model", "module."])
def test_a_released_file_computes_the_same(wrapper, tmp_path):
    released, model = tiny_released()
    if wrapper == "module.":
        content = {f"module.{name}": value for name, value in released.items()}
    else:
        content = {wrapper: released, "epoch": 3} if wrapper else released
    torch.save(content, tmp_path / "released.pth")
    checkpoint = load_checkpoint(tmp_path / "released.pth")
    assert BEHAVIOUR in checkpoint["run"]["released"]
    assert "15 unused ones left out" in checkpoint["run"]["released"]
    loaded = build_model(checkpoint).eval()
    assert loaded.config == model.config
    limits = GenerationLimits(beams=2, min_length=22, max_new_tokens=5)
    study, states = tiny_study(), torch.tensor([4, 5, 6, 7])
    (expected, sure, known), (found, as_sure, also) = (m.generate(study, 3, states, limits) for m in (model, loaded))
    assert torch.equal(found, expected)
    assert torch.equal(as_sure, sure)
    for name, value in vars(known).items():
        if value is not None:
            assert torch.equal(getattr(also, name), value), name


@pytest.mark.slow
def test_both_ways_lose_no_live_tensor(tmp_path):
    released, model = tiny_released()
    torch.save(released, tmp_path / "released.pth")
    told = convert(tmp_path / "released.pth", "ours", tmp_path / "ours.pth")
    assert BEHAVIOUR in told
    assert told.endswith(f"wrote {tmp_path / 'ours.pth'}")
    ours = load_checkpoint(tmp_path / "ours.pth")
    assert ours["run"]["released"] == told.splitlines()[0]
    for name, value in model.state_dict().items():
        assert torch.equal(ours["state_dict"][name], value), name
    assert "otherwise" not in convert(tmp_path / "ours.pth", "released", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert set(back) == set(released)
    for name, value in released.items():
        if name.startswith(DEAD) and value.is_floating_point():
            assert set(back[name].unique().tolist()) <= {0.0, 1.0}, name
        else:
            assert torch.equal(back[name], value), name


def test_a_model_of_ours_for_the_released_code(tmp_path):
    model = Revtaf(tiny_config(**{**PUBLISHED_SWITCHES, "ot_plan": "joint", "mask_padding": True}, curvature=0.02))
    save_checkpoint(tmp_path / "ours.pth", model, {})
    told = convert(tmp_path / "ours.pth", "released", tmp_path / "released.pth")
    for difference in ("ot_plan joint instead of single", "curvature 0.02", "mask_padding True", "decoder_heads 4"):
        assert difference in told
    back = from_released(torch.load(tmp_path / "released.pth", weights_only=True), "released.pth")
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({**PUBLISHED_SWITCHES, "learn_curvature": True}, "no place for retrieval_enhancer.manifold.log_c"),
        ({**PUBLISHED_SWITCHES, "attention": "none"}, "needs mpsa"),
        ({}, "no place for near_view.norm.weight: convert a model that was trained with --ot_plan single"),
    ],
)
def test_what_the_released_code_cannot_hold_is_refused(changes, words, tmp_path):
    save_checkpoint(tmp_path / "ours.pth", Revtaf(tiny_config(**changes)), {})
    with pytest.raises(UserError, match=words):
        convert(tmp_path / "ours.pth", "released", tmp_path / "released.pth")
    assert not (tmp_path / "released.pth").exists()


def test_converting_into_the_same_layout_or_file_is_refused(tmp_path):
    save_checkpoint(tmp_path / "ours.pth", Revtaf(tiny_config()), {})
    for to, out in (("ours", "other.pth"), ("released", "ours.pth")):
        with pytest.raises(UserError, match="nothing to do"):
            convert(tmp_path / "ours.pth", to, tmp_path / out)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("memory.decoder.norm.bias"), "1 are missing.*for example report_memory.decoder.norm.bias"),
        (lambda w: w.update(surprise=torch.zeros(2)), "1 of its .* names are unknown, for example surprise"),
        (lambda w: w.update({"ot_txt_proj2.bias": torch.zeros(3)}), "1 have another shape.*project_reference.bias"),
        (lambda w: w.update({"cls_head.weight": torch.zeros(56, 528)}), "56 states; expected one of .* and 72"),
        (lambda w: w.pop("vision_proj.weight"), "lacks vision_proj.weight, which tells a size"),
        (
            lambda w: w.update({"text_decoder.cls.predictions.bias": torch.ones(120)}),
            "two values of one tensor, text_decoder.cls.predictions.decoder.bias",
        ),
    ],
    ids=["missing", "unknown", "shape", "conditions", "size", "tied"],
)
def test_a_damaged_released_file_is_refused(change, words):
    released, _ = tiny_released()
    change(released)
    with pytest.raises(UserError, match=words):
        released_checkpoint(released, "released.pth")


def test_a_tensor_stored_under_one_of_its_names_is_enough():
    released, model = tiny_released()
    for name in ("text_decoder.cls.predictions.decoder.weight", "text_decoder.bert.embeddings.position_ids"):
        del released[name]
    weights = from_released(released, "released.pth")
    assert torch.equal(weights["report_decoder.network.cls.predictions.decoder.weight"],
                       model.state_dict()["report_decoder.network.cls.predictions.decoder.weight"])  # fmt: skip


# what is none of these


def names(*beginnings):
    return {f"{beginning}{i}.weight": torch.zeros(1) for beginning in beginnings for i in range(3)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (full_size()[0], "1054 tensors .*a released REVTAF .--load_pretrained.: 1054 names"),
        ({"model": {f"module.{n}": torch.zeros(1) for n in json.loads((GOLDEN / "medklip_keys.json").read_text())}},
         "342 tensors .disease_embedding_layer.weight, .*MedKLIP .--medklip_checkpoint.: 342"),
        ({"model_state_dict": {n: torch.zeros(1) for n in json.loads((GOLDEN / "chexbert_keys.json").read_text())}},
         "227 tensors .*CheXbert"),
        (names("bert.embeddings.", "bert.encoder.layer.", "cls.predictions."), "9 tensors .*a BERT .--bert_path"),
        (names("conv1.", "bn1.", "layer1.", "layer4.", "fc."), "15 tensors .*torchvision ResNet .--resnet_weights"),
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, r"2 tensors \(a, b\), like no layout known here"),
        ({"epoch": 3, "loss": 0.5}, r"2 entries \(epoch, loss\) and no tensors"),
        ([1, 2], "a list and no named tensors"),
    ],
    ids=["released", "medklip", "chexbert", "bert", "resnet", "unknown", "numbers", "list"],
)  # fmt: skip
def test_a_file_says_what_it_looks_like(content, words, tmp_path):
    if "released" not in words:
        torch.save(content, tmp_path / "file.pth")
        with pytest.raises(
            UserError, match=f"file.pth is no REVTAF: it holds {words}.*give a file written by main_train"
        ):
            load_checkpoint(tmp_path / "file.pth")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(describe(content))


def test_only_a_whole_prefix_is_taken_off():
    tensor = torch.zeros(1)
    assert set(weights_of({"module.a": tensor, "module.b": tensor})) == {"a", "b"}
    assert set(weights_of({"module.a": tensor, "b": tensor, "n": 3})) == {"module.a", "b"}
    assert weights_of(None) == {}


class Refused:
    """Any class of ours: its pickle would need our code to load."""


def test_pickled_code_is_refused_and_the_way_out_is_told(tmp_path):
    torch.save({"model": Refused()}, tmp_path / "file.pth")
    for read in (
        load_checkpoint,
        lambda path: load_backbone(
            Revtaf(tiny_config(visual_extractor="resnet18")).visual_encoder, "resnet18", str(path)
        ),
    ):
        with pytest.raises(UserError, match=r'refused because they may run code: .*torch\.save\({"state_dict": '):
            read(tmp_path / "file.pth")


# parts of a model


@pytest.mark.parametrize("fc", [True, False])
def test_a_torchvision_file_with_or_without_fc(fc, tmp_path):
    import torchvision

    network = torchvision.models.resnet18(weights=None)
    weights = {name: value for name, value in network.state_dict().items() if fc or not name.startswith("fc.")}
    torch.save(weights, tmp_path / "resnet18.pth")
    backbone = Revtaf(tiny_config(visual_extractor="resnet18")).visual_encoder.backbone
    line = load_backbone(backbone, "resnet18", str(tmp_path / "resnet18.pth"))
    assert random_start("resnet18").endswith("resnet18 starts from random weights (--resnet_weights loads ImageNet's)")
    for own in ("resnet10n", "stem"):  # which ImageNet's weights never fit
        assert random_start(own).endswith(f"{own} starts from random weights (ImageNet's are of other networks)")
    assert line == f"visual encoder: 100 tensors of resnet18 from {tmp_path / 'resnet18.pth'}"
    assert all(torch.equal(value, weights[name]) for name, value in backbone.state_dict().items())
    with pytest.raises(UserError, match=r"does not fit resnet34.*most like a torchvision ResNet"):
        load_backbone(Revtaf(tiny_config(visual_extractor="resnet34")).visual_encoder.backbone, "resnet34",
                      str(tmp_path / "resnet18.pth"))  # fmt: skip
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "deeper.pth")
    with pytest.raises(
        UserError, match=r"does not fit resnet18: 0 of 100 tensors .* and 96 belong to a deeper network"
    ):
        load_backbone(backbone, "resnet18", str(tmp_path / "deeper.pth"))  # which has all names of the other one
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(UserError, match="it holds a Tensor and no named tensors"):
        load_backbone(backbone, "resnet18", str(tmp_path / "tensor.pth"))


def test_a_resnet_inside_of_another_network_is_found_and_of_two_none_is_taken(tmp_path):
    weights = {name: torch.rand_like(value) for name, value in stem().items() if value.is_floating_point()}
    for names in (["model."], ["module.model.backbone."], ["encoder_q.", "encoder_k."]):
        file = {f"{name}{key}": value for name in names for key, value in weights.items()}
        torch.save({"state_dict": file | {"queue": torch.ones(3)}, "arch": "resnet"}, tmp_path / "a.pth")
        backbone = Revtaf(tiny_config(visual_extractor="resnet10n")).visual_encoder.backbone
        if len(names) > 1:
            with pytest.raises(UserError, match=r"2 networks with the names of resnet10n, behind encoder_q\. and enc"):
                load_backbone(backbone, "resnet10n", str(tmp_path / "a.pth"))
            continue
        load_backbone(backbone, "resnet10n", str(tmp_path / "a.pth"))
        assert all(torch.equal(backbone.state_dict()[key], value) for key, value in weights.items())


def stem():
    return Revtaf(tiny_config(visual_extractor="resnet10n")).visual_encoder.backbone.state_dict()


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_the_decoder_takes_what_fits_of_a_bert(kind, tmp_path):
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(vocab_size=45, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                        max_position_embeddings=96)  # fmt: skip
    weights = {
        n: v.clone() for n, v in BertForPreTraining(config).state_dict().items() if "predictions.decoder" not in n
    }
    if kind.endswith("bin"):  # an old file calls gain and shift otherwise
        weights = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): v for n, v in weights.items()}
        torch.save(weights, tmp_path / kind)
    else:
        save_file(weights, tmp_path / kind)
    decoder = Revtaf(tiny_config()).report_decoder.network
    lines = load_bert(decoder, tmp_path).splitlines()
    own = decoder.state_dict()
    crossattention = sum("crossattention" in name for name in own)
    assert lines[0] == f"report decoder: {len(own) - crossattention} of {len(own)} tensors from {tmp_path / kind}"
    assert "extended by the added tokens: bert.embeddings.word_embeddings.weight, cls.predictions.bias" in lines[1]
    assert lines[2] == f"report decoder: new and random: {crossattention} tensors (crossattention.*)"
    words = own["cls.predictions.decoder.weight"]
    assert torch.equal(words[:45], weights["bert.embeddings.word_embeddings.weight"])
    norm = "bert.encoder.layer.1.output.LayerNorm."
    expected = weights[norm + ("gamma" if kind.endswith("bin") else "weight")]
    assert torch.equal(own[f"{norm}weight"], expected)
    other = Revtaf(tiny_config(**LIKE_RELEASED, attention_dim=24, max_positions=90)).report_decoder.network
    with pytest.raises(UserError, match=r"no words that fit .*most like a BERT .*of width 48, such as \S+ for 768$"):
        load_bert(other, tmp_path)
    longer = Revtaf(tiny_config(vocab_size=60)).report_decoder.network
    with pytest.raises(UserError, match=r"has 45 words and the vocabulary 55, which are of two models"):
        load_bert(longer, tmp_path)
    (tmp_path / "config.json").write_text(config.to_json_string())
    with pytest.raises(UserError, match=r"--hidden_size 32 --decoder_heads 4 --intermediate_size 64$"):
        load_bert(other, tmp_path)
    load_bert(decoder, tmp_path)  # as these flags make it
    # what a DistilBERT has of these names
    embeddings = {name: value for name, value in weights.items() if ".layer." not in name}
    if kind.endswith("bin"):
        torch.save(embeddings, tmp_path / kind)
        with pytest.raises(UserError, match=r"has no layers that fit the report decoder"):
            load_bert(decoder, tmp_path)
