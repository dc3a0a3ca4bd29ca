"""JSON as programs write it: pandas' layouts, lists beside other things, annotations with other names for splits and sections."""

import gzip
import json

import pytest
from programs import refused

import main_score
from modules.corpus.annotations import read_annotation
from modules.evaluation.reading.report_files import read_report_file
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.custom import read_custom

OURS, TRUTH = ["The heart is large.", "Clear lungs."], ["Cardiomegaly is seen.", "The lungs are clear."]
BOTH = {"prediction": OURS, "reference": TRUTH}


def read(folder, content, wanted="prediction", **options):
    (folder / "a.json").write_text(json.dumps(content))
    return read_report_file(folder / "a.json", wanted, **options)


def pandas(columns, index):
    """What ``to_json`` of pandas writes, by ``orient``."""
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    keys = [str(key) for key in index]
    return {
        "records": rows,
        "index": dict(zip(keys, rows, strict=True)),
        "columns": {name: dict(zip(keys, cells, strict=True)) for name, cells in columns.items()},
        "split": {"columns": [*columns], "index": index, "data": [[*row.values()] for row in rows]},
        "table": {"schema": {"fields": []}, "data": [{"index": key, **row} for key, row in zip(index, rows, strict=True)]},
    }  # fmt: skip


@pytest.mark.parametrize("orient", ["records", "index", "columns", "split", "table"])
def test_every_layout_of_pandas_is_read(tmp_path, orient):
    found = read(tmp_path, pandas(BOTH, [0, 1])[orient])
    assert (found.texts, found.references) == (OURS, TRUTH)
    named = read(tmp_path, pandas({"study_id": ["a1", "b2"], "report": OURS}, [0, 1])[orient], "reference")
    assert (named.texts, named.keys["study_id"]) == (OURS, ["a1", "b2"])
    if orient != "records":  # which has no index
        assert read(tmp_path, pandas(BOTH, ["s7", "s9"])[orient]).keys["study_id"] == ["s7", "s9"]


@pytest.mark.parametrize(
    "wrong", [{"index": [0]}, {"data": [[OURS[0]], [OURS[1]]]}, {"columns": ["report", "report"]}, {"index": 3}]
)
def test_a_split_layout_that_does_not_fit_together_is_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="columns, index and data that do not belong together: expected"):
        read(tmp_path, pandas(BOTH, [0, 1])["split"] | wrong)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"model": "x"}, "'model'"),
        ({"scores": {"bleu": 0.3}}, "'scores'"),
        ({"scores": {"bleu": [0.1, 0.2]}, "n": 2, "metrics": ["bleu", "rouge", "f1"]}, "'scores', 'n', 'metrics'"),
        ({"scores": [0.1, 0.2]}, None),
    ],
)
def test_lists_of_reports_are_read_beside_other_things_which_are_named(tmp_path, capsys, beside, said):
    for content in ({**beside, "hyps": OURS, "refs": TRUTH}, {"results": {"hyps": OURS, "refs": TRUTH, **beside}}):
        found = read(tmp_path, content)
        assert (found.texts, found.references) == (OURS, TRUTH)
        printed = capsys.readouterr().out
        assert printed == (f"a.json: not read, since they are no 2 values: {said}\n" if said else "")
    mapped = {"gts": dict(zip("ab", TRUTH, strict=True)), "res": dict(zip("ba", OURS, strict=True)), "model": "x"}
    found = read(tmp_path, mapped)
    assert dict(zip(found.keys["study_id"], found.texts, strict=True)) == {"b": OURS[0], "a": OURS[1]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": "x", "hyps": OURS, "refs": TRUTH[:1]}, "expected as many of each"),
        ({"hyps": OURS, "refs": TRUTH, "id": "run 1"}, "several values under 'hyps' and one under 'id'"),
        ({"study_id": "x", "report": OURS[0]}, "no mapping of ids to reports"),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, content)


def item(number, **more):
    return {"id": f"s{number}", "image_path": [f"{number}.png"], **more}


def test_an_annotation_of_sections_is_read_by_the_section(tmp_path, capsys):
    """It was said to have no reference that says anything."""
    items = [item(n, findings=TRUTH[n], impression=f"Stable {n}.", report=None) for n in (0, 1)]
    annotation = {"train": [], "val": [], "test": items}
    assert read(tmp_path, annotation, "reference").texts == TRUTH
    assert read(tmp_path, annotation, "reference", section="impression").texts == ["Stable 0.", "Stable 1."]
    both = read(tmp_path, annotation, "reference", section="both")
    assert both.texts == [f"Findings: {TRUTH[n]} Impression: Stable {n}." for n in (0, 1)]
    assert both.keys["id"] == ["s0", "s1"]
    mixed = {**annotation, "test": [items[0], item(1, report=TRUTH[1])]}
    (tmp_path / "mixed.json").write_text(json.dumps(mixed))
    (tmp_path / "p.csv").write_text("id,report\ns0,Clear.\ns1,Clear lungs.\n")
    flags = ["--predictions", tmp_path / "p.csv", "--references", tmp_path / "mixed.json"]
    refused(capsys, "1 of 2 rows of", main_score, *flags, "--save_dir", tmp_path / "out")


