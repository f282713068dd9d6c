"""Spec to Plan: every trial and the prefix tree of stages that they share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from rayci import registry
from rayci.fingerprint import fingerprint
from rayci.intervention import Intervention
from rayci.planning import identity as identities
from rayci.planning.chain import Link, chain_of
from rayci.planning.composition import Composition, Step, joined, parse
from rayci.planning.named_criteria import criterion_class
from rayci.planning.priorities import priorities
from rayci.planning.spec import Spec
from rayci.settings import batch_of, edit_batch_number


class Identity(Protocol):
    """What stands behind the names of a spec: hashes of the model and of the data."""

    def model(self) -> str:
        """Fingerprint of the base model: weights, configuration, tokenizer, and code where it may run."""

    def modules(self) -> Mapping[str, Any] | None:
        """The module map that the model will have; None where there is none for its architecture."""

    def part(self, name: str, batch: int | None) -> str:
        """Hash of one data part; of `edits` that of a batch, by its number among all, where one is named."""


class Names:
    """The identity of a spec whose model and data are not at hand: their names."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def model(self) -> str:
        return fingerprint(self._spec.model)

    def modules(self) -> Mapping[str, Any] | None:
        return self._spec.modules

    def part(self, name: str, batch: int | None) -> str:
        return fingerprint([self._spec.data, name, batch])


@dataclass(frozen=True, slots=True)
class Stage:
    """A prefix of a chain on a given model, replicate and seed."""

    fingerprint: str
    depth: int
    """Number of steps applied."""
    composition: str
    chain: str
    final: bool
    """The composition ends here under the sweep's policy."""
    replicate: int | None
    """Edit batch, or None where no edit was applied."""
    seed: int | None
    """Seed index, or None where nothing was drawn."""
    built: str | None = None
    """Name of the object that its step builds from the stage before, see `Context.built`; None where it builds none."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One (composition, replicate, seed) and its stages, the untouched model first."""

    id: str
    composition: str
    replicate: int | None
    seed: int | None
    stages: tuple[Stage, ...]
    priority: int = 0
    """Trials of a lower number start first, see `priorities`."""


