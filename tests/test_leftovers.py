"""modules/evaluation/reading/leftovers.py: what programs leave in texts is refused, what reports hold is let pass."""

import contextlib
import time
from pathlib import Path

import pytest

from modules.evaluation.reading.chat_marks import words_to_a_reader
from modules.evaluation.reading.leftovers import check_texts, note_cuts
from modules.messages import UserError
from modules.records import read_jsonl

HEART, LUNGS = "The heart is enlarged.", "No effusion at 5 cm."
FORMS = (
    "<image> {}", "{}<end_of_turn>", "<start_of_image>{}", "[IMG] {}", "\u2581{}", "\u0120{}", "a {} cardio ##megaly", "['{}']", '["{}"]',
    "('{}',)", "b'{}'", "{} No%20effusion.", "{} no_acute_disease", "{}/nNo edema.", "{} {findings}", "{} {{ report }}", "[insert findings here]", "{}\\t", "{} 4\\u00b0", "{}_x000D_", "ASSISTANT: {}", "**Assistant:** {}", "### Human: x {}", "{} \ufffd",
    '```json\n{{"x": "{}"}}\n```',
    "{} \u00e2\u20ac\u201c old", "{} 4\u00c2\u00b0", '"{}"', "'{}'", "<b>{}</b>", "<li>{}</li>", "<findings>{}</findings>", "{} <edema>none</edema>", "{} &amp; more", "{} &#39;",
    "{} Patient&apos;s", "{} 5&deg;", "{} &ge; 5", "{} &frac12;", "{}&#xD;&#xA;Old.", "{}&#x0A;", r"{}\.br\ Old.", r"{}\X0D0A\ Old.", r"{} \T\ old.",
    "{}<CR>Old.", "{} <CRLF> Old.", "{}[BR]Old.", "{}[LF]", "{}^M Old.", "{}^MOld.", "{}~Old.", "{} ~ Old.", "{}|Old.", "{}//Old.", "{}\u00b6Old.",
    "[DEC] {}", "{} [NEG]", "<start> {}", "{} <end>", "startseq {} endseq", "{} <sep>", "{}<n>", "<unused95>{}", "<extra_id_0> {}",
    "<loc_12>{}", "pneumo@@ thorax {}",
    "<0x0A>{}", "{} [unused1]", "[INST] {} [/INST]", "<<SYS>> {}", "{} <|im_end|>", "{}<\uff5cend\u2581of\u2581sentence\uff5c>", "<Img>{}", "<image0> {}", "{} [NPF]", "<reserved_106>{}",
    '{"report": "{}', '[{"report": "{}', '["{}', '{}"}}', 'report": "{}', "{} User: next", "{}\nHuman: thanks", "GPT-4: {}", "LLaVA-Rad: {}",
    "No edema\u3002{}", "No edema\u3001 {}", "5 cm\uff61{}", "Clear\uff0e {}", "No edema\u0964 {}",
    "{} N\u03bf edema", "{} \u0395dema", "{} \U0001d41edema", "{} ef\u0131usion", "{} Clear\u2024", "{} \u202eold", "{} \u2066old\u2069", "{} hear\u0442", "{} \u217fine", "{} \u0261as", "{} It is \u0430 tube",
    "assistantfinal{}", "analysis{}", "{} assistantanalysisWe see it.", "(cid:12)The {}", "<!-- x -->{}", "<![CDATA[{}]]>", "<!DOCTYPE html>{}", "{}<hr/>",
    "assistant\n{}", "assistant {}", "user\n\nDescribe it\nmodel\n{}", "user\n\nDescribe it.assistant\n\n{}", "Assistant\n{}", "thought\nI look at it.\n{}", "**model**\n{}", "Thinking Process:\n{}",
    "{}\nuser\nThanks", "{}assistant\n{}", "{} \nassistant\n{}", "No effusion\nuser\n{}", "No effusionassistant\n\n{}", "{}\nuser", "Below is a task.\n\n### Instruction: Write it.", "### Response:\n{}", "{} ### Input: x",
    "[('{}', None), ('Clear.', [(0.1, 0.2)])]", '[["{}", null]]', "('{}', None)", '["{}", [0.1, 0.2]]', "(('{}', 'clear')", "['{}', 'Cl", '{0: "{}"}', 'It is {"findings": 5', "parts { text: '{}'", "findings: >\n  {}",
    "ChatCompletionMessage(content='{}', role='assistant')", "[TextBlock(citations=None, text='{}')]", "response:\nGenerateContentResponse(\n done=True, {}", "AIMessage(content='{}')", "Choice(text='{}', index=0)",
    "content='{}' id='1'", "OrderedDict([('findings', '{}')])", "[<Answer object at 0x7f00>] {}", "0    {}\nName: report, dtype: object",
    "{} [[12, 33, 44, 55]] Clear.", "{} {<12><33><44><55>} Clear.", "{} [.1, .2, .3, .4] Clear.", "{} (12,33),(44,55) Clear.", "<x10><y20> {}", "{} [cite: 1] Clear.", "{} \u30104:0\u2020source\u3011", r"\boxed{{}}",
    "{}\u00c2 Clear.", "The heart\u00c2 is large.", "{} 37 \u00c2 C.", "{} \u00ef\u00bf\u00bd", "It\u0393\u00c7\u00d6s clear.", "{} 5\u00ac\u221e.", "{}\\NClear.", "[|assistant|]{}", "{}[UNUSED_TOKEN_145]", "{}<delim>",
    "Patient Name: [Name]\n{}", "**Exam Date:** [Date of Exam]. {}", "{}\n[Radiologist's Name], MD",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_programs_leave_is_refused(form):
    with pytest.raises(UserError, match=r"1 of 2 reports in a\.csv hold what a program left in them"):
        check_texts([(Path("a.csv"), [form.replace("{}", HEART), LUNGS])])


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("Describe the findings of this chest X-ray.", "ask for a report"),
        ("Write a radiology report for this image.", "ask for a report"),
        ("Question: What are the findings? Answer: {}", "begin with a question or an instruction"),
        ("You are a helpful radiology assistant. {}", "begin with a question or an instruction"),
        ("Indication: cough. Comparison: None. {}", "begin with what is known before the findings"),
        ("Report: {}", "begin with a label"), ("Final answer: {}", "begin with a label"),
        ("findings {} impression normal .", "begin with a label"), ("Finding: {}", "begin with a label"),
        ("50414267: {}", "begin with a number"), ("[s50414267] {}", "begin with a number"), ("{} 0.93", "end with a number"),
        ("FINAL REPORT {}", "begin with a label"), ("AI: {}", "begin with a label"), ("MedGemma: {}", "begin with a label"),
        ("{} -0.53", "end with a number"), ("{} (score: 0.91)", "end with a number"), ("{} [2.3s]", "end with a number"), ("{} 91%", "end with a number"),
        ("{} | 0.91", "end with a number"), ("{} (12.5 tokens/s)", "end with a number"), ("{} logprob: -3.2", "end with a number"), ("{} score=0.9", "end with a number"), ("{} 2.1e-05", "end with a number"),
        ("{} <unk>", "end with the word of a program"), ("{} unk", "end with the word of a program"), ("{} EOS", "end with the word of a program"),
        ("{} None", "end with the word of a program"), ("{} [DONE]", "end with the word of a program"), ("<eoa> {}", "begin with the word of a program"),
        ("@@ {} @@", "begin with signs"), ("### {} ###", "end with signs"), ("{} ---", "end with signs"),
        ("{} (confidence: high)", "end with how sure a model is"), ("{} Confidence level: very low.", "end with how sure a model is"),
        ("GT: {}", "begin with a label"), ("Hypothesis: {}", "begin with a label"), ("Text: {}", "begin with a label"), ("Result: {}", "begin with a label"), ("A: {}", "begin with a label"),
        ("**Generated:** {}", "begin with a label"), ("Chest X-ray Report: {}", "begin with a label"), ("Preliminary report\n{}", "begin with a label"), ("Model output = {}", "begin with a label"),
        ("EXAM: Chest, two views. {}", "begin with what is known before the findings"),
        ("{} 2024-05-01 12:00:00", "end with a date and a time"), ("{} [5/1/2024 at 3:30 pm]", "end with a date and a time"),
        ("{} End of report.", "end with a note"), ("{} Generated by MedGemma 1.5.", "end with a note"), ("{} Page 1/1", "end with a note"), ("{} (continued)", "end with a note"),
        ("{}\n\nDisclaimer: I am not a doctor.", "end with a note"), ("{} This is an AI-generated report and should be reviewed by a radiologist.", "end with a note"),
        ("{} Note: This report is generated based on one image.", "end with a note"), ("{} It should be read by a qualified radiologist.", "end with a note"), ("{} Only for research use.", "end with a note"),
        ("{} (52 words)", "end with a number"), ("{} Word count: 52", "end with a number"), ("{}\nfinish_reason: stop", "end with the word of a program"), ("{} stop", "end with the word of a program"),
        ("{} I hope this helps!", "end with words to a reader"), ("{} Let me know if you have any questions.", "end with words to a reader"), ("{}\n\nIf you want, I can also give an impression.", "end with words to a reader"),
        ("{} Is there anything else?", "end with words to a reader"), ("{} Would you like a shorter one?", "end with words to a reader"), ("{} I'm happy to explain.", "end with words to a reader"), ("{} Feel free to ask!", "end with words to a reader"),
        ("Sure! {}", "begin with words to a reader"), ("Here is the report:\n\n{}", "begin with words to a reader"), ("Certainly! Below is a report of your image.\n{}", "begin with words to a reader"),
        ("Based on the provided chest X-ray, here are the findings: {}", "begin with words to a reader"),
        ("The heart is large.{}", "hold sentences without a blank between them"),
        ("The \u2047 {}", "hold words that a tokenizer does not know"),
    ],
)  # fmt: skip
def test_what_stands_in_most_texts_is_no_report(form, words):
    texts = [form.replace("{}", text) for text in (HEART, LUNGS)]
    with pytest.raises(UserError, match=rf"2 of 2 reports in a\.csv {words}"):
        check_texts([(Path("a.csv"), texts)])
    check_texts([(Path("a.csv"), [texts[0], LUNGS, HEART])])  # one author may write so


