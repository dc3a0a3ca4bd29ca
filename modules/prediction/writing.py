"""What a prediction leaves behind: a row per film as soon as it is written, so that an interrupted run goes on where it was."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from modules.messages import UserError
from modules.records import atomic_write, plain, read_json, read_jsonl, write_json

ROWS, TABLE, UNREADABLE, MODEL = "predictions.jsonl", "predictions.csv", "unreadable.csv", "model.json"
NOTE = "Research use only: no report here may guide the care of a patient."


class PredictionFolder:
    """The output folder of ``main_predict.py``.

    Args:
        folder: made if absent.
        model_checksum: of the model whose reports it holds.

    Raises:
        UserError: if it holds the reports of another model.
    """

    def __init__(self, folder: str | Path, model_checksum: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self.folder / MODEL
        if known.is_file() and read_json(known)["sha256"] != model_checksum:
            raise UserError(
                f"{self.folder} holds the reports of another model: choose another --out, or remove that folder"
            )
        write_json(known, {"sha256": model_checksum, "note": NOTE})
        self.rows: dict[str, dict[str, Any]] = {}
        if (self.folder / ROWS).is_file():
            self._drop_torn_line()
            self.rows = {row["image"]: row for row in read_jsonl(self.folder / ROWS)}

    def _drop_torn_line(self) -> None:
        """Cut off what a kill in the middle of a line left."""
        path = self.folder / ROWS
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            with atomic_write(path, "wb") as file:
                file.write(content[: content.rfind(b"\n") + 1])

    def waiting(self, films: Sequence[Path]) -> list[Path]:
        """The films that have no report yet; those that could not be read are tried again."""
        return [path for path in films if "report" not in self.rows.get(str(path.resolve()), {})]

    def keep(self, rows: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Append rows to the file as they come, with progress and images per second; the table follows at the end."""
        started, new = time.perf_counter(), 0
        done = sum("report" in row for row in self.rows.values())
        with (
            open(self.folder / ROWS, "a", encoding="utf-8") as file,
            tqdm(total=max(total, done), initial=done, desc="reports", unit="image") as bar,
        ):
            for row in rows:
                self.rows[row["image"]] = row
                if "report" in row:
                    file.write(json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n")
                    file.flush()
                new += 1
                bar.update()
                yield row
        self.speed = new / max(time.perf_counter() - started, 1e-9)
        self._write_tables()

    def _write_tables(self) -> None:
        readable = [row for row in self.rows.values() if "report" in row]
        columns = list(readable[0]["probability"]) if readable else []
        with atomic_write(self.folder / TABLE) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["image", "report", *columns, *(f"p_{name}" for name in columns), "retrieved", "retrieval_distance"]
            )
            for row in readable:
                states, probability = row["states"], row["probability"]
                writer.writerow([
                    row["image"], row["report"], *(states[name] for name in columns),
                    *(probability[name] for name in columns), row["retrieved"], row["retrieval_distance"],
                ])  # fmt: skip
        with atomic_write(self.folder / UNREADABLE) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["image", "reason"])
            writer.writerows([row["image"], row["error"]] for row in self.rows.values() if "error" in row)

    def summary(self) -> str:
        """How many reports there are, where, and how fast they were written."""
        written = sum("report" in row for row in self.rows.values())
        left_out = [row for row in self.rows.values() if "error" in row]
        lines = [f"{written} reports are in {self.folder / ROWS} ({self.speed:.1f} images/s). {NOTE}"]
        if left_out:
            lines.append(
                f"{len(left_out)} images were left out, see {self.folder / UNREADABLE}; first: {left_out[0]['error']}"
            )
        return "\n".join(lines)
