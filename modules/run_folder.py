"""The folder of a run: what it holds, what may be written beside that, and what is moved aside."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from modules.folder_locks import LOCK, RESULTS_LOCK, locked, refuse_held
from modules.messages import UserError
from modules.records import read_object, read_run_options, write_json

RESULTS_OF = "results_of.json"
OF_A_TRAINING = ("current_checkpoint.pth", "previous_checkpoint.pth", "model_best.pth", "metrics.csv")
OF_A_TEST = (
    "metrics.json", "predictions.jsonl", "table.md", "table.tex", "per_class.csv", "per_study.csv", "gts.csv", "res.csv",
    "index.html", "viewer", "figures", "sign_maps.npz",
)  # fmt: skip
WITHOUT_CHECKPOINT = ("options.json", "tokenizer.json", "steps.csv")  # of a training, before its first checkpoint
OF_FEATURES = "manifest.json"
LATER = ("annotation", "bank", "search")  # which the results of earlier versions do not name


def _present(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that a folder holds."""
    return [name for name in names if (folder / name).exists()]


def refuse_unnamed_data(folder: Path, given: Collection[str], dataset_name: str) -> None:
    """Refuse the run in a folder if it is of another data set than the default one, and no flag says which is meant."""
    path, trained = folder / "options.json", dataset_name
    if "dataset_name" not in given and path.is_file():
        with suppress(UserError):  # what needs them will say what they lack
            trained = read_run_options(path).get("dataset_name", dataset_name)
    if trained != dataset_name:
        raise UserError(
            f"{folder} was trained with --dataset_name {trained}: give the flag, or --dataset_name {dataset_name}"
        )


def hold_run(held: ExitStack, folder: Path, resume: bool, overwrite: bool) -> list[str]:
    """Hold the folder of a training that is to begin in it, or to continue there.

    Args:
        held: ends with the training.
        folder: of the run.
        resume: whether what is there stays.
        overwrite: whether what is there is to be moved aside.

    Returns:
        Names of what is there.

    Raises:
        UserError: if there is a run and neither was asked for, or both were; if the folder cannot be held; if a test
            writes results there, which would be moved.
    """
    if resume and overwrite:
        raise UserError("--resume continues the run in --save_dir and --overwrite replaces it: give one of them")
    held.enter_context(locked(folder))
    if overwrite:
        refuse_held(folder, lock=RESULTS_LOCK)
    _sweep(folder, lambda name: name not in (RESULTS_OF, *OF_A_TEST) and not name.startswith("options_"))
    held.push(lambda error, *_: _forget_validation(folder) if error is None else None)
    run = refuse_unasked(folder, resume, overwrite)
    return sorted(path.name for path in folder.iterdir() if path.name not in (LOCK, RESULTS_LOCK)) if run else []


def _sweep(folder: Path, own: Callable[[str], bool]) -> None:
    """Remove what killed writers left of one's ``own`` files under hidden names; of other files a writer may be at work."""
    for path in folder.glob(".*.tmp"):
        if own(path.name[1:].rsplit(".", 2)[0]):  # see modules.records.temporary_name
            path.unlink(missing_ok=True)


def refuse_unasked(folder: Path, resume: bool, overwrite: bool) -> list[str]:
    """Names of what a folder holds of a run; UserError if there is one that is neither to go on nor to be moved aside."""
    refuse_data(folder)
    run = _present(folder, (*OF_A_TRAINING, RESULTS_OF, *OF_A_TEST))
    if not run and not _began_here(folder):
        run = _present(folder, WITHOUT_CHECKPOINT)
    if run and not resume and not overwrite:
        raise UserError(
            f"--save_dir {folder} holds a run ({', '.join(run[:3])}): continue it with --resume, move it aside with "
            "--overwrite, or give another folder"
        )
    return run


def _began_here(folder: Path) -> bool:
    """Whether a training has written its options: what it left before its first checkpoint may be replaced."""
    with suppress(UserError):
        return "epochs" in read_run_options(folder / "options.json")
    return False


