"""Whatever hypothesis writes as an annotation, as JSON or as a feature folder is read again as it was, or refused in a sentence."""

import json
import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modules.corpus.annotations import SPLITS, read_annotation
from modules.corpus.cells import failed, is_empty
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.text import plain_signs
from modules.messages import UserError
from modules.records import iterate_jsonl, read_json, write_json, write_jsonl

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
text = st.text(max_size=20)
whole_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
reports = whole_text.filter(lambda value: not is_empty(value) and not failed(value))
name = st.text(st.characters(codec="ascii", categories=("Lu", "Ll", "Nd")), min_size=1, max_size=8)
item = st.fixed_dictionaries(
    {
        "image_path": st.lists(name.map("{}.png".format), min_size=1, max_size=3),
        "report": reports,
    },
    optional={
        "labels": st.lists(st.integers(0, 3), min_size=14, max_size=14)
        | st.lists(st.integers(0, 3), min_size=18, max_size=18),
        "patient": name,
        "clip_indices": st.lists(st.integers(0, 99), max_size=4),
    },
)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@quick
@given(st.dictionaries(name, st.tuples(st.sampled_from(SPLITS), item), max_size=6))
def test_an_annotation_is_read_as_it_was_written(tmp_path, items):
    content = {split: [] for split in SPLITS}
    for identifier, (split, values) in items.items():
        content[split].append({"id": identifier, **values})
    write_json(tmp_path / "a.json", content)
    studies = {study.id: study for split in read_annotation(tmp_path / "a.json").values() for study in split}
    assert set(studies) == set(items)
    for identifier, (split, values) in items.items():
        study = studies[identifier]
        assert (study.split, list(study.image_path)) == (split, values["image_path"])
        assert study.report == plain_signs(values["report"])
        assert study.labels == (tuple(values["labels"]) if "labels" in values else None)
        assert study.memory_indices == (tuple(values["clip_indices"]) if "clip_indices" in values else None)


@quick
@given(json_value)
def test_any_json_is_an_annotation_or_a_sentence(tmp_path, value):
    (tmp_path / "a.json").write_text(json.dumps(value))
    try:
        assert set(read_annotation(tmp_path / "a.json")) == set(SPLITS)
    except UserError as error:
        sentence = str(error)
        assert sentence.startswith(f"{tmp_path}/a.json")
        assert len(sentence) > 40


@quick
@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_sentence(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    for read in (read_json, lambda path: list(iterate_jsonl(path))):
        try:
            json.dumps(read(tmp_path / "a.json"), ensure_ascii=False).encode()
        except UserError as error:
            assert f"{tmp_path}/a.json" in str(error)  # noqa: PT017


@quick
@given(st.lists(json_value, max_size=5))
def test_lines_of_json_are_read_as_they_were_written(tmp_path, values):
    if any("\ud800" <= character <= "\udfff" for character in "".join(map(str, values))):
        return  # nothing can write half a character
    write_jsonl(tmp_path / "a.jsonl", values)
    assert list(iterate_jsonl(tmp_path / "a.jsonl")) == values


@quick
@given(st.lists(name, min_size=1, max_size=5, unique=True), st.data())
def test_a_feature_folder_gives_back_what_was_written(tmp_path, ids, data):
    n = len(ids)
    width = data.draw(st.integers(1, 4))
    finite = st.floats(-100, 100, width=16)
    written = {
        "labels": (data.draw(arrays.arrays(np.int8, (n, 18), elements=st.integers(0, 3))), "studies"),
        "report_features": (data.draw(arrays.arrays(np.float16, (n, width), elements=finite)), "training"),
    }
    write_axis(tmp_path, "studies", ids)
    write_axis(tmp_path, "training", ids)
    write_bank_reports(tmp_path, ({"id": identifier, "patient": None, "report": "x"} for identifier in ids))
    for key, (array, axis) in written.items():
        write_feature(tmp_path, key, array, axis=axis, made_by={})
    store = FeatureStore.open(tmp_path)
    store.check()
    for key, (array, _) in written.items():
        assert (store[key] == array).all()
        assert store[key].dtype == array.dtype
    order = data.draw(st.permutations(ids))
    assert [ids[row] for row in store.rows("studies", order)] == list(order)
    assert math.prod(store["labels"].shape) == n * 18
