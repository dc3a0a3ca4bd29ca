"""Whether a model's references, texts and maps do anything, in words: what the figures say that are not of its reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.options.set_size import FEW_STEPS

COLLAPSED = 0.95  # text cosine or map correlation from which entities are called one
UNREAD = 0.002  # nats a token by which a random reference must cost more, else it is not read


def warnings(figures: Mapping[str, Any]) -> list[str]:
    """One sentence for each figure that says that a part of the method does nothing.

    ``text_cosine`` and ``map_correlation`` say that the entities have become one, ``reference_sensitivity`` that a random
    reference costs no more than the retrieved one. After fewer ``trained_steps`` than a model needs for its first words
    both are so, and one sentence says that it is too early, and where the training went on, that earlier weights are kept
    (``trained_epochs``).
    """
    what = {"text_cosine": "texts of different entities", "map_correlation": "maps of different entities"}
    said = []
    losses = figures.get("reference_sensitivity")
    cost = losses["random"] - losses["retrieved"] if losses else None
    if cost is not None and cost < UNREAD:
        said.append(
            f"warning: a random reference costs {cost:.4f} nats a token more than the retrieved one, so next to nothing is read in "
            "it; try --enhancer towers, --oracle_epochs 2 or a larger --reference_memory, or --retrieval none, which is faster"
        )
    said += [
        f"warning: {name} is {figures[name]:.3f}: the {what[name]} are nearly one, so nothing can be read off them; try "
        "--align_pairs mentions, --entity_keys query or a smaller --align_weight"
        for name in what
        if figures[name] > COLLAPSED
    ]
    steps = figures.get("trained_steps")
    if said and steps is not None and steps < FEW_STEPS:
        epochs = figures.get("trained_epochs") or {"kept": 0, "of": 0}
        earlier = f": the weights kept are those of epoch {epochs['kept']} of {epochs['of']}"
        sentence = f"what references, texts and maps are worth cannot be told after {steps} steps of training"
        return [sentence + (earlier if epochs["kept"] < epochs["of"] else "")]
    return said


def sensitivity_lines(measured: Mapping[str, Any]) -> list[str]:
    """What ``metrics.json`` says of these figures, in Markdown."""
    losses = {kind: value for kind, value in measured["reference_sensitivity"].items() if kind != "studies"}
    return [
        f"| report loss with reference | {' | '.join(losses)} |",
        f"|---|{'---:|' * len(losses)}",
        f"| nats per token | {' | '.join(f'{value:.4f}' for value in losses.values())} |",
        "",
        f"text cosine {measured['text_cosine']:.3f}, map correlation {measured['map_correlation']:.3f}",
        *warnings(measured),
    ]
