"""How templates and language models answer: the words for no, yes and perhaps, beside a finding and above a list of findings."""

from __future__ import annotations

import re

from modules.labelling.condition_rules import PRESENT

FINDING = re.compile(rf"\b(?:{'|'.join(pattern for patterns in PRESENT.values() for pattern in patterns)})\b")
_SEEN = r"(?:seen|identified|visuali[sz]ed|noted|demonstrated|detected|evident|appreciated|present|found|apparent|observed|shown|visible)"
SIDES = r"(?:on the |in the )?(?:left|right|bilateral(?:ly)?|both sides|either side|lt|rt|l|r)(?: side| lung)?"
_ANSWERS = {
    "no": (
        rf"(?:(?:it|there|they|this|i|we) (?:(?:is|are|do|does|can) ?not|isn['\u2019]?t|aren['\u2019]?t|don['\u2019]?t)(?: any)?|no|none|nil|absent|negative|neg|false|f|(?:nearly |almost |now )?(?:gone|cleared)|0(?:\.0+)?\s*(?:mm|cm|ml|cc)|0(?:\.0+|\s*/\s*\d)?|grade 0(?:\s*/\s*\d)?|\u00d8|\u2205|n|nope|non-?visuali[sz]ed|(?:there (?:is|are)|i see|we see) none|can be excluded|not (?:clearly |definitely )?{_SEEN}|nothing|(?:highly |very |most )?unlikely|(?:probably|likely) not|not likely|-|\u2212|\u2013|-ve|\(-\)"
        rf"|no evidence|without evidence|excluded|ruled out|normal|unremarkable|clear|(?:(?:completely|fully|entirely|now|since|interval) )*resolved(?: (?:since|after|compared|in the interval)\b[^.;]*)?|(?:has been |have been |since )?removed|0\s*%|\U0001f6ab|no longer {_SEEN}|none {_SEEN}"
        rf"|no {_SEEN}|within normal limits|wnl|none acute|not any|not there|zero|not that (?:i|we) can see|(?:it|this|one|they|these) (?:is|was|are|were) not {_SEEN}|(?:i|we) (?:do not|don't|can(?:not|'t)) see (?:one|any|it)|denied|\u2717|\u2718|\u274c|no evidence (?:of|for) (?:this|it|one)"
        r"|(?:interval |complete )*resolution|(?:previously|formerly) (?:seen|noted|present),? (?:but )?(?:is |has )?(?:now |since )*"
        rf"(?:resolved|gone|cleared|absent|no longer {_SEEN})|(?:now|since|has|have) (?:now |since )?(?:resolved|cleared)"
        r"|no (?:acute|significant|definite|obvious|focal|large|discrete|convincing|radiographic)(?: evidence)?)"
    ),
    "yes": rf"(?:yes|y|(?:it|there|they) (?:is|are)|i do|(?:not (?:yet |fully |completely |entirely )*|incompletely |partial(?:ly)? |partly )(?:resolved|cleared|removed|gone)|(?:most |very |quite )?likely|{_SEEN}|positive|pos|true|t|1(?:\.0+)?|\+{{1,3}}|\+ve|\(\+\)|confirmed|definite(?:ly)?|grade [1-9]|\u2713|\u2714|\u2705|\u2611)",
    "possible": (
        r"(?:possible|possibly|-1(?:\.0+)?|(?:can be )?neither confirmed nor excluded|(?:hard|difficult|impossible) to (?:exclude|rule out)(?: on [^.;]*)?|maybe|perhaps|questionable|question|\?|equivocal|indeterminate|uncertain|unclear|suspected|probable"
        r"|doubtful|improbable|considered|not favou?red|not definite(?:ly)?|to be (?:excluded|ruled out)|can(?: ?not|'?t|\u2019t) (?:be (?:\w+ )?excluded|exclude|be ruled out)|not (?:\w+ )?(?:excluded|ruled out)(?: on (?:this|the) \w+)?|low (?:likelihood|probability|suspicion)|u|unsure|(?:i am |i'm )?not sure|(?:hard|difficult) to say|50 ?/ ?50|(?:low|moderate) suspicion|borderline|suspicious|may be present"
        r"|\u00b1|\+\s*/\s*-|(?:minimal|trace|tiny|small|little|none),? if (?:any|present)|(?:none|no) to (?:minimal|trace|mild))"
    ),
    "": (
        r"(?:not (?:assessed|evaluated|mentioned|applicable|reported|stated|commented (?:on|upon)|imaged|included|done|described)(?: upon| on)?(?: (?:due to|because|owing to|on|in|by)\b[^.;]*)?|n/?a|unknown|null|nan"
        r"|null|nan|yes ?/ ?no|not available|limited(?: evaluation| assessment)?|undetermined|unable to (?:assess|evaluate|determine)|can ?not be (?:\w+ly )?(?:assessed|evaluated|determined)|not (?:well )?assessable|(?:see|as|same as) (?:above|below|before|impression)|tbd|blank|-{2,}|_+)"
    ),
}
_WHEN = (
    r"(?: now| today| currently| at (?:this time|present|the moment)"
    r"|,? (?:on|in|at|by) (?:this|the|today['\u2019]?s) (?:current |present |available |submitted |given |single )?"
    r"(?:exam\w*|study|images?|film|(?:chest )?(?:radiographs?|x-?rays?)|views?|time))?"
)
_ANSWER = {
    word: re.compile(
        rf"(?:(?P<side>{SIDES})\s+)?{pattern}(?:\s+(?P<place>{SIDES}))?{_WHEN}",
        re.IGNORECASE,
    )
    for word, pattern in _ANSWERS.items()
}
PURE = "|".join(_ANSWERS.values())
# A heading that says the state of what is listed under it, and the word that says so to the rules.
_STATES = {
    "no ": rf"(?:pertinent |significant )?negatives?(?: findings?| for)?|(?:findings? )?absent(?: findings?)?|(?:not|no longer|none) {_SEEN}|no|none of(?: the following)?(?: (?:findings? )?(?:are|is|were) {_SEEN})?|without|denied"
    r"|excluded|ruled out|(?:there (?:is|are) )?no(?: (?:evidence|signs?)(?: of)?)?(?: (?:any of )?the following(?: findings?)?)?",
    "": rf"(?:pertinent )?positives?(?: findings?)?|present(?: findings?)?|yes|{_SEEN}|abnormal(?:ities|(?: findings?))",
    "possible ": r"possible(?: findings?)?|uncertain(?: findings?)?|suspected|questionable|equivocal|cannot (?:be )?excluded?",
}
_STATE = {
    word: re.compile(
        rf"(?:(?:all (?:of )?)?the following (?:findings? )?(?:are|is|were) )?(?:{pattern})", re.IGNORECASE
    )
    for word, pattern in _STATES.items()
}
LEFT_OPEN = re.compile(  # the beginning of an answer that leaves it open, before a size or a place
    r"(?:possibl[ey]|probabl[ey]|questionable|question of|suspected|suspicion (?:of|for)|equivocal|indeterminate|maybe|perhaps|(?:may|might|could) be|(?:suspicious|concerning) for|\?)\s*(?:findings? )?(?P<rest>.*)|(?P<asked>.*\w)\s*\?",
    re.IGNORECASE,
)
BEFORE = re.compile(r"\(?(?:previously|formerly|prior|earlier|was|were)\b", re.IGNORECASE)
THEN = re.compile(  # what was before: "(was large)", "was moderate, now ..", "present before, .."
    r"\s*\((?:was|were)\b[^()]*\)|^(?:was|were)\b[^,;]*[,;]\s*(?=(?:now|currently|today)\b)|^[^,;:]*\b(?:before|previously|earlier)\s*[,;]\s*(?=\w)",
    re.IGNORECASE,
)
OTHER = re.compile(
    r"(?!(?:left|right|bilateral|size|location|side|severity|grade|degree|type|laterality|extent|change|status|r|l|small|mild|moderate|large|severe|trace|tiny|minimal|none|no|yes|present|absent|possible)\b)[a-z][a-z ]{2,30}:\s"
)
ASKED_OF = re.compile(r"(?m)(?:(?<=^)|(?<=\s))\?(?=[A-Za-z])|(?:^|(?<=[.;,:]\s))\(?\?\)?\s*(?=[A-Za-z])")  # "?effusion"
DESCRIBED = re.compile(
    rf"{FINDING.pattern}\s*(?:\s[-\u2013]\s*)?(?:mild|moderate|severe|small|large|trace|tiny|minimal|present)\b"
)
_FIELD = re.compile(  # {"effusion": {"present": false}}, {"name": "effusion", "status": "absent"}
    r"(?<=:)\s*\{\s*[\"']?(?:present|presence|status|value|answer|state|probability|confidence|score)[\"']?\s*:|[\"']\s*,\s*[\"'](?:present|presence|status|value|answer|state|probability|confidence|score)[\"'](?=\s*:)"
    r"|[\"'](?:name|finding|condition|observation)[\"']\s*:\s*[\"']|\[(?=\s*\{)|(?<=\})\s*\]"
)
_CAMEL = re.compile(r"(?m)(?<=^)(\W*[A-Z][a-z]+)([A-Z][a-z]+)(?=\W*:)")  # PleuralEffusion: false


