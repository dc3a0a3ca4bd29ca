"""models/visual_encoder.py and models/huggingface_backbone.py: patches of the image, row by row, whatever the network."""

import base64
import json
import re
import shutil

import pytest
import torch
from programs import SMALL, SMALL_MODEL, call, places, prepare, refused, train
from safetensors.torch import load_file, save_file
from tiny import tiny_config
from transformers import AutoConfig, AutoModel

import main_test
import main_train
from benchmarks.models import our_loss, random_batch
from models.config import BACKBONES, IMAGENET_MEAN, IMAGENET_STD
from models.retrieval_towers import stage_widths
from models.revtaf import Revtaf
from models.visual_encoder import VisualEncoder, build
from modules.messages import UserError
from modules.weights.backbones import folder_weights, load_backbone, read_folder
from modules.weights.checkpoints import build_model, load_checkpoint
from modules.weights.saving import save_checkpoint

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
HIERARCHY = {"depths": [1, 1, 1, 1]}
SWIN = {**HIERARCHY, "embed_dim": 8, "num_heads": [1, 1, 2, 2], "window_size": 2, "image_size": 64}
FAMILIES = {  # model_type -> its smallest sizes, patches along a side of 96 pixels, D
    "vit": ({**TINY, "intermediate_size": 64, "patch_size": 16, "image_size": 32}, 6, 32),
    "dinov2": ({**TINY, "patch_size": 14, "image_size": 28}, 6, 32),  # RAD-DINO is one
    "dinov2_with_registers": ({**TINY, "patch_size": 14, "image_size": 28, "num_register_tokens": 4}, 6, 32),
    "dinov3_vit": ({**TINY, "intermediate_size": 64, "patch_size": 16, "num_register_tokens": 4}, 6, 32),
    "swin": (SWIN, 3, 64),
    "convnext": ({**HIERARCHY, "hidden_sizes": [8, 8, 16, 24]}, 3, 24),
    "dinov3_convnext": ({**HIERARCHY, "hidden_sizes": [8, 8, 16, 24]}, 3, 24),
    "clip_vision_model": ({**TINY, "intermediate_size": 64, "patch_size": 16, "image_size": 32}, 6, 32),
    "siglip_vision_model": ({**TINY, "intermediate_size": 64, "patch_size": 16, "image_size": 32}, 6, 32),
}
MEAN, STD = [0.5307, 0.5, 0.4], [0.2583, 0.3, 0.2]


def save_folder(folder, family, **preprocessor):
    """A vision model with random weights, as Hugging Face's libraries save one."""
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, **FAMILIES[family][0])).save_pretrained(folder)
    known = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps({**known, **preprocessor}))
    return f"hf:{folder}"


def loaded(name, image_size):
    """The visual encoder of a folder with its weights."""
    encoder = VisualEncoder(name, image_size, read_folder(name, image_size))
    encoder.backbone.load_state_dict(folder_weights(name, encoder.backbone))
    return encoder.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    name = save_folder(tmp_path_factory.mktemp(request.param), request.param)
    return request.param, name, loaded(name, 96)


