"""Edits after edits: which batch a step reads, what identifies its stage, and how many edits that takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from rayci.context import Context
from rayci.data.records import Collection
from rayci.errors import Faults, RequestError
from rayci.interventions.editing.finetuning import FineTuning
from rayci.planning import plan, spec
from rayci.planning.faults import Examination
from rayci.planning.plan import Stage
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.planning.yaml_source import parse
from rayci.testbed import checkpoint, collection


def make(*also: str, **changes: Any) -> Spec:
    base: dict[str, Any] = {
        "name": "t",
        "model": "testbed",
        "interventions": {"ft": {}, "lora": {}},
        "compose": {"pairs": "none", "singles": False, "also": also},
        "criteria": ["edit_success"],
        "edit_batch": 5,
    }
    return Spec.model_validate({**base, **changes})


def last(composition: str, replicate: int = 0, data: Collection | None = None, **changes: Any) -> Stage:
    """The last stage of a trial."""
    sweep = Sweep(make(**changes), checkpoint(), data or collection())
    return sweep.planner.trial(composition, replicate, 0).stages[-1]


def test_a_step_reads_the_batch_that_its_settings_name() -> None:
    first = Context(collection(), batch_size=5)
    numbers = [first.of(FineTuning(batch=batch)).edits for batch in range(3)]
    assert numbers == [replace(first, replicate=batch).edits for batch in range(3)]
    assert first.of(FineTuning()).edits == first.edits


def test_replicates_share_no_edit() -> None:
    contexts = [
        Context(collection(), batch_size=5, replicate=replicate, replicates=3, batch=batch)
        for replicate, batch in product(range(3), range(4))
    ]
    assert sorted(context.edit_batch for context in contexts) == list(range(12))
    assert len({edit.prompt for context in contexts for edit in context.edits}) == 12 * 5


def test_draws_that_depend_on_the_batch_differ_from_batch_to_batch() -> None:
    first = Context(collection(), replicate=1, replicates=2)
    later = first.of(FineTuning(batch=1))
    assert first.random("x", per_batch=True).random() != later.random("x", per_batch=True).random()
    assert (
        later.random("x", per_batch=True).random()
        == Context(collection(), replicate=3).random("x", per_batch=True).random()
    )
    assert first.random("x").random() == later.random("x").random()


@pytest.mark.parametrize("method", ["ft", "lora"])
def test_stages_with_the_same_edits_are_one_and_with_others_are_not(method: str) -> None:
    assert last(method) == last(method, replicates=3)
    second = last(f"{method}{{batch=1}}")
    assert second.fingerprint != last(method).fingerprint
    assert second.fingerprint == last(method, replicate=1, replicates=2).fingerprint  # edit batch 1 in both
    assert last(f"{method}{{batch=1}}", replicates=2).fingerprint == last(f"{method}{{batch=2}}").fingerprint
    assert last(f"{method}{{batch=1}}", replicates=2).fingerprint != second.fingerprint
    assert last(f"{method}{{batch=0}}").fingerprint == last(method).fingerprint


def test_a_stage_is_identified_by_the_edits_of_each_of_its_batches() -> None:
    known = collection()
    arranged = replace(known, arranged=frozenset({"edits"}))
    other = replace(arranged, edits=(*known.edits[:5], *known.edits[10:]))  # another second batch
    for composition, same in (("ft", True), ("ft > ft{batch=1}", False)):
        stages = [last(composition, data=data).fingerprint for data in (arranged, other)]
        assert (stages[0] == stages[1]) is same


def test_a_stage_keeps_its_replicate() -> None:
    stages = Sweep.open(make(replicates=2)).planner.trial("ft > ft{batch=1} > rtn@4", 1, 0).stages
    assert [stage.replicate for stage in stages] == [None, 1, 1, 1]


def test_a_hundred_batches_are_planned() -> None:
    chain = "ft > ft{batch=1..99}"
    sweep = Sweep.open(make(chain, f"{chain} > rtn@4", replicates=2, edit_batch=2))
    made = sweep.planner.plan()
    assert len(made.trials) == 4
    assert made.summary()["stages_computed"] == 2 * 101
    texts = [stage.composition for stage in made.trials[0].stages]
    assert texts[2:5] == ["ft > ft{batch=1}", "ft > ft{batch=1..2}", "ft > ft{batch=1..3}"]
    assert texts[-1] == f"{chain} > rtn@4"
    numbers = [sweep.context(1).of(link.intervention).edit_batch for link in sweep.planner.chain(chain)]
    assert numbers == list(range(1, 201, 2))


def test_one_error_says_how_many_edits_the_batches_need() -> None:
    source = parse(
        "model: testbed\nreplicates: 3\nedit_batch: 50\ninterventions: {ft: {}}\n"
        "compose: {also: ['ft > ft{batch=1} > ft{batch=3}']}\ncriteria: [edit_success]\n",
        "s.yaml",
    )
    (fault,) = Examination.of(spec.from_source(source), source).faults()
    assert fault.problem == "12 edit batches of 50 need 600 edits, there are 500"
    assert fault.at is not None and fault.at.startswith("s.yaml:5: compose.also.0.batch")
    assert fault.allowed == "batches 0 to 2 of each replicate"  # 3 · 3 · 50 of 500 edits


def test_a_criterion_that_asks_for_a_batch_that_is_not_there_is_blamed() -> None:
    given = make("ft", criteria={"edit_success": {"batch": 99}, "edit_nll": {}}, edit_batch=50)
    (fault,) = Examination.of(given).faults()
    assert fault.at is not None and fault.at.startswith("criteria.edit_success.batch")
    assert fault.problem == "100 edit batches of 50 need 5000 edits, there are 500"


@pytest.mark.parametrize("value", ["-1", "1.5", "true", "first", "[0, 1]"])
@pytest.mark.parametrize("place", ["ft", "edit_nll"])
def test_what_is_no_batch_is_refused_by_name(value: str, place: str) -> None:
    settings = {"ft": "", "edit_nll": ""} | {place: f"batch: {value}"}
    text = f"interventions: {{ft: {{{settings['ft']}}}}}\ncriteria: {{edit_nll: {{{settings['edit_nll']}}}}}\n"
    with pytest.raises(RequestError, match=f"{place}: batch = ") as error:
        spec.from_source(parse(text, "s.yaml"))
    assert not isinstance(error.value, Faults)


def test_plans_of_two_specs_differ_where_their_edits_do() -> None:
    chain = "ft > ft{batch=1}"
    one, two = (set(plan.make(make(chain, replicates=count)).stages) for count in (1, 2))
    assert len(one & two) == 2  # the untouched model, and the first batch of the first replicate
