"""docs/quickstart.ipynb runs from its first cell to its last, and shows what it says."""

import json
import os
import re

import pytest
from test_roads import ROOT, Checkout

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def test_it_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
def test_it_runs_from_a_fresh_checkout(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="needs requirements/notebook.txt")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    checkout = Checkout(tmp_path)
    (checkout / "docs").mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(checkout / "docs")}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any(
        re.search(r"^\| REVTAF +\|", output.get("data", {}).get("text/markdown", ""), re.MULTILINE)
        for output in outputs
    )
    assert "image/png" in outputs[-1]["data"]
    assert (checkout / "results/notebook/index.html").is_file()
