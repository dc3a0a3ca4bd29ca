"""modules/evaluation/reports/viewer.py and what it shows: marks, maps, the disk, the page in a real browser."""

import json
import re

import numpy as np
import pytest
import torch
from browser import EXECUTABLE, Page
from PIL import Image
from small_set import small_bank, small_set
from tiny import tiny_study

from models.manifolds import Euclidean, Lorentz, PoincareBall
from modules.corpus.datasets import Batch
from modules.evaluation.reports.attention_maps import MapKeeper, StudyMaps
from modules.evaluation.reports.poincare_disk import Disk, project
from modules.evaluation.reports.sentence_agreement import VERDICTS, mark_sentences, sentences_with_stops
from modules.evaluation.reports.viewer import write_viewer
from modules.labelling.labelers import RuleLabeler
from modules.labels import CHEXPERT_CONDITIONS, CONDITIONS, NEGATIVE, POSITIVE

LABELER = RuleLabeler()
NORMAL = "the heart size is normal . the lungs are clear . no pleural effusion or pneumothorax ."
EFFUSION = "there is a small left pleural effusion . the heart size is normal ."
FRACTURE = "there is an acute rib fracture . the lungs are clear ."
HOSTILE = (
    "</script><script>window.broken=1</script><img src=x onerror='window.broken=2'> & \u2028 \\u003c \ud800 \u202egnp"
)
HEBREW = "\u05d0\u05d9\u05df \u05ea\u05e4\u05dc\u05d9\u05d8 \u05d1\u05e8\u05d9\u05d0\u05d5\u05ea ."
STUDIES = 500


def study(identifier, prediction, reference, **more):
    states = LABELER([prediction])[0].tolist()
    return {
        "id": identifier, "image": "x.png", "prediction": prediction, "reference": reference, "states": states,
        "positive_probability": [0.9 if state == POSITIVE else 0.1 for state in states], "retrieved": "train_7",
        "retrieval_distance": 0.25, "scores": {"BLEU_4": len(prediction) / 1000, "METEOR": None}, **more,
    }  # fmt: skip


def some_rows():
    """The cases that the tests look for, then many plain ones."""
    special = [
        study("right", EFFUSION, EFFUSION),
        study("extra", EFFUSION, NORMAL),
        study("missed", NORMAL, FRACTURE),
        study("hostile/<b>", HOSTILE, HOSTILE, retrieved_report=HOSTILE),
        study("long", "word " * 4000, "x" * 20_000),
        study("hebrew", HEBREW, HEBREW),
        study("empty", "", NORMAL, retrieved=None, retrieval_distance=None, retrieved_report=""),
    ]
    plain = [study(f"plain_{n:03d}", f"{NORMAL} {n} .", NORMAL) for n in range(STUDIES - len(special))]
    return special + plain


def maps_of(seed, sentences=2):
    rng = np.random.default_rng(seed)
    ranges = [(0.5, 1.5), (0.0, 3.0), *[(0.9, 1.1)] * sentences]
    return StudyMaps([8, 24], [0.9, 0.4], ranges, rng.integers(0, 256, (2 + sentences, 16), dtype=np.uint8))


def some_metrics():
    classes = {
        name: {"precision": 0.5, "recall": 0.4, "f1": 0.45, "support": 90 - 5 * i, "f1_low": 0.4, "f1_high": 0.5,
               "third": ("head", "medium", "tail")[i // 5]}
        | ({"support": 0} if name == "pleural other" else {})
        for i, name in enumerate(CHEXPERT_CONDITIONS)
    }  # fmt: skip
    scores = {"test_BLEU_4": 0.1, "test_ce_f1": 0.45, "test_METEOR": None}
    return {
        "scores": scores, "intervals": {"test_ce_f1": [0.4, 0.5]}, "per_class": classes,
        "baselines": {"most frequent": {"BLEU_4": 0.05, "ce_f1": 0.3}}, "commit": "0" * 40,
        "protocol": {"caption": "how it was made", "labeler": "rule"},
    }  # fmt: skip


def some_dataset(folder, rows):
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (80, 100), dtype=np.uint8)).save(folder / "x.png")
    ids = [row["id"] for row in rows]
    states = LABELER([NORMAL, *(row["reference"] for row in rows)])
    bank = small_bank(folder, {"train_7": "the lungs are clear . no effusion ."}, states, others=ids)
    dataset = small_set(bank, dict.fromkeys(ids, NORMAL), image="x.png")
    dataset.refer_to(np.zeros((len(rows), 1), dtype=int))
    return dataset


