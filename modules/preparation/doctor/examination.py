"""The doctor: everything that is wrong with a data set, at once.

``tools/check.py`` prints the whole examination; ``main_train.py`` runs the fast part of it, which opens neither
images nor large arrays, and refuses to begin when it finds errors.
"""

from __future__ import annotations

from pathlib import Path

from modules.corpus.made_from import refuse_other_inputs
from modules.messages import UserError
from modules.options.flags import DataOptions
from modules.options.preparation_flags import CheckOptions
from modules.preparation.doctor.corpus import (
    look_at_annotation,
    look_at_images,
    look_at_reports,
    look_at_sizes,
    look_at_splits,
)
from modules.preparation.doctor.features import look_at_values, open_features
from modules.preparation.doctor.findings import Diagnosis
from modules.preparation.doctor.leaks import look_at_retrieval, look_for_leaks


def examine(data: DataOptions, options: CheckOptions, thorough: bool = True) -> Diagnosis:
    """Look at annotation, images, features and retrieval.

    Args:
        data: where everything is, and how reports are cleaned.
        options: what images must suit.
        thorough: also decode every image, compare texts, checksums and large arrays, and make some features again.
    """
    diagnosis = Diagnosis()
    studies = look_at_annotation(data.ann_path, diagnosis)
    if studies:
        look_at_splits(studies, diagnosis)
        look_at_images(studies, Path(data.image_dir), options, diagnosis, thorough)
        # training needs both splits, a test with another data set's bank neither
        tested_only = Path(data.bank_dir) != Path(data.feature_dir)
        wanted = "warning" if thorough else "error"
        look_at_sizes(data.dataset_name, studies, diagnosis, "note" if tested_only else wanted)
    if studies and thorough:
        look_at_reports(studies, data, diagnosis)
    found = open_features(data, studies, diagnosis)
    if found:
        look_at_values(found, diagnosis, thorough)
    if found and found.store and thorough:
        try:
            refuse_other_inputs(found.store, studies, data.image_dir)
        except UserError as error:
            diagnosis.add("error", "features", str(error))
    if found and studies:
        look_at_retrieval(found, studies, diagnosis)
        look_for_leaks(found, data, diagnosis, thorough)
    else:
        diagnosis.add("warning", "leaks", f"skipped: there are no {'features' if studies else 'studies'} to search")
    return diagnosis


def refuse_errors(data: DataOptions, options: CheckOptions) -> None:
    """Run the fast part.

    Raises:
        UserError: listing every error.
    """
    errors = examine(data, options, thorough=False).of("error")
    if errors:
        lines = [line for problem in errors for line in problem.lines()]
        verb = "thing is" if len(errors) == 1 else "things are"
        raise UserError(
            "\n".join([f"{len(errors)} {verb} wrong with this data set (all of it: tools/check.py):", *lines])
        )
