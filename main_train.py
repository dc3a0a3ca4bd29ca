"""Train REVTAF on a prepared data set.

python main_train.py --dataset_name mimic_cxr --bert_path checkpoints/bert-base-uncased \
        --resnet_weights checkpoints/resnet101.pth
"""

from __future__ import annotations

from modules.options import parse_options
from modules.programs import MainTrain

if __name__ == "__main__":
    parse_options(MainTrain)  # now already: --help and a mistyped flag are answered before torch is imported

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from models.config import RevtafConfig
from models.cpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.corpus.annotations import Study, check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset, prepare_reports, sizes_read
from modules.corpus.pairing import refuse_wrong_pairing, require_own_bank
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import BERT_FOLDER, ReportTokenizer, bert_folder, tokenizer_of
from modules.distributed import agree_on, is_main, processes, seed_everything, world_size
from modules.labelling.labelers import find_labeler, labeler_files
from modules.labelling.two_labelers import check_one_labeler
from modules.messages import Needed, UserError, require, run
from modules.options import flat, model_config
from modules.preparation.doctor.examination import refuse_errors
from modules.preparation.features.entities import find_scorer
from modules.preparation.published.recognition import find_annotation, how_to_prepare
from modules.preparation_flags import CheckOptions
from modules.records import plain, read_json, write_options
from modules.run_folder import hold_run, move_aside
from modules.set_size import fit_to_size, length_defaults, size_defaults, size_warnings
from modules.training.allocator import keep_freed_memory
from modules.training.initialisation import adopt_options, initialise
from modules.training.profiling import profile_training
from modules.training.trainer import Trainer
from modules.weights.backbones import needed_backbone, read_folder
from modules.weights.checkpoints import load_checkpoint

FREE_ON_RESUME = (  # they do not change what has been trained; what they change from here on is meant
    "resume", "overwrite", "check", "profile", "device", "n_gpu", "num_workers", "save_every", "save_dir", "timeout",
    "on_nan", "epochs", "monitor_metric", "val_every", "log_every", "ann_path", "image_dir", "feature_dir", "bank_dir", "bert_path",
    "resnet_weights", "chexbert_path", "init_from",
)  # fmt: skip


def needed_files(options: MainTrain) -> list[Needed]:
    """Everything a training reads."""
    prepare = how_to_prepare(options.data.dataset_name, options.data.ann_path)
    needed = [
        Needed(options.data.ann_path, "annotation file", "see data/README.md; SynthCXR: bash quickstart.sh"),
        Needed(options.data.image_dir, "images", "see data/README.md, or give the folder with --image_dir"),
        Needed(Path(options.data.feature_dir) / "manifest.json", "prepared features", prepare),
    ]
    if options.data.features == "online":
        needed.append(Needed(Path(options.data.bank_dir) / "entity_scorer.pth", "entity scorer", prepare))
    if options.start.init_from:
        needed.append(
            Needed(options.start.init_from, "trained model", "give one of main_train.py, or the released state dict")
        )
    elif options.start.tokenizer == "bert" and not str(options.labeler.bert_path).startswith("hub:"):
        folder = Path(options.labeler.bert_path or BERT_FOLDER)
        how = (
            "see checkpoints/README.md and give --bert_path, or --bert_path hub:bert-base-uncased, or --tokenizer corpus, "
            "which needs no file"
        )
        needed.append(Needed(folder / "vocab.txt", "vocabulary of bert-base-uncased", how))
    if options.start.resnet_weights not in (None, "download"):
        needed.append(needed_backbone(options.start.resnet_weights, options.model.visual_extractor))
    return needed + labeler_files(options.labeler.chexbert_path, options.labeler.bert_path)


def find_tokenizer(options: MainTrain, training: list[Study], checkpoint: dict | None) -> ReportTokenizer:
    """The vocabulary of the model that training starts from, with the new words of these reports, else as the flags say."""
    if checkpoint:
        known = tokenizer_of(str(options.start.init_from), checkpoint, options.labeler.bert_path)
        reports = prepare_reports([study.report for study in training], options.data.cleaning, options.data.max_words)
        return known.extended(reports, options.start.threshold)
    if options.start.tokenizer == "bert":
        return ReportTokenizer.from_bert(bert_folder(options.labeler.bert_path or BERT_FOLDER))
    reports = prepare_reports([study.report for study in training], options.data.cleaning, options.data.max_words)
    return ReportTokenizer.from_reports(reports, options.start.threshold)


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
    theirs = read_json(path)["options"]
    ours = plain(flat(options))
    if ours["global_batch"] and ours["global_batch"] == theirs.get("global_batch"):
        theirs["batch_size"] = ours["batch_size"]  # of each process; there may be another number of them now
    names = [name for name in ours if name not in FREE_ON_RESUME and name in theirs and theirs[name] != ours[name]]
    if names:
        differences = "; ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in names[:4])
        raise UserError(
            f"{options.run.save_dir} holds a run with other options ({differences}): repeat its flags to resume it, or "
            "choose another --save_dir"
        )


