"""What a run leaves on disk: files written whole or not at all, and where they came from."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from modules.distributed import is_main
from modules.messages import UserError, require_file
from modules.processes.watch import processes_started

PACKAGES = ("torch", "torchvision", "transformers", "geoopt", "POT", "numpy", "pycocoevalcap")
ROOT = Path(__file__).resolve().parents[1]
FINISHED_RUNS = "docs/ablations"  # lines and tables of them
_CHUNK = 1 << 20  # bytes hashed at once
_BAR_DELAY = 2  # seconds of hashing before a bar shows it
MAX_LINE = 1 << 26  # bytes of one line of JSON
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # the escape of half a character, such as \ud83d


def temporary_name(path: Path) -> Path:
    """Hidden name beside ``path`` that one process writes under; what a killed process leaves matches ``.*.tmp``."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that appears under its name only once the block has ended well.

    A reader sees the old content or the new, never a part; an error leaves the old file and nothing else. The folder is
    made if absent.

    Args:
        path: file to write.
        mode: ``"w"`` for UTF-8 text with plain line feeds, ``"wb"`` for bytes.

    Yields:
        The open file.
    """
    assert mode in ("w", "wb")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        text: dict[str, Any] = {"encoding": "utf-8", "newline": "\n"} if mode == "w" else {}
        with open(temporary, mode, **text) as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Write a value as JSON, see :func:`plain`; ``indent`` None is the compact form."""
    with atomic_write(path) as file:
        json.dump(plain(value), file, ensure_ascii=False, allow_nan=False, indent=indent)
        file.write("\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: if there is no such file; if it is not JSON.
    """
    path = require_file(path)
    return parse_json(path.read_bytes(), str(path), "is not a JSON file")


def read_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; UserError if it holds anything else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a JSON object: copy it again, or remove it")
    return content


def read_run_options(path: str | Path) -> dict[str, Any]:
    """The options of a run in the ``options.json`` that :func:`write_options` wrote; UserError if it is none."""
    options = read_object(path).get("options")
    if not isinstance(options, dict):
        raise UserError(f"{path} holds no options of a run: copy it again from the run's folder")
    return options


class _DoubleKeyError(ValueError):
    """One object has two values under one key, of which json would keep the last in silence."""


def _without_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _DoubleKeyError
    return value


def parse_json(content: bytes | str, where: str, what: str = "is not JSON") -> Any:
    """A JSON value that can be written again; UserError says where it cannot be read, without quoting it."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        value = json.loads(text, object_pairs_hook=_without_double_keys)
        if _SURROGATE.search(text):  # only then is it worth the time
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError as error:
        reason = f"no UTF-8 at byte {error.start + 1}"
    except UnicodeEncodeError:
        reason = "half a character, such as \\ud800, which nothing can write"
    except _DoubleKeyError:
        reason = "a key that stands twice in one object"
    except RecursionError:
        reason = "brackets inside brackets without end"
    except ValueError:  # a number of thousands of digits
        reason = "a number that is too long"
    raise UserError(f"{where} {what} ({reason}): it may be cut off or of another kind, copy it again")


def write_jsonl(path: str | Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, see :func:`plain`; ``rows`` may be a generator."""
    with atomic_write(path) as file:
        for row in rows:
            file.write(_json_line(row))


def append_jsonl(path: str | Path, value: Any) -> None:
    """Add one JSON value as the last line of a file, made if absent; several processes may add to one file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(_json_line(value).encode())


def _json_line(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n"


def iterate_jsonl(path: str | Path) -> Iterator[Any]:
    """Values of a file with one JSON value a line, one at a time; empty lines are left out.

    Raises:
        UserError: if there is no such file; naming the line that is not JSON.
    """
    path = require_file(path)
    with open(path, "rb") as file:  # bytes, so that a wrong encoding is reported with its line
        for number in itertools.count(1):
            line = file.readline(MAX_LINE)
            if not line:
                return
            if len(line) == MAX_LINE:
                raise UserError(
                    f"line {number} of {path} has more than {MAX_LINE >> 20} MB: expected one JSON value a line"
                )
            if line.strip():
                yield parse_json(line, f"line {number} of {path}", "is not JSON, one value a line")


def read_jsonl(path: str | Path) -> list[Any]:
    """All values of :func:`iterate_jsonl`."""
    return list(iterate_jsonl(path))


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows: arrays and tuples into lists, paths into text, NaN and infinity into None."""
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits; of one that takes seconds the main process shows a bar."""
    style = {"unit": "B", "unit_scale": True, "leave": False, "delay": _BAR_DELAY, "disable": not is_main()}
    title, size = f"checksum of {Path(path).name}", os.path.getsize(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file, tqdm(total=size, desc=title, **style) as bar:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def provenance() -> dict[str, Any]:
    """What a result was made with.

    Returns:
        ``python`` and ``packages`` (version by name, None if absent), ``commit`` (40 hexadecimal digits) and ``dirty``
        (whether tracked files differ from it, those of finished ablations apart, which every run of one writes); the last
        two are None outside a checkout of this project.
    """
    commit, dirty = _git_state(ROOT)
    packages = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "packages": packages, "commit": commit, "dirty": dirty}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout whose top is ``root``, not of one that merely contains it."""
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{FINISHED_RUNS}")
        return commit, bool(changed)
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def write_options(
    run_dir: str | Path, options: Mapping[str, Any], argv: Sequence[str], name: str = "options.json"
) -> Path:
    """Record how a program was started.

    Args:
        run_dir: folder of the run.
        options: by their names, see :func:`modules.options.parsing.flat`.
        argv: program name and its words, as in ``sys.argv``.
        name: file name.

    Returns:
        The file, with ``options``, ``command`` (ready to paste into a shell), ``processes`` (how many share the work) and
        :func:`provenance`.
    """
    path = Path(run_dir) / name
    started = {"command": shlex.join(["python", *argv]), "processes": processes_started()}
    write_json(path, {"options": options, **started, **provenance()})
    return path
