"""``--eval_batch_size`` of main_train.py: how many studies are looked at, and written about, between the steps."""

import pytest
from programs import train

from models.revtaf import Revtaf
from modules.options.parsing import flat, parse_options
from modules.options.programs import MainTest, MainTrain
from modules.training.ablation_runs import _trained_as


@pytest.mark.parametrize(("flags", "together"), [((), {8}), (("--eval_batch_size", 20), {20, 8})])
def test_between_the_steps_as_many_studies_are_taken_as_asked_for(prepared, tmp_path, monkeypatch, flags, together):
    looked, written, learnt = set(), [], set()

    def recording(name, note):
        method = getattr(Revtaf, name)

        def recorded(model, first, *args, **kwargs):
            note(model, first)
            return method(model, first, *args, **kwargs)

        monkeypatch.setattr(Revtaf, name, recorded)

    recording("look", lambda model, image: looked.add(len(image)))
    recording("generate", lambda model, study: written.append(len(study.image)))
    recording("forward", lambda model, study: learnt.add(len(study.image)) if model.training else None)
    flags = flags or ("--eval_batch_size", 0)  # the drawings' own default is larger
    train(prepared, tmp_path / "run", "--epochs", 1, "--enhancer", "towers", *flags)
    assert learnt == {8}
    assert looked - {3} == together  # 48 studies to train on
    assert written == [3]  # all that are validated on


def test_a_test_has_its_own_batch_size_and_no_second_one():
    assert parse_options(MainTest, ["--batch_size", "5"]).loading.at_once == 5
    assert parse_options(MainTrain, ["--batch_size", "5"]).loading.at_once == 5
    assert parse_options(MainTrain, ["--batch_size", "5", "--eval_batch_size", "9"]).loading.at_once == 9
    with pytest.raises(SystemExit):
        parse_options(MainTest, ["--eval_batch_size", "9"])


def test_it_is_no_setting_of_an_ablation():
    one, other = (flat(parse_options(MainTrain, words)) for words in ([], ["--eval_batch_size", "9"]))
    assert _trained_as(one) == _trained_as(other)
