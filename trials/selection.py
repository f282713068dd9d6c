"""Some of a sweep's trials, chosen by composition and replicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayci.errors import RequestError, nearest
from rayci.planning import spec as specs
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec


@dataclass(frozen=True)
class Selection:
    """Which trials are asked for; empty and None ask for all."""

    only: tuple[str, ...] = ()
    replicate: int | None = None
    seed: int | None = None

    @classmethod
    def of(cls, spec: Spec, only: Sequence[str], replicate: int | None, seed: int | None) -> Selection:
        """Checked against the spec; RequestError for what is not in it."""
        for name, value, count in (("replicate", replicate, spec.replicates), ("seed", seed, spec.seeds)):
            if value is not None and not 0 <= value < count:
                raise RequestError(f"{name} = {value}", at=f"--{name}", allowed=f"0 to {count - 1}")
        return cls(tuple(str(specs.composition(spec, text, "--only")) for text in only), replicate, seed)

    def indices(self, plan: Plan) -> list[int]:
        """Indices of the trials; one without an edit belongs to every replicate, one without draws to every seed."""
        known = {trial.composition for trial in plan.trials}
        for text in self.only:
            if text not in known:
                raise RequestError(
                    f"the sweep has no composition {text!r}", at="--only", hint=nearest(text, known) or "rayci plan"
                )
        return [
            index
            for index, trial in enumerate(plan.trials)
            if (not self.only or trial.composition in self.only)
            and (self.replicate is None or trial.replicate in (None, self.replicate))
            and (self.seed is None or trial.seed in (None, self.seed))
        ]
