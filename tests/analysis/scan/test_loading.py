"""Tables from anywhere: files, folders, globs, URLs, lists; several runs as one; what others wrote; bad input."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayci import analysis
from rayci.errors import CorruptionError, RayciError, RequestError
from rayci.kinds import Direction, Scale, Status
from rayci.storage.entries import encode
from rayci.table import SCHEMA, Row, from_rows, write_part
from rayci.table.stored_rows import ASKED, StoredRows
from tests.analysis.synthetic_table import SCALES, both_orders, row

MMLU = both_orders("ft", "wanda", "mmlu", {0.25: 0.5, 0.5: 0.4}, {0.25: 0.5, 0.5: 0.3})
WMDP = both_orders("ft", "wanda", "wmdp", {0.25: 0.3}, {0.25: 0.4})


def of_sweep(rows: list[Row], sweep: str, **fields: Any) -> list[Row]:
    return [replace(each, sweep=sweep, sweep_fingerprint=sweep, **fields) for each in rows]


def write_run(root: Path, rows: list[Row], **described: Any) -> Path:
    for number, each in enumerate(rows):
        write_part([each], SCALES, root / "table" / f"{number}.parquet")
    entry = {"fingerprint": rows[0].sweep_fingerprint, **described}
    (root / "run.json").write_bytes(encode(entry, "run.json"))
    return root


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of two runs of which the second goes on where the first ended."""
    write_run(tmp_path / "runs" / "one", of_sweep(MMLU, "first"))
    write_run(tmp_path / "runs" / "two", of_sweep([*MMLU[:2], *WMDP], "second", trial_id="u", device="cuda"))
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    (tmp_path / "runs" / "begun" / "table").mkdir(parents=True)
    return tmp_path / "runs"