def refuse_data(folder: Path, others: Sequence[str | None] = (), moving: bool = False) -> None:
    """Refuse to write a run or results among what is read.

    Args:
        folder: to be written into.
        others: what is read.
        moving: whether all that the folder holds is to be moved aside.

    Raises:
        UserError: if it holds features, is one of the others, or one of them would be moved with it.
    """
    given = [other for other in others if other]
    here, read = os.path.realpath(folder), [*map(os.path.realpath, given)]
    if os.path.isfile(folder / OF_FEATURES) or here in read:
        raise UserError(
            f"--save_dir {folder} holds images or features, among which this would be lost: give another folder"
        )
    places = {*read, *map(os.path.abspath, given)}  # a link lies here, what it leads to elsewhere
    below = sorted(place for place in places if place.startswith(os.path.join(here, "")))
    if moving and below:
        raise UserError(
            f"--overwrite would move {below[0]}, which is read, aside with all that --save_dir {folder} holds: give another folder"
        )


def refuse_file(path: str | Path, overwrite: bool) -> None:
    """Refuse to replace the file of ``--out`` unasked; UserError names it."""
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"--out {path} is there already: give another file, or replace it with --overwrite")


def refuse_run(folder: Path, flag: str) -> None:
    """Refuse to write data among what a training or a test wrote; UserError names both."""
    run = _present(folder, (*OF_A_TRAINING, RESULTS_OF))
    if run:
        raise UserError(
            f"{flag} {folder} holds a training or results ({', '.join(run[:3])}), with which this would mix: give another "
            "folder"
        )


def _forget_validation(folder: Path) -> None:
    """Remove the reports of a validation, of which a kill just after it left a file: a training that has ended reads none."""
    for path in folder.glob(".validation.*.jsonl"):
        path.unlink(missing_ok=True)


def hold_results(
    held: ExitStack, folder: Path, made_by: Mapping[str, str], overwrite: bool, also: Sequence[str] = ()
) -> None:
    """Hold the results in a folder and make sure that none of another model, split or predictions are written over.

    Args:
        held: ends with the program.
        folder: of the results.
        made_by: what they are results of; checksums by name.
        overwrite: whether others are to be moved aside.
        also: patterns of what else is written. With ``options.json`` the folder cannot be that of a training.

    Raises:
        UserError: if there are results of something else and they are not to be moved; if there are features, or a
            training whose options would be replaced.
    """
    refuse_data(folder)
    training = _present(folder, OF_A_TRAINING)
    if training and "options.json" in also:
        raise UserError(
            f"--save_dir {folder} holds a training ({training[0]}), whose options.json would be replaced: give another folder"
        )
    held.enter_context(locked(folder, RESULTS_LOCK))
    _sweep(folder, lambda name: name in (RESULTS_OF, *OF_A_TEST) or name in also)
    results = _present(folder, (RESULTS_OF, *OF_A_TEST))
    results += sorted({path.name for name in also for path in folder.glob(name)} - {*results})
    theirs = read_object(folder / RESULTS_OF) if RESULTS_OF in results else {}
    ours = {name: value for name, value in made_by.items() if name in theirs or name not in LATER}
    if results and theirs != ours:
        if not overwrite:
            raise UserError(
                f"--save_dir {folder} holds results of something else ({_difference(theirs, ours)}): move them aside with "
                "--overwrite, or give another folder"
            )
        print(move_aside(folder, sorted(results)))
    write_json(folder / RESULTS_OF, made_by)
    if not results:
        held.push(_forgets_results(folder))


def _difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """In what two results differ: the two values, or only that the file is another where the values are checksums."""

    def difference(name: str) -> str:
        if name not in theirs or name not in ours:
            return f"{name} {'only here' if name in ours else 'only there'}"
        if len(ours[name]) == 64:  # a checksum
            return f"{name}: another file there"
        return f"{name} {theirs[name]} there, {ours[name]} here"

    names = [name for name in dict.fromkeys([*ours, *theirs]) if theirs.get(name) != ours.get(name)]
    return ", ".join(map(difference, names))


def _forgets_results(folder: Path) -> Callable[..., None]:
    """What the end of a program calls: it removes ``RESULTS_OF`` again after an error, if nothing else was written."""
    before = {*folder.iterdir()}

    def forget(error: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):
            if error is not None and {*folder.iterdir()} == before:
                (folder / RESULTS_OF).unlink()

    return forget


def move_aside(folder: Path, names: list[str]) -> str:
    """Move files of a folder into a new folder beside it; returns one line that says so."""
    number = 1
    while (target := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    try:
        target.mkdir()
        for name in names:
            os.replace(folder / name, target / name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be moved aside to {target} ({error.strerror or error}): give another folder"
        ) from error
    return f"moved what {folder} held to {target}"
