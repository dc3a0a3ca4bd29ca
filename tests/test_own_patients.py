"""modules/preparation/raw/own_patients.py: columns of one's own table that may name patients are asked about, others are not."""

import csv
import hashlib
import json
import random
import re

import pytest
from programs import call, refused

import main_prepare
from modules.messages import UserError
from modules.options.preparation_flags import RawOptions
from modules.preparation.raw.custom import read_custom

CONDITIONS = ("Atelectasis", "Cardiomegaly", "Edema", "Effusion", "Fracture", "Hernia", "Mass", "Nodule", "Opacity",
              "Pneumonia", "Pneumothorax", "Scar", "No Finding", "Device")  # fmt: skip
FIRST = ["Anna", "Bert", "Carl", "Dora", "Emil", "Frida", "Gustav", "Hanna", "Ingo", "Jana"]


def write(folder, /, **columns):
    """A table with these columns beside images and reports."""
    count = len(next(iter(columns.values())))
    rows = [{"id": f"s{n}", "image_path": f"{n}.png", "report": "Clear."} for n in range(count)]
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*dict.fromkeys([*rows[0], *columns])])
        writer.writeheader()
        writer.writerows(row | {name: column[n] for name, column in columns.items()} for n, row in enumerate(rows))
    return folder / "t.csv"


def read(path, **options):
    return read_custom(path, RawOptions(**options), with_images=False, seed=1)


def hashed(patient):
    return hashlib.sha1(str(patient).encode()).hexdigest()[:10]


