"""modules/preparation/raw/images.py: copies that training sees as the originals, and DICOM files."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modules.corpus.dicom import read_dicom, spread
from modules.corpus.dicom_subjects import is_lateral
from modules.corpus.images import read_image, read_resized
from modules.corpus.pixels import of_two_depths, open_image
from modules.messages import UserError
from modules.preparation.raw.images import copy_images, copy_path
from modules.preparation.raw.pixels import shrink

ROOT = Path(__file__).parents[1]


def write_images(folder, count=6, size=(90, 70)):
    """Smooth noise in JPEG, 16-bit PNG and colour PNG files."""
    rng = np.random.default_rng(0)
    names = []
    for i in range(count):
        noise = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        name = f"p{i % 2}/{i}.{('jpg', 'png')[i % 2]}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise.save(folder / name)
        names.append(name)
    return names


def copy(names, source, target, resize=40, suffix="jpg", workers=1):
    return copy_images(names, source, target, resize=resize, suffix=suffix, workers=workers)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("raw", "copied"),
    [
        ("a/1_IM-0001-4001.dcm.png", "a/1_IM-0001-4001.jpg"),
        ("a/b.v2.jpg", "a/b.v2.jpg"),
        ("x.dcm", "x.jpg"),
        ("CXR1_IM-1.png", "CXR1_IM-1.jpg"),
    ],
)
def test_names_of_copies(raw, copied):
    assert copy_path(raw, "jpg") == copied


def test_copies_are_small_gray_and_eight_bit(tmp_path, capsys):
    names = write_images(tmp_path / "raw")
    assert copy(names, tmp_path / "raw", tmp_path / "out") == {}
    for name in names:
        with Image.open(tmp_path / "out" / copy_path(name, "jpg")) as image:
            assert (image.mode, image.size, image.format) == ("L", (51, 40), "JPEG")
    shown = capsys.readouterr().out
    assert "6 of 6 copied" in shown
    assert re.search(r"^copying images: 6 images in .* images/s$", shown, re.MULTILINE)
    copy(names, tmp_path / "raw", tmp_path / "out")
    shown = capsys.readouterr().out
    assert "0 of 6 copied" in shown
    assert "images/s" not in shown


def test_training_sees_the_same_pixels_in_png_copies_as_in_the_originals(tmp_path):
    names = write_images(tmp_path / "raw", size=(900, 700))
    copy(names, tmp_path / "raw", tmp_path / "out", resize=256, suffix="png")
    for name in names:
        original, copied = (read_image(tmp_path / at, 224) for at in (f"raw/{name}", f"out/{copy_path(name, 'png')}"))
        assert (original == copied).all()


def test_small_images_are_not_enlarged():
    assert shrink(Image.new("L", (30, 50)), 40).size == (30, 50)
    assert shrink(Image.new("L", (40, 50)), 40).size == (40, 50)
    assert shrink(Image.new("L", (80, 100)), 40).size == (40, 50)


def test_sixteen_bits_are_spread_over_eight(tmp_path):
    values = np.arange(1000, 1000 + 64 * 64 * 3, 3, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = np.asarray(open_image(tmp_path / "a.png"))
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)
    assert (np.diff(pixels.ravel().astype(int)) >= 0).all()
    assert (spread(np.full((2, 2), 7)) == 0).all()


def test_images_of_eight_and_of_sixteen_bits_are_not_mixed_in_silence(tmp_path, capsys):
    names = write_images(tmp_path / "raw")
    copy(names, tmp_path / "raw", tmp_path / "out")
    assert "bits" not in capsys.readouterr().out
    deep, broken = Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)), tmp_path / "raw" / "broken.png"
    deep.save(tmp_path / "raw" / "deep.png")
    broken.write_bytes(b"")
    copy([*names, "deep.png", "broken.png"], tmp_path / "raw", tmp_path / "out")
    shown = capsys.readouterr().out
    assert "warning: 1 images hold 16 bits, which are spread" in shown
    assert shown.count(f"(first: {tmp_path / 'raw' / 'deep.png'})\n") == 1
    (tmp_path / "raw" / "film.dcm").write_bytes(b"")
    paths = [tmp_path / "raw" / name for name in ("deep.png", "film.dcm")]
    assert of_two_depths(paths) == []  # a DICOM file says how it is shown
    for name in (*names[:2], "not_opened.jpg"):
        assert of_two_depths([*paths, tmp_path / "raw" / name]) == paths[:1]


def test_an_unreadable_image_is_told_and_the_rest_is_copied(tmp_path, capsys):
    names = write_images(tmp_path / "raw")
    path = tmp_path / "raw" / names[2]
    path.write_bytes(path.read_bytes()[:120])
    failures = copy(names, tmp_path / "raw", tmp_path / "out")
    assert list(failures) == [names[2]]
    assert f"the image {path} cannot be decoded" in failures[names[2]]
    assert len([*(tmp_path / "out").rglob("*.jpg")]) == 5
    assert "images: 5 of 6 copied" in capsys.readouterr().out  # all six were said to be


def test_other_flags_and_strange_folders_are_refused(tmp_path):
    names = write_images(tmp_path / "raw")
    copy(names, tmp_path / "raw", tmp_path / "out")
    with pytest.raises(UserError, match="holds copies made with --resize 40 and --copy_format jpg"):
        copy(names, tmp_path / "raw", tmp_path / "out", resize=48)
    with pytest.raises(UserError, match="holds images that are no copies of this program"):
        copy(names, tmp_path / "raw", tmp_path / "raw")
    with pytest.raises(UserError, match=r"1 images of .* differ only in their suffix"):
        copy([*names, "p0/0.png"], tmp_path / "raw", tmp_path / "another")


@pytest.mark.parametrize("place", ["raw", "another"])
def test_copies_of_other_films_with_the_same_names_are_not_taken(tmp_path, place):
    """A second table beside its own images, or films that were exported anew: its reports stood beside the first films."""
    names = write_images(tmp_path / "raw")
    copy(names, tmp_path / "raw", tmp_path / "out")
    before = contents(tmp_path / "out")
    write_images(tmp_path / place)
    film = tmp_path / place / names[3]
    Image.open(film).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(film)
    later = time.time() + 60
    os.utime(film, (later, later))
    with pytest.raises(
        UserError, match=r"1 of 6 images have the names of others .* is no copy of .*3\.png as it is now\)"
    ):
        copy(names, tmp_path / place, tmp_path / "out")
    with pytest.raises(UserError, match="1 of 6 images"):  # nor by repeating the command
        copy(names, tmp_path / place, tmp_path / "out")
    assert {**contents(tmp_path / "out"), "copies.json": ""} == {**before, "copies.json": ""}
    copy(names, tmp_path / place, tmp_path / "new")


def test_copies_may_go_to_another_disk_by_a_link(tmp_path):
    """An empty folder behind a link was said to hold images."""
    names = write_images(tmp_path / "raw")
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    with pytest.raises(UserError, match=r"out is a link to \S+/disk, which is no folder: make it, or remove the link"):
        copy(names, tmp_path / "raw", tmp_path / "out")
    (tmp_path / "disk").mkdir()
    copy(names, tmp_path / "raw", tmp_path / "out")
    assert len([*(tmp_path / "disk").rglob("*.jpg")]) == 6
    (tmp_path / "linked").symlink_to(tmp_path / "raw", target_is_directory=True)
    with pytest.raises(UserError, match="holds images that are no copies of this program"):
        copy(names, tmp_path / "raw", tmp_path / "linked")


def test_a_raw_folder_that_was_moved_or_copied_keeps_its_copies(tmp_path, capsys):
    names = write_images(tmp_path / "raw")
    copy(names, tmp_path / "raw", tmp_path / "out")
    os.rename(tmp_path / "raw", tmp_path / "moved")
    later = time.time() + 60
    os.utime(tmp_path / "moved" / names[0], (later, later))
    before = (tmp_path / "out" / copy_path(names[1], "jpg")).stat().st_ino
    copy(names, tmp_path / "moved", tmp_path / "out")
    assert "0 of 6 copied" in capsys.readouterr().out.splitlines()[-1]
    assert (tmp_path / "out" / copy_path(names[1], "jpg")).stat().st_ino == before
    assert json.loads((tmp_path / "out" / "copies.json").read_text())["source"] == str(tmp_path / "moved")


def test_processes_do_not_change_the_bytes(tmp_path):
    names = write_images(tmp_path / "raw", count=110, size=(30, 20))
    copy(names, tmp_path / "raw", tmp_path / "one", resize=16)
    copy(names, tmp_path / "raw", tmp_path / "two", resize=16, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


SLOW = """
import sys, time
from pathlib import Path
from modules.preparation.raw import images as raw_images
from modules.preparation.raw import pixels as raw_pixels
source, target = map(Path, sys.argv[1:])
shrink = raw_pixels.shrink
def slow(image, size):
    time.sleep(0.05)
    return shrink(image, size)
