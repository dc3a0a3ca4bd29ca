"""Build everything a training needs: annotation and images from raw files or drawn, and features from those.

python main_prepare.py --dataset_name synth_cxr
python main_prepare.py --dataset_name iu_xray --ann_path annotation.json --image_dir images
python main_prepare.py --dataset_name mimic_cxr --raw_dir physionet.org/files --resize 256
python main_prepare.py --dataset_name mimic_cxr --published data/mimic_cxr
torchrun --nproc_per_node 4 main_prepare.py --dataset_name mimic_cxr --features online
"""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare

if __name__ == "__main__":
    parse_options(MainPrepare)  # now already: --help and a mistyped flag are answered before torch is imported

import os
import time
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch

from modules.corpus.annotations import read_annotation
from modules.corpus.manifest import MANIFEST
from modules.corpus.vocabularies import HUB_PREFIX
from modules.distributed import agree_on, barrier, choose_arithmetic, is_main, processes, seed_everything
from modules.labelling.labelers import labeler_files
from modules.messages import Needed, UserError, require, run
from modules.options.programs import MainTrain
from modules.options.set_size import fit_to_size, size_defaults
from modules.preparation.costs import estimate, preparation_costs, raw_costs
from modules.preparation.features.medklip import medklip_files
from modules.preparation.prepared_files import annotation_file, bank_features, image_folder
from modules.preparation.published.recognition import find_annotation, or_published, refuse_to_build
from modules.preparation.raw.annotation import build_annotation
from modules.preparation.raw.studies import RawDataset
from modules.preparation.stages import Preparation
from modules.preparation.synthetic.dataset import SyntheticOptions, write_synthetic_dataset
from modules.throughput import agree_to_long, cost_table, duration, estimates_for_mimic
from modules.training.costs import training_costs
from modules.training.training_data import fit_to_reports
from modules.weights.backbones import needed_backbone, read_folder

HOURS_OF_A_STAGE = 48  # that processes wait for one that works alone
MANY = 500  # items, of which a preparation may take a day; to measure it takes seconds


def given_files(options: MainPrepare) -> list[Needed]:
    """What a preparation reads besides the data set."""
    needed, wanted = [], options.preparation
    if options.scorer.resnet_weights not in (None, "download"):
        needed.append(needed_backbone(options.scorer.resnet_weights, options.scorer.visual_extractor))
    if options.scorer.entity_scorer == "medklip":
        needed += medklip_files(options)
    else:  # that --bert_path is the clinical one
        needed += labeler_files(options.labeler.chexbert_path, options.labeler.bert_path)
    if wanted.text_encoder != "lsa" and not wanted.text_encoder.startswith(HUB_PREFIX):
        how = "give lsa, hub:NAME or the local folder of a Hugging Face model with its config.json"
        needed.append(Needed(Path(wanted.text_encoder) / "config.json", "model of --text_encoder", how))
    if wanted.published not in (None, "none"):
        needed.append(Needed(str(wanted.published), "published files", "see data/README.md for where to get them"))
    if options.data.bank_dir != options.data.feature_dir:
        needed.append(bank_features(options.data))
    return needed


def needed_files(options: MainPrepare) -> list[Needed]:
    """Everything a preparation reads."""
    return [annotation_file(options.data), image_folder(options.data), *given_files(options)]


def refuse(options: MainPrepare, needed: list[Needed], text_model: bool) -> None:
    """Refuse what is missing, and networks in folders that cannot be built, hours before they are used.

    Args:
        options: of the preparation.
        needed: files.
        text_model: whether to load the model of ``--text_encoder`` too, which takes seconds.
    """
    require(needed)
    read_folder(options.scorer.visual_extractor, options.scorer.image_size)
    if text_model and options.preparation.text_encoder != "lsa":
        from modules.preparation.features.text_models import find_text_model  # on demand: LSA needs no transformers

        find_text_model(options.preparation.text_encoder, options.preparation.text_pooling)


def draw(options: MainPrepare) -> None:
    """Draw SynthCXR beside the annotation, or what is missing of it.

    Raises:
        UserError: if published files are to be converted, which belong to an annotation that is not there.
    """
    annotation = find_annotation(options.data.ann_path)
    if options.preparation.published not in (None, "none") and not Path(annotation).is_file():
        raise UserError(
            f"--published {options.preparation.published} holds files of an annotation, and {annotation} does not exist: correct "
            "--ann_path, or draw the studies first, without --published"
        )
    drawing = SyntheticOptions(
        num_studies=options.drawing.num_studies,
        val_share=options.drawing.val_share,
        test_share=options.drawing.test_share,
        readers=options.drawing.readers,
        image_size=options.drawing.synth_image_size,
        difficulty=options.drawing.difficulty,
        seed=options.runtime.seed,
    )
    write_synthetic_dataset(Path(options.data.ann_path).parent, drawing)


