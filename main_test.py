"""Write and score the reports of a split with a trained model.

python main_test.py --dataset_name mimic_cxr --load_pretrained results/mimic_cxr/model_best.pth
"""

from __future__ import annotations

from modules.options import parse_options
from modules.programs import MainTest

if __name__ == "__main__":
    parse_options(MainTest)  # now already: --help and a mistyped flag are answered before torch is imported

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from models.config import RevtafConfig
from models.cpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.corpus.annotations import Study, check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.pairing import refuse_other_features, refuse_wrong_pairing
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer, bert_vocabulary, tokenizer_of
from modules.distributed import agree_on, is_main, processes, seed_everything
from modules.evaluation.baselines import most_frequent_report, nearest_by_pixels, nearest_by_scores, nearest_by_states
from modules.evaluation.generation import generate_reports, search_of
from modules.evaluation.reports.attention_figures import plot_studies
from modules.evaluation.reports.attention_maps import MapKeeper
from modules.evaluation.reports.poincare_disk import bank_disk
from modules.evaluation.reports.test_results import score_test
from modules.evaluation.reports.viewer import write_viewer
from modules.evaluation.rescoring import kept_figures, kept_reports
from modules.evaluation.sensitivity import Distinctness, reference_sensitivity
from modules.evaluation.sign_masks import SignMapKeeper, ground, store_sign_maps
from modules.labelling.labelers import Labeler, find_labeler, labeler_files
from modules.labelling.two_labelers import check_one_labeler
from modules.messages import Needed, UserError, require, run
from modules.options import flat
from modules.preparation.features.entities import find_scorer
from modules.preparation.published.recognition import find_annotation, how_to_prepare
from modules.records import read_json, read_jsonl, sha256_of, write_jsonl, write_options
from modules.retrieval.observation import ask
from modules.retrieval.references import set_references
from modules.retrieval.retriever import Queries
from modules.run_folder import hold_results
from modules.set_size import fit_to_size, trained_lengths
from modules.weights.checkpoints import build_model, load_checkpoint
from modules.weights.saving import require_finite


def needed_files(options: MainTest) -> list[Needed]:
    """Everything a test reads."""
    prepare = how_to_prepare(options.data.dataset_name, options.data.ann_path)
    needed = [
        Needed(options.data.ann_path, "annotation file", "see data/README.md; SynthCXR: bash quickstart.sh"),
        Needed(options.data.image_dir, "images", "see data/README.md, or give the folder with --image_dir"),
        Needed(Path(options.data.feature_dir) / "manifest.json", "prepared features", prepare),
        Needed(
            Path(options.data.bank_dir) / "manifest.json", "features of the retrieval bank", "prepare the training data"
        ),
        Needed(
            options.testing.load_pretrained, "trained model", "train one with main_train.py, or give --load_pretrained"
        ),
    ]
    tokenizer = Path(options.testing.load_pretrained).with_name("tokenizer.json")
    if not tokenizer.is_file() and not bert_vocabulary(options.labeler.bert_path):
        how = (
            "main_train.py writes it beside the checkpoint: copy both; a released model has none and needs vocab.txt of "
            "bert-base-uncased instead: give its folder with --bert_path"
        )
        needed.append(Needed(tokenizer, "vocabulary of the trained model", how))
    return needed + labeler_files(options.labeler.chexbert_path, options.labeler.bert_path)


def baseline_reports(
    options: MainTest, model: Revtaf, dataset: ReportDataset, queries: Queries, annotation: dict
) -> dict[str, list[str]]:
    """Reports of the four baselines, by name."""
    bank, image_dir = dataset.bank, Path(options.data.image_dir)
    pixels = {}
    if options.data.bank_dir == options.data.feature_dir:  # else the training images lie elsewhere
        pixels = {
            "nearest training image (pixels)": nearest_by_pixels(bank, annotation["train"], dataset.studies, image_dir)
        }
    return {
        "most frequent training report": most_frequent_report(bank, len(dataset)),
        **pixels,
        "nearest training image (entities)": nearest_by_scores(bank, dataset.region_scores),
        "nearest by predicted states": nearest_by_states(model, bank, queries),
    }


