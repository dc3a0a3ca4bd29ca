"""What a data set, and a small one of one's own, changes of the published defaults, which stand next to the flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

DATASET_DEFAULTS: dict[str, dict[str, Any]] = {  # the published values: train_mimic_cxr.sh of the released code
    "mimic_cxr": {"gen_min_len": 100, "gen_max_len": 150, "scorer_shares": 4},
    "iu_xray": {"threshold": 3},
    "custom": {"threshold": 3},
    "synth_cxr": {  # small enough for two CPU cores
        "visual_extractor": "resnet10n", "image_size": 96, "batch_size": 16, "eval_batch_size": 64, "epochs": 6,
        "init_lr": 2.5e-3, "min_lr": 5e-5, "warmup_lr": 1e-5, "warmup_steps": 100, "dropout": 0.0,
        "attention_dim": 128, "hyperbolic_dim": 64, "text_width": 128, "memory_feedforward": 256,
        "decoder_layers": 4, "decoder_heads": 4, "hidden_size": 128, "intermediate_size": 256,
        "num_workers": 0, "tokenizer": "corpus", "threshold": 3, "scorer_width": 64, "scorer_layers": 1, "scorer_epochs": 5,
        "scorer_lr": 2e-3, "scorer_patience": 0, "init_visual": "entity_scorer", "gen_min_len": 40, "gen_max_len": 100,
        "beam_size": 6, "rerank": "maps", "second_search": 12, "references": 3, "reference_memory": 64, "rare_sampling": 1.0, "augment": False,  # every drawing is another
        "precision": "fp32",  # bf16, which some CPUs have, costs a network this small too much
    },
}  # fmt: skip
SMALL = 5000  # training studies below which a large network learns nothing that a small one does not
SMALL_SET: dict[str, Any] = {  # of one's own; about the quickstart's
    "visual_extractor": "resnet10n", "image_size": 128, "dropout": 0.0, "attention_dim": 128, "hyperbolic_dim": 64,
    "text_width": 128, "memory_feedforward": 256, "decoder_layers": 2, "decoder_heads": 4, "hidden_size": 128,
    "intermediate_size": 256, "reference_memory": 90, "tokenizer": "corpus", "init_visual": "entity_scorer",
    "scorer_width": 64, "scorer_layers": 1, "scorer_lr": 2e-3, "scorer_patience": 0, "init_lr": 2e-3, "min_lr": 1e-4,
    "warmup_lr": 1e-5, "clip_grad_value": 1.0,
}  # fmt: skip
BROUGHT = {  # by a flag that names weights: what they decide instead of the size of the set
    "bert_path": (
        "tokenizer", "decoder_layers", "decoder_heads", "hidden_size", "intermediate_size", "init_lr", "min_lr", "warmup_lr",
        "clip_grad_value", "threshold",
    ),
    "resnet_weights": ("visual_extractor", "image_size", "init_visual"),
}  # fmt: skip


def without_brought(defaults: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The defaults without those that are decided by weights which the command line names."""
    decided = {name for flag, names in BROUGHT.items() if flag in given for name in names}
    return {name: value for name, value in defaults.items() if name not in decided}
