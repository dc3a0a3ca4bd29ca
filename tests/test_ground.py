"""tools/ground.py: boxes in every data set's own layout, areas against counted pixels, and a run from the command line."""

import csv
import json

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image
from programs import call, refused

import main_predict
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.images import crop_image
from modules.corpus.store import FeatureStore
from modules.corpus.text import split_sentences
from modules.evaluation.grounding.boxes import Phrase, entities_of, mask_file, read_boxes, read_masks
from modules.evaluation.grounding.phrases import require_on_film
from modules.evaluation.grounding.region_table import measured_rows, prior_maps, region_lines, region_table
from modules.evaluation.grounding.regions import (
    MEASURES,
    ceiling_map,
    finer,
    measure,
    overlay_boxes,
    overlay_mask,
    view_of,
)
from modules.evaluation.reports.region_figures import draw_regions
from modules.labels import ENTITIES
from modules.messages import UserError
from modules.prediction.film_maps import PHRASES, FilmMaps
from modules.prediction.model_folder import open_model
from modules.prediction.phrase_texts import phrase_vectors
from modules.records import read_json, write_json
from tools import ground

MS_CXR = """dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split
aa-1,Pneumothorax,Small left apical pneumothorax,files/p10/p10000001/s50000001/aa-1.jpg,200,100,50,40,400,500,test
bb-2,Pleural Effusion,Bilateral effusions,files/p10/p10000002/s50000002/bb-2.jpg,20,300,100,100,400,500,test
bb-2,Pleural Effusion,Bilateral effusions,files/p10/p10000002/s50000002/bb-2.jpg,280,300,100,100,400,500,test
cc-3,Edema,Mild edema,files/p10/p10000003/s50000003/cc-3.jpg,50,50,300,300,400,500,train
"""
PADCHEST = [
    {"StudyID": "s1", "ImageID": "one.png", "findings": [
        {"sentence_en": "Right pleural effusion.", "abnormal": True, "boxes": [[0.1, 0.6, 0.4, 0.9]], "extra_boxes": [],
         "labels": ["pleural effusion"], "locations": ["right"]},
        {"sentence_en": "Normal heart.", "abnormal": False, "boxes": [], "labels": ["normal"]},
    ]},
    {"StudyID": "s2", "ImageID": "two.png", "findings": [
        {"sentence_en": "Two nodules.", "abnormal": True, "boxes": [[0.2, 0.2, 0.3, 0.3]], "extra_boxes": [[0.6, 0.2, 0.7, 0.3]],
         "labels": ["nodule"]},
    ]},
]  # fmt: skip
MASTER = "StudyID,ImageID,PatientID,split\ns1,one.png,P1,test\ns2,two.png,P2,train\n"
IMAGENOME = """image_id,x1,y1,x2,y2,bbox_name,original_x1,original_y1,original_x2,original_y2
dd-4.dcm,1,1,9,9,right lung,100,200,900,1500
dd-4.dcm,1,1,9,9,Cardiac Silhouette,700,900,1500,1600
"""
VINDR = """image_id,class_name,x_min,y_min,x_max,y_max
e5,Pleural effusion,100.5,200,300,400
e5,Pleural effusion,500,200,700,400
e6,No finding,,,,
"""


