"""Damage to a run folder: reading never gives another number, the same command mends it. No Ray is started."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayci import table
from rayci.criteria.choices import Hazard
from rayci.errors import RayciError, RequestError
from rayci.kinds import UNIT_INTERVAL
from rayci.model import loading
from rayci.planning.spec import Spec
from rayci.planning.sweep import Sweep
from rayci.running.asked_readings import outdated
from rayci.running.rows import fault
from rayci.running.runner import Runner
from rayci.storage import sealed
from rayci.storage.entries import decode, encode
from rayci.subject import Subject
from rayci.trials import launch
from rayci.trials.run_folder import RunFolder
from rayci.trials.settle import rows_at_hand
from tests.test_table import ROW, changed

from .conftest import comparable

SPEC = Spec.model_validate(
    {
        "name": "t",
        "model": "testbed",
        "interventions": {"rtn": {"bits": {"sweep": [3, 4]}}, "magnitude": {"sparsity": 0.5}},
        "compose": {"pairs": "within_kinds"},
        "criteria": ["hazard", "avg_bits"],
    }
)


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return Sweep.open(SPEC)


@pytest.fixture(scope="module")
def subject(sweep: Sweep) -> Subject:
    return loading.load(sweep.folder)


Again = Callable[[Path], RunFolder]


def run_here(sweep: Sweep, subject: Subject, root: Path, *, retry_failed: bool = False) -> RunFolder:
    """`rayci run` with all trials in this process."""
    plan, folder = sweep.planner.plan(), RunFolder(root)
    folder.check(sweep)
    with folder.locked():
        folder.describe(sweep, plan, plan)
        done = rows_at_hand(sweep, plan, folder, sharing=True, retry_failed=retry_failed)
        folder.begin(plan.stages.keys() - done)
        if subject.base is not None:
            subject.restore(everything=True)
        runner = Runner(sweep, subject, folder.open_store(), folder.root)
        for trial in plan.trials:
            if any(stage.fingerprint not in done for stage in trial.stages):
                owners = [plan.owners[stage.fingerprint] for stage in trial.stages]
                list(runner.run(trial, owners, [stage.fingerprint in plan.shared for stage in trial.stages]))
    return folder


@pytest.fixture(scope="module")
def again(sweep: Sweep, subject: Subject) -> Again:
    """`rayci run` of the sweep."""
    return lambda root: run_here(sweep, subject, root)


@pytest.fixture(scope="module")
def whole(again: Again, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return again(tmp_path_factory.mktemp("whole") / "run").root


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def parts(run: Path) -> list[Path]:
    return sorted((run / "table").glob("*.parquet"))


def entries(run: Path) -> list[Path]:
    return sorted(path for path in (run / "store").rglob("*.*") if path.suffix in (".json", ".safetensors"))


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a part's rows or metadata and write it as any Parquet writer does."""
    pq.write_table(change(pq.read_table(path)), path)


