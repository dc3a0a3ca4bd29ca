"""What a training would refuse, asked before its data are prepared; for scripts that do both.

python -m modules.training.beforehand --dataset_name custom --raw_dir studies.csv [flags of main_prepare.py and main_train.py]
python -m modules.training.beforehand --dataset_name synth_cxr --resume [flags of main_train.py]

Nothing is written. Flags that contradict each other have been refused before, see :mod:`modules.options.parsing`.
"""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.corpus.annotations import SPLITS
from modules.corpus.vocabularies import tokenizer_of
from modules.folder_locks import refuse_held
from modules.messages import UserError, require, run
from modules.options.parsing import parse_options, words_for
from modules.options.programs import MainPrepare, MainTrain
from modules.options.set_size import fit_to_size, size_defaults
from modules.preparation.raw.annotation import refuse_replacing
from modules.preparation.raw.readers import read_raw
from modules.records import read_object
from modules.run_folder import refuse_data, refuse_unasked
from modules.training.initialisation import adopt_options
from modules.training.run_options import check_same_run
from modules.training.training_data import fit_to_reports, given_files
from modules.weights.checkpoints import load_checkpoint


def refuse_beforehand(preparing: MainPrepare, training: MainTrain) -> None:
    """Refuse what the training would refuse of the data that the preparation is going to make.

    Args:
        preparing: options; with ``--raw_dir`` changed to fit the number of studies, as the preparation does. Without it
            nothing is asked about the data.
        training: options, changed likewise.

    Raises:
        UserError: if another program holds the run folder or it holds another run, a split is empty, a file is missing, the
            annotation of a trained model would be replaced, or the trained model to start from reads features of other widths.
    """
    refuse_held(Path(training.run.save_dir))
    if preparing.raw.raw_dir:
        _refuse_studies(preparing, training)
    require(given_files(training))
    run_dir, data = Path(training.run.save_dir), training.data
    refuse_unasked(run_dir, training.training.resume, training.run.overwrite)
    refuse_data(run_dir, (data.image_dir, data.feature_dir, data.ann_path), moving=training.run.overwrite)
    if training.start.init_from:
        path = str(training.start.init_from)
        checkpoint = load_checkpoint(path)
        adopt_options(training, checkpoint)
        tokenizer_of(path, checkpoint, training.labeler.bert_path)
        _refuse_widths(preparing, path, checkpoint["config"])
    check_same_run(training)


def _refuse_studies(preparing: MainPrepare, training: MainTrain) -> None:
    """Refuse raw data of which a split is empty, and fit both options to their number."""
    dataset = read_raw(preparing, with_images=True)
    dataset.require_studies(preparing.raw.raw_dir)
    refuse_replacing(dataset, preparing)
    reports: dict[Any, list[str]] = {split: [] for split in SPLITS}
    for study in dataset.studies:
        reports[study.split].append(study.report)
    for split in ("train", "val"):
        if not reports[split]:
            drawn = any(note.startswith("split drawn") for note in dataset.notes)
            advice = "add some, of other patients" if drawn else "give the split column some, or none to all"
            raise UserError(
                f"{preparing.raw.raw_dir} has no {split} studies ({dataset.summary()[0]}), which a training needs: {advice}"
            )
    fit_to_size(preparing, size_defaults(len(reports["train"])))
    fit_to_reports(training, reports["train"])


def _refuse_widths(preparing: MainPrepare, path: str, config: Mapping[str, Any]) -> None:
    """Refuse features that a trained model cannot read; where only other files know their width nothing is asked."""
    options, scorer = preparing.preparation, preparing.scorer
    if options.published not in (None, "none") or preparing.data.bank_dir != preparing.data.feature_dir:
        return
    reads = []
    text, entity = config["report_feature_dim"], config["entity_text_dim"]
    text_model = Path(options.text_encoder) / "config.json"
    if options.text_encoder == "lsa":
        if options.text_width != text:
            reads.append(f"text features of width {text}, not {options.text_width}: give --text_width {text}")
    elif text_model.is_file():
        width = read_object(text_model).get("hidden_size")
        if isinstance(width, int) and width != text:
            reads.append(f"text features of width {text}, not {width} of {options.text_encoder}: give another")
    if scorer.entity_scorer == "own" and scorer.scorer_width != entity:
        reads.append(f"entity embeddings of width {entity}, not {scorer.scorer_width}: give --scorer_width {entity}")
    if reads:
        raise UserError(f"{path} reads {'; and '.join(reads)}, or leave out --init_from")


def main() -> None:
    """Ask of a command line."""
    words = sys.argv[1:]
    refuse_beforehand(
        parse_options(MainPrepare, words_for(MainPrepare, words)), parse_options(MainTrain, words_for(MainTrain, words))
    )


if __name__ == "__main__":
    sys.argv[0] = MainTrain.file  # whose sentences they are
    run(main)
