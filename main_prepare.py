"""Build everything a training needs: annotation and images from raw files, features from those; draw SynthCXR; check.

With --convert, rewrite a trained model for this project or for the released code instead.

python main_prepare.py --dataset_name synth_cxr
python main_prepare.py --dataset_name iu_xray --ann_path annotation.json --image_dir images
python main_prepare.py --dataset_name mimic_cxr --raw_dir physionet.org/files --resize 256
python main_prepare.py --dataset_name mimic_cxr --check
python main_prepare.py --convert model_best.pth --to ours --out results/released/model_best.pth
python main_prepare.py --dataset_name mimic_cxr --published data/mimic_cxr
torchrun --nproc_per_node 4 main_prepare.py --dataset_name mimic_cxr --features online
python main_prepare.py --measure_labeler reports.jsonl
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from modules.distributed import barrier, is_main, processes, seed_everything
from modules.labelling.agreement import measure_rules
from modules.messages import Needed, require, run
from modules.options import parse_options
from modules.preparation.doctor.examination import examine
from modules.preparation.features.medklip import medklip_files
from modules.preparation.published.writing import write_published
from modules.preparation.raw.annotation import build_annotation
from modules.preparation.stages import Preparation
from modules.preparation.synthetic.dataset import SyntheticOptions, draw_contact_sheet, write_synthetic_dataset
from modules.weights.conversion import convert

HOURS_OF_A_STAGE = 48  # that processes wait for one that works alone


def needed_files(options: Namespace) -> list[Needed]:
    """Everything a preparation reads."""
    needed = [
        Needed(options.ann_path, "annotation file", "see data/README.md for where to get one or how to write your own"),
        Needed(options.image_dir, "images", "see data/README.md, or give the folder with --image_dir"),
    ]
    if options.resnet_weights not in (None, "download"):
        how = "see checkpoints/README.md, or --resnet_weights download"
        needed.append(Needed(options.resnet_weights, f"ImageNet weights of {options.visual_extractor}", how))
    if options.entity_scorer == "medklip":
        needed += medklip_files(options)
    if options.bank_dir != options.feature_dir:
        how = "prepare the data set that the model was trained on"
        needed.append(Needed(Path(options.bank_dir) / "manifest.json", "features of the retrieval bank", how))
    return needed


def main() -> None:
    """Prepare one data set."""
    options = parse_options("prepare")
    if options.contact_sheet:
        draw_contact_sheet(Path(options.contact_sheet), seed=options.seed)
        print(f"wrote {options.contact_sheet}")
        return
    if options.convert:
        require([Needed(options.convert, "trained model", "give one of main_train.py, or the released state dict")])
        print(convert(options.convert, options.to, options.out))
        return
    if options.measure_labeler:
        print(*measure_rules(Path(options.measure_labeler)), sep="\n")
        return
    if options.check:
        diagnosis = examine(options)
        print(*diagnosis.lines(), sep="\n")
        sys.exit(diagnosis.exit_status(options.strict))
    with processes(options.device, patience=HOURS_OF_A_STAGE) as device:
        losses: list[str] = []
        if options.raw_dir:
            losses = build_annotation(options)
            if options.raw_step != "all":
                return
        elif options.dataset_name == "synth_cxr" and is_main():
            drawing = SyntheticOptions(
                num_studies=options.num_studies,
                val_share=options.val_share,
                test_share=options.test_share,
                readers=options.readers,
                image_size=options.synth_image_size,
                difficulty=options.difficulty,
                seed=options.seed,
            )
            write_synthetic_dataset(Path(options.ann_path).parent, drawing)
        barrier()
        require(needed_files(options))
        seed_everything(options.seed)
        preparation = Preparation(options, device)
        store = preparation.run()
        if is_main():
            print(
                f"features of {len(store.row_ids('studies'))} studies are in {options.feature_dir}", *losses, sep="\n"
            )
        if is_main() and options.write_published:
            write_published(Path(options.write_published), options.dataset_name, store, preparation.splits)


if __name__ == "__main__":
    run(main)
