"""The same criterion twice in a spec: with settings in its name it is one of its own."""

from __future__ import annotations

from typing import Any

import pytest

from rayci.context import Context
from rayci.criteria.edit_likelihood import EditLoss
from rayci.errors import RequestError
from rayci.planning import spec
from rayci.planning.named_criteria import configured
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import parse
from rayci.testbed import checkpoint, collection
from tests.models import testbed


def make(criteria: Any) -> Spec:
    return Spec.model_validate({"name": "t", "interventions": {"ft": {}}, "criteria": criteria, "edit_batch": 4})


def test_criteria_are_told_apart_by_the_settings_in_their_names() -> None:
    given = make(["edit_nll", "edit_nll{ batch = 9 }", "edit_success{batch=0..1,chat=false}"])
    names = ["edit_nll", "edit_nll{batch=9}", "edit_success{batch=0,chat=false}", "edit_success{batch=1,chat=false}"]
    assert [criterion.name for criterion in given.measured()] == list(given.criteria) == names
    assert given.measured()[1].effective() == EditLoss(batch=9).effective()
    assert Spec.model_validate_json(given.model_dump_json()) == given  # as workers are told
    sweep = Sweep(given, checkpoint(), collection())
    fingerprints = {sweep.criterion_fingerprint(criterion, 0, None) for criterion in sweep.criteria}
    assert len(fingerprints) == 4 and list(sweep.scales) == names
    assert sweep.planner.plan().readings(sweep.planner.root) == 4


def test_it_measures_what_its_settings_say() -> None:
    context = Context(collection(), batch_size=4)
    named = configured("edit_nll{batch=2}", {"forward_tokens": 64}).measure(testbed(), context)
    assert named.value == pytest.approx(EditLoss(batch=2).measure(testbed(), context).value)
    assert named.value != EditLoss().measure(testbed(), context).value


@pytest.mark.parametrize(
    ("criteria", "problem"),
    [
        ('["edit_nll{batch=1}", "edit_nll{ batch=1 }"]', "'edit_nll{batch=1}' is listed twice"),
        ('["edit_nll{batch=0..2}", "edit_nll{batch=1}"]', "'edit_nll{batch=1}' is listed twice"),
        ('["edit_nll{bath=1}"]', "edit_nll{bath=1} has no setting 'bath'"),
        ('["edit_nll{batch=-1}"]', "edit_nll{batch=-1}: batch = -1"),
        ('["edit_nil{batch=1}"]', "no criterion 'edit_nil'"),
        ('["edit_nll@2{batch=1}"]', "is not the name of a criterion"),
        ('["edit_nll{batch=1} > ft"]', "is not the name of a criterion"),
        ('["edit_nll{batch=5..1}"]', "is no run"),
        ('{"edit_nll{batch=1}": {batch: 2}}', "edit_nll{batch=1}: batch is given twice"),
    ],
)
def test_what_is_no_such_name_is_refused(criteria: str, problem: str) -> None:
    with pytest.raises(RequestError) as error:
        spec.from_source(parse(f"interventions: {{ft: {{}}}}\ncriteria: {criteria}\n", "s.yaml"))
    assert problem in error.value.problem and str(error.value.at).startswith("s.yaml")
