"""modules/evaluation/generation.py: the rows of a test, value by value."""

import math
import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from programs import SMALL, call, places

import main_test
from modules.corpus.dataloaders import collate
from modules.evaluation.generation import generate_reports, search_of, state_sums
from modules.evaluation.sensitivity import loss_by_reference
from modules.labels import CONDITIONS, POSITIVE
from modules.options.parsing import parse_options
from modules.options.programs import MainTest
from modules.prediction.evaluated_split import EvaluatedSplit
from modules.records import read_jsonl
from modules.retrieval.observation import ask
from modules.retrieval.references import set_references
from modules.retrieval.retriever import random_rows
from modules.weights.checkpoints import load_checkpoint
from modules.weights.saving import save_atomically

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tested(prepared, trained, tmp_path_factory):
    """The options, the trained model and the test split of the drawn data, whose references are set."""
    words = [*places(prepared), *SMALL, "--load_pretrained", trained / "model_best.pth", "--save_dir"]
    words += [tmp_path_factory.mktemp("tested"), "--gen_min_len", 25, "--gen_max_len", 12, "--beam_size", 2]
    options = parse_options(MainTest, list(map(str, words)))
    tested = EvaluatedSplit.open(options, CPU)
    queries = ask(tested.model, tested.dataset, "learned", options)
    set_references(tested.model, tested.dataset, "learned", queries, False, 0)
    return options, tested


@pytest.fixture(scope="module")
def rows(tested):
    options, split = tested
    return split.reports(options, CPU, ())


def test_there_is_a_row_for_every_study_in_order(tested, rows):
    dataset = tested[1].dataset
    assert [row["id"] for row in rows] == [study.id for study in dataset.studies]
    assert [row["reference"] for row in rows] == list(dataset.reports)
    for row, reference in zip(rows, dataset.reference_rows, strict=True):
        assert row["retrieved"] == dataset.bank.ids[reference]
        assert row["retrieved_report"] == dataset.bank.reports[reference]


def written(tested, model, dataset):
    options, split = tested
    limits = replace(options.generation, gen_max_len=6, beam_size=1, second_search=0)
    search = search_of(limits, split.labeler)
    return generate_reports(model, dataset, search, device=CPU, precision="fp32", loading=options.loading)


def test_a_cut_reference_stands_beside_the_whole_one(tested):
    split = tested[1]
    part = split.dataset.part(np.arange(2))
    whole = list(part.full_reports)
    part.use_reports("published", 5)
    for row, full in zip(written(tested, split.model, part), whole, strict=True):
        assert row["reference"] == " ".join(full.split()[:5])
        assert row["reference_full"] == full


def test_reports_are_written_without_dropout_whatever_the_model_did_before(tested):
    split = tested[1]
    part, model = split.dataset.part(np.arange(2)), deepcopy(split.model)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.5
    first, second = (written(tested, model.train(), part) for _ in range(2))
    assert first == second


