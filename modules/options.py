"""Every command-line flag of the project, declared once and shared by the programs.

    main_prepare.py   data + synthetic + prepare             + runtime
    main_train.py     data + model + generation + training   + runtime
    main_test.py      data + generation + testing            + runtime

``main_test.py`` has no model flags: the model is rebuilt from the configuration stored in the checkpoint. A default that
depends on the data set stands in ``DATASET_DEFAULTS``; every other default stands next to its flag.
"""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Sequence
from dataclasses import fields

from models.config import CHOICES, RevtafConfig
from modules.labels import CONDITIONS, ENTITIES, STATES

PUBLISHED = {  # train_mimic_cxr.sh of the released code
    "visual_extractor": "resnet101", "image_size": 224, "batch_size": 18, "epochs": 6,
    "init_lr": 5e-5, "min_lr": 5e-6, "warmup_lr": 5e-7, "warmup_steps": 2000, "weight_decay": 0.05,
    "attention_dim": 1024, "hyperbolic_dim": 512, "text_width": 512, "memory_feedforward": 2048,
    "decoder_layers": 12, "decoder_heads": 12, "hidden_size": 768, "intermediate_size": 3072, "dropout": 0.1,
    "tokenizer": "bert", "threshold": 10, "scorer_width": 768, "scorer_layers": 4, "scorer_epochs": 10,
    "num_workers": 4, "scorer_lr": 1e-4, "init_visual": "none", "clip_grad_value": 0.1, "train_retrieval": "label",
}  # fmt: skip
DATASET_DEFAULTS = {
    "mimic_cxr": {**PUBLISHED, "gen_min_len": 100, "gen_max_len": 150},
    "iu_xray": {**PUBLISHED, "gen_min_len": 60, "gen_max_len": 110, "threshold": 3},
    "custom": {**PUBLISHED, "gen_min_len": 60, "gen_max_len": 110, "threshold": 3},
    "synth_cxr": {  # small enough for two CPU cores
        **PUBLISHED, "visual_extractor": "resnet18", "image_size": 128, "batch_size": 16, "epochs": 8,
        "init_lr": 5e-4, "min_lr": 2e-5, "warmup_lr": 1e-5, "warmup_steps": 60,
        "attention_dim": 256, "hyperbolic_dim": 64, "text_width": 128, "memory_feedforward": 256,
        "decoder_layers": 3, "decoder_heads": 4, "hidden_size": 256, "intermediate_size": 512,
        "num_workers": 0, "tokenizer": "corpus", "threshold": 3, "scorer_width": 64, "scorer_layers": 2, "scorer_epochs": 6,
        "scorer_lr": 1e-3, "init_visual": "entity_scorer", "gen_min_len": 40, "gen_max_len": 100,
    },
}  # fmt: skip