def some_disk():
    rng = np.random.default_rng(0)
    return Disk(rng.uniform(-0.5, 0.5, (300, 2)), rng.random((300, 18)) < 0.1, 0.61, 0.01, 1000)


# marks


def marks(prediction, reference):
    labels = LABELER([reference])
    return [
        (VERDICTS[s.mark], [(CONDITIONS[c], VERDICTS[v]) for c, _, v in s.findings])
        for s in mark_sentences([prediction], labels, LABELER, [""])[0]
    ]


def test_sentences_are_marked_by_what_the_other_report_says():
    (first, found), (second, _) = marks(EFFUSION, NORMAL)
    assert (first, found) == ("conflict", [("pleural effusion", "conflict")])
    assert second == "agree"
    assert marks(FRACTURE, EFFUSION)[0] == ("only", [("fracture", "only"), ("bone/spine abnormal", "only")])
    assert marks("no pneumothorax .", EFFUSION) == [("unmatched", [("pneumothorax", "unmatched")])]
    assert marks("comparison is made to a prior study .", NORMAL) == [("none", [])]


@pytest.mark.parametrize(
    ("generated", "reference", "mark"),
    [
        ("small left pleural effusion .", "small right pleural effusion .", "side"),
        ("left pleural effusion .", "bilateral pleural effusions .", "agree"),
        ("bilateral pleural effusions .", "left pleural effusion .", "side"),
        ("mild cardiomegaly .", "severe cardiomegaly .", "grade"),
        ("small left effusion .", "large left effusion .", "grade"),
        ("left effusion .", "small left effusion .", "agree"),
        ("an endotracheal tube is in place .", "surgical clips are seen .", "device"),
        ("a picc is in place .", "picc and surgical clips are seen .", "agree"),
        ("small left effusion and atelectasis .", "left effusion and right atelectasis .", "agree"),
        ("no left effusion .", "no right effusion .", "agree"),
        ("right effusion .", "no effusion .", "conflict"),
        ("left rib fracture .", "right rib fracture .", "side"),
    ],
)
def test_green_means_that_both_say_so(generated, reference, mark):
    """Labels alone call another side, grade or device agreement."""
    (marked,) = mark_sentences([generated], LABELER([reference]), LABELER, [reference])[0]
    assert VERDICTS[marked.mark] == mark


@pytest.mark.parametrize("report", [NORMAL, "Clear lungs. Size 4.5 cm.  No effusion", "", " . ", HEBREW])
def test_sentences_lose_no_character_but_spaces(report):
    assert "".join("".join(sentences_with_stops(report)).split()) == "".join(report.split())
    assert sentences_with_stops("Clear lungs. Size 4.5 cm.") == ["Clear lungs.", "Size 4.5 cm."]


# maps


def test_kept_maps_are_those_of_the_strongest_entities_and_real_sentences(tiny_model):
    study = tiny_study(batch=2, sentences=3)  # the last sentence of the second is padding
    with torch.no_grad():
        fused = tiny_model().fuse(study)
    keeper = MapKeeper(studies=8, entities=5)
    keeper(Batch(study, None, None, None, None, index=[7, 3]), fused)
    keeper(Batch(study, None, None, None, None, index=[8, 9]), fused)
    maps = keeper.gather()
    assert sorted(maps) == [3, 7]  # the others are beyond the limit
    assert maps[7].levels.shape == (8, 4)
    assert maps[3].levels.shape == (7, 4)
    assert maps[7].entities == study.region_scores[0].argsort(descending=True)[:5].tolist()
    expected = torch.cat([fused.region_map[0, maps[7].entities], fused.reference_map[0]]).numpy()
    low, high = np.array(maps[7].ranges).T[..., None]
    restored = low + (high - low) * maps[7].levels / 255
    assert np.abs(restored - expected).max() < (high - low).max() / 255


# the disk


def test_the_disk_of_a_two_dimensional_ball_keeps_every_distance():
    ball = PoincareBall(0.04)
    points = ball.lift(torch.randn(30, 2, dtype=torch.float64) + 2, torch.float64)
    flat, share = project(points, ball)
    unit = PoincareBall(1.0)
    drawn = unit.distance(torch.from_numpy(flat), torch.from_numpy(flat)) / 0.04**0.5
    torch.testing.assert_close(drawn, ball.distance(points, points), atol=1e-6, rtol=1e-6)
    assert share == pytest.approx(1)


