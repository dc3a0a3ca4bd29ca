"""modules/corpus/pixels.py and dicom.py: one reader for originals and copies, whatever the file holds or claims."""

import io
import re
import shutil
import subprocess
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_raw_images import COLOUR, RAMP, copy, write_dicom

from modules.corpus.dicom import read_dicom
from modules.corpus.images import read_image
from modules.corpus.pixels import open_image
from modules.messages import UserError

CASES = Path(__file__).parent / "cases"
GREY = np.random.default_rng(0).integers(0, 256, (24, 30), dtype=np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["twelve_bit_in_16", "full_range_16"])
def test_more_than_eight_bits_are_spread_and_never_clipped(name, tmp_path):
    stored = np.asarray(Image.open(CASES / f"images/{name}.png")).astype(float)
    pixels = np.asarray(open_image(CASES / f"images/{name}.png"))
    expected = 255 * (stored - stored.min()) / (stored.max() - stored.min())
    assert pixels.dtype == np.uint8
    assert abs(pixels - expected).max() <= 0.51
    assert copy([f"{name}.png"], CASES / "images", tmp_path, resize=500, suffix="png") == {}
    copied, original = (read_image(folder / f"{name}.png", 48) for folder in (tmp_path, CASES / "images"))
    assert (copied == original).all()


@pytest.mark.parametrize(
    ("mark", "value"),
    [
        ((0, 0), 65535),
        ((slice(0, 3), slice(None)), 65535),
        ((0, slice(0, 9)), 60000),
        ((slice(0, 20), slice(None)), 65535),
    ],
    ids=["a dead pixel", "a burnt-in line", "a small mark", "a border"],
)
def test_pixels_far_beyond_the_others_do_not_blacken_a_film(mark, value, tmp_path, capsys):
    stored = np.asarray(Image.open(CASES / "images/twelve_bit_in_16.png")).astype(np.uint16)
    marked = stored.copy()
    marked[mark] = value
    Image.fromarray(marked).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"has pixels far beyond all others .* nine in ten of \D+ \d+ to \d+"):
        open_image(tmp_path / "a.png")
    write_dicom(tmp_path / "a.dcm", marked, BitsStored=16, HighBit=15)
    with pytest.raises(UserError, match=r"has pixels far beyond all others"):  # it went through nearly black, or white
        open_image(tmp_path / "a.dcm")
    write_dicom(tmp_path / "a.dcm", marked, BitsStored=16, HighBit=15, PixelPaddingValue=value)
    assert open_image(tmp_path / "a.dcm").getextrema() == (0, 255)
    write_dicom(tmp_path / "a.dcm", marked, BitsStored=16, HighBit=15, WindowCenter=2048, WindowWidth=4096)
    assert np.asarray(open_image(tmp_path / "a.dcm")).std() > 30  # a window says what is to be seen
    assert "has pixels far beyond" in copy(["a.png"], tmp_path, tmp_path / "copies", resize=64, suffix="png")["a.png"]
    bright = np.where(np.arange(stored.size).reshape(stored.shape) % 97 == 0, 2 * stored.max(), stored)
    Image.fromarray(bright.astype(np.uint16)).save(tmp_path / "b.png")
    assert open_image(tmp_path / "b.png").getextrema()[1] == 255  # twice as bright is a mark as films have them


def test_what_is_no_png_jpeg_or_dicom_is_not_even_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("Ghostscript was started"))
    with pytest.raises(UserError, match=r"eps_named\.png is not a PNG, JPEG or DICOM: export it as one"):
        open_image(CASES / "images/eps_named.png")
    for kind in ("GIF", "TIFF", "WEBP", "BMP", "PPM", "ICO", "PDF"):
        path = tmp_path / f"{kind}.png"
        save(path, Image.fromarray(GREY), format=kind)
        with pytest.raises(UserError, match="is not a PNG, JPEG or DICOM"):
            open_image(path)
    save(tmp_path / "real.png", Image.fromarray(GREY), format="JPEG")  # a wrong name alone does no harm
    assert open_image(tmp_path / "real.png").size == (30, 24)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.dcm", "a"])
