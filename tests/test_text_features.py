"""modules/preparation/features/text_features.py: vectors of texts, and which rows belong to which report."""

import numpy as np
import pytest
import torch

from modules.messages import UserError
from modules.preparation.features import text_features
from modules.preparation.features.text_features import (
    LsaEncoder,
    find_text_encoder,
    report_and_sentence_features,
)
from modules.preparation.features.text_models import HuggingFaceEncoder

SENTENCES = [
    "the lungs are clear",
    "no pleural effusion or pneumothorax",
    "small left pleural effusion",
    "large right pleural effusion",
    "heart size is normal",
    "the heart is enlarged",
    "moderate cardiomegaly with pulmonary edema",
    "mild pulmonary edema",
]


@pytest.fixture(scope="module")
def lsa():
    return LsaEncoder.fit(SENTENCES, width=6, seed=1)


def test_rows_have_unit_length_and_the_width_asked_for(lsa):
    vectors = lsa.encode(SENTENCES)
    assert vectors.shape == (8, 6)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_similar_texts_are_near(lsa):
    similarity = lsa.encode(SENTENCES) @ lsa.encode(["pleural effusion", "pulmonary edema"]).T
    assert set(similarity[:, 0].argsort()[-2:]) == {2, 3}
    assert set(similarity[:, 1].argsort()[-2:]) == {6, 7}


def test_unknown_text_is_zero(lsa):
    vectors = lsa.encode(["zebra", "", ".", "zebra heart"])
    assert not vectors[:3].any()
    assert vectors[3].any()
    assert lsa.encode([]).shape == (0, 6)


def test_weights_are_tf_idf():
    encoder = LsaEncoder.fit(["a b", "a c"], width=9, seed=0)
    assert encoder.terms == ["a", "a b", "a c", "b", "c"]
    np.testing.assert_allclose(encoder.idf, 1 + np.log(3 / np.array([3, 2, 2, 2, 2])), rtol=1e-6)
    np.testing.assert_allclose(encoder.encode(["a, a b"])[0], _weighed_by_hand(encoder), atol=1e-6)


def _weighed_by_hand(encoder):
    """TF-IDF of "a a b": a twice, b once, "a b" once, "a a" unknown."""
    weights = np.zeros(5)
    weights[[0, 1, 3]] = (1 + np.log(2)) * encoder.idf[0], encoder.idf[1], encoder.idf[3]
    projected = encoder.components @ weights
    return projected / np.linalg.norm(projected)


def test_width_beyond_the_data_is_zero():
    encoder = LsaEncoder.fit(SENTENCES, width=20, seed=1)
    assert encoder.width == 20
    assert not encoder.components[8:].any()
    vectors = encoder.encode(SENTENCES)
    assert vectors.shape == (8, 20)
    np.testing.assert_allclose(vectors[:, :8] @ vectors[:, :8].T, vectors @ vectors.T)


def test_directions_keep_all_variance_at_full_rank():
    encoder = LsaEncoder.fit(SENTENCES, width=8, seed=1)
    weighted = text_features._weigh(encoder._counter.transform(SENTENCES), encoder.idf).toarray()
    vectors = encoder.encode(SENTENCES)
    np.testing.assert_allclose(vectors @ vectors.T, weighted @ weighted.T, atol=1e-5)


def test_the_same_seed_gives_the_same_features(monkeypatch):
    monkeypatch.setattr(text_features, "MAX_FIT_SENTENCES", 5)
    first, second, other = (LsaEncoder.fit(SENTENCES, 3, seed) for seed in (7, 7, 8))
    assert (first.encode(SENTENCES) == second.encode(SENTENCES)).all()
    assert first.terms != other.terms  # five other sentences were drawn


def test_repeated_sentences_count_once(lsa):
    assert LsaEncoder.fit(SENTENCES + SENTENCES[:1] * 50, 6, seed=1).idf.tolist() == lsa.idf.tolist()


def test_blocks_give_the_same(lsa, monkeypatch):
    whole = lsa.encode(SENTENCES)
    monkeypatch.setattr(text_features, "_BLOCK", 3)
    np.testing.assert_allclose(lsa.encode(SENTENCES), whole, atol=1e-6)


