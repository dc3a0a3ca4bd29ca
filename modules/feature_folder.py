"""The folder of prepared features: nobody replaces what a program reads, or what a model was trained on, without a word.

<folder>/.lock             held by all who read, together, or by the one who writes
<folder>/.trainings.json   runs that were trained on what is there, as paths from the folder, and where it was then
<folder>/.trainings.lock   held while that file is changed
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from modules.folder_locks import LOCK, fcntl, hold, holder, locked
from modules.messages import UserError, named
from modules.records import read_object, write_json
from modules.run_folder import OF_A_TRAINING, WITHOUT_CHECKPOINT, move_aside

TRAININGS, REGISTERING = ".trainings.json", ".trainings.lock"
_FLAG = "--feature_dir"
_WRITTEN = (".npy", ".npz", ".json", ".jsonl", ".pth", ".safetensors")  # what features lie in


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Hold the features of a folder as they are, beside others who read them; UserError if somebody is making them.

    A folder that cannot be written to is left as it is: nobody makes features there.
    """
    with ExitStack() as held:
        with suppress(OSError):
            file = held.enter_context(hold(Path(folder) / LOCK, _FLAG, shared=True))
            file.truncate(0)
            file.write(holder())
            file.flush()
        yield


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Hold a folder, made if absent, while its features are made; UserError if a program reads or makes them."""
    with locked(Path(folder), flag=_FLAG):
        yield
        (Path(folder) / LOCK).unlink(missing_ok=True)  # while it is held


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock file for a moment, after whoever holds it; OSError if it cannot be written."""
    with open(path, "a") as file:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def remember_training(folder: str | Path, run_dir: str | Path) -> None:
    """Write down that a run is trained on the features of a folder, if anything can be written there."""
    here, path = os.path.realpath(folder), Path(folder) / TRAININGS
    run = os.path.relpath(os.path.realpath(run_dir), here)
    with suppress(OSError), alone(path.with_name(REGISTERING)):  # two trainings may begin together
        for killed in path.parent.glob(f".{glob.escape(TRAININGS)}.*.tmp"):
            killed.unlink(missing_ok=True)
        known = read_object(path) if path.is_file() else {}
        if known.get(run) != here:
            write_json(path, {**known, run: here})


def trainings_of(folder: str | Path) -> list[str]:
    """Folders of the runs that were trained on the features of a folder, as far as they are still there or beside it, moved aside.

    A copy of a folder may be changed, as long as the folder itself is still there: its runs do not count. A folder that has
    moved together with its runs may not.
    """
    here, path = os.path.realpath(folder), Path(folder) / TRAININGS
    known = read_object(path) if path.is_file() else {}
    runs = [
        os.path.normpath(os.path.join(here, run))
        for run, there in known.items()
        if there == here or not os.path.isdir(str(there))
    ]
    places = [place for run in map(Path, runs) for place in (run, *moved_aside(run))]
    files = (*OF_A_TRAINING, *WITHOUT_CHECKPOINT)
    found = [place for place in dict.fromkeys(places) if any((place / name).is_file() for name in files)]
    return [_shortest(place) for place in found]


def _shortest(place: Path) -> str:
    """A path from here on, if it lies below here; else as it is."""
    relative = os.path.relpath(place)
    return str(place) if relative.startswith("..") else relative


def moved_aside(folder: Path) -> list[Path]:
    """Folders beside one into which what it held was moved, see :func:`modules.run_folder.move_aside`."""
    return sorted(folder.parent.glob(f"{glob.escape(folder.name)}.[0-9]*"))


def what_was_trained(runs: Sequence[str]) -> str:
    """Runs as the subject of a sentence: ``results/custom was trained``."""
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return f"{', '.join(runs[:3])}{more} {'was' if len(runs) == 1 else 'were'} trained"


def move_features_aside(folder: str | Path) -> str:
    """Move the features of a folder, which is held, into one beside it, where their models find them; returns a line that says so.

    Raises:
        UserError: if it holds something else, which would be moved with them: films, a table, an annotation with its images.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.iterdir() if path.name != LOCK)
    others = [path for path in paths if path.is_dir() or not (path.suffix in _WRITTEN or path.name.startswith("."))]
    if others:
        raise UserError(
            f"{folder} holds {named(others[0].name)}, which is no feature and would be moved aside with them: move the others "
            "elsewhere, or give another --feature_dir"
        )
    return move_aside(folder, [path.name for path in paths])