def line_by_line(report: str) -> str:
    """JSON whose findings are objects as lines of ``finding: answer``; lines after plus and minus as what is there and not."""
    if "{" in report:
        report = re.sub(r"\}\s*,\s*(?=[{\"'])", "\n", _FIELD.sub("", report))
    lines = _CAMEL.sub(r"\1 \2", report).split("\n")
    if {"+ ", "- "} <= {line.lstrip()[:2] for line in lines}:
        lines = [re.sub(r"^\s*-\s+(?=(?:\S+\s*){1,4}$)(?!no\b)", "no ", line) for line in lines]
    return "\n".join(lines)


def answer_of(clause: str) -> tuple[str, str] | None:
    """What a clause answers (``no``, ``yes``, ``possible`` or ``""``) and on which side, None if it is no answer."""
    for word, pattern in _ANSWER.items():
        match = pattern.fullmatch(clause.strip(" ."))
        if match:
            return word, match["side"] or match["place"] or ""
    return None


def state_of(heading: str) -> str | None:
    """The word that a heading says of everything listed under it (``Not seen:``), None if it is another heading."""
    return next((word for word, pattern in _STATE.items() if pattern.fullmatch(heading.strip())), None)


def without_question(plain: str) -> str:
    """What a question asks for: ``is there any effusion`` asks for ``effusion``."""
    plain = re.sub(r"^(?:do|does|did|can) (?:the |this |these )?\w+ (?:show|demonstrate|reveal|have|see) ", "", plain)
    return re.sub(r"^(?:is|are|was|were)?(?: ?there)?(?: ?(?:any|an?|evidence of|signs of))* ", "", plain)