def write(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


def test_ms_cxr(tmp_path):
    path = write(tmp_path, "MS_CXR_Local_Alignment_v1.1.0.csv", MS_CXR)
    first, second, _ = read_boxes(path)
    assert (first.image, first.patient, first.finding, first.text) == (
        "aa-1",
        "p10000001",
        "pneumothorax",
        "Small left apical pneumothorax",
    )
    assert (first.boxes.tolist(), first.size) == ([[200, 100, 250, 140]], (400, 500))
    assert second.boxes.tolist() == [[20, 300, 120, 400], [280, 300, 380, 400]]
    assert [phrase.image for phrase in read_boxes(path, "train")] == ["cc-3"]
    with pytest.raises(UserError, match="holds no box of the val split"):
        read_boxes(path, "val")


def test_padchest_gr(tmp_path):
    path, master = (
        write(tmp_path, "grounded_reports_20240819.json", PADCHEST),
        write(tmp_path, "master_table.csv", MASTER),
    )
    first, second = read_boxes(path, master_table=master)
    assert (first.image, first.patient, first.finding, first.text) == (
        "one.png",
        "P1",
        "pleural effusion",
        "Right pleural effusion.",
    )
    assert (first.boxes.tolist(), first.size) == ([[0.1, 0.6, 0.4, 0.9]], (1, 1))
    assert len(second.boxes) == 2
    assert [phrase.patient for phrase in read_boxes(path, "test", master)] == ["P1"]
    with pytest.raises(UserError, match="give it with --master_table"):
        read_boxes(path, "test")


def test_chest_imagenome_and_vindr(tmp_path):
    lung, heart = read_boxes(write(tmp_path, "gold_bbox_coordinate_annotations_1000images.csv", IMAGENOME))
    assert (lung.image, lung.finding, lung.boxes.tolist(), lung.size) == (
        "dd-4",
        "right lung",
        [[100, 200, 900, 1500]],
        None,
    )
    assert heart.finding == "cardiac silhouette"
    (effusion,) = read_boxes(write(tmp_path, "annotations_test.csv", VINDR))
    assert (effusion.image, effusion.finding, len(effusion.boxes)) == ("e5", "pleural effusion", 2)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "id,report\n1,x\n", "expected those of MS-CXR"),
        ("a.csv", VINDR.replace("300,400", "90,400"), "expected left and top before right and bottom"),
        ("a.csv", MS_CXR.replace("200,100,50,40", "200,100,250,40"), "inside the image"),
        ("a.csv", MS_CXR.replace("files/", "../files/"), "expected one below the image folder"),
        ("a.csv", VINDR.replace("100.5", "left"), "holds 'left' where a number"),
        ("a.csv", VINDR.replace("Pleural effusion", "#REF!"), "names a finding or an image '#ref!', which a spreadsheet"),
        ("a.json", [{"x": 1}], "is not PadChest-GR's list"),
        ("a.json", [{"ImageID": "x", "findings": [{"boxes": [[10, 20, 30, 40]], "labels": ["nodule"]}]}], "inside the image"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_refused(tmp_path, name, content, words):
    with pytest.raises(UserError, match=words):
        read_boxes(write(tmp_path, name, content))


GROUNDED = {
    "sentence_en": "Effusion.",
    "abnormal": True,
    "boxes": [[0.1, 0.2, 0.3, 0.4]],
    "labels": ["pleural effusion"],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4]]}, "that are none"),
        ({"boxes": [["a", 1, 2, 3]]}, "that are none"),
        ({"boxes": [{"x": 1}]}, "that are none"),
        ({"boxes": "[[0.1, 0.2, 0.3, 0.4]]"}, "has boxes of i.png that are no list"),
        ({"boxes": "Small left effusion."}, r"are no list \(a text of 20 letters\)"),
        ({"boxes": [[0.5, 0.5, 0.2, 0.2]]}, "expected left and top before"),  # corner and size
        ({"abnormal": "False"}, "expected true or false"),
        (None, "it has other findings of i.png"),
    ],
)
def test_what_is_no_grounded_report_is_refused(tmp_path, change, words):
    findings = None if change is None else [{**GROUNDED, **change}]
    with pytest.raises(UserError, match=words):
        read_boxes(write(tmp_path, "g.json", [{"StudyID": "s", "ImageID": "i.png", "findings": findings}]))