raw_pixels.shrink = slow
names = sorted(str(p.relative_to(source)) for p in source.rglob("*.*"))
raw_images.copy_images(names, source, target, resize=40, suffix="jpg", workers=1)
"""


def test_a_killed_run_is_continued_to_the_same_bytes(tmp_path):
    names = write_images(tmp_path / "raw", count=40)
    copy(names, tmp_path / "raw", tmp_path / "whole")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "raw"), str(out)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len([*out.rglob("*.jpg")]) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 5 <= len([*out.rglob("*.jpg")]) < 40
    (out / "p0" / ".8.jpg.4711.tmp").write_bytes(b"half an image")  # what a kill between two writes leaves
    assert json.loads((out / "copies.json").read_text())["finished"] is False
    copy(names, tmp_path / "raw", out)
    assert contents(out) == contents(tmp_path / "whole")


# DICOM


def write_dicom(path, values, syntax="1.2.840.10008.1.2.1", content=None, **tags):
    """A small DICOM file; ``content`` stands in its compressed place, else it is uncompressed."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = values.shape[:2] if tags.get("SamplesPerPixel") == 3 else values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    for name, value in tags.items():
        setattr(data, name, value)
    kind = np.uint8 if data.BitsAllocated == 8 else np.uint16
    data.PixelData = values.astype(kind).tobytes() if content is None else encapsulate([content])
    data.save_as(path, enforce_file_format=True)
    assert pydicom.dcmread(path).Rows == data.Rows
    return path


