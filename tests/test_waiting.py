"""A training step asks for no number: on a GPU every answer would make the host wait for the device."""

from argparse import Namespace
from collections import Counter

import pytest
import torch
from conftest import tiny_study
from test_revtaf import tokens
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models import optimal_transport
from models.decoder_layers import PackedReports
from modules.corpus.datasets import Batch
from modules.corpus.images import normalise_pixels
from modules.training.objective import loss_terms
from modules.training.optimizers import clip_gradients

WAITING = {  # operations whose result, or its size, the host has to know
    "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_linalg_check_errors", "_unique2",
    "repeat_interleave", "bincount",
}  # fmt: skip
LOSS = {"label_smoothing": 0.1, "align_iou": "soft", "rank_loss": "nearest", "rank_temperature": 2.0}


class Waits(TorchDispatchMode):
    """Counts them, and indexing by truth values, which counts these first, on tensors made from those given.

    Any other tensor, such as a fixed curvature, lies on the host on a GPU too.
    """

    def __init__(self, *tensors):
        super().__init__()
        self.found = Counter()
        for tensor in tensors:
            tensor.on_device = True

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        on_device = any(hasattr(value, "on_device") for value in tree_leaves((args, kwargs)))
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        if on_device and (name in WAITING or any(i is not None and i.dtype == torch.bool for i in indices)):
            self.found[name] += 1
        result = operation(*args, **(kwargs or {}))
        if on_device:
            for value in tree_leaves(result):
                if isinstance(value, torch.Tensor):
                    value.on_device = True
        return result


def one_step(model, rank_loss, iou):
    ids, mask = tokens()
    study = tiny_study()
    pixels = torch.randint(0, 256, study.image.shape, dtype=torch.uint8)
    labels = torch.randint(0, 4, (len(ids), 18), generator=torch.Generator().manual_seed(2))
    batch = Batch(study, ids, mask, PackedReports.of(ids, mask, 19), labels, list(range(len(ids))))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    prior, options = torch.full((18,), 0.5), Namespace(**{**LOSS, "rank_loss": rank_loss, "align_iou": iou})
    inputs = [value for part in (study, batch, batch.packed) for value in vars(part).values()]
    tensors = [value for value in (*inputs, pixels, prior, *model.parameters()) if isinstance(value, torch.Tensor)]
    with Waits(*tensors) as waits:
        study.image = normalise_pixels(pixels)
        output = model(batch.study, batch.token_ids, batch.token_mask, batch.packed)
        loss = loss_terms(model, output, batch, prior, options).total(4, 0.5, 2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(model.parameters(), 0.1)
        optimizer.step()
    return waits.found


@pytest.mark.parametrize("iou", ["soft", "binary"])
@pytest.mark.parametrize("rank_loss", ["nearest", "listwise"])
@pytest.mark.parametrize("manifold", ["poincare", "lorentz", "euclidean"])
def test_a_step_never_waits(tiny_model, monkeypatch, manifold, rank_loss, iou):
    monkeypatch.setattr(optimal_transport, "CHECK_EVERY", 1000)  # a GPU runs all iterations, see solve_log_domain
    model = tiny_model(manifold=manifold).train()
    assert one_step(model, rank_loss, iou) == {}


def test_a_learned_curvature_waits(tiny_model, monkeypatch):
    """The price of --learn_c: geoopt asks for the sign of a curvature that lies on the device."""
    monkeypatch.setattr(optimal_transport, "CHECK_EVERY", 1000)
    assert set(one_step(tiny_model(learn_curvature=True).train(), "nearest", "soft")) == {"_local_scalar_dense"}


def test_waiting_would_be_noticed():
    x, host = torch.arange(4.0), torch.tensor(1.0)
    with Waits(x) as waits:
        x[x > 1].sum().item()
        (x + 1).nonzero()
        torch.linalg.solve((x[1] * torch.eye(2)).expand(3, 2, 2), torch.ones(3, 2))
        (host * 2).item()
    assert waits.found == {"index": 1, "_local_scalar_dense": 1, "nonzero": 1, "_linalg_check_errors": 1}