@pytest.mark.parametrize("name", ["validation", "valid", "validate", "val", "dev"])
def test_a_split_has_the_names_that_data_sets_give_it_in_every_program(tmp_path, name):
    annotation = {"train": [item(0, report=TRUTH[0])], name: [item(1, report=TRUTH[1])], "test": []}
    assert read(tmp_path, annotation, "reference", split="val").texts == [TRUTH[1]]
    studies = read_annotation(tmp_path / "a.json")
    assert {split: [study.id for study in studies[split]] for split in studies} == {
        "train": ["s0"], "val": ["s1"], "test": [],
    }  # fmt: skip
    flat = [item(0, report=TRUTH[0], split="training"), item(1, report=TRUTH[1], split=name)]
    assert read(tmp_path, flat, "reference", split="val").texts == [TRUTH[1]]
    assert [study.id for study in read_annotation(tmp_path / "a.json")["val"]] == ["s1"]


def test_two_names_of_one_split_are_refused_by_every_program(tmp_path):
    annotation = {"train": [], "val": [item(0, report=TRUTH[0])], "validation": [item(1, report=TRUTH[1])]}
    with pytest.raises(UserError, match="an object with the keys 'train', 'val', 'validation'"):
        read(tmp_path, annotation, "reference")
    with pytest.raises(UserError, match="an object with the keys 'train', 'val', 'validation'"):
        read_annotation(tmp_path / "a.json")


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


STUDIES = {"id": ["s1", "s2"], "image_path": ["a.png", "b/c.png"], "report": TRUTH, "patient": ["p1", "p2"]}
ROWS = pandas(STUDIES, [0, 1])["records"]


def own(path):
    dataset = read_custom(path, RawOptions(), with_images=False)
    return {name: [getattr(study, name) for study in dataset.studies] for name in ("id", "report", "patient")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines(ROWS).encode()),
        ("a.ndjson", lines(ROWS).encode()),
        ("a.jsonl.gz", gzip.compress(lines(ROWS).encode())),
        ("a.ndjson.gz", gzip.compress(lines(ROWS).encode())),
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode())),
        ("a.jsonl", lines(ROWS).encode("utf-16")),
        ("a.json", json.dumps(ROWS).encode("utf-16")),
        ("a.json", lines(ROWS).encode()),
        ("a.json", json.dumps({"data": ROWS}).encode()),
        ("a.json", json.dumps({"info": "x", "studies": ROWS}).encode()),
        *(("a.json", json.dumps(pandas(STUDIES, [0, 1])[orient]).encode()) for orient in ("records", "index", "columns", "split", "table")),
    ],
)  # fmt: skip
def test_json_is_read_alike_by_the_scorer_and_a_preparation(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = read_report_file(tmp_path / name, "reference")
    assert (found.texts, found.keys["id"]) == (TRUTH, ["s1", "s2"])
    assert own(tmp_path / name) == {"id": ["s1", "s2"], "report": TRUTH, "patient": ["p1", "p2"]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "3", "holds one value, expected a list of studies"),
        ("a.json", '{"train": [], "validation": []}', "holds an annotation, expected a list of studies"),
        ("a.json", '{"image_path": "a.png", "report": "Clear."}', "expected a list of studies, each with image_path and report"),
        ("a.jsonl", '{"image_path": "a.png", "report": "Clear."}\n\n3\n', "line 3 of .* holds a int; expected an object with image_path"),
        ("a.json", '{"image_path": ["a.png", "b.png"], "report": ["Clear."]}', "expected as many of each"),
    ],
)  # fmt: skip
def test_json_that_is_no_table_of_studies_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words):
        own(tmp_path / name)


@pytest.mark.parametrize(
    "beside", [{}, {"images": [{"id": 1}, {"id": 0}]}, {"info": {}, "type": "captions", "images": []}]
)
def test_captions_are_known_by_their_images_and_not_by_their_own_numbers(tmp_path, beside):
    rows = [{"image_id": n, "id": 1 - n, "caption": text} for n, text in enumerate(TRUTH)]
    found = read(tmp_path, {**beside, "annotations": rows}, "reference")
    assert (found.texts, found.keys) == (TRUTH, {"image_id": ["0", "1"]})


