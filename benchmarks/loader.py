"""The data loader: prepared 256 px images and mapped features against full-size JPEGs and one .npy file per feature.

    python benchmarks/loader.py

Images are drawn: smooth noise with grain, saved as grey JPEG of 2,544 x 3,056 pixels (released way) and 256 pixels on the
shorter side (ours). Both ways augment, tokenise and batch alike.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.timing import arguments, machine, report_ratio, verdict
from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.dataloaders import training_loader
from modules.corpus.datasets import ReportDataset, Sample
from modules.corpus.images import read_image
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.tokenizer import ReportTokenizer

REPORT = "the lungs are clear . there is no pleural effusion or pneumothorax . the heart size is normal . " * 3


class PlainDataset(ReportDataset):
    """The same studies, region and report features opened file by file."""

    npy_dir: Path

    def __getitem__(self, index: int) -> Sample:
        study, labels = self.studies[index], self.labels[index]
        rng = np.random.default_rng([*self.augmentation, index]) if self.augmentation else None
        return Sample(
            index=index,
            image=read_image(self.image_dir / study.image_path[0], self.image_size, rng),
            region_scores=torch.from_numpy(np.array(self.store["region_scores"][self.rows[index]], dtype=np.float32)),
            region_text=torch.from_numpy(np.load(self.npy_dir / f"{study.id}_region.npy")),
            memory=torch.from_numpy(np.load(self.npy_dir / f"{study.id}_memory.npy")),
            reference_text=torch.from_numpy(self.bank.sentences(int(self.reference_rows[index]))),
            reference_tokens=self.reference_words(self.read_rows[index]),
            token_ids=self.tokenizer.encode(self.reports[index], labels.tolist(), self.max_report_tokens),
            labels=torch.from_numpy(labels),
        )


def draw(folder: Path, count: int, size: tuple[int, int], quality: int) -> None:
    """Save ``count`` grey JPEGs of ``size``."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        smooth = Image.fromarray(rng.integers(0, 255, (24, 20), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 4, (size[1], size[0])).astype(np.float32)
        pixels = (np.asarray(smooth, np.float32) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"s{number}.jpg", quality=quality)


def fill(folder: Path, ids: list[str], wide: int) -> None:
    """Write random features of ``ids``; region text is ``wide`` numbers per entity."""
    rng, n = np.random.default_rng(0), len(ids)
    for axis in ("studies", "training"):
        write_axis(folder, axis, ids)
    arrays = {
        "labels": rng.integers(0, 4, (n, 18), dtype=np.int8),
        "region_scores": rng.random((n, 75), dtype=np.float32),
        "region_text": rng.random((n, 75, wide), dtype=np.float32).astype(np.float16),
        "memory_indices": rng.integers(0, n, (n, 21), dtype=np.int32),
    }
    for name, array in arrays.items():
        write_feature(folder, name, array, axis="studies", made_by={})
    write_feature(folder, "report_features", rng.random((n, 512), dtype=np.float32), axis="training", made_by={})
    features = rng.random((6 * n, 512), dtype=np.float32)
    write_feature(folder, "sentence_features", features, axis="sentences", made_by={})
    write_feature(folder, "sentence_offsets", np.arange(n + 1) * 6, axis="sentences", made_by={})
    write_bank_reports(folder, ({"id": i, "patient": None, "report": REPORT} for i in ids))


def epoch_seconds(dataset: ReportDataset, batch: int, epoch: int, workers: int) -> tuple[float, int]:
    """Seconds and studies of one epoch, the start of the workers left out."""
    dataset.augmentation = (0, epoch)
    batches = iter(training_loader(dataset, batch, 0, epoch, 0, workers))
    next(batches)
    start = time.perf_counter()
    seen = sum(len(one.index) for one in batches)
    return time.perf_counter() - start, seen


def main() -> None:
    """Equal features, then studies per second."""
    options = arguments(__doc__.splitlines()[0], runs=3)
    count, repeat, batch, wide = (4, 3, 2, 8) if options.quick else (64, 40, 16, 768)
    full = (310, 372) if options.quick else (2544, 3056)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        print(machine())
        draw(root / "full", count, full, 90)
        draw(root / "small", count, (256, 308), 95)
        ids = [f"s{i}" for i in range(count)]
        fill(root / "features", ids, wide)
        store = FeatureStore.open(root / "features")
        bank = TrainingBank(store)
        (root / "npy").mkdir()
        for row, i in enumerate(ids):
            np.save(root / "npy" / f"{i}_region.npy", np.asarray(store["region_text"][row], np.float32))
            np.save(root / "npy" / f"{i}_memory.npy", bank.memory(np.asarray(store["memory_indices"][row])))
        studies = [Study(id=i, image_path=(f"{i}.jpg",), report=REPORT, split="train") for i in ids]
        common = {"image_size": 224, "max_report_tokens": 480}
        tokenizer = ReportTokenizer.from_reports([REPORT], 1)
        ours = ReportDataset(studies * repeat, root / "small", store, bank, tokenizer, **common)
        plain = PlainDataset(studies, root / "full", store, bank, tokenizer, **common)
        plain.npy_dir = root / "npy"
        for dataset in (plain, ours):
            dataset.refer_to(np.arange(len(dataset))[:, None] % count)
        a, b = plain[1], ours[1]
        assert torch.equal(a.region_text, b.region_text)
        assert torch.equal(a.memory, b.memory)
        assert a.token_ids == b.token_ids
        print("  equal: features and tokens read both ways")
        times: dict[str, list[float]] = {"plain": [], "ours": []}
        for run in range(options.runs):
            for name, dataset in (("plain", plain), ("ours", ours)):
                elapsed, seen = epoch_seconds(dataset, batch, run + 1, 0 if options.quick else options.threads)
                times[name].append(elapsed / seen)
        report_ratio("one study from the loader", times["plain"], times["ours"], 5)
        speed = [1 / t for t in times["ours"]]
        verdict("studies per second", sorted(speed)[len(speed) // 2], 400, f"{min(speed):.0f} to {max(speed):.0f}")


if __name__ == "__main__":
    main()
