"""What a DICOM file says that it shows: a radiograph of a chest, another image or another part of the body."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from modules.messages import UserError, named

if TYPE_CHECKING:
    from pydicom import Dataset

_OTHER_MODALITIES = {  # CR, DX, RF, OT and none may be films
    "BMD", "CT", "DOC", "ECG", "ES", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "KO", "PR", "PT", "PX", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "SEG", "SM", "SR", "US", "XA", "XC",
}  # fmt: skip
_STORED = "1.2.840.10008.5.1.4.1.1."  # how the classes of stored objects begin
_OTHER_CLASSES = {  # by what follows
    "1.2": "mammography", "1.3": "teeth", "2": "CT", "3": "ultrasound", "4": "MR", "6": "ultrasound", "12.1": "angiography",
    "13": "tomosynthesis", "20": "nuclear medicine", "66": "a segmentation", "77": "visible light", "88": "a document", "104": "a document",
    "128": "PET", "130": "PET",
}  # fmt: skip
_OTHER_PARTS = (  # trunk, shoulder, clavicle, ribs and spine may be on a film of the chest or stand for it
    "HANDS?|FINGERS?|THUMB|WRISTS?|CARPUS|FOREARM|ELBOWS?|RADIUS|ULNA|HUMERUS|ARMS?|HIPS?|PELVIS|ACETABULUM|SACRUM|SACROILIAC|COCCYX|FEMUR|THIGH|KNEES?"
    "|PATELLA|LEGS?|TIBIA|FIBULA|TIBFIB|CALF|ANKLES?|FOOT|FEET|TOES?|CALCANEUS|HEEL|EXTREMITY|EXTREMITIES|EXM|LIMBS?|SKULL|HEAD|BRAIN|ORBITS?|EYES?|EARS?"
    "|SINUS|SINUSES|NOSE|FACE|JAW|MANDIBLE|MAXILLA|TEETH|TOOTH|DENTAL|TMJ|ZYGOMA|NECK|BREAST|ABDOMEN|ABDO?|KUB|LIVER|STOMACH|COLON|KIDNEY|BLADDER|UTERUS"
    "|PROSTATE|LUMBAR|[CLS]SPINE"
)
_BESIDE_PARTS = (  # a part, a side, a view, how it was taken
    "L|R|LT|RT|LEFT|RIGHT|BOTH|BILATERAL|UP|UPPER|LOW|LOWER|AP|PA|LAT|LATERAL|OBLIQUE|JOINT|BONE|NASAL|PARANASAL"
    "|PORT|PORTABLE|SUPINE|ERECT|UPRIGHT|ADULT|CHILD|PEDS|AND|VIEWS?"
)
_BESIDE = re.compile(rf"(?:{_BESIDE_PARTS})+")
_OTHER = re.compile(rf"(?:{_OTHER_PARTS}|{_BESIDE_PARTS})+")  # also in one word: HANDWRIST
_SPINE = re.compile(r"(?<![A-Z])(?:LS|[CLS]|CERVICAL|LUMBAR|SACRAL|LUMBOSACRAL)[^A-Z]*SPINE(?![A-Z])")  # not T, nor TL
_LATERAL = re.compile(r"(?:\w+ )?(?:LAT|LATERAL)|LL|RL")


def check_subject(path: Path, data: Dataset) -> None:
    """Refuse what says that it is no radiograph, or one of a part of the body that is surely not the chest.

    What is said of the part is often nothing, or odd, and then says nothing: only names that are of other parts alone count.

    Raises:
        UserError: naming what was found.
    """
    modality, part = _said(data, "Modality"), _said(data, "BodyPartExamined")
    if modality in _OTHER_MODALITIES:
        raise UserError(f"the image {path} is of the modality {modality}, expected a radiograph (CR, DX): leave it out")
    kind = str(data.get("SOPClassUID") or "")
    numbers = kind.removeprefix(_STORED).split(".") if kind.startswith(_STORED) else []
    for end, what in _OTHER_CLASSES.items():
        if end.split(".") == numbers[: end.count(".") + 1]:
            raise UserError(
                f"the image {path} is stored as {what} (SOPClassUID {named(kind)}), expected a radiograph: leave it out"
            )
    words = re.findall(r"[A-Z]+", _SPINE.sub(" LSPINE ", part))
    if all(map(_OTHER.fullmatch, words)) and not all(map(_BESIDE.fullmatch, words)):
        raise UserError(
            f"the image {path} is of another part of the body (BodyPartExamined {named(part)}), expected the chest: leave it out, "
            "or correct that"
        )


def is_lateral(path: Path) -> bool:
    """Whether a DICOM file says that it is a lateral view; False where nothing can be read.

    It says so in ``ViewPosition``, or by the meaning of its code of the view, which a digital film must have. A decubitus view
    (``LLD``) is none: it is taken from the front.
    """
    import pydicom  # on demand: only DICOM needs it

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ViewPosition", "ViewCodeSequence"])
        codes = [_said(code, "CodeMeaning") for code in data.get("ViewCodeSequence") or ()]
        return bool(_LATERAL.fullmatch(_said(data, "ViewPosition") or "".join(codes[:1])))
    except Exception:  # damage makes pydicom raise anything; whoever reads the pixels says so
        return False


def _said(data: Dataset, name: str) -> str:
    """What an element says, in capitals; empty if it is absent."""
    return str(data.get(name) or "").strip().upper()
