import hashlib
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from modules.labelling.labelers import RuleLabeler
from modules.labels import BLANK, CONDITIONS, NEGATIVE, POSITIVE, UNCERTAIN
from modules.messages import UserError
from modules.preparation.synthetic import dataset as synthetic
from modules.preparation.synthetic import plan as plan_of
from modules.preparation.synthetic.anatomy import sample_anatomy
from modules.preparation.synthetic.dataset import SyntheticOptions, plan_dataset, write_synthetic_dataset
from modules.preparation.synthetic.plan import Sign, StudyPlan, stated_absences
from modules.preparation.synthetic.readers import Reader
from modules.preparation.synthetic.reports import write_report
from modules.preparation.synthetic.sampling import POSITIVE_RATES, plan_studies
from modules.preparation.synthetic.sheet import draw_contact_sheet
from modules.preparation.synthetic.study import draw_study

SMALL = SyntheticOptions(num_studies=24, image_size=48, seed=7)
LABELER = RuleLabeler()  # remembers the sentences that it has read

FORMS = [  # every form of every sign: condition, side, zone, kind
    (plan_of.MEDIASTINUM, "", "", ""),
    (plan_of.HEART, "", "", ""),
    *((plan_of.OPACITY, side, zone, "") for side in ("right", "left") for zone in ("upper", "mid", "lower")),
    (plan_of.LESION, "left", "mid", ""),
    (plan_of.EDEMA, "bilateral", "", ""),
    (plan_of.CONSOLIDATION, "right", "lower", ""),
    (plan_of.PNEUMONIA, "left", "lower", ""),
    (plan_of.ATELECTASIS, "bilateral", "lower", ""),
    (plan_of.ATELECTASIS, "right", "lower", ""),
    (plan_of.PNEUMOTHORAX, "left", "upper", ""),
    (plan_of.EFFUSION, "right", "", ""),
    (plan_of.PLEURA, "right", "upper", "thickening"),
    (plan_of.PLEURA, "left", "lower", "plaque"),
    (plan_of.FRACTURE, "left", "mid", ""),
    *(
        (plan_of.DEVICES, "right", "", kind)
        for kind in (
            "endotracheal tube",
            "nasogastric tube",
            "central line",
            "pacemaker",
            "sternotomy wires",
            "surgical clips",
            "chest tube",
        )
    ),
    (plan_of.AORTA, "", "", "tortuous"),
    (plan_of.AORTA, "", "", "calcified"),
    (plan_of.SPINE, "left", "", "scoliosis"),
    (plan_of.SPINE, "", "", "degenerative"),
    (plan_of.DIAPHRAGM, "right", "", "elevated"),
    (plan_of.DIAPHRAGM, "left", "", "flattened"),
    (plan_of.VOLUME, "", "", "low"),
    (plan_of.VOLUME, "", "", "hyperinflated"),
]


def study(*signs, index=3, patient=5):
    return StudyPlan(1, index, patient, "train", signs)


def of_form(form, state=POSITIVE, severity=0.6):
    condition, side, zone, kind = form
    return Sign(condition, state, side, zone, severity, kind)


