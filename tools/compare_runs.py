"""Put tested runs beside each other: differing options, scores with intervals, p of every difference from the first.

python tools/compare_runs.py results/one results/two results/three
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import FlagError, flag
from modules.messages import Needed, UserError, require, run
from modules.options.flags import Group, LabelerOptions, RuntimeOptions, StatisticsOptions
from modules.options.parsing import parse_options
from modules.options.programs import Program

ELSEWHERE = ("save_dir", "load_pretrained", "resume", "overwrite")  # of every run another, and no reason for its scores


@dataclass(kw_only=True)
class ComparedOptions(Group):
    """What is compared."""

    runs: tuple[str, ...] = flag(
        (), "folders of tested runs, two at least; the first is what the others are compared with"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({Path(run).resolve() for run in self.runs}) < max(len(self.runs), 2):
            raise FlagError(
                "give two tested runs at least, none of them twice: python tools/compare_runs.py RUN RUN ..."
            )


@dataclass(kw_only=True)
class CompareRuns(Program):
    """Compare tested runs on the studies that they have in common."""

    file = "tools/compare_runs.py"
    examples = (
        "python tools/compare_runs.py results/one results/two",
        "python tools/compare_runs.py results/one results/two results/three --no-meteor",
    )

    packages = ("numpy", "pycocoevalcap")
    requirements = "requirements/score.txt"

    compared: ComparedOptions
    labeler: LabelerOptions
    statistics: StatisticsOptions
    runtime: RuntimeOptions


def _how_to_test(folder: Path) -> str:
    data = options_of(folder).get("dataset_name")
    return f"test it first: python main_test.py {f'--dataset_name {data} ' if data else ''}--save_dir {folder}"


def options_of(folder: Path) -> dict[str, Any]:
    """Options of the training and of the tests of a run, by name."""
    from modules.records import read_run_options

    known: dict[str, Any] = {}
    for path in sorted(folder.glob("options*.json")):
        known |= {name: value for name, value in read_run_options(path).items() if name not in ELSEWHERE}
    return known


def started(folders: Mapping[str, Path]) -> list[str]:
    """A line for the commit and for the number of processes of the trainings, where they are known and not the same."""
    from modules.records import read_object

    paths = {run: folder / "options.json" for run, folder in folders.items()}
    known = {run: read_object(path) if path.is_file() else {} for run, path in paths.items()}
    for of in known.values():
        if of.get("commit"):
            of["commit"] = of["commit"][:12] + (" with uncommitted changes" if of.get("dirty") else "")
    return [
        f"  {name}: " + ", ".join(f"{run} {of[name]}" for run, of in known.items())
        for name in ("processes", "commit")
        if all(of.get(name) for of in known.values()) and len({of[name] for of in known.values()}) > 1
    ]


def differing(options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for every option that is not the same in all runs."""
    names = dict.fromkeys(name for known in options.values() for name in known)
    absent = "not recorded"
    return [
        f"  {name}: " + ", ".join(f"{run} {known.get(name, absent)}" for run, known in options.items())
        for name in names
        if len({str(known.get(name, absent)) for known in options.values()}) > 1
    ]


def other_data(runs: Mapping[str, Path]) -> list[str]:
    """A line if the runs were tested on other annotations or with other banks, whose files may have one name."""
    from modules.records import read_object
    from modules.run_folder import RESULTS_OF

    known = [read_object(folder / RESULTS_OF) for folder in runs.values() if (folder / RESULTS_OF).is_file()]
    names = {"annotation": "annotation", "bank": "texts of the training reports"}
    other = [said for name, said in names.items() if len({of[name] for of in known if name in of}) > 1]
    if not other:
        return []
    return [
        f"the data differ ({', '.join(other)}): scores are of the studies in common, and trainings may have been of others"
    ]


def refuse_others(studies: Mapping[str, Sequence[str]]) -> None:
    """Refuse runs that have hardly a study in common; their ids are our programs' own, so that no flag mends it.

    Args:
        studies: ids by run.

    Raises:
        UserError: with the number of each.
    """
    shared = set.intersection(*(set(ids) for ids in studies.values()))
    if 2 * len(shared) < min(map(len, studies.values())):
        counts = ", ".join(f"{run} {len(ids)}" for run, ids in studies.items())
        raise UserError(
            f"the runs have {len(shared)} studies in common ({counts}): test them on the same split of the same annotation"
        )


def main() -> None:
    """Compare."""
    words = sys.argv[1:]
    options = parse_options(CompareRuns, ["--runs", *words] if words and not words[0].startswith("-") else words)
    from modules.distributed import processes
    from modules.evaluation.reading.matching import study_names
    from modules.evaluation.reading.predictions import match
    from modules.evaluation.reading.report_files import read_report_file
    from modules.evaluation.reports.results import comparison_lines, comparisons
    from modules.evaluation.reports.tables import COLUMNS
    from modules.evaluation.scorer import ReportScorer
    from modules.labelling.labelers import find_labeler

    folders = [Path(run) for run in options.compared.runs]
    require(
        [Needed(folder / "predictions.jsonl", "reports of a tested run", _how_to_test(folder)) for folder in folders]
    )
    top = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
    if top == Path(top.anchor):  # nothing to leave out but the root
        runs = {str(folder.resolve()): folder for folder in folders}
    else:
        runs = {str(folder.resolve().relative_to(top)): folder for folder in folders}
    lines = [*differing({name: options_of(folder) for name, folder in runs.items()}), *started(runs)]
    print("differing options:", *(lines or ["  none"]), *other_data(runs), sep="\n")

    files = {name: read_report_file(folder / "predictions.jsonl") for name, folder in runs.items()}
    refuse_others({name: study_names(file) for name, file in files.items()})
    matched = match(files, None, "auto", 100)
    with processes(options.runtime.device) as device:
        labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device)
    scorer = ReportScorer(matched.references, labeler, full=matched.full, raw=matched.raw_references)
    systems = scorer.systems(matched.systems, options.statistics.meteor, matched.raw_systems)
    draws = (options.statistics.resamples, options.runtime.seed)
    print("", *matched.notes, f"{len(matched.ids)} studies; labels by the {labeler.name} labeler", "", sep="\n")
    first = next(iter(runs))
    for name, system in systems.items():
        spans = system.intervals(*draws)
        print(name)
        for figure, title in COLUMNS.items():
            if system.scores.get(figure) is not None:
                low, high = spans[figure]
                print(f"  {title:10s} {system.scores[figure]:.3f}  [{low:.3f}, {high:.3f}]")
    print(
        "", *comparison_lines(comparisons(systems, [(name, first) for name in runs if name != first], *draws)), sep="\n"
    )


if __name__ == "__main__":
    run(main, "nothing was lost but time: run the same command again")
