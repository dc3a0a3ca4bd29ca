"""Reports of one study that were compared with each other: RadPref and RadJudge.

Source of the layouts: CRIMSON (Baharoon et al., 2026), whose programs read them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.corpus.tables import read_text_file
from modules.evaluation.ratings.rated import Rated, finite_number
from modules.messages import UserError, named, quoted_name
from modules.records import read_json

POINTS = 5  # of RadPref's scale
_ORDER = re.compile(r"\s*(\w+)\s*([<>=])\s*(\w+)\s*")


def read_radpref(path: Path, cases: Sequence[Mapping[str, Any]], raters: str | Path | None) -> Rated:
    """Two reports for every case, each rated 1 to 5 by three radiologists: which of the two is better, and by how much."""
    files = sorted(Path(raters).glob("*.json")) if raters is not None else []
    if not files:
        raise UserError(f"{path} holds RadPref's reports alone: give its folder radiologist_annotations with --raters")
    given: dict[str, list[tuple[float, float]]] = {}
    for file in files:
        content = read_json(file)
        ratings = content.get("annotations", content) if isinstance(content, dict) else None
        if not isinstance(ratings, dict) or not all(map(_rates_both, ratings.values())):
            raise UserError(f'{file} is not RadPref\'s {{"annotations": {{case: {{"C1": {{"rating"}}, "C2": ..}}}}}}')
        for case, said in ratings.items():
            both = [(said.get(name) or {}).get("rating") for name in ("C1", "C2")]
            if None not in both and not said.get("needs_review"):
                numbers = [finite_number(file, "rating", value) for value in both]
                if not all(1 <= number <= POINTS for number in numbers):
                    raise UserError(
                        f"{file} rates case {case} {both[0]} and {both[1]}; expected 1 to {POINTS}: correct it"
                    )
                given.setdefault(case, []).append((numbers[0], numbers[1]))
    ids = [str(case["id"]) for case in cases]
    if twice := [one for one in dict.fromkeys(ids) if ids.count(one) > 1]:
        raise UserError(f"{path} has case {twice[0]} twice, and its ratings name no other: remove one of them")
    found = Rated([], [], [], f"rating, second less first of {len(files)} raters")
    values: list[float] = []
    for case in cases:
        said = given.get(str(case["id"]))
        if said is not None:
            for name, rating in zip(("C1", "C2"), np.mean(said, axis=0), strict=True):
                found.add(path, case[f"{name}_report"], case["ground_truth_report"], str(case["id"]))
                found.rows.append({"age": case.get("PatientAge", ""), "indication": case.get("Indication", "")})
                values.append(float(rating))
    if absent := len(cases) - len(values) // 2:
        found.notes.append(f"{absent} of {len(cases)} cases have no rating of both reports and are left out")
    if strange := [case for case in given if case not in ids]:
        found.notes.append(
            f"{len(strange)} rated cases are not in {path.name} and are left out, first {named(strange[0])}"
        )
    found.ratings = np.array(values)
    found.pairs = np.arange(len(values)).reshape(-1, 2)
    if len(values) and not np.diff(found.ratings[found.pairs]).any():
        raise UserError(
            f"both reports of every case of {path} are rated alike: expected ratings that order them, give the others too"
        )
    return found


def _rates_both(said: object) -> bool:
    """Whether this is what a rater says of one case: an object with an object, or nothing, for each of two reports."""
    return isinstance(said, dict) and all(isinstance(said.get(name) or {}, dict) for name in ("C1", "C2"))


def read_radjudge(path: Path, content: Any) -> Rated:
    """Cases of which it is known which report must score higher; the file is read as data and never run."""
    if content is None:
        content = _assigned_list(path)
    cases = [case for entry in content for case in (entry.get("tests") or [entry])]
    found = Rated([], [], [], "expected rankings")
    orders: list[tuple[int, int, int]] = []
    for case in cases:
        if not isinstance(case, dict) or not {"id", "ground_truth", "candidates", "expected_ranking"} <= set(case):
            raise UserError(f"{path} has a case without id, ground_truth, candidates or expected_ranking: correct it")
        row_of = {}
        for name, candidate in case["candidates"].items():
            row_of[name] = len(found.texts)
            found.add(path, candidate.get("text"), case["ground_truth"], str(case["id"]))
            found.rows.append(dict(candidate.get("context") or {}))
        said = case["expected_ranking"]
        for words in [said] if isinstance(said, str) else said:
            match = _ORDER.fullmatch(str(words))
            if match is None or match[1] == match[3] or not {match[1], match[3]} <= set(row_of):
                raise UserError(
                    f"case {case['id']} of {path} expects {quoted_name(words)}; expected 'C1 > C2' or 'C1 = C2'"
                )
            first, second = (match[1], match[3]) if match[2] != "<" else (match[3], match[1])
            orders.append((row_of[first], row_of[second], int(match[2] != "=")))
    if found.texts and not orders:
        raise UserError(f"{path} expects no order of any reports: give cases with an expected_ranking")
    found.orders = np.array(orders, dtype=int).reshape(-1, 3)
    return found


def _assigned_list(path: Path) -> Any:
    """The first list that a Python file assigns to a name, as data."""
    try:
        tree = ast.parse(read_text_file(path))
        lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)]
        return ast.literal_eval(lists[0])
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{path} is not RadJudge's test_cases.py, a list of categories with tests: give that file"
        ) from error
