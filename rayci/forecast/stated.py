"""Whether a method speaks for itself, or the forecast has to assume."""

from __future__ import annotations

from typing import Literal

from rayci.criterion import Criterion
from rayci.intervention import Intervention

Figure = Literal["operations", "memory"]


def states(method: Intervention | Criterion, figure: Figure) -> bool:
    """Whether a method, or a family that it belongs to, says a figure; if not, the protocol's default stands in."""
    owner = next(cls for cls in type(method).__mro__ if figure in vars(cls))
    return owner not in (Intervention, Criterion)