COLOUR = {
    "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8,
    "BitsStored": 8, "HighBit": 7,
}  # fmt: skip


def lookup(first, entries, bits=16, packed=None):
    """A lookup table as DICOM files hold it: as numbers, or as bytes of the type ``packed``."""
    from pydicom import Dataset

    table = Dataset()
    table.LUTDescriptor, numbers = [len(entries), first, bits], [int(entry) for entry in entries]
    if packed:
        table.add_new("LUTData", "OW", np.array(numbers, dtype=packed).tobytes())
    else:
        table.add_new("LUTData", "US", numbers)
    return [table]


RAMP = np.arange(0, 4096, 16).reshape(16, 16)


def test_dicom_values_are_spread_and_inverted_where_low_is_white(tmp_path):
    plain = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP)))
    assert (plain[0, 0], plain[-1, -1], plain.dtype) == (0, 255, np.uint8)
    inverted = np.asarray(read_dicom(write_dicom(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")))
    assert (inverted == 255 - plain).all()


@pytest.mark.parametrize("modality", ["CT", "US", "MR", "MG", "SR", "RTDOSE"])
def test_what_is_no_radiograph_is_refused(tmp_path, modality):
    with pytest.raises(UserError, match=rf"is of the modality {modality}, expected a radiograph"):
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, Modality=modality))
    for film in ("DX", "CR", "RF", "OT", ""):
        read_dicom(write_dicom(tmp_path / "b.dcm", RAMP, Modality=film))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"BodyPartExamined": "HAND"}, r"another part of the body \(BodyPartExamined HAND\), expected the chest"),
        ({"BodyPartExamined": "Left Knee"}, "another part of the body"),
        ({"BodyPartExamined": "LT_ANKLE AP"}, "another part of the body"),
        ({"BodyPartExamined": "ABDOMEN"}, "another part of the body"),
        *[({"BodyPartExamined": part}, "another part of the body")
          for part in ("ARM", "ABDOMENPELVIS", "HEADNECK", "NECK", "EAR", "EYE", "LIVER", "L SPINE", "L-SPINE", "LUMBAR SPINE", "C SPINE", "CERVICAL SPINE",
                       "LSSPINE", "LOW_EXM", "UP_EXM", "HANDWRIST", "ABD", "AP L SPINE")],
        ({"Modality": "OT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "is stored as CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1"}, "is stored as MR"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"}, "is stored as mammography"),
        ({"PixelAspectRatio": ["1", "2"]}, "pixels that are not square"),
        ({"PixelSpacing": [0.1, 0.2]}, r"pixels that are not square \(PixelSpacing 0.1:0.2\)"),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, "pixels that are not square"),
        ({"PhotometricInterpretation": ""}, "does not say its PhotometricInterpretation"),
        ({"BitsStored": None, "PixelRepresentation": None}, "does not say its BitsStored and PixelRepresentation"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")  # pydicom warns when such a file is written
def test_what_is_no_film_of_a_chest_or_lacks_what_is_needed_is_refused(tmp_path, tags, words):
    with pytest.raises(UserError, match=words):
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, **tags))


