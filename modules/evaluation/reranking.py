"""Which hypothesis of the beam search is taken: the one that says what states and maps show.

A beam search prefers short, frequent sentences and drops what is rare, although the prompt names it. Left and right are
as probable as each other to a decoder that looks at a set of patches, so that both stand among its hypotheses; the map
of a finding shows which is right.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.entity_queries import sharpness_of
from models.revtaf import FusedStudy
from modules.corpus.tokenizer import ReportTokenizer
from modules.evaluation.grounding.sign_scores import SIGN_CONDITIONS, sign_maps
from modules.labelling.labelers import Labeler, RuleLabeler
from modules.labelling.particulars import report_particulars
from modules.labels import CONDITIONS, POSITIVE

_RULES = RuleLabeler()
_NEVER = 10**6  # findings by which a hypothesis differs that is none


def best_hypothesis(
    fused: FusedStudy,
    tokens: Tensor,
    scores: Tensor,
    *,
    tokenizer: ReportTokenizer,
    labeler: Labeler,
    maps: bool,
    map_view: str,
) -> Tensor:
    """The hypothesis ``(B,)`` whose text says what the image showed (``--rerank states`` and ``maps``).

    Of the hypotheses that differ from the predicted states in the fewest positive findings, with ``maps`` of those the
    ones with the fewest findings on the side that their map does not show, the most probable one is taken.

    Args:
        fused: what was known before writing.
        tokens: ``(B, beams, T)`` hypotheses, the most probable first.
        scores: ``(B, beams)``, -inf where there is none.
        tokenizer: reads them.
        labeler: what they say.
        maps: whether sides count.
        map_view: of the model.

    Departure: published reports are the most probable hypotheses: ``--rerank none``.
    """
    B, beams = scores.shape
    states = fused.state_logits.argmax(dim=1)  # (B, L)
    columns = [CONDITIONS.index(name) for name in labeler.conditions]
    texts = [tokenizer.decode(one) for one in tokens.flatten(0, 1).tolist()]
    said = labeler(texts).reshape(B, beams, -1)
    shown = states.cpu().numpy()[:, None, columns]  # (B, 1, L)
    differing = ((said == POSITIVE) != (shown == POSITIVE)).sum(axis=2)  # (B, beams)
    differing[np.isneginf(scores.float().cpu().numpy())] = _NEVER
    if maps:
        nearest = differing == differing.min(axis=1, keepdims=True)  # (B, beams)
        rightness = sides_shown(fused.region_map.float().cpu().numpy(), map_view)  # (B, L)
        wrong = [misplaced(texts[n], rightness[n // beams]) if nearest.flat[n] else _NEVER for n in range(B * beams)]
        differing = np.array(wrong).reshape(B, beams)
    return torch.from_numpy(differing.argmin(axis=1)).to(states.device)  # the first of equal ones


def sides_shown(entity_maps: np.ndarray, map_view: str) -> np.ndarray:
    """Which side the map of each condition lies on: above 0 the patient's right, which is the viewer's left.

    Args:
        entity_maps: cosines ``(n, K, M)`` of square grids, row by row.
        map_view: of the model; its maps are as sharp here as where it learns whether an entity is present.

    Returns:
        ``(n, L)``: share of the map on the right minus that on the left; 0 of conditions without a place of their own.
    """
    n, _, M = entity_maps.shape
    grid = round(M**0.5)
    weights = np.exp((entity_maps - entity_maps.max(axis=2, keepdims=True)) / sharpness_of(map_view))
    across = sign_maps(weights / weights.sum(axis=2, keepdims=True)).reshape(n, -1, grid, grid).sum(axis=2)
    half = grid // 2
    shown = np.zeros((n, len(CONDITIONS)))
    shown[:, SIGN_CONDITIONS] = across[:, :, :half].sum(axis=2) - across[:, :, grid - half :].sum(axis=2)
    return shown


def misplaced(report: str, rightness: np.ndarray) -> int:
    """Findings that a report puts on one side while their map ``(L,)`` lies on the other; see :func:`sides_shown`."""
    found = report_particulars(report, _RULES)
    wrong = {"left": rightness > 0, "right": rightness < 0}
    sides = {column: next(iter(kinds["side"])) for column, kinds in found.items() if len(kinds["side"]) == 1}
    return sum(bool(wrong[side][column]) for column, side in sides.items())
