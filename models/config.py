"""The size, geometry and switches of a REVTAF model, stored inside every checkpoint so that testing repeats no flag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

BACKBONES = ("resnet10q", "resnet10n", "resnet18", "resnet34", "resnet50", "resnet101")
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of the channels of images, scaled to [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
BACKBONE_HELP = f"image backbone: {', '.join(BACKBONES)}, or hf:DIR of a vision model of Hugging Face"


class FlagError(ValueError):
    """A value that a user can mend; the sentence names its flag."""


def flag(default: Any, text: str, *, within: str = "", choices: Sequence[str] = (), name: str = "") -> Any:
    """A field of a dataclass that is a command-line flag too: ``modules/options/parsing.py`` makes the parser from these.

    Args:
        default: the published value; what a data set changes stands in ``modules.options.dataset_defaults.DATASET_DEFAULTS``.
        text: one line for ``--help``.
        within: allowed range of a number as an interval, ``"(0, 1]"``; an open end at ``inf`` refuses infinity.
        choices: allowed words.
        name: spelling of the flag if it is not the field's name.
    """
    return field(default=default, metadata={"help": text, "within": within, "choices": tuple(choices), "name": name})


def flag_name(a_field: Any) -> str:
    """How a field is spelled on the command line."""
    return f"--{a_field.metadata['name'] or a_field.name}"


def check_fields(group: Any) -> None:
    """Check every flag of a dataclass against its choices and its range.

    Raises:
        FlagError: naming the flag, what is allowed and what was given; not-a-number is in no range.
    """
    for a_field in fields(group):
        value = getattr(group, a_field.name)
        if "help" not in a_field.metadata or (value is None and a_field.default is None):
            continue
        choices, within = a_field.metadata["choices"], a_field.metadata["within"]
        words = value if isinstance(value, tuple) else (value,)
        if choices and not set(words) <= {*choices}:
            raise FlagError(f"{flag_name(a_field)} is {value!r}, choose one of {', '.join(choices)}")
        if within and (wrong := out_of_range(value, within)):
            raise FlagError(f"{flag_name(a_field)} must be {wrong}, got {value}")


def out_of_range(value: float, within: str) -> str:
    """What a number outside an interval such as ``"(0, 1]"`` should be, in words; nothing if it lies inside."""
    low, high = within[1:-1].split(", ")
    if value < float(low) or (value == float(low) and within[0] == "("):
        return f"{'at least' if within[0] == '[' else 'above'} {low}"
    if value > float(high) or (value == float(high) and within[-1] == ")"):
        return "finite" if high == "inf" else f"{'at most' if within[-1] == ']' else 'below'} {high}"
    if isinstance(value, int) and value >= 1 << 63:  # which nothing that counts can hold
        return f"below {1 << 63}"
    return "a number" if math.isnan(value) else ""


def check_extractor(name: str) -> None:
    """Refuse what names no image model.

    Raises:
        FlagError: if it is neither one of ``BACKBONES`` nor a folder.
    """
    if name not in BACKBONES and not name.startswith("hf:"):
        raise FlagError(
            f"--visual_extractor is {name!r}, choose one of {', '.join(BACKBONES)}, or hf:DIR for a local folder of a vision "
            "model of Hugging Face"
        )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model.

    Its fields are the model flags of ``main_train.py``: what one can choose about a model.

    Raises:
        FlagError: if a value is out of its range or a size does not fit the others; the sentence names the flag.
    """

    image_size: int = flag(224, "side of the square input image in pixels", within="[32, 4096]")
    visual_extractor: str = flag("resnet101", BACKBONE_HELP)
    grid: str = flag(
        "1x", "2x: patches of 16 pixels instead of 32, from the same weights of the image model", choices=("1x", "2x")
    )
    # report memory and diagnosis
    memory_layers: int = flag(2, "encoder and decoder layers of the report memory; 0 for none", within="[0, 64]")
    memory_feedforward: int = flag(2048, "feed-forward width of the report memory", within="[1, 65536]")
    num_heads: int = flag(8, "heads of the report memory", within="[1, 256]", name="nhead")
    dropout: float = flag(0.1, "dropout rate", within="[0, 1)")
    # learnable retrieval enhancer
    enhancer: str = flag(
        "towers", "what is embedded: images and reports, or entity scores as released", choices=("towers", "scores")
    )
    tower_inputs: str = flag(
        "style",
        "what the towers see of a film and its report: rows, columns, greys and first and last sentence too; or a thumbnail",
        choices=("style", "thumbnail"),
    )
    manifold: str = flag("poincare", "retrieval geometry", choices=("poincare", "lorentz", "euclidean"))
    curvature: float = flag(0.01, "curvature magnitude", within="(0, 100]", name="c")
    learn_curvature: bool = flag(False, "learn the curvature", name="learn_c")
    hyperbolic_dim: int = flag(512, "width of hyperbolic embeddings", within="[1, 65536]", name="h_dim")
    hyperbolic_layers: int = flag(2, "layers of the hyperbolic encoder", within="[1, 64]")
    retrieval: str = flag(
        "learned",
        "how the reference is found; label: by the study's own labels, an oracle",
        choices=("learned", "states", "cosine", "random", "label", "none"),
    )
    # optimal transport attention
    attention_dim: int = flag(1024, "width of the transport attention", within="[1, 65536]", name="d_model")
    attention: str = flag("ot", "how patches receive text", choices=("ot", "softmax", "none"))
    entity_keys: str = flag(
        "query",
        "what finds an entity in the image: a learned query, or its text as released",
        choices=("query", "text"),
    )
    map_view: str = flag(
        "near",
        "what maps compare with texts: an early stage, which sees what is near, cells of 8 pixels of the first one, fitted apart, "
        "or the patches as released",
        choices=("near", "fine", "patches"),
    )
    align_pairs: str = flag(
        "mentions", "entities and sentences that shall agree; 'all' as released", choices=("mentions", "stored", "all")
    )
    reference_memory: int = flag(120, "words of each reference that are read; 0 as released", within="[0, 4096]")
    references: int = flag(1, "retrieved reports that are read; the first one is aligned", within="[1, 64]")
    ot_plan: str = flag("joint", "'single' as released", choices=("joint", "single"))
    ot_solver: str = flag("sinkhorn", "'pot' to check", choices=("sinkhorn", "pot"))
    ot_epsilon: float = flag(0.05, "entropic regularisation", within="(0, 1000]")
    ot_iterations: int = flag(100, "most Sinkhorn iterations", within="[1, 100000]")
    mask_padding: bool = flag(True, "keep padding sentences out of attention and alignment")
    # report decoder
    prompt: str = flag("states", "what the decoder is told before the first word", choices=("states", "none"))
    decoder_layers: int = flag(12, "layers of the report decoder", within="[1, 256]")
    decoder_heads: int = flag(12, "heads of the report decoder", within="[1, 256]")
    hidden_size: int = flag(768, "width of the report decoder", within="[1, 65536]")
    intermediate_size: int = flag(3072, "feed-forward width of the report decoder", within="[1, 262144]")
    max_positions: int = flag(512, "longest token sequence, prompt included", within="[21, 65536]")

    def __post_init__(self) -> None:
        check_fields(self)
        check_extractor(self.visual_extractor)
        if self.maps_first_stage and self.visual_extractor not in BACKBONES:
            first = "--grid 2x" if self.grid == "2x" else "--map_view fine"
            raise FlagError(f"{first} is for ResNets; the patches of a folder are what its model makes: leave it out")
        if self.hidden_size % self.decoder_heads:
            fitting = math.gcd(self.decoder_heads, self.hidden_size)
            raise FlagError(
                f"--decoder_heads {self.decoder_heads} must divide --hidden_size {self.hidden_size}: give --decoder_heads {fitting}"
            )

    @property
    def maps_first_stage(self) -> bool:
        """Whether maps look at the first stage of the image model, not at the second."""
        return self.map_view == "fine" or self.grid == "2x"

    @property
    def map_cells(self) -> int:
        """Cells along a side of a patch that are compared with texts one by one."""
        return 1 if self.map_view != "fine" else 2 if self.grid == "2x" else 4


