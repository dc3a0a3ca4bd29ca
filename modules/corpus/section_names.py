"""Words by which a report says whose a section is, and where one ends: signatures and addenda.

Readers of free-text reports and of the files that are scored share them.
"""

from __future__ import annotations

import re

ANOTHER = (  # whose findings or impression a heading is of: not this study's, or not its reader's
    r"prior|previous|old(?:er)?|earlier|past|last|former|initial|recent|baseline|histor\w+|yesterday|prelim\w*|provisional|"
    r"tentative|pre ?-?op\w*|"  # of another time
    r"outside|external|osh|transfer\w*|referr\w+|clinic\w*|physical|physicians?|doctors?|surg\w+|(?<!post[ -])(?:intra-?)?operative|nurs\w+|er|ed|"
    r"emergency|admi(?:t|ss)\w*|presenting|discharge|residents?|intern|trainee|triage|icu|bedside|overnight|nighthawk|teleradiolog\w+|"
    r"consult\w*|wet|"  # of somebody else
    r"cta?|hrct|mr[ia]?|us|ultraso\w+|sonogra\w+|pet|echo\w*|ecg|ekg|angiogra\w+|mammogra\w+|fluoro\w*|scintigra\w+|nuclear|bone scan|"
    r"\w+scop(?:y|ic)|catheteri[sz]ation|labs?|laborator\w+|pathology|histolog\w+|cytolog\w+|biops\w+|cultures?|microbiolog\w+|"
    r"autops\w+|spirometr\w+|(?<!upper )abdom\w*|kub|pelvi\w*|head|brain|skull|extremit\w+|knees?|hips?|hands?|foot|"  # of another examination
    r"critical|urgent|emergent|notif\w+|communicat\w+|reportable|actionable|alerts?|call(?:ed)?|discuss\w+|telephon\w+|relayed"  # a message
)
OF_THE_FILM = (  # words beside the name that leave a section this study's
    r"final|official|formal|overall|radiolog\w+(?:['\u2019]s)?|radiograph\w*|roentgen\w*|diagnostic|chest|thora\w+|cxr|x-?rays?|films?|imaging|images?"
)
WEIGHED = (  # words that do so too, but with which a sentence may begin
    r"general|main|key|major|principal|significant|pertinent|relevant|important|detailed|brief|reported"
)
GOES_ON = (  # words behind which the name of a section is part of a sentence: "an impression: .."
    r"an?|the|these|this|that|my|our|its|is|are|was|were|of|with|as|and|or|no|any|for|in|on|at|by|from|to|under|without|following|other|additional"
    r"|acute|diagnostic"
)
ORGAN = (
    r"heart|cardi|mediast|lung|pulmon|airway|trachea|pleur|bone|bony|skelet|osseous|rib|spine|soft tissue|abdom|diaphragm|"
    r"line|tube|device|support|hardware|catheter|vascul|vessel|aort|hil|thora|chest wall|breast|neck|stomach|bowel|effusion|"
    r"pneumo|edema|opacit|nodul|mass|\bleft|\bright|upper|lower"
)
_SIGNED = r"(?:dictated|transcribed|typed|(?:co-?)?signed|verified|finali[sz]ed|authenticated|released|authori[sz]ed|validated)"
_BY_MACHINE = r"(?:(?:electronically|digitally) |e-?)"
SIGNED_BY = (
    rf"{_BY_MACHINE}?(?:{_SIGNED}|reviewed|read|interpreted|reported)(?: and \w+)? by"
    r"|(?:final|prelim(?:inary)?)(?: (?:interpretation|report|read(?:ing)?))? by"
)
_NAME = r"(?=:|\s*\Z|\s+(?:dr\b|the\b|_|\d|(?-i:[A-Z])))"  # not: verified by contrast injection
_REPORTER = r"reported by\s+(?:(?:dr|prof)\b|(?-i:[A-Z][a-z.]*\s+[A-Z][a-z]))"  # not: reported by the patient
_DISCLAIMER = (  # a sentence that says so
    r"[^.!?:;\n]{0,100}\b(?:(?:voice|speech)[ -](?:recognition|to[ -]text)[ -](?:software|system|technology|program|errors?)"
    r"|(?:using|with|by|through|via)(?: \w+)? (?:voice|speech)[ -]recognition(?! devices?)|dictation (?:software|system)|(?:typographical|transcription(?:al)?) errors?)\b"
    # the last sentence: "The images were reviewed by the attending radiologist, who agrees."
    r"|(?:the|this|these|all)(?: \w+){1,4} (?:was|were|has been|have been) (?:\w+ )?reviewed (?:and \w+ )?by (?:the |an? )?(?:staff|attending|supervising)\b"
    r"(?=[^.\n]{0,80}\.?\s*(?:\Z|\n|(?:end of|dictated|electronically|approved|this report)\b))"
)
_OF_THE_REPORT = (
    r"(?:(?:this|the|above|final) ){0,3}(?:report|document|dictation|exam(?:ination)?|study) (?:(?:was|has been|is) )?"
)
_REVIEWED = r"(?:reviewed|interpreted|examined|supervised|agree|attest)\w*\b"
_DAY = r"\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}\b|_{2,}[^\S\n]*[dt]{1,2}[^\S\n]*:"  # of a dictation, or one that was taken out
SIGNATURE = (  # with which nothing of the report goes on
    rf"(?:(?:{_OF_THE_REPORT})?"
    rf"(?:(?:{SIGNED_BY})[^\S\n]*:|{_REPORTER}|dictated(?: (?:and|/) \w+)? by\b|{_SIGNED}(?: (?:and|/) \w+)? by{_NAME}|{_SIGNED}(?: on)?[^\S\n]*:|{_SIGNED} on [0-9_]|{_BY_MACHINE}(?:signed|authenticated|finali[sz]ed|approved|{_SIGNED} by)\b)"
    rf"|th(?:is|e) (?:final )?(?:report|document|dictation) (?:was|has been|is) {_BY_MACHINE}?{_SIGNED}\b"
    r"|report signed\b|signed(?=[^\S\n]*(?:\n|\Z))|(?-i:Signed)(?=,)|approved(?=:| by\b| on\b| electronically\b| [\d_])"
    rf"|d[dt]?[^\S\n]*:[^\S\n]*(?:{_DAY})|job[^\S\n]*(?:#|no\.?|number|id)[^\S\n]*:"
    rf"|end of (?:report|impression|findings|dictation)\b|final(?: report)?[^\S\n]*\*{{2,}}(?=\W*(?:\Z|{SIGNED_BY}|electronically\b))|{_DISCLAIMER}"
    rf"|(?:as (?:the|an?) [^.\n]{{3,60}}, )?i,? (?:(?:the|as|dr)\b.{{0,80}}|have personally|personally) {_REVIEWED}|(?:as (?:the|an?) [^.\n]{{3,60}}, )?i (?:attest that i )?have reviewed the (?:images?|films?|study)\b"
    r"|(?:(?:kind(?:est)?|best|warm(?:est)?) )?regards\b|yours (?:sincerely|faithfully|truly)\b|thank(?:s| you)(?: very much)? for (?:\w+ ){0,4}refer\w+)"
)
_OFFICE = r"(?:attending|ordering|referring|interpreting|reporting|reading|consultant|consulting|staff|teaching|supervising|resident)"
RECORD = (  # headings of what an archive keeps beside a report; no escapes, since one reader looks for it in capitals
    r"(?:acr|cpt|icd|billing|exam) codes?|cpt|icd-?(?:9|10)(?:-cm)?|workstation(?: id)?|critical (?:results?|values?)|key images?|(?<![0-9] )cc"
    rf"|(?:{_OFFICE} )?(?:physician|provider|radiologist|doctor)|consultant|second reader|attending|resident|technologist|transcriptionist|(?:electronic )?signature"
    r"|(?:(?:teaching|attending) )?(?:physician )?attestation|fellow|cop(?:y|ies) to|primary interpreting (?:staff|resident)|(?:primary )?diagnostic codes?|(?:report|exam|study|order) status"
    r"|(?:date|time) (?:reported|verified|dictated|transcribed|of report)|report date|exam end(?:ed)?|last resulted|accession(?: number)?"
)
_ADDENDA = r"(?:FINAL |RADIOLOG(?:IST|Y) |ATTENDING )?ADDEND(?:UM|A)\b"
ADDENDUM = re.compile(  # on a line of its own or behind a sentence, also "*** ADDENDUM ***" and "[ADDENDUM 02/03/2021]"
    rf"(?:^[^\S\n]*|(?<=[.!?])\s*)(?:[*_=-]{{2,}}[^\S\n]*|\[)?"
    rf"(?:{_ADDENDA}(?:[^\S\n]+[\d/.-]+(?=[\]:]))?|NOTE ADDED AT ATTENDING REVIEW\b|Addend(?:um|a)(?: [\d/.-]+)?(?=(?:\*\*|__)?:))"
    r"(?:[^\S\n]*(?:[:\]]|[*_=-]{2,}))*",
    re.MULTILINE,
)
