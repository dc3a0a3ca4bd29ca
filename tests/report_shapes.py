"""Shapes of free-text reports as they are met in MIMIC-CXR, with invented texts.

Each is name -> (report, findings, impression, unnamed): what the sections must be.
"""

F = "The heart is of normal size. The lungs are clear."
G = "There is a small left pleural effusion. No pneumothorax."
I = "No acute process."  # noqa: E741
HEAD = "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n\n INDICATION:  ___F with cough.\n\n"

SHAPES = {
    # with both headers
    "plain": (f"{HEAD} FINDINGS: \n\n {F}\n\n IMPRESSION: \n\n {I}\n", F, I, ""),
    "text on the header's line": (f"{HEAD} FINDINGS:  {F}\n\n IMPRESSION:  {I}", F, I, ""),
    "wrapped lines": (
        f"{HEAD} FINDINGS:  The heart is of normal\n size.  The lungs are\n clear.\n\n IMPRESSION: No acute\n process.", F, I, ""),
    "windows line ends": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n".replace("\n", "\r\n"), F, I, ""),
    "no indentation": (f"FINDINGS: {F}\nIMPRESSION: {I}", F, I, ""),
    "deep indentation": (f"      FINDINGS:\n        {F}\n      IMPRESSION:\n        {I}", F, I, ""),
    "tabs": (f"\tFINDINGS:\t{F}\n\tIMPRESSION:\t{I}", F, I, ""),
    "title case": (f"{HEAD} Findings:\n {F}\n\n Impression:\n {I}", F, I, ""),
    "lower case": (f"{HEAD} findings: {F}\n\n impression: {I}", F, I, ""),
    "lower case after a sentence": (f"indication: cough.\nfindings: {F}\nimpression: {I}", F, I, ""),
    "no colon, alone on its line": (f"{HEAD} FINDINGS\n {F}\n\n IMPRESSION\n {I}", F, I, ""),
    "title case alone on its line": (f"{HEAD} Findings\n {F}\n\n Impression\n {I}", F, I, ""),
    "space before the colon": (f"{HEAD} FINDINGS :  {F}\n\n IMPRESSION :  {I}", F, I, ""),
    "semicolon for colon": (f"{HEAD} FINDINGS;  {F}\n\n IMPRESSION;  {I}", F, I, ""),
    "singular": (f"{HEAD} FINDING: {F}\n\n IMPRESSIONS: {I}", F, I, ""),
    "conclusion": (f"{HEAD} FINDINGS: {F}\n\n CONCLUSION: {I}", F, I, ""),
    "misspelt": (f"{HEAD} FINIDNGS: {F}\n\n IMPRESSON: {I}", F, I, ""),
    "misspelt otherwise": (f"{HEAD} FINDNGS: {F}\n\n IMPRESION: {I}", F, I, ""),
    "impression first": (f"{HEAD} IMPRESSION: {I}\n\n FINDINGS: {F}", F, I, ""),
    "impression inside a line": (f"{HEAD} FINDINGS: {F} IMPRESSION: {I}", F, I, ""),
    "everything on one line": (f"INDICATION: cough. FINDINGS: {F} IMPRESSION: {I}", F, I, ""),
    "numbered impression": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION:\n 1. No acute process.\n 2. Old fracture.", F,
                            "1. No acute process. 2. Old fracture.", ""),
    "two paragraphs": (f"{HEAD} FINDINGS: {F}\n\n {G}\n\n IMPRESSION: {I}", f"{F} {G}", I, ""),
    "named views": (f"{HEAD} CHEST FINDINGS: {F}\n\n IMPRESSION: {I}", F, I, ""),
    "findings of a view": (f"{HEAD} FINDINGS, PA AND LATERAL:  {F}\n\n IMPRESSION: {I}", F, I, ""),
    "view inside the findings": (f"{HEAD} FINDINGS:\n\n CHEST, PA AND LATERAL:  {F}\n\n IMPRESSION: {I}",
                                 F, I, ""),
    "organs inside the findings": (
        f"{HEAD} FINDINGS:\n LUNGS: Clear.\n HEART: Normal size.\n BONES: Intact.\n\n IMPRESSION: {I}",
        "LUNGS: Clear. HEART: Normal size. BONES: Intact.", I, ""),
    "a time inside the findings": (f"{HEAD} FINDINGS: Study at 9:12 shows clear\n lungs.\n IMPRESSION: {I}",
                                   "Study at 9:12 shows clear lungs.", I, ""),
    "the word findings inside": (
        f"{HEAD} FINDINGS: There are the following\n findings: small effusion.\n\n IMPRESSION: {I}",
        "There are the following findings: small effusion.", I, ""),
    "findings were discussed": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n\n Findings were discussed by phone.", F,
                                f"{I} Findings were discussed by phone.", ""),
    # only one of the two
    "findings only": (f"{HEAD} FINDINGS: {F}", F, "", ""),
    "impression only": (f"{HEAD} COMPARISON:  ___.\n\n IMPRESSION:  {I}", "", I, ""),
    "impression compared": (f"{HEAD} IMPRESSION:  AP chest compared to ___:\n\n {G}", "", f"AP chest compared to ___: {G}", ""),
    "findings point to the impression": (f"{HEAD} FINDINGS: See impression.\n\n IMPRESSION: {I}", "", I, ""),
    "empty findings": (f"{HEAD} FINDINGS:\n\n IMPRESSION: {I}", "", I, ""),
    "impression as above": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: As above.", F, "", ""),
    # combined
    "and": (f"{HEAD} FINDINGS AND IMPRESSION:  {F}", F, F, ""),
    "slash": (f"{HEAD} FINDINGS/IMPRESSION:\n\n {F}", F, F, ""),
    "ampersand": (f"{HEAD} FINDINGS & IMPRESSION: {F}", F, F, ""),
    "combined, title case": (f"{HEAD} Findings and Impression: {F}", F, F, ""),
    "impression and findings": (f"{HEAD} IMPRESSION AND FINDINGS: {F}", F, F, ""),
    "combined, then an impression": (f"{HEAD} FINDINGS AND IMPRESSION: {F}\n\n IMPRESSION: {I}", F, f"{F} {I}", ""),
    # several
    "several findings": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n\n FINDINGS: {G}", f"{F} {G}", I, ""),
    "repeated report": (f"FINDINGS: {F}\n\n IMPRESSION: {I}\n\n FINDINGS: {F}\n\n IMPRESSION: {I}", F, I, ""),
    "two studies": (f"CHEST:\n\n FINDINGS: {F}\n\n ABDOMEN:\n\n FINDINGS: {G}\n\n IMPRESSION: {I}",
                    f"{F} ABDOMEN: {G}", I, ""),
    # what surrounds them
    "wet read above": (f"WET READ: ___ 10:37 PM\n  Large effusion.\n ____________________\n{HEAD} FINDINGS: {F}", F, "", ""),
    "wet read with its own header": (
        f" WET READ:\n FINDINGS: {G}\n ____________________\n{HEAD} FINDINGS: {F}\n IMPRESSION: {I}", F, I, ""),
    "addendum above": (f" ADDENDUM  The tube was moved.\n\n ______________________\n{HEAD} FINDINGS: {F}", F, "", ""),
    "addendum below": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n\n ADDENDUM: A nodule was overlooked.", F, I, ""),
    "two final reports": (f" FINAL REPORT\n FINDINGS: {G}\n\n FINAL REPORT\n FINDINGS: {F}", F, "", ""),
    "notification": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n\n NOTIFICATION:  Told to Dr. ___ at 3:15 p.m.", F, I, ""),
    "recommendation": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n\n RECOMMENDATION(S):  CT of the chest.", F, I, ""),
    "recommendation between": (f"{HEAD} FINDINGS: {F}\n\n RECOMMENDATION:  CT.\n\n IMPRESSION: {I}", F, I, ""),
    "comparison between": (f"{HEAD} FINDINGS: {F}\n\n COMPARISON:  None.\n\n IMPRESSION: {I}", F, I, ""),
    "signature": (f"{HEAD} FINDINGS: {F}\n\n IMPRESSION: {I}\n\n Dictated by: Dr. ___\n Approved by: Dr. ___", F, I, ""),
    "technique in capitals": (f"{HEAD} TECHNIQUE AND VIEWS:  PA.\n\n COMPARISON STUDY: ___.\n\n FINDINGS: {F}", F, "", ""),
    "reason for exam": (f" REASON FOR EXAMINATION: Fall.\n\n FINDINGS: {F}\n\n IMPRESSION: {I}", F, I, ""),
    "critical findings told": (f"{HEAD} FINDINGS: {F}\n\n NOTIFICATION OF CRITICAL FINDINGS: Told at 3 p.m.", F, "", ""),
    # no header for the findings
    "view as header": (f"{HEAD} PA AND LATERAL VIEWS OF THE CHEST:  {F}\n\n IMPRESSION: {I}", "", I, F),
    "two views, MIMIC-CXR's own name of findings": (f"{HEAD} CHEST, TWO VIEWS:  {F}\n\n {G}\n\n IMPRESSION: {I}", f"{F} {G}", I, ""),
    "two views above the findings": (f"{HEAD} CHEST, TWO VIEWS:  9:12 a.m.\n\n FINDINGS: {F}\n\n IMPRESSION: {I}", F, I, ""),
    "view with a time": (f" HISTORY: Cough.\n\n AP CHEST, 9:12 A.M., ___:  {F}\n\n IMPRESSION: {I}", "", I, F),
    "paragraph without header": (f" REASON FOR EXAM: Fall.\n\n {F}\n\n IMPRESSION: {I}", "", I, F),
    "paragraphs without header": (f"{HEAD} TECHNIQUE: Chest PA.\n\n {F}\n\n {G}", "", "", f"{F} {G}"),
    "no header at all": (f"                 FINAL REPORT\n {F}\n\n {G}", "", "", f"{F} {G}"),
    "title, then text": (f" FINAL REPORT\n PORTABLE CHEST ___\n\n {F}", "", "", F),
    "title above its text": (f" FINAL REPORT\n PORTABLE CHEST\n {F}", "", "", F),
    "organs without findings": (f"{HEAD} LUNGS: Clear.\n HEART: Normal size.", "", "", "LUNGS: Clear. HEART: Normal size."),
    "as compared": (f" FINAL REPORT\n CHEST RADIOGRAPH\n\n INDICATION: Fever.\n\n COMPARISON: ___.\n\n As compared to ___, {G}",
                    "", "", f"As compared to ___, {G}"),
    # nothing usable
    "only history": (HEAD, "", "", ""),
    "empty": ("", "", "", ""),
    "only a title": (" FINAL REPORT\n PORTABLE CHEST\n", "", "", ""),
    "wet read only": (" WET READ: Pending.\n", "", "", ""),
}  # fmt: skip
