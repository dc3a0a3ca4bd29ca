"""Which of the hypotheses of a beam search is taken: the most probable one, or the one that says what states and maps show."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.beam_search import GenerationLimits, beam_search
from models.revtaf import FusedStudy
from modules.corpus.tokenizer import ReportTokenizer
from modules.evaluation.reranking import best_hypothesis, misplaced, sides_shown
from modules.labelling.labelers import RuleLabeler
from modules.labels import CONDITIONS, ENTITIES, POSITIVE, STATES

REPORTS = ["no effusion .", "large pleural effusion .", "large pleural effusion and cardiomegaly .", "cardiomegaly ."]
SIDED = ["left effusion .", "right effusion .", "left effusion . right lung opacity .", "effusion ."]
EFFUSION, OPACITY = CONDITIONS.index("pleural effusion"), CONDITIONS.index("lung opacity")


def hypotheses(*texts):
    tokenizer = ReportTokenizer.from_reports([*REPORTS, *SIDED, *texts], 1)
    rows = [tokenizer.encode(text, [0] * 18, 30) for text in texts]
    width = max(map(len, rows))
    return tokenizer, torch.tensor([[row + [tokenizer.pad_id] * (width - len(row)) for row in rows]])


def known(*found, maps=None):
    """What is known of one study: its positive findings and, on a grid of 3 x 3, the patch where entities are seen."""
    states, region_map = torch.zeros(1, 18, dtype=torch.long), torch.zeros(1, len(ENTITIES), 9)
    states[0, [CONDITIONS.index(name) for name in found]] = POSITIVE
    for entity, patch in (maps or {}).items():
        region_map[0, ENTITIES.index(entity), patch] = 0.8
    state_logits = F.one_hot(states, len(STATES)).transpose(1, 2).float()  # (1, P, L)
    rest = dict.fromkeys(("embedding", "region_text", "reference_text", "reference_map", "presence_logits"))
    return FusedStudy(state_logits=state_logits, region_map=region_map, reference_mask=None, fused=None, **rest)


def taken(fused, texts, scores=None, maps=False, map_view="near"):
    tokenizer, tokens = hypotheses(*texts)
    scores = torch.tensor([scores or [-1.0 - n for n in range(len(texts))]])
    how = {"tokenizer": tokenizer, "labeler": RuleLabeler(), "maps": maps, "map_view": map_view}
    return best_hypothesis(fused, tokens, scores, **how).item()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("pleural effusion",), 1),
        (("pleural effusion", "cardiomegaly"), 2),
        (("no finding",), 0),
        (("cardiomegaly",), 2),
    ],
)
def test_the_hypothesis_with_the_fewest_differing_findings_is_taken(found, expected):
    assert taken(known(*found), REPORTS[:3]) == expected


def test_an_invented_finding_counts_as_much_as_a_missed_one():
    missing, right, more = *REPORTS[1:3], "large pleural effusion and cardiomegaly . pulmonary edema ."
    fused = known("pleural effusion", "cardiomegaly")
    assert [taken(fused, [wrong, right]) for wrong in (missing, more)] == [1, 1]
    assert [taken(fused, pair) for pair in ([missing, more], [more, missing])] == [0, 0]


def test_what_is_denied_or_uncertain_differs_no_more_than_what_is_not_said():
    texts = ["large pleural effusion . possible edema . no pneumothorax . no consolidation .", "cardiomegaly ."]
    assert taken(known("pleural effusion"), texts) == 0
    assert taken(known("cardiomegaly"), texts) == 1


def test_a_place_without_a_hypothesis_is_never_taken_and_probability_decides_between_equals():
    for maps in (False, True):
        fused, texts = known("pleural effusion"), [REPORTS[0], REPORTS[1], REPORTS[1]]
        assert taken(fused, texts, [-1.0, -2.0, -3.0], maps) == 1
        assert taken(fused, texts, [-1.0, -torch.inf, -torch.inf], maps) == 0


@pytest.mark.parametrize(("patch", "expected"), [(3, 1), (5, 0), (4, 0)])  # the patient's right is the viewer's left
def test_of_equal_findings_the_side_of_the_map_is_taken(patch, expected):
    fused = known("pleural effusion", maps={"effusion": patch, "blunt": patch})
    assert taken(fused, SIDED[:2], maps=True) == expected
    assert taken(fused, SIDED[:2]) == 0


def test_maps_of_fine_cells_are_as_sharp_here_as_where_they_were_learnt():
    """One patch of .4 on one side against all of .3 on the other: read as wide maps are, the broad side won."""
    fused = known("pleural effusion")
    fused.region_map[0, [ENTITIES.index(name) for name in ("effusion", "blunt")]] = torch.tensor(
        [0.4, 0.0, 0.3, 0.0, 0.0, 0.3, 0.0, 0.0, 0.3]
    )
    by_hand = {width: 1 - 3 * np.exp(-0.1 / width) for width in (0.1, 0.02)}  # above 0 on the patient's right
    assert by_hand[0.1] < 0 < by_hand[0.02]
    assert [taken(fused, SIDED[:2], maps=True, map_view=view) for view in ("near", "patches", "fine")] == [0, 0, 1]


def test_findings_come_before_sides():
    fused = known("pleural effusion", "lung opacity", maps={"effusion": 3, "blunt": 3, "opacity": 3})
    assert taken(fused, [SIDED[1], SIDED[2]], maps=True) == 1  # says both, one of them on the wrong side


def test_sides_are_those_of_the_patient_and_nothing_is_misplaced_that_names_none():
    maps = np.zeros((2, len(ENTITIES), 16))  # a grid of 4 x 4
    maps[0, ENTITIES.index("opacity"), 4] = maps[1, ENTITIES.index("opacity"), 7] = 1
    shown = sides_shown(maps, "near")
    assert shown[0, OPACITY] == -shown[1, OPACITY] > 0.9
    assert not shown[:, CONDITIONS.index("edema")].any()  # of no place
    assert [misplaced(f"{side} lung opacity .", shown[0]) for side in ("left", "right", "bilateral")] == [1, 0, 0]
    assert misplaced("hazy opacity . no left effusion .", shown[0]) == 0
    both = "left lung opacity . right lung opacity ."
    assert [misplaced(both, part) for part in shown] == [0, 0]


def test_the_middle_of_an_odd_grid_is_no_side():
    maps = np.zeros((1, len(ENTITIES), 9))  # a grid of 3 x 3
    maps[0, ENTITIES.index("opacity"), 4] = 1
    assert sides_shown(maps, "near")[0, OPACITY] == pytest.approx(0, abs=1e-6)


def test_a_search_returns_the_hypothesis_that_is_chosen():
    seen = {}

    def log_probs(tokens, rows):
        return torch.log_softmax(torch.tensor([0.0, 1.0, 2.0, 1.5]), dim=0).expand(len(tokens), 4).clone()

    def second(tokens, scores):
        seen["tokens"], seen["scores"] = tokens, scores
        return torch.ones(len(tokens), dtype=torch.long)

    prompt, limits = torch.zeros(2, 1, dtype=torch.long), GenerationLimits(beams=3, min_length=0, max_new_tokens=3)
    best, _ = beam_search(log_probs, prompt, limits, end_id=2, pad_id=0)
    tokens, scores = beam_search(log_probs, prompt, limits, end_id=2, pad_id=0, choose=second)
    assert torch.equal(best, seen["tokens"][:, 0])
    assert torch.equal(tokens, seen["tokens"][:, 1])
    assert torch.equal(scores, seen["scores"][:, 1])
    assert (seen["scores"][:, 0] > seen["scores"][:, 1]).all()