def test_sentences_and_images_of_padchest_gr_count_once(tmp_path):
    study = {"StudyID": "s", "ImageID": "i.png", "findings": [GROUNDED, {**GROUNDED, "boxes": [[0.5, 0.5, 0.6, 0.6]]}]}
    (phrase,) = read_boxes(write(tmp_path, "g.json", [study]))
    assert len(phrase.boxes) == 2
    with pytest.raises(UserError, match="which is none or stands twice"):
        read_boxes(write(tmp_path, "g.json", [study, study]))
    table = write(tmp_path, "m.csv", "ImageID,PatientID,split\ni.png,P1,test\ni.png,P2,train\n")
    with pytest.raises(UserError, match=r"gives the image i\.png two patients or splits, the second in line 3"):
        read_boxes(write(tmp_path, "g.json", [study]), master_table=table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (VINDR.replace("image_id", "rad_id,image_id").replace("\ne5", "\nR1,e5", 1).replace("\ne", "\nR2,e"), "boxes of 2 radiologists"),
        (VINDR.replace("100.5,200,300,400", ",200,300,400"), "'Pleural effusion' with a box|where a number"),
        (VINDR.replace("100.5,200,300,400", ",,,"), "'Pleural effusion' without a box on e5"),
        (VINDR.replace("e6,No finding,,,,", "e6,No finding,1,2,3,4"), "'No finding' with a box on e6"),
        (VINDR.replace("100.5,200,300,400", "0.1,0.2,0.3,0.4").replace("500,200,700,400", "0.5,0.2,0.7,0.4"), "in shares of it"),
        (VINDR.replace("Pleural effusion", ""), "without its finding"),
        (VINDR.replace("100.5,200,300,400", "0.1,0.2,0.3,0.4"), "in shares of it"),
        (VINDR.replace("e6,No", "e5,No"), "has boxes and 'No finding' on e5"),
        (MS_CXR.replace("aa-1,", ",", 1), "without its image"),
        (MS_CXR.replace("p10000002/s50000002/bb-2.jpg,280", "p10000009/s50000002/bb-2.jpg,280"), "bb-2 of two patients"),
        (MS_CXR.replace("bb-2,Pleural Effusion,Bilateral effusions", "BB-2,Pleural Effusion,Effusions", 1), "in two spellings"),
        (MS_CXR.replace("50,40,400,500", "50,40,nan,500"), "a size of nan x 500 pixels"),
        (MS_CXR.replace("200,100,50,40,400,500", ".2,.1,.5,.4,1,1"), "a size of 1 x 1 pixels"),
    ],
)  # fmt: skip
def test_boxes_that_are_not_those_of_one_reader_in_pixels_are_refused(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read_boxes(write(tmp_path, "a.csv", content))


def test_phrases_have_the_maps_of_their_entities(tmp_path):
    phrases = [*read_boxes(write(tmp_path, "a.csv", MS_CXR)), *read_boxes(write(tmp_path, "b.csv", VINDR))]
    named = [{ENTITIES[k] for k in entities_of(phrase)} for phrase in phrases]
    assert named == [{"pneumothorax", "air"}, {"effusion", "blunt"}, {"edema"}, {"effusion", "blunt"}]
    assert entities_of(read_boxes(write(tmp_path, "c.csv", IMAGENOME))[0]) == []


# areas


BOXES = np.array([[30.0, 40, 90, 140], [70, 100, 180, 160]])  # they overlap


def counted(mask, view, cells):
    """Pixels of each cell, and those in a mask, one by one."""
    on_film, in_region = np.zeros(cells * cells), np.zeros(cells * cells)
    for y, x in np.ndindex(mask.shape):
        column, row = ((x + 0.5 - view.left) / view.width * cells, (y + 0.5 - view.top) / view.height * cells)
        if 0 <= column < cells and 0 <= row < cells:
            on_film[int(row) * cells + int(column)] += 1
            in_region[int(row) * cells + int(column)] += mask[y, x]
    return on_film, in_region


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_areas_are_those_of_counted_pixels(fit):
    mask = np.zeros((220, 200), bool)
    for left, top, right, bottom in BOXES.astype(int):
        mask[top:bottom, left:right] = True
    view = view_of(200, 220, 224, fit)
    for overlay in (overlay_boxes(BOXES, view, 4, 200, 220), overlay_mask(mask, view, 4, 200, 220)):
        on_film, in_region = counted(mask, view, 4)
        assert np.abs(overlay.on_film - on_film).max() <= 120  # a cell's border runs through pixels
        assert np.abs(overlay.in_region - in_region).max() <= 120
        assert overlay.region == pytest.approx(mask.sum())
        assert overlay.in_region.sum() == pytest.approx(in_region.sum(), rel=0.02)
    exact, drawn = (overlay_boxes(BOXES, view, 4, 200, 220), overlay_mask(mask, view, 4, 200, 220))
    np.testing.assert_allclose(exact.in_region, drawn.in_region, atol=1e-6)
    np.testing.assert_allclose(exact.on_film, drawn.on_film, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(200, 220), (2544, 3056), (300, 256), (512, 512)])
def test_the_view_is_what_the_network_sees(width, height):
    """A film whose grey says where a pixel is, cropped as images are."""
    for axis, (length, part) in enumerate(((width, "left"), (height, "top"))):
        ramp = np.linspace(0, 255, length, dtype=np.float32)
        film = np.broadcast_to(ramp[None, :] if axis == 0 else ramp[:, None], (height, width))
        seen = crop_image(Image.fromarray(film.astype(np.uint8)), 224)[0].double()
        view = view_of(width, height, 224)
        side = view.width if axis == 0 else view.height
        line = seen.mean(dim=0 if axis == 0 else 1)
        expected = (getattr(view, part) + side * (torch.arange(224) + 0.5) / 224) / length * 255
        assert (line - expected).abs().max() < 2


