"""What a line of a radiology report begins: the findings, an impression, something beside them, or nothing."""

from __future__ import annotations

import difflib
import re
from functools import cache

from modules.labelling.labelers import RuleLabeler
from modules.labels import BLANK, CONDITIONS

_CONCLUSION = r"(?:impressions?|conclusions?|interpretations?|summary|opinion|assessment|bottom line|imp)"
NAMES = rf"(?:(?:findings?|observations?|{_CONCLUSION})(?:\s*(?:and|/|&|,)\s*(?:findings?|{_CONCLUSION}))?)"
_CAPITALS = re.compile(r"\s*(?P<name>[A-Z](?:[A-Z0-9 ,./()&_'#-]|(?<=\d):(?=\d)){1,70}?)\s*[:;](?P<rest>\s.*|$)")
_KNOWN = re.compile(
    rf"\s*(?P<name>{NAMES}|report|results?)(?:\s*(?:[:;]|[-\u2013\u2014](?=\s|$))(?P<rest>.*)|\s*)", re.IGNORECASE
)
_BARE = re.compile(
    rf"\s*(?P<name>(?-i:(?=[A-Z])){NAMES})(?-i:(?<=[A-Z]))(?:\.\s|\s+(?-i:(?=[A-Z][a-z])))(?P<rest>.*)", re.IGNORECASE
)
_MARKED = re.compile(
    rf"\s*(?:#{{1,6}}\s*|\*{{1,2}}|__|\[|<|(?-i:\((?=[A-Z]{{4}})))+\s*(?P<name>{NAMES})\s*:?\s*(?:\*{{1,2}}|__|\]|>|\)|#)*\s*:?(?P<rest>.*)",
    re.IGNORECASE,
)
_ASIDE_IN_ANY_CASE = re.compile(
    r"\s*(?P<name>indications?|(?:clinical )?history|technique|comparisons?|examination|reason for exam(?:ination)?|"
    r"recommendations?|notification|addendum|clinical information|cc)\s*:(?P<rest>.*)",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"(?:(?:clinical|brief|patient|pertinent|relevant|prior|previous|reference|type of|reason for|referring|additional|final|"
    r"preliminary|critical|date of|time of)\s+)*"
    r"(?:indications?|history|information|diagnos[ie]s|symptoms?|exam(?:ination)?s?|study|request|techniques?|"
    r"comparisons?|compared|procedures?|protocol|notifications?|recommendations?|recommend|communications?|"
    r"comments?|notes?|follow ?-?up|discussion|pfi|end of|dr|cc|attestation|disclaimer|"
    r"wet read|addend(?:um|a)|dictat\w*|dictation|transcrib\w*|sign(?:ed|ature)\w*|plan|electronically|attending|physician|"
    r"resident|radiologist|accession|order\w*|contrast|dose|radiation|date|time|name|patient|reason|question|consent|"
    r"technologist|clinicians?|provider|hx|pmh|priors|dob|mrn|cpt|icd|billing|suggestions?|advice|background|communicated|"
    r"allerg(?:y|ies)|medications?|modality|exposure|referral|operator|unit|correlation|old films?|(?:image )?quality|limitations?|critical results?|clinical (?!finding|impression)\w+$|number of images|(?:views?|studies|data|age|sex|site|location|service|management)$)\b",
    re.IGNORECASE,
)
_MISSPELT_ASIDES = ("comparison", "indication", "history", "technique", "recommendation", "examination")
_WHOLE_REPORT = re.compile(r"(?:final |radiology )?(?:report|results?)", re.IGNORECASE)
_ORGAN = re.compile(
    r"heart|cardi|mediast|lung|pulmon|airway|trachea|pleur|bone|bony|skelet|osseous|rib|spine|soft tissue|abdom|diaphragm|"
    r"line|tube|device|support|hardware|catheter|vascul|vessel|aort|hil|thora|chest wall|breast|neck|stomach|bowel|effusion|"
    r"pneumo|edema|opacit|nodul|mass|left|right|upper|lower"
)
OWNS_MORE = ("findings", "impression", "combined", "report")


def heading(line: str, at_start: bool, inside: str) -> tuple[str, str] | None:
    """Kind and rest of a line that begins a section, None for text."""
    bare = _MARKED.fullmatch(line) or _BARE.fullmatch(line)
    if bare:
        line = f"{bare['name']}: {bare['rest']}"
    match = _KNOWN.fullmatch(line)
    alone = match is not None and (match["name"].isupper() or len(match["name"]) > 7)
    if (
        match
        and (at_start or match["name"].isupper() or (match["name"][0].isupper() and ":" in line))
        and (match["rest"] is not None or alone)
    ):
        if _WHOLE_REPORT.fullmatch(match["name"]):
            return _kind_of_report(inside), match["rest"] or ""
        return _kind_of_known(match["name"]), match["rest"] or ""
    match = _ASIDE_IN_ANY_CASE.fullmatch(line)
    if match and at_start:
        return "aside", match["rest"]
    match = _CAPITALS.fullmatch(line)
    if not match or not re.search(r"[A-Z]{2}", match["name"]):
        return None
    name = match["name"].lower()
    if _WHOLE_REPORT.fullmatch(name):
        return _kind_of_report(inside), match["rest"]
    of_the_study = re.fullmatch(r"(?:study|exam(?:ination)?|patient|procedure) (?:findings?|impressions?)", name)
    aside = (_ASIDE.match(name) and not of_the_study) or _like(name, _MISSPELT_ASIDES)
    if aside or re.search("provisional|preliminary", name):
        return "aside", match["rest"]
    if re.search(
        r"finding|observation|impression|conclusion|^(?:interpretations?|summary|opinion|assessment|imp)$", name
    ) or _misspelt(name):
        return _kind_of_known(name), match["rest"]
    if inside in OWNS_MORE:
        # LUNGS: or CHEST, PA AND LATERAL: inside the findings are text, other headers are not
        return None if _ORGAN.search(name) or _is_view(name) else (inside, match["rest"])
    if name == "chest, two views":
        return "report", match["rest"]  # MIMIC-CXR's own parser counts 1,735 of these, and calls their text findings
    return "unnamed", match["rest"] if _is_view(name) else line


def _kind_of_report(inside: str) -> str:
    """What REPORT: or RESULT: begins: the report itself, unless its sections have begun."""
    return "report" if inside not in ("findings", "impression", "combined") else "aside"


def _kind_of_known(name: str) -> str:
    name = name.lower()
    if re.match(rf"{_CONCLUSION} of ", name):
        return "impression"  # SUMMARY OF FINDINGS
    findings = bool(re.search(r"finding|observation", name)) or _misspelt(name) == "findings"
    impression = bool(re.search(rf"\b{_CONCLUSION}\b", name)) or _misspelt(name) == "impression"
    return "combined" if findings and impression else "findings" if findings else "impression"


def _misspelt(name: str) -> str | None:
    return _like(name, ("findings", "impression"))


def _like(name: str, known: tuple[str, ...]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return close[0] if close else None


def _is_view(name: str) -> bool:
    return bool(re.search(r"chest|radiograph|view|portable|film|x-?ray|\bpa\b|\bap\b|lateral|frontal", name))


@cache
def _rules() -> RuleLabeler:
    return RuleLabeler()


def speaks_of_a_finding(text: str) -> bool:
    """Whether a text names a condition, be it to deny it."""
    states = _rules()([text])[0]
    return any(state != BLANK for state, name in zip(states, CONDITIONS, strict=True) if name != "no finding")
