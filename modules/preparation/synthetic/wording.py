"""How radiologists word what the synthetic studies show. Data only; `reports` puts it together.

Of each tuple the first wording is the most frequent. Fields in braces: `sev` mild/.., `adv` mildly/.., `size` small/..,
`area` a small area of/.., `bulk` small or large, `side`, `zone`, `place` and `lobe`. A doubtful sign has no degree.
"""

from __future__ import annotations

from typing import NamedTuple

from modules.preparation.synthetic.plan import (
    AORTA,
    ATELECTASIS,
    CONSOLIDATION,
    DEVICES,
    DIAPHRAGM,
    EDEMA,
    EFFUSION,
    FRACTURE,
    HEART,
    LESION,
    MEDIASTINUM,
    NO_FINDING,
    OPACITY,
    PLEURA,
    PNEUMONIA,
    PNEUMOTHORAX,
    SPINE,
    VOLUME,
)


class Wording(NamedTuple):
    """Noun phrases of one form of a condition, sentences on it without the stop, whether the phrases take "are"."""

    phrases: tuple[str, ...]
    sentences: tuple[str, ...] = ()
    plural: bool = False


FOUND = {  # (condition, form): form is the kind, or "bilateral" where that is worded otherwise
    (MEDIASTINUM, ""): Wording(
        ("{sev} widening of the mediastinum", "{sev} enlargement of the mediastinum"),
        ("the mediastinum is {adv} widened", "the mediastinum is {adv} enlarged"),
    ),
    (HEART, ""): Wording(
        ("{sev} cardiomegaly", "{sev} cardiac enlargement"),
        ("the heart is {adv} enlarged", "heart size is {adv} enlarged"),
    ),
    (OPACITY, ""): Wording(
        (
            "{sev} hazy opacity in the {place}",
            "a {sev} ill defined opacity in the {place}",
            "{sev} hazy opacification of the {place}",
        ),
        ("hazy opacity of {sev} degree projects over the {place}",),
    ),
    (LESION, "nodule"): Wording(
        (
            "a {bulk} nodule in the {place}",
            "a {bulk} round nodule in the {place}",
            "a {bulk} {side} {zone} lung nodule",
        ),
        ("a {bulk} well defined nodule projects over the {place}",),
    ),
    (LESION, "mass"): Wording(
        ("a mass in the {place}", "a round mass in the {place}", "a {side} {zone} lung mass"),
        ("a well defined mass projects over the {place}",),
    ),
    (EDEMA, ""): Wording(
        ("{sev} pulmonary edema", "{sev} perihilar pulmonary edema", "{sev} bilateral pulmonary edema"),
        ("{sev} pulmonary vascular congestion with edema is present", "perihilar edema is {sev}"),
    ),
    (CONSOLIDATION, ""): Wording(
        (
            "{area} consolidation in the {lobe}",
            "{area} consolidation with air bronchograms in the {lobe}",
            "{area} dense consolidation in the {place}",
        ),
        ("the {lobe} shows {area} consolidation with air bronchograms",),
    ),
    (PNEUMONIA, ""): Wording(
        ("{sev} {lobe} pneumonia", "{sev} patchy pneumonia in the {lobe}", "{sev} pneumonia of the {lobe}"),
        ("patchy changes in the {lobe} are consistent with {sev} pneumonia",),
    ),
    (ATELECTASIS, ""): Wording(
        (
            "{sev} {side} basilar atelectasis",
            "{sev} atelectasis at the {side} lung base",
            "{sev} linear atelectasis at the {side} base",
        ),
        ("bands of {sev} atelectasis are seen at the {side} lung base",),
    ),
    (ATELECTASIS, "bilateral"): Wording(
        ("{sev} bibasilar atelectasis", "{sev} bilateral basilar atelectasis", "{sev} atelectasis at both lung bases"),
        ("bands of {sev} atelectasis are seen at both lung bases",),
    ),
    (PNEUMOTHORAX, ""): Wording(
        ("a {size} {side} apical pneumothorax", "a {size} {side} pneumothorax", "a {size} pneumothorax on the {side}"),
        ("a {size} {side} pneumothorax is visible at the apex",),
    ),
    (EFFUSION, ""): Wording(
        ("a {size} {side} pleural effusion", "a {size} pleural effusion on the {side}"),
        (
            "a {size} {side} pleural effusion blunts the costophrenic angle",
            "the {side} costophrenic angle is blunted by a {size} pleural effusion",
        ),
    ),
    (EFFUSION, "bilateral"): Wording(
        ("{size} bilateral pleural effusions", "{size} pleural effusions on both sides"),
        (
            "{size} bilateral pleural effusions blunt the costophrenic angles",
            "both costophrenic angles are blunted by {size} pleural effusions",
        ),
        plural=True,
    ),
    (PLEURA, "thickening"): Wording(
        (
            "{sev} {side} apical pleural thickening",
            "{sev} pleural thickening at the {side} apex",
            "{sev} apical pleural thickening on the {side}",
        )
    ),
    (PLEURA, "bilateral"): Wording(
        (
            "{sev} biapical pleural thickening",
            "{sev} bilateral apical pleural thickening",
            "{sev} pleural thickening at both apices",
        )
    ),
    (PLEURA, "plaque"): Wording(
        (
            "{sev} calcified pleural thickening on the {side}",
            "{sev} {side} pleural thickening with plaques",
            "{sev} {side} pleural thickening with calcified plaques",
        )
    ),
    (FRACTURE, "one"): Wording(
        ("a displaced {side} {zone} rib fracture", "a displaced fracture of a {side} {zone} rib"),
        ("a {side} {zone} rib shows a displaced fracture",),
    ),
    (FRACTURE, "two"): Wording(
        ("two displaced {side} {zone} rib fractures", "displaced fractures of two {side} {zone} ribs"),
        ("two {side} {zone} ribs show displaced fractures",),
        plural=True,
    ),
    (FRACTURE, "several"): Wording(
        ("multiple displaced {side} {zone} rib fractures", "displaced fractures of several {side} {zone} ribs"),
        ("several {side} {zone} ribs show displaced fractures",),
        plural=True,
    ),
    (DEVICES, "endotracheal tube"): Wording(
        ("an endotracheal tube",),
        (
            "an endotracheal tube terminates above the carina",
            "the endotracheal tube tip projects above the carina",
            "an endotracheal tube is in place",
        ),
    ),
    (DEVICES, "nasogastric tube"): Wording(
        ("a nasogastric tube",),
        (
            "a nasogastric tube courses into the stomach",
            "the nasogastric tube ends in the stomach",
            "a nasogastric tube is in place",
        ),
    ),
    (DEVICES, "central line"): Wording(
        ("a {side} central venous catheter", "a {side} central venous line"),
        (
            "a {side} central venous catheter terminates in the superior vena cava",
            "the tip of a {side} central venous line projects over the superior vena cava",
        ),
    ),
    (DEVICES, "pacemaker"): Wording(
        ("a {side} chest wall pacemaker", "a {side} pacemaker with two leads"),
        (
            "a {side} chest wall pacemaker has leads in the heart chambers",
            "a {side} dual lead pacemaker device is in place",
        ),
    ),
    (DEVICES, "sternotomy wires"): Wording(
        ("median sternotomy wires", "midline sternotomy wires"),
        ("the patient has intact sternotomy wires", "median sternotomy wires are aligned"),
        plural=True,
    ),
    (DEVICES, "surgical clips"): Wording(
        ("{side} hilar surgical clips", "surgical clips over the {side} hilum"),
        ("surgical clips project over the {side} hilum", "clips from surgery project over the {side} hilum"),
        plural=True,
    ),
    (DEVICES, "chest tube"): Wording(
        ("a {side} chest tube", "a {side} pleural chest tube"),
        ("a {side} chest tube is in place", "a {side} chest tube is directed towards the apex"),
    ),
    (AORTA, "tortuous"): Wording(
        ("{sev} tortuosity of the thoracic aorta", "{sev} enlargement of the aortic knob"),
        ("the thoracic aorta is {adv} tortuous", "the aorta is {adv} tortuous and enlarged"),
    ),
    (AORTA, "calcified"): Wording(
        ("calcification of the aortic knob", "aortic arch calcification"),
        ("the aortic knob is calcified", "the aortic arch shows calcification"),
    ),
    (SPINE, "scoliosis"): Wording(
        ("{sev} scoliosis of the thoracic spine convex to the {side}", "{sev} {side} convex thoracic scoliosis"),
        (
            "the thoracic spine shows {sev} scoliosis convex to the {side}",
            "thoracic scoliosis is {sev} and convex to the {side}",
        ),
    ),
    (SPINE, "degenerative"): Wording(
        (
            "{sev} degenerative changes of the thoracic spine",
            "{sev} degenerative changes in the thoracic spine",
            "{sev} degenerative spinal changes",
        ),
        ("the thoracic spine shows {sev} degenerative changes",),
        plural=True,
    ),
    (DIAPHRAGM, "elevated"): Wording(
        ("{sev} elevation of the {side} hemidiaphragm", "{sev} {side} hemidiaphragm elevation"),
        ("the {side} hemidiaphragm is {adv} elevated", "the {side} hemidiaphragm is {adv} raised"),
    ),
    (DIAPHRAGM, "flattened"): Wording(
        ("{sev} flattening of the {side} hemidiaphragm", "{sev} {side} hemidiaphragm flattening"),
        ("the {side} hemidiaphragm is {adv} flattened", "the {side} hemidiaphragm shows {sev} flattening"),
    ),
    (VOLUME, "low"): Wording(
        ("low lung volumes", "{adv} low lung volumes", "{adv} reduced lung volumes"),
        ("lung volumes are {adv} low",),
        plural=True,
    ),
    (VOLUME, "hyperinflated"): Wording(
        ("{sev} hyperinflation of the lungs", "{sev} pulmonary hyperinflation"),
        ("the lungs are {adv} hyperinflated", "both lungs are {adv} hyperinflated"),
    ),
    (NO_FINDING, ""): Wording(
        (),
        (
            "no acute cardiopulmonary process",
            "no acute cardiopulmonary abnormality",
            "there is no acute cardiopulmonary process",
            "normal appearance of the chest",
        ),
    ),
}