def test_a_crop_of_a_usual_film_sees_two_thirds_of_it():
    view = view_of(2544, 3056, 224)
    assert view.width * view.height / (2544 * 3056) == pytest.approx(0.637, abs=2e-3)
    corner = np.array([[0.0, 0, 200, 200]])
    assert overlay_boxes(corner, view, 7, 2544, 3056).lost == pytest.approx(1)
    assert overlay_boxes(corner, view_of(2544, 3056, 224, "pad"), 7, 2544, 3056).lost == pytest.approx(0)


# measures


def halves():
    """The left half of a square film is the region; a map of 2 x 2 patches, seen whole."""
    return overlay_boxes(np.array([[0.0, 0, 50, 100]]), view_of(100, 100, 100, "pad"), 2, 100, 100)


def test_the_measures_of_a_map_made_by_hand():
    values = measure(np.array([1.0, 0.2, 0.6, 0.0]), halves())
    assert values["cnr"] == values["cnr_signed"] == pytest.approx((0.8 - 0.1) / np.sqrt(0.04 + 0.01))
    assert values["miou"] == pytest.approx((2 / 3 + 2 / 3 + 1 + 1 + 1) / 5)  # of .1 .2 .3 .4 .5
    assert values["hit"] == 1
    assert values["energy"] == pytest.approx(1.6 / 1.8)
    inverted = measure(-np.array([1.0, 0.2, 0.6, 0.0]), halves())
    assert (inverted["cnr"], inverted["cnr_signed"], inverted["hit"]) == (
        pytest.approx(values["cnr"]),
        pytest.approx(-values["cnr"]),
        0,
    )
    flat = measure(np.ones(4), halves())
    assert (flat["cnr"], flat["miou"], flat["hit"], flat["energy"]) == (0, 0.5, 0.5, 0.5)


def test_a_cell_beside_the_film_points_nowhere():
    """A film twice as high as wide, in the middle of its square."""
    boxes = np.array([[0.0, 0, 100, 50]])
    upper = overlay_boxes(boxes, view_of(100, 200, 100, "pad"), 4, 100, 200)
    assert upper.on_film.reshape(4, 4)[:, [0, 3]].max() == 0
    beside, inside = np.arange(16) % 4 == 0, np.arange(16) == 1  # the left edge, and a cell of the region
    assert measure(1.0 * (beside | inside), upper) == measure(1.0 * inside, upper)
    assert measure(1.0 * inside, upper)["hit"] == 1


def test_what_is_not_seen_counts_as_missed():
    seen = measure(np.array([1.0, 0, 1, 0]), halves())["miou"]
    half = overlay_boxes(np.array([[0.0, 0, 150, 100]]), view_of(200, 100, 100), 2, 200, 100)
    assert half.lost > 0.4
    assert measure(ceiling_map(half), half)["miou"] < seen == 1


def test_no_map_beats_the_region_itself():
    rng = np.random.default_rng(0)
    for _ in range(50):
        left, top = rng.uniform(0, 60, 2)
        overlay = overlay_boxes(
            np.array([[left, top, left + 35, top + 35]]), view_of(100, 100, 100, "pad"), 5, 100, 100
        )
        best = measure(ceiling_map(overlay), overlay)
        other = measure(rng.random(25), overlay)
        assert best["energy"] >= other["energy"]
        assert best["hit"] >= other["hit"]


def test_interpolation_keeps_flat_maps_and_the_order_of_rows():
    assert finer(np.ones((1, 9)), 12) == pytest.approx(np.ones((1, 144)))
    grid = finer(np.array([[0.0, 0, 1, 1]]), 8).reshape(8, 8)
    assert grid[0, 0] == 0 and grid[-1, 0] == 1  # noqa: PT018
    assert grid[:, 0] == pytest.approx([0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1])  # by the middles of patches and cells
    assert finer(np.ones((1, 9)), 0).shape == (1, 9)


# the table


