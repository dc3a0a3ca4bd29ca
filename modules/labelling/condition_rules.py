"""Which words name which condition: the tables behind the rule labeler.

Patterns run over normalised words (``modules.labelling.assertions.normalised_sentences``). Every condition has

    PRESENT     names it; asserted, denied or left open by the words around it
    NORMAL      says its opposite ("heart size is normal"); counts as a denial
    BORDERLINE  says neither ("heart size upper limits of normal"); counts as uncertain

and an expression in ``MASKED`` is blanked first, because it holds a condition's word without naming the condition.
"""

from __future__ import annotations

# A gap between two parts of a pattern; it does not reach over the end of a clause.
_WORD = r"(?!(?:but|no|not|without|with|however|although|normal|clear|there|except)\b)\w+ "
_GAP = rf"(?:{_WORD}){{0,4}}?"
_SHORT_GAP = rf"(?:{_WORD}){{0,2}}?"
# Between a part of the body and "normal": a list of further parts may stand there, an abnormality may not.
_LIST = (
    r"(?:(?!(?:but|no|without|with|not|however|although|except|there|enlarge\w*|prominen\w*|abnormal\w*|tortuous|widen\w*"
    r"|upper|borderline|otherwise|opacit\w*|effusions?|cardiomegaly|calcif\w*)\b)\w+ ){0,9}?"
)
_NORMAL = (
    r"(?:normal|unremarkable|within (?:the )?(?:normal|limits)|in normal|intact|nonenlarged|negative|wnl"
    r"|not (?:\w+ )?(?:enlarged|widened)|not? (?:\w+ )?abnormal\w*)"
)
_LIMIT = r"(?:borderline|upper (?:limits? |range )?(?:of )?normal|top normal|upper limits?|high normal)"
_LARGE = r"(?:enlarge(?:d|ment|s)?|increased in size|dilated|prominent|prominence|large|widened|widening)"
_HEART = (
    r"(?:heart(?: and mediast\w+| and aort\w+| size| shadow| silhouette)*|cardiopericardial silhouette"
    r"|cardiac(?: and mediastinal)? (?:silhouettes?|shadows?|size|contours?|outlines?)|cardiac)"
)
_MEDIASTINUM = r"(?:mediastin\w+|cardio ?mediastin\w+)"
_SILHOUETTE = r"cardio ?mediastin\w+(?: (?:silhouettes?|contours?|size|structures?|shadow))*"
_NORMAL_FILLER = r"(?: (?:and|in|the|for|of|size|sized|stable|appearing|appearance|contours?|lungs?|{}))*"
_CLEAR_LUNGS = (
    rf"(?:lungs?(?! volume)|lung fields|lung zones|bases) {_LIST}"
    r"(?:clear|unremarkable|normal(?! inflat)|wnl|within (?:normal )?limits|free of|negative)",
    r"(?:clear|normal)(?: (?:and|well|expanded|bilateral\w*|inflated|aerated|expansion|appearing|symmetric\w*))*"
    r" (?:both )?(?:lungs?|hemithorax|air ?spaces?)",
    rf"lungs {_GAP}(?:show|demonstrate|reveal|have) no",
)
_BONE = (
    r"(?:bones?|bony(?: \w+)?|osseous(?: \w+)?|skeletal(?: \w+)?|skeleton|ribs?|spine|spinal|vertebra\w*|rib cage"
    r"|sternum|clavicles?|thoracolumbar|shoulders?|humer\w+|scapula\w*)"
)
_AORTA = r"(?:aorta|aortic(?: (?:arch|knob|contour|root|silhouette))?|arch)"
_AORTA_SIGNS = (
    r"(?:tortuo\w+|ecta\w+|uncoil\w+|unfold\w+|calcif\w+|dilat\w+|aneurysm\w*|athero\w+|arterioscler\w+|enlarge\w+"
    r"|prominen\w+|elongat\w+|sclero\w+)"
)
_DIAPHRAGM = r"(?:hemi ?diaphragms?|diaphragms?|diaphragmatic)"
_DIAPHRAGM_SIGNS = (
    r"(?:elevat\w+|eventrat\w+|flatten\w+|obscur\w+|tent(?:ing|ed)|paraly\w+|scallop\w+|raised|silhouett\w+"
    r"|abnormal\w*)"
)
_REDUCED = r"(?:low|small|decreased|diminished|reduced|shallow|poor|large|increased|hypo|expiratory|suboptimal|limited)"
_BROKEN_DEVICES = (
    r"(?:catheter|screw|wire|lead|hardware|rod)s? (?:\w+ ){0,2}?fractur\w+",
    r"fractur\w+ (?:(?!of\b|and\b)\w+ ){0,3}?(?:screw|wire|lead|catheter|hardware|rod)s?",
)

