"""Scoring without torch: what requirements/score.txt names is enough for main_score.py and tools/compare_runs.py."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
REFUSED = set(%r)
sys.meta_path.insert(0, Refuse())
import importlib.util
known = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] in REFUSED else known(name, *rest)
sys.argv = %r
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def heavy():
    """What the full requirements bring and the light ones do not."""

    def names(file):
        return {re.split(r"[<>=;]", line)[0].strip() for line in (ROOT / file).read_text().splitlines() if line.strip()}

    modules = {"scikit-learn": "sklearn", "pillow": "PIL", "huggingface-hub": "huggingface_hub", "POT": "ot"}
    light = {"scipy", "matplotlib", "pillow"}  # pycocoevalcap's own
    return sorted(
        modules.get(name, name) for name in names("requirements.txt") - names("requirements/score.txt") - light
    )


def scoring(folder):
    """The words of a scoring of ``a.jsonl`` into ``out``."""
    return [str(ROOT / "main_score.py"), "--predictions", str(folder / "a.jsonl"), "--save_dir", str(folder / "out")]


def test_main_score_needs_no_torch(tmp_path):
    refused = heavy()
    assert {"torch", "transformers", "sklearn"} <= set(refused)
    rows = [{"id": i, "prediction": "no effusion . edema .", "reference": "edema . no effusion ."} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = scoring(tmp_path)
    command = BLOCK % (refused, [*words, "--no-meteor", "--resamples", "10"])
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "a" in json.dumps(scores)


def test_what_asks_for_more_is_refused_before_the_scoring(tmp_path):
    """A page, and CheXbert: one sentence each, before anything is scored."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 1, "prediction": "edema .", "reference": "edema ."}) + "\n")
    words = scoring(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", BLOCK % ([*heavy(), "PIL", "jinja2"], [*words, "--page"])],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "--page needs torch, PIL, jinja2, which requirements/score.txt does not bring: pip install -r requirements.txt"
    )
    assert not (tmp_path / "out").exists()
    (tmp_path / "chexbert.pth").write_bytes(b"weights")
    done = subprocess.run(
        [sys.executable, "-c", BLOCK % (heavy(), [*words, "--chexbert_path", str(tmp_path / "chexbert.pth")])],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert "chexbert.pth is CheXbert, which needs torch: pip install -r requirements.txt" in done.stderr
    assert "Traceback" not in done.stderr
