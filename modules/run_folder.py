"""The folder of a run: who may write into it, and what happens to what it holds."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from modules.messages import UserError
from modules.records import read_object, read_run_options, write_json

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

LOCK, RESULTS_LOCK = ".lock", ".results.lock"
RESULTS_OF = "results_of.json"
OF_A_TRAINING = ("current_checkpoint.pth", "previous_checkpoint.pth", "model_best.pth", "metrics.csv")
OF_A_TEST = (
    "metrics.json", "predictions.jsonl", "table.md", "table.tex", "per_class.csv", "per_study.csv", "gts.csv", "res.csv",
    "index.html", "viewer", "figures", "sign_maps.npz",
)  # fmt: skip
WITHOUT_CHECKPOINT = ("options.json", "tokenizer.json", "steps.csv")  # of a training, before its first checkpoint
OF_FEATURES = "manifest.json"
LATER = ("annotation", "bank", "search")  # which the results of earlier versions do not name


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


@contextmanager
def locked(folder: Path, lock: str = LOCK, flag: str = "--save_dir") -> Iterator[None]:
    """Hold a folder, made if absent, so that no other program writes into it; a killed holder lets go.

    The lock file stays, unless what it was made for ends in an error and has written nothing: a start that is refused leaves
    no trace. Training and tests have one each, as they write other files.

    Raises:
        UserError: if another program holds it, or nothing can be written there.
    """
    path = folder / lock
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        before = {*folder.iterdir()}
        file = hold(path, flag)
    except OSError as error:
        raise UserError(_unwritable(folder, error, flag)) from error
    with file:
        file.truncate(0)
        file.write(holder())
        file.flush()
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if {*folder.iterdir()} - before == {path}:
                    path.unlink()  # while it is held
                    if new:
                        folder.rmdir()
            raise


def refuse_held(folder: Path, flag: str = "--save_dir", lock: str = LOCK) -> None:
    """Refuse a folder that another program holds, before long work that is to end in it; nothing is written."""
    if (folder / lock).is_file():
        with suppress(OSError):
            hold(folder / lock, flag).close()


def holder() -> str:
    """This process, as a lock file names it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def hold(path: Path, flag: str, shared: bool = False) -> IO[str]:
    """The lock file, made if absent and held until it is closed, with ``shared`` beside others; OSError or UserError if it cannot be."""
    while True:
        file = open(path, "a+")  # noqa: SIM115, held by the caller
        if fcntl is None:
            return file
        try:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            with file:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                file.seek(0)
                who = file.read().strip() or "another process"
            raise UserError(
                f"{path.parent} is in use by {who}: wait for it, stop it, or give another {flag}"
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # its holder ended in an error and has removed it: two would hold two files


def _unwritable(folder: Path, error: OSError, flag: str) -> str:
    what = "is a file" if os.path.isfile(folder) else f"cannot be written to ({error.strerror or error})"
    return f"{flag} {folder} {what}: give a folder that you may write to"


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
    """Remove what killed writers of the files that are one's ``own`` left under hidden names; of others one may be at work."""
    for path in folder.glob(".*.tmp"):
        if own(path.name[1:].rsplit(".", 2)[0]):  # see modules.records.temporary_name
            path.unlink(missing_ok=True)


def refuse_unasked(folder: Path, resume: bool, overwrite: bool) -> list[str]:
    """Names of what a folder holds of a run; UserError if there is one that is neither to go on nor to be moved aside."""
    refuse_data(folder)
    run = [name for name in (*OF_A_TRAINING, RESULTS_OF, *OF_A_TEST) if (folder / name).exists()]
    if not run and not _began_here(folder):
        run = [name for name in WITHOUT_CHECKPOINT if (folder / name).exists()]
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
    if moving and (below := sorted(place for place in places if place.startswith(os.path.join(here, "")))):
        raise UserError(
            f"--overwrite would move {below[0]}, which is read, aside with all that --save_dir {folder} holds: give another folder"
        )


def refuse_file(path: str | Path, overwrite: bool) -> None:
    """Refuse to replace the file of ``--out`` unasked; UserError names it."""
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"--out {path} is there already: give another file, or replace it with --overwrite")


def refuse_run(folder: Path, flag: str) -> None:
    """Refuse to write data among what a training or a test wrote; UserError names both."""
    run = [name for name in (*OF_A_TRAINING, RESULTS_OF) if (folder / name).exists()]
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
    if "options.json" in also and (training := [name for name in OF_A_TRAINING if (folder / name).exists()]):
        raise UserError(
            f"--save_dir {folder} holds a training ({training[0]}), whose options.json would be replaced: give another folder"
        )
    held.enter_context(locked(folder, RESULTS_LOCK))
    _sweep(folder, lambda name: name in (RESULTS_OF, *OF_A_TEST) or name in also)
    found = [name for name in (RESULTS_OF, *OF_A_TEST) if (folder / name).exists()]
    found += sorted({path.name for name in also for path in folder.glob(name)} - {*found})
    theirs = read_object(folder / RESULTS_OF) if RESULTS_OF in found else {}
    ours = {name: value for name, value in made_by.items() if name in theirs or name not in LATER}
    if found and theirs != ours:
        if not overwrite:
            raise UserError(
                f"--save_dir {folder} holds results of something else ({_difference(theirs, ours)}): move them aside with "
                "--overwrite, or give another folder"
            )
        print(move_aside(folder, sorted(found)))
    write_json(folder / RESULTS_OF, made_by)
    if not found:
        held.push(_forgets_results(folder))


def _difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What two results are of where it is not the same; of files, whose checksums are known, that they are others."""

    def said(name: str) -> str:
        if name not in theirs or name not in ours:
            return f"{name} {'only here' if name in ours else 'only there'}"
        if len(ours[name]) == 64:
            return f"{name}: another file there"
        return f"{name} {theirs[name]} there, {ours[name]} here"

    return ", ".join(said(name) for name in dict.fromkeys([*ours, *theirs]) if theirs.get(name) != ours.get(name))


def _forgets_results(folder: Path) -> Callable[..., None]:
    """At the end of a program that ends in an error and has written nothing into a folder: no word of results there."""
    before = {*folder.iterdir()}

    def forget(error: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):
            if error is not None and {*folder.iterdir()} == before:
                (folder / RESULTS_OF).unlink()

    return forget


def move_aside(folder: Path, names: list[str]) -> str:
    """Move files of a folder into a new folder beside it; returns one line that says so."""
    target = next(
        path for number in range(1, 10_000) if not (path := folder.with_name(f"{folder.name}.{number}")).exists()
    )
    try:
        target.mkdir()
        for name in names:
            os.replace(folder / name, target / name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be moved aside to {target} ({error.strerror or error}): give another folder"
        ) from error
    return f"moved what {folder} held to {target}"
