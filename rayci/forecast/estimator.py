"""What a plan will cost before anything runs: disk, hours, money, memory, and how each is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any

from rayci.criterion import Criterion
from rayci.errors import RequestError
from rayci.forecast.clock import Clock
from rayci.forecast.footprint import Footprint
from rayci.forecast.memory import Memory
from rayci.forecast.notes import notes
from rayci.forecast.share import fitting
from rayci.forecast.stage_times import Times
from rayci.kinds import Keep
from rayci.model.shapes import sketch
from rayci.model.step_memory import RESERVE
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner, Stage
from rayci.planning.spec import Spec
from rayci.workload import Workload

HOUR = 3600
GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Figures of a whole sweep; None where they cannot be known."""

    disk_bytes: int | None
    """Peak of the stage store: one worker, trials in the plan's order, shared stages kept."""
    disk_keeping_all_bytes: int | None
    """The same where `rayci run --keep all` keeps every stage."""
    disk_keeping_none_bytes: int | None
    """The same where `rayci run --keep none` frees stages after their last use."""
    gpu_hours: float | None
    """Hours of all stages and readings times the GPUs that a trial reserves; 0 without GPUs."""
    cpu_hours: float | None
    """The same for reserved CPUs."""
    cost: float | None
    """GPU-hours times `resources.gpu_hour_price`, USD: GPUs alone, so 0 without them; None without a price."""
    memory_bytes: int | None
    """The most that a trial needs on its device, weights included, without the runtime's own memory."""
    notes: tuple[str, ...]
    """Where the figures come from, and why one is missing."""

    def row(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class _Known:
    """What can be told of a model whose size is known."""

    clock: Clock
    memory: Memory
    footprint: Footprint


class Estimator:
    """Estimates of one spec; the model's shapes come from this machine alone, nothing is downloaded."""

    def __init__(self, planner: Planner, times: Callable[[int, str], Sequence[Times]]) -> None:
        """`times` gives measured times for a number of parameters and a kind of device (`cpu`, `cuda`)."""
        self._planner, self._times = planner, times
        self.notes: list[str] = []
        """What is said of the model."""

    @property
    def spec(self) -> Spec:
        """The spec of the planner."""
        return self._planner.spec

    def of(self, plan: Plan, price: float | None = None) -> Estimate:
        """The estimate of a whole plan; `price` (USD a GPU-hour) wins over the spec's."""
        known, resources = self._known, self.spec.resources
        if known is None:
            return Estimate(None, None, None, None, None, None, None, tuple(self.notes))
        seconds, gpus = self.stage_seconds(plan), self._gpus()
        hours = sum(map(seconds, plan.stages.values())) / HOUR
        gpu_hours = sum(gpus(text) * seconds(stage) for text, stage in _made(plan)) / HOUR
        rate = resources.gpu_hour_price if price is None else price
        cost = 0.0 if gpu_hours == 0 else None if rate is None else gpu_hours * rate
        said = [*self.notes, *notes(self._links(plan), self.spec.measured(), known.clock, known.memory, resources)]
        if cost is None:
            said.append("no cost: give resources.gpu_hour_price or --price")
        shared, everything, none = (
            known.footprint.peak(plan, self._planner, keep) for keep in (Keep.SHARED, Keep.ALL, Keep.NONE)
        )
        cpu_hours = hours * resources.cpus
        return Estimate(shared, everything, none, gpu_hours, cpu_hours, cost, self.memory(plan), tuple(said))

    def memory(self, plan: Plan) -> int | None:
        """The most that any trial needs on its device, bytes; None where the model's size is not known."""
        return self._most(self._links(plan))

    def trial_memory(self, composition: str) -> int | None:
        """What a trial of this composition needs on its device, bytes; None where the model's size is not known."""
        return self._most(self._planner.chain(composition))

    def host_memory(self, plan: Plan) -> int | None:
        """The most that any trial needs of its host, bytes; None where the model's size is not known.

        Beside a GPU that is the copy of the untouched model.
        """
        resources = self.spec.resources
        if self._known is None or resources.gpus == 0 or resources.device == "cpu":
            return self.memory(plan)
        return self._known.memory.most((), ())

    def share(self, composition: str, gpu_memory: float) -> float | None:
        """GPUs of `gpu_memory` bytes that a trial of this composition needs; None where that is not known."""
        if self._known is None:
            return None
        memory, links, criteria = self._known.memory, self._planner.chain(composition), self.spec.measured()
        return fitting(lambda gpus: RESERVE * memory.on(gpus).most(links, criteria), gpu_memory)

    def seconds(self, steps: Iterable[Link], readings: Iterable[Criterion]) -> float | None:
        """Seconds of single steps and measurements; None where the model's size is not known."""
        if self._known is None:
            return None
        clock = self._known.clock
        return sum(clock.step(link).seconds for link in steps) + sum(clock.reading(c).seconds for c in readings)

    def stage_seconds(self, plan: Plan) -> Callable[[Stage], float]:
        """Seconds to apply and measure each stage of the plan; all alike where the model's size is not known."""
        if self._known is None:
            return lambda stage: 1.0
        clock = self._known.clock
        steps = {
            stage.fingerprint: clock.step(self._planner.chain(trial.composition)[stage.depth - 1]).seconds
            for trial in plan.trials
            for stage in trial.stages[1:]
        }
        once, per_batch = (
            sum(clock.reading(c).seconds for c in self.spec.measured() if c.per_edit_batch is batched)
            for batched in (False, True)
        )

        def seconds(stage: Stage) -> float:
            batches = self.spec.replicates if stage.replicate is None else 1
            return steps.get(stage.fingerprint, 0.0) + once + batches * per_batch

        return seconds

    @cached_property
    def _known(self) -> _Known | None:
        """None, with a note, where the model's size is not known."""
        spec = self.spec
        try:
            drawn = sketch(spec.model, dtype=spec.dtype, modules=spec.modules, trust_remote_code=spec.trust_remote_code)
        except RequestError as error:
            self.notes.append(str(error))
            return None
        if drawn.guessed:
            self.notes.append(drawn.guessed)
        work = Workload(drawn.subject, spec.edit_batch, spec.replicates)
        if spec.resources.gpu_memory:
            work = replace(work, device_memory=spec.resources.gpu_memory * GIB)
        gpu = spec.resources.gpus != 0
        times = self._times(work.parameters, "cuda" if gpu else "cpu")
        peaks = {name: peak for each in reversed(times) for name, peak in each.peaks.items()}
        return _Known(Clock(times, work, spec.resources.threads, gpu), Memory(work, peaks), Footprint(work))

    def _most(self, links: Iterable[Link]) -> int | None:
        return None if self._known is None else self._known.memory.most(links, self.spec.measured())

    def _links(self, plan: Plan) -> list[Link]:
        """Every distinct step of a plan."""
        texts = dict.fromkeys(trial.composition for trial in plan.trials)
        return list({str(link): link for text in texts for link in self._planner.chain(text)}.values())

    def _gpus(self) -> Callable[[str], float]:
        """GPUs that a trial reserves, by its composition; one where their memory is not known."""
        gpus, gpu_memory = self.spec.resources.gpus, self.spec.resources.gpu_memory
        if gpus != "auto":
            return lambda text: float(gpus)
        return cache(lambda text: (self.share(text, gpu_memory * GIB) if gpu_memory else None) or 1.0)


def _made(plan: Plan) -> Iterator[tuple[str, Stage]]:
    """Every stage once, with the composition of the trial that computes it."""
    made = set[str]()
    for trial in plan.trials:
        for stage in trial.stages:
            if stage.fingerprint not in made:
                made.add(stage.fingerprint)
                yield trial.composition, stage