def some_phrases():
    box = np.array([[0.0, 0, 50, 100]])
    return [Phrase(f"i{n}", None, f"p{n // 2}", ("effusion", "edema")[n % 2], "x", box, (100, 100)) for n in range(8)]


def test_masks_without_their_annotation_are_refused_in_a_sentence(tmp_path, capsys):
    words = ["--boxes", tmp_path, "--image_dir", tmp_path, "--save_dir", tmp_path / "out"]
    refused(capsys, "is a folder of masks: give its annotation with --ann_path", ground, *words)


@pytest.mark.parametrize(("cells", "numbers"), [(0, 4), (8, 64)])
def test_a_region_is_drawn_with_the_map_that_is_scored(tmp_path, monkeypatch, cells, numbers):
    Image.new("L", (40, 40)).save(tmp_path / "film.png")
    values, view, drawn, imshow = np.array([0.0, 1.0, 2.0, 5.0]), view_of(40, 40, 32), [], Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda at, shown, **how: drawn.append((shown, how)) or imshow(at, shown, **how))
    files = draw_regions(tmp_path, some_phrases()[:1], [tmp_path / "film.png"], [view], [values], cells, 1)
    shown, how = drawn[-1]
    assert (shown.size, how["interpolation"], len(files)) == (numbers, "nearest", 1)
    np.testing.assert_array_equal(shown.ravel(), finer(values[None], cells)[0])


def test_the_location_prior_knows_other_patients_alone():
    phrases = some_phrases()
    right = overlay_boxes(np.array([[50.0, 0, 100, 100]]), view_of(100, 100, 100, "pad"), 2, 100, 100)
    overlays = [right if phrase.patient == "p0" else halves() for phrase in phrases]
    prior = prior_maps(phrases, overlays, 2)["location prior"]
    assert prior[0].tolist() == [3, 0, 3, 0]  # effusions of p1, p2, p3
    assert prior[2].tolist() == [2, 1, 2, 1]
    alone = prior_maps(phrases[:2], overlays[:2], 2)["location prior"]
    assert alone == [None, None]


def test_the_centre_prior_is_highest_in_the_middle_of_what_is_seen():
    (centre, *_) = prior_maps(some_phrases()[:2], [halves()] * 2, 3)["centre prior"]
    assert (centre.argmax(), np.argsort(centre)[:4].tolist()) == (4, [0, 2, 6, 8])


def test_intervals_are_over_patients_and_findings_are_averaged_alike():
    phrases = some_phrases()
    good, bad = np.array([1.0, 0, 1, 0]), np.array([0.0, 1, 0, 1])
    maps = [good if phrase.finding == "effusion" else bad for phrase in phrases]
    maps[7] = None
    measured = measured_rows({"maps": maps}, lambda n, cells: halves(), 8, 0)
    table = region_table(phrases, measured, resamples=200, seed=0)["maps"]
    assert (table["effusion"]["hit"], table["edema"]["hit"]) == (1, 0)
    assert table["all"]["hit"] == pytest.approx(4 / 7)
    assert table["mean over findings"]["hit"] == 0.5
    assert (table["all"]["phrases"], table["all"]["patients"], table["edema"]["phrases"]) == (7, 4, 3)
    assert table["effusion"]["hit_interval"] == [1, 1]
    low, high = table["all"]["hit_interval"]
    assert low < 4 / 7 < high
    some = {"maps": [good if phrase.finding == "effusion" else None for phrase in phrases]}
    table = region_table(phrases, measured_rows(some, lambda n, cells: halves(), 8, 0), resamples=20, seed=0)["maps"]
    assert table["mean over findings"]["hit"] == 1  # of those that have maps
    values = np.random.default_rng(1).random((8, len(MEASURES)))
    table = region_table(phrases, {"maps": values}, resamples=200, seed=0)["maps"]
    drawn = np.random.default_rng(0).multinomial(4, np.full(4, 1 / 4), 200)  # how often each of the four patients
    means = drawn @ values.reshape(4, 2, -1).sum(axis=1) / 8  # of all measures
    for kind, ends in zip(MEASURES, np.quantile(means, [0.025, 0.975], axis=0).T, strict=True):
        assert table["all"][f"{kind}_interval"] == pytest.approx(ends)
    assert len(region_lines({"maps": table})) == 3
    assert set(MEASURES) < set(table["all"])


# the program


