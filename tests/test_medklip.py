"""models/medklip.py and modules/preparation/medklip.py: the published network, its queries, and features on disk."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_chexbert import golden_values

from models.medklip import MedklipNetwork
from modules.corpus.annotations import Study
from modules.corpus.features import FeatureStore, write_axis
from modules.corpus.images import normalise_pixels, read_resized
from modules.labels import ENTITIES
from modules.preparation import medklip
from modules.preparation.medklip import DescriptionEncoder, MedklipScorer, read_descriptions, write_medklip_features
from modules.preparation.scored_blocks import score_in_blocks

GOLDEN = Path(__file__).parent / "golden"
TINY = {"extractor": "resnet18", "description_dim": 16, "width": 8, "layers": 2, "heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "lungs", "are", "Clear", "clear", "heart", "fluid", "##s"]


@pytest.fixture
def golden():
    return np.load(GOLDEN / "medklip.npz", allow_pickle=False)


@pytest.fixture
def full_size():
    """The network with the golden weights, and the golden queries."""
    keys = json.loads((GOLDEN / "medklip_keys.json").read_text())
    network = MedklipNetwork(**medklip.SIZES).eval()
    own = network.state_dict()
    assert {name: list(value.shape) for name, value in own.items()} == {n: spec["shape"] for n, spec in keys.items()}
    made = {}
    for name, spec in keys.items():
        if spec["dtype"] == "int64":
            made[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            made[name] = 1 + 2 * golden_values(name + "#", [1]).new_tensor(0) + running_variance(name, spec["shape"])
        else:
            made[name] = golden_values(name, spec["shape"])
    assert made["res_features.1.running_var"][:3].tolist() == pytest.approx([1.00307858, 1.15253997, 1.19120252])
    assert made["decoder.norm.weight"][:3].tolist() == pytest.approx([0.83072835, 1.16067410, 0.99118501])
    network.load_state_dict(made)
    return network, inputs("INPUT.disease_book", [75, 768]), inputs("INPUT.ana_book", [51, 768])


def hashed(name, shape):
    """Numbers in [-1, 1) that every machine makes alike: those of a bias, unscaled."""
    return golden_values(name, [int(np.prod(shape))]).double().mul(10).view(*shape)
