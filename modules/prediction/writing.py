"""What a prediction leaves behind: a row per film as soon as it is written, so that an interrupted run goes on where it was."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from modules.messages import UserError
from modules.records import atomic_write, iterate_jsonl, plain, read_object, write_json
from modules.run_folder import OF_A_TEST, OF_A_TRAINING

ROWS, TABLE, UNREADABLE, MODEL, TEXTS = "predictions.jsonl", "predictions.csv", "unreadable.csv", "model.json", "texts"
NOTE = "Research use only: no report here may guide the care of a patient."


def counted(number: int, thing: str) -> str:
    """``1 report is``, ``2 reports are``."""
    return f"{number} {thing} is" if number == 1 else f"{number} {thing}s are"


class PredictionFolder:
    """The output folder of ``main_predict.py``; of the rows in it only their images are kept in memory.

    Args:
        folder: made if absent.
        model_checksum: of the model whose reports it holds.

    Raises:
        UserError: if it holds the reports of another model, or what a training or a test wrote.
    """

    def __init__(self, folder: str | Path, model_checksum: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self.folder / MODEL
        theirs = (
            [] if known.is_file() else [name for name in (*OF_A_TRAINING, *OF_A_TEST) if (self.folder / name).exists()]
        )
        if theirs:
            raise UserError(
                f"{self.folder} holds a training or the results of a test ({', '.join(theirs[:3])}): choose another --out"
            )
        if known.is_file() and read_object(known).get("sha256") != model_checksum:
            raise UserError(
                f"{self.folder} holds the reports of another model: choose another --out, or remove that folder"
            )
        write_json(known, {"sha256": model_checksum, "note": NOTE})
        self.unreadable: dict[str, str] = {}  # reason by image
        self.unlike = 0  # reports on images unlike those of the training
        self.done: set[str] = set()
        if (self.folder / ROWS).is_file():
            self._drop_torn_line()
            for row in self.rows():
                self.done.add(row["image"])
                self.unlike += bool(row.get("unlike_training"))

    def _drop_torn_line(self) -> None:
        """Cut off what a kill in the middle of a line left."""
        path = self.folder / ROWS
        with open(path, "rb+") as file:
            end = size = file.seek(0, 2)
            while end:
                start = max(end - 4096, 0)
                file.seek(start)
                if (found := file.read(end - start).rfind(b"\n")) >= 0:
                    end = start + found + 1
                    break
                end = start
            if end < size:
                file.truncate(end)

    def rows(self) -> Iterator[dict[str, Any]]:
        """What was written so far, one row at a time."""
        return iterate_jsonl(self.folder / ROWS)

    def waiting(self, films: Sequence[Path]) -> list[Path]:
        """The films that have no report yet; those that could not be read are tried again."""
        return [path for path in films if str(path.resolve()) not in self.done]

    def keep(self, rows: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Append rows to the file as they come, with progress and images per second; the tables follow at the end."""
        started, new = time.perf_counter(), 0
        with (
            open(self.folder / ROWS, "a", encoding="utf-8") as file,
            tqdm(total=max(total, len(self.done)), initial=len(self.done), desc="reports", unit="image") as bar,
        ):
            for row in rows:
                if "report" in row:
                    file.write(json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n")
                    file.flush()
                    self.done.add(row["image"])
                    self.unlike += bool(row["unlike_training"])
                else:
                    self.unreadable[row["image"]] = row["error"]
                new += 1
                bar.update()
                yield row
        self.speed = new / max(time.perf_counter() - started, 1e-9)
        self._write_tables()

    def _write_tables(self) -> None:
        with atomic_write(self.folder / TABLE) as file:
            writer = csv.writer(file, lineterminator="\n")
            for number, row in enumerate(self.rows()):
                states, probability = row["states"], row["probability"]
                single = {name: value for name, value in row.items() if not isinstance(value, dict)}
                if number == 0:
                    writer.writerow([*single, *states, *(f"p_{name}" for name in probability)])
                writer.writerow([*single.values(), *states.values(), *probability.values()])
        with atomic_write(self.folder / UNREADABLE) as file:
            csv.writer(file, lineterminator="\n").writerows([("image", "reason"), *self.unreadable.items()])

    def write_texts(self) -> None:
        """Write every report into a file of its own, named after its image."""
        taken: set[str] = set()
        for row in self.rows():
            stem = name = re.sub(r"[^\w.-]+", "_", Path(row["image"]).stem)
            number = 1
            while name in taken:
                number += 1
                name = f"{stem}_{number}"
            taken.add(name)
            with atomic_write(self.folder / TEXTS / f"{name}.txt") as file:
                file.write(f"{row['report']}\n\n{row['image']}\n{NOTE}\n")

    def summary(self) -> str:
        """How many reports there are, where, how fast they were written, and what to beware of."""
        lines = [f"{counted(len(self.done), 'report')} in {self.folder / ROWS} ({self.speed:.1f} images/s). {NOTE}"]
        if self.unlike:
            lines.append(
                f"warning: {counted(self.unlike, 'image')} unlike the images that the model was trained on (unlike_training in "
                "the table): the report of such an image means little"
            )
        if self.unreadable:
            first = next(iter(self.unreadable.values()))
            left_out = counted(len(self.unreadable), "image")
            lines.append(f"{left_out} left out, see {self.folder / UNREADABLE}; first: {first}")
        return "\n".join(lines)