def files_of(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def many():
    return plan_studies(8_000, 400, 400, seed=11)


@pytest.fixture
def written(tmp_path):
    return write_synthetic_dataset(tmp_path / "synthcxr", SMALL, workers=1).parent


# Plan


def test_positive_rates_are_the_published_ones(many):
    positive = np.mean([[state == POSITIVE for state in plan.labels] for plan in many], axis=0)
    assert positive == pytest.approx(POSITIVE_RATES, rel=0.25)


def test_conditions_of_one_cause_are_seen_together(many):
    labels = np.array([plan.labels for plan in many]) == POSITIVE
    for cause, effect, lift in (
        (plan_of.EDEMA, plan_of.EFFUSION, 2),
        (plan_of.EDEMA, plan_of.HEART, 2),
        (plan_of.EFFUSION, plan_of.DEVICES, 1.3),
        (plan_of.PNEUMOTHORAX, plan_of.FRACTURE, 4),
        (plan_of.PNEUMOTHORAX, plan_of.DEVICES, 1.5),
        (plan_of.ATELECTASIS, plan_of.VOLUME, 1.5),
    ):
        assert labels[labels[:, cause], effect].mean() > lift * labels[:, effect].mean()


def test_splits_have_the_wanted_size_and_share_no_patient():
    plans = plan_studies(500, 50, 65, seed=2)
    assert Counter(plan.split for plan in plans) == {"train": 385, "val": 50, "test": 65}
    patients = {split: {plan.patient for plan in plans if plan.split == split} for split in ("train", "val", "test")}
    assert not patients["train"] & patients["val"]
    assert not patients["train"] & patients["test"]
    assert not patients["val"] & patients["test"]
    assert max(Counter(plan.patient for plan in plans).values()) == 3


def test_a_study_does_not_depend_on_how_many_others_there_are():
    few, more = plan_studies(20, 2, 2, seed=9), plan_studies(40, 4, 4, seed=9)
    assert [plan.signs for plan in few] == [plan.signs for plan in more[:20]]


def test_studies_of_one_patient_have_one_anatomy_and_different_images():
    first, second = study(index=1), study(index=2)
    assert sample_anatomy(np.random.default_rng(4)) == sample_anatomy(np.random.default_rng(4))
    assert not np.array_equal(draw_study(first, 48)[0], draw_study(second, 48)[0])


def test_labels_follow_the_signs():
    states = dict(
        zip(CONDITIONS, study(of_form(FORMS[1]), Sign(plan_of.EFFUSION, UNCERTAIN, "left")).labels, strict=True)
    )
    assert states["cardiomegaly"] == POSITIVE
    assert states["pleural effusion"] == UNCERTAIN
    assert states["pneumothorax"] == states["consolidation"] == states["lung opacity"] == states["edema"] == NEGATIVE
    assert states["no finding"] == states["enlarged cardiomediastinum"] == states["support devices"] == BLANK


def test_no_finding_allows_devices_and_nothing_else():
    device = of_form((plan_of.DEVICES, "left", "", "pacemaker"))
    assert study().labels[plan_of.NO_FINDING] == POSITIVE
    assert study(device).labels[plan_of.NO_FINDING] == POSITIVE
    assert study(device, of_form(FORMS[1], UNCERTAIN)).labels[plan_of.NO_FINDING] == BLANK


def test_a_consolidation_is_an_opacity_and_a_fracture_a_bone_abnormality():
    labels = study(
        Sign(plan_of.CONSOLIDATION, UNCERTAIN, "left", "mid"), Sign(plan_of.FRACTURE, POSITIVE, "left", "mid")
    ).labels
    assert labels[plan_of.OPACITY] == UNCERTAIN
    assert labels[plan_of.SPINE] == POSITIVE


def test_stated_absences_never_name_what_is_drawn(many):
    for plan in many[:3000]:
        drawn = {sign.condition for sign in plan.signs}
        absent = set(stated_absences(drawn))
        assert not drawn & absent
        assert drawn | absent >= {plan_of.HEART, plan_of.PNEUMOTHORAX, plan_of.EFFUSION}


# Drawing


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(filter(None, (CONDITIONS[form[0]], *form[1:]))))
def test_a_sign_changes_the_image_inside_its_mask_only(form):
    healthy, _ = draw_study(study(), 128)
    image, masks = draw_study(study(of_form(form)), 128)
    mask = masks[form[0]]
    change = np.abs(image.astype(int) - healthy)
    assert list(masks) == [form[0]]
    assert 20 < mask.sum() < 0.6 * mask.size
    assert (change[mask] > 8).sum() > 20
    assert (change[~mask] > 8).mean() < 0.002


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("condition", [plan_of.OPACITY, plan_of.PNEUMOTHORAX, plan_of.EFFUSION, plan_of.FRACTURE])
def test_the_patients_right_is_on_the_left_of_the_image(condition, side):
    zone = "mid" if condition in (plan_of.OPACITY, plan_of.FRACTURE) else ""
    _, masks = draw_study(study(Sign(condition, POSITIVE, side, zone)), 96)
    columns = np.nonzero(masks[condition])[1]
    assert (columns < 48).mean() == pytest.approx(1.0 if side == "right" else 0.0, abs=0.02)


