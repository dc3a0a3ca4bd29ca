"""The files of a prepared data set, and how to get those that are missing."""

from __future__ import annotations

from pathlib import Path

from modules.corpus.manifest import MANIFEST
from modules.messages import Needed
from modules.options.flags import DataOptions
from modules.preparation.published.recognition import how_to_prepare


def image_folder(data: DataOptions) -> Needed:
    """Where the image paths of the annotation start."""
    return Needed(data.image_dir, "images", "see data/README.md, or give the folder with --image_dir")


def prepared_files(data: DataOptions) -> list[Needed]:
    """What training and test read of a data set."""
    return [
        Needed(data.ann_path, "annotation file", "see data/README.md; SynthCXR: bash quickstart.sh"),
        image_folder(data),
        Needed(Path(data.feature_dir) / MANIFEST, "prepared features", how_to_prepare(data)),
    ]
