"""Is what a sentence mentions asserted, denied or left open?

A small rule engine in the spirit of NegEx and ConText, for chest radiograph reports. A cue sets the assertion of the
words in its scope: forward for "no" or "possible", backward for "is not seen" or "cannot be excluded". Scopes end with
the sentence, at words such as "but", "however" or "with", and for negation at a finite verb: in ``no effusion the heart
is enlarged`` (commas do not survive report cleaning) only the effusion is denied.

Source: the idea is that of Chapman et al., A simple algorithm for identifying negated findings, 2001 (NegEx), and
Harkema et al., ConText, 2009. The cues and the rules of scope are our own.
"""

from __future__ import annotations

import re
from functools import lru_cache

from modules.labelling.answers import FINDING
from modules.labelling.condition_rules import PRESENT
from modules.labelling.structured import as_prose
from modules.labels import BLANK, NEGATIVE, POSITIVE, UNCERTAIN

_SEEN = (
    r"(?:seen|identified|visualized|visualised|noted|demonstrated|detected|evident|appreciated|present|found|apparent"
    r"|shown|visible|observed)"
)
_EXCLUDED = r"(?:excluded|ruled out|eliminated)"
_BE = r"(?:is|are|was|were|be|been)"
_CHANGE = (
    r"(?:changes?|changed|increase[ds]?|decrease[ds]?|improve(?:ment|d)?|progress(?:ion|ed)?|differen(?:ce|t)"
    r"|resol(?:ution|ved)|worsen(?:ing|ed)|development|enlargement (?:since|from|of the (?:effusion|heart)))"
)
_ENDED = r"(?:resol(?:ution|ved)|clear(?:ing|ed)|gone|disappeared|removed)"
_UNCHANGED = (
    r"(?:a|any|evidence of|significant(?:ly)?|interval|appreciabl[ey]|definitely?|substantial(?:ly)?|major|markedly"
    r"|greatly|much|short term|acute|obvious)"
)
_THAT = r"(?: (?:that|if|whether))?(?: there (?:is|are|may be|might be))?"
_END = (  # of a sentence, or what says only that this film is meant
    r"(?:$|(?= (?:now|today|currently|at present|(?:on|in|at|by) (?:this|the|todays) (?:\w+ ){0,2}?"
    r"(?:exam\w*|study|images?|film|radiographs?|x ?rays?|views?|time))$))"
)
_DUE_TO = r"(?: (?:partially |partly |in part |simply )?(?:due|related|secondary) to| from| on the basis of)?"