def test_zones_are_from_top_to_bottom():
    heights = []
    for zone in ("upper", "mid", "lower"):
        _, masks = draw_study(study(Sign(plan_of.LESION, POSITIVE, "right", zone)), 96)
        heights.append(np.nonzero(masks[plan_of.LESION])[0].mean())
    assert heights[0] + 8 < heights[1] < heights[2] - 8


@pytest.mark.parametrize("form", FORMS[:20], ids=str)
def test_severe_signs_are_stronger_than_mild_and_mild_than_doubtful(form):
    healthy = draw_study(study(), 96)[0].astype(int)
    change = [
        np.abs(draw_study(study(of_form(form, state, severity)), 96)[0] - healthy).sum()
        for state, severity in ((UNCERTAIN, 0.0), (POSITIVE, 0.2), (POSITIVE, 0.9))
    ]
    assert change[0] < change[1] < change[2] or form[0] == plan_of.DEVICES


def test_difficulty_weakens_the_signs():
    def change(difficulty):
        with_sign, _ = draw_study(study(of_form(FORMS[2])), 96, difficulty)
        return np.abs(with_sign.astype(int) - draw_study(study(), 96, difficulty)[0]).sum()

    assert change(0.5) > 1.3 * change(1.0) > 1.3 * change(2.0)


def test_the_image_looks_like_a_radiograph():
    image, masks = draw_study(study(), 160)
    heart, right_lung, belly, corner = image[95, 85], image[60:90, 35:55], image[140:150, 60:100], image[:6, :12]
    assert masks == {}
    assert image.dtype == np.uint8
    assert image.shape == (160, 160)
    assert corner.mean() < 30 < right_lung.mean() < 110 < heart
    assert belly.mean() > 150


@pytest.mark.parametrize(("size", "difficulty"), [(16, 1.0), (64, 0.0), (64, -1.0)])
def test_what_cannot_be_drawn_is_refused(size, difficulty):
    with pytest.raises(UserError, match="at least 32 pixels"):
        draw_study(study(), size, difficulty)


# Reports


def test_reports_have_four_to_eight_sentences(many):
    for plan in many[:2000]:
        report = write_report(plan)
        assert 4 <= report.count(".") <= 8
        assert re.fullmatch(r"(?:[A-Z][a-z, ]+\.(?: |$))+", report), report


def test_reports_name_the_sides_and_zones_that_are_drawn(many):
    for plan in many[:3000]:
        words = set(re.findall(r"[a-z]+", write_report(plan).lower()))
        sides = {sign.side for sign in plan.signs}
        for word, allowed in (("right", {"right"}), ("left", {"left"}), ("bilateral", {"bilateral"})):
            assert word not in words or allowed & sides, write_report(plan)
        zones = {sign.zone for sign in plan.signs}
        for word, zone in (("upper", "upper"), ("mid", "mid"), ("middle", "mid")):
            assert word not in words or zone in zones, write_report(plan)


@pytest.mark.parametrize(
    ("severity", "said", "unsaid"),
    [(0.2, "small", "moderate|large"), (0.5, "moderate", "small|large"), (0.9, "large", "small|moderate")],
)
def test_reports_name_the_severity(severity, said, unsaid):
    for index in range(30):
        report = write_report(study(Sign(plan_of.EFFUSION, POSITIVE, "left", severity=severity), index=index)).lower()
        assert said in report
        assert not re.search(rf"\b(?:{unsaid})\b", report)


def test_reports_hedge_what_is_faint_and_deny_what_is_absent():
    for index in range(30):
        report = write_report(study(Sign(plan_of.PNEUMOTHORAX, UNCERTAIN, "left", "upper"), index=index)).lower()
        (sentence,) = [sentence for sentence in report.split(".") if "pneumothorax" in sentence]
        assert re.search("possible|questionable|may be|cannot be excluded", sentence)
        assert not re.search("small|moderate|large", sentence)
        assert re.search(r"\bno\b[^.]*effusion", report)


