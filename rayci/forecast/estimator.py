"""What a plan will cost before anything runs: disk, hours, money, memory, and how each is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from rayci.criterion import Criterion
from rayci.errors import RequestError
from rayci.forecast import memory
from rayci.forecast.flops import RATES, Operations
from rayci.forecast.footprint import Footprint
from rayci.forecast.share import RESERVE, fitting
from rayci.forecast.stage_times import Times
from rayci.model.shapes import Sketch, sketch
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner, Stage
from rayci.planning.spec import Spec

GPU = "A100"
"""The accelerator that operations are counted for."""
HOUR = 3600


@dataclass(frozen=True)
class Estimate:
    """Figures of a whole sweep; None where they cannot be known."""

    disk_bytes: int | None
    """Peak of the stage store: one worker, trials in the plan's order, stages freed after their last use."""
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
class Clock:
    """Seconds of steps and readings: measured ones first, else from operations."""

    times: Sequence[Times]
    """The most trusted first."""
    operations: Operations
    rate: float
    rate_name: str

    def step(self, link: Link) -> tuple[float, str] | None:
        """Seconds of a step and where they come from; None where nothing is known."""
        name = link.intervention.name
        again = link.recompression == "reproject"
        for times in self.times:
            found = times.steps.get(f"reproject({name})" if again else name)
            if found is not None:
                return found, times.source
        if again:
            return 0.0, self.rate_name
        operations = self.operations.step(link.intervention)
        return None if operations is None else (operations / self.rate, self.rate_name)

    def reading(self, criterion: Criterion) -> tuple[float, str]:
        """Seconds of one measurement and where they come from."""
        for times in self.times:
            if criterion.name in times.readings:
                return times.readings[criterion.name], times.source
        return self.operations.reading(criterion) / self.rate, self.rate_name


