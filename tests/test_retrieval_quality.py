"""modules/retrieval/quality.py: against a slow count, and what must hold of every ranking."""

import numpy as np
import pytest
import torch
from small_set import small_bank, small_set

from models.hyperbolic_encoder import LearnableRetrievalEnhancer
from modules.corpus.annotations import Study
from modules.evaluation.metrics.clinical import clinical_sums, frequency_thirds
from modules.labels import CONDITIONS, MIMIC_POSITIVE_RATES, POSITIVE
from modules.messages import UserError
from modules.retrieval import quality as retrieval_quality
from modules.retrieval.retriever import Queries, random_rows, retrieve

N, QUERIES = 40, 12
RAREST = ("consolidation", "pneumonia", "pneumothorax", "pleural other")  # of MIMIC-CXR, four of fourteen
MOST_FREQUENT = ("cardiomegaly", "lung opacity", "atelectasis", "support devices", "no finding")


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """Forty training studies, of which the first two are asked for too, and ten others."""
    monkeypatch.setattr(retrieval_quality, "PAIRS", 5 * N)  # several blocks of queries
    rng = np.random.default_rng(0)
    others = [f"q{i}" for i in range(QUERIES - 2)]
    labels = rng.integers(0, 4, size=(N + len(others), 18))
    scores = rng.random((N + len(others), 75)).astype(np.float32)
    known = {f"b{i}": f"a {i} is seen ." for i in range(N)}
    bank = small_bank(tmp_path, known, labels, others=others, scores=scores)
    dataset = small_set(bank, {i: f"no {n} is seen ." for n, i in enumerate(["b0", "b1", *others])})
    asked = [0, 1, *range(N, N + len(others))]
    labels, scores, studies = labels[asked], scores[asked], dataset.studies
    torch.manual_seed(0)
    enhancer = LearnableRetrievalEnhancer(
        num_entities=75, width=12, layers=2, manifold="poincare", curvature=0.01, learn_curvature=True
    )
    thirds = frequency_thirds(MIMIC_POSITIVE_RATES)
    found = retrieval_quality.retrieval_quality(
        enhancer, dataset, Queries(studies, scores), thirds, exclude_same_patient=False, seed=0
    )
    return bank, labels, scores, studies, found


def test_cosine_agrees_with_a_slow_count(judged):
    bank, labels, scores, studies, found = judged
    known, agreement, ranks, first = bank.labels, [], [], []
    for query, study, own in zip(scores, studies, labels, strict=True):
        cosine = bank.region_scores @ query / np.linalg.norm(bank.region_scores, axis=1) / np.linalg.norm(query)
        order = [i for i in np.argsort(-cosine) if bank.ids[i] != study.id]
        equal = (known == own).sum(axis=1)
        best = max(equal[i] for i in order)
        ranks.append(1 + next(rank for rank, i in enumerate(order) if equal[i] == best))
        agreement.append(np.mean([(known[i] == own).mean() for i in order[:5]]))
        first.append(order[0])
    cosine = found["cosine"]
    assert cosine["mrr_label_nearest"] == pytest.approx(np.mean(1 / np.array(ranks)))
    assert cosine["label_agreement_top5"] == pytest.approx(np.mean(agreement))
    scores = clinical_sums(known[first], labels).scores()
    assert cosine["label_f1_top1"] == pytest.approx(scores["ce_f1_example"])
    assert cosine["f1_macro_top1"] == pytest.approx(scores["ce_f1_macro"])
    retrieved, true = known[first] == POSITIVE, labels == POSITIVE
    f1 = 2 * (retrieved & true).sum(axis=0) / (retrieved.sum(axis=0) + true.sum(axis=0))
    tail, head = (f1[[CONDITIONS.index(name) for name in names]].mean() for names in (RAREST, MOST_FREQUENT))
    assert cosine["f1_macro_tail_top1"] == pytest.approx(tail)
    assert abs(tail - head) > 0.02


def test_the_random_row_is_the_draw_of_random_retrieval(judged):
    bank, labels, scores, studies, found = judged
    groups = bank.groups(studies, False)
    rows = random_rows(*groups, studies, seed=0, k=5)
    assert (groups[0][rows] != groups[1][:, None]).all()
    assert all(len(set(row)) == 5 for row in rows.tolist())
    assert len({tuple(row) for row in rows.tolist()}) > 6
    known = bank.labels
    assert found["random"]["f1_macro_top1"] == pytest.approx(
        clinical_sums(known[rows[:, 0]], labels).scores()["ce_f1_macro"]
    )
    assert found["random"]["label_agreement_top5"] == pytest.approx((known[rows] == labels[:, None]).mean())
    found, distances = retrieve("random", None, bank, Queries(studies, scores), exclude_same_patient=False, seed=0, k=2)
    first = found[:, 0]
    assert first.tolist() == rows[:, 0].tolist()
    assert np.isnan(distances).all()
    alone = random_rows(groups[0], groups[1][3:4], studies[3:4], seed=0)  # whoever else asks
    assert alone[0, 0] == rows[3, 0]


def test_random_retrieval_chooses_evenly_and_refuses_a_bank_of_one_patient():
    studies = [Study(id=f"q{i}", image_path=("x",), report="x", split="test") for i in range(4000)]
    rows = random_rows(np.arange(20), np.full(4000, -1), studies, seed=3)[:, 0]
    assert np.abs(np.bincount(rows, minlength=20) - 200).max() < 60
    with pytest.raises(UserError, match="fewer than 1 studies of the retrieval bank"):
        random_rows(np.zeros(20, int), np.zeros(1, int), studies[:1], seed=3)


def test_what_holds_of_the_rankings(judged):
    *_, found = judged
    assert set(found) == {"learned", "cosine", "random", "oracle"}
    assert found["oracle"]["mrr_label_nearest"] == 1
    assert found["oracle"]["label_agreement_top1"] < 1  # the study itself, in the bank, is never retrieved
    for name, row in found.items():
        assert row["label_agreement_top1"] <= found["oracle"]["label_agreement_top1"], name
        low, high = row["intervals"]["label_f1_top1"]
        assert low <= row["label_f1_top1"] <= high
        assert len(row["per_class_f1_top1"]) == 14