@pytest.mark.filterwarnings("ignore")  # pydicom warns when such a file is written
def test_what_archives_call_a_chest_is_read(tmp_path):
    """Also what says nothing, and what names the chest beside other parts."""
    for part in ("", "CHEST", "THORAX", "PORT CHEST", "CHEST_TO_PELVIS", "CHESTABDOMEN", "LUNG", "RIB", "TSPINE", "HEADNECKTHORAX", "Thorax a.p.", "DEFAULT", "BABYGRAM",
                 "ABDOMEN AND CHEST", "SHOULDER", "PORT", "LEFT", "CHEST ABDOMEN", "CHEST NECK", "CHESTABDPELVIS", "T SPINE", "T-SPINE", "THORACIC SPINE", "TLSPINE",
                 "T L SPINE", "SPINE", "LAT SPINE", "LL SPINE", "VIEWS SPINE", "WHOLE SPINE", "THORACIC AND LUMBAR SPINE", "HEART", "C-ARM", "RIBS", "STERNUM",
                 "CLAVICLE", "SCAPULA", "TRUNK", "ACUTE ABDOMEN SERIES"):  # fmt: skip
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, BodyPartExamined=part))
    for end in (
        "1",
        "1.1",
        "1.1.1",
        "7",
        "12.2",
        "481.1",
    ):  # CR, DX, secondary captures, fluoroscopy, images of radiotherapy
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{end}"))
    for sides in (["1", "1"], ["", ""], ["0", "0"], "1"):
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, PixelAspectRatio=sides))
    for spacing in ([0.139, 0.139], [0.1, 0.10001], [0, 0], 0.1, None):
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, PixelSpacing=spacing, ImagerPixelSpacing=spacing))


@pytest.mark.filterwarnings("ignore")  # pydicom warns when such a file is written
def test_views_are_lateral_by_what_the_file_says(tmp_path):
    from pydicom.dataset import Dataset

    views = {
        "LL": True,
        "RL": True,
        "LATERAL": True,
        "LEFT LATERAL": True,
        "AP": False,
        "PA": False,
        "LLD": False,
        "": False,
        "AP LAT DECUB": False,
    }
    found = {view: is_lateral(write_dicom(tmp_path / "a.dcm", RAMP, ViewPosition=view)) for view in views}
    assert found == views
    for position, meaning, lateral in (
        ("", "left lateral", True),
        ("", "postero-anterior", False),
        ("PA", "lateral", False),
    ):
        code = Dataset()
        code.CodeMeaning = meaning
        tags = {"ViewPosition": position, "ViewCodeSequence": [code]}
        assert is_lateral(write_dicom(tmp_path / "a.dcm", RAMP, **tags)) == lateral
    (tmp_path / "a.dcm").write_bytes(b"cut")
    assert not is_lateral(tmp_path / "a.dcm")


