"""main_score.py on small files that were once read wrongly: BLEU-1 of every one, through the program."""

import csv
import json
from pathlib import Path

import pytest
from programs import call, refused

import main_score

CASES = Path(__file__).parent / "cases" / "scoring"


def scored(folder, predictions, references, *flags):
    """Every figure of the one system."""
    words = [
        "--predictions",
        f"a={CASES / predictions}",
        "--save_dir",
        folder,
        "--no-meteor",
        "--resamples",
        10,
        *flags,
    ]
    call(main_score, *words, *(["--references", CASES / references] if references else []))
    metrics = json.loads((folder / "metrics.json").read_text())
    return metrics["systems"]["a"]["scores"]


@pytest.mark.parametrize(
    ("predictions", "references", "bleu"),
    [
        ("crimson.csv", None, 0.778),
        ("report_and_generated.csv", None, 0.200),
        ("report_and_generated.jsonl", None, 0.114),
        ("theirs.csv", "own_predictions.jsonl", 0.231),
        ("priorrg.csv", None, 0.778),
        ("cvt2distilgpt2_predictions.csv", None, 0.400),
        ("radfact.csv", None, 0.778),
        ("list.json", None, 0.400),
        ("hyps.txt", "refs.txt", 0.400),
        ("llava.jsonl", None, 0.597),
        ("uid_column.csv", "ref_annotation.json", 1.0),
        ("shuf_case_id.csv", "refs.csv", 1.0),
        ("excel_semicolon.csv", "excel_semicolon_refs.csv", 1.0),
        ("lower.csv", "refs_lower.csv", 1.0),
        ("radeval.json", None, 0.747),
        ("rexrank.json", None, 0.778),
        ("rexrank.json", "rexrank_test.json", 0.800),
        ("crimson.csv", "refs_by_id.csv", 0.778),
    ],
)
def test_each_file_is_read_for_what_it_is(tmp_path, predictions, references, bleu):
    assert scored(tmp_path, predictions, references)["test_BLEU_1"] == pytest.approx(bleu, abs=6e-4)


def test_an_empty_reference_is_no_study(tmp_path, capsys):
    assert scored(tmp_path, "predall.csv", "refempty.csv")["test_BLEU_1"] == pytest.approx(1)
    assert json.loads((tmp_path / "metrics.json").read_text())["studies"] == 2
    assert "1 of 3 references are empty and left out, first 50578114" in capsys.readouterr().out


@pytest.mark.parametrize(("section", "bleu"), [("findings", 0.778), ("both", 0.783), ("impression", 1.0)])
def test_sections_of_rexrank(tmp_path, section, bleu):
    found = scored(tmp_path, "rexrank.json", None, "--section", section)
    assert found["test_BLEU_1"] == pytest.approx(bleu, abs=6e-4)


def test_rexranks_references_in_rexranks_profile(tmp_path):
    """Raw text of both sections: the second study of the results has no reference."""
    found = scored(tmp_path, "rexrank.json", "rexrank_test.json", "--profile", "rexrank")
    assert found["test_BLEU_2_sentence"] == pytest.approx(0.770, abs=6e-4)


def test_findings_beside_whole_references_are_said(tmp_path, capsys):
    """A model that writes findings alone, in a profile whose references name two sections."""
    rows = {
        str(i): {"report": f"Findings: {text} Impression: Nothing acute.", "model_prediction": text}
        for i, text in enumerate(WORDS)
    }
    file = tmp_path / "results.json"
    file.write_text(json.dumps(rows))
    scored(tmp_path / "a", file, None, "--profile", "rexrank")
    assert (
        "3 of 3 references name both findings and impression, and 0 reports of a: --section findings"
        in capsys.readouterr().out
    )
    scored(tmp_path / "b", file, None, "--profile", "rexrank", "--section", "findings")
    assert "name both findings" not in capsys.readouterr().out


