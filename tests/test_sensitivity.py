"""modules/evaluation/sensitivity.py, distinctness.py, model_figures.py: what references, texts and maps make of a report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_set import small_bank, small_set
from tiny import tiny_config, tiny_study

from models.revtaf import PredictedPrompt, Revtaf
from modules.corpus.annotations import read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.dataloaders import evaluation_loader
from modules.corpus.datasets import ReportDataset
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.distributed import processes, rank
from modules.evaluation.distinctness import Distinctness, mean_of_pairs
from modules.evaluation.model_figures import sensitivity_lines, warnings
from modules.evaluation.sensitivity import reference_kinds, reference_sensitivity
from modules.records import read_json, write_json
from modules.retrieval.retriever import random_rows


@pytest.fixture
def fused(tiny_model):
    """What a model knows of a study, with other texts and maps of the entities."""
    known = tiny_model().fuse(tiny_study())
    return lambda texts, maps: replace(known, region_text=texts, region_map=maps)


def test_means_are_those_of_all_pairs():
    rows = torch.nn.functional.normalize(torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)), dim=-1)
    products = rows @ rows.transpose(1, 2)
    by_hand = [np.mean([products[b, i, j] for i in range(5) for j in range(5) if i != j]) for b in range(2)]
    assert mean_of_pairs(rows).tolist() == pytest.approx(by_hand, abs=1e-6)


def test_collapsed_entities_are_told_from_distinct_ones(fused):
    generator = torch.Generator().manual_seed(0)
    texts, maps = torch.randn(3, 75, 64, generator=generator), torch.rand(3, 75, 9, generator=generator)
    distinct, one = Distinctness(), Distinctness()
    distinct(None, fused(texts, maps))
    one(None, fused(texts[:, :1].expand(-1, 75, -1) * 2, maps[:, :1] + torch.rand(3, 75, 1, generator=generator)))
    assert all(abs(value) < 0.1 for value in distinct.figures().values())
    assert all(value == pytest.approx(1, abs=1e-4) for value in one.figures().values())
    assert warnings(distinct.figures()) == []
    first, second = warnings(one.figures())
    assert first.startswith("warning: text_cosine is 1.000: the texts of different entities are nearly one")
    assert "map_correlation" in second


def test_every_study_weighs_the_same_however_it_is_batched(fused):
    generator = torch.Generator().manual_seed(0)
    texts, maps = torch.randn(5, 6, 8, generator=generator), torch.rand(5, 6, 9, generator=generator)
    whole, parts = Distinctness(), Distinctness()
    whole(None, fused(texts, maps))
    for part in (slice(0, 4), slice(4, 5)):
        parts(None, fused(texts[part], maps[part]))
    assert parts.figures() == pytest.approx(whole.figures())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two studies of the bank and one outside it."""
    reports = {
        "a": "the lungs are clear .",
        "b": "large right effusion .",
        "c": "large left effusion .",
        "d": "clear lungs . no effusion .",
    }
    labels = np.zeros((5, 18), dtype=np.int64)
    labels[1:3, 9] = labels[3, 13] = labels[4, 9] = 1
    bank = small_bank(tmp_path_factory.mktemp("features"), reports, labels, others="x")
    asked = small_set(bank, {"b": reports["b"], "d": reports["d"], "x": "large effusion ."})
    asked.refer_to(np.array([[3], [0], [1]]))
    return asked


def test_the_oracle_knows_the_words_and_nobody_gets_his_own_report(dataset):
    kinds = {name: rows[:, 0] for name, rows in reference_kinds(dataset, seed=0).items()}
    assert list(kinds) == ["oracle", "retrieved", "random", "most_different", "none"]
    assert kinds["oracle"].tolist()[0] == 2
    assert kinds["oracle"].tolist()[2] in (1, 2)
    assert kinds["retrieved"].tolist() == [3, 0, 1]
    assert kinds["most_different"].tolist() == [3, 1, 3]
    assert kinds["none"].tolist() == [-1] * 3
    groups = dataset.bank.groups(dataset.studies, False)
    for seed in range(30):  # the draw of --retrieval random
        expected = random_rows(*groups, dataset.studies, seed)
        np.testing.assert_array_equal(reference_kinds(dataset, seed)["random"], expected)
        drawn = reference_kinds(dataset, seed)["random"][:, 0]
        assert drawn[0] != 1
        assert drawn[1] != 3
        assert (drawn >= 0).all()
        assert (drawn < 4).all()


def reads_references(prepared):
    """A model on which every reference tells, and what makes a data set of the first five studies of the test."""
    store, annotation = FeatureStore.open(prepared / "features"), read_annotation(prepared / "annotation.json")
    bank, studies = TrainingBank(store), annotation["test"][:5]
    tokenizer = ReportTokenizer.from_reports([study.report for study in annotation["train"]], 1)
    sizes = {"vocab_size": tokenizer.vocab_size, "pad_id": tokenizer.pad_id, "end_id": tokenizer.end_id}
    widths = {"report_feature_dim": bank.sentences(0).shape[1], "entity_text_dim": store["region_text"].shape[2]}
    torch.manual_seed(0)
    model = Revtaf(tiny_config(references=2, **sizes, **widths)).eval()
    torch.nn.init.normal_(model.diagnosis_head.linear.weight, std=0.5)  # predicted states that are not all one
    with torch.no_grad():
        for parameter in [*model.fusion.parameters(), *model.report_decoder.parameters()]:
            parameter *= 5 if parameter.dim() > 1 else 1  # what is seen changes what is written

    def of(positions):
        dataset = ReportDataset(
            [studies[n] for n in positions], prepared / "images", store, bank, tokenizer, image_size=64,
            max_report_tokens=60, reference_memory=6, references=2,
        )  # fmt: skip
        dataset.refer_to(np.array([[2 * n, 2 * n + 1] for n in positions]))
        return dataset

    return model, of