def test_a_file_that_contradicts_itself_in_what_is_white_is_refused(tmp_path):
    with pytest.raises(UserError, match="contradict each other"):
        read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, PresentationLUTShape="INVERSE"))
    both = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    plain = np.asarray(read_dicom(write_dicom(tmp_path / "b.dcm", RAMP, PresentationLUTShape="IDENTITY")))
    assert (np.asarray(read_dicom(write_dicom(tmp_path / "c.dcm", RAMP, **both))) == 255 - plain).all()


def test_dicom_window_cuts_values_off(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2048, WindowWidth=1024)
    pixels = np.asarray(read_dicom(path))
    assert (pixels[RAMP < 1500] == 0).all()
    assert (pixels[RAMP > 2600] == 255).all()
    middle = pixels[(RAMP > 1600) & (RAMP < 2500)].astype(int)
    assert (np.diff(middle) > 0).all()


def test_dicom_window_counts_rescaled_values(tmp_path):
    path = write_dicom(
        tmp_path / "a.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=1000
    )
    pixels = np.asarray(read_dicom(path))
    rescaled = RAMP * 2 - 1000
    assert (pixels[rescaled < -510] == 0).all()
    assert (pixels[rescaled > 510] == 255).all()


def framed_film(dark=0, exposed=0):
    """A film of 12 bits between 900 and 3000, with rows of dim noise at its side and of saturated exposure around it."""
    rng = np.random.default_rng(0)
    film = rng.integers(900, 3000, (100, 80))
    film[:dark] = rng.integers(0, 200, (dark, 80))
    film[100 - exposed :] = rng.choice([4090, 4095], (exposed, 80))
    return film


@pytest.mark.parametrize(
    ("center", "width"), [(128, 256), (40, 400), (127.5, 255), ([40, 2048], [400, 4096]), (20000, 100), (0, 1)]
)
@pytest.mark.parametrize("frame", [{}, {"dark": 40}, {"exposed": 40}])
def test_a_window_of_other_values_than_the_films_is_refused(tmp_path, center, width, frame):
    """That of 8 bits or of a CT made a film of 12 bits black and white without a word."""
    path = write_dicom(tmp_path / "a.dcm", framed_film(**frame), WindowCenter=center, WindowWidth=width)
    with pytest.raises(
        UserError, match=r"a\.dcm has the window .* which is not that of its values: .* export it again"
    ):
        read_dicom(path)


@pytest.mark.parametrize(
    ("frame", "window"),
    [
        ({}, {"WindowCenter": 2000, "WindowWidth": 1000}),
        ({"dark": 60}, {"WindowCenter": 2000, "WindowWidth": 2000}),
        ({"exposed": 85}, {"WindowCenter": 2000, "WindowWidth": 1500}),  # a small child on a large detector
        ({}, {"WindowCenter": 2000, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"}),
    ],
)
def test_a_narrow_window_of_the_film_is_taken(tmp_path, frame, window):
    film = framed_film(**frame)
    pixels = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", film, **window)))
    assert len(np.unique(pixels[(film > 900) & (film < 3000)])) > 100


@pytest.mark.parametrize("rescaled", [{}, {"RescaleSlope": 1, "RescaleIntercept": 0}])
@pytest.mark.parametrize(("bits", "packed"), [(8, None), (16, None), (8, "u1"), (8, "<u2"), (16, "<u2")])
@pytest.mark.filterwarnings("error")
def test_dicom_table_stands_before_the_window_and_is_inverted_too(tmp_path, bits, packed, rescaled):
    """A table of 1,024 entries from 1,000 on: what lies below has its first entry, what lies above its last."""
    curve = np.linspace(0, 1, 1024) ** 2
    tags = {
        "VOILUTSequence": lookup(1000, curve * (2**bits - 1), bits, packed),
        "WindowCenter": 50,
        "WindowWidth": 10,
        **rescaled,
    }
    pixels = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, **tags)))
    expected = 255 * curve[(RAMP - 1000).clip(0, 1023)]
    assert abs(pixels - expected).max() <= 1
    inverted = read_dicom(write_dicom(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **tags))
    assert (np.asarray(inverted) == 255 - pixels).all()


