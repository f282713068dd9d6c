"""Settings that one arm of a sweep reads and another leaves void: no error, and nothing of them in the other arm."""

from __future__ import annotations

import pytest

from rayci.errors import RequestError
from rayci.planning import plan, spec
from rayci.planning.yaml_source import parse


def fingerprints(interventions: str, also: str = "") -> dict[str, str]:
    """Chain -> fingerprint of every stage."""
    compose = f"compose: {{also: [{also}]}}\n" if also else ""
    read = spec.from_source(parse(f"interventions: {{{interventions}}}\n{compose}criteria: [utility]\n", "sweep.yaml"))
    return {stage.chain: stage.fingerprint for stage in plan.make(read).stages.values()}


def test_an_arm_that_leaves_a_setting_unread_is_what_it_is_without() -> None:
    swept = fingerprints("npo_klr: {parametrisation: {sweep: [full, lora]}, lora_rank: 4}")
    full, lora = swept["npo_klr{parametrisation=full}"], swept["npo_klr{parametrisation=lora}"]
    assert full == fingerprints("npo_klr: {}")["npo_klr"]
    assert lora == fingerprints("npo_klr: {parametrisation: lora, lora_rank: 4}")["npo_klr"]


def test_what_is_swept_in_one_arm_comes_once_in_the_other() -> None:
    ranks = "npo: {parametrisation: {sweep: [full, lora]}, lora_rank: {sweep: [2, 4]}}"
    assert fingerprints(ranks).keys() - {""} == {
        "npo{parametrisation=full}",
        "npo{lora_rank=2,parametrisation=lora}",
        "npo{lora_rank=4,parametrisation=lora}",
    }


def test_a_format_takes_its_own_blocks() -> None:
    swept = fingerprints("rtn: {bits: {sweep: [4, nvfp4]}, group_size: 64}")
    assert swept["rtn@nvfp4"] == fingerprints("rtn: {bits: nvfp4}")["rtn@nvfp4"]
    assert swept["rtn@4"] == fingerprints("rtn: {bits: 4, group_size: 64}")["rtn@4"]


def test_a_composition_by_name_may_be_what_reads_it() -> None:
    named = fingerprints("npo: {lora_rank: 4}", also="'npo{parametrisation=lora}'")
    assert named["npo"] == fingerprints("npo: {}")["npo"]


@pytest.mark.parametrize(
    "unread", ["lora_rank: 8", "lora_rank: {sweep: [2, 4]}", "parametrisation: {sweep: [full]}, lora_rank: 8"]
)
def test_what_no_arm_reads_is_refused(unread: str) -> None:
    with pytest.raises(RequestError, match=r"npo: lora_rank = .* changes nothing") as error:
        fingerprints(f"npo: {{{unread}}}")
    assert "sweep.yaml:1: interventions.npo.lora_rank" in str(error.value)
