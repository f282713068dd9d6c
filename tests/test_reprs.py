"""What a person sees at the prompt: a few lines for an object of any size, and the names that a room offers."""

from __future__ import annotations

from pathlib import Path

import pytest

import rayci
from rayci import analysis, trials
from rayci.planning.sweep import Sweep
from rayci.trials.asked_spec import read_spec
from rayci.trials.driver import Run
from rayci.trials.run_folder import RunFolder


def test_planning() -> None:
    spec = read_spec("quickstart")[0]
    sweep = Sweep.open(spec)
    plan = sweep.planner.plan()
    run = Run(plan, RunFolder(Path("runs/quickstart")), True, True, {"total": 107, "done": 107, "failed": 0})
    assert repr(plan) == "Plan(quickstart: 107 trials, 39 compositions, 150 stages)"
    assert repr(run).startswith("Run(quickstart: complete, 107 total, 107 done, 0 notes, in ")
    assert "wanda" in repr(spec) and "500 edits" in repr(sweep)
    assert max(len(repr(shown)) for shown in (spec, sweep, sweep.planner, plan, run)) < 1500


def test_subject() -> None:
    subject = rayci.apply("testbed", "rtn@4 > wanda@0.45")
    lines = repr(subject).splitlines()
    assert lines[0].startswith("Subject(LlamaForCausalLM, 689,280 parameters, torch.float32 on cpu")
    assert lines[1:] == ["  applied: rtn@4 > wanda@0.45)"]
    assert "tensor(" not in repr(subject.receipts)


def test_answers() -> None:
    table = analysis.load("published:llama3_8b")
    answer = repr(analysis.which_order(table)).splitlines()
    assert answer[0].startswith("WhichOrder(") and "none of 33 pairs" in answer[1] and len(answer) <= 6
    recommended = analysis.recommend(table, ["mmlu>=0.5"], minimize="avg_bits")
    for shown in (recommended, analysis.compare(table, table), table.curves(["mmlu"])[0]):
        assert repr(shown).startswith(f"{type(shown).__name__}(") and len(repr(shown)) < 120


@pytest.mark.parametrize("room", [rayci, analysis, trials])
def test_dir_lists_what_is_offered_and_all_of_it_is_there(room: object) -> None:
    names = dir(room)
    assert names == sorted(set(names)) and not set(names) & {"annotations", "Any", "TYPE_CHECKING", "import_module"}
    assert all(getattr(room, name) is not None for name in names)
