"""Trained models rewritten for this project or for the released code."""

from __future__ import annotations

from pathlib import Path

from models.config import RevtafConfig
from modules.messages import UserError
from modules.weights.checkpoints import as_checkpoint
from modules.weights.layouts import weights_of
from modules.weights.reading import load_weights
from modules.weights.released import is_released, other_behaviour, to_released
from modules.weights.saving import save_atomically


def convert(source: str | Path, to: str, out: str | Path) -> str:
    """Write a model for this project (``to`` = ``"ours"``) or for the released code (``"released"``).

    Every tensor that takes part in an output is kept to the bit, both ways.

    Returns:
        What was written and what goes with it.

    Raises:
        UserError: if there is no such file; if it is in that layout already, or the other layout has no place for it.
    """
    content = load_weights(source)
    checkpoint = as_checkpoint(content, source)
    if is_released(weights_of(content)) == (to == "released") or Path(out).resolve() == Path(source).resolve():
        raise UserError(f"{source} already has the layout that --to {to} asks for, or is --out itself: nothing to do")
    if to == "ours":
        save_atomically(checkpoint, Path(out))
        return f"{checkpoint['run']['released']}\nwrote {out}"
    released = to_released(checkpoint["state_dict"], source)
    save_atomically(released, Path(out))
    line = f"wrote {out}: {len(released)} tensors under the released names"
    differences = other_behaviour(RevtafConfig(**checkpoint["config"]))
    return f"{line}; the released code will compute otherwise, for {', '.join(differences)}" if differences else line