# Patterns over normalised words, by kind of cue. Of two kinds that fit at one word the one that stands earlier wins.
CUES = {
    # "as is edema", "nor is edema": what was said last holds again.
    "again": (r"(?:as|so|nor|neither) (?:is|are|was|were|has|have|does|do|can|could)(?: there)?(?: (?:an?|any|the))?",),
    # Looks like a cue and is none: whatever assertion holds goes on.
    "pseudo": (
        rf"(?:no|not|without)(?: {_UNCHANGED})* {_CHANGE}(?! (?:of|suggest|to suggest|consistent|compatible))",
        rf"(?:(?:no|not|without|never|lack of)(?: (?:yet|been|interval|complete(?:ly)?|full(?:y)?|entirely|any|evidence of|definite))*|(?:has |have |had |is |are )?(?:incomplete(?:ly)?|partial(?:ly)?|partly)) (?:interval )?{_ENDED}(?: of)?",
        r"not only|no further|no doubt|no (?:prior|previous|comparison)|if clinically",
        r"not (?:as )?well (?:seen|demonstrated|visuali[sz]ed|appreciated|defined)",
        r"not (?:completely |fully |entirely |well |clearly |optimally |adequately )?"
        r"(?:included|imaged|evaluated|assessed|characterized)",
        r"age indeterminate|indeterminate age",
        rf"(?:{_BE} )?not (?:\w+ )?{_SEEN} (?:before|previously|(?:on|in|at) (?:the |any )?(?:prior|previous|earlier|last))",
        r"(?:most|highly|strongly) (?:suggestive of|suspicious for|suggests?)",
        r"(?:consistent|compatible|associated|along|together|in keeping|keeping) with|with (?:regards?|respect) to",
        r"(?:may|might|could) (?:be )?(?:obscur|limit|mask|simulat|hid|accentuat|exaggerat)\w*",
    ),
    # Denies what follows, although it looks as if it denied what stands before.
    "inverted": (
        rf"^(?:no longer|not|nowhere) {_SEEN} (?:is|are|was|were)(?: now)?",
        r"^(?:absent|gone|resolved)(?: now)? (?:is|are|was|were)",
    ),
    "post_uncertain": (
        r"(?:can ?not|cant|could not) be (?:confirmed|proven|ruled in)(?: n?or (?:excluded|ruled out|out))?",
        rf"(?:{_BE} )?neither confirmed nor {_EXCLUDED}",
        rf"(?:can ?not|cant|could not|may not) be (?:\w+ )?{_EXCLUDED}|not (?:\w+ )?{_EXCLUDED}",
        rf"(?:is|are|would be|may be|remains?) (?:also )?(?:not (?:\w+ )?{_EXCLUDED}|(?:difficult|hard|impossible) to (?:exclude|rule out)|possible"
        r"|favou?red(?! over)|possibilities|questioned|questionable|suspected|considered(?! (?:to be )?(?:highly |very )?(?:unlikely|absent|negative))"
        r"|an? (?:\w+ )?(?:consideration|possibility|concern))",
        r"(?:should|may|could|must|would|to) (?:also )?be (?:considered|present)|suspected$",
        rf"(?:should|must|needs? to|has to|to) be {_EXCLUDED}",
        r"(?:is|are|would be|felt|thought|considered|appears?) (?:to be )?less likely",
        rf"(?<= )(?:much |also )?less likely(?:{_END}|(?= (?:given|in view of|based on|as|because|but)\b))",
        r"(?:is|are|remains?) (?:also )?(?:in|on|part of) the differential|if present|if any(?= (?:is|are|was|were)\b|$)",
        rf"(?<= )(?:possible|questionable|equivocal|indeterminate|maybe){_END}",  # an answer behind what it answers
    ),
    "post_negative": (
        rf"(?:{_BE} (?:(?:\w+ly|likely|also|now) )?|has |have )?no(?:t longer|t| longer)(?: {_BE})?(?: \w+ly| otherwise| well)? {_SEEN}",
        rf"(?:{_BE}|has been|have been) {_EXCLUDED}|{_BE} not (?:\w+ly )?(?:suspected|likely)",
        rf"(?:{_BE} |appears? |felt |thought |considered )+(?:to be )?(?:highly |very )?(?:unlikely|absent|negative)",
        r"(?:has|have|had) (?:completely |fully |since |now |been |nearly |almost |essentially )*"
        r"(?:resolved|cleared|disappeared|removed|gone(?! (?:up|down)))",
        r"(?:is|are|was|were) (?:now |completely )*(?:resolved|removed|gone)",
        rf"(?:was|were) (?:\w+ )?{_SEEN} (?:\w+ ){{0,3}}?(?:is |are )?(?:now|since) (?:gone|absent|resolved|cleared)",
        r"interval (?:removal|resolution|clearing)(?! of)",
        rf"(?<= )(?:none|absent|negative|neg|nil|no|false|0|resolved|removed|gone|unlikely|{_EXCLUDED}){_END}",  # an answer behind what it answers
        rf"(?:isnt|arent|wasnt|werent) (?:\w+ly )?{_SEEN}|(?<= )(?:{_BE} not|cannot|can not|cant)$",
        r"(?<= )unlikely(?= (?:given|in view of|based on|as|because)\b)",
    ),
    # Leaves open what stands on both sides, unless it is denied.
    "versus": (
        r"versus|vs|(?:is |are )?favou?red over|can ?not be (?:distinguished|differentiated) from|indistinguishable from",
    ),
    # Uncertain even behind a negation: "no effusion possible infiltrate".
    "uncertain": (
        r"(?:can ?not|cant|could not|unable to|difficult to|hard to|impossible to|not) (?:\w+ )?(?:exclude|rule out|eliminate)|rule out",
        r"(?:may|might|could|would)(?: (?:also|well|simply|possibly))*"
        r"(?: (?:be|represent\w*|reflect\w*|indicate|suggest|relate to|correspond to|have|include))?"
        rf"{_DUE_TO}",
        rf"possibl[ey]{_DUE_TO}|possibilit(?:y|ies)|perhaps|maybe|potential(?:ly)?|presum(?:ed|ably)|less likely",
        r"questionabl[ey]|questions?(?: of| whether)?|questioned|equivocal(?: for)?|borderline|indeterminate",
        rf"(?:whether|(?:unclear|uncertain|not (?:sure|certain|clear))(?: (?:about|as to)|(?= (?:if|whether|that)\b))){_THAT}|more likely than",
        r"differential(?: diagnos[ei]s)?"
        r"(?: (?:include[sd]?|including|considerations?|would include|could include|is))?",
        r"suspected|suspect|(?:low (?:likelihood|probability|risk)|suspicion) (?:of|for)|doubt(?:ful)?|favou?r(?:ed|ing|s)?",
    ),
    # Uncertain only where nothing is denied: "no opacity to suggest pneumonia" denies the pneumonia.
    "weakly_uncertain": (
        r"(?:suspicious|concerning|worrisome|concern|worry) (?:for|of|about)|evaluat(?:e|ion) for",
        r"suggest(?:ing|ive of|s|ed)?|suggestion of|raises?(?: the)?(?: \w+)?(?: of)?",
        r"either(?! side| lung| hemi\w+| base| apex)(?= (?:\w+ ){1,4}or )",
    ),
    "negative": (
        r"(?:does |do |did )?not (?:\w+ )?(?:appear|seem|demonstrate|show|contain|have|reveal|represent)"
        r"(?: to)?(?: be)?",
        r"neither (?:\w+ ){1,2}(?:shows?|has|contains?|demonstrates?)",
        r"(?:can ?not|cant|could ?nt|could not|do not|dont|did not|didnt|(?:not able|unable) to) (?:\w+ly )?(?:see|identify|detect|appreciate|find|visuali[sz]e)",
        r"no|without|not|nor|neither|never|none|nothing|absen(?:ce|t)(?: of)?|neg(?:ative)?(?: for)?|den(?:y|ies|ied)|lack of|(?:insufficient|little|scant) evidence (?:of|for|to suggest)",
        r"fails? to|isnt|arent|wasnt|werent|doesnt|hasnt",
        r"free (?:of|from)|cleare?d? of|resol(?:ution of|ved)|removal of|interval clearing of|rul(?:ed|es) out",
        rf"unlikely(?: to)?{_THAT}|rather than|in place of|instead of",
    ),
    # About the patient, or about what to do next, not about this image.
    "aside": (
        r"(?:previously|formerly) there (?:was|were|had been)|there (?:was|were|had been) (?:previously|formerly)",
        r"history of|symptoms of|indication|(?:risk|known|patient) factors? for|more sensitive|recommend\w*",
        r"correlat\w+(?: \w+)? (?:for|as to|to exclude|if)|to (?:identify|detect|assess for)",
        r"to (?:document|ensure|confirm)(?: (?:\w+ )?(?:resolution|clearing|stability))?(?: of)?",
        r"(?:for|can be performed|could be performed)(?: further)? (?:evaluation|characterization|assessment) of",
        r"if there is|if (?:clinical )?(?:concern|suspicion)|to exclude",
    ),
    "stop": (
        r"but|however|although|though|except(?: for)?|other(?:wise)? than|apart from|aside from|besides|yet",
        r"nevertheless",
        r"with the exception of|with|which|due to|secondary to|related to|because|status post|in the setting of|while",
        r"(?:there|these|this|those|it) (?:is|are|was|were|has|have|appears?)|whereas|as well as|superimposed on",
        r"(?:and|or) (?:the|there|a|an|again|also)(?= \w+ (?:is|are))|again (?:seen|noted|demonstrated)|overlying",
        r"adjacent to",
    ),
    "verb": (r"is|are|was|were|has|have|had|appears?|remains?|shows?|demonstrates?|contains?",),
}
_CUE = re.compile("|".join(rf"(?P<{kind}>\b(?:{'|'.join(patterns)})\b)" for kind, patterns in CUES.items()))
_SINGULAR = re.compile(r"(?:is|was|has|isnt|wasnt|cannot|cant|can not|could not|not|would be|remains)\b")
_SIDE_BY_SIDE = re.compile(  # between findings of which only the second is the subject of what follows
    r"(?: (?:in|at|of|on) (?:the )?(?:\w+ ){0,3}?(?:lobes?|lungs?|bases?|sides?|apex|zones?|hemithorax|hilum))?"
    r"(?: (?:a|an|the|any|no|left|right|bilateral|small|mild|large|superimposed|underlying|concurrent|coexisting|associated|early|new|old|acute|focal|definite|developing|pulmonary|pleural|apical|basilar|rib|lung|vertebral|hilar|mediastinal))* "
)
_CONDITIONS = [re.compile(f"(?:{'|'.join(patterns)})") for patterns in PRESENT.values()]
_VERSUS_WORDS = 2  # how many words before "versus" it leaves open
_POST_WORDS = 16  # how many words before "is not seen" it denies
_GONE_BESIDE = re.compile(  # "feeding tube in the stomach, ET tube removed": the second alone
    rf"(\b{FINDING.pattern}(?:(?!\b(?:and|or|nor|no)\b)[^,.;:\n])*),\s+(?=(?:(?!\b(?:and|or|nor)\b)[^,.;:\n])*\b{FINDING.pattern} (?:has |have |been )*(?:resolved|cleared|gone|removed)\b)"
)
_IT = re.compile(
    rf"({FINDING.pattern})((?:(?!{FINDING.pattern})[^.;\n])*[.;,]\s+)(?:it|this|they)(?= (?:is|are|has|have) (?:now |since )*(?:no longer|not|resolved|gone|cleared|absent|disappeared)\b)"
)
_GONE = re.compile(rf"({FINDING.pattern}) (?:resolved|cleared|gone)[,;]\s+")  # what follows is something else
_IS_CHANGED = r"(?:larger|smaller|increased|decreased|unchanged|stable|improved|better|worse),\s"
_CHANGED = re.compile(rf"({FINDING.pattern} {_IS_CHANGED})")
_SIZE = r"(?:mild|moderate|severe|small|trace|tiny|minimal)"
_SIZED_ANEW = re.compile(  # "no effusion, mild edema" denies the first; in "no effusion, small nodule or edema" the list goes on
    rf"(\bno (?:\w+ ){{0,2}}?{FINDING.pattern})(?:,| and|, and)? (?=(?:an? )?{_SIZE}\b (?!(?:[^.;\n]*\b(?:or|nor)\b)))"
)
_RUN_ON = re.compile(
    r"(?<=[a-z]{3}) (?=(?:No|Mild|Moderate|Severe|Small|Trace) [a-z])"
)  # lines that were joined without a stop

