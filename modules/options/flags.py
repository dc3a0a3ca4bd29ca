"""The flags of training and test, and those that several programs read, in dataclasses by group; ``programs.py`` says who reads which.

A flag is one field, ``name: type = flag(default, text, within=..., choices=...)``, of the group of those who read it; a
flag of the model is a field of ``ModelOptions`` in ``models/config.py``. The default is the published value; what a data
set changes of it stands in ``dataset_defaults.py``. ``{dataset_name}`` in a default is filled in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from models.config import FlagError, check_fields, flag
from modules.labels import CONDITIONS
from modules.options.dataset_defaults import DATASET_DEFAULTS

WORKERS = "processes that read images"


def workers_of_machine() -> int:
    """Processes that read images if nobody says how many: one for every core but the one that computes, eight at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores - 1, 1), 8)


@dataclass(kw_only=True)
class Group:
    """Flags that are read together; making one checks every value."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(kw_only=True)
class DataOptions(Group):
    """What is read."""

    dataset_name: str = flag("mimic_cxr", "data set", choices=tuple(DATASET_DEFAULTS))
    ann_path: str = flag("data/{dataset_name}/annotation.json", "annotation file (R2Gen or PromptMRG layout)")
    image_dir: str = flag("data/{dataset_name}/images", "folder that the image paths of the annotation start from")
    feature_dir: str = flag("data/{dataset_name}/features", "prepared features, written by main_prepare.py")
    bank_dir: str = flag("", "features whose training split is the bank; --feature_dir if not given")
    cleaning: str = flag("published", "report cleaner", choices=("published", "minimal"))
    max_words: int = flag(100, "words kept of a report, in every split; 0 for all", within="[0, inf)")
    features: str = flag(
        "stored",
        "online: entity embeddings are read off the image in each step, 31 GB less on disk for MIMIC-CXR",
        choices=("stored", "online"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bank_dir = self.bank_dir or self.feature_dir


@dataclass(kw_only=True)
class LoadingOptions(Group):
    """How it is loaded."""

    batch_size: int = flag(18, "studies per device and step", within="[1, 65536]")
    num_workers: int = flag(workers_of_machine(), WORKERS, within="[0, 1024]")

    @property
    def at_once(self) -> int:
        """Studies that are looked at, or whose reports are written, together."""
        return self.batch_size


@dataclass(kw_only=True)
class TrainLoadingOptions(LoadingOptions):
    """How it is loaded, in the steps and between them."""

    eval_batch_size: int = flag(
        0, "studies at once between the steps: validation, looks at the images (0: --batch_size)", within="[0, 65536]"
    )

    @property
    def at_once(self) -> int:
        """The same, in place of those of a step."""
        return self.eval_batch_size or self.batch_size


CHEXBERT = "checkpoints/stanford/chexbert/chexbert.pth"  # where checkpoints/README.md says to put them
BERT_FOLDER = "checkpoints/bert-base-uncased"


@dataclass(kw_only=True)
class LabelerOptions(Group):
    """Texts and labels."""

    bert_path: str | None = flag(None, "local bert-base-uncased folder (vocab.txt, weights)")
    chexbert_path: str = flag(CHEXBERT, "CheXbert weights; where they are absent, or 'none', labels are by rules")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chexbert_path not in (CHEXBERT, "none") and not Path(self.chexbert_path).is_file():
            raise FlagError(
                f"--chexbert_path {self.chexbert_path} is no file: give chexbert.pth, or none to label by rules"
            )


@dataclass(kw_only=True)
class StartOptions(Group):
    """What a new model begins with."""

    resnet_weights: str | None = flag(None, "torchvision weights file of the backbone, 'download' or 'none'")
    init_visual: str = flag("none", "backbone weights if none are given", choices=("none", "entity_scorer"))
    init_from: str | None = flag(None, "trained model to start from: ours or the released state dict")
    tokenizer: str = flag("bert", "vocabulary: BERT's or the training reports'", choices=("bert", "corpus"))
    threshold: int = flag(10, "least count of a word in the corpus vocabulary", within="[1, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resnet_weights = None if self.resnet_weights in ("none", "") else self.resnet_weights


RERANK = ("none", "states", "maps")


@dataclass(kw_only=True)
class GenerationOptions(Group):
    """How a report is generated.

    Raises:
        FlagError: if the shortest report is longer than the longest.
    """

    beam_size: int = flag(3, "beams of the search", within="[1, 1000]")
    gen_min_len: int = flag(60, "shortest sequence in tokens, the 19 prompt tokens included", within="[0, 65536]")
    gen_max_len: int = flag(110, "most new tokens", within="[1, 65536]")
    rerank: str = flag("none", "the beam that says the predicted findings; maps: on its maps' sides", choices=RERANK)
    second_search: int = flag(0, "beams of a second search where a report says other findings", within="[0, 1000]")
    guidance: float = flag(1.0, "how far the second search moves from what the first one said", within="[0, 10]")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gen_min_len > 1 + len(CONDITIONS) + self.gen_max_len:
            raise FlagError(
                f"--gen_min_len {self.gen_min_len} counts the {1 + len(CONDITIONS)} prompt tokens and exceeds them plus "
                f"--gen_max_len {self.gen_max_len}: lower the first or raise the second"
            )


@dataclass(kw_only=True)
class TrainingOptions(Group):
    """Training.

    Raises:
        FlagError: if the learning rate would rise after warm-up, or a drawn report has no other to be compared with.
    """

    epochs: int = flag(6, "passes over the training split", within="[1, inf)")
    init_lr: float = flag(5e-5, "learning rate after warm-up", within="[0, 1]")
    min_lr: float = flag(5e-6, "learning rate at the end; it falls from the second epoch on", within="[0, 1]")
    warmup_lr: float = flag(5e-7, "learning rate of the first step; negative for --init_lr", within="[-1, 1]")
    warmup_steps: int = flag(2000, "steps of linear warm-up inside the first epoch", within="[0, inf)")
    weight_decay: float = flag(0.05, "AdamW weight decay; none on biases and norms", within="[0, 1]")
    clip_grad_value: float = flag(0.1, "gradient values are clipped to this magnitude", within="(0, inf)")
    label_smoothing: float = flag(0.1, "of the report loss", within="[0, 1)")
    cls_weight: float = flag(4.0, "weight of the diagnosis loss", within="[0, 10000]")
    align_weight: float = flag(0.5, "weight of the alignment loss", within="[0, 10000]")
    presence_weight: float = flag(4.0, "weight of the presence loss; 0 as released", within="[0, 10000]")
    rank_weight: float = flag(2.0, "weight of the ranking loss", within="[0, 10000]")
    rank_loss: str = flag("nearest", "ranking target", choices=("nearest", "listwise"))
    rank_temperature: float = flag(2.0, "of the listwise ranking target, in bits", within="[0.001, 10000]")
    align_iou: str = flag("soft", "'binary' as released", choices=("soft", "binary"))
    cagrad: float = flag(0.0, "conflict-averse gradients: radius c; 0 adds the losses", within="[0, 1)")
    scst: int = flag(0, "self-critical training: reports drawn of each study; 0 as released", within="[0, 64]")
    scst_epochs: int = flag(2, "last epochs in which reports are drawn", within="[1, inf)")
    scst_weight: float = flag(0.05, "weight of 1 - CE-F1 of drawn reports", within="[0, 10000]")
    scst_rarity: float = flag(0.0, "conditions count in it by their rate to minus this power", within="[0, 4]")
    prompt_states: str = flag(
        "true", "states told to the decoder in training; mixed: half predicted", choices=("true", "predicted", "mixed")
    )
    train_retrieval: str = flag("own", "reference of a training study", choices=("own", "label", "mixed"))
    oracle_epochs: int = flag(2, "with own: first epochs that take reports most like a study's own", within="[0, inf)")
    drop_references: float | None = flag(
        None, "share of training studies without a reference (.1; with --train_retrieval label 0)", within="[0, 1]"
    )
    rare_sampling: float = flag(
        0.5, "take studies more often the rarer their findings: rate to minus this; 0 as released", within="[0, 1]"
    )
    exclude_same_patient: bool = flag(True, "never retrieve a report of the study's own patient")
    augment: bool = flag(True, "random crop and rotation of training images")
    monitor_metric: str = flag("val_ce_f1", "selects model_best.pth (larger is better)")
    val_every: int = flag(1, "epochs between validations", within="[1, inf)")
    val_meteor: bool = flag(False, "METEOR in every validation too (needs Java)")
    save_every: int = flag(1000, "steps between checkpoints inside an epoch", within="[1, inf)")
    log_every: int = flag(50, "steps between two rows of steps.csv and TensorBoard", within="[1, inf)")
    global_batch: int = flag(0, "studies of a step over all processes, in place of --batch_size", within="[0, 1048576]")
    grad_accum: int = flag(1, "batches of a process that count as one step", within="[1, 65536]")
    grad_checkpointing: bool = flag(False, "compute blocks twice instead of keeping what they computed")
    compile: bool = flag(False, "on a GPU, train through torch.compile: a minute more before the first step")
    sync_bn: bool | None = flag(None, "batch statistics over all processes; by default with more than one")
    freeze_bn: bool = flag(False, "keep the batch statistics that the backbone's weights came with")
    on_nan: str = flag("stop", "what a step that is not finite does", choices=("stop", "skip"))
    timeout: float = flag(600, "seconds that a process may stand still", within="[1, 1000000]")
    resume: bool = flag(False, "continue from current_checkpoint.pth in --save_dir")
    check: bool = flag(True, "refuse a data set in which the fast part of the doctor finds errors")
    profile: int = flag(0, "time this many steps, write trace.json, and stop", within="[0, 10000]")
    channels_last: bool = flag(True, "channels-last memory format in the ResNet")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scst == 1:
            raise FlagError("--scst 1 has no other report of the study to be compared with: give 2 or more, or 0")
        if self.min_lr > self.init_lr:
            raise FlagError(
                f"--min_lr {self.min_lr} exceeds --init_lr {self.init_lr}: the rate falls from that to this"
            )
        if self.warmup_lr > self.init_lr:
            raise FlagError(f"--warmup_lr {self.warmup_lr} exceeds --init_lr {self.init_lr}, to which it rises")


@dataclass(kw_only=True)
class StatisticsOptions(Group):
    """Scores."""

    meteor: bool = flag(True, "run METEOR (needs Java)")
    resamples: int = flag(1000, "bootstrap resamples of the studies", within="[1, 1000000]")


def refuse_none_shown(verbose_text: bool, show: int) -> None:
    """Refuse to print none of what is to be printed; FlagError names both flags."""
    if verbose_text and not show:
        raise FlagError("--verbose_text prints reports and --show 0 none of them: leave one of them out")


@dataclass(kw_only=True)
class TestingOptions(Group):
    """Testing.

    Raises:
        FlagError: if reports are to be printed and none of them.
    """

    load_pretrained: str = flag("", "trained model, ours or released; <save_dir>/model_best.pth if not given")
    split: str = flag("test", "split to report on, or all of them", choices=("train", "val", "test", "all"))
    rescore: bool = flag(False, "score the reports that --save_dir holds again, without writing them anew")
    baselines: bool = flag(False, "table rows of the most frequent report and of three nearest studies")
    plot: int = flag(0, "attention figures to write, of the first studies", within="[0, inf)")
    plot_ids: tuple[str, ...] = flag((), "attention figures of these studies, by id")
    viewer: bool = flag(True, "write index.html, a page to read the reports")
    viewer_studies: int = flag(500, "most studies shown on the page", within="[1, inf)")
    verbose_text: bool = flag(False, "print reports; else their text is in files only")
    show: int = flag(5, "reports printed with --verbose_text, beside their references", within="[0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_none_shown(self.verbose_text, self.show)


@dataclass(kw_only=True)
class RuntimeOptions(Group):
    """Seed and device."""

    seed: int = flag(456789, "seed of every random generator", within="[0, 4294967295]")
    device: str = flag("auto", "auto: CUDA when there is one", choices=("auto", "cpu", "cuda"))


@dataclass(kw_only=True)
class ComputeOptions(Group):
    """Processes and precision."""

    precision: str = flag("auto", "auto: bf16 where the hardware has it", choices=("auto", "fp32", "bf16"))
    deterministic: bool = flag(False, "on a GPU, only operations that repeat themselves bit for bit: slower")
    n_gpu: int = flag(0, "processes that the scripts start; 0 for one per GPU", within="[0, 4096]")


@dataclass(kw_only=True)
class SpeedOptions(Group):
    """Speed."""

    fast_cpu: bool = flag(True, "on a CPU, its faster products and dropout masks in place of torch's own")
    fast_gpu: bool = flag(True, "on a GPU, recorded steps and words, and its own kernels in place of torch's")


def refuse_no_folder(save_dir: str) -> None:
    """Refuse an empty name, which would be the folder that one stands in; FlagError names the flag."""
    if not save_dir:
        raise FlagError("--save_dir is empty: name a folder, or leave it out")


@dataclass(kw_only=True)
class RunOptions(Group):
    """The run.

    Raises:
        FlagError: if no folder is named.
    """

    save_dir: str = flag("results/{dataset_name}", "where the run writes everything it writes")
    overwrite: bool = flag(False, "move what --save_dir holds of another run or model aside")
    allow_two_labelers: bool = flag(False, "score MIMIC-CXR by another labeler than its labels were made by")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_no_folder(self.save_dir)
