"""The flags of main_predict.py, in dataclasses by group as in ``flags.py``."""

from __future__ import annotations

from dataclasses import dataclass

from models.config import flag
from modules.options.flags import Group, refuse_none_shown


@dataclass(kw_only=True)
class PredictionOptions(Group):
    """What is read and what is written.

    Raises:
        FlagError: if reports are to be printed and none of them.
    """

    images: tuple[str, ...] = flag((), "PNG, JPEG or DICOM files, and folders of them")
    input_json_file: str | None = flag(None, "studies of ReXrank to report on, instead of --images")
    img_root_dir: str = flag(".", "folder that their image paths start from")
    save_json_file: str | None = flag(None, "the same studies with model_prediction")
    model: str = flag(
        "results/synth_cxr",
        "folder of a trained model (--save_dir of main_train.py, or a release), or a checkpoint in it",
    )
    out: str | None = flag(
        None,
        "folder of predictions.jsonl, predictions.csv and the page; results/predictions/MODEL/NAME of what is read if absent",
    )
    overwrite: bool = flag(False, "move what --out holds of other images or another model aside")
    show: int = flag(
        5, "reports printed on a terminal; into a file or pipe only with --verbose_text", within="[0, inf)"
    )
    verbose_text: bool = flag(False, "print reports into a file or pipe too; else their text is in files of --out only")
    text: bool = flag(False, "write every report into a text file of its own too")
    plot: int = flag(0, "attention figures to write, of the first images", within="[0, inf)")
    viewer: bool = flag(True, "write index.html, a page to read the reports")
    viewer_studies: int = flag(100, "most images shown on the page", within="[1, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_none_shown(self.verbose_text, self.show)


@dataclass(kw_only=True)
class ReleaseOptions(Group):
    """Giving a model away."""

    export: str | None = flag(None, "write one folder that holds all that the model needs, and stop")
    bank_text: bool = flag(True, "give the training reports with it, which are retrieved")
    bank_size: int | None = flag(
        None, "training reports in it, evenly from all of them; all if absent", within="[1, inf)"
    )
    half: bool = flag(False, "weights as float16, half the size")
    scores: str | None = flag(
        None,
        "put these scores into the card of the release --model, and stop: --save_dir of main_score.py on its reports",
    )


@dataclass(kw_only=True)
class ServeOptions(Group):
    """A page to try it."""

    serve: bool = flag(False, "show a page on which single films are tried; --images are its examples")
    beside: str | None = flag(None, "folder of a second model, shown beside the first")
    host: str = flag("127.0.0.1", "address that the page listens on; 0.0.0.0 for every machine of the network")
    port: int = flag(7860, "port of the page", within="[1, 65535]")