PRESENT: dict[str, tuple[str, ...]] = {
    "enlarged cardiomediastinum": (
        rf"{_MEDIASTINUM} {_GAP}(?:{_LARGE}|adenopathy|lymphadenopathy|hematoma|mass|masses)",
        r"(?:enlarge(?:d|ment)|widen(?:ed|ing)|wide|prominen(?:t|ce)|mass)(?: of(?: the)?| in the| appearing)?"
        rf"(?: superior| upper| anterior| right| left| cardiac and)? {_MEDIASTINUM}",
        r"enlarge(?:d|ment)(?: of the| appearing)? cardiac (?:silhouette|shadow|contours?)",
        rf"cardiac (?:silhouette|shadow|contours?) {_GAP}{_LARGE}",
        r"paratracheal (?:\w+ )?(?:prominence|widening|enlargement)",
    ),
    "cardiomegaly": (
        r"cardiomegaly",
        rf"{_HEART} {_GAP}(?:enlarge(?:d|ment)?|increased in size|big|generous|prominent|large)",
        rf"(?:enlarged?|enlargement of the|large|prominent|increased) {_SHORT_GAP}{_HEART}",
        r"increased? in (?:the )?(?:heart size|(?:size of the )?(?:heart|cardiac silhouette))",
        rf"{_SILHOUETTE} {_GAP}(?:enlarged|enlargement|prominent)",
        rf"(?:enlarged|enlargement of the|prominent) {_SHORT_GAP}{_SILHOUETTE}",
    ),
    "lung opacity": (
        r"\w*opacit(?:y|ies)|opacifications?|opacified",
        r"infiltrat(?:es?|ions?|ive)",
        r"air ?space (?:disease|process|changes?|shadow\w*)|ground glass",
        r"(?:alveolar|interstitial) (?:disease|process|changes?)",
        r"consolidat\w+|consol",
        r"densit(?:y|ies)(?! of)",
        r"(?:increased|prominent|coarse\w*|diffuse) (?:\w+ )?interstitial (?:\w+ )?(?:markings?|pattern)",
    ),
    "lung lesion": (
        r"(?:micro|pseudo|fibro|reticulo)?nodul(?:es?|ar(?:ity)?)",
        r"mass(?:es)?",
        r"(?:lung|pulmonary|cavitary|parenchymal|spiculated|cavitating) lesions?",
        r"cavit(?:y|ies|ation)",
        r"neoplas\w+|tumou?rs?|malignan\w+|carcinoma|metasta\w+|cancer",
    ),
    "edema": (
        r"o?edema",
        r"congest(?:ion|ed)|engorge\w*|cephali[sz]ation|kerley b lines|vascular redistribution|venous hypertension",
        r"congesti(?:ve|on) changes?",
        r"(?:congestive|heart|cardiac|early|mild|ventricular) failure|chf|cardiac decompensation",
        r"(?:fluid|volume) overload",
        r"vascular(?:ity|ature)? (?:is |are |appears? )?(?:\w+ )?prominen(?:t|ce)",
        r"prominen(?:t|ce)(?: of the)?(?: \w+)? pulmonary vascul\w+",
    ),
    "consolidation": (r"consolidat\w+|consol",),
    "pneumonia": (
        r"(?:broncho|pleuro)?pneumoni(?:a|as|c)|pneumonitis|pna",
        r"infect(?:ions?|ious)",
    ),
    "atelectasis": (
        r"atelecta\w+|atx|atel",
        r"(?:lung|lobe|lobar|lobes|pulmonary) (?:\w+ )?collapse",
        r"collapsed? (?:\w+ ){0,5}?(?:lung|lobe)",
    ),
    "pneumothorax": (r"(?:hydro|haemo|hemo)?pneumo ?thora(?:x|ces|xes|cies)|ptx",),
    "pleural effusion": (
        r"effusions?|effs?",
        r"pleural (?:\w+ )?fluid|fluid (?:\w+ ){0,3}?(?:pleural|fissures?)",
        r"ha?emothora\w+|hydro(?:pneumo)?thora\w+",
    ),
    "pleural other": (
        r"pleural (?:(?!and\b)\w+ ){0,2}?calcif\w+",
        r"pleural (?:\w+ ){0,2}?(?:thickening|scar\w*|fibrosis|plaques?|disease|abnormalit(?:y|ies)|reaction"
        r"|mass(?:es)?|lesions?|nodul\w+|tumou?r|capping)",
        r"(?:thickening|scar\w*|fibrosis|calcif\w+) (?:\w+ ){0,3}?(?:pleura\b|pleural (?!effusion))",
        r"(?:bi)?apical (?:\w+ )?(?:thickening|capping|cap)",
        r"thickening (?:of|in|along) the (?:\w+ )?(?:fissures?|pleura)|fissural thickening",
        r"pleura\w* (?:\w+ ){0,2}?thickened|thickened pleura\w*",
        r"fibrothorax|pleuro ?parenchymal|pleural based|empyema|mesothelioma",
    ),
    "fracture": (r"fractur\w+|fx",),
    "support devices": (
        r"pace ?makers?|pacer|pacing|icd|aicd|defibrillators?|generator|stimulators?|neurostimulator|devices?",
        r"electrodes?",
        r"(?:pacer|pacing|cardiac|icd|aicd|atrial|ventricular|ekg|ecg|monitoring|dual|single|transvenous) lead|leads",
        r"picc|cvc|ports?|port ?a ?cath\w*|mediport|infusaport|chemo ?port|catheters?|cath|vascular sheath|cannulas?",
        r"pigtail|monitoring lines?",
        r"(?:central|venous|jugular|subclavian|ij|svc|arterial|cvl|dialysis|access|support|infusion|cvp)"
        r" lines?",
        r"lines and tubes|lines? (?:tip|terminat\w+|placement)",
        r"tips? (?:\w+ ){0,5}?(?:svc|atrium|cavoatrial|caval|carina|vena cava)",
        r"\w*tubes?|ett|ngt|tracheostomy|swan ganz|drains?|dobbhoff|ecmo|lvad|impella|iabp",
        r"balloon pump|infusion pump|stents?|stented|wires|clips?|(?:vp|ventriculo\w+) shunt|ivc filter",
        r"embolization coils?",
        r"(?:mechanical|artificial|replacement|replaced|bioprosthetic|prosthetic) (?:\w+ )?valves?|annuloplasty",
        r"occluder",
        r"valv\w+ (?:replacement|prosthes\w+|repair|ring)s?|hardware|instrumentation|screws?|rods?|loop recorder",
    ),
    "aorta abnormal": (
        rf"{_AORTA} {_GAP}{_AORTA_SIGNS}",
        rf"{_AORTA_SIGNS}(?: changes?| disease)? {_GAP}{_AORTA}",
        r"atheroscler\w+|atheromatous|arterioscler\w+|aneurysm\w*",
    ),
    "bone/spine abnormal": (
        r"degenerati\w+|osteophy\w+|scolio\w+|kypho\w+|spondyl\w+|arthri\w+|arthro\w+|osteoarth\w+|osteopen\w+",
        r"osteopor\w+",
        r"demineraliz\w+|dish|hyperostosis|fractur\w+|spurr?ing|pectus|wedging",
        rf"{_BONE} {_GAP}(?:abnormalit(?:y|ies)|deformit\w+|lesions?|disease|compression|sclero\w+|lytic|changes?"
        r"|injur\w+|dislocat\w+|wedg\w+|height loss|loss of height|findings?|process)",
        r"(?:abnormalit(?:y|ies)|deformit\w+|lesions?|compression|sclero\w+|lytic|wedg\w+|dislocat\w+|erosions?"
        rf"|destruction|metasta\w+) {_GAP}{_BONE}",
        r"compression deformit\w+|dis[ck] (?:space )?(?:narrow\w+|disease|degenerat\w+|height)",
    ),
    "hemidiaphragm abnormal": (
        rf"{_DIAPHRAGM} {_GAP}(?:{_DIAPHRAGM_SIGNS}|high|hernia\w*|blunt\w+)",
        rf"{_DIAPHRAGM_SIGNS} {_GAP}{_DIAPHRAGM}",
        r"eventration|hiatal hernia",
    ),
    "lung volume abnormal": (
        rf"{_REDUCED} {_SHORT_GAP}(?:volumes?|inspirat\w+|inspiratory|inflation|expansion)",
        rf"volumes {_GAP}{_REDUCED}",
        r"(?:hyper|hypo|under|over) ?(?:inflat|expan|aerat|disten|lucen|ventil)\w*",
        r"volume loss|loss of (?:lung )?volume|(?<!subcutaneous )(?<!tissue )(?<!mediastinal )(?<!surgical )emphysema\w*|copd|chronic obstructive|air trapping",
    ),
}

