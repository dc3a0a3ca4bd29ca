"""Write and score the reports of a split with a trained model.

python main_test.py --dataset_name mimic_cxr --load_pretrained results/mimic_cxr/model_best.pth
"""

from __future__ import annotations

from modules.options import parse_options
from modules.programs import MainTest

if __name__ == "__main__":
    parse_options(MainTest)  # now already: --help and a mistyped flag are answered before torch is imported

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from models.config import RevtafConfig
from models.cpu.speed_up import speed_up
from models.revtaf import Revtaf
from modules.corpus.annotations import Study, check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset, sizes_read
from modules.corpus.pairing import refuse_other_features, refuse_wrong_pairing
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer, bert_vocabulary, tokenizer_of
from modules.distributed import agree_on, is_main, processes, seed_everything
from modules.evaluation.baselines import baseline_reports
from modules.evaluation.generation import generate_reports, search_of
from modules.evaluation.reports.attention_figures import plot_studies, plotted_studies
from modules.evaluation.reports.attention_maps import MapKeeper
from modules.evaluation.reports.poincare_disk import bank_disk
from modules.evaluation.reports.test_results import save_predictions, score_test, show_reports
from modules.evaluation.reports.viewer import write_page
from modules.evaluation.rescoring import kept_figures, kept_reports
from modules.evaluation.sensitivity import Distinctness, loss_by_reference
from modules.evaluation.sign_masks import SignMapKeeper, ground, mask_dir, store_sign_maps
from modules.labelling.labelers import Labeler, find_labeler, labeler_files
from modules.labelling.two_labelers import check_one_labeler
from modules.messages import Needed, require, run
from modules.preparation.features.entities import find_scorer
from modules.preparation.published.recognition import find_annotation, how_to_prepare
from modules.records import sha256_of
from modules.retrieval.observation import ask
from modules.retrieval.references import set_references
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


def features_of(options: MainTest, origin: dict[str, Any] | None) -> tuple[FeatureStore, FeatureStore]:
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
        **sizes_read(config),
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
    how: dict[str, Any] = {"device": device, "precision": precision, "loading": options.loading, "watch": watch}
    return generate_reports(model, dataset, search, **how)


def main() -> None:
    """Test one model."""
    options = parse_options(MainTest)
    options.data.ann_path = find_annotation(options.data.ann_path)
    require(needed_files(options))
    testing, seed, run_dir = options.testing, options.runtime.seed, Path(options.run.save_dir)
    if options.data.dataset_name == "custom" and (lengths := trained_lengths(testing.load_pretrained)):
        print(fit_to_size(options, lengths))
    with processes(options.runtime.device, options.compute.n_gpu) as device, ExitStack() as held:
        seed_everything(seed)
        checkpoint = load_checkpoint(testing.load_pretrained)
        require_finite(checkpoint["state_dict"], testing.load_pretrained)
        if is_main() and "released" in checkpoint["run"]:
            print(checkpoint["run"]["released"])
        tokenizer = tokenizer_of(testing.load_pretrained, checkpoint, options.labeler.bert_path)
        model = build_model(checkpoint).to(device).eval()
        if options.speed.fast_cpu and device.type == "cpu":
            speed_up(model)
        annotation = read_annotation(options.data.ann_path)
        studies = require_split(annotation, testing.split, options.data.ann_path)
        check_images(studies, Path(options.data.image_dir))
        plotted = plotted_studies(testing, studies, options.data.ann_path)
        features = features_of(options, checkpoint["run"].get("trained_on"))
        dataset = studies_of_split(options, studies, features, model.config, tokenizer, device)
        labeler = labeler_of(options, features[0], device)
        results = {"checkpoint": sha256_of(testing.load_pretrained), "split": testing.split}
        agree_on(lambda: hold_results(held, run_dir, results, options.run.overwrite))
        queries = ask(model, dataset, "states", options)  # for a baseline and a row of the retrieval table too
        distances = set_references(model, dataset, model.config.retrieval, queries, False, seed)
        masks, distinct = mask_dir(options.data, testing.split), Distinctness()
        maps, signs = MapKeeper(testing.viewer_studies if testing.viewer else 0), SignMapKeeper(masks)
        rows = reports_of(options, model, dataset, labeler, device, (maps, signs, distinct))
        study_maps, drawn_maps = maps.gather(), signs.gather()
        if is_main():
            save_predictions(options, rows, distances)  # before anything that may fail
        measured = (kept_figures(run_dir) if testing.rescore else {}) or {
            **distinct.figures(), "reference_sensitivity": loss_by_reference(model, dataset, device, options),
        }  # fmt: skip
        if not is_main():
            return
        baselines = baseline_reports(options, model, dataset, queries, annotation) if testing.baselines else {}
        if drawn_maps is not None and masks is not None:
            store_sign_maps(run_dir / "sign_maps.npz", drawn_maps, model.config.image_size)
            measured["grounding"] = ground(model, drawn_maps, dataset, annotation["train"], masks, device, seed)
        text = score_test(options, model, dataset, queries, rows, baselines, labeler, measured)
        if testing.verbose_text:
            show_reports(rows, testing.show)
        print(text)
        if plotted:
            paths = plot_studies(model, dataset, rows, plotted, run_dir / "figures", device)
            print(f"wrote {len(paths)} files into {run_dir / 'figures'}")
        if testing.viewer:
            disk = bank_disk(model, dataset.bank, device, seed)
            page = write_page(run_dir, dataset, labeler, maps=study_maps, disk=disk, limit=testing.viewer_studies)
            print(f"wrote {page}: open it in a browser")


if __name__ == "__main__":
    run(main)
