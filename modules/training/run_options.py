"""What the options of a training must agree with: the processes that share its batch, and the run that it continues."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.distributed import is_main, world_size
from modules.messages import UserError
from modules.options.flags import GenerationOptions, TrainingOptions
from modules.options.parsing import flat
from modules.options.programs import MainTrain
from modules.records import plain, read_run_options

FREE_ON_RESUME = (  # they do not change what has been trained; what they change from here on is meant
    "resume", "overwrite", "check", "profile", "device", "n_gpu", "num_workers", "eval_batch_size", "save_every", "save_dir", "timeout",
    "on_nan", "epochs", "monitor_metric", "val_every", "log_every", "ann_path", "image_dir", "feature_dir", "bank_dir", "bert_path",
    "resnet_weights", "chexbert_path", "init_from",
)  # fmt: skip

STARTED = ("init_from", "resnet_weights")  # what a run began with, which no resume changes

REWARD = ("scst_weight", "scst_rarity")  # what the loss of drawn reports is made of
DRAWING = ("scst", "scst_epochs", *REWARD)  # a run may begin to draw reports, and cease to, between two epochs


def drawn_in(training: TrainingOptions, epoch: int) -> int:
    """Reports that are drawn of each study in an epoch, from 1."""
    return training.scst if epoch > training.epochs - training.scst_epochs else 0


def validates(training: TrainingOptions, epoch: int) -> bool:
    """Whether an epoch, from 1, ends with reports of the validation studies."""
    return epoch % training.val_every == 0 or epoch == training.epochs


def share_batch(options: MainTrain) -> None:
    """Divide ``--global_batch`` among the processes; UserError if they cannot share it evenly."""
    whole, parts = options.training.global_batch, world_size() * options.training.grad_accum
    if whole % parts:
        raise UserError(
            f"--global_batch {whole} cannot be shared evenly by {world_size()} processes with --grad_accum "
            f"{options.training.grad_accum}: give a multiple of {parts}"
        )
    if whole:
        options.loading.batch_size = whole // parts


def begun_with(folder: str | Path) -> dict[str, Any]:
    """Options of the run in a folder, or none without a run; what an earlier version did not write has its default."""
    path = Path(folder) / "options.json"
    if not path.is_file():
        return {}
    return plain({**vars(GenerationOptions()), **vars(TrainingOptions())}) | read_run_options(path)


def kept_options(options: MainTrain) -> dict[str, Any]:
    """What ``options.json`` is to hold: the present flags, except for those that say what a resumed run began with."""
    theirs = begun_with(options.run.save_dir) if options.training.resume else {}
    return flat(options) | {name: theirs[name] for name in STARTED if name in theirs}


def fixed_options(options: MainTrain) -> dict[str, Any]:
    """Those that a run keeps from its beginning to its end; not the batch of a process where ``--global_batch`` sets the whole."""
    free = {*FREE_ON_RESUME, *DRAWING} | ({"batch_size"} if options.training.global_batch else set())
    return {name: value for name, value in plain(flat(options)).items() if name not in free}


def check_same_run(options: MainTrain) -> None:
    """Refuse to continue a run with other flags.

    Raises:
        UserError: naming the first differences; if nothing says with which flags the run began.
    """
    if not options.training.resume:
        return
    theirs = begun_with(options.run.save_dir)
    if not theirs:
        raise UserError(
            f"{options.run.save_dir} holds no options.json, which says with which flags its run began: copy it back, or start "
            "from the weights with --init_from and another --save_dir"
        )
    ours = plain(flat(options))
    if ours["global_batch"] and ours["global_batch"] == theirs.get("global_batch"):
        theirs["batch_size"] = ours["batch_size"]  # of each process; there may be another number of them now
    names = [
        name
        for name in ours
        if name not in (*FREE_ON_RESUME, *DRAWING) and name in theirs and theirs[name] != ours[name]
    ]
    for name in (*DRAWING, "monitor_metric"):
        if is_main() and theirs[name] != ours[name]:
            print(f"from here on --{name} {ours[name]}, {theirs[name]} before")
    if names:
        differences = "; ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in names[:4])
        raise UserError(
            f"{options.run.save_dir} holds a run with other options ({differences}): repeat its flags to resume it, or "
            "train anew into another --save_dir, as after a change of the data"
        )


def check_same_state(path: Path, run: Mapping[str, Any], options: MainTrain, features: Mapping[str, str]) -> None:
    """Refuse to continue from a checkpoint in another way than it was made.

    Args:
        path: of the checkpoint.
        run: its state.
        options: of ``main_train.py``.
        features: checksum of every array that is read now.

    Raises:
        UserError: if it is of other features, of more epochs than are asked for, or, inside an epoch, of another number of
            processes or of drawn reports, or another weight of these; and after the last epoch.
    """
    here, inside = world_size(), run["step"] > 0
    if inside and run["world_size"] != here:
        raise UserError(
            f"{path} was saved inside an epoch by {run['world_size']} processes, now {here}: resume with as many"
        )
    if others := [name for name, checksum in run["features"].items() if features.get(name) != checksum]:
        raise UserError(
            f"{path} belongs to a run on other features than those in {options.data.feature_dir} (first "
            f"{others[0]}): give the --feature_dir that it began with, or train anew into another --save_dir"
        )
    begun, asked = run["epoch"] if inside else run["epoch"] - 1, options.training.epochs
    if begun > asked:
        raise UserError(f"{path} is of epoch {begun} and --epochs asks for {asked}: give {begun} or more")
    if inside:
        _refuse_other_drawing(path, run, options.training)
    elif begun == asked:
        _refuse_late_drawing(path, run, options)


def _refuse_other_drawing(path: Path, run: Mapping[str, Any], training: TrainingOptions) -> None:
    """Refuse to go on inside an epoch with other drawn reports, or with another weight of them; UserError names the flag."""
    then, now = run.get("drawn", 0), drawn_in(training, run["epoch"])
    if then != now:
        raise UserError(
            f"{path} was saved inside an epoch that draws {then} reports of each study, and now it would draw {now}: resume with "
            "the --scst, --scst_epochs and --epochs that it had, and change them once the epoch has ended"
        )
    if not now:
        return
    for name in REWARD:
        before, asked = run.get(name, getattr(TrainingOptions(), name)), getattr(training, name)
        if before != asked:
            raise UserError(
                f"{path} was saved inside an epoch whose --{name} is {before}, and now it would be {asked}: "
                "resume with what it had, and change it once the epoch has ended"
            )


def _refuse_late_drawing(path: Path, run: Mapping[str, Any], options: MainTrain) -> None:
    """Refuse to change what is drawn after the last epoch, where it would change nothing; UserError names the flag."""
    epochs = options.training.epochs
    then, now = run.get("drawn", 0), drawn_in(options.training, run["epoch"])
    if then != now:
        raise UserError(
            f"{path} has its {epochs} epochs, in which --scst was {then}, and none is left for --scst {now}: give --epochs "
            f"{epochs + options.training.scst_epochs}, or the --scst that it had"
        )
    there, here = begun_with(options.run.save_dir), vars(options.training)
    for name in DRAWING:
        if name in there and there[name] != here[name]:
            raise UserError(
                f"{path} has its {epochs} epochs, in which --{name} was {there[name]}, and none is left for --{name} {here[name]}: "
                f"give more --epochs, or the --{name} that it had"
            )
