"""Flags that would change nothing beside the others of a command line: they are refused, for whoever typed them meant something."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field
from typing import Any, NamedTuple

from models.config import BACKBONES, FlagError, flag_name

RETRIEVING = ("learned", "states", "cosine", "random", "label")
CLEANED = ("r2gen",)  # profiles that score cleaned text, see modules/evaluation/metrics/profiles.py


class ReadWith(NamedTuple):
    """Flags that are read where another flag has one of some values; ``True``: where it is given, ``False``: where not."""

    names: tuple[str, ...]
    other: str
    values: tuple[str, ...] | bool
    instead: str = "give one of them"  # where it is read without the other
    harmless: int = 0  # a number that asks for nothing

    def are_read_beside(self, chosen: Any) -> bool:
        """Whether the flags are read where the other one has this value."""
        if isinstance(self.values, bool):
            return bool(chosen) is self.values
        return chosen in self.values


OF_A_TRAINED_MODEL = (  # with --init_from they are asked once the switches of that model are known
    ReadWith(("align_iou",), "align_pairs", ("all",)),
    ReadWith(("align_iou", "align_pairs"), "align_weight", True),
    ReadWith(("rank_loss", "rank_temperature", "learn_curvature"), "rank_weight", True),
    ReadWith(("rank_weight", "rank_loss", "hyperbolic_layers"), "enhancer", ("scores",)),
    ReadWith(("tower_inputs",), "enhancer", ("towers",)),
    ReadWith(("rank_temperature",), "rank_loss", ("listwise",)),
    ReadWith(("presence_weight",), "entity_keys", ("query",)),
    ReadWith(("curvature", "learn_curvature"), "manifold", ("poincare", "lorentz")),
    ReadWith(("ot_plan", "ot_solver", "ot_iterations"), "attention", ("ot",)),
    ReadWith(("ot_epsilon",), "attention", ("ot", "softmax")),
    ReadWith(("ot_solver", "ot_iterations", "ot_epsilon"), "ot_plan", ("joint",)),
    ReadWith(("references", "reference_memory", "train_retrieval", "drop_references"), "retrieval", RETRIEVING),
    ReadWith(
        ("oracle_epochs", "exclude_same_patient", "align_weight", "align_pairs", "align_iou"), "retrieval", RETRIEVING
    ),
    ReadWith(("oracle_epochs",), "train_retrieval", ("own",)),
    ReadWith(("references",), "reference_memory", True, harmless=1),  # beside none to be read as text there is one
    ReadWith(("prompt_states",), "prompt", ("states",)),
    ReadWith(("memory_feedforward", "num_heads"), "memory_layers", True),
)
OF_A_TRAINING = (*OF_A_TRAINED_MODEL, ReadWith(("threshold",), "tokenizer", ("corpus",)))
OF_ANY_TRAINING = (
    ReadWith(("batch_size",), "global_batch", False),
    ReadWith(("sync_bn",), "freeze_bn", False),
    ReadWith(("init_visual",), "resnet_weights", False),
    ReadWith(("init_visual",), "visual_extractor", BACKBONES),
    ReadWith(("init_visual", "tokenizer"), "init_from", False),
    ReadWith(("fast_cpu",), "device", ("auto", "cpu")),
    ReadWith(("fast_gpu", "compile"), "device", ("auto", "cuda")),
    ReadWith(("compile",), "fast_gpu", True),
    ReadWith(("scst_epochs", "scst_weight", "scst_rarity"), "scst", True),
    ReadWith(("scst",), "scst_weight", True),
)
OF_A_TEST = (
    ReadWith(("viewer_studies",), "viewer", True),
    ReadWith(("show",), "verbose_text", True),
    ReadWith(("beam_size", "gen_min_len", "gen_max_len", "rerank", "second_search", "guidance"), "rescore", False),
    ReadWith(("fast_cpu",), "device", ("auto", "cpu")),
    ReadWith(("fast_gpu",), "device", ("auto", "cuda")),
)
OF_A_PREPARATION = (
    ReadWith(("medklip_checkpoint", "entity_descriptions", "description_tokens"), "entity_scorer", ("medklip",)),
    ReadWith(("scorer_width", "scorer_layers", "scorer_epochs", "scorer_shares"), "entity_scorer", ("own",)),
    ReadWith(("scorer_lr", "scorer_patience", "scorer_dropout"), "entity_scorer", ("own",)),
    ReadWith(("text_width",), "text_encoder", ("lsa",)),
    ReadWith(("copy_format",), "resize", True),
    ReadWith(("unnamed", "chexpert_labels"), "dataset_name", ("mimic_cxr",)),
    ReadWith(("xxxx",), "dataset_name", ("iu_xray",)),
    ReadWith(("patient_column",), "dataset_name", ("custom",)),
)
_TEXTS = ("text_encoder", "text_pooling", "text_width")
_SCORER = (
    "image_size", "visual_extractor", "resnet_weights", "scorer_width", "scorer_layers", "scorer_epochs", "scorer_shares",
    "scorer_lr", "scorer_patience", "scorer_dropout",
)  # fmt: skip
WITH_A_BANK_OF_OTHERS = (ReadWith(
        (*_TEXTS, *_SCORER, "neighbours"), "bank_dir", False,
        "the scorer and the texts of that bank are taken (prepare_iu_xray.sh --zero_shot names it): leave it out",
    ),
)  # fmt: skip
FROM_PUBLISHED = (
    ReadWith(
        (*_TEXTS, *_SCORER, "medklip_checkpoint", "entity_descriptions", "description_tokens"), "published", False
    ),
)
OF_A_SCORING = (
    ReadWith(("metric_models",), "extra_metrics", True),
    ReadWith(("cleaning", "max_words"), "profile", CLEANED),
)
_OF_REPORTS = ("out", "overwrite", "text", "plot", "show", "verbose_text", "viewer", "viewer_studies")
OF_A_PREDICTION = (
    ReadWith(("viewer_studies",), "viewer", True),
    ReadWith(("img_root_dir",), "input_json_file", True),
    ReadWith(("bank_text", "bank_size", "half"), "export", True),
    *(ReadWith(_OF_REPORTS, other, False) for other in ("export", "scores", "serve")),
)


def refuse_idle(
    found: Mapping[str, tuple[Field, Any]],
    given: Collection[str],
    defaults: Mapping[str, Any],
    rows: tuple[ReadWith, ...],
) -> None:
    """Refuse what the command line sets and nothing would read.

    A value that is the default, or a number that is 0 (or what its row says), asks for nothing and may stand.

    Args:
        found: declaration and value of every flag of a program by its name.
        given: names of those that the command line sets.
        defaults: what the data set changes of the declared defaults.
        rows: which flag is read with which other.

    Raises:
        FlagError: naming both flags.
    """
    for row in rows:
        decisive, chosen = found[row.other]
        if row.are_read_beside(chosen):
            continue
        for name in row.names:
            a_field, value = found[name]
            nothing = value == row.harmless and not isinstance(value, bool)
            if name in given and not nothing and value != defaults.get(name, a_field.default):
                raise FlagError(f"{typed(a_field, value)} would change nothing {_because(decisive, chosen, row)}")


def _because(decisive: Field, chosen: Any, row: ReadWith) -> str:
    """The end of the sentence: beside which flag the other is not read, and what to do."""
    name, values = flag_name(decisive), row.values
    if isinstance(values, tuple):
        return f"with {name} {chosen}: it is read with {name} {_one_of(values)}"
    if not values:
        return f"with {typed(decisive, chosen)}: {row.instead}"
    off = chosen is not None and not isinstance(chosen, (bool, tuple, str)) and chosen == 0
    return f"with {name} {chosen}: leave one of them out" if off else f"without {name}: give both, or leave it out"


def _one_of(values: Sequence[str]) -> str:
    *first, last = values
    return f"{', '.join(first)} or {last}" if first else last


def typed(a_field: Field, value: Any) -> str:
    """A flag with its value, as one types it."""
    if isinstance(value, bool):
        return flag_name(a_field) if value else flag_name(a_field).replace("--", "--no-", 1)
    return f"{flag_name(a_field)} {' '.join(value) if isinstance(value, tuple) else value}"