def test_saved_encoder_is_the_same(lsa, tmp_path):
    lsa.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lsa.json", "lsa.npz"]
    loaded = LsaEncoder.load(tmp_path)
    assert (loaded.encode(SENTENCES) == lsa.encode(SENTENCES)).all()
    LsaEncoder.fit(SENTENCES[:3], 6, seed=1).save(tmp_path / "other")
    (tmp_path / "lsa.npz").write_bytes((tmp_path / "other" / "lsa.npz").read_bytes())
    with pytest.raises(UserError, match="do not belong together"):
        LsaEncoder.load(tmp_path)
    (tmp_path / "lsa.npz").unlink()
    with pytest.raises(UserError, match=r"lsa\.npz does not exist"):
        LsaEncoder.load(tmp_path)


def test_no_words_at_all():
    for sentences in ([], ["", "."]):
        with pytest.raises(UserError, match="hold no word: check the reports"):
            LsaEncoder.fit(sentences, 4, seed=0)


def test_offsets_say_whose_the_sentences_are(lsa):
    reports = ["the lungs are clear . mild pulmonary edema .", "", "mild pulmonary edema .", " . "]
    whole, sentences, offsets = report_and_sentence_features(lsa, reports)
    assert offsets.tolist() == [0, 2, 3, 4, 5]
    assert offsets.dtype == np.int64
    assert whole.shape == (4, 6)
    assert sentences.shape == (5, 6)
    np.testing.assert_array_equal(sentences[3], lsa.encode(["mild pulmonary edema"])[0])
    np.testing.assert_array_equal(sentences[1], sentences[3])
    assert not sentences[[2, 4]].any()
    assert not whole[[1, 3]].any()
    np.testing.assert_allclose(whole[0], lsa.encode(reports[:1])[0], atol=1e-6)


class CountingEncoder:
    width = 2

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def test_every_different_text_is_encoded_once_and_empty_sentences_are_zero():
    encoder = CountingEncoder()
    whole, sentences, _ = report_and_sentence_features(encoder, ["a . a . bb .", "a .", "a .", ""])
    assert sorted(encoder.seen) == sorted(["a", "bb", "", "a . a . bb .", "a .", ""])
    assert sentences.tolist() == [[1, 1], [1, 1], [2, 1], [1, 1], [1, 1], [0, 0]]
    assert whole[:, 0].tolist() == [12, 3, 3, 0]


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "lungs", "are", "clear", "heart", "normal", "edema"]
    (folder / "words").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer({word: number for number, word in enumerate(words)}).save_pretrained(folder)
    return folder


def test_hugging_face_pooling(bert_folder):
    texts = ["the lungs are clear", "edema", "heart normal", "the " * 100, "edema"]
    mean, cls = (HuggingFaceEncoder(bert_folder, pooling, batch_size=2) for pooling in ("mean", "cls"))
    vectors = mean.encode(texts)
    assert vectors.shape == (5, mean.width) == (5, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1], vectors[4], atol=1e-6)  # in batches of different padding
    for i in (0, 3):  # alone, without padding; the long text is cut at 12 tokens
        inputs = mean._tokenizer(texts[i], return_tensors="pt", truncation=True, max_length=12)
        with torch.no_grad():
            hidden = mean._model(**inputs).last_hidden_state[0]
        for encoder, pooled in ((mean, hidden.mean(0)), (cls, hidden[0])):
            expected = pooled / pooled.norm()
            np.testing.assert_allclose(encoder.encode(texts)[i], expected.numpy(), atol=1e-5)
    assert mean.encode([]).shape == (0, 16)


def test_find_text_encoder(bert_folder, tmp_path):
    for name in ("lsa", None):
        assert find_text_encoder(name, SENTENCES, width=4, seed=0).width == 4
    assert isinstance(find_text_encoder(str(bert_folder), [], 4, 0), HuggingFaceEncoder)
    with pytest.raises(UserError, match="--text_encoder is word2vec; expected lsa, hub:NAME or a local folder"):
        find_text_encoder("word2vec", SENTENCES, 4, 0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds no text model that can be loaded"):
        find_text_encoder(str(tmp_path), SENTENCES, 4, 0)
