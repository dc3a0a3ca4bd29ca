"""Epochs: steps, validation, checkpoints, resume."""

from __future__ import annotations

import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import record_function
from tqdm import tqdm

from models.retrieval_towers import RetrievalTowers
from models.revtaf import Revtaf
from modules.corpus.dataloaders import training_loader
from modules.corpus.datasets import Batch, ReportDataset
from modules.distributed import autocast, barrier, is_main, mean_over_processes, world_size
from modules.evaluation.generation import generate_reports, limits_of, state_scores
from modules.evaluation.scorer import ReportScorer
from modules.evaluation.sensitivity import Distinctness, warnings
from modules.labelling.labelers import Labeler
from modules.programs import MainTrain
from modules.records import append_metrics
from modules.retrieval.references import find_references, reference_agreement, training_references
from modules.retrieval.retriever import Queries
from modules.training.known_pairs import known_pairs
from modules.training.objective import Step, initial_prior, loss_names, next_prior, objective, predicted_prompt
from modules.training.optimizers import Schedule, build_optimizer, clip_gradients
from modules.training.towers import Wanted, refit_towers
from modules.weights.checkpoints import load_checkpoint, restore, save_checkpoint

STOP_CHECK = 20  # steps between two agreements of several processes on whether to stop


class Trainer:
    """Trains one model.

    Args:
        model: on its device.
        train_set: training studies.
        val_set: validation studies.
        labeler: labels generated and reference reports for the validation scores.
        options: of ``main_train.py``.
        device: of this process.
    """

    def __init__(
        self,
        model: Revtaf,
        train_set: ReportDataset,
        val_set: ReportDataset,
        labeler: Labeler,
        options: MainTrain,
        device: torch.device,
    ) -> None:
        self.model, self.train_set, self.val_set, self.options, self.device = model, train_set, val_set, options, device
        self.run_dir = Path(options.run.save_dir)
        self.wrapped = DistributedDataParallel(model) if world_size() > 1 else model
        self.optimizer = build_optimizer(model, options.training.init_lr, options.training.weight_decay)
        self.schedule = Schedule.of(options.training)
        self.limits = limits_of(options.generation)
        self.scorer = ReportScorer(val_set.reports, labeler) if is_main() else None
        self.class_prior = initial_prior(train_set.labels, train_set.bank.store.base_rates).to(device)
        self.wanted = Wanted(train_set.bank) if isinstance(model.retrieval_enhancer, RetrievalTowers) else None
        self.seen: Queries | None = None  # the training images, as the model saw them after the last epoch
        self.known_pairs = known_pairs(train_set, model.config.align_pairs) if options.training.align_weight else None
        self.epoch, self.step, self.best = 1, 0, -float("inf")
        self.stop_requested = False
        self.stage = record_function  # --profile replaces it by a stopwatch

    # checkpoints

    def save(self, name: str) -> None:
        """Write a checkpoint into the run folder; ``current_checkpoint.pth`` also holds what a resume needs."""
        run: dict[str, Any] = {"epoch": self.epoch, "step": self.step, "best": self.best}
        if name == "current_checkpoint.pth":
            run["optimizer"] = self.optimizer.state_dict()
            run["class_prior"] = self.class_prior.cpu()
            run["world_size"] = world_size()
            run["reference_rows"] = torch.from_numpy(self.train_set.reference_rows)
            run["rng"] = torch.get_rng_state()
            if self.device.type == "cuda":
                run["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        if is_main():
            save_checkpoint(self.run_dir / name, self.model, run)

    def resume(self) -> None:
        """Continue from ``current_checkpoint.pth``, in the middle of an epoch if it was interrupted there.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it belongs to another model or another number of processes.
        """
        path = self.run_dir / "current_checkpoint.pth"
        if not path.is_file():
            raise FileNotFoundError(
                f"--resume was given but {path} does not exist: start without it, or fix --save_dir"
            )
        checkpoint = load_checkpoint(path, resumable=True)
        run = checkpoint["run"]
        if run["world_size"] != world_size() and run["step"]:
            raise ValueError(
                f"{path} was saved inside an epoch by {run['world_size']} processes and there are {world_size()} now: "
                "resume with the same number"
            )
        restore(self.model, checkpoint, path)
        self.optimizer.load_state_dict(run["optimizer"])
        self.class_prior = run["class_prior"].to(self.device)
        self.epoch, self.step, self.best = run["epoch"], run["step"], run["best"]
        self.train_set.reference_rows = run["reference_rows"].numpy()
        if world_size() == 1:
            torch.set_rng_state(run["rng"])
            if "cuda_rng" in run and self.device.type == "cuda":
                torch.cuda.set_rng_state(run["cuda_rng"], self.device)
        if is_main():
            print(f"resuming at epoch {self.epoch}, step {self.step}")

    # one step

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Forward pass over a batch on its device: ``loss``, the weighted sum, and its terms by name."""
        options = self.options.training
        with autocast(self.device, self.options.compute.precision):
            prompt = predicted_prompt(options.prompt_states, batch, self.train_set.tokenizer.state_ids)
            output = self.wrapped(batch.study, batch.token_ids, batch.token_mask, batch.packed, prompt)
        pairs = self.known_pairs and self.known_pairs(batch.index, output.reference_map)
        return objective(Step(self.model, output, batch, self.class_prior, options, pairs))

    def train_step(self, batch: Batch) -> torch.Tensor:
        """One update of the weights; returns the losses of the step, in the order of ``loss_names``."""
        with self.stage("forward"):
            losses = self.losses(batch)
        with self.stage("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
        with self.stage("optimizer"):
            clip_gradients(self.model.parameters(), self.options.training.clip_grad_value)
            self.optimizer.step()
        return torch.stack([value.detach().to(losses["loss"].dtype) for value in losses.values()])

    # one epoch

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch, or the rest of one; returns mean losses and the speed."""
        options = self.options
        if not self.step:  # a resumed epoch goes on with the references that it had
            training_references(self.model, self.train_set, self.options, self.epoch, self.seen)
        self.seen = None
        self.train_set.augmentation = (options.runtime.seed, self.epoch) if options.training.augment else None
        loader = training_loader(
            self.train_set,
            options.loading.batch_size,
            options.runtime.seed,
            self.epoch,
            self.step,
            options.loading.num_workers,
        )
        self.model.train()
        names = loss_names()
        total, done, seen, started = torch.zeros(len(names), device=self.device), 0, 0, time.perf_counter()
        steps = self.step + len(loader)
        with tqdm(total=steps, initial=self.step, desc=f"epoch {self.epoch}", disable=not is_main()) as bar:
            for batch in loader:
                lr = self.schedule.apply(self.optimizer, self.epoch, self.step)
                losses = self.train_step(batch.to(self.device, self.train_set.scorer))
                self.step, done = self.step + 1, done + 1
                seen += len(batch.index) * world_size()
                total += losses
                bar.update()
                if self.step % 10 == 1 or self.step == steps:
                    shown = dict(zip(names, losses.tolist(), strict=True))
                    self.check_finite(shown["loss"])
                    numbers = {name.removeprefix("loss_"): f"{value:.3f}" for name, value in shown.items()}
                    bar.set_postfix({**numbers, "lr": f"{lr:.1e}"})
                if self.should_stop():
                    break
                if self.step % options.training.save_every == 0 and self.step < steps:
                    self.save("current_checkpoint.pth")
        means = dict(zip(names, (total / max(done, 1)).tolist(), strict=True))
        means = mean_over_processes(means, self.device)
        means |= reference_agreement(self.train_set)
        return {**means, "lr": lr if done else 0.0, "studies_per_second": seen / (time.perf_counter() - started)}

    def check_finite(self, loss: float) -> None:
        """Stop before a broken model overwrites a good one.

        Raises:
            ValueError: if the loss is not finite.
        """
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} at epoch {self.epoch}, step {self.step}: lower --init_lr or use "
                "--precision fp32; the last good weights are in current_checkpoint.pth (--resume)"
            )

    def should_stop(self) -> bool:
        """Whether Ctrl-C was pressed; several processes agree every few steps."""
        if world_size() == 1:
            return self.stop_requested
        if self.step % STOP_CHECK == 0:
            wishes = mean_over_processes({"stop": float(self.stop_requested)}, self.device)
            self.stop_requested = wishes["stop"] > 0
            return self.stop_requested
        return False

    # validation

    def validate(self) -> dict[str, float]:
        """Generate and score the validation split, update the class prior; scores only on the main process."""
        options = self.options
        find_references(self.model, self.val_set, options.model.retrieval, options)
        distinct = Distinctness()
        rows = generate_reports(
            self.model,
            self.val_set,
            self.limits,
            device=self.device,
            precision=options.compute.precision,
            batch_size=options.loading.batch_size,
            num_workers=options.loading.num_workers,
            watch=(distinct,),
        )
        figures = distinct.figures()
        probability = np.array([row["positive_probability"] for row in rows])  # (n, L)
        self.class_prior = next_prior(probability, self.val_set.labels, self.class_prior)
        if not is_main():
            return {}
        scores = self.scorer([row["prediction"] for row in rows], meteor=False)
        states = state_scores(np.array([row["states"] for row in rows]), self.val_set.labels)
        tqdm.write("".join(f"{sentence}\n" for sentence in warnings(figures)), file=sys.stderr, end="")
        found = {**scores, **states, **figures, **reference_agreement(self.val_set)}
        return {f"val_{name}": value for name, value in found.items() if value is not None}

    # the run

    def fit(self) -> None:
        """Train until the last epoch.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the present step is finished and saved.
        """
        previous = signal.signal(signal.SIGINT, self._request_stop)
        try:
            while self.epoch <= self.options.training.epochs:
                self._one_epoch()
        finally:
            signal.signal(signal.SIGINT, previous)

    def _request_stop(self, *_: object) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True

    def _one_epoch(self) -> None:
        options, started = self.options, time.perf_counter()
        row: dict[str, Any] = {"epoch": self.epoch, **self.train_epoch()}
        if self.wanted and not self.stop_requested:
            self.seen, row["loss_towers"] = refit_towers(self.model, self.train_set, self.wanted, options, self.epoch)
        if self.stop_requested:
            self.save("current_checkpoint.pth")
            raise KeyboardInterrupt
        if self.epoch % options.training.val_every == 0 or self.epoch == options.training.epochs:
            row |= self.validate()
            self._keep_best(row)
        row["seconds"] = time.perf_counter() - started
        self.epoch, self.step = self.epoch + 1, 0
        self.save("current_checkpoint.pth")
        if is_main():
            self._report(row)
        barrier()

    def _keep_best(self, row: dict[str, Any]) -> None:
        if not is_main():
            return
        metric = self.options.training.monitor_metric
        if metric not in row:
            raise ValueError(
                f"--monitor_metric {metric} is not among the validation scores: choose one of {', '.join(row)}"
            )
        if row[metric] > self.best:
            self.best = row[metric]
            self.save("model_best.pth")

    def _report(self, row: dict[str, Any]) -> None:
        append_metrics(self.run_dir / "metrics.csv", row)
        for name, value in row.items():
            print(f"\t{name:15s}: {value:.4g}" if isinstance(value, float) else f"\t{name:15s}: {value}")
        from torch.utils.tensorboard import SummaryWriter  # on demand: it takes seconds to import

        with SummaryWriter(str(self.run_dir / "tensorboard")) as writer:
            for name, value in row.items():
                if name != "epoch":
                    writer.add_scalar(name, value, row["epoch"])
