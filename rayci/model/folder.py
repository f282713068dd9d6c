"""A model's folder: where it lies, which of its files decide what the model does, and their identity.

The driver hashes the files once and hands the hashes to its workers, which compare sizes and
times: weights of many gigabytes are read again only where a node has a copy of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayci.errors import RequestError
from rayci.fingerprint import fingerprint
from rayci.storage import hub_cache
from rayci.storage.file_hashes import hash_once
from rayci.storage.user_paths import path_of

TESTBED = "testbed"
_ALLOWED = "testbed, a folder, or a hub id owner/name[@revision]"
_WEIGHTS = "model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"
_CONFIGURATION = ("config.json", "generation_config.json")
_TOKENIZER = (
    "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model", "*.tiktoken"
)  # fmt: skip
_CODE = "**/*.py"


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file as it was when it was hashed."""

    digest: str
    """Hex sha256 of its content."""
    size: int
    """Bytes."""
    modified: int
    """Time of the last change in nanoseconds."""


Hashes = Mapping[str, HashedFile]
"""Path inside the folder -> what was hashed, for every file that decides what the model does."""


def locate(source: str, *, code: bool = False) -> Path:
    """The folder of a model: `testbed`, a folder, or `owner/name[@revision]` from the hub, `code` included if asked.

    Raises RequestError where it is missing or lacks configuration, safetensors weights or tokenizer.
    """
    if source == TESTBED:
        from rayci.testbed import checkpoint

        return checkpoint()
    folder = path_of(source)
    if not folder.is_dir():
        if not on_the_hub(source):
            raise RequestError(f"no model folder {source}", allowed=_ALLOWED)
        folder = _download(source, ("*.safetensors", *_described(code)))
    configuration(folder)
    weight_files(folder)
    if not _matching(folder, _TOKENIZER):
        raise RequestError(f"{folder} holds no tokenizer", hint="tokenizer.save_pretrained(folder)")
    return folder


def check_name(source: str) -> None:
    """RequestError for what is no model by its name alone: neither a path, nor testbed, nor in form a hub id."""
    if source == TESTBED or source.startswith((".", "/", "~")) or (source and path_of(source).is_dir()):
        return
    if not on_the_hub(source):
        raise RequestError(f"no model folder {source!r}", allowed=_ALLOWED)
    hub_cache.check_name(source.partition("@")[0])


def described(source: str, *, code: bool = False) -> Path:
    """The folder of a model on the hub with all but its weights; RequestError where it cannot be fetched."""
    return _download(source, _described(code))


def _described(code: bool) -> tuple[str, ...]:
    return ("*.json", *_TOKENIZER, *(("*.py",) if code else ()))


def at_commit(source: str, commit: str | None) -> str:
    """A model on the hub at the commit that another process has read; any other model as it is named."""
    return source if commit is None else f"{source.partition('@')[0]}@{commit}"


def on_the_hub(source: str) -> bool:
    """Whether a model is to be fetched: no folder of this machine, and in form a hub id."""
    return hub_cache.is_id(source) and not Path(source).expanduser().is_dir()


def configuration(folder: Path) -> dict[str, Any]:
    """What `config.json` says; RequestError where it is no JSON object."""
    return _read_object(folder / "config.json", f"{folder} is not a readable model folder", "a folder with config.json")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads: one, or those that the index names, sorted.

    RequestError where there are none, or one that the index names is not there.
    """
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).is_file():
        raise RequestError(f"{folder} holds no {_WEIGHTS} and no index of it", hint="model.save_pretrained(folder)")
    shards = _read_object(folder / _INDEX, f"{_INDEX} is not readable", "fetch it again").get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        what = f"lacks {', '.join(missing)}, which {_INDEX} names" if names else f"has an empty {_INDEX}"
        raise RequestError(f"{folder} {what}", hint="fetch the folder again")
    return [folder / name for name in names]


def parameters(folder: Path) -> int:
    """How many numbers the weight files hold, from their headers alone."""
    with_weights = [_header(path) for path in weight_files(folder)]
    return sum(math.prod(entry["shape"]) for header in with_weights for entry in header.values())


def _header(path: Path) -> dict[str, Any]:
    """Name -> what a safetensors file says of each tensor; its length stands before it in 8 bytes."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header


