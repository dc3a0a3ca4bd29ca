"""Write a prepared feature folder in the layout of the published REVTAF files, which the released code reads.

python tools/write_published.py --dataset_name mimic_cxr --out data/mimic_cxr/published
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import flag
from modules.messages import run
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.flags import Group
from modules.options.parsing import parse_options
from modules.options.programs import Program


@dataclass(kw_only=True)
class WriteOptions(Group):
    """What is written where."""

    dataset_name: str = flag(
        "mimic_cxr", "data set; its first part names the annotation", choices=tuple(DATASET_DEFAULTS)
    )
    ann_path: str = flag("data/{dataset_name}/annotation.json", "annotation file")
    image_dir: str = flag("data/{dataset_name}/images", "images, which IU X-Ray takes along as PNG")
    feature_dir: str = flag("data/{dataset_name}/features", "prepared features, with stored embeddings")
    out: str = flag("data/{dataset_name}/published", "folder to write to")
    overwrite: bool = flag(False, "replace what --out holds of another build")


@dataclass(kw_only=True)
class WritePublished(Program):
    """Write prepared features in the layout of the published files."""

    file = "tools/write_published.py"
    examples = (
        "python tools/write_published.py --dataset_name mimic_cxr",
        "python tools/write_published.py --dataset_name iu_xray --ann_path data/iu_xray/annotation_zero_shot.json "
        "--feature_dir data/iu_xray/features_zero_shot",
    )

    files: WriteOptions


def main() -> None:
    """Write one data set."""
    options = parse_options(WritePublished).files
    from modules.corpus.annotations import read_annotation  # after parsing: torch takes seconds to import
    from modules.corpus.store import FeatureStore
    from modules.preparation.published.writing import write_published

    splits = read_annotation(options.ann_path)
    store = FeatureStore.open(options.feature_dir, options.ann_path)
    out, image_dir = Path(options.out), Path(options.image_dir)
    write_published(out, options.dataset_name, store, splits, image_dir, options.overwrite)


if __name__ == "__main__":
    run(main)
