"""The scores of a release's own reports in its model card, for ``main_predict.py --scores``: the export may cost some."""

from __future__ import annotations

from pathlib import Path

from modules.evaluation.reading.scored_files import named_files
from modules.messages import UserError
from modules.prediction.card import MEASURED, QUOTED, score_table
from modules.prediction.model_folder import TrainedModel
from modules.prediction.release import CARD, is_release, write_sums
from modules.prediction.writing import MODEL
from modules.records import atomic_write, read_object, read_run_options, sha256_of
from modules.run_folder import RESULTS_OF


def write_scores(trained: TrainedModel, release: Path, results: Path) -> None:
    """Put the scores of a release's own reports into its card, in place of what stood there, and the card into its sums.

    Args:
        trained: the release, opened.
        release: its folder.
        results: ``--save_dir`` of main_score.py, which scored the predictions of main_predict.py with this release.

    Raises:
        UserError: if the folder is no release; if the results are none, of several systems, or of another model's reports.
    """
    if not is_release(release):
        raise UserError(f"{release} is no release and has no card: make one with --export")
    missing = [name for name in ("metrics.json", RESULTS_OF, "options.json") if not (results / name).is_file()]
    if missing:
        raise UserError(f"{results} holds no {missing[0]}: give --scores the --save_dir of main_score.py")
    metrics, options = read_object(results / "metrics.json"), read_run_options(results / "options.json")
    scored = named_files(options.get("predictions") or ())
    if len(scored) != 1:
        raise UserError(f"{results} scores {len(scored)} systems: score the reports of this release alone")
    ((name, predictions),) = scored.items()
    known = read_object(results / RESULTS_OF).get(f"predictions of {name}")
    written_by = Path(predictions).with_name(MODEL)
    of_these = Path(predictions).is_file() and sha256_of(predictions) == known and written_by.is_file()
    if not of_these or read_object(written_by).get("sha256") != trained.checksum:
        raise UserError(
            f"{results} scores {predictions}, which main_predict.py did not write with {release}, or wrote again since: write "
            "the reports with this release, score them, and give that folder"
        )
    protocol, system = metrics["protocol"], metrics["systems"][name]
    notes = [protocol["references"]]
    if options.get("dataset_name") == trained.options["dataset_name"]:  # else it speaks of another
        notes.append(protocol["comparability"])
    notes = [*filter(None, notes), MEASURED]
    lines = [*score_table(system["scores"], system["intervals"], options["split"]), "", *notes]
    card = (release / CARD).read_text(encoding="utf-8")
    text, found = QUOTED.subn(lambda head: head[1] + "\n".join(lines), card)
    if not found:
        raise UserError(f"{release / CARD} has no part called Scores: export the model again")
    with atomic_write(release / CARD) as file:
        file.write(text)
    write_sums(release)
