"""modules/corpus/datasets.py: how studies become a batch."""

import torch

from modules.corpus.datasets import Sample, collate, prepare_reports

PAD = 7


def sample(index, sentences, tokens):
    generator = torch.Generator().manual_seed(index)
    return Sample(
        index=index,
        image=torch.full((3, 8, 8), index, dtype=torch.uint8),
        region_scores=torch.rand(75, generator=generator),
        region_text=torch.rand(75, 6, generator=generator),
        memory=torch.rand(4, 5, generator=generator),
        reference_text=torch.rand(sentences, 5, generator=generator),
        reference_tokens=list(range(30, 36)),
        token_ids=list(range(10, 10 + tokens)),
        labels=torch.randint(0, 4, (18,), generator=generator),
    )


def test_studies_of_different_lengths_are_padded_at_their_ends():
    samples = [sample(3, sentences=2, tokens=25), sample(5, sentences=0, tokens=22)]
    batch = collate(samples, PAD)
    assert batch.study.reference_mask.tolist() == [[True, True], [False, False]]
    assert torch.equal(batch.study.reference_text[0], samples[0].reference_text)
    assert not batch.study.reference_text[1].any()
    assert batch.token_ids[1].tolist() == [*range(10, 32), PAD, PAD, PAD]
    assert batch.token_mask.sum(dim=1).tolist() == [25, 22]
    assert batch.index == [3, 5]
    assert batch.study.reference_tokens.tolist() == [list(range(30, 36))] * 2
    for name in ("region_scores", "region_text", "memory", "image"):
        assert torch.equal(getattr(batch.study, name)[1], getattr(samples[1], name)), name
    assert torch.equal(batch.labels, torch.stack([one.labels for one in samples]))


def test_what_is_predicted_begins_behind_the_prompt_and_ends_with_the_report():
    packed = collate([sample(0, 1, 25), sample(1, 1, 22)], PAD).packed
    assert packed.targets.tolist() == [*range(10 + 19, 10 + 25), *range(10 + 19, 10 + 22)]
    assert packed.ids.tolist() == [*range(10, 34), *range(10, 31)]  # the last token is a target only


def test_a_batch_without_references_keeps_one_empty_sentence():
    assert collate([sample(0, 0, 20)], PAD).study.reference_text.shape == (1, 1, 5)


def test_pixels_are_normalised_once_on_the_device():
    batch = collate([sample(255, 1, 20)], PAD).to(torch.device("cpu"), None)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(batch.study.image[0, :, 0, 0], expected)


def test_reports_are_cleaned_and_cut():
    (whole,), (cut,) = (prepare_reports(["the heart is normal. no effusion."], "published", n) for n in (0, 3))
    assert whole.startswith("the heart is normal")
    assert len(cut.split()) == 3
    assert whole.startswith(cut)
