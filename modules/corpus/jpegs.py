"""JPEG files whose data end too early or too late, which libjpeg decodes to other pixels without a word.

A JPEG has no checksum. A changed byte is known only where what follows is counted wrongly then: pixels are missing at the
end of the data, or data are left when the last pixel has been decoded.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from PIL import Image

END_OF_DATA = re.compile(rb"\xff+(?![\x00\xd0-\xd7\xff])")  # a marker that is none of a restart
RESTARTS = re.compile(rb"\xff[\xd0-\xd7]")
BETWEEN_SCANS = {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # markers that may follow data
SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
AHEAD = b"\xfe" * 9  # libjpeg wants to see eight bytes behind those that it needs; of long codes, which fill few pixels
SPARE = 4  # bytes at the end of the data without which no decoder can be done, whatever an encoder adds there
NOISE = bytes((37 * number + 11) % 255 for number in range(64))  # which no decoder reads as nothing; no byte is 255


class Frame(NamedTuple):
    """The head of a JPEG: its size and, of every component, how often it is sampled."""

    progressive: bool
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]

    def units(self, components: Sequence[int]) -> int:
        """How many units a scan of these components has."""
        widest, highest = (max(rate[axis] for rate in self.sampling.values()) for axis in (0, 1))
        if len(components) > 1:
            return _parts(self.width, 8 * widest) * _parts(self.height, 8 * highest)
        across, down = self.sampling[components[0]]
        return _parts(_parts(self.width * across, widest), 8) * _parts(_parts(self.height * down, highest), 8)


def _parts(length: int, size: int) -> int:
    """How many pieces of a size cover a length."""
    return -(-length // size)


def load_whole(image: Image.Image, content: bytes) -> bool:
    """Decode a JPEG.

    Args:
        image: as ``Image.open`` returns it, not yet loaded.
        content: the bytes of its file.

    Returns:
        Whether all of its data are there and no more than these, as far as that can be known.
    """
    ends = data_ends(content)
    if ends is None:
        return False
    if len(ends) == 1:
        return _load_watched(image, content, ends[0])
    image.load()
    longer = b"".join(content[start:end] + NOISE for start, end in pairwise([0, *ends])) + content[ends[-1] :]
    # what lies behind the last unit of a part is passed over, unless some are lacking
    with Image.open(io.BytesIO(longer), formats=("JPEG",)) as other:
        return other.tobytes() == image.tobytes()


def _load_watched(image: Image.Image, content: bytes, end: int) -> bool:
    """Decode one scan whose data end at ``end``, and watch when its last row appears.

    The file is given in three parts: all but the last bytes of the data, these, and what is behind them. The last row must
    not be there after the first part, and must be there after the second.
    """
    image.load_prepare()  # type: ignore[attr-defined]
    columns = range(0, image.width, -(-image.width // 32))
    marks = [(7 * column + 3) % 256 for column in columns]
    for column, mark in zip(columns, marks, strict=True):
        image.im.putpixel((column, image.height - 1), mark if image.mode == "L" else (mark,) * len(image.getbands()))

    def last_row() -> list:
        return [image.im.getpixel((column, image.height - 1)) for column in columns]

    unread = last_row()
    least = len(content[:end].rstrip(b"\0\xff")) - SPARE  # some encoders fill up with zeros
    parts = iter([content[:least], content[least:end] + AHEAD, content[end:]])
    seen = []

    def read(_: int) -> bytes:
        seen.append(last_row())
        return next(parts, b"")

    image.load_read = read  # type: ignore[attr-defined]
    image.load()
    # What the last row was when the second and the third part were asked for: a decoder that is done asks for no more.
    done_early, done_in_time = (len(seen) <= part or seen[part] != unread for part in (1, 2))
    return (done_in_time and not done_early) or last_row() == unread


def data_ends(content: bytes) -> list[int] | None:
    """Where the data of every scan of a JPEG end, and where they are interrupted by restarts.

    Args:
        content: of a file that begins as a JPEG.

    Returns:
        An offset for each part; None if what lies between the scans is damaged, restarts are lost or a scan is missing.
    """
    at, interval, frame = 2, 0, None
    ends: list[int] = []
    known: dict[tuple[int, int], int] = {}  # bits that coefficients of components still lack
    try:
        while True:
            marker_at = content.index(b"\xff", at)
            if ends and marker_at != at:
                return None
            at = len(content) - len(content[marker_at:].lstrip(b"\xff"))
            marker, at = content[at], at + 1
            if marker == 0xD9:
                break
            if marker in (0x00, 0x01, 0xD8):
                continue
            if ends and marker not in BETWEEN_SCANS:
                return None
            (size,) = struct.unpack_from(">H", content, at)
            segment, at = content[at + 2 : at + size], at + size
            if marker in SEQUENTIAL or marker == PROGRESSIVE:
                frame = _frame(marker, segment)
            elif marker == 0xDD:
                (interval,) = struct.unpack_from(">H", segment)
            elif marker == 0xDA and frame is not None:
                following = END_OF_DATA.search(content, at)
                if following is None:
                    return None
                start, at = at, following.start()
                if not _scan_fits(frame, segment, content[start:at], interval, known):
                    return None
                ends += [restart.start() for restart in RESTARTS.finditer(content, start, at)]
                ends.append(len(content[:at].rstrip(b"\xff")))
    except (IndexError, KeyError, ValueError, struct.error):
        return None
    coefficients = 64 if frame and frame.progressive else 1
    whole = frame and all(known.get((name, k)) == 0 for name in frame.sampling for k in range(coefficients))
    return ends if whole else None


def _frame(marker: int, segment: bytes) -> Frame:
    """The head in the segment behind a marker of ``SEQUENTIAL`` or ``PROGRESSIVE``."""
    _, height, width, count = struct.unpack_from(">BHHB", segment)
    rates = {segment[6 + 3 * i]: divmod(segment[7 + 3 * i], 16) for i in range(count)}
    return Frame(marker == PROGRESSIVE, width, height, rates)


def _scan_fits(frame: Frame, head: bytes, data: bytes, interval: int, known: dict[tuple[int, int], int]) -> bool:
    """Whether a scan has the restarts that it should have and adds to what the scans before it said.

    Args:
        frame: head of the image.
        head: of the scan: its components, coefficients and bits.
        data: of the scan.
        interval: units between two restarts; 0 without any.
        known: bits that coefficients of components still lack, changed in place.
    """
    components = [head[1 + 2 * number] for number in range(head[0])]
    first, last, bits = head[1 + 2 * head[0] :][:3]
    restarts = [content[1] - 0xD0 for content in RESTARTS.findall(data)]
    expected = _parts(frame.units(components), interval) - 1 if interval else 0
    most = expected + 1 if interval else 0  # one may stand behind the last part
    if restarts != [number % 8 for number in range(len(restarts))] or not expected <= len(restarts) <= most:
        return False
    before, after = divmod(bits, 16) if frame.progressive else (0, 0)
    for name in components:
        for k in range(first, last + 1) if frame.progressive else (0,):
            if known.get((name, k), 0) != before or name not in frame.sampling:
                return False
            known[name, k] = after
    return True
