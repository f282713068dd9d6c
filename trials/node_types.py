"""Nodes that are alike, one of which is looked at for all; and how fast each type was when it was measured last."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rayci.errors import RayciError
from rayci.fingerprint import fingerprint
from rayci.forecast.rates import PROBE, Rates, save, saved
from rayci.running.node_report import Needs
from rayci.running.rows import versions
from rayci.storage.prepared import node_folder
from rayci.storage.user_paths import standing
from rayci.trials.capacity import Place
from rayci.units import HOUR

FRESH = 24 * HOUR
"""Seconds for which measured rates are taken as they are, on the same type of node and the same versions."""


@dataclass(frozen=True)
class NodeType:
    """Nodes with equal resources; the first stands for all of them."""

    nodes: Sequence[Place]

    @property
    def name(self) -> str:
        """In words."""
        first, more = self.nodes[0], len(self.nodes) - 1
        return f"{first.name} (and {more} like it)" if more else first.name

    @property
    def resources(self) -> dict[str, float]:
        """What tells types apart: CPUs, GPUs and their make; memory differs a little from node to node."""
        own = self.nodes[0].resources
        return {key: own[key] for key in sorted(own) if key in ("CPU", "GPU") or key.startswith("accelerator_type:")}

    def at_once(self, reservation: Mapping[str, float]) -> int:
        """Trials that run on one of them at a time."""
        own = self.nodes[0].resources
        return int(min(own.get(name, 0.0) // amount for name, amount in reservation.items() if amount))


def types_of(nodes: Iterable[Place], reservation: Mapping[str, float]) -> list[NodeType]:
    """The types of those nodes that can hold a trial which reserves so much."""
    alike: dict[str, list[Place]] = {}
    for node in nodes:
        if node.gives(reservation):
            alike.setdefault(fingerprint(NodeType([node]).resources), []).append(node)
    return [NodeType(same) for same in alike.values()]


def remember(of: NodeType, needs: Needs, rates: Rates) -> None:
    """Keep the rates of a type of node on this machine, where there is room."""
    with suppress(RayciError, OSError):  # they are measured again
        save([rates], _folder(of, needs))


def remembered(of: NodeType, needs: Needs) -> Rates | None:
    """Rates of a type of node that were measured lately; None where they are to be measured."""
    with suppress(RayciError, OSError):
        folder = _folder(of, needs)
        if time.time() - (folder / PROBE).stat().st_mtime <= FRESH:
            return next(iter(saved(folder)), None)
    return None


def _folder(of: NodeType, needs: Needs) -> Path:
    """Named by what rates belong to; nodes at one address are taken to stay the same for a day."""
    node = of.nodes[0]
    disk = needs.store.partition("://")[0] if "://" in needs.store else standing(Path(needs.store)).stat().st_dev
    facts = {"node": node.name if node.node else socket.gethostname(), "resources": of.resources, "disk": disk}
    return node_folder() / "rates" / fingerprint({**facts, "gpu": needs.gpu, "versions": versions()})
