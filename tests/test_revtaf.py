"""models/revtaf.py: shapes, gradients everywhere, and no study that depends on its neighbours or its own report."""

import math
from dataclasses import fields, replace

import pytest
import torch
from tiny import report_loss, tiny_config, tiny_study
from torch.nn import functional as F

from models.beam_search import GenerationLimits
from models.decoder_layers import PackedReports
from models.entity_queries import GAIN, EntityQueries
from models.retrieval_towers import stages
from models.revtaf import PredictedPrompt, Revtaf, StudyInputs
from modules.training.losses import (
    alignment_loss,
    diagnosis_loss,
    known_pairs_loss,
    presence_loss,
    ranking_loss,
    text_similarity,
    token_loss,
)

LIMITS = GenerationLimits(beams=3, min_length=22, max_new_tokens=12)
STATE_IDS = torch.tensor([4, 5, 6, 7])


def tokens(batch=3, length=30):
    ids = torch.randint(8, 50, (batch, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[0, -5:] = False
    return ids.masked_fill(~mask, 0), mask


def total_loss(model, study):
    ids, mask = tokens(len(study.image))
    labels = torch.randint(0, 4, (len(ids), 18), generator=torch.Generator().manual_seed(2))
    out = model(study, ids, mask)
    maps = (out.region_map, out.reference_map, out.reference_mask)
    if model.config.align_pairs == "all":
        alignment = alignment_loss(text_similarity(out.region_text, out.reference_text), *maps)
    else:
        pairs = torch.rand(len(ids), 75, maps[1].shape[1], generator=torch.Generator().manual_seed(3)) < 0.3
        alignment = known_pairs_loss(pairs.to(out.region_map.dtype), *maps).sum()
    return (
        report_loss(out.token_logits, ids, mask, 19)
        + diagnosis_loss(out.state_logits, labels, torch.full((18,), 0.5))
        + alignment
        + presence_loss(out.presence_logits, study.region_scores)
        + ranking_loss(model.retrieval_enhancer.manifold, out.embedding, labels)
    )


def select(study, rows):
    return StudyInputs(**{f.name: getattr(study, f.name)[rows] for f in fields(study)})


def test_shapes_are_those_of_the_method(tiny_model):
    study, (ids, mask) = tiny_study(), tokens()
    out = tiny_model()(study, ids, mask)
    assert out.state_logits.shape == (3, 4, 18)
    assert out.embedding.shape == (3, 12)
    assert out.region_map.shape == (3, 75, 4)
    assert out.reference_map.shape == (3, 4, 4)
    assert out.presence_logits.shape == (3, 75)
    assert out.fused.shape == (3, 4 + 6, 40)  # four patches, then six words of the reference
    assert out.token_logits.shape == (3, 30, 50)


def test_packed_reports_have_the_loss_of_padded_ones(tiny_model):
    """The whole network as it is trained, against transformers' decoder and the loss over padded logits."""
    model, study, (ids, mask) = tiny_model(), tiny_study(), tokens()
    packed = PackedReports.of(ids, mask, 19)
    losses = (
        token_loss(model(study, ids, mask, packed).token_logits, packed.targets),
        report_loss(model(study, ids, mask).token_logits, ids, mask, 19),
    )
    torch.testing.assert_close(*losses, rtol=1e-5, atol=0)
    names, weights = zip(*model.named_parameters(), strict=True)
    gradients = (torch.autograd.grad(loss, weights, allow_unused=True) for loss in losses)
    for name, ours, theirs in zip(names, *gradients, strict=True):
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6, msg=name)


def test_a_step_in_bfloat16_has_the_loss_and_the_direction_of_one_in_float32(tiny_model):
    """``--precision bf16``: products are rounded, losses and gradients stay in float32."""
    found = []
    for enabled in (False, True):
        model = tiny_model().eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = total_loss(model, tiny_study())
        gradient = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        assert loss.dtype == torch.float32
        found.append((loss, torch.cat([part.flatten() for part in gradient if part is not None])))
    (loss, gradient), (rounded, rounded_gradient) = found
    assert rounded != loss
    assert rounded_gradient.dtype == torch.float32
    torch.testing.assert_close(rounded, loss, rtol=0.01, atol=0)
    assert torch.cosine_similarity(gradient, rounded_gradient, dim=0) > 0.99


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"learn_curvature": True},
        {"manifold": "lorentz"},
        {"manifold": "euclidean"},
        {"ot_plan": "single"},
        {"attention": "softmax"},
        {"attention": "none"},
        {"mask_padding": False},
        {"align_pairs": "all", "entity_keys": "text", "reference_memory": 0},
        {"visual_extractor": "resnet50"},
        {"grid": "2x"},
        {"map_view": "fine"},
    ],
    ids=str,
)
def test_every_parameter_gets_a_finite_gradient(changes, tiny_model):
    model = tiny_model(**changes).train()
    total_loss(model, tiny_study()).backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    apart = changes in ({"grid": "2x"}, {"map_view": "fine"})  # see fitted_maps.py
    assert unused == (["entity_queries.scale", "entity_queries.bias"] if apart else [])
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_only_exactly_zero_gradients_are_those_the_memory_docstring_names(tiny_model):
    model = tiny_model(dropout=0.0).double().train()
    for name, parameter in model.named_parameters():
        if "bias" in name:  # a trained model has biases; at zero they hide more of the zero target's effect
            torch.nn.init.normal_(parameter, std=0.1)
    study = StudyInputs(**{k: v.double() if v.is_floating_point() else v for k, v in vars(tiny_study()).items()})
    total_loss(model, study).backward()
    # a bias added to all keys shifts every attention score alike: the softmax does not see it (rounding remains)
    zero = {n for n, p in model.named_parameters() if not p.grad.any() and "key.bias" not in n}
    assert zero == {"report_memory.decoder.layers.0.self_attn.in_proj_weight"}