def test_the_questions_of_a_model_are_no_references(tmp_path):
    asked = ["Describe the findings of this image in detail.", "Write a report of this chest x-ray."]
    rows = [
        {"question_id": f"s{n}x", "text": ask, "answer": text}
        for n, (ask, text) in enumerate(zip(asked, TRUTH, strict=True))
    ]
    assert read(tmp_path, rows, "reference").texts == TRUTH
    reports = [{"question_id": f"s{n}x", "text": text} for n, text in enumerate(TRUTH)]
    assert read(tmp_path, reports, "reference").texts == TRUTH


def test_a_folder_may_hold_its_table_packed(tmp_path):
    (tmp_path / "studies.ndjson.gz").write_bytes(gzip.compress(lines(ROWS).encode()))
    assert own(tmp_path)["id"] == ["s1", "s2"]


def test_a_file_of_another_section_is_said_to_be_one(tmp_path):
    """CheXbert's own heading was counted, and not shown."""
    (tmp_path / "a.csv").write_text("Report Impression\n" + "".join(f'"{text}"\n' for text in OURS))
    with pytest.raises(
        UserError,
        match="has the columns 'Report Impression': it holds 'Report Impression', another section than --section says",
    ):
        read_report_file(tmp_path / "a.csv")
    assert read_report_file(tmp_path / "a.csv", section="impression").texts == OURS
    assert read_report_file(tmp_path / "a.csv", columns={"prediction": "Report Impression"}).texts == OURS
    (tmp_path / "b.csv").write_text("study_id,findings\ns1,Clear lungs.\n")
    with pytest.raises(UserError, match="it holds 'findings', another section than --section says"):
        read_report_file(tmp_path / "b.csv", "reference", section="impression")


def batch(number, content="The heart is large.", **more):
    """A line of the output of a batch of OpenAI or vLLM."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    response = {"status_code": 200, "request_id": "r", "body": {"object": "chat.completion", "choices": [choice]}}
    return {"id": f"b{number}", "custom_id": f"s{number}", "response": response, "error": None, **more}


def test_the_answers_of_a_batch_are_read_by_their_requests(tmp_path, capsys):
    """What a batch had cost could not be scored."""
    answers = [batch(1), batch(2, [{"type": "text", "text": OURS[1]}])]
    answers[1]["response"]["body"]["choices"][0]["finish_reason"] = "length"
    (tmp_path / "a.jsonl").write_text(lines(answers))
    found = read_report_file(tmp_path / "a.jsonl")
    assert (found.texts, found.keys["study_id"]) == (OURS, ["s1", "s2"])
    assert "the answers of a batch" in found.read_as
    assert "1 of 2 answers were cut off by the limit" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds only generated reports where a reference is expected"):
        read_report_file(tmp_path / "a.jsonl", "reference")


def response(number, *content, **more):
    """A line of a batch of OpenAI's responses, whose model thought before."""
    output = [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": text} for text in content],
        },
    ]
    return batch(number, response={"status_code": 200, "body": {"object": "response", "output": output, **more}})


def anthropic(number, *content, stop="end_turn"):
    """A line of a batch of Anthropic's messages, whose model thought before."""
    parts = [{"type": "thinking", "thinking": "A heart."}, *({"type": "text", "text": text} for text in content)]
    message = {"type": "message", "role": "assistant", "content": parts, "stop_reason": stop}
    return {"custom_id": f"s{number}", "result": {"type": "succeeded", "message": message}}


def gemini(number, *content, finish="STOP"):
    """A line of a batch of Gemini's, whose model thought before."""
    parts = [{"text": "A heart.", "thought": True}, *({"text": text} for text in content)]
    return {
        "key": f"s{number}",
        "response": {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]},
    }


@pytest.mark.parametrize(
    ("line", "cut"),
    [(response, {"incomplete_details": {"reason": "max_output_tokens"}}), (anthropic, {"stop": "max_tokens"}), (gemini, {"finish": "MAX_TOKENS"})],
)  # fmt: skip
def test_the_answers_of_other_batches_are_read_too(tmp_path, capsys, line, cut):
    """A thought is no part of them, and a text in two parts is one."""
    found = read(tmp_path, [line(1, OURS[0]), line(2, OURS[1][:3], OURS[1][3:], **cut)])
    assert (found.texts, found.keys["study_id"]) == (OURS, ["s1", "s2"])
    assert "1 of 2 answers were cut off by the limit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([anthropic(1, "A heart."), {"custom_id": "s2", "result": {"type": "expired"}}], "which failed"),
        ([gemini(1, "A heart."), {"key": "s2", "error": {"code": 4}}], "which failed"),
        ([anthropic(1, "A heart."), anthropic(2)], "which has no text"),
        ([gemini(1, "A heart."), {"key": "s2", "response": {"candidates": [{"finishReason": "SAFETY"}]}}], "which has no text"),
        ([response(1, "A heart."), response(2)], "which has no text"),
    ],
)  # fmt: skip
def test_a_request_of_other_batches_without_an_answer_is_refused(tmp_path, lines, words):
    with pytest.raises(UserError, match=f"holds 1 of 2 requests without one answer, first 's2', {words}"):
        read(tmp_path, lines)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"response": None, "error": {"code": "x", "message": "rate limit"}}, "which failed"),
        ({"response": {"status_code": 500, "body": {}}}, "which failed"),
        (
            {"response": {"status_code": 200, "body": {"choices": [{"message": {"content": "a"}}] * 2}}},
            "which has 2 answers",
        ),
        (
            {"response": {"status_code": 200, "body": {"choices": [{"message": {"content": None}}]}}},
            "which has no text",
        ),
        ({"response": {"status_code": 200, "body": {"output": []}}}, "which has no text"),
    ],
)
def test_a_request_without_one_answer_is_refused_by_its_id(tmp_path, wrong, words):
    with pytest.raises(
        UserError, match=f"holds 1 of 2 requests without one answer, first 's2', {words}.*: run them again"
    ):
        read(tmp_path, [batch(1), batch(2, **wrong)])


