"""Reading a file of weights: no code in it is run, and what it claims is compared with its size before memory is taken."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from modules.messages import STAND_INS, UserError, named, require_file
from modules.weights.saving import MARK, is_whole, last_bytes, nonfinite_tensors, verified_checksum

# How files of torch.save begin, today's and older ones.
ZIP, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_UNREAD = (  # what programs keep beside weights and nothing here reads: numbers of NumPy, the arguments of a command, paths
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode",
    "argparse.Namespace", "pathlib.PosixPath", "pathlib._local.PosixPath",
)  # fmt: skip
_OTHERS = (
    *STAND_INS,
    *((mark, "JSON: give the file of the weights") for mark in (b"{", b"[", b'"', b"NaN", b"null")),
    (b"\x93NUMPY", "an array of NumPy: give a file of torch.save or of safetensors"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"\x80", "a pickle of another program: save its weights with torch.save in an environment you trust"),
    (b"", "something else: download it again"),
)
_MOST_INDEX = 1 << 28  # bytes of the index of a file; a BERT's has 20 kB
_MOST_LAYERS = 200


class Unread:
    """Stands for an object beside weights that nothing here reads: whatever a file says of it is dropped."""

    def __init__(self, *_: Any) -> None:
        """Keep nothing."""

    def __setstate__(self, _: Any) -> None:
        """Keep nothing."""


def load_weights(path: str | Path) -> Any:
    """Read a file of torch.save or of safetensors, whatever its name, onto the CPU without running any code in it.

    Numbers of NumPy, arguments of a command and paths beside the weights are passed over, see :class:`Unread`.

    Raises:
        UserError: if there is no such file; if it is not a weights file, is damaged, unpacks to more than it is, holds
            pickled code, or numbers that are not finite.
    """
    path = require_file(path)
    try:
        if _is_safetensors(path):
            content = load_file(path)
        else:
            _check_start(path)
            stand_ins: Any = [(Unread, name) for name in _UNREAD]
            with torch.serialization.safe_globals(stand_ins), open(path, "rb") as file:
                # not by its name, by which torch would take it for safetensors
                content = torch.load(
                    file if path.suffix == ".safetensors" else path, map_location="cpu", weights_only=True
                )
        check_finite(content, path)
        return content
    except UserError:
        raise
    except Exception as error:  # damage makes torch, pickle, zipfile and safetensors raise almost anything
        if "weights_only" in str(error) or "Unsupported global" in str(error):
            raise UserError(
                f"{path} holds pickled objects besides tensors, which are refused because they may run code: in an "
                'environment you trust, load it and save only its weights with torch.save({"state_dict": ...}, path)'
            ) from error
        raise UserError(
            f"{path} is not a readable weights file, it is damaged or cut off ({type(error).__name__}): copy it again"
        ) from error


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do, with the length of a JSON object and that object; or is called so and is no other."""
    with open(path, "rb") as file:
        start = file.read(64)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length < path.stat().st_size:
        return True
    return path.suffix == ".safetensors" and not start.startswith((ZIP, LEGACY, *(mark for mark, _ in STAND_INS)))


def _check_start(path: Path) -> None:
    """Refuse what torch.save did not write, because an unpickler sees something in anything, and what unpacks to more than it is."""
    with open(path, "rb") as file:
        start = file.read(512)
    if start.startswith(ZIP):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if entries and not any(entry.filename.endswith("data.pkl") for entry in entries):
                raise UserError(
                    f"{path} is a zip archive that torch.save did not write, it holds {named(entries[0].filename)}: unpack it and give "
                    "the file of the weights"
                )
            if any("/code/" in entry.filename for entry in entries):
                raise UserError(
                    f"{path} is a model that TorchScript wrote, with its code: in an environment you trust, load it and save only its "
                    'weights with torch.save({"state_dict": ...}, path)'
                )
            ours = archive.comment.startswith(MARK) or last_bytes(path).startswith(MARK)  # two places: bytes change
        index = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
        whole = sum(entry.file_size for entry in entries)
        if whole > path.stat().st_size or index > _MOST_INDEX:
            raise UserError(
                f"{path} unpacks to {whole:,} bytes, expected no more than the {path.stat().st_size:,} of the file, as "
                "torch.save writes it: download it again"
            )
        if ours:  # of a weight that something has changed since torch knows nothing
            verified_checksum(path)
    elif not start.startswith(LEGACY):
        if not start:
            raise UserError(f"{path} is empty, expected a file of weights: download it again")
        what = next(name for beginning, name in _OTHERS if start.lstrip().startswith(beginning))
        what = "a tar archive: unpack it" if start[257:262] == b"ustar" else what
        raise UserError(f"{path} is no weights file but {what}")


def check_finite(content: Any, path: str | Path) -> None:
    """Refuse weights that would write nonsense, or end a training that goes on from them; UserError names their file."""
    if bad := nonfinite_tensors(content):
        raise UserError(
            f"{path} holds weights that are not finite ({len(bad)} tensors, first {named(bad[0].removeprefix('state_dict.'))}): "
            "its training went wrong, give an earlier checkpoint or another file"
        )


def build_blank(network: type[nn.Module], config: type, values: Any, path: object) -> nn.Module:
    """A network without memory for its weights, of the configuration that a file holds.

    Args:
        network: class of the network, made of a configuration.
        config: dataclass of the configuration.
        values: what the file holds under ``config``.
        path: of the file.

    Raises:
        UserError: if the configuration lacks fields, has others, or describes no network.
    """
    names = {field.name for field in fields(config)}
    needed = {field.name for field in fields(config) if field.default is MISSING and field.default_factory is MISSING}
    odd = (set(values) - names) | (needed - set(values)) if isinstance(values, Mapping) else {"all of it"}
    if odd:
        first = ", ".join(sorted(map(named, odd))[:4])
        raise UserError(
            f"{path} has a configuration of another version of this project (it differs in {first}): train it again, or use the "
            "version that wrote it"
        )
    numbers = {
        name: value for name, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    absurd = [
        name for name, value in numbers.items() if not -1e9 < value < 1e9 or ("layers" in name and value > _MOST_LAYERS)
    ]
    kinds = get_type_hints(config)
    absurd += [name for name, value in values.items() if not _is_of(value, kinds[name])]
    what = f"{absurd[0]} {named(values[absurd[0]])}" if absurd else ""
    try:
        if not absurd:
            made = config(**values)
            with torch.device("meta"):
                return network(made)
    except ValueError as error:  # of the configuration itself, in our words, or of a layer
        what = str(error).splitlines()[0][:120]
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        what = type(error).__name__
    raise UserError(f"{path} has a configuration that describes no network ({what}): copy the file again")


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of the type that a field declares; a whole number is a fraction too, a truth value is no number."""
    wanted = [get_origin(part) or part for part in get_args(kind) or (kind,)]
    return type(value) in wanted or (type(value) is int and float in wanted)


def check_tensors(weights: Mapping[str, Any], path: object) -> None:
    """Refuse tensors that claim more numbers than the file holds, or are no plain arrays; UserError names the first."""
    for name, value in weights.items():
        if not (isinstance(value, Tensor) and is_whole(value)):
            raise UserError(f"{path} holds {named(name)}, which is no whole array of numbers: copy the file again")