def test_the_wording_varies_and_has_habits():
    reports = [write_report(study(Sign(plan_of.HEART, POSITIVE, severity=0.2), index=index)) for index in range(300)]
    first = Counter(re.search(r"[^.]*(?:cardiomegaly|enlarge)[^.]*", report)[0].strip() for report in reports)
    assert len(first) >= 6
    assert first.most_common(1)[0][1] > 1.5 * 300 / len(first)


@pytest.mark.slow
def test_a_labeler_reads_in_the_report_what_the_plan_shows(many):
    plans = many[:2000]
    planned = np.array([plan.labels for plan in plans])
    read = LABELER([write_report(plan) for plan in plans])
    agreement = ((planned == POSITIVE) == (read == POSITIVE)).mean(axis=0)
    assert agreement.min() >= 0.98, dict(zip(CONDITIONS, agreement.round(3), strict=True))
    assert (planned == read).mean() > 0.98


# Readers


@pytest.fixture(scope="module")
def read_by_many():
    return plan_studies(3000, 150, 450, seed=456789, readers=40)


@pytest.fixture(scope="module")
def reports_of_many(read_by_many):
    return [write_report(plan) for plan in read_by_many]


def test_without_readers_the_generator_writes_and_draws_what_it_always_did():
    plans = plan_studies(3000, 150, 450, seed=456789)
    checksum = hashlib.sha256("".join(write_report(plan) for plan in plans[:300]).encode())
    for plan in plans[:20]:
        image, masks = draw_study(plan, 110, 0.5)
        for array in (image, *masks.values()):
            checksum.update(array.tobytes())
    assert checksum.hexdigest() == "16a64273847789379798db8879abb5c83eeed4a03c18a47e7a956e9aafc8c524"


@pytest.mark.slow
def test_a_labeler_reads_the_same_states_whoever_wrote_the_report(read_by_many, reports_of_many):
    planned = np.array([plan.labels for plan in read_by_many])
    read = LABELER(reports_of_many)
    agreement = ((planned == POSITIVE) == (read == POSITIVE)).mean(axis=0)
    assert agreement.min() >= 0.98, dict(zip(CONDITIONS, agreement.round(3), strict=True))
    assert (planned == read).mean() > 0.995


@pytest.mark.slow
def test_a_reader_repeats_himself_and_differs_from_others(read_by_many):
    def first_sentences(reader):
        return Counter(write_report(replace(plan, reader=reader)).split(".")[0] for plan in read_by_many[:100])

    habits = [first_sentences(reader) for reader in range(20)]
    shares = [counts.most_common(1)[0][1] / counts.total() for counts in habits]
    assert np.mean(shares) > 0.3
    assert len({counts.most_common(1)[0][0] for counts in habits}) >= 8


@pytest.mark.slow
def test_the_report_of_the_same_reader_is_nearer_than_that_of_anybody(read_by_many, reports_of_many):
    """What makes the data a benchmark for retrieval: with equal labels the same reader's words overlap far more."""
    words = [set(report.replace(".", " .").split(". ")) for report in reports_of_many]
    labels = np.array([plan.labels for plan in read_by_many])
    readers = np.array([plan.reader for plan in read_by_many])
    overlaps = {"same": [], "other": []}
    for index in range(300):
        differences = (labels != labels[index]).sum(axis=1).astype(float)
        differences[index] = np.inf
        for name, allowed in (("same", readers == readers[index]), ("other", readers != readers[index])):
            nearest = int(np.argmin(np.where(allowed, differences, np.inf)))
            overlaps[name].append(len(words[index] & words[nearest]) / len(words[index] | words[nearest]))
    assert np.mean(overlaps["same"]) > 1.5 * np.mean(overlaps["other"])


