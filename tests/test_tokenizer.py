"""modules/corpus/tokenizer.py: numbers as published, words that survive the round trip."""

import os
import pickle
from pathlib import Path

import huggingface_hub
import pytest

from modules.corpus.tokenizer import PROMPT_TOKENS, ReportTokenizer, vocabulary_file
from modules.corpus.vocabularies import bert_folder, bert_vocabulary
from modules.labels import STATE_TOKENS
from modules.messages import UserError

WORDS = ["[PAD]", *(f"[unused{i}]" for i in range(3)), "[UNK]", "[SEP]", "the", "lungs", "are", "clear", ".", "no"]
PIECES = ["ed", "##ema", "right", "-", "sided", "pneumo", "##thorax", "pi", "##cc", "[", "]", "pos", "dec"]


@pytest.fixture
def bert(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS + PIECES) + "\n", encoding="utf-8")
    return ReportTokenizer.from_bert(tmp_path)


@pytest.fixture
def corpus():
    return ReportTokenizer.from_reports(["lungs are clear . no edema .", "no edema . ##x ##x", "rare"], threshold=2)


def test_bert_numbers(bert, tmp_path):
    size = len(WORDS) + len(PIECES)
    assert (bert.pad_id, bert.end_id, bert.start_id) == (0, 5, size)
    assert bert.state_ids == tuple(range(size + 1, size + 5))
    assert bert.vocab_size == size + 5
    assert ReportTokenizer.from_bert(tmp_path / "vocab.txt").vocab_size == bert.vocab_size


def test_prompt_has_a_token_for_each_state_in_order(bert, corpus):
    for tokenizer in (bert, corpus):
        states = [0, 1, 2, 3] * 4 + [1, 0]
        prompt = tokenizer.prompt_ids(states)
        assert len(prompt) == 19
        assert prompt[0] == tokenizer.start_id
        assert [tokenizer.state_ids.index(number) for number in prompt[1:]] == states
    assert [corpus._tokenizer.id_to_token(number) for number in corpus.state_ids] == list(STATE_TOKENS)
    with pytest.raises(AssertionError):
        bert.prompt_ids([-1])


def test_encode_is_prompt_report_end(bert):
    ids = bert.encode("The LUNGS are clear . no edema .", [1, 2], max_tokens=100)
    words = [bert._tokenizer.id_to_token(number) for number in ids]
    assert " ".join(words) == "[DEC] [POS] [NEG] the lungs are clear . no ed ##ema . [SEP]"
    assert bert.encode("the lungs are clear", [1, 2], max_tokens=2) == [*ids[:5], bert.end_id]
    assert bert.encode("", [], max_tokens=2) == [bert.start_id, bert.end_id]


def test_tokens_of_a_report_are_kept_and_cannot_be_changed_from_outside(bert, monkeypatch):
    monkeypatch.setattr("modules.corpus.tokenizer.KEPT", 1)
    for report in ("the lungs are clear", "no edema ."):  # the second is one too many
        first = bert.encode(report, [1], 100), bert.words(report, 9), bert.words(report, 2)
        for ids in first:
            ids.append(0)
        again = bert.encode(report, [1], 100), bert.words(report, 9), bert.words(report, 2)
        assert [ids[:-1] for ids in first] == list(again)
        assert list(bert._known) == ["the lungs are clear"]


def test_prompt_tokens_are_recognised_in_their_own_case_only(bert):
    assert bert._tokenizer.encode("[POS]", add_special_tokens=False).ids == [bert.state_ids[1]]
    assert bert._tokenizer.encode("[pos]", add_special_tokens=False).tokens == ["[", "pos", "]"]


@pytest.mark.parametrize(
    ("report", "decoded"),
    [
        ("lungs are clear . no edema .", "lungs are clear . no edema ."),
        ("right-sided pneumothorax . picc .", "right-sided pneumothorax . picc ."),
        ("no zebra .", "no ."),  # [UNK] is left out
        ("", ""),
    ],
)
def test_decode_joins_pieces_and_drops_the_prompt(bert, report, decoded):
    ids = bert.encode(report, [0, 1, 2, 3], max_tokens=100)
    assert bert.decode(ids) == decoded
    assert bert.decode([*ids, 7, 8, 9]) == decoded  # what follows the end token
    assert bert.decode([*ids, bert.pad_id, bert.pad_id]) == decoded
    assert bert.decode(ids[5:-1]) == decoded  # neither prompt nor end token


def test_decode_odd_sequences(bert):
    numbers = {token: bert._tokenizer.token_to_id(token) for token in WORDS + PIECES}
    assert bert.decode([]) == ""
    assert bert.decode([bert.start_id, bert.end_id, numbers["no"]]) == ""
    assert bert.decode([numbers["##ema"], numbers["no"]]) == "##ema no"
    assert bert.decode([numbers["no"], bert.state_ids[0], 0, numbers["ed"], numbers["##ema"]]) == "no edema"


def test_corpus_vocabulary_is_special_then_sorted_then_prompt(corpus):
    tokens = [corpus._tokenizer.id_to_token(number) for number in range(corpus.vocab_size)]
    assert tokens == ["[PAD]", "[UNK]", "[SEP]", "##x", ".", "edema", "no", *PROMPT_TOKENS]
    assert (corpus.pad_id, corpus.end_id) == (0, 2)