@pytest.mark.parametrize("dots", ["...", "\u2026", " [...]", " [truncated]", "... (more)"])
def test_texts_that_end_in_dots_are_cut_off(dots):
    texts = [f"{text[:-4]}{dots}" for text in (HEART, LUNGS)]
    with pytest.raises(UserError, match=r"2 of 2 reports in a\.csv end in dots.*give the whole texts"):
        check_texts([(Path("a.csv"), texts)])
    check_texts([(Path("a.csv"), [texts[0], LUNGS])])  # one author may write so


def test_texts_that_a_column_of_limited_width_cut_are_known_by_their_length():
    whole = [f"{HEART} Line {number} ends in the right atrium." for number in ("one", "two", "three", "four")]

    def said(*texts):
        return note_cuts("a.csv", texts)

    sentence = "{} texts in a.csv have exactly 50 characters, the most there, and do not end there: they may be cut off"
    assert said(*(text[:50] for text in whole), LUNGS) == [sentence.format(4)]
    assert said(*whole, LUNGS) == said() == []
    assert said(*(text[:50] for text in whole[:2]), LUNGS) == []  # two may be so by chance
    assert said(*[whole[0][:50]] * 9) == []  # one text, many times
    assert said(*(f"{text[:49]}." for text in whole)) == []
    assert said(f"{HEART[:9]}...", LUNGS, "Clear\u2026") == ["2 of 3 texts in a.csv end in dots: they may be cut off"]


