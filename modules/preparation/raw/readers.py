"""Which reader reads the raw files of a data set."""

from __future__ import annotations

from pathlib import Path

from modules.messages import UserError
from modules.options.programs import MainPrepare
from modules.preparation.raw.acceptance import refuse_links, refuse_shared_patients
from modules.preparation.raw.custom import read_custom
from modules.preparation.raw.iu_xray import read_iu_xray
from modules.preparation.raw.mimic_cxr import read_mimic_cxr
from modules.preparation.raw.studies import RawDataset

READERS = {"mimic_cxr": read_mimic_cxr, "iu_xray": read_iu_xray, "custom": read_custom}


def require_reader(options: MainPrepare) -> str:
    """The raw files; UserError if they do not exist, or nothing reads them for this data set."""
    name, raw_dir = options.data.dataset_name, str(options.raw.raw_dir)
    if name not in READERS:
        raise UserError(
            f"--raw_dir goes with --dataset_name {', '.join(READERS)}, got {name}: a table of your own studies is custom, an annotation "
            "that is there is prepared without --raw_dir"
        )
    if not Path(raw_dir).exists():
        wanted = "table of your studies" if name == "custom" else "folder of the raw files"
        raise UserError(f"--raw_dir {raw_dir} does not exist: give the {wanted}")
    return raw_dir


def read_raw(options: MainPrepare, with_images: bool) -> RawDataset:
    """What the raw files hold; nothing is written.

    Raises:
        UserError: if nothing reads raw files of this data set; if a file is missing or damaged, images are links out of the
            raw folder, or a split shares patients.
    """
    raw_dir, raw = require_reader(options), options.raw
    dataset = READERS[options.data.dataset_name](raw_dir, raw, with_images, options.runtime.seed)
    refuse_links(dataset)
    refuse_shared_patients(dataset, raw.split_file or raw.raw_dir)
    if raw.all_test:
        for study in dataset.studies:
            study.split = "test"
        dataset.notes.append(f"--all_test: all {len(dataset.studies)} items are to be tested")
    return dataset
