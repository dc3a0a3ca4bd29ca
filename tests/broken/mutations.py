"""What the fuzzer does to a file: a few of its bytes are changed, or, where it holds values, a few of its values."""

import copy
import io
import json

import torch

WORDS = [
    b"\0", b"\xff" * 4, b"../", b"-1", b"1e999", b"NaN", b"[" * 300, b'"', b"\\ud800", b"9" * 30, b"null", b"{}", b"\r", b",", b";",
]  # fmt: skip
VALUES = [
    None, True, 0, -1, 2**63, 10**40, 1e308, float("nan"), float("inf"), "", " ", "../../a", "/etc/hostname", "\ud800", "\0", "a" * 5000,
    [], {}, [[]], [None], [0] * 300, {"a": {"b": [1]}}, ["a.png"] * 50,
]  # fmt: skip


def changed(content, others, rng, suffix):
    """A file with one to six changes; small files are changed everywhere alike."""
    if suffix in (".json", ".jsonl", ".pth") and rng.integers(0, 2):
        return revalued(content, rng, suffix)
    content = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        at, length = int(rng.integers(0, len(content) + 1)), int(rng.integers(1, 40))
        match rng.integers(0, 7):
            case 0 if content:
                content[at % len(content)] ^= 1 << int(rng.integers(0, 8))
            case 1 if content:
                content[at % len(content)] = int(rng.integers(0, 256))
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                content[at : at + length] = rng.bytes(length)
            case 5:
                content[at:at] = WORDS[rng.integers(0, len(WORDS))]
            case _:
                other = others[rng.integers(0, len(others))]
                content[at:] = other[at % max(len(other), 1) :]
    return bytes(content)


def revalued(content, rng, suffix):
    """A file whose format is whole, with one to three values changed, left out or doubled."""
    if suffix == ".pth":
        value = torch.load(io.BytesIO(content), weights_only=True)
        change(value, rng)
        file = io.BytesIO()
        torch.save(value, file)
        return file.getvalue()
    lines = content.splitlines() if content.count(b"\n") else [content]
    at = rng.integers(0, len(lines))
    value = json.loads(lines[at])
    change(value, rng)
    lines[at] = json.dumps(value).encode()
    return b"\n".join(lines)


def change(value, rng):
    """Change a value of lists and dictionaries in place, one to three times."""
    for _ in range(rng.integers(1, 4)):
        places = list(places_of(value))
        if not places:
            return
        holder, key = places[rng.integers(0, len(places))]
        match rng.integers(0, 4):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 1:
                holder[f"{key}2"] = copy.deepcopy(holder[key])
            case 2:
                other, theirs = places[rng.integers(0, len(places))]
                if isinstance(other[theirs], int | float | str | None | torch.Tensor):  # else it would hold itself
                    holder[key] = other[theirs]
            case _:
                holder[key] = copy.deepcopy(VALUES[rng.integers(0, len(VALUES))])


def places_of(value):
    """Every list or dictionary inside a value, itself among them, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places_of(value[key])
