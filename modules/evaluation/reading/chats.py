"""Answers as chat programs write them: OpenAI's and vLLM's batches, chats of Hugging Face's pipelines, LLaVA's conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.corpus.tables import plain_heading
from modules.evaluation.reading.columns import Row
from modules.evaluation.reading.headings import PLAIN, is_known
from modules.messages import UserError, quoted_name

_TURNS = ["human", "gpt"]  # of a conversation with one question


def answer_rows(path: Path, rows: Sequence[Row], wanted: str) -> tuple[Sequence[Row], str]:
    """Rows with the text of an answer in place of what a program wrote around it, and what was read; as they are in other layouts.

    Args:
        path: of the file, for messages.
        rows: of JSON.
        wanted: ``"prediction"`` or ``"reference"``.

    Raises:
        UserError: naming a request that failed or has several answers, or a chat that does not end in an answer.
    """
    if rows and all(_is_of_batch(row) for row in rows):
        return _of_batch(path, rows), "a batch (custom_id, response.body.choices[0].message.content)"
    names = {
        name
        for row in rows
        for name, value in row.items()
        if plain_heading(name) in PLAIN["generated"] and _is_chat(value)
    }
    if names:
        return _of_chats(path, rows, names), "the last message of each chat"
    if wanted == "reference" and rows and all(_is_conversation(row) for row in rows):
        return list(map(_of_conversation, rows)), "the answers of LLaVA's conversations"
    return rows, ""


def _is_of_batch(row: Row) -> bool:
    """Whether a row is a line of the output of a batch; OpenAI's API and vLLM's ``run-batch`` write the same."""
    answered = isinstance(row.get("response"), Mapping) or (row.get("response") is None and "error" in row)
    return {"custom_id", "response"} <= row.keys() and answered


def _of_batch(path: Path, rows: Sequence[Row]) -> list[Row]:
    """The texts of the answers by the ids of their requests."""
    texts, wrong, cut = [], [], 0
    for row in rows:
        response: Any = row["response"] or {}
        body = response.get("body")
        choices: Any = body.get("choices") if isinstance(body, Mapping) else None
        text = _text(choices[0].get("message")) if _is_single(choices) else None
        if row.get("error") or response.get("status_code", 200) != 200:
            wrong.append((row["custom_id"], "failed"))
        elif isinstance(choices, list) and len(choices) > 1:
            wrong.append((row["custom_id"], f"has {len(choices)} answers"))
        elif text is None:
            wrong.append((row["custom_id"], "has no text for an answer"))
        else:
            cut += choices[0].get("finish_reason") == "length"
        texts.append(text)
    if wrong:
        name, why = wrong[0]
        raise UserError(
            f"{path} holds {len(wrong)} of {len(rows)} requests without one answer, first {quoted_name(name)}, which {why}: run them again, or "
            "take their lines out"
        )
    if cut:
        print(f"{path.name}: {cut} of {len(rows)} answers were cut off by the limit of their length")
    return [{"study_id": row["custom_id"], "prediction": text} for row, text in zip(rows, texts, strict=True)]


def _is_single(choices: Any) -> bool:
    return isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], Mapping)


def _is_chat(value: object) -> bool:
    """Whether a cell holds the messages of a chat."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, Mapping) and {"role", "content"} <= one.keys() for one in value)
    )


def _of_chats(path: Path, rows: Sequence[Row], names: set[str]) -> list[Row]:
    """Rows with the last message of each chat, which the model wrote."""
    found: list[Row] = []
    for number, row in enumerate(rows, start=1):
        texts: dict[str, str] = {}
        for name in names:
            value: Any = row.get(name)
            if not _is_chat(value):
                continue
            text = _text(value[-1])
            if text is None or value[-1]["role"] != "assistant":
                ids = [row[heading] for heading in row if plain_heading(heading) in PLAIN["ids"]]
                which = quoted_name(ids[0]) if ids else f"row {number}"
                raise UserError(
                    f"the chat of {which} in the column {quoted_name(name)} of {path} does not end in a text of the assistant, expected its report: "
                    "run it again, or take its row out"
                )
            texts[name] = text
        found.append({**row, **texts})
    return found


def _text(message: Any) -> str | None:
    """The text of a message: its content, or that of the only part of it."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Mapping):
        content = content[0].get("text")
    return content if isinstance(content, str) else None


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
