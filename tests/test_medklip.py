"""models/medklip.py and modules/preparation/features/medklip.py: the published network, its queries, and features on disk."""

import json
from contextlib import ExitStack
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import golden_values, hashed

from models.medklip import MedklipNetwork
from modules.corpus import store_writing as feature_writing
from modules.corpus.annotations import Study
from modules.corpus.images import normalise_pixels, read_resized
from modules.corpus.kept_features import KeptFeatures
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainPrepare
from modules.preparation.features import entities, medklip
from modules.preparation.features.medklip import (
    DescriptionEncoder,
    MedklipScorer,
    read_descriptions,
    write_medklip_features,
)

GOLDEN = Path(__file__).parent / "golden"
TINY = {"extractor": "resnet18", "description_dim": 16, "width": 8, "layers": 2, "heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "lungs", "are", "clear", "Heart", "heart", "fluid", "##s"]


# the network at full size


@pytest.fixture(scope="module")
def full_size():
    """The network with the golden weights, and embedded descriptions."""
    keys = json.loads((GOLDEN / "medklip_keys.json").read_text())
    network = MedklipNetwork(**medklip.SIZES).eval()
    assert {n: list(v.shape) for n, v in network.state_dict().items()} == {n: k["shape"] for n, k in keys.items()}
    assert len(keys) == 342
    weights = {
        name: torch.tensor(0) if key["dtype"] == "int64" else golden_values(name, key["shape"])
        for name, key in keys.items()
    }
    for name, values in (
        ("res_features.1.running_var", [1.00307858, 1.15253997, 1.19120252]),
        ("decoder.layers.0.self_attn.in_proj_weight", [0.02130487, 0.08997051, -0.00207695]),
    ):
        assert weights[name].flatten()[:3].tolist() == pytest.approx(values, abs=1e-8)
    network.load_state_dict(weights)
    book = torch.from_numpy((0.6 * hashed("INPUT.disease_book", 75 * 768)).astype(np.float32)).view(75, 768)
    return network, book


def golden_pixels(data):
    gray = np.repeat(data["in_B_gray_u8"][..., None], 3, axis=2)
    return torch.from_numpy(np.stack([data["in_A_rgb_u8"], gray])).permute(0, 3, 1, 2)  # (2, 3, 224, 224)


@torch.inference_mode()
def test_full_size_network_gives_the_published_outputs(full_size, golden):
    network, book = full_size
    data = golden("medklip")
    np.testing.assert_array_equal(book[:, :4].numpy(), data["book_slice"])
    kept = {}

    def keep(name):
        return lambda module, inputs, output: kept.setdefault(name, output)

    def keep_map(module, inputs):
        query, key, value = inputs[:3]
        maps.append(module.multihead_attn(query, key, value, need_weights=True)[1])

    image = normalise_pixels(golden_pixels(data))
    hooks = [network.res_features[i].register_forward_hook(keep(f"stage{i - 3}")) for i in (4, 5)]
    hooks += [module.register_forward_hook(keep(name)) for name, module in (
        ("features", network.res_features), ("patches_proj", network.res_l2), ("query", network.disease_embedding_layer),
        ("decoder_out", network.decoder),
    )]  # fmt: skip
    maps, states = [], []
    for layer in network.decoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: states.append(output))
        layer.multihead_attn.register_forward_hook(
            lambda module, inputs, output: maps.append(
                torch.nn.functional.multi_head_attention_forward is not None and _attention(module, *inputs[:2])
            )
        )
    logits, region_text = network(image, book)

    def close(ours, name, tolerance):
        np.testing.assert_allclose(ours.numpy(), data[name], rtol=0, atol=tolerance, err_msg=name)

    close(image[:, :, ::37, ::37], "x_slice", 2e-6)
    close(kept["stage1"][:, ::32, ::9, ::9], "stage1_slice", 2e-5)
    close(kept["stage2"][:, ::64, ::5, ::5], "stage2_slice", 2e-5)
    features = kept["features"].flatten(2).transpose(1, 2)
    close(torch.stack([features.mean((1, 2)), features.std((1, 2), correction=0)], 1), "feat_mean_std", 1e-5)
    close(features.mean(1), "feat_channel_mean", 1e-5)
    close(features.mean(2), "feat_patch_mean", 1e-5)
    close(features[:, ::13, ::32], "feat_slice", 3e-5)
    close(kept["patches_proj"], "patches_proj", 2e-5)
    close(kept["query"][:, ::8], "query_slice", 1e-5)
    close(torch.stack(states)[:, :, ::5, ::16], "layer_out_slice", 1e-4)
    close(kept["decoder_out"], "decoder_out", 3e-5)
    close(region_text[0], "cl_fc_out_A", 3e-5)
    close(region_text[1, ::5], "cl_fc_out_B_slice", 3e-5)
    close(logits, "logits", 2e-5)
    close(logits.softmax(-1)[..., medklip.PRESENT], "present_prob", 1e-5)
    maps = torch.stack(maps)
    close(maps[-1], "attn_last", 3e-6)
    close(maps[:, :, ::5, ::7], "attn_layers_slice", 3e-6)
    close(maps.mean(0)[:, ::3], "attn_mean4_slice", 3e-6)
    ana = torch.from_numpy((0.6 * hashed("INPUT.ana_book", 51 * 768)).astype(np.float32)).view(51, 768)
    close(region_text @ ana.T, "loc_scores", 3e-4)
    for hook in hooks:
        hook.remove()


