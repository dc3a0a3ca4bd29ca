"""What is compared with the full model, and on which data: the grid of `bash ablate.sh`, the most telling rows first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Ablation(NamedTuple):
    """One row of the table.

    Args:
        name: of the row.
        flags: what it adds to the command of the full model, flags of ``main_train.py``.
    """

    name: str
    flags: str = ""


class Benchmark(NamedTuple):
    """Data that are drawn and how every model is trained and tested on them.

    Args:
        name: of the benchmark and of its folders.
        drawing: flags of ``main_prepare.py``; None where the data set is already prepared, at its usual place.
        training: flags of ``main_train.py`` that every row shares. One validation, after the last epoch: a model chosen
            by 150 studies would add its own noise to every comparison.
    """

    name: str
    drawing: str | None
    training: str


class Job(NamedTuple):
    """One training and its test."""

    row: Ablation
    seed: int
    folder: Path


RELEASED = (  # every switch of the released code's behaviour at once; docs/method.md has a line on each. That its label neighbours know no patients is the preparation's
    "--ot_plan single --align_iou binary --no-mask_padding --align_pairs all --entity_keys text --map_view patches "
    "--presence_weight 0 --reference_memory 0 --references 1 --prompt_states true --grid 1x --retrieval learned --enhancer scores "
    "--train_retrieval label --rare_sampling 0 --rerank none --beam_size 3"
)
ABLATIONS = (
    Ablation("full"),
    Ablation("no retrieval", "--retrieval none"),
    Ablation("released behaviour", RELEASED),
    Ablation("random reports", "--retrieval random"),
    Ablation("cosine retrieval", "--retrieval cosine"),
    Ablation("states retrieval", "--retrieval states"),
    Ablation("label oracle", "--retrieval label"),
    Ablation("released enhancer", "--enhancer scores"),
    Ablation("no presence term", "--presence_weight 0"),
    Ablation("maps of the last stage", "--map_view patches"),
    Ablation("maps of fine cells", "--map_view fine"),
    Ablation("no alignment", "--align_weight 0"),
    Ablation("softmax attention", "--attention softmax"),
    Ablation("finer grid", "--grid 2x"),
    Ablation("finer grid, fine cells", "--grid 2x --map_view fine"),
    Ablation("finer grid, softmax attention", "--grid 2x --attention softmax"),
    Ablation("towers that see a thumbnail", "--tower_inputs thumbnail"),
    Ablation("no oracle references at first", "--oracle_epochs 0"),
    Ablation("references not read as text", "--reference_memory 0"),
    Ablation("one reference", "--references 1"),
    Ablation("every study once", "--rare_sampling 0"),
    Ablation("most probable of three beams", "--rerank none --beam_size 3"),
    Ablation("thirty-two beams", "--beam_size 32"),
    Ablation("second search", "--second_search 12"),
    Ablation("second search without guidance", "--second_search 12 --guidance 0"),
    Ablation("sides of the maps", "--rerank maps"),
    Ablation("entity keys from the text", "--entity_keys text"),
    Ablation("alignment of all pairs", "--align_pairs all"),
    Ablation("predicted states in the prompt", "--prompt_states predicted"),
    Ablation("mixed states in the prompt", "--prompt_states mixed"),
    Ablation("label-nearest training references", "--train_retrieval label"),
    Ablation("reports of the own patient", "--no-exclude_same_patient"),
    Ablation("every study has a reference", "--drop_references 0"),
    Ablation("no attention to text", "--attention none"),
    Ablation("alignment of stored texts", "--align_pairs stored"),
    Ablation("no report memory", "--memory_layers 0"),
    Ablation("no prompt", "--prompt none"),
    Ablation("single plan", "--ot_plan single"),
    Ablation("lorentz", "--manifold lorentz"),
    Ablation("euclidean", "--manifold euclidean"),
    Ablation("released enhancer, lorentz", "--enhancer scores --manifold lorentz"),
    Ablation("released enhancer, euclidean", "--enhancer scores --manifold euclidean"),
    Ablation("curvature .1", "--c 0.1"),
    Ablation("curvature 1", "--c 1"),
    Ablation("curvature learned", "--learn_c"),
    Ablation("listwise ranking", "--enhancer scores --rank_loss listwise"),
    Ablation("no ranking", "--enhancer scores --rank_weight 0"),
    Ablation("conflict-averse gradients", "--cagrad 0.4"),
    Ablation("findings rewarded at the end", "--scst 3"),
    Ablation("rare findings rewarded at the end", "--scst 3 --scst_rarity 1"),
)
WHOLE = Benchmark(
    "synth_cxr",
    "--num_studies 6000 --val_share 0.05 --test_share 0.5 --readers 100",
    "--epochs 14 --val_every 14 --rerank states --second_search 0",  # as its first runs, from before there was more
)
SMALL = Benchmark(
    "small",
    "--num_studies 1500 --val_share 0.04 --test_share 0.27 --readers 26",
    "--decoder_layers 2 --epochs 8 --val_every 8 --second_search 0",
)
UNSEEN = WHOLE._replace(  # nothing was chosen by its test drawings; by its 900 validation drawings the difficulty was
    name="synth_cxr_unseen",
    drawing="--num_studies 6600 --val_share 0.1364 --test_share 0.4546 --readers 100 --difficulty 0.7 --seed 2",
)
QUICK = Benchmark(
    "quick",
    "--num_studies 800 --val_share 0.04 --test_share 0.2 --readers 16 --batch_size 24 --scorer_lr 2.5e-3 --scorer_dropout 0",
    "--decoder_layers 2 --epochs 4 --val_every 4 --batch_size 8 --beam_size 3 --second_search 0",
)
QUICK_ROWS = ("full", "no retrieval", "released behaviour")
BENCHMARKS = {"whole": WHOLE, "small": SMALL, "unseen": UNSEEN}  # as --benchmark names them