def test_only_the_film_tells_who_the_reader_is(tmp_path, read_by_many):
    options = replace(SMALL, readers=5)
    written = json.loads(write_synthetic_dataset(tmp_path / "read", options, workers=1).read_text())
    plain = json.loads(write_synthetic_dataset(tmp_path / "plain", replace(options, readers=0), workers=1).read_text())
    for split, items in written.items():
        for item, other in zip(items, plain[split], strict=True):
            assert {**item, "report": ""} == {**other, "report": ""}  # ids, patients and labels are the same
    readers = np.array([plan.reader for plan in read_by_many])
    assert abs(np.corrcoef(readers, np.arange(len(readers)))[0, 1]) < 0.06
    pairs = [[p.reader for p in read_by_many if p.patient == patient] for patient in range(400)]
    chances = [pair[0] == pair[1] for pair in pairs if len(pair) > 1]
    assert np.mean(chances) < 0.15  # 1 / 40 by chance


def test_films_of_one_site_are_alike_and_hide_no_sign():
    films = []
    for reader in range(12):
        image, masks = draw_study(replace(study(of_form(FORMS[1]), of_form(FORMS[20])), reader=reader), 110)
        plain, unhidden = draw_study(study(of_form(FORMS[1]), of_form(FORMS[20])), 110)
        _, seen = Reader(1, reader).develop(plain)
        border = image[~seen]
        assert len(np.unique(border)) == 1
        assert seen[14:96, 14:96].all()
        for condition, mask in masks.items():
            assert np.array_equal(mask, unhidden[condition] & seen)
            assert mask.sum() > 0.6 * unhidden[condition].sum()
        films.append((tuple(seen.any(axis=0).tolist()), tuple(seen.any(axis=1).tolist()), int(border[0])))
    assert len(set(films)) == 12


def test_what_has_become_of_a_sign_follows_its_drawn_severity():
    said = Counter()
    for reader in range(60):
        for severity, words in (
            (0.46, "less|improved|decreased"),
            (0.55, "as before|unchanged|stable"),
            (0.64, "more|worse|incr"),
        ):
            plan = replace(study(Sign(plan_of.EFFUSION, POSITIVE, "left", severity=severity)), reader=reader)
            (sentence,) = [
                part for part in write_report(plan).split(".") if "ffusion" in part and "no " not in part.lower()
            ]
            if "," in sentence:
                assert re.search(words, sentence.rsplit(",")[-1]), sentence
                said[words] += 1
    assert len(said) == 3
    assert 8 <= max(said.values()) <= 35  # a third of the readers compare


# Files


def test_the_annotation_has_r2gens_layout(written):
    splits = json.loads((written / "annotation.json").read_text())
    plans = {plan.study_id: plan for plan in plan_dataset(SMALL)}
    assert [len(splits[split]) for split in ("train", "val", "test")] == [19, 1, 4]
    for split, items in splits.items():
        for item in items:
            assert set(item) == {"id", "report", "image_path", "split", "labels", "patient"}
            assert item["split"] == split
            assert item["labels"] == plans[item["id"]].labels
            assert item["image_path"] == [f"{split}/{item['id']}.png"]
            with Image.open(written / "images" / item["image_path"][0]) as image:
                assert (image.mode, image.size) == ("L", (48, 48))


def test_images_are_drawn_with_the_difficulty_asked_for(tmp_path):
    options = replace(SMALL, num_studies=3, val_share=0.34, test_share=0.34, readers=0)
    for difficulty in (0.3, 2.0):
        folder = write_synthetic_dataset(tmp_path / str(difficulty), replace(options, difficulty=difficulty), 1).parent
        for plan in plan_dataset(options):
            with Image.open(folder / "images" / plan.split / f"{plan.study_id}.png") as image:
                np.testing.assert_array_equal(np.asarray(image), draw_study(plan, 48, difficulty)[0])


def test_masks_of_the_drawn_signs_stand_beside_the_images(written):
    drawn = 0
    for plan in plan_dataset(SMALL):
        with np.load(written / "masks" / plan.split / f"{plan.study_id}.npz") as masks:
            assert set(masks) == {CONDITIONS[sign.condition].replace("/", " ") for sign in plan.signs}
            assert all(masks[name].shape == (24, 24) and masks[name].any() for name in masks)
            drawn += len(masks)
    assert drawn > 10


