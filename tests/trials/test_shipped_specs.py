"""The specs that ship: each is valid, has a twin that runs on the testbed, and as many trials as its head says."""

from __future__ import annotations

import re

import pytest

from rayci.trials.asked_spec import SHIPPED, plan, read_spec, shipped_names

TWINS = {"published_llama3_8b": "published_testbed"}
"""Twins that are not called as the spec is."""


@pytest.mark.parametrize("name", shipped_names())
def test_it_holds_the_trials_that_its_head_says(name: str) -> None:
    head = "".join(line for line in (SHIPPED / f"{name}.yaml").read_text().splitlines(True) if line.startswith("#"))
    said = {int(count) for count in re.findall(r"\b(\d+) trials", head)}
    assert said == {len(plan(name).trials)}


@pytest.mark.parametrize("name", [name for name in shipped_names() if read_spec(name)[0].model != "testbed"])
def test_it_has_a_twin_of_the_same_composing_on_the_testbed(name: str) -> None:
    spec, twin = read_spec(name)[0], read_spec(TWINS.get(name, f"{name}_testbed"))[0]
    assert twin.model == "testbed"
    assert (twin.compose.pairs, twin.compose.triples) == (spec.compose.pairs, spec.compose.triples)
