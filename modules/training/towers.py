"""Training of the two retrieval towers: frozen inputs, after every epoch whose towers are read.

No gradient leaves the towers and no other loss reaches them, so they need not wait for the steps of the model: what the
query tower sees of every training image is taken once per epoch, and then many queries at a time are ranked against the
reports of the bank, a large one's drawn anew in each step. Where the first epoch has references of theirs (``--oracle_epochs 0``), one more fit comes before it, on
the visual encoder that the model starts with: a decoder learns in its first epochs whether a reference is worth reading,
and does not unlearn it later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from models.manifolds import Manifold
from models.retrieval_towers import RetrievalTowers
from models.revtaf import Revtaf
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.distributed import is_main
from modules.labels import POSITIVE, UNCERTAIN
from modules.messages import UserError
from modules.options.programs import MainTrain
from modules.retrieval.observation import ask
from modules.retrieval.references import asks_its_own
from modules.retrieval.retriever import Queries, is_fitted, what_reports_say
from modules.retrieval.text_oracle import NGRAMS
from modules.training.fits import descend, final_loss, set_rate, threads_for
from modules.training.gradients import copy_from_main
from modules.training.optimizers import build_optimizer
from modules.training.run_options import validates

ANCHORS = 64  # queries of a step
CANDIDATES = 1024  # reports of the bank that a step ranks, drawn anew in each
FIRST_STEPS, STEPS = 600, 200  # of a first fit; of a later one, at most, for each epoch since
LR, WEIGHT_DECAY, DROPOUT = 2e-3, 0.1, 0.3
MOST_COUNTED = 3  # times that an n-gram of a report counts
KEPT = 4096  # reports up to which the worth of all pairs is kept, 67 MB: every pair is drawn a dozen times and more
TEXT_TEMPERATURE = 0.05  # cosine of n-grams that is worth one nat
RARITY = 0.5  # a differing condition weighs its positive rate to minus this power


class Wanted:
    """How much a study should want the report of another: by its words and by its findings.

    The worth is ``cosine / TEXT_TEMPERATURE - differing``: the cosine of n-gram counts, and the conditions in which one report
    is positive and the other not, and half of those in which one is uncertain and the other not, weighted by rarity (blank
    against negative is no difference).

    Args:
        reports: of the bank, N of them.
        labels: theirs, ``(N, L)``.
        groups: ``(N,)`` numbers: rows of one number, such as a patient's, are no references of each other. By default every
            row has its own.
        keep: work the worth of every pair out once, at the first call; by default if they are few.
    """

    def __init__(
        self, reports: Sequence[str], labels: np.ndarray, groups: np.ndarray | None = None, keep: bool | None = None
    ) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer  # on demand: a second, for models with towers
        from sklearn.preprocessing import normalize

        counts = HashingVectorizer(**NGRAMS, norm=None).transform(reports).minimum(MOST_COUNTED)
        self.words = csr_array(normalize(counts)) * np.float32(1 / TEXT_TEMPERATURE) ** 0.5  # (N, n-grams)
        rate = (labels == POSITIVE).mean(axis=0).clip(1e-3)
        weight = rate**-RARITY
        weight = weight / weight.mean()  # (L,)
        findings = [(labels == state) * weight**0.5 for state in (POSITIVE, UNCERTAIN)]
        self.positive, self.uncertain = (part.astype(np.float32) for part in findings)  # (N, L) each
        self.groups = np.arange(len(reports)) if groups is None else groups
        self.keep = len(reports) <= KEPT if keep is None else keep
        self.kept: np.ndarray | None = None  # (N, N), the worth of every pair

    @classmethod
    def of(cls, dataset: ReportDataset, exclude_same_patient: bool) -> Wanted:
        """What the training studies should want of their bank, as references of theirs are looked for."""
        bank = dataset.bank
        return cls(bank.reports, bank.labels, bank.groups(dataset.studies, exclude_same_patient)[0])

    def __call__(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Worth ``(B, n)`` in nats of the rows ``candidates`` ``(n,)`` of the bank for its rows ``queries`` ``(B,)``."""
        if not self.keep:
            return self._compare(queries, candidates)
        if self.kept is None:
            every = np.arange(len(self.positive))
            blocks = [every[start : start + ANCHORS] for start in range(0, len(every), ANCHORS)]
            self.kept = np.concatenate([self._compare(block, every) for block in blocks])
        return self.kept[np.ix_(queries, candidates)]

    def _compare(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        worth = (self.words[queries] @ self.words[candidates].T).toarray()
        for findings, share in ((self.positive, 1.0), (self.uncertain, 0.5)):
            a, b = findings[queries], findings[candidates]
            differing = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
            worth -= share * differing
        return worth

    def of_others(self, queries: np.ndarray, candidates: np.ndarray) -> Tensor:
        """The same as a tensor, minus infinity where a candidate is of the query's own group."""
        worth = self(queries, candidates)
        worth[self.groups[queries][:, None] == self.groups[candidates]] = -np.inf
        return torch.from_numpy(worth)


def listwise_loss(manifold: Manifold, queries: Tensor, keys: Tensor, log_scale: Tensor, worth: Tensor) -> Tensor:
    """Cross-entropy between ``softmax(worth)`` and a softmax over minus the scaled squared distances.

    Every candidate takes part and equal worth shares the target, so there is no first among ties.

    Args:
        manifold: geometry.
        queries: ``(B, H)`` points.
        keys: ``(n, H)`` points.
        log_scale: logarithm of the scale of squared distances.
        worth: ``(B, n)`` in nats, minus infinity for what a query must not find.

    Returns:
        Mean over the queries.
    """
    x, y = queries.double(), keys.double()
    flipped = manifold.flip(y)
    square = (x * manifold.flip(x)).sum(dim=1, keepdim=True) + (y * flipped).sum(dim=1) - 2 * x @ flipped.T  # (B, n)
    gap = (square / manifold.shrink(y)).clamp_min(1e-12)  # the square root has no slope at 0
    distance = manifold.distance_of_gap(gap, x.unsqueeze(1))  # (B, n)
    logits = (-log_scale.exp() * distance.square()).masked_fill(worth.isinf(), -1e9)  # finite: times 0 it must be 0
    return F.cross_entropy(logits, worth.to(logits.dtype).softmax(dim=1))


def asked_in(options: MainTrain, epoch: int) -> bool:
    """Whether the references of an epoch's training studies are found by the towers."""
    return options.model.retrieval == "learned" and asks_its_own(options.training, epoch)


def read_after(options: MainTrain, epoch: int) -> bool:
    """Whether anything reads the towers that are fitted after ``epoch``: the next epoch's references, or its validation."""
    return asked_in(options, epoch + 1) or validates(options.training, epoch)


def _steps_of(epochs: int, epoch_steps: int, first: bool) -> int:
    """Steps of a fit with ``epochs`` since the last one: as many as fits after each of them would have had together."""
    later = min(STEPS, epoch_steps)
    return FIRST_STEPS + max(epochs - 1, 0) * later if first else epochs * later


def fits_of(options: MainTrain, epoch_steps: int) -> list[int]:
    """Steps of every fit of a whole training, whose model makes ``epoch_steps`` in an epoch; see :func:`steps_of_a_fit`."""
    fitted, last = bool(options.start.init_from), 0
    fits = [FIRST_STEPS] if asked_in(options, 1) and not fitted else []
    for epoch in range(1, options.training.epochs + 1):
        if read_after(options, epoch):
            fits.append(_steps_of(epoch - last, epoch_steps, first=not (fitted or fits)))
            last = epoch
    return fits


def refit_towers(
    model: Revtaf, dataset: ReportDataset, wanted: Wanted, options: MainTrain, epoch: int, epoch_steps: int, epochs: int
) -> tuple[Queries, float]:
    """Look at the training images and train the towers on them, after ``epoch``; returns what was seen, and the loss.

    Args:
        model: with towers, fitted or not.
        dataset: the training studies.
        wanted: what is learnt.
        options: of ``main_train.py``.
        epoch: 0 before the first one.
        epoch_steps: that the model makes in an epoch: a small set has few.
        epochs: since the last fit.
    """
    steps = _steps_of(epochs, epoch_steps, first=not is_fitted(model.retrieval_enhancer))
    queries = ask(model, dataset, "learned", options)
    return queries, fit_towers(model, dataset, queries, wanted, (options.runtime.seed, epoch), steps)


def _standardise(towers: RetrievalTowers, bank: TrainingBank, inputs: Tensor) -> Tensor:
    """Let both towers standardise what they see; returns what the key tower sees of the bank ``(N, G)``."""
    keys = what_reports_say(towers, bank, slice(None))  # (N, G)
    towers.query.standardise(inputs)
    towers.key.standardise(keys)
    return keys


def steps_of_a_fit(asked: int, studies: int) -> int:
    """As many as asked for, or once through the studies if that is more."""
    return max(asked, studies // ANCHORS)


def towers_step(
    towers: RetrievalTowers, optimizer: torch.optim.Optimizer, seen: Tensor, said: Tensor, worth: Tensor
) -> float:
    """One step: ``seen`` ``(B, F)`` of images, ``said`` ``(n, G)`` of reports, their ``worth`` ``(B, n)``; returns the loss."""
    points = towers.query(seen, DROPOUT), towers.key(said)
    return descend(optimizer, listwise_loss(towers.manifold, *points, towers.log_scale, worth))


def fit_towers(
    model: Revtaf, dataset: ReportDataset, queries: Queries, wanted: Wanted, seed: tuple[int, int], steps: int
) -> float:
    """Train the towers.

    Every process does the same; the weights of the first one are taken.

    Args:
        model: with towers.
        dataset: the training studies.
        queries: what the model sees of their images.
        wanted: what is learnt.
        seed: of draws and dropout.
        steps: how many, or once through the studies if that is more.

    Returns:
        The mean loss of the last tenth of the steps, in nats.

    Raises:
        UserError: if the towers are not finite.
    """
    towers, bank, inputs = model.retrieval_enhancer, dataset.bank, queries.tower_inputs
    assert isinstance(towers, RetrievalTowers)
    assert inputs is not None, "look at the images first: modules.retrieval.observation.ask"
    rows = bank.store.rows("training", [study.id for study in dataset.studies])  # (n,)
    device, keys = towers.log_scale.device, _standardise(towers, bank, inputs)
    n, N = len(inputs), len(bank)
    steps = steps_of_a_fit(steps, n)
    rng = np.random.default_rng(seed)
    towers.requires_grad_(True)
    optimizer = build_optimizer(towers, LR, WEIGHT_DECAY)
    losses = []
    bar = tqdm(range(steps), desc="towers", leave=False, disable=not is_main())
    with torch.random.fork_rng(), threads_for(towers), bar:
        torch.manual_seed(int(rng.integers(2**31)))  # dropout must not depend on, nor move, the training's generator
        for step in bar:
            set_rate(optimizer, LR, step, steps)
            anchors = rng.choice(n, min(ANCHORS, n), replace=False)
            candidates = np.arange(N) if N <= CANDIDATES else rng.choice(N, CANDIDATES, replace=False)
            worth = wanted.of_others(rows[anchors], candidates).to(device)  # (B, n)
            losses.append(
                towers_step(towers, optimizer, inputs[anchors].to(device), keys[candidates].to(device), worth)
            )
    towers.requires_grad_(False)
    optimizer.zero_grad()  # no later step may count what is left here as its own
    if not np.isfinite(losses[-1]):
        raise UserError(
            f"the retrieval towers are not finite after {steps} steps: the visual encoder sees numbers that are none; give it "
            "trained weights (--resnet_weights), or --precision fp32"
        )
    copy_from_main([*towers.parameters(), *towers.buffers()])
    return final_loss(losses)
