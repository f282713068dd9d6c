"""Which trials no node can hold, told before one is handed out: Ray waits without a word for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rayci.errors import RequestError
from rayci.planning.faults import Blame
from rayci.planning.plan import Plan
from rayci.trials.capacity import Capacity, Place
from rayci.trials.reservations import SAID, Reservations, amounts
from rayci.trials.whole_stages import NO_NODE


def unplaceable(
    plan: Plan, trials: Iterable[int], reservations: Reservations, capacity: Capacity, blame: Blame
) -> dict[int, str]:
    """Those of the trials that no node can hold, each with the reason of its rows.

    RequestError for the first of them where the spec does not say `unplaceable: skip`. No trial grows beyond the
    largest place from now on.
    """
    reservations.cap(max(capacity.most("GPU"), 0.0 if capacity.types is not None else reservations.largest()))
    alike: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for index in trials:
        alike.setdefault(tuple(reservations.of(index).items()), []).append(index)
    lacking = sorted(index for amount, same in alike.items() if capacity.lacks(dict(amount)) for index in same)
    if lacking and plan.spec.resources.unplaceable == "error":
        raise _refusal(plan, lacking[0], reservations, capacity, blame)
    return {index: _reason(reservations, index, capacity) for index in lacking}


def refuse_beyond_limit(plan: Plan, trials: Sequence[int], reservations: Reservations, gpu_limit: float | None) -> None:
    """RequestError for the first of the trials that takes more GPUs than the sweep may; none grows beyond them."""
    if gpu_limit is None:
        return
    for index in trials:
        if (gpus := reservations.gpus(index)) > gpu_limit:
            raise RequestError(
                f"{plan.trials[index].composition!r} reserves {gpus:g} GPU, and the sweep may take {gpu_limit:g}",
                at="--gpu-limit",
                allowed=f"{max(map(reservations.gpus, trials)):g} or more",
            )
    reservations.cap(gpu_limit, "--gpu-limit allows no more")


def _refusal(plan: Plan, index: int, reservations: Reservations, capacity: Capacity, blame: Blame) -> RequestError:
    reservation, name = reservations.of(index), _short(reservations, index, capacity)
    key = SAID[name].key
    larger = [f"a smaller `{key}`", "--address of a cluster whose nodes are larger"]
    if name == "GPU":
        larger.append("`gpus: 0` for CPUs, `device: cpu` to try out how trials pack")
    return RequestError(
        f"{plan.trials[index].composition!r} reserves {amounts(reservation)}, which no node can give",
        at=blame.at("resources", key),
        allowed="; ".join(
            f"{place.name} has {amounts(place.resources, reservation)}" for place in _largest(capacity.places, name)
        ),
        hint="; ".join([*larger, "`unplaceable: skip` for the rest of the sweep"]),
    )


def _reason(reservations: Reservations, index: int, capacity: Capacity) -> str:
    reservation = reservations.of(index)
    largest = _largest(capacity.places, _short(reservations, index, capacity), shown=1)
    has = "".join(f"{place.name} is the largest with {amounts(place.resources, reservation)}" for place in largest)
    return f"{NO_NODE}: it reserves {amounts(reservation)}, and {has or 'there is none'}"


def _short(reservations: Reservations, index: int, capacity: Capacity) -> str:
    """Which resource of the reservation no place has enough of; GPUs where it is all of them together."""
    reservation = reservations.of(index)
    return next((name for name, amount in reservation.items() if amount > capacity.most(name)), "GPU")


def _largest(places: Sequence[Place], name: str, shown: int = 4) -> list[Place]:
    return sorted(places, key=lambda place: place.resources.get(name, 0.0), reverse=True)[:shown]
