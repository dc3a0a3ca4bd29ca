"""What a line of a radiology report begins: the findings, an impression, something beside them, or nothing.

Words beside FINDINGS or IMPRESSION say whose they are. Those of another time (PRIOR), of somebody else (CLINICAL, ER), of
another examination (CT, ABDOMEN) and of a message (CRITICAL) are another's. Those of the film, the chest and its organs,
and those that weigh (SIGNIFICANT, OTHER) are this study's. With a word that is neither, a section counts where the report
has no other of its kind.
"""

from __future__ import annotations

import difflib
import re

from modules.corpus.section_asides import ASIDES, IN_CAPITALS
from modules.corpus.section_names import ANOTHER, OF_THE_FILM, ORGAN
from modules.corpus.section_titles import CONCLUSION, DESCRIBED, SUMMED_UP
from modules.labelling.spoken_of import is_said_of_the_film, speaks_of_a_finding
from modules.preparation.raw.studies import SECTIONS

NAMES = rf"(?:(?:{SUMMED_UP}|findings?|observations?|{CONCLUSION})(?:\s*(?:and|/|&|,)\s*(?:findings?|{CONCLUSION}|recommendations?(?:\(s\))?))?)"
_CAPITALS = re.compile(  # "CHEST, PA AND LATERAL: .."
    r"\s*(?P<name>[A-Z](?:[A-Z0-9 ,./()\[\]&_'#-]|(?<=\d):(?=\d)){1,70}?)\s*[:;](?P<rest>\s.*|$)"
)
_KNOWN = re.compile(  # "Findings: ..", "IMPRESSION - ..", "Findings" alone
    rf"\s*(?P<name>{NAMES}|report|results?)(?:\s*(?:[:;]|[-\u2013\u2014](?=\s|$))(?P<rest>.*)|\s*)", re.IGNORECASE
)
_BARE = re.compile(  # "FINDINGS The lungs are clear.", "FINDINGS. The lungs .."
    rf"\s*(?P<name>(?-i:(?=[A-Z])){NAMES})(?-i:(?<=[A-Z]))(?:\.\s|\s+(?-i:(?=[A-Z][a-z])))(?P<rest>.*)", re.IGNORECASE
)
_MARKED = re.compile(  # "**Findings:** ..", "[FINDINGS] ..", "## Findings"
    rf"\s*(?:#\s*|\*|__|\[|<|(?-i:\((?=[A-Z]{{4}})))+\s*(?P<name>{NAMES})\s*:?\s*(?:\*|__|\]|>|\)|#)*\s*:?(?P<rest>.*)",
    re.IGNORECASE,
)
_ASIDE_IN_ANY_CASE = re.compile(rf"\s*(?P<name>{ASIDES})\s*:(?P<rest>.*)", re.IGNORECASE)
_MARKED_ASIDE = re.compile(  # "**Recommendations:** ..", "### Note"; not "* Comparison: .." of a list
    rf"\s*(?:#{{1,6}}\s+(?:\*{{1,3}}|__)?|\*{{1,3}}|__|\[)(?P<name>{ASIDES})(?:\s*:[*_\]]*|[*_]+\s*:|\]\s*:?|[*_]*\s*$)(?P<rest>.*)",
    re.IGNORECASE,
)
_DESCRIPTION = re.compile(rf"\s*{DESCRIBED}\s*:(?P<rest>.*)", re.IGNORECASE)
_DIAGNOSIS = re.compile(rf"\s*(?P<name>(?:(?:{OF_THE_FILM}) )*(?:diagnos[ie]s|dx))\s*:(?P<rest>.*)", re.IGNORECASE)
_ASIDE = re.compile(IN_CAPITALS, re.IGNORECASE)
_MISSPELT_ASIDES = ("comparison", "indication", "history", "technique", "recommendation", "examination")
_ORGAN = re.compile(ORGAN)
_OF_A_VIEW = r"radiograph|view|portable|film|x-?ray|\bpa\b|\bap\b|lateral|frontal"
_TITLE, _VIEW = re.compile(rf"{_OF_A_VIEW}|cxr"), re.compile(rf"{_OF_A_VIEW}|chest")
_SAYS = re.compile(  # unknown headings that say whether, since when or where something is: RESOLVED: effusion. LLL: consolidation.
    r"(?:(?:un)?chang\w+|resol\w+|absen\w+|presen\w+|negativ\w*|positiv\w*|(?:ab)?normal|new|old|stable|chronic|acute|subacute|increas\w+|decreas\w+"
    r"|improv\w+|wors\w+|possibl\w+|probabl\w+|likely|unlikely|question\w+|suspect\w*|excluded?|ruled out|no|not|none|denied"
    r"|side|bilateral\w*|unilateral|[rl][uml]l|lingula\w*|bas\w+|ape?x|apic\w+|pe)\b"
)
_NAMED = re.compile(r"(?:finding|observation|impression|conclusion)\w*")
_REPORT = re.compile(r"\b(?:reports?|results?)\b")
_ANOTHER = re.compile(rf"\b(?:{ANOTHER})\b")
_FILM = re.compile(rf"\b(?:{OF_THE_FILM})\b")
_OWN = re.compile(
    r"the|of|and|or|on|in|for|with|from|at|by|this|these|to|my|our|pediatric|neonatal|limited|fields?|"
    r"study|exam|examination|report|patient|procedure|imaging|images?|radiolog\w+|radiograph\w*|roentgen\w*|ray|cxr|films?|views?|plain|portable|pa|ap|"
    r"lat|lateral|frontal|upright|supine|erect|single|one|two|three|diagnostic|chest|post\w*|operative|recommend\w*|changes?|interpretations?|summary|opinion|assessment|"
    r"plan|diagnos[ie]s|significant|pertinent|relevant|important|notable|salient|key|main|major|minor|principal|primary|secondary|other|"
    r"additional|further|incidental|unexpected|remaining|associated|related|positive|negative|normal|abnormal|new|interval|acute|chronic|"
    r"current|present|today|final|official|formal|full|complete|overall|general|detailed|specific|objective|total"
)
_SENTENCE = re.compile(r"[A-Z]{4}\. ")  # ends in what looks like the name of a section
_WHOSE = re.compile(  # "Final Impression: ..", not "No findings: .."
    r"\s*(?P<name>(?!(?:No|The|These|There|All|Both|Any) )[A-Z][\w'-]*(?:[^\S\n][\w'-]+){0,2}[^\S\n](?i:findings?|impressions?))\s*:(?P<rest>.*)"
)
_ON_THE_FILM = re.compile(  # "Findings on chest X-ray: .."
    rf"\s*(?P<name>(?i:findings?|impressions?)\s+(?:on|of|from)\s+(?:the\s+)?(?:(?i:{OF_THE_FILM})\s*)+):(?P<rest>.*)"
)
_MESSAGE = re.compile(
    r"\s*(?:(?:(?:the|these|above) )*(?:findings?|results?) )?(?:(?:was|were|have been|are) )?"
    r"(?:discussed|communicated|notified|telephoned|called|phoned|paged|relayed|conveyed|e-?mailed|told|reported (?:to|by))\b",
    re.IGNORECASE,
)
DOUBTFUL = "doubtful "  # before a kind: counts where a report has no other section of the kind
_SURE_FINDINGS = ("findings", "impression", "combined")
OF_FINDINGS = (*_SURE_FINDINGS, *(f"{DOUBTFUL}{kind}" for kind in _SURE_FINDINGS))
OWNS_MORE = (*OF_FINDINGS, "report", "described")  # kinds whose section goes on over empty lines, to the next heading