@pytest.mark.slow
def test_the_same_bytes_whatever_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "_WORTHWHILE", 10)
    options = replace(SMALL, num_studies=30)
    for workers in (1, 2):
        write_synthetic_dataset(tmp_path / str(workers), options, workers)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")
    assert len(files_of(tmp_path / "1")) == 30 * 2 + 2


def test_another_seed_gives_other_images(written, tmp_path):
    other = write_synthetic_dataset(tmp_path / "other", replace(SMALL, seed=8), workers=1).parent
    ours, theirs = files_of(written / "images"), files_of(other / "images")
    assert not {*ours.values()} & {*theirs.values()}


def test_jpeg_images(tmp_path):
    options = replace(SMALL, num_studies=3, val_share=0.34, test_share=0.34, image_format="jpg")
    annotation = write_synthetic_dataset(tmp_path, options, workers=1)
    (item,) = json.loads(annotation.read_text())["val"]
    with Image.open(tmp_path / "images" / item["image_path"][0]) as image:
        assert (image.format, image.mode) == ("JPEG", "L")


def test_a_finished_data_set_is_reused(written):
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert write_synthetic_dataset(written, SMALL, workers=1) == written / "annotation.json"
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


def test_an_interrupted_run_is_continued(written):
    complete = files_of(written)
    images = sorted((written / "images").rglob("*.png"))
    kept = images[0].stat().st_mtime_ns
    images[1].unlink()
    images[2].write_bytes(images[2].read_bytes()[:200])
    next((written / "masks" / "test").iterdir()).unlink()
    (written / "annotation.json").unlink()
    write_synthetic_dataset(written, SMALL, workers=1)
    assert files_of(written) == complete
    assert images[0].stat().st_mtime_ns == kept


def test_another_data_set_in_the_folder_is_not_touched(written):
    before = files_of(written)
    with pytest.raises(UserError, match=r"difficulty 0\.5 instead of 2\.0: remove the folder or give another one"):
        write_synthetic_dataset(written, replace(SMALL, difficulty=2.0), workers=1)
    assert files_of(written) == before


def test_a_folder_from_before_there_were_readers_is_one_without(tmp_path):
    written = write_synthetic_dataset(tmp_path, replace(SMALL, readers=0), workers=1).parent
    former = json.loads((written / "synthetic_options.json").read_text())
    del former["readers"]
    (written / "synthetic_options.json").write_text(json.dumps(former))
    write_synthetic_dataset(tmp_path, replace(SMALL, readers=0), workers=1)
    with pytest.raises(UserError, match="readers 0 instead of 100"):
        write_synthetic_dataset(tmp_path, SMALL, workers=1)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "annotation.json").write_text("{}")
    with pytest.raises(UserError, match="give another folder"):
        write_synthetic_dataset(tmp_path, SMALL, workers=1)
    assert (tmp_path / "annotation.json").read_text() == "{}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_studies": 2},
        {"val_share": 0.6, "test_share": 0.4},
        {"val_share": -0.1},
        {"image_size": 16},
        {"difficulty": 0.0},
        {"difficulty": float("nan")},
        {"seed": -1},
        {"image_format": "tiff"},
        {"readers": -1},
    ],
    ids=str,
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(reversed(wrong))}.*: ?give|{next(iter(wrong))}.* give"):
        SyntheticOptions(**wrong)


def test_the_contact_sheet_is_small_and_full(tmp_path):
    path = tmp_path / "docs" / "sheet.jpg"
    draw_contact_sheet(path, seed=1, image_size=96)
    assert path.stat().st_size < 200_000
    with Image.open(path) as sheet:
        assert (sheet.format, sheet.width) == ("JPEG", 7 * 96)
        coloured = np.ptp(np.asarray(sheet.convert("RGB")).astype(int), axis=2) > 35
    columns = coloured.reshape(sheet.height, 7, 96).any(axis=2)
    top, bottom = columns[: sheet.height // 2].any(axis=0), columns[sheet.height // 2 :].any(axis=0)
    assert top.all()
    assert bottom.tolist() == [True] * 6 + [False]  # the last example shows nothing
