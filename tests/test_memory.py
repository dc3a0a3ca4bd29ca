"""modules/training/memory.py: what a step keeps is counted, and a lack of memory is a sentence with figures."""

import pytest
import torch
from tiny import tiny_config

from benchmarks.models import published_config, random_batch
from modules.messages import UserError
from modules.options.flags import TrainingOptions
from modules.training.memory import advice, kept_bytes, says_what_to_lower


@pytest.mark.slow
def test_what_is_kept_grows_with_the_batch_and_shrinks_when_computed_twice(capsys):
    config = published_config(quick=False)
    one = kept_bytes(config, random_batch(config, 1, 80))
    twice = kept_bytes(config, random_batch(config, 1, 80), twice=True)
    with capsys.disabled():
        print(f"\nkept of one study: {one / 1e9:.3f} GB, computed twice {twice / 1e9:.3f} GB")
    assert twice < one / 2
    tiny = tiny_config(dropout=0.0)
    small = [kept_bytes(tiny, random_batch(tiny, size, 40)) for size in (4, 8)]
    assert 1.8 < small[1] / small[0] < 2.1


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_names_the_flags(error):
    config = tiny_config()
    options = TrainingOptions()
    batch = random_batch(config, 6, 40)
    with (
        pytest.raises(UserError, match=r"--batch_size 3 --grad_accum 2 keeps .* GB, --grad_checkpointing keeps") as end,
        says_what_to_lower(config, batch, options, "fp32"),
    ):
        raise error
    assert str(end.value) == advice(config, batch, options, "fp32")
    drawing = advice(config, batch, TrainingOptions(scst=5), "fp32")
    drawn = str(end.value).replace("optimizer:", "optimizer, and the reports that --scst 5 draws:")
    assert drawing == drawn.replace(", --precision", ", --scst 2 draws fewer reports than 5, --precision")
    apart = str(end.value).replace(
        ", --precision", ", --cagrad 0 keeps one gradient in place of one of every loss, --precision"
    )
    assert advice(config, batch, TrainingOptions(cagrad=0.4), "fp32") == apart
    with pytest.raises(RuntimeError, match="another"), says_what_to_lower(config, batch, options, "fp32"):
        raise RuntimeError("another")
