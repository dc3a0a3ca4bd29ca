"""Every command-line flag of the project, declared once and shared by the programs.

    main_prepare.py   data + raw + synthetic + prepare       + runtime
    main_train.py     data + model + generation + training   + runtime
    main_test.py      data + generation + testing            + runtime
    main_score.py     scoring                                + runtime

``main_test.py`` has no model flags: the model is rebuilt from the configuration stored in the checkpoint. A default that
depends on the data set stands in ``DATASET_DEFAULTS``; every other default stands next to its flag.
``modules.options`` reads the command line.
"""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction

from models.config import CHOICES

PUBLISHED = {  # train_mimic_cxr.sh of the released code
    "visual_extractor": "resnet101", "image_size": 224, "batch_size": 18, "epochs": 6,
    "init_lr": 5e-5, "min_lr": 5e-6, "warmup_lr": 5e-7, "warmup_steps": 2000, "weight_decay": 0.05,
    "attention_dim": 1024, "hyperbolic_dim": 512, "text_width": 512, "memory_feedforward": 2048,
    "decoder_layers": 12, "decoder_heads": 12, "hidden_size": 768, "intermediate_size": 3072, "dropout": 0.1,
    "tokenizer": "bert", "threshold": 10, "scorer_width": 768, "scorer_layers": 4, "scorer_epochs": 10,
    "num_workers": 4, "scorer_lr": 1e-4, "scorer_patience": 3, "scorer_shares": 1,
    "init_visual": "none", "clip_grad_value": 0.1,
}  # fmt: skip
EXTRA_METRICS = ("radgraph", "radcliq", "bertscore", "green", "ratescore")
DATASET_DEFAULTS = {
    "mimic_cxr": {**PUBLISHED, "gen_min_len": 100, "gen_max_len": 150, "scorer_shares": 4},
    "iu_xray": {**PUBLISHED, "gen_min_len": 60, "gen_max_len": 110, "threshold": 3},
    "custom": {**PUBLISHED, "gen_min_len": 60, "gen_max_len": 110, "threshold": 3},
    "synth_cxr": {  # small enough for two CPU cores
        **PUBLISHED, "visual_extractor": "resnet10n", "image_size": 96, "batch_size": 16, "epochs": 7,
        "init_lr": 2.5e-3, "min_lr": 5e-5, "warmup_lr": 1e-5, "warmup_steps": 100, "dropout": 0.0,
        "attention_dim": 128, "hyperbolic_dim": 64, "text_width": 128, "memory_feedforward": 256,
        "decoder_layers": 2, "decoder_heads": 4, "hidden_size": 128, "intermediate_size": 256,
        "num_workers": 0, "tokenizer": "corpus", "threshold": 3, "scorer_width": 64, "scorer_layers": 1, "scorer_epochs": 5,
        "scorer_lr": 2e-3, "scorer_patience": 0, "init_visual": "entity_scorer", "gen_min_len": 40, "gen_max_len": 100,
        "augment": False,  # every drawing is another
        "precision": "fp32",  # bf16, which some CPUs have, costs a network this small too much
    },
}  # fmt: skip

MEDKLIP = "checkpoints/medklip"


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
    group.add_argument(
        "--features",
        choices=("stored", "online"),
        default="stored",
        help="online: entity embeddings are read off the image in each step, 31 GB less on disk for MIMIC-CXR",
    )
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
        "--train_retrieval", choices=("own", "label", "mixed"), default="own", help="reference of a training study"
    )
    group.add_argument("--drop_references", type=float, help="share of studies without one (.1; with label 0)")
    _flag(group, "--exclude_same_patient", False, "never retrieve a report of the study's own patient")
    _flag(group, "--augment", True, "random crop and rotation of training images")
    group.add_argument("--monitor_metric", default="val_ce_f1", help="selects model_best.pth (larger is better)")
    group.add_argument("--val_every", type=int, default=1, help="epochs between validations")
    group.add_argument("--save_every", type=int, default=1000, help="steps between checkpoints inside an epoch")
    group.add_argument("--init_from", help="trained model to start from: ours or the released state dict")
    _flag(group, "--resume", False, "continue from current_checkpoint.pth in --save_dir")
    _flag(group, "--check", True, "refuse a data set in which the fast part of the doctor finds errors")
    group.add_argument("--profile", type=int, default=0, help="time this many steps, write trace.json, and stop")
    _flag(group, "--channels_last", True, "channels-last memory format in the ResNet")


