"""What the flags of a search for reports mean together."""

from __future__ import annotations

from collections.abc import Collection

from models.config import FlagError
from modules.options.dataset_defaults import DATASET_DEFAULTS
from modules.options.flags import GenerationOptions


def settle_search(
    search: GenerationOptions, given: Collection[str], dataset_name: str, prompt: str = "states", followed: bool = False
) -> None:
    """Refuse flags of a search that would not be read, and switch a second search off where none can take place.

    It is switched off so that no record tells of it. ``--second_search`` chooses by the predicted states; asked for without
    ``--rerank``, it lets the first search do so too.

    Args:
        search: the flags, which are changed.
        given: names of the flags that the command line sets.
        dataset_name: whose defaults ask for nothing.
        prompt: what the decoder is told, ``states`` or ``none``.
        followed: whether what is not given is still to be taken from the options of a training.

    Raises:
        FlagError: naming the flags.
    """
    beams, second = search.beam_size, search.second_search
    if "rerank" in given and search.rerank != "none" and beams == 1:
        raise FlagError(
            f"--rerank {search.rerank} chooses among beams and --beam_size is 1: raise the second or leave the first out"
        )
    if second and "second_search" in given and "rerank" not in given and search.rerank == "none":
        search.rerank = "states"
    idle = {"--rerank none": search.rerank == "none", "--beam_size 1": beams == 1, "--prompt none": prompt == "none"}
    if why := next((flag for flag, holds in idle.items() if holds), None):
        usual = DATASET_DEFAULTS.get(dataset_name, {}).get("second_search", 0)
        if "second_search" in given and second not in (0, usual):
            raise FlagError(f"--second_search {second} would change nothing with {why}: leave one of them out")
        search.second_search = 0
    if (
        "guidance" in given
        and search.guidance != GenerationOptions().guidance
        and not (search.second_search or followed)
    ):
        raise FlagError(
            f"--guidance {search.guidance} would change nothing without a second search: give --second_search too, or leave it out"
        )
