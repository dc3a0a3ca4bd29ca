"""modules/records.py: files are whole or absent, and say where they came from."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from modules import records
from modules.messages import UserError
from modules.records import (
    atomic_write,
    plain,
    provenance,
    read_json,
    read_jsonl,
    sha256_of,
    write_json,
    write_jsonl,
    write_options,
)


def test_atomic_write_replaces_only_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as file:
        file.write("één\n")
        assert not path.exists()
    assert path.read_bytes() == "één\n".encode()
    with atomic_write(path, "wb") as file:
        file.write(b"two")
    assert path.read_bytes() == b"two"


def test_atomic_write_leaves_nothing_after_an_error(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_file_lies_beside_the_file(tmp_path):
    with atomic_write(tmp_path / "a.txt"):
        (temporary,) = tmp_path.glob(".*.tmp")
    assert not temporary.exists()


def test_atomic_files_are_as_readable_as_ordinary_ones(tmp_path):
    (tmp_path / "ordinary").write_text("")
    with atomic_write(tmp_path / "ours"):
        pass
    assert os.stat(tmp_path / "ours").st_mode == os.stat(tmp_path / "ordinary").st_mode


def test_json_round_trip_of_numbers_arrays_and_paths(tmp_path):
    value = {
        "array": np.arange(3, dtype=np.int8),
        "scalar": np.float32(0.5),
        "flag": np.bool_(True),
        "nan": float("nan"),
        "inf": np.float64("inf"),
        "pair": (1, None),
        "path": Path("a/b"),
        "text": "é",
    }
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "é" in text
    assert text.endswith("}\n")
    assert read_json(tmp_path / "a.json") == {
        "array": [0, 1, 2],
        "scalar": 0.5,
        "flag": True,
        "nan": None,
        "inf": None,
        "pair": [1, None],
        "path": "a/b",
        "text": "é",
    }
    with pytest.raises(TypeError, match="set"):
        plain({1, 2})


def test_read_json_errors(tmp_path):
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"train": [')
    with pytest.raises(UserError, match=r"cut\.json is not a JSON file"):
        read_json(tmp_path / "cut.json")
    (tmp_path / "latin.json").write_bytes('{"a": "é"}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.json is not a JSON file"):
        read_json(tmp_path / "latin.json")
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "bom.json") == [1]


def test_jsonl_round_trip_and_errors(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(path, ({"id": str(i), "text": "a\nb"} for i in range(3)))
    assert len(path.read_text().splitlines()) == 3
    assert read_jsonl(path) == [{"id": str(i), "text": "a\nb"} for i in range(3)]
    path.write_text('{"id": 1}\n\n{"id": ')
    with pytest.raises(UserError, match=r"line 3 of .*a\.jsonl is not JSON"):
        read_jsonl(path)
    with pytest.raises(UserError, match="does not exist"):
        read_jsonl(tmp_path / "none.jsonl")


def test_paths_may_be_text(tmp_path):
    path = str(tmp_path / "a")
    write_json(path, 1)
    assert read_json(path) == 1
    write_jsonl(path, [2])
    assert read_jsonl(path) == [2]


def test_sha256_of_a_file_longer_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 2)
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_options_file_repeats_the_command(tmp_path, monkeypatch):
    options = {"c": 0.01, "image_dir": Path("a b"), "seeds": (1, 2)}
    path = write_options(tmp_path / "run", options, ["main_train.py", "--image_dir", "a b"])
    assert path == tmp_path / "run" / "options.json"
    content = read_json(path)
    assert content["options"] == {"c": 0.01, "image_dir": "a b", "seeds": [1, 2]}
    assert content["command"] == "python main_train.py --image_dir 'a b'"
    assert content["packages"]["numpy"] == np.__version__
    assert read_json(path)["processes"] == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    test = write_options(tmp_path / "run", options, ["x"], name="test.json")
    assert (test.name, read_json(test)["processes"]) == ("test.json", 2)


def test_provenance_names_versions_and_no_machine(monkeypatch):
    found = provenance()
    assert set(found) == {"python", "packages", "commit", "dirty"}
    assert os.uname().nodename not in json.dumps(found)
    monkeypatch.setattr(records, "PACKAGES", ("no-such-package",))
    assert provenance()["packages"] == {"no-such-package": None}


def test_commit_and_dirty_flag(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    assert records._git_state(tmp_path) == (None, None)
    git("init")
    assert records._git_state(tmp_path) == (None, None)  # no commit yet
    (tmp_path / "a").write_text("1")
    (tmp_path / "untracked").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    commit, dirty = records._git_state(tmp_path)
    assert len(commit) == 40
    assert dirty is False
    runs = tmp_path / records.FINISHED_RUNS / "runs.jsonl"
    runs.parent.mkdir(parents=True)
    runs.write_text("1")
    git("add", str(runs))
    git("commit", "-m", "runs")
    commit, dirty = records._git_state(tmp_path)
    runs.write_text("2")  # as every run of an ablation does, and the next one is no other program for it
    assert records._git_state(tmp_path) == (commit, False)
    (tmp_path / "docs" / "other").write_text("1")
    git("add", "docs/other")
    assert records._git_state(tmp_path) == (commit, True)
    git("rm", "--cached", "docs/other")
    (tmp_path / "a").write_text("2")
    assert records._git_state(tmp_path) == (commit, True)
    (tmp_path / "inside").mkdir()
    assert records._git_state(tmp_path / "inside") == (None, None)  # the outer checkout is not ours
