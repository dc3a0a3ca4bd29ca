"""Draw a few tested studies of SynthCXR: maps beside the drawn signs, and what its report took from the retrieved one.

python tools/draw_example.py --tested results/synth_cxr --out docs/example.png --overwrite
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.processes.early_stop import answer_early_stops

if __name__ == "__main__":
    answer_early_stops()

from models.config import flag
from modules.messages import Needed, require, run
from modules.options.flags import Group
from modules.options.parsing import parse_options
from modules.options.programs import Program

PIXELS = 448  # side of the drawn image; the network sees the same crop with fewer


@dataclass(kw_only=True)
class ExampleOptions(Group):
    """The example."""

    tested: str = flag("results/synth_cxr", "folder of a test of main_test.py on SynthCXR")
    out: str = flag("results/example.png", "PNG file to draw")
    overwrite: bool = flag(False, "replace --out if it is there")


@dataclass(kw_only=True)
class DrawExample(Program):
    """Draw the first tested studies whose maps point at their signs and whose reports are right and took a sentence."""

    file = "tools/draw_example.py"
    examples = (
        "python tools/draw_example.py",
        "python tools/draw_example.py --tested results/synth_cxr --out docs/example.png --overwrite",
    )

    example: ExampleOptions


def main() -> None:
    """Draw the studies."""
    options = parse_options(DrawExample).example
    import numpy as np  # after parsing: what follows takes seconds

    from modules.corpus.annotations import read_annotation
    from modules.corpus.images import read_image
    from modules.evaluation.grounding.sign_masks import read_coverage, read_sign_maps
    from modules.evaluation.grounding.sign_scores import SIGN_CONDITIONS
    from modules.evaluation.reports.example_picture import choose_studies, draw_example, sign_panels
    from modules.labelling.labelers import RuleLabeler
    from modules.labels import POSITIVE
    from modules.records import atomic_write, read_jsonl, read_run_options
    from modules.run_folder import refuse_file

    refuse_file(options.out, options.overwrite)
    folder = Path(options.tested)
    names = ("options_test.json", "predictions.jsonl", "sign_maps.npz")
    require([Needed(folder / name, "of a test on SynthCXR", "write it with main_test.py") for name in names])
    tested, rows = read_run_options(folder / names[0]), read_jsonl(folder / names[1])
    maps, image_size = read_sign_maps(folder / names[2])
    by_id = {study.id: study for study in read_annotation(tested["ann_path"])[tested["split"]]}
    studies = [by_id[row["id"]] for row in rows]
    masks = Path(tested["ann_path"]).with_name("masks")
    coverage = read_coverage(masks, studies, image_size, round(maps.shape[2] ** 0.5))
    positive = np.array([study.labels for study in studies])[:, SIGN_CONDITIONS] == POSITIVE
    shown = positive & (coverage.max(axis=2) > 0)
    chosen = choose_studies(rows, maps, coverage, shown, RuleLabeler())
    drawn = []
    for n in chosen.drawn:
        with np.load(masks / studies[n].split / f"{studies[n].id}.npz") as signs:
            panels = sign_panels(maps[n], signs, shown[n], PIXELS)
        drawn.append(
            (read_image(Path(tested["image_dir"]) / studies[n].image_path[0], PIXELS)[0].numpy(), panels, rows[n])
        )
    note = (
        f"The first of {chosen.good} among {chosen.with_sign} test studies with a sign whose maps all point at the signs, whose "
        "report has the conditions of the reference and no other, contradicts no side, grade or device that it names, and took a "
        "sentence (blue) from the first retrieved report; cyan: drawn sign, white: the patch where its map is highest."
    )
    with atomic_write(options.out, "wb") as file:
        draw_example(drawn, note).savefig(file, format="png", dpi=130, metadata={"Software": None})
    print(f"wrote {options.out}: {', '.join(studies[n].id for n in chosen.drawn)}. {note}")
    print(f"{chosen.other_particulars} more are like that, but name another side, grade or device.")


if __name__ == "__main__":
    run(main)
