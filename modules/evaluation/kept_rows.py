"""Reports of a generation that may be interrupted: each is on disk as soon as it is written, and none is written twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modules.distributed import barrier, is_main, rank
from modules.records import plain

LAYOUT = 2  # of the lines; those of another one are left out


class KeptRows:
    """Rows of :func:`modules.evaluation.generation.generate_reports` that outlive the process.

    Args:
        folder: of the run.
        made_by: what the rows depend on; those of something else are left out.
        between: called before every batch; may raise to stop.
    """

    def __init__(self, folder: Path, made_by: str, between: Callable[[], None]) -> None:
        self.folder, self.made_by, self.between = folder, f"{made_by} {LAYOUT}", between
        self.rows: dict[int, dict[str, Any]] = {}
        self.notes: dict[int, Any] = {}  # what was noted of each row, by study
        self._noted: Sequence[Any] = ()  # of the rows of the present batch, until they are added
        for path in sorted(folder.glob(".validation.*.jsonl")):
            self.rows |= self._read(path)
        barrier()  # nobody writes before all have read
        self.file = (folder / f".validation.{rank()}.jsonl").open("w", encoding="utf-8")
        self.file.write(json.dumps(self.made_by) + "\n")
        self._write(self.rows)

    def _read(self, path: Path) -> dict[int, dict[str, Any]]:
        rows = {}
        for number, line in enumerate(path.read_bytes().splitlines()):
            try:
                value = json.loads(line)
            except ValueError:
                break  # cut off by a kill, perhaps inside a letter
            if number == 0 and value != self.made_by:
                break
            if number:
                rows[value["index"]] = value["row"]
                if value["note"] is not None:
                    self.notes[value["index"]] = value["note"]
        return rows

    def _write(self, rows: dict[int, dict[str, Any]]) -> None:
        for index, row in rows.items():
            line = {"index": index, "note": self.notes.get(index), "row": plain(row)}
            self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.file.flush()

    def done(self, batch: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
        """The rows of a batch if all of them are there."""
        found = [(index, self.rows[index]) for index in batch if index in self.rows]
        return found if len(found) == len(batch) else []

    def add(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Keep the rows of a batch, with what was noted of each: :meth:`note` comes first."""
        self.notes |= dict(zip((index for index, _ in rows), self._noted, strict=True))
        self._noted = ()
        self._write(dict(rows))

    def note(self, values: Sequence[Any]) -> None:
        """Keep a value that JSON knows with each row of the present batch; a resume may have other batches."""
        self._noted = values

    def remove(self) -> None:
        """Forget all rows, once what was made of them is saved."""
        self.file.close()
        barrier()
        if is_main():
            for path in self.folder.glob(".validation.*.jsonl"):
                path.unlink()
