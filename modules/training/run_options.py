"""What the options of a training must agree with: the processes that share its batch, and the run that it continues."""

from __future__ import annotations

from pathlib import Path

from modules.distributed import world_size
from modules.messages import UserError
from modules.options.parsing import flat
from modules.options.programs import MainTrain
from modules.records import plain, read_run_options

FREE_ON_RESUME = (  # they do not change what has been trained; what they change from here on is meant
    "resume", "overwrite", "check", "profile", "device", "n_gpu", "num_workers", "eval_batch_size", "save_every", "save_dir", "timeout",
    "on_nan", "epochs", "monitor_metric", "val_every", "log_every", "ann_path", "image_dir", "feature_dir", "bank_dir", "bert_path",
    "resnet_weights", "chexbert_path", "init_from", "scst", "scst_epochs", "scst_weight",
)  # fmt: skip


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


def check_same_run(options: MainTrain) -> None:
    """Refuse to continue a run with other flags.

    Raises:
        UserError: naming the first differences.
    """
    path = Path(options.run.save_dir) / "options.json"
    if not options.training.resume or not path.is_file():
        return
    theirs = read_run_options(path)
    ours = plain(flat(options))
    if ours["global_batch"] and ours["global_batch"] == theirs.get("global_batch"):
        theirs["batch_size"] = ours["batch_size"]  # of each process; there may be another number of them now
    names = [name for name in ours if name not in FREE_ON_RESUME and name in theirs and theirs[name] != ours[name]]
    if names:
        differences = "; ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in names[:4])
        raise UserError(
            f"{options.run.save_dir} holds a run with other options ({differences}): repeat its flags to resume it, or "
            "train anew into another --save_dir, as after a change of the data"
        )
