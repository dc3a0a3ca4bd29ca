"""Training of a finer grid's maps: by themselves, on the image model as it is, before the first epoch and after every epoch.

Maps of 16 pixels that move with the image model settle beside a sign while it moves most, and stay there: few large hearts
were pointed at. So the first fit is to the image model that the training starts with, and every later one begins where the
first one ended. What is asked of them is the presence loss alone, as in the steps of a model with cells of 32 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from models.coarse_search import search
from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.corpus.images import normalise_pixels
from modules.distributed import autocast, is_main, world_size
from modules.messages import UserError
from modules.options.programs import MainTrain
from modules.retrieval.observation import Views
from modules.training.losses import presence_loss
from modules.training.optimizers import build_optimizer
from modules.training.towers import threads_for
from modules.weights.layouts import check_weights

STUDIES = (
    4096  # looked at for a fit, drawn anew for each: 0.4 GB of a ResNet-101 at 224 pixels, twice that for a moment
)
BATCH = 64
FIRST_STEPS, STEPS = 1500, 400  # of the first fit, and of the others once the model has made as many
LR, WEIGHT_DECAY = 5e-3, 0.05


class MapParts(nn.Module):
    """What a fit trains: the view, W_q and the queries of a model with a finer grid.

    Args:
        model: whose.
    """

    def __init__(self, model: Revtaf) -> None:
        super().__init__()
        assert model.near_view is not None
        assert model.entity_queries is not None
        self.view, self.q, self.queries = model.near_view, model.fusion.attention.q, model.entity_queries


def maps_step(parts: MapParts, optimizer: torch.optim.Optimizer, cells: Tensor, scores: Tensor) -> float:
    """One step towards the presence of entities, ``scores`` ``(B, K)``, in ``cells`` ``(B, M, C)``; returns the loss."""
    loss = presence_loss(search(parts.view, parts.q, parts.queries, cells), scores)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


class FittedMaps:
    """The maps of a model with a finer grid, which no step of the model changes.

    Args:
        model: on its device, with a coarse search.
        dataset: the training studies.
        options: of ``main_train.py``.
    """

    def __init__(self, model: Revtaf, dataset: ReportDataset, options: MainTrain) -> None:
        assert model.coarse_search is not None
        self.model, self.dataset, self.options = model, dataset, options
        self.fitted, self.parts = model.coarse_search.maps_fitted, MapParts(model)
        self.parts.requires_grad_(False)
        self.start: dict[str, Tensor] = {}  # the weights that the first fit ended with

    @classmethod
    def of(cls, model: Revtaf, dataset: ReportDataset, options: MainTrain) -> FittedMaps | None:
        """Those of a model that has a finer grid and is asked what its images show; None for any other."""
        apart = model.coarse_search is not None and options.training.presence_weight > 0
        return cls(model, dataset, options) if apart else None

    def resume(self, run: Mapping[str, Any], path: str | Path) -> None:
        """Take the end of the first fit from the ``run`` of a checkpoint; UserError if it holds none, or another model's."""
        if "first_maps" not in run:
            raise UserError(
                f"{path} lacks the first fit of its maps, so it was not written by main_train.py as a whole: copy it again"
            )
        check_weights(run["first_maps"], self.parts.state_dict(), path, "a run with maps of this size")
        self.start = run["first_maps"]

    def begin(self) -> None:
        """Fit maps that never were, before the first step of the model; later calls do nothing."""
        if self.start:
            return
        if not self.fitted:
            self.fit(0, FIRST_STEPS)
        self.start = {name: value.clone() for name, value in self.parts.state_dict().items()}

    def refit(self, epoch: int, moved: int) -> float:
        """Fit them to the model after ``epoch``, when it has made ``moved`` steps: a small set makes few; returns the loss."""
        self.parts.load_state_dict(self.start)
        return self.fit(epoch, min(STEPS, moved))

    def fit(self, epoch: int, steps: int) -> float:
        """Train the maps.

        Every process does the same; the weights of the first one are taken.

        Returns:
            The mean presence loss of the last tenth of the steps.

        Raises:
            UserError: if the maps are not finite.
        """
        rng = np.random.default_rng((self.options.runtime.seed, epoch, 16))
        n = len(self.dataset)
        cells, scores = self._look(sorted(rng.choice(n, min(STUDIES, n), replace=False).tolist()))
        device = self.fitted.device
        self.parts.requires_grad_(True)
        optimizer = build_optimizer(self.parts, LR, WEIGHT_DECAY)
        losses: list[float] = []
        bar = tqdm(range(steps), desc="maps", leave=False, disable=not is_main())
        with threads_for(self.parts), bar:
            for step in bar:
                for group in optimizer.param_groups:
                    group["lr"] = LR * (1 + np.cos(np.pi * step / steps)) / 2
                chosen = rng.choice(len(cells), min(BATCH, len(cells)), replace=False)
                losses.append(
                    maps_step(self.parts, optimizer, cells[chosen].to(device).float(), scores[chosen].to(device))
                )
        self.parts.requires_grad_(False)
        optimizer.zero_grad()  # no later step may count what is left here as its own
        if not all(weight.isfinite().all() for weight in self.parts.parameters()):
            raise UserError(
                f"the maps are not finite after {steps} steps: the visual encoder sees numbers that are none; give it trained "
                "weights (--resnet_weights), or --precision fp32"
            )
        self.fitted += 1
        if world_size() > 1:
            for tensor in self.parts.parameters():
                dist.broadcast(tensor, 0)
        return float(np.mean(losses[-max(1, steps // 10) :]))

    @torch.no_grad()
    def _look(self, studies: list[int]) -> tuple[Tensor, Tensor]:
        """What the image model's first stage shows of some studies: cells ``(n, M, C)`` in float16, and scores ``(n, K)``."""
        options, encoder = self.options, self.model.visual_encoder
        self.model.eval()
        device = self.fitted.device
        views = Views(self.dataset, studies)
        loader = DataLoader(
            views,
            batch_size=options.loading.batch_size,
            num_workers=options.loading.num_workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # its own: looking must not move the generator that dropout uses
        )
        cells: list[Tensor] = []
        for image, _, _ in tqdm(loader, desc="look", leave=False, delay=2, disable=not is_main()):
            with autocast(device, options.compute.precision):
                nearest = encoder.first_stage(normalise_pixels(image.to(device, non_blocking=True)))
            cells.append(self.parts.view.cells(nearest.float()).clamp(-6e4, 6e4).half().cpu())  # what float16 holds
        return torch.cat(cells), torch.from_numpy(views.region_scores.astype(np.float32))
