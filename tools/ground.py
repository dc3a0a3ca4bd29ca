"""Do a model's maps fall where radiologists drew the finding?

python tools/ground.py --boxes MS_CXR_Local_Alignment_v1.1.0.csv --image_dir mimic-cxr-jpg --model results/mimic_cxr
python tools/ground.py --boxes data/synth_cxr/masks --image_dir data/synth_cxr/images --ann_path data/synth_cxr/annotation.json
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import FlagError, flag
from modules.messages import run
from modules.options.flags import Group, RuntimeOptions
from modules.options.parsing import flat, parse_options
from modules.options.programs import Program


@dataclass(kw_only=True)
class GroundOptions(Group):
    """Boxes and maps.

    Raises:
        FlagError: if no boxes are named.
    """

    boxes: str = flag("", "boxes of MS-CXR, PadChest-GR, Chest ImaGenome or VinDr-CXR, or SynthCXR's folder of masks")
    master_table: str | None = flag(None, "PadChest-GR's master_table.csv: patients and splits")
    image_dir: str = flag("", "folder of the films that were boxed")
    ann_path: str | None = flag(None, "annotation file: films of its training patients are left out")
    split: str | None = flag(None, "split of the boxes, as their file names it")
    model: str = flag("results/synth_cxr", "folder of a trained model (--save_dir of main_train.py, or a release)")
    maps: str | None = flag(
        None, "maps of another model in place of ours: .npz with an array (M,) or (g, g) by 'image|finding'"
    )
    fit: str = flag("crop", "crop: as in training; pad: the whole film", choices=("crop", "pad"))
    cells: int = flag(
        56, "side of the grid that maps are interpolated to; 0 for the patches as they are", within="[0, 1024]"
    )
    figures: int = flag(12, "films drawn with their boxes and maps", within="[0, 10000]")
    resamples: int = flag(1000, "bootstrap resamples of the patients", within="[1, 1000000]")
    save_dir: str = flag("results/grounding", "where grounding.json, the table and the figures go")
    overwrite: bool = flag(False, "move what --save_dir holds of other boxes or models aside")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.boxes or not self.image_dir:
            raise FlagError("give the boxes and the films that they are on: --boxes FILE --image_dir FOLDER")


@dataclass(kw_only=True)
class Ground(Program):
    """Score maps against boxes or masks, beside rows that look at no image."""

    file = "tools/ground.py"
    examples = (
        "python tools/ground.py --boxes MS_CXR_Local_Alignment_v1.1.0.csv --image_dir mimic-cxr-jpg --model results/mimic_cxr",
        "python tools/ground.py --boxes data/synth_cxr/masks --image_dir data/synth_cxr/images "
        "--ann_path data/synth_cxr/annotation.json",
    )

    ground: GroundOptions
    runtime: RuntimeOptions


def main() -> None:
    """Ground one model in one set of boxes."""
    options = parse_options(Ground)
    from modules.prediction.ground_run import GroundRun, results_of  # after parsing: these take seconds
    from modules.records import write_options
    from modules.run_folder import hold_results, refuse_data

    wanted = options.ground
    refuse_data(Path(wanted.save_dir), [wanted.image_dir, wanted.boxes])
    grounding = GroundRun(options)  # refuses what cannot be measured
    with ExitStack() as held:
        hold_results(
            held,
            Path(wanted.save_dir),
            results_of(wanted),
            wanted.overwrite,
            ("options.json", "grounding.json", "per_phrase.csv"),
        )
        write_options(wanted.save_dir, flat(options), sys.argv)
        grounding.write()


if __name__ == "__main__":
    run(main)
