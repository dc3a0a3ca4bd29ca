"""Entity scores and embeddings of images by MedKLIP, the extractor that the published features come from.

Three published files go in: MedKLIP's checkpoint, its file of entity descriptions, and the folder of Bio_ClinicalBERT,
which embeds the descriptions once. The published features name their extractor but not how they were read from it; in
MedKLIP the only score of an image and entity is ``softmax(logits)[present]``, the only vector per image and entity as
wide as theirs is the output of ``cl_fc``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from models.medklip import MedklipNetwork
from modules.corpus.annotations import Study
from modules.corpus.dataloaders import settle
from modules.corpus.images import normalise_pixels, read_resized
from modules.corpus.kept_features import KeptFeatures
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import vocabulary_file, word_pieces
from modules.corpus.vocabularies import HUB_PREFIX, bert_folder
from modules.distributed import autocast, is_main
from modules.labels import ENTITIES
from modules.messages import Needed, UserError, quoted
from modules.options.programs import MainPrepare
from modules.preparation.features.entities import fill_scores
from modules.records import read_json, read_object, sha256_of
from modules.weights.bert import bert_file, bert_weights
from modules.weights.layouts import check_weights, weights_of
from modules.weights.reading import load_weights

SIZES: dict[str, Any] = {"extractor": "resnet50", "description_dim": 768, "width": 256, "layers": 4, "heads": 4}
IMAGE_SIZE = 224
VOCABULARY = 28996  # words of Bio_ClinicalBERT, those of bert-base-cased
MISSPELT = {20: "eumonia"}  # names of the published description file that differ from ours, by position
PRESENT = 1  # index of the logits
BATCH = 64  # descriptions in one pass
CLINICAL_BERT = "checkpoints/Bio_ClinicalBERT"  # where checkpoints/README.md says to put it


def medklip_files(options: MainPrepare) -> list[Needed]:
    """Everything that ``--entity_scorer medklip`` reads."""
    see = "see checkpoints/README.md and give it with"
    needed = [
        Needed(options.scorer.medklip_checkpoint, "MedKLIP's checkpoint", f"{see} --medklip_checkpoint"),
        Needed(options.scorer.entity_descriptions, "MedKLIP's entity descriptions", f"{see} --entity_descriptions"),
    ]
    path = options.labeler.bert_path or CLINICAL_BERT
    if not path.startswith(HUB_PREFIX):
        for file, what in ((vocabulary_file(path), "vocabulary"), (Path(path) / "config.json", "sizes")):
            needed.append(Needed(file, f"{what} of Bio_ClinicalBERT", f"{see} --bert_path, its folder"))
    return needed


def medklip_origin(options: MainPrepare) -> dict[str, Any]:
    """What the features depend on besides images: checksums of the published files, length of descriptions, precision."""
    folder = bert_folder(options.labeler.bert_path or CLINICAL_BERT)
    return {
        "entity_scorer": "medklip",
        "checkpoint": sha256_of(options.scorer.medklip_checkpoint),
        "descriptions": sha256_of(options.scorer.entity_descriptions),
        "bert": sha256_of(bert_file(folder)),
        "description_tokens": options.scorer.description_tokens,
        "precision": options.compute.precision,
    }


def read_descriptions(path: str | Path) -> list[str]:
    """Descriptions of the K entities, in order.

    The published file maps names to descriptions. It is read by position, because one name is spelt otherwise there
    (``eumonia`` for pneumonia); the other names must be ours.

    Raises:
        UserError: if there is no such file; if it does not describe exactly our entities in our order.
    """
    content = read_json(path)
    expected = (
        f"expected MedKLIP's file of {len(ENTITIES)} entities and their descriptions (observation explanation.json)"
    )
    if not isinstance(content, dict) or len(content) != len(ENTITIES):
        found = f"{len(content)} entries" if isinstance(content, dict | list) else type(content).__name__
        raise UserError(f"{path} holds {found}; {expected}")
    for position, (name, text) in enumerate(content.items()):
        if name not in (ENTITIES[position], MISSPELT.get(position)) or not isinstance(text, str) or not text.strip():
            raise UserError(
                f"entry {position} of {path} is {quoted(name)} with {quoted(text)}, where a description of "
                f"{ENTITIES[position]!r} belongs; {expected}"
            )
    return list(content.values())


class DescriptionEncoder:
    """Bio_ClinicalBERT as MedKLIP uses it: the state of ``[CLS]`` in the last layer, not pooled and not normalised.

    MedKLIP's own tokenizer writes ``[CLS]`` in front and, unlike BERT's, no ``[SEP]`` behind. It lower-cases, although
    the vocabulary is cased, unless ``tokenizer_config.json`` in the folder says otherwise.

    Args:
        folder: with ``config.json``, ``vocab.txt`` or ``tokenizer.json``, and ``pytorch_model.bin`` or ``model.safetensors``.
        max_tokens: longest description, ``[CLS]`` included.
        device: where it runs.

    Raises:
        UserError: if a file is missing; if the folder holds another model.
    """

    def __init__(self, folder: str | Path, max_tokens: int, device: str | torch.device = "cpu") -> None:
        from transformers import BertConfig, BertModel  # on demand: a second, for MedKLIP alone

        folder = Path(folder)
        settings = folder / "tokenizer_config.json"
        lowercase = read_object(settings).get("do_lower_case", True) if settings.is_file() else True
        self.tokenizer = word_pieces(vocabulary_file(folder), lowercase)
        size = self.tokenizer.get_vocab_size()
        if size != VOCABULARY:
            raise UserError(
                f"{folder} has a vocabulary of {size} words; MedKLIP embeds its descriptions with Bio_ClinicalBERT, "
                f"which has {VOCABULARY}: give its folder with --bert_path"
            )
        config = BertConfig(**{k: v for k, v in read_object(folder / "config.json").items() if k != "architectures"})
        self.network = BertModel(config, add_pooling_layer=False)
        weights, path = bert_weights(folder)
        body = {name.removeprefix("bert."): value for name, value in weights.items()}
        body = {name: value for name, value in body.items() if not name.startswith(("cls.", "pooler."))}
        body.pop("embeddings.position_ids", None)
        check_weights(body, self.network.state_dict(), path, "Bio_ClinicalBERT")
        self.network.load_state_dict(body)
        self.network.to(torch.device(device)).eval()  # type: ignore[arg-type]  # transformers' wrapper hides self
        self.max_tokens, self.device = max_tokens, torch.device(device)

    def token_ids(self, text: str) -> list[int]:
        """``[CLS]`` and the pieces of a description, cut."""
        pieces = self.tokenizer.encode(text, add_special_tokens=False).ids
        first = self.tokenizer.token_to_id("[CLS]")
        assert first is not None, "a vocabulary has [CLS]"
        return [first, *pieces[: self.max_tokens - 1]]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embed descriptions: ``(K, E)`` float32."""
        rows = [self.token_ids(text) for text in texts]
        T = max(map(len, rows))
        token_ids = torch.tensor([row + [0] * (T - len(row)) for row in rows], device=self.device)  # (K, T)
        mask = torch.tensor([[1] * len(row) + [0] * (T - len(row)) for row in rows], device=self.device)
        states = [
            self.network(input_ids=ids, attention_mask=real).last_hidden_state[:, 0]
            for ids, real in zip(token_ids.split(BATCH), mask.split(BATCH), strict=True)
        ]
        return torch.cat(states).float()  # (K, E)


