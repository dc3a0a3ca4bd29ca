"""The released network at full size: weights made by the rule of the golden file, outputs of the original modules.

The golden outputs come from the released code run on these weights in float32 and in float64. Tolerances are its own,
against float64. The one difference that shows is the 1e-5 that the released code adds to the Moebius denominator of its
distances: it is written out below, where ours are compared with both formulas.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import report_loss

from models.beam_search import GenerationLimits
from models.revtaf import StudyInputs
from modules.training.losses import (
    adjust_logits,
    alignment_loss,
    binary_iou,
    diagnosis_loss,
    label_hamming,
    ranking_loss,
    text_similarity,
)
from modules.weights.checkpoints import build_model, released_checkpoint

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parent / "golden"
PRIME = 1_000_003
START, STATES = 30522, [30523, 30524, 30525, 30526]


def made_up_weights():
    """The full-size state dict: base + amp * sin(0.37 k + crc32(name) mod 1000 + 0.001 q(k)) ** power."""
    r = torch.arange(PRIME)
    cubic = 0.37 * r.double() + 0.001 * ((r * r % PRIME) * r % PRIME).double()  # of the first PRIME elements
    weights = {}
    for name, shape, _, *rule in json.loads((GOLDEN / "released_keys.json").read_text()):
        count = math.prod(shape)
        if len(rule) == 4:  # a second name of a tensor
            weights[name] = weights[rule[3]]
        elif not rule:
            weights[name] = torch.arange(count).view(shape) if shape else torch.tensor(0)
        else:
            base, amplitude, power = rule
            phase = zlib.crc32(name.encode()) % 1000
            values = torch.empty(count)
            for first, part in zip(range(0, count, PRIME), values.split(PRIME), strict=True):
                wave = (cubic[: len(part)] + (0.37 * first + phase)).sin_()
                part.copy_(
                    wave.pow_(power).mul_(amplitude).add_(base) if power > 1 else wave.mul_(amplitude).add_(base)
                )
            weights[name] = values.view(shape)
    return weights


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "released_model.npz", allow_pickle=False) as data:
        return {name: torch.from_numpy(data[name]) for name in data.files}


@pytest.fixture(scope="module")
def model():
    weights = made_up_weights()
    given = {
        "visual_encoder.model.0.weight": [0.00728821382, -0.0529540777, -0.106747419, 0.164788604],
        "text_decoder.bert.embeddings.word_embeddings.weight": [-0.0601951741, -0.0271492079, 0.0101879919, -0.0917806923],
        "gwd.layers.0.linear.weight": [0.0564141087, 0.0155214472, -0.0281634722, -0.0735851079],
    }  # fmt: skip
    for name, values in given.items():
        flat = weights[name].flatten()
        assert flat[[0, 1, 2, -1]].tolist() == pytest.approx(values, abs=1e-7)
    checkpoint = released_checkpoint(weights, "released.pth")
    built = build_model(checkpoint).eval()
    loaded = built.state_dict()
    for name, value in checkpoint["state_dict"].items():  # some take no part in any output below: compare all
        assert torch.equal(loaded[name], value), name
    return built


@pytest.fixture(scope="module")
def study(golden):
    return StudyInputs(
        image=(golden["in/images_u8"].float() - 128) / 64,
        region_scores=golden["in/region_scores"],
        region_text=golden["in/region_txt"],
        memory=golden["in/clip_memory"],
        reference_text=golden["in/global_txt"],
        reference_mask=golden["in/global_txt"].abs().sum(-1) > 0,  # the last two of study 1 are padding
        reference_tokens=torch.zeros(len(golden["in/clip_memory"]), 0, dtype=torch.long),
    )


@pytest.fixture(scope="module")
def seen(model, study, golden):
    """Everything that one forward pass computes, by the golden names."""
    kept = {}

    def keep(name):
        def hook(module, inputs, output):
            kept[name] = output.clone() if isinstance(output, torch.Tensor) else output  # ReLU works in place

        return hook

    hooks = [child.register_forward_hook(keep(f"stage{i}")) for i, child in enumerate(model.visual_encoder.backbone)]
    layers = [model.report_decoder.reference.bert.embeddings, *model.report_decoder.reference.bert.encoder.layer]
    hooks += [layer.register_forward_hook(keep(f"hidden{i}")) for i, layer in enumerate(layers)]
    hooks += [
        model.report_memory.query.register_forward_hook(keep("memory_query")),
        model.report_memory.encoder.register_forward_hook(keep("memory_encoder")),
        model.report_memory.register_forward_hook(keep("recalled")),
        model.visual_encoder.register_forward_hook(keep("visual")),
    ]
    messages = []
    hooks.append(model.fusion.attention.register_forward_hook(lambda m, i, output: messages.append(output[0])))
    token_ids, token_mask = golden["in/input_ids"].clone(), golden["in/attention_mask"].bool()
    token_ids[:, 0] = START
    with torch.no_grad():
        output = model(study, token_ids, token_mask)
    for hook in hooks:
        hook.remove()
    return {**kept, "messages": messages, "output": output, "token_ids": token_ids, "token_mask": token_mask}


def close(ours, golden, name, tolerance):
    torch.testing.assert_close(ours.double(), golden[f"f64/{name}"].double(), rtol=0, atol=tolerance)


def stats_close(ours, golden, name, row=None):
    """Mean, deviation, norm and a sum that covers every element, each within 2e-5 of the norm."""
    x = ours.double().flatten()
    i = torch.arange(len(x), dtype=torch.float64)
    found = torch.stack([x.mean(), x.std(correction=0), x.norm(), (x * (0.37 * i).sin()).sum()])
    expected = golden[f"f64/{name}"] if row is None else golden[f"f64/{name}"][row]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * expected[2].item())


def test_the_image_is_seen_alike(seen, golden):
    patches, pooled, *_ = seen["visual"]
    for i in range(8):
        stage = seen[f"stage{i}"] if isinstance(seen[f"stage{i}"], torch.Tensor) else seen[f"stage{i}"][0]
        stats_close(stage, golden, "resnet_stage_stats", i)
        expected = golden["f64/resnet_stage_slice"][i]
        torch.testing.assert_close(stage[:, :16, 3, 5].double(), expected, rtol=1e-5, atol=2e-5)
    close(patches[:, golden["patch_positions"], ::32], golden, "patches_slice", 2e-5)
    close(patches.norm(dim=-1), golden, "patches_row_norm", 2e-4)
    stats_close(patches, golden, "patches_stats")
    close(pooled, golden, "pooled", 2e-5)


def test_memory_and_diagnosis_are_alike(seen, golden):
    close(seen["memory_query"].squeeze(), golden, "memory_query", 2e-5)
    close(seen["memory_encoder"][:, [0, 10, 20], ::16], golden, "memory_encoder_slice", 2e-5)
    stats_close(seen["memory_encoder"], golden, "memory_encoder_stats")
    close(seen["recalled"], golden, "recalled", 2e-5)
    logits = seen["output"].state_logits
    close(logits, golden, "cls_raw", 2e-5)
    close(adjust_logits(logits, golden["in/base_probs"]), golden, "cls_adjusted", 2e-5)
    assert torch.equal(logits.argmax(dim=1), golden["f64/state_pred"])
    close(logits.softmax(dim=1)[:, 1, :14], golden, "positive_prob", 2e-5)


def test_fused_streams_and_maps_are_alike(seen, golden):
    output = seen["output"]
    by_reference, by_region = output.fused.chunk(2, dim=-1)
    region_message, reference_message = seen["messages"]
    for name, stream, message, score_map in (
        ("region", by_region, region_message, output.region_map),
        ("global", by_reference, reference_message, output.reference_map),
    ):
        close(message[:, 0, ::8], golden, f"{name}_message_slice", 2e-5)
        assert (message - message[:, :1]).abs().max() < 1e-5  # the single plan sends every patch the same
        close(stream[:, golden["patch_positions"], ::16], golden, f"{name}_stream_slice", 2e-5)
        close(stream.norm(dim=-1), golden, f"{name}_stream_row_norm", 2e-4)
        stats_close(stream, golden, f"{name}_stream_stats")
        close(score_map, golden, f"{name}_score", 1e-6)
    assert output.reference_map.shape[1] == 6  # padding sentences take part, as released


def test_the_four_losses_are_alike(seen, golden):
    output = seen["output"]
    similarity = text_similarity(output.region_text, output.reference_text)
    close(similarity, golden, "text_cosine", 1e-5)
    close(binary_iou(output.region_map, output.reference_map), golden, "iou", 5e-4)
    losses = torch.stack([
        report_loss(output.token_logits, seen["token_ids"], seen["token_mask"], 19),
        diagnosis_loss(output.state_logits, golden["in/labels"], golden["in/base_probs"]),
        alignment_loss(similarity, output.region_map, output.reference_map, output.reference_mask, "binary"),
    ])  # fmt: skip
    torch.testing.assert_close(losses.double(), golden["f64/losses"][:3], rtol=1e-5, atol=0)
    plain = report_loss(output.token_logits, seen["token_ids"], seen["token_mask"], 19, label_smoothing=0)
    assert plain.item() == pytest.approx(golden["f64/lm_loss_no_smoothing"].item(), rel=1e-5)


def test_the_decoder_is_alike(seen, golden):
    for i in range(13):
        hidden = seen[f"hidden{i}"] if isinstance(seen[f"hidden{i}"], torch.Tensor) else seen[f"hidden{i}"][0]
        close(hidden[:, [0, 1, 18, 19, 30], ::32], {"f64/x": golden["f64/decoder_hidden_slice"][i]}, "x", 5e-5)
        stats_close(hidden, golden, "decoder_hidden_stats", i)
    logits = seen["output"].token_logits
    close(logits[:, golden["logit_positions"]][..., golden["logit_vocab_ids"]], golden, "token_logits_slice", 1e-4)
    close(logits.logsumexp(dim=-1), golden, "token_logsumexp", 1e-4)
    top = logits.topk(5)
    assert torch.equal(top.indices.int(), golden["f64/token_top5_ids"])
    close(top.values, golden, "token_top5_logits", 1e-4)
    following = logits[:, :-1].log_softmax(dim=-1).gather(2, seen["token_ids"][:, 1:, None]).squeeze(2)
    close(following, golden, "next_token_logprob", 1e-4)


def released_distance(x, y, c=0.01):
    """The released formula: 1e-5 in the denominator of the Moebius sum of -x and y, artanh clamped at 1 - 1e-5."""
    x, y = -x.double()[:, None], y.double()[None]
    xy, xx, yy = (x * y).sum(-1, keepdim=True), x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    sum_ = ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy + 1e-5)
    return 2 / c**0.5 * (c**0.5 * sum_.norm(dim=-1)).clamp_max(1 - 1e-5).atanh()


@torch.no_grad()
def test_retrieval_is_alike(model, study, golden):
    enhancer = model.retrieval_enhancer
    query, bank = enhancer(study.region_scores), enhancer(golden["in/bank"])
    close(query, golden, "hyper_query", 2e-5)
    close(bank[[0, 1, 17, 250, 499]], golden, "hyper_bank_rows", 2e-5)
    close(bank.norm(dim=-1), golden, "hyper_bank_norm", 5e-5)
    stats_close(bank, golden, "hyper_bank_stats")
    exact, expected = enhancer.manifold.distance(query, bank), golden["f64/bank_distance"]
    torch.testing.assert_close(released_distance(query, bank), expected, rtol=0, atol=5e-5)
    torch.testing.assert_close(exact, expected, rtol=1.2e-3, atol=0)  # what 1e-5 in the denominator moves
    nearest = exact.topk(5, largest=False)
    assert torch.equal(nearest.indices.int(), golden["f64/bank_top5_ids"])


@torch.no_grad()
def test_ranking_is_alike(model, seen, golden):
    enhancer, labels = model.retrieval_enhancer, golden["in/rank_labels"]
    points = enhancer(golden["in/rank_scores"])
    distance, expected = enhancer.manifold.distance(points, points), golden["f64/rank_distance6"]
    own = torch.eye(6, dtype=torch.bool)
    torch.testing.assert_close(released_distance(points, points)[~own], expected[~own], rtol=0, atol=5e-5)
    torch.testing.assert_close(distance[~own], expected[~own], rtol=1.2e-3, atol=0)
    assert torch.equal(label_hamming(labels, labels)[~own], golden["f64/rank_hamming6"][~own])
    loss = ranking_loss(enhancer.manifold, points, labels)
    assert loss.item() == pytest.approx(golden["f64/rank_loss6"].item(), rel=2e-3)
    two = ranking_loss(enhancer.manifold, seen["output"].embedding, golden["in/labels"])
    assert two.item() == golden["f64/losses"][3].item() == 0


@torch.no_grad()
def test_reports_are_alike(model, study, golden):
    limits = GenerationLimits(beams=3, min_length=25, max_new_tokens=12)
    tokens, _, fused = model.generate(study, START, torch.tensor(STATES), limits)
    assert torch.equal(tokens[:, :19].int(), golden["f64/prompt_ids"])
    assert torch.equal(tokens.int(), golden["f64/beam3_ids"])
    decoder, prompt = model.report_decoder, golden["f64/prompt_ids"].long()
    greedy, _ = decoder.generate(fused.fused, prompt, GenerationLimits(beams=1, min_length=25, max_new_tokens=12))
    assert torch.equal(greedy.int(), golden["f64/beam1_ids"])


@torch.no_grad()
def test_a_report_that_ends_early_is_alike(model, seen, golden, monkeypatch):
    decoder, prompt = model.report_decoder, golden["f64/prompt_ids"].long()
    monkeypatch.setattr(decoder, "end_id", golden["f64/beam3_alt_eos_id"].item())
    limits = GenerationLimits(beams=3, min_length=25, max_new_tokens=12)
    tokens, scores = decoder.generate(seen["output"].fused, prompt, limits)
    assert torch.equal(tokens.int(), golden["f64/beam3_alt_eos_ids"])
    assert (tokens[:, -1] == decoder.pad_id).any()
    torch.testing.assert_close(scores, golden["f64/beam3_alt_eos_score"], rtol=1e-5, atol=0)
