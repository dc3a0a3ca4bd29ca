"""Write the reports of images: one film, folders of thousands, PNG, JPEG or DICOM, with a trained model. Research use only.

python main_predict.py --images film.png
python main_predict.py --images films/ scan.dcm --model results/mimic_cxr --out reports
"""

from __future__ import annotations

from modules.options import parse_options
from modules.programs import MainPredict

if __name__ == "__main__":
    parse_options(MainPredict)  # now already: --help and a mistyped flag are answered before torch is imported

from modules.distributed import processes, seed_everything
from modules.messages import run
from modules.prediction.films import find_films
from modules.prediction.reporter import Reporter
from modules.prediction.writing import PredictionFolder


def main() -> None:
    """Write the reports of every image that is not in the output folder yet."""
    options = parse_options(MainPredict)
    films = find_films(options.prediction.images)
    with processes(options.runtime.device) as device:
        seed_everything(options.runtime.seed)
        reporter = Reporter.load(options.prediction.model, device)
        folder = PredictionFolder(options.prediction.out, reporter.checksum)
        waiting = folder.waiting(films)
        shown = 0
        for row in folder.keep(reporter.stream(waiting), len(films)):
            if "report" in row and shown < options.prediction.show:
                print(f"\n{row['image']}\n  {row['report']}")
                shown += 1
        print(folder.summary())


if __name__ == "__main__":
    run(main, "run the same command again: films that have a report are not read again")
