"""Train REVTAF on a prepared data set.

python main_train.py --dataset_name mimic_cxr --bert_path checkpoints/bert-base-uncased \
        --resnet_weights checkpoints/resnet101.pth
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from models.config import RevtafConfig
from models.cpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.corpus.annotations import Study, check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset, prepare_reports
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import BERT_FOLDER, ReportTokenizer, bert_folder, tokenizer_of
from modules.distributed import barrier, is_main, processes, seed_everything
from modules.labelling.labelers import find_labeler
from modules.messages import Needed, require, run
from modules.options import given_flags, model_config, parse_options
from modules.preparation.doctor.examination import refuse_errors
from modules.preparation.features.entities import find_scorer
from modules.records import plain, read_json, write_options
from modules.training.allocator import keep_freed_memory
from modules.training.initialisation import adopt_options, initialise
from modules.training.profiling import profile_training
from modules.training.trainer import Trainer
from modules.weights.checkpoints import load_checkpoint

FREE_ON_RESUME = (
    "resume",
    "check",
    "profile",
    "device",
    "n_gpu",
    "num_workers",
    "save_every",
    "save_dir",
)  # they do not change the result


def needed_files(options: Namespace) -> list[Needed]:
    """Everything a training reads."""
    prepare = f"python main_prepare.py --dataset_name {options.dataset_name}"
    needed = [
        Needed(options.ann_path, "annotation file", "see data/README.md; SynthCXR: bash quickstart.sh"),
        Needed(options.image_dir, "images", "see data/README.md, or give the folder with --image_dir"),
        Needed(Path(options.feature_dir) / "manifest.json", "prepared features", f"build them: {prepare}"),
    ]
    if options.features == "online":
        needed.append(Needed(Path(options.bank_dir) / "entity_scorer.pth", "entity scorer", f"train it: {prepare}"))
    if options.init_from:
        needed.append(
            Needed(options.init_from, "trained model", "give one of main_train.py, or the released state dict")
        )
    elif options.tokenizer == "bert" and not str(options.bert_path).startswith("hub:"):
        folder = Path(options.bert_path or BERT_FOLDER)
        how = "see checkpoints/README.md and give --bert_path, or --bert_path hub:bert-base-uncased, or --tokenizer corpus"
        needed.append(Needed(folder / "vocab.txt", "vocabulary of bert-base-uncased", how))
    if options.resnet_weights not in (None, "download"):
        how = "see checkpoints/README.md, or --resnet_weights download"
        needed.append(Needed(options.resnet_weights, f"ImageNet weights of {options.visual_extractor}", how))
    return needed


def find_tokenizer(options: Namespace, training: list[Study], checkpoint: dict | None) -> ReportTokenizer:
    """The vocabulary of the model that training starts from, else the one that the flags name."""
    if checkpoint:
        return tokenizer_of(options.init_from, checkpoint, options.bert_path)
    if options.tokenizer == "bert":
        return ReportTokenizer.from_bert(bert_folder(options.bert_path or BERT_FOLDER))
    reports = prepare_reports([study.report for study in training], options.cleaning, options.max_words)
    return ReportTokenizer.from_reports(reports, options.threshold)


def check_same_run(options: Namespace) -> None:
    """Refuse to continue a run with other flags.

    Raises:
        ValueError: naming the first differences.
    """
    path = Path(options.save_dir) / "options.json"
    if not path.is_file():
        return
    theirs = read_json(path)["options"]
    ours = plain(vars(options))
    names = [name for name in ours if name not in FREE_ON_RESUME and name in theirs and theirs[name] != ours[name]]
    if names:
        differences = "; ".join(f"{name} {theirs[name]} there, {ours[name]} here" for name in names[:4])
        raise ValueError(
            f"{options.save_dir} holds a run with other options ({differences}): repeat its flags to resume it, or "
            "choose another --save_dir"
        )


def read_splits(options: Namespace) -> dict[str, list[Study]]:
    """The studies of training and validation, once the fast part of the doctor has nothing against them."""
    if options.check and is_main():
        refuse_errors(options)
    annotation = read_annotation(options.ann_path)
    splits = {name: require_split(annotation, name, options.ann_path) for name in ("train", "val")}
    if not options.check:
        check_images([study for studies in splits.values() for study in studies], Path(options.image_dir))
    return splits


def study_set(options: Namespace, studies: list[Study], config: RevtafConfig, **shared: Any) -> ReportDataset:
    """The studies of a split with cleaned reports; ``shared`` is what the splits have in common."""
    dataset = ReportDataset(
        studies,
        Path(options.image_dir),
        image_size=options.image_size,
        max_report_tokens=options.max_positions - config.prompt_length - 1,
        **shared,
    )
    dataset.use_reports(options.cleaning, options.max_words)
    return dataset


def main() -> None:
    """Train one model."""
    options = parse_options("train")
    require(needed_files(options))
    checkpoint = load_checkpoint(options.init_from) if options.init_from else None
    origin = [adopt_options(options, given_flags("train"), checkpoint)] if checkpoint else []
    if options.resume:
        check_same_run(options)
    with processes(options.device, options.n_gpu) as device:
        seed_everything(options.seed)
        if device.type == "cpu":
            keep_freed_memory()
        splits = read_splits(options)
        store = FeatureStore.open(options.feature_dir, options.ann_path)
        bank = TrainingBank(store)
        tokenizer = find_tokenizer(options, splits["train"], checkpoint)
        scorer = find_scorer(options.features, options.bank_dir, device)
        config = model_config(
            options,
            report_feature_dim=store["report_features"].shape[1],
            entity_text_dim=scorer.config.width if scorer else store["region_text"].shape[2],
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            end_id=tokenizer.end_id,
        )
        model = Revtaf(config)
        lines = [*origin, *initialise(model, options, checkpoint)]
        del checkpoint  # a second copy of every weight
        model.to(device)
        if device.type == "cpu":
            speed_up(model)
        if options.channels_last:
            model.visual_encoder.to(memory_format=torch.channels_last)
        shared = {"store": store, "bank": bank, "tokenizer": tokenizer, "scorer": scorer}
        datasets = {name: study_set(options, studies, config, **shared) for name, studies in splits.items()}
        labeler = find_labeler(options.chexbert_path, options.bert_path, device)
        if is_main():
            run_dir = Path(options.save_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            tokenizer.save(run_dir / "tokenizer.json")
            write_options(run_dir, options, sys.argv)
            parameters = sum(parameter.numel() for parameter in model.parameters())
            print(*lines, f"{parameters:,} parameters on {device}", sep="\n")
        barrier()
        trainer = Trainer(model, datasets["train"], datasets["val"], labeler, options, device)
        if options.resume:
            trainer.resume()
        if options.profile:
            print(*(f"wrote {path}" for path in profile_training(trainer, options.profile)), sep="\n")
            return
        trainer.fit()


if __name__ == "__main__":
    run(main, "add --resume to continue from current_checkpoint.pth")