def plotted_studies(options: MainTest, studies: list[Study]) -> list[int]:
    """Positions of the studies that figures are drawn of: those of ``--plot_ids``, else the first ``--plot``.

    Raises:
        UserError: if an id is not in the split.
    """
    positions = {study.id: position for position, study in enumerate(studies)}
    for identifier in options.testing.plot_ids:
        if identifier not in positions:
            raise UserError(
                f"--plot_ids names {identifier}, which is not among the {len(studies)} studies of the {options.testing.split} "
                f"split of {options.data.ann_path}: give ids of that split"
            )
    return [positions[identifier] for identifier in options.testing.plot_ids] or list(
        range(min(options.testing.plot, len(studies)))
    )


def mask_dir_of(options: MainTest) -> Path | None:
    """Folder of the drawn signs' masks, where the annotation has one beside it (SynthCXR)."""
    folder = Path(options.data.ann_path).with_name("masks")
    return (
        folder
        if (folder / options.testing.split).is_dir() and options.data.bank_dir == options.data.feature_dir
        else None
    )


def save_predictions(options: MainTest, rows: list[dict], distances: np.ndarray) -> None:
    """Write ``predictions.jsonl`` and the options into the run's folder."""
    for row, distance in zip(rows, distances, strict=True):
        row["retrieval_distance"] = None if np.isnan(distance) else round(float(distance), 6)
    run_dir = Path(options.run.save_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_options(run_dir, flat(options), sys.argv, name=f"options_{options.testing.split}.json")
    write_jsonl(run_dir / "predictions.jsonl", rows)


def loss_by_reference(options: MainTest, model: Revtaf, dataset: ReportDataset, device: torch.device) -> dict:
    """Report loss under five references; every process must ask."""
    return reference_sensitivity(
        model,
        dataset,
        device=device,
        precision=options.compute.precision,
        batch_size=options.loading.batch_size,
        num_workers=options.loading.num_workers,
        seed=options.runtime.seed,
    )


def show_reports(rows: list[dict], count: int) -> None:
    """Print generated reports beside their references."""
    for row in rows[:count]:
        print(f"\n{row['id']}\n  generated  {row['prediction']}\n  reference  {row['reference']}")


def write_page(run_dir: Path, dataset: ReportDataset, labeler: Labeler, maps, disk, options: MainTest) -> Path:
    """The page that shows the reports, from what the test has written."""
    rows, metrics = read_jsonl(run_dir / "predictions.jsonl"), read_json(run_dir / "metrics.json")
    return write_viewer(
        run_dir, dataset, rows, metrics, labeler, maps=maps, disk=disk, limit=options.testing.viewer_studies
    )  # fmt: skip


def features_of(options: MainTest, origin: dict | None) -> tuple[FeatureStore, FeatureStore]:
    """The features of the studies and those of the bank, which belong together and to the ``origin`` of the model."""
    store = FeatureStore.open(options.data.feature_dir, options.data.ann_path)
    bank = FeatureStore.open(options.data.bank_dir).check()
    refuse_wrong_pairing(store, bank, options.data.features)
    refuse_other_features(origin, bank, Path(options.testing.load_pretrained))
    return store, bank


def studies_of_split(
    options: MainTest,
    studies: list[Study],
    features: tuple[FeatureStore, FeatureStore],
    config: RevtafConfig,
    tokenizer: ReportTokenizer,
    device: torch.device,
) -> ReportDataset:
    """The studies of the split with their features and cleaned reports."""
    store, bank = features
    dataset = ReportDataset(
        studies,
        Path(options.data.image_dir),
        store,
        TrainingBank(bank),
        tokenizer,
        image_size=config.image_size,
        max_report_tokens=config.max_positions - config.prompt_length - 1,
        reference_memory=config.reference_memory,
        scorer=find_scorer(options.data.features, options.data.bank_dir, device),
    )
    dataset.use_reports(options.data.cleaning, options.data.max_words)
    return dataset


def labeler_of(options: MainTest, store: FeatureStore, device: torch.device) -> Labeler:
    """Who labels the reports, if that is who labelled the studies; says which labeler made what."""
    cache = Path(options.run.save_dir).parent / "label_cache"
    labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device, cache)
    said = check_one_labeler(store, labeler, options.data.dataset_name, options.run.allow_two_labelers)
    if is_main():
        print(*said, sep="\n")
    return labeler


