"""modules/weights/layouts.py: files of weights are told apart by their names, and a wrong one is described."""

import pytest
import torch

from modules.messages import UserError
from modules.weights.layouts import check_weights, describe, nearest_layout, weights_of

ONE = torch.ones(2)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
def test_weights_are_found_wherever_programs_put_them(wrap):
    assert weights_of(wrap({"a": ONE, "note": "x"})) == {"a": ONE}


def test_the_prefix_of_what_held_a_model_goes_only_where_all_have_it():
    assert weights_of({"module.a": ONE, "module.b": ONE}).keys() == {"a", "b"}
    assert weights_of({"module.a": ONE, "b": ONE}).keys() == {"module.a", "b"}
    assert weights_of([ONE]) == {}
    assert weights_of({"module.encoder._orig_mod.a": ONE, "module._orig_mod.b": ONE}).keys() == {"encoder.a", "b"}
    assert weights_of({"model.module.a": ONE, "model.module.b": ONE}).keys() == {"a", "b"}
    assert weights_of({"_forward_module.a": ONE, "_forward_module.model": ONE}).keys() == {"a", "model"}
    assert weights_of({"_orig_mod.a": ONE, "my_orig_mod.b": ONE}).keys() == {"a", "my_orig_mod.b"}


@pytest.mark.parametrize(
    ("names", "flag"),
    [
        (["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight"], "--resnet_weights"),
        (["bert.embeddings.word_embeddings.weight", "linear_heads.0.weight"], "--chexbert_path"),
        (["bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.x", "cls.predictions.bias"], "--bert_path"),
        (["embeddings.word_embeddings.weight", "encoder.layer.0.x", "pooler.dense.bias"], "--bert_path"),
        (["visual_encoder.model.0.weight", "gwd.layers.0.linear.weight", "text_decoder.bert.x"], "--load_pretrained"),
    ],
)
def test_layouts_are_recognised(names, flag):
    layout, fitting = nearest_layout(dict.fromkeys(names))
    assert (layout.flag, fitting) == (flag, len(names))


def test_names_of_nothing_known_are_like_no_layout():
    assert nearest_layout({"x.y": 0, "z": 0, "conv1.weight": 0}) == (None, 1)
    assert nearest_layout({})[0] is None


def test_a_file_is_described_by_what_it_holds():
    assert describe([1]) == "it holds a list and no named tensors"
    assert describe({"epoch": 3}) == "it holds 1 entries (epoch) and no tensors among them"
    weights = {f"layer{i}.0.conv1.weight": ONE for i in range(1, 5)}
    assert describe(weights).endswith(", ...), most like a torchvision ResNet (--resnet_weights): 4 names")


def test_exactly_the_wanted_names_and_shapes_pass():
    wanted = {"a": ONE, "b": ONE}
    check_weights({"b": ONE, "a": ONE}, wanted, "f", "x")
    for wrong, counts in (
        ({"a": ONE}, "1 are missing and 0 have another shape or kind, and 0 are unknown, for example b"),
        (
            {"a": ONE, "b": torch.ones(3)},
            "0 are missing and 1 have another shape or kind, and 0 are unknown, for example b",
        ),
        (
            {"a": ONE, "b": ONE, "c": ONE},
            "0 are missing and 0 have another shape or kind, and 1 are unknown, for example c",
        ),
    ):
        with pytest.raises(UserError, match=f"f is not x: of 2 weights {counts}"):
            check_weights(wrong, wanted, "f", "x")