_OTHER_ONE = re.compile(  # "the right effusion is gone, the left one is unchanged"
    rf"({FINDING.pattern})(\b[^.]*? (?:the|an?)(?: [a-z-]+){{1,3}}) ones?\b"
)
_OWN_WORD = r"(?:old|healed|chronic|remote|new|stable|unchanged|persistent|residual)"
_OWN_PHRASE = re.compile(  # "no fracture or dislocation, old rib fracture", "resolved edema, new effusion"
    rf"(\b(?:no|without|resolved) [^,.;:\n]*(?:{FINDING.pattern}|acute (?:\w+ )?(?:process|disease|abnormality|findings?))[^,.;:\n]*?)(?:(?:,|,? and)\s+(?={_OWN_WORD}\b (?!(?:[^.;\n]*\b(?:or|nor)\b)))|\s[-\u2013\u2014]\s(?=(?:\w+ ){{0,3}}?{FINDING.pattern}))"
)
_HOW_IT_IS = (  # said of what is there, and not of what is denied
    r"(?:(?:is|are|remains?|persists?|has been|have been)(?: (?:again|now|still|also|otherwise|mildly|slightly|grossly))* (?:unchanged|stable|persist\w+|larger|smaller"
    r"|increas\w+|decreas\w+|improv\w+|wors\w+|enlarged|tortuous|redemonstrated|in (?:good |satisfactory |appropriate |stable |unchanged |standard )?(?:place|position))"
    r"|persists?|remains?|in (?:place|(?:good|satisfactory|appropriate|stable|unchanged|standard) position)|unchanged|stable)"
)
_OWN_CLAUSE = re.compile(  # "no pneumothorax, left atelectasis is unchanged", "no effusion, heart enlarged"
    rf"(\b(?:no|without) (?:[\w/-]+ ){{0,6}}?{FINDING.pattern}(?: [\w/-]+){{0,2}}?),?\s+"  # few words: long texts take no longer for each
    rf"(?=(?:(?!(?:or|nor|and|no)\b)[\w-]+ ){{0,4}}?{FINDING.pattern} (?:(?!(?:or|nor|and|no)\b)\w+ ){{0,2}}?{_HOW_IT_IS}\b(?![^.;\n]*\b(?:or|nor)\b)|(?:the )?(?:heart|cardiac silhouette|aorta) (?:is )?(?:enlarged|tortuous)\b)"
)
_SHORT_WORDS = (  # with a slash, and as the published cleaner leaves them
    (re.compile(r"\bw ?/?o\b(?! ?/)"), "without"), (re.compile(r"\bw/ ?(?=[a-z])"), "with "), (re.compile(r"\br/?o\b"), "rule out"),
    (re.compile(r"\bc/?w\b"), "consistent with"), (re.compile(r"\bs/p\b"), "status post"), (re.compile(r"\bh/o\b"), "history of"),
    (re.compile(r"\b(?:d/t|2/2)\b"), "due to"),
)  # fmt: skip
_GRANTED = re.compile(  # "While there is no effusion, mild edema is seen": the comma ends what is denied
    r"(\b(?:while|although|though) there (?:is|are) no [^,.;]+),(?= (?!(?:or|nor|and)\b)(?:(?!or\b|nor\b|and\b)\w+ ){1,5}(?:is|are|was|were|has|have|remains?|persists?)\b)"
)
_SENTENCE_END = re.compile(r"[.!?;]+\)?(?=\s|$)|(?<=[a-z]{2})\.(?=[a-z])|\n\s*\n")
_NOT_WORDS = re.compile(r"[^a-z0-9]+")
_APOSTROPHE = re.compile(r"['\u2019]")


