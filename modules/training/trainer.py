"""Epochs: steps, checkpoints, resume."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from models.retrieval_towers import RetrievalTowers
from models.revtaf import Revtaf
from modules.corpus.dataloaders import training_loader
from modules.corpus.datasets import Batch, ReportDataset
from modules.distributed import agree_on, barrier, highest, is_main, mean_over_processes, watch, world_size
from modules.labelling.labelers import Labeler
from modules.options.programs import MainTrain
from modules.processes.stops import Stopped, StopRequest
from modules.records import plain
from modules.retrieval.references import reference_agreement, training_references
from modules.retrieval.retriever import Queries, is_fitted
from modules.training.fitted_maps import FittedMaps
from modules.training.good_states import GoodStates
from modules.training.history import History, bar_figures
from modules.training.known_pairs import KnownPairs
from modules.training.objective import initial_prior, loss_names
from modules.training.optimizers import Schedule
from modules.training.run_options import REWARD, check_same_state, drawn_in, validates
from modules.training.run_origin import origin_of, refuse_other_origin
from modules.training.run_state import RunState, of_every_process, restore_process, stored_rows
from modules.training.self_critical import SelfCritical
from modules.training.towers import Wanted, asked_in, read_after, refit_towers
from modules.training.update import Update
from modules.training.validation import Validation
from modules.weights import saving
from modules.weights.checkpoints import restore
from modules.weights.generations import newest_checkpoint

LOOK = 10  # steps between two looks at numbers on the device


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
        pairs = KnownPairs.of(train_set, model.config.align_pairs) if options.training.align_weight else None
        precision, recorded = options.compute.precision, options.speed.fast_gpu
        state_ids = train_set.tokenizer.state_ids
        self.maps = FittedMaps.of(model, train_set, options)
        self.self_critical = SelfCritical.of(model, train_set, labeler, options)
        self.update = Update(model, options.training, precision, device, state_ids, pairs, recorded, self.self_critical)
        self.optimizer, self.finite = self.update.optimizer, self.update.finite
        self.schedule = Schedule.of(options.training)
        self.class_prior = initial_prior(train_set.labels, train_set.bank.store.base_rates).to(device)
        has_towers = isinstance(model.retrieval_enhancer, RetrievalTowers)
        self.wanted = Wanted.of(train_set, options.training.exclude_same_patient) if has_towers else None
        self.seen: Queries | None = None  # the training images, as the model saw them after the last epoch
        self.state = RunState()
        self.origin = origin_of(train_set, val_set, labeler, options)
        self.losses = loss_names(options.training)
        self.sums = torch.zeros(1 + len(self.losses), device=device)  # of this epoch and process: steps, losses
        self.referenced = 0  # epoch that the training studies have their references of
        self.stop, self.watch = StopRequest(), watch()
        self.validation = Validation(model, val_set, labeler, options, device, self._between_batches)
        self.history: History | None = None  # of the main process, in a run
        self.good = GoodStates(self.finite, train_set, options)

    # checkpoints

    def save(self) -> str:
        """Write ``current_checkpoint.pth``, which holds all that a resume needs; returns its checksum.

        Raises:
            UserError: if the weights or the state of the optimizer are not finite, or the disk refuses.
        """
        state = self.state
        self.good.look(state)
        run = {
            **state.as_dict(),
            "processes": of_every_process(self.sums, self.device),
            "losses": self.losses,
            "drawn": drawn_in(self.options.training, state.epoch),
            **{name: getattr(self.options.training, name) for name in REWARD},
            "world_size": world_size(),
            "optimizer": self.optimizer.state_dict(),
            "class_prior": self.class_prior.cpu(),
            "features": self.train_set.store.checksums,
            **self.origin,
        }
        if state.step:
            run["reference_rows"] = stored_rows(self.train_set.read_rows)
        content = saving.content_of(self.model, run)
        self.good.require_finite(content, state)
        self.watch.beat("saving")
        checksum = agree_on(lambda: saving.save_generation(content, self.run_dir))
        self.good.saved(self.run_dir / saving.CURRENT, state)
        return checksum

    def resume(self) -> None:
        """Continue from the newest whole checkpoint, in the middle of an epoch if it was interrupted there.

        Raises:
            UserError: if there is none, it belongs to another model, or see :func:`check_same_state` and :func:`refuse_other_origin`.
        """
        path, checkpoint, checksum = newest_checkpoint(self.run_dir)
        run = checkpoint["run"]
        check_same_state(path, run, self.options, self.train_set.store.checksums)
        refuse_other_origin(path, run, self.origin, self.options.data.ann_path)
        restore(self.model, checkpoint, path)
        self.optimizer.load_state_dict(run["optimizer"])
        self.class_prior = run["class_prior"].to(self.device)
        self.state = RunState(**{name: run[name] for name in RunState().as_dict() if name in run})
        if len(run["processes"]) == world_size():
            self.sums = restore_process(run, self.state, self.losses, self.device)
        if "reference_rows" in run:
            self.train_set.refer_to(run["reference_rows"].numpy())
            self.referenced = self.state.epoch
        self.validation.weights = checksum
        self.good.saved(path, self.state)
        if is_main():
            print(
                f"resuming at epoch {self.state.epoch}, step {self.state.step}"
                if self.state.epoch <= self.options.training.epochs
                else f"all {self.options.training.epochs} epochs are trained: nothing is left to do (more: --epochs)"
            )

    def train_step(self, *batches: Batch) -> torch.Tensor:
        """One update of the weights; returns the losses of the step, in the order of ``loss_names``."""
        return self.update(self.state.step + 1, batches, self.class_prior)

    # steps and epochs

    def train_epoch(self) -> dict[str, float | None]:
        """Train one epoch, or the rest of one; returns mean losses of finite steps and the speed of the whole epoch."""
        options, state = self.options, self.state
        loader = self._loader()
        steps, started, before = state.step + self._steps(loader), time.perf_counter(), state.seconds
        lr = self.schedule.apply(self.optimizer, state.epoch, max(steps - 1, 0))
        state.count(steps)
        self.update.train()
        if self.self_critical:
            self.self_critical.active = drawn_in(options.training, state.epoch) > 0
        with tqdm(total=steps, initial=state.step, desc=f"epoch {state.epoch}", disable=not is_main()) as bar:
            for batches in self._batches(loader):
                lr = self.schedule.apply(self.optimizer, state.epoch, state.step)
                losses = self.train_step(*(self.train_set.to_device(batch, self.device) for batch in batches))
                finite = 1 - self.finite.left_out
                self.sums += torch.where(finite > 0, torch.cat([finite[None], losses.to(self.sums.dtype)]), 0)
                self.validation.weights = None
                state.step += 1
                state.seen += sum(len(batch.index) for batch in batches) * world_size()
                state.seconds = before + time.perf_counter() - started
                bar.update()
                if state.step % LOOK == 1 or state.step == steps:
                    self.good.look(state)
                    bar.set_postfix(bar_figures(self.losses, losses, lr))
                if state.step % options.training.log_every == 0:
                    state.shown = mean_over_processes(self.sums)
                    if self.history:
                        self.history.keep_step(state.epoch, state.step, state.steps, state.shown, lr)
                if state.step % options.training.save_every == 0 and state.step < steps:
                    self.save()
        count, *sums = mean_over_processes(self.sums)
        means = dict(zip(self.losses, [total / count if count else None for total in sums], strict=True))
        speed = state.seen / max(state.seconds, 1e-9)
        return {**means, **reference_agreement(self.train_set), "lr": lr, "studies_per_second": speed}

    def _loader(self) -> DataLoader:
        """The batches of the epoch that are left, with the references of their studies."""
        options, state = self.options, self.state
        self.train_set.augmentation = (options.runtime.seed, state.epoch) if options.training.augment else None
        loading, rare = options.loading, options.training.rare_sampling
        order = options.runtime.seed, state.epoch, state.step * options.training.grad_accum
        loader = training_loader(self.train_set, loading.batch_size, *order, loading.num_workers, rare)
        if self.referenced != state.epoch and self._steps(loader):
            with self.watch.patience(), state.beside_steps():
                if self.wanted and asked_in(options, state.epoch) and not is_fitted(self.model.retrieval_enhancer):
                    self.seen, _ = refit_towers(self.model, self.train_set, self.wanted, options, 0, 0, epochs=0)
                if self.maps:
                    self.maps.begin()
                training_references(self.model, self.train_set, options, state.epoch, self.seen)
            self.referenced, self.seen = state.epoch, None
        return loader

    def _steps(self, loader: DataLoader) -> int:
        """Steps that its batches are enough for; an epoch has at least one."""
        return len(loader) // self.options.training.grad_accum or int(self.state.step == 0)

    def _batches(self, loader: DataLoader) -> Iterator[list[Batch]]:
        """The batches of each step until the epoch ends or every process knows that it is to stop; then saves and leaves."""
        waiting = iter(loader)
        last = self.state.step + self._steps(loader)
        while True:
            self.watch.beat(f"epoch {self.state.epoch}, step {self.state.step + 1}: reading its studies")
            batches = list(islice(waiting, self.options.training.grad_accum)) if self.state.step < last else []
            self._leave_if_asked()
            if not batches:
                return
            self.watch.beat(f"epoch {self.state.epoch}, step {self.state.step + 1}: computing")
            yield batches

    def _leave_if_asked(self) -> None:
        """Save and leave, if any process has received a signal."""
        if number := highest(self.stop.number):
            self.save()
            raise Stopped(number)

    def _between_batches(self) -> None:
        """Before every batch of a validation: a process that has received a signal leaves, the state is on disk."""
        self.watch.beat(f"validation of epoch {self.state.epoch}")
        self.stop.check()

    # the run

    def fit(self) -> None:
        """Train until the last epoch.

        Raises:
            Stopped: after SIGINT, SIGTERM, SIGHUP or SIGUSR1, once the present step is finished and saved.
        """
        self.watch.begin(self.options.training.timeout)
        self.history = History.of(self.run_dir, self.state, self.losses) if is_main() else None
        try:
            with self.stop, torch.jit.optimized_execution(False):  # it would round otherwise after a few calls
                while self.state.epoch <= self.options.training.epochs:
                    self._one_epoch()
        finally:
            self.watch.end()
            if self.history:
                self.history.close()

    def _one_epoch(self) -> None:
        options, state = self.options, self.state
        row: dict[str, Any] = {"epoch": state.epoch, **self.train_epoch()}
        if self.wanted and state.loss_towers is None and read_after(options, state.epoch):
            after = state.epoch, state.step, state.since("loss_towers")
            with self.watch.patience(), state.beside_steps():
                self.seen, state.loss_towers = refit_towers(self.model, self.train_set, self.wanted, options, *after)
            self.validation.weights = None
        if self.maps and state.loss_maps is None:
            with self.watch.patience(), state.beside_steps():
                state.loss_maps = self.maps.fit(state.epoch, between=self._leave_if_asked)
            self.validation.weights = None
        row |= {} if state.loss_maps is None else {"loss_maps": state.loss_maps}
        row |= {} if state.loss_towers is None else {"loss_towers": state.loss_towers}
        started, best = time.perf_counter(), False
        if validates(options.training, state.epoch):
            if self.validation.weights is None:  # else the run goes on from just before this validation
                self.validation.weights = self.save()
            rows = self.validation.generate()
            if number := highest(self.stop.number):
                raise Stopped(number)
            scores, self.class_prior = self.validation.score(rows, self.class_prior, state.steps)
            row |= scores
            best = self._keep_best(row)
        else:
            row |= self.validation.distinctness(state.steps)
        row["seconds"] = state.seconds + state.beside + time.perf_counter() - started
        state.next_epoch(plain(row))
        self.sums.zero_()
        self.save()
        self.validation.forget()
        if self.history:
            self.history.end_epoch(state.history, options.training, best)
        barrier()

    def _keep_best(self, row: dict[str, Any]) -> bool:
        training = self.options.training
        metric = training.monitor_metric
        once = training.val_every >= training.epochs  # nothing is chosen: a run that goes on keeps its last weights
        once |= not (self.run_dir / saving.BEST).is_file()  # nor where somebody has taken away what was
        best = is_main() and (once or self.state.improves(metric, row.get(metric)))  # the others have no scores
        if best:
            self.state.best = self.state.epoch
            run = {"epoch": self.state.epoch, "steps": self.state.steps, metric: row.get(metric), **self.origin}
            saving.save_checkpoint(self.run_dir / saving.BEST, self.model, run)
        return best
