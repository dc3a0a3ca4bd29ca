"""Test studies without a report of their own: they are prepared and written, and not scored."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from programs import SMALL, SMALL_IMAGE, call, places, prepare, refused
from small_set import small_bank, small_set

import main_score
import main_test
import main_train
from modules.corpus.annotations import Study, read_annotation
from modules.corpus.store import FeatureStore
from modules.labelling.labelers import RuleLabeler, label_studies
from modules.messages import UserError
from modules.options.parsing import parse_options
from modules.options.programs import MainTest
from modules.records import read_json, read_jsonl
from modules.retrieval.retriever import Queries

WRITING = [
    *SMALL, "--gen_min_len", 25, "--gen_max_len", 12, "--beam_size", 2, "--no-meteor", "--resamples", 10, "--viewer_studies", 9,
]  # fmt: skip


class Films:
    """The test drawings of ``prepared``, with features of their own and the reports that a test leaves them."""

    def __init__(self, folder, prepared, trained):
        self.folder, self.model = folder, trained / "model_best.pth"
        self.bank = ["--bank_dir", prepared / "features"]
        self.items = json.loads((prepared / "annotation.json").read_text())["test"]
        shutil.copytree(prepared / "images", folder / "images")

    def leave(self, reported):
        """Write the annotation, as a list, and prepare it; the other studies lose what their reports said."""
        items = [
            item if item["id"] in reported else {"id": item["id"], "image_path": item["image_path"]}
            for item in self.items
        ]
        (self.folder / "annotation.json").write_text(json.dumps(items))
        prepare(self.folder, "--dataset_name", "iu_xray", *self.bank)

    def argv(self, save_dir):
        where = [*places(self.folder), *self.bank, "--load_pretrained", self.model, "--save_dir", save_dir]
        return [*where, *WRITING, "--baselines", "--allow_two_labelers"]


@pytest.fixture(scope="module")
def films(prepared, trained, tmp_path_factory):
    return Films(tmp_path_factory.mktemp("films"), prepared, trained)


@pytest.fixture(scope="module")
def mixture(films):
    """A test of studies of which every other one has a report: where, and the ids of those that have."""
    reported = [item["id"] for item in films.items][::2]
    films.leave(reported)
    call(main_test, *films.argv(films.folder / "run"))
    return films.folder / "run", reported


def test_a_mixture_is_scored_on_the_studies_that_have_a_report(films, mixture, tmp_path, capsys):
    run, reported = mixture
    rows, metrics = read_jsonl(run / "predictions.jsonl"), read_json(run / "metrics.json")
    assert [row["id"] for row in rows] == [item["id"] for item in films.items]
    assert all(row["prediction"] for row in rows)
    assert [row["id"] for row in rows if row["reference"]] == reported
    assert [row["id"] for row in rows if "scores" in row] == reported
    assert (metrics["studies"], metrics["studies_without_report"]) == (len(reported), len(rows) - len(reported))
    assert len((run / "per_study.csv").read_text().splitlines()) == 1 + len(reported)
    assert len((run / "gts.csv").read_text().splitlines()) in (len(reported), 1 + len(reported))
    # the same reports, scored by the other program, which leaves the same studies out
    call(
        main_score,
        "--predictions",
        run / "predictions.jsonl",
        "--no-meteor",
        "--resamples",
        10,
        "--save_dir",
        tmp_path / "s",
    )
    said = capsys.readouterr().out
    assert f"{len(rows) - len(reported)} of {len(rows)} references are empty and left out" in said
    (again,) = read_json(tmp_path / "s" / "metrics.json")["systems"].values()
    for name in ("test_BLEU_1", "test_ROUGE_L", "test_ce_f1_example", "test_ce_f1_macro"):
        assert metrics["scores"][name] == pytest.approx(again["scores"][name], abs=1e-9), name


def test_everything_is_judged_where_there_is_a_report_and_maps_beside_the_training_masks(tmp_path, monkeypatch):
    """Each map with the mask of its own study, and a prior that has seen no mask of the test."""
    reports = {"a": "clear lungs .", "b": "", "c": "small effusion ."}
    dataset = small_set(small_bank(tmp_path, reports, np.zeros((3, 18))), reports)
    asked, scored, compared = [], [], []
    for name, stub in (
        ("ground", lambda *given: asked.append(given)), ("score_test", lambda *given: scored.append(given)),
        ("mask_dir", lambda *given: tmp_path), ("store_sign_maps", lambda *given: None), ("loss_by_reference", lambda *given: compared.append(given)),
    ):  # fmt: skip
        monkeypatch.setattr(main_test, name, stub)
    tested = SimpleNamespace(
        model=SimpleNamespace(config=SimpleNamespace(image_size=64)), dataset=dataset, labeler=None, steps=1, epochs=None,
        annotation={"train": ["drawn for training"], "val": ["for validation"], "test": dataset.studies},
    )  # fmt: skip
    options = parse_options(MainTest, ["--dataset_name", "synth_cxr", "--save_dir", str(tmp_path)])
    queries, maps = Queries(dataset.studies, np.arange(3)[:, None]), np.arange(3)
    main_test.score(options, tested, queries, [], maps, SimpleNamespace(figures=dict), None)
    ((_, judged, of, training, *_),), ((_, _, also, asked_with, *_),) = asked, scored
    for part in (of, also, compared[0][1]):
        assert [study.id for study in part.studies] == ["a", "c"]
    assert judged.tolist() == asked_with.region_scores[:, 0].tolist() == [0, 2]
    assert training == ["drawn for training"]


def test_the_page_compares_nothing_where_there_is_no_reference(mixture):
    run, reported = mixture
    page = (run / "index.html").read_text()
    start = page.index('type="application/json"')
    content = json.loads(page[page.index("{", start) : page.index("</script>", start)])
    assert content["references"]
    for study in content["studies"]:
        verdicts = [verdict for _, _, findings in study["generated"] for _, _, verdict in findings]
        assert (study["truth"] is not None) == (study["id"] in reported)
        assert study["id"] in reported or not any(verdicts)
    assert np.sum(content["summary"]["confusion"][0]) == len(reported)


def test_studies_that_nobody_described_are_written_alone(films, capsys):
    films.leave([])
    store = FeatureStore.open(films.folder / "features")
    assert not np.asarray(store["labels"]).any()  # blank, and not "no finding"
    run = films.folder / "alone"
    call(main_test, *films.argv(run))
    said = capsys.readouterr().out
    count = len(films.items)
    assert f"{count} of {count} studies have no report of their own: theirs are written, nothing is scored" in said
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == {
        "predictions.jsonl", "options_test.json", "results_of.json", "index.html", "viewer",
    }  # fmt: skip
    assert all(row["prediction"] and not row["reference"] for row in read_jsonl(run / "predictions.jsonl"))


def test_scores_of_an_earlier_test_are_not_left_beside_reports_that_have_none(films, mixture, capsys):
    films.leave([])
    refused(capsys, "holds results of something else", main_test, *films.argv(mixture[0]))


@pytest.mark.parametrize("split", ["train", "val"])
def test_training_without_reports_is_refused_in_a_sentence(prepared, tmp_path, capsys, split):
    content = json.loads((prepared / "annotation.json").read_text())
    del content[split][0]["report"]
    (tmp_path / "annotation.json").write_text(json.dumps(content))
    where = [*places(prepared), "--ann_path", tmp_path / "annotation.json", "--save_dir", tmp_path / "run"]
    words = "no report"
    message = refused(capsys, words, main_train, *where, *SMALL, *SMALL_IMAGE, "--tokenizer", "corpus")
    assert content[split][0]["id"] in message
    assert "Traceback" not in message


def test_only_a_test_study_may_lack_its_report(tmp_path):
    path = tmp_path / "annotation.json"
    item = {"id": "a", "image_path": ["a.png"]}
    path.write_text(json.dumps({"test": [item]}))
    assert read_annotation(path)["test"][0].report == ""
    for content in ({"val": [item]}, {"train": [item]}, {"test": [{**item, "report": " "}]}):
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"study a: .*report.*add the text or remove the study"):
            read_annotation(path)


def test_labels_of_an_annotation_stay_where_there_is_no_report():
    given = Study(id="a", image_path=("a",), report="", split="test", labels=(0, 1, *[0] * 12))
    silent = Study(id="b", image_path=("b",), report="", split="test")
    said = Study(id="c", image_path=("c",), report="Cardiomegaly.", split="test")
    states = label_studies([given, silent, said], RuleLabeler(), RuleLabeler())
    assert states[0].tolist() == [0, 1, *[0] * 16]
    assert not states[1].any()
    assert states[2][1] == 1