def test_hyperboloid_and_ball_give_the_same_disk_and_flat_space_its_components():
    tangent = torch.randn(40, 6, dtype=torch.float64)
    on_ball, on_sheet = (kind(0.1).lift(tangent, torch.float64) for kind in (PoincareBall, Lorentz))
    (flat, share), (other, _) = project(on_ball, PoincareBall(0.1)), project(on_sheet, Lorentz(0.1))
    np.testing.assert_allclose(flat, other, atol=1e-6)
    assert 0 < share < 1
    assert np.linalg.norm(flat, axis=1).max() < 1
    centred = (tangent - tangent.mean(0)).numpy()
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    assert project(tangent, Euclidean(1.0))[1] == pytest.approx(values[:2].sum() / values.sum())


# the page as a file


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of ``some_rows`` with everything."""
    run = tmp_path_factory.mktemp("page")
    rows = some_rows()
    (run / "metrics.csv").write_text("epoch,loss,val_ce_f1,lr\n1,8,0.2,1e-3\n2,6,,1e-4\n")
    maps = {index: maps_of(index) for index in range(STUDIES)}
    stale = run / "viewer" / "images" / "99999.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"the image of a study that is not shown any more")
    write_viewer(
        run, some_dataset(run, rows), rows, some_metrics(), LABELER, maps=maps, disk=some_disk(), limit=STUDIES
    )
    assert not stale.exists()
    return run


def content_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


def test_the_page_is_self_contained_and_its_data_cannot_end_the_script(written):
    text = (written / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "src=" not in text.split('id="data"')[0]
    assert text.count("</script>") == 2
    content = content_of(written / "index.html")
    assert len(content["studies"]) == STUDIES == len(list((written / "viewer" / "images").iterdir()))
    assert "</script><script>" in content["studies"][3]["generated"][0][0]
    with Image.open(written / content["studies"][0]["image"]) as image:
        assert image.size == (384, 384)


def test_the_summary_counts_states_and_lengths(written):
    summary = content_of(written / "index.html")["summary"]
    confusion = np.array(summary["confusion"])  # (L, P, P)
    assert (confusion.sum(axis=(1, 2)) == STUDIES).all()
    effusion = CONDITIONS.index("pleural effusion")
    assert confusion[effusion, POSITIVE, POSITIVE] == 1
    assert confusion[effusion, POSITIVE, NEGATIVE] == 1
    assert sum(summary["lengths"]["prediction"]) == STUDIES
    assert summary["curves"] == {"epoch": [1, 2], "loss": [8, 6], "val_ce_f1": [0.2, None]}


def test_a_run_with_nothing_optional_still_has_a_page(tmp_path):
    rows = [{"id": "a", "prediction": EFFUSION, "reference": NORMAL}]
    page = write_viewer(tmp_path, some_dataset(tmp_path, rows), rows, {}, LABELER, maps={}, disk=None, limit=5)
    only = content_of(page)["studies"][0]
    assert only["said"][CONDITIONS.index("pleural effusion")] == POSITIVE
    assert only["sentences"] == ["the lungs are clear", "no effusion"]
    assert only["maps"] is None


# the page in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless browser; the test is skipped without one."""
    if EXECUTABLE is None:
        pytest.skip("needs chromium or google-chrome on the PATH")
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture
def shown(browser, written):
    """The page, freshly loaded; afterwards it must have raised, warned and refused nothing."""
    browser.errors.clear()
    browser.size(1300, 900)
    browser.open(written / "index.html")
    yield browser
    assert browser.errors == []


LISTED = "[...document.querySelectorAll('#list bdi')].map((node) => node.textContent)"


def choose(page, **values):
    for name, value in values.items():
        page.run(f"byId({name!r}).value = {value!r}")
    page.run("listStudies()")
    return page.run(LISTED)


def test_500_studies_are_there_at_once(shown):
    assert len(shown.run(LISTED)) == STUDIES
    assert shown.run("Number(document.documentElement.dataset.ready)") < 2000  # ms, a tenth of that on an idle core


PIXELS = (  # through a copy: the browser warns of canvases that are read again and again
    "(() => { const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });"
    "copy.canvas.width = copy.canvas.height = 384; copy.drawImage(byId('overlay'), 0, 0);"
    "return [...copy.getImageData(0, 0, 384, 384).data]; })()"
)


