"""What a plan will cost before anything runs: disk, hours, money, memory, and how each is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from rayci.criterion import Criterion
from rayci.data.records import Collection
from rayci.errors import RequestError
from rayci.forecast.clock import Clock
from rayci.forecast.data_sizes import texts_of
from rayci.forecast.footprint import Footprint
from rayci.forecast.hours import Hours
from rayci.forecast.memory import Memory
from rayci.forecast.notes import notes
from rayci.forecast.probe import ASSUMED, Probe
from rayci.forecast.share import fitting
from rayci.forecast.stage_times import Times
from rayci.kinds import Keep
from rayci.model.shapes import sketch
from rayci.model.step_memory import RESERVE
from rayci.planning.chain import Link
from rayci.planning.plan import Plan, Planner, Stage
from rayci.planning.spec import Spec
from rayci.units import GIB
from rayci.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Figures of a whole sweep; None where they cannot be known."""

    disk_bytes: int | None = None
    """Peak of the stage store: shared stages are kept."""
    disk_keeping_all_bytes: int | None = None
    """The same where `rayci run --keep all` keeps every stage."""
    disk_keeping_none_bytes: int | None = None
    """The same where `rayci run --keep none` frees stages after their last use: with as many workers as the run has,
    the longest trials first."""
    gpu_hours: float | None = None
    """Hours of all stages and readings times the GPUs that a trial reserves; 0 without GPUs."""
    cpu_hours: float | None = None
    """The same for reserved CPUs."""
    gpu_hours_by_kind: Mapping[str, float] | None = None
    """GPU-hours of every method and every criterion, the most first."""
    cpu_hours_by_kind: Mapping[str, float] | None = None
    """The same for reserved CPUs."""
    cost: float | None = None
    """GPU-hours times `resources.gpu_hour_price`, USD: GPUs alone, so 0 without them; None without a price."""
    memory_bytes: int | None = None
    """The most that a trial needs on its device, weights included, without the runtime's own memory."""
    largest_trial_gpus: float | None = None
    """GPUs of the trial that reserves most."""
    notes: tuple[str, ...] = ()
    """Where the figures come from, and why one is missing."""

    def row(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def disk(self, keep: Keep) -> int | None:
        """Peak of the stage store, bytes, where so much is kept."""
        return {
            Keep.SHARED: self.disk_bytes,
            Keep.ALL: self.disk_keeping_all_bytes,
            Keep.NONE: self.disk_keeping_none_bytes,
        }[keep]


@dataclass(frozen=True)
class _Known:
    """What can be told of a model whose size is known."""

    clock: Clock
    memory: Memory
    footprint: Footprint


class Estimator:
    """Estimates of one spec; the model's shapes come from this machine alone, nothing is downloaded."""

    def __init__(
        self,
        planner: Planner,
        times: Callable[[int, str], Sequence[Times]],
        probe: Probe = ASSUMED,
        data: Collection | None = None,
    ) -> None:
        """`times` gives measured times for a number of parameters and a kind of device (`cpu`, `cuda`).

        `data`: those of the sweep, whose texts are then as long as they are.
        """
        self._planner, self._times, self._probe, self._data = planner, times, probe, data
        self._shares: dict[str, float] = {}
        self.notes: list[str] = []
        """What is said of the model."""

    @property
    def spec(self) -> Spec:
        """The spec of the planner."""
        return self._planner.spec

    def of(self, plan: Plan, price: float | None = None, workers: int = 1) -> Estimate:
        """The estimate of a whole plan on so many workers; `price` (USD a GPU-hour) wins over the spec's."""
        known, resources = self._known, self.spec.resources
        if known is None:
            return Estimate(notes=tuple(self.notes))
        hours = self._hours(known.clock)
        by_gpu, by_cpu = hours.by_kind(plan, gpus=True), hours.by_kind(plan, gpus=False)
        gpu_hours = sum(by_gpu.values())
        rate = resources.gpu_hour_price if price is None else price
        cost = 0.0 if gpu_hours == 0 else None if rate is None else gpu_hours * rate
        said = [*self.notes, *notes(self._links(plan), self.spec.measured(), known.clock, known.memory, resources)]
        if cost is None:
            said.append("no cost: give resources.gpu_hour_price or --price")
        disk = known.footprint.peaks(plan, self._planner, workers, hours.of_stages(plan))
        return Estimate(
            disk_bytes=disk[Keep.SHARED],
            disk_keeping_all_bytes=disk[Keep.ALL],
            disk_keeping_none_bytes=disk[Keep.NONE],
            gpu_hours=gpu_hours,
            cpu_hours=sum(by_cpu.values()),
            gpu_hours_by_kind=by_gpu,
            cpu_hours_by_kind=by_cpu,
            cost=cost,
            memory_bytes=self.memory(plan),
            largest_trial_gpus=max(map(self._gpus, {trial.composition for trial in plan.trials}), default=0.0),
            notes=tuple(said),
        )

    def memory(self, plan: Plan) -> int | None:
        """The most that any trial needs on its device, bytes; None where the model's size is not known."""
        return self._most(self._links(plan))

    def trial_memory(self, composition: str) -> int | None:
        """What a trial of this composition needs on its device, bytes; None where the model's size is not known."""
        return self._most(self._planner.chain(composition))

    def host_memory(self, plan: Plan) -> int | None:
        """The most that any trial needs of its host, bytes; None where the model's size is not known.

        Beside a GPU that is the copy of the untouched model, and what steps keep there.
        """
        resources = self.spec.resources
        if self._known is None or resources.gpus == 0 or resources.device == "cpu":
            return self.memory(plan)
        return self._known.memory.host(self._links(plan))

    def share(self, composition: str, gpu_memory: float) -> float | None:
        """GPUs of `gpu_memory` bytes that a trial of this composition needs; None where that is not known."""
        if self._known is None:
            return None
        memory, links, criteria = self._known.memory, self._planner.chain(composition), self.spec.measured()
        return fitting(lambda gpus: RESERVE * memory.on(gpus, gpu_memory).most(links, criteria), gpu_memory)

    def seconds(self, steps: Iterable[Link], readings: Iterable[Criterion]) -> float | None:
        """Seconds of single steps and measurements; None where the model's size is not known."""
        if self._known is None:
            return None
        clock = self._known.clock
        return sum(clock.step(link).seconds for link in steps) + sum(clock.reading(c).seconds for c in readings)

    def stage_seconds(self, plan: Plan) -> Callable[[Stage], float]:
        """Seconds to apply and measure each stage of the plan; all alike where the model's size is not known."""
        return (lambda stage: 1.0) if self._known is None else self._hours(self._known.clock).of_stages(plan)

    def _hours(self, clock: Clock) -> Hours:
        return Hours(self._planner, clock, self._gpus)

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
        kind = "cpu" if spec.resources.gpus == 0 else "cuda"
        times = self._times(work.parameters, kind)
        peaks = {name: peak for each in reversed(times) for name, peak in each.peaks.items()}
        read = work if self._data is None else replace(work, texts=texts_of(self._data, drawn.subject))
        clock = Clock(times, read, spec.resources.threads, self._probe.rates(kind), self._probe.source(kind))
        return _Known(clock, Memory(work, peaks), Footprint(work))

    def _most(self, links: Iterable[Link]) -> int | None:
        return None if self._known is None else self._known.memory.most(links, self.spec.measured())

    def _links(self, plan: Plan) -> list[Link]:
        """Every distinct step of a plan."""
        texts = dict.fromkeys(trial.composition for trial in plan.trials)
        return list({str(link): link for text in texts for link in self._planner.chain(text)}.values())

    def _gpus(self, composition: str) -> float:
        """GPUs that a trial of this composition reserves; one where their memory is not known."""
        gpus, gpu_memory = self.spec.resources.gpus, self.spec.resources.gpu_memory
        if gpus != "auto":
            return float(gpus)
        if composition not in self._shares:
            self._shares[composition] = (self.share(composition, gpu_memory * GIB) if gpu_memory else None) or 1.0
        return self._shares[composition]
