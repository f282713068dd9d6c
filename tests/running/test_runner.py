"""The runner of one composition: what it reads, stores and refuses, without Ray."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from rayci import item_values, registry, table
from rayci.context import Context
from rayci.criterion import Criterion, Reading
from rayci.errors import Inapplicable, MeasurementError
from rayci.kinds import UNIT_INTERVAL, Direction, Scale
from rayci.model import loading
from rayci.planning.plan import Plan
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.readings import stored_readings
from rayci.running.runner import Runner, StageReport
from rayci.storage.room import folder
from rayci.storage.stages import StageStore
from rayci.subject import Subject
from tests.trials.conftest import comparable


class Unmeasurable(Criterion):
    """Has no value once the model was pruned."""

    name: ClassVar[str] = "unmeasurable"
    scale: ClassVar[Scale] = UNIT_INTERVAL

    def measure(self, subject: Subject, context: Context) -> Reading:
        if subject.pruned:
            raise MeasurementError("no value on a pruned model")
        return Reading(1.0, 1)


class OfPruned(Criterion):
    """Applies to a pruned model alone."""

    name: ClassVar[str] = "of_pruned"
    scale: ClassVar[Scale] = UNIT_INTERVAL

    def measure(self, subject: Subject, context: Context) -> Reading:
        if not subject.pruned:
            raise Inapplicable("nothing was pruned")
        return Reading(1.0, 1)


class NotANumber(Criterion):
    """NaN everywhere."""

    name: ClassVar[str] = "not_a_number"
    scale: ClassVar[Scale] = Scale(Direction.NONE)

    def measure(self, subject: Subject, context: Context) -> Reading:
        return Reading(math.nan, 1)


class WeightsDigest(Criterion):
    """A number that tells any two sets of weights apart."""

    name: ClassVar[str] = "weights_digest"
    scale: ClassVar[Scale] = Scale(Direction.NONE)

    def measure(self, subject: Subject, context: Context) -> Reading:
        digest = hashlib.sha256()
        for value in subject.model.parameters():
            digest.update(value.detach().numpy().tobytes())
        return Reading(float(int(digest.hexdigest()[:12], 16)), 1)


@pytest.fixture(autouse=True)
def own_criteria(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Unmeasurable, OfPruned, NotANumber, WeightsDigest):
        monkeypatch.setitem(registry.CRITERIA, cls.name, f"{cls.__module__}:{cls.__qualname__}")


WANDA = {"sparsity": 0.5, "sequences": 4, "length": 32}
SPEC = Spec.model_validate(
    {
        "name": "t",
        "interventions": {"rtn": {"bits": 4}, "wanda": WANDA},
        "compose": {"pairs": "within_kinds"},
        "criteria": [{"hazard": {"limit": 20}}, "perplexity"],
    }
)


GRID = Spec.model_validate(
    {
        "name": "grid",
        "interventions": {"rtn": {"bits": {"sweep": [3, 4]}}, "magnitude": {"sparsity": {"sweep": [0.3, 0.5]}}},
        "compose": {"pairs": "within_kinds"},
        "criteria": ["weights_digest"],
    }
)
"""Four shared stages, each with two that follow it."""


def runner(place: Path, spec: Spec = SPEC, *, sharing: bool = True, store: StageStore | None = None) -> Runner:
    torch.set_num_threads(1)
    sweep = Sweep.open(spec)
    store = store or StageStore(place / "store")
    return Runner(sweep, loading.load(sweep.folder), store, place, sharing)


def run_all(active: Runner) -> tuple[Plan, list[StageReport]]:
    made = active.sweep.planner.plan()

    def reports() -> Iterator[StageReport]:
        for trial in made.trials:
            owners = [made.owners[stage.fingerprint] for stage in trial.stages]
            yield from active.run(trial, owners, [stage.fingerprint in made.shared for stage in trial.stages])

    return made, list(reports())


def test_every_stage_once(tmp_path: Path) -> None:
    made, reports = run_all(runner(tmp_path))
    assert made.summary()["stages_computed"] == 4
    assert sum(report.applied for report in reports) == 4
    assert sum(report.measured for report in reports) == 5
    assert len(list((tmp_path / "table").iterdir())) == 5


def test_a_stored_prefix_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = runner(tmp_path), runner(tmp_path / "other", sharing=False)
    made, _ = run_all(first)
    trial = next(trial for trial in made.trials if trial.composition == "wanda@0.5 > rtn@4")
    fresh = runner(
        tmp_path / "fresh", store=first.store
    )  # starts from the stored wanda@0.5, the last stage being forgotten
    fresh.store.forget(trial.stages[-1].fingerprint)
    for active in (fresh, second):
        for _ in active.run(trial, [""] * 3, [False] * 3):
            pass
    pairs = zip(fresh.subject.model.parameters(), second.subject.model.parameters(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)
    assert fresh.subject.pruned and second.subject.pruned


def test_a_damaged_stage_is_set_aside_and_computed_again(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"interventions": {"rtn": {"bits": {"sweep": [3, 4]}}, "wanda": WANDA}})
    active = runner(tmp_path, spec)
    made, _ = run_all(active)
    shared = next(stage for stage in made.stages.values() if stage.fingerprint in made.shared)
    place = tmp_path / "store" / folder(shared.fingerprint)
    weights = place / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for part in (tmp_path / "table").iterdir():
        part.unlink()
    for reading in (tmp_path / "store").rglob("readings/*.json"):
        reading.unlink()
    _, reports = run_all(runner(tmp_path, spec))
    assert not any(report.failure for report in reports)
    assert len(list(place.glob("damaged-*"))) == 2
    assert [note for report in reports for note in report.notes] == [
        f"{weights} does not match its checksum; it was set aside and is computed again"
    ]
    assert len(table.read(tmp_path)) == 2 * len(made.stages)


def test_readings_survive_a_lost_part(tmp_path: Path) -> None:
    _, _ = run_all(runner(tmp_path))
    lost = sorted((tmp_path / "table").iterdir())[2]
    before = table.read(tmp_path).frame
    lost.unlink()
    _, reports = run_all(runner(tmp_path))
    assert sum(report.applied for report in reports) == 0
    after = table.read(tmp_path).frame
    kept = [name for name in before.columns if name not in table.VOLATILE]
    assert after[kept].astype(str).equals(before[kept].astype(str))
    again = after["stage_fingerprint"] == lost.stem
    assert set(after.loc[again, "measure_seconds"]) == {0.0} and (after.loc[~again, "measure_seconds"] > 0).all()


def test_a_reading_that_is_stored_is_not_taken_again(tmp_path: Path) -> None:
    run_all(runner(tmp_path))
    kept = set((tmp_path / "store").rglob("readings/*.json"))
    lost = sorted(kept)[::2]  # a worker that is killed leaves the readings before the one it took
    for path in [*lost, *(tmp_path / "table").iterdir()]:
        path.unlink()
    times = {path: path.stat().st_mtime_ns for path in kept - set(lost)}
    run_all(runner(tmp_path))
    assert set((tmp_path / "store").rglob("readings/*.json")) == kept
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.parametrize(
    "fields", [{"value": math.nan}, {"status": "perhaps"}, {"value": None}, {"value": "much"}, {"elapsed": 1.0}]
)
def test_an_entry_that_is_no_reading_is_taken_again(fields: dict[str, Any], tmp_path: Path) -> None:
    active = runner(tmp_path)
    root = active.sweep.planner.trial("rtn@4", None, 0)
    list(active.run(root, ["a"] * 2, [False] * 2))
    before = comparable(tmp_path)
    stage, criterion = root.stages[1].fingerprint, active.sweep.criteria[0]
    fingerprint = active.sweep.criterion_fingerprint(criterion, None, root.stages[1].seed)
    active.store.put_reading(stage, fingerprint, {**(active.store.reading(stage, fingerprint) or {}), **fields})
    (tmp_path / "table" / f"{stage}.parquet").unlink()
    assert stored_readings(active.sweep, active.store, root.stages[1]) is None
    list(active.run(root, ["a"] * 2, [False] * 2))
    pd.testing.assert_frame_equal(comparable(tmp_path), before, check_exact=True)


def test_a_stage_s_items_are_there_before_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    active = runner(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(table, "write_part", killed)
        run_all(active)
    assert len(list((tmp_path / "items").iterdir())) == 1
    run_all(active)
    kept = table.read(tmp_path).item_values
    assert kept is not None
    weighed = zip(item_values.values(kept), item_values.weights(kept), strict=True)
    means = kept.select(["stage_fingerprint", "criterion"]).to_pandas()
    means["mean"] = [np.average(values, weights=weights) for values, weights in weighed]
    both = table.read(tmp_path).frame.merge(means, how="outer")
    logged = both["value"].where(both["criterion"] != "perplexity", np.log(both["value"]))
    np.testing.assert_allclose(both["mean"], logged, rtol=1e-9)


def test_references_survive_a_lost_store(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"criteria": {"edit_locality_agreement": {}}, "interventions": {"rtn": {"bits": 2}}})
    run_all(runner(tmp_path, spec))
    before = table.read(tmp_path).frame.set_index("chain")["value"]
    assert before["rtn@2"] < 0.5
    shutil.rmtree(tmp_path / "store")
    for part in (tmp_path / "table").iterdir():
        if table.read_part(part).rows.column("stage").to_pylist()[0] == 1:
            part.unlink()
    run_all(runner(tmp_path, spec))
    assert table.read(tmp_path).frame.set_index("chain")["value"].equals(before)


def test_a_failing_criterion_is_one_row(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"criteria": {"hazard": {}, "unmeasurable": {}, "not_a_number": {}, "of_pruned": {}}})
    run_all(runner(tmp_path, spec))
    frame = table.read(tmp_path).frame.set_index(["chain", "criterion"])
    assert frame.loc[("wanda@0.5", "hazard"), "status"] == "ok"
    assert frame.loc[("wanda@0.5", "unmeasurable"), "reason"] == "no value on a pruned model"
    assert frame.loc[("rtn@4", "unmeasurable"), "value"] == 1.0
    assert frame.loc[("wanda@0.5", "of_pruned"), "value"] == 1.0
    assert tuple(frame.loc[("rtn@4", "of_pruned"), ["status", "reason"]]) == ("skipped", "nothing was pruned")
    nan = frame.xs("not_a_number", level="criterion")
    assert set(nan["status"]) == {"failed"} and nan["value"].isna().all()
    assert set(nan["reason"]) == {"not_a_number is NaN"}


def test_what_is_to_be_known_of_a_value_stands_in_its_row(tmp_path: Path) -> None:
    questions = [{"question": text, "options": ["yes", "no"], "answer": 0} for text in ("Is it?", "the " * 300)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    changes = {"interventions": {"rtn": {"bits": 4}}, "data": {"hazard": str(tmp_path / "asked.jsonl")}}
    asked = SPEC.model_copy(update={**changes, "criteria": {"hazard": {}}})
    _, reports = run_all(runner(tmp_path, asked))
    note = "1 of 2 prompts exceed the model's context and lost their first tokens"
    assert {said for report in reports for said in report.notes} == {f"hazard: {note}"}
    frame = table.read(tmp_path).frame
    assert set(frame["reason"]) == {note} and set(frame["status"]) == {"ok"}


def test_infinite_perplexity_is_stored_as_infinity(tmp_path: Path) -> None:
    active = runner(tmp_path)
    with torch.no_grad():
        active.subject.model.lm_head.weight.mul_(1e6)
    active.subject.remember_base()
    run_all(active)
    frame = table.read(tmp_path).frame
    values = frame[frame["criterion"] == "perplexity"]["value"]
    assert len(values) == 5 and (values == math.inf).all()


def test_what_was_done_otherwise_than_asked_is_a_note(tmp_path: Path) -> None:
    spec = Spec(name="notes", interventions={"memit": {"passes": 2}}, criteria={"sparsity": {}})
    reports = run_all(runner(tmp_path, spec))[1]
    notes = {note for report in reports for note in report.notes}
    assert notes and all(note.startswith("memit: ") for note in notes)
    assert any("covariance_text" in note for note in notes), notes


def test_the_subject_is_back_at_base_after_a_failure(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"interventions": {"ft": {"lr": 3e37}, "rtn": {"bits": 4}}, "compose": SPEC.compose})
    active = runner(tmp_path, spec)
    base = {name: value.clone() for name, value in active.subject.model.named_parameters()}
    made = active.sweep.planner
    reports = list(active.run(made.trial("ft > rtn@4", 0, 0), ["a"] * 3, [False] * 3))
    assert [report.failure is None for report in reports] == [True, False, False]
    assert all(torch.equal(value, base[name]) for name, value in active.subject.model.named_parameters())
    statuses = table.read(tmp_path).frame.groupby("stage")["status"].unique().map(list).to_dict()
    assert statuses == {0: ["ok"], 1: ["failed"], 2: ["skipped"]}


@pytest.fixture
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, int, int]:
    """The table of an undisturbed run of GRID, and the bytes of its smallest and its largest stored stage."""
    place = tmp_path_factory.mktemp("grid")
    run_all(runner(place, GRID))
    sizes = [path.stat().st_size for path in place.rglob("weights.safetensors")]
    assert len(sizes) == 4
    return comparable(place), min(sizes), max(sizes)


@pytest.mark.parametrize("stages", [1.7, 1.2, 0.5])
def test_a_size_limit_costs_time_but_no_row(
    tmp_path: Path, grid: tuple[pd.DataFrame, int, int], monkeypatch: pytest.MonkeyPatch, stages: float
) -> None:
    expected, least, most = grid
    limit = int(stages * (most if stages > 1 else least))
    taken = []

    def rename(path: Path, target: Path) -> Path:
        """Look when a file has been written and what it replaces is still there: the fullest moment."""
        taken.append(sum(file.stat().st_size for file in tmp_path.rglob("*weights.safetensors*")))
        return original(path, target)

    original = Path.replace
    monkeypatch.setattr(Path, "replace", rename)
    _, reports = run_all(runner(tmp_path, GRID, store=StageStore(tmp_path / "store", limit=limit)))
    pd.testing.assert_frame_equal(comparable(tmp_path), expected)
    assert max(taken) <= limit and (max(taken) > 0) == (stages > 1)
    steps = sum(report.applied for report in reports)
    assert steps > 12, "something was computed again"
    assert any("was not stored: no room" in note for report in reports for note in report.notes) == (stages < 1)


def test_a_full_disk_of_the_store_costs_time_but_no_row(
    tmp_path: Path, grid: tuple[pd.DataFrame, int], tiny_disk: Path
) -> None:
    _, reports = run_all(runner(tmp_path, GRID, store=StageStore(tiny_disk / "store")))
    pd.testing.assert_frame_equal(comparable(tmp_path), grid[0])
    assert any("no space left on the disk" in note for report in reports for note in report.notes)
    assert not list(tiny_disk.rglob("*weights.safetensors*"))


def test_a_stage_lost_on_the_way_is_stored_again(tmp_path: Path) -> None:
    first = runner(tmp_path, GRID)
    made, _ = run_all(first)
    trials = [trial for trial in made.trials if trial.composition.startswith("magnitude@0.3 > ")]
    lost, *last = trials[0].stages[1], *(trial.stages[-1] for trial in trials)
    first.store.free_weights(lost.fingerprint)
    for stage in last:
        first.store.forget(stage.fingerprint)
        (tmp_path / "table" / f"{stage.fingerprint}.parquet").unlink()
    again = runner(tmp_path, GRID)
    reports = [list(again.run(trial, [""] * 3, [False, True, False], first=2)) for trial in trials]
    assert [sum(report.applied for report in each) for each in reports] == [2, 1]
    assert again.store.has_weights(lost.fingerprint)
