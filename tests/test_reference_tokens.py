"""models/reference_tokens.py: the words of the retrieved report, as the decoder reads them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_set import small_bank, small_set
from tiny import tiny_study

from models.decoder_layers import PackedReports
from models.reference_tokens import ReferenceTokens
from modules.corpus.datasets import ReportDataset


def columns_of(words, mask):
    torch.manual_seed(0)
    reader = ReferenceTokens(tokens=6, hidden=8, width=10)
    return reader(words, mask)


def test_a_column_holds_its_word_and_the_two_before_it():
    words = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 6, dtype=torch.bool)
    before = columns_of(words, mask)
    for changed in range(6):
        other = words.clone()
        other[0, changed] += 1
        moved = (columns_of(other, mask) - before).abs().amax(dim=2)[0] > 1e-4
        assert moved.nonzero().flatten().tolist() == [c for c in range(changed, changed + 3) if c < 6]


def test_padding_is_one_learned_vector_whatever_stands_there():
    words = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True, True, False, False, False, False], [False] * 6])
    columns = columns_of(words, mask)
    assert (columns[0, 2:] == 0).all()  # as it starts
    assert (columns[1] == 0).all()
    assert (columns[0, :2] != 0).any(dim=1).all()


@pytest.mark.parametrize(("memory", "reads"), [(6, True), (0, False)])
def test_the_decoder_reads_the_words_of_its_reference_and_with_none_as_released_it_does_not(memory, reads, tiny_model):
    model, study = tiny_model(reference_memory=memory), tiny_study()
    ids = torch.randint(8, 50, (3, 30), generator=torch.Generator().manual_seed(2))
    packed = PackedReports.of(ids, torch.ones_like(ids, dtype=torch.bool), 19)
    words = study.reference_tokens
    other = replace(study, reference_tokens=torch.where(words == 0, words, words % 49 + 1))  # none the same
    with torch.no_grad():
        one, two = (model(given, ids, None, packed).token_logits for given in (study, other))
    assert ((one - two).abs().max() > 1e-4) == reads
    assert (model.reference_tokens is not None) == reads


def test_a_study_without_reference_reads_learned_vectors_alone(tiny_model):
    model = tiny_model()
    study = replace(tiny_study(), reference_tokens=torch.zeros(3, 6, dtype=torch.long))
    torch.nn.init.normal_(model.reference_tokens.empty)
    columns = model.fuse(study).fused[:, 4:]  # behind the four patches
    torch.testing.assert_close(columns, model.reference_tokens.empty.expand_as(columns))


def test_every_reference_is_read_in_its_order_and_no_report_is_padding(tmp_path):
    reports = {"a": "large effusion .", "b": "clear lungs .", "c": "a much longer report about the heart ."}
    bank = small_bank(tmp_path, reports, np.zeros((3, 18)))
    some = small_set(bank, reports)
    dataset = ReportDataset(
        some.studies, bank.store.directory, bank.store, bank, some.tokenizer, image_size=32, max_report_tokens=20,
        reference_memory=4, references=3,
    )  # fmt: skip
    words = np.array(dataset.reference_words([1, -1, 2])).reshape(3, 4)
    for row, report in zip(words, ("clear lungs .", "", "a much longer report"), strict=True):
        assert row.tolist() == some.tokenizer.words(report, 4)
    assert (words[1] == some.tokenizer.pad_id).all()
    assert some.reference_words([0]) == []  # nothing is read as text