def test_report_loss_depends_on_every_input(tiny_model):
    study, (ids, mask) = tiny_study(), tokens()
    study = StudyInputs(**{k: v.requires_grad_() if v.is_floating_point() else v for k, v in vars(study).items()})
    out = tiny_model()(study, ids, mask)
    (report_loss(out.token_logits, ids, mask, 19) + out.state_logits.square().sum()).backward()
    for name in ("image", "region_text", "memory", "reference_text"):
        assert getattr(study, name).grad.abs().sum() > 0, name


def test_another_image_changes_attention_and_maps(tiny_model):
    model, study = tiny_model(), tiny_study()
    other = replace(study, image=tiny_study(seed=9).image)
    for name in ("region_map", "reference_map", "fused"):
        a, b = getattr(model.fuse(study), name), getattr(model.fuse(other), name)
        assert (a - b).abs().max() > 1e-3 * a.abs().max(), name


def test_permuted_entities_permute_the_map(tiny_model):
    model, study = tiny_model(entity_keys="text"), tiny_study()
    order = torch.randperm(75, generator=torch.Generator().manual_seed(0))
    shuffled = replace(study, region_text=study.region_text[:, order])
    torch.testing.assert_close(model.fuse(shuffled).region_map, model.fuse(study).region_map[:, order])


def test_generation_does_not_depend_on_the_batch(tiny_model):
    model, study = tiny_model(), tiny_study(batch=5)
    together, _, _ = model.generate(study, 3, STATE_IDS, LIMITS)
    for b in range(5):
        alone, _, _ = model.generate(select(study, [b]), 3, STATE_IDS, LIMITS)
        assert alone[0].tolist() == together[b].tolist()


def test_padding_sentences_change_nothing(tiny_model):
    model, study = tiny_model(), tiny_study()
    noise = torch.where(study.reference_mask.unsqueeze(-1), study.reference_text, 7.0)
    a, b = model.fuse(study), model.fuse(replace(study, reference_text=noise))
    torch.testing.assert_close(a.fused, b.fused)
    assert b.reference_map[-1, -1].abs().max() == 0


def test_no_mask_padding_lets_padding_take_part(tiny_model):
    model, study = tiny_model(mask_padding=False), tiny_study()
    noise = torch.where(study.reference_mask.unsqueeze(-1), study.reference_text, 7.0)
    assert (model.fuse(study).fused - model.fuse(replace(study, reference_text=noise)).fused).abs().max() > 1e-3