def test_what_is_written_names_the_studies_as_the_references_do(tmp_path):
    """Other tools are joined by these ids: IU X-Ray's are capitals, MIMIC-CXR's begin with s."""
    ids = ["CXR1_IM-0001-4001", "s50414267", "p10/Case 7.JPG"]
    folded = ["cxr1_im-0001-4001", "50414267.0", "p10/case 7"]
    references, ours = write_table(tmp_path / "r.csv", ids), write_table(tmp_path / "a.csv", folded)
    scored(tmp_path / "out", ours, references)
    for name, column in (
        ("per_study_a.csv", "study_id"),
        ("cxr_report_metric_a.csv", "study_id"),
        ("cxr_report_metric_gt.csv", "study_id"),
    ):
        with (tmp_path / "out" / name).open(newline="", encoding="utf-8") as file:
            assert [row[column] for row in csv.DictReader(file)] == ids, name
    assert list(json.loads((tmp_path / "out" / "rexrank_a.json").read_text())) == ids
    again = scored(tmp_path / "again", tmp_path / "out" / "rexrank_a.json", None)
    assert again == scored(tmp_path / "once more", ours, references)


def test_references_that_say_nothing_are_named(tmp_path, capsys):
    rows = [{"id": str(i), "prediction": text, "reference": f"IMPRESSION: {text}"} for i, text in enumerate(WORDS)]
    file = tmp_path / "a.json"
    file.write_text(json.dumps(rows))
    refused(
        capsys,
        "has no reference that says anything in its 3 rows",
        main_score,
        "--predictions",
        file,
        "--save_dir",
        tmp_path / "out",
    )


def test_both_spacings_of_one_text_have_the_released_figure(tmp_path):
    """From the handed lines: blanks before stops or not, the chain counts one empty word at the end of the prediction."""
    lines = [line[39:].strip() for line in (CASES / "rouge_chain.txt").read_text().splitlines()[:3]]
    reference, attached, spaced = lines
    assert attached.replace(".", " .") == spaced == reference
    for number, text in enumerate((attached, spaced)):
        pair = tmp_path / f"{number}.jsonl"
        pair.write_text(json.dumps({"id": "1", "prediction": text, "reference": reference}))
        found = scored(tmp_path / str(number), pair, None)
        assert found["test_ROUGE_L"] == pytest.approx(
            2.44 * (11 / 12) / (1 + 1.44 * 11 / 12)
        )  # 11 words, and the empty one


WORDS = ["The heart is enlarged. No effusion.", "Lungs are clear. No pneumothorax.", "Small left effusion."]
NUMBERED = {
    "from 0 and from 1": ([0, 1, 2], [1, 2, 3], "one numbers its studies from 0 and the other from 1"),
    "from 1 and from 0": ([1, 2, 3], [0, 1, 2], "one numbers its studies from 0 and the other from 1"),
    "one is missing": ([0, 2, 3], [1, 2, 3], "one numbers its studies from 0 and the other from 1"),
    "with a name": (["case_0", "case_1", "case_2"], ["case_1", "case_2", "case_3"], "from 0 and the other from 1"),
    "rows and ids": ([1, 2, 3], [1, 3, 4], "the ids of one are the numbers of its rows"),
    "of two splits": (["val_1", "val_2", "val_3"], ["test_1", "test_2", "test_3"], "no study is in all files"),
    "hardly any": ([110001, 110002, 110003], [110003, 110004, 110005], "only 1 of 3 and 3 studies have the same id"),
}


def write_table(path, ids, texts=WORDS, headings="id,report"):
    path.write_text(headings + "\n" + "".join(f'{i},"{text}"\n' for i, text in zip(ids, texts, strict=True)))
    return path


@pytest.mark.parametrize("kind", NUMBERED)
def test_numbers_that_may_be_rows_are_refused(tmp_path, capsys, kind):
    ours, theirs, words = NUMBERED[kind]
    files = [write_table(tmp_path / f"{name}.csv", ids) for name, ids in (("a", ours), ("r", theirs))]
    flags = [
        "--predictions",
        files[0],
        "--references",
        files[1],
        "--save_dir",
        tmp_path / "out",
        "--no-meteor",
        "--resamples",
        5,
    ]
    refused(capsys, words, main_score, *flags)
    call(main_score, *flags, "--by_order")
    if kind != "of two splits":
        call(main_score, *flags, "--columns", "id=id", "--overwrite")
    with (tmp_path / "out" / "metrics.json").open() as file:
        metrics = json.load(file)
    assert metrics["studies"] == (3 if kind == "of two splits" else len(set(ours) & set(theirs)))


