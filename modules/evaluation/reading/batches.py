"""Answers in the output of a batch: OpenAI's (chat completions and responses), vLLM's ``run-batch``, Anthropic's and Gemini's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.evaluation.reading.columns import Row
from modules.messages import UserError, quoted_name

_CUT = (  # why an answer ended: of its length, or by a filter
    "length", "max_output_tokens", "max_tokens", "MAX_TOKENS", "content_filter", "refusal", "SAFETY", "RECITATION",
)  # fmt: skip


def is_of_batch(row: Row) -> bool:
    """Whether a row is a line of the output of a batch, whether its request was answered or failed."""
    response, result = row.get("response"), row.get("result")
    if "custom_id" in row and "response" in row:
        return isinstance(response, Mapping) or (response is None and "error" in row)
    if "custom_id" in row:
        return isinstance(result, Mapping) and isinstance(result.get("type"), str)
    answered = isinstance(response, Mapping) and "candidates" in response
    return "key" in row and (answered or (response is None and isinstance(row.get("error"), Mapping)))


def answers_of(path: Path, rows: Sequence[Row]) -> list[Row]:
    """The texts of the answers of a batch by the ids of their requests.

    Args:
        path: of the file, for messages.
        rows: of which :func:`is_of_batch` holds.

    Raises:
        UserError: naming a request that failed, or has not one text for an answer.
    """
    found: list[Row] = []
    wrong, cut = [], 0
    for row in rows:
        name = row.get("custom_id", row.get("key"))
        answers, reason = _answers(row)
        if answers is None:
            wrong.append((name, "failed"))
        elif len(answers) > 1:
            wrong.append((name, f"has {len(answers)} answers"))
        elif not answers or (text := text_of(answers[0])) is None:
            wrong.append((name, "has no text for an answer"))
        else:
            found.append({"study_id": name, "prediction": text})
            cut += reason in _CUT
    if wrong:
        name, why = wrong[0]
        raise UserError(
            f"{path} holds {len(wrong)} of {len(rows)} requests without one answer, first {quoted_name(name)}, which {why}: run them again, or "
            "take their lines out"
        )
    if cut:
        print(f"{path.name}: {cut} of {len(rows)} answers were cut off by the limit of their length or by a filter")
    return found


def text_of(message: Any) -> str | None:
    """The text of a message: its content, or what the parts of it say, thoughts left out; None if there is none."""
    content = message.get("content", message.get("value")) if isinstance(message, Mapping) else None
    if isinstance(content, Mapping):
        content = content.get("parts")
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    said = [part for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    texts = [
        part["text"] for part in said if part.get("type", "text") in ("text", "output_text") and not part.get("thought")
    ]
    return "".join(texts) or None


def _answers(row: Row) -> tuple[list[Any] | None, object]:
    """The messages that answer a request, None if it failed, and why the first of them ended."""
    response: Any = row.get("response") or {}
    if "result" in row and "response" not in row:
        result: Any = row["result"]
        message = result.get("message")
        failed = result["type"] != "succeeded"
        return None if failed else _mappings([message]), _first([message], "stop_reason")
    if row.get("error") or response.get("status_code", 200) != 200:
        return None, None
    if "candidates" in response:
        candidates = response["candidates"]
        return _mappings(candidates), _first(candidates, "finishReason")
    body: Any = response.get("body") if isinstance(response.get("body"), Mapping) else {}
    if "output" in body:
        messages = [item for item in _mappings(body["output"]) if item.get("type") == "message"]
        return messages, _first([body.get("incomplete_details")], "reason")
    choices = body.get("choices")
    return [choice.get("message") for choice in _mappings(choices)], _first(choices, "finish_reason")


def _mappings(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _first(values: Any, name: str) -> object:
    """What the first of some objects says under a name."""
    return next((value.get(name) for value in _mappings(values)), None)
