"""modules/labelling/structured.py: answers in lists, tables and boxes mean what a reader takes them to mean."""

from pathlib import Path

import numpy as np
import pytest

from modules.corpus.text import clean_report, strip_markdown
from modules.labelling.labelers import RuleLabeler
from modules.labelling.structured import as_prose
from modules.labels import CONDITIONS, NEGATIVE, POSITIVE, UNCERTAIN
from modules.records import read_jsonl

LABELER = RuleLabeler()
SIGNS = {"+": POSITIVE, "-": NEGATIVE, "?": UNCERTAIN, ".": 0}
SHORT = {
    "eff": "pleural effusion", "ptx": "pneumothorax", "ed": "edema", "card": "cardiomegaly", "cons": "consolidation",
    "pna": "pneumonia", "atel": "atelectasis", "frac": "fracture", "dev": "support devices", "les": "lung lesion",
    "op": "lung opacity", "pl": "pleural other", "med": "enlarged cardiomediastinum",
}  # fmt: skip
# One form a line; "/" stands for a line break; behind "=>" the conditions that are looked at.
FORMS = """
Pleural effusion: None. => eff -
Pneumothorax: Absent => ptx -
Edema - none => ed -
Pneumothorax (-) => ptx -
Effusion: 0 => eff -
Effusion: possible => eff ?
No longer seen is the right effusion. => eff -
Pleural effusion: no => eff -
Pleural effusion: No. => eff -
Pleural effusion: negative => eff -
Pleural effusion: Nil. => eff -
Pleural effusion: not seen => eff -
Pleural effusion: Not identified. => eff -
Pleural effusion: not present => eff -
Pleural effusion: none seen. => eff -
Pleural effusion: None identified => eff -
Pleural effusion: no evidence. => eff -
Pleural effusion: No significant => eff -
Pleural effusion: excluded => eff -
Pleural effusion: resolved => eff -
Pleural effusion: no longer seen => eff -
Pleural effusion: No longer visible. => eff -
Pleural effusion: unlikely => eff -
Pleural effusion: false => eff -
Pleural effusion: N => eff -
Pleural effusion: neg => eff -
Pleural effusion: - => eff -
Pleural effusion = none => eff -
Pleural effusion -> none => eff -
Pleural effusion .... none => eff -
Pleural effusion (none) => eff -
Pleural effusion (absent) => eff -
Pleural effusion (no) => eff -
Pleural effusion [-] => eff -
Pleural effusion [none] => eff -
Pleural effusion - absent => eff -
Pleural effusion \u2013 none => eff -
Pleural effusion \u2014 absent. => eff -
Pleural effusion - => eff -
Pleural effusion? No. => eff -
Pleural effusion? None seen. => eff -
Any pleural effusion? No => eff -
Is there a pleural effusion? No. => eff -
Is there evidence of pneumothorax? None. => ptx -
Pleural effusion none => eff -
Pleural effusion absent. => eff -
PLEURAL EFFUSION: NONE => eff -
**Pleural effusion**: None => eff -
**Pleural effusion:** None. => eff -
*Pleural effusion*: none => eff -
__Pleural effusion__: absent => eff -
`Pleural effusion`: none => eff -
"pleural effusion": "none", => eff -
{"pleural_effusion": "none", "edema": "mild"} => eff - ed +
- Pleural effusion: None => eff -
* Pleural effusion: none => eff -
\u2022 Pleural effusion: none => eff -
1. Pleural effusion: none => eff -
2) Pneumothorax: none => ptx -
a) Pneumothorax: none => ptx -
[ ] Pneumothorax => ptx -
Pneumothorax: [ ] => ptx -
Pneumothorax: [] => ptx -
Pneumothorax:[ ] => ptx -
Pneumothorax: ( ) => ptx -
Pneumothorax: [-] => ptx -
Pneumothorax: \u2610 => ptx -
Pneumothorax = [ ] => ptx -
Pneumothorax? [ ] => ptx -
Pneumothorax: [ ] present => ptx -
Pneumothorax: [ ] small => ptx -
**Pneumothorax**: [ ] => ptx -
Pneumothorax: [x] => ptx +
Pneumothorax: ( x ) => ptx +
Pneumothorax: [x] small => ptx +
Pneumothorax: [ ] Edema: [x] => ptx - ed +
Pneumothorax: [ ]; Pleural effusion: [X]. => ptx - eff +
- Pneumothorax: [ ]/- Edema: [x] => ptx - ed +
Pneumothorax: [ ] yes [x] no => ptx -
Pneumothorax: [ ] no [x] yes => ptx +
Pleural effusion: [ ] left [x] right => eff +
[] Pneumothorax => ptx -
\u2610 Pneumothorax => ptx -
\u2717 Pneumothorax => ptx -
[x] Pneumothorax => ptx +
[X] Pleural effusion => eff +
\u2611 Cardiomegaly => card +
\u2713 Edema => ed +
- [x] Edema/- [ ] Pneumothorax => ed + ptx -
| Pleural effusion | none | => eff -
Pleural effusion | absent => eff -
| Pleural effusion | small, right | => eff +
| Finding | Present |/|---|---|/| Edema | yes |/| Pneumothorax | no | => ed + ptx -
Finding | Status/Edema | possible/Pneumothorax | absent => ed ? ptx -
Pleural effusion\tnone/Edema\tpresent => eff - ed +
Pleural effusion: yes => eff +
Pleural effusion: Yes. => eff +
Pleural effusion: present => eff +
Pleural effusion: positive => eff +
Pleural effusion: Y => eff +
Pleural effusion: true => eff +
Pleural effusion: 1 => eff +
Pleural effusion (+) => eff +
Pleural effusion + => eff +
Pleural effusion: + => eff +
Pleural effusion: seen => eff +
Pleural effusion: small => eff +
Pleural effusion: Small left. => eff +
Pleural effusion: trace bilateral => eff +
Pleural effusion: Moderate, right greater than left. => eff +
Pleural effusion: bilateral, small, unchanged => eff +
Pleural effusion: unchanged => eff +
Pleural effusion: No change. => eff +
Pleural effusion: no significant interval change => eff +
Pleural effusion: stable => eff +
Pleural effusion: increased => eff +
Pleural effusion: right yes, left no => eff +
Pleural effusion: left none, right small => eff +
Pleural effusion: right: small; left: none => eff +
Pleural effusion: Yes, left. Pneumothorax: No. => eff + ptx -
Pleural effusion - present => eff +
Pleural effusion (present) => eff +
Pleural effusion (small) => eff +
Pleural effusion? Yes. => eff +
Pleural effusion? Yes, small on the left. => eff +
Pleural effusion: There is a small left effusion. => eff +
Pleural effusion: There is no effusion. => eff -
Pleural effusion: No pleural effusion. => eff -
Pleural effusion: No effusion is seen. => eff -
Pleural effusions: No large effusion. => eff -
Pleural effusion: The costophrenic angles are sharp. => eff -
Pneumothorax: No evidence of pneumothorax. => ptx -
Pneumothorax: none on the left => ptx -
Fracture: No acute fracture. => frac -
Fractures: none acute => frac -
Cardiomegaly: Heart size is normal. => card -
Cardiomegaly: The heart is enlarged. => card +
Cardiomegaly: mild => card +
Cardiomegaly: No. => card -
Cardiomegaly: borderline => card ?
Enlarged heart: no => card -
Heart enlarged? No => card -
Heart: normal => card -
Heart: Mildly enlarged. => card +
Heart size: Normal. => card -
Lungs: Clear. => op - cons -
Lungs: No consolidation or edema. => cons - ed -
Lungs: clear; Heart: normal; Pleura: no effusion => op - card - eff -
Consolidation: right lower lobe => cons +
Consolidation: Yes, right lower lobe => cons +
Consolidation: none; Edema: none; Effusion: small left => cons - ed - eff +
Edema: possible => ed ?
Edema: possibly => ed ?
Edema: questionable. => ed ?
Edema (?) => ed ?
Edema: ? => ed ?
Edema? => ed ?
Pneumonia? => pna ?
Pneumonia: cannot be excluded => pna ?
Pneumonia: not excluded => pna ?
Pneumonia: suspected => pna ?
Pneumonia: equivocal => pna ?
Pneumonia - possible => pna ?
Pneumonia (possible) => pna ?
Pneumonia: maybe. => pna ?
Pneumonia: -1 => pna ?
Pneumonia: uncertain => pna ?
Pneumonia possible. => pna ?
Pneumonia: Possible, right lower lobe. => pna ?
Pneumonia: not assessed => pna .
Pneumonia: N/A => pna .
Pneumonia: not mentioned. => pna .
Pneumonia: unknown => pna .
Pleural effusion: not evaluated => eff .
- Pleural effusion: None/- Pneumothorax: Small right/- Edema: possible => eff - ptx + ed ?
Pleural effusion: None/Pneumothorax: Absent/Edema: mild => eff - ptx - ed +
Pleural effusion: None, Pneumothorax: None, Edema: mild => eff - ptx - ed +
Pleural effusion: None; Pneumothorax: present => eff - ptx +
Pleural effusion: None. Pneumothorax: None. Cardiomegaly: Present. => eff - ptx - card +
Edema: yes Pneumothorax: no Effusion: possible => ed + ptx - eff ?
FINDINGS: Pleural effusion: none. => eff -
IMPRESSION:/1. No pneumothorax/2. Small effusion => ptx - eff +
- No pneumothorax/- Small effusion => ptx - eff +
- Heart is normal/- No effusion/- Consolidation at the right base => card - eff - cons +
* Mild cardiomegaly/* No edema => card + ed -
Support devices: none => dev -
Support devices: ETT tip 4 cm above the carina. => dev +
Lines/tubes: PICC in place => dev +
Lung lesion: no/Fracture: yes => les - frac +
Lung opacity: true; Pneumothorax: false; Edema: -1 => op + ptx - ed ?
Atelectasis: mild bibasilar/Consolidation: absent => atel + cons -
Pleural thickening: none/Pleural effusion: small => pl - eff +
No longer seen is the left pneumothorax. => ptx -
No longer visible are the pleural effusions. => eff -
No longer identified is edema. => ed -
The effusion is no longer visible. => eff -
The pneumothorax is no longer seen. => ptx -
Not seen is a pneumothorax; there is an effusion. => ptx - eff +
Absent is any pleural effusion. => eff -
Resolved is the right effusion. => eff -
Effusion none, pneumothorax none, edema mild. => ed +
No Finding: False/Edema: True => ed +
Edema: Present (mild)/Effusion: Absent (bilateral) => ed + eff -
Effusion: no / minimal => eff -
""".strip().splitlines()