def _add_data(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--dataset_name", choices=tuple(DATASET_DEFAULTS), default="mimic_cxr", help="data set")
    group.add_argument("--ann_path", help="annotation file (R2Gen or PromptMRG layout)")
    group.add_argument("--image_dir", help="folder that the image paths of the annotation start from")
    group.add_argument("--feature_dir", help="folder of prepared features, written by main_prepare.py")
    group.add_argument("--bank_dir", help="feature folder whose training split is the retrieval bank (zero-shot tests)")
    group.add_argument("--image_size", type=int, help="side of the square input image in pixels")
    group.add_argument("--batch_size", type=int, help="studies per device and step")
    group.add_argument("--num_workers", type=int, help="processes that read images")
    group.add_argument("--cleaning", choices=("published", "minimal"), default="published", help="report cleaner")
    group.add_argument("--max_words", type=int, default=100, help="words kept of a report, in every split; 0 for all")
    group.add_argument("--bert_path", help="local bert-base-uncased folder (vocab.txt, weights)")
    group.add_argument("--chexbert_path", default="checkpoints/stanford/chexbert/chexbert.pth", help="CheXbert weights")


def _add_model(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--visual_extractor", choices=CHOICES["visual_extractor"], help="image backbone")
    group.add_argument("--resnet_weights", help="torchvision weights file of the backbone, or 'download'")
    group.add_argument("--init_visual", choices=("none", "entity_scorer"), help="backbone weights if none are given")
    group.add_argument("--memory_layers", type=int, default=2, help="encoder and decoder layers of the report memory")
    group.add_argument("--memory_feedforward", type=int, help="feed-forward width of the report memory")
    group.add_argument("--nhead", dest="num_heads", type=int, default=8, help="heads of the report memory")
    group.add_argument("--dropout", type=float, help="dropout rate")
    group.add_argument("--manifold", choices=CHOICES["manifold"], default="poincare", help="retrieval geometry")
    group.add_argument("--c", dest="curvature", type=float, default=0.01, help="curvature magnitude")
    _flag(group, "--learn_c", False, "learn the curvature", dest="learn_curvature")
    group.add_argument("--h_dim", dest="hyperbolic_dim", type=int, help="width of hyperbolic embeddings")
    group.add_argument("--hyperbolic_layers", type=int, default=2, help="layers of the hyperbolic encoder")
    group.add_argument(
        "--retrieval", choices=CHOICES["retrieval"], default="learned", help="how the reference is found"
    )
    group.add_argument("--d_model", dest="attention_dim", type=int, help="width of the transport attention")
    group.add_argument("--attention", choices=CHOICES["attention"], default="ot", help="how patches receive text")
    group.add_argument("--ot_plan", choices=CHOICES["ot_plan"], default="joint", help="'single' as released")
    group.add_argument("--ot_solver", choices=CHOICES["ot_solver"], default="sinkhorn", help="'pot' to check")
    group.add_argument("--ot_epsilon", type=float, default=0.05, help="entropic regularisation")
    group.add_argument("--ot_iterations", type=int, default=100, help="most Sinkhorn iterations")
    _flag(group, "--mask_padding", True, "keep padding sentences out of attention and alignment")
    group.add_argument("--tokenizer", choices=("bert", "corpus"), help="vocabulary: BERT's or the training reports'")
    group.add_argument("--threshold", type=int, help="least count of a word in the corpus vocabulary")
    group.add_argument("--decoder_layers", type=int, help="layers of the report decoder")
    group.add_argument("--decoder_heads", type=int, help="heads of the report decoder")
    group.add_argument("--hidden_size", type=int, help="width of the report decoder")
    group.add_argument("--intermediate_size", type=int, help="feed-forward width of the report decoder")
    group.add_argument("--max_positions", type=int, default=512, help="longest token sequence, prompt included")


def _add_generation(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("generation")
    group.add_argument("--beam_size", type=int, default=3, help="beams of the search")
    group.add_argument("--gen_min_len", type=int, help="shortest sequence in tokens, the 19 prompt tokens included")
    group.add_argument("--gen_max_len", type=int, help="most new tokens")


def _add_training(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, help="passes over the training split")
    group.add_argument("--init_lr", type=float, help="learning rate after warm-up")
    group.add_argument("--min_lr", type=float, help="learning rate at the end")
    group.add_argument("--warmup_lr", type=float, help="learning rate of the first step; negative for --init_lr")
    group.add_argument("--warmup_steps", type=int, help="steps of linear warm-up inside the first epoch")
    group.add_argument("--weight_decay", type=float, help="AdamW weight decay; none on biases and norms")
    group.add_argument("--clip_grad_value", type=float, help="gradient values are clipped to this magnitude")
    group.add_argument("--label_smoothing", type=float, default=0.1, help="of the report loss")
    group.add_argument("--cls_weight", type=float, default=4.0, help="weight of the diagnosis loss")
    group.add_argument("--align_weight", type=float, default=0.5, help="weight of the alignment loss")
    group.add_argument("--rank_weight", type=float, default=2.0, help="weight of the ranking loss")
    group.add_argument("--rank_loss", choices=("nearest", "listwise"), default="nearest", help="ranking target")
    group.add_argument("--rank_temperature", type=float, default=2.0, help="of the listwise ranking target, in bits")
    group.add_argument("--align_iou", choices=("soft", "binary"), default="soft", help="'binary' as released")
    group.add_argument(
        "--train_retrieval", choices=("label", "learned", "mixed"), help="reference report of a training study"
    )
    _flag(group, "--exclude_same_patient", False, "never retrieve a report of the study's own patient")
    _flag(group, "--augment", True, "random crop and rotation of training images")
    group.add_argument("--monitor_metric", default="val_ce_f1", help="selects model_best.pth (larger is better)")
    group.add_argument("--val_every", type=int, default=1, help="epochs between validations")
    group.add_argument("--save_every", type=int, default=1000, help="steps between checkpoints inside an epoch")
    _flag(group, "--resume", False, "continue from current_checkpoint.pth in --save_dir")
    group.add_argument("--profile", type=int, default=0, help="time this many steps, write trace.json, and stop")
    _flag(group, "--channels_last", True, "channels-last memory format in the ResNet")


def _add_testing(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("testing")
    group.add_argument(
        "--load_pretrained", help="checkpoint written by main_train.py (default: <save_dir>/model_best.pth)"
    )
    group.add_argument("--split", choices=("train", "val", "test"), default="test", help="split to report on")
    _flag(group, "--baselines", False, "add the rows of three retrieval baselines to the table")
    group.add_argument("--plot", type=int, default=0, help="attention figures to write, of the first studies")
    group.add_argument("--show", type=int, default=5, help="generated reports printed beside their references")


def _add_synthetic(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("synthetic (SynthCXR)")
    group.add_argument("--num_studies", type=int, default=2600, help="studies drawn")
    group.add_argument("--synth_image_size", type=int, default=160, help="side of the drawn images in pixels")
    group.add_argument("--difficulty", type=float, default=1.0, help="subtlety of the signs; 0.5 is bold")
    group.add_argument("--contact_sheet", help="only draw the sheet of labelled examples to this JPEG file")


def _add_prepare(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("prepare")
    group.add_argument("--visual_extractor", choices=CHOICES["visual_extractor"], help="backbone of the entity scorer")
    group.add_argument("--resnet_weights", help="torchvision weights file of the backbone, or 'download'")
    group.add_argument("--scorer_width", type=int, help="width E of the entity embeddings")
    group.add_argument("--scorer_layers", type=int, help="decoder layers of the entity scorer")
    group.add_argument("--scorer_epochs", type=int, help="passes over the training split for the entity scorer")
    group.add_argument("--scorer_lr", type=float, help="peak learning rate of the entity scorer")
    group.add_argument("--text_encoder", default="lsa", help="'lsa' or a local Hugging Face model folder")
    group.add_argument("--text_width", type=int, help="width C of the report features (LSA)")
    group.add_argument("--clip_k", dest="memory_size", type=int, default=21, help="reports in the memory of a study")
    group.add_argument("--neighbours", type=int, default=10, help="label-nearest training studies kept per study")
    _flag(group, "--exclude_same_patient", False, "keep a patient's own reports out of memory and neighbours")


def _add_runtime(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("runtime")
    group.add_argument("--save_dir", help="where the run writes everything it writes")
    group.add_argument("--seed", type=int, default=456789, help="seed of every random generator")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA when there is one")
    group.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: bf16 where the hardware has it"
    )
    group.add_argument("--n_gpu", type=int, default=0, help="processes that the scripts start; 0 for one per GPU")


def _flag(group, name: str, default: bool, text: str, dest: str | None = None) -> None:
    group.add_argument(name, action=BooleanOptionalAction, default=default, help=text, dest=dest or name[2:])


PROGRAMS = {
    "prepare": (_add_data, _add_synthetic, _add_prepare, _add_runtime),
    "train": (_add_data, _add_model, _add_generation, _add_training, _add_runtime),
    "test": (_add_data, _add_generation, _add_testing, _add_runtime),
}


def build_parser(program: str) -> ArgumentParser:
    """Parser of ``main_<program>.py``."""
    parser = ArgumentParser(prog=f"main_{program}.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for add_group in PROGRAMS[program]:
        add_group(parser)
    return parser


def parse_options(program: str, argv: Sequence[str] | None = None) -> Namespace:
    """Read the command line of ``main_<program>.py``.

    Args:
        program: a key of ``PROGRAMS``.
        argv: the words after the program name, ``sys.argv[1:]`` if absent.

    Raises:
        SystemExit: with status 2 and one sentence, if a flag is unknown or two flags contradict each other.
    """
    parser = build_parser(program)
    data_parser = ArgumentParser(add_help=False)
    _add_data(data_parser)
    dataset_name = data_parser.parse_known_args(argv)[0].dataset_name
    known = {action.dest for action in parser._actions}
    home = {
        "ann_path": f"data/{dataset_name}/annotation.json",
        "image_dir": f"data/{dataset_name}/images",
        "feature_dir": f"data/{dataset_name}/features",
        "save_dir": f"results/{dataset_name}",
    }
    parser.set_defaults(**{k: v for k, v in {**home, **DATASET_DEFAULTS[dataset_name]}.items() if k in known})
    options = parser.parse_args(argv)
    options.bank_dir = options.bank_dir or options.feature_dir
    for name in ("batch_size", "epochs", "val_every", "save_every", "beam_size", "gen_max_len", "num_studies"):
        if getattr(options, name, 1) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    if "gen_min_len" in known and options.gen_min_len > 1 + len(CONDITIONS) + options.gen_max_len:
        parser.error(
            f"--gen_min_len {options.gen_min_len} counts the {1 + len(CONDITIONS)} prompt tokens and exceeds them plus "
            f"--gen_max_len {options.gen_max_len}: lower the first or raise the second"
        )
    return options


def model_config(options: Namespace, **from_data: int) -> RevtafConfig:
    """Pick the model's fields out of the options of ``main_train.py``.

    Args:
        options: parsed options.
        **from_data: ``report_feature_dim``, ``entity_text_dim``, ``vocab_size``, ``pad_id`` and ``end_id``.
    """
    counts = {"num_conditions": len(CONDITIONS), "num_states": len(STATES), "num_entities": len(ENTITIES)}
    values = {**vars(options), **counts, **from_data}
    return RevtafConfig(**{field.name: values[field.name] for field in fields(RevtafConfig)})