def test_a_report_does_not_depend_on_its_batch(tested, rows):
    options, split = tested
    options.loading.batch_size = 1
    try:
        alone = split.reports(options, CPU, ())
    finally:
        options.loading.batch_size = 8
    for one, other in zip(alone, rows, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["states"] == other["states"]
        assert one["mean_token_log_probability"] == pytest.approx(other["mean_token_log_probability"], abs=2e-4)


def test_states_are_the_most_probable_ones(rows):
    for row in rows:
        probability = np.array(row["state_probability"])  # (P, L)
        np.testing.assert_allclose(probability.sum(axis=0), 1, atol=5e-4)  # rounded to four digits
        chosen = probability[row["states"], range(len(CONDITIONS))]
        np.testing.assert_array_equal(chosen, probability.max(axis=0))
        assert row["positive_probability"] == row["state_probability"][POSITIVE]


def test_the_certainty_is_that_of_the_tokens_of_the_report(tested):
    """Against the network asked for one token after the other."""
    options, split = tested
    model, dataset = split.model, split.dataset
    tokenizer = dataset.tokenizer
    options.generation.beam_size = 1
    try:
        row = generate_reports(
            model, dataset, search_of(options.generation, None), device=CPU, precision="fp32", loading=options.loading
        )[0]
    finally:
        options.generation.beam_size = 2
    batch = dataset.to_device(collate([dataset[0]], tokenizer.pad_id), CPU)
    written = tokenizer.encode(row["prediction"], row["states"], 200)
    longest = model.config.prompt_length + options.generation.gen_max_len
    written = written[:longest]  # a report that was cut off has no end token
    tokens = torch.tensor([written])
    with torch.no_grad():
        output = model(batch.study, tokens, torch.ones_like(tokens, dtype=torch.bool), None)
    prompt = model.config.prompt_length
    logits = output.token_logits[0, prompt - 1 : len(written) - 1].log_softmax(dim=-1)
    by_hand = logits.gather(1, tokens[0, prompt:, None]).mean().item()
    assert math.isclose(row["mean_token_log_probability"], by_hand, abs_tol=2e-3)


def test_losses_by_reference_are_of_decoders_that_are_told_predicted_states(tested, monkeypatch):
    options, split = tested
    told = loss_by_reference(split.model, split.dataset, CPU, options)
    diagnose = split.model.diagnose

    def others(*given):
        seen, state_logits = diagnose(*given)
        return seen, state_logits.flip(1)

    monkeypatch.setattr(split.model, "diagnose", others)
    told_others = loss_by_reference(split.model, split.dataset, CPU, options)
    assert told.pop("studies") == told_others.pop("studies") == len(split.dataset)
    assert all(told[kind] != told_others[kind] for kind in told)


def test_reranking_is_asked_for_by_its_flag_alone(tested):
    options, split = tested
    ours = search_of(options.generation, split.labeler)  # the drawings' default
    assert ours.labeler is split.labeler
    assert ours.maps
    assert not search_of(replace(options.generation, rerank="states"), split.labeler).maps
    words = ["--dataset_name", "mimic_cxr", "--beam_size", "5", "--gen_min_len", "30", "--gen_max_len", "40"]
    published = search_of(parse_options(MainTest, words).generation, split.labeler)
    assert published.labeler is None
    limits = published.limits
    assert (limits.beams, limits.min_length, limits.max_new_tokens) == (5, 30, 40)


def test_scores_of_states_are_those_of_the_findings():
    labels = np.zeros((4, 18), dtype=np.int64)
    states = labels.copy()
    effusion, edema = CONDITIONS.index("pleural effusion"), CONDITIONS.index("edema")
    labels[[0, 1], effusion] = POSITIVE
    states[[0, 2], effusion] = POSITIVE  # one found, one missed, one too many
    labels[3, edema] = states[3, edema] = POSITIVE
    scores = state_sums(states, labels).scores()
    assert scores["state_f1_macro"] == pytest.approx((0.5 + 1.0) / 14)


@pytest.mark.slow
def test_a_test_gives_the_references_that_its_model_was_trained_to_find(prepared, trained, tmp_path):
    """Of training studies: never their own report, but those of their patient, which no flag of a test keeps out."""
    content = load_checkpoint(trained / "model_best.pth")
    content["config"]["retrieval"] = "random"  # it has learnt another
    save_atomically(content, tmp_path / "model.pth")
    shutil.copy(trained / "tokenizer.json", tmp_path)
    words = [*places(prepared), *SMALL, "--load_pretrained", tmp_path / "model.pth", "--split", "train", "--seed", 4]
    few = ["--gen_min_len", 0, "--gen_max_len", 2, "--beam_size", 1, "--no-meteor", "--no-viewer", "--resamples", 10]
    call(main_test, *words, *few, "--save_dir", tmp_path)
    split = EvaluatedSplit.open(parse_options(MainTest, [*map(str, words), "--save_dir", str(tmp_path)]), CPU)
    bank, studies = split.dataset.bank, split.dataset.studies
    own, others = (random_rows(*bank.groups(studies, alone), studies, seed=4)[:, 0] for alone in (False, True))
    assert [row["retrieved"] for row in read_jsonl(tmp_path / "predictions.jsonl")] == [bank.ids[row] for row in own]
    assert not np.array_equal(own, others), "nobody finds a report of the own patient"
