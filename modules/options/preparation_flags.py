"""The flags of the preparation and of the doctor, in dataclasses by group as in ``flags.py``."""

from __future__ import annotations

from dataclasses import dataclass

from models.config import BACKBONE_HELP, FlagError, check_extractor, flag
from modules.options.flags import WORKERS, Group, workers_of_machine

MEDKLIP = "checkpoints/medklip"


@dataclass(kw_only=True)
class RawOptions(Group):
    """Raw files."""

    raw_dir: str | None = flag(None, "build the annotation and images from these raw files first")
    raw_step: str = flag("all", "stop after this", choices=("all", "images", "annotation"))
    section: str = flag("findings", "text taken", choices=("findings", "impression", "both"))
    unnamed: bool = flag(True, "take paragraphs under no header for findings (MIMIC-CXR)")
    items: str = flag("study", "'image': an item of every image (R2Gen's MIMIC-CXR)", choices=("study", "image"))
    all_test: bool = flag(False, "every study is tested: a flat annotation, as IU X-Ray is published")
    chexpert_labels: bool = flag(False, "take the labels of mimic-cxr-2.0.0-chexpert.csv.gz")
    split_file: str | None = flag(None, "annotation in R2Gen's layout, or CSV with id and split")
    patient_column: str | None = flag(None, "heading of the patients in a table of one's own; 'none': it has none")
    xxxx: str = flag("keep", "what goes with XXXX (IU)", choices=("keep", "word", "sentence"))
    resize: int = flag(0, "shorter side of image copies; 0 uses the raw images", within="[0, 65536]")
    copy_format: str = flag("jpg", "of the copies; jpg: quality 95", choices=("jpg", "png"))
    overwrite: bool = flag(
        False, "replace an annotation made from other raw files; one changed since, or trained on, is moved aside"
    )


@dataclass(kw_only=True)
class DrawingOptions(Group):
    """Drawing SynthCXR."""

    num_studies: int = flag(3000, "studies drawn", within="[3, 10000000]")
    val_share: float = flag(0.05, "share of the studies for validation", within="[0, 1)")
    test_share: float = flag(0.15, "share of the studies for the test", within="[0, 1)")
    readers: int = flag(
        100,
        "radiologists with habits of their own who share the studies; 0 words every report independently",
        within="[0, 100000]",
    )
    synth_image_size: int = flag(110, "side of the drawn images in pixels", within="[32, 4096]")
    difficulty: float = flag(0.5, "subtlety of the signs; 1 needs larger images", within="(0, 10]")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_share + self.test_share >= 1:
            raise FlagError(
                f"--val_share {self.val_share} and --test_share {self.test_share} leave nothing to train on: their sum "
                "must be below 1"
            )


@dataclass(kw_only=True)
class ScorerOptions(Group):
    """The entity scorer."""

    image_size: int = flag(224, "side of the square input image in pixels", within="[32, 4096]")
    visual_extractor: str = flag("resnet101", f"of the entity scorer: {BACKBONE_HELP}")
    resnet_weights: str | None = flag(None, "torchvision weights file of the backbone, 'download' or 'none'")
    entity_scorer: str = flag("own", "what scores the entities", choices=("own", "medklip"))
    medklip_checkpoint: str = flag(f"{MEDKLIP}/checkpoint_final.pth", "published weights")
    entity_descriptions: str = flag(f"{MEDKLIP}/observation explanation.json", "of MedKLIP")
    description_tokens: int = flag(64, "MedKLIP's tests: 64; its training: 128", within="[1, 512]")
    scorer_width: int = flag(768, "width E of the entity embeddings", within="[1, 65536]")
    scorer_layers: int = flag(4, "decoder layers of the entity scorer", within="[1, 64]")
    scorer_dropout: float = flag(0.1, "dropout of those layers", within="[0, 1)")
    scorer_epochs: int = flag(10, "passes over the training split for the entity scorer", within="[1, inf)")
    scorer_shares: int = flag(
        1, "batches in a step of the entity scorer; processes share them, same result", within="[1, 1024]"
    )
    scorer_lr: float = flag(1e-4, "peak learning rate of the entity scorer", within="(0, 1]")
    scorer_patience: int = flag(3, "epochs without a better held-out loss; 0: train all epochs", within="[0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_extractor(self.visual_extractor)
        self.resnet_weights = None if self.resnet_weights in ("none", "") else self.resnet_weights


@dataclass(kw_only=True)
class PreparationOptions(Group):
    """Features."""

    feature_dtype: str = flag("float16", "of stored embeddings", choices=("float16", "float32"))
    published: str | None = flag(None, "folder of the published REVTAF files to convert instead of building, or 'none'")
    estimate: bool = flag(
        False, "measure for a minute or two, print what the whole road takes on this machine, and stop"
    )
    yes: bool = flag(False, "begin a job of more than a day without asking")
    text_encoder: str = flag("lsa", "'lsa', a Hugging Face model folder, or hub:NAME to fetch one")
    text_pooling: str = flag("mean", "of a model's last layer", choices=("mean", "cls"))
    text_width: int = flag(512, "width C of the report features (LSA)", within="[1, 65536]")
    memory_size: int = flag(21, "reports in the memory of a study", within="[1, 10000]", name="clip_k")
    neighbours: int = flag(10, "label-nearest training studies kept per study", within="[1, 10000]")
    exclude_same_patient: bool | None = flag(
        None,
        "keep a patient's own reports out of memory and neighbours; if not given, out of those that are built, not "
        "published",
    )


@dataclass(kw_only=True)
class CheckOptions(Group):
    """The doctor."""

    image_size: int = flag(224, "side of the square input image in pixels", within="[32, 4096]")
    num_workers: int = flag(workers_of_machine(), WORKERS, within="[0, 1024]")
    strict: bool = flag(False, "exit 1 on warnings")
