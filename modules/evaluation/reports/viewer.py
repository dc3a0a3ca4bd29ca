"""A page to read the reports of a test: one static folder that opens from disk and loads nothing from elsewhere.

<run>/index.html              page, styles, script and data
<run>/viewer/images/*.jpg     the images as the network saw them: same crop, more pixels
"""

from __future__ import annotations

import base64
import csv
import datetime
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from modules.corpus.datasets import ReportDataset
from modules.corpus.images import read_image
from modules.corpus.text import split_sentences
from modules.evaluation.reports.attention_maps import StudyMaps
from modules.evaluation.reports.poincare_disk import Disk
from modules.evaluation.reports.sentence_agreement import mark_sentences, unmarked
from modules.labelling.labelers import Labeler
from modules.labels import CONDITIONS, ENTITIES, STATES
from modules.records import atomic_write, plain, read_jsonl, read_object

PAGE = Path(__file__).parent / "page"  # the template and what it includes
IMAGES = "viewer/images"  # in the folder of the run
IMAGE_SIDE = 384  # pixels
SCRIPTS = ("studies.js", "compare.js", "film.js", "disk.js", "summary.js", "page.js")
HISTOGRAM_BINS = 24


def write_page(run_dir: Path, dataset: ReportDataset, labeler: Labeler, **shown: Any) -> Path:
    """The page of a test from what it has written; ``shown`` as in :func:`write_viewer`."""
    figures = run_dir / "metrics.json"  # of studies that have reports of their own
    metrics = read_object(figures) if figures.is_file() else {}
    return write_viewer(run_dir, dataset, read_jsonl(run_dir / "predictions.jsonl"), metrics, labeler, **shown)


def write_viewer(
    run_dir: Path,
    dataset: ReportDataset,
    rows: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    labeler: Labeler,
    *,
    maps: Mapping[int, StudyMaps],
    disk: Disk | None,
    limit: int,
) -> Path:
    """Write the page of a test run.

    Args:
        run_dir: folder of the run; losses are read from its ``metrics.csv`` if it has one.
        dataset: the studies, with the reference rows that the reports were written with.
        rows: generated reports, in the order of the data set.
        metrics: content of ``metrics.json``; whatever it lacks is left out of the summary.
        labeler: compares the sentences.
        maps: score maps by position in the data set.
        disk: the bank in two dimensions.
        limit: studies shown, from the beginning; the summary counts all.

    Returns:
        ``<run_dir>/index.html``.
    """
    shown = rows[:limit]
    films = [dataset.image_dir / study.image_path[0] for study in dataset.studies[: len(shown)]]
    images = write_images(run_dir, films)
    content = {
        "title": f"{metrics.get('protocol', {}).get('split', 'test')} of {Path(run_dir).resolve().name}",
        "written": datetime.datetime.now().isoformat(sep=" ", timespec="minutes"),
        "commit": metrics.get("commit"),
        "caption": metrics.get("protocol", {}).get("caption", ""),
        "labeler": labeler.name,
        "conditions": CONDITIONS,
        "columns": [CONDITIONS.index(name) for name in labeler.conditions],  # of the labels
        "states": STATES,
        "entities": ENTITIES,
        "references": any(row["reference"] for row in rows),  # without them there is nothing to compare
        "total": len(rows),
        "studies": _studies(dataset, shown, labeler, maps, images),
        "summary": {
            **{name: metrics.get(name, {}) for name in ("scores", "intervals", "per_class", "baselines")},
            "confusion": _confusion(rows, dataset.labels),
            "lengths": lengths_of([row["prediction"] for row in rows], [row["reference"] for row in rows]),
            "curves": _curves(Path(run_dir) / "metrics.csv"),
            "disk": _disk(disk),
        },
    }
    path = Path(run_dir) / "index.html"
    with atomic_write(path) as file:
        file.write(render(content))
    return path


