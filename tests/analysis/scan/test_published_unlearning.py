"""Every number that the unlearning paper prints is in the table, once, under the right chain."""

from __future__ import annotations

import csv

import pytest

from rayci import analysis
from rayci.analysis.scan.published import published_text
from rayci.analysis.scan.published_unlearning import SCALES
from rayci.kinds import Direction


@pytest.fixture(scope="module")
def values() -> dict[tuple[str, str, str], float]:
    frame = analysis.load("published:unlearning_quantization").frame
    assert set(frame.status) == {"ok"}
    keys = zip(frame.model, frame.composition, frame.criterion, strict=True)
    return dict(zip(keys, frame.value, strict=True))


@pytest.mark.parametrize(
    ("data", "composition", "criterion", "value"),
    [
        ("NEWS", "", "verbmem", 58.4),
        ("NEWS", "npo_gdr > rtn@4", "privleak", -99.8),
        ("NEWS", "gd > awq@4", "verbmem", 25.2),
        ("NEWS", "sure@95{method=npo_gdr}", "fluency", 667.8),
        ("BOOKS", "retrain > rtn@4", "knowmem_retain", 62.0),
        ("BOOKS", "ga_klr", "verbmem", 13.0),
        ("BOOKS", "ga_klr{table=3}", "verbmem", 23.8),
        ("BOOKS", "ga_klr{table=3} > rtn@4", "mmlu", 22.6),
        ("BOOKS", "sure{method=npo_klr,saliency=false}", "verbmem", 3.6),
        ("BOOKS", "rmu_lat > rtn@4", "fluency", 685.9),
        ("RWKU", "refusal > rtn@4", "rwku_qa", 47.3),
    ],
)
def test_printed_cells(
    values: dict[tuple[str, str, str], float], data: str, composition: str, criterion: str, value: float
) -> None:
    found = [held for (model, *chain), held in values.items() if data in model and chain == [composition, criterion]]
    assert found == [value]


def test_no_printed_number_is_lost(values: dict[tuple[str, str, str], float]) -> None:
    records = list(csv.DictReader(published_text("unlearning_quantization").splitlines()))
    printed = sorted({(r["dataset"], c, float(r[c])) for r in records for c in SCALES if r[c].strip()})
    names = ("NEWS", "BOOKS", "RWKU")
    held = {(n, criterion, value) for (model, _, criterion), value in values.items() for n in names if n in model}
    assert sorted(held) == printed


def test_scales_hold_every_value(values: dict[tuple[str, str, str], float]) -> None:
    for (_, _, criterion), value in values.items():
        scale = SCALES[criterion]
        assert scale.low is not None and scale.low <= value <= (scale.high or float("inf"))
    assert SCALES["privleak"].direction is Direction.ZERO
