"""Image models from outside: torchvision's, or one in a local folder of Hugging Face's transformers (``hf:DIR``)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn

from models.config import BACKBONES
from models.huggingface_backbone import first_line
from models.visual_encoder import build
from modules.messages import Needed, UserError, named
from modules.records import read_object
from modules.weights.layouts import beginnings, describe, weights_of
from modules.weights.reading import check_finite, load_weights

FOLDER = "hf:"  # before the folder in --visual_extractor
TRAINING_ONLY = (
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
    "transformers_version",
)


def read_folder(name: str, image_size: int) -> dict[str, Any] | None:
    """What :func:`models.visual_encoder.build` needs of ``hf:DIR``, to be kept in the checkpoint; None for a ResNet.

    Returns:
        ``architecture``, the fields of transformers' configuration, and ``mean`` and ``std`` of pixels in [0, 1].

    Raises:
        UserError: if a file is missing; if the folder holds no vision model that transformers knows, or none for images of this size.
    """
    if not name.startswith(FOLDER):
        return None
    folder = Path(name.removeprefix(FOLDER))
    for file in ("config.json", "preprocessor_config.json"):
        if not (folder / file).is_file():
            raise UserError(
                f"{folder / file} does not exist: give --visual_extractor hf: and the folder of a vision model of Hugging "
                "Face, with its config.json, preprocessor_config.json and weights"
            )
    architecture = _configuration(folder).to_dict()
    channels = architecture.get("num_channels", 3)
    if channels != 3:
        raise UserError(f"{folder} reads images of {channels} channels and is given 3: choose another model")
    described = {
        "architecture": {key: value for key, value in architecture.items() if key not in TRAINING_ONLY},
        **_pixel_statistics(folder / "preprocessor_config.json"),
    }
    try:
        with torch.device("meta"):
            build(name, image_size, described)
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from error
    return described


def starting_weights(name: str, resnet_weights: str | None) -> str | None:
    """Where the weights of a backbone come from: the folder of ``hf:DIR``, else what ``--resnet_weights`` names.

    Raises:
        UserError: if both are given.
    """
    if not name.startswith(FOLDER):
        return resnet_weights
    if resnet_weights:
        raise UserError(f"--resnet_weights is for ResNets, and {name} has its own weights: leave one of them out")
    return name


def _configuration(folder: Path) -> Any:
    """Transformers' configuration of the vision model in a folder; of a text-image model its vision part."""
    from transformers import AutoConfig  # on demand: takes seconds, and ResNets need none of it

    known = read_object(folder / "config.json")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # damage makes transformers raise anything
        raise UserError(
            f"{folder} holds a {named(known.get('model_type', 'model of no known type'))}, which transformers cannot build: give "
            "the folder of a ViT, DINOv2, DINOv3, Swin, ConvNeXt or another vision model"
        ) from error
    return getattr(config, "vision_config", config)


