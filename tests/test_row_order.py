"""main_score.py on ids that are row numbers, and on two columns of ids: the rows' own studies, or a sentence."""

import json

import numpy as np
import pytest
from programs import call, refused

import main_score
from modules.evaluation.reading.counters import count_up
from modules.evaluation.reading.row_order import WINDOW, speaks_for_order
from modules.records import read_jsonl

THEIRS = (
    "The heart is enlarged. There is a small right effusion.", "Lungs are clear, without consolidation.", "Right line ends in the cava.",
    "Bibasilar atelectasis is unchanged.", "Old rib fractures on the left side.", "Moderate edema, which has grown.",
)  # fmt: skip
OURS = (
    "The heart is enlarged. No effusion.", "The lungs are clear.", "A right line ends in the atrium.", "Bibasilar atelectasis.",
    "Left rib fractures.", "Mild edema.",
)  # fmt: skip
MOVED = [4, 0, 5, 1, 3, 2]


def write(path, ids, texts, **more):
    columns = {"id": ids, **more, "report": texts}
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows))
    return path


def flags(folder):
    return "--predictions", folder / "a.csv", "--references", folder / "r.csv", "--save_dir", folder / "out", "--no-meteor", "--resamples", 2  # fmt: skip


def bleu(folder):
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    return metrics["systems"]["a"]["scores"]["test_BLEU_1"]


@pytest.mark.parametrize("name", ["{}", "case_{}", "{}.png", "{}.0"])
@pytest.mark.parametrize("first", [0, 1])
def test_row_numbers_of_other_rows_are_refused(tmp_path, capsys, name, first):
    """Both files number their rows, and the rows of one were shuffled before: by the ids every report meets another study."""
    ids = [name.format(i + first) for i in range(len(THEIRS))]
    write(tmp_path / "r.csv", ids, THEIRS)
    write(tmp_path / "a.csv", ids, [OURS[i] for i in MOVED])
    refused(capsys, "the ids of both are the numbers of their rows, and the reports are not nearer", main_score, *flags(tmp_path))  # fmt: skip
    call(main_score, *flags(tmp_path), "--columns", "id=id")  # who says that they are ids is believed
    wrong = bleu(tmp_path)
    write(tmp_path / "a.csv", ids, OURS)
    call(main_score, *flags(tmp_path), "--overwrite")
    assert bleu(tmp_path) > wrong + 0.2


def test_a_file_cut_before_it_was_numbered_is_refused(tmp_path, capsys):
    write(tmp_path / "r.csv", range(6), THEIRS)
    write(tmp_path / "a.csv", range(5), OURS[1:])
    refused(capsys, "the numbers of their rows", main_score, *flags(tmp_path))


def test_references_beside_the_reports_confirm_the_numbers(tmp_path):
    """One report for all studies is near to none; what stands beside it says which study it is."""
    write(tmp_path / "r.csv", range(6), THEIRS)
    write(tmp_path / "a.csv", range(6), ["No acute process."] * 6, reference=THEIRS)
    call(main_score, *flags(tmp_path))