def other_cell(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return {"ok": "perhaps", "higher": "lower"}.get(value, f"{value}0")
        case None:
            return None
        case _:
            return value * 2 if isinstance(value, list) else value.replace(year=1999)


def flip_a_cell(path: Path, draw: random.Random) -> None:
    def flip(part: pa.Table) -> pa.Table:
        cells = part.to_pylist()[0]
        name = draw.choice([name for name, value in cells.items() if other_cell(value) != value])
        return changed(part, **{name: other_cell(cells[name])})

    rewrite(path, flip)


def flip_a_scale(path: Path, draw: random.Random) -> None:
    def flip(part: pa.Table) -> pa.Table:
        scales = part.schema.metadata[b"rayci.scales"]
        old, new = draw.choice([(b"lower", b"higher"), (b"1.0", b"9.0"), (b"0.25", b"0.5"), (b"}", b"")])
        return part.replace_schema_metadata({**part.schema.metadata, b"rayci.scales": scales.replace(old, new, 1)})

    rewrite(path, flip)


def flip_a_byte(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def cut(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


def swap(path: Path, draw: random.Random) -> None:
    other = draw.choice([file for file in sorted(path.parent.iterdir()) if file != path and file.suffix == path.suffix])
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


def take_another_s(path: Path, draw: random.Random) -> None:
    place = next(parent for parent in path.parents if parent.name in ("table", "items", "store"))
    others = [file for file in sorted(place.rglob(f"*{path.suffix}")) if file.read_bytes() != path.read_bytes()]
    if others:
        path.write_bytes(draw.choice(others).read_bytes())


def double(path: Path, draw: random.Random) -> None:
    shutil.copy(path, path.with_name(f"{draw.randrange(99)}.parquet"))


def foreign(path: Path, draw: random.Random) -> None:
    target = path if draw.random() < 0.5 else path.with_name("foreign.parquet")
    table.write_part([replace(ROW, criterion="hazard")], {"hazard": UNIT_INTERVAL}, target)


def drop_a_row(path: Path, draw: random.Random) -> None:
    rewrite(path, lambda part: part.slice(draw.randrange(2), 1))


def double_a_row(path: Path, draw: random.Random) -> None:
    rewrite(path, lambda part: pa.concat_tables([part, part.slice(draw.randrange(2), 1)]))


def a_pipe(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def delete(path: Path, draw: random.Random) -> None:
    path.unlink()


Damage = Callable[[Path, random.Random], None]
OF_FILES: tuple[Damage, ...] = (flip_a_byte, cut, take_another_s, delete)
OF_PARTS: tuple[Damage, ...] = (
    *OF_FILES, flip_a_cell, flip_a_cell, flip_a_scale, swap, double, foreign, drop_a_row, double_a_row, a_pipe,
)  # fmt: skip


def check_reading(run: Path, expected: pd.DataFrame) -> None:
    """Every row as it was, or one error that names a file."""
    try:
        frame = comparable(run)
    except RayciError as error:
        assert ".parquet" in str(error) and "try: rayci run SPEC" in str(error)
        return
    both = frame.merge(expected.drop_duplicates(), how="left", indicator=True)
    assert set(both["_merge"]) <= {"both"}


@pytest.mark.parametrize("damage", sorted(set(OF_PARTS), key=lambda damage: damage.__name__))
def test_damaged_parts(damage: Damage, run: Path, whole: Path, again: Again) -> None:
    expected = comparable(whole)
    draw = random.Random(damage.__name__)
    for _ in range(3):
        damage(draw.choice(parts(run)), draw)
        check_reading(run, expected)
        folder = again(run)
        pd.testing.assert_frame_equal(comparable(run), expected, check_exact=True)
        assert folder.state()["state"] == "finished"
        aside = {str(path.relative_to(run)) for path in (run / "aside").glob("*")}
        told = {word.rstrip(",") for note in folder.notes for word in note.split() if "aside/" in word}
        assert told <= aside, "what was set aside is named"
        assert bool(told) == (damage is not delete) or damage is flip_a_byte  # a bit that says nothing may be lost


def items(run: Path) -> pa.Table:
    kept = table.read(run).item_values
    assert kept is not None
    return kept


def item_files(run: Path) -> list[Path]:
    return sorted((run / "items").glob("*.parquet"))


@pytest.mark.parametrize("damage", [*OF_FILES, swap, double, a_pipe])
def test_damaged_items(damage: Damage, run: Path, whole: Path, again: Again) -> None:
    draw = random.Random(damage.__name__)
    for _ in range(2):
        damage(draw.choice(item_files(run)), draw)
        folder = again(run)
        assert items(run).equals(items(whole))
        pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)
        assert [path.name for path in item_files(run)] == [path.name for path in parts(run)]
        assert folder.notes or damage is flip_a_byte


@pytest.mark.parametrize("store", ["kept", "without readings"])
def test_items_with_a_right_checksum_must_be_those_of_the_rows(
    store: str, run: Path, whole: Path, again: Again
) -> None:
    path = item_files(run)[3]
    sealed.write(sealed.read(path).slice(1), path)
    if store != "kept":
        for reading in entries(run):
            if reading.parent.name == "readings":
                reading.unlink()
    (note,) = again(run).notes
    assert f"{path}: its items are not those of the rows" in note and "set aside as aside/" in note
    assert items(run).equals(items(whole))


def test_a_run_from_before_items_keeps_its_rows_and_says_so(run: Path, whole: Path, again: Again) -> None:
    described = decode((run / "run.json").read_bytes(), "run.json")
    (run / "run.json").write_bytes(encode({key: own for key, own in described.items() if key != "items"}, "run.json"))
    shutil.rmtree(run / "items")
    assert table.read(run).item_values is None
    written = [path.stat().st_mtime_ns for path in parts(run)]
    for _ in range(2):
        (note,) = again(run).notes
        assert note.startswith(f"{len(parts(run))} stages have no per-item values")
        assert [path.stat().st_mtime_ns for path in parts(run)] == written
    parts(run)[0].unlink()
    again(run)
    assert len(item_files(run)) == 1, "what is measured from here on has its items"
    pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)


FORGERIES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "its final": lambda part: changed(part, final=not part.column("final")[0].as_py()),
    "its criteria": lambda part: changed(part, criterion_fingerprint="0" * 64),
    "its scales": lambda part: part.replace_schema_metadata(
        {b"rayci.scales": part.schema.metadata[b"rayci.scales"].replace(b'"high": 1.0', b'"high": 9.0')}
    ),
    "its stage fingerprint": lambda part: changed(part, stage_fingerprint="0" * 64),
    "its sweep fingerprint": lambda part: part.set_column(
        2, part.schema.field(2), pa.array(["0" * 64] * len(part), pa.string())
    ),
}


@pytest.mark.parametrize("fault", FORGERIES)
def test_a_part_with_a_right_checksum_must_still_be_the_stage_s(
    fault: str, run: Path, whole: Path, again: Again
) -> None:
    path = random.Random(fault).choice(parts(run))
    sealed.write(FORGERIES[fault](sealed.read(path)), path)
    (note,) = again(run).notes
    assert f"{path}: {fault}" in note and "set aside as aside/" in note
    pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)


