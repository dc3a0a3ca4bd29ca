"""The programs as the groups of flags that they read; a program accepts no other flag."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from models.config import FlagError, ModelOptions, flag_name
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.flags import (
    BERT_FOLDER,
    ComputeOptions,
    DataOptions,
    GenerationOptions,
    Group,
    LabelerOptions,
    LoadingOptions,
    RunOptions,
    RuntimeOptions,
    SpeedOptions,
    StartOptions,
    StatisticsOptions,
    TestingOptions,
    TrainingOptions,
    TrainLoadingOptions,
)
from modules.options.idle_flags import (
    FROM_PUBLISHED,
    OF_A_PREDICTION,
    OF_A_PREPARATION,
    OF_A_SCORING,
    OF_A_TEST,
    OF_A_TRAINING,
    OF_ANY_TRAINING,
    WITH_A_BANK_OF_OTHERS,
    ReadWith,
    refuse_idle,
)
from modules.options.prediction_flags import PredictionOptions, ReleaseOptions, ServeOptions
from modules.options.preparation_flags import DrawingOptions, PreparationOptions, RawOptions, ScorerOptions
from modules.options.scoring_flags import ExtraMetricOptions, ScoreRunOptions, ScoringOptions
from modules.options.search_flags import settle_search


@dataclass(kw_only=True)
class Program:
    """The options of one run of a program, an attribute for each group; ``given`` names what the command line sets."""

    file: ClassVar[str]
    examples: ClassVar[tuple[str, str]]
    moved: ClassVar[dict[str, str]] = {}  # flags of earlier versions -> the command that does it now
    own: ClassVar[frozenset[str]] = frozenset()  # flags that share no more than their name with one of a training
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "numpy")  # without which it cannot begin
    requirements: ClassVar[str] = "requirements.txt"

    given: frozenset[str] = frozenset()

    def refuse_idle(self, rows: tuple[ReadWith, ...]) -> None:
        """Refuse flags that nothing would read, see :mod:`modules.options.idle_flags`; FlagError names one."""
        groups = [group for group in vars(self).values() if is_dataclass(group)]
        found: dict[str, tuple[Field, Any]] = {
            a_field.name: (a_field, getattr(group, a_field.name)) for group in groups for a_field in fields(group)
        }
        dataset_name = found["dataset_name"][1] if "dataset_name" in found else ""
        refuse_idle(found, self.given, DATASET_DEFAULTS.get(dataset_name, {}), rows)

    def refuse_idle_bert(self, labeler: LabelerOptions, why: str) -> None:
        """Refuse a BERT that nobody would read, not its usual place, which the scripts name; FlagError says who would."""
        if labeler.bert_path not in (None, "", BERT_FOLDER) and not Path(labeler.chexbert_path).is_file():
            raise FlagError(
                f"--bert_path {labeler.bert_path} would change nothing: there is no CheXbert {labeler.chexbert_path} whose "
                f"vocabulary it would be, and {why}"
            )


@dataclass(kw_only=True)
class MainTrain(Program):
    """Train REVTAF on a prepared data set.

    Raises:
        FlagError: if two flags contradict each other.
    """

    file = "main_train.py"
    examples = (
        "python main_train.py --dataset_name synth_cxr",
        "python main_train.py --dataset_name mimic_cxr --bert_path checkpoints/bert-base-uncased "
        "--resnet_weights checkpoints/resnet101.pth",
    )

    data: DataOptions
    model: ModelOptions
    start: StartOptions
    training: TrainingOptions
    generation: GenerationOptions
    loading: TrainLoadingOptions
    labeler: LabelerOptions
    run: RunOptions
    speed: SpeedOptions
    compute: ComputeOptions
    runtime: RuntimeOptions

    def __post_init__(self) -> None:
        settle_search(self.generation, self.given, self.data.dataset_name, self.model.prompt)
        longest = 19 + self.generation.gen_max_len
        if longest > self.model.max_positions:
            raise FlagError(
                f"--gen_max_len {self.generation.gen_max_len} and the 19 prompt tokens need {longest} positions and "
                f"--max_positions is {self.model.max_positions}: lower the first or raise the second"
            )
        if self.start.init_from and self.start.resnet_weights:
            raise FlagError("--init_from sets every weight, so --resnet_weights would be unused: leave one of them out")
        self.refuse_idle(OF_ANY_TRAINING if self.start.init_from else OF_A_TRAINING + OF_ANY_TRAINING)
        if self.start.tokenizer == "corpus" and not self.start.init_from:
            self.refuse_idle_bert(self.labeler, "--tokenizer bert reads its words and weights")


@dataclass(kw_only=True)
class MainTest(Program):
    """Write and score the reports of a split with a trained model, whose checkpoint knows its sizes and switches.

    Raises:
        FlagError: if two flags contradict each other.
    """

    file = "main_test.py"
    examples = (
        "python main_test.py --dataset_name synth_cxr --baselines",
        "python main_test.py --dataset_name mimic_cxr --load_pretrained results/mimic_cxr/model_best.pth",
    )

    data: DataOptions
    testing: TestingOptions
    generation: GenerationOptions
    statistics: StatisticsOptions
    loading: LoadingOptions
    labeler: LabelerOptions
    run: RunOptions
    speed: SpeedOptions
    compute: ComputeOptions
    runtime: RuntimeOptions

    def __post_init__(self) -> None:
        of_its_training = self.data.dataset_name == "custom" and "second_search" not in self.given
        settle_search(self.generation, self.given, self.data.dataset_name, followed=of_its_training)
        if self.testing.plot and self.testing.plot_ids:
            raise FlagError("--plot draws the first studies and --plot_ids others: give one of them")
        self.refuse_idle(OF_A_TEST)
        self.testing.load_pretrained = self.testing.load_pretrained or f"{self.run.save_dir}/model_best.pth"


@dataclass(kw_only=True)
class MainPrepare(Program):
    """Build everything a training needs: annotation and images from raw files or drawn, and features from those.

    Raises:
        FlagError: if two flags contradict each other.
    """

    file = "main_prepare.py"
    examples = (
        "python main_prepare.py --dataset_name synth_cxr",
        "python main_prepare.py --dataset_name mimic_cxr --raw_dir physionet.org/files --resize 256",
    )
    moved: ClassVar[dict[str, str]] = {
        "--check": "python tools/check.py",
        "--strict": "python tools/check.py --strict",
        "--convert": "python tools/convert.py --model FILE --to released --out FILE",
        "--to": "python tools/convert.py --model FILE --to released --out FILE",
        "--out": "python tools/convert.py --model FILE --to released --out FILE",
        "--write_published": "python tools/write_published.py --out FOLDER",
        "--measure_labeler": "python tools/measure_labeler.py --reports FILE",
        "--contact_sheet": "python tools/draw_sheet.py --out FILE",
    }

    data: DataOptions
    raw: RawOptions
    drawing: DrawingOptions
    scorer: ScorerOptions
    preparation: PreparationOptions
    loading: LoadingOptions
    labeler: LabelerOptions
    compute: ComputeOptions
    runtime: RuntimeOptions

    def __post_init__(self) -> None:
        if not self.raw.raw_dir:
            self._refuse(self.raw, "reads raw files: give their folder with --raw_dir, or leave it out")
        if self.data.dataset_name != "synth_cxr":
            self._refuse(self.drawing, "draws SynthCXR: give --dataset_name synth_cxr, or leave it out")
        self.refuse_idle(OF_A_PREPARATION)
        if self.data.bank_dir != self.data.feature_dir:
            self.refuse_idle(WITH_A_BANK_OF_OTHERS)
        if self.preparation.published not in (None, "none"):
            self.refuse_idle(FROM_PUBLISHED)

    def _refuse(self, group: Group, why: str) -> None:
        for a_field in fields(group):
            if a_field.name in self.given:
                raise FlagError(f"{flag_name(a_field)} {why}")


@dataclass(kw_only=True)
class MainScore(Program):
    """Score any generated reports, ours or another model's, and compare them.

    Raises:
        FlagError: if a flag would change nothing beside the others.
    """

    file = "main_score.py"
    examples = (
        "python main_score.py --predictions results/mimic_cxr/predictions.jsonl",
        "python main_score.py --predictions ours=a.jsonl theirs=b.csv --references annotation.json --baseline theirs",
    )

    own = frozenset({"references"})  # a file of reports, not how many a model reads
    packages = ("numpy", "pycocoevalcap")
    page_packages = ("torch", "PIL", "jinja2")  # of --page
    requirements = "requirements/score.txt"

    scoring: ScoringOptions
    extra: ExtraMetricOptions
    statistics: StatisticsOptions
    labeler: LabelerOptions
    run: ScoreRunOptions
    runtime: RuntimeOptions

    def __post_init__(self) -> None:
        self.refuse_idle(OF_A_SCORING)
        self.refuse_idle_bert(self.labeler, "main_score.py reads nothing else of it")
        lacking = [name for name in self.page_packages if self.scoring.page and find_spec(name) is None]
        if lacking:
            raise FlagError(
                f"--page needs {', '.join(lacking)}, which {self.requirements} does not bring: pip install -r requirements.txt"
            )
        if self.scoring.baseline and len(self.scoring.predictions) == 1:
            raise FlagError(
                f"--baseline {self.scoring.baseline} is what other systems are compared with and --predictions names one "
                "alone: name more, or leave it out"
            )


@dataclass(kw_only=True)
class MainPredict(Program):
    """Write the reports of images with a trained model; research use only.

    Raises:
        FlagError: if no image is named.
    """

    file = "main_predict.py"
    examples = (
        "python main_predict.py --images film.png",
        "python main_predict.py --images films/ scan.dcm --model results/mimic_cxr --out reports",
    )

    prediction: PredictionOptions
    release: ReleaseOptions
    page: ServeOptions
    runtime: RuntimeOptions

    def __post_init__(self) -> None:
        wanted, release = self.prediction, self.release
        tasks = [task for task in (wanted.images, wanted.input_json_file, release.export, release.scores) if task]
        if len(tasks) > 1:
            raise FlagError("--images, --input_json_file, --export and --scores are different tasks: give one of them")
        if {"beside", "host", "port"} & self.given and not self.page.serve:
            raise FlagError("--beside, --host and --port are of the page: give --serve too")
        if not tasks and not self.page.serve:
            raise FlagError("--images names no image: give PNG, JPEG or DICOM files, or folders of them")
        read, saved = wanted.input_json_file, wanted.save_json_file
        if saved and not read:
            raise FlagError("--save_json_file writes the studies of --input_json_file: give both")
        if saved and read and Path(saved).resolve() == Path(read).resolve():
            raise FlagError("--save_json_file is --input_json_file itself, which it would replace: give another file")
        if not release.export and {"bank_text", "half"} & self.given:
            raise FlagError("--no-bank_text and --half say what --export writes: give it too")
        self.refuse_idle(OF_A_PREDICTION)


PROGRAMS = (MainPrepare, MainTrain, MainTest, MainScore, MainPredict)