def heading(line: str, at_start: bool, inside: str) -> tuple[str, str] | None:
    """Whether a line begins a section.

    Args:
        line: of a report.
        at_start: whether a paragraph begins with it, or a sentence has ended before it.
        inside: kind of the section that the lines before it are of.

    Returns:
        Kind of the section (``"findings"``, ``"impression"``, ``"combined"``, each also behind ``DOUBTFUL``, ``"report"``,
        ``"described"``, ``"aside"`` or ``"unnamed"``) and the rest of the line; None for text.
    """
    bare = _MARKED.fullmatch(line) or _BARE.fullmatch(line)
    if bare:
        line = f"{bare['name']}: {bare['rest']}"
    match = _KNOWN.fullmatch(line)
    if match:
        name, rest = match["name"], match["rest"]
        begins = at_start or name.isupper() or (name[0].isupper() and ":" in line)
        if begins and (rest is not None or name.isupper() or len(name) > 7):  # "report" alone may end a sentence
            kind = _kind_of_report(inside) if _REPORT.fullmatch(name.lower()) else _kind_of_known(name)
            return kind, rest or ""
    match = _DESCRIPTION.fullmatch(line)
    if match and at_start and inside not in OWNS_MORE:
        return "described", match["rest"]
    match = _DIAGNOSIS.fullmatch(line)
    if match and inside in OWNS_MORE and not inside.endswith("impression") and (at_start or match["name"].isupper()):
        return f"{DOUBTFUL}impression", match["rest"]
    match = _MARKED_ASIDE.fullmatch(line) or (_ASIDE_IN_ANY_CASE.fullmatch(line) if at_start else None)
    if match:
        return "aside", match["rest"]
    match = _CAPITALS.fullmatch(line)
    if match and re.search(r"[A-Z]{2}", match["name"]):
        # else a report may be in capitals, and this a line of it
        sure = at_start or bool(re.search("[a-z]", match["rest"]))
        name = "" if _SENTENCE.search(match["name"]) else match["name"].lower()
        return _of_capitals(name, match["rest"], line, inside, sure and bool(name))
    match = _WHOSE.fullmatch(line) or _ON_THE_FILM.fullmatch(line)
    return _of_mixed_case(match["name"].lower(), match["rest"], inside) if match and at_start else None