def test_the_overlay_is_off_at_first_appears_changes_and_goes(shown):
    assert shown.run("byId('overlay').hidden && byId('map').value === ''")
    assert shown.run("byId('image').naturalWidth") == 384
    assert shown.run("byId('image').alt") == "chest X-ray of study right"
    shown.press("]")
    assert not shown.run("byId('overlay').hidden")
    first = shown.run(PIXELS)
    shown.press("]")
    assert shown.run(PIXELS) != first
    shown.run("byId('opacity').value = 30, byId('opacity').oninput()")
    assert shown.run("byId('overlay').style.opacity") == "0.3"
    shown.run("document.querySelector('#retrieved button').click()")
    assert shown.run("byId('map').value") == "sentence 0"
    assert shown.run("byId('scale-high').textContent") == "1.10"
    shown.press("o")
    assert shown.run("byId('overlay').hidden")


def test_a_map_is_transparent_where_it_is_not_above_its_mean(shown):
    """A map that points nowhere shows the film and nothing else; the highest patch is opaque."""
    shown.run("byId('smooth').checked = false")
    shown.press("]")
    alpha = np.array(shown.run(PIXELS)).reshape(384, 384, 4)[48::96, 48::96, 3].ravel()  # of 4 x 4 patches
    kept = maps_of(0)
    levels = kept.levels[0].astype(float)
    assert ((alpha == 0) == (levels <= levels.mean() + 0.5)).all()
    assert alpha[levels.argmax()] == 255
    assert shown.run("Number(byId('scale-low').textContent)") == pytest.approx(0.5 + levels.mean() / 255, abs=0.006)


def test_the_filters_filter(shown):
    assert choose(shown, condition="pleural effusion", kind="false positives") == ["extra"]
    assert choose(shown, kind="false negatives", condition="fracture") == ["missed"]
    assert choose(shown, kind="false negatives", condition="", third="tail") == ["missed"]
    assert choose(shown, kind="false negatives", condition="", third="head") == []
    assert shown.run("!byId('nothing').hidden && byId('shown').hidden")
    everything = {"kind": "all studies", "third": "", "condition": ""}
    assert choose(shown, **everything, search="acute RIB fracture") == ["missed"]
    assert choose(shown, search="", score="BLEU_4", **{"score-low": 1}) == ["long"]
    assert choose(shown, sort="BLEU_4", **{"score-low": ""})[0] == "empty"


def test_the_keyboard_walks_and_the_address_follows(shown):
    shown.press("j")
    shown.press("ArrowRight")
    assert shown.run("location.hash") == "#study/missed"
    shown.press("k")
    assert shown.run("byId('study-id').textContent") == "extra"
    assert shown.run("byId('generated').querySelector('.conflict').textContent").startswith("there is a small left")
    shown.run("location.hash = '#study/hebrew'")
    shown.wait("byId('study-id').textContent === 'hebrew'")
    assert shown.run("byId('generated').firstChild.dir") == "auto"


def test_the_list_is_one_tab_stop_that_arrows_walk(shown):
    stops = "[...document.querySelectorAll('#list button')].filter((node) => node.tabIndex === 0).map((node) => node.querySelector('bdi').textContent)"
    assert shown.run(stops) == ["right"]
    shown.run("document.querySelector('#list button').focus()")
    for key, study_id in (
        ("ArrowDown", "extra"),
        ("ArrowDown", "missed"),
        ("ArrowUp", "extra"),
        ("End", "plain_492"),
        ("Home", "right"),
    ):
        shown.press(key)
        assert shown.run("document.activeElement.querySelector('bdi').textContent") == study_id
        assert shown.run(stops) == [study_id]
    shown.press("j")
    assert shown.run("byId('live').textContent").startswith("study extra, 2 of 500: ")
    assert shown.run("byId('live').getAttribute('aria-live')") == "polite"


def test_the_state_of_the_filters_is_in_the_address(shown, written):
    choose(shown, condition="pleural effusion", kind="false positives", sort="BLEU_4")
    address = shown.run("location.hash")
    assert address == "#study/extra?condition=pleural+effusion&kind=false+positives&sort=BLEU_4"
    shown.open(written / "index.html", address)
    assert shown.run(LISTED) == ["extra"]
    assert shown.run("byId('kind').value") == "false positives"
    shown.run("document.querySelector('#filters [type=reset]').click()")
    shown.wait("document.querySelectorAll('#list button').length === 500")
    assert shown.run("location.hash") == "#study/extra"


