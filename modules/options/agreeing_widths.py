"""Sizes of a training that must fit those of a preparation which has yet to run."""

from __future__ import annotations

from pathlib import Path

from models.config import FlagError
from modules.options.dataset_defaults import SMALL, SMALL_SET
from modules.options.programs import MainPrepare, MainTrain


def refuse_heads(preparing: MainPrepare, training: MainTrain) -> None:
    """Refuse heads of the report memory that do not divide the width which the report features are going to have.

    Raises:
        FlagError: naming the flag that mends it.
    """
    if training.start.init_from or not training.model.memory_layers:  # whose heads the model has; nothing has heads
        return
    heads = training.model.num_heads
    for width, why in _widths(preparing):
        if width % heads:
            mend = f"--nhead {next(n for n in range(heads, 0, -1) if width % n == 0)}"
            if preparing.preparation.text_encoder == "lsa":
                mend = f"--text_width {heads * max(1, round(width / heads))} or {mend}"
            raise FlagError(f"--nhead {heads} must divide the width of the report features, {width}{why}: give {mend}")


def _widths(preparing: MainPrepare) -> list[tuple[int, str]]:
    """The widths that the report features may get, and when; none where only the model of the texts knows."""
    wanted = preparing.preparation
    if wanted.text_encoder != "lsa":
        from modules.records import read_object  # needs numpy, without which the programs say what is missing

        described = Path(wanted.text_encoder) / "config.json"
        width = read_object(described).get("hidden_size") if described.is_file() else None
        return [(width, f" of {wanted.text_encoder}")] if isinstance(width, int) else []
    if preparing.data.dataset_name == "custom" and "text_width" not in preparing.given:
        small = SMALL_SET["text_width"]
        return [(small, f" of fewer than {SMALL} training studies"), (wanted.text_width, f" of {SMALL} or more")]
    return [(wanted.text_width, "")]