@pytest.mark.parametrize("damage", [*OF_FILES, swap])
def test_damaged_entries_and_weights(damage: Damage, run: Path, whole: Path, again: Again) -> None:
    draw = random.Random(damage.__name__)
    for _ in range(2):
        for path in draw.sample([file for file in entries(run) if damage is not swap or "readings" in str(file)], 4):
            damage(path, draw)
        for path in parts(run):
            path.unlink()
        again(run)
        pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)


def broken_texts(text: bytes) -> Iterator[bytes]:
    yield from (b"", text[:-9], b"[]", b"5", b"[" * 100_000, b"\xff", text.replace(b'"trials": ', b'"trials": 1'))


def test_run_json_is_rebuilt(run: Path, whole: Path) -> None:
    described = (whole / "run.json").read_bytes()
    before = decode(described, "run.json")
    for text in ["lost", "a pipe", *broken_texts(described)]:
        (run / "run.json").unlink()
        if isinstance(text, bytes):
            (run / "run.json").write_bytes(text)
        elif text == "a pipe":
            os.mkfifo(run / "run.json")
        pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)
        with pytest.raises(RequestError, match=r"run\.json is damaged\n.*rayci run SPEC"):
            RunFolder(run).state()
        done = launch(SPEC, out=run)
        assert done.complete and not done.computed
        assert any("run.json was lost or damaged" in note for note in done.notes)
        rebuilt = RunFolder(run).described()
        assert rebuilt is not None and {**rebuilt, "store": None} == {**before, "store": None}


def test_a_lost_run_json_does_not_open_the_folder_to_others(run: Path, tmp_path: Path) -> None:
    other = SPEC.model_copy(update={"seed": 7})
    (run / "run.json").unlink()
    with pytest.raises(RequestError, match="holds another sweep"):
        launch(other, out=run)
    (tmp_path / "mine" / "table").mkdir(parents=True)
    (tmp_path / "mine" / "table" / "notes.parquet").write_text("not of a run")
    with pytest.raises(RequestError, match="is not a run folder"):
        launch(SPEC, out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["table"]


@pytest.mark.parametrize("left", [0, 1])
def test_lost_parts_come_back_from_the_store(left: int, run: Path, whole: Path) -> None:
    for path in parts(run)[left:]:
        path.unlink()
    done = launch(SPEC, out=run)
    assert done.complete and not done.computed
    pd.testing.assert_frame_equal(comparable(run), comparable(whole), check_exact=True)
    assert items(run).equals(items(whole))


def test_a_run_of_some_trials_ends_finished(run: Path) -> None:
    for path in parts(run)[1:]:
        path.unlink()
    done = launch(SPEC, out=run, only=["rtn@4"])
    assert done.complete and done.plan.summary()["trials"] == 1
    state = RunFolder(run).state()
    assert (state["state"], state["trials"], state["trials_done"]) == ("finished", 1, 1)
    assert (state["stages"], state["stages_done"], state["trials_of_the_sweep"]) == (2, 2, 7)


def test_rows_of_an_older_version_of_a_criterion_are_outdated(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Sweep.open(SPEC).planner.root
    part = table.read_part(RunFolder(whole).part(root.fingerprint))
    assert fault(Sweep.open(SPEC), root, part) is None and not outdated(Sweep.open(SPEC), root, part)
    monkeypatch.setattr(Hazard, "version", Hazard.version + 1)
    assert set(outdated(Sweep.open(SPEC), root, part).values()) == {"hazard"}


def test_many_parts_set_aside_are_told_in_few_words(run: Path, again: Again) -> None:
    for number in range(13):
        (run / "table" / f"{number}.parquet").write_text("not a part")
    notes = again(run).notes
    assert len(notes) == 11 and notes[-1] == f"3 more files were set aside in {run / 'aside'}"