ONE_SIDED = {
    "two columns of one name": ("id,report,report\n1,a b.,c d.\n", "has two columns 'report'"),
    "another section": (
        "id,findings,impression,generated_findings\n1,a b c d.,e f.,g h i j.\n",
        "hold another section",
    ),
}


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_columns_that_do_not_belong_together_are_refused(tmp_path, capsys, kind):
    content, words = ONE_SIDED[kind]
    (tmp_path / "a.csv").write_text(content)
    refused(
        capsys,
        words,
        main_score,
        "--predictions",
        tmp_path / "a.csv",
        "--section",
        "impression",
        "--save_dir",
        tmp_path / "out",
    )


def test_generated_sections_are_taken_with_their_own_references(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,findings,impression,generated_findings,generated_impression\n1,Clear lungs.,No edema.,Large heart.,No edema.\n"
        "2,Old rib fracture.,No effusion.,Left port.,No effusion.\n"
    )
    found = {
        section: scored(tmp_path / section, tmp_path / "a.csv", None, "--section", section)["test_BLEU_1"]
        for section in ("findings", "impression", "both")
    }
    assert found["findings"] < 0.4 < found["both"] < 1 == pytest.approx(found["impression"])


def test_an_annotation_that_carries_predictions_is_read_for_them(tmp_path):
    studies = [
        {"id": str(i), "image_path": ["x.png"], "report": text, "prediction": WORDS[i - 1]}
        for i, text in enumerate(WORDS)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"train": [], "val": [], "test": studies}))
    assert scored(tmp_path / "out", tmp_path / "a.json", tmp_path / "a.json")["test_BLEU_1"] < 0.7


def test_a_heading_above_lines_of_text_is_no_report(tmp_path, capsys):
    for name, heading in (("hyps.txt", "prediction"), ("refs.txt", "reference")):
        (tmp_path / name).write_text("\n".join([heading, *WORDS]) + "\n")
    flags = [
        "--predictions",
        tmp_path / "hyps.txt",
        "--references",
        tmp_path / "refs.txt",
        "--save_dir",
        tmp_path / "out",
    ]
    refused(capsys, "begins with 'prediction', which may be a heading", main_score, *flags)


def test_results_of_another_file_are_not_written_over(tmp_path, capsys):
    first, second = (
        write_table(tmp_path / f"{name}.csv", [7, 8, 9], texts) for name, texts in (("a", WORDS), ("b", WORDS[::-1]))
    )
    flags = ["--references", first, "--save_dir", tmp_path / "out", "--no-meteor", "--resamples", 5]
    call(main_score, "--predictions", first, *flags)
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    message = refused(capsys, "holds results of something else", main_score, "--predictions", second, *flags)
    assert "(predictions of b only here, predictions of a only there)" in message
    refused(
        capsys, "holds results of something else", main_score, "--predictions", first, *flags, "--profile", "radeval"
    )
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before
    call(main_score, "--predictions", first, *flags)
    call(main_score, "--predictions", second, *flags, "--overwrite")
    assert (tmp_path / "out.1" / "per_study_a.csv").is_file()
    assert not (tmp_path / "out" / "per_study_a.csv").exists()


def test_what_may_be_the_wrong_file_is_said(tmp_path, capsys):
    pair = tmp_path / "a.csv"
    pair.write_text(
        "id,prediction,reference\n" + "".join(f'{i},"{text}","{WORDS[0]}"\n' for i, text in enumerate(WORDS))
    )
    truth = write_table(tmp_path / "r.csv", range(3))
    scored(tmp_path / "out", pair, truth)
    shown = capsys.readouterr().out
    assert "the references beside the reports of a are not used; 2 of 3 differ from those given" in shown
    assert "every report of a is its reference, word for word: a.csv may be the wrong file" in shown


