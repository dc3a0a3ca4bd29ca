"""The shape of the house: who may import whom, how long a file may get, and that every module imports."""

import ast
import graphlib
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Who may import whom: a room may import from itself and from the rooms above it in this table, whatever files they hold.
ROOMS = (
    ("models.cpu", "models.gpu", "models"),
    ("modules.processes",),
    ("modules",),  # labels, records, messages, distributed: what every room may use
    ("modules.options",),
    ("modules.corpus", "modules.weights"),
    ("modules.labelling", "modules.evaluation.metrics"),
    ("modules.retrieval", "modules.evaluation.reading", "modules.evaluation.grounding"),
    ("modules.preparation.raw", "modules.preparation.synthetic", "modules.preparation.published",
     "modules.preparation.features",  # which nothing of evaluation needs, nor the other way
     "modules.evaluation", "modules.evaluation.ratings", "modules.evaluation.reports"),
    ("modules.preparation.doctor", "modules.preparation"),
    ("modules.training", "modules.prediction"),
    ("main", "tools"),
)  # fmt: skip
FLOOR = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}
ALLOWED = {  # rooms of one floor that may import each other, in this direction only
    ("models.cpu", "models"),  # puts faster parts into the networks; they do not know of it
    ("models.gpu", "models"),
    ("modules.evaluation.reports", "modules.evaluation"),
    ("modules.preparation", "modules.preparation.doctor"),
}
SOURCES = sorted(
    path
    for path in [*ROOT.glob("m*/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("main_*.py")]
    if path.name != "__init__.py"
)
NAMES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}


def room_of(name):
    """The room of a module: the longest one in the table that its name begins with."""
    if name.startswith("main_"):
        return "main"
    return max((room for room in FLOOR if name.startswith(f"{room}.")), key=len)


def project_imports(path):
    """Modules of this project that a file imports, at the top or inside a function."""
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names & set(NAMES)


IMPORTS = {name: project_imports(path) for name, path in NAMES.items()}


def wrong_imports(imports):
    """Imports of a room that the table does not allow."""
    wrong = []
    for name, others in imports.items():
        for other in others:
            here, there = room_of(name), room_of(other)
            if here != there and (here, there) not in ALLOWED and FLOOR[there] >= FLOOR[here]:
                wrong.append(f"{name} imports {other}")
    return sorted(wrong)


def test_rooms_import_only_what_the_table_allows():
    assert wrong_imports(IMPORTS) == []
    for here, there in (
        ("models.revtaf", "modules.labels"),
        ("modules.evaluation.scorer", "modules.preparation.raw.files"),
    ):
        assert wrong_imports({here: {there}}) == [f"{here} imports {there}"]


def test_no_files_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(IMPORTS).prepare()
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({**IMPORTS, "modules.labels": {"modules.training.trainer"}}).prepare()


def test_every_room_of_the_table_has_files():
    assert {room_of(name) for name in NAMES} == set(FLOOR) - ({"tools"} if not (ROOT / "tools").is_dir() else set())


def test_files_and_functions_fit_the_head():
    long = [name for name, path in NAMES.items() if len(path.read_text().splitlines()) > 300]
    assert long == []
    for name, path in NAMES.items():
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{name}.{node.name} is too long"


def test_public_things_are_documented_and_take_few_arguments():
    for name, path in NAMES.items():
        tree = TREES[path]
        assert ast.get_docstring(tree), f"begin {name} with what it is responsible for"
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                count = len(node.args.args) + len(node.args.kwonlyargs)
                assert count <= 9, f"{name}.{node.name} takes {count} arguments"
                assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"
                assert node.returns is not None, f"{name}.{node.name} has no return type"


def test_models_touch_no_disk_and_no_flags():
    for path in ROOT.glob("models/**/*.py"):
        tree = ast.parse(path.read_text())
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "open" not in called, path
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not imported & {"argparse", "os", "pathlib", "json"}, path


def test_every_module_imports():
    for name in NAMES:
        importlib.import_module(name)


def test_a_function_that_reads_one_group_of_flags_takes_the_group():
    whole = {"MainPrepare", "MainTrain", "MainTest", "MainScore", "MainPredict"}
    for name, path in NAMES.items():
        for function in (node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef)):
            for argument in (*function.args.args, *function.args.kwonlyargs):
                if argument.annotation is None or ast.unparse(argument.annotation) not in whole:
                    continue
                used = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == argument.arg]
                groups = [
                    node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute) and node.value in used
                ]
                handed_on = len(used) > len(groups)
                assert handed_on or len(set(groups)) > 1, (
                    f"{name}.{function.name} reads {set(groups)} of {argument.arg}"
                )