SINGULAR_FRAMES = ("there is {}", "{} is present", "{} is seen", "{} is noted")
PLURAL_FRAMES = ("there are {}", "{} are present", "{} are seen", "{} are noted")
DOUBT_FRAMES = (  # {} with its article, {bare} without
    "possible {bare}",
    "{} cannot be excluded",
    "there may be {}",
    "questionable {bare}",
    "{} is possible",
)

ABSENT = {  # what is denied, after "no" and before "or"
    OPACITY: ("focal opacity", "opacity"),
    CONSOLIDATION: ("consolidation", "focal consolidation"),
    EDEMA: ("pulmonary edema", "overt pulmonary edema", "edema"),
    PNEUMONIA: ("pneumonia", "focal pneumonia"),
    LESION: ("lung nodule", "pulmonary nodule"),
    EFFUSION: ("pleural effusion", "effusion"),
    PNEUMOTHORAX: ("pneumothorax",),
    FRACTURE: ("rib fracture", "displaced rib fracture", "fracture"),
    SPINE: ("bony abnormality", "other bony abnormality", "osseous abnormality"),
}
ABSENT_TOGETHER = {  # conditions that are always denied in one breath
    (OPACITY, CONSOLIDATION): (
        "the lungs are clear",
        "the lungs are clear without consolidation",
        "both lungs are clear",
    ),
    (FRACTURE, SPINE): ("there is no fracture or bony abnormality", "the bones are intact without fracture"),
}
ABSENT_FRAMES = ("there is no {}", "no {} is seen", "no {}", "there is no evidence of {}", "no {} is identified")
NORMAL = {
    HEART: (
        "heart size is normal",
        "the heart is normal in size",
        "the heart is not enlarged",
        "the cardiac silhouette is normal in size",
    ),
    MEDIASTINUM: (
        "the mediastinal contours are normal",
        "the mediastinum is normal",
        "the mediastinal silhouette is normal",
        "the mediastinal contours are unremarkable",
    ),
}
NORMAL_BOTH = (
    "the heart size and mediastinal contours are normal",
    "the heart and mediastinum are normal",
    "the cardiac and mediastinal silhouettes are normal",
    "heart size and mediastinal contours are within normal limits",
)
