"""Write the reports of images: one film, folders of thousands, PNG, JPEG or DICOM, with a trained model. Research use only.

python main_predict.py --images film.png
python main_predict.py --images films/ scan.dcm --model results/mimic_cxr --out reports
"""

from __future__ import annotations

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

import gc

from modules.options.parsing import parse_options
from modules.options.prediction_flags import PredictionOptions
from modules.options.programs import MainPredict

if __name__ == "__main__":
    parse_options(MainPredict)  # now already: --help and a mistyped flag are answered before torch is imported
    gc.disable()  # none of what is imported below is garbage, and looking for some takes as long as a report

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from modules.distributed import processes, seed_everything
from modules.folder_locks import locked
from modules.messages import UserError, run
from modules.prediction.card import model_card
from modules.prediction.films import OTHER_KINDS, find_films, lateral_note, plain_name
from modules.prediction.model_folder import unvalidated
from modules.prediction.release import write_release
from modules.prediction.reporter import Reporter
from modules.prediction.rexrank import THERE, read_studies, write_studies
from modules.prediction.writing import ROWS, UNREADABLE, PredictionFolder

NOT_SHOWN = "reports are printed on a terminal, or with --verbose_text"


def export(options: MainPredict, reporter: Reporter) -> None:
    """Write the model as one folder."""
    texts = options.release.bank_text and reporter.trained.bank_text  # a release may have none to give
    wanted, folder = replace(options.release, bank_text=texts), Path(str(options.release.export))
    card = model_card(reporter.trained, Path(options.prediction.model), wanted)
    write_release(reporter.trained, folder, card, wanted)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"{folder} holds the model, {size / 1e6:.1f} MB: read {folder / 'README.md'}, then hf upload OWNER/NAME {folder}"
    )


def put_scores(options: MainPredict, reporter: Reporter) -> None:
    """Quote the scores of a release's own reports in its card."""
    from modules.prediction.scored_card import write_scores  # on demand: what reads anybody's report files

    release = Path(options.prediction.model)
    write_scores(reporter.trained, release, Path(str(options.release.scores)))
    print(f"{release / 'README.md'} quotes the scores of {options.release.scores}")


def look_at(wanted: PredictionOptions, reporter: Reporter, folder: PredictionFolder) -> None:
    """Write what can be looked at: texts, figures, the page."""
    from modules.prediction.pictures import draw_figures, draw_page  # on demand: matplotlib and jinja2

    if wanted.text:
        folder.write_texts()
    if wanted.plot and folder.done:
        paths = draw_figures(reporter, list(islice(folder.rows(), wanted.plot)), folder.folder / "figures")
        print(f"wrote {len(paths)} files into {folder.folder / 'figures'}")
    if wanted.viewer and folder.done:
        path = draw_page(reporter, list(islice(folder.rows(), wanted.viewer_studies)), folder.folder)
        print(f"wrote {path}: open it in a browser")


def show_page(options: MainPredict, reporter: Reporter) -> None:
    """Serve the page of one model, or of two beside each other."""
    from modules.prediction.demo import serve  # on demand: the libraries of the page

    wanted, images = options.page, options.prediction.images
    examples = [film for film in find_films(images) if film.suffix.lower() not in OTHER_KINDS] if images else []
    reporters = {options.prediction.model: reporter}
    if wanted.beside:
        reporters[wanted.beside] = Reporter.load(wanted.beside, reporter.device)
    serve(reporters, examples[:8], wanted.host, wanted.port)


def folder_of(wanted: PredictionOptions) -> Path:
    """Where the reports go: of every model, and every film or folder, into one of its own, unless ``--out`` names one."""
    if wanted.out:
        return Path(wanted.out)
    model = Path(wanted.model)
    model = model.parent if model.is_file() else model
    return Path("results", "predictions", plain_name(model), plain_name(wanted.input_json_file or wanted.images[0]))


def show(row: dict[str, Any]) -> int:
    """Print a report; returns whether there is one."""
    if "report" not in row:
        return 0
    doubt = "  (unlike the training images)" if row["unlike_training"] else ""
    print(f"\n{row['image']}{doubt}\n  {row['report']}")
    return 1


def predict(wanted: PredictionOptions, reporter: Reporter) -> None:
    """Write the reports of every image that is not in the output folder yet."""
    studies: dict[str, Path] = {}
    if wanted.input_json_file:
        content, studies = read_studies(wanted.input_json_file, wanted.img_root_dir)
    films = list(dict.fromkeys(studies.values())) if studies else find_films(wanted.images)
    out, saved = folder_of(wanted), wanted.save_json_file
    # Refused before hours of writing.
    if saved and Path(saved).is_file() and not (out / ROWS).is_file() and not wanted.overwrite:
        raise UserError(f"--save_json_file {saved} {THERE}")
    folder = PredictionFolder(out, reporter.trained.checksum, films, wanted.overwrite)
    shown = wanted.verbose_text or sys.stdout.isatty()  # what is no terminal may be a log
    left = wanted.show if shown else 0
    for row in islice(folder.rows(), left):  # of an earlier start
        left -= show(row)
    for row in folder.keep(reporter.stream(folder.waiting(films)), len(films)):
        left -= show(row) if left else 0
    if saved:
        reports = {row["image"]: row["report"] for row in folder.rows()}
        of_study = {key: reports.get(str(film.resolve()), "") for key, film in studies.items()}
        write_studies(saved, content, str(wanted.input_json_file), of_study, wanted.overwrite)
    if not folder.done:
        first = next(iter(folder.unreadable.values()), "")
        rest = f"first: {first}; {out / UNREADABLE} says why of each of {len(films)}" if len(films) > 1 else first
        if len(films) == 1:
            folder.withdraw()  # the sentence says all that it holds
        raise UserError(f"no image could be read, so there is no report: {rest}")
    look_at(wanted, reporter, folder)
    lateral = lateral_note([film for film in films if str(film.resolve()) in folder.done])
    print(
        folder.summary(), *([lateral] if lateral else []), *([] if shown or not wanted.show else [NOT_SHOWN]), sep="\n"
    )


def main() -> None:
    """Predict, or export."""
    options = parse_options(MainPredict)
    if options.prediction.images:
        find_films(options.prediction.images)  # before the model is loaded
    with processes(options.runtime.device) as device:
        seed_everything(options.runtime.seed)
        reporter = Reporter.load(options.prediction.model, device)
        if note := unvalidated(options.prediction.model):
            print(note)
        if options.release.export:
            export(options, reporter)
            return
        if options.release.scores:
            put_scores(options, reporter)
            return
        if options.page.serve:
            show_page(options, reporter)
            return
        with locked(folder_of(options.prediction), flag="--out"):
            predict(options.prediction, reporter)


if __name__ == "__main__":
    gc.freeze()  # nor is any later, nor at the end
    gc.enable()
    run(main)