def normalised(pixels):
    """Pixels in [0, 1] as every image reaches the network."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


def test_patches_are_the_folder_s_own_last_state_of_its_own_normalisation(family):
    kind, name, encoder = family
    _, grid, width = FAMILIES[kind]
    pixels = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        patches, pooled, *_ = encoder(normalised(pixels))
        own = (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        more = (
            {"interpolate_pos_encoding": True}
            if kind in ("vit", "swin", "clip_vision_model", "siglip_vision_model")
            else {}
        )
        state = AutoModel.from_pretrained(name.removeprefix("hf:")).eval()(pixel_values=own, **more).last_hidden_state
    state = state if state.dim() == 3 else state.flatten(2).transpose(1, 2)
    assert (encoder.grid, encoder.width) == (grid, width)
    assert patches.shape == (2, grid**2, width)
    torch.testing.assert_close(patches, state[:, -(grid**2) :], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pooled, patches.mean(dim=1))


def test_a_patch_is_where_the_image_changes(family):
    """Class and register tokens are gone and rows are rows: a spot moves the patch that covers it most."""
    kind, _, encoder = family
    grid = encoder.grid
    side = FAMILIES[kind][0].get("patch_size", 96 // grid)
    for row, column in ((0, 0), (0, grid - 1), (grid - 1, 1), (1, 0)):
        image = torch.zeros(1, 3, 96, 96)
        spot = image.clone()
        spot[
            ...,
            row * side + side // 4 : (row + 1) * side - side // 4,
            column * side + side // 4 : (column + 1) * side - side // 4,
        ] = 4
        with torch.no_grad():
            change = (encoder(spot)[0] - encoder(image)[0]).norm(dim=-1)[0]  # (M,)
        assert change.argmax() == row * grid + column


def test_every_parameter_that_is_trained_gets_a_gradient(family):
    """Several processes wait for the gradient of each."""
    _, _, encoder = family
    encoder.train()(torch.randn(1, 3, 96, 96))[0].square().sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.requires_grad == (p.grad is None)] == []
    encoder.eval()


@pytest.mark.parametrize("size", [70, 97])
def test_no_size_needs_to_be_a_multiple_of_anything(family, size):
    _, name, _ = family
    encoder = VisualEncoder(name, size, read_folder(name, size)).eval()
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, size, size))[0].shape == (1, encoder.grid**2, encoder.width)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name.startswith("resnet")])
@pytest.mark.parametrize("size", [64, 70, 97])
def test_the_grid_of_a_resnet_is_that_of_its_patches(name, size):
    with torch.device("meta"):
        built = build(name, size)
        patches, near, nearest = built.module(torch.empty(1, 3, size, size))
    assert patches.shape == (1, built.grid**2, built.width)
    first, second = stage_widths(built.module, built.width)[:2]
    assert near.shape == (1, second, -(-size // 8), -(-size // 8))
    assert nearest.shape == (1, first, -(-size // 4), -(-size // 4))


@pytest.mark.parametrize(
    ("known", "mean", "std"),
    [
        ({"rescale_factor": 2 / 255}, [value / 2 for value in MEAN], [value / 2 for value in STD]),
        ({"do_rescale": False}, [value / 255 for value in MEAN], [value / 255 for value in STD]),
        ({"do_normalize": False}, [0, 0, 0], [1, 1, 1]),
    ],
)
def test_pixels_are_scaled_as_the_folder_says(known, mean, std, tmp_path):
    described = read_folder(save_folder(tmp_path, "convnext", **known), 64)
    assert described["mean"] == pytest.approx(mean)
    assert described["std"] == pytest.approx(std)


def test_what_is_no_vision_model_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"config\.json does not exist: give --visual_extractor hf:"):
        read_folder(f"hf:{tmp_path}", 64)
    name = save_folder(tmp_path, "vit")
    with pytest.raises(UserError, match=r"cannot read images of 8 pixels|no square of patches"):
        read_folder(name, 8)
    encoder = VisualEncoder(name, 64, read_folder(name, 64))
    weights = load_file(tmp_path / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="holds weights that are not finite"):
        folder_weights(name, encoder.backbone)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="no weights that transformers can load"):
        folder_weights(name, encoder.backbone)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5], "image_std": [0.5]}))
    with pytest.raises(UserError, match="three numbers each"):
        read_folder(name, 64)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(UserError, match="unheard_of, which transformers cannot build"):
        read_folder(name, 64)


def test_a_model_that_leaves_patches_out_and_one_of_another_architecture_are_refused(tmp_path):
    FAMILIES["vit_mae"] = ({**TINY, "intermediate_size": 64, "patch_size": 8, "image_size": 32}, 0, 0)
    try:
        with pytest.raises(UserError, match="leaves some out"):
            read_folder(save_folder(tmp_path, "vit_mae"), 64)
    finally:
        del FAMILIES["vit_mae"]


# in the whole network


@pytest.mark.parametrize("kind", ["dinov2", "swin", "convnext"])
def test_a_step_and_its_maps_follow_the_grid_of_the_folder(kind, tmp_path):
    """Loss and gradients as in training, then the checkpoint without the folder."""
    name = save_folder(tmp_path / "folder", kind)
    config = tiny_config(visual_extractor=name, image_size=96, visual_folder=read_folder(name, 96), enhancer="towers")
    model = Revtaf(config).train()
    assert load_backbone(model.visual_encoder.backbone, name, name).startswith("visual encoder: ")
    batch = random_batch(config, size=3, tokens=30)
    our_loss(model, batch, torch.ones(18), "fp32").backward()
    encoder = model.visual_encoder
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)
    save_checkpoint(tmp_path / "model.pth", model, {})
    shutil.rmtree(tmp_path / "folder")
    again = build_model(load_checkpoint(tmp_path / "model.pth")).eval()
    with torch.no_grad():
        study = again.fuse(batch.study)
        torch.testing.assert_close(study.state_logits, model.eval().fuse(batch.study).state_logits)
    assert study.region_map.shape == (3, 75, FAMILIES[kind][1] ** 2)


@pytest.mark.slow
def test_the_programs_walk_with_a_folder_in_scorer_and_model(tmp_path, capsys):
    """Prepare, train and test; the trained model needs the folder no more, and figures and page have its grid."""
    name = save_folder(tmp_path / "folder", "dinov2")
    data, run = tmp_path / "data", tmp_path / "run"
    prepare(data, "--visual_extractor", name)
    train(data, run, "--visual_extractor", name, "--epochs", 1)
    printed = capsys.readouterr().out
    assert printed.count(f"tensors of {name} from {name}") == 2  # scorer and model
    shutil.rmtree(tmp_path / "folder")
    call(
        main_test, *places(data), *SMALL, "--save_dir", run, "--gen_min_len", 25, "--gen_max_len", 12, "--plot", 1,
        "--features", "online", "--no-meteor", "--resamples", 10,
    )  # fmt: skip
    page = (run / "index.html").read_text()
    (study, *_) = json.loads(re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)[1])[
        "studies"
    ]
    levels = base64.b64decode(study["maps"]["levels"])
    assert len(levels) == len(study["maps"]["ranges"]) * 4**2  # 64 pixels in patches of 14
    assert list(run.glob("*.pdf")) or list(run.rglob("*.pdf"))


def test_weights_of_two_kinds_are_refused(prepared, tmp_path, capsys):
    name = save_folder(tmp_path / "folder", "convnext")
    flags = ["--visual_extractor", name, "--resnet_weights", tmp_path / "folder" / "model.safetensors"]
    refused(
        capsys,
        "leave one of them out",
        main_train,
        *places(prepared),
        *SMALL,
        *SMALL_MODEL,
        *flags,
        "--save_dir",
        tmp_path,
    )
    refused(
        capsys, "or hf:DIR for a local folder", main_train, *places(prepared), *SMALL, *SMALL_MODEL,
        "--visual_extractor", "resnet19", "--save_dir", tmp_path,
    )  # fmt: skip