def test_corpus_round_trip_keeps_words_whole(corpus):
    ids = corpus.encode("no edema . lungs ##x .", [3], max_tokens=50)
    assert ids.count(1) == 1
    assert corpus.decode(ids) == "no edema . ##x ."


def test_corpus_ignores_special_tokens_in_reports():
    tokenizer = ReportTokenizer.from_reports(["[SEP] [DEC] a"], 1)
    assert tokenizer.vocab_size == 3 + 1 + 5
    assert len({tokenizer.pad_id, tokenizer.end_id, tokenizer.start_id, *tokenizer.state_ids}) == 7


@pytest.mark.parametrize("kind", ["bert", "corpus"])
def test_saved_and_pickled_tokenizers_are_equal(kind, request, tmp_path):
    tokenizer = request.getfixturevalue(kind)
    path = tmp_path / "run" / "tokenizer.json"
    tokenizer.save(path)
    ids = tokenizer.encode("no edema . picc right-sided", [1, 2, 3], 50)
    for other in (ReportTokenizer.load(str(path)), pickle.loads(pickle.dumps(tokenizer))):  # noqa: S301
        assert other.encode("no edema . picc right-sided", [1, 2, 3], 50) == ids
        assert other.decode(ids) == tokenizer.decode(ids)
        assert other.vocab_size == tokenizer.vocab_size
    assert list(path.parent.iterdir()) == [path]


def test_sentences_for_wrong_input(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.* does not exist: fetch it .*hf download"):
        ReportTokenizer.from_bert(tmp_path / "nowhere" / "vocab.txt")
    with pytest.raises(UserError, match=r"vocab\.txt does not exist"):
        ReportTokenizer.from_bert(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"lacks \[PAD\], \[UNK\], \[SEP\]: use the vocab.txt"):
        ReportTokenizer.from_bert(tmp_path)
    (tmp_path / "vocab.txt").write_text("\ufeff" + "\n".join(WORDS))  # as an editor of Windows saves it
    assert ReportTokenizer.from_bert(tmp_path).pad_id == 0
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "no"]))
    with pytest.raises(UserError, match="repeats 1 of its words"):
        ReportTokenizer.from_bert(tmp_path)
    with pytest.raises(UserError, match=r"none of the 2 words .* occurs 3 times: lower --threshold"):
        ReportTokenizer.from_reports(["a b", "a"], 3)
    with pytest.raises(UserError, match="--threshold is 0"):
        ReportTokenizer.from_reports(["a"], 0)
    with pytest.raises(UserError, match=r"main_train\.py writes it"):
        ReportTokenizer.load(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(UserError, match=r"tokenizer\.json is not a vocabulary"):
        ReportTokenizer.load(tmp_path / "tokenizer.json")


def test_the_words_of_a_bert_that_todays_transformers_saved(tmp_path):
    """It writes tokenizer.json, and no vocab.txt any more."""
    from transformers import BertTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    expected = ReportTokenizer.from_bert(tmp_path)
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "vocab.txt").unlink(missing_ok=True)  # an older version writes both
    assert vocabulary_file(tmp_path / "saved").name == "tokenizer.json"
    assert ReportTokenizer.from_bert(tmp_path / "saved").checksum == expected.checksum
    assert bert_vocabulary(tmp_path / "saved") == tmp_path / "saved" / "tokenizer.json"
    ReportTokenizer.from_reports(["a b"], 1).save(tmp_path / "saved" / "tokenizer.json")
    with pytest.raises(UserError, match=r"tokenizer\.json does not hold the words of a BERT"):
        ReportTokenizer.from_bert(tmp_path / "saved")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_bert_folder(weights, tmp_path, monkeypatch):
    assert bert_folder("checkpoints/bert") == Path("checkpoints/bert")
    asked = []

    def download(name, allow_patterns):
        asked.append(name)
        if weights in allow_patterns:
            (tmp_path / weights).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert bert_folder("hub:bert-base-uncased") == tmp_path
    assert (tmp_path / weights).exists()
    assert asked == ["bert-base-uncased"] * (1 if weights == "model.safetensors" else 2)

    def offline(name, **_):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    for set_, said in (
        ("1", ", as HF_HUB_OFFLINE is set: unset it, or copy"),
        ("0", r" \(ConnectionError\): check the name"),
    ):
        monkeypatch.setenv("HF_HUB_OFFLINE", set_)
        with pytest.raises(UserError, match=rf"^hub:bert-base-uncased cannot be fetched{said} .*--bert_path"):
            bert_folder("hub:bert-base-uncased")


@pytest.mark.skipif(not os.environ.get("REVTAF_BERT"), reason="REVTAF_BERT names no bert-base-uncased folder")
def test_published_numbers():
    tokenizer = ReportTokenizer.from_bert(os.environ["REVTAF_BERT"])
    assert (tokenizer.pad_id, tokenizer.end_id, tokenizer.vocab_size) == (0, 102, 30527)
    assert (tokenizer.start_id, *tokenizer.state_ids) == (30522, 30523, 30524, 30525, 30526)
    ids = tokenizer.encode("no pneumothorax .", [0], 100)
    assert ids == [30522, 30523, 2053, 1052, 2638, 2819, 29288, 2527, 2595, 1012, 102]
    assert tokenizer.decode(ids) == "no pneumothorax ."