def films(folder, names, size=(400, 500)):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 255, size[::-1], dtype=np.uint8)).save(path)
    return folder


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_a_trained_model_is_grounded_in_drawn_masks(prepared, trained, tmp_path, capsys, fit):
    call(
        ground, "--boxes", prepared / "masks", "--ann_path", prepared / "annotation.json", "--image_dir", prepared / "images",
        "--model", trained, "--save_dir", tmp_path, "--resamples", 20, "--figures", 1, "--device", "cpu", "--fit", fit,
    )  # fmt: skip
    found = json.loads((tmp_path / "grounding.json").read_text())
    assert list(found["rows"]) == [
        "entity maps",
        "softmax attention",
        "entity scorer's attention",
        "phrase maps",
        "centre prior",
        "location prior",
        "perfect map",
    ]
    whole = {name: parts["all"] for name, parts in found["rows"].items()}
    assert whole["perfect map"]["cnr"] > max(values["cnr"] for name, values in whole.items() if name != "perfect map")
    assert (found["lost"]["all"] == pytest.approx(0, abs=1e-9)) == (fit == "pad")
    assert len(list((tmp_path / "figures").iterdir())) == 1
    with (tmp_path / "per_phrase.csv").open() as file:
        assert {row["row"] for row in csv.DictReader(file)} == set(found["rows"])
    assert "0 films of training patients are left out" in capsys.readouterr().out


def test_a_release_has_the_maps_of_its_training(prepared, trained, tmp_path, capsys):
    release = tmp_path / "release"
    call(main_predict, "--model", trained, "--export", release, "--device", "cpu")
    words = ["--boxes", prepared / "masks", "--ann_path", prepared / "annotation.json", "--image_dir", prepared / "images",
             "--resamples", 20, "--figures", 0, "--device", "cpu"]  # fmt: skip
    for model in (trained, release):
        call(ground, *words, "--model", model, "--save_dir", tmp_path / f"of_{model.name}")
    first, second = (read_json(tmp_path / f"of_{model.name}" / "grounding.json") for model in (trained, release))
    assert first["rows"].pop(PHRASES)  # a release does not hold what encodes them
    assert first["rows"] == second["rows"]
    with open(release / "model.safetensors", "ab") as file:
        file.write(b"more")
    said = refused(
        capsys, "is not what was released", ground, *words, "--model", release, "--save_dir", tmp_path / "new"
    )
    assert "model.safetensors" in said


def test_boxes_of_ms_cxr_and_films_of_training_patients(trained, prepared, tmp_path, capsys):
    boxes = write(tmp_path, "boxes.csv", MS_CXR)
    folder = films(
        tmp_path / "films", [f"files/p10/p1000000{n}/s5000000{n}/{name}.jpg" for n, name in ((1, "aa-1"), (2, "bb-2"))]
    )
    study = {"id": "x", "report": "a .", "image_path": ["files/p10/p10000002/s50000099/zz.jpg"]}
    annotation = write(tmp_path, "annotation.json", {"train": [study], "val": [], "test": []})
    bare = {
        "id": "x",
        "report": "a .",
        "image_path": ["zz.jpg"],
        "patient": "10000002",
    }  # as other annotations write it
    upper = {"id": "x", "report": "a .", "image_path": ["BB-2.JPG"]}
    flags = [
        "--boxes",
        boxes,
        "--image_dir",
        folder,
        "--model",
        trained,
        "--save_dir",
        tmp_path / "out",
        "--resamples",
        5,
        "--device",
        "cpu",
    ]
    call(ground, *flags, "--ann_path", annotation)
    shown = capsys.readouterr().out
    assert "1 films of training patients are left out, with 1 phrases" in shown
    assert "1 boxed films are not in" in shown
    for other in (bare, upper):
        write(tmp_path, "annotation.json", {"train": [other], "val": [], "test": []})
        call(ground, *flags, "--ann_path", annotation, "--overwrite")
        assert "1 films of training patients are left out, with 1 phrases" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "grounding.json").read_text())["rows"]
    for name in ("entity maps", "phrase maps"):
        assert found[name]["pneumothorax"]["phrases"] == found[name]["all"]["phrases"] == 1
    refused(
        capsys,
        "holds none of the boxed films",
        ground,
        *flags[:2],
        "--image_dir",
        tmp_path / "none",
        *flags[4:],
        "--overwrite",
    )


