"""A spec bound to a real model and real data: checked before anything is written or started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayci import registry
from rayci.context import Context, edit_batch
from rayci.criterion import Criterion
from rayci.data import collect
from rayci.data.data_presets import Pair
from rayci.data.mapped_documents import fingerprint_of
from rayci.data.records import Collection
from rayci.data.records import identity as record_identity
from rayci.data.relocation import pinned
from rayci.errors import refuse
from rayci.fingerprint import fingerprint
from rayci.kinds import Scale
from rayci.model.folder import Hashes, at_commit, configuration, hash_files, locate, on_the_hub, verify
from rayci.model.folder import identity as model_identity
from rayci.model.module_maps import ModuleMap, find_map
from rayci.planning import identity, own_folders
from rayci.planning.plan import Planner
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import Source
from rayci.settings import batch_of, edit_batch_number
from rayci.storage import named_folders

if TYPE_CHECKING:
    from rayci.subject import Subject

_STAGES_ASIDE = {"name", "resources", "data", "allow_overlap", "criteria"}
"""Keys of a spec that do not say by themselves which stages there are."""


def stages_asked(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a spec's JSON says which stages there are; in which order they are made is no part of it."""
    compose = {key: value for key, value in spec["compose"].items() if key != "first"}
    return {key: value for key, value in spec.items() if key not in _STAGES_ASIDE} | {"compose": compose}