OF_PERSONS = {
    "hashes": hashed,
    "names": lambda patient: FIRST[patient % 10] + " " + FIRST[patient // 10 % 10],
    "archive": lambda patient: f"{FIRST[patient // 10 % 10]}^{FIRST[patient % 10]}",
    "numbers": lambda patient: str(patient + 1),
}


@pytest.mark.parametrize("rows", [12, 80, 400])
@pytest.mark.parametrize(
    "heading",
    ["participant", "subject_hash", "PatientSecret", "patient_alias", "subj", "Pt", "individual", "pseudonym", "empi", "Proband", "paziente"],
)  # fmt: skip
@pytest.mark.parametrize("kind", OF_PERSONS)
def test_a_heading_with_a_word_for_a_person_is_asked_about_whatever_stands_below(tmp_path, kind, heading, rows):
    path = write(tmp_path, **{heading: [OF_PERSONS[kind](n // 4) for n in range(rows)]})
    with pytest.raises(UserError, match=rf"'{heading}' looks like one: .*--patient_column NAME"):
        read(path)


@pytest.mark.parametrize("heading", ["ssn", "zz"])
def test_numbers_with_hyphens_are_no_dates(tmp_path, heading):
    path = write(tmp_path, **{heading: [f"123-45-{1000 + n // 2}" for n in range(40)]})
    with pytest.raises(UserError, match=rf"'{heading}' looks like one"):
        read(path)


def test_what_is_so_or_not_of_a_patient_is_no_name(tmp_path):
    read(write(tmp_path, patient_ventilated=["yn"[n % 3 > 0] for n in range(40)]))


@pytest.mark.parametrize(
    "heading",
    ["history number", "Case History No.", "hospital number", "HospitalNo", "unit number", "X-Ray Number", "folio", "dossier", "Aktenzeichen",
     "Fallnummer", "folder", "film jacket", "chart no", "record number", "medical record", "registration no", "clinic number", "visit id",
     "insurance number", "MR#", "file no", "expediente", "Patient Case", "patient code", "PatientIdentifier"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["hashes", "numbers"])
@pytest.mark.parametrize("rows", [12, 80])
def test_the_number_under_which_a_hospital_files_a_person_is_asked_about(tmp_path, rows, kind, heading):
    with pytest.raises(UserError, match=f"'{heading}' looks like one"):
        read(write(tmp_path, **{heading: [OF_PERSONS[kind](n // 4) for n in range(rows)]}))


@pytest.mark.parametrize(
    "heading",
    ["hospital_patient_id", "ptid", "PTNO", "患者ID", "病人编号", "Hospital Patient No", "site subject id", "source_patient_id", "dataset_patient_id", "image_patient_id",
     "report_patient_id", "clinic_patient_no", "batch_subject_id", "Patient ID (hospital)", "patient_id_site", "patient_key_source",
     "PatientIDSite", "patientid_hospital", "ward_patient_name", "site_patient_code", "Hospital MRN", "site_pseudonym", "Patient's ID (hospital)",
     "id_patient_hospital", "ID of the patient (site)", "view_subject_key"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["P{:03d}", "{}"])
def test_an_id_of_persons_beside_a_place_or_a_thing_is_asked_about_however_short(tmp_path, form, heading):
    """Patients lay in two splits."""
    for rows in (8, 24):
        path = write(tmp_path, **{heading: [form.format(n // 2 + 11) for n in range(rows)]})
        with pytest.raises(
            UserError, match=f"'{re.escape(heading)}' looks like one|\"{re.escape(heading)}\" looks like one"
        ):
            read(path)


OF_SEVERAL = {
    "room": "R1 R2 R3 R4", "room number": "101 102 1203", "resolution": "2544x3056 3056x2544 2022x2022", "cpt": "71045 71046 71047",
    "zip": "10115 10117 80331", "zip code": "10115 10117 80331", "postcode": "SW1A E1 N1", "PostalCode": "10115 10117 80331",
    "software": "v1.2.3 v2.0.1 v3.1.0", "SoftwareVersions": "VF10 VG11 VE12", "version": "v1 v2 v3", "batch": "b1 b2 b3", "batch number": "1 2 3",
    "bed": "B1 B2 B3", "bed no": "B1 B2 B12", "accession prefix": "A12 B34 C56", "hospital id": "h1 h2 h3", "wing": "W1 W2 W3", "grid": "g1 g2 g3",
    "plate id": "P1 P2 P3", "drg": "D101 D102 D103", "release": "r1 r2 r3", "visit number": "1 2 3", "transfer syntax": "1.2.840.10008.1.2 "
    "1.2.840.10008.1.2.1 1.2.840.10008.1.2.4.90", "covid": "0 1 2", "steroid": "0 1 2", "patient intubated": "0 1 2", "PatientIntubated": "yes no unknown",
    "patient_intubated": "0 1", "patient on ventilator": "0 1 2", "Patient Position": "HFS FFS HFP", "patient orientation": "L\\F R\\F A\\F",
    "patient class": "I O E", "patient covid": "yes no", "patient location": "W1 W2 W3", "patient group": "g1 g2 g3", "patient has pacemaker": "0 1 2",
    "subject rotated": "0 1 2", "patient pregnant": "y n unk", "patient sex code": "1 2 3",
    "room id": "r1 r2 r3", "batch_no": "b1 b2 b3", "hospital_id": "h1 h2 h3", "report_version_id": "r1 r2 r3", "patient_room_id": "r1 r2 r3",
    "patient_no_finding": "0 1", "no_patient_motion": "a b c", "patient postcode": "E1 N1 W1", "patient_id_site": "0 1", "inpatient_ward": "w1 w2 w3",
    "Age of patient": "34 71 55", "position_of_patient": "HFS FFS HFP", "patient_no_findings": "0 1 2", "patient_key_findings": "a b c",
    "images per patient": "1 2 3", "patient_num_images": "1 2 3", "DistanceSourceToPatient": "180 182 100", "患者年龄": "34 71 55", "history_of_patient": "a b c",
}  # fmt: skip


@pytest.mark.parametrize("heading", OF_SEVERAL)
def test_a_small_table_is_not_asked_what_several_patients_share_nor_what_is_told_of_one(tmp_path, heading):
    for rows in (6, 12, 24):
        values = OF_SEVERAL[heading].split() * rows
        for seed in range(3):
            drawn = random.Random(seed).sample(values, rows)
            assert len(read(write(tmp_path, **{heading: drawn})).studies) == rows


@pytest.mark.parametrize("heading", ["hospital id", "patient location", "patient on ventilator", "zz"])
def test_long_numbers_that_repeat_are_asked_about_where_short_ones_are_not(tmp_path, heading):
    with pytest.raises(UserError, match=f"'{heading}' looks like one"):
        read(write(tmp_path, **{heading: [str(100000 + 7 * (n // 4)) for n in range(12)]}))
    assert len(read(write(tmp_path, **{heading: [f"a{n // 4}" for n in range(12)]})).studies) == 12


def test_whole_numbers_that_pandas_wrote_beside_gaps_are_numbers(tmp_path):
    values = ["" if n % 7 == 0 else f"{100000 + 7 * (n // 4)}.0" for n in range(24)]
    with pytest.raises(UserError, match="'zz' looks like one"):
        read(write(tmp_path, zz=values))


def test_short_codes_of_patients_with_few_and_many_studies_are_asked_about_under_any_heading(tmp_path):
    counts = (1, 5, 2, 3, 1, 1, 4, 2, 1, 6)
    with pytest.raises(UserError, match="'zz' looks like one"):
        read(write(tmp_path, zz=[f"p{n}" for n, count in enumerate(counts) for _ in range(count)]))


@pytest.mark.parametrize("heading", ["hash", "anon", "identifier", "token", "GRDN", "family", "ref", "zz"])
@pytest.mark.parametrize("rows", [12, 80, 400])
def test_hashes_that_repeat_as_patients_do_are_asked_about_under_any_heading(tmp_path, rows, heading):
    with pytest.raises(UserError, match=f"'{heading}' looks like one"):
        read(write(tmp_path, **{heading: [hashed(n // 4) for n in range(rows)]}))


@pytest.mark.parametrize("kind", OF_PERSONS)
def test_names_and_counts_that_repeat_evenly_are_asked_about_under_any_heading(tmp_path, kind):
    with pytest.raises(UserError, match="'wer' looks like one"):
        read(write(tmp_path, wer=[OF_PERSONS[kind](n // 4) for n in range(80)]))


def ordinary(count, draw):
    """Columns of a table that name nobody."""

    def some(*values):
        return [draw.choice(values) for _ in range(count)]

    def numbers(low, high):
        return [str(draw.randint(low, high)) for _ in range(count)]

    first_often = [1 / (place + 1) for place in range(len(CONDITIONS))]
    return {
        "sex": some("M", "F"), "Patient Gender": some("M", "F"), "age": numbers(0, 95), "Patient Age": numbers(0, 95),
        "patientage": numbers(20, 60), "PatientBirthDate": numbers(1930, 1990), "view": some("PA", "AP", "LATERAL", "LL"),
        "ViewPosition": some("PA", "AP", "LATERAL"), "hospital": some("North General", "St Mary", "City Clinic", "West", "Hill"),
        "department": some("ICU", "ER", "Ward 3", "Ward 4", "Oncology"), "scanner model": some("DX-D300", "XR656", "Ysio-Max", "DRX-1"),
        "ManufacturerModelName": some("DX-D300", "XR656", "AeroDR"), "scanner": some("s1", "s2", "s3"), "reader": some(*FIRST),
        "radiologist name": some(*FIRST), "date": [f"2019-0{a}-0{b}" for a, b in zip(numbers(1, 3), numbers(1, 9), strict=True)],
        "acquired": [f"{a}/{b}/2019" for a, b in zip(numbers(1, 9), numbers(1, 3), strict=True)],
        "at": [f"10:{minute}:00" for minute in numbers(10, 30)], "StudyTime": numbers(80000, 80020), "Rows": some("2544", "3056", "2022"),
        "width": numbers(2000, 2030), "kVp": numbers(70, 125), "dose": [f"{draw.random():.1f}" for _ in range(count)],
        "probability": [f"{draw.randint(1, 9)}e-0{draw.randint(3, 5)}" for _ in range(count)],
        "indication": draw.choices(CONDITIONS, first_often, k=count), "main": draw.choices(CONDITIONS, first_often, k=count),
        "pathology": some(*CONDITIONS), "Befund": some("Normal chest.", "The heart is enlarged. No effusion.", "Clear lungs."),
        "race": some("White", "Black", "Asian"), "quality": some("good", "poor", "fair"), "portable": some("True", "False"),
        "md5": [hashed(n // 2) for n in range(count)], "remark": some("", "", "", "check again"), "inpatient": some("yes", "no"),
        **{condition: some("0", "1") for condition in CONDITIONS},
    }  # fmt: skip


@pytest.mark.parametrize("rows", [6, 12, 40, 120, 600])
def test_ordinary_columns_are_not_asked_about(tmp_path, rows):
    for seed in range(3):
        assert len(read(write(tmp_path, **ordinary(rows, random.Random(seed)))).studies) == rows


@pytest.mark.parametrize("by", ["kVp", "width", "pathology", "Patient Age", "StudyTime", "date", "hospital"])
def test_ordinary_columns_of_a_sorted_table_are_not_asked_about(tmp_path, by):
    for rows in (40, 120):
        columns = ordinary(rows, random.Random(0))
        order = sorted(range(rows), key=columns[by].__getitem__)
        table = write(tmp_path, **{heading: [values[n] for n in order] for heading, values in columns.items()})
        assert len(read(table).studies) == rows


def test_the_flag_answers_and_every_column_is_asked_about_at_once(tmp_path):
    count = 40
    columns = {"subj": [hashed(n // 4) for n in range(count)], "pseudonym": [f"{n // 2:08d}" for n in range(count)]}
    path = write(tmp_path, **columns, **ordinary(count, random.Random(0)))
    with pytest.raises(UserError, match="'subj' and 'pseudonym' look like one"):
        read(path)
    dataset = read(path, patient_column="Subj")
    assert "patient from 'subj'" in " ".join(dataset.notes)
    assert len({(study.patient, study.split) for study in dataset.studies}) == count // 4
    assert {study.patient for study in read(path, patient_column="none").studies} == {None}
    with pytest.raises(
        UserError, match=r"--patient_column patients names no column of .*: give the heading of its patients"
    ):
        read(path, patient_column="patients")
    with pytest.raises(UserError, match="--patient_column report is the column of report of"):
        read(path, patient_column="report")


def test_the_program_says_it_in_one_sentence(tmp_path, capsys):
    path = write(tmp_path, participant=[hashed(n // 4) for n in range(12)])
    places = ["--ann_path", tmp_path / "a.json", "--image_dir", tmp_path / "i", "--feature_dir", tmp_path / "f"]
    words = "'participant' looks like one: call it patient if it is"
    refused(capsys, words, main_prepare, "--dataset_name", "custom", "--raw_dir", path, "--resize", 32, *places)
    wrong = "--patient_column"
    refused(
        capsys, wrong, main_prepare, "--dataset_name", "iu_xray", "--raw_dir", path, "--patient_column", "a", *places
    )
    call(
        main_prepare,
        "--dataset_name",
        "custom",
        "--raw_dir",
        path,
        "--raw_step",
        "annotation",
        "--patient_column",
        "participant",
        *places,
    )
    splits = json.loads((tmp_path / "a.json").read_text())
    patients = [{study["patient"] for study in splits[split]} for split in splits]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 3


@pytest.mark.parametrize(
    "folder", ["patient0000{}", "patient{}", "p{}", "p1000003{}/s5000000{}", "sub-0{}/ses-01", "CheXpert/train/patient0000{}/study1", "1002003{}"],
)  # fmt: skip
@pytest.mark.parametrize("join", ["/", "\\"])
def test_the_films_of_one_folder_stay_together_where_folders_repeat_as_patients_do(tmp_path, folder, join):
    """The films of one patient were in two splits."""
    paths = [f"{folder.replace('{}', str(n // 3))}/view{n}.png".replace("/", join) for n in range(24)]
    path = write(tmp_path, image_path=paths)
    dataset = read(path)
    assert len({(study.images[0].replace("\\", "/").rsplit("/", 1)[0], study.split) for study in dataset.studies}) == 8
    assert {study.split for study in dataset.studies} == {"train", "val", "test"}
    assert any("no patient column was found: images whose paths begin alike (" in note for note in dataset.notes)
    assert {study.patient for study in read(path, patient_column="none").studies} == {None}
    named = write(tmp_path, image_path=paths, patient=[f"x{n // 4}" for n in range(24)])
    assert {study.patient for study in read(named).studies} == {f"x{n}" for n in range(6)}
    given = write(tmp_path, image_path=paths, split=["train", "val", "test"] * 8)
    assert {study.patient for study in read(given).studies} == {None}


@pytest.mark.parametrize("folder", ["images", "train test val", "covid normal", "images_001 images_002 images_003", "batch_1 batch_2 batch_3",
                                    "2019 2020 2021", "2019/01 2019/02 2019/03", "study1 study2 study3", "north south west", "00 01 02 0a"])  # fmt: skip
def test_other_folders_name_no_patients(tmp_path, folder):
    for rows in (6, 12, 40):
        paths = [f"{random.Random(n).choice(folder.split())}/{n}.png" for n in range(rows)]
        assert {study.patient for study in read(write(tmp_path, image_path=paths)).studies} == {None}


@pytest.mark.parametrize("folder", ["2019/{month:02d}", "cxr/2019/{month:02d}", "2019/{month:02d}/{day:02d}"])
def test_folders_of_months_and_days_name_no_patients(tmp_path, folder):
    """Those of a small archive count from 1 without a gap, as patients do: films were split by month."""
    paths = [f"{folder.format(month=n % 12 + 1, day=n % 28 + 1)}/{n}.png" for n in range(60)]
    assert {study.patient for study in read(write(tmp_path, image_path=paths)).studies} == {None}
    below = [f"2019/01/p{n // 3}/{n}.png" for n in range(60)]  # of patients
    assert len({study.patient for study in read(write(tmp_path, image_path=below)).studies}) == 20


@pytest.mark.parametrize(
    "name",
    [
        "0000000{}_00{}.png",
        "patient{}_{}.png",
        "images/p{}-{}.jpg",
        "sub-0{}_ses-0{}_cxr.png",
        "1002003{}_s{}_view.dcm",
    ],
)
def test_films_whose_names_begin_with_a_patient_stay_together(tmp_path, name):
    paths = [name.replace("{}", str(n // 3), 1).replace("{}", str(n % 3)) for n in range(24)]
    dataset = read(write(tmp_path, image_path=paths))
    assert (
        len({(study.patient, study.split) for study in dataset.studies})
        == len({study.patient for study in dataset.studies})
        == 8
    )


@pytest.mark.parametrize(
    "name", ["img_{}.png", "IM-0001-{}.png", "2020-01-0{}.png", "{}.png", "chest_x-ray_{}.png", "train_{}.png"]
)
def test_other_names_of_films_name_no_patients(tmp_path, name):
    paths = [name.replace("{}", str(n)) for n in range(24)]
    assert {study.patient for study in read(write(tmp_path, image_path=paths)).studies} == {None}


def test_folders_of_one_film_each_are_taken_for_images(tmp_path):
    path = write(tmp_path, image_path=[f"patient{n:05d}/study1/view1.png" for n in range(12)])
    assert {study.patient for study in read(path).studies} == {None}


@pytest.mark.parametrize(
    "heading",
    ["SUBJID", "USUBJID", "PATID", "PATNR", "personid", "RID", "pidm", "indiv", "person_source_value", "identifiant_patient", "patient identification",
     "id_assistito", "pacjent", "пациент"],
)  # fmt: skip
@pytest.mark.parametrize("first", [1, 100])
def test_persons_in_one_word_with_a_number_and_in_other_languages_are_asked_about(tmp_path, heading, first):
    """Seven of eight patients lay in two splits."""
    values = random.Random(0).sample([str(first + n // 3) for n in range(24)], 24)
    with pytest.raises(UserError, match=f"'{heading}' looks like one"):
        read(write(tmp_path, **{heading: values}))


@pytest.mark.parametrize(
    "heading", ["GRID", "patience", "pattern", "ptosis", "individuality", "indication", "hybrid", "zz"]
)
def test_words_that_hold_the_letters_of_a_person_name_nobody(tmp_path, heading):
    values = random.Random(0).choices("abc", k=24)
    assert len(read(write(tmp_path, **{heading: values})).studies) == 24


@pytest.mark.parametrize("first", [1, 100])
def test_numbers_that_stand_together_in_a_table_written_patient_by_patient_are_asked_about(tmp_path, first):
    numbers = [str(first + n // 3) for n in range(24)]
    with pytest.raises(UserError, match="'zz' looks like one"):
        read(write(tmp_path, zz=numbers))
    for others in (
        random.Random(0).sample(numbers, 24),  # scattered
        [str(2010 + n // 3) for n in range(24)],  # years
        [f"2019010{1 + n // 3}" for n in range(24)],  # days
        [f"{n // 3 / 10:.1f}" for n in range(24)],  # measures
        [str(n // 6) for n in range(24)],  # few
        [str(100 + n - (n > 4)) for n in range(24)],  # nearly all different
    ):
        assert len(read(write(tmp_path, zz=others)).studies) == 24


def test_a_column_of_patients_that_divides_what_another_one_joins_is_asked_about(tmp_path):
    """A number of the row, called patient_id, put seven of eight patients into two splits."""
    count, alone = 24, [f"q{n}" for n in range(24)]
    persons = [str(500000 + n // 3) for n in range(count)]
    names = [f"Doe^{FIRST[n // 3]}" for n in range(count)]
    visits = [f"v{n // 2}" for n in range(count)]
    for columns in (
        {"patient_id": alone, "mrn": persons},
        {"subject_id": alone, "patient_name": names},
        {"patient": [""] * count, "participant": persons},
        {"patient_id": visits, "mrn": persons},
    ):
        path = write(tmp_path, **columns)
        taken, other = columns
        with pytest.raises(
            UserError, match=f"columns '{taken}' and '{other}' for the patients, .* give --patient_column"
        ):
            read(path)
        assert len({study.patient for study in read(path, patient_column=other).studies}) == 8
        read(path, patient_column=taken)


def test_columns_beside_that_of_the_patients_are_not_asked_about_without_need(tmp_path):
    count, alone = 40, [f"q{n}" for n in range(40)]
    persons = [str(500000 + n // 3) for n in range(count)]
    for columns in (
        {"patient_id": persons, "mrn": [f"m{n // 3}" for n in range(count)]},  # the same persons
        {"patient_id": [f"{n // 3}.0" for n in range(count)], "mrn": [f"{n // 3:03d}" for n in range(count)]},
        {"patient_id": persons, "patient_name": ["Doe^Jane"] * 4 + [f"Doe^{n // 3}" for n in range(4, count)]},
        {"patient_id": persons, "family": [hashed(n // 6) for n in range(count)]},
        {"patient_id": alone, "subject": ["chest"] * count},
        {"patient_id": alone, "patient_name": [f"Doe^{n}" for n in range(count)]},
        {"patient_id": alone, "staff_id": [f"s{1000 + n // 3}" for n in range(count)]},
        {"patient_id": alone, "ordering_provider": [hashed(n // 3) for n in range(count)]},
        {"patient_id": alone, **ordinary(count, random.Random(0))},
        {"n_words": [str(20 + n // 3) for n in range(count)]},  # by which the table is sorted
        {"num_tokens": [str(20 + n // 3) for n in range(count)]},
    ):
        assert len(read(write(tmp_path, **columns)).studies) == count


@pytest.mark.parametrize(
    "spellings",
    [("DOE, J{}", "DOE,  J{}"), ("DOE^J{}", "DOE^J{}^^^"), ("Doe, J{}", "DOE^J{}"), ("Müller J{}", "Mu\u0308ller J{}")],
)
def test_a_name_with_other_blanks_or_empty_parts_is_one_patient(tmp_path, spellings):
    """Five of eight patients lay in two splits."""
    dataset = read(write(tmp_path, patient=[spellings[n % 2].format(n // 3) for n in range(24)]))
    assert len({study.patient for study in dataset.studies}) == 8
    assert any("8 patients are written in several ways" in note for note in dataset.notes)
    apart = read(write(tmp_path, patient=[f"DOE, J{n // 2} {'AB'[n % 2]}" for n in range(24)]))
    assert len({study.patient for study in apart.studies}) == 24