def read_splits(options: MainTrain) -> dict[str, list[Study]]:
    """The studies of training and validation, once the fast part of the doctor has nothing against them."""
    if options.training.check and is_main():
        looked_at = CheckOptions(image_size=options.model.image_size, num_workers=options.loading.num_workers)
        refuse_errors(options.data, looked_at)
    annotation = read_annotation(options.data.ann_path)
    splits = {name: require_split(annotation, name, options.data.ann_path) for name in ("train", "val")}
    if not options.training.check:
        check_images([study for studies in splits.values() for study in studies], Path(options.data.image_dir))
    return splits


def open_features(options: MainTrain) -> FeatureStore:
    """The features of the annotation, which are whole and hold their own bank."""
    store = FeatureStore.open(options.data.feature_dir, options.data.ann_path)
    require_own_bank(store, options.data.feature_dir, options.data.bank_dir)
    refuse_wrong_pairing(store, store, options.data.features)
    return store


def study_set(options: MainTrain, studies: list[Study], config: RevtafConfig, **shared: Any) -> ReportDataset:
    """The studies of a split with cleaned reports; ``shared`` is what the splits have in common."""
    dataset = ReportDataset(
        studies,
        Path(options.data.image_dir),
        **sizes_read(config),
        **shared,
    )
    dataset.use_reports(options.data.cleaning, options.data.max_words)
    return dataset


def fit_to_data(options: MainTrain) -> list[str]:
    """Let what the command line leaves open follow from the size of one's own data set; lines that say so."""
    if options.data.dataset_name != "custom" or not Path(options.data.ann_path).is_file():
        return []
    annotation = read_annotation(options.data.ann_path)
    reports = [study.report for study in require_split(annotation, "train", options.data.ann_path)]
    lengths = length_defaults(prepare_reports(reports, options.data.cleaning, options.data.max_words))
    return [fit_to_size(options, {**size_defaults(len(reports)), **lengths})]


def begin_run(run_dir: Path, found: list[str], options: MainTrain, tokenizer: ReportTokenizer) -> None:
    """Move what the run folder held aside and write what a run begins with."""
    if found and not options.training.resume:
        print(move_aside(run_dir, found))
    tokenizer.save(run_dir / "tokenizer.json")
    write_options(run_dir, flat(options), sys.argv)


def main() -> None:
    """Train one model."""
    options = parse_options(MainTrain)
    options.data.ann_path = find_annotation(options.data.ann_path)
    sized = fit_to_data(options)
    require(needed_files(options))
    checkpoint = load_checkpoint(options.start.init_from) if options.start.init_from else None
    origin = [adopt_options(options, checkpoint)] if checkpoint else []
    run_dir, goes_on = Path(options.run.save_dir), options.training.resume or options.training.profile > 0
    with processes(options.runtime.device, options.compute.n_gpu) as device, ExitStack() as held:
        share_batch(options)
        check_same_run(options)
        found = agree_on(lambda: hold_run(held, run_dir, goes_on, options.run.overwrite))
        seed_everything(options.runtime.seed)
        if device.type == "cpu":
            keep_freed_memory()
        splits = read_splits(options)
        store = open_features(options)
        bank = TrainingBank(store)
        tokenizer = find_tokenizer(options, splits["train"], checkpoint)
        scorer = find_scorer(options.data.features, options.data.bank_dir, device)
        config = model_config(
            options.model,
            report_feature_dim=store["report_features"].shape[1],
            entity_text_dim=scorer.config.width if scorer else store["region_text"].shape[2],
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            end_id=tokenizer.end_id,
            visual_folder=checkpoint["config"].get("visual_folder")
            if checkpoint
            else read_folder(options.model.visual_extractor, options.model.image_size),
        )
        model = Revtaf(config)
        lines = [*origin, *initialise(model, options, checkpoint)]
        del checkpoint  # a second copy of every weight
        model.to(device)
        if options.speed.fast_cpu and device.type == "cpu":
            speed_up(model)
        if options.training.channels_last:
            model.visual_encoder.to(memory_format=torch.channels_last)
        shared = {"store": store, "bank": bank, "tokenizer": tokenizer, "scorer": scorer}
        datasets = {name: study_set(options, studies, config, **shared) for name, studies in splits.items()}
        labeler = find_labeler(
            options.labeler.chexbert_path, options.labeler.bert_path, device, run_dir.parent / "label_cache"
        )
        lines += check_one_labeler(store, labeler, options.data.dataset_name, options.run.allow_two_labelers)
        trainer = Trainer(model, datasets["train"], datasets["val"], labeler, options, device)
        if is_main():
            parameters = sum(parameter.numel() for parameter in model.parameters())
            training, validation = map(len, datasets.values())
            together = options.loading.batch_size * options.training.grad_accum * world_size()
            print(*sized, *lines, f"{parameters:,} parameters on {device}", sep="\n")
            print(*size_warnings(training, validation, together, options.training.epochs), sep="\n")
        if options.training.resume:
            trainer.resume()
        if options.training.profile:
            print(*(f"wrote {path}" for path in profile_training(trainer, options.training.profile)), sep="\n")
            return
        agree_on(lambda: begin_run(run_dir, found, options, tokenizer))
        trainer.fit()


if __name__ == "__main__":
    run(main, "add --resume to continue from current_checkpoint.pth")