def _attention(module, query, key):
    """Mean over the heads of the attention ``(B, K, M)`` of queries ``(B, K, C)`` to keys ``(B, M, C)``."""
    q_weight, k_weight, _ = module.in_proj_weight.chunk(3)
    q_bias, k_bias, _ = module.in_proj_bias.chunk(3)
    heads = (module.num_heads, query.shape[-1] // module.num_heads)
    q = (query @ q_weight.T + q_bias).unflatten(-1, heads).transpose(1, 2)
    k = (key @ k_weight.T + k_bias).unflatten(-1, heads).transpose(1, 2)
    return (q @ k.transpose(2, 3) / heads[1] ** 0.5).softmax(-1).mean(1)


def test_an_image_is_squeezed_as_published(golden, tmp_path):
    data = golden("medklip")
    for source, expected in (("src_A_rgb_u8", "in_A_rgb_u8"), ("src_B_gray_u8", "in_B_gray_u8")):
        Image.fromarray(data[source]).save(tmp_path / "image.png")
        pixels = read_resized(tmp_path / "image.png", 224).permute(1, 2, 0).numpy()
        if data[expected].ndim == 2:
            assert (pixels == pixels[..., :1]).all()
            pixels = pixels[..., 0]
        assert np.abs(pixels.astype(int) - data[expected]).max() <= 1


def test_the_scorer_reads_pixels_to_probabilities(full_size, golden, tmp_path):
    network, book = full_size
    data = golden("medklip")
    parallel = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"model": parallel, "optimizer": {}, "epoch": 99, "config": {"d_model": 256}}, tmp_path / "medklip.pth")
    scorer = MedklipScorer(tmp_path / "medklip.pth", book, torch.device("cpu"), "fp32")
    scores, region_text = scorer.score(golden_pixels(data))
    np.testing.assert_allclose(scores.numpy(), data["present_prob"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(region_text[0].numpy(), data["cl_fc_out_A"], rtol=0, atol=3e-5)


# what goes in


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Reduced published files in a folder, and the flags that name them."""
    from transformers import BertConfig, BertForPreTraining

    monkeypatch.setattr(medklip, "SIZES", TINY)
    monkeypatch.setattr(medklip, "VOCABULARY", len(WORDS))
    torch.manual_seed(0)
    network = MedklipNetwork(**TINY)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save({"model": {f"module.{n}": v for n, v in network.state_dict().items()}}, tmp_path / "medklip.pth")
    names = [{20: "eumonia"}.get(i, name) for i, name in enumerate(ENTITIES)]
    texts = {name: f"the heart {name} fluids {i}" for i, name in enumerate(names)}
    (tmp_path / "descriptions.json").write_text(json.dumps(texts))
    bert = tmp_path / "bert"
    bert.mkdir()
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=128)  # fmt: skip
    config.save_pretrained(bert)
    torch.manual_seed(1)
    weights = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): v.clone()
               for n, v in BertForPreTraining(config).state_dict().items()}  # fmt: skip
    torch.save({**weights, "bert.embeddings.position_ids": torch.arange(128)[None]}, bert / "pytorch_model.bin")
    (bert / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return parse_options(
        MainPrepare,
        [
            "--entity_scorer", "medklip", "--medklip_checkpoint", str(tmp_path / "medklip.pth"), "--precision", "fp32", "--num_workers", "0",
            "--entity_descriptions", str(tmp_path / "descriptions.json"), "--bert_path", str(bert),
            "--image_dir", str(tmp_path / "images"),
        ],
    )  # fmt: skip


def test_descriptions_are_read_by_position(files):
    texts = read_descriptions(files.scorer.entity_descriptions)
    assert len(texts) == 75
    assert texts[20] == "the heart eumonia fluids 20"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(covid19="more"), "holds 76 entries; expected MedKLIP's file of 75"),
        (lambda d: d.update(clear=" "), "entry 1 of .* is 'clear' with ' ', where a description of 'clear' belongs"),
        (lambda d: d.update(normal=d.pop("normal")), "entry 0 of .* is 'clear' .* of 'normal' belongs"),
        (lambda d: d.clear(), "holds 0 entries"),
    ],
    ids=["76", "empty", "order", "none"],
)
def test_other_descriptions_are_refused(files, change, words):
    content = json.loads(Path(files.scorer.entity_descriptions).read_text())
    change(content)
    Path(files.scorer.entity_descriptions).write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        read_descriptions(files.scorer.entity_descriptions)


def test_descriptions_are_embedded_without_a_final_separator(files):
    from transformers import BertModel

    encoder = DescriptionEncoder(files.labeler.bert_path, 64)
    assert encoder.token_ids("The Heart fluids") == [2, 5, 10, 11, 12]  # lower-cased, [CLS] in front, no [SEP]
    assert len(encoder.token_ids("lungs " * 100)) == 64
    assert len(DescriptionEncoder(files.labeler.bert_path, 8).token_ids("lungs " * 100)) == 8
    found = encoder.encode(["clear", "the lungs are clear heart"])  # padded beside a longer one
    config = encoder.network.config
    plain = BertModel(config).eval()
    plain.load_state_dict(encoder.network.state_dict(), strict=False)
    with torch.no_grad():
        expected = plain(input_ids=torch.tensor([[2, 8]])).last_hidden_state[0, 0]
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5)
    (Path(files.labeler.bert_path) / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert DescriptionEncoder(files.labeler.bert_path, 64).token_ids("Heart") == [2, 9]


def test_another_bert_is_refused(files, monkeypatch):
    weights = torch.load(Path(files.labeler.bert_path) / "pytorch_model.bin", weights_only=True)
    del weights["bert.encoder.layer.1.output.dense.bias"]
    torch.save(weights, Path(files.labeler.bert_path) / "pytorch_model.bin")
    with pytest.raises(UserError, match="is not Bio_ClinicalBERT: of 37 weights 1 are missing"):
        DescriptionEncoder(files.labeler.bert_path, 64)
    monkeypatch.setattr(medklip, "VOCABULARY", 28996)
    with pytest.raises(UserError, match=r"vocabulary of 13 words; MedKLIP .* has 28996: give its folder"):
        DescriptionEncoder(files.labeler.bert_path, 64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("module.cl_fc.bias"), "is not MedKLIP's checkpoint: of 138 weights 1 are missing"),
        (lambda w: w.update({"module.more": torch.zeros(1)}), "1 are unknown, for example more"),
        (lambda w: w.update(other=torch.zeros(1)), "138 are missing .* 139 are unknown"),
    ],
    ids=["missing", "unknown", "half a prefix"],
)
def test_no_weight_may_be_missing(files, change, words):
    content = torch.load(files.scorer.medklip_checkpoint, weights_only=True)
    change(content["model"])
    torch.save(content, files.scorer.medklip_checkpoint)
    with pytest.raises(UserError, match=words):
        MedklipScorer(files.scorer.medklip_checkpoint, torch.zeros(75, 16), torch.device("cpu"), "fp32")


# what comes out


def drawn_studies(folder, count=5):
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (30 + i, 40), dtype=np.uint8)).save(folder / "images" / f"{i}.png")
    return [Study(id=f"s{i}", image_path=(f"{i}.png",), report="clear .", split="train") for i in range(count)]


def test_mixed_precision_is_asked_for_and_left_behind(files, monkeypatch):
    asked = []

    def autocast(device, precision):
        asked.append(precision)
        return torch.autocast("cpu", torch.bfloat16)

    monkeypatch.setattr(medklip, "autocast", autocast)
    descriptions = torch.randn(75, 16, generator=torch.Generator().manual_seed(0))
    scorer = MedklipScorer(files.scorer.medklip_checkpoint, descriptions, torch.device("cpu"), "bf16")
    scores, region_text = scorer.score(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert asked == ["bf16"]
    assert scores.dtype == region_text.dtype == torch.float32
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def kept_in(folder):
    """A feature folder on which no model was trained."""
    return KeptFeatures(folder, ExitStack(), False)


def test_features_of_every_study(files, tmp_path, monkeypatch):
    studies, folder = drawn_studies(tmp_path), tmp_path / "features"
    monkeypatch.setattr(medklip, "IMAGE_SIZE", 64)
    write_axis(folder, "studies", [study.id for study in studies])
    cpu = torch.device("cpu")
    assert write_medklip_features(files, kept_in(folder), studies, cpu, {"annotation": "x"})
    store = FeatureStore.open(folder)
    assert store["region_scores"].shape == (5, 75)
    assert store["region_text"].shape == (5, 75, 16)
    descriptions = DescriptionEncoder(files.labeler.bert_path, 64).encode(
        read_descriptions(files.scorer.entity_descriptions)
    )
    scorer = MedklipScorer(files.scorer.medklip_checkpoint, descriptions, cpu, "fp32")
    for i in range(5):
        scores, text = scorer.score(read_resized(tmp_path / "images" / f"{i}.png", 64)[None])
        np.testing.assert_allclose(store["region_scores"][i], scores[0].numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(store["region_text"][i], text[0].numpy(), rtol=1e-3, atol=1e-3)
    assert np.ptp(store["region_scores"], axis=0).max() > 1e-3  # images differ
    assert not write_medklip_features(files, kept_in(folder), studies, cpu, {"annotation": "x"})
    files.scorer.description_tokens = 8
    assert write_medklip_features(files, kept_in(folder), studies, cpu, {"annotation": "x"})


@pytest.mark.slow
def test_an_interrupted_pass_goes_on_where_it_was(files, tmp_path, monkeypatch):
    """The same numbers as of a whole pass, and only the unread batches are read again."""
    studies, cpu = drawn_studies(tmp_path, 7), torch.device("cpu")
    monkeypatch.setattr(medklip, "IMAGE_SIZE", 32)
    monkeypatch.setattr(entities, "SCORE_BATCH", 2)
    monkeypatch.setattr(feature_writing, "FLUSH_ROWS", 2)
    read, score = [], MedklipScorer.score_studies

    def counted(self, some, image_dir, num_workers, blocks, stop=99):
        for rows, *found in score(self, some, image_dir, num_workers, blocks):
            if len(read) >= stop:
                raise KeyboardInterrupt
            read.extend(rows.tolist())
            yield rows, *found

    def run(folder, stop=99):
        read.clear()
        monkeypatch.setattr(MedklipScorer, "score_studies", partialmethod(counted, stop=stop))
        write_axis(tmp_path / folder, "studies", [study.id for study in studies])
        write_medklip_features(files, kept_in(tmp_path / folder), studies, cpu, {"annotation": "x"})

    run("whole")
    assert sorted(read) == list(range(7))
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop=4)
    run("stopped")
    assert sorted(read) == [4, 5, 6]
    for name in ("region_scores", "region_text"):
        assert (tmp_path / "whole" / f"{name}.npy").read_bytes() == (tmp_path / "stopped" / f"{name}.npy").read_bytes()
    files.scorer.description_tokens = 8
    run("stopped")
    assert sorted(read) == list(range(7))  # made otherwise: nothing is kept
