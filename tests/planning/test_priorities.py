"""Patterns of `compose.first`: what they stand for, what is refused, and that they change no identity."""

from __future__ import annotations

import pytest

from rayci.errors import RequestError
from rayci.planning import plan as plans
from rayci.planning import spec as specs
from rayci.planning.faults import Examination
from rayci.planning.priorities import priorities
from rayci.planning.schedule import in_turn
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import parse

TEXT = """\
interventions:
  ft: {}
  rtn: {bits: {sweep: [4, 8]}}
compose: {first: [%s]}
criteria: [edit_success]
"""


@pytest.mark.parametrize(
    ("pattern", "stands"),
    [
        ("rtn", ["rtn@4", "rtn@8"]),
        ("ft > rtn", ["ft > rtn@4", "ft > rtn@8"]),
        ("ft > rtn@8", ["ft > rtn@8"]),
        ("gd{alpha=2}", ["gd{alpha=2,lr=1e-4}"]),
    ],
)
def test_what_a_pattern_leaves_out_may_be_anything(pattern: str, stands: list[str]) -> None:
    asked = ["rtn@4", "rtn@8", "ft > rtn@4", "ft > rtn@8", "rtn@8 > ft", "gd{alpha=3}", "gd{alpha=2,lr=1e-4}"]
    assert [text for text in asked if priorities([pattern])(text) == 0] == stands


def test_a_pattern_of_no_composition_is_a_fault_with_its_place() -> None:
    source = parse(TEXT % "ft, ft > wanda@0.5", "s.yaml")
    (fault,) = Examination.of(specs.from_source(source), source).faults()
    assert "'ft > wanda@0.5'" in str(fault) and "s.yaml:4: compose.first.1" in str(fault)
    with pytest.raises(RequestError, match="cannot read step"):
        specs.from_source(parse(TEXT % "ft >> rtn", "s.yaml"))


def test_the_order_is_no_part_of_the_sweep() -> None:
    some, other = (Sweep.open(specs.from_source(parse(TEXT % first, "s.yaml"))) for first in ("", "rtn"))
    assert some.fingerprint == other.fingerprint
    assert some.planner.plan().stages.keys() == other.planner.plan().stages.keys()


def test_what_is_named_first_starts_first() -> None:
    """But for what it waits for: the untouched model's trial, and the one that builds its first stage."""
    plain, asked = (plans.make(specs.from_source(parse(TEXT % first, "s.yaml"))) for first in ("", "ft > rtn@8"))
    before, after = ([trial.composition for trial in in_turn(plan)] for plan in (plain, asked))
    assert before[:3] == ["rtn@4 > ft", "rtn@8 > ft", "ft > rtn@4"]
    assert after[:3] == ["rtn@4 > ft", "ft > rtn@4", "ft > rtn@8"] and sorted(before) == sorted(after)
