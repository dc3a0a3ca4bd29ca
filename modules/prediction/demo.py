"""A page to try models on single films (``--serve``): report, states, retrieved report, and where entities and sentences look.

It listens on this machine alone unless told otherwise, takes files of a limited size, and keeps none of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules.corpus.dataloaders import evaluation_batches, evaluation_loader
from modules.corpus.images import read_image
from modules.corpus.text import split_sentences
from modules.evaluation.reports.attention_maps import MapKeeper, StudyMaps
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.prediction.films import SUFFIXES
from modules.prediction.reporter import Reporter
from modules.prediction.writing import NOTE

SIDE = 448  # pixels of the image shown
MOST = "20mb"  # of an upload
COLOURS = np.array([[0, 0, 4], [101, 21, 110], [212, 72, 66], [250, 193, 39], [252, 255, 164]], dtype=np.float32)


@dataclass
class Shown:
    """What one model says of one film."""

    row: dict[str, Any]
    image: np.ndarray  # (SIDE, SIDE, 3) uint8, as the network saw it
    maps: dict[str, np.ndarray]  # square grids from 0 to 1, by what looks


@torch.no_grad()
def look(reporter: Reporter, film: str | Path) -> Shown:
    """Write the report of a film and keep where its entities and the retrieved sentences look.

    Raises:
        UserError: if the film cannot be read.
    """
    (row,) = reporter.report([film])
    if "error" in row:
        raise UserError(row["error"])
    dataset, keeper = reporter.films([Path(row["image"])]).dataset, MapKeeper(1)
    for batch in evaluation_loader(dataset, 1, 0, evaluation_batches(1, 1)):
        batch = dataset.to_device(batch, reporter.device)
        keeper(batch, reporter.trained.model.fuse(batch.study))
    pixels = read_image(Path(row["image"]), SIDE).permute(1, 2, 0).numpy()
    return Shown(row, pixels, named_maps(keeper.gather()[0], row["retrieved_report"] or ""))


def named_maps(maps: StudyMaps, retrieved: str) -> dict[str, np.ndarray]:
    """Grids of a study by the name of the entity, then by the retrieved sentence."""
    names = [ENTITIES[entity] for entity in maps.entities]
    names += [f"{number}. {text}" for number, text in enumerate(split_sentences(retrieved), 1)]
    side = round(maps.levels.shape[1] ** 0.5)
    grids = maps.levels.reshape(-1, side, side).astype(np.float32) / 255
    return dict(zip(names, grids, strict=False))


def overlay(shown: Shown, name: str | None) -> np.ndarray:
    """The image, with the map ``name`` over it if there is one: ``(SIDE, SIDE, 3)`` uint8."""
    if name not in shown.maps:
        return shown.image
    grid = Image.fromarray((shown.maps[name] * 255).astype(np.uint8)).resize(
        shown.image.shape[1::-1], Image.Resampling.BICUBIC
    )
    level = np.asarray(grid, dtype=np.float32) / 255 * (len(COLOURS) - 1)  # (SIDE, SIDE)
    low = np.minimum(level.astype(int), len(COLOURS) - 2)
    part = (level - low)[..., None]
    colour = COLOURS[low] * (1 - part) + COLOURS[low + 1] * part  # (SIDE, SIDE, 3)
    return (shown.image * 0.5 + colour * 0.5).astype(np.uint8)


def build_page(reporters: Mapping[str, Reporter], examples: Sequence[Path]) -> Any:
    """The page, one column a model; a Gradio ``Blocks``."""
    import gradio as gr  # on demand: requirements/demo.txt

    nothing = [None, "", [], "", gr.update(choices=[], value=None), None] * len(reporters)

    def answer(film: str) -> list[Any]:
        """The values of the outputs: the other way of giving a film, emptied, then the columns, empty too if a film cannot be read."""
        found: list[Any] = [None]
        for reporter in reporters.values():
            try:
                shown = look(reporter, film)
            except UserError as error:
                gr.Warning(str(error))
                return [None, *nothing]
            row = shown.row
            doubt = "This image is unlike the training images.\n\n" if row["unlike_training"] else ""
            states = [
                [name, state, f"{row['probability'][name]:.2f}"]
                for name, state in row["states"].items()
                if state != "blank"
            ]
            retrieved = f"{row['retrieved']}: {row['retrieved_report'] or '(its text is not part of the release)'}"
            first = next(iter(shown.maps), None)
            maps = gr.update(choices=list(shown.maps), value=first)
            found += [shown, f"{doubt}{row['report']}\n\n{NOTE}", states, retrieved, maps, overlay(shown, first)]
        return found

    with gr.Blocks(title="REVTAF", analytics_enabled=False, delete_cache=(60, 60)) as page:
        gr.Markdown(f"# REVTAF\n\n**{NOTE}** What you give is removed within two minutes.")
        film = gr.File(label="Film: PNG, JPEG or DICOM", file_types=list(SUFFIXES), type="filepath", elem_id="film")
        named = [(path.name, number) for number, path in enumerate(examples)]
        # Not gr.Examples, which copies them to where uploads are removed.
        example = gr.Radio(named, label="Examples", visible=bool(examples))
        outputs: list[Any] = []
        with gr.Row():
            for name in reporters:
                with gr.Column():
                    gr.Markdown(f"## {name}")
                    kept = gr.State()
                    picture = gr.Image(
                        label="Overlay", interactive=False, show_label=False, buttons=["fullscreen", "download"]
                    )
                    which = gr.Dropdown(label="Where it looks", choices=[])
                    report = gr.Textbox(label="Report", lines=6, max_lines=30)
                    headers, widths = ["condition", "state", "P(+)"], ["48%", "30%", "22%"]
                    states = gr.Dataframe(headers=headers, column_widths=widths, label="States", wrap=True)
                    retrieved = gr.Textbox(label="Retrieved training report", lines=4, max_lines=30)
                    which.change(
                        lambda shown, chosen: shown and overlay(shown, chosen),
                        [kept, which],
                        picture,
                        api_visibility="private",
                    )
                    outputs += [kept, report, states, retrieved, which, picture]
        film.upload(answer, film, [example, *outputs], api_name="report")
        film.clear(lambda: nothing, None, outputs, api_visibility="private")
        example.input(lambda number: answer(str(examples[number])), example, [film, *outputs], api_name="example")
    return page


def serve(reporters: Mapping[str, Reporter], examples: Sequence[Path], host: str, port: int) -> None:
    """Show the page until it is interrupted; uploads live in a folder that goes with it.

    Raises:
        UserError: if Gradio is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "GRADIO_TEMP_DIR": folder,
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_RUN_HISTORY": "False",  # else the browser keeps every report, and offers to send them to a bucket
            "HF_HUB_OFFLINE": "1",
        }
        try:
            page = build_page(reporters, examples)
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise UserError("--serve needs Gradio: pip install -r requirements/demo.txt") from error
        print(f"open http://{host}:{port} in a browser; Ctrl-C ends it", flush=True)
        page.queue(max_size=8).launch(
            server_name=host, server_port=port, share=False, max_file_size=MOST, quiet=True, show_error=True, footer_links=[],
        )  # fmt: skip
