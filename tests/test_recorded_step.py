"""modules/training/recorded_step.py without a GPU: what a recording reads; test_gpu.py records."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from claimed_cuda import CUDA, claimed_cuda
from tiny import tiny_config

from benchmarks.models import LOSS, random_batch
from models.revtaf import PredictedPrompt, Revtaf
from modules.training.losses import binary_iou
from modules.training.objective import loss_names
from modules.training.recorded_step import Inputs, RecordedSteps, copied, recordable, tensors_of, widened
from modules.training.update import Update

OPTIONS = replace(LOSS, presence_weight=1.0)
small_config = partial(tiny_config, visual_extractor="resnet10n")
PROMPT = PredictedPrompt(torch.tensor([True, False, True, True]), torch.tensor([3, 4, 5, 6]))


def inputs(config, size=4, tokens=50, sentences=5, seed=0, prompt=PROMPT):
    batch = random_batch(config, size, tokens, sentences, lengths=(1, 0.6, 0.8))
    batch.study.reference_mask[1, 2:] = False
    study = {n: v.double() if v.is_floating_point() else v for n, v in vars(batch.study).items()}
    batch = replace(batch, study=replace(batch.study, **study))
    pairs = torch.randint(-1, 2, (size, config.num_entities, sentences), generator=torch.Generator().manual_seed(seed))
    pairs = None if config.align_pairs == "all" else pairs.double()
    return Inputs(batch, pairs, prompt, torch.linspace(0.4, 1, 18, dtype=torch.float64))


def of(model, inputs):
    update = Update(model, OPTIONS, "fp32", torch.device("cpu"))
    model.train().zero_grad()
    losses = update.losses(inputs)
    losses["loss"].backward()
    return losses, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("changes", [{}, {"align_pairs": "all", "entity_keys": "text"}], ids=str)
@pytest.mark.parametrize("prompt", [None, PROMPT], ids=["true", "mixed"])
def test_a_widened_batch_has_the_losses_and_gradients_of_the_batch(changes, prompt):
    torch.manual_seed(0)
    model = Revtaf(small_config(dropout=0.0, **changes)).double()
    narrow = inputs(model.config, prompt=prompt)
    wide = widened(narrow, model.config.pad_id)
    assert wide.batch.study.reference_mask.shape[1] % 8 == 0
    assert len(wide.batch.packed.ids) % 256 == 0
    assert wide.batch.packed.shape[1] % 16 == 0
    (losses, gradients), (others, same) = of(model, narrow), of(model, wide)
    assert list(losses) == loss_names()
    for name, value in losses.items():
        torch.testing.assert_close(others[name], value, rtol=1e-9, atol=1e-12, msg=name)
    assert gradients.keys() == same.keys()
    for name, value in gradients.items():
        torch.testing.assert_close(same[name], value, rtol=1e-7, atol=1e-10, msg=name)


def test_batches_of_one_shape_fit_one_recording_and_all_that_a_step_reads_is_copied():
    config = small_config()
    one, two = (widened(inputs(config, tokens=n, sentences=s), 0) for n, s in ((60, 5), (50, 7)))
    shapes = [[x.shape for x in tensors_of(x)] for x in (one, two)]
    assert shapes[0] == shapes[1]
    kept = copied(one)
    before, after = ({x.data_ptr() for x in tensors_of(x)} for x in (one, kept))
    assert not before & after
    for place, value in zip(tensors_of(kept), tensors_of(two), strict=True):
        place.copy_(value)
    model = Revtaf(replace(config, dropout=0.0)).double()
    assert of(model, kept)[0]["loss"] == of(model, two)[0]["loss"]


def test_a_recording_needs_a_gpu():
    model = Revtaf(small_config())
    assert Update(model, OPTIONS, "fp32", torch.device("cpu"), recorded=True).recorded is None
    assert RecordedSteps(model, lambda _: {}, 0, ["loss"]).recordings == {}


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"learn_curvature": True}, False),
        ({"ot_solver": "pot"}, False),
        ({"ot_epsilon": 0.005}, False),
        ({"ot_epsilon": 0.005, "attention": "softmax"}, True),
        ({"image_size": 384, "grid": "2x"}, False),
        ({"image_size": 352}, True),
        ({"mask_padding": False}, False),
    ],
    ids=str,
)
def test_what_asks_the_card_for_a_number_is_not_recorded(changes, may):
    assert recordable(small_config(**changes)) == may


def test_padding_sentences_that_take_part_make_a_widened_step_another_one():
    torch.manual_seed(0)
    model = Revtaf(small_config(dropout=0.0, align_pairs="all", mask_padding=False)).double()
    narrow = inputs(model.config)
    losses, others = (of(model, x)[0] for x in (narrow, widened(narrow, model.config.pad_id)))
    assert abs(others["loss"] - losses["loss"]) > 1e-6
    assert not recordable(model.config)


def test_the_released_overlap_reads_padded_maps_and_is_not_recorded():
    """Its threshold lies between the smallest and the largest of all maps, and padded ones are zero."""
    maps = torch.linspace(0.2, 0.8, 24).view(1, 6, 4)
    padded = torch.cat([maps, torch.zeros(1, 2, 4)], dim=1)
    assert not torch.equal(binary_iou(maps, padded, side=0)[:, :, :6], binary_iou(maps, maps, side=0))
    config = small_config(align_pairs="all")
    with claimed_cuda():
        for iou in ("soft", "binary"):
            update = Update(Revtaf(config), replace(OPTIONS, align_iou=iou), "fp32", CUDA, recorded=True)
            assert (update.recorded is None) == (iou == "binary")


def test_a_loader_may_pin_memory_while_a_step_is_recorded(monkeypatch):
    """Its thread asks CUDA for memory, which ends a capture that forbids it to every thread; test_gpu.py has a real one."""
    modes = []

    @contextmanager
    def graph(_, pool=None, capture_error_mode="global"):
        modes.append(capture_error_mode)
        yield

    for name, instead in {
        "CUDAGraph": SimpleNamespace, "Stream": lambda: SimpleNamespace(wait_stream=lambda _: None), "graph": graph,
        "current_stream": lambda: SimpleNamespace(wait_stream=lambda _: None), "stream": lambda _: nullcontext(),
        "get_rng_state": torch.get_rng_state, "set_rng_state": torch.set_rng_state,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, instead)
    model = Revtaf(small_config(dropout=0.0)).double()
    steps = RecordedSteps(model, Update(model, OPTIONS, "fp32", torch.device("cpu")).losses, 0, ["loss"])
    steps._record(widened(inputs(model.config), 0))
    assert modes == ["thread_local"]
