"""What only readers with habits write: degrees in their own words, change, company, normal reports, remarks. Data only.

None of it has a state: the labels of a study are the same whoever reads it.
"""

from __future__ import annotations

from modules.preparation.synthetic.plan import (
    AORTA,
    ATELECTASIS,
    CONSOLIDATION,
    EDEMA,
    EFFUSION,
    FRACTURE,
    HEART,
    PNEUMOTHORAX,
    SPINE,
    VOLUME,
)

DEGREES = (  # mild, moderate, severe; the first vocabulary is the only one of reports without a reader
    {
        "sev": ("mild", "moderate", "severe"),
        "adv": ("mildly", "moderately", "severely"),
        "size": ("small", "moderate", "large"),
        "area": ("a small area of", "an area of", "a large area of"),
        "bulk": ("small", "large", "large"),
    },
    {
        "sev": ("slight", "moderate", "marked"),
        "adv": ("slightly", "moderately", "markedly"),
        "size": ("small", "medium sized", "large"),
        "area": ("a little", "some", "much"),
        "bulk": ("small", "sizable", "sizable"),
    },
    {
        "sev": ("minimal", "moderate", "substantial"),
        "adv": ("minimally", "moderately", "substantially"),
        "size": ("minimal", "moderate", "substantial"),
        "area": ("a minimal area of", "a moderate area of", "a substantial area of"),
        "bulk": ("little", "big", "big"),
    },
    {
        "sev": ("subtle", "definite", "pronounced"),
        "adv": ("subtly", "definitely", "grossly"),
        "size": ("tiny", "definite", "massive"),
        "area": ("a tiny area of", "a definite area of", "a massive area of"),
        "bulk": ("tiny", "bulky", "bulky"),
    },
)
# What has become of a sign, by the part of its degree's range that its drawn severity is in: lower, middle, upper.
CHANGES = (
    ("less than before", "improved since the prior study", "decreased in the interval"),
    ("as before", "unchanged since the prior study", "stable in the interval"),
    ("more than before", "worse since the prior study", "increased in the interval"),
)
COMPANY = (  # signs that some readers see as one thing, if both are drawn clearly
    (EFFUSION, ATELECTASIS),
    (HEART, EDEMA),
    (PNEUMOTHORAX, FRACTURE),
    (CONSOLIDATION, EFFUSION),
    (VOLUME, ATELECTASIS),
    (EDEMA, EFFUSION),
    (AORTA, SPINE),
)
COMPANY_FRAMES = ("{} with {}", "{} accompanied by {}", "{} together with {}", "{} in combination with {}")
REMARKS = (  # on the film, in front of everything else
    "a single frontal view of the chest is submitted",
    "portable view of the chest",
    "frontal radiograph of the chest compared to the prior study",
    "one view of the chest was obtained",
    "semi upright portable technique",
    "the study is read without the clinical history",
)
NORMAL_REPORTS = (  # every absence that a study without a sign states, in one go
    (
        "the heart and mediastinum are normal",
        "the lungs are clear without consolidation",
        "there is no pleural effusion or pneumothorax",
        "the bones are intact without fracture",
        "no acute cardiopulmonary process",
    ),
    (
        "normal appearance of the chest",
        "both lungs are clear",
        "no pneumothorax or effusion",
        "the cardiac and mediastinal silhouettes are normal",
        "there is no fracture or bony abnormality",
    ),
    (
        "the lungs remain clear on both sides",
        "there is no evidence of effusion or pneumothorax",
        "heart size and mediastinal contours are within normal limits",
        "no osseous abnormality or fracture is identified",
        "there is no acute cardiopulmonary process",
    ),
    (
        "the cardiac silhouette is normal in size and the mediastinal silhouette is normal",
        "the lungs are clear of any focal consolidation or opacity",
        "neither pleural effusion nor pneumothorax is seen",
        "no displaced rib fracture or other bony abnormality",
        "no acute cardiopulmonary abnormality",
    ),
    (
        "no acute cardiopulmonary abnormality",
        "there is no focal consolidation, opacity, effusion or pneumothorax",
        "the heart is not enlarged and the mediastinal contours are unremarkable",
        "no rib fracture or osseous abnormality",
    ),
    (
        "the lungs are clear",
        "pleural effusion and pneumothorax are absent",
        "the heart is normal in size",
        "the mediastinum is normal",
        "the bones are intact without fracture",
        "no acute cardiopulmonary process is seen",
    ),
)
