"""Headings of what is neither findings nor impression: the history, the technique, recommendations, what an archive adds.

Readers of free-text reports and of the files that are scored share them.
"""

from __future__ import annotations

from modules.corpus.section_names import OF_THE_FILM, RECORD

ASIDES = (  # in any case; no escapes of letters, since they are looked for in capitals too
    r"indications?|(?:clinical )?(?:history|information|indications?)|techniques?|procedures?(?: comments?)?|comparisons?"
    r"|(?:(?:type|date) of (?:the )?|reference )?exam(?:ination)?s?|(?:type|date) of (?:the )?study|reason for (?:the )?(?:exam(?:ination)?|study)"
    r"|recommendations?(?:\(s\))?|suggestions?|advice|management|next steps?|plan|notifications?|communications?|addendum|comments?|notes?"
    rf"|limitations?|follow[ -]?ups?|disclaimers?|attestation|wet read|{RECORD}"
)
DIAGNOSIS = rf"(?:(?:{OF_THE_FILM}) )*(?:diagnos[ei]s|dx)"
IN_CAPITALS = (  # with which a heading in capitals may begin; in small letters, of what a line says they may be part
    r"(?:(?:clinical|brief|patient|pertinent|relevant|prior|previous|reference|type of|reason for|referring|additional|final|admitting|admission|"
    r"presenting|discharge|working|outside|initial|preliminary|critical|date of|time of)\s+)*"
    r"(?:indications?|history|information|diagnos[ie]s|symptoms?|exam(?:ination)?s?|study|request|techniques?|"
    r"comparisons?|compared|procedures?|protocol|notifications?|recommendations?|recommend|communications?|"
    r"comments?|notes?|follow ?-?up|discussion|pfi|end of|dr|cc|attestation|disclaimer|"
    r"wet ?read|addend(?:um|a)|dictat\w*|dictation|transcrib\w*|sign(?:ed|ature)\w*|plan|electronically|attending|physician|"
    r"resident|radiologist|accession|order\w*|contrast|dose|radiation|date|time|name|patient|reason|question|consent|"
    r"technologist|transcriptionist|key images?|dx|clinicians?|provider|hx|pmh|priors|dob|mrn|cpt|icd|billing|suggestions?|advice|background|communicated|"
    r"allerg(?:y|ies)|medications?|modality|exposure|referral|operator|unit|correlation|old films?|(?:image )?quality|limitations?|critical results?|"
    r"clinical (?!finding|impression)\w+(?=:|$)|number of images|(?:views?|studies|data|age|sex|site|location|service|management)(?=:|$))\b"
)
WITH_COLON = (  # "RADIATION DOSE:", not "PATIENT FINDINGS:" or "DIAGNOSIS:"
    rf"(?=[A-Z][A-Z0-9 ,./()\[\]&'#-]{{1,70}}:)(?![^:]*(?:FINDING|IMPRESSION|OBSERVATION|CONCLUSION))"
    rf"(?i:(?!{DIAGNOSIS}\s*:){IN_CAPITALS})[^:\n]*:"
)
OF_THE_STUDY = (  # asides with which a section may open before it says anything
    r"(?:prior |image |exam )?(?:comparisons?|techniques?|indications?|(?:clinical )?history|hx|exam(?:ination)?s?|stud(?:y|ies)|priors"
    r"|procedures?|views?|date|quality|limitations?|notes?|comments?|reason for (?:the )?(?:exam(?:ination)?|study)|clinical information)"
)
REMARK = r"(?:notes?|comments?)\b"  # what stands under one may be a finding
