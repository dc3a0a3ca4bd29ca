"""What a conversation leaves around a report: the names of who speaks, and words to whoever asked for it."""

from __future__ import annotations

import re

_ROLE = r"(?-i:user|assistant|model|system|developer|human|thought|gpt)"  # in small letters, as templates of chats write them
SPEAKER = (  # before a text, or the next to speak behind it
    r"\A[\s#*<|]*(?:assistant|user|human|system|bot|(?:thinking|thought)(?: process)?|(?:chat)?gpt[\w.-]*|(?:llama|llava|vicuna|mistral|qwen|gemma|gemini|claude|deepseek)[\w. -]{0,20})[*>|]*\s*:"
    r"|[.!?\n][\s#*<|]{0,8}(?-i:USER|User|HUMAN|Human|ASSISTANT|Assistant)[*>|]*\s*:"
    r"|\A\s*(?-i:(?:assistant)?(?:analysis|commentary|final)(?=[A-Z]))|\bassistant(?:analysis|commentary|final)"  # channels of gpt-oss without their marks
    # the name of a role alone on a line, whose marks are gone, or behind a text without a line of its own
    rf"|\A[\s#*]*(?:{_ROLE}(?:\**[^\S\n]*\n|\s+(?-i:[A-Z]))|(?:user|assistant|gpt)\**[^\S\n]*\n)"
    rf"|(?:(?<=[.!?])|(?<=[.!?:\n]\n)|(?<=[.!?:] \n))[^\S\n]{{0,8}}{_ROLE}[^\S\n]{{0,8}}(?:\n|\Z)"
    r"|\n(?-i:user|gpt)\n|(?<=[a-z])assistant\n"  # of the others a line may hold the last word of a paragraph: physician / assistant
    r"|\#{2,4}\s?(?:(?:instruction|response|human|assistant|user)\s?[:\n]|(?:input|output|system)\s?:)"  # Alpaca's and their like
)
_BEGINS = re.compile(
    r"\s*(sure|certainly|of course|here(?:'s| is| are)|i'm sorry|i am sorry|i apologi[sz]e|i can(?:'t|not)|i'm unable|i am unable|as an ai"
    r"|based on the (?:provided|given|image)|the (?:provided|given) (?:image|x-?ray|chest))\b",
    re.IGNORECASE,
)
_REST = r"(?:[^.!?\n]|\.(?=\S))"  # of a sentence
OPENING = (  # which hands a report over; `Based on the provided image, the heart is large` is the report already
    rf"\s*((?:sure|certainly|absolutely|of course|ok(?:ay)?)(?: thing)?[!,.:]|{_REST}{{0,150}}\b(?:here(?:'s|\u2019s| is| are)|below (?:is|are))\b(?={_REST}{{0,150}}[:\n]))"
)
OFFER = (  # the last sentence, which offers more; a radiologist asks to call or to contact
    rf"(?<=[.!?\n*)])\s*((?:(?:i )?(?:really )?hope (?:this|that|the)\b{_REST}{{0,40}}\b(?:helps|helpful|useful|assists)\b|(?:please )?let me know (?:if|whether|how|what)\b|(?:please )?feel free to (?:ask|reach out|share|provide|let me)\b"
    rf"|if you(?:'d like| would like| want| wish| need| prefer)\b{_REST}{{0,80}}\b(?:i can|i could|i'd|i'll|i will|i would|let me know|ask)\b"
    rf"|if you have (?:any|more|further|additional|other)\b{_REST}{{0,60}}\b(?:let me know|ask)\b"
    rf"|(?:would|do) you (?:like|want)\b|is there anything else\b|i(?:'m|'d be| am| would be) (?:happy|glad|here) to (?:help|assist|provide|answer|clarify|explain|elaborate)\b)"
    rf"{_REST}{{0,200}}[.!?]*)\Z"
)
_OFFERS = re.compile(OFFER, re.IGNORECASE)
_LAST = 200  # characters, in which an offer stands


def words_to_a_reader(text: str) -> str | None:
    """The words with which a text speaks to whoever asked for it (``Sure! Here is``, ``I hope this helps!``), None of a report."""
    match = _BEGINS.match(text) or _OFFERS.search(text.rstrip()[-_LAST:])
    return match[1] if match else None
