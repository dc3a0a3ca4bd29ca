"""Write and score the reports of a split with a trained model.

python main_test.py --dataset_name mimic_cxr --load_pretrained results/mimic_cxr/model_best.pth
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from models.beam_search import GenerationLimits
from modules.checkpoints import build_model, load_checkpoint
from modules.corpus.annotations import check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.features import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.distributed import is_main, processes, seed_everything
from modules.evaluation.baselines import most_frequent_report, nearest_by_pixels, nearest_by_scores
from modules.evaluation.figures import plot_studies
from modules.evaluation.tables import caption, markdown_table
from modules.evaluation.tester import ReportScorer, generate_reports, set_references, state_scores
from modules.messages import Needed, require, run
from modules.options import parse_options
from modules.preparation.entities import find_scorer
from modules.preparation.labelers import find_labeler
from modules.records import provenance, write_json, write_jsonl, write_options


def needed_files(options: Namespace) -> list[Needed]:
    """Everything a test reads."""
    prepare = f"python main_prepare.py --dataset_name {options.dataset_name}"
    return [
        Needed(options.ann_path, "annotation file", "see data/README.md; SynthCXR: bash quickstart.sh"),
        Needed(options.image_dir, "images", "see data/README.md, or give the folder with --image_dir"),
        Needed(Path(options.feature_dir) / "manifest.json", "prepared features", f"build them: {prepare}"),
        Needed(Path(options.bank_dir) / "manifest.json", "features of the retrieval bank", "prepare the training data"),
        Needed(options.load_pretrained, "trained model", "train one with main_train.py, or give --load_pretrained"),
        Needed(
            Path(options.load_pretrained).with_name("tokenizer.json"),
            "vocabulary of the trained model",
            "main_train.py writes it beside the checkpoint: copy both",
        ),
    ]


def baseline_reports(options: Namespace, dataset: ReportDataset, annotation: dict) -> dict[str, list[str]]:
    """Reports of the three baselines, by name."""
    bank, image_dir = dataset.bank, Path(options.image_dir)
    return {
        "most frequent training report": most_frequent_report(bank, len(dataset)),
        "nearest training image (pixels)": nearest_by_pixels(bank, annotation["train"], dataset.studies, image_dir),
        "nearest training image (entities)": nearest_by_scores(bank, dataset.region_scores),
    }


def show_reports(rows: list[dict], count: int) -> None:
    """Print generated reports beside their references."""
    for row in rows[:count]:
        print(f"\n{row['id']}\n  generated  {row['prediction']}\n  reference  {row['reference']}")


def main() -> None:
    """Test one model."""
    options = parse_options("test")
    options.load_pretrained = options.load_pretrained or str(Path(options.save_dir) / "model_best.pth")
    require(needed_files(options))
    with processes(options.device, options.n_gpu) as device:
        seed_everything(options.seed)
        checkpoint = load_checkpoint(options.load_pretrained)
        model = build_model(checkpoint).to(device).eval()
        annotation = read_annotation(options.ann_path)
        studies = require_split(annotation, options.split, options.ann_path)
        check_images(studies, Path(options.image_dir))
        dataset = ReportDataset(
            studies,
            Path(options.image_dir),
            FeatureStore.open(options.feature_dir, options.ann_path),
            TrainingBank(FeatureStore.open(options.bank_dir)),
            ReportTokenizer.load(Path(options.load_pretrained).with_name("tokenizer.json")),
            image_size=model.config.image_size,
            max_report_tokens=model.config.max_positions - model.config.prompt_length - 1,
            scorer=find_scorer(options.features, options.bank_dir, device),
        )
        dataset.use_reports(options.cleaning, options.max_words)
        distances = set_references(model, dataset, model.config.retrieval, False, options.seed)
        rows = generate_reports(
            model,
            dataset,
            GenerationLimits(
                beams=options.beam_size, min_length=options.gen_min_len, max_new_tokens=options.gen_max_len
            ),
            device=device,
            precision=options.precision,
            batch_size=options.batch_size,
            num_workers=options.num_workers,
        )
        if not is_main():
            return
        for row, distance in zip(rows, distances, strict=True):
            row["retrieval_distance"] = None if np.isnan(distance) else round(float(distance), 6)
        report(options, dataset, rows, annotation, device)
        if options.plot:
            paths = plot_studies(model, dataset, rows, options.plot, Path(options.save_dir) / "figures", device)
            print(f"wrote {len(paths)} figures into {paths[0].parent}")


def report(options: Namespace, dataset: ReportDataset, rows: list[dict], annotation: dict, device) -> None:
    """Write the predictions, score them, print the table."""
    run_dir = Path(options.save_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_options(run_dir, options, sys.argv, name=f"options_{options.split}.json")
    write_jsonl(run_dir / "predictions.jsonl", rows)
    labeler = find_labeler(options.chexbert_path, options.bert_path, device)
    scorer = ReportScorer(dataset.reports, labeler)
    systems = {"REVTAF": [row["prediction"] for row in rows]}
    if options.baselines:
        systems = {**baseline_reports(options, dataset, annotation), **systems}
    table = {name: scorer(reports) for name, reports in systems.items()}
    states = state_scores(np.array([row["states"] for row in rows]), dataset.labels)
    text = markdown_table(table)
    note = caption(labeler.name, labeler.checksum, options.cleaning, options.max_words, options.split)
    scores = {f"{options.split}_{name}": value for name, value in {**table["REVTAF"], **states}.items()}
    protocol = {"labeler": labeler.name, "labeler_checksum": labeler.checksum, "caption": note}
    baselines = {name: row for name, row in table.items() if name != "REVTAF"}
    write_json(
        run_dir / "metrics.json",
        {"scores": scores, "baselines": baselines, "studies": len(rows), "protocol": protocol, **provenance()},
    )
    (run_dir / "table.md").write_text(f"{text}\n\n{note}\n", encoding="utf-8")
    show_reports(rows, options.show)
    print(f"\n{text}\n\n{note}\n")
    for name in ("predictions.jsonl", "metrics.json", "table.md"):
        print(f"wrote {run_dir / name}")


if __name__ == "__main__":
    run(main)
