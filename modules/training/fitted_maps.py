"""Training of maps that look at the first stage: by themselves, on the image model as it is, before the first epoch and after every one.

Maps of 16 pixels that are trained together with the image model settle beside a sign while it moves most, and stay there: few
large hearts were pointed at. So every fit begins with the same random weights, and takes no more steps than pointing needs:
longer fits leave the heart again. Their loss is the presence loss alone, as for a model with cells of 32 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.coarse_search import search_cells
from models.entity_queries import EntityQueries
from models.near_view import NearView
from models.revtaf import Revtaf
from modules.corpus.datasets import ReportDataset
from modules.corpus.images import normalise_pixels
from modules.distributed import autocast, is_main
from modules.messages import UserError
from modules.options.programs import MainTrain
from modules.retrieval.observation import Views, load_views
from modules.training.fits import descend, final_loss, set_rate, threads_for
from modules.training.gradients import copy_from_main
from modules.training.losses import presence_loss
from modules.training.optimizers import build_optimizer

# Studies that a fit looks at, drawn anew for each. Their first stage of a ResNet-101 at 224 pixels takes .4 GB, 1.6 GB as fine
# cells, and twice that for a moment.
STUDIES = 4096
BATCH = 64
STEPS = 1000  # of a fit
LR, WEIGHT_DECAY = 5e-3, 0.05
LOOK = 50  # steps of a fit between two looks at whether the run is to stop


class MapParts(nn.Module):
    """What a fit trains: the view, W_q and the queries of a model whose maps look at the first stage.

    Args:
        model: whose.
    """

    def __init__(self, model: Revtaf) -> None:
        super().__init__()
        assert model.near_view is not None
        assert model.entity_queries is not None
        self.view, self.q, self.queries = model.near_view, model.fusion.attention.q, model.entity_queries


def maps_step(parts: MapParts, optimizer: torch.optim.Optimizer, cells: Tensor, scores: Tensor) -> float:
    """One step towards the presence of entities, ``scores`` ``(B, K)``, in ``cells`` of the view; returns the loss."""
    return descend(optimizer, presence_loss(search_cells(parts.view, parts.q, parts.queries, cells), scores))


class FittedMaps:
    """The maps of a model with a finer grid or fine cells, which no step of the model changes.

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

    @classmethod
    def of(cls, model: Revtaf, dataset: ReportDataset, options: MainTrain) -> FittedMaps | None:
        """Those of a model whose maps look at the first stage and that has a presence loss; None for any other."""
        apart = model.coarse_search is not None and options.training.presence_weight > 0
        return cls(model, dataset, options) if apart else None

    def begin(self) -> None:
        """Fit maps that have never been fitted, before the first step of the model; later calls do nothing."""
        if not self.fitted:
            self.fit(0)

    def fit(self, epoch: int, steps: int | None = None, between: Callable[[], None] = lambda: None) -> float:
        """Train the maps from random weights, the same in every fit, on the image model as it is after ``epoch``.

        Every process does the same; the weights of the first one are taken.

        Args:
            epoch: 0 before the first one.
            steps: ``STEPS`` if absent.
            between: called every ``LOOK`` steps, in every process; what it raises ends a fit, which can begin anew later.

        Returns:
            The mean presence loss of the last tenth of the steps.

        Raises:
            UserError: if the maps are not finite.
        """
        steps, rng = steps or STEPS, np.random.default_rng((self.options.runtime.seed, epoch, 16))
        n = len(self.dataset)
        cells, scores = self._look(sorted(rng.choice(n, min(STUDIES, n), replace=False).tolist()))
        device = self.fitted.device
        self._begin_anew()
        self.parts.requires_grad_(True)
        optimizer = build_optimizer(self.parts, LR, WEIGHT_DECAY)
        losses: list[float] = []
        bar = tqdm(range(steps), desc="maps", leave=False, disable=not is_main())
        with threads_for(self.parts), bar:
            for step in bar:
                if step % LOOK == 0:
                    between()
                set_rate(optimizer, LR, step, steps)
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
        copy_from_main(self.parts.parameters())
        return final_loss(losses)

    def _begin_anew(self) -> None:
        """Give the maps the random weights that every fit of this seed begins with."""
        with torch.random.fork_rng(devices=[]):
            seed = self.options.runtime.seed
            torch.default_generator.manual_seed(seed)  # of the CPU alone: a card's is the dropout's
            width, channels = self.parts.view.linear.weight.shape
            for part, anew in (
                (self.parts.view, NearView(channels, width)),
                (self.parts.q, nn.Linear(width, width)),
                (self.parts.queries, EntityQueries(len(self.parts.queries.query), width)),
            ):
                part.load_state_dict(anew.state_dict())

    @torch.no_grad()
    def _look(self, studies: list[int]) -> tuple[Tensor, Tensor]:
        """What a fit sees of some studies: cells ``(n, M, ..)`` of the image model's first stage in float16, scores ``(n, K)``."""
        options, encoder = self.options, self.model.visual_encoder
        self.model.eval()
        device = self.fitted.device
        views = Views(self.dataset, studies)
        loader = load_views(views, options.loading.at_once, options.loading.num_workers, device)
        cells: list[Tensor] = []
        for image, _, _ in tqdm(loader, desc="look", leave=False, delay=2, disable=not is_main()):
            with autocast(device, options.compute.precision):
                nearest = encoder.first_stage(normalise_pixels(image.to(device, non_blocking=True)))
            cells.append(self.parts.view.cells(nearest.float()).clamp(-6e4, 6e4).half().cpu())  # float16 ends at 65504
        return torch.cat(cells), torch.from_numpy(views.region_scores.astype(np.float32))