def test_what_lies_in_place_of_a_film_is_told(tmp_path, name):
    for content, words in (
        (b"", "empty: copy it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>Log in</html>" * 9, "a web page"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"the image .*{name} is .*{words}"):
            open_image(tmp_path / name)


def rotated(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    return save(folder / "a.jpg", Image.fromarray(GREY), exif=exif, quality=100)


MODES = {
    "1": lambda: Image.fromarray(GREY).convert("1"),
    "L": lambda: Image.fromarray(GREY),
    "LA": lambda: Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (30, 24), 128)]),
    "P": lambda: Image.fromarray(GREY).quantize(200),
    "RGB": lambda: Image.merge("RGB", [Image.fromarray(GREY)] * 3),
    "RGBA": lambda: Image.merge("RGBA", [*[Image.fromarray(GREY)] * 3, Image.new("L", (30, 24), 128)]),
    "I;16": lambda: Image.fromarray(GREY.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_way_of_being_grey_gives_the_same_grey(mode, tmp_path):
    image = MODES[mode]()
    assert image.mode == mode
    path = save(tmp_path / "a.png", image, **({"transparency": bytes([9] * 200)} if mode == "P" else {}))
    pixels = open_image(path)
    assert pixels.mode == "L"
    expected = np.asarray(image.convert("L")) if mode in "1P" else spread_whole(mode)
    assert (np.asarray(pixels) == expected).all()


def spread_whole(mode):
    """Eight bits stay as they are; sixteen are spread from their least to their greatest value."""
    if mode != "I;16":
        return GREY
    return np.round((GREY.astype(float) - GREY.min()) * 255 / (int(GREY.max()) - GREY.min())).astype(np.uint8)


def test_colour_stays_colour_in_originals_and_copies_alike(tmp_path):
    rng = np.random.default_rng(1)
    save(tmp_path / "a.png", Image.fromarray(rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)))
    copy(["a.png"], tmp_path, tmp_path / "out", resize=32, suffix="png")
    assert open_image(tmp_path / "a.png").mode == "RGB"
    assert (read_image(tmp_path / "a.png", 28) == read_image(tmp_path / "out/a.png", 28)).all()
    save(
        tmp_path / "b.jpg",
        Image.fromarray(rng.integers(0, 256, (60, 50, 4), dtype=np.uint8), mode=None).convert("CMYK"),
    )
    assert open_image(tmp_path / "b.jpg").mode == "RGB"


def test_a_picture_that_a_camera_turned_is_turned_back(tmp_path):
    path = rotated(tmp_path)
    assert open_image(path).size == (24, 30)
    assert abs(np.asarray(open_image(path)).astype(int) - np.rot90(GREY, -1)).mean() < 2
    copy(["a.jpg"], tmp_path, tmp_path / "out", resize=500, suffix="png")
    assert (np.asarray(open_image(tmp_path / "out/a.png")) == np.asarray(open_image(path))).all()


