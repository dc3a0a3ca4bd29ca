"""How the rule labeler agrees with labels that people gave.

python tools/measure_labeler.py --reports reports.jsonl
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
from modules.messages import run
from modules.options.flags import Group
from modules.options.parsing import parse_options
from modules.options.programs import Program


@dataclass(kw_only=True)
class MeasureOptions(Group):
    """Labels given by people."""

    reports: str = flag("", "JSON lines with findings, impression and labels_mesh")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reports:
            raise FlagError("give the labelled reports: --reports FILE")


@dataclass(kw_only=True)
class MeasureLabeler(Program):
    """Print precision, recall and F1 of every condition, and who says what where they disagree."""

    file = "tools/measure_labeler.py"
    examples = (
        "python tools/measure_labeler.py --reports reports.jsonl",
        "python tools/measure_labeler.py --reports reports.jsonl > agreement.txt",
    )

    labels: MeasureOptions


def main() -> None:
    """Measure the rules on one file."""
    options = parse_options(MeasureLabeler).labels
    from modules.labelling.agreement import measure_rules  # after parsing: it takes seconds

    print(*measure_rules(Path(options.reports)), sep="\n")


if __name__ == "__main__":
    run(main)
