"""The entity scorer on disk, what it learns from mentions in training reports, and what it reads off every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.corpus.annotations import Study
from modules.corpus.dataloaders import settle
from modules.corpus.images import KeptImages, crop_image, normalise_pixels
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import FeatureRows
from modules.distributed import barrier, is_main, shard
from modules.labelling.mentions import PRESENT, entity_mentions
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.records import write_json
from modules.throughput import measured
from modules.weights.layouts import check_weights, weights_of
from modules.weights.reading import build_blank, check_tensors, load_weights
from modules.weights.saving import save_atomically

FORMAT = "entity_scorer/1"
SCORE_BATCH = 64  # images scored at once


class ImageDataset(Dataset):
    """Images with their position; augmented when an epoch is set."""

    def __init__(self, studies: Sequence[Study], image_dir: Path, image_size: int) -> None:
        self.studies, self.image_dir, self.image_size = list(studies), Path(image_dir), image_size
        self.images = KeptImages()
        self.augmentation: tuple[int, int] | None = None  # seed and epoch

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        rng = np.random.default_rng([*self.augmentation, index]) if self.augmentation else None
        image = self.images.open(self.image_dir / self.studies[index].image_path[0])
        return index, crop_image(image, self.image_size, rng)


def score_images(
    scorer: EntityScorer, studies: Sequence[Study], image_dir: Path, num_workers: int, blocks: Sequence[range]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Read the entities off images, without augmentation; :func:`waiting_blocks` says which batches.

    Yields:
        Positions ``(B,)``, ``region_scores`` ``(B, K)`` in [0, 1] and ``region_text`` ``(B, K, E)``, both float32.
    """
    dataset = ImageDataset(studies, image_dir, scorer.config.image_size)
    bar = tqdm(total=sum(map(len, blocks)), desc="entity scores", unit="study", disable=not is_main())
    with bar:
        for index, logits, region_text in read_images(scorer, dataset, blocks, num_workers):
            yield index.numpy(), logits.sigmoid().cpu().numpy(), region_text.float().cpu().numpy()
            bar.update(len(index))


def score_blocks(total: int) -> list[range]:
    """The positions of ``total`` images in batches that a scorer reads at once.

    A score may differ in its last digit with the size of its batch, so the batches do not depend on who reads them.
    """
    return [range(start, min(start + SCORE_BATCH, total)) for start in range(0, total, SCORE_BATCH)]


