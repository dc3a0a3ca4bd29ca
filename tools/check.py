"""The doctor: everything that is wrong with a data set, at once; ends with status 2 on errors.

python tools/check.py --dataset_name mimic_cxr
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from modules.messages import UserError, run
from modules.options.flags import DataOptions
from modules.options.parsing import parse_options
from modules.options.preparation_flags import CheckOptions
from modules.options.programs import Program


@dataclass(kw_only=True)
class Check(Program):
    """List everything that is wrong with annotation, images and features."""

    file = "tools/check.py"
    examples = (
        "python tools/check.py --dataset_name synth_cxr",
        "python tools/check.py --dataset_name custom --ann_path annotation.json --image_dir images --strict",
    )

    data: DataOptions
    check: CheckOptions


def fit_image_size(options: Check) -> None:
    """Ask of the images what a training of this many studies would, unless the command line says it."""
    if options.data.dataset_name != "custom" or not Path(options.data.ann_path).is_file():
        return
    from modules.corpus.annotations import annotation_items  # after parsing: it takes seconds
    from modules.options.set_size import fit_to_size, size_defaults

    with suppress(UserError):  # what is no annotation is found by the examination
        training = sum(split == "train" for split, _, _ in annotation_items(options.data.ann_path))
        fit_to_size(options, size_defaults(training) if training else {})


def main() -> None:
    """Examine one data set."""
    options = parse_options(Check)
    from modules.preparation.doctor.examination import examine  # after parsing: it takes seconds
    from modules.preparation.published.recognition import find_annotation

    options.data.ann_path = find_annotation(options.data.ann_path)
    fit_image_size(options)
    diagnosis = examine(options.data, options.check)
    print(*diagnosis.lines(), sep="\n")
    sys.exit(diagnosis.exit_status(options.check.strict))


if __name__ == "__main__":
    run(main)
