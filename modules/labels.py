"""Names and order of everything that is counted: conditions, their states, and radiology entities."""

from __future__ import annotations

CONDITIONS = (  # L, in this order everywhere
    "enlarged cardiomediastinum",
    "cardiomegaly",
    "lung opacity",
    "lung lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural effusion",
    "pleural other",
    "fracture",
    "support devices",
    "no finding",
    "aorta abnormal",
    "bone/spine abnormal",
    "hemidiaphragm abnormal",
    "lung volume abnormal",
)
CHEXPERT_CONDITIONS = CONDITIONS[:14]  # what CheXbert labels and clinical efficacy is measured on
AUXILIARY_CONDITIONS = CONDITIONS[14:]
FIVE_CONDITIONS = ("cardiomegaly", "edema", "consolidation", "atelectasis", "pleural effusion")

STATES = ("blank", "positive", "negative", "uncertain")  # P, the value of a label is its index here
BLANK, POSITIVE, NEGATIVE, UNCERTAIN = range(4)
START_TOKEN = "[DEC]"
STATE_TOKENS = ("[BLA]", "[POS]", "[NEG]", "[UNC]")  # in the order of STATES

# Positive rate of the 14 conditions in the MIMIC-CXR training split, as published.
MIMIC_POSITIVE_RATES = (
    0.0551, 0.2219, 0.2489, 0.0382, 0.0748, 0.0287, 0.0316, 0.2094, 0.0235, 0.1807, 0.0206, 0.0372, 0.2221, 0.2394,
)  # fmt: skip

ENTITIES = tuple(  # K, in this order everywhere
    [
        "normal",
        "clear",
        "sharp",
        "sharply",
        "unremarkable",
        "intact",
        "stable",
        "free",
        "effusion",
        "opacity",
        "pneumothorax",
        "edema",
        "atelectasis",
        "tube",
        "consolidation",
        "process",
        "abnormality",
        "enlarge",
        "tip",
        "low",
        "pneumonia",
        "line",
        "congestion",
        "catheter",
        "cardiomegaly",
        "fracture",
        "air",
        "tortuous",
        "lead",
        "disease",
        "calcification",
        "prominence",
        "device",
        "engorgement",
        "picc",
        "clip",
        "elevation",
        "expand",
        "nodule",
        "wire",
        "fluid",
        "degenerative",
        "pacemaker",
        "thicken",
        "marking",
        "scar",
        "hyperinflate",
        "blunt",
        "loss",
        "widen",
        "collapse",
        "density",
        "emphysema",
        "aerate",
        "mass",
        "crowd",
        "infiltrate",
        "obscure",
        "deformity",
        "hernia",
        "drainage",
        "distention",
        "shift",
        "stent",
        "pressure",
        "lesion",
        "finding",
        "borderline",
        "hardware",
        "dilation",
        "chf",
        "redistribution",
        "aspiration",
        "tail_abnorm_obs",
        "excluded_obs",
    ]
)