def waiting_blocks(waiting: np.ndarray, total: int) -> list[range]:
    """This process's share of the batches with a study that waits; such a batch is read whole, see :func:`score_blocks`.

    Args:
        waiting: positions of the studies without scores.
        total: studies.
    """
    blocks = score_blocks(total)
    return shard([blocks[number] for number in np.unique(waiting // SCORE_BATCH)])


def fill_scores(
    folder: Path,
    plans: Mapping[str, Mapping[str, Any]],
    total: int,
    score: Callable[[Sequence[range]], Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]],
) -> None:
    """Fill ``region_scores``, ``region_text`` or both, row by row; all processes together, across interruptions.

    Args:
        folder: feature folder.
        plans: shape, dtype and ``made_by`` of the wanted arrays.
        total: studies.
        score: gives positions, scores and embeddings of the batches it is given, as :func:`score_images` does.
    """
    arrays = {name: FeatureRows(folder, name, axis="studies", **plan) for name, plan in plans.items()}
    waiting = np.unique(np.concatenate([array.waiting() for array in arrays.values()]))
    blocks = waiting_blocks(waiting, total)
    barrier()  # nobody writes before all have seen what waits
    with measured("entity scores", len(waiting)):
        for rows, scores, text in score(blocks):
            for name, array in arrays.items():
                array.write(rows, scores if name == "region_scores" else text)
    for array in arrays.values():
        array.finish()


@torch.no_grad()
def read_images(
    scorer: EntityScorer, dataset: ImageDataset, blocks: Sequence[range], num_workers: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions ``(B,)``, logits ``(B, K)`` and embeddings ``(B, K, E)`` of every block, in float32."""
    scorer.eval()
    device = scorer.score.weight.device
    loader = DataLoader(
        dataset,
        batch_sampler=list(map(list, blocks)),
        num_workers=num_workers,
        worker_init_fn=settle,
        generator=torch.Generator(),
    )
    for index, pixels in loader:
        image = normalise_pixels(pixels.to(device)).contiguous(memory_format=torch.channels_last)
        logits, region_text = scorer(image)  # (B, K), (B, K, E)
        yield index, logits.float(), region_text


def entity_aurocs(scores: np.ndarray, mentions: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve of each entity that is present in some and not in all reports.

    Args:
        scores: ``(n, K)`` entity scores of images.
        mentions: ``(n, K)`` mentions in the reports of the same studies.
    """
    from sklearn.metrics import roc_auc_score  # on demand: a report of one film needs none of it

    present = mentions == PRESENT
    varied = [k for k in range(len(ENTITIES)) if 0 < present[:, k].sum() < len(present)]
    return {ENTITIES[k]: float(roc_auc_score(present[:, k], scores[:, k])) for k in varied}


def report_aurocs(folder: Path, validation: Sequence[Study]) -> None:
    """Print and store how well the scores of validation images agree with the mentions in their reports."""
    if is_main() and validation:
        store = FeatureStore.open(folder)
        scores = store["region_scores"][store.rows("studies", [study.id for study in validation])]
        aurocs = entity_aurocs(scores, entity_mentions([study.report for study in validation]))
        write_json(folder / "entity_auroc_val.json", aurocs)
        print(*auroc_lines(aurocs, len(validation)), sep="\n")
    barrier()


def auroc_lines(aurocs: dict[str, float], studies: int) -> list[str]:
    """The area of every entity, five a line, best first, under a line with their mean."""
    if not aurocs:
        return [f"entity scorer: no entity varies among the {studies} val studies, so there is no AUROC"]
    mean = np.mean(list(aurocs.values()))
    ordered = sorted(aurocs.items(), key=lambda item: -item[1])
    cells = [f"{name:>16s} {value:.3f}" for name, value in ordered]
    head = f"entity scorer: mean AUROC {mean:.3f} over {len(aurocs)} entities on {studies} val studies"
    return [head, *("".join(cells[start : start + 5]) for start in range(0, len(cells), 5))]


def save_entity_scorer(path: Path, scorer: EntityScorer, made_by: dict) -> None:
    """Write weights, sizes and what the scorer was made by."""
    content = {"format": FORMAT, "config": asdict(scorer.config), "state_dict": scorer.state_dict()}
    save_atomically({**content, "made_by": made_by}, path)


def scorer_origin(path: Path) -> Any:
    """What a file of :func:`save_entity_scorer`, or of an unfinished training, was made by; None if it says nothing."""
    content = load_weights(path)
    return content.get("made_by") if isinstance(content, dict) else None


def lacks_scorer(path: Path, made_by: Mapping[str, Any]) -> bool:
    """Whether there is no scorer made like this; says what is different in one that is about to be replaced."""
    if not path.is_file():
        return True
    origin = scorer_origin(path)
    if origin == made_by:
        return False
    known = origin if isinstance(origin, dict) else {}
    names = [name for name in made_by if known.get(name) != made_by[name]]
    changes = ", ".join(f"{name} {known.get(name)} there, {made_by[name]} here" for name in names[:4])
    print(
        f"entity scorer: {path} was made otherwise ({changes}) and is replaced, with all scores: models trained on those "
        "no longer fit; to keep both, stop and give another --feature_dir",
        flush=True,
    )
    return True


def find_scorer(features: str, bank_dir: str | Path, device: torch.device) -> EntityScorer | None:
    """The scorer of the retrieval bank with ``--features online``, else None."""
    return load_entity_scorer(Path(bank_dir) / "entity_scorer.pth", device) if features == "online" else None


def load_entity_scorer(path: Path, device: torch.device) -> EntityScorer:
    """Read a file written by :func:`save_entity_scorer`.

    Raises:
        UserError: if there is no such file; if it is something else.
    """
    content = load_weights(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not an entity scorer written by main_prepare.py: give the file of a feature folder")
    config = content.get("config")
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "visual_dim"}  # of version 0.1.0
    blank = build_blank(EntityScorer, EntityScorerConfig, config, path)
    assert isinstance(config, dict), "a network was built of it"
    weights = weights_of(content)
    check_tensors(weights, path)
    check_weights(weights, blank.state_dict(), path, "an entity scorer of its own configuration")
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced: the caller's draws must not move
        scorer = EntityScorer(EntityScorerConfig(**config))
    scorer.load_state_dict(weights)
    return scorer.to(device).eval()
