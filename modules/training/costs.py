"""What training and testing a model take on this machine, measured on two studies of random numbers at full size."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from models.beam_search import GenerationLimits
from models.decoder_layers import PackedReports
from models.retrieval_towers import RetrievalTowers
from models.revtaf import Revtaf, StudyInputs
from modules.corpus.datasets import Batch
from modules.distributed import autocast
from modules.labels import CONDITIONS, STATES
from modules.options.parsing import model_config
from modules.options.programs import MainTrain
from modules.throughput import Cost
from modules.training.fits import threads_for
from modules.training.memory import first_study, kept_bytes
from modules.training.optimizers import build_optimizer
from modules.training.towers import (
    ANCHORS,
    CANDIDATES,
    KEPT,
    LR,
    WEIGHT_DECAY,
    Wanted,
    fits_of,
    steps_of_a_fit,
    towers_step,
)
from modules.training.update import Update
from modules.weights.fast import speed_up

STUDIES, WORDS = 2, 80  # in a step that is timed; tokens of a report besides the prompt
BERT_VOCABULARY, CORPUS_VOCABULARY = 30527, 4000
TEXT_DIM, ENTITY_DIM, SENTENCES, MEMORY = 512, 768, 8, 21
STATE_BYTES = 16  # of a parameter in training: itself, its gradient, two moments


def training_costs(
    options: MainTrain,
    train: int,
    val: int,
    test: int,
    device: torch.device,
    text_dim: int = TEXT_DIM,
    entity_dim: int = ENTITY_DIM,
) -> list[Cost]:
    """Epochs, validations and one test, and the memory of a step.

    Args:
        options: of ``main_train.py``.
        train: training studies.
        val: validation studies, written about after every ``--val_every`` epochs and at the end.
        test: test studies.
        device: where the network runs.
        text_dim: width of the features of reports.
        entity_dim: width of the embeddings of entities.
    """
    torch.manual_seed(0)
    corpus = options.start.tokenizer == "corpus"
    sizes = {
        "report_feature_dim": text_dim,
        "entity_text_dim": entity_dim,
        "pad_id": 0,
        "end_id": 2,
        "visual_folder": None,
    }
    config = model_config(options.model, vocab_size=CORPUS_VOCABULARY if corpus else BERT_VOCABULARY, **sizes)
    model = Revtaf(config).to(device)
    speed_up(model, device, options.speed.fast_cpu, options.speed.fast_gpu, options.training.compile)
    batch = _random_batch(model)
    kept = kept_bytes(config, first_study(batch, config.prompt_length))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    ids, mask = batch.token_ids.to(device), batch.token_mask.to(device)
    packed, labels = batch.packed.to(device), batch.labels.to(device)
    batch = Batch(batch.study.to(device), ids, mask, packed, labels, batch.index)
    step, size = _step_seconds(model, options, batch, device), options.loading.batch_size
    report = _report_seconds(model, options, batch, device)
    towers = _tower_costs(model, options, batch, train, device)
    del model
    epochs = options.training.epochs
    validations = -(-epochs // options.training.val_every)
    weights = parameters * 4
    return [
        Cost(f"training, {epochs} epochs", step * train * epochs, f"{step:.4f} s a study", 3 * weights),
        *towers,
        Cost(f"validation, {validations} times", report * val * validations, f"{report:.4f} s a report"),
        Cost("test", report * test, "the same"),
        Cost(
            f"memory of a step of {size}: {(parameters * STATE_BYTES + kept * size) / 1e9:.1f} GB in float32",
            0.0,
            f"{parameters * STATE_BYTES / 1e9:.1f} GB for {parameters / 1e6:.0f} million weights, {kept / 1e9:.3f} GB a study",
        ),
    ]


def _step_seconds(model: Revtaf, options: MainTrain, batch: Batch, device: torch.device) -> float:
    """Seconds of a study in a step of ``--batch_size``, whose studies share the optimizer; the first step sets up."""
    state_ids = list(range(1, 1 + model.config.num_states))
    update = Update(model, options.training, options.compute.precision, device, state_ids)
    update.train()
    prior = torch.full((len(CONDITIONS),), 0.1, device=device)
    update(1, (batch,), prior)
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = _now()
        yield
        seconds[name] = _now() - started

    update.stage = stage
    update(2, (batch,), prior)
    shared = options.loading.batch_size * options.training.grad_accum
    return (seconds["forward"] + seconds["backward"]) / STUDIES + seconds["optimizer"] / shared


@torch.no_grad()
def _report_seconds(model: Revtaf, options: MainTrain, batch: Batch, device: torch.device) -> float:
    """Seconds of a report, all its words written."""
    model.eval()
    state_ids = torch.arange(1, 1 + model.config.num_states, device=device)
    asked = options.generation
    limits = GenerationLimits(beams=asked.beam_size, min_length=asked.gen_min_len, max_new_tokens=asked.gen_max_len)
    for limit in (replace(limits, min_length=0, max_new_tokens=2), limits):  # the first sets up
        started = _now()
        with autocast(device, options.compute.precision):
            model.generate(batch.study, 3, state_ids, limit)
    return (_now() - started) / STUDIES


def _tower_costs(model: Revtaf, options: MainTrain, batch: Batch, train: int, device: torch.device) -> list[Cost]:
    """Looking at every training image, and fitting the retrieval towers to them, as often as the training does it."""
    towers = model.retrieval_enhancer
    fits = fits_of(options, train // (options.loading.batch_size * options.training.grad_accum))
    if not isinstance(towers, RetrievalTowers) or options.model.retrieval != "learned":
        return []
    rng, study = np.random.default_rng(0), batch.study
    vocabulary = [f"word{number}" for number in range(2000)]
    reports = [" ".join(rng.choice(vocabulary, WORDS)) for _ in range(min(CANDIDATES, max(train, ANCHORS)))]
    labels = rng.integers(0, len(STATES), (len(reports), len(CONDITIONS)))
    wanted = Wanted(reports, labels, keep=train <= KEPT)
    model.eval()
    for _ in range(2):  # the first sets up
        started = _now()
        with torch.no_grad(), autocast(device, options.compute.precision):
            inputs = model.look(study.image, study.region_scores, study.memory)[1]
        looking = (_now() - started) / STUDIES
    assert inputs is not None, "a model with towers sees for them"
    seen = torch.rand(ANCHORS, inputs.shape[1], device=device)
    said = torch.rand(len(reports), len(towers.key.mean), device=device)
    towers.requires_grad_(True)
    optimizer = build_optimizer(towers, LR, WEIGHT_DECAY)
    with threads_for(towers):
        for _ in range(2):
            started = _now()
            worth = wanted.of_others(np.arange(ANCHORS), np.arange(len(reports))).to(device)
            towers_step(towers, optimizer, seen, said, worth)
            step = _now() - started
    steps, times = sum(steps_of_a_fit(asked, train) for asked in fits), len(fits)
    return [
        Cost(f"looking for the towers, {times} times", looking * train * times, f"{looking:.4f} s an image"),
        Cost(f"fitting the towers, {times} times", step * steps, f"{step:.4f} s a step, {steps:,} steps"),
    ]


def _now() -> float:
    """Seconds, once the device has done what was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _random_batch(model: Revtaf) -> Batch:
    c, B = model.config, STUDIES
    T = c.prompt_length + WORDS
    study = StudyInputs(
        image=torch.rand(B, 3, c.image_size, c.image_size),
        region_scores=torch.rand(B, c.num_entities),
        region_text=torch.randn(B, c.num_entities, c.entity_text_dim),
        memory=torch.randn(B, MEMORY, c.report_feature_dim),
        reference_text=torch.randn(B, SENTENCES, c.report_feature_dim),
        reference_mask=torch.ones(B, SENTENCES, dtype=torch.bool),
        reference_tokens=torch.randint(3, c.vocab_size, (B, c.reference_memory * c.references)),
    )
    ids, mask = torch.randint(3, c.vocab_size, (B, T)), torch.ones(B, T, dtype=torch.bool)
    labels = torch.randint(0, c.num_states, (B, c.num_conditions))
    return Batch(study, ids, mask, PackedReports.of(ids, mask, c.prompt_length), labels, list(range(B)))
