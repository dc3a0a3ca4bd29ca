"""The shape of the house: who may import whom, how long a file may get, and that every module imports."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [  # a file may import from the floors below its own, never from its own floor or above
    ("models.dropout", "models.linear", "models.tied_table"),
    ("models.beam_search", "models.decoder_layers"),
    ("models.beam_reader", "models.config", "models.diagnosis_head", "models.manifolds", "models.medklip",
     "models.optimal_transport", "models.report_memory", "models.visual_encoder", "modules.allocator", "modules.corpus.images",
     "modules.corpus.text", "modules.distributed", "modules.evaluation.names", "modules.evaluation.published_rows",
     "modules.evaluation.study_sums", "modules.evaluation.tables", "modules.labels", "modules.layouts",
     "modules.messages", "modules.preparation.condition_rules", "modules.preparation.diagnosis",
     "modules.preparation.dicom", "modules.preparation.raw_files", "modules.preparation.synthetic_anatomy",
     "modules.records", "modules.training.optimizers"),
    ("models.entity_scorer", "models.hyperbolic_encoder", "models.ot_attention", "models.report_decoder",
     "models.retrieval", "modules.corpus.annotations", "modules.corpus.features", "modules.corpus.tokenizer",
     "modules.evaluation.clinical", "modules.evaluation.diversity", "modules.evaluation.meteor",
     "modules.evaluation.significance", "modules.flags", "modules.preparation.assertions",
     "modules.preparation.raw_pixels", "modules.preparation.shared_steps", "modules.preparation.synthetic_plan",
     "modules.preparation.synthetic_radiograph", "modules.preparation.throughput", "modules.released",
     "modules.training.losses"),
    ("models.revtaf", "modules.corpus.bank", "modules.corpus.feature_writing", "modules.evaluation.extra_metrics",
     "modules.evaluation.nlg", "modules.evaluation.predictions", "modules.options", "modules.preparation.mentions",
     "modules.preparation.raw_images", "modules.preparation.raw_studies",
     "modules.preparation.synthetic_devices", "modules.preparation.synthetic_sampling",
     "modules.preparation.synthetic_signs", "modules.preparation.synthetic_wording", "modules.sharding"),
    ("modules.checkpoints", "modules.corpus.datasets", "modules.evaluation.retriever",
     "modules.preparation.published_reading", "modules.preparation.raw_custom", "modules.preparation.raw_iu",
     "modules.preparation.report_sections", "modules.preparation.synthetic_reports",
     "modules.preparation.synthetic_study"),
    ("modules.conversion", "modules.corpus.dataloaders", "modules.evaluation.attention_maps",
     "modules.evaluation.baselines", "modules.evaluation.disk", "modules.evaluation.figures",
     "modules.preparation.chexbert", "modules.preparation.doctor_corpus", "modules.preparation.doctor_features",
     "modules.preparation.entities", "modules.preparation.published",
     "modules.preparation.raw_mimic", "modules.preparation.synthetic_sheet", "modules.preparation.text_models",
     "modules.training.objective", "modules.training.start"),
    ("modules.evaluation.tester", "modules.preparation.entity_training", "modules.preparation.labelers",
     "modules.preparation.medklip",
     "modules.preparation.neighbours", "modules.preparation.published_writing", "modules.preparation.raw",
     "modules.preparation.synthetic", "modules.preparation.text_features"),
    ("modules.evaluation.agreement", "modules.evaluation.label_cache", "modules.evaluation.training_reports",
     "modules.preparation.doctor_leaks", "modules.preparation.label_agreement", "modules.preparation.stages"),
    ("modules.evaluation.retrieval_quality", "modules.evaluation.scorer", "modules.evaluation.viewer",
     "modules.preparation.doctor"),
    ("modules.evaluation.results", "modules.training.trainer"),
    ("modules.evaluation.run_results", "modules.training.profiling"),
    ("main_prepare", "main_score", "main_test", "main_train"),
]  # fmt: skip
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
SOURCES = sorted(path for path in [*ROOT.glob("m*/**/*.py"), *ROOT.glob("main_*.py")] if path.name != "__init__.py")
NAMES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES]


def project_imports(path):
    """Modules of this project that a file imports, at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names & set(FLOOR)


def test_every_file_has_a_floor_and_every_floor_a_file():
    assert set(NAMES) == set(FLOOR)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_imports_point_down(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    upward = {other for other in project_imports(path) if FLOOR[other] >= FLOOR[name]}
    assert not upward, f"{name} imports {sorted(upward)}, which stand on its own floor or above"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_file_fits_the_head(path):
    assert len(path.read_text().splitlines()) <= 300
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_public_things_are_documented_and_take_few_arguments(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "begin the file with what it is responsible for"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            count = len(node.args.args) + len(node.args.kwonlyargs)
            assert count <= 9, f"{node.name} takes {count} arguments"
            assert ast.get_docstring(node), f"{node.name} has no docstring"
            assert node.returns is not None, f"{node.name} has no return type"


def test_models_touch_no_disk_and_no_flags():
    for path in ROOT.glob("models/*.py"):
        tree = ast.parse(path.read_text())
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "open" not in called, path
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not imported & {"argparse", "os", "pathlib", "json"}, path


@pytest.mark.parametrize("name", NAMES)
def test_module_imports(name):
    importlib.import_module(name)
