"""modules/training/update.py: however the studies of a step are shared, it is the same step."""

import pytest
import torch


@pytest.fixture(scope="module")
def step_of(trainings, tmp_path_factory):
    """The step of some processes and batches, each made once."""
    folder, made = tmp_path_factory.mktemp("steps"), {}

    def make(**how):
        name = "_".join(f"{key}{value}" for key, value in how.items()) or "whole"
        if name not in made:
            made[name] = trainings.one_step(folder, name, **how)
        return made[name]

    return make


def assert_same(shared, whole, tolerance=1e-5):
    for name, value in whole["losses"].items():
        assert shared["losses"][name] == pytest.approx(value, rel=tolerance), name
    norm = torch.stack([gradient.norm() for gradient in whole["gradients"].values()]).norm()
    assert shared["gradients"].keys() == whole["gradients"].keys()
    for name, gradient in whole["gradients"].items():
        assert (shared["gradients"][name] - gradient).norm() < tolerance * norm, name
    for name, statistic in whole["statistics"].items():
        torch.testing.assert_close(shared["statistics"][name], statistic, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "how", [{"processes": 2}, {"processes": 4}, {"processes": 2, "rank_loss": "listwise"}], ids=str
)
@pytest.mark.slow
def test_processes_share_a_batch(how, step_of):
    assert_same(step_of(**how), step_of(**{name: value for name, value in how.items() if name != "processes"}))


@pytest.mark.parametrize(
    "how", [{"batches": 2}, {"processes": 2}, {"processes": 2, "batches": 2}, {"checkpointing": True}], ids=str
)
@pytest.mark.slow
def test_gradients_of_every_loss_apart_are_those_of_the_whole_batch(how, step_of):
    assert_same(step_of(cagrad=0.4, freeze_bn=True, **how), step_of(cagrad=0.4, freeze_bn=True))


@pytest.mark.slow
def test_gradients_of_every_loss_apart_add_up_to_those_of_their_sum(step_of):
    whole = step_of()
    idle = {"entity_queries.scale", "entity_queries.bias"}  # reached by the loss alone whose weight is 0
    assert all(not whole["gradients"][name].any() for name in idle)
    whole = {**whole, "gradients": {n: g for n, g in whole["gradients"].items() if n not in idle}}
    assert_same(step_of(cagrad=1e-9), whole)
    moved, plain = step_of(cagrad=0.4)["gradients"], step_of()["gradients"]
    assert any((moved[name] - gradient).norm() > 0.05 * gradient.norm() for name, gradient in plain.items())


@pytest.mark.parametrize("how", [{"batches": 2}, {"batches": 4}, {"processes": 2, "batches": 2}], ids=str)
def test_batches_that_count_as_one(how, step_of):
    """With frozen statistics; those of a batch are of that batch."""
    assert_same(step_of(**how, freeze_bn=True), step_of(freeze_bn=True))


def test_without_sync_bn_it_is_another_step(step_of):
    with pytest.raises(AssertionError):
        assert_same(step_of(processes=2, sync_bn=False), step_of())


def test_without_sync_bn_every_process_goes_on_with_the_statistics_of_the_first(step_of):
    """Else a validation would be of as many models as there are processes, and a resume of the first one alone."""
    first, second = step_of(processes=2, sync_bn=False)["everywhere"]
    assert first
    for name, statistic in first.items():
        assert torch.equal(second[name], statistic), name


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "none", "retrieval": "none"}, {"attention": "softmax"}, {"ot_plan": "single"},
        {"manifold": "lorentz", "learn_curvature": True}, {"manifold": "euclidean"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.slow
def test_every_switch_trains_with_two_processes(changes, step_of):
    assert_same(step_of(processes=2, **changes), step_of(**changes))


@pytest.mark.parametrize("how", [{"processes": 2}, {"batches": 2}, {"processes": 2, "batches": 2}], ids=str)
@pytest.mark.slow
def test_known_pairs_are_means_over_all_processes_and_batches(how, step_of):
    """Studies have 2 or 5 known sentences, and one has none: a mean of means would be another loss."""
    whole = step_of(mentions=True, freeze_bn=True)
    assert whole["losses"]["loss_alignment"] != pytest.approx(
        step_of(freeze_bn=True)["losses"]["loss_alignment"], rel=0.01
    )
    assert_same(step_of(**how, mentions=True, freeze_bn=True), whole)


@pytest.mark.slow
def test_blocks_that_are_computed_twice_give_the_same_step(step_of):
    assert_same(step_of(checkpointing=True), step_of(), tolerance=1e-6)
    assert_same(step_of(processes=2, checkpointing=True), step_of())