COUNTED = {
    "in tens": [10, 20, 30, 40, 50, 60],
    "from a thousand": [1000, 1001, 1002, 1003, 1004, 1005],
    "downwards": [6, 5, 4, 3, 2, 1],
    "of so many": [f"{i}/6" for i in range(1, 7)],
    "inside a name": [f"sample_{i}_test" for i in range(6)],
    "with a letter behind": [f"{i}a" for i in range(6)],
    "letters": list("ABCDEF"),
    "of batches": ["0_0", "0_1", "1_0", "1_1", "2_0", "2_1"],
    "of batches, the last one short": ["b0-0", "b0-1", "b0-2", "b0-3", "b1-0", "b1-1"],
    "of batches and of all rows": ["b0_s0", "b0_s1", "b0_s2", "b0_s3", "b1_s4", "b1_s5"],
    "of three depths": ["0_0_0", "0_0_1", "0_1_0", "0_1_1", "1_0_0", "1_0_1"],
    "twice": [f"p{i}/s{i}" for i in range(6)],
    "hexadecimal": ["0x0d", "0x0e", "0x0f", "0x10", "0x11", "0x12"],
    "binary": ["0", "1", "10", "11", "100", "101"],
    "of a spreadsheet": ["Y", "Z", "AA", "AB", "AC", "AD"],
    "of 36 signs": ["x", "y", "z", "10", "11", "12"],
    "as a UUID": [f"00000000-0000-0000-0000-00000000000{i}" for i in range(6)],
    "with an ending": ["1st", "2nd", "3rd", "4th", "5th", "6th"],
    "in tenths": ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"],
    "in circles": list("\u2460\u2461\u2462\u2463\u2464\u2465"),
    "words": ["one", "two", "three", "four", "five", "six"],
    "ordinal words": [f"case {word}" for word in ("first", "second", "third", "fourth", "fifth", "sixth")],
    "Roman": ["I", "II", "III", "IV", "V", "VI"],
    "Greek": ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"],
}


@pytest.mark.parametrize("kind", COUNTED)
def test_rows_are_counted_in_many_ways(tmp_path, capsys, kind):
    write(tmp_path / "r.csv", COUNTED[kind], THEIRS)
    write(tmp_path / "a.csv", COUNTED[kind], [OURS[i] for i in MOVED])
    refused(capsys, "the numbers of their rows, and the reports are not nearer", main_score, *flags(tmp_path))
    write(tmp_path / "a.csv", COUNTED[kind], OURS)
    call(main_score, *flags(tmp_path))


def test_one_file_may_count_its_rows_and_the_other_not(tmp_path, capsys):
    write(tmp_path / "r.csv", MOVED, THEIRS)
    write(tmp_path / "a.csv", range(6), OURS)
    refused(capsys, "the ids of one count its rows, and the reports are not nearer", main_score, *flags(tmp_path))
    write(tmp_path / "a.csv", range(6), [OURS[MOVED.index(i)] for i in range(6)])
    call(main_score, *flags(tmp_path))


def test_ids_of_studies_whose_reports_moved_are_said(tmp_path):
    """Such ids are believed, since a weak model's reports are no nearer either; but not in silence."""
    ids = ["50414267", "50578114", "50771383", "51033740", "51262132", "51613820"]
    said = "the reports of a are no nearer to their own references than to those of other studies"
    write(tmp_path / "r.csv", ids, THEIRS)
    for order, expected in ((MOVED, True), (range(6), False)):
        write(tmp_path / "a.csv", ids, [OURS[i] for i in order])
        call(main_score, *flags(tmp_path), "--overwrite")
        notes = json.loads((tmp_path / "out" / "metrics.json").read_text())["protocol"]["matching"]
        assert any(note.startswith(said) for note in notes) is expected