def print_estimate(options: MainPrepare, device: torch.device) -> None:
    """What preparing, training with the default flags, and testing would take here."""
    if not options.raw.raw_dir:
        require([annotation_file(options.data), image_folder(options.data)])
    print("measuring on a few of the items: a minute or two, longer beside other programs", flush=True)
    load, cores = os.getloadavg()[0], os.cpu_count() or 1  # of the last minute, before the measuring
    busy = f"warning: other programs run here ({load:.0f} on {cores} cores): alone it takes less"
    wall, processor = time.perf_counter(), time.process_time()
    costs, reports = estimate(options, device)
    items = {split: len(part) for split, part in reports.items()}
    training = parse_options(
        MainTrain, ["--dataset_name", options.data.dataset_name, "--precision", options.compute.precision]
    )
    if options.data.dataset_name == "custom" and reports["train"]:
        fit_to_reports(training, reports["train"])
    widths = {
        **({"text_dim": options.preparation.text_width} if options.preparation.text_encoder == "lsa" else {}),
        **({"entity_dim": options.scorer.scorer_width} if options.scorer.entity_scorer == "own" else {}),
    }
    costs += training_costs(training, items["train"], items["val"], items["test"], device, **widths)
    took = f"{duration(time.perf_counter() - wall)}, {duration(time.process_time() - processor)} of a core"
    print(
        f"{', '.join(f'{count:,} {split}' for split, count in items.items())} items on {device}, {cores} CPU cores; "
        f"measured on a few of them in {took}",
        *cost_table(costs),
        *([busy] if load > cores else []),
        sep="\n",
    )


def ask_before_copies(options: MainPrepare, dataset: RawDataset, device: torch.device) -> None:
    """Ask before copies and features of raw files if they take more than a day; UserError if they shall not begin."""
    if options.preparation.yes or len(dataset.studies) < MANY:
        return
    fitted = deepcopy(options)  # the sizes are set again for the studies that are left when all are copied
    training = sum(study.split == "train" for study in dataset.studies)
    if options.data.dataset_name == "custom" and training:
        fit_to_size(fitted, size_defaults(training))
    agree_to_long(raw_costs(fitted, dataset, device))


def main() -> None:
    """Prepare one data set."""
    options = parse_options(MainPrepare)
    with (
        estimates_for_mimic(options.data.dataset_name == "mimic_cxr"),
        processes(options.runtime.device, options.compute.n_gpu, patience=HOURS_OF_A_STAGE) as device,
    ):
        losses: list[str] = []
        if options.preparation.estimate:
            if is_main():
                with or_published(options.raw.raw_dir, options.data):
                    print_estimate(options, device)
            return
        makes_data = bool(options.raw.raw_dir) or options.data.dataset_name == "synth_cxr"
        refused_early = makes_data and options.raw.raw_step == "all"  # else no features follow
        if refused_early:
            refuse(options, given_files(options), text_model=True)  # before hours of copies
        has_features = (Path(options.data.feature_dir) / MANIFEST).is_file()
        asked_early = refused_early and bool(options.raw.raw_dir) and not has_features
        if options.raw.raw_dir:
            agree = partial(ask_before_copies, options, device=device) if asked_early else None
            with or_published(options.raw.raw_dir, options.data):
                losses = build_annotation(options, agree)
            if options.raw.raw_step != "all":
                if is_main() and losses:
                    print(*losses, sep="\n")
                return
        elif options.data.dataset_name == "synth_cxr" and is_main():
            draw(options)
        barrier()
        options.data.ann_path = find_annotation(options.data.ann_path)
        if options.data.dataset_name == "custom" and Path(options.data.ann_path).is_file():
            training = len(read_annotation(options.data.ann_path)["train"])
            said = fit_to_size(options, size_defaults(training)) if training else ""
            if is_main() and said:
                print(said)
        refuse(options, needed_files(options), text_model=not refused_early)
        if options.preparation.published is None and options.scorer.entity_scorer == "own":
            refuse_to_build(options.data)
        choose_arithmetic(options.compute.precision, options.compute.deterministic)
        preparation = Preparation(options, device)
        if len(preparation.studies) >= MANY and not options.preparation.yes and not asked_early:
            agree_on(lambda: agree_to_long(preparation_costs(options, preparation.splits, device)))
        seed_everything(options.runtime.seed)  # after the measuring, which draws
        store = preparation.run()
        if is_main():
            said = f"features of {len(store.row_ids('studies'))} items are in {options.data.feature_dir}"
            print(said, *losses, sep="\n")


if __name__ == "__main__":
    run(main)
