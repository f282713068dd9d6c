"""What is wrong with a spec: everything that can be known before a trial runs, each fault with its place.

Every method's `check` runs on a model without weights, made from the configuration and the
tokenizer. What is not at hand, a model still to be downloaded or data that lie elsewhere, is not
judged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rayci import registry
from rayci.context import Context
from rayci.criteria.evaluation.chat_turns import as_chat
from rayci.criterion import Criterion
from rayci.data import AbsentDataError, asked, collect
from rayci.data.leaks import leaks
from rayci.data.records import Collection
from rayci.data.supply import places_on_the_hub
from rayci.errors import DataError, RequestError, caught, each, gathered
from rayci.intervention import Intervention
from rayci.model import shapes
from rayci.model.folder import described, locate, on_the_hub
from rayci.planning import own_folders
from rayci.planning.composition import Step, parse
from rayci.planning.old_names import with_todays_names
from rayci.planning.plan import compositions
from rayci.planning.priorities import strangers
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import Source
from rayci.settings import batch_of
from rayci.storage import hub_cache
from rayci.subject import Subject

Keys = tuple[str | int, ...]
"""Keys of a spec, from the outermost."""


@dataclass(frozen=True)
class Blame:
    """Adds the place in the spec to errors: `with blame("model"): …`."""

    source: Source | None

    def at(self, *keys: str | int) -> str:
        """The file, line and key that an error names."""
        return self.source.at(keys) if self.source else ".".join(map(str, keys))

    @contextmanager
    def __call__(self, *keys: str | int) -> Iterator[None]:
        """Errors raised inside name this key."""
        try:
            yield
        except RequestError as error:
            raise error.located(self.at(*keys, *error.key)) from None


@dataclass(frozen=True)
class Examination:
    """A spec beside what is known of its data and its model."""

    spec: Spec
    source: Source | None = None
    """Where the spec was read, so that faults name file and line."""
    data: Collection | None = None
    """None where the data are not at hand."""
    subject: Subject | None = None
    """The model without its weights; None where its configuration is not at hand."""
    folder: Path | None = None
    """The model's folder, where it is whole and on this machine."""
    notes: tuple[str, ...] = ()
    """What of the spec is read in another way than it is written."""
    unreadable: tuple[RequestError, ...] = ()
    """What was wrong with data and model themselves."""
    absent: tuple[str, ...] = ()
    """Parts of the data that are not on this machine, where that is no fault."""
    elsewhere: bool = False
    """Whether the sweep will run on another machine."""

    @classmethod
    def of(cls, spec: Spec, source: Source | None = None, *, elsewhere: bool = False) -> Examination:
        """Read data and configuration; of the hub all is downloaded but the weights, which come last.

        With `elsewhere` the sweep will run on another machine: nothing is downloaded, weights are not
        looked at, and data that are not here are no fault.
        """
        examined = cls(spec, source, elsewhere=elsewhere)
        try:
            data = collect(spec.data, spec.model, fetch=not elsewhere, reads=spec.reads())
            todays, notes = with_todays_names(spec, data)
            examined = replace(examined, spec=todays, data=data, notes=notes)
        except RequestError as error:
            if elsewhere and all(isinstance(fault, AbsentDataError) for fault in each(error)):
                examined = replace(examined, absent=tuple(str(fault.key[0]) for fault in each(error) if fault.key))
            else:
                examined = examined._noting(error, "data")
        if elsewhere:
            return examined._with_configuration()
        examined = replace(examined, unreadable=(*examined.unreadable, *examined._of_own_data()))
        return examined._with_description() if on_the_hub(spec.model) else examined.fetched()

    def fetched(self) -> Examination:
        """The same with the whole model, downloaded where it is on the hub."""
        key, trusted = "model", self.spec.trust_remote_code
        try:
            folder = locate(self.spec.model, code=trusted)
            from rayci.model.integrity import examine  # with transformers, for which there must be a model
            from rayci.model.loading import load_tokenizer, wrap

            model = examine(folder, trust_remote_code=trusted)
            key = "modules"
            subject = wrap(model, load_tokenizer(folder, trust_remote_code=trusted), self.spec.modules)
        except RequestError as error:
            return self._noting(error, key)
        return replace(self, folder=folder, subject=subject)

    def _with_description(self) -> Examination:
        """The same with the model's configuration and tokenizer, which are downloaded where they are not here."""
        try:
            described(self.spec.model, code=self.spec.trust_remote_code)
        except RequestError as error:
            return self._noting(error, "model")
        return self._with_configuration()

    def _with_configuration(self) -> Examination:
        spec = self.spec
        try:
            subject = shapes.at_hand(
                spec.model, dtype=spec.dtype, modules=spec.modules, trust_remote_code=spec.trust_remote_code
            )
        except RequestError as error:
            return self._noting(error, "modules" if spec.modules else "model")
        return replace(self, subject=subject)

    def _noting(self, error: RequestError, key: str) -> Examination:
        placed = (fault.located(Blame(self.source).at(key, *fault.key)) for fault in each(error))
        return replace(self, unreadable=(*self.unreadable, *placed))

    def unknown(self) -> list[str]:
        """What could not be judged because it is not at hand, and what the hub would not give to this user."""
        missing = [] if self.data else [f"the data ({', '.join(self.absent)})" if self.absent else "the data"]
        missing += [] if self.subject else [f"the configuration of {self.spec.model}"]
        for folder, mark in own_folders.named(self.spec).items():
            missing += [folder for _ in caught(partial(mark.locate, folder, fetch=False))]
        notes = [f"not checked against {what}, not on this machine" for what in missing]
        notes += ["`rayci data` with the spec says what of its data to fetch, and where to put it"] * bool(self.absent)
        places: dict[str, hub_cache.Kind] = dict.fromkeys(self._places_of_absent_parts(), "dataset")
        if self.subject is None and on_the_hub(self.spec.model):
            places[self.spec.model.partition("@")[0]] = "model"
        refused = filter(None, (hub_cache.access(place, kind) for place, kind in places.items()))
        return [*notes, *(f"{error.problem}: {error.hint}" for error in refused)]

    def _places_of_absent_parts(self) -> Iterator[str]:
        sources = asked(self.spec.data or {}) if self.absent else {}
        for part in self.absent:
            yield from places_on_the_hub(part, sources[part])

    def faults(self) -> Iterator[RequestError]:
        """Everything that is wrong, as far as it can be told."""
        yield from self.unreadable
        if self.data is not None:
            yield from self._placed(("data",), leaks(self.data, self.spec.overlaps_allowed()))
            yield from self._of_criteria(self.data)
            yield from self._of_replicates(self.data)
        yield from self._of_first()
        for keys, intervention in self._interventions():
            for context in self._contexts(intervention):
                yield from self._placed(keys, self._of(intervention, context))

    def _placed(self, keys: Keys, faults: Iterable[RequestError]) -> Iterator[RequestError]:
        for fault in gathered(faults):
            yield fault.located(Blame(self.source).at(*keys, *fault.key))

    def _of(self, intervention: Intervention, context: Context) -> Iterator[RequestError]:
        if self.subject is None:
            faults = context.faults(intervention.name, intervention.needs)
        else:
            faults = self.subject.faults(intervention, context)
        with hub_cache.offline() if self.elsewhere and any(intervention.folders()) else nullcontext():
            found = gathered(faults)
        for fault in found:
            unjudged = isinstance(fault, DataError) if self.data is None else False
            if not (unjudged or (self.elsewhere and isinstance(fault, hub_cache.Absent))):
                yield fault

    def _of_criteria(self, data: Collection) -> Iterator[RequestError]:
        for criterion in self.spec.measured():
            # An edit batch that is too small is a fault of `replicates`, not of each reader.
            context = Context(data, batch_size=len(data.edits))
            keys = ("criteria", criterion.name)
            yield from self._placed(keys, context.faults(criterion.name, criterion.needs))
            if all(map(context.has, criterion.needs)):
                yield from self._placed(keys, criterion.check(data))
            if getattr(criterion, "chat", False) and self.subject is not None and self.subject.has_tokenizer:
                yield from self._placed((*keys, "chat"), caught(as_chat, self.subject.tokenizer, ""))

    def _of_first(self) -> Iterator[RequestError]:
        for place, fault in strangers(self.spec.compose.first, compositions(self.spec)):
            yield from self._placed(("compose", "first", place), [fault])

    def _of_own_data(self) -> Iterator[RequestError]:
        for criterion in self.spec.measured():
            yield from self._placed(("criteria", criterion.name), criterion.own_data_faults() or ())

    def _of_replicates(self, data: Collection) -> Iterator[RequestError]:
        """Whether there are edits for every batch that is asked for; blames who asks for the last one."""
        asking: list[tuple[Keys, Intervention | Criterion]] = [*self._interventions()]
        asking += [(("criteria", criterion.name), criterion) for criterion in self.spec.measured()]
        readers = [(batch_of(method), keys) for keys, method in asking if "edits" in method.needs]
        if not (data.edits and readers):
            return
        last, keys = max(readers, key=lambda reader: reader[0])
        replicates, size, there = self.spec.replicates, self.spec.edit_batch, len(data.edits)
        batches = replicates * (last + 1)
        if batches * size > there:
            each = there // (size * replicates)
            fault = DataError(
                f"{batches} edit batch{'es' * (batches > 1)} of {size} need {batches * size} edits, there are {there}",
                at=data.sources.get("edits", "edits"),
                allowed=f"batches 0 to {each - 1} of each replicate" if last and each else None,
                hint="fewer replicates, fewer or smaller edit batches, or more edits",
            )
            yield from self._placed((*keys, "batch") if last else ("replicates",), [fault])

    def _interventions(self) -> Iterator[tuple[Keys, Intervention]]:
        """Every step that the sweep applies, once, with the keys that name it first."""
        kinds = {method: registry.intervention(method).kind for method in self.spec.interventions}
        named: dict[str, tuple[Keys, Step]] = {}
        for method in dict.fromkeys(itertools.chain(*self.spec.compose.method_sets(kinds))):
            for step in self.spec.variants(method):
                named.setdefault(str(step), (("interventions", method), step))
        for index, text in enumerate(self.spec.compose.also):
            for step in parse(text).steps:
                named.setdefault(str(step), (("compose", "also", index), step))
        for keys, step in named.values():
            yield keys, self.spec.configure(step)

    def _contexts(self, intervention: Intervention) -> Iterator[Context]:
        """One for each edit batch that there is, where the method reads it; seeds draw from the same data."""
        data, size, replicates = self.data or Collection(), self.spec.edit_batch, self.spec.replicates
        own = batch_of(intervention)
        there = min(len(data.edits) // size - own * replicates, replicates)
        if there <= 0:  # a fault of `replicates`, not of each reader
            yield Context(data, self.spec.seed, batch_size=len(data.edits) // (own + 1))
        for replicate in range(there if "edits" in intervention.needs else min(there, 1)):
            yield Context(data, self.spec.seed, replicate=replicate, batch_size=size, replicates=replicates)
