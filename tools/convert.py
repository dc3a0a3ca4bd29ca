"""Rewrite a trained model for this project or for the released code; every tensor that has a say is kept to the bit.

python tools/convert.py --model model_best.pth --to released --out results/released.pth
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import FlagError, flag
from modules.messages import Needed, require, run
from modules.options.flags import Group
from modules.options.parsing import parse_options
from modules.options.programs import Program


@dataclass(kw_only=True)
class ConvertOptions(Group):
    """Conversion."""

    model: str = flag("", "trained model: one of main_train.py, or the released state dict")
    to: str = flag(
        "ours",
        "layout of the converted model; released holds one that was trained with the released switches alone",
        choices=("ours", "released"),
    )
    out: str = flag("results/converted.pth", "file of the converted model")
    overwrite: bool = flag(False, "replace --out if it is there")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise FlagError("give the trained model to convert: --model FILE")


@dataclass(kw_only=True)
class Convert(Program):
    """Rewrite a trained model for the code that --to names."""

    file = "tools/convert.py"
    examples = (
        "python tools/convert.py --model results/with_released_switches/model_best.pth --to released --out results/released.pth",
        "python tools/convert.py --model checkpoints/released.pth --to ours --out results/released/model_best.pth",
    )

    convert: ConvertOptions


def main() -> None:
    """Convert one model."""
    options = parse_options(Convert).convert
    require([Needed(options.model, "trained model", "give one of main_train.py, or the released state dict")])
    from modules.run_folder import refuse_file

    refuse_file(options.out, options.overwrite)
    from modules.weights.conversion import convert  # after parsing: torch takes seconds to import

    print(convert(options.model, options.to, options.out))


if __name__ == "__main__":
    run(main)
