"""Smaller 8-bit copies of the raw images, written once, because decoding the originals is what slows training.

    <image_dir>/copies.json    what the copies are made with and of, and whether all are there
    <image_dir>/<path>         one file for each image, the raw path with the suffix of the copies

A copy that is older than its image, or was made of an image in another folder, is made again and compared: another table may
name other films alike, and a film may have been exported anew. Reports beside the films of others would be learnt in silence.

A copy is made by the resize that training applies to an original, so that with PNG and ``--resize 256`` a network of
``--image_size 224`` sees the same pixels from copies as from originals; JPEG adds its noise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from modules.corpus.pixels import TWO_DEPTHS, of_two_depths
from modules.distributed import barrier, from_main, gather_list, is_main, shard, world_size
from modules.messages import UserError
from modules.preparation.raw.pixels import FORMATS, Finding, write_copy
from modules.processes.pools import small_pool
from modules.records import read_json, write_json
from modules.throughput import speed_line

COPIES = "copies.json"
Copier = Callable[[tuple[str, str]], Finding | None]  # of a target and its raw path
_WORTHWHILE = 50  # images that a process must copy to make up for its start
_ROUND = 5000  # images between two meetings of the processes


def copy_path(image: str, suffix: str) -> str:
    """Path of the copy of a raw image: ``1_IM-0001-4001.dcm.png`` -> ``1_IM-0001-4001.jpg``."""
    path = PurePosixPath(image)
    return str(path.with_name(f"{path.name.removesuffix(path.suffix).removesuffix('.dcm')}.{suffix}"))


def copy_images(
    images: Sequence[str], source: Path, image_dir: Path, *, resize: int, suffix: str, workers: int
) -> dict[str, str]:
    """Write the copies that are missing; every process of ``torchrun`` writes its share.

    A killed run is continued: files appear whole or not at all, what it left half-written is removed, and the result is
    the same byte for byte, whatever the number of processes.

    Args:
        images: raw paths below ``source``.
        source: raw image folder.
        image_dir: where the copies go; made if absent.
        resize: length of the shorter side in pixels; smaller images keep their size.
        suffix: ``"jpg"`` (quality 95) or ``"png"``.
        workers: processes started by each process of ``torchrun``.

    Returns:
        Sentence by raw path for every image that cannot be decoded.

    Raises:
        UserError: if the folder holds images that were made otherwise, or copies of other images with these names.
    """
    assert suffix in FORMATS
    image_dir = Path(image_dir)
    root = str(Path(source).resolve())
    moved = from_main(lambda: _claim(image_dir, {"resize": resize, "format": suffix}, root) != root)
    barrier()
    targets = {copy_path(image, suffix): image for image in images}
    if len(targets) < len(images):
        raise UserError(
            f"{len(images) - len(targets)} images of {source} differ only in their suffix, so that their copies would have "
            "one name: rename them"
        )
    start = time.perf_counter()
    copy, jobs = partial(write_copy, source, image_dir, resize, suffix), [*targets.items()]
    _, findings = _copy_share(jobs, copy, partial(_is_doubtful, source, image_dir, moved), workers, "checking copies")
    others = sorted(Finding(*found) for found in gather_list(findings))
    if others:
        raise UserError(
            f"{len(others)} of {len(images)} images have the names of others that were copied before, or have changed since "
            f"(first: {others[0].sentence}): give another --ann_path, --image_dir and --feature_dir, or remove {image_dir} "
            "and the features made from it"
        )
    written, findings = _copy_share(jobs, copy, partial(_is_absent, image_dir), workers, "copying images")
    findings, written = sorted(Finding(*found) for found in gather_list(findings)), sum(gather_list([written]))
    blank = [found for found in findings if found.copied]
    if is_main():
        whole = set(images) - {found.image for found in findings if not found.copied}
        print(f"images: {written - (len(images) - len(whole))} of {len(images)} copied to {image_dir}")
        if deep := of_two_depths(source / image for image in sorted(whole)):
            print(f"warning: {TWO_DEPTHS.format(count=len(deep))} (first: {deep[0]})")
        if blank:
            print(f"{len(blank)} images are one grey value throughout, first: {blank[0].image}")
        if written:
            print(speed_line("copying images", written, time.perf_counter() - start, unit="images"), flush=True)
        write_json(image_dir / COPIES, {"resize": resize, "format": suffix, "source": root, "finished": True})
    return {found.image: found.sentence for found in findings if not found.copied}


def _is_absent(image_dir: Path, job: tuple[str, str]) -> bool:
    """Whether there is no copy yet."""
    return not (image_dir / job[0]).is_file()


def _is_doubtful(source: Path, image_dir: Path, moved: bool, job: tuple[str, str]) -> bool:
    """Whether there is a copy that may show another image than its raw path names now."""
    target, image = image_dir / job[0], source / job[1]
    return target.is_file() and (moved or image.stat().st_mtime > target.stat().st_mtime)


def _copy_share(
    targets: list[tuple[str, str]], copy: Copier, due: Callable[[tuple[str, str]], bool], workers: int, what: str
) -> tuple[int, list[Finding]]:
    """Copy what is due of this process's share.

    Args:
        targets: of all processes: path of a copy and of its raw image.
        copy: makes one copy.
        due: says whether a copy is to be made.
        workers: most processes to start.
        what: words for the progress bar.

    Returns:
        How many copies this process tried to make, and what is wrong with their images.
    """
    share = shard(targets)
    workers = max(1, min(workers, len(share) // _WORTHWHILE))
    tried, findings = 0, []
    with ExitStack() as stack:
        pool = None
        bar = stack.enter_context(tqdm(total=len(share), desc=what, unit="image", disable=not is_main()))
        for start in range(0, -(-len(targets) // world_size()), _ROUND):  # as many rounds in every process
            part = share[start : start + _ROUND]
            jobs = [job for job in part if due(job)]
            tried += len(jobs)
            bar.update(len(part) - len(jobs))
            if jobs and workers > 1 and pool is None:
                pool = stack.enter_context(small_pool(workers))
            for found in pool.imap_unordered(copy, jobs, chunksize=8) if pool else map(copy, jobs):
                bar.update()
                if found:
                    findings.append(found)
            barrier()  # processes that wait for hours would be taken for dead
    return tried, findings


def _claim(image_dir: Path, wanted: dict, root: str) -> str:
    """Make the folder ours or check that it is, and remove what a killed run left half-written.

    Returns:
        The folder of the raw images that the copies in it were made of; ``root`` if there are none.

    Raises:
        UserError: if it holds copies that were made otherwise, or other images.
    """
    path, source = image_dir / COPIES, root
    if path.is_file():
        found = read_json(path)
        if {name: found.get(name) for name in wanted} != wanted:
            made = f"--resize {found.get('resize')} and --copy_format {found.get('format')}"
            raise UserError(
                f"{image_dir} holds copies made with {made}: repeat these flags, remove the folder, or give another "
                "--image_dir"
            )
        source = found.get("source", root)  # earlier versions did not say it
        if not found.get("finished"):
            for place, _, names in os.walk(image_dir):
                for name in names:
                    if name.startswith(".") and name.endswith(".tmp"):
                        Path(place, name).unlink(missing_ok=True)
    elif image_dir.is_symlink() and not image_dir.is_dir():
        raise UserError(
            f"{image_dir} is a link to {os.readlink(image_dir)}, which is no folder: make it, or remove the link"
        )
    elif image_dir.is_dir() and any(image_dir.iterdir()):  # a link to the raw images too, as --resize 0 leaves it
        raise UserError(
            f"{image_dir} holds images that are no copies of this program: give another folder with --image_dir, or "
            "--resize 0 to use the raw images as they are"
        )
    write_json(path, {**wanted, "source": source, "finished": False})
    return source
