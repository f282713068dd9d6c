"""What identifies a stage, a step and a measurement: the one place where fingerprints are composed.

Everything that can change a result stands in one of these, and nothing else does. Keys are
words, so that an error of the encoder says which value of which method has no identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from rayci.criterion import Criterion
from rayci.fingerprint import fingerprint
from rayci.planning.chain import Link

Draw = tuple[int, int, int | None]
"""(sweep seed, seed index, edit batch): what every random stream of a context derives from."""


def of_untouched(model: str, modules: Mapping[str, Any] | None, dtype: str, attention: str) -> str:
    """Stage 0: the model's hash, its module map as resolved, the arithmetic and the attention kernel."""
    return fingerprint({"model": model, "modules": modules, "dtype": dtype, "attention": attention})


def of_step(link: Link, data: Mapping[str, str]) -> str:
    """One applied step: the method, hashes of the data parts that it reads, and how it re-compresses."""
    method = link.intervention
    return fingerprint({method.name: method.identity(), "data": data, "recompression": link.recompression})


def of_stage(before: str, step: str, draw: Draw | None) -> str:
    """The stage after one more step; `draw` is None where the step draws nothing."""
    # Without canonical JSON: a large plan asks for hundreds of thousands.
    return hashlib.sha256(f"{before}|{step}|{draw}".encode()).hexdigest()


def of_measurement(criterion: Criterion, data: Mapping[str, str], draw: Draw | None) -> str:
    """What a criterion measures on any stage: itself, hashes of the data parts that it reads, and its draw."""
    return fingerprint({criterion.name: criterion.identity(), "data": data, "draw": draw})


def of_trial(composition: str, replicate: int | None, seed: int | None) -> str:
    """The short name of a trial within its sweep."""
    return fingerprint([composition, replicate, seed])[:12]
