"""Which of the hypotheses of a beam search is taken: the most probable one, or the one that says the predicted findings."""

import pytest
import torch

from models.beam_search import GenerationLimits, beam_search
from modules.corpus.tokenizer import ReportTokenizer
from modules.evaluation.generation import nearest_to_states
from modules.labelling.labelers import RuleLabeler
from modules.labels import CONDITIONS, POSITIVE

REPORTS = ["no effusion .", "large pleural effusion .", "large pleural effusion and cardiomegaly .", "cardiomegaly ."]


def hypotheses(*texts):
    tokenizer = ReportTokenizer.from_reports(REPORTS, 1)
    rows = [tokenizer.encode(text, [0] * 18, 30) for text in texts]
    width = max(map(len, rows))
    return tokenizer, torch.tensor([[row + [tokenizer.pad_id] * (width - len(row)) for row in rows]])


@pytest.mark.parametrize(
    ("found", "expected"),
    [(("pleural effusion",), 1), (("pleural effusion", "cardiomegaly"), 2), ((), 0), (("cardiomegaly",), 2)],
)
def test_the_hypothesis_with_the_fewest_differing_findings_is_taken(found, expected):
    tokenizer, tokens = hypotheses(*REPORTS[:3])
    states = torch.zeros(1, 18, dtype=torch.long)
    for name in found:
        states[0, CONDITIONS.index(name)] = POSITIVE
    if not found:
        states[0, CONDITIONS.index("no finding")] = POSITIVE
    scores = torch.tensor([[-1.0, -2.0, -3.0]])
    chosen = nearest_to_states(states, tokens, scores, tokenizer=tokenizer, labeler=RuleLabeler())
    assert chosen.tolist() == [expected]


def test_a_place_without_a_hypothesis_is_never_taken_and_probability_decides_between_equals():
    tokenizer, tokens = hypotheses(REPORTS[0], REPORTS[1], REPORTS[1])
    states = torch.zeros(1, 18, dtype=torch.long)
    states[0, CONDITIONS.index("pleural effusion")] = POSITIVE
    for scores, expected in (([-1.0, -2.0, -3.0], 1), ([-1.0, -torch.inf, -torch.inf], 0)):
        chosen = nearest_to_states(states, tokens, torch.tensor([scores]), tokenizer=tokenizer, labeler=RuleLabeler())
        assert chosen.tolist() == [expected]


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
