"""Per-item values: a frozen schema, exact round trips, one bit for right or wrong, damage found."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayci import item_values, table
from rayci.errors import CorruptionError
from rayci.item_values import ItemRow, Items
from rayci.storage import sealed
from tests.test_table import ROW, SCALES

FROZEN = """\
schema_version: int32 not null
stage_fingerprint: string not null
criterion: string not null
criterion_fingerprint: string not null
replicate: int32
seed: int32
item: string not null
n: int64 not null
right: binary
values: list<item: double>
weights: list<item: double>"""

ITEMS = ItemRow(
    stage_fingerprint="a", criterion="mmlu", criterion_fingerprint="c", replicate=None, seed=0, item="question",
    items=Items((1.0, 0.0, 1.0, 1.0)),
)  # fmt: skip
UNEVEN = replace(ITEMS, criterion="perplexity", criterion_fingerprint="p", items=Items((0.1, math.inf), (3.0, 5.0)))


def test_schema_version_1_is_frozen() -> None:
    assert item_values.SCHEMA_VERSION == 1
    lines = [f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in item_values.SCHEMA]
    assert "\n".join(lines) == FROZEN


@settings(deadline=None)
@given(
    st.one_of(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40),
        st.lists(st.floats(allow_nan=False), min_size=1, max_size=9),
    )
)
def test_values_come_back_bit_for_bit(values: list[float]) -> None:
    items = Items(tuple(values))
    (back,) = item_values.values(item_values.to_arrow([replace(ITEMS, items=items)]))
    assert back.tolist() == values
    assert Items.from_plain(items.plain()) == items


def test_right_and_wrong_take_a_bit_each(tmp_path: Path) -> None:
    rows = item_values.to_arrow([replace(ITEMS, items=Items((1.0, 0.0) * 800))])
    assert len(rows.column("right")[0].as_py()) == 200
    assert not rows.column("values")[0].is_valid


def test_items_lie_beside_the_table(tmp_path: Path) -> None:
    table.write_part([ROW], SCALES, tmp_path / "table" / "a.parquet")
    assert table.read(tmp_path).item_values is None
    item_values.write([ITEMS, UNEVEN], tmp_path / "items" / "a.parquet")
    for source in (tmp_path, tmp_path / "table"):
        rows = table.read(source).item_values
        assert rows is not None and rows.column("criterion").to_pylist() == ["mmlu", "perplexity"]
        assert [values.tolist() for values in item_values.values(rows)] == [[1, 0, 1, 1], [0.1, math.inf]]
        weights = item_values.weights(rows)
        assert weights[0] is None and np.array_equal(weights[1], [3.0, 5.0])


@pytest.mark.parametrize("values", [(), (math.nan,), (0.5, math.nan)])
def test_impossible_items(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="item"):
        Items(values)
    with pytest.raises(ValueError, match="2 items with 1 weights"):
        Items((0.5, 1.0), (2.0,))


def test_readings_of_two_runs_count_once_or_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        item_values.write([ITEMS], path)
    rows = item_values.read(paths)
    assert rows is not None and len(rows) == 1
    item_values.write([UNEVEN, replace(ITEMS, items=Items((1.0, 1.0, 1.0, 1.0)))], paths[1])
    with pytest.raises(CorruptionError, match=r"one\.parquet and .*two\.parquet differ in the items of stage a"):
        item_values.read(paths)


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    table.write_part([ROW], SCALES, tmp_path / "table" / "a.parquet")
    path = tmp_path / "items" / "a.parquet"
    item_values.write([ITEMS], path)
    whole = path.read_bytes()
    rows = item_values.to_arrow([ITEMS])
    forged = rows.set_column(7, item_values.SCHEMA.field("n"), [[9]])
    for damaged in (whole[:-9], b"", whole.replace(b"question", b"Question")):
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError, match=r"items/a\.parquet(?s:.*)try: rayci run SPEC"):
            _ = table.read(tmp_path).item_values
    for wrong, fault in ((forged, "as many"), (rows.drop_columns("item"), "columns")):
        sealed.write(wrong, path)
        with pytest.raises(CorruptionError, match=fault):
            item_values.read_part(path)
    shutil.copy(tmp_path / "table" / "a.parquet", path)
    with pytest.raises(CorruptionError, match="columns"):
        item_values.read_part(path)
