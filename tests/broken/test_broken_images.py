"""Broken images and DICOM files, copied by main_prepare.py: one study is left out and counted, the others go on."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from harness import SECRET, assert_left_out, end_of
from PIL import Image
from test_raw_images import COLOUR, RAMP, lookup, write_dicom

import main_prepare

CASES = Path(__file__).parents[1] / "cases"
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


def saved(kind, image=None, **options):
    file = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(file, kind, **options)
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width=50, height=40, bits=8, colour=0, data=None, extra=b"", interlace=0):
    """A PNG file of any header; its pixels are as many as a 50 x 40 image needs, unless ``data`` are given."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    content = zlib.compress(bytes(51 * 40)) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def turned(kind=3, count=1, value=b"\6\0\0\0", cut=None):
    """The chunk of a PNG that says how a camera was held, of any type, count and length."""
    note = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", 0x112, kind, count) + value + bytes(4)
    return chunk(b"eXIf", note[:cut])


WHOLE_PNG, WHOLE_JPEG = saved("PNG"), saved("JPEG")
SMOOTH = saved("JPEG", Image.fromarray(NOISE[:5, :6]).resize((50, 40)), quality=95)
PALETTE = chunk(b"PLTE", bytes(range(60)))  # of 20 colours
IMAGES = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"hello, I am a radiograph",
    "web page": b"<!DOCTYPE html><html>not found</html>",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zeros": bytes(4000),
    "EPS": (CASES / "images/eps_named.png").read_bytes(),
    "GIF": saved("GIF"),
    "TIFF": saved("TIFF"),
    "float TIFF": saved("TIFF", Image.fromarray(NOISE.astype(np.float32))),
    "BMP": saved("BMP"),
    "WEBP": saved("WEBP"),
    "PPM": saved("PPM"),
    "ICO": saved("ICO"),
    "PDF": saved("PDF"),
    "TGA": saved("TGA"),
    "PCX": saved("PCX"),
    "XBM": saved("XBM", Image.new("1", (8, 8))),
    "PNG signature only": b"\x89PNG\r\n\x1a\n",
    "PNG header only": png()[:33],
    "PNG cut off": WHOLE_PNG[: len(WHOLE_PNG) // 2],
    "PNG pixels cut off": png(data=zlib.compress(bytes(300))),
    "PNG pixels not packed": png(data=b"not zlib at all, not at all"),
    "PNG without pixels": png(data=b""),
    "PNG of width 0": png(width=0),
    "PNG of height 0": png(height=0),
    "PNG too wide": png(width=65_000, height=1, data=zlib.compress(bytes(65_001))),
    "PNG too high": png(width=1, height=65_000, data=zlib.compress(bytes(130_000))),
    "PNG of 4 gigapixels": png(width=65_000, height=65_000),
    "PNG of 2^31 pixels a side": png(width=2**31 - 1, height=2**31 - 1),
    "PNG of 16 bits of colour": png(bits=16, colour=2, data=zlib.compress(bytes(301 * 40))),
    "PNG of 16 bits with transparency": png(bits=16, colour=4, data=zlib.compress(bytes(201 * 40))),
    "PNG of an unknown kind": png(colour=5),
    "PNG of 3 bits": png(bits=3),
    "PNG text bomb": lambda: png(extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 << 20)))),
    "PNG colour profile bomb": lambda: png(extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(64 << 20))), data=b"x"),
    "PNG wrong checksum": WHOLE_PNG[:29] + b"\0\0\0\0" + WHOLE_PNG[33:],
    "JPEG signature only": b"\xff\xd8\xff",
    "JPEG cut off": WHOLE_JPEG[: len(WHOLE_JPEG) // 2],
    "JPEG cut in its tables": WHOLE_JPEG[:100],
    "JPEG without end": WHOLE_JPEG[:-400],
    "JPEG of 12 bits": WHOLE_JPEG.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x0c"),
    "JPEG of height 0": WHOLE_JPEG.replace(b"\xff\xc0\x00\x0b\x08\x00\x28", b"\xff\xc0\x00\x0b\x08\x00\x00"),
    "JPEG of 65,535 a side": WHOLE_JPEG.replace(b"\x08\x00\x28\x00\x32", b"\x08\xff\xff\xff\xff"),
    "JPEG of 16 bits": WHOLE_JPEG.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x10"),
    **{f"JPEG cut at {share:.0%} with an end": SMOOTH[: int(len(SMOOTH) * share)] + b"\xff\xd9" for share in (0.6, 0.7, 0.8, 0.9)},
    "JPEG cut in colour with an end": (lambda content: content[: len(content) * 3 // 4] + b"\xff\xd9")(saved("JPEG", Image.fromarray(NOISE).convert("RGB"))),
    "JPEG wider than its pixels": WHOLE_JPEG.replace(b"\x08\x00\x28\x00\x32", b"\x08\x00\x28\x00\x62"),
    "JPEG higher than its pixels": WHOLE_JPEG.replace(b"\x08\x00\x28\x00\x32", b"\x08\x00\x58\x00\x32"),
    **{f"JPEG {kind} cut with an end": (lambda content: content[: len(content) * 3 // 4] + b"\xff\xd9")(saved("JPEG", quality=95, **{kind: 1})) for kind in ("progressive", "restart_marker_blocks", "optimize")},
    "JPEG without a block of the disk": saved("JPEG", quality=95)[:700] + saved("JPEG", quality=95)[1200:],
    "JPEG with a block of another file": saved("JPEG", quality=95)[:900] + SMOOTH[-300:-2] + saved("JPEG", quality=95)[900:],
    "JPEG without its restarts": saved("JPEG", restart_marker_blocks=4).replace(b"\xff\xd2", b""),
    "JPEG without a scan": (lambda scans: b"\xff\xda".join(scans[:2] + scans[3:]))(saved("JPEG", progressive=True).split(b"\xff\xda")),
    "JPEG with a page behind its data": WHOLE_JPEG[:-2] + b"\xff\x07<html>" + WHOLE_JPEG[-2:],
    "JPEG behind a line feed": b"\n" + WHOLE_JPEG,
    "PNG one row short": png(data=zlib.compress(bytes(51 * 39))),
    "PNG half its rows short": png(data=zlib.compress((b"\0" + bytes(range(50))) * 20)),
    "PNG one byte short": png(data=zlib.compress(bytes(51 * 40 - 1))),
    "PNG of 16 bits one row short": png(bits=16, data=zlib.compress((b"\0" + bytes(range(100))) * 39)),
    "PNG interlaced without its last pass": png(interlace=1, data=zlib.compress(bytes(20 * 51))),
    "PNG with an unknown filter": png(data=zlib.compress((b"\7" + bytes(50)) * 40)),
    "PNG with text between its pixels": png(data=zlib.compress(NOISE.tobytes())[:700], extra=b"").replace(chunk(b"IEND", b""), chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", zlib.compress(NOISE.tobytes())[700:])),
    "PNG without its palette": png(colour=3),
    "PNG with colours that its palette lacks": png(colour=3, data=zlib.compress((b"\0" + bytes(range(50))) * 40), extra=PALETTE),
    "PNG of 4 bits with colours that its palette lacks": png(bits=4, colour=3, data=zlib.compress((b"\0" + b"\xff" * 25) * 40), extra=chunk(b"PLTE", bytes(6))),
    "PNG animated": saved("PNG", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
    "PNG that says it is animated": png(extra=chunk(b"acTL", bytes(3) + b"\2" + bytes(4))),
    "GIF animated": saved("GIF", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
    "PNG of 16 bits of colour interlaced": png(bits=16, colour=6, interlace=1, data=zlib.compress(bytes(20_000))),
    "TIFF of 16 bits": saved("TIFF", Image.fromarray(NOISE.astype(np.uint16) * 257)),
    "TIFF of no numbers": saved("TIFF", Image.fromarray(np.where(NOISE < 9, np.nan, NOISE).astype(np.float32))),
    **{f"PNG turned, cut at {cut}": png(extra=turned(cut=cut)) for cut in (3, 6, 9, 12, 21)},
    **{f"PNG turned by the type {kind}": png(extra=turned(kind)) for kind in (1, 2, 5, 7, 11, 12)},
    "PNG turned two billion times": png(extra=turned(count=1 << 31)),
    "PNG turned twice over": png(extra=turned(4, 2)),
    "JPEG of lossless coding": WHOLE_JPEG.replace(b"\xff\xc0", b"\xff\xc3"),
}  # fmt: skip


def prepare(tmp_path, name, content):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / name).write_bytes(content() if callable(content) else content)  # a bomb is packed by its test alone
    Image.fromarray(NOISE).save(raw / "good.png")
    rows = [
        {"id": "bad", "image_path": name, "report": SECRET, "patient": 1},
        {"id": "good", "image_path": "good.png", "report": SECRET, "patient": 2},
    ]
    (raw / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ending = end_of(
        main_prepare, "--dataset_name", "custom", "--raw_dir", raw / "t.jsonl", "--raw_step", "images", "--device", "cpu",
        "--resize", 32, "--ann_path", tmp_path / "out/annotation.json", "--image_dir", tmp_path / "out/images",
    )  # fmt: skip
    assert ending.status == 0, ending.err[-500:]
    written = json.loads((tmp_path / "out/annotation.json").read_text())
    assert [study["id"] for split in written.values() for study in split] == ["good"]
    assert [path.name for path in (tmp_path / "out/images").iterdir() if path.suffix == ".jpg"] == ["good.jpg"]
    assert f"first: the image {raw / name} " in ending.out
    return ending


@pytest.mark.parametrize("name", IMAGES)
def test_a_broken_image_leaves_out_its_study(name, tmp_path):
    assert_left_out(prepare(tmp_path, "bad.png", IMAGES[name]), tmp_path, "no image that can be decoded")


def tags(values=RAMP, syntax="1.2.840.10008.1.2.1", content=None, then=None, **changes):
    """A file of these tags; those of ``then`` are changed once its pixels are in it."""

    def write(path):
        import pydicom

        write_dicom(path, values, syntax, content, **changes)
        data = pydicom.dcmread(path)
        for name, value in (then or {}).items():
            setattr(data, name, value)
        if then:
            data.save_as(path)

    return write


EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def described(table, count):
    """A lookup table that says it has another number of entries."""
    table[0].LUTDescriptor[0] = count
    return table


def without(*names):
    def write(path):
        import pydicom

        data = pydicom.dcmread(write_dicom(path, RAMP))
        for name in names:
            delattr(data, name)
        data.save_as(path)

    return write


def cut(share):
    def write(path):
        content = write_dicom(path, RAMP).read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return write


def flipped(seed):
    """Some bytes of the head changed, so that the file is damaged for certain: its mark among them."""

    def write(path):
        content = np.frombuffer(write_dicom(path, RAMP).read_bytes(), np.uint8).copy()
        rng = np.random.default_rng(seed)
        content[132 + rng.integers(0, 60, 12)] = rng.integers(0, 256, 12)
        content[140:144] = 255
        path.write_bytes(content.tobytes())

    return write


DICOM = {
    **{path.stem: lambda target, path=path: target.write_bytes(path.read_bytes()) for path in (CASES / "dicom").glob("*.dcm")},
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"not DICOM" * 50),
    "a picture": lambda path: path.write_bytes(WHOLE_PNG),
    "mark only": lambda path: path.write_bytes(bytes(128) + b"DICM"),
    **{f"cut at {share:.0%}": cut(share) for share in (0.3, 0.4, 0.5, 0.6, 0.9)},
    **{f"flipped {seed}": flipped(seed) for seed in range(12)},
    **{f"without {name}": without(name) for name in ("Rows", "Columns", "PixelData", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation")},
    "no rows": tags(Rows=0),
    "more rows than pixels": tags(Rows=500),
    "60,000 rows of run lengths": tags(syntax="1.2.840.10008.1.2.5", content=b"\x01\x00", Rows=60_000, Columns=60_000),
    "too wide": tags(np.zeros((1, 4000)), Rows=1, Columns=4000),
    "two frames": tags(np.stack([RAMP, RAMP]), NumberOfFrames=2),
    "a palette": tags(PhotometricInterpretation="PALETTE COLOR"),
    "an unknown kind": tags(PhotometricInterpretation="HELLO"),
    "a kind of two lines": tags(PhotometricInterpretation="MO\r\nME2"),
    "two samples": tags(SamplesPerPixel=2),
    "colour of 16 bits as grey": tags(**{**COLOUR, "BitsAllocated": 16}),
    "bits of 13": tags(BitsAllocated=13),
    "17 bits in 16": tags(BitsStored=17),
    "no bits": tags(BitsStored=0),
    "12 bits at the upper end": tags(RAMP << 4, BitsStored=12, HighBit=15),
    "more bits than it says": tags(BitsStored=8, HighBit=7),
    "values above its bits": tags(RAMP + 4096 * (RAMP % 3)),
    "a sign of 2": tags(PixelRepresentation=2),
    "colour with a sign": tags(np.full((12, 10, 3), 200), **COLOUR, PixelRepresentation=1),
    **{f"colour called {kind}": tags(np.full((12, 10, 3), 200), **{**COLOUR, "PhotometricInterpretation": kind}) for kind in ("MONOCHROME2", "HSV", "ARGB", "YBR_RCT", "YBR_PARTIAL_420", "YBR_FULL_422")},
    "colour in planes of 2": tags(np.full((12, 10, 3), 200), **{**COLOUR, "PlanarConfiguration": 2}),
    "frames below zero": tags(NumberOfFrames=-1),
    "half the rows": tags(then={"Rows": 8}),
    "half the columns": tags(then={"Columns": 8}),
    "8 bits of 16": tags(then={"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
    "no samples": tags(then={"SamplesPerPixel": 0}),
    "four samples": tags(then={"SamplesPerPixel": 4, "PhotometricInterpretation": "CMYK", "PlanarConfiguration": 0}),
    "two frames that it says are one": tags(then={"PixelData": RAMP.astype("<u2").tobytes() * 2}),
    "one pixel short": tags(then={"PixelData": RAMP.astype("<u2").tobytes()[:-2]}),
    "a table shorter than it says": tags(VOILUTSequence=described(lookup(0, range(100)), 4096)),
    "a table longer than it says": tags(VOILUTSequence=described(lookup(0, range(4096)), 100)),
    "a modality table shorter than it says": tags(ModalityLUTSequence=described(lookup(0, range(100)), 4096)),
    "an unknown function of the window": tags(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="CUBIC"),
    "window below zero": tags(WindowCenter=100, WindowWidth=-1),
    "window of width 1e-300": tags(WindowCenter=100, WindowWidth="1e-300"),
    "centre of nan": tags(WindowCenter="nan", WindowWidth=100),
    "two slopes": tags(RescaleSlope=[1, 2], RescaleIntercept=0),
    "slope of 1e308": tags(RescaleSlope="1e308", RescaleIntercept=0),
    "window of width 0": tags(WindowCenter=100, WindowWidth=0),
    "window of width nan": tags(WindowCenter=100, WindowWidth="nan"),
    "slope of nan": tags(RescaleSlope="nan", RescaleIntercept=0),
    "slope of infinity": tags(RescaleSlope="inf", RescaleIntercept=0),
    "modality table of 3 bits": tags(ModalityLUTSequence=lookup(0, range(16), bits=3)),
    "run lengths of nothing": tags(syntax="1.2.840.10008.1.2.5", content=b"\x01\x00 nothing"),
    "JPEG cut off with an end": tags(NOISE, "1.2.840.10008.1.2.4.50", WHOLE_JPEG[:-300] + b"\xff\xd9", **EIGHT),
    "JPEG with bytes lost": tags(NOISE, "1.2.840.10008.1.2.4.50", WHOLE_JPEG[:700] + WHOLE_JPEG[1300:], **EIGHT),
    "JPEG progressive without a scan": tags(NOISE, "1.2.840.10008.1.2.4.50", IMAGES["JPEG without a scan"], **EIGHT),
    "JPEG of nothing": tags(syntax="1.2.840.10008.1.2.4.50", content=b"\xff\xd8 nothing"),
    "JPEG 2000 of nothing": tags(syntax="1.2.840.10008.1.2.4.90", content=b"\xff\x4f nothing"),
    "a film": tags(syntax="1.2.840.10008.1.2.4.100", content=b"film"),
    "an unknown syntax": tags(syntax="1.2.3.4", content=b"what"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # pydicom warns when such files are written
@pytest.mark.parametrize("name", DICOM)
def test_a_broken_dicom_file_leaves_out_its_study(name, tmp_path):
    path = tmp_path / "made.dcm"
    DICOM[name](path)
    content = path.read_bytes()
    path.unlink()
    assert_left_out(prepare(tmp_path, "bad.dcm", content), tmp_path, "no image that can be decoded")