def test_a_film_is_enlarged_inverted_and_windowed(shown, written):
    width = "byId('frame').getBoundingClientRect().width"
    before = shown.run(width)
    shown.run("byId('frame').click()")
    assert shown.run(width) > 1.5 * before
    shown.press("Escape")
    assert shown.run(width) == before
    shown.press("z")
    assert shown.run("byId('enlarge').getAttribute('aria-pressed')") == "true"
    shown.press("z")
    assert shown.run("byId('image').style.filter") == ""
    shown.press("i")
    assert "windowing" in shown.run("byId('image').style.filter")
    slopes = "[...document.querySelectorAll('#windowing feComponentTransfer > *')].map((node) => [node.getAttribute('slope'), node.getAttribute('intercept')])"
    assert shown.run(slopes) == [["-1", "1"]] * 3
    shown.run("byId('level').value = 40, byId('window').value = 50, byId('window').oninput()")
    assert shown.run(slopes)[0] == ["-2", "1.3"]  # black at .65, white at .15
    assert shown.run("location.hash").endswith("invert=1&level=40&window=50")


def test_studies_are_marked_and_exported(shown):
    shown.press("m")
    shown.press("j")
    shown.press("m")
    assert shown.run("byId('marked-count').textContent") == "2 marked"
    table = shown.run("markedTable()").splitlines()
    assert table[0] == '"study_id","generated BLEU_4","generated","reference"'
    assert [line.split(",")[0] for line in table[1:]] == ['"right"', '"extra"']
    shown.run("byId('marked').checked = true, listStudies()")
    assert shown.run(LISTED) == ["right", "extra"]
    shown.press("m")
    shown.press("m")
    assert shown.run("byId('nothing').hidden") is False


def test_at_most_eight_colours_and_no_figure_without_studies(shown, written):
    shown.open(written / "index.html", "#summary")
    fills = "[...document.querySelectorAll('.legend li svg')].map((node) => node.firstChild.getAttribute('fill'))"
    assert len(set(shown.run(fills)) - {"var(--bar)", "var(--bar2)"}) <= 8 + 6  # the disk's, then those of the curves
    assert shown.run("PALETTE.length") == 7
    rows = "[...document.querySelectorAll('.card tr')].filter((row) => row.cells[1].textContent === '0').map((row) => [...row.cells].slice(2).map((cell) => cell.textContent))"
    assert shown.run(rows) == [["-"] * 4]


def test_a_hostile_report_is_text(shown):
    shown.run("show(data.studies[3])")
    assert shown.run("window.broken === undefined && document.querySelectorAll('#study img').length === 1")
    assert "onerror='window.broken=2'" in shown.run("byId('generated').textContent")
    shown.run("show(data.studies[4])")
    assert shown.run("byId('reference').textContent").count("x") == 20_000
    assert shown.run("document.documentElement.scrollWidth <= innerWidth")
    shown.run("show(data.studies[6])")
    assert shown.run("byId('generated').textContent") == "(empty)"


def test_a_film_unlike_the_training_images_is_said_beside_its_report(shown, written):
    shown.open(written / "index.html")
    assert shown.run("byId('beware').hidden")
    shown.run("data.studies[0].unlike = true; show(data.studies[0])")
    assert not shown.run("byId('beware').hidden")
    assert "unlike the training images" in shown.run("byId('beware').textContent")
    assert "Research use only" in shown.run(
        "data.references = false, data.caption = 'Research use only', show(data.studies[0]), byId('beware').textContent"
    )


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1300, True)])
def test_phone_and_dark_fit_the_screen(shown, written, width, dark):
    shown.size(width, 844, dark)
    shown.open(written / "index.html", "#summary")
    cards = shown.run("[...document.querySelectorAll('.card > h3:first-child')].map((node) => node.textContent)")
    assert cards == [
        "Scores", "Findings in the reports", "Predicted states", "The retrieval space", "Length in words", "Losses",
        "Validation",
    ]  # fmt: skip
    assert shown.run("document.documentElement.scrollWidth <= innerWidth")
    assert shown.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)" if dark else "rgb(251, 250, 248)"
    )
    shown.run("byId('tab-studies').click()")
    assert shown.run("document.documentElement.scrollWidth <= innerWidth")
    assert shown.run("byId('aside').open") == (width > 720)
    above = "byId('study-id').getBoundingClientRect().bottom <= byId('previous').getBoundingClientRect().top"
    assert shown.run(above) == (width < 720), "the id of a study is as long as it is, and gets a row of its own"