def test_a_study_without_reference_is_finite(tiny_model):
    study = tiny_study()
    study = replace(study, reference_mask=torch.zeros_like(study.reference_mask))
    model = tiny_model().train()
    total_loss(model, study).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_certainty_of_a_report_is_the_mean_log_probability_of_its_words(tiny_model):
    """Reports that ended and reports that were cut off, read again as known reports."""
    model, study = tiny_model(), tiny_study()
    end, pad = model.config.end_id, model.config.pad_id
    lengths = set()
    for most, bias in ((3, -9.0), (12, 0.3)):  # none ends, some end early
        with torch.no_grad():
            model.report_decoder.network.cls.predictions.bias[end] = bias
        limits = GenerationLimits(beams=2, min_length=20, max_new_tokens=most)
        tokens, certainty, fused = model.generate(study, 3, STATE_IDS, limits)
        for b, row in enumerate(tokens):
            report = row[: row.nonzero().max() + 1] if pad == 0 else row
            lengths.add((len(report) - 19, bool(report[-1] == end)))
            logits = model.report_decoder(fused.fused[b : b + 1], report[None], torch.ones_like(report[None]).bool())
            read = logits[0, 18:-1].log_softmax(-1).gather(1, report[19:, None]).mean()
            torch.testing.assert_close(certainty[b], read, rtol=1e-4, atol=1e-4)
    assert {ended for _, ended in lengths} == {True, False}


def test_prompt_of_generation_holds_the_predicted_states(tiny_model):
    model, study = tiny_model(), tiny_study()
    reports, _, fused = model.generate(study, 3, STATE_IDS, LIMITS)
    assert reports[:, 0].eq(3).all()
    torch.testing.assert_close(reports[:, 1:19], STATE_IDS[fused.state_logits.argmax(dim=1)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"curvature": -1.0}, "--c must be above 0"),
        ({"image_size": 16}, "at least 32"),
        ({"visual_extractor": "resnet19"}, "or hf:DIR"),
        ({"visual_extractor": "hf:folder", "grid": "2x"}, "--grid 2x is for ResNets"),
        ({"visual_extractor": "hf:folder", "map_view": "fine"}, "--map_view fine is for ResNets"),
        ({"num_heads": 5}, "--nhead 5 must divide"),
        ({"hidden_size": 30}, "--decoder_heads 4 must divide"),
        ({"attention": "dot"}, "choose one of ot, softmax, none"),
    ],
)
def test_impossible_sizes_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        tiny_config(**change)