def _add_testing(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("testing")
    group.add_argument(
        "--load_pretrained", help="trained model, ours or the released state dict (default: <save_dir>/model_best.pth)"
    )
    group.add_argument("--split", choices=("train", "val", "test"), default="test", help="split to report on")
    _flag(group, "--baselines", False, "add the rows of four retrieval baselines to the table")
    group.add_argument("--plot", type=int, default=0, help="attention figures to write, of the first studies")
    group.add_argument("--plot_ids", nargs="+", default=[], help="attention figures of these studies, by id")
    _flag(group, "--viewer", True, "write index.html, a page to read the reports")
    group.add_argument("--viewer_studies", type=int, default=500, help="most studies shown on the page")
    group.add_argument("--show", type=int, default=5, help="generated reports printed beside their references")
    _add_statistics(group)


def _add_scoring(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("scoring")
    group.add_argument(
        "--predictions",
        nargs="+",
        required=True,
        metavar="[NAME=]FILE",
        help="a table, JSON or text file, a system each",
    )
    group.add_argument(
        "--references", help="table, JSON, text or annotation file; default: those in the predictions, or gts.csv"
    )
    group.add_argument(
        "--columns",
        nargs="+",
        default=(),
        metavar="ROLE=NAME",
        help="prediction=, reference=, id=: which column is which",
    )
    _flag(group, "--by_order", False, "match the rows of all files by their order, whatever their ids")
    group.add_argument(
        "--section",
        choices=("findings", "impression", "both"),
        default="findings",
        help="where a file keeps them apart",
    )
    group.add_argument("--split", choices=("train", "val", "test"), default="test", help="split of an annotation file")
    group.add_argument("--baseline", help="name of the system that the others are compared with")
    group.add_argument(
        "--dataset_name", choices=tuple(DATASET_DEFAULTS), default="custom", help="whose published rows to print"
    )
    group.add_argument(
        "--cleaning",
        choices=("auto", "published", "minimal", "none"),
        default="auto",
        help="auto: published, if a file has upper case",
    )
    group.add_argument("--max_words", type=int, default=100, help="words kept of a reference; 0 for all")
    group.add_argument(
        "--feature_dir", help="prepared features whose training split says what is frequent and what is copied"
    )
    group.add_argument("--train_ann", help="annotation file whose training split says so")
    group.add_argument(
        "--extra_metrics", nargs="+", choices=EXTRA_METRICS, default=(), help="through RadEval; may fetch weights"
    )
    group.add_argument("--chexbert_path", default="checkpoints/stanford/chexbert/chexbert.pth", help="CheXbert weights")
    group.add_argument("--bert_path", help="local bert-base-uncased folder (vocab.txt, weights)")
    _add_statistics(group)


def _add_statistics(group) -> None:
    _flag(group, "--meteor", True, "run METEOR (needs Java)")
    group.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples of the studies")


def _add_synthetic(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("synthetic (SynthCXR)")
    group.add_argument("--num_studies", type=int, default=3000, help="studies drawn")
    group.add_argument("--val_share", type=float, default=0.05, help="share of the studies for validation")
    group.add_argument("--test_share", type=float, default=0.15, help="share of the studies for the test")
    text = "radiologists with habits of their own who share the studies; 0 words every report independently"
    group.add_argument("--readers", type=int, default=100, help=text)
    group.add_argument("--synth_image_size", type=int, default=110, help="side of the drawn images in pixels")
    group.add_argument("--difficulty", type=float, default=0.5, help="subtlety of the signs; 1 needs larger images")
    group.add_argument("--contact_sheet", help="only draw the sheet of labelled examples to this JPEG file")


def _add_prepare(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("prepare")
    group.add_argument("--visual_extractor", choices=CHOICES["visual_extractor"], help="backbone of the entity scorer")
    group.add_argument("--resnet_weights", help="torchvision weights file of the backbone, or 'download'")
    group.add_argument("--entity_scorer", choices=("own", "medklip"), default="own", help="what scores the entities")
    group.add_argument("--medklip_checkpoint", default=f"{MEDKLIP}/checkpoint_final.pth", help="published weights")
    group.add_argument("--entity_descriptions", default=f"{MEDKLIP}/observation explanation.json", help="of MedKLIP")
    group.add_argument("--description_tokens", type=int, default=64, help="MedKLIP's tests: 64; its training: 128")
    group.add_argument("--scorer_width", type=int, help="width E of the entity embeddings")
    group.add_argument("--scorer_layers", type=int, help="decoder layers of the entity scorer")
    group.add_argument("--scorer_epochs", type=int, help="passes over the training split for the entity scorer")
    group.add_argument(
        "--scorer_shares", type=int, help="batches in a step of the entity scorer; processes share them, same result"
    )
    group.add_argument("--scorer_lr", type=float, help="peak learning rate of the entity scorer")
    group.add_argument("--scorer_patience", type=int, help="epochs without a better held-out loss; 0: train all epochs")
    group.add_argument(
        "--feature_dtype", choices=("float16", "float32"), default="float16", help="of stored embeddings"
    )
    group.add_argument("--published", help="folder of the published REVTAF files to convert instead of building")
    group.add_argument(
        "--write_published", help="folder to write the features to, in the layout of the published files"
    )
    group.add_argument(
        "--measure_labeler", help="only print how the rules agree with the labels_mesh of this JSON-lines file"
    )
    group.add_argument(
        "--text_encoder", default="lsa", help="'lsa', a Hugging Face model folder, or hub:NAME to fetch one"
    )
    group.add_argument("--text_pooling", choices=("mean", "cls"), default="mean", help="of a model's last layer")
    group.add_argument("--text_width", type=int, help="width C of the report features (LSA)")
    group.add_argument("--clip_k", dest="memory_size", type=int, default=21, help="reports in the memory of a study")
    group.add_argument("--neighbours", type=int, default=10, help="label-nearest training studies kept per study")
    group.add_argument("--convert", help="only rewrite this trained model, for the code that --to names, as --out")
    group.add_argument("--to", choices=("ours", "released"), default="ours", help="layout of the converted model")
    group.add_argument("--out", default="results/converted.pth", help="file of the converted model")
    text = "keep a patient's own reports out of memory and neighbours; by default out of those that are built, not published"
    _flag(group, "--exclude_same_patient", None, text)


def _add_raw(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("raw files and the doctor")
    group.add_argument("--raw_dir", help="build the annotation and images from these raw files first")
    group.add_argument("--raw_step", choices=("all", "images", "annotation"), default="all", help="stop after this")
    group.add_argument("--section", choices=("findings", "impression", "both"), default="findings", help="text taken")
    _flag(group, "--unnamed", True, "take paragraphs under no header for findings (MIMIC-CXR)")
    group.add_argument("--items", choices=("study", "image"), default="study", help="'image' as R2Gen (MIMIC-CXR)")
    _flag(group, "--chexpert_labels", False, "take the labels of mimic-cxr-2.0.0-chexpert.csv.gz")
    group.add_argument("--split_file", help="annotation in R2Gen's layout, or CSV with id and split")
    group.add_argument("--xxxx", choices=("keep", "word", "sentence"), default="keep", help="what goes with XXXX (IU)")
    group.add_argument("--resize", type=int, default=0, help="shorter side of image copies; 0 uses the raw images")
    group.add_argument("--copy_format", choices=("jpg", "png"), default="jpg", help="of the copies; jpg: quality 95")
    _flag(group, "--check", False, "only list everything that is wrong with annotation, images and features")
    _flag(group, "--strict", False, "with --check: exit 1 on warnings")


def _add_runtime(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("runtime")
    group.add_argument("--save_dir", help="where the run writes everything it writes")
    group.add_argument("--seed", type=int, default=456789, help="seed of every random generator")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA when there is one")
    group.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: bf16 where the hardware has it"
    )
    group.add_argument("--n_gpu", type=int, default=0, help="processes that the scripts start; 0 for one per GPU")


def _flag(group, name: str, default: bool | None, text: str, dest: str | None = None) -> None:
    group.add_argument(name, action=BooleanOptionalAction, default=default, help=text, dest=dest or name[2:])


PROGRAMS = {
    "prepare": (_add_data, _add_raw, _add_synthetic, _add_prepare, _add_runtime),
    "train": (_add_data, _add_model, _add_generation, _add_training, _add_runtime),
    "test": (_add_data, _add_generation, _add_testing, _add_runtime),
    "score": (_add_scoring, _add_runtime),
}
