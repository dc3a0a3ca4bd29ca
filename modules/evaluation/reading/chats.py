"""Answers as chat programs write them: batches, chats of Hugging Face's pipelines, LLaVA's conversations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.corpus.tables import plain_heading
from modules.evaluation.reading.batches import answers_of, is_of_batch, text_of
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.headings import PLAIN, is_known
from modules.messages import UserError, quoted_name

_TURNS = ["human", "gpt"]  # of a conversation with one question
_ANSWERS = ("assistant", "gpt", "model")  # who speaks what a model wrote


def answer_rows(path: Path, rows: Sequence[Row], wanted: str, given: Collection[str] = ()) -> tuple[Sequence[Row], str]:
    """Rows with the text of an answer in place of what a program wrote around it, and what was read; as they are in other layouts.

    Args:
        path: of the file, for messages.
        rows: of JSON.
        wanted: ``"prediction"`` or ``"reference"``.
        given: headings that ``--columns`` names, of which each may hold chats (``messages``, ``conversations``).

    Raises:
        UserError: naming a request that failed or has several answers, or a chat that does not end in an answer.
    """
    if rows and all(map(is_of_batch, rows)):
        return answers_of(path, rows), "the answers of a batch"
    chats = PLAIN["generated"].union(map(plain_heading, given))
    names = {name for row in rows for name, value in row.items() if plain_heading(name) in chats and is_chat(value)}
    if names:
        return _of_chats(path, rows, names), "the last message of each chat"
    if wanted == "reference" and rows and all(_is_conversation(row) for row in rows):
        return list(map(_of_conversation, rows)), "the answers of LLaVA's conversations"
    return rows, ""


def is_chat(value: object) -> bool:
    """Whether something holds the messages of a chat, each with its speaker: OpenAI's ``role``, or ``from`` of LLaVA and ShareGPT."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(one, Mapping) and ({"role", "content"} <= one.keys() or {"from", "value"} <= one.keys())
            for one in value
        )
    )


def _of_chats(path: Path, rows: Sequence[Row], names: set[str]) -> list[Row]:
    """Rows with the last message of each chat, which the model wrote."""
    found: list[Row] = []
    for number, row in enumerate(rows, start=1):
        texts: dict[str, str] = {}
        for name in names:
            value: Any = row.get(name)
            if not is_chat(value):
                continue
            text = text_of(value[-1])
            if text is None or value[-1].get("role", value[-1].get("from")) not in _ANSWERS:
                ids = [row[heading] for heading in row if plain_heading(heading) in PLAIN["ids"]]
                which = quoted_name(ids[0]) if ids else f"row {number}"
                raise UserError(
                    f"the chat of {which} in the column {quoted_name(name)} of {path} does not end in a text of the assistant, expected its report: "
                    "run it again, or take its row out"
                )
            texts[name] = text
        found.append({**row, **texts})
    return found


def _is_conversation(row: Row) -> bool:
    """Whether the only text of a row is LLaVA's conversation of one question and its answer."""
    turns = row.get("conversations")
    if (
        not isinstance(turns, list)
        or [turn.get("from") for turn in turns if isinstance(turn, Mapping)] != _TURNS
        or len(turns) != 2
    ):
        return False
    others = [name for name in row if is_known(name) and plain_heading(name) not in PLAIN["ids"]]
    return isinstance(turns[1].get("value"), str) and not others


def _of_conversation(row: Row) -> Row:
    """A row with the answer of its conversation as its report."""
    turns: Any = row["conversations"]
    return {**{name: value for name, value in row.items() if name != "conversations"}, "report": turns[1]["value"]}
