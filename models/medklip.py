"""MedKLIP: the published image model that scores radiology entities, under the names of its checkpoint."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn


class MedklipNetwork(nn.Module):
    """One query per entity, made of the entity's description, reads the patches of an image.

    Source: Wu et al., MedKLIP: Medical Knowledge Enhanced Language-Image Pre-Training, ICCV 2023. There are no positions
    anywhere; layers are pre-norm, and one more LayerNorm follows the last.

    Args:
        extractor: torchvision ResNet, used up to its third layer (14 x 14 patches of a 224-pixel image).
        description_dim: width E of the embedded descriptions, and of the entity embeddings.
        width: of the queries.
        layers: decoder layers.
        heads: attention heads.
    """

    def __init__(self, *, extractor: str, description_dim: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        network = getattr(torchvision.models, extractor)(weights=None)
        D = network.layer4[0].conv1.in_channels
        self.res_features = nn.Sequential(*list(network.children())[:-3])
        self.res_l1 = nn.Linear(D, D)
        self.res_l2 = nn.Linear(D, width)
        self.disease_embedding_layer = nn.Linear(description_dim, width)
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.classifier = nn.Linear(width, 2)
        self.cl_fc = nn.Linear(width, description_dim)

    def forward(self, image: Tensor, descriptions: Tensor) -> tuple[Tensor, Tensor]:
        """Score the entities of images.

        Args:
            image: ``(B, 3, height, width)`` normalised images.
            descriptions: ``(K, E)`` embedded descriptions of the entities.

        Returns:
            ``logits`` ``(B, K, 2)`` of absent and present, and ``region_text`` ``(B, K, E)``, entity embeddings
            conditioned on the image: the vectors that its training compares with embedded anatomy sentences.
        """
        patches = self.res_features(image).flatten(2).transpose(1, 2)  # (B, M, D), row by row
        patches = self.res_l2(self.res_l1(patches).relu())  # (B, M, width)
        queries = self.disease_embedding_layer(descriptions).expand(len(image), -1, -1)  # (B, K, width)
        features = self.decoder(queries, patches)  # (B, K, width)
        return self.classifier(features), self.cl_fc(features)  # (B, K, 2), (B, K, E)