class ResizedImages(Dataset):
    """The first image of every study as a square."""

    def __init__(self, studies: Sequence[Study], image_dir: Path) -> None:
        self.paths = [Path(image_dir) / study.image_path[0] for study in studies]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, read_resized(self.paths[index], IMAGE_SIZE)


class MedklipScorer:
    """MedKLIP's network with its queries, on a device.

    Args:
        checkpoint: MedKLIP's file; its weights stand under ``model``, every name behind ``module.``.
        descriptions: ``(K, E)`` embedded descriptions.
        device: where it runs.
        precision: ``--precision``.

    Raises:
        UserError: if there is no such file; if it does not hold exactly MedKLIP's weights. A checkpoint loaded without
            this check, into names that lack ``module.``, would leave the network random without a word.
    """

    def __init__(self, checkpoint: str | Path, descriptions: Tensor, device: torch.device, precision: str) -> None:
        weights = weights_of(load_weights(checkpoint))
        self.network = MedklipNetwork(**SIZES)
        check_weights(weights, self.network.state_dict(), checkpoint, "MedKLIP's checkpoint")
        self.network.load_state_dict(weights)
        self.network.to(device).to(memory_format=torch.channels_last).eval()
        self.descriptions, self.device, self.precision = descriptions.to(device), device, precision

    @torch.inference_mode()
    def score(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Entities of images given as uint8 pixels ``(B, 3, 224, 224)``.

        Returns:
            ``region_scores`` ``(B, K)``, the probability that the entity is present, and ``region_text`` ``(B, K, E)``,
            both float32.
        """
        image = normalise_pixels(pixels.to(self.device)).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            logits, region_text = self.network(image, self.descriptions)  # (B, K, 2), (B, K, E)
        return logits.float().softmax(dim=-1)[..., PRESENT], region_text.float()  # (B, K), (B, K, E)

    def score_studies(
        self, studies: Sequence[Study], image_dir: Path, num_workers: int, blocks: Sequence[range]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Score the first image of the studies at the positions ``blocks``, batch by batch.

        Yields:
            Positions ``(B,)``, ``region_scores`` ``(B, K)`` and ``region_text`` ``(B, K, E)``.
        """
        loader = DataLoader(
            ResizedImages(studies, image_dir),
            batch_sampler=list(map(list, blocks)),
            num_workers=num_workers,
            worker_init_fn=settle,
        )
        with tqdm(total=sum(map(len, blocks)), desc="entity scores", unit="study", disable=not is_main()) as bar:
            for index, pixels in loader:
                scores, region_text = self.score(pixels)
                yield index.numpy(), scores.cpu().numpy(), region_text.cpu().numpy()
                bar.update(len(index))


def write_medklip_features(
    options: MainPrepare, kept: KeptFeatures, studies: Sequence[Study], device: torch.device, source: dict[str, Any]
) -> bool:
    """Write ``region_scores`` and ``region_text`` of every study into the feature folder, unless they are current.

    An interrupted pass continues where it was; all processes call this together and share the images.

    Args:
        options: of ``main_prepare.py``.
        kept: the feature folder, and what may be replaced in it.
        studies: in the order of its rows.
        device: where the networks run.
        source: what else the features depend on, such as the checksum of the annotation.

    Returns:
        Whether there was anything to do.
    """
    made_by = {**source, **medklip_origin(options)}
    names = ("region_scores", "region_text")
    if kept.current(made_by, *names):
        return False
    texts = read_descriptions(options.scorer.entity_descriptions)
    encoder = DescriptionEncoder(
        bert_folder(options.labeler.bert_path or CLINICAL_BERT), options.scorer.description_tokens, device
    )
    descriptions = encoder.encode(texts)
    scorer = MedklipScorer(options.scorer.medklip_checkpoint, descriptions, device, options.compute.precision)
    score = partial(scorer.score_studies, studies, Path(options.data.image_dir), options.loading.num_workers)
    n, (K, E) = len(studies), descriptions.shape
    plans = {
        "region_scores": {"shape": (n, K), "dtype": "float32", "made_by": made_by},
        "region_text": {"shape": (n, K, E), "dtype": "float16", "made_by": made_by},
    }
    fill_scores(kept.folder, plans, n, score)
    return True


def check_same_scorer(bank_dir: str | Path, wanted: str) -> None:
    """Refuse to read images with another scorer than those of the bank, whose scores they will be compared with.

    Args:
        bank_dir: feature folder of the bank.
        wanted: ``--entity_scorer``.

    Raises:
        UserError: if the bank says that it was read with another one.
    """
    made_by = FeatureStore.open(bank_dir).entry("region_scores")["made_by"]
    own = "own" if "visual_extractor" in made_by else None  # nothing is said of imported features
    theirs = made_by.get("entity_scorer", own)
    if theirs not in (None, wanted):
        raise UserError(
            f"the images of the bank {bank_dir} were read with --entity_scorer {theirs}, these are to be read with "
            f"{wanted}, and their scores would not compare: give --entity_scorer {theirs}"
        )
