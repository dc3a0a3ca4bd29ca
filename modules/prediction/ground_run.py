"""One run of ``tools/ground.py``: films and boxes in, a table with intervals out."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules.corpus.annotations import read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.images import RESIZE_RATIO
from modules.corpus.patients import patient_key
from modules.corpus.pixels import open_image
from modules.corpus.spelling import DICOM, JPEG
from modules.distributed import processes
from modules.evaluation.grounding.boxes import Phrase, entities_of, read_boxes, read_masks
from modules.evaluation.grounding.phrases import require_on_film
from modules.evaluation.grounding.region_table import measured_rows, prior_maps, region_lines, region_table
from modules.evaluation.grounding.regions import MEASURES, Overlay, View, overlay_boxes, overlay_mask, view_of
from modules.evaluation.reports.region_figures import draw_regions
from modules.messages import UserError
from modules.prediction.film_maps import PHRASES, ROWS, FilmMaps
from modules.prediction.model_folder import model_file
from modules.prediction.phrase_texts import phrase_vectors
from modules.prediction.release import WEIGHTS, check_sums, is_release, open_trained
from modules.records import atomic_write, provenance, sha256_of, write_json

FOREIGN = "maps"  # the row of maps that another program made
FILM_ENDINGS = (*JPEG, ".png", *DICOM)


def results_of(wanted: Any) -> dict[str, str]:
    """What the results are of."""
    return {
        "boxes": sha256_of(wanted.ann_path if Path(wanted.boxes).is_dir() else wanted.boxes),
        "maps": sha256_of(wanted.maps or _file_of(Path(wanted.model))),
        "split": wanted.split or "",
        "fit": wanted.fit,
        "cells": str(wanted.cells),
    }


def _file_of(model: Path) -> Path:
    """The file of the weights of a trained model or a release; UserError if it is missing, or changed since the release."""
    if not is_release(model):
        return model_file(model)
    check_sums(model)
    return model / WEIGHTS


class GroundRun:
    """Reads the boxes, asks for the maps, measures and writes.

    Args:
        options: of ``tools/ground.py``.
    """

    def __init__(self, options: Any) -> None:
        self.options, self.wanted = options, options.ground
        self.notes: list[str] = []
        phrases = self._without_training(self._read())
        self.phrases, self.films = self._with_films(phrases)
        self.sizes = {film: open_image(film).size for film in dict.fromkeys(self.films)}
        for phrase, film in zip(self.phrases, self.films, strict=True):
            require_on_film(phrase, film, *self.sizes[film])
        if all(phrase.patient == phrase.image for phrase in self.phrases):
            self.notes.append("the boxes name no patients: what is said by patient is by film")

    def _read(self) -> list[Phrase]:
        """The boxed phrases of a file, or of a folder of masks."""
        wanted = self.wanted
        if not Path(wanted.boxes).is_dir():
            return read_boxes(wanted.boxes, wanted.split, wanted.master_table)
        if not wanted.ann_path:
            raise UserError(f"{wanted.boxes} is a folder of masks: give its annotation with --ann_path")
        split = wanted.split or "test"
        return read_masks(wanted.boxes, require_split(read_annotation(wanted.ann_path), split, wanted.ann_path))

    def _without_training(self, phrases: list[Phrase]) -> list[Phrase]:
        """Phrases on films of patients that the model was not trained on."""
        if not self.wanted.ann_path:
            self.notes.append("no --ann_path was given: films that the model was trained on may be among these")
            return phrases
        train = read_annotation(self.wanted.ann_path)["train"]
        patients = {patient_key(study.patient) for study in train if study.patient}
        names = {study.id.casefold() for study in train}
        names |= {Path(path).stem.casefold() for study in train for path in study.image_path}

        def is_held_out(phrase: Phrase) -> bool:
            known = {name.casefold() for name in (phrase.patient, phrase.image, Path(phrase.image).stem)}
            return patient_key(phrase.patient) not in patients and known.isdisjoint(names)

        held_out = [phrase for phrase in phrases if is_held_out(phrase)]
        films = len({phrase.image for phrase in phrases}) - len({phrase.image for phrase in held_out})
        self.notes.append(
            f"{films} films of training patients are left out, with {len(phrases) - len(held_out)} phrases"
        )
        if not held_out:
            raise UserError(f"every boxed film is of a training patient of {self.wanted.ann_path}: give other boxes")
        return held_out

    def _with_films(self, phrases: list[Phrase]) -> tuple[list[Phrase], list[Path]]:
        """The phrases whose films are there, and the films."""
        folder = Path(self.wanted.image_dir)
        by_name: dict[str, list[Path]] = {}
        direct = [folder / phrase.path if phrase.path else None for phrase in phrases]
        if not all(path and path.is_file() for path in direct):
            for file in sorted(folder.rglob("*")):
                if file.suffix.casefold() in FILM_ENDINGS:
                    by_name.setdefault(file.stem.casefold(), []).append(file)
        found = [
            path if path and path.is_file() else _only_film(by_name, Path(phrase.path or phrase.image).stem, phrase.image)
            for phrase, path in zip(phrases, direct, strict=True)
        ]  # fmt: skip
        missing = [phrase.image for phrase, path in zip(phrases, found, strict=True) if path is None]
        if len(missing) == len(phrases):
            raise UserError(
                f"--image_dir {folder} holds none of the boxed films, first {missing[0]}: give their folder"
            )
        if missing:
            self.notes.append(f"{len(set(missing))} boxed films are not in {folder}, first {missing[0]}")
        pairs = [(phrase, path) for phrase, path in zip(phrases, found, strict=True) if path is not None]
        return [phrase for phrase, _ in pairs], [path for _, path in pairs]

    def write(self) -> None:
        """Measure every row and write ``grounding.json``, ``table.md``, ``per_phrase.csv`` and the figures."""
        wanted, folder = self.wanted, Path(self.wanted.save_dir)
        rows, size = self._foreign_maps() if wanted.maps else self._own_maps()
        views = [view_of(*self.sizes[film], size, wanted.fit) for film in self.films]

        @cache
        def overlay_of(n: int, cells: int) -> Overlay:
            return _overlay(self.phrases[n], views[n], cells, *self.sizes[self.films[n]])

        grid = round(len(next(m for maps in rows.values() for m in maps if m is not None)) ** 0.5)
        on_grid = [overlay_of(n, grid) for n in range(len(self.phrases))]
        rows |= prior_maps(self.phrases, on_grid, grid)
        measured = measured_rows(rows, overlay_of, len(self.phrases), wanted.cells)
        table = region_table(self.phrases, measured, wanted.resamples, self.options.runtime.seed)
        lost, lost_line = self._lost(on_grid)
        lines = [*region_lines(table), "", *region_lines(table, "mean over findings"), "", lost_line, "", *self.notes]
        content = {
            "grid": grid,
            "split": wanted.split or "",
            "fit": wanted.fit,
            "cells": wanted.cells,
            "rows": table,
            "lost": lost,
            "notes": self.notes,
        }
        write_json(folder / "grounding.json", {**content, **provenance()})
        findings = sorted({phrase.finding for phrase in self.phrases})
        by_finding = [line for name in findings for line in ("", *region_lines(table, name))]
        with atomic_write(folder / "table.md") as file:
            file.write("\n".join([*lines, *by_finding]) + "\n")
        self._write_phrases(folder / "per_phrase.csv", measured, on_grid)
        first = next(iter(rows.values()))
        draw_regions(folder / "figures", self.phrases, self.films, views, first, wanted.cells, wanted.figures)
        print("\n".join(lines))
        print(f"wrote grounding.json, table.md, per_phrase.csv and figures into {folder}")

    def _own_maps(self) -> tuple[dict[str, list[np.ndarray | None]], int]:
        """Maps of a trained model by row and phrase, and the side of its input."""
        entities = [entities_of(phrase) for phrase in self.phrases]
        nameless = [phrase.text for phrase, found in zip(self.phrases, entities, strict=True) if not found]
        if nameless:
            self.notes.append(f"{len(nameless)} phrases name none of the 75 entities and have no map")
        rows: dict[str, list[np.ndarray | None]] = {name: [None] * len(self.phrases) for name in ROWS}
        with processes(self.options.runtime.device) as device, tempfile.TemporaryDirectory() as spare:
            reader = FilmMaps(open_trained(self.wanted.model, device), device)
            films = list(dict.fromkeys(self.films))
            seen = (
                [_padded(film, Path(spare), i) for i, film in enumerate(films)] if self.wanted.fit == "pad" else films
            )
            of_film: dict[Path, list[int]] = {}
            for n, film in enumerate(self.films):
                of_film.setdefault(film, []).append(n)
            vectors = self._phrase_vectors(reader.trained.bank, device)
            asked = None if vectors is None else [vectors[of_film[film]] for film in films]
            if vectors is not None:
                rows[PHRASES] = [None] * len(self.phrases)
            for film, maps in zip(films, reader.read(seen, asked), strict=True):
                for place, n in enumerate(of_film[film]):
                    for name in ROWS if entities[n] else ():
                        rows[name][n] = maps[name][entities[n]].mean(axis=0)  # (M,)
                    if vectors is not None and vectors[n].any():
                        rows[PHRASES][n] = maps[PHRASES][place]
            return rows, reader.size

    def _phrase_vectors(self, bank: TrainingBank, device: torch.device) -> np.ndarray | None:
        """The phrases ``(n, C)`` as sentences of the bank, zero without a known word; None where they cannot be encoded."""
        try:
            vectors = phrase_vectors(bank, [phrase.text for phrase in self.phrases], device)
        except UserError as error:
            self.notes.append(f"there is no row of {PHRASES}: {error}")
            return None
        if unknown := int((~vectors.any(axis=1)).sum()):
            self.notes.append(f"{unknown} phrases hold no word that the model's texts have, and have no {PHRASES}")
        return vectors

    def _foreign_maps(self) -> tuple[dict[str, list[np.ndarray | None]], int]:
        """Maps that somebody else made: an array for each ``image|finding``."""
        with np.load(self.wanted.maps, allow_pickle=False) as file:
            arrays = {name: np.squeeze(np.asarray(file[name], dtype=np.float64)) for name in file.files}
        for name, found in arrays.items():
            oblong = found.ndim > 2 or (found.ndim == 2 and found.shape[0] != found.shape[1])
            if oblong or not np.isfinite(found).all():
                what = f"is {' x '.join(map(str, found.shape))}" if oblong else "holds values that are not finite"
                raise UserError(
                    f"the map {name[:80]} of {self.wanted.maps} {what}: expected a square grid of numbers, correct it"
                )
        known = {name: found.ravel() for name, found in arrays.items()}
        maps = [known.get(f"{phrase.image}|{phrase.finding}") for phrase in self.phrases]
        there = [found for found in maps if found is not None]
        if not there or any(round(len(found) ** 0.5) ** 2 != len(found) for found in there):
            raise UserError(
                f"{self.wanted.maps} has no square map for {self.phrases[0].image}|{self.phrases[0].finding}: name every array "
                "'image|finding'"
            )
        if len(there) < len(maps):
            self.notes.append(f"{len(maps) - len(there)} of {len(maps)} phrases have no map in {self.wanted.maps}")
        return {FOREIGN: maps}, 224

    def _lost(self, overlays: Sequence[Overlay]) -> tuple[dict[str, float], str]:
        """Which share of the boxed area the network does not see, of all and by finding, and a line that says so."""
        of_finding: dict[str, list[float]] = {}
        for phrase, overlay in zip(self.phrases, overlays, strict=True):
            of_finding.setdefault(phrase.finding, []).append(overlay.lost)
        shares = {name: float(np.mean(values)) for name, values in sorted(of_finding.items())}
        whole = float(np.mean([overlay.lost for overlay in overlays]))
        unseen = sum(overlay.in_region.sum() == 0 for overlay in overlays)
        worst = sorted(shares.items(), key=lambda item: -item[1])[:5]
        most = ", ".join(f"{name} {share:.1%}" for name, share in worst)
        return {"all": whole, **shares}, (
            f"--fit {self.wanted.fit} loses {whole:.1%} of the boxed area; {unseen} of {len(overlays)} regions are not seen at "
            f"all (most: {most})"
        )

    def _write_phrases(self, path: Path, measured: Mapping[str, np.ndarray], overlays: Sequence[Overlay]) -> None:
        """Write every measure of every row and phrase as CSV."""
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["row", "image", "patient", "finding", "lost", *MEASURES])
            for name, values in measured.items():
                for phrase, overlay, numbers in zip(self.phrases, overlays, values, strict=True):
                    cells = ["" if np.isnan(number) else f"{number:.6g}" for number in numbers]
                    writer.writerow([name, phrase.image, phrase.patient, phrase.finding, f"{overlay.lost:.6g}", *cells])


def _only_film(by_name: Mapping[str, Sequence[Path]], *names: str) -> Path | None:
    """The one film of the first of these names that there is."""
    films = next((by_name[name.casefold()] for name in names if name.casefold() in by_name), [])
    if len(films) > 1:
        raise UserError(f"{films[0]} and {films[1]} have the name of one boxed film: give a folder with one of them")
    return films[0] if films else None


def _overlay(phrase: Phrase, view: View, cells: int, width: int, height: int) -> Overlay:
    """What a phrase's boxes or mask cover of the grid that is measured."""
    if phrase.mask is not None:
        return overlay_mask(phrase.mask, view, cells, width, height)
    across, down = phrase.size or (width, height)
    scale = np.array([width / across, height / down, width / across, height / down])
    return overlay_boxes(phrase.boxes * scale, view, cells, width, height)


def _padded(film: Path, folder: Path, number: int) -> Path:
    """A copy of a film on a black square so large that the central crop keeps all of the film."""
    image = open_image(film)
    side = round(max(image.size) * RESIZE_RATIO)
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    square.save(folder / f"{number}.png")
    return folder / f"{number}.png"