def normalised_sentences(report: str) -> list[str]:
    """Sentences of a raw or cleaned report: lower-case words and numbers between single spaces, never empty."""
    text = _APOSTROPHE.sub("", _RUN_ON.sub(". ", as_prose(report)).lower().replace("/or", " or"))
    text = _GRANTED.sub(r"\1.", text.replace(" vs.", " vs"))
    if "/" in text or re.search(r"\b(?:wo|ro|cw)\b", text):
        for short, words in _SHORT_WORDS:
            text = short.sub(words, text)
    if re.search("resolved|cleared|gone|removed", text):
        text = _GONE_BESIDE.sub(r"\1. ", text)
    if re.search(r"[.;,]\s+(?:it|this|they) (?:is|are|has|have) ", text):
        text = _IT.sub(r"\1\2the \1", text)
    if re.search("(?:resolved|cleared|gone)[,;]", text):
        text = _GONE.sub(r"\1 has resolved. ", text)
    if re.search(rf"\bno\b[^.]*\b{_SIZE}\b", text):
        text = _SIZED_ANEW.sub(r"\1. ", text)
    if " one" in text:
        text = _OTHER_ONE.sub(r"\1\2 \1", text)
    if re.search(rf"(?:,|\band)\s+{_OWN_WORD}\b|\b(?:no|without)\b.*\s[-\u2013\u2014]\s", text):
        text = _OWN_PHRASE.sub(r"\1. ", text)
    if re.search(rf"\b(?:no|without)\b[^.;]*\b(?:{_HOW_IT_IS}|enlarged|tortuous)\b", text):
        text = _OWN_CLAUSE.sub(r"\1. ", text)
    if re.search(_IS_CHANGED, text):
        text = _CHANGED.sub(lambda change: change[0].replace(",", "."), text)
    sentences = (_NOT_WORDS.sub(" ", piece).strip() for piece in _SENTENCE_END.split(text))
    return [sentence for sentence in sentences if sentence]


