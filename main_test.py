"""Write and score the reports of a split with a trained model.

python main_test.py --dataset_name mimic_cxr --load_pretrained results/mimic_cxr/model_best.pth
"""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from modules.options.parsing import parse_options
from modules.options.programs import MainTest

if __name__ == "__main__":
    parse_options(MainTest)  # now already: --help and a mistyped flag are answered before torch is imported

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modules.corpus.annotations import SPLITS
from modules.distributed import agree_on, choose_arithmetic, is_main, processes, seed_everything
from modules.evaluation.baselines import baseline_reports
from modules.evaluation.distinctness import Distinctness
from modules.evaluation.grounding.sign_masks import SignMapKeeper, ground, mask_dir, store_sign_maps
from modules.evaluation.reports.attention_figures import plot_studies, plotted_studies
from modules.evaluation.reports.attention_maps import MapKeeper
from modules.evaluation.reports.poincare_disk import bank_disk
from modules.evaluation.reports.test_results import save_predictions, score_test, show_reports
from modules.evaluation.reports.viewer import write_page
from modules.evaluation.rescoring import kept_figures, restore_generation
from modules.evaluation.sensitivity import loss_by_reference
from modules.feature_folder import reading
from modules.messages import require, run
from modules.options.set_size import fit_to_size, trained_lengths
from modules.prediction.evaluated_split import EvaluatedSplit, needed_files
from modules.prediction.training_places import follow_training
from modules.preparation.published.recognition import find_annotation
from modules.retrieval.observation import ask
from modules.retrieval.references import set_references
from modules.retrieval.retriever import Queries, is_fitted
from modules.run_folder import hold_results, refuse_data, refuse_unnamed_data

BESIDE = tuple(f"options_{split}.json" for split in (*SPLITS, "all"))  # what else a test writes


def score(
    options: MainTest,
    tested: EvaluatedSplit,
    queries: Queries,
    rows: list[dict[str, Any]],
    drawn_maps: np.ndarray | None,
    distinct: Distinctness,
    device: torch.device,
) -> str:
    """Score the studies that have a report and write the results; every process must ask, the text is the main one's.

    Args:
        options: of the test.
        tested: the model and the split, with its references.
        queries: what the references were asked for with.
        rows: one per study of the split, as generated.
        drawn_maps: of the signs, ``(n, G, M)``, where there are masks to compare them with.
        distinct: has seen the reports being generated.
        device: of the model.
    """
    model, run_dir = tested.model, Path(options.run.save_dir)
    known = tested.dataset.with_report
    dataset, queries = tested.dataset.part(known), queries.part(known)
    measured = (kept_figures(run_dir) if options.testing.rescore else {}) or {
        **distinct.figures(), "reference_sensitivity": loss_by_reference(model, dataset, device, options),
        "trained_steps": tested.steps, "trained_epochs": tested.epochs,
    }  # fmt: skip
    if not is_main():
        return ""
    baselines: dict[str, list[str]] = {}
    if options.testing.baselines:
        baselines = baseline_reports(options.data, model, dataset, queries, tested.annotation)
    masks = mask_dir(options.data, options.testing.split)
    if drawn_maps is not None and masks is not None:
        store_sign_maps(run_dir / "sign_maps.npz", drawn_maps, model.config.image_size)
        training, seed = tested.annotation["train"], options.runtime.seed
        measured["grounding"] = ground(model, drawn_maps[known], dataset, training, masks, device, seed)
    return score_test(options, model, dataset, queries, rows, baselines, tested.labeler, measured)


def main() -> None:
    """Test one model."""
    options = parse_options(MainTest)
    refuse_unnamed_data(Path(options.testing.load_pretrained).parent, options.given, options.data.dataset_name)
    followed = follow_training(options)
    options.data.ann_path = find_annotation(options.data.ann_path)
    require(needed_files(options))
    if followed:
        print(followed)
    testing, seed, run_dir = options.testing, options.runtime.seed, Path(options.run.save_dir)
    if options.data.dataset_name == "custom" and (lengths := trained_lengths(testing.load_pretrained)):
        print(fit_to_size(options, lengths))
    if testing.rescore:
        restore_generation(options)
    with processes(options.runtime.device, options.compute.n_gpu) as device, ExitStack() as held:
        for folder in sorted({options.data.feature_dir, options.data.bank_dir}):
            agree_on(partial(held.enter_context, reading(folder)))
        seed_everything(seed)
        choose_arithmetic(options.compute.precision, options.compute.deterministic)
        tested = EvaluatedSplit.open(options, device)
        model, dataset = tested.model, tested.dataset
        plotted = plotted_studies(testing, dataset.studies, options.data.ann_path)
        known = dataset.with_report  # the others are written, and not scored
        refuse_data(run_dir, (options.data.image_dir, options.data.feature_dir, options.data.bank_dir))
        agree_on(lambda: hold_results(held, run_dir, tested.results_of(options), options.run.overwrite, BESIDE))
        queries = ask(model, dataset, "states", options)  # for a baseline and a row of the retrieval table too
        distances = set_references(model, dataset, model.config.retrieval, queries, False, seed)
        maps, distinct = MapKeeper(testing.viewer_studies if testing.viewer else 0), Distinctness()
        signs = SignMapKeeper(mask_dir(options.data, testing.split))
        rows = tested.reports(options, device, (maps, signs, distinct))
        study_maps, drawn_maps = maps.gather(), signs.gather()
        if is_main():
            save_predictions(options, rows, distances)  # before anything that may fail
        text = score(options, tested, queries, rows, drawn_maps, distinct, device) if len(known) else ""
        if not is_main():
            return
        if testing.verbose_text:
            show_reports(rows, testing.show)
        print(text or f"wrote {run_dir / 'predictions.jsonl'}")
        if plotted:
            paths = plot_studies(model, dataset, rows, plotted, run_dir / "figures", device)
            print(f"wrote {len(paths)} files into {run_dir / 'figures'}")
        if testing.viewer:
            fitted = is_fitted(model.retrieval_enhancer)
            disk = bank_disk(model, dataset.bank, device, seed) if fitted else None
            page = write_page(
                run_dir, dataset, tested.labeler, maps=study_maps, disk=disk, limit=testing.viewer_studies
            )
            print(f"wrote {page}: open it in a browser")


if __name__ == "__main__":
    run(main)
