"""modules/evaluation/metrics/extra.py with the real RadEval: every metric is imported, up to where its weights are missing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from modules.flags import EXTRA_METRICS

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from modules.evaluation.metrics.extra import extra_sums
sums, problem = extra_sums(sys.argv[1], ["the heart is enlarged ."], ["no effusion ."])
print("RAN" if sums is not None else problem)
"""


@pytest.mark.slow
@pytest.mark.parametrize("metric", EXTRA_METRICS)
@pytest.mark.skipif(importlib.util.find_spec("radeval") is None, reason="needs pip install -r requirements/metrics.txt")
def test_real_metrics_reach_their_weights(metric, tmp_path):
    """Without a network and with an empty cache the sentence names the missing file, and no import that failed."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, metric],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    said = found.stdout.strip().splitlines()[-1]
    assert "hub" in said.lower() or "connect" in said.lower(), said
    assert not any(word in said for word in ("cannot be imported", "No module", "dtype size", "cannot import")), said


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