def _pixel_statistics(path: Path) -> dict[str, list[float]]:
    """Mean and deviation of pixels in [0, 1]; a folder may scale them otherwise, or not at all."""
    known = read_object(path)
    scale = known.get("rescale_factor", 1 / 255) if known.get("do_rescale", True) else 1.0
    if not (_is_number(scale) and scale > 0):
        raise UserError(f"{path} says rescale_factor {named(scale)}: a number above 0 is needed")
    factor = 255 * scale
    mean: Any = known.get("image_mean")
    std: Any = known.get("image_std")
    if not known.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    three = all(isinstance(row, list) and len(row) == 3 and all(map(_is_number, row)) for row in (mean, std))
    if not (three and min(std) > 0):
        raise UserError(
            f"{path} says image_mean {named(mean)} and image_std {named(std)}: three numbers each are needed, the "
            "deviations positive"
        )
    return {"mean": [value / factor for value in mean], "std": [value / factor for value in std]}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def folder_weights(name: str, backbone: torch.nn.Module) -> dict[str, Tensor]:
    """The weights of ``hf:DIR`` by the names of a :class:`models.huggingface_backbone.HuggingFacePatches`.

    Raises:
        UserError: if the folder has no weights, not those that patches depend on, or some that are not finite.
    """
    from transformers import AutoModel  # on demand, as above

    folder = Path(name.removeprefix(FOLDER))
    try:
        network, report = AutoModel.from_pretrained(
            folder, config=_configuration(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # damage makes transformers raise anything
        raise UserError(
            f"{folder} has no weights that transformers can load ({first_line(error)}): copy the folder again"
        ) from error
    trained = {
        name for name, parameter in cast(nn.Module, backbone.network).named_parameters() if parameter.requires_grad
    }
    missing = sorted(trained & set(report["missing_keys"]))
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of {len(trained)} weights, first {missing[0]}: copy it again")
    check_finite(network.state_dict(), folder)
    return {f"network.{key}": value for key, value in network.state_dict().items()}


def load_backbone(backbone: nn.Module, name: str, source: str) -> str:
    """Load the weights of an image model into a :class:`models.visual_encoder.VisualEncoder` backbone.

    Args:
        backbone: the ``backbone`` of a visual encoder.
        name: of the network, as ``--visual_extractor`` gives it.
        source: a torchvision weights file (with or without ``fc``), also where a network of another name holds it, as an entity
            scorer's checkpoint does; ``"download"``, or ``hf:DIR``.

    Returns:
        One line that says what was loaded.

    Raises:
        UserError: if there is no such file; if the file holds another network, a deeper one too, or several.
    """
    if source == "download":
        if name not in torchvision.models.list_models():
            raise UserError(f"torchvision has no weights of {name}: give a file with --resnet_weights, or neither")
        content = torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(progress=True)
    elif source.startswith(FOLDER):
        content = folder_weights(source, backbone)
    else:
        content = load_weights(source)
    weights, own = weights_of(content), backbone.state_dict()
    wanted = {key: value.shape for key, value in own.items() if not key.endswith("num_batches_tracked")}
    places = beginnings(weights, wanted)
    if len(places) > 1:
        raise UserError(
            f"{source} holds {len(places)} networks with the names of {name}, behind {' and '.join(map(named, places))}: save the "
            "weights of the one that is meant, alone"
        )
    if places:
        weights = {key.removeprefix(places[0]): value for key, value in weights.items() if key.startswith(places[0])}
    parts = {key.split(".")[0] for key in own}
    more = [key for key in weights if key not in own and key.split(".")[0] in parts]
    wrong = [key for key, shape in wanted.items() if key not in weights or weights[key].shape != shape]
    if wrong or more:
        raise UserError(
            f"{source} does not fit {name}: {len(wrong)} of {len(wanted)} tensors are missing or of another size and {len(more)} belong "
            f"to a deeper network, first {named((wrong + more)[0])}; {describe(content)}; give weights of {name} (--resnet_weights) or "
            "change --visual_extractor"
        )
    backbone.load_state_dict(weights, strict=False)
    return f"visual encoder: {len(wanted)} tensors of {name} from {source}"


def random_start(name: str) -> str:
    """What to say of a backbone without starting weights: whether there are weights of ImageNet for it."""
    known = name in torchvision.models.list_models()
    where = "--resnet_weights loads ImageNet's" if known else "ImageNet's are of other networks"
    return f"visual encoder: {name} starts from random weights ({where})"


def needed_backbone(path: str, name: str) -> Needed:
    """A torchvision weights file that is to be loaded; a name in it that is another network's is pointed at."""
    others = [known for known in BACKBONES if known in Path(path).stem and known != name]
    what = f"ImageNet weights for --visual_extractor {name}"
    if others:
        what += f", although the file is named after {max(others, key=len)}: change one of the two"
    return Needed(
        path, what, "see checkpoints/README.md, or --resnet_weights download, or none to start from random weights"
    )
