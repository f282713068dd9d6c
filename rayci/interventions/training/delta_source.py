"""What a source adds to a model, a parameter at a time: whole weights, differences, or a LoRA adapter of peft."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from rayci.errors import InterventionError, RequestError
from rayci.interventions.training.delta_base import DIFFERENCE, Base
from rayci.interventions.training.delta_tensors import TensorFiles, safetensors_of
from rayci.interventions.training.loaded_weights import as_loaded
from rayci.model.integrity import listed, refuse_unfit
from rayci.model.weight_bits import same_bits
from rayci.subject import Subject


class DeltaSource(ABC):
    """One source beside the model that it is to be added to."""

    reads_base: bool = False
    """Whether differences are taken from the untouched model."""
    names: tuple[str, ...]
    """The parameters that it adds to."""
    base: Base
    """What it says of the model that it was made from."""

    @abstractmethod
    def difference(self, name: str, start: Tensor) -> Tensor:
        """What it adds to a parameter, fp32 of its shape, on the device of `start`.

        That is the untouched parameter, fp32, where the source `reads_base`; else its values are not read.
        Raises InterventionError where it holds NaN or infinite numbers.
        """

    def whole(self, name: str, start: Tensor) -> Tensor | None:
        """The parameter itself, where the source holds whole weights; fp32, on the device of `start`."""
        return None


def canonical_names(subject: Subject) -> dict[str, str]:
    """Every name of every parameter -> the one that `named_parameters` gives it: tied weights have several."""
    first = {id(value): name for name, value in subject.model.named_parameters()}
    return {name: first[id(value)] for name, value in subject.model.named_parameters(remove_duplicate=False)}


class Difference(DeltaSource):
    """Differences under the parameters' names, of some or all of them."""

    def __init__(self, folder: Path, subject: Subject) -> None:
        self._files = TensorFiles(safetensors_of(folder))
        said = self._files.metadata if self._files.metadata.get("rayci") == DIFFERENCE else {}
        self.base = Base(said.get("base_name"), said.get("base"))
        known = canonical_names(subject)
        strange = self._files.headers.keys() - known.keys()
        if strange:
            raise RequestError(f"{folder} holds {len(strange)} tensors that the model does not have: {listed(strange)}")
        shapes = {name: tuple(value.shape) for name, value in subject.model.named_parameters()}
        self._stored: dict[str, list[str]] = {}
        unfit = []
        for name, header in sorted(self._files.headers.items()):
            own = known[name]
            self._stored.setdefault(own, []).append(name)
            if header.shape != shapes[own]:
                unfit.append(f"{name} is {list(header.shape)}, not {list(shapes[own])}")
        if unfit:
            raise RequestError(f"{folder} holds {len(unfit)} tensors of another shape: {listed(unfit)}")
        self.names = tuple(name for name in shapes if name in self._stored)

    def difference(self, name: str, start: Tensor) -> Tensor:
        return self._value(name).to(start.device).float()

    def _value(self, name: str) -> Tensor:
        first, *others = (self._files.read(stored) for stored in self._stored[name])
        if not all(same_bits(first, other) for other in others):
            raise InterventionError(f"{' and '.join(self._stored[name])} are one weight here, and differ in the source")
        return first


class Checkpoint(DeltaSource):
    """Whole weights of the model's architecture, B: the difference is B − A, A the untouched model."""

    reads_base = True

    def __init__(self, folder: Path, subject: Subject) -> None:
        refuse_unfit(folder, subject.model)
        self._folder, self._subject = folder, subject
        self.base = Base()
        self.names = tuple(name for name, _ in subject.model.named_parameters())
        self._weights: TensorFiles | None = None

    def difference(self, name: str, start: Tensor) -> Tensor:
        return self.whole(name, start).sub_(start)

    def whole(self, name: str, start: Tensor) -> Tensor:
        if self._weights is None:
            self._weights = as_loaded(self._folder, self._subject.model)
        return self._weights.read(name).to(start.device, torch.float32, copy=True)
