"""The difference of two checkpoints as a folder of safetensors, which `delta`, `ties` and `dare` read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from rayci.errors import RequestError
from rayci.export.origin import base_name
from rayci.export.whole_folder import new_folder, refuse_occupied
from rayci.interventions.training.adding import SOURCE
from rayci.interventions.training.delta_base import DIFFERENCE, weights_digest
from rayci.interventions.training.loaded_weights import as_loaded
from rayci.model.folder import locate
from rayci.model.integrity import examine, refuse_unfit
from rayci.units import GIB

SHARD = 4 * GIB
"""Bytes of tensors in a file, unless one is larger; so much is in memory at a time."""


def write_difference(base: Path | str, tuned: Path | str, folder: Path | str) -> Path:
    """Write tuned − base in fp32 under the parameters' names, and return the folder; equal parameters are left out.

    `base` and `tuned` are folders or hub ids of one architecture; `base` may be `testbed`. The files name the base and
    hold the hash of its weights, so that the difference is refused on another model. Raises RequestError where the
    two do not fit, or do not differ, or the folder holds something.
    """
    path = refuse_occupied(folder, "folder")
    start, end = locate(str(base)), SOURCE.locate(str(tuned))
    model = examine(start)
    refuse_unfit(end, model)
    before, after = as_loaded(start, model), as_loaded(end, model)

    def differing() -> Iterator[tuple[str, Tensor]]:
        for name, _ in model.named_parameters():
            difference = after.read(name).float().sub_(before.read(name).float())
            if bool(difference.any()):
                yield name, difference

    said = {"format": "pt", "rayci": DIFFERENCE, "base": weights_digest(start), "base_name": base_name(str(base))}
    with new_folder(path) as place:
        for number, shard in enumerate(_shards(differing()), start=1):
            save_file(shard, place / f"difference-{number:05}.safetensors", said)
        if not any(place.iterdir()):
            raise RequestError(f"{tuned} holds the weights of {base}", at="tuned", hint="the model that was trained")
    return path


def _shards(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    for name, value in tensors:
        if shard and sum(other.nbytes for other in shard.values()) + value.nbytes > SHARD:
            yield shard
            shard = {}
        shard[name] = value
    if shard:
        yield shard
