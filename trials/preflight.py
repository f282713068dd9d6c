"""Before the first trial: one look at every type of node that is up, and all that is wrong told in one error."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayci.errors import RequestError, refuse
from rayci.forecast.rates import Rates, save
from rayci.running.machine_checks import Finding
from rayci.running.node_report import Needs, NodeReport, report
from rayci.running.rows import versions
from rayci.trials.capacity import Capacity, Place
from rayci.trials.node_types import NodeType, remember, remembered, types_of

PATIENCE = 120.0
"""Seconds that nodes are given to answer: torch loads there, and files of a gigabyte are written and read."""
SKEW = 60.0
"""Seconds by which a node's clock may differ: whether a file's writer is dead is told by the file's age."""
_OK = "--no-preflight runs without these checks"


@dataclass(frozen=True)
class Answer:
    """What one type of node said, and when it was asked and had answered, in the driver's time."""

    of: NodeType
    sent: float
    received: float
    report: NodeReport | None
    """None where nothing came in time."""
    failure: str = ""
    """Why there is no report, where Ray says so."""


@dataclass
class Preflight:
    """What was found out before the first trial."""

    rates: list[Rates] = field(default_factory=list)
    """One for each type of node."""
    notes: list[str] = field(default_factory=list)

    def save(self, run: Path) -> None:
        """Keep the rates in the run folder, for the forecast; where none were measured what is there stays."""
        if self.rates:
            save(self.rates, run)


def preflight(capacity: Capacity, needs: Needs, reservation: Mapping[str, float]) -> Preflight:
    """Look at every type of node that can hold the smallest `reservation` of a trial.

    A place without Ray's id is this machine. Nothing is started for it: of types without a node there is a note.
    Raises RequestError with everything that is wrong.
    """
    types = types_of(capacity.nodes, reservation)
    known = {each.name: remembered(each, needs) for each in types}
    here = not all(each.nodes[0].node for each in types)  # the driver has loaded torch already
    asking = _here if here else _on_nodes
    answers = list(asking(types, needs, reservation, {name for name, rates in known.items() if rates is None}))
    refuse(faults(answers))
    for answer in answers:
        rates = answer.report.rates if answer.report else None
        if rates is not None:
            remember(answer.of, needs, rates)
        known[answer.of.name] = rates or known[answer.of.name]
    measured = [rates for rates in known.values() if rates is not None]
    return Preflight(measured, [*notes(answers), *_not_up(capacity, types, reservation)])


def faults(answers: Iterable[Answer]) -> Iterator[RequestError]:
    """Everything that keeps trials from running on these nodes, each with the type of node and what to do."""
    for answer in answers:
        if answer.failure:
            yield RequestError(
                f"no trial can start on {answer.of.name}: {answer.failure}",
                hint=f"the same Python, and the same rayci, on every node; {_OK}",
            )
        for finding in _findings(answer):
            if finding.state == "problem":
                yield RequestError(
                    f"{finding.subject} on {answer.of.name}: {finding.found}",
                    hint="; ".join(filter(None, (finding.advice, _OK))),
                )


def notes(answers: Iterable[Answer]) -> Iterator[str]:
    """What a reader should know of these nodes and does not stop a sweep."""
    for answer in answers:
        name = answer.of.name
        if answer.report is None:
            yield f"{name} did not answer within {PATIENCE:g} s, its GPUs may be taken: it was not checked"
        elif answer.report.versions != versions():
            yield f"{name} has {answer.report.versions}, and here it is {versions()}"
        for finding in _findings(answer):
            if finding.state == "note":
                yield f"{finding.subject} on {name}: {'; '.join(filter(None, (finding.found, finding.advice)))}"


def _not_up(capacity: Capacity, types: Sequence[NodeType], reservation: Mapping[str, float]) -> Iterator[str]:
    """Of types that the autoscaler can start for such a trial, and that no node is of."""
    up = [_size(each.nodes[0]) for each in types]
    for place in capacity.types or ():
        if place.gives(reservation) and _size(place) not in up:
            yield f"{place.name} was not up before the first trial: it was not checked"


def _size(place: Place) -> tuple[float, float]:
    return place.resources.get("CPU", 0.0), place.resources.get("GPU", 0.0)


def _findings(answer: Answer) -> Iterator[Finding]:
    if answer.report is None:
        return
    yield from answer.report.findings
    # Its clock is ahead by at least what it ended after we had the answer, behind by what it began before we asked.
    skew = max(answer.report.ended - answer.received, 0.0) + min(answer.report.began - answer.sent, 0.0)
    if abs(skew) > SKEW:
        word = "ahead of" if skew > 0 else "behind"
        yield Finding("clock", "problem", f"at least {abs(skew):.0f} s {word} that of the driver", "chrony or ntpd")


def _here(
    types: Sequence[NodeType], needs: Needs, reservation: Mapping[str, float], unmeasured: set[str]
) -> Iterator[Answer]:
    for each in types:
        sent = time.time()
        found = report(needs, each.at_once(reservation), measured=each.name in unmeasured)
        yield Answer(each, sent, time.time(), found)


def _on_nodes(
    types: Sequence[NodeType], needs: Needs, reservation: Mapping[str, float], unmeasured: set[str]
) -> Iterator[Answer]:
    """One Ray task for each type; a GPU is reserved for it as for a trial, and nothing else."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked: dict[Any, tuple[NodeType, float]] = {}
    for each in types:
        task = ray.remote(report).options(
            num_cpus=0,
            num_gpus=min(reservation.get("GPU", 0.0), 1.0) if needs.gpu else 0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(each.nodes[0].node, soft=False),
        )
        sent = time.time()
        found = task.remote(needs, each.at_once(reservation), measured=each.name in unmeasured)
        asked[found] = (each, sent)
    left, end = list(asked), time.monotonic() + PATIENCE
    while left and time.monotonic() < end:
        ready, left = ray.wait(left, timeout=end - time.monotonic())
        for found in ready:
            each, sent = asked[found]
            try:
                yield Answer(each, sent, time.time(), ray.get(found))
            except (RayError, ImportError) as error:
                yield Answer(each, sent, time.time(), None, (str(error).strip().splitlines() or [repr(error)])[-1])
    for found in left:
        ray.cancel(found, force=True)
        yield Answer(*asked[found], time.time(), None)
