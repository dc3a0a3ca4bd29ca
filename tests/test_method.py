"""docs/method.md: every idea of the paper leads to a function or class that exists, in at most two files."""

import ast
import re
from pathlib import Path

import pytest

from models.config import flag_name
from modules.options.parsing import defaults_of, flags_of, groups_of
from modules.options.programs import MainTrain

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "::" in line]


def defined(path):
    """Names of functions, classes, methods (``Class.method``) and constants of a file."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{child.name}" for child in getattr(node, "body", []) if hasattr(child, "name")}
    return names


def places(text):
    return re.findall(r"`([\w/]+\.py)::([\w.]+)`", text)


@pytest.mark.parametrize(("path", "name"), sorted(set(places(TEXT))))
def test_every_place_exists(path, name):
    assert name in defined(ROOT / path)


def test_at_least_fifteen_ideas_in_at_most_two_files_each():
    assert len(ROWS) >= 15
    assert [row for row in ROWS if not 1 <= len({path for path, _ in places(row)}) <= 2] == []


@pytest.mark.parametrize(
    "word",
    [
        "LRE",
        "ranking loss",
        "OT attention",
        "consistency",
        "prompt",
        "report memory",
        "Sinkhorn",
        "Poincar",
        "towers",
        "curvature",
        "retrieval bank",
        "diagnosis head",
        "class prior",
        "beam search",
        "feature store",
        "reference report",
        "entity scores",
        "presence loss",
    ],
)
def test_a_search_for_the_paper_s_word_finds_a_row(word):
    assert any(word.lower() in row.lower() for row in ROWS)


def test_a_name_that_is_gone_would_be_noticed():
    assert "Revtaf.no_such_method" not in defined(ROOT / "models" / "revtaf.py")
    assert "Revtaf.align" in defined(ROOT / "models" / "revtaf.py")


def test_the_table_of_flags_begins_with_the_defaults():
    """Of a data set that changes none of them; the choices of several flags stand in the order of these."""
    defaults, checked = defaults_of(MainTrain, "mimic_cxr"), []
    named = {flag_name(flag): defaults[flag.name] for kind in groups_of(MainTrain).values() for flag in flags_of(kind)}
    for flags, choices in (line.split("|")[1:3] for line in TEXT.splitlines() if line.startswith("| `--")):
        words = [word.split()[0] for word in re.split("[;,] ", choices.strip())]
        for flag in re.findall(r"`(--\w+)`", flags):
            value = named[flag]
            if value is None or isinstance(value, bool):
                continue
            told = re.sub(r"^0(?=\.)", "", f"{value:g}") if isinstance(value, float) else str(value)
            assert told in words, (flag, told, words)
            words = words[words.index(told) + 1 :]
            checked.append(flag)
    assert len(checked) >= 40
