"""What a model makes of the images of a split before any report is retrieved for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.corpus.images import crop_image, normalise_pixels, open_image
from modules.distributed import autocast, gather_list, is_main, shard
from modules.programs import MainTest, MainTrain
from modules.retrieval.retriever import Queries


class _Views(Dataset):
    """Images and memories of some studies of a split: nothing else is read from disk."""

    def __init__(self, dataset: ReportDataset, indices: list[int]) -> None:
        self.paths = [dataset.image_dir / dataset.image_paths[index] for index in indices]
        self.memories = np.asarray(dataset.store["memory_indices"])[dataset.rows[indices]]  # (n, R)
        self.bank, self.image_size = dataset.bank, dataset.image_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = crop_image(open_image(self.paths[index]), self.image_size)  # (3, height, width)
        return image, torch.from_numpy(self.bank.memory(self.memories[index]))  # (R, C)


@torch.no_grad()
def observe(model: Revtaf, dataset: ReportDataset, *, precision: str, batch_size: int, num_workers: int) -> Tensor:
    """Diagnose every study of a split from its image and its memory, which need no reference report.

    The studies are shared among the processes; every process gets all states.

    Returns:
        ``state_logits`` ``(n, P, L)`` in float32 on the host, without the class prior.
    """
    model.eval()
    device = model.diagnosis_head.linear.weight.device
    mine = shard(list(range(len(dataset))))
    loader = DataLoader(
        _Views(dataset, mine),
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # its own: looking must not move the generator that dropout uses
    )
    found = []
    with tqdm(total=len(dataset), desc="look", unit="study", leave=False, delay=2, disable=not is_main()) as bar:
        for image, memory in loader:
            with autocast(device, precision):
                pixels = normalise_pixels(image.to(device, non_blocking=True))
                _, logits = model.diagnose(pixels, memory.to(device, non_blocking=True))  # (B, P, L)
            found.append(logits.float().cpu())
            bar.update(len(dataset) * len(image) / len(mine))
    shares = gather_list([(mine, torch.cat(found).numpy())] if found else [])
    state_logits = torch.empty(len(dataset), *model.diagnosis_head.shape)  # (n, P, L)
    for indices, logits in shares:
        state_logits[indices] = torch.from_numpy(logits)
    return state_logits


def ask(model: Revtaf, dataset: ReportDataset, how: str, options: MainTrain | MainTest) -> Queries:
    """The queries of a split.

    Args:
        model: as it is now.
        dataset: the split.
        how: a choice of ``--retrieval``; the images are looked at only if it compares what the model sees in them.
        options: ``precision``, ``batch_size``, ``num_workers``.
    """
    queries = Queries(dataset.studies, dataset.region_scores)
    if how == "states":
        queries.state_logits = observe(
            model,
            dataset,
            precision=options.compute.precision,
            batch_size=options.loading.batch_size,
            num_workers=options.loading.num_workers,
        )
    return queries