class Estimator:
    """Estimates of one spec; the model's shapes come from this machine alone, nothing is downloaded."""

    def __init__(self, planner: Planner, times: Callable[[Sketch, str], Sequence[Times]]) -> None:
        """`times` gives measured times for a model and a kind of device (`cpu`, `cuda`)."""
        self._planner, self._times = planner, times
        self.notes: list[str] = []
        self._memory: dict[str, int] = {}

    @property
    def spec(self) -> Spec:
        """The spec of the planner."""
        return self._planner.spec

    @property
    def accelerated(self) -> bool:
        """Whether trials reserve GPUs."""
        return self.spec.resources.gpus != 0

    @cached_property
    def sketch(self) -> Sketch | None:
        """The model without weights; None, with a note, where its size is not known."""
        spec = self.spec
        try:
            found = sketch(spec.model, dtype=spec.dtype, modules=spec.modules, trust_remote_code=spec.trust_remote_code)
        except RequestError as error:
            self.notes.append(str(error))
            return None
        if found.guessed:
            self.notes.append(found.guessed)
        return found

    @cached_property
    def clock(self) -> Clock | None:
        """Seconds of this spec's steps and readings on the device that trials reserve."""
        if self.sketch is None:
            return None
        device = "cuda" if self.accelerated else "cpu"
        operations = Operations(self.sketch, edits=self.spec.edit_batch, replicates=self.spec.replicates)
        rate = RATES[GPU] if self.accelerated else RATES["cpu"] * self.spec.resources.threads
        name = f"estimated from operations at {rate / 1e12:.3g} TFLOP/s" + (f" ({GPU})" if self.accelerated else "")
        return Clock(self._times(self.sketch, device), operations, rate, name)

    def of(self, plan: Plan, price: float | None = None) -> Estimate:
        """The estimate of a whole plan; `price` (USD a GPU-hour) wins over the spec's."""
        if self.sketch is None or self.clock is None:
            return Estimate(None, None, None, None, None, tuple(self.notes))
        resources = self.spec.resources
        seconds = self._seconds(plan, self.clock)
        hours = None if seconds is None else sum(map(seconds, plan.stages.values())) / HOUR
        gpu_hours = None if seconds is None else self._gpu_seconds(plan, seconds) / HOUR
        rate = resources.gpu_hour_price if price is None else price
        cost = 0.0 if gpu_hours == 0 else None if rate is None or gpu_hours is None else gpu_hours * rate
        if cost is None and rate is None:
            self.notes.append("no cost: give resources.gpu_hour_price or --price")
        return Estimate(
            Footprint(self.sketch.subject).peak(plan, self._planner),
            gpu_hours,
            None if hours is None else hours * resources.cpus,
            cost,
            self.memory(plan),
            tuple(self.notes),
        )

    def memory(self, plan: Plan) -> int | None:
        """The most that any trial needs on its device, bytes; None where the model's size is not known."""
        return self._most(self._links(plan).values())

    def trial_memory(self, composition: str) -> int | None:
        """What a trial of this composition needs on its device, bytes; None where the model's size is not known."""
        return self._most(self._planner.chain(composition))

    def _most(self, links: Iterable[Link]) -> int | None:
        """The most of these steps and all criteria."""
        if self.sketch is None:
            return None
        for link in links:
            if str(link) not in self._memory:
                self._memory[str(link)] = self._needed([link], [])
        return max([self._reading_memory, *(self._memory[str(link)] for link in links)])

    @cached_property
    def _reading_memory(self) -> int:
        return self._needed([], self.spec.measured())

    def _needed(self, links: Iterable[Link], criteria: Iterable[Criterion]) -> int:
        assert self.sketch is not None
        edits = self.spec.edit_batch
        return memory.estimate(links, criteria, self.sketch.subject, edits=edits, measured=self._peaks)

    @cached_property
    def _peaks(self) -> dict[str, int]:
        """Measured peaks by method, the most trusted last."""
        peaks: dict[str, int] = {}
        for times in reversed(self.clock.times if self.clock else ()):
            peaks |= times.peaks
        return peaks

    def _links(self, plan: Plan) -> dict[str, Link]:
        """Every distinct step of a plan by its text."""
        texts = dict.fromkeys(trial.composition for trial in plan.trials)
        return {str(link): link for text in texts for link in self._planner.chain(text)}

    def stage_seconds(self, plan: Plan) -> Callable[[Stage], float]:
        """Seconds to apply and measure each stage of the plan; steps of unknown length count 0."""
        clock = self.clock
        if clock is None:
            return lambda stage: 1.0
        last = {
            stage.fingerprint: self._planner.chain(trial.composition)[stage.depth - 1]
            for trial in plan.trials
            for stage in trial.stages[1:]
        }
        readings = [(clock.reading(c)[0], c.per_edit_batch) for c in self.spec.measured()]
        steps = {str(link): (clock.step(link) or (0.0, ""))[0] for link in last.values()}

        def seconds(stage: Stage) -> float:
            batches = self.spec.replicates if stage.replicate is None else 1
            measuring = sum(each * (batches if per_batch else 1) for each, per_batch in readings)
            return measuring + (steps[str(last[stage.fingerprint])] if stage.depth else 0.0)

        return seconds

    def share(self, composition: str, gpu_memory: float) -> float | None:
        """GPUs of `gpu_memory` bytes that a trial of this composition needs; None where that is not known."""
        memory = self.trial_memory(composition)
        return None if memory is None else fitting(RESERVE * memory, gpu_memory)

    def _gpu_seconds(self, plan: Plan, seconds: Callable[[Stage], float]) -> float:
        """Seconds of all stages, each times the GPUs of the trial that computes it."""
        resources = self.spec.resources
        fixed = 1.0 if isinstance(resources.gpus, str) else resources.gpus
        shares: dict[str, float | None] = {}
        if isinstance(resources.gpus, str):
            if resources.gpu_memory is None:
                self.notes.append("gpus: auto without gpu_memory is counted as one GPU a trial")
            else:
                texts = {trial.composition for trial in plan.trials}
                shares = {text: self.share(text, resources.gpu_memory * 2**30) for text in texts}
        total, seen = 0.0, set[str]()
        for trial in plan.trials:
            own = [stage for stage in trial.stages if stage.fingerprint not in seen]
            seen.update(stage.fingerprint for stage in own)
            total += (shares.get(trial.composition) or fixed) * sum(map(seconds, own))
        return total

    def _seconds(self, plan: Plan, clock: Clock) -> Callable[[Stage], float] | None:
        """Seconds of each stage with its readings, where all are known; notes say where they come from."""
        links = self._links(plan)
        sources: dict[str, dict[str, None]] = {}
        unknown = set()
        for link in links.values():
            found = clock.step(link)
            if found is None:
                unknown.add(link.intervention.name)
            else:
                sources.setdefault(found[1], {})[link.intervention.name] = None
        for criterion in self.spec.measured():
            sources.setdefault(clock.reading(criterion)[1], {})[criterion.name] = None
        self.notes += [f"times of {', '.join(names)}: {source}" for source, names in sources.items()]
        if unknown:
            self.notes.append(f"nothing is known of the time of {', '.join(sorted(unknown))}: no hours, no cost")
            return None
        return self.stage_seconds(plan)
