"""What the report's scripts are given is what the table holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayci import analysis, item_values, registry
from rayci.analysis.page.cell_data import cell_data, reason_of
from rayci.analysis.page.compact import Texts, number
from rayci.analysis.page.curve_data import curve_data
from rayci.analysis.page.item_flips import Turned, item_flips
from rayci.analysis.page.long_names import METHODS, expanded, introduced
from rayci.analysis.page.provenance import provenance
from rayci.analysis.page.stage_data import stage_data
from rayci.analysis.page.stage_rows import missing, stage_lines
from rayci.analysis.scan.cells import final_cells
from rayci.analysis.scan.family import families
from rayci.analysis.text.tables import records_of
from rayci.table import Row
from tests.analysis.page.report_table import EVIL, report_table
from tests.analysis.synthetic_table import SCALES, row, table

TABLE = report_table()
FAMILIES = families(final_cells(TABLE))


@pytest.mark.parametrize(
    ("value", "plain"), [(None, None), (math.nan, None), (math.inf, "Infinity"), (1 / 3, 0.33333), (0.0, 0.0)]
)
def test_numbers_of_the_data(value: float | None, plain: Any) -> None:
    assert number(value) == plain


def test_curves_of_every_order() -> None:
    reasons = Texts()
    held = {
        family["name"]: family for family in curve_data(FAMILIES, ["edit_success", "perplexity", "mmlu"], {}, reasons)
    }
    pair = held["ft × wanda"]
    assert (pair["orders"], pair["axis"], pair["grid"]) == (
        ["ft > wanda", "wanda > ft"],
        ["sparsity", "wanda"],
        [0.25, 0.5],
    )
    success = pair["curves"][0]
    assert success["n"] == 3
    assert success["mean"] == [[pytest.approx(0.88), 0.6], [0.95, 0.9]]
    low, high = success["low"][0][0], success["high"][0][0]
    half = 4.302653 * 0.02 / math.sqrt(3)
    assert (low, high) == (pytest.approx(0.88 - half, abs=1e-4), pytest.approx(0.88 + half, abs=1e-4))
    assert success["lost"] == [[1, 1, 0, 1]]
    assert reasons.held == [EVIL]
    assert pair["curves"][1]["mean"] == [[4.0, "Infinity"], [5.0, 900.0]]
    assert [method["alone"] for method in pair["methods"]] == [None, list(held).index("wanda")]
    assert held["ft × wanda × gd"]["orders"] == ["ft > wanda > gd", "wanda > ft > gd", "gd > ft > wanda"]


def test_a_single_measurement_has_the_interval_over_its_items() -> None:
    ends = {("wanda > gd", 0.5, "wmdp"): (0.1, 0.4)}
    held = {family["name"]: family for family in curve_data(FAMILIES, ["wmdp", "mmlu"], ends, Texts())}
    once = held["wanda × gd"]["curves"][0]
    assert (once["low"], once["high"], once["items"]) == (
        [[None, 0.1], [None, None]],
        [[None, 0.4], [None, None]],
        True,
    )
    assert "items" not in held["ft × gd"]["curves"][1]


def test_cells_with_their_shade() -> None:
    frame = analysis.metrics(TABLE)
    cells = cell_data(records_of(frame), ["mmlu"] + [name for name in SCALES if name != "mmlu"], SCALES, Texts())
    cell = cells["ft × gd"][0]
    assert cell["gap"] == [0.1, 0.1, 0.1]
    assert cell["sensitivity"][0] == cell["shade"][1] == 0.1
    assert (cell["best_order"], cell["verdict"], cell["points"]) == ("ft > gd", "matters", [1, 1])


def test_orders_that_never_ran_are_counted() -> None:
    [longer] = records_of(analysis.metrics(TABLE, size=3, criteria=["mmlu"]))
    assert reason_of(longer) == "3 orders were not run"
    [success] = [row for row in records_of(analysis.metrics(TABLE)) if row["reason"] and EVIL in row["reason"]]
    assert reason_of(success) == success["reason"]


def test_stages_show_recompression_before_and_after() -> None:
    results = table(
        [
            row("", "mmlu", 0.9),
            row("wanda@0.5", "mmlu", 0.8),
            row("wanda@0.5 > ft", "mmlu", 0.7, final=False, replicate=0),
            row("wanda@0.5 > ft", "mmlu", "diverged", final=False, replicate=1),
            row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 0.6, replicate=0),
            row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 0.4, replicate=1),
        ]
    )
    held = families(final_cells(results))
    lines, walks = stage_lines(results)
    data = stage_data(lines, walks, item_flips(results, lines), held, ["mmlu"])
    [walk] = [walk for walk in data["walks"] if walk["name"] == "wanda@0.5 > ft"]
    assert held[walk["family"]].pair[0].method == "ft"
    stages = [data["stages"][place] for place in walk["stages"]]
    assert [(stage["depth"], stage["again"], stage["values"]) for stage in stages] == [
        (0, None, [0.9]),
        (1, None, [0.8]),
        (2, None, [[0.7, 1, "failed"]]),
        (3, "refit", [0.5]),
    ]


def test_items_that_turned_since_the_untouched_model(tmp_path: Path) -> None:
    rows = [row("", "mmlu", 0.5), row("ft", "mmlu", 0.5, replicate=0), row("ft", "mmlu", 0.75, replicate=1)]
    right = ([1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0])
    path = tmp_path / "items.parquet"
    item_values.write([_item_row(of, bits) for of, bits in zip(rows, right, strict=True)], path)
    results = replace(table(rows), item_files=(path,))
    lines, _ = stage_lines(results)
    assert item_flips(results, lines) == [{"mmlu": Turned(0, 0, 4)}, {"mmlu": Turned(1, 2, 8)}]
    assert item_flips(table(rows), lines) == [{}, {}]


def _item_row(of: Row, bits: Sequence[float]) -> item_values.ItemRow:
    names = ("stage_fingerprint", "criterion", "criterion_fingerprint", "replicate", "seed")
    fields = {name: getattr(of, name) for name in names}
    return item_values.ItemRow(**fields, item="question", items=item_values.Items(tuple(bits)))


def test_what_is_missing_is_gathered_by_reason() -> None:
    [entry] = missing(TABLE)
    assert (entry.composition, entry.status, entry.reason) == ("wanda@0.5 > ft", "failed", EVIL)
    assert (entry.criteria, entry.readings) == (("edit_success",), 1)


def test_every_shipped_method_has_a_long_name_at_its_first_use() -> None:
    assert set(METHODS) == set(registry.INTERVENTIONS)
    said = introduced(["ft > rtn@4 before ft and soft", "rmu_lat, rmu: my_ft"])
    assert said[0] == "ft (fine-tuning) > rtn@4 (rounding to nearest) before ft and soft"
    assert said[1].startswith("rmu_lat (representation misdirection with latent adversaries), rmu (")
    assert said[1].endswith(": my_ft")
    assert expanded(["ft", "plugin", "ft"]) == [("ft", "fine-tuning")]


def test_provenance_names_the_data_of_the_hub_and_the_overlaps_that_were_allowed() -> None:
    held = '{"allow_overlap":[["evaluation","retain"]],"data":["cais/mmlu@0"],"rayci":"1"}'
    facts = dict(provenance(table([row("", "mmlu", 0.5, versions=held)])))
    assert facts["from the hub"] == "cais/mmlu@0"
    assert facts["texts allowed to overlap"] == "evaluation and retain"
    assert facts["versions"] == "rayci 1"
