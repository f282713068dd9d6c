"""What `delta`, `ties` and `dare` share: sources that are read a parameter at a time and added to the weights.

Arithmetic is fp32, and the result is rounded once to the model's dtype. One parameter is held at a time, and of files
that lie on this machine only the pages that are read: neither a checkpoint of 16 GB nor the untouched model beside
it is in memory as a whole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from torch import Tensor

from rayci.context import Context
from rayci.effort import Effort
from rayci.errors import RequestError, gathered
from rayci.intervention import Intervention, Receipt
from rayci.interventions.training.delta_base import FILES, Form
from rayci.kinds import Kind
from rayci.model.weight_bits import same_bits
from rayci.settings import Folders, Speed
from rayci.storage import named_folders
from rayci.subject import Subject
from rayci.testbed import retrained_checkpoint
from rayci.workload import Workload

if TYPE_CHECKING:
    from rayci.interventions.training.delta_source import DeltaSource

TESTBED_RETRAINED = "testbed_retrained"
SOURCE = Folders(FILES, {TESTBED_RETRAINED: retrained_checkpoint})

Merger = Callable[[str, Tensor], Tensor]
"""(name, present value in fp32, not to be written) -> the parameter's new value, fp32."""


class Vectors:
    """What sources add to a subject's parameters."""

    def __init__(self, subject: Subject, sources: Sequence[DeltaSource]) -> None:
        held = {name for source in sources for name in source.names}
        self.sources = tuple(sources)
        self.parameters = subject.parameters_of(held)
        self.names = tuple(self.parameters)
        self._subject, self._changed = subject, frozenset(subject.changed())
        self._holds = [frozenset(source.names) for source in sources]

    def start(self, name: str) -> Tensor:
        """The untouched parameter, fp32 and where the parameter is; not to be written."""
        value = self.parameters[name].detach()
        if name in self._changed:
            value = self._subject.base_of((name,))[name].to(value.device)
        return value.float()

    def difference(self, place: int, name: str) -> Tensor | None:
        """What a source adds to a parameter, fp32 and where the parameter is; None where it adds nothing."""
        source = self.sources[place]
        if name not in self._holds[place]:
            return None
        return source.difference(name, self.start(name) if source.reads_base else self.parameters[name].detach())


class Merging(Intervention):
    """A method that adds differences from elsewhere to the weights."""

    kind: ClassVar[Kind] = Kind.TRAIN
    gradients: ClassVar[bool] = False
    source_field: ClassVar[str]
    """Name of the setting that names the sources."""
    example: ClassVar[str] = "runs/finetuned, or an adapter owner/name"
    """What a user may write there."""
    passes: ClassVar[int] = 1
    """Times that every source is read."""

    form: Form = "auto"
    """What a source holds: `checkpoint`, whole weights of the model's architecture; `difference`, safetensors under the
    parameters' names; `adapter`, LoRA as peft saves it; `auto`: adapter where there is an adapter_config.json,
    difference where the files' metadata say so, checkpoint where there is a config.json."""
    base: Annotated[str | None, Speed()] = None
    """Name or weights' hash of the base that a source says it was made from, where that is the sweep's model under
    another name; else such a source is refused. Changes no result."""

    @property
    def reads_base(self) -> bool:
        return True

    def named(self) -> tuple[str, ...]:
        """The sources as they are named."""
        return tuple(source for source, _ in self.folders())

    @abstractmethod
    def merger(self, vectors: Vectors, context: Context) -> Merger:
        """How a parameter gets its new value; what must be known of all of them is found before one is changed."""

    def opened(self, subject: Subject) -> list[DeltaSource]:
        """The sources beside the model; RequestError where one is not there, or does not fit it."""
        return [self._opened(source, subject) for source in self.named()]

    def _opened(self, source: str, subject: Subject) -> DeltaSource:
        from rayci.interventions.training.source_forms import opened_as

        return opened_as(SOURCE.locate(source), self.form, subject)

    def check(self, subject: Subject, context: Context) -> Iterator[RequestError]:
        if not self.named():
            yield RequestError(
                f"{self.name}: {self.source_field} is missing",
                allowed=named_folders.ALLOWED,
                hint=f"{self.source_field}: {self.example}",
                key=(self.source_field,),
            )
        for source in self.named():
            for fault in gathered(self._faults(source, subject)):
                yield fault.under(*(() if fault.key else (self.source_field,)))

    def _faults(self, source: str, subject: Subject) -> Iterator[RequestError]:
        opened = self._opened(source, subject)
        refusal = opened.base.refusal(subject, f"{self.name}: {source}", self.base)
        if refusal is not None:
            yield refusal
        reads = self.reads_base and opened.reads_base
        if reads and subject.base is None and set(opened.names).intersection(subject.changed()):
            yield RequestError(
                f"{self.name}: {source} differs from the untouched weights, which were not kept",
                hint="subject.remember_base() before any step",
            )

    def changes(self, subject: Subject) -> tuple[str, ...]:
        """What the sources hold, told from their headers; nothing is fetched to find out."""
        folders = [SOURCE.locate(source, fetch=False) for source in self.named()]
        if not folders:
            return super().changes(subject)
        from rayci.interventions.training.source_forms import form_of, opened_as

        if any(form_of(folder, self.form) == "checkpoint" for folder in folders):
            return tuple(name for name, _ in subject.model.named_parameters())
        return Vectors(subject, [opened_as(folder, self.form, subject) for folder in folders]).names

    def operations(self, work: Workload) -> Effort:
        """Each entry of each source is read, compared and added, in fp32."""
        entries = work.elements(work.changed_by(self)) * max(len(self.named()), 1)
        return Effort(fp32=12.0 * self.passes * entries, moved=24.0 * self.passes * entries)

    def memory(self, work: Workload) -> int:
        """The largest parameter: its present and its untouched value, what each source adds, and temporaries, fp32;
        whole numbers where a first pass counts."""
        return (5 + 2 * len(self.named()) + 2 * (self.passes - 1)) * 4 * self._largest(work)

    def host_memory(self, work: Workload) -> int:
        """The largest parameter as each source stores it."""
        return 4 * (1 + len(self.named())) * self._largest(work)

    def _largest(self, work: Workload) -> int:
        return max(value.numel() for value in work.subject.parameters_of(work.changed_by(self)).values())

    @torch.no_grad()
    def apply(self, subject: Subject, context: Context) -> Receipt:
        vectors = Vectors(subject, self.opened(subject))
        merge = self.merger(vectors, context)
        changed, entries = [], 0
        for name in vectors.names:
            value = vectors.parameters[name].detach()
            merged = merge(name, value.float()).to(value.dtype)
            if not same_bits(merged, value):
                value.copy_(merged)
                changed.append(name)
                entries += value.numel()
        return Receipt(tuple(changed), {"parameters": len(changed), "entries": entries})
