"""Tables on an S3 API server on the loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayci import analysis, item_values
from rayci.errors import StorageError
from rayci.item_values import ItemRow, Items
from tests.analysis.scan.test_loading import MMLU, WMDP, of_sweep, write_run
from tests.s3 import Server, bucket, server, started

__all__ = ["server", "started"]


def test_runs_in_a_bucket(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs" / "one", of_sweep(MMLU * 5, "first")[:4])
    write_run(tmp_path / "runs" / "two", of_sweep([*MMLU[:1], *WMDP], "second"))
    reading = MMLU[0]
    items = ItemRow(
        stage_fingerprint=reading.stage_fingerprint, criterion="mmlu", criterion_fingerprint="mmlu", replicate=None,
        seed=None, item="question", items=Items((1.0, 0.0)),
    )  # fmt: skip
    item_values.write([items], tmp_path / "runs" / "one" / "items" / "0.parquet")
    bucket().put(str(tmp_path / "runs"), "sweeps/runs", recursive=True)
    expected = analysis.load(tmp_path / "runs")
    for source in ("s3://sweeps/runs", "s3://sweeps/runs/*", ["s3://sweeps/runs/one", tmp_path / "runs" / "two"]):
        table = analysis.load(source)
        assert table.arrow.equals(expected.arrow)
        assert table.items()["values"][0].tolist() == [1.0, 0.0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match="s3://sweeps/runs does not answer"):
        analysis.load("s3://sweeps/runs")