WAYS: dict[str, Callable[[Path], Any]] = {
    "a folder of runs": lambda runs: runs,
    "a glob": lambda runs: f"{runs}/*",
    "a glob of files": lambda runs: str(runs / "*" / "table" / "[!.]*.parquet"),
    "a list": lambda runs: [runs / "one", str(runs / "two" / "table")],
    "a list that says one twice": lambda runs: [runs / "one", runs / "one", runs / "two"],
    "a URL": lambda runs: f"file://{runs}",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_measurement_of_several_runs_counts_once(way: str, runs: Path) -> None:
    table = analysis.load(WAYS[way](runs))
    expected = from_rows([*of_sweep(MMLU, "first"), *of_sweep(WMDP, "second")], SCALES)
    values = ["chain", "criterion", "value"]
    assert table.arrow.select(values).equals(expected.arrow.select(values))
    assert table.scales == {name: SCALES[name] for name in ("mmlu", "wmdp")}
    assert set(table.metrics()["criterion"]) == {"mmlu", "wmdp"}


def test_runs_that_contradict_each_other(runs: Path) -> None:
    write_run(runs / "three", of_sweep([replace(MMLU[0], value=0.5 * (1 + 1e-12))], "third"))
    assert len(analysis.load([runs / "one", runs / "three"])) == 4, "equal to nine digits"
    write_run(runs / "three", of_sweep([replace(MMLU[0], value=0.51)], "third"))
    with pytest.raises(
        RequestError, match=r"runs/one and .*runs/three differ in mmlu of stage .*: value 0\.5 and 0\.51"
    ):
        analysis.load(runs)
    failed = replace(MMLU[0], value=None, status=Status.FAILED, reason="lost")
    write_run(runs / "three", of_sweep([failed], "third"))
    with pytest.raises(RequestError, match=r"value 0\.5 and nothing\n.*--retry-failed"):
        analysis.load(runs)
    scaled = {**SCALES, "mmlu": Scale(Direction.HIGHER, 0.0, 100.0)}
    write_part(of_sweep(MMLU[:1], "third"), scaled, runs / "three" / "table" / "0.parquet")
    with pytest.raises(RequestError, match="give mmlu different scales"):
        analysis.load(runs)


def test_from_a_url(tmp_path: Path) -> None:
    write_run(tmp_path / "one", of_sweep(MMLU, "first"), parameters=7)
    system = fsspec.filesystem("memory")
    system.put(str(tmp_path / "one"), "/bucket/runs/one", recursive=True)
    expected = analysis.load(tmp_path / "one")
    for url in ("memory://bucket/runs/one", "memory://bucket/runs", "memory://bucket/runs/o*"):
        table = analysis.load(url)
        assert table.arrow.equals(expected.arrow) and table.models() == expected.models()
    system.pipe_file("/bucket/runs/one/table/0.parquet", b"PAR1")
    with pytest.raises(CorruptionError, match=r"memory:///bucket/runs/one/table/0\.parquet: not a complete Parquet"):
        analysis.load("memory://bucket/runs/one")
    with pytest.raises(RequestError, match=r"no result table at memory://.*nowhere"):
        analysis.load("memory://bucket/nowhere")
    with pytest.raises(RequestError, match="unknown kind of URL"):
        analysis.load("carrier-pigeon://bucket")


WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    "pandas": lambda table, path: table.to_pandas().to_parquet(path),
    "polars": lambda table, path: table.to_polars().write_parquet(path),
    "pyarrow": lambda table, path: pq.write_table(table.to_arrow(), path),
    "pyarrow, in groups": lambda table, path: pq.write_table(table.to_arrow(), path, row_group_size=10),
    "dictionaries": lambda table, path: pq.write_table(
        table.arrow.set_column(15, "criterion", table.arrow.column("criterion").dictionary_encode()), path
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_others_wrote_reads_back(writer: str, tmp_path: Path) -> None:
    failed = row("ft", "mmlu", "why", replicate=3)
    table = analysis.load(write_run(tmp_path / "run", [*MMLU, *WMDP, failed]))
    WRITERS[writer](table, tmp_path / "mine.parquet")
    again = analysis.load(tmp_path / "mine.parquet")
    assert again.arrow.equals(table.arrow) and set(again.scales) == set(table.scales)
    if writer == "pandas":
        pd.testing.assert_frame_equal(again.metrics(), table.metrics())
        assert again.scales == table.scales


def test_rows_of_a_file_stay_there_until_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*MMLU, *WMDP, row("ft", "mmlu", "why", replicate=3)]
    table = analysis.load(write_run(tmp_path / "run", rows))
    table.to_polars().with_columns(pl.col("criterion").cast(pl.Categorical)).write_parquet(tmp_path / "mine.parquet")
    expected = table.metrics(criteria=["mmlu"])["value_ij"], repr(table), len(table)

    def read(rows: StoredRows) -> pa.Table:
        raise AssertionError("all columns were read")

    monkeypatch.setattr(StoredRows, "read", read)
    again = analysis.load(tmp_path / "mine.parquet")
    assert isinstance(again.rows, StoredRows)
    metrics = again.metrics(criteria=["mmlu"])["value_ij"]
    assert metrics.tolist() == expected[0].tolist() and (repr(again), len(again)) == expected[1:]


@pytest.mark.parametrize("writer", WRITERS)
def test_steps_of_some_rows_of_a_file(writer: str, tmp_path: Path) -> None:
    table = analysis.load("published:llama3_8b")
    WRITERS[writer](table, tmp_path / "rows.parquet")
    again, places = analysis.load(tmp_path / "rows.parquet"), np.arange(3, len(table), 7)
    assert isinstance(again.rows, StoredRows)
    wanted = [[{name: step[name] for name in ASKED} for step in steps] for steps in table.frame["steps"][places]]
    assert [steps for some in again.steps(places) for steps in some.to_pylist()] == wanted


def test_columns_that_are_not_known_pass_and_missing_ones_are_named(runs: Path, tmp_path: Path) -> None:
    frame = analysis.load(runs / "one").to_pandas().assign(mine=[1, 2, 3, 4])
    frame.to_parquet(tmp_path / "more.parquet")
    table = analysis.load([tmp_path / "more.parquet", runs / "two"])
    assert table.to_pandas()["mine"].notna().sum() == 4 and len(table) == 6
    frame.drop(columns=["chain", "value"]).to_parquet(tmp_path / "less.parquet")
    with pytest.raises(RequestError, match=r"less\.parquet is no result table: it has no column chain, value"):
        analysis.load(tmp_path / "less.parquet")


def test_the_parts_of_a_run_must_be_ours(runs: Path) -> None:
    table = analysis.load(runs / "one")
    table.to_pandas().to_parquet(runs / "one" / "table" / "0.parquet")
    for place in (runs / "one", runs / "one" / "table"):
        with pytest.raises(CorruptionError, match=r"0\.parquet: it has no checksum"):
            analysis.load(place)
    assert len(analysis.load(runs / "one" / "table" / "0.parquet")) == 4, "as a file of its own it may be anyone's"


def bad(frame: pd.DataFrame, **cells: Any) -> pd.DataFrame:
    return frame.assign(**cells)


def with_nan(rows: pa.Table) -> pa.Table:
    values = pa.array([float("nan")] * len(rows))
    return rows.set_column(rows.schema.get_field_index("value"), "value", values)


BAD_FILES: dict[str, tuple[Callable[[pd.DataFrame, Path], Any], str]] = {
    "empty": (lambda frame, path: path.write_bytes(b""), "complete Parquet file"),
    "truncated": (lambda frame, path: path.write_bytes(b"PAR1" + bytes(99)), "complete Parquet file"),
    "text": (lambda frame, path: frame.to_csv(path), "complete Parquet file"),
    "foreign": (lambda frame, path: pl.DataFrame({"a": [1]}).write_parquet(path), "no column schema_version, sweep"),
    "no rows": (lambda frame, path: pq.write_table(SCHEMA.empty_table(), path), "it has no rows"),
    "no number for a value": (
        lambda frame, path: pq.write_table(with_nan(pa.Table.from_pandas(frame)), path),
        "a value is NaN(.|\n)*allowed: a row with a value",
    ),
    "texts for values": (lambda frame, path: bad(frame, value="x").to_parquet(path), "its column value is"),
    "a row twice": (lambda frame, path: pd.concat([frame, frame]).to_parquet(path), "4 rows occur twice"),
    "another status": (lambda frame, path: bad(frame, status="perhaps").to_parquet(path), "unknown status 'perhaps'"),
    "a value and no ok": (lambda frame, path: bad(frame, status="failed").to_parquet(path), "without status ok"),
    "no step": (lambda frame, path: bad(frame, steps=None).to_parquet(path), "its column steps is|a steps is missing"),
    "no criterion": (lambda frame, path: bad(frame, criterion=None).to_parquet(path), "a criterion is missing"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_files_that_are_no_tables(kind: str, runs: Path, tmp_path: Path) -> None:
    write, problem = BAD_FILES[kind]
    write(analysis.load(runs / "one").to_pandas(), tmp_path / "bad.parquet")
    with pytest.raises(RequestError, match=rf"bad\.parquet is no .*{problem}"):
        analysis.load([runs / "one", tmp_path / "bad.parquet"])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nowhere", "no result table at .*nowhere"),
        ("*.parquet", r"no result table at .*\*\.parquet"),
        ("runs/begun", "no result table at .*begun"),
        ([], "the list is empty"),
        (None, "None is no place"),
        ([3], r"\[3\] is no place"),
        (["runs/one", "runs/three"], "no result table at .*three"),
        ("published:llama4", "no published table 'llama4'"),
        ("a\0b", "no usable path"),
    ],
)
def test_places_that_hold_no_table(source: Any, problem: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    with pytest.raises(RequestError, match=problem) as caught:
        analysis.load(source)
    assert str(caught.value).count("\n") <= 3
    with pytest.raises(RequestError, match="criterion 'mlu' is not in the table"):
        analysis.load("runs").metrics(criteria=["mlu"])


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RayciError, match=r"no result table|not a file"):
        analysis.load(tmp_path / "pipe")


@pytest.fixture
def two_sizes(tmp_path: Path) -> Path:
    """Runs of two models, and one of them under another name."""
    small = of_sweep(MMLU, "s", model="small", model_fingerprint="5ma11")
    large = [
        replace(each, stage_fingerprint=f"l{each.stage_fingerprint}", value=(each.value or 0) + 0.1)
        for each in of_sweep(MMLU, "l", model="large", model_fingerprint="1a26e")
    ]
    write_run(tmp_path / "l", large, parameters=9000)
    write_run(tmp_path / "s", small, parameters=1000)
    copied = of_sweep(WMDP, "s2", model="/copy/of/small", model_fingerprint="5ma11")
    write_run(tmp_path / "s2", copied)
    return tmp_path


def test_several_models_side_by_side(two_sizes: Path) -> None:
    table = analysis.load(two_sizes)
    assert [(model.name, model.parameters) for model in table.models()] == [("small", 1000), ("large", 9000)]
    frame = table.metrics(at=0.5, criteria=["mmlu"])
    assert frame.columns[:3].tolist() == ["model", "parameters", "criterion"]
    assert frame[["parameters", "value_ij"]].to_numpy().tolist() == [[1000, 0.4], [9000, 0.5]]
    for name in ("large", "1a2"):
        assert table.of_model(name).metrics(at=0.5)["value_ij"].tolist() == [0.5]
    assert table.of_model("large").metrics(at=0.5).columns[0] == "criterion"
    for name in ("huge", ""):
        with pytest.raises(RequestError, match=r"no model of the table is called.*\n.*--model\n.*small, large"):
            table.of_model(name)
    with pytest.raises(RequestError, match="2 models"):
        table.curves()


def test_one_name_of_two_models(tmp_path: Path) -> None:
    for number, print_ in enumerate(("aaaabbbb1", "ccccdddd2")):
        rows = of_sweep(MMLU, f"{number}", model="mine", model_fingerprint=print_)
        rows = [replace(each, stage_fingerprint=f"{number}{each.stage_fingerprint}") for each in rows]
        write_run(tmp_path / f"{number}", rows)
    names = [model.name for model in analysis.load(tmp_path).models()]
    assert names == ["mine (aaaabbbb)", "mine (ccccdddd)"]


def test_a_table_in_a_few_lines(two_sizes: Path) -> None:
    text = repr(analysis.load(two_sizes))
    assert text == (
        "10 rows of 3 sweeps: l, s, s2\n"
        "  models   small (1,000 parameters), large (9,000 parameters)\n"
        "  criteria mmlu, wmdp\n"
        "  methods  ft, wanda\n"
        "  missing  nothing\n"
        "  items    none kept"
    )
    published = repr(analysis.load("published:llama3_8b"))
    assert "skipped; first: not legible in the source" in published and len(published) < 600


def test_one_figure_by_one_call(runs: Path) -> None:
    table = analysis.load(runs)
    assert {trace.name for trace in table.plot("mmlu").data} >= {"ft > wanda", "wanda > ft"}
    with pytest.raises(RequestError, match=r"no set of methods has awq\n.*ft, wanda"):
        table.plot("mmlu", ["awq"])
    with pytest.raises(RequestError, match=r"sets of methods have these methods"):
        analysis.load("published:llama3_8b").plot("mmlu")


def test_frames_and_items(runs: Path) -> None:
    table = analysis.load(runs / "one")
    assert table.to_polars().height == len(table.to_pandas()) == table.to_arrow().num_rows == 4
    assert isinstance(table.to_arrow(), pa.Table)
    with pytest.raises(RequestError, match="no per-item values"):
        table.items()
