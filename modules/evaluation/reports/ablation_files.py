"""Tables and plots of an ablation, made from the file of its finished runs alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modules.evaluation.reports.ablation_plots import plot_differences
from modules.evaluation.reports.ablation_table import (
    FIGURES,
    INSIDE,
    REFERENCE_ROW,
    latex,
    markdown,
    table_cells,
    unlike,
)
from modules.evaluation.reports.run_lines import Run, latest_runs, read_runs
from modules.messages import UserError
from modules.records import atomic_write

ORACLE = "--retrieval label"
COMMAND = "python tools/ablate.py --table"
WHOLE_EPOCHS = "2026-11-29T21"  # when a run ended whose seconds are not those of steps and validations alone


def write_ablation_files(path: Path) -> list[str]:
    """Write ``<benchmark>.md``, ``.tex`` and ``.png`` beside the file, for every benchmark in it.

    Args:
        path: ``runs.jsonl``, one finished run a line.

    Returns:
        What to print: the tables and the names of the files.

    Raises:
        UserError: if there is no such file; naming the line that is not JSON, or none of a finished run.
    """
    runs, said = read_runs(path), []
    if not runs:
        raise UserError(f"{path} holds no finished run: give the file of some, or run bash ablate.sh without --table")
    for benchmark in dict.fromkeys(run["benchmark"] for run in runs):
        rows = latest_runs(runs, benchmark)
        rows = {name: rows[name] for name in sorted(rows, key=lambda name: name != REFERENCE_ROW)}  # full comes first
        heading, body = table_cells(rows)
        caption = (
            "Mean over seeds [95 % interval of the mean]; below it the paired difference to the full model "
            "[95 % interval], p by a paired t test, corrected by Holm over the whole table."
        )
        if max(map(len, rows.values())) == 1:
            caption = "One seed of each row: no interval and no test, for which --seeds 3 trains more."
        if any(run.get("finished", WHOLE_EPOCHS) < WHOLE_EPOCHS for seeds in rows.values() for run in seeds.values()):
            caption += (
                f" Training seconds of runs before {WHOLE_EPOCHS[:10]}, 21 h UTC, are those of steps and validations; later ones "
                "hold the search for references and the fits of towers and maps as well."
            )
        if oracles := [name for name, seeds in rows.items() if f"{ORACLE} " in f"{_flags(seeds)} "]:
            caption += f" An oracle, told the labels of the study's own report ({ORACLE}): {', '.join(oracles)}."
        notes = unlike(rows)
        beside = (
            "\n".join(f"- {note}" for note in notes) or "- none: every run differs from its full run in its flags alone"
        )
        text = [f"# {benchmark}", f"Made by `{COMMAND}` from `{path.name}`. {caption}", markdown(heading, body)]
        for inside in INSIDE:
            ways = inside.rows(rows.get(REFERENCE_ROW, {}))
            if ways:
                text += [f"{inside.title}:", markdown(*table_cells(ways, inside.figures, inside.reference))]
        flags = "\n".join(f"- {name}: `{_flags(seeds)}`" for name, seeds in rows.items())
        text += _of_every_row(rows)
        text += ["Flags of the rows:", flags, "Runs that differ in more than the flags of their row:", beside]
        made = [path.with_name(f"{benchmark}{suffix}") for suffix in (".md", ".tex", ".png")]
        with atomic_write(made[0]) as file:
            file.write("\n\n".join(text) + "\n")
        with atomic_write(made[1]) as file:
            file.write(latex(heading, body, caption) + "\n")
        if not plot_differences(made[2], rows, FIGURES):
            made.pop()
        said += ["", text[2], *(f"differs in more: {note}" for note in notes), *(f"wrote {name}" for name in made)]
    return said


def _flags(seeds: Mapping[int, Run]) -> str:
    return next(iter(seeds.values()))["flags"] or "none"


def _of_every_row(rows: Mapping[str, Mapping[int, Run]]) -> list[str]:
    """A sentence of the options that all rows were given, of the first run that has them recorded."""
    runs = (run for seeds in rows.values() for run in seeds.values())
    run = next((run for run in runs if run.get("shared")), None)
    if run is None:
        return []
    given = ", ".join(f"{name} {run['settings'].get(name)}" for name in run["shared"])
    return [f"Set for every row: `{given}`. The rest are the defaults of that day."]
