"""Whether a file is DICOM, as its name and its first bytes say."""

from __future__ import annotations

from pathlib import Path

from modules.messages import UserError, refuse_stand_ins

_BEGINNINGS = {
    "PNG": b"\x89PNG",
    "JPEG": b"\xff\xd8\xff",
    "TIFF": b"II*\0",
    "GIF": b"GIF8",
    "gzip archive": b"\x1f\x8b",
}


def is_dicom(path: Path) -> bool:
    """Whether a file is called DICOM or is marked as such."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def is_bare(start: bytes) -> bool:
    """Whether the first bytes of a file are those of DICOM elements without the preamble and the mark before them."""
    return (
        start[:2] in (b"\x02\0", b"\x08\0") and start[3:4] == b"\0" and (start[4:6].isalpha() or start[6:8] == b"\0\0")
    )


def refuse_no_film(path: Path) -> None:
    """Refuse what lies in place of a film: nothing, or what git or a server gave."""
    if not path.stat().st_size:
        raise UserError(f"the image {path} is empty: copy it again or leave it out")
    refuse_stand_ins(path, f"the image {path}")


def check_mark(path: Path) -> None:
    """Refuse what is called DICOM and is not marked as such; UserError says what it looks like."""
    with open(path, "rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return
    refuse_no_film(path)
    kind = next((name for name, beginning in _BEGINNINGS.items() if start.startswith(beginning)), None)
    if kind:
        raise UserError(f"the image {path} is called DICOM and is a {kind}: call it what it is")
    found = "begins as DICOM does without its preamble" if is_bare(start) else "is no DICOM"
    raise UserError(f"the image {path} {found} (there is no DICM behind 128 bytes): export it again as a DICOM file")