@pytest.fixture
def reading(prepared):
    return reads_references(prepared)


GIVEN = {"device": torch.device("cpu"), "precision": "fp32", "num_workers": 0, "seed": 0}


def test_a_large_test_is_judged_by_five_hundred_of_its_studies_taken_evenly(reading):
    """Six hundred, of which one study is the first half and another the second: they count the same."""
    model, of = reading
    large = reference_sensitivity(model, of([0] * 300 + [1] * 300), batch_size=100, **GIVEN)
    both = reference_sensitivity(model, of([0, 1]), batch_size=2, **GIVEN)
    assert (large.pop("studies"), both.pop("studies")) == (500, 2)
    assert large == pytest.approx(both, rel=1e-4)
    assert reference_sensitivity(model, of([0]), batch_size=1, **GIVEN)["retrieved"] != pytest.approx(both["retrieved"])


def by_two(prepared, folder):
    with processes("cpu"):
        model, of = reads_references(Path(prepared))
        found = reference_sensitivity(model, of(range(5)), batch_size=1, **GIVEN)
        write_json(Path(folder) / f"{rank()}.json", found)


def test_two_processes_measure_what_one_does(reading, trainings, prepared, tmp_path):
    trainings.call(by_two, processes=2, prepared=str(prepared), folder=str(tmp_path))
    model, of = reading
    alone = reference_sensitivity(model, of(range(5)), batch_size=1, **GIVEN)
    for number in range(2):
        assert read_json(tmp_path / f"{number}.json") == pytest.approx(alone, rel=1e-5)


def test_the_loss_under_a_reference_is_that_of_the_model_which_is_given_it(reading):
    """Token by token, with the predicted states in the prompt; a reference is its words and its sentences."""
    model, of = reading
    dataset = of(range(5))
    found = reference_sensitivity(model, dataset, batch_size=2, **GIVEN)
    assert found["studies"] == 5
    state_ids = torch.tensor(dataset.tokenizer.state_ids)
    for kind, rows in reference_kinds(dataset, seed=0).items():
        dataset.refer_to(rows)
        (batch,) = evaluation_loader(dataset, 5, 0)
        batch = dataset.to_device(batch, torch.device("cpu"))
        prompt = PredictedPrompt(torch.ones(5, dtype=torch.bool), state_ids)
        with torch.no_grad():
            logits = model(batch.study, batch.token_ids, batch.token_mask, batch.packed, prompt).token_logits
        expected = torch.nn.functional.cross_entropy(logits, batch.packed.targets).item()
        assert found[kind] == pytest.approx(expected, rel=1e-5), kind
    assert len({round(value, 6) for value in found.values()}) == 6  # each is another


def test_the_figures_are_said_in_a_table():
    losses = {"oracle": 0.5, "retrieved": 0.6, "random": 0.8, "most_different": 0.9, "none": 0.7, "studies": 9}
    lines = sensitivity_lines({"reference_sensitivity": losses, "text_cosine": 0.2, "map_correlation": 0.97})
    assert lines[2] == "| nats per token | 0.5000 | 0.6000 | 0.8000 | 0.9000 | 0.7000 |"
    assert lines[-1].startswith("warning: map_correlation is 0.970")
    assert not [line for line in lines if "next to nothing is read" in line]
    unread = {"reference_sensitivity": {**losses, "random": 0.6001}, "text_cosine": 0.2, "map_correlation": 0.2}
    assert sensitivity_lines(unread)[-1].startswith("warning: a random reference costs 0.0001 nats a token more")
    for cost, said in ((0.0019, 1), (0.0021, 0)):
        read = {**unread, "reference_sensitivity": {**losses, "random": 0.6 + cost}}
        assert sum("next to nothing is read" in line for line in sensitivity_lines(read)) == said
    assert sensitivity_lines({**unread, "trained_steps": 500})[-1] == sensitivity_lines(unread)[-1]


def test_a_model_of_a_handful_of_steps_is_not_blamed():
    """Nothing is read in any reference yet, and every entity has the same map."""
    losses = dict.fromkeys(("oracle", "retrieved", "random", "most_different", "none"), 9.0)
    young = {"reference_sensitivity": losses, "text_cosine": 0.2, "map_correlation": 0.99, "trained_steps": 6}
    assert warnings(young) == ["what references, texts and maps are worth cannot be told after 6 steps of training"]
    early = {**young, "trained_epochs": {"kept": 20, "of": 150}}
    assert warnings(early) == [f"{warnings(young)[0]}: the weights kept are those of epoch 20 of 150"]
    assert warnings({**young, "trained_epochs": {"kept": 150, "of": 150}}) == warnings(young)
    assert warnings({**young, "reference_sensitivity": {**losses, "random": 9.5}, "map_correlation": 0.2}) == []