@lru_cache(maxsize=1 << 16)
def assertion_map(sentence: str) -> bytes:
    """Assertion of every character of a normalised sentence.

    A finding takes the assertion of its LAST character: ``heart is not enlarged``, matched as a whole, is denied.

    Args:
        sentence: one of :func:`normalised_sentences`.

    Returns:
        As many bytes as the sentence has characters, each ``POSITIVE``, ``NEGATIVE``, ``UNCERTAIN``, or ``BLANK`` where
        nothing is said about this image ("history of", "recommend").
    """
    states = bytearray([POSITIVE]) * len(sentence)
    current, said, written, boundary = POSITIVE, POSITIVE, 0, 0
    for cue in _CUE.finditer(sentence):
        kind, start, end = cue.lastgroup, cue.start(), cue.end()
        states[written:end] = bytes([current]) * (end - written)  # a cue is not in its own scope: "free of effusion"
        written = end
        if kind in ("post_uncertain", "post_negative"):
            said = UNCERTAIN if kind == "post_uncertain" else NEGATIVE
            begin = _own_clause(sentence, boundary, start) if _SINGULAR.match(cue[0]) else boundary
            _mark_back(states, sentence, (begin, start), _POST_WORDS, said)
        if kind == "versus" and current == POSITIVE:
            _mark_back(states, sentence, (boundary, start), _VERSUS_WORDS, UNCERTAIN)
            current = UNCERTAIN
        elif kind == "uncertain" or (kind == "weakly_uncertain" and current != NEGATIVE):
            current = UNCERTAIN
        elif kind in ("negative", "inverted"):
            current = NEGATIVE
        elif kind == "aside":
            current = BLANK
        elif kind == "again":
            current = said if said != POSITIVE or cue[0][0] in "as" else NEGATIVE
        elif kind == "stop" or (kind in ("verb", "post_uncertain", "post_negative") and current == NEGATIVE):
            current = POSITIVE
        if kind in ("post_uncertain", "post_negative", "stop", "verb", "again"):
            boundary = end
    states[written:] = bytes([current]) * (len(sentence) - written)
    return bytes(states)


def _own_clause(sentence: str, first: int, last: int) -> int:
    """Where the subject of ``is not seen`` begins: of two findings side by side (``cardiomegaly, pneumothorax``) at the second."""
    *_, before, after = (None, None, *FINDING.finditer(sentence, first, last))
    if before is None or after is None or _of_one_thing(before[0], after[0]):
        return first
    return before.end() + 1 if _SIDE_BY_SIDE.fullmatch(sentence[before.end() : after.start()]) else first


def _of_one_thing(one: str, other: str) -> bool:
    """Whether two names side by side are one: ``mass lesion``, ``nodular density``."""
    return one.endswith(("ar", "ic", "ous", "ed", "ant", "ive")) or any(
        pattern.fullmatch(one) and pattern.fullmatch(other) for pattern in _CONDITIONS
    )


def _mark_back(states: bytearray, sentence: str, span: tuple[int, int], words: int, value: int) -> None:
    """Set the last ``words`` words inside ``span`` to ``value``."""
    first, last = span
    pieces = sentence[first:last].split(" ")
    begin = last - len(" ".join(pieces[-words - 1 :]))  # the span ends in a space, which makes an empty last piece
    states[begin:last] = bytes([value]) * (last - begin)
