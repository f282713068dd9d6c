"""Which type of node the autoscaler starts: one that could not be had lately comes last.

Ray counts a failed launch, but its own score does not look at it: of two types with equal resources
it asks for the same one again and again, and spot capacity that is missing is never replaced by an
on-demand node. `cluster.yaml` names `available_first` in `RAY_AUTOSCALER_UTILIZATION_SCORER`.
"""

from __future__ import annotations

from typing import Any

from rayci.trials.ray_internals import default_score


def available_first(node: dict[str, float], demands: list[dict[str, float]], node_type: str, **summary: Any) -> Any:
    """Ray's own score, behind whether the type could be had when it was last asked for.

    `node`: resources of one node of the type; `demands`: what waits for resources. Returns None where
    nothing fits, else a tuple; the highest wins, and among equals the last name by the alphabet. Ray
    forgets a failure after half an hour (`AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S`).
    """
    score = default_score(node, demands, node_type, **summary)
    known = summary["node_availability_summary"].node_availabilities.get(node_type)
    return None if score is None else (known is None or known.is_available, *score)