def render(content: Mapping[str, Any]) -> str:
    """The page as HTML.

    Reports enter it as JSON in which no character can end the script element, and its script puts them on the screen
    as text; should one ever become markup, the policy lets nothing run or load that is not in this folder.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # on demand: only the page needs it
    from markupsafe import Markup

    style = (PAGE / "page.css").read_text(encoding="utf-8")
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    data = json.dumps(plain(content), allow_nan=False, separators=(",", ":"))  # ASCII
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").render(
        title=content["title"],
        style=Markup(style),
        script=Markup(script),
        data=Markup(data),
        policy=f"default-src 'none'; img-src 'self' file:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write_images(run_dir: Path, films: Sequence[Path | None]) -> list[str | None]:
    """Write the images of some studies into ``viewer/images`` and remove older ones.

    Args:
        run_dir: folder of the page.
        films: image file of each study, None without one.

    Returns:
        Their paths from the page, None without a film.
    """
    folder = run_dir / IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    names = [None if film is None else f"{index:05d}.jpg" for index, film in enumerate(films)]
    for old in {path.name for path in folder.glob("*.jpg")} - set(names):
        (folder / old).unlink()

    def write(index: int) -> None:
        film, name = films[index], names[index]
        if film is not None and name is not None:
            pixels = read_image(film, IMAGE_SIDE)
            with atomic_write(folder / name, "wb") as file:
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, format="JPEG", quality=85)

    with ThreadPoolExecutor(4) as pool:  # decoding JPEG and PNG leaves the interpreter free
        count = len(films)
        for _ in tqdm(pool.map(write, range(count)), total=count, desc="viewer", unit="image", disable=None):
            pass
    return [None if name is None else f"{IMAGES}/{name}" for name in names]


def _studies(
    dataset: ReportDataset,
    rows: Sequence[Mapping[str, Any]],
    labeler: Labeler,
    maps: Mapping[int, StudyMaps],
    images: Sequence[str | None],
) -> list[dict[str, Any]]:
    """What the page knows of each study."""
    predictions, references = ([row[name] for row in rows] for name in ("prediction", "reference"))
    said = _labels(rows, "labels_prediction", predictions, labeler)
    truth = _labels(rows, "labels_reference", references, labeler)
    generated = mark_sentences(predictions, truth, labeler, references)
    generated = [marked if text else unmarked(marked) for marked, text in zip(generated, references, strict=True)]
    expected = mark_sentences(references, said, labeler, predictions)
    return [
        {
            "id": row["id"],
            "image": images[index],
            "generated": generated[index],
            "reference": expected[index],
            "said": said[index],
            "truth": truth[index] if row["reference"] else None,
            "states": row.get("states"),
            "probability": row.get("positive_probability"),
            "retrieved": row.get("retrieved"),
            "distance": row.get("retrieval_distance"),
            "unlike": bool(row.get("unlike_training")),
            "sentences": _retrieved_sentences(dataset, row, index),
            "scores": row.get("scores") or {},
            "maps": _maps(maps.get(index)),
        }
        for index, row in enumerate(rows)
    ]


def _labels(rows: Sequence[Mapping[str, Any]], name: str, reports: list[str], labeler: Labeler) -> np.ndarray:
    """Labels ``(n, L)`` that the rows carry, or else those of the labeler."""
    width = len(labeler.conditions)
    if all(len(row.get(name) or ()) >= width for row in rows):
        return np.array([row[name][:width] for row in rows], dtype=int).reshape(-1, width)
    return np.asarray(labeler(reports))


def _retrieved_sentences(dataset: ReportDataset, row: Mapping[str, Any], index: int) -> list[str]:
    if row.get("retrieved_report") is not None:
        return split_sentences(row["retrieved_report"])
    reference = int(dataset.reference_rows[index])
    return split_sentences(dataset.bank.reports[reference]) if reference >= 0 else []


def _maps(maps: StudyMaps | None) -> dict[str, Any] | None:
    if maps is None:
        return None
    levels = base64.b64encode(np.ascontiguousarray(maps.levels).tobytes()).decode()
    return {"entities": maps.entities, "strengths": maps.strengths, "ranges": maps.ranges, "levels": levels}


def _confusion(rows: Sequence[Mapping[str, Any]], labels: np.ndarray) -> list[Any] | None:
    """Studies by condition, predicted state and label, ``(L, P, P)``."""
    known = [i for i, row in enumerate(rows) if row["reference"]]
    if not known or not all(row.get("states") for row in rows):
        return None
    states = np.array([rows[i]["states"] for i in known])  # (n, L)
    counts = np.zeros((states.shape[1], len(STATES), len(STATES)), dtype=int)
    np.add.at(counts, (np.arange(states.shape[1]), states, labels[known]), 1)
    return counts.tolist()


def lengths_of(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Histograms of the number of words; the last bin counts the longest hundredth too."""
    texts = {"prediction": predictions, "reference": references}
    words = {name: [len(text.split()) for text in found] for name, found in texts.items()}
    top = int(max((np.percentile(counts, 99) for counts in words.values() if counts), default=0)) + 1
    width = max(1, math.ceil(top / HISTOGRAM_BINS))
    edges = np.arange(0, top + width, width)
    return {
        "width": width,
        **{name: np.histogram(np.minimum(counts, edges[-1]), edges)[0].tolist() for name, counts in words.items()},
        "means": {name: float(np.mean(counts)) if counts else None for name, counts in words.items()},
    }


def _curves(path: Path) -> dict[str, list[float | None]]:
    """Losses and validation scores by epoch, empty without a table."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    names = [name for name in (table[0] if table else ()) if name == "epoch" or name.startswith(("loss", "val_"))]
    return {name: [float(row[name]) if row[name] else None for row in table] for name in names}


def _disk(disk: Disk | None) -> dict[str, Any] | None:
    """Points in ten-thousandths of the radius, conditions as bits."""
    if disk is None:
        return None
    bits = disk.positive @ (1 << np.arange(disk.positive.shape[1]))
    return {
        "points": (disk.points * 10_000).round().astype(int).ravel().tolist(),
        "conditions": bits.tolist(),
        "share": disk.share,
        "curvature": disk.curvature,
        "total": disk.total,
    }
