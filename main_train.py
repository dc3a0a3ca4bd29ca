"""Train REVTAF on a prepared data set.

python main_train.py --dataset_name mimic_cxr --bert_path checkpoints/bert-base-uncased \
        --resnet_weights checkpoints/resnet101.pth
"""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from modules.options.parsing import parse_options
from modules.options.programs import MainTrain

if __name__ == "__main__":
    parse_options(MainTrain)  # now already: --help and a mistyped flag are answered before torch is imported

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from models.config import RevtafConfig
from models.revtaf import Revtaf
from modules.corpus.dataloaders import refuse_single_values
from modules.corpus.tokenizer import ReportTokenizer
from modules.distributed import agree_on, choose_arithmetic, is_main, processes, seed_everything, world_size
from modules.feature_folder import reading, remember_training
from modules.labelling.labelers import find_labeler
from modules.labelling.two_labelers import check_one_labeler
from modules.messages import UserError, require, run
from modules.options.set_size import size_warnings
from modules.preparation.published.recognition import find_annotation
from modules.records import write_options
from modules.run_folder import hold_run, move_aside, refuse_data, refuse_unnamed_data
from modules.training.allocator import keep_freed_memory
from modules.training.history import kept_line
from modules.training.initialisation import adopt_options, initialise
from modules.training.normalisation import normalised_together
from modules.training.profiling import profile_training
from modules.training.run_options import check_same_run, kept_options, share_batch
from modules.training.trainer import Trainer
from modules.training.training_data import TrainingData, fit_to_data, needed_files
from modules.weights.checkpoints import load_checkpoint
from modules.weights.fast import speed_up
from modules.weights.generations import state_files


def build(
    options: MainTrain, config: RevtafConfig, checkpoint: Mapping[str, Any] | None, device: torch.device
) -> tuple[Revtaf, list[str]]:
    """The model that training begins with, on its device, and lines that say what its weights are; a resume brings its own."""
    model = Revtaf(config)
    origin = [] if options.training.resume else initialise(model, options, checkpoint)
    model.to(device)
    speed_up(model, device, options.speed.fast_cpu, options.speed.fast_gpu, options.training.compile)
    if options.training.channels_last:
        model.visual_encoder.to(memory_format=torch.channels_last)
    return model, origin


def begin_run(run_dir: Path, old_files: list[str], options: MainTrain, tokenizer: ReportTokenizer) -> None:
    """Move what the run folder held aside, unless it is resumed, and write what a run begins with."""
    if old_files and not options.training.resume:
        print(move_aside(run_dir, old_files))
    tokenizer.save(run_dir / "tokenizer.json")
    write_options(run_dir, kept_options(options), sys.argv)
    remember_training(options.data.feature_dir, run_dir)


def main() -> None:
    """Train one model."""
    options = parse_options(MainTrain)
    if options.training.resume:
        refuse_unnamed_data(Path(options.run.save_dir), options.given, options.data.dataset_name)
        state_files(Path(options.run.save_dir))  # refuses a folder without a checkpoint
    options.data.ann_path = find_annotation(options.data.ann_path)
    chosen = fit_to_data(options)
    require(needed_files(options))
    checkpoint = load_checkpoint(options.start.init_from) if options.start.init_from else None
    chosen += [adopt_options(options, checkpoint)] if checkpoint else []
    data, labels, training, run_dir = options.data, options.labeler, options.training, Path(options.run.save_dir)
    read = data.image_dir, data.feature_dir, data.bank_dir, data.ann_path
    refuse_data(run_dir, read, moving=options.run.overwrite)
    if training.profile and options.run.overwrite:
        raise UserError("--profile stops before it writes a model, so --overwrite has nothing to replace: leave it out")
    with processes(options.runtime.device, options.compute.n_gpu) as device, ExitStack() as held:
        share_batch(options)
        check_same_run(options)
        keeps_run = training.resume or training.profile > 0
        old_files = agree_on(lambda: hold_run(held, run_dir, keeps_run, options.run.overwrite))
        agree_on(lambda: held.enter_context(reading(data.feature_dir)))
        seed_everything(options.runtime.seed)
        choose_arithmetic(options.compute.precision, options.compute.deterministic)
        if device.type == "cpu":
            keep_freed_memory()
        studies = TrainingData.open(options, checkpoint, device)
        model, origin = build(options, studies.config, checkpoint, device)
        refuse_single_values(
            model.visual_encoder, normalised_together(training, len(studies.train), options.loading.batch_size)
        )
        del checkpoint  # a second copy of every weight
        labeler = find_labeler(labels.chexbert_path, labels.bert_path, device, run_dir.parent / "label_cache")
        labelled = check_one_labeler(studies.store, labeler, data.dataset_name, options.run.allow_two_labelers)
        trainer = Trainer(model, studies.train, studies.val, labeler, options, device)
        if is_main():
            parameters = sum(parameter.numel() for parameter in model.parameters())
            print(*chosen, *origin, *labelled, f"{parameters:,} parameters on {device}", sep="\n")
            train, val = len(studies.train), len(studies.val)
            step = options.loading.batch_size * training.grad_accum * world_size()
            passes = training.epochs, training.val_every
            print(*size_warnings(data.dataset_name, train, val, step, *passes), sep="\n")
        if training.resume:
            trainer.resume()
        if training.profile:
            for path in profile_training(trainer, training.profile):
                print(f"wrote {path}")
            return
        agree_on(lambda: begin_run(run_dir, old_files, options, studies.train.tokenizer))
        trainer.fit()
        if is_main() and (kept := kept_line(trainer.state, training.monitor_metric)):
            print(kept)


if __name__ == "__main__":
    run(
        main,
        "add --resume to continue from current_checkpoint.pth (train_custom.sh and quickstart.sh add it: repeat the command)",
    )