def test_one_report_beside_references_that_differ_is_refused(tmp_path, capsys):
    """A report counts for every image of its study, and these have one reference; those of one patient's studies differ."""
    images = [f"{7 * i}ab-c" for i in range(12)]
    studies = [f"5041426{i // 2}" for i in range(12)]
    write(tmp_path / "r.csv", studies, [*THEIRS, *THEIRS], dicom_id=images)
    write(tmp_path / "a.csv", studies[::2], OURS)
    refused(capsys, "has references of '50414260' that differ, and", main_score, *flags(tmp_path))
    write(tmp_path / "r.csv", studies, [THEIRS[i // 2] for i in range(12)], dicom_id=images)
    call(main_score, *flags(tmp_path))


def test_ids_that_only_look_alike_count_nothing():
    numbered = (
        ["s10", "s20", "s30"],
        ["b", "a"],
        sorted(map(str, range(12))),
        sorted(f"case{i}" for i in range(1, 14)),
    )
    assert all(map(count_up, numbered))
    for ids in (
        ["50414267", "50578114", "50771383"],
        ["a1", "b1", None],
        ["x", "x"],
        ["10", "20", "40"],
        ["1", "2", "4", "5"],
        ["08a1", "1f03", "93bc", "c77e"],
        ["CXR1004_IM-0005-1001", "CXR1016_IM-0013-1001", "CXR1029_IM-0022-3001"],
        ["p10/a1", "p11/c9", "p12/b4"],
        ["0_0", "1_0", "0_1"],
        ["0_0", "0_1", "0_2", "1_0", "2_0"],
    ):
        assert not count_up(ids)


def test_zeros_that_excel_took_are_found_again(tmp_path):
    write(tmp_path / "r.csv", [f"{i:03d}" for i in (7, 12, 5, 130, 41, 8)], THEIRS)
    write(tmp_path / "a.csv", [[7, 12, 5, 130, 41, 8][i] for i in MOVED], [OURS[i] for i in MOVED])
    call(main_score, *flags(tmp_path))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["studies"] == 6
    assert bleu(tmp_path) > 0.5


def test_lines_of_other_rows_are_refused_unless_their_order_is_confirmed(tmp_path, capsys):
    (tmp_path / "r.txt").write_text("\n".join(THEIRS))
    (tmp_path / "a.txt").write_text("\n".join(OURS[i] for i in MOVED))
    words = [str(word).replace(".csv", ".txt") for word in flags(tmp_path)]
    refused(capsys, "matched by order, and the reports are not nearer to their own references", main_score, *words)
    call(main_score, *words, "--by_order")
    wrong = bleu(tmp_path)
    (tmp_path / "a.txt").write_text("\n".join(OURS))
    call(main_score, *words, "--overwrite")
    assert bleu(tmp_path) > wrong + 0.2


def test_reports_of_several_lines_are_refused_where_one_stands_in_each(tmp_path, capsys):
    for name, texts in (("a", OURS), ("r", THEIRS)):
        (tmp_path / f"{name}.txt").write_text("\n---\n".join(f"{text}\nNo fracture." for text in texts))
    words = [str(word).replace(".csv", ".txt") for word in flags(tmp_path)]
    refused(capsys, "have no text in the same rows, first 3: a report of several lines", main_score, *words)


@pytest.mark.parametrize("other", ["study_id", "dicom_id", "image_path"])
def test_two_columns_of_ids_that_disagree_are_refused(tmp_path, capsys, other):
    names = [f"p10/x{7 * i + 50414267}.png" for i in range(6)]
    write(tmp_path / "r.csv", [f"n{i}" for i in range(6)], THEIRS, **{other: names})
    write(tmp_path / "a.csv", [f"n{i}" for i in range(6)], [OURS[i] for i in MOVED], **{other: [names[i] for i in MOVED]})  # fmt: skip
    refused(capsys, f"the columns 'id' and '{other}' bring other rows together", main_score, *flags(tmp_path))
    call(main_score, *flags(tmp_path), "--columns", f"id={other}")
    right = bleu(tmp_path)
    call(main_score, *flags(tmp_path), "--columns", "id=id", "--overwrite")
    assert right > bleu(tmp_path) + 0.2


def test_the_order_of_real_reports(real_cxr):
    """A report of another patient with the same labels is near enough; a row that moved in one part of the file is not."""
    rows = [row for row in read_jsonl(real_cxr / "reports.jsonl") if row["findings"]]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))][: 8 * WINDOW]
    alike: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        alike.setdefault(str(row["labels"]), []).append(i)
    truth = [row["findings"] for row in rows]
    ours = [truth[group[group.index(i) - 1]] for i, row in enumerate(rows) for group in [alike[str(row["labels"])]]]
    assert speaks_for_order(ours, truth)
    assert not speaks_for_order([ours[0]] * len(ours), truth)
    half = 4 * WINDOW
    assert not speaks_for_order([*ours[:half], *ours[half + 1 :], ours[half]], truth)
    assert not speaks_for_order([*ours[: half - 1], ours[-1], *ours[half - 1 : -1]], truth)