NORMAL: dict[str, tuple[str, ...]] = {
    "enlarged cardiomediastinum": (
        rf"{_MEDIASTINUM} {_LIST}{_NORMAL}",
        rf"(?:normal|unremarkable|negative){_NORMAL_FILLER.format('cardiac|heart|hilar|silhouettes?')} {_MEDIASTINUM}",
    ),
    "cardiomegaly": (
        rf"{_HEART} {_LIST}{_NORMAL}",
        rf"{_SILHOUETTE} {_LIST}{_NORMAL}",
        rf"(?:normal|unremarkable|negative){_NORMAL_FILLER.format('mediastinal')}"
        r" (?:heart|cardiac|cardio ?mediastin\w+)(?! failure)",
    ),
    "edema": (rf"(?:vascul\w+|vessels) (?:engorgement|congestion) {_LIST}{_NORMAL}",),
    "lung opacity": _CLEAR_LUNGS,
    "consolidation": _CLEAR_LUNGS,
    "pleural effusion": (
        r"(?:pleurae?|pleural|costophrenic|cp)(?: \w+){0,4}? (?:clear|sharp|normal|unremarkable|preserved|dry)",
        r"(?:clear|sharp|normal|unremarkable) (?:\w+ ){0,3}?(?:pleural|costophrenic)(?! thick)",
    ),
    "pleural other": (
        r"pleural (?:spaces?|surfaces?|margins?|reflections?)(?: \w+){0,4}? (?:clear|normal|unremarkable)",
    ),
    "aorta abnormal": (rf"{_AORTA} {_LIST}{_NORMAL}", rf"(?:normal|unremarkable) (?:\w+ ){{0,2}}?{_AORTA}"),
    "bone/spine abnormal": (
        rf"{_BONE} {_LIST}{_NORMAL}",
        rf"(?:normal|unremarkable|intact|negative) (?:\w+ ){{0,2}}?{_BONE}",
    ),
    "hemidiaphragm abnormal": (
        rf"{_DIAPHRAGM} {_LIST}(?:normal|unremarkable|sharp\w*|clear|intact|smooth|preserved|well (?:seen|defined))",
        rf"(?:normal|unremarkable|sharp|intact) (?:\w+ ){{0,2}}?{_DIAPHRAGM}",
    ),
    "lung volume abnormal": (
        r"(?:well|normally|adequately|fully|satisfactorily|symmetrically|are|normal) (?:clear and )?"
        r"(?:expanded|inflated|aerated|ventilated|expansion|inflation)",
        r"(?:normal|adequate|good|satisfactory|preserved) (?:\w+ )?"
        r"(?:volumes?|inspirat\w+|inflation|expansion|aeration)",
        r"lung volumes? (?:\w+ ){0,3}?(?:normal|adequate|preserved|within)",
    ),
}