@pytest.mark.parametrize("text", ["Opacity of the left_lower_lobe.", "Heart {stable}.", "No%20effusion."])
def test_one_odd_text_of_many_is_its_authors(text):
    check_texts([(Path("a.csv"), [HEART, LUNGS] * 100 + [text])])
    with pytest.raises(UserError, match=r"3 of 203 reports in a\.csv hold what a program left in them"):
        check_texts([(Path("a.csv"), [HEART, LUNGS] * 100 + [text] * 3)])


def test_what_reports_hold_is_let_pass():
    check_texts([
        (Path("a.csv"), [
            HEART, LUNGS, "Size < 4 cm, pH > 7; [recommend CT] (see note).", "Lead II+III+aVF.", "A nodule. ~5 mm.", "Clear. | Old. // Told Doe^Mary.", "| Lungs | Clear. |", "A&P; H&E; [CR 3].", "Right_lower lobe.", "Seen by [PATIENT_LAST_NAME] on <date_of_exam>.", "Told {{NAME}}, {DATE_OF_CALL}.", "and/or 50% less.", "mm/nodule. W/No change.", 'A "ground-glass" nodule.', "Tip at T4/5.", "C1\\C2 level.",
            "The human: see above.", "", "nan", "___ year old, #3 lead.", "5 x 4 mm = stable.", "<unk> opacity", "### Findings\n- clear",
            "5 \u03bcm, 5 \u00b5m, \u0394t 3 s, \u03b2-blocker, \u03b1-1, CO\u2082, na\u00efve, \u00d8 3 mm, 20\u00b0, T2\u2192T3.", "\u0394\u0399\u0391 \u03ba\u03b1\u03c1\u03b4\u03b9\u03ac",
            "\u5fc3\u5f71\u589e\u5927\u3002\u53cc\u80ba\u6e05\u6670\u3002",
        ])
    ])  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "The tip is at T8", "{} at 5 cm", "A nodule of 4.5", "Seen on ___", "[**2101-3-4**] {}", "{} [**Name**]", "{} Signed by ___", "___ {}", "{} 3/4/2010",
        "Effusion: None", "Findings: {}", "Lungs: clear. Heart: {}", "{} Physician Assistant: ___", "- {}", "**Findings:** {}", "XXXX {}",
        "{} (2 views).", "Read by [NAME]", "Grade 2/6", "a <unk> opacity . {}", "Size 3-4", "Patient Name: ___. {}", "{} Brasfield score: 18",
        "PA and lateral chest: {}", "CHEST: {}", "Cardiomediastinal silhouette: {}", "Observations: {}", "CXR: {}", "Narrative: {}", "The findings are as follows: {}",
        "Frontal and lateral views of the chest were obtained. {}", "The heart size is normal. {}", "{} No acute osseous abnormality.", "{} Continued follow-up is suggested.",
        "Discussed with the physician\nassistant\n\n{}", "Dual chamber\nsystem\n- {}", "{} Please call if you have any questions.", "{} If you have any questions, please contact us.", "Labelled 'A', 'B': {}", "{} (cut in half).",
        "Date: [**2101-3-4**] {}", "Told Dr. [Name] on [Date]. {}", "Name: [NAME] {}", "{} See images [3, 4].", "{} No \u00e2ge.", "Read by [Hospital Ward Name 121]. {}",
        "1. {}", "2 views. {}", "1.5 cm nodule. {}", "{} Discussed with Dr. ___ on 5/1/2024 at 3:30 pm.", "{} Final report.", "{} Generated heat.",
    ],
)  # fmt: skip
def test_what_all_reports_of_an_archive_may_begin_or_end_with_is_let_pass(text):
    check_texts([(Path("a.csv"), [text.replace("{}", HEART), text.replace("{}", LUNGS)])])