@pytest.mark.slow
def test_full_size_model_trains_one_step_and_writes_one_report(capsys):
    config = tiny_config(
        image_size=224, visual_extractor="resnet101", report_feature_dim=512, memory_feedforward=2048, num_heads=8,
        hyperbolic_dim=512, entity_text_dim=768, attention_dim=1024, vocab_size=30527, end_id=102, decoder_layers=12,
        decoder_heads=12, hidden_size=768, intermediate_size=3072, max_positions=512,
    )  # fmt: skip
    model = Revtaf(config).train()
    parameters = sum(p.numel() for p in model.parameters())
    with capsys.disabled():
        print(f"\nfull-size REVTAF: {parameters:,} parameters")
    # the released network has 244,631,495, of which two unused attentions and a LayerNorm hold 8,398,848
    own = sum(
        p.numel() for part in (model.entity_queries, model.near_view, model.reference_tokens) for p in part.parameters()
    )
    assert parameters - own == 244_631_495 - 2 * (4 * 1024**2 + 4 * 1024) - 2 * 1024
    generator = torch.Generator().manual_seed(0)
    study = StudyInputs(
        image=torch.randn(2, 3, 224, 224, generator=generator),
        region_scores=torch.rand(2, 75, generator=generator),
        region_text=torch.randn(2, 75, 768, generator=generator),
        memory=torch.randn(2, 21, 512, generator=generator),
        reference_text=torch.randn(2, 6, 512, generator=generator),
        reference_mask=torch.ones(2, 6, dtype=torch.bool),
        reference_tokens=torch.randint(0, 30527, (2, 6), generator=generator),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss = total_loss(model, study)
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    optimizer.step()
    assert torch.isfinite(total_loss(model, study))
    limits = GenerationLimits(beams=3, min_length=25, max_new_tokens=10)
    written, _, _ = model.eval().generate(select(study, [0]), 30522, torch.arange(30523, 30527), limits)
    assert written.shape == (1, 29)


# the switches of the paper's two ideas


def gradients_of(model, loss):
    loss.backward()
    found = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    model.zero_grad(set_to_none=True)
    return found


def test_known_pairs_reach_the_keys_of_sentences_and_nothing_else(tiny_model):
    """Neither the entities nor the image may come to serve the alignment loss; all pairs, as released, move both."""
    pairs = (torch.rand(3, 75, 4, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    for kind in ("mentions", "stored", "all"):
        model = tiny_model(align_pairs=kind, dropout=0.0).train()
        fused = model.fuse(tiny_study())
        maps = fused.region_map, fused.reference_map, fused.reference_mask
        if kind != "all":
            found = gradients_of(model, known_pairs_loss(pairs, *maps).sum())
            assert found == {"fusion.attention.k.weight", "fusion.attention.k.bias"}
        else:
            found = gradients_of(model, alignment_loss(text_similarity(fused.region_text, fused.reference_text), *maps))
            assert {"entity_queries.query", "fusion.attention.q.weight", "near_view.linear.weight"} <= found


@pytest.mark.parametrize(("view", "part"), [("near", "near_view"), ("patches", "project_patches")])
def test_the_presence_loss_reaches_queries_view_and_image_but_no_text(tiny_model, view, part):
    model, study = tiny_model(map_view=view).train(), tiny_study()
    found = gradients_of(model, presence_loss(model.fuse(study).presence_logits, study.region_scores))
    assert {name.split(".")[0] for name in found} == {"entity_queries", "fusion", part, "visual_encoder"}
    assert not [name for name in found if name.startswith("fusion") and "attention.q" not in name]
    assert ("visual_encoder.backbone.layer3.0.conv1.weight" in found) == (view == "patches")


@pytest.mark.parametrize("apart", [{"grid": "2x"}, {"map_view": "fine"}, {"map_view": "fine", "grid": "2x"}])
def test_the_image_model_learns_from_wide_cells_where_maps_are_fitted_apart(tiny_model, apart):
    model, study = tiny_model(**apart).train(), tiny_study()
    found = gradients_of(model, presence_loss(model.fuse(study).presence_logits, study.region_scores))
    assert {name.split(".")[0] for name in found} == {"coarse_search", "visual_encoder"}
    of_maps = gradients_of(model, model.fuse(study).region_map.square().sum())
    assert {name.split(".")[0] for name in of_maps} == {"entity_queries", "fusion", "near_view"}
    for plain in ({}, {"entity_keys": "text"}, {"map_view": "patches"}):
        assert tiny_model(grid="2x" if plain else "1x", **plain).coarse_search is None


def test_a_wide_cell_is_searched_by_cosine_like_a_map(tiny_model):
    model, study = tiny_model(grid="2x"), tiny_study()
    search, stage = model.coarse_search, model.visual_encoder(study.image).near
    seen, asked = (
        F.normalize(x, dim=-1) for x in (search.q(search.view(search.view.cells(stage))), search.queries.query)
    )
    fused = model.fuse(study)
    assert seen.shape[1] * 4 == fused.region_map.shape[2]
    torch.testing.assert_close(fused.presence_logits, search.queries.presence((seen @ asked.T).transpose(1, 2)))


def test_patches_of_fine_cells_are_asked_more_sharply(tiny_model):
    """Their means lie close together: .4 beside eight of .3 must be told from nine of .3."""
    maps = torch.full((1, 75, 9), 0.3)
    maps[..., 4] = 0.4
    found = [tiny_model(map_view=view).entity_queries.presence(maps)[0, 0].item() for view in ("near", "fine")]
    best = [width * math.log(sum(math.exp(v / width) for v in (0.4, *[0.3] * 8)) / 9) for width in (0.1, 0.02)]
    assert found == pytest.approx([2 * 3 * value - 2 for value in best], abs=1e-5)
    assert best[1] - 0.3 > 2 * (best[0] - 0.3)


@pytest.mark.parametrize(
    ("view", "grid", "sharpness"),
    [("near", "1x", 0.1), ("near", "2x", 0.1), ("fine", "1x", 0.02), ("fine", "2x", 0.02)],
)
def test_only_maps_of_fine_cells_are_asked_sharply_on_either_grid(tiny_model, view, grid, sharpness):
    model = tiny_model(map_view=view, grid=grid)
    assert model.entity_queries.sharpness == sharpness
    assert model.coarse_search is None or model.coarse_search.queries.sharpness == 0.1


def test_an_entity_is_present_where_one_patch_answers_and_not_where_all_do_a_little():
    torch.manual_seed(0)
    queries, peak = EntityQueries(2, 4), torch.zeros(1, 2, 9)
    peak[0, :, 3] = 0.9
    flat = torch.full_like(peak, 0.1)
    with torch.no_grad():
        found, little = (queries.presence(maps) for maps in (peak, flat))
    assert (found > little + 2).all()
    torch.testing.assert_close(little, queries.scale * GAIN * 0.1 + queries.bias.expand(1, 2))


def test_no_entity_keys_from_the_text_have_a_presence(tiny_model):
    study = tiny_study()
    published = tiny_model(entity_keys="text")
    assert published.fuse(study).presence_logits is None
    assert presence_loss(None, study.region_scores) == 0


def test_an_entity_is_found_by_its_query_and_sends_its_text(tiny_model):
    """Another text changes what a patch is told, not where the entity is seen; as released it changes both."""
    study = tiny_study()
    other = replace(study, region_text=study.region_text.flip(0))
    for keys, moved in (("query", False), ("text", True)):
        model = tiny_model(entity_keys=keys)
        one, two = model.fuse(study), model.fuse(other)
        assert ((one.region_map - two.region_map).abs().max() > 1e-4) == moved
        assert (one.fused[:, :4] - two.fused[:, :4]).abs().max() > 1e-4


def test_prompts_hold_the_predicted_states_of_the_chosen_studies(tiny_model):
    model, study, (ids, mask) = tiny_model(), tiny_study(), tokens()
    packed, chosen = PackedReports.of(ids, mask, 19), torch.tensor([True, False, True])
    told = STATE_IDS[model.fuse(study).state_logits.argmax(dim=1)]  # (B, L)
    by_hand = ids.clone()
    by_hand[chosen, 1:19] = told[chosen]
    prompt = PredictedPrompt(chosen, STATE_IDS)
    with torch.no_grad():
        expected = model(study, by_hand, mask, PackedReports.of(by_hand, mask, 19)).token_logits
        assert torch.equal(model(study, ids, mask, packed, prompt).token_logits, expected)
        assert not torch.equal(model(study, ids, mask, packed).token_logits, expected)
        padded = model(study, ids, mask, prompt=prompt).token_logits
        torch.testing.assert_close(padded, model(study, by_hand, mask).token_logits)


def test_without_a_prompt_the_decoder_is_told_nothing(tiny_model):
    """Whatever states the network predicts or the report has: the same loss, the same words."""
    study, (ids, mask) = tiny_study(), tokens()
    others = ids.clone()
    others[:, 1:19] = STATE_IDS[0]
    limits = GenerationLimits(beams=2, min_length=25, max_new_tokens=8)
    for prompt in ("states", "none"):
        model, found, written = tiny_model(prompt=prompt).eval(), [], []
        with torch.no_grad():
            for told in (ids, others):
                padded = model(study, told, mask).token_logits
                found.append(model(study, told, mask, PackedReports.of(told, mask, 19)).token_logits)
                written.append(padded)
            shifted = STATE_IDS.roll(1)  # the words of other states
            texts = [model.generate(study, 1, words, limits)[0][:, 19:] for words in (STATE_IDS, shifted)]
        silent = prompt == "none"
        assert torch.equal(*found) == silent
        assert torch.equal(*written) == silent
        half = PredictedPrompt(torch.tensor([True, False, True]), STATE_IDS)  # as --prompt_states mixed would have it
        with torch.no_grad():
            mixed = [
                model(study, told, mask, PackedReports.of(told, mask, 19), half).token_logits for told in (ids, others)
            ]
        assert torch.equal(*mixed) == silent
        if silent:
            assert torch.equal(*texts)


def test_without_a_report_memory_the_states_come_from_the_image_alone(tiny_model):
    study = tiny_study()
    other = replace(study, memory=torch.randn_like(study.memory))
    for layers in (2, 0):
        model = tiny_model(memory_layers=layers).eval()
        with torch.no_grad():
            one, two = model.fuse(study).state_logits, model.fuse(other).state_logits
        assert torch.equal(one, two) == (layers == 0)
        assert any(name.startswith("report_memory.") for name in model.state_dict()) == (layers > 0)


def test_a_look_that_fails_leaves_no_hook_behind(tiny_model):
    """It would keep the stages of every later step in memory."""
    model = tiny_model(enhancer="towers")
    with pytest.raises(TypeError):
        model.look(None, None, None)
    assert not any(stage._forward_hooks for stage in stages(model.visual_encoder.backbone))