@dataclass(frozen=True, kw_only=True)
class RevtafConfig(ModelOptions):
    """Everything needed to rebuild the network: what was chosen, and what follows from data and vocabulary.

    Raises:
        FlagError: if a size does not fit the others; the sentence names the flag, or the word that there is not.
    """

    report_feature_dim: int  # C, of the prepared report features
    entity_text_dim: int  # E, of the prepared entity embeddings
    num_conditions: int  # L
    num_states: int  # P
    num_entities: int  # K
    vocab_size: int
    pad_id: int
    end_id: int
    # of a visual extractor hf:DIR: its architecture and pixel statistics, see models.visual_encoder.build
    visual_folder: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("report_feature_dim", "entity_text_dim", "num_conditions", "num_states", "num_entities"):
            if getattr(self, name) < 1:
                raise FlagError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.memory_layers and self.report_feature_dim % self.num_heads:
            raise FlagError(
                f"--nhead {self.num_heads} must divide the width of the report features, {self.report_feature_dim}: "
                "change --nhead or prepare features of another width (--text_width)"
            )
        if not (0 <= self.pad_id < self.vocab_size and 0 <= self.end_id < self.vocab_size):
            raise FlagError(f"pad_id {self.pad_id} and end_id {self.end_id} must be among {self.vocab_size} words")

    @property
    def prompt_length(self) -> int:
        """Tokens of the diagnosis prompt: the start token and one state per condition."""
        return 1 + self.num_conditions