def test_a_phrase_has_the_map_of_the_only_sentence(prepared, trained, capsys):
    """A sentence of the bank gets the vector that is stored, and its map is that of a reference of this one sentence."""
    reader = FilmMaps(open_model(trained, torch.device("cpu")), torch.device("cpu"))
    bank = reader.trained.bank
    first, second = (sentence for sentence in split_sentences(bank.reports[0])[:2])
    vectors = phrase_vectors(bank, [f"{first.capitalize()}.", second, "zyx qwv"], torch.device("cpu"))
    np.testing.assert_allclose(vectors[:2], bank.sentences(0)[:2], atol=2e-3)
    assert not vectors[2].any()
    film = next((prepared / "images").rglob("*.png"))
    together = next(reader.read([film], [vectors[:2]]))
    for place in (0, 1):
        alone = next(reader.read([film], [vectors[place : place + 1]]))
        np.testing.assert_allclose(together[PHRASES][place], alone[PHRASES][0], atol=1e-5)
        np.testing.assert_allclose(together["entity maps"], alone["entity maps"], atol=1e-5)
    assert np.abs(together[PHRASES][0] - together[PHRASES][1]).max() > 1e-3
    assert PHRASES not in next(reader.read([film]))


def test_phrases_without_their_encoder_have_no_row(trained, tmp_path):
    """The bank of the model, in a folder that says its sentences were encoded otherwise."""
    real = open_model(trained, torch.device("cpu")).bank.store.directory
    for changes, words in (({"encoder": None}, "does not say what encoded"), ({"width": 9}, "other vectors")):
        folder = tmp_path / words
        folder.mkdir()
        for path in real.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / "manifest.json").unlink()
        manifest = read_json(real / "manifest.json")
        made_by = {**manifest["arrays"]["sentence_features"]["made_by"], **changes}
        manifest["arrays"]["sentence_features"]["made_by"] = {k: v for k, v in made_by.items() if v is not None}
        write_json(folder / "manifest.json", manifest)
        with pytest.raises(UserError, match=words):
            phrase_vectors(TrainingBank(FeatureStore.open(folder)), ["effusion"], torch.device("cpu"))


def test_maps_of_another_program(tmp_path, capsys):
    boxes = write(tmp_path, "boxes.csv", VINDR)
    folder = films(tmp_path / "films", ["e5.png"], (800, 800))
    grid = np.zeros((8, 8))
    grid[2:4, 1:3] = grid[2:4, 5:7] = 1
    np.savez(tmp_path / "maps.npz", **{"e5|pleural effusion": grid})
    flags = [
        "--boxes",
        boxes,
        "--image_dir",
        folder,
        "--save_dir",
        tmp_path / "out",
        "--fit",
        "pad",
        "--cells",
        0,
        "--resamples",
        5,
    ]
    call(ground, *flags, "--maps", tmp_path / "maps.npz")
    found = json.loads((tmp_path / "out" / "grounding.json").read_text())["rows"]["maps"]["all"]
    assert found["hit"] > 0.9
    shown = capsys.readouterr().out
    assert "no --ann_path was given" in shown
    assert "the boxes name no patients: what is said by patient is by film" in shown
    np.savez(tmp_path / "other.npz", x=grid)
    for wrong, words in (
        (grid * np.nan, "holds values that are not finite"),
        (np.ones((4, 16)), "is 4 x 16: expected a square grid"),
    ):
        np.savez(tmp_path / "wrong.npz", **{"e5|pleural effusion": wrong})
        refused(capsys, words, ground, *flags, "--maps", tmp_path / "wrong.npz", "--overwrite")
    refused(capsys, "name every array 'image|finding'", ground, *flags, "--maps", tmp_path / "other.npz", "--overwrite")


@pytest.mark.parametrize(
    ("layout", "names", "size", "words"),
    [
        (VINDR, ["e5.png"], (512, 512), "500.0, 200.0, 700.0, 400.0]]): expected left and top before right and bottom, inside"),
        (VINDR, ["a/e5.png", "b/E5.jpg"], (800, 800), "have the name of one boxed film"),
        (MS_CXR, ["bb-2.jpg"], (224, 224), "has 224 x 224 pixels, the image that was boxed 400 x 500"),
    ],
)  # fmt: skip
def test_boxes_of_other_films_are_refused(layout, names, size, words, tmp_path, capsys):
    """Boxes beyond a film were cut off at its border, and of two films of one name the last was taken."""
    boxes = write(tmp_path, "boxes.csv", layout)
    folder = films(tmp_path / "films", names, size)
    refused(
        capsys,
        words,
        ground,
        "--boxes",
        boxes,
        "--image_dir",
        folder,
        "--maps",
        "x.npz",
        "--save_dir",
        tmp_path / "out",
    )
    assert not (tmp_path / "out").exists()