def _of_mixed_case(name: str, rest: str, inside: str) -> tuple[str, str] | None:
    """:func:`heading` of a line such as ``Final Impression: ..``, whose name is given in small letters.

    Inside the findings or an impression it begins another section only if its words are of the film; else it is a sentence.
    """
    whose, kind = _whose(name), _kind_of_known(name)
    if whose == "another":
        return "aside", rest
    begins = inside not in OWNS_MORE or (inside.removeprefix(DOUBTFUL) != kind and _FILM.search(name))
    return (kind, rest) if whose == "own" and begins else None


def _of_capitals(name: str, rest: str, line: str, inside: str, sure: bool) -> tuple[str, str] | None:
    """:func:`heading` of a line that begins with capitals and a colon, whose name is given in small letters."""
    whose, of_findings = _whose(name), bool(_NAMED.search(name))
    if whose == "own":
        if not of_findings:
            return _kind_of_report(inside), rest
        return "aside" if not _NAMED.fullmatch(name) and _MESSAGE.match(rest) else _kind_of_known(name), rest
    if inside in OWNS_MORE and is_said_of_the_film(name, rest):
        return None
    if (
        whose == "another"
        or _ASIDE.match(name)
        or _like(name, _MISSPELT_ASIDES)
        or re.search("provisional|prelim", name)
    ):
        return "aside", rest
    if of_findings:
        return f"{DOUBTFUL if sure else ''}{_kind_of_known(name)}", rest
    if re.fullmatch(CONCLUSION, name) or _misspelt(name):
        return _kind_of_known(name), rest
    part = not sure or bool(_ORGAN.search(name)) or speaks_of_a_finding(name)  # LUNGS: Clear.
    if inside in OWNS_MORE:
        part = part or bool(_SAYS.match(name))
        title = _TITLE.search(name) or not _VIEW.search(name)  # CHEST, PA AND LATERAL:, or a word that is not known
        return (inside, rest) if title and not part else None
    if name == "chest, two views":
        return "report", rest  # MIMIC-CXR's own parser counts 1,735 of these, and calls their text findings
    return "unnamed", line if part and not _VIEW.search(name) else rest


def _whose(name: str) -> str:
    """Whether a heading of findings, an impression or a report is this study's ``"own"``, of ``"another"``, or neither is sure.

    What stands beside the word decides, up to ``and``: TECHNIQUE AND FINDINGS are this study's, and so are FINDINGS COMPARED TO PRIOR.
    """
    word = _NAMED.search(name) or _REPORT.search(name)
    if not word:
        return ""
    before = re.split(r"\band\b|[/&]", name[: word.start()])[-1]
    after = re.split(r"\band\b|[/&]|\b(?:compar\w+|since|versus|vs|relative|changed?)\b", name[word.end() :])[0]
    beside = f"{before} {after}"
    if _ANOTHER.search(beside):
        return "another"
    words = re.findall(r"[a-z]{2,}", beside)
    ours = all(_OWN.fullmatch(word) or _ORGAN.match(word) or speaks_of_a_finding(word) for word in words)
    return "own" if ours else "unknown"


def _kind_of_report(inside: str) -> str:
    """What REPORT: or RESULT: begins: the report itself, unless its sections have begun."""
    return "report" if inside not in OF_FINDINGS else "aside"


def _kind_of_known(name: str) -> str:
    """Which of findings and impression a name is of, or ``"combined"``."""
    name = name.lower()
    if re.match(rf"{CONCLUSION} of ", name):
        return "impression"  # SUMMARY OF FINDINGS
    findings = bool(re.search(r"finding|observation", name)) or _misspelt(name) == "findings"
    impression = bool(re.search(rf"\b{CONCLUSION}\b", name)) or _misspelt(name) == "impression"
    if findings and impression:
        return "combined"
    return "findings" if findings else "impression"


def _misspelt(name: str) -> str | None:
    """The section whose name this nearly is (``"findngs"``); None for others."""
    return _like(name, SECTIONS)


def _like(name: str, known: tuple[str, ...]) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return close[0] if close else None