@dataclass
class Sweep:
    """The identity of a run: spec, model folder, data. Implements `rayci.planning.plan.Identity`."""

    spec: Spec
    folder: Path
    """Folder of the model's weights on this machine."""
    data: Collection
    hashed: Hashes | None = field(default=None, repr=False)
    """The model's files as another process has hashed them; None where this process is to do it."""
    commit: str | None = None
    """The model's commit, where it came from the hub."""
    notes: tuple[str, ...] = ()
    """What of the spec is read in another way than it is written."""

    @classmethod
    def open(
        cls, spec: Spec, source: Source | None = None, hashed: Hashes | None = None, commit: str | None = None
    ) -> Sweep:
        """Find the model and read the data; RequestError with all that is wrong, see `planning.faults`.

        What the configuration tells is told before weights are downloaded. `source` is where the spec
        was read, so that messages name file and line. With the hashes of a process that has opened the
        sweep before, the model's files are compared with them, and nothing is checked again; `commit` is
        the model's that it has read. The spec of the sweep names the commits of all data, and of all folders that its
        methods read, that came from the hub.
        """
        if hashed is not None:
            folder = locate(at_commit(spec.model, commit), code=spec.trust_remote_code)
            verify(folder, hashed, code=spec.trust_remote_code)
            for method in spec.interventions:  # whose package may be broken on this machine alone
                registry.intervention(method)
            for name, mark in own_folders.named(spec).items():
                mark.locate(name)
            spec.measured()
            return cls(spec, folder, collect(spec.data, spec.model, reads=spec.reads()), hashed, commit)
        from rayci.planning.faults import Examination  # reads models, for which torch and transformers load

        examined = Examination.of(spec, source)
        refuse(examined.faults())
        if examined.folder is None:
            examined = examined.fetched()
            refuse(examined.faults())
        assert examined.folder is not None and examined.data is not None
        spec = own_folders.renamed(examined.spec, lambda source, _: named_folders.pinned(source))
        spec = spec.model_copy(update={"data": pinned(spec.data, examined.data.commits)})
        commit = examined.folder.name if on_the_hub(spec.model) else None
        return cls(spec, examined.folder, examined.data, commit=commit, notes=examined.notes)

    def load(self, device: str) -> Subject:
        """The untouched model, on `cpu`, `cuda` or, with `auto`, spread over several GPUs, and the way back to it."""
        from rayci.model import base_weights, loading  # where weights are needed, and not where a sweep is planned

        subject = loading.load(
            self.folder,
            dtype=self.spec.dtype,
            device=device,
            attention=self.spec.attention,
            modules=self.spec.modules,
            trust_remote_code=self.spec.trust_remote_code,
        )
        subject.base = base_weights.untouched(self.folder, self.model(), subject.model)
        return subject

    @cached_property
    def criteria(self) -> list[Criterion]:
        """The criteria of the spec, configured."""
        return self.spec.measured()

    @cached_property
    def fetched(self) -> tuple[str, ...]:
        """`owner/name@commit` of all that came from the hub, the model last."""
        data = {place for places in self.data.commits.values() for place in places.split(", ")}
        data |= {source for source in own_folders.named(self.spec) if on_the_hub(source)}
        model = [] if self.commit is None else [at_commit(self.spec.model, self.commit)]
        return (*sorted(data), *model)

    @cached_property
    def overlaps_allowed(self) -> tuple[Pair, ...]:
        """Pairs of the data's parts whose texts may overlap, by the spec or its preset."""
        supplied = set(self.data.supplied)
        return tuple(pair for pair in self.spec.overlaps_allowed() if supplied.issuperset(pair))

    @cached_property
    def scales(self) -> dict[str, Scale]:
        """Criterion -> its scale on the sweep's data."""
        return {criterion.name: criterion.scale_on(self.data) for criterion in self.criteria}

    @cached_property
    def planner(self) -> Planner:
        """The planner whose fingerprints stand for this model and data."""
        return Planner(self.spec, self)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the sweep: everything that decides its stages, resources left out.

        What is measured on them is no part of it, nor are data that criteria alone read: each row says that itself.
        """
        elsewhere = {"model", "dtype", "attention", "modules", "trust_remote_code"}  # in that of the untouched model
        by_content = own_folders.renamed(self.spec, lambda source, mark: mark.content(source))
        asked = stages_asked(by_content.model_dump(mode="json", exclude=elsewhere))
        read = sorted(self.spec.read_by_methods())
        data = {part: self.part(part, None) for part in read if self.data.part(part)}
        return fingerprint({"asked": asked, "untouched": self.planner.root.fingerprint, "data": data})

    @cached_property
    def content(self) -> str:
        """Identity of all that a worker reads: the sweep, every part of its data, and its criteria."""
        data = {part: self.part(part, None) for part in self.data.supplied}
        criteria = {criterion.name: criterion.identity() for criterion in self.criteria}
        return fingerprint({"sweep": self.fingerprint, "data": data, "criteria": criteria})

    @cached_property
    def hashes(self) -> Hashes:
        """The model's files by name with hash, size and time."""
        return hash_files(self.folder, code=self.spec.trust_remote_code) if self.hashed is None else self.hashed

    @cached_property
    def _model(self) -> str:
        return model_identity(self.hashes)

    def model(self) -> str:
        return self._model

    def modules(self) -> Mapping[str, Any] | None:
        return None if self._paths is None else asdict(self._paths)

    @cached_property
    def _paths(self) -> ModuleMap | None:
        return find_map(self._architecture, self.spec.modules)

    @cached_property
    def _architecture(self) -> str | None:
        return configuration(self.folder).get("model_type")

    @cached_property
    def _measurements(self) -> dict[tuple[str, int | None, identity.Draw | None], str]:
        return {}

    @cached_property
    def _parts(self) -> dict[tuple[str, int | None], str]:
        return {}

    def part(self, name: str, batch: int | None) -> str:
        key = (name, batch)
        if key not in self._parts:
            records: Sequence[Any] = self.data.part(name)
            if batch is not None:
                records = edit_batch(self.data, self.spec.seed, batch, self.spec.edit_batch)
            shots = [record_identity(record) for record in self.data.shots.get(name, ())]
            more: dict[str, Any] = {"shots": shots} if shots else {}
            if batch is None and name in self.data.arranged:
                more["arranged"] = True  # other batches are taken from the same records
            if more:
                more["records"] = [record_identity(record) for record in records]
            self._parts[key] = fingerprint(more) if more else fingerprint_of(records)
        return self._parts[key]

    def context(self, replicate: int | None = None, seed: int | None = None) -> Context:
        """The context of one replicate and seed."""
        spec = self.spec
        return Context(self.data, spec.seed, seed or 0, replicate or 0, spec.edit_batch, replicates=spec.replicates)

    def criterion_fingerprint(self, criterion: Criterion, replicate: int | None, seed: int | None) -> str:
        """Identity of a measurement, see `identity.of_measurement`; replicate and seed are those of `context`."""
        number = edit_batch_number(replicate or 0, batch_of(criterion), self.spec.replicates)
        batch = number if criterion.per_edit_batch else None
        draw = (self.spec.seed, seed or 0, number) if criterion.seeded else None
        key = (criterion.name, batch, draw)
        if key not in self._measurements:  # asked for every row of a large table
            data = {part: self.part(part, batch if part == "edits" else None) for part in sorted(criterion.needs)}
            self._measurements[key] = identity.of_measurement(criterion, data, draw)
        return self._measurements[key]