def test_dicom_table_counts_rescaled_values(tmp_path):
    """In a file of implicit types, which does not say either whether the entries are numbers or bytes."""
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "VOILUTSequence": lookup(0, [*range(1000), *[5000] * 24])}
    pixels = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, "1.2.840.10008.1.2", **tags)))
    rescaled = RAMP * 2 - 1000
    assert (pixels[rescaled <= 0] == 0).all()
    assert (pixels[rescaled >= 1000] == 255).all()
    assert (pixels[(rescaled > 900) & (rescaled < 1000)] < 52).all()


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 100, "WindowWidth": 0},
        {"ModalityLUTSequence": lookup(0, range(16), bits=3)},
    ],
)
def test_a_table_or_window_that_cannot_be_applied_is_told(tmp_path, tags):
    path = write_dicom(tmp_path / "a.dcm", RAMP, **tags)
    with pytest.raises(
        UserError, match=r"a\.dcm has a lookup table or window that cannot be applied .*: export it again"
    ):
        read_dicom(path)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_stays_as_in_a_png_of_it(tmp_path, planar):
    colours = np.random.default_rng(0).integers(0, 256, (12, 10, 3))
    colours[0, :2] = [[0] * 3, [255] * 3]
    path = write_dicom(tmp_path / "a.dcm", colours, **{**COLOUR, "PlanarConfiguration": planar})
    if planar:
        import pydicom

        data = pydicom.dcmread(path)
        data.PixelData = colours.transpose(2, 0, 1).astype(np.uint8).tobytes()
        data.save_as(path)
    Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "a.png")
    assert (np.asarray(read_dicom(path)) == np.asarray(open_image(tmp_path / "a.png"))).all()


