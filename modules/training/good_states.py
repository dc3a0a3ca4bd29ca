"""What a training does about steps that are not finite (``--on_nan``), and which of its states on disk are good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.dataloaders import blamed_inputs
from modules.corpus.datasets import ReportDataset, collate
from modules.distributed import agree_on, is_main
from modules.messages import UserError
from modules.options.parsing import flat
from modules.options.programs import MainTrain
from modules.training.finite import FiniteWatch, Nonfinite, content_of_step, suspects
from modules.training.run_state import RunState
from modules.weights import saving


class GoodStates:
    """Looks at the steps late, and refuses to save what is not finite.

    A state is known to be good once a step from its weights was finite: those of the last step before a save may be finite
    and too large to go on from.

    Args:
        watch: of the steps.
        train_set: whose studies they are.
        options: of ``main_train.py``.
    """

    def __init__(self, watch: FiniteWatch, train_set: ReportDataset, options: MainTrain) -> None:
        self.watch, self.train_set, self.options = watch, train_set, options
        self.run_dir = Path(options.run.save_dir)
        self.newest = self.before = ""  # state on disk, and the good one before it
        self.tried = False  # whether a step from the newest was finite
        self.none_finite = 0  # steps in a row

    def look(self, state: RunState) -> None:
        """Look whether a step since the last look was not finite, and obey ``--on_nan``.

        Raises:
            UserError: with ``--on_nan stop``, or if no step since the last look was finite and they are two or more.
        """
        steps, found = len(self.watch.steps), self.watch.read()
        if found is None:
            if steps:
                self.tried, self.none_finite = True, 0
            return
        if found.earlier:
            self.tried = True
        what, inputs = agree_on(lambda: self._write(found, state))
        self.none_finite = self.none_finite + steps if found.count == steps else 0
        if self.options.training.on_nan == "skip" and self.none_finite < 2:
            if is_main():
                such = "such step" if found.count == 1 else "such steps"
                print(f"\nleft out: {what}; {found.count} {such} since the last look")
            return
        if inputs:  # the weights are not to blame
            self.tried = True
            raise UserError(f"{what}; {self}")
        raise UserError(f"{what}; {suspects(flat(self.options))}; {self}")

    def _write(self, found: Nonfinite, state: RunState) -> tuple[str, str]:
        """Keep a step's studies and batch; returns what is said of the step, and the part of it that blames its inputs, or ""."""
        path, ids = self.run_dir / "nonfinite_step.pt", [self.train_set.studies[i].id for i in found.index]
        batch = collate([self.train_set[i] for i in found.index], self.train_set.tokenizer.pad_id)
        saving.save_atomically(content_of_step(found, state.epoch, ids, batch), path)
        what = f"step {found.step} of epoch {state.epoch} is not finite, {found}; its studies and batch are in {path}"
        inputs = blamed_inputs(ids, batch)
        return f"{what}; {inputs}" if inputs else what, inputs

    def require_finite(self, content: Mapping[str, Any], state: RunState) -> None:
        """Refuse to save weights, moments or figures that are none.

        Raises:
            UserError: naming the first.
        """
        if bad := saving.nonfinite_tensors(content):
            raise UserError(
                f"the weights are not finite after step {state.step} of epoch {state.epoch} although every loss and "
                f"gradient was ({len(bad)} tensors, first {bad[0]}), so they are not saved: {suspects(flat(self.options))}; {self}"
            )

    def saved(self, path: Path, state: RunState) -> None:
        """A state is on disk; the one before it has become the previous one."""
        where = f"(epoch {state.epoch}, step {state.step})"
        self.before = self.newest if self.tried else ""
        self.newest, self.tried = f"{path} {where}", False

    def __str__(self) -> str:
        """Which state on disk is good."""
        if not self.newest:
            return "the last good checkpoint: none was written yet: start again"
        if self.tried:
            return f"the last good checkpoint: {self.newest}, go on with --resume"
        doubt = f"{self.newest} is from right before this step and may be its cause"
        if not self.before:
            return f"no checkpoint is known to be good: {doubt}, go on with --resume --on_nan skip or start again"
        before = self.before.replace(saving.CURRENT, saving.PREVIOUS)
        return f"the last good checkpoint: {before}; {doubt}: remove it and go on with --resume"
