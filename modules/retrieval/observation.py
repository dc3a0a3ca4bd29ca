"""What a model makes of the images of a split before any report is retrieved for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from models.revtaf import Revtaf
from modules.corpus.dataloaders import settle
from modules.corpus.datasets import ReportDataset
from modules.corpus.images import crop_image, normalise_pixels
from modules.distributed import autocast, gather_list, is_main, shard
from modules.options.programs import MainTest, MainTrain
from modules.retrieval.retriever import Queries


def load_views(views: Dataset, batch_size: int, num_workers: int, device: torch.device) -> DataLoader:
    """Batches of :class:`Views` in their order; looking at them does not move the generator that dropout uses."""
    return DataLoader(
        views,
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=settle,
        generator=torch.Generator(),
    )


class Views(Dataset):
    """Images, memories and entity scores of some studies of a split: nothing else is read from disk."""

    def __init__(self, dataset: ReportDataset, indices: list[int]) -> None:
        self.paths = [dataset.image_dir / dataset.image_paths[index] for index in indices]
        self.memories = np.asarray(dataset.store["memory_indices"])[dataset.rows[indices]]  # (n, R)
        self.region_scores = dataset.region_scores[indices]  # (n, K)
        self.bank, self.image_size, self.images = dataset.bank, dataset.image_size, dataset.images

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image = crop_image(self.images.open(self.paths[index]), self.image_size)  # (3, height, width)
        memory = torch.from_numpy(self.bank.memory(self.memories[index]))  # (R, C)
        return image, memory, torch.from_numpy(self.region_scores[index].astype(np.float32))


@torch.no_grad()
def observe(
    model: Revtaf, dataset: ReportDataset, *, precision: str, batch_size: int, num_workers: int
) -> tuple[Tensor, Tensor | None]:
    """Diagnose every study of a split from its image and its memory, which need no reference report.

    The studies are shared among the processes; every process gets all of them.

    Returns:
        ``state_logits`` ``(n, P, L)`` in float32, without the class prior, and, if the model has towers, what the query
        tower sees of the images, ``(n, F)`` in float16: 4.5 GB for MIMIC-CXR and a ResNet-101. Both on the host.
    """
    model.eval()
    device = model.diagnosis_head.linear.weight.device
    mine = shard(list(range(len(dataset))))
    loader = load_views(Views(dataset, mine), batch_size, num_workers, device)
    state_logits: list[Tensor] = []
    tower_inputs: list[Tensor] = []
    with tqdm(total=len(dataset), desc="look", unit="study", leave=False, delay=2, disable=not is_main()) as bar:
        for image, memory, scores in loader:
            with autocast(device, precision):
                pixels = normalise_pixels(image.to(device, non_blocking=True))
                logits, inputs = model.look(pixels, scores.to(device), memory.to(device, non_blocking=True))
            state_logits.append(logits.float().cpu())
            if inputs is not None:
                tower_inputs.append(inputs.half().cpu())
            bar.update(len(dataset) * len(image) / len(mine))
    of_all = _of_all_processes(state_logits, mine, len(dataset))
    assert of_all is not None, "a split has studies"
    return of_all, _of_all_processes(tower_inputs, mine, len(dataset))


def _of_all_processes(batches: list[Tensor], mine: list[int], size: int) -> Tensor | None:
    """Rows ``(size, ...)`` of all studies in the order of the split, from this process's batches of its studies ``mine``."""
    shares = gather_list([(mine, torch.cat(batches).numpy())] if batches else [])
    if not shares:
        return None
    rows = np.empty((size, *shares[0][1].shape[1:]), dtype=shares[0][1].dtype)
    for indices, values in shares:
        rows[indices] = values
    return torch.from_numpy(rows)


def ask(model: Revtaf, dataset: ReportDataset, how: str, options: MainTrain | MainTest) -> Queries:
    """The queries of a split.

    Args:
        model: as it is now.
        dataset: the split.
        how: a choice of ``--retrieval``; the images are looked at only if it compares what the model sees in them.
        options: ``precision``, ``num_workers``, studies ``at_once``.
    """
    queries = Queries(dataset.studies, dataset.region_scores)
    if how == "states" or (how == "learned" and model.config.enhancer == "towers"):
        queries.state_logits, queries.tower_inputs = observe(
            model,
            dataset,
            precision=options.compute.precision,
            batch_size=options.loading.at_once,
            num_workers=options.loading.num_workers,
        )
    return queries
