"""Specs that call the testbed's or a user's own questions `wmdp` and `mmlu` keep working, and are told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayci.commands import cli
from rayci.data.records import Choice, Collection
from rayci.planning.faults import Examination
from rayci.planning.old_names import with_todays_names
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep

OWN = Choice("Which?", ("a", "b"), 1)
REAL = Collection(hazard=(replace(OWN, topic="bio"),), utility=(replace(OWN, subject="law"),))


def spec(*criteria: Any, **keys: Any) -> Spec:
    return Spec.model_validate({"name": "s", "interventions": {"rtn": {"bits": 4}}, "criteria": list(criteria), **keys})


def test_the_testbeds_questions_are_hazard_and_utility_with_the_settings_that_were_given() -> None:
    sweep = Sweep.open(spec("avg_bits", {"wmdp": {"scoring": "letters"}}, "mmlu"))
    assert sweep.spec.criteria == {"avg_bits": {}, "hazard": {"scoring": "letters"}, "utility": {}}
    assert [criterion.name for criterion in sweep.criteria] == ["avg_bits", "hazard", "utility"]
    assert sweep.notes == (
        "wmdp is measured as hazard: these questions carry no topic, so they are not WMDP's",
        "mmlu is measured as utility: these questions carry no subject, so they are not MMLU's",
    )
    again = Sweep.open(sweep.spec)
    assert again.spec == sweep.spec and again.notes == () and again.fingerprint == sweep.fingerprint


def test_real_questions_keep_their_names() -> None:
    asked = spec("wmdp", "mmlu")
    assert with_todays_names(asked, REAL) == (asked, ())
    assert with_todays_names(asked, Collection()) == (asked, ()), "missing data is told of by the name that was given"


def test_the_plan_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("interventions: {rtn: {bits: 4}}\ncriteria: [wmdp]\n")
    monkeypatch.setattr(sys, "argv", ["rayci", "plan", str(path), "--format", "json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any("wmdp is measured as hazard" in note for note in notes)
    assert any("times of rtn, hazard" in note for note in notes)


@pytest.mark.parametrize(
    ("criterion", "data", "words"),
    [
        ("wmdp", replace(REAL, hazard=(replace(OWN, topic="bio"),)), "no question of the topic cyber"),
        ("mmlu", replace(REAL, utility=(*REAL.utility, OWN)), "1 of 2 questions name no subject"),
        ({"mmlu": {"shots": 5}}, REAL, "shots = 5, and utility has 0 examples of law"),
    ],
)
def test_what_lacks_in_real_questions_is_found_when_the_sweep_is_planned(
    criterion: Any, data: Collection, words: str
) -> None:
    (fault,) = Examination(spec(criterion), data=data).faults()
    assert words in fault.problem and fault.hint is not None
    assert str(fault.at).startswith("criteria.wmdp" if criterion == "wmdp" else "criteria.mmlu")