def chat(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def test_the_last_message_of_a_chat_is_the_report(tmp_path):
    """``pipeline("image-text-to-text")`` returns the whole chat."""
    ask = ("user", [{"type": "image"}, {"type": "text", "text": "Describe."}])
    chats = [chat(ask, ("assistant", OURS[0])), chat(ask, ("assistant", "No."), ask, ("assistant", OURS[1]))]
    rows = [{"study_id": f"s{n}", "generated_text": one} for n, one in enumerate(chats)]
    found = read(tmp_path, rows)
    assert (found.texts, found.keys["study_id"]) == (OURS, ["s0", "s1"])
    assert found.read_as.startswith("the last message of each chat; ")
    for wrong in (chat(ask), chat(ask, ("assistant", None)), chat(("assistant", "No."), ask)):
        with pytest.raises(UserError, match=r"the chat of 's7' .* does not end in a text of the assistant"):
            read(tmp_path, [*rows, {"study_id": "s7", "generated_text": wrong}])


@pytest.mark.parametrize("side", ["prediction", "reference"])
def test_chats_are_read_where_columns_name_them(tmp_path, side):
    """``messages`` and ``conversations`` may be what a model was trained on; whoever names them was told that a list is no text."""
    for name, keys in (("messages", ("role", "content")), ("conversations", ("from", "value"))):
        speakers = ("user", "assistant") if name == "messages" else ("human", "gpt")
        chats = [[dict(zip(keys, turn, strict=True)) for turn in zip(speakers, ("Describe.", text), strict=True)] for text in OURS]  # fmt: skip
        (tmp_path / "a.json").write_text(json.dumps([{"id": f"s{n}", name: one} for n, one in enumerate(chats)]))
        found = read_report_file(tmp_path / "a.json", side, columns={side: name.upper()})
        assert (found.texts, found.keys["id"]) == (OURS, ["s0", "s1"])
        assert found.read_as.startswith("the last message of each chat; ")
        assert read(tmp_path, chats).texts == OURS  # a list of chats has no name
        (tmp_path / "a.json").write_text(json.dumps([{"id": "s0", name: chats[0]}, {"id": "s7", name: chats[1][:1]}]))
        with pytest.raises(UserError, match=r"the chat of 's7' .* does not end in a text of the assistant"):
            read_report_file(tmp_path / "a.json", side, columns={side: name})


def test_a_pipeline_gives_a_list_of_candidates_for_every_prompt(tmp_path):
    """One each was refused as no list of objects."""
    answers = [[{"generated_text": text}] for text in OURS]
    assert read(tmp_path, answers).texts == OURS
    for wrong in ([*answers, answers[0] * 2], [*answers, []], [*answers, OURS]):
        with pytest.raises(UserError, match="holds a JSON list that is no list of objects"):
            read(tmp_path, wrong)


def test_conversations_of_one_question_are_references(tmp_path):
    def turns(*texts):
        return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]

    rows = [
        {"id": f"s{n}", "image": f"{n}.jpg", "conversations": turns("<image>\nDescribe.", text)}
        for n, text in enumerate(TRUTH)
    ]
    found = read(tmp_path, rows, "reference")
    assert (found.texts, found.keys["id"]) == (TRUTH, ["s0", "s1"])
    beside = read(tmp_path, [{**row, "report": text} for row, text in zip(rows, OURS, strict=True)], "reference")
    assert beside.texts == OURS
    rows[1]["conversations"] += turns("And the heart?", "It is large.")
    for wanted in ("prediction", "reference"):
        with pytest.raises(UserError, match="no known heading"):
            read(tmp_path, rows, wanted)
