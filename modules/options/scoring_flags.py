"""The flags of main_score.py alone, in dataclasses by group as in ``flags.py``."""

from __future__ import annotations

from dataclasses import dataclass

from models.config import FlagError, flag
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.flags import Group, refuse_no_folder

EXTRA_METRICS = (
    "radgraph", "radgraph_radcliq", "radcliq", "bertscore", "rexrank_bertscore", "green", "ratescore", "srrbert", "crimson",
)  # fmt: skip


@dataclass(kw_only=True)
class ScoringOptions(Group):
    """What is scored.

    Raises:
        FlagError: if no predictions are named.
    """

    predictions: tuple[str, ...] = flag((), "[NAME=]FILE of each system: a table, JSON or text file")
    references: str | None = flag(
        None, "table, JSON, text or annotation file; else those in the predictions, or gts.csv"
    )
    columns: tuple[str, ...] = flag((), "prediction=, reference=, id=: which column is which")
    by_order: bool = flag(False, "match the rows of all files by their order, whatever their ids")
    section: str | None = flag(None, "the profile's if not given", choices=("findings", "impression", "both"))
    profile: str = flag("r2gen", "text, section, averages, names", choices=("r2gen", "rexrank", "radeval", "llava_rad"))
    split: str = flag("test", "split of an annotation file", choices=("train", "val", "test"))
    baseline: str | None = flag(None, "name of the system that the others are compared with")
    dataset_name: str = flag("custom", "whose published rows to print", choices=tuple(DATASET_DEFAULTS))
    cleaning: str = flag("auto", "auto: published, if not clean", choices=("auto", "published", "minimal", "none"))
    max_words: int = flag(100, "words kept of a reference; 0 for all", within="[0, inf)")
    feature_dir: str | None = flag(None, "prepared features whose training split says what is frequent and copied")
    train_ann: str | None = flag(None, "annotation file whose training split says so")
    page: bool = flag(False, "write index.html: one system, or two side by side, the worst study first")
    image_dir: str | None = flag(None, "folder of the films that --page shows")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.predictions:
            raise FlagError("give the reports to score: --predictions [NAME=]FILE ...")
        if self.image_dir and not self.page:
            raise FlagError("--image_dir is of the page: give --page too, or leave it out")
        if self.feature_dir and self.train_ann:
            raise FlagError("--feature_dir and --train_ann both name training reports: give one of them")


@dataclass(kw_only=True)
class ExtraMetricOptions(Group):
    """Metrics of others."""

    extra_metrics: tuple[str, ...] = flag((), "through RadEval; may fetch weights", choices=EXTRA_METRICS)
    metric_models: str | None = flag(None, "folder of their models under the hub's names; nothing is fetched")


@dataclass(kw_only=True)
class ScoreRunOptions(Group):
    """The run.

    Raises:
        FlagError: if no folder is named.
    """

    save_dir: str = flag("results/scores", "where the run writes everything it writes")
    overwrite: bool = flag(False, "move what --save_dir holds of other predictions aside")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_no_folder(self.save_dir)
