"""A spec bound to a real model and real data: checked before anything is written or started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rayci.context import Context, edit_batch
from rayci.criterion import Criterion
from rayci.data import collect
from rayci.data.records import Collection
from rayci.errors import DataError, RequestError
from rayci.fingerprint import fingerprint
from rayci.intervention import Intervention
from rayci.model.folder import Hashes, configuration, hash_files, locate, verify
from rayci.model.folder import identity as model_identity
from rayci.model.integrity import examine
from rayci.model.modules import ModuleMap, find_map, module_map
from rayci.planning import identity
from rayci.planning.plan import Planner
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import Source


@dataclass(frozen=True)
class Blame:
    """Adds the place in the spec to errors: `with blame("model"): …`."""

    source: Source | None

    @contextmanager
    def __call__(self, *path: str) -> Iterator[None]:
        """Errors raised inside name this key."""
        try:
            yield
        except RequestError as error:
            place = self.source.at(path) if self.source else ".".join(path)
            raise error.located(place) from None


@dataclass
class Sweep:
    """The identity of a run: spec, model folder, data. Implements `rayci.planning.plan.Identity`."""

    spec: Spec
    folder: Path
    """Folder of the model's weights on this machine."""
    data: Collection
    hashed: Hashes | None = None
    """The model's files as another process has hashed them; None where this process is to do it."""

    @classmethod
    def open(cls, spec: Spec, source: Source | None = None, hashed: Hashes | None = None) -> Sweep:
        """Find the model and read the data; RequestError for whatever the spec needs and lacks.

        `source` is where the spec was read, so that messages name file and line. With the hashes of
        a process that has opened the sweep before, the model's files are compared with them, and
        neither examined nor hashed again.
        """
        blame = Blame(source)
        folder = _checked_folder(spec, hashed, blame)
        with blame("data"):
            data = collect(spec.data, spec.model)
            _refuse_overlap(data)
        sweep = cls(spec, folder, data, hashed)
        sweep.check(blame)
        return sweep

    def check(self, blame: Blame) -> None:
        """Everything about model and data that can be known to fail before a trial runs."""
        steps = [(name, step) for name in self.spec.interventions for step in self.spec.variants(name)]
        readers = [(("interventions", name), self.spec.configure(step).needs) for name, step in steps]
        self._check_experts(blame, [(name, self.spec.configure(step)) for name, step in steps])
        readers += [(("criteria", criterion.name), criterion.needs) for criterion in self.criteria]
        for path, needs in readers:
            for part in sorted(needs):
                if not self.data.part(part):
                    with blame(*path):
                        raise DataError(
                            f"{path[-1]} needs {part}, which the data does not have",
                            allowed=", ".join(parts_of(self.data)),
                            hint=f"add {part}.jsonl to the data, or leave {path[-1]} out",
                        )
        if any("edits" in needs for _, needs in readers):
            with blame("replicates"):
                edit_batch(self.data, self.spec.seed, self.spec.replicates - 1, self.spec.edit_batch)

    def _check_experts(self, blame: Blame, steps: list[tuple[str, Intervention]]) -> None:
        """RequestError where a method does not work on the routed experts that the model's configuration names."""
        with blame("modules"):
            routed = self._paths is not None and bool(self._paths.experts)
        for name, intervention in steps if routed else []:
            with blame("interventions", name):
                intervention.check_experts(str(self._architecture))

    @cached_property
    def criteria(self) -> list[Criterion]:
        """The criteria of the spec, configured."""
        return self.spec.measured()

    @cached_property
    def planner(self) -> Planner:
        """The planner whose fingerprints stand for this model and data."""
        return Planner(self.spec, self)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the sweep: everything that decides its rows, resources left out."""
        elsewhere = {"name", "resources", "model", "data", "dtype", "attention", "modules", "trust_remote_code"}
        asked = self.spec.model_dump(mode="json", exclude=elsewhere)
        data = {part: self.part(part, None) for part in parts_of(self.data)}
        return fingerprint({"asked": asked, "untouched": self.planner.root.fingerprint, "data": data})

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

    def part(self, name: str, replicate: int | None) -> str:
        key = (name, replicate)
        if key not in self._parts:
            records = self.context(replicate).edits if replicate is not None else self.data.part(name)
            self._parts[key] = fingerprint([asdict(record) for record in records])
        return self._parts[key]

    def context(self, replicate: int | None = None, seed: int | None = None) -> Context:
        """The context of one replicate and seed."""
        return Context(self.data, self.spec.seed, seed or 0, replicate or 0, self.spec.edit_batch)

    def criterion_fingerprint(self, criterion: Criterion, replicate: int | None, seed: int | None) -> str:
        """Identity of a measurement, see `identity.of_measurement`; replicate and seed are those of `context`."""
        batch = replicate if criterion.per_edit_batch else None
        draw = (self.spec.seed, seed or 0, replicate or 0) if criterion.seeded else None
        key = (criterion.name, batch, draw)
        if key not in self._measurements:  # asked for every row of a large table
            data = {part: self.part(part, batch if part == "edits" else None) for part in sorted(criterion.needs)}
            self._measurements[key] = identity.of_measurement(criterion, data, draw)
        return self._measurements[key]


def _checked_folder(spec: Spec, hashed: Hashes | None, blame: Blame) -> Path:
    """The model's folder: whole and of a known architecture, or as it was hashed elsewhere."""
    with blame("model"):
        folder = locate(spec.model, code=spec.trust_remote_code)
        if hashed is not None:
            verify(folder, hashed, code=spec.trust_remote_code)
            return folder
        model = examine(folder, trust_remote_code=spec.trust_remote_code)
    with blame("modules"):
        module_map(model, spec.modules)
    return folder


def parts_of(data: Collection) -> list[str]:
    """Names of the parts of a collection that hold something."""
    return [name for name in data.__dataclass_fields__ if name != "sources" and getattr(data, name)]


def _refuse_overlap(data: Collection) -> None:
    """Retain text must not be the text that perplexity is measured on."""
    shared = {document.text for document in data.retain} & {document.text for document in data.evaluation}
    if shared:
        raise RequestError(
            f"{len(shared)} retain documents are also evaluation documents, first {sorted(shared)[0][:60]!r}",
            at=data.sources.get("retain", "retain"),
            hint="training on the text that perplexity is measured on hides its damage; use other retain text",
        )
