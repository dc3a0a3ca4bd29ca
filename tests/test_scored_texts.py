"""main_score.py on what stands in columns, cells and rows: the figures of the plain file, or a sentence; never other figures."""

import csv
import io
import json
import re

import pytest
from programs import call, refused

import main_score

THEIRS = {
    "50414267": "The heart is enlarged. There is a small right effusion. No pneumothorax.",
    "50578114": "Lungs are clear, without consolidation. Heart size is normal.",
    "50771383": "Right line ends in the cava. Mild edema.",
}
OURS = {
    "50414267": "The heart is mildly enlarged. No pleural effusion. No pneumothorax.",
    "50578114": "The lungs are clear. Heart size is normal. No effusion.",
    "50771383": "Line ends in the atrium. There is a small effusion.",
}
RAW = {"test_BLEU_2_sentence", "test_ROUGE_L_f1"}  # of raw text: marks and stops count there


def table(headings, row, separator=",", **how):
    """A table whose rows are ``row(id, generated, reference)``, in another order than the references'."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, **how)
    writer.writerow(headings.split(","))
    writer.writerows(row(key, OURS[key], THEIRS[key]) for key in reversed(THEIRS))
    return text.getvalue()


def figures(folder, content, *flags, name="a.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8", newline="")
    words = [
        "--predictions",
        f"a={folder / name}",
        "--save_dir",
        folder / "out",
        "--no-meteor",
        "--resamples",
        2,
        *flags,
    ]
    call(main_score, *words)
    return json.loads((folder / "out" / "metrics.json").read_text())["systems"]["a"]["scores"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return figures(
        tmp_path_factory.mktemp("plain"), table("id,report,generated", lambda i, ours, theirs: (i, theirs, ours))
    )


def classes(key):
    return dict(zip(THEIRS, ("Cardiomegaly", "No Finding", "Edema"), strict=True))[key]


def beside(cell):
    """A column called as a reference is, with these cells, beside the two texts."""
    return lambda i, ours, theirs: (i, theirs, ours, cell(i))


def told(form):
    return lambda i, ours, theirs: (i, theirs, form.format(ours, lines=ours.replace(". ", ".\n- ")))


SAME = {
    "classes called target": ("id,report,generated,target", beside(classes)),
    "classes called gt": ("id,findings,prediction,gt", beside(classes)),
    "classes called ground_truth": ("id,report,prediction,ground_truth", beside(lambda i: "abnormal")),
    "numbers called target": ("id,report,generated,target", beside(lambda i: 1)),
    "lists called reference": ("id,report,generated,reference", beside(lambda i: "[0, 1, 0]")),
    "recommendations": ("id,report,generated", told("FINDINGS:\n{}\n\nRECOMMENDATIONS:\nCT in three months.")),
    "a conclusion": ("id,report,generated", told("Findings:\n{}\n\nConclusion:\nStable.")),
    "everything": ("id,report,generated", told("EXAMINATION: PA\n\nINDICATION: cough.\n\nFINDINGS: {}\n\nIMPRESSION: x.\n\nFOLLOW-UP: y.")),
    "everything on one line": ("id,report,generated", told("INDICATION: cough. FINDINGS: {} IMPRESSION: stable.")),
    "headings of Markdown": ("id,report,generated", told("## Findings\n- {lines}\n\n## Recommendations\n\nCT.\n\n## Impression\nx.")),
    "no stop before the impression": ("id,report,generated", lambda i, ours, theirs: (i, theirs, f"Findings: {ours[:-1]} Impression: y")),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME)
def test_the_texts_are_scored_and_what_stands_beside_them_is_not(tmp_path, plain, kind):
    headings, row = SAME[kind]
    found = figures(tmp_path, table(headings, row))
    assert {name: found[name] for name in found if name not in RAW} == pytest.approx(
        {name: plain[name] for name in plain if name not in RAW}, abs=1e-12, nan_ok=True
    )


@pytest.mark.parametrize("blank", ["\r\n", "\r", "\t", "\u00a0", "\u2009", "\u2028", "\x0c", "\x0b", "\x85"])
def test_a_blank_is_a_blank_however_it_is_written(tmp_path, plain, blank):
    """Behind such a stop a sentence did not end: BLEU-1 was .479 for .567, F1 .689 for .856."""
    found = figures(
        tmp_path, table("id,report,generated", lambda i, ours, theirs: (i, theirs, ours.replace(". ", f".{blank}")))
    )
    assert found == pytest.approx(plain, abs=1e-12, nan_ok=True)
    clean = [text.lower().replace(".", " .").replace(",", "") for text in (OURS["50414267"], THEIRS["50414267"])]
    row = {"id": "1", "prediction": clean[0].replace(" ", blank), "reference": clean[1]}
    even = {"id": "1", "prediction": clean[0], "reference": clean[1]}
    one, two = (figures(tmp_path / name, json.dumps(x), name="a.jsonl") for name, x in (("one", row), ("two", even)))
    assert one["test_ROUGE_L"] == pytest.approx(two["test_ROUGE_L"])


@pytest.mark.parametrize("sides", ["reference", "prediction", "both"])
def test_words_are_the_same_however_a_tokenizer_set_their_marks_apart(tmp_path, sides):
    """BLEU-4 of such a text with itself was .880, ROUGE-L .907 for .967."""

    def apart(side, text):
        text = text.replace("The heart", "The right-sided heart")
        return re.sub(r"\s*([.,-])\s*", r" \1 ", text).strip() if sides in (side, "both") else text

    whole = table(
        "id,report,generated",
        lambda i, ours, theirs: (i, *(t.replace("The heart", "The right-sided heart") for t in (theirs, ours))),
    )
    apart_too = table(
        "id,report,generated", lambda i, ours, theirs: (i, apart("reference", theirs), apart("prediction", ours))
    )
    wanted = figures(tmp_path / "whole", whole)
    found = figures(tmp_path / "apart", apart_too)
    assert {k: v for k, v in found.items() if k not in RAW} == pytest.approx(
        {k: v for k, v in wanted.items() if k not in RAW}, abs=1e-12, nan_ok=True
    )


REFUSED = {
    "invisible": (told("{}\u200b"), "3 of 3 reports in .* hold what a program left in them, first .u200b"),
    "soft hyphens": (lambda i, ours, theirs: (i, theirs, ours.replace("e", "\u00ade")), "hold what a program left"),
    "ligatures": (lambda i, ours, theirs: (i, theirs.replace("e", "\ufb01"), ours), "hold what a program left"),
    "letters that look alike": (lambda i, ours, theirs: (i, theirs, ours.replace("a", "\u0430")), "hold what a program left"),
    "letters in two parts": (told("{} caf e\u0301"), "hold what a program left"),
    "two cells, one empty": (told("nan {}"), "hold what a program left in them, first 'nan'"),
    "two cells, one None": (told("None {}"), "hold what a program left"),
    "an empty impression": (told("{} nan"), "hold what a program left"),
    "classes alone": (lambda i, ours, theirs: (i, theirs, classes(i)), "holds names of classes where reports are expected"),
    "numbers beside": (lambda i, ours, theirs: (i, "0.43" if i == "50414267" else theirs, ours), "1 of 3 reports in .* is a number"),
    "failures beside": (lambda i, ours, theirs: (i, "ERROR" if i == "50414267" else theirs, ours), "1 of 3 reports in"),
    "tokens beside": (lambda i, ours, theirs: (i, f"{theirs}</s>", ours), "hold what a program left"),
    "paths": (lambda i, ours, theirs: (i, f"gt/{i}.txt", ours), "is a path and no text"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_report_is_refused_on_either_side_of_one_file(tmp_path, capsys, kind):
    row, words = REFUSED[kind]
    (tmp_path / "a.csv").write_text(table("id,report,generated", row), encoding="utf-8", newline="")
    message = refused(capsys, "", main_score, "--predictions", tmp_path / "a.csv", "--save_dir", tmp_path / "out")
    assert re.search(words, message), message


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("REFERENCE,Prediction,ID", "repeats its headings"),
        ("ID,prediction,Reference", "repeats its headings"),
        ("int,text,text", "holds the types of its columns"),
        ("id,str,string", "holds the types of its columns"),
    ],
)
def test_headings_and_types_among_the_rows_are_refused(tmp_path, capsys, row, words):
    """Two tables were put together, in another order of columns, or a database wrote a row of types."""
    lines = table("id,reference,prediction", lambda i, ours, theirs: (i, theirs, ours)).splitlines()
    (tmp_path / "a.csv").write_text("\n".join([lines[0], row, *lines[1:]]))
    refused(
        capsys, f"{words} in line 2", main_score, "--predictions", tmp_path / "a.csv", "--save_dir", tmp_path / "out"
    )


def test_an_annotation_whose_reports_name_their_sections(tmp_path, plain, capsys):
    studies = [{"id": i, "image_path": [f"{i}.png"], "report": f"FINDINGS: {text} IMPRESSION: No acute process."} for i, text in THEIRS.items()]  # fmt: skip
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [], "val": [], "test": studies}))
    ours = table("id,report", lambda i, ours, theirs: (i, ours))
    found = figures(tmp_path / "a", ours, "--references", tmp_path / "annotation.json")
    assert {name: found[name] for name in set(plain) - RAW} == {name: plain[name] for name in set(plain) - RAW}
    assert "annotation, test split, the findings of 3 reports that name their sections" in capsys.readouterr().out


@pytest.mark.parametrize("nothing", ["None.", "nan .", "N/A.", "Not available.", "nan nan", "[UNK]", "Findings: nan Impression: nan", "Findings: Impression:", "deleted", "[Report deleted]", "The report is empty.", "No report was found."])  # fmt: skip
def test_nothing_with_a_stop_is_nothing(tmp_path, capsys, nothing):
    """The cleaner makes ``nan .`` of an empty cell."""
    figures(
        tmp_path / "a",
        table("id,report,generated", lambda i, ours, theirs: (i, theirs, nothing if i == "50771383" else ours)),
    )
    assert "a has 1 empty reports of 3, first 50771383" in capsys.readouterr().out
    figures(
        tmp_path / "b",
        table("id,report,generated", lambda i, ours, theirs: (i, nothing if i == "50771383" else theirs, ours)),
    )
    assert "1 of 3 references are empty and left out, first 50771383" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("headings", "rows"),
    [
        ("id,prediction,reference,notes", "7,heart large, no effusion,heart normal\n8,clear lungs,clear lungs\n"),
        (
            "id,prediction,reference,notes,age",
            "7,heart large, no effusion,heart normal\n8,clear lungs,clear lungs,x,70\n",
        ),
        ("id;prediction;reference;notes", "7;heart large; no effusion;heart normal\n8;clear lungs;clear lungs\n"),
    ],
)
def test_a_separator_in_a_text_without_quotes_moves_no_cell(tmp_path, capsys, headings, rows):
    """The torn row has as many cells as there are headings."""
    (tmp_path / "a.csv").write_text(f"{headings}\n{rows}")
    words = "has rows of several lengths, and a text without quotes that holds the separator"
    refused(capsys, words, main_score, "--predictions", tmp_path / "a.csv", "--save_dir", tmp_path / "out")
    assert figures(tmp_path / "full", "id,prediction,reference\n7, heart large, heart large\n8, clear lungs, clear lungs\n")["test_BLEU_1"] > 0.99  # fmt: skip
    assert figures(tmp_path / "short", 'id,prediction,reference,notes\n7,"heart, large","heart, large"\n')["test_BLEU_1"] > 0.99  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "values"),
    [("split", "201"), ("split", ["test", "", "val"]), ("split", ["test", "eval", "eval"]), ("is_test", ["True", "False", "False"]),
     ("part", ["test", "train", "zero"])],
)  # fmt: skip
def test_splits_that_are_not_known_are_asked_about(tmp_path, capsys, heading, values):
    """All rows were scored, those of the training split too."""
    of = dict(zip(THEIRS, values, strict=True))
    (tmp_path / "a.csv").write_text(table(f"id,report,generated,{heading}", beside(of.get)))
    words = f"the column '{heading}' of"
    assert "expected train, val and test" in refused(capsys, words, main_score, "--predictions", tmp_path / "a.csv", "--save_dir", tmp_path / "out")  # fmt: skip


@pytest.mark.parametrize(
    "names", [["Testing", "training", "dev"], ["tst", "trn", "valid"], ["Test set", "train-set", "val split"]]
)
def test_splits_by_their_other_names(tmp_path, capsys, names):
    of = dict(zip(THEIRS, names, strict=True))
    figures(tmp_path, table("id,report,generated,split", beside(of.get)))
    assert "2 rows of other splits (train, val) than --split test are left out" in capsys.readouterr().out


@pytest.mark.parametrize("heading", ["Report Impression", "Model reports", "of the test set", "Swin run 7"])
def test_a_heading_of_several_words_is_no_report(tmp_path, capsys, heading):
    for name, texts in (("res.csv", OURS), ("gts.csv", THEIRS)):
        (tmp_path / name).write_text(heading + "\n" + "".join(f'"{text}"\n' for text in texts.values()))
    said = refused(capsys, "heading", main_score, "--predictions", tmp_path / "res.csv", "--save_dir", tmp_path / "out")
    assert any(
        words in said
        for words in (heading, "begins with one cell, which is no known heading", "words, which may be a heading")
    )


@pytest.mark.parametrize(("first", "said"), [(0, True), (1, True), (50000000, False)])
def test_ids_that_are_the_rows_of_both_files_are_said(tmp_path, capsys, first, said):
    """Ids of a hospital that follow each other are more than the order."""
    for name, texts in (("a.csv", OURS), ("r.csv", THEIRS)):
        (tmp_path / name).write_text(
            "id,report\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts.values(), start=first))
        )
    call(main_score, "--predictions", tmp_path / "a.csv", "--references", tmp_path / "r.csv", "--save_dir", tmp_path / "out", "--no-meteor")  # fmt: skip
    assert ("a: the ids of both files are the numbers of their rows" in capsys.readouterr().out) is said


TYPED = {
    "hyphen": lambda text: text.replace("-", "\u2010"),
    "hyphen that does not break": lambda text: text.replace("-", "\u2011"),
    "figure dash": lambda text: text.replace("-", "\u2012"),
    "en dash": lambda text: text.replace("-", "\u2013"),
    "minus": lambda text: text.replace("-", "\u2212"),
    "apostrophe": lambda text: text.replace("'", "\u2019"),
    "opening quote": lambda text: text.replace("'", "\u2018"),
    "backtick": lambda text: text.replace("'", "`"),
    "accent": lambda text: text.replace("'", "\u00b4"),
    **{
        f"bullet {mark}": lambda text, mark=mark: "\n".join(f"{mark} {part}" for part in re.split(r"(?<=\.) ", text))
        for mark in "-\u2022\u25cf\u25aa\u25a0\u25e6\u2023\u00b7\u2013\u2014\u2192\u2043\u2666\u2713o"
    },
    "numbers in brackets": lambda text: "\n".join(f"({n}) {p}" for n, p in enumerate(re.split(r"(?<=\.) ", text), 1)),
    "numbers and a bracket": lambda text: "\n".join(f"{n}) {p}" for n, p in enumerate(re.split(r"(?<=\.) ", text), 1)),
    "letters and a bracket": lambda text: "\n".join(
        f"{'abc'[n]}) {p}" for n, p in enumerate(re.split(r"(?<=\.) ", text))
    ),
}


@pytest.mark.parametrize("typed", TYPED)
def test_a_perfect_system_stays_perfect_whatever_signs_it_types(tmp_path, typed):
    """BLEU-4 was .588 with bullets and .729 with other hyphens, without a word."""
    texts = {name: f"The patient's {word} right-sided catheter is unchanged. There is a well-defined opacity. No re-expansion edema." for name, word in (("x1", "old"), ("x7", "new"), ("y3", "bent"))}  # fmt: skip
    for ours, theirs in ((TYPED[typed], str), (str, TYPED[typed])):
        content = io.StringIO(newline="")
        csv.writer(content).writerows([("id", "generated", "reference"), *((i, ours(t), theirs(t)) for i, t in texts.items())])  # fmt: skip
        found = figures(tmp_path / ours.__name__.strip("<>"), content.getvalue())
        assert found["test_BLEU_4"] > 0.999, found
        assert found["test_CIDEr"] > 9.9
