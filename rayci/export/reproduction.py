"""The spec that makes one stage of a sweep again, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rayci.data.relocation import relocated
from rayci.export.origin import FINGERPRINT_SHOWN
from rayci.export.wanted import Wanted, interventions
from rayci.planning.composition import parse
from rayci.planning.own_folders import in_chain, in_text, renamed
from rayci.planning.spec import Spec
from rayci.settings import Folders, batch_of

_OWN = {"name", "model", "data", "interventions", "compose", "resources", "replicates", "seeds"}
"""Keys that are told otherwise than in the sweep's spec."""

_RESOURCES = {"threads", "gpus", "device"}
"""Resources that can change the last bit of a result."""


def reproduce(wanted: Wanted) -> str:
    """YAML that `rayci plan`, `run` and `apply` read; the stage has the fingerprint that it has in the sweep."""
    spec, stage = renamed(wanted.sweep.spec, _named_from_home), wanted.stage
    composition = in_text(wanted.trial.composition, _named_from_home)
    said = spec.model_dump(mode="json", exclude_defaults=True, exclude=_OWN)
    values: dict[str, Any] = {
        "name": "reproduce",
        "model": _from_home(spec.model),
        "replicates": _replicates(wanted),
        "seeds": (stage.seed or 0) + 1,
        "interventions": _interventions(spec, composition),
        "compose": {"pairs": "none", "singles": False, "also": [composition]},
        **said,
    }
    if spec.data is not None:
        values["data"] = relocated(spec.data, _from_home)
    resources = spec.resources.model_dump(mode="json", include=_RESOURCES, exclude_defaults=True)
    values |= {"resources": resources} if resources else {}
    return (
        f"# Makes {in_chain(stage.chain, wanted.sweep.spec, _named_from_home) or 'the untouched model'} again:\n"
        f"#   rayci apply reproduce.yaml --stage {stage.fingerprint[:FINGERPRINT_SHOWN]} --out FOLDER\n"
        + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    )


def _from_home(place: str) -> str:
    """A path below the home of whoever makes the file begins with `~`, for others need not know their name."""
    path, home = Path(place), Path.home()
    return f"~/{path.relative_to(home)}" if path.is_absolute() and path.is_relative_to(home) else place


def _replicates(wanted: Wanted) -> int:
    """As few as there must be; all of them where they decide which edits a step reads."""
    links = wanted.sweep.planner.chain(wanted.trial.composition)
    if any(batch_of(link.intervention) for link in links):
        return wanted.sweep.spec.replicates
    return (wanted.stage.replicate or 0) + 1


def _named_from_home(source: str, _: Folders) -> str:
    return _from_home(source)


def _interventions(spec: Spec, composition: str) -> dict[str, dict[str, Any]]:
    """Settings that the spec gives every step, beside the strengths that the composition names."""
    steps = parse(composition).steps
    constant: dict[str, dict[str, Any]] = {}
    for step in steps:
        constant.setdefault(step.method, {}).update(spec.constants(step))
    return interventions(steps, constant)
