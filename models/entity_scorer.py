"""The image model that says which radiology entities an X-ray shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from models.visual_encoder import VisualEncoder


@dataclass(frozen=True, kw_only=True)
class EntityScorerConfig:
    """Sizes of an :class:`EntityScorer`, stored inside its checkpoint.

    Attributes:
        visual_extractor: a ResNet, or ``hf:DIR``.
        num_entities: K.
        width: width E of the entity embeddings.
        layers: decoder layers.
        heads: attention heads.
        dropout: dropout rate.
        image_size: side of the input image in pixels.
        visual_folder: of ``hf:DIR``, as in :class:`models.config.RevtafConfig`.
    """

    visual_extractor: str
    num_entities: int
    width: int
    layers: int
    heads: int
    dropout: float
    image_size: int
    visual_folder: dict[str, Any] | None = None


class EntityScorer(nn.Module):
    """One learned query per entity reads the patches of an image; its answer is scored and kept as embedding.

    Trained on entity mentions in training reports, read afterwards from the image alone, so that nothing known about a
    validation or test study comes from its report.

    Source: the design follows MedKLIP (ICCV 2023), whose queries are embedded entity definitions; ours are learned.

    Args:
        config: sizes.
    """

    def __init__(self, config: EntityScorerConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = VisualEncoder(config.visual_extractor, config.image_size, config.visual_folder)
        self.project_patches = nn.Linear(self.visual_encoder.width, config.width)
        self.queries = nn.Embedding(config.num_entities, config.width)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                config.width, config.heads, 4 * config.width, config.dropout, batch_first=True, norm_first=True
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.score = nn.Linear(config.width, 1)
        self.entity_bias = nn.Parameter(self.score.bias.new_zeros(config.num_entities))  # (K,), rare to frequent

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score the entities of images.

        Args:
            image: ``(B, 3, height, width)`` normalised images.

        Returns:
            ``logits`` ``(B, K)``, whose sigmoid is the probability that the entity is present, and ``region_text``
            ``(B, K, E)``, entity embeddings conditioned on the image.
        """
        memory = self.project_patches(self.visual_encoder(image).patches)  # (B, M, E)
        region_text = self.queries.weight.expand(len(image), -1, -1)  # (B, K, E)
        for layer in self.layers:
            region_text = layer(region_text, memory)
        region_text = self.norm(region_text)
        return self.score(region_text).squeeze(-1) + self.entity_bias, region_text  # (B, K), (B, K, E)
