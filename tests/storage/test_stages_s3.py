"""The stage store on an S3 API server on the loopback, with the node's cache in front."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch

from rayci.errors import RequestError
from rayci.storage.room import folder
from rayci.storage.stages import Outcome, StageStore
from tests.running.test_runner import GRID, comparable, own_criteria, run_all, runner
from tests.s3 import Server, bucket, server, started
from tests.storage.test_objects import MODEL
from tests.storage.test_stages import KIB, stage, weights

ROOT = "s3://sweeps/shared/store"
SMALL = GRID.model_copy(
    update={"interventions": {"rtn": {"bits": 4}, "magnitude": {"sparsity": {"sweep": [0.3, 0.5]}}}}
)
"""One shared stage, with two that follow it."""
__all__ = ["own_criteria", "server", "started"]


def node(place: Path, limit: int | None = None) -> StageStore:
    """The store as a node with its own cache sees it."""
    return StageStore(ROOT, limit=limit, cache=place)


def test_a_sweep_on_s3_gives_the_local_table_and_keeps_off_what_is_stored(server: Server, tmp_path: Path) -> None:
    run_all(runner(tmp_path / "local", SMALL))
    run_all(runner(tmp_path / "s3", SMALL, store=node(tmp_path / "node 1")))
    expected = comparable(tmp_path / "local")
    pd.testing.assert_frame_equal(comparable(tmp_path / "s3"), expected)
    _, again = run_all(runner(tmp_path / "from another node", SMALL, store=node(tmp_path / "node 2")))
    assert sum(report.applied for report in again) == 0 and not any(report.notes for report in again)
    pd.testing.assert_frame_equal(comparable(tmp_path / "from another node"), expected)
    assert not (tmp_path / "default cache").exists()


def test_requests_that_fail_or_are_slow_cost_time_alone(server: Server, tmp_path: Path) -> None:
    run_all(runner(tmp_path / "local", SMALL))
    server.trouble(0.05)
    made, reports = run_all(runner(tmp_path / "s3", SMALL, store=node(tmp_path / "node 1")))
    pd.testing.assert_frame_equal(comparable(tmp_path / "s3"), comparable(tmp_path / "local"))
    assert sum(report.applied for report in reports) == made.summary()["stages_computed"]
    assert server.troubled and not any(report.notes for report in reports)
    store = node(tmp_path / "node 2")
    for number in range(100):
        store.put_outcome(stage(number), Outcome(float(number), None, None))
    assert [outcome.seconds for n in range(100) if (outcome := store.outcome(stage(n)))] == list(range(100))
    assert server.troubled > 10 and not store.take_notes()


def test_weights_are_downloaded_once_a_node(server: Server, tmp_path: Path) -> None:
    node(tmp_path / "a").put_weights(stage(1), weights(8), [])
    for _ in range(2):
        assert node(tmp_path / "a").weights(stage(1)) is not None
    assert server.downloads() == 0, "the writer has its copy"
    for _ in range(3):
        found = node(tmp_path / "b").weights(stage(1))
        assert found is not None and torch.equal(found[0].tensors["w"], weights(8)["w"])
    assert server.downloads() == 1


def test_nodes_that_start_together_build_an_object_once(server: Server, tmp_path: Path) -> None:
    built: list[int] = []

    def build() -> dict[str, torch.Tensor]:
        built.append(1)
        time.sleep(0.3)
        return weights(8)

    def ask(name: str) -> None:
        found = node(tmp_path / name).objects(stage(1)).built(MODEL, {"layers": [0]}, build)
        assert torch.equal(found["w"], weights(8)["w"])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, "abcd"))
    assert len(built) == 1 and not bucket().glob("sweeps/**/*claim*")


def test_workers_of_a_node_that_start_together_download_once(server: Server, tmp_path: Path) -> None:
    node(tmp_path / "a").put_weights(stage(1), weights(2000), [])
    stores = [node(tmp_path / "b") for _ in range(4)]
    found: list[bool] = []
    threads = [threading.Thread(target=lambda s=s: found.append(s.weights(stage(1)) is not None)) for s in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4 and server.downloads() == 1


def test_a_damaged_copy_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    store = node(tmp_path)
    store.put_weights(stage(1), weights(8), [])
    (copy,) = tmp_path.glob("*.safetensors")
    copy.write_bytes(copy.read_bytes()[:-7] + b"damaged")
    found = store.weights(stage(1))
    assert found is not None and torch.equal(found[0].tensors["w"], weights(8)["w"])
    assert server.downloads() == 1 and not store.take_notes()


def test_a_damaged_object_is_set_aside_and_computed_again(server: Server, tmp_path: Path) -> None:
    made, _ = run_all(runner(tmp_path / "first", SMALL, store=node(tmp_path / "node 1")))
    expected = comparable(tmp_path / "first")
    broken = next(iter(made.shared))
    key = f"{ROOT}/{folder(broken)}/weights.safetensors"
    data = bucket().cat_file(key)
    bucket().pipe_file(key, data[:-100] + bytes(100))
    bucket().rm(bucket().glob("sweeps/**/readings/*.json"))
    _, reports = run_all(runner(tmp_path / "again", SMALL, store=node(tmp_path / "node 2")))
    pd.testing.assert_frame_equal(comparable(tmp_path / "again"), expected)
    (note,) = [note for report in reports for note in report.notes]
    assert note.startswith(f"{key} does not match its checksum") and "set aside" in note
    names = sorted(name.rsplit("/")[-1].rsplit("-")[-1] for name in bucket().ls(key.rsplit("/", 1)[0], detail=False))
    assert names.count("weights.safetensors") == 2 and bucket().cat_file(key) == data


def test_the_limit_of_a_bucket(server: Server, tmp_path: Path) -> None:
    store = node(tmp_path, limit=25 * KIB)
    for number in (1, 2, 3, 4):
        store.put_weights(stage(number), weights(8), [])
        sizes = bucket().find("sweeps", detail=True)
        assert sum(info["size"] for name, info in sizes.items() if name.endswith("safetensors")) <= 25 * KIB
    assert len(store.stored()) == 3 and store.has_weights(stage(4))


def test_the_cache_is_bounded_and_keeps_what_is_used(server: Server, tmp_path: Path) -> None:
    source = node(tmp_path / "a")
    for number in range(5):
        source.put_weights(stage(number), weights(8, number + 1.0), [])
    reader = StageStore(ROOT, cache=tmp_path / "b", cache_limit=25 * KIB)
    held = reader.weights(stage(0))
    for number in (1, 2, 0, 3, 0, 4):
        reader.weights(stage(number))
        time.sleep(0.02)
        assert sum(path.stat().st_size for path in (tmp_path / "b").iterdir()) <= 25 * KIB
    assert server.downloads() == 5, "the one in use all the time was never removed"
    for number in (1, 2):
        reader.weights(stage(number))
    assert held is not None and torch.equal(held[0].tensors["w"], weights(8, 1.0)["w"]), "removed, and still readable"


def test_freed_stages_leave_the_bucket(server: Server, tmp_path: Path) -> None:
    store = node(tmp_path)
    store.put_weights(stage(1), weights(8), [])
    store.free_weights(stage(1))
    assert not store.stored() and not bucket().glob("sweeps/**/*.safetensors")


@pytest.mark.parametrize("root", ["s3://no-such-bucket/x", ROOT])
def test_a_store_that_cannot_be_reached(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    StageStore(ROOT, cache=tmp_path).check()
    if root == ROOT:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RequestError, match="cannot be written"):
        StageStore(root, cache=tmp_path).check()