BORDERLINE: dict[str, tuple[str, ...]] = {
    "cardiomegaly": (
        rf"(?:{_HEART}|{_SILHOUETTE}) (?:(?!no\b|without\b|but\b)\w+ ){{0,6}}?{_LIMIT}",
        rf"{_LIMIT} (?:\w+ ){{0,3}}?(?:heart|cardiac|cardiomegaly|cardiomediastin\w+)",
    ),
    "enlarged cardiomediastinum": (
        rf"{_MEDIASTINUM} (?:\w+ ){{0,4}}?{_LIMIT}",
        rf"{_LIMIT} (?:\w+ ){{0,2}}?{_MEDIASTINUM}",
    ),
}

MASKED: dict[str, tuple[str, ...]] = {
    "lung opacity": (
        r"(?:bone|mineral) densit\w+|pleural (?:densit\w+|opacit\w+)",
        r"(?:soft tissue|metallic|osseous|bony|sclerotic|substernal) (?:densit\w+|opacit\w+)",
        r"densit\w+ (?:\w+ ){0,4}?(?:glenoid|breast|skin|clavicle|humer\w+)",
    ),
    "lung lesion": (
        r"(?:breast|thyroid|mediastinal|pleural|soft tissue|bony|osseous|rib|muscle|body|hilar|adrenal)"
        r" (?:mass(?:es)?|lesions?|nodul\w+)",
    ),
    "edema": (r"soft tissue edema",),
    "pneumonia": (
        r"(?:granulomatous|tubercul\w+|fungal|prior|old|previous|remote|histoplasm\w+) (?:\w+ )?"
        r"(?:infecti\w+|pneumonia)",
    ),
    "atelectasis": (r"vertebral (?:body |bodies )?collapse",),
    "pleural effusion": (r"pericardial (?:\w+ )?effusions?|joint effusions?",),
    "fracture": _BROKEN_DEVICES,
    "bone/spine abnormal": _BROKEN_DEVICES,
    "support devices": (
        r"(?:pleural|fissure|paratracheal|septal|kerley|paraspinal|fat|fracture|skin|mediastinal) (?:a |b )?lines?",
        r"(?:bronchial|eustachian) tubes?|ports? (?:of|film)",
    ),
}