@dataclass
class Plan:
    """All trials of a spec in the order in which they are started: longest chains first."""

    spec: Spec
    trials: tuple[Trial, ...]

    def __repr__(self) -> str:
        compositions = len({trial.composition for trial in self.trials})
        return (
            f"Plan({self.spec.name}: {len(self.trials)} trials, {compositions} compositions, {len(self.stages)} stages)"
        )

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every distinct stage by fingerprint, the untouched model included."""
        return {stage.fingerprint: stage for trial in self.trials for stage in trial.stages}

    @cached_property
    def owners(self) -> dict[str, str]:
        """Stage fingerprint -> id of the first trial that contains it, which measures it."""
        owners: dict[str, str] = {}
        for trial in self.trials:
            for stage in trial.stages:
                owners.setdefault(stage.fingerprint, trial.id)
        return owners

    @cached_property
    def shared(self) -> frozenset[str]:
        """Stages that a trial other than their owner continues from: their weights are stored."""
        return frozenset(
            stage.fingerprint
            for trial in self.trials
            for stage in trial.stages[1:-1]
            if self.owners[stage.fingerprint] != trial.id
        )

    def summary(self) -> dict[str, int]:
        """Counts before and after sharing; stages leave out the untouched model."""
        asked = [stage for trial in self.trials for stage in trial.stages]
        readings = self.readings
        return {
            "compositions": len({trial.composition for trial in self.trials}),
            "trials": len(self.trials),
            "stages_asked": len(asked) - len(self.trials),
            "stages_computed": len(self.stages) - 1,
            "evaluations_asked": sum(readings(stage) for stage in asked),
            "evaluations_computed": sum(map(readings, self.stages.values())),
        }

    def readings(self, stage: Stage) -> int:
        """How many (criterion, replicate) values the stage has."""
        batches = self.spec.replicates if stage.replicate is None else 1
        return sum(batches if per_batch else 1 for per_batch in self._per_batch)

    @cached_property
    def _per_batch(self) -> list[bool]:
        return [criterion_class(name).per_edit_batch for name in self.spec.criteria]


@dataclass
class Planner:
    """Makes the stages of single compositions; one planner serves a whole sweep.

    What is told apart is made once: each step's intervention, each link, each stage. A plan of
    100 000 trials then costs a few look-ups a stage, and trials share the stages they have in common.
    """

    spec: Spec
    identity: Identity
    _chains: dict[str, tuple[Link, ...]] = field(default_factory=dict, repr=False)
    _interventions: dict[str, Intervention] = field(default_factory=dict, repr=False)
    _links: dict[str, Link] = field(default_factory=dict, repr=False)
    _depends: dict[int, tuple[bool, bool]] = field(default_factory=dict, repr=False)
    _steps: dict[tuple[str, int | None], str] = field(default_factory=dict, repr=False)
    _stages: dict[tuple[int, int, int | None, int | None], Stage] = field(default_factory=dict, repr=False)

    @cached_property
    def root(self) -> Stage:
        """Stage 0, the untouched model."""
        model, modules = self.identity.model(), self.identity.modules()
        start = identities.of_untouched(model, modules, self.spec.dtype, self.spec.attention)
        return Stage(start, 0, "", "", True, None, None)

    def chain(self, composition: str) -> tuple[Link, ...]:
        """The links of a composition under the spec's policy."""
        return self._chain_of(composition, lambda: parse(composition))

    def _chain_of(self, text: str, asked: Callable[[], Composition]) -> tuple[Link, ...]:
        if text not in self._chains:
            links = chain_of(asked(), self._configure, self.spec.recompress)
            self._chains[text] = tuple(self._links.setdefault(str(link), link) for link in links)
        return self._chains[text]

    def _configure(self, step: Step) -> Intervention:
        text = str(step)
        if text not in self._interventions:
            # From the text, so that a worker, which has nothing else, configures the same.
            self._interventions[text] = self.spec.configure(parse(text).steps[0])
        return self._interventions[text]

    def trial(self, composition: str, replicate: int | None, seed: int | None) -> Trial:
        """One trial with its stages."""
        return self._trial(composition, self.chain(composition), replicate, seed)

    def _trial(self, composition: str, links: Iterable[Link], replicate: int | None, seed: int | None) -> Trial:
        stage = self.root
        stages = [stage, *[stage := self._stage(stage, link, replicate, seed) for link in links]]
        name = identities.of_trial(composition, replicate, seed)
        return Trial(name, composition, replicate, seed, tuple(stages), self._priority(composition))

    def _stage(self, before: Stage, link: Link, replicate: int | None, seed: int | None) -> Stage:
        """The stage after one more step; the same object whichever trial asks for it."""
        edits, seeded = self._depends_on(link)
        held = (replicate if edits else before.replicate, seed if seeded else before.seed)
        # Links and stages live as long as the planner, so their ids name them, and cost least.
        key = (id(before), id(link), *held)
        stage = self._stages.get(key)
        if stage is None:
            batch = self._edit_batch(link, replicate) if edits else None
            draw = (self.spec.seed, seed or 0, batch) if seeded else None
            identity = identities.of_stage(before.fingerprint, self._step_fingerprint(link, batch), draw)
            step, depth = str(link), before.depth + 1
            text = before.composition if link.recompression else joined(before.composition, step)
            # Both begin with the same links, so equal lengths are equal chains.
            final = depth == len(self.chain(text))
            chain = joined(before.chain, step)
            method = link.intervention
            built = f"{before.fingerprint} {method.name} {held[1]}" if method.builds else None
            stage = self._stages[key] = Stage(identity, depth, text, chain, final, *held, built)
        return stage

    def _depends_on(self, link: Link) -> tuple[bool, bool]:
        """Whether a step reads the edit batch, and whether it draws."""
        depends = self._depends.get(id(link))
        if depends is None:
            depends = self._depends[id(link)] = ("edits" in link.intervention.needs, link.intervention.seeded)
        return depends

    def _edit_batch(self, link: Link, replicate: int | None) -> int | None:
        """The number of the edit batch that a step reads of a replicate's."""
        batch = batch_of(link.intervention)
        return None if replicate is None else edit_batch_number(replicate, batch, self.spec.replicates)

    def step_fingerprint(self, link: Link, replicate: int | None) -> str:
        """Identity of one applied step, see `identity.of_step`."""
        edits, _ = self._depends_on(link)
        return self._step_fingerprint(link, self._edit_batch(link, replicate) if edits else None)

    def _step_fingerprint(self, link: Link, batch: int | None) -> str:
        key = (str(link), batch)
        if key not in self._steps:
            needs = sorted(link.intervention.needs)
            data = {name: self.identity.part(name, batch if name == "edits" else None) for name in needs}
            self._steps[key] = identities.of_step(link, data)
        return self._steps[key]

    @cached_property
    def _priority(self) -> Callable[[str], int]:
        return priorities(self.spec.compose.first)

    def plan(self) -> Plan:
        """All trials of the spec, each (composition, replicate, seed) once, longest first."""
        trials = []
        for text, asked in {str(asked): asked for asked in compositions(self.spec)}.items():
            links = self._chain_of(text, lambda asked=asked: asked)  # type: ignore[misc]
            depends = [self._depends_on(link) for link in links]
            replicates = range(self.spec.replicates) if any(edits for edits, _ in depends) else (None,)
            seeds = range(self.spec.seeds) if any(seeded for _, seeded in depends) else (None,)
            trials += [self._trial(text, links, replicate, seed) for replicate in replicates for seed in seeds]
        trials.sort(key=lambda trial: -len(trial.stages))
        return Plan(self.spec, tuple(trials))


def compositions(spec: Spec) -> Iterator[Composition]:
    """Every composition that the spec asks for: singles, pairs, triples, then those named."""
    variants = {method: spec.variants(method) for method in spec.interventions}
    kinds = {method: registry.intervention(method).kind for method in variants}
    for methods in spec.compose.method_sets(kinds):
        for order in spec.compose.orderings(methods):
            for steps in itertools.product(*(variants[method] for method in order)):
                yield Composition(steps)
    yield from (parse(text) for text in spec.compose.also)


def make(spec: Spec, identity: Identity | None = None) -> Plan:
    """The plan of a spec; without an identity, model and data stand for themselves by name."""
    return Planner(spec, identity or Names(spec)).plan()
