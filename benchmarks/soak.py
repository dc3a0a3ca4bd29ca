"""A training left alone for hours: memory and descriptors of all its processes stay level, and nothing piles up on the disk.

    python benchmarks/soak.py --minutes 120

A small network trains on 42 drawings with one loading process, validates after each epoch and saves every 10 steps, so that
hours hold hundreds of epochs. SIGTERM ends it. The figures of the first tenth of the time are left out.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMON = ["--dataset_name", "synth_cxr", "--image_size", "64", "--batch_size", "8", "--device", "cpu"]
DRAWING = [
    "--num_studies", "60", "--synth_image_size", "64", "--scorer_epochs", "1", "--scorer_width", "16", "--text_width", "16",
]  # fmt: skip
MODEL = [
    "--d_model", "32", "--h_dim", "16", "--memory_feedforward", "32", "--decoder_layers", "1", "--hidden_size", "32",
    "--intermediate_size", "64", "--gen_min_len", "25", "--gen_max_len", "12", "--beam_size", "2", "--warmup_steps", "4",
    "--threshold", "1", "--num_workers", "1", "--save_every", "10", "--log_every", "1",
]  # fmt: skip


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def look(pid: int) -> tuple[int, int] | None:
    """Bytes of memory of the training alone and descriptors of all its processes; None if one of them has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * 4096, sum(len(list(Path(f"/proc/{member}/fd").iterdir())) for member in family(pid))
    except OSError:
        return None


def run(folder: Path, seconds: float, between: float) -> tuple[list[tuple[int, int]], int]:
    """Train in a folder for a time; what was seen of it, and the status with which it ended."""
    places = ["--ann_path", "annotation.json", "--image_dir", "images", "--feature_dir", "features"]
    words = [*COMMON, *(f"{folder}/{word}" if word[0] != "-" else word for word in places)]
    with open(folder / "log", "w") as log:
        prepare = [sys.executable, str(ROOT / "main_prepare.py"), *words, *DRAWING, "--num_workers", "0"]
        subprocess.run(prepare, check=True, stdout=log, stderr=log)
        train = [sys.executable, str(ROOT / "main_train.py"), *words, *MODEL, "--epochs", "1000000"]
        training = subprocess.Popen([*train, "--save_dir", str(folder / "run")], stdout=log, stderr=log)
        seen, end = [], time.monotonic() + seconds
        while time.monotonic() < end and training.poll() is None:
            time.sleep(between)
            if (folder / "run/metrics.csv").exists() and (found := look(training.pid)):
                seen.append(found)
        training.send_signal(signal.SIGTERM)
        return seen, training.wait()


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--between", type=float, default=10, help="seconds between two looks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seen, status = run(folder, options.minutes * 60, options.between)
        log = (folder / "log").read_text()
        assert status == 128 + signal.SIGTERM, log[-3000:]
        assert seen, f"no epoch ended within {options.minutes:g} min: give --minutes more"
        kept = seen[len(seen) // 10 :]
        epochs = len((folder / "run/metrics.csv").read_text().splitlines()) - 1
        steps = len((folder / "run/steps.csv").read_text().splitlines()) - 1
        written = [path for path in (folder / "run").rglob("*") if path.is_file()]
        boards = [path for path in written if path.parent.name == "tensorboard"]
        print(f"{options.minutes:g} min, {epochs} epochs with validation, {steps} steps, {len(kept)} looks")
        for name, column, unit in (("memory, MB", 0, 1e6), ("descriptors", 1, 1)):
            values = [row[column] / unit for row in kept]
            third = max(1, len(values) // 3)
            first, last = (sum(part) / len(part) for part in (values[:third], values[-third:]))
            print(f"{name}: {min(values):.0f} to {max(values):.0f}; last third against first {last / first - 1:+.1%}")
        print(
            f"{len(boards)} TensorBoard file, {len(written)} files in all, {sum(p.stat().st_size for p in written) / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    main()
