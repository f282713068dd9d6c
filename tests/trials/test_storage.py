"""A sweep whose rows and stages lie in a bucket that all nodes see."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from rayci import table
from rayci.trials import launch
from tests.s3 import Server, bucket, server, started

from .conftest import comparable

__all__ = ["server", "started"]


def names() -> list[str]:
    return [path.rsplit("/", 1)[-1] for path in bucket().find("sweeps")]


def items(run: Path) -> pa.Table:
    return table.read(run).item_values


@pytest.mark.slow
def test_rows_and_stages_in_a_bucket(server: Server, ten_trials: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = launch(ten_trials, out=tmp_path / "run", storage="s3://sweeps/lab", workers=2, keep="none")
    assert run.complete and run.computed and not run.notes
    pd.testing.assert_frame_equal(comparable(tmp_path / "run"), comparable(undisturbed), check_exact=True)
    parts = sorted(name for name in names() if name.endswith(".parquet"))
    assert parts == sorted(2 * [path.name for path in (undisturbed / "table").glob("[!.]*.parquet")])  # rows, items
    assert items(tmp_path / "run").equals(items(undisturbed))
    assert not [name for name in names() if name.endswith(".safetensors")]  # nobody needs them any more
    assert not (tmp_path / "run" / "store").exists()

    shutil.rmtree(tmp_path / "run")  # the next driver is on another machine
    again = launch(ten_trials, out=tmp_path / "other", storage="s3://sweeps/lab")
    assert again.complete and not again.computed
    assert items(tmp_path / "other").equals(items(undisturbed))
    pd.testing.assert_frame_equal(comparable(tmp_path / "other"), comparable(undisturbed), check_exact=True)


@pytest.mark.slow
def test_a_damaged_row_in_the_bucket_is_written_again(
    server: Server, ten_trials: Path, undisturbed: Path, tmp_path: Path
) -> None:
    launch(ten_trials, out=tmp_path / "run", storage="s3://sweeps/lab", workers=1)
    damaged = next(path for path in bucket().find("sweeps") if "/table/" in path)
    bucket().pipe_file(damaged, b"PAR1 and no more")
    again = launch(ten_trials, out=tmp_path / "other", storage="s3://sweeps/lab")
    assert again.complete and not again.computed  # from the readings in the store
    pd.testing.assert_frame_equal(comparable(tmp_path / "other"), comparable(undisturbed), check_exact=True)
