"""modules/evaluation/metrics/extra.py with the real RadEval: up to where weights are missing, and with tiny random ones."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from modules.evaluation.metrics.extra import context_of, local_models
from modules.messages import UserError
from modules.options.scoring_flags import EXTRA_METRICS

ROOT = Path(__file__).parents[1]
NEEDS = pytest.mark.skipif(
    importlib.util.find_spec("radeval") is None, reason="needs pip install -r requirements/metrics.txt"
)
PROGRAM = """
import sys
from modules.evaluation.metrics.extra import extra_sums
sums, problem = extra_sums(sys.argv[1], ["the heart is enlarged .", "no effusion ."], ["no effusion .", "no effusion ."],
                           [{"age": 70, "indication": "cough"}, {}], *sys.argv[2:])
print(problem if sums is None else "RAN " + repr({name: value.tolist() for name, value in sums.figures(sums.values).items()}))
"""


def said_by(metric, home, *models):
    """What the metric says without a network and with an empty cache."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, metric, *map(str, models)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HOME": str(home)},
    )  # fmt: skip
    return found.stdout.strip().splitlines()[-1]


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize("metric", EXTRA_METRICS)
def test_real_metrics_reach_their_weights(metric, tmp_path):
    """The sentence names what is missing, and no import that failed."""
    said = said_by(metric, tmp_path)
    assert any(word in said.lower() for word in ("hub", "connect", "punkt")), said
    assert not any(word in said for word in ("cannot be imported", "No module", "dtype size", "cannot import")), said


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from tiny_metric_models import write_models

    place = Path(importlib.util.find_spec("radeval").origin).parent / "metrics" / "SRRBert"
    labels = json.loads((place / "leaves_with_statuses_mapping.json").read_text())
    return write_models(tmp_path_factory.mktemp("models"), len(labels))


@pytest.mark.slow
@NEEDS
@pytest.mark.parametrize(
    ("metric", "figure", "perfect"),
    [("bertscore", "bertscore", 1), ("rexrank_bertscore", "rexrank_bertscore", 1), ("srrbert", "srrbert_weighted_f1", None),
     ("ratescore", "ratescore", None)],
)  # fmt: skip
def test_real_metrics_run_on_local_models(models, tmp_path, metric, figure, perfect):
    """Random weights know nothing; a report against itself is perfect to BERTScore whatever they are."""
    said = said_by(metric, tmp_path, models)
    assert said.startswith("RAN "), said
    values = eval(said[4:])[figure]
    assert len(values) == 2
    if perfect is not None:
        assert values[1] == pytest.approx(perfect, abs=1e-5)
        assert values[0] < perfect


@pytest.mark.slow
@NEEDS
def test_an_answer_that_is_no_answer_is_no_figure(models, tmp_path):
    """CRIMSON's own pipeline on a language model of random weights: it cannot answer, and gets no mean for it."""
    assert "it gave no value for 2 of 2 reports" in said_by("crimson", tmp_path, models)


@pytest.mark.slow
@NEEDS
def test_a_model_that_the_folder_lacks_is_named(tmp_path):
    said = said_by("radgraph", tmp_path, tmp_path)
    assert "StanfordAIMI" in said
    assert "--metric_models" in said


def test_the_context_of_a_patient():
    assert context_of({"Age": "70", "Indication": " cough ", "report": "x"}) == {"age": "70", "indication": "cough"}
    assert context_of({"age": "", "indication": "nan", "sex": "F"}) is None


def test_local_models_leave_no_trace(tmp_path):
    import huggingface_hub

    before, where = huggingface_hub.hf_hub_download, Path.cwd()
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_text("x")
    with local_models(tmp_path):
        assert Path.cwd() == tmp_path
        assert huggingface_hub.hf_hub_download("a/b", "c.txt") == str(tmp_path / "a" / "b" / "c.txt")
        with pytest.raises(FileNotFoundError, match=r"a/b/d\.txt is not in"):
            huggingface_hub.hf_hub_download(repo_id="a/b", filename="d.txt")
    assert (huggingface_hub.hf_hub_download, Path.cwd()) == (before, where)
    with pytest.raises(UserError, match="is no folder"), local_models(tmp_path / "none"):
        pass


def test_the_former_name_of_the_package_is_the_package(monkeypatch):
    """``import RadEval.x`` gives the module ``radeval.x`` itself, which keeps its own specification."""
    from modules.evaluation.metrics.extra import _FormerName

    monkeypatch.setattr(_FormerName, "former", "Jason")
    monkeypatch.setattr(_FormerName, "present", "json")
    monkeypatch.setattr(sys, "meta_path", [_FormerName(), *sys.meta_path])
    import json.decoder

    import Jason.decoder

    assert Jason.decoder is json.decoder
    assert json.decoder.__spec__.name == "json.decoder"
    for name in [name for name in sys.modules if name.startswith("Jason")]:
        monkeypatch.delitem(sys.modules, name)