def test_ids_that_padchest_gr_does_not_know_are_refused(tmp_path):
    path = write(tmp_path, "g.json", [{"ImageID": "i.png", "findings": [GROUNDED]}])
    with pytest.raises(UserError, match=r"does not name the image i\.png"):
        read_boxes(path, master_table=write(tmp_path, "m.csv", MASTER))
    twice = [{"ImageID": name, "findings": [GROUNDED]} for name in ("i.png", "I.png")]
    with pytest.raises(UserError, match="stands twice"):
        read_boxes(write(tmp_path, "g.json", twice))
    with pytest.raises(UserError, match=r"label '3' of i\.png, which names no finding"):
        read_boxes(write(tmp_path, "g.json", [{"ImageID": "i.png", "findings": [{**GROUNDED, "labels": [3]}]}]))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((40, 40), 255, np.uint8), "of 40 x 40 uint8: expected true and false"),
        (np.ones((1, 40, 40), bool), "of 1 x 40 x 40 bool: expected true and false"),
    ],
)
def test_a_mask_is_true_or_false_of_a_film(mask, words, tmp_path):
    """One of 0 and 255 had 255 times its area."""
    study = Study(id="a", image_path=("a.png",), report="Clear.", split="test")
    path = mask_file(tmp_path, study)
    path.parent.mkdir()
    np.savez(path, **{"pleural effusion": mask})
    with pytest.raises(UserError, match=words):
        read_masks(tmp_path, [study])


def test_a_mask_of_another_film_is_refused(tmp_path):
    study = Study(id="a", image_path=("a.png",), report="Clear.", split="test")
    path = mask_file(tmp_path, study)
    path.parent.mkdir()
    np.savez(path, **{"pleural effusion": np.ones((40, 50), bool)})
    (phrase,) = read_masks(tmp_path, [study])
    require_on_film(phrase, tmp_path / "a.png", 100, 80)
    with pytest.raises(UserError, match="has 80 x 80 pixels, the image that was boxed 50 x 40"):
        require_on_film(phrase, tmp_path / "a.png", 80, 80)


def test_boxes_of_vindr_may_say_the_size_of_their_film(tmp_path, capsys):
    """Copies of the set give it beside the boxes, and films that were made smaller: the boxes shrink with them."""
    lines = VINDR.replace("y_max", "y_max,width,height").replace("300,400", "300,400,1600,1600")
    boxes = write(
        tmp_path, "boxes.csv", lines.replace("700,400", "700,400,1600,1600").replace(",,,,", ",,,,,1600,1600")
    )
    (phrase,) = read_boxes(boxes)
    assert phrase.size == (1600, 1600)
    grid = np.zeros((16, 16))
    grid[2:4, 1:3] = grid[2:4, 5:7] = 1  # of the half
    np.savez(tmp_path / "maps.npz", **{"e5|pleural effusion": grid})
    flags = ["--boxes", boxes, "--maps", tmp_path / "maps.npz", "--save_dir", tmp_path / "out", "--fit", "pad", "--cells", 0, "--resamples", 5]  # fmt: skip
    call(ground, *flags, "--image_dir", films(tmp_path / "films", ["e5.png"], (800, 800)))
    found = json.loads((tmp_path / "out" / "grounding.json").read_text())["rows"]["maps"]["all"]
    assert found["hit"] > 0.9
    cut = films(tmp_path / "cut", ["e5.png"], (800, 700))
    refused(capsys, "the image that was boxed 1600 x 1600", ground, *flags, "--image_dir", cut, "--overwrite")
    with pytest.raises(UserError, match="a size of 0 x 1600 pixels"):
        read_boxes(write(tmp_path, "boxes.csv", boxes.read_text().replace("1600,1600", "0,1600", 1)))


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside"])
def test_an_id_never_leads_out_of_the_folder_of_masks(name, tmp_path):
    study = Study(id=name, image_path=("a.png",), report="Clear.", split="test")
    with pytest.raises(UserError, match="has an id that leads out of"):
        mask_file(tmp_path, study)
