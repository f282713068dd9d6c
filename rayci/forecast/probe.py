"""Which rates a forecast goes by: those of a probe, of this machine or of a run's nodes, else assumed ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rayci.forecast.rates import Rates, measure, saved
from rayci.storage.user_paths import standing

A100 = Rates(
    device="NVIDIA A100-SXM4-80GB",
    kind="cuda",
    memory_bytes=85 * 10**9,
    bf16=0.8 * 312e12,
    fp32=0.9 * 19.5e12,
    fp64=0.8 * 19.5e12,
    moved=0.85 * 2.039e12,
    block_seconds=4e-4,
    read=10**9,
    written=10**9,
    host_bytes=10**12,
    disk_free_bytes=10**13,
)
"""Where no GPU was measured: what products reach of the peaks that NVIDIA's data sheet of the A100 of 80 GB names."""
SHIPPED = Path(__file__).parent
"""Where the rates lie of the machine that shipped times were measured on; a CPU that nobody measured counts as it."""


@dataclass(frozen=True)
class Probe:
    """What was measured of the machines that trials run on."""

    nodes: tuple[Rates, ...] = ()
    place: str = ""
    """Where, in words."""

    @classmethod
    def here(cls, kind: str, folder: Path) -> Probe:
        """Measure this machine, and the disk of the folder or of the nearest one above it that is there."""
        return cls((measure(kind, standing(folder)),), "this machine")

    @classmethod
    def of_run(cls, run: Path) -> Probe:
        """What a run measured of its nodes before the first trial; nothing where it did not."""
        return cls(tuple(saved(run)), f"the nodes of {run}")

    def measured(self, kind: str) -> Rates | None:
        """The slowest of the nodes with this kind of device; None where none was measured."""
        own = [node for node in self.nodes if node.kind == kind]
        return min(own, key=lambda node: node.bf16) if own else None

    def rates(self, kind: str) -> Rates:
        """Those, or assumed ones."""
        return self.measured(kind) or (A100 if kind == "cuda" else saved(SHIPPED)[0])

    def source(self, kind: str) -> str:
        """Where the rates come from, in words."""
        rates = self.rates(kind)
        return (
            f"{rates.device} ({self.place})" if self.measured(kind) else f"{rates.device}, not measured: --probe does"
        )

    def row(self, kind: str) -> dict[str, Any] | None:
        """What was measured, by name, for a plan's record; None where nothing was."""
        rates = self.measured(kind)
        return None if rates is None else {"place": self.place, **asdict(rates)}


ASSUMED = Probe()
"""Nothing was measured."""
