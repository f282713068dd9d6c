"""Some of a sweep's trials, and one of them in the foreground."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci import table
from rayci.errors import RequestError
from rayci.planning import plan, spec
from rayci.trials import launch
from rayci.trials.foreground import debug
from rayci.trials.run_folder import RunFolder
from rayci.trials.selection import Selection
from tests.command_line import rayci

QUICKSTART = Path(__file__).parents[2] / "trials" / "specs" / "quickstart.yaml"


def chosen(only: list[str], replicate: int | None = None, seed: int | None = None) -> list[tuple[str, int | None]]:
    given = spec.load(QUICKSTART)
    made = plan.make(given)
    indices = Selection.of(given, only, replicate, seed).indices(made)
    return [(made.trials[index].composition, made.trials[index].replicate) for index in indices]


def test_compositions_and_replicates() -> None:
    every = [("ft > rtn@4", replicate) for replicate in range(5)]
    assert chosen(["ft > rtn@4", "wanda@0.45"]) == [*every, ("wanda@0.45", None)]
    assert chosen(["ft>rtn@4.0", "wanda@0.45"], 1) == [("ft > rtn@4", 1), ("wanda@0.45", None)]
    assert len(chosen([], 0)) == 17 + 22
    assert len(chosen([])) == 17 * 5 + 22


@pytest.mark.parametrize(
    ("only", "replicate", "seed", "text"),
    [
        (["ft > rtn@5"], None, None, "no composition 'ft > rtn@5'"),
        (["ft > nothing"], None, None, "nothing"),
        (["ft >"], None, None, "--only"),
        ([], 5, None, "replicate = 5"),
        ([], -1, None, "replicate = -1"),
        ([], None, 1, "seed = 1"),
    ],
)
def test_what_is_not_in_the_sweep(only: list[str], replicate: int | None, seed: int | None, text: str) -> None:
    with pytest.raises(RequestError, match="(?s).*" + text.replace("?", ".")):
        chosen(only, replicate, seed)


def test_a_part_of_a_sweep_and_then_the_rest(ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = launch(ten_trials, out=tmp_path / "run", only=["rtn@4 > ft"], workers=1)
    assert run.complete and run.counts["done"] == run.counts["total"] == run.plan.summary()["trials"] == 1
    state = RunFolder(tmp_path / "run").state()
    assert (state["state"], state["trials"], state["trials_done"]) == ("finished", 1, 1)
    assert state["stages"] == state["stages_done"] == 4 and state["trials_of_the_sweep"] == 10
    expected = table.read(undisturbed).frame.set_index(["chain", "criterion"])["value"]
    found = table.read(tmp_path / "run").frame.set_index(["chain", "criterion"])["value"]
    assert set(found.index.get_level_values("chain")) == {"", "rtn@4", "rtn@4 > ft", "rtn@4 > ft > refit(rtn@4)"}
    assert found.equals(expected.loc[found.index])


def test_the_foreground_measures_what_the_sweep_measures(ten_trials: Path, undisturbed: Path) -> None:
    expected = table.read(undisturbed).frame.set_index(["chain", "criterion"])["value"]
    reports = list(debug(ten_trials, "ft > wanda@0.5"))
    assert [report.stage.chain for report in reports] == ["", "ft", "ft > wanda@0.5"]
    for report in reports:
        assert report.failure is None
        assert all(expected[report.stage.chain, name] == value for name, value in report.values.items())
        assert report.values


def test_the_foreground_tells_first_what_is_measured_under_another_name() -> None:
    asked = {"name": "s", "interventions": {"rtn": {"bits": 4}}, "criteria": {"wmdp": {"limit": 4}}}
    untouched, rounded = debug(asked, "rtn@4")
    assert any("wmdp is measured as hazard" in note for note in untouched.notes) and not rounded.notes
    assert untouched.values.keys() == {"hazard"}


def test_debug_needs_one_composition(ten_trials: Path) -> None:
    done = rayci("run", str(ten_trials), "--debug")
    assert done.returncode == 2
    assert "--debug runs one composition" in done.stderr and "Traceback" not in done.stderr