def test_luminance_and_chrominance_become_grey(tmp_path):
    values = np.full((16, 16, 3), 128)
    values[..., 0] = RAMP // 16
    path = write_dicom(tmp_path / "a.dcm", values, **{**COLOUR, "PhotometricInterpretation": "YBR_FULL"})
    assert abs(np.asarray(read_dicom(path)) - RAMP // 16).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_its_colours(tmp_path, bits):
    """Grey ones give a grey image; one that is not there is told."""
    indices = RAMP // 16
    palettes = {"Red": range(255, -1, -1), "Green": range(255, -1, -1), "Blue": range(255, -1, -1)}

    def tags(palettes):
        scale = 257 if bits == 16 else 1
        kind = np.uint16 if bits == 16 else np.uint8
        found = {"PhotometricInterpretation": "PALETTE COLOR", "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
        for name, entries in palettes.items():
            found[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
            found[f"{name}PaletteColorLookupTableData"] = (np.array(entries) * scale).astype(kind).tobytes()
        return found

    grey = read_dicom(write_dicom(tmp_path / "a.dcm", indices, **tags(palettes)))
    assert grey.mode == "L"
    assert (np.asarray(grey) == 255 - indices).all()
    colour = np.asarray(read_dicom(write_dicom(tmp_path / "b.dcm", indices, **tags(palettes | {"Blue": [7] * 256}))))
    assert (colour == np.stack([255 - indices, 255 - indices, np.full_like(indices, 7)], axis=-1)).all()
    path = write_dicom(tmp_path / "c.dcm", RAMP, PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(UserError, match="has a palette that cannot be applied"):
        read_dicom(path)


@pytest.mark.parametrize("allocated", [8, 16])
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_eight_bits_that_nothing_changes_stay_as_in_a_png_of_them(tmp_path, kind, allocated):
    """A dim film stays dim, whichever file it comes in and however wide its values are stored."""
    values = RAMP // 32 + 20
    eight = {"BitsAllocated": allocated, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": kind}
    shown = 255 - values if kind == "MONOCHROME1" else values
    same = {"RescaleSlope": 1, "RescaleIntercept": 0}
    whole = {"WindowCenter": 128, "WindowWidth": 256}
    windows = [{"WindowCenter": centre, "WindowWidth": 255} for centre in (127, 127.5, 128)]  # the same, rounded
    for more in ({}, same, whole, same | whole, *windows):
        assert (np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", values, **eight, **more))) == shown).all()


def test_a_moving_picture_is_refused(tmp_path):
    frames = [Image.new("L", (30, 30), value) for value in (10, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="holds 2 frames, expected one"):
        open_image(tmp_path / "a.png")


def test_a_compression_that_is_known_is_decoded(tmp_path):
    import pydicom
    from pydicom.uid import RLELossless

    plain = write_dicom(tmp_path / "a.dcm", RAMP)
    data = pydicom.dcmread(plain)
    data.compress(RLELossless)
    data.save_as(tmp_path / "b.dcm")
    assert (np.asarray(read_dicom(tmp_path / "b.dcm")) == np.asarray(read_dicom(plain))).all()


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.10008.1.2.5", "copy it again"),  # run lengths, which are always known
        ("1.2.840.10008.1.2.4.70", "install pylibjpeg, pylibjpeg-libjpeg"),  # lossless JPEG, as of many detectors
        (
            "1.2.840.10008.1.2.4.51",
            "copy it again; if that does not help, install pylibjpeg",
        ),  # may be of 12 bits, which Pillow knows not
        ("1.2.840.10008.1.2.4.100", "export it without compression"),  # a film
    ],
)
def test_a_compression_that_cannot_be_decoded_is_told_and_the_rest_is_copied(tmp_path, monkeypatch, syntax, words):
    from pydicom.pixels.common import CoderBase

    if "pylibjpeg" in words:  # whatever is installed here
        available = {"pillow": None} if words.startswith("copy") else {}
        monkeypatch.setattr(CoderBase, "_available", property(lambda coder: available), raising=False)
    (tmp_path / "raw").mkdir()
    write_dicom(tmp_path / "raw/a.dcm", RAMP, syntax, content=b"\x01\x00 not pixels ")
    write_dicom(tmp_path / "raw/b.dcm", RAMP)
    failures = copy(["a.dcm", "b.dcm"], tmp_path / "raw", tmp_path / "out")
    assert (tmp_path / "out/b.jpg").is_file()
    (sentence,) = failures.values()
    assert re.search(rf"^the image .*a\.dcm cannot be decoded \(.*\): {words}", sentence), sentence
    assert "\n" not in sentence


def test_dicom_is_copied_like_any_image(tmp_path):
    (tmp_path / "raw").mkdir()
    write_dicom(tmp_path / "raw" / "a.dcm", np.tile(RAMP, (4, 5)))
    assert copy(["a.dcm"], tmp_path / "raw", tmp_path / "out", resize=32) == {}
    with Image.open(tmp_path / "out" / "a.jpg") as image:
        assert (image.mode, image.size) == ("L", (40, 32))


def test_what_is_no_dicom_image_is_told(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"not a DICOM file" * 20)
    with pytest.raises(UserError, match=r"a\.dcm is no DICOM"):
        read_dicom(tmp_path / "a.dcm")
    bare = write_dicom(tmp_path / "bare.dcm", RAMP).read_bytes()[132:]
    for content, words in (
        (bare, "begins as DICOM does without its preamble"),
        (b"\x89PNG\r\n", "is called DICOM and is a PNG"),
    ):
        (tmp_path / "a.dcm").write_bytes(content)
        with pytest.raises(UserError, match=words):
            read_dicom(tmp_path / "a.dcm")
    with pytest.raises(UserError, match="does not exist"):
        read_dicom(tmp_path / "b.dcm")
    path = write_dicom(tmp_path / "c.dcm", np.stack([RAMP, RAMP]), NumberOfFrames=2)
    with pytest.raises(UserError, match="holds 2 frames, expected one"):
        read_dicom(path)


def test_a_grey_image_gives_the_pixels_of_its_colour_copy(tmp_path):
    """One channel is turned and resized for three, and nothing else changes."""
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 47), dtype=np.uint8))
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "colour.png")
    assert open_image(tmp_path / "grey.png").mode == "L"
    for rng in (lambda: None, lambda: np.random.default_rng(3)):
        one, three = (read_image(tmp_path / f"{name}.png", 32, rng()) for name in ("grey", "colour"))
        assert one.shape == (3, 32, 32)
        assert torch.equal(one, three)
    assert torch.equal(*(read_resized(tmp_path / f"{name}.png", 32) for name in ("grey", "colour")))