def expected(words):
    names = words.split()
    return {SHORT[name]: SIGNS[sign] for name, sign in zip(names[::2], names[1::2], strict=True)}


def found(text, wanted):
    (row,) = LABELER([text])
    return {name: int(row[CONDITIONS.index(name)]) for name in wanted}


def test_there_are_enough_forms():
    assert len(FORMS) >= 170


@pytest.mark.parametrize("form", FORMS)
def test_structured_answers(form):
    text, _, words = (
        form.encode("utf-8").decode("unicode_escape" if "\\u" in form or "\\t" in form else "utf-8").partition(" => ")
    )
    text = (
        text
        if text.startswith(("Lines/", "Effusion: no /"))
        else text.replace("/-", "\n-").replace("/", "\n").replace("N\nA", "N/A")
    )
    wanted = expected(words)
    assert found(text, wanted) == wanted, as_prose(text)


def test_more_structured_answers():
    """Invented in the manner of templates and language models; behind ``=>`` what a reader takes each to say."""
    lines = (
        (Path(__file__).parent / "cases" / "labelling" / "structured_answers.txt")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    assert len(lines) >= 200
    wrong = []
    for line in lines:
        text, _, words = line.rpartition(" => ")
        text, wanted = text.replace("\\n", "\n").replace("\\t", "\t"), expected(words)
        if found(text, wanted) != wanted:
            wrong.append((line, as_prose(text)))
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "Pleural effusion: None\nPneumothorax: Small right\nEdema: possible",
        "- **Pleural effusion**: None\n- **Pneumothorax**: Small right\n- **Edema**: possible",
        "Pleural effusion: None. Pneumothorax: Small right. Edema: possible.",
    ],
)
def test_answers_survive_the_published_cleaner(text):
    """Colons and line breaks do not survive it, and the labels of the published protocol are those of cleaned text."""
    wanted = {"pleural effusion": NEGATIVE, "pneumothorax": POSITIVE, "edema": UNCERTAIN}
    assert found(clean_report(strip_markdown(text)), wanted) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "The heart is enlarged. No effusion, no pneumothorax.",
        "there is a small left pleural effusion . no edema .",
        "PA and lateral views: the lungs are clear. Right-sided port - tip in the SVC.",
        "Comparison: none. Findings: small effusion which is\nunchanged.",
        "",
    ],
)
def test_prose_is_left_alone(text):
    assert as_prose(text) == text


def test_real_reports_keep_their_labels(real_cxr):
    """Not one of 3,955 reports that people dictated has an answer that the rules would now read otherwise, but for lists."""
    reports = [f"{row['findings'] or ''} {row['impression'] or ''}" for row in read_jsonl(real_cxr / "reports.jsonl")]
    changed = [report for report in reports if as_prose(report) != report]
    before = np.stack([LABELER([report.replace(":", " ")])[0] for report in changed])
    after = LABELER(changed)
    assert len(changed) < 0.1 * len(reports)
    assert (before == after).all(axis=1).mean() > 0.8
