"""From what a method says that it takes to seconds: rates by precision, shared GPUs, times that ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rayci import registry
from rayci.effort import Effort
from rayci.forecast.clock import Clock, seconds_of
from rayci.forecast.data_sizes import texts_of
from rayci.forecast.probe import A100, SHIPPED, Probe
from rayci.forecast.rates import save, saved
from rayci.forecast.reference import reference_work
from rayci.forecast.stage_times import SHIPPED as TABLE
from rayci.forecast.stage_times import of_file
from rayci.intervention import Intervention
from rayci.interventions.training.adding import Merging
from rayci.planning.chain import Link
from rayci.planning.composition import Step
from rayci.testbed import collection
from tests.forecast.test_rates import HERE


def test_efforts_add_up() -> None:
    effort = sum([Effort(fp32=2.0, moved=1.0), 3.0, 2 * Effort(fp64=1.0, blocks=2.0)], Effort())
    assert effort == Effort(loaded=3.0, fp32=2.0, fp64=2.0, moved=1.0, blocks=4.0)
    assert float(effort / 2) == 3.5
    assert Effort.of(7) == Effort(loaded=7.0)


def test_every_product_has_the_rate_of_its_precision() -> None:
    effort = Effort(loaded=A100.bf16, fp32=2 * A100.fp32, fp64=3 * A100.fp64, moved=4 * A100.moved)
    assert seconds_of(effort, A100, element=2) == pytest.approx(1 + 2 + 3 + 4)
    assert seconds_of(Effort(loaded=A100.fp32), A100, element=4) == pytest.approx(1)
    calls = Effort(blocks=100.0)
    assert (
        seconds_of(calls, A100, 2) == seconds_of(calls, A100, 2, share=0.25) == pytest.approx(100 * A100.block_seconds)
    )


def test_cores_make_products_and_half_a_gpu_half_as_many() -> None:
    effort = Effort(loaded=HERE.fp32, blocks=2.0)
    calls = 2 * HERE.block_seconds
    assert seconds_of(effort, HERE, 4, threads=4) == pytest.approx(1 / 4 + calls)
    gpu = replace(HERE, kind="cuda")
    shares = [seconds_of(effort, gpu, 4, share=share) for share in (0.5, 1.0, 2.0)]
    assert shares == pytest.approx([2 + calls, 1 + calls, 1 + calls])


def _clock(rates: object, **changes: object) -> Clock:
    work = replace(reference_work(), **changes)  # type: ignore[arg-type]
    return Clock([of_file(TABLE, work.parameters, "cpu")], work, 1, rates, "here")  # type: ignore[arg-type]


def _link(name: str, **settings: object) -> Link:
    made: Intervention = registry.intervention(name).configure("testbed", settings=settings)
    return Link(Step(name), made, None)


def test_times_that_ship_are_brought_to_other_machines_settings_and_data() -> None:
    (there,) = saved(SHIPPED)
    table = of_file(TABLE, 689_280, "cpu")
    same, ft = _clock(there), _link("ft")
    assert same.step(ft).seconds == pytest.approx(table.steps["ft"])
    assert same.reading(registry.criterion("utility")()).seconds == pytest.approx(table.readings["utility"])
    names = ("bf16", "fp32", "fp64", "moved")
    twice = replace(there, block_seconds=there.block_seconds / 2, **{name: 2 * getattr(there, name) for name in names})
    assert _clock(twice).step(ft).seconds == pytest.approx(table.steps["ft"] / 2)
    assert same.step(_link("ft", steps=50)).seconds == pytest.approx(2 * table.steps["ft"])
    assert _clock(there, edits=100).step(ft).seconds > 1.5 * table.steps["ft"]
    assert "brought to here" in same.step(ft).source


def test_operations_alone_are_near_what_was_measured() -> None:
    """What is told of every method on the machine of the times that ship."""
    (there,) = saved(SHIPPED)
    bare, table = Clock([], reference_work(), 1, there, "there"), of_file(TABLE, 689_280, "cpu")
    for name, measured in table.steps.items():
        cls = registry.intervention(name)
        made = cls.configure("testbed", cls.strength.grid[0] if cls.strength and cls.strength.grid else None)
        told = bare.step(Link(Step(name), made, None)).seconds / measured
        opens = isinstance(made, Merging)  # the folder of so small a source takes longer to open than to add
        assert told < 2.5 and (told > 0.4 or opens), name


def test_the_slowest_node_of_a_run_counts(tmp_path: Path) -> None:
    assert Probe.of_run(tmp_path).row("cpu") is None
    assert Probe.of_run(tmp_path).rates("cuda") is A100 and "not measured" in Probe.of_run(tmp_path).source("cuda")
    save([HERE, replace(HERE, bf16=1e9), replace(HERE, kind="cuda")], tmp_path)
    probe = Probe.of_run(tmp_path)
    assert probe.rates("cpu").bf16 == 1e9 and probe.rates("cuda").kind == "cuda"
    row = probe.row("cpu")
    assert row is not None and row["place"] == f"the nodes of {tmp_path}" and row["bf16"] == 1e9


def test_texts_are_as_long_as_the_data() -> None:
    texts = texts_of(collection(), reference_work().subject)
    assert texts.counts["forget"] == 192 and texts.counts["covariance_text"] == 440  # calibration stands in
    assert texts.rephrases == len(collection().edits[0].rephrases)
    assert texts.document is not None and 20 < texts.document < 60 and 5 < texts.edit < 20
    assert 40 < texts.lengths["finetune"] < texts.lengths["finetune_questions"] < 120
    assert texts_of(collection()).edit > texts.edit  # without its tokenizer as in English
