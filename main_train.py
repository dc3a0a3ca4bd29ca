"""Train REVTAF on a prepared data set.

python main_train.py --dataset_name mimic_cxr --bert_path checkpoints/bert-base-uncased \
        --resnet_weights checkpoints/resnet101.pth
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import torch

from models.revtaf import Revtaf
from modules.checkpoints import load_backbone, load_bert
from modules.corpus.annotations import check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset, prepare_reports
from modules.corpus.features import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer, bert_folder
from modules.distributed import barrier, is_main, processes, seed_everything
from modules.messages import Needed, require, run
from modules.options import model_config, parse_options
from modules.preparation.labelers import find_labeler
from modules.records import plain, read_json, write_options
from modules.training.profiling import profile_training
from modules.training.trainer import Trainer

FREE_ON_RESUME = (
    "resume",
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
    if options.tokenizer == "bert" and not str(options.bert_path).startswith("hub:"):
        folder = Path(options.bert_path or "checkpoints/bert-base-uncased")
        how = "see checkpoints/README.md and give --bert_path, or --bert_path hub:bert-base-uncased, or --tokenizer corpus"
        needed.append(Needed(folder / "vocab.txt", "vocabulary of bert-base-uncased", how))
    if options.resnet_weights not in (None, "download"):
        how = "see checkpoints/README.md, or --resnet_weights download"
        needed.append(Needed(options.resnet_weights, f"ImageNet weights of {options.visual_extractor}", how))
    return needed


def initialise(model: Revtaf, options: Namespace) -> list[str]:
    """Load the starting weights that are there; returns lines that say what came from where."""
    scorer = Path(options.feature_dir) / "entity_scorer.pth"
    weights = options.resnet_weights or (str(scorer) if options.init_visual == "entity_scorer" else None)
    name = options.visual_extractor
    lines = [f"visual encoder: {name} starts from random weights (--resnet_weights loads ImageNet's)"]
    if weights:
        lines = [load_backbone(model.visual_encoder.backbone, name, weights)]
    if options.bert_path and options.tokenizer == "bert":
        return [*lines, load_bert(model.report_decoder.network, bert_folder(options.bert_path))]
    return [*lines, "report decoder: starts from random weights (--bert_path loads BERT's)"]


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


def start(trainer: Trainer, options: Namespace) -> None:
    """Train from the beginning or from the last checkpoint, or only look where the time goes."""
    if options.resume:
        trainer.resume()
    if options.profile:
        print(*(f"wrote {path}" for path in profile_training(trainer, options.profile)), sep="\n")
    else:
        trainer.fit()


def main() -> None:
    """Train one model."""
    options = parse_options("train")
    require(needed_files(options))
    if options.resume:
        check_same_run(options)
    with processes(options.device, options.n_gpu) as device:
        seed_everything(options.seed)
        annotation = read_annotation(options.ann_path)
        splits = {name: require_split(annotation, name, options.ann_path) for name in ("train", "val")}
        check_images([study for studies in splits.values() for study in studies], Path(options.image_dir))
        store = FeatureStore.open(options.feature_dir)
        bank = TrainingBank(store)
        reports = prepare_reports([study.report for study in splits["train"]], options.cleaning, options.max_words)
        tokenizer = (
            ReportTokenizer.from_bert(bert_folder(options.bert_path or "checkpoints/bert-base-uncased"))
            if options.tokenizer == "bert"
            else ReportTokenizer.from_reports(reports, options.threshold)
        )
        config = model_config(
            options,
            report_feature_dim=store["report_features"].shape[1],
            entity_text_dim=store["region_text"].shape[2],
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            end_id=tokenizer.end_id,
        )
        model = Revtaf(config)
        lines = initialise(model, options)
        model.to(device)
        if options.channels_last:
            model.visual_encoder.to(memory_format=torch.channels_last)
        datasets = {
            name: ReportDataset(
                studies,
                Path(options.image_dir),
                store,
                bank,
                tokenizer,
                image_size=options.image_size,
                max_report_tokens=options.max_positions - config.prompt_length - 1,
            )
            for name, studies in splits.items()
        }
        for dataset in datasets.values():
            dataset.use_reports(options.cleaning, options.max_words)
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
        start(trainer, options)


if __name__ == "__main__":
    run(main, "add --resume to continue from current_checkpoint.pth")