IDS = ["s90217", "s40114", "s73001", "s11850"]


def test_references_under_the_ids_of_other_studies_are_refused(tmp_path, capsys):
    """The file with the reports carries its own, cleaned; somebody's annotation has them in another order."""
    texts = ["The heart is large. No effusion.", "Lungs are clear.", "Small left effusion.", "Edema. Cardiomegaly."]
    pair = tmp_path / "a.csv"
    rows = (
        f'{i},"The lungs are clear and the heart is normal.","{text.lower().replace(".", " .")}"\n'
        for i, text in zip(IDS, texts, strict=True)
    )
    pair.write_text("id,prediction,reference\n" + "".join(rows))

    def table(name, ids):
        path = tmp_path / name
        path.write_text("id,report\n" + "".join(f'{i},"{text}"\n' for i, text in zip(ids, texts, strict=True)))
        return path

    flags = ["--save_dir", tmp_path / "out", "--no-meteor", "--resamples", 5]
    argv = ["--predictions", pair, "--references", table("moved.csv", IDS[1:] + IDS[:1]), *flags]
    refused(capsys, "but 4 of 4 to other studies", main_score, *argv)
    assert not (tmp_path / "out/metrics.json").exists()
    call(main_score, "--predictions", pair, "--references", table("same.csv", IDS), *flags)
    assert "4 of 4 differ from those given" in capsys.readouterr().out


def test_empty_predictions_find_nothing(tmp_path):
    assert scored(tmp_path, "emptypred.jsonl", None)["test_ce_f1"] == 0


LEFT = [
    "<s> {}</s><pad>",
    "[CLS] {} [SEP]",
    "<think>is there an effusion</think>{}",
    "{}<br>",
    "{}\\n{}",
    "{}<|im_end|>",
    "&nbsp;{}",
]


@pytest.mark.parametrize("form", [*LEFT, '{{""findings"": ""{}""}}'])
def test_what_a_program_left_in_a_text_is_not_scored_as_words(tmp_path, capsys, form):
    texts = [form.replace("{}", text, 2) if "{{" not in form else form.format(text) for text in WORDS]
    ours, theirs = write_table(tmp_path / "a.csv", [7, 8, 9], texts), write_table(tmp_path / "r.csv", [7, 8, 9])
    for first, second in ((ours, theirs), (theirs, ours)):
        flags = ["--predictions", f"a={first}", "--references", second, "--save_dir", tmp_path / "out"]
        refused(capsys, "hold what a program left in them", main_score, *flags)


def test_a_line_break_in_one_of_many_reports_is_let_pass(tmp_path):
    texts = [f"no effusion {i} ." for i in range(150)]
    texts[7] = "previously<BR>described nodule ."
    ours, theirs = (write_table(tmp_path / name, range(150), texts) for name in ("a.csv", "r.csv"))
    assert scored(tmp_path / "test", ours, theirs)["test_BLEU_1"] == pytest.approx(1)


def test_rows_of_other_splits_are_no_part_of_the_score(tmp_path, capsys):
    """The studies of the training split are perfect, that of the test split is not."""
    ours = write_table(tmp_path / "a.csv", [7, 8, 9], [WORDS[0], WORDS[1], "Clear lungs."])
    theirs = tmp_path / "r.csv"
    rows = zip([7, 8, 9], ("train", "validate", "test"), WORDS, strict=True)
    theirs.write_text("id,split,report\n" + "".join(f'{i},{split},"{text}"\n' for i, split, text in rows))
    assert scored(tmp_path / "test", ours, theirs)["test_BLEU_1"] < 0.5
    assert "r.csv: 2 rows of other splits (train, val) than --split test are left out" in capsys.readouterr().out
    assert scored(tmp_path / "val", ours, theirs, "--split", "val")["val_BLEU_1"] == pytest.approx(1)
    theirs.write_text(theirs.read_text().replace("test", "train"))
    flags = ["--predictions", ours, "--references", theirs, "--save_dir", tmp_path / "none"]
    refused(capsys, "holds no row of the test split but of train, val", main_score, *flags)
