"""A spec however it is asked for: a file, the name of one that ships with rayci, a `Spec`, or a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rayci.errors import RequestError, nearest
from rayci.planning import plan as plans
from rayci.planning import spec as specs
from rayci.planning import yaml_source
from rayci.planning.changed_keys import changed
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.planning.yaml_source import Source

Asked = Spec | Mapping[str, Any] | Path | str
SHIPPED = Path(__file__).parent / "specs"


def shipped_names() -> list[str]:
    """Names of the specs that ship with rayci."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def spec_file(asked: Path | str) -> Path:
    """The file that is asked for; where there is none, the shipped spec of that name, with or without `.yaml`.

    Raises RequestError for a bare name that is neither; a path is left to whoever reads it.
    """
    path = Path(asked)
    shipped = SHIPPED / f"{path.stem}.yaml"
    if path.name != str(asked) or path.suffix not in ("", ".yaml") or path.is_file():
        return path
    if shipped.is_file():
        return shipped
    known = shipped_names()
    raise RequestError(
        f"no spec {str(asked)!r}",
        allowed=f"a YAML file, or one that ships with rayci: {', '.join(known)}",
        hint=nearest(path.stem, known) or "`rayci init` writes one",
    )


def read_spec(asked: Asked, changes: Iterable[str] = ()) -> tuple[Spec, Source]:
    """The checked spec, and where each key of it stands; a mapping has no lines, and no name but its own.

    `changes` are keys that are set anew, see `rayci.planning.changed_keys`. Raises RequestError with what is wrong
    and where, see `rayci.planning.spec.from_source`.
    """
    if isinstance(asked, Path | str):
        source = yaml_source.read(spec_file(asked))
    else:
        source = Source("spec", asked.model_dump() if isinstance(asked, Spec) else dict(asked), {})
    source = changed(source, changes)
    return specs.from_source(source), source


def plan(asked: Asked) -> Plan:
    """The trials that `launch` would run and the stages that they share; nothing is read but the spec.

    Fingerprints are those of the names of model and data. Raises RequestError as `read_spec` does.
    """
    return plans.make(read_spec(asked)[0])
