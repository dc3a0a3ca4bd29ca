"""A fuzzer: bytes and values of whole files are changed, and every reader must answer with a value or a sentence.

python tests/broken/fuzz.py --seconds 60                     # all readers take turns
python tests/broken/fuzz.py --seconds 300 --readers dicom    # one of them

An input that makes a reader raise anything but a sentence of ours, or take more than ten seconds or 2 GB, is kept under --keep.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import resource
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[folders]) for folders in (2, 1, 0)]

import torch  # noqa: E402
from mutations import changed  # noqa: E402
from PIL import Image  # noqa: E402

from modules.corpus.annotations import read_annotation  # noqa: E402
from modules.corpus.dicom import read_dicom  # noqa: E402
from modules.corpus.manifest import read_manifest  # noqa: E402
from modules.corpus.pixels import open_image  # noqa: E402
from modules.corpus.tables import read_table_file  # noqa: E402
from modules.evaluation.reading.report_files import read_report_file  # noqa: E402
from modules.messages import UserError  # noqa: E402
from modules.options.preparation_flags import RawOptions  # noqa: E402
from modules.preparation.published.reading import EmbeddingFiles, number_rows  # noqa: E402
from modules.preparation.raw.custom import read_custom  # noqa: E402
from modules.preparation.raw.files import iterate_texts, read_table  # noqa: E402
from modules.preparation.raw.iu_xray import read_iu_xray  # noqa: E402
from modules.weights.checkpoints import load_checkpoint  # noqa: E402

CASES = Path(__file__).parents[1] / "cases"
SECONDS, BYTES = 10, 2 << 30  # of one input
ENOUGH = 200  # inputs of which some must still be readable


def study(**more):
    return {"id": "a", "image_path": ["a.png"], "report": "Clear lungs.", "labels": [0] * 14, **more}


def saved(save, *args, **options):
    file = io.BytesIO()
    save(*args, file, **options) if save is torch.save else save(file, *args, **options)
    return file.getvalue()


def packed(name, content, kind):
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode=kind) as archive:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def dicoms(folder):
    from test_raw_images import COLOUR, RAMP, lookup, write_dicom

    kinds = [
        {},
        {"WindowCenter": 50, "WindowWidth": 10, "PixelPaddingValue": 0},
        {"VOILUTSequence": lookup(0, range(256), 16)},
    ]
    for number, tags in enumerate(
        [*kinds, {"RescaleSlope": 2, "RescaleIntercept": -5}, {"values": np.zeros((12, 10, 3)), **COLOUR}]
    ):
        values = tags.pop("values", RAMP)
        yield write_dicom(folder / f"{number}.dcm", values, **tags).read_bytes()
    yield write_dicom(folder / "6.dcm", RAMP, "1.2.840.10008.1.2").read_bytes()


def checkpoints():
    from dataclasses import asdict

    from tiny import tiny_config

    from models.revtaf import Revtaf

    config = tiny_config(
        visual_extractor="resnet10n", hidden_size=8, decoder_heads=2, intermediate_size=8, decoder_layers=1
    )
    value = {"format": "revtaf/1", "config": asdict(config), "run": {}}
    yield saved(torch.save, {**value, "state_dict": {}})
    yield saved(torch.save, {**value, "state_dict": {"a": torch.zeros(3)}}, _use_new_zipfile_serialization=False)
    yield saved(torch.save, {**value, "state_dict": Revtaf(config).state_dict()})


def parquet(rows):
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def seeds(folder):
    """Whole files by reader: suffix and contents."""
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 30), dtype=np.uint8))
    xml = b'<?xml version="1.0"?><e><uId id="CXR1"/><AbstractText Label="FINDINGS">Clear.</AbstractText><parentImage id="CXR1_IM-1"/></e>'
    rows = b'id,image_path,report,patient,split\n1,a.png,Clear lungs.,p1,train\n2,b.png,"No, none.",p2,test\n'
    numbers = b"[[0.5, 1.5, 2], [3, 4, 5]]"
    manifest = {"format": "revtaf_features/1", "axes": {"studies": {"rows": 1, "sha256": ""}}, "arrays": {}}
    entry = {"shape": [1, 2], "dtype": "int8", "axis": "studies", "made_by": {}, "ids_sha256": "", "sha256": ""}
    reports = [json.dumps({"id": str(i), "prediction": "clear .", "reference": "clear ."}) for i in range(3)]
    pixels = [
        saved(grey.save, "PNG"),
        saved(grey.save, "JPEG"),
        saved(grey.convert("P").save, "PNG"),
        saved(grey.convert("RGBA").save, "PNG"),
    ]
    names, cells = ["id", "image_path", "report"], [["a", "a.png", "clear ."], ["b", "b.png", "none ."]]
    by_name = {name: [row[column] for row in cells] for column, name in enumerate(names)}
    listed = [dict(zip(names, row, strict=True)) for row in cells]
    layouts = [
        json.dumps(layout).encode()
        for layout in (
            {"columns": names, "index": [0, 1], "data": cells}, {"model": "x", **by_name, "scores": {"f1": 0.5}}, {"data": listed},
            {"schema": {}, "data": [{"index": 3, **row} for row in listed]}, {"train": [], "test": [{**listed[0], "findings": "clear ."}]},
            {name: dict(zip("ab", values, strict=True)) for name, values in by_name.items()}, {"x": listed[0], "y": listed[1]},
        )
    ]  # fmt: skip
    return {
        "annotation": (".json", [json.dumps({"train": [study(id="b")], "val": [], "test": [study()]}).encode(), json.dumps([study()]).encode()]),
        "table": (".csv", [rows, rows.replace(b",", b";"), rows.decode().encode("utf-16"), *(p.read_bytes() for p in (CASES / "tables").iterdir())]),
        "own studies": (".csv", [rows, rows.replace(b"id", b"Study ID"), (CASES / "tables/subj.csv").read_bytes()]),
        "published table": (".csv", [rows]),
        "image": (".png", [*pixels, (CASES / "images/twelve_bit_in_16.png").read_bytes()]),
        "dicom": (".dcm", [*dicoms(folder), *(p.read_bytes() for p in (CASES / "dicom").iterdir())]),
        "archive": (".zip", [packed("a/s1.txt", b"FINDINGS: clear.", "zip")]),
        "tar": (".tgz", [packed("a/s1.txt", b"FINDINGS: clear.", kind) for kind in ("w", "w:gz")]),
        "open-i": (".tgz", [packed("1.xml", xml, "w")]),
        "numbers": (".json", [numbers, b"[1, 2]\n[3, 4]\n"]),
        "embeddings": (".tar.gz", [packed("name/a.npy", saved(np.save, np.zeros((3, 4))), kind) for kind in ("w", "w:gz")]),
        "manifest": (".json", [json.dumps({**manifest, "arrays": {"labels": entry}}).encode()]),
        "checkpoint": (".pth", list(checkpoints())),
        "reports": (".jsonl", ["\n".join(reports).encode()]),
        "report JSON": (".json", layouts),
        "own JSON": (".json", layouts),
        "report parquet": (".parquet", [parquet([{"id": i, "prediction": "clear .", "reference": "clear ."} for i in range(3)])]),
        "report table": (".csv", [b"id,prediction,reference\n1,clear .,clear .\n2,none .,none .\n"]),
    }  # fmt: skip


def _own(path):
    read_custom(path, RawOptions())


def _open_i(path):
    target = path.with_name("NLMCXR_reports.tgz")
    target.write_bytes(path.read_bytes())
    read_iu_xray(path.parent, RawOptions(), with_images=False)


def _embeddings(path):
    target = path.with_name("name.tar.gz")
    target.write_bytes(path.read_bytes())
    studies = read_annotation(path.with_name("good.json"))["test"]
    list(EmbeddingFiles(path.parent, "name").read(studies, [0], (None, 4), "x"))


def _manifest(path):
    target = path.with_name("manifest.json")
    target.write_bytes(path.read_bytes())
    read_manifest(path.parent)


READERS = {
    "annotation": read_annotation,
    "table": lambda path: list(read_table_file(path, ("id", "report")).body()),
    "own studies": _own,
    "published table": lambda path: list(read_table(path, ("id",))),
    "image": open_image,
    "dicom": read_dicom,
    "archive": lambda path: list(iterate_texts(path, ".txt")),
    "tar": lambda path: list(iterate_texts(path, ".txt")),
    "open-i": _open_i,
    "numbers": lambda path: list(number_rows(path)),
    "embeddings": _embeddings,
    "manifest": _manifest,
    "checkpoint": load_checkpoint,
    "reports": read_report_file,
    "report JSON": read_report_file,
    "own JSON": _own,
    "report parquet": read_report_file,
    "report table": read_report_file,
}


def judged(reader, path):
    """What came of reading a file: ``value``, ``sentence``, or what is wrong."""
    before, started = peak(), time.process_time()  # a busy machine makes no reader slow
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("error")
            READERS[reader](path)
        verdict = "value"
    except UserError as error:
        verdict = "sentence" if "\n" not in str(error).split(" rows are wrong:")[0] else f"several lines: {error}"
    except Exception as error:  # a program ends in a sentence only at an OSError that names its file
        place = traceback.extract_tb(error.__traceback__)[-1]
        named = isinstance(error, OSError) and error.filename is not None
        verdict = "sentence" if named else f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
    if time.process_time() - started >= SECONDS:
        return "slow"
    return verdict if peak() - before < BYTES else "large"


def peak():
    """The most bytes of memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(readers, seconds, seed, keep):
    """Read changed files in turn until the time is over; returns counts by reader and verdict."""
    found, rng = {reader: Counter() for reader in readers}, np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        contents = seeds(folder)
        (folder / "good.json").write_text(json.dumps([study()]))
        end = time.monotonic() + seconds
        for reader in itertools.cycle(readers):
            if time.monotonic() > end:
                return found
            suffix, files = contents[reader]
            content = changed(files[rng.integers(0, len(files))], files, rng, suffix)
            path = folder / f"input{suffix}"
            path.write_bytes(content)
            verdict = judged(reader, path)
            found[reader][verdict] += 1
            if verdict not in ("value", "sentence") and keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{reader.replace(' ', '_')}_{len(os.listdir(keep))}{suffix}").write_bytes(content)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--readers", nargs="+", choices=tuple(READERS), default=list(READERS))
    parser.add_argument("--seed", type=int, default=None, help="another one in every run, if absent; it is printed")
    parser.add_argument("--keep", type=Path, default=None, help="folder for inputs that a reader did not answer well")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}, {options.seconds:.0f} s over {', '.join(options.readers)}")
    found = fuzz(options.readers, options.seconds, seed, options.keep)
    bad = 0
    for reader, verdicts in found.items():
        others = {verdict: count for verdict, count in verdicts.items() if verdict not in ("value", "sentence")}
        bad += sum(others.values())
        if not verdicts["value"] and sum(verdicts.values()) >= ENOUGH:
            bad += 1
            print(f"{reader} has read nothing: its call, or its seeds, are of another version")
        print(
            f"{reader}: {verdicts['value']} values, {verdicts['sentence']} sentences, {sum(others.values())} wrong {others or ''}"
        )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