def reports_of(
    options: MainTest, model: Revtaf, dataset: ReportDataset, labeler: Labeler, device: torch.device, watch: tuple
) -> list[dict]:
    """The reports of the split: written, or with ``--rescore`` those that the run's folder holds."""
    if options.testing.rescore:
        return kept_reports(Path(options.run.save_dir), dataset)
    search, precision = search_of(options.generation, labeler), options.compute.precision
    how = {"device": device, "precision": precision, "loading": options.loading, "watch": watch}
    return generate_reports(model, dataset, search, **how)


def results_of(options: MainTest) -> dict[str, str]:
    """What the results of a test are of."""
    return {"checkpoint": sha256_of(options.testing.load_pretrained), "split": options.testing.split}


def main() -> None:
    """Test one model."""
    options = parse_options(MainTest)
    options.data.ann_path = find_annotation(options.data.ann_path)
    require(needed_files(options))
    if options.data.dataset_name == "custom" and (lengths := trained_lengths(options.testing.load_pretrained)):
        print(fit_to_size(options, lengths))
    run_dir = Path(options.run.save_dir)
    with processes(options.runtime.device, options.compute.n_gpu) as device, ExitStack() as held:
        seed_everything(options.runtime.seed)
        checkpoint = load_checkpoint(options.testing.load_pretrained)
        require_finite(checkpoint["state_dict"], options.testing.load_pretrained)
        if is_main() and "released" in checkpoint["run"]:
            print(checkpoint["run"]["released"])
        tokenizer = tokenizer_of(options.testing.load_pretrained, checkpoint, options.labeler.bert_path)
        model = build_model(checkpoint).to(device).eval()
        if options.speed.fast_cpu and device.type == "cpu":
            speed_up(model)
        annotation = read_annotation(options.data.ann_path)
        studies = require_split(annotation, options.testing.split, options.data.ann_path)
        check_images(studies, Path(options.data.image_dir))
        plotted = plotted_studies(options, studies)
        features = features_of(options, checkpoint["run"].get("trained_on"))
        dataset = studies_of_split(options, studies, features, model.config, tokenizer, device)
        labeler = labeler_of(options, features[0], device)
        agree_on(lambda: hold_results(held, run_dir, results_of(options), options.run.overwrite))
        queries = ask(model, dataset, "states", options)  # for a baseline and a row of the retrieval table too
        distances = set_references(model, dataset, model.config.retrieval, queries, False, options.runtime.seed)
        maps = MapKeeper(options.testing.viewer_studies if options.testing.viewer else 0)
        signs, distinct = SignMapKeeper(mask_dir_of(options)), Distinctness()
        rows = reports_of(options, model, dataset, labeler, device, (maps, signs, distinct))
        study_maps, drawn_maps = maps.gather(), signs.gather()
        if is_main():
            save_predictions(options, rows, distances)  # before anything that may fail
        measured = (kept_figures(run_dir) if options.testing.rescore else {}) or {
            **distinct.figures(), "reference_sensitivity": loss_by_reference(options, model, dataset, device),
        }  # fmt: skip
        if not is_main():
            return
        baselines = baseline_reports(options, model, dataset, queries, annotation) if options.testing.baselines else {}
        if drawn_maps is not None:
            store_sign_maps(run_dir / "sign_maps.npz", drawn_maps, model.config.image_size)
            measured["grounding"] = ground(
                model, drawn_maps, dataset, annotation["train"], mask_dir_of(options), device, options.runtime.seed
            )
        text = score_test(options, model, dataset, queries, rows, baselines, labeler, measured)
        if options.testing.verbose_text:
            show_reports(rows, options.testing.show)
        print(text)
        if plotted:
            paths = plot_studies(model, dataset, rows, plotted, run_dir / "figures", device)
            print(f"wrote {len(paths)} files into {run_dir / 'figures'}")
        if options.testing.viewer:
            disk = bank_disk(model, dataset.bank, device, options.runtime.seed)
            print(f"wrote {write_page(run_dir, dataset, labeler, study_maps, disk, options)}: open it in a browser")


if __name__ == "__main__":
    run(main)
