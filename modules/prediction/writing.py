"""What a prediction leaves behind: a row per film as soon as it is written, so that an interrupted run goes on where it was."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from modules.messages import UserError
from modules.prediction.films import SUFFIXES
from modules.records import atomic_write, iterate_jsonl, plain, read_object, write_json
from modules.run_folder import OF_A_TEST, OF_A_TRAINING, move_aside

ROWS, TABLE, UNREADABLE, MODEL, TEXTS = "predictions.jsonl", "predictions.csv", "unreadable.csv", "model.json", "texts"
WRITTEN = (ROWS, TABLE, UNREADABLE, MODEL, TEXTS, "index.html", "viewer", "figures")
FILE = "file"  # of a row: size and time of the image that it is of, for the next run
NOTE = "Research use only: no report here may guide the care of a patient."


def counted(number: int, thing: str) -> str:
    """``1 report is``, ``2 reports are``."""
    return f"{_several(number, thing)} {'is' if number == 1 else 'are'}"


def _several(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _stamp_of(path: Path) -> list[int] | None:
    """Size and time of a file; None if it is not there, which its reading says."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


class PredictionFolder:
    """The output folder of ``main_predict.py``; of the rows in it only their images are kept in memory.

    Args:
        folder: made if absent.
        model_checksum: of the model whose reports it holds.
        films: the images that it is to hold reports of.
        overwrite: move aside what it holds of another model, of other images, or of images that have changed since.

    Raises:
        UserError: if it holds such and it is not to be moved, or what a training or a test wrote.
    """

    def __init__(self, folder: str | Path, model_checksum: str, films: Sequence[Path], overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self.folder / MODEL
        names = dict.fromkeys([*OF_A_TRAINING, *OF_A_TEST, *WRITTEN])
        theirs = [] if known.is_file() else [name for name in names if (self.folder / name).exists()]
        if theirs:
            raise UserError(
                f"{self.folder} holds a training, the results of a test or files of your own ({', '.join(theirs[:3])}): choose "
                "another --out"
            )
        self.films = {str(path.resolve()): _stamp_of(path) for path in films}
        if (self.folder / ROWS).is_file():
            self._drop_torn_line()
        other = self._of_something_else(model_checksum)
        if other and not overwrite:
            raise UserError(f"{self.folder} holds {other}: give another --out, or move it aside with --overwrite")
        if other:
            print(move_aside(self.folder, [name for name in WRITTEN if (self.folder / name).exists()]))
        write_json(known, {"sha256": model_checksum, "note": NOTE})
        self.unreadable: dict[str, str] = {}  # reason by image
        self.unlike = 0  # reports on images unlike those of the training
        self.speed = 0.0  # images a second; 0 where all reports were there
        self.done: set[str] = set()  # images with a report
        for row in self.rows():
            self.done.add(row["image"])
            self.unlike += bool(row.get("unlike_training"))

    def _of_something_else(self, model_checksum: str) -> str | None:
        """What is there that this model would not write of these images; None where all is as it would write it."""
        known = self.folder / MODEL
        if known.is_file() and read_object(known).get("sha256") != model_checksum:
            return "the reports of another model"
        other, changed = [], []
        for row in self.rows():
            image, written_of = row["image"], row.get(FILE)
            if image not in self.films:
                other.append(image)
            elif written_of is not None and written_of != self.films[image]:
                changed.append(image)
        if other:
            return f"{_several(len(other), 'report')} of other images (first {other[0]})"
        if changed:
            return f"{_several(len(changed), 'report')} of images that have changed since (first {changed[0]})"
        return None

    def _drop_torn_line(self) -> None:
        """Cut off what a kill in the middle of a line left."""
        path = self.folder / ROWS
        with open(path, "rb+") as file:
            end = size = file.seek(0, 2)
            while end:
                start = max(end - 4096, 0)
                file.seek(start)
                line_end = file.read(end - start).rfind(b"\n")
                if line_end >= 0:
                    end = start + line_end + 1
                    break
                end = start
            if end < size:
                file.truncate(end)

    def rows(self) -> Iterator[dict[str, Any]]:
        """What was written so far, one row at a time."""
        return iterate_jsonl(self.folder / ROWS) if (self.folder / ROWS).is_file() else iter(())

    def waiting(self, films: Sequence[Path]) -> list[Path]:
        """The films that have no report yet, each once, also where links name it twice; unreadable ones are tried again."""
        named = {str(path.resolve()): path for path in reversed(films)}
        return [path for image, path in reversed(named.items()) if image not in self.done]

    def keep(self, rows: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Append rows to the file as they come, with progress and images per second; the tables follow at the end."""
        started, new = time.perf_counter(), 0
        with (
            open(self.folder / ROWS, "a", encoding="utf-8") as file,
            tqdm(total=max(total, len(self.done)), initial=len(self.done), desc="reports", unit="image") as bar,
        ):
            for row in rows:
                if "report" in row:
                    kept = {**row, FILE: self.films[row["image"]]}
                    file.write(json.dumps(plain(kept), ensure_ascii=False, allow_nan=False) + "\n")
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
        """Write the table of all reports and that of the images without one."""
        with atomic_write(self.folder / TABLE) as file:
            writer = csv.writer(file, lineterminator="\n")
            for number, row in enumerate(self.rows()):
                states, probability = row["states"], row["probability"]
                single = {name: value for name, value in row.items() if name != FILE and not isinstance(value, dict)}
                if number == 0:
                    writer.writerow([*single, *states, *(f"p_{name}" for name in probability)])
                writer.writerow([*single.values(), *states.values(), *probability.values()])
        with atomic_write(self.folder / UNREADABLE) as file:
            csv.writer(file, lineterminator="\n").writerows([("image", "reason"), *self.unreadable.items()])

    def withdraw(self) -> None:
        """Remove what was written of films of which none can be read."""
        for name in (ROWS, TABLE, UNREADABLE, MODEL):
            (self.folder / name).unlink(missing_ok=True)

    def write_texts(self) -> None:
        """Write every report into a file of its own, named after its image; after its folders too where names are alike."""
        images = [row["image"] for row in self.rows()]
        alike, taken = Counter(Path(image).stem for image in images), Counter[str]()
        top = os.path.commonpath(map(os.path.dirname, images)) if images else ""
        for row in self.rows():
            path = Path(row["image"])
            name = path.stem if alike[path.stem] == 1 else path.relative_to(top).as_posix()
            name = re.sub(r"[^\w.-]+", "_", name)
            taken[name] += 1
            again = f"_{taken[name]}" if taken[name] > 1 else ""  # "a b" beside "a_b"
            with atomic_write(self.folder / TEXTS / f"{name}{again}.txt") as file:
                file.write(f"{row['report']}\n\n{row['image']}\n{NOTE}\n")

    def summary(self) -> str:
        """How many reports there are, where, how fast they were written, and what to beware of."""
        speed = f" ({self.speed:.1f} images/s)" if self.speed else ""
        lines = [f"{counted(len(self.done), 'report')} in {self.folder / ROWS}{speed}. {NOTE}"]
        if self.unlike:
            lines.append(
                f"warning: {counted(self.unlike, 'image')} unlike the images that the model was trained on (unlike_training in "
                "the table): the report of such an image means little"
            )
        if self.unreadable:
            first = next(iter(self.unreadable.values()))
            left_out = counted(len(self.unreadable), "image")
            kinds = sorted({Path(image).suffix.lower() for image in self.unreadable} - {*SUFFIXES, ""})
            among = f" ({', '.join(kinds[:8])} among them)" if kinds else ""
            lines.append(f"{left_out} left out{among}, see {self.folder / UNREADABLE}; first: {first}")
        return "\n".join(lines)