UPRIGHT = {
    1: lambda seen: seen, 2: np.fliplr, 3: lambda seen: np.rot90(seen, 2), 4: np.flipud, 5: np.transpose,
    6: lambda seen: np.rot90(seen, -1), 7: lambda seen: np.rot90(seen, 2).T, 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("turn", UPRIGHT)
@pytest.mark.parametrize("bits", [8, 16])
def test_each_way_of_holding_a_camera_is_undone(bits, turn, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    values = GREY if bits == 8 else GREY.astype(np.uint16) * 257
    path = save(tmp_path / "a.png", Image.fromarray(values), exif=exif)
    assert (np.asarray(open_image(path)) == UPRIGHT[turn](GREY if bits == 8 else spread_whole("I;16"))).all()


@pytest.mark.parametrize("rows", [24, 23])
def test_a_film_that_ends_in_black_or_grey_is_whole(rows, tmp_path):
    """Its last row looks like one that is missing: the packed rows are counted, and a JPEG is decoded once more."""
    for fill, options in ((0, {}), (128, {"quality": 95}), (128, {"quality": 75, "restart_marker_rows": 1})):
        film = GREY.copy()
        film[8:] = fill
        film = film[:rows]
        for image in (Image.fromarray(film), Image.fromarray(film.astype(np.uint16) * 257), Image.fromarray(film > 9)):
            path = save(tmp_path / "a.png", image)
            assert np.asarray(open_image(path)).shape == film.shape
        path = save(tmp_path / "a.jpg", Image.fromarray(film), **options)
        assert abs(np.asarray(open_image(path)).astype(int)[16:] - fill).max() <= 1


def test_a_note_that_warns_leaves_no_word_of_a_library(tmp_path):
    """Pillow warned of it on the terminal, though the picture was read as it is."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.jpg", Image.fromarray(GREY), exif=exif, quality=100)
    content = bytearray(path.read_bytes())
    at = content.index(b"Exif") - 1
    content[at] -= 3  # the note ends within the address of a next one
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(path).size == (24, 30)
    content[at] -= 5  # and now within the word of how it was held
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged note \(EXIF\) of how it was turned"):
        open_image(path)


def test_sixteen_bits_of_colour_are_refused(tmp_path):
    """Pillow keeps the upper eight of them: twelve bits in sixteen would be black."""
    rows = b"".join(b"\0" + bytes(30 * 6) for _ in range(24))

    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    size = (30).to_bytes(4, "big") + (24).to_bytes(4, "big")
    header = chunk(b"IHDR", size + bytes([16, 2, 0, 0, 0]))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match="16 bits of colour"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_side_of_any_length_is_no_sign_of_sixteen_bits(kind, tmp_path):
    """A colour image of 160 or 316 pixels a side was refused: the 16 was looked for among all that a decoder is told."""
    for size in ((160, 150), (150, 316), (216, 1600)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
        assert open_image(save(tmp_path / f"a.{kind}", image)).mode == "RGB"


def test_bombs_are_refused_by_their_header(tmp_path):
    save(tmp_path / "long.png", Image.new("L", (65_000, 1)))
    with pytest.raises(
        UserError, match=r"65000 x 1 pixels, expected at most 67,108,864 in all and one side at most 20"
    ):
        open_image(tmp_path / "long.png")
    save(tmp_path / "huge.png", Image.new("1", (20_000, 20_000)))
    with pytest.raises(UserError, match="more than 67,108,864 pixels"):
        open_image(tmp_path / "huge.png")


def test_damage_is_told_in_our_words(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(GREY).save(whole, "JPEG")
    for name, content in (("a", whole.getvalue()[:200]), ("b", b""), ("c", b"\x89PNG\r\n\x1a\n"), ("d", b"hello")):
        (tmp_path / f"{name}.jpg").write_bytes(content)
        with pytest.raises(UserError, match=rf"^the image {tmp_path}/{name}\.jpg .*: (copy|export)") as caught:
            open_image(tmp_path / f"{name}.jpg")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError):
        open_image(tmp_path / "none.png")


# DICOM


@pytest.mark.parametrize("name", ["fuzz_BytesLengthException", "D10d_modality"])
def test_what_pydicom_raises_leaves_out_one_image(name, tmp_path):
    (tmp_path / "raw").mkdir()
    shutil.copy(CASES / f"dicom/{name}.dcm", tmp_path / "raw/bad.dcm")
    write_dicom(tmp_path / "raw/good.dcm", RAMP)
    failures = copy(["bad.dcm", "good.dcm"], tmp_path / "raw", tmp_path / "out")
    assert list(failures) == ["bad.dcm"]
    assert failures["bad.dcm"].startswith(f"the image {tmp_path}/raw/bad.dcm ")
    assert (tmp_path / "out/good.jpg").is_file()


@pytest.mark.filterwarnings("ignore")  # pydicom warns when such a file is written
def test_what_a_file_calls_its_pixels_is_quoted_on_one_line(tmp_path):
    write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MO\r\nME2")
    with pytest.raises(UserError, match=r"pixels of the kind MO\\r\\nME2, expected grey or RGB"):
        read_dicom(tmp_path / "a.dcm")


def test_dicom_is_told_by_its_content_and_needs_no_suffix(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP)
    plain = np.asarray(read_dicom(path))
    path.rename(tmp_path / "IM0001")
    assert (np.asarray(open_image(tmp_path / "IM0001")) == plain).all()


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 1000}])
def test_padding_counts_for_nothing_and_becomes_black(tmp_path, kind, window):
    """The frame around a film: without it the grey values of the film are those of the file without a frame."""
    film = 1000 + RAMP // 4
    framed = film.copy()
    framed[:2], framed[-1, 3:] = 4000, 3990
    tags = {"PhotometricInterpretation": kind, **window}
    path = write_dicom(tmp_path / "a.dcm", framed, PixelPaddingValue=4000, PixelPaddingRangeLimit=3980, **tags)
    pixels = np.asarray(read_dicom(path))
    inside = framed == film
    assert (pixels[~inside] == 0).all()
    cut = film.copy()
    cut[~inside] = film[inside].min()  # the same range without a frame
    expected = np.asarray(read_dicom(write_dicom(tmp_path / "b.dcm", cut, **tags)))
    assert abs(pixels.astype(int) - expected)[inside].max() <= 1


def test_padding_of_signed_values_may_be_written_without_sign(tmp_path):
    import pydicom

    values = np.where(RAMP < 500, -2000, RAMP).astype(np.int16)
    path = write_dicom(tmp_path / "a.dcm", values.view(np.uint16), BitsStored=16, HighBit=15)
    data = pydicom.dcmread(path)
    data.PixelRepresentation = 1
    data.add_new("PixelPaddingValue", "US", 65536 - 2000)
    data.save_as(path)
    pixels = np.asarray(read_dicom(path))
    assert (pixels[values == -2000] == 0).all()
    assert pixels[values > -2000].min() == 0
    assert len(np.unique(pixels)) > 200


def test_padding_of_unsigned_values_may_be_written_with_a_sign(tmp_path):
    import pydicom

    framed = np.where(RAMP < 500, 63536, RAMP)
    path = write_dicom(tmp_path / "a.dcm", framed, BitsStored=16, HighBit=15)
    data = pydicom.dcmread(path)
    data.add_new("PixelPaddingValue", "SS", -2000)
    data.save_as(path)
    pixels = np.asarray(read_dicom(path))
    assert (pixels[framed > 4096] == 0).all()
    assert pixels.max() == 255
    assert pixels[framed == framed[framed < 4096].max()].min() == 255


@pytest.mark.parametrize(
    "blank",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"VOILUTFunction": "", "WindowCenter": 2048, "WindowWidth": 4096},
    ],
)
def test_an_element_without_a_value_is_absent(tmp_path, blank):
    """The film was refused: its table or window could not be applied."""
    given = {name: value for name, value in blank.items() if value}
    expected = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, **given)))
    assert (np.asarray(read_dicom(write_dicom(tmp_path / "b.dcm", RAMP, **blank))) == expected).all()


def test_values_beyond_the_digits_of_single_precision_are_spread(tmp_path):
    """A range of 256 values at four billion, and one of 1e-300, were two shades and black."""
    import pydicom

    expected = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP)))
    for slope, intercept in (("1e-300", "0"), ("1e300", "0"), ("1", "1e9"), ("1e-9", "5")):
        path = write_dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=slope, RescaleIntercept=intercept)
        assert abs(np.asarray(read_dicom(path)).astype(int) - expected).max() <= 1
    data = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", RAMP))
    data.BitsAllocated, data.BitsStored, data.HighBit = 32, 32, 31
    data.PixelData = (RAMP.astype("<u4") // 16 + 4_000_000_000).tobytes()
    data.save_as(tmp_path / "a.dcm")
    assert (np.asarray(read_dicom(tmp_path / "a.dcm")) == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize(("name", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_pixels_of_fractions_are_spread(tmp_path, name, kind):
    """They have neither a sign nor stored bits, and were called damaged for it."""
    import pydicom

    data = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", RAMP))
    expected = np.asarray(read_dicom(tmp_path / "a.dcm"))
    for element in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(data, element)
    values = RAMP.astype(kind) / 8
    for lost, refused in ((0, False), (1, True)):
        values[:lost, 0] = np.nan
        setattr(data, name, values.tobytes())
        data.BitsAllocated = 8 * values.itemsize
        data.save_as(tmp_path / "a.dcm")
        if refused:
            with pytest.raises(UserError, match="holds pixels that are no numbers"):
                read_dicom(tmp_path / "a.dcm")
        else:
            assert abs(np.asarray(read_dicom(tmp_path / "a.dcm")).astype(int) - expected).max() <= 1


def test_bits_of_a_declared_overlay_are_no_pixels(tmp_path):
    import pydicom

    expected = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP)))
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.PixelData = (RAMP + 4096 * (RAMP % 3)).astype("<u2").tobytes()
    data.add_new(0x60000102, "US", 12)  # OverlayBitPosition
    data.save_as(tmp_path / "a.dcm")
    assert (np.asarray(read_dicom(tmp_path / "a.dcm")) == expected).all()


TABLES = {  # descriptor, bytes of the entries, the stored values' entries
    "65,536 of two bytes": ([0, 0, 16], np.arange(65536)[::-1].astype("<u2"), 65535 - RAMP),
    "65,536 of one byte": ([0, 0, 8], (np.arange(65536)[::-1] >> 8).astype("u1"), (65535 - RAMP) >> 8),
    "an odd number of one byte": ([4095, 0, 8], np.append(np.arange(4095)[::-1] >> 4, 0).astype("u1"), (4094 - RAMP.clip(0, 4094)) >> 4),
    "a negative first value without a sign": ([4096, 65536 - 1000, 16], np.arange(4096)[::-1].astype("<u2"), 4095 - RAMP),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_by_what_it_says_of_itself(name, tmp_path):
    import pydicom

    descriptor, packed, entries = TABLES[name]
    table = pydicom.Dataset()
    table.LUTDescriptor = descriptor
    table.add_new("LUTData", "OW", packed.tobytes())
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1000} if descriptor[1] else {}
    pixels = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[table], **tags)))
    expected = 255 * (entries - entries.min()) / (entries.max() - entries.min())
    assert abs(pixels - expected).max() <= 0.51


def test_a_big_endian_file_is_read_as_its_little_endian_copy(tmp_path):
    import pydicom

    def written(name, syntax, order, values):
        table = pydicom.Dataset()
        table.LUTDescriptor = [4096, 0, 16]
        table.add_new("LUTData", "OW", (np.arange(4096)[::-1] ** 2 >> 8).astype(f"{order}u2").tobytes())
        data = pydicom.dcmread(write_dicom(tmp_path / name, RAMP, VOILUTSequence=[table]))
        whole = pydicom.Dataset()
        whole.update(
            {tag: data[tag] for tag in list(data.keys())}
        )  # decoded, so that it can be written in another order
        whole.file_meta = data.file_meta
        whole.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        whole.PixelData = values.astype(f"{order}u2").tobytes()
        whole.VOILUTSequence = [table]
        whole.save_as(tmp_path / name, implicit_vr=False, little_endian=order == "<", enforce_file_format=True)
        return tmp_path / name

    little, big = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
    expected = np.asarray(read_dicom(written("little.dcm", little, "<", RAMP)))
    assert len(np.unique(expected)) > 100
    assert (np.asarray(read_dicom(written("big.dcm", big, ">", RAMP))) == expected).all()
    with pytest.raises(UserError, match="holds the value 4336, expected less than 4096"):
        read_dicom(written("wide.dcm", big, ">", RAMP + 256))


def test_all_padding_is_an_image_like_any_other(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.full((16, 16), 7), PixelPaddingValue=7)
    assert np.asarray(read_dicom(path)).max() == 0


def deflated(path, content_size):
    """A deflated file whose data set unpacks to about ``content_size`` bytes."""
    import pydicom
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    data = pydicom.dcmread(write_dicom(path, RAMP))
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.10008.1.2.1.99")
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    data.add_new(0x00291010, "OB", bytes(content_size))
    write_dataset(buffer, data)
    head = DicomBytesIO()
    pydicom.filewriter.write_file_meta_info(head, data.file_meta)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(buffer.getvalue()) + packer.flush()
    path.write_bytes(bytes(128) + b"DICM" + head.getvalue() + packed)
    return path


def test_a_deflated_file_is_read_and_a_bomb_is_not(tmp_path, monkeypatch):
    plain = np.asarray(read_dicom(write_dicom(tmp_path / "a.dcm", RAMP)))
    assert (np.asarray(read_dicom(deflated(tmp_path / "b.dcm", 10))) == plain).all()
    monkeypatch.setattr("modules.corpus.dicom.MAX_FILE", 1 << 16)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_dicom(deflated(tmp_path / "c.dcm", 1 << 17))


def test_dicom_bombs_are_refused_by_their_tags(tmp_path):
    path = write_dicom(
        tmp_path / "a.dcm", RAMP, "1.2.840.10008.1.2.5", content=b"\x01\x00", Rows=60_000, Columns=60_000
    )
    with pytest.raises(UserError, match="60000 x 60000 pixels"):
        read_dicom(path)


def test_one_grey_value_throughout_is_counted(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    write_dicom(tmp_path / "raw/flat.dcm", np.full((16, 16), 7))
    write_dicom(tmp_path / "raw/ramp.dcm", RAMP)
    assert copy(["flat.dcm", "ramp.dcm"], tmp_path / "raw", tmp_path / "out") == {}
    assert "1 images are one grey value throughout, first: flat.dcm" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_never_escape(tmp_path, seed):
    """A hundred files with one to four flipped bytes each: an image or a sentence, nothing else and no warning."""
    rng = np.random.default_rng(seed)
    tags = [
        {"WindowCenter": 50, "WindowWidth": 10, "PixelPaddingValue": 0},
        {"RescaleSlope": 2, "RescaleIntercept": 1},
        COLOUR,
    ]
    values = [RAMP, RAMP, np.zeros((12, 10, 3))][seed]
    content = np.frombuffer(write_dicom(tmp_path / "a.dcm", values, **tags[seed]).read_bytes(), np.uint8)
    sentences = []
    for _ in range(100):
        damaged = content.copy()
        damaged[rng.integers(128, len(content) // 2, rng.integers(1, 5))] = rng.integers(0, 256)
        (tmp_path / "b.dcm").write_bytes(damaged.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                read_dicom(tmp_path / "b.dcm")
            except UserError as error:
                sentences.append(str(error))
    assert len(sentences) > 5
    assert all(re.fullmatch(rf"the image {tmp_path}/b\.dcm .*", sentence) for sentence in sentences)