def hash_files(folder: Path, *, code: bool = False) -> Hashes:
    """Hash every file that decides what the model does; the `*.py` among them only where `code` may run."""
    hashes: dict[str, HashedFile] = {}
    for name, path in _deciding(folder, code).items():
        state = path.stat()
        hashes[name] = HashedFile(hash_once(path), state.st_size, state.st_mtime_ns)
    return hashes


def identity(hashes: Hashes) -> str:
    """Fingerprint of names and contents; equal folders are the same model, wherever and whenever written."""
    return fingerprint({name: file.digest for name, file in hashes.items()})


def verify(folder: Path, hashes: Hashes, *, code: bool = False) -> None:
    """RequestError where the folder on this machine is not the one that was hashed.

    Size and time are compared, and where only the time differs, as in a copy, the content.
    """
    paths = _deciding(folder, code)
    for name in sorted(paths.keys() | hashes.keys()):
        both = name in paths and name in hashes
        if not (both and _unchanged(paths[name], hashes[name])):
            raise RequestError(
                f"{folder / name} is not {'the same' if both else 'both'} here and where the sweep was started",
                hint="the same model folder on every node, left alone while the sweep runs",
            )


def _unchanged(path: Path, file: HashedFile) -> bool:
    state = path.stat()
    if state.st_size != file.size:
        return False
    return state.st_mtime_ns == file.modified or hash_once(path) == file.digest


def _deciding(folder: Path, code: bool) -> dict[str, Path]:
    """Files by their path inside the folder."""
    paths = {*weight_files(folder), *_matching(folder, (*_CONFIGURATION, *_TOKENIZER))}
    if code:
        _refuse_foreign_code(folder)
        paths |= _matching(folder, (_CODE,))
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _refuse_foreign_code(folder: Path) -> None:
    """RequestError where the code to run lies in another repository, so that nobody knows what it will be."""
    places = configuration(folder).get("auto_map")
    foreign = [str(place) for place in places.values() if "--" in str(place)] if isinstance(places, dict) else []
    if foreign:
        raise RequestError(
            f"the code of {folder} lies in another repository, where it may change: {', '.join(foreign)}",
            hint="the code's *.py beside config.json, and `auto_map` without `owner/name--`",
        )


def _matching(folder: Path, patterns: tuple[str, ...]) -> set[Path]:
    """Regular files; RequestError for what would never end, a FIFO or a device."""
    paths = {path for pattern in patterns for path in folder.glob(pattern) if not path.is_dir()}
    strange = sorted(str(path) for path in paths if not path.is_file())
    if strange:
        raise RequestError(f"{strange[0]} is not a regular file", hint="a copy of the file, or a link to one")
    return paths


def _read_object(path: Path, problem: str, hint: str) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise OSError(f"{path.name} is not a file there")
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{problem}: {error}", hint=hint) from None
    if not isinstance(value, dict):
        raise RequestError(f"{problem}: {path.name} holds {value!r:.60}", allowed="a JSON object", hint=hint)
    return value


def _download(source: str, patterns: Sequence[str], *, fetch: bool = True) -> Path:
    """The snapshot of a model, holding what matches; RequestError that names the model."""
    name, _, revision = source.partition("@")
    try:
        return hub_cache.snapshot(name, "model", revision or None, patterns, fetch=fetch)[0]
    except RequestError as error:
        problem = f"model {source}: {error.problem}"
        raise type(error)(problem, at=error.at, allowed=error.allowed or _ALLOWED, hint=error.hint) from None