@pytest.mark.parametrize(
    "form",
    ["Report {}: ", "Study {}: ", "Case {} - ", "Image No. {}: ", "**Report {}:** ", "### Case {}\n", "[{}] ", "({}) ", "#{} ", "{}: ", "{}. ", "{}_", "{}/3 ", "{} of 3: ", "Report {} ", "{} "],
)  # fmt: skip
def test_numbers_that_count_the_reports_are_no_part_of_them(form):
    texts = [form.format(number) + text for number, text in ((2, HEART), (1, LUNGS), (3, HEART))]
    with pytest.raises(UserError, match=r"3 of 3 reports in a\.csv begin with a label"):
        check_texts([(Path("a.csv"), texts)])
    check_texts([(Path("a.csv"), [form.format(1) + text for text in (HEART, LUNGS, HEART)])])  # the first of a list


@pytest.mark.parametrize(
    "starts", [("2 views. ", "3 views. "), ("1.5 cm. ", "2.5 cm. "), ("5:30 am. ", "6:15 am. "), ("3/4/2010. ", "4/5/2011. "), ("2-view chest. ", "1-view chest. "), ("13 - ", "1. ")]
)  # fmt: skip
def test_numbers_that_say_something_are_part_of_a_report(starts):
    check_texts([(Path("a.csv"), [start + text for start, text in zip(starts, (HEART, LUNGS), strict=True)])])


def test_no_real_report_is_refused_for_what_it_holds(real_cxr):
    """Four of the public reports have HTML in them and one an HL7 sign, which one may keep."""
    rows = read_jsonl(real_cxr / "reports.jsonl")
    for part in ("findings", "impression"):
        check_texts([(Path(part), [row[part] or "" for row in rows])])
    whole = [
        "Chest.\n" + "\n".join(row[part] or "" for part in ("indication", "findings", "impression")) for row in rows
    ]
    check_texts([(Path("whole"), whole)])
    assert not [*filter(None, map(words_to_a_reader, whole))]


def test_words_to_a_reader():
    assert words_to_a_reader("Sure! Here is the report: clear.") == "Sure"
    assert words_to_a_reader(f"{HEART} I hope this helps!") == "I hope this helps!"
    assert words_to_a_reader("I'm sorry, but I can't read X-rays.") == "I'm sorry"
    assert [words_to_a_reader(text) for text in (HEART, "Hereditary changes.", "The provided history is short.")] == [
        None
    ] * 3


def test_a_text_of_blanks_and_signs_takes_no_longer_than_it_is_long():
    """Two blanks in a row of a pattern took minutes of 60,000 line breaks."""
    started = time.process_time()
    for sign in ("\n", ". \n"):
        with contextlib.suppress(UserError):
            check_texts([(Path("a.csv"), [sign * 60_000 + "a b"] * 2)])
    assert time.process_time() - started < 8
