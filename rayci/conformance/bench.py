"""What the rules work on: a fresh testbed, a small context, bit-wise snapshots, global streams."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from rayci.context import Context
from rayci.data.records import PARTS, Collection
from rayci.model import loading
from rayci.model.built_objects import Build
from rayci.model.weight_bits import same_bits
from rayci.subject import Subject
from rayci.testbed import checkpoint, collection

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EDITS = 8
"""Edits of a batch in the default context: enough to train on, few enough to be quick."""

Suite = TypeVar("Suite")
Seen = TypeVar("Seen")


def once_a_class(look: Callable[[Suite], Seen]) -> Callable[[Suite], Seen]:
    """Let all rules of a suite see one and the same run; pytest makes a new instance for each rule.

    What raises is run again for the next rule, which then fails for the same reason.
    """
    kept = f"_{look.__name__}"

    @wraps(look)
    def seen(suite: Suite) -> Seen:
        if kept not in vars(type(suite)):
            setattr(type(suite), kept, look(suite))
        result: Seen = vars(type(suite))[kept]
        return result

    return seen


@cache
def _loaded() -> Subject:
    return loading.load(checkpoint())


def fresh_testbed() -> Subject:
    """A subject of the embedded testbed that nothing has been done to."""
    return copy.deepcopy(_loaded())


def small_context() -> Context:
    """The testbed's data with a small edit batch."""
    return Context(collection(), batch_size=EDITS)


def only(data: Collection, parts: frozenset[str]) -> Collection:
    """The collection with every part emptied that is neither named nor stands in for a named one."""
    empty: dict[str, Any] = dict.fromkeys(PARTS, ())
    return replace(data, **empty | {part: data.part(part) for part in parts})


@dataclass(frozen=True)
class Snapshot:
    """The state of a model that an intervention or criterion must leave as found."""

    tensors: Mapping[str, Tensor]
    """Copies of all parameters and buffers."""
    dtypes: Mapping[str, torch.dtype]
    flags: Mapping[str, bool]
    """`requires_grad` by parameter."""
    training: tuple[str, ...]
    """Modules in train mode."""
    hooked: tuple[str, ...]
    """Modules with forward hooks."""
    use_cache: bool

    @classmethod
    def of(cls, subject: Subject) -> Snapshot:
        """The state of the subject's model now."""
        model = subject.model
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        modules = list(model.named_modules())
        return cls(
            {name: value.detach().clone() for name, value in tensors.items()},
            {name: value.dtype for name, value in tensors.items()},
            {name: value.requires_grad for name, value in model.named_parameters()},
            tuple(name for name, module in modules if module.training),
            tuple(name for name, module in modules if module._forward_hooks or module._forward_pre_hooks),
            bool(model.config.use_cache),
        )

    def differing(self, other: Snapshot) -> list[str]:
        """Names of the tensors that are not bit for bit equal, or not in both, sorted."""
        names = self.tensors.keys() | other.tensors.keys()
        both = self.tensors.keys() & other.tensors.keys()
        return sorted(n for n in names if n not in both or not same_bits(self.tensors[n], other.tensors[n]))

    def distance(self, other: Snapshot) -> float:
        """Share of the elements that differ by more than rounding."""
        far = sum(
            int((~torch.isclose(value.float(), other.tensors[name].float(), rtol=1e-3, atol=1e-5)).sum())
            for name, value in self.tensors.items()
        )
        return far / sum(value.numel() for value in self.tensors.values())


class BuiltAnew:
    """Objects for `Context.built` that are built at every call; their bytes are counted."""

    def __init__(self) -> None:
        self.nbytes = 0

    def built(self, model: PreTrainedModel, what: Any, build: Build) -> Mapping[str, Tensor]:
        found = {name: value.detach().cpu() for name, value in build().items()}
        self.nbytes += sum(value.nbytes for value in found.values())
        return found


@contextmanager
def global_streams(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global streams; put them back at the end."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def streams_used() -> list[str]:
    """A fingerprint of each global stream, to compare before with after."""
    return [
        f"Python's random {hash(random.getstate())}",
        f"NumPy's random {hash(str(np.random.get_state()))}",  # 624 numbers are printed in full
        f"torch's generator {hash(torch.get_rng_state().numpy().tobytes())}",
    ]
