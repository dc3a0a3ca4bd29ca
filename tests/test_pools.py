"""modules/processes/pools.py: what its processes import."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
open("imported", "a").write("once")

from modules.processes.pools import small_pool

if __name__ == "__main__":
    with small_pool(2) as pool:
        print(sorted(pool.map(abs, [-3, 2, -1])), set(pool.map(os.getenv, ["PARENT"] * 4)))
    print(sys.modules["__main__"].__file__)
"""


def test_its_processes_do_not_import_the_program_that_asks(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(__file__).resolve().parents[1]
    environment = {"PYTHONPATH": str(root), "PATH": "", "PARENT": "inherited"}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[1, 2, 3] {'inherited'}", str(tmp_path / "program.py")], done.stderr
    assert (tmp_path / "imported").read_text() == "once"
