"""The states of a run on disk: the current one, and the previous one where the current is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modules.distributed import is_main
from modules.messages import UserError
from modules.weights.checkpoints import load_checkpoint
from modules.weights.saving import CURRENT, PREVIOUS, stated_checksum


def state_files(folder: Path) -> list[Path]:
    """The states of a run, the newest first; UserError if there is none to resume."""
    paths = [path for path in (folder / CURRENT, folder / PREVIOUS) if path.is_file()]
    if not paths:
        raise UserError(
            f"--resume was given but {folder / CURRENT} does not exist: start without it, or fix --save_dir"
        )
    return paths


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any], str]:
    """The newest whole state of a run; a damaged one is named on the way.

    Returns:
        Its file, its content and its checksum.

    Raises:
        UserError: if there is no state; if none is whole.
    """
    problems = []
    for path in state_files(folder):
        try:
            checksum = stated_checksum(path)  # what is loaded is compared with it
            checkpoint = load_checkpoint(path, resumable=True)
        except (UserError, OSError) as error:
            problems.append(str(error))
            continue
        if problems and is_main():
            print(f"{'; '.join(problems)}: going on from {path} instead")
        return path, checkpoint, checksum
    raise UserError(f"no state of the run in {folder} is whole: {'; '.join(problems)}; start again with --overwrite")
