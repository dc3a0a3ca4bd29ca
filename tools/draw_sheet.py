"""Draw a sheet of labelled SynthCXR examples.

python tools/draw_sheet.py --out docs/synthcxr.jpg --overwrite
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
from modules.options.flags import Group
from modules.options.parsing import parse_options
from modules.options.programs import Program


@dataclass(kw_only=True)
class SheetOptions(Group):
    """The sheet."""

    out: str = flag("results/sheet.jpg", "JPEG file to draw")
    overwrite: bool = flag(False, "replace --out if it is there")
    seed: int = flag(456789, "seed of the examples", within="[0, 4294967295]")


@dataclass(kw_only=True)
class DrawSheet(Program):
    """Draw a sheet of labelled SynthCXR examples, one of each finding."""

    file = "tools/draw_sheet.py"
    examples = ("python tools/draw_sheet.py", "python tools/draw_sheet.py --out docs/synthcxr.jpg --overwrite")

    sheet: SheetOptions


def main() -> None:
    """Draw one sheet."""
    options = parse_options(DrawSheet).sheet
    from modules.preparation.synthetic.sheet import draw_contact_sheet  # after parsing: it takes a second
    from modules.run_folder import refuse_file

    refuse_file(options.out, options.overwrite)
    draw_contact_sheet(Path(options.out), seed=options.seed)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    run(main)
