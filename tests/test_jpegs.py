"""modules/corpus/jpegs.py: every whole JPEG is read as Pillow reads it, and data that end too early or too late are known."""

import io

import numpy as np
import pytest
from PIL import Image

from modules.corpus.jpegs import data_ends, load_whole

RNG = np.random.default_rng(0)
GREY = Image.fromarray(RNG.normal(120, 30, (61, 90)).clip(0, 255).astype(np.uint8))
COLOUR = Image.merge("RGB", [GREY, GREY.transpose(Image.Transpose.FLIP_LEFT_RIGHT), GREY.rotate(180)])
KINDS = {
    "baseline": {},
    "of its own codes": {"optimize": True},
    "progressive": {"progressive": True},
    "with restarts": {"restart_marker_blocks": 5},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
    "of all colours": {"subsampling": 0},
    "of few colours": {"subsampling": 2},
}


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def read(content):
    """Whether a file is whole, and the pixels of one that is."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return (True, image.tobytes()) if load_whole(image, content) else (False, b"")


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_read_as_pillow_reads_them(kind):
    flat = [
        Image.new(mode, size, grey)
        for mode in ("L", "RGB")
        for size in ((1, 1), (8, 8), (33, 17))
        for grey in (0, "#808080")
    ]
    for quality in (30, 95, 100):
        for image in (GREY, COLOUR, GREY.crop((0, 0, 3, 5)), *flat):
            content = jpeg(image, quality=quality, **KINDS[kind])
            with Image.open(io.BytesIO(content)) as plain:
                expected = plain.tobytes()
            assert read(content) == (True, expected)
            assert read(content + b"what a scanner adds") == (True, expected)
            padded = content[:-2] + bytes(7) + b"\xff\xff\xff\xd9"  # as encoders fill up their blocks
            assert read(padded) == (True, expected)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_known_though_its_end_is_there(kind, colour):
    content = jpeg(COLOUR if colour else GREY, quality=95, **KINDS[kind])
    start = content.index(b"\xff\xda") + 14
    for at in np.linspace(start, len(content) - 40, 25).astype(int):
        assert not read(content[:at] + b"\xff\xd9")[0], at


@pytest.mark.parametrize("kind", ["baseline", "of its own codes", "of all colours"])
def test_bytes_that_are_lost_or_too_many_are_known(kind):
    """What follows is then decoded to other pixels; in so small a film it ends where it should in a case or two of fifty."""
    content = jpeg(GREY, quality=95, **KINDS[kind])
    start = content.index(b"\xff\xda") + 14
    unseen = 0
    for at in np.linspace(start, len(content) - 900, 25).astype(int):
        other = bytes(RNG.integers(0, 255, 700, dtype=np.uint8))
        unseen += read(content[:at] + content[at + 700 :])[0] + read(content[:at] + other + content[at:])[0]
    assert unseen <= 4


def test_restarts_in_another_order_and_scans_that_are_lacking_are_known():
    restarted = jpeg(GREY, restart_marker_blocks=5)
    assert data_ends(restarted) is not None
    assert data_ends(restarted.replace(b"\xff\xd3", b"\xff\xd4", 1)) is None
    assert data_ends(restarted.replace(b"\xff\xd3", b"")) is None
    for image in (GREY, COLOUR):
        scans = jpeg(image, progressive=True).split(b"\xff\xda")
        assert len(scans) > 6
        for lacking in range(1, len(scans)):
            parts = scans[:lacking] + scans[lacking + 1 :]
            end = b"" if parts[-1].endswith(b"\xff\xd9") else b"\xff\xd9"
            assert data_ends(b"\xff\xda".join(parts) + end) is None, lacking
        assert data_ends(b"\xff\xda".join([*scans[:3], scans[3] + b"hello", *scans[4:]])) is None
    for lost in (b"\xff\xe1", b"\xff\x01", b""):
        assert data_ends(restarted[:-2] + lost) is None


def test_a_changed_byte_that_shifts_nothing_cannot_be_known():
    """A JPEG has no checksum: docs/own_data.md says so."""
    content = bytearray(jpeg(GREY, quality=95))
    whole = read(bytes(content))[1]
    start = content.index(b"\xff\xda") + 14
    answers = []
    for at in range(start, len(content) - 40, 29):
        changed = content.copy()
        changed[at] ^= 16
        answers.append(read(bytes(changed)))
    unseen = sum(known and pixels != whole for known, pixels in answers)
    assert 0 < unseen < len(answers)
