"""How exports write what is no letter of a report: ends of lines and sentences, and characters by their names."""

from __future__ import annotations

# Each pattern minds its own case, whatever the case of what it is joined to.
HL7_BREAK = r"\\(?:\.(?i:br|sp|ce|sk|fi|nf|in|ti)[ +\-\d]{0,4}|X(?:0[ADad]){1,2})\\"  # \.br\ and its like
HL7_SIGNS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "H": "", "N": ""}  # \T\ is &, \H\ begins bold letters
HL7_SIGN = rf"\\([{''.join(HL7_SIGNS)}])\\"
TAGGED_BREAK = r"<(?i:CR|LF|CRLF|CR/?><?LF|NL|newline)\s?/?>|\[(?:LF|CRLF|BR)\]"  # [CR] is computed radiography
BREAK_SIGN = (
    r"[\u00b6\u21b5\u23ce\u240d\u240a]"  # drawn ones
    r"|(?<=[\s.,:;!?)])\^[MJ]|\^[MJ](?=\s|\Z)"  # of a terminal; not Doe^Mary
    r"|(?<=[.?!])(?:~{1,3}\s?|\s~{1,3}\s)(?=[A-Za-z])|(?<=[a-z:;),])~{1,3}(?=[A-Z][a-z])|(?<=[.?!])~{1,3}\Z"  # between repeated fields of HL7; not ~5 mm, T4~T6
    r"|(?<=[.?!])(?:\|{1,2}|//)(?=[A-Z])"  # between sentences, without a blank
)
TOGETHER = r"(?<=[a-z]{3}\.)(?=[A-Z][a-z])"  # between sentences without a blank: clear.No effusion
ENTITY = r"&(?:[A-Z]?[a-z]{2,7}\d{0,2}|LT|GT|AMP|QUOT|NBSP|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});"  # &deg; &#13; &#xD;
