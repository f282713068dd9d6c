"""What trials that were handed out wait for, in words; and the end of waiting for what no node will ever have."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ray import tune

from rayci.trials.capacity import Capacity
from rayci.trials.reservations import amounts
from rayci.trials.search import PrefixSearcher

LOOK_EVERY = 5.0
"""Seconds between two looks at what waits."""
LONG = 15.0
"""Seconds after which a trial waits for resources, and not for its worker to start."""
GRACE = 120.0
"""Seconds in which a node that could hold one of the trials may come back, where nothing else is left to do."""


class Waiting(tune.Callback):  # type: ignore[misc]
    """Looks at what is out, and takes it back once all of it waits for nodes that have gone for good."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._searcher: PrefixSearcher | None = None
        self._since: dict[str, float] = {}
        self._looked = 0.0
        self._lost: float | None = None
        """Since when nothing runs and no node can hold any of the trials."""
        self.words = ""
        """`3 trials wait for 1 CPU, 2 GPU: no node has them free`, or nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks with each experiment

    def watch(self, searcher: PrefixSearcher) -> None:
        """Look at the trials of this searcher from now on."""
        self._searcher, self._since, self._lost, self.words = searcher, {}, None, ""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has done something, or nothing for a tenth of a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        pending = [trial for trial in trials if trial.status == trial.PENDING]
        self._since = {trial.trial_id: self._since.get(trial.trial_id, now) for trial in pending}
        late = [trial for trial in pending if now - self._since[trial.trial_id] > LONG]
        waiting = Counter(tuple(trial.config["resources"].items()) for trial in late)
        if not waiting:
            self.words, self._lost = "", None
            return
        capacity = self._capacity.now()
        lacking = {amount for amount in waiting if capacity.lacks(dict(amount))}
        self.words = "; ".join(self._told(dict(amount), count, capacity) for amount, count in waiting.items())
        idle = len(lacking) == len(waiting) and not any(trial.status == trial.RUNNING for trial in trials)
        self._lost = (self._lost or now) if idle else None
        if self._searcher is not None and self._lost is not None and now - self._lost > GRACE:
            self._searcher.withdraw()

    def _told(self, reservation: dict[str, float], count: int, capacity: Capacity) -> str:
        waits = f"{count} trial{'s wait' if count > 1 else ' waits'} for {amounts(reservation)}"
        if any(node.gives(reservation) for node in capacity.nodes):
            return f"{waits}: no node has them free"
        if capacity.types is None:
            return f"{waits}: no node has them, and what the autoscaler can start is not known"
        starting = [place.name for place in capacity.types if place.gives(reservation)]
        if starting:
            return f"{waits}: {' or '.join(starting)} is to start"
        return f"{waits}: no node has them any more"
