"""The size, geometry and switches of a REVTAF model, stored inside every checkpoint so that testing repeats no flag."""

from __future__ import annotations

from dataclasses import dataclass

VISUAL_EXTRACTORS = {  # name -> visual width D
    "resnet10n": 256, "resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048,
}  # fmt: skip
CHOICES = {
    "visual_extractor": tuple(VISUAL_EXTRACTORS),
    "manifold": ("poincare", "lorentz", "euclidean"),
    "retrieval": ("learned", "states", "cosine", "random", "none"),
    "attention": ("ot", "softmax", "none"),
    "ot_plan": ("joint", "single"),
    "ot_solver": ("sinkhorn", "pot"),
}


@dataclass(frozen=True, kw_only=True)
class RevtafConfig:
    """Everything needed to rebuild the network. There are no defaults here: they live in ``modules/flags.py``.

    Raises:
        ValueError: if a size does not fit the others; the sentence names the flag.
    """

    image_size: int
    visual_extractor: str
    # report memory and diagnosis
    report_feature_dim: int  # C, from the prepared data
    memory_layers: int
    memory_feedforward: int
    num_heads: int
    dropout: float
    num_conditions: int
    num_states: int
    # learnable retrieval enhancer
    num_entities: int
    manifold: str
    curvature: float
    learn_curvature: bool
    hyperbolic_dim: int
    hyperbolic_layers: int
    retrieval: str
    # optimal transport attention
    entity_text_dim: int  # E, from the prepared data
    attention_dim: int
    attention: str
    ot_plan: str
    ot_solver: str
    ot_epsilon: float
    ot_iterations: int
    mask_padding: bool
    # report decoder
    vocab_size: int
    pad_id: int
    end_id: int
    decoder_layers: int
    decoder_heads: int
    hidden_size: int
    intermediate_size: int
    max_positions: int

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"--{name} is {getattr(self, name)!r}, choose one of {', '.join(choices)}")
        if self.curvature <= 0:
            raise ValueError(f"--c is the curvature magnitude and must be positive, got {self.curvature}")
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"--image_size must be a positive multiple of 32 (ResNet stride), got {self.image_size}")
        if self.ot_epsilon <= 0:
            raise ValueError(f"--ot_epsilon must be positive, got {self.ot_epsilon}")
        if self.report_feature_dim % self.num_heads:
            raise ValueError(
                f"--nhead {self.num_heads} must divide the width of the report features, {self.report_feature_dim}: "
                "change --nhead or prepare features of another width (--text_width)"
            )
        if self.hidden_size % self.decoder_heads:
            raise ValueError(f"--decoder_heads {self.decoder_heads} must divide --hidden_size {self.hidden_size}")

    @property
    def visual_dim(self) -> int:
        """Visual width D of the last feature map."""
        return VISUAL_EXTRACTORS[self.visual_extractor]

    @property
    def prompt_length(self) -> int:
        """Tokens of the diagnosis prompt: the start token and one state per condition."""
        return 1 + self.num_conditions
