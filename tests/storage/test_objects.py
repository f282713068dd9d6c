"""Objects of stages: built by one worker while others wait, found again, checked, freed with the stage."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from rayci.errors import StorageError
from rayci.storage import claims
from rayci.storage.files import LocalFiles
from rayci.storage.room import folder
from rayci.storage.stages import StageStore
from tests.models import tiny
from tests.storage.test_stages import KIB, Make, make, stage, weights

__all__ = ["make"]
MODEL = tiny(num_hidden_layers=1).model
WHAT = {"covariances": 1, "layers": [0]}
FORK = multiprocessing.get_context("fork")


def object_of(store: StageStore, of: int = 1, what: Any = WHAT, *, built: Path | None = None, kib: int = 8) -> float:
    """An object's first value; a line in `built` for each time that it is built."""

    def build() -> Mapping[str, Tensor]:
        if built is not None:
            with built.open("a") as stream:
                stream.write("built\n")
            time.sleep(0.3)
        return weights(kib, of)

    return float(store.objects(stage(of)).built(MODEL, what, build)["w"][0])


def never() -> Mapping[str, Tensor]:
    raise AssertionError("built again")


def builds(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_an_object_is_found_by_stage_and_by_what_decides_it(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        assert object_of(make(), built=log) == 1
    assert builds(log) == 1
    assert object_of(make(), 2, built=log) == 2 and builds(log) == 2
    assert object_of(make(), what={**WHAT, "layers": [1]}, built=log) == 1 and builds(log) == 3


def test_workers_that_ask_at_once_build_once(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    workers = [FORK.Process(target=lambda: object_of(make(), built=log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4 and builds(log) == 1


def _build_for_ever(make: Make, begun: Path) -> None:
    def build() -> Mapping[str, Tensor]:
        begun.touch()
        time.sleep(600)
        return {}

    make().objects(stage(1)).built(MODEL, WHAT, build)


def test_a_builder_that_is_killed_blocks_nobody(make: Make, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    worker = FORK.Process(target=_build_for_ever, args=(make, begun))
    worker.start()
    while not begun.exists():
        time.sleep(0.01)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    assert object_of(make()) == 1


def test_the_wait_for_a_builder_is_told_of(tmp_path: Path) -> None:
    begun, waits, over = threading.Event(), threading.Event(), threading.Event()

    def build() -> Mapping[str, Tensor]:
        begun.set()
        assert waits.wait(60) and not over.is_set()
        return weights(1)

    @contextmanager
    def waiting() -> Iterator[None]:
        waits.set()
        yield
        over.set()

    with ThreadPoolExecutor(1) as builder:
        building = builder.submit(StageStore(tmp_path / "store").objects(stage(1)).built, MODEL, WHAT, build)
        assert begun.wait(60)
        found = StageStore(tmp_path / "store").objects(stage(1), waiting).built(MODEL, WHAT, never)
        assert over.is_set() and found["w"].equal(building.result()["w"])


@pytest.fixture
def of_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A claim on the object of stage 1 by another host, with the sign of life that each call gives."""
    monkeypatch.setattr(claims, "PATIENCE", 0.5)
    files, name = LocalFiles(tmp_path / "store"), f"{folder(stage(1))}/claim"

    def beat() -> None:
        files.write(name, json.dumps({"host": "another", "process": 1, "beats": time.time()}).encode())

    yield beat


def test_a_holder_elsewhere_is_waited_for_as_long_as_it_lives(
    of_another_host: Callable[[], None], tmp_path: Path
) -> None:
    files, name, done = LocalFiles(tmp_path / "store"), f"{folder(stage(1))}/claim", threading.Event()
    of_another_host()

    def wait() -> None:
        with claims.turn(files, name, lambda: False):
            done.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    for _ in range(10):  # twice as long as a dead one is waited for
        of_another_host()
        assert not done.wait(0.1)
    assert done.wait(5), "the last sign of life was long ago"
    waiting.join()
    assert not files.exists(name)


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.01)
    files = LocalFiles(tmp_path)
    with claims.turn(files, "claim", lambda: False):
        first = files.read("claim")
        for _ in range(500):
            time.sleep(0.01)
            if files.read("claim") != first:
                break
        else:
            pytest.fail("the claim stays as it was")
    assert not files.exists("claim")


def test_what_is_done_by_another_needs_no_claim(of_another_host: Callable[[], None], tmp_path: Path) -> None:
    of_another_host()
    files, name = LocalFiles(tmp_path / "store"), f"{folder(stage(1))}/claim"
    with claims.turn(files, name, lambda: True):
        assert files.exists(name), "another's claim is left alone"
    assert files.exists(name)


def test_a_build_that_fails_leaves_nothing(make: Make, tmp_path: Path) -> None:
    def fail() -> Mapping[str, Tensor]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make().objects(stage(1)).built(MODEL, WHAT, fail)
    assert not list((tmp_path / "store").rglob("*claim*")) and not make().stored()
    assert object_of(make()) == 1


def test_a_damaged_object_is_built_again(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    object_of(make(), built=log)
    for copy in (tmp_path / "cache").glob("*.safetensors"):
        copy.unlink()
    (path,) = (tmp_path / "store").rglob("object-*-weights.safetensors")
    path.write_bytes(path.read_bytes()[:-5] + b"?" * 5)
    store = make()
    assert object_of(store, built=log) == 1 and builds(log) == 2
    (note,) = store.take_notes()
    assert "does not match its checksum" in note and "built again" in note
    assert object_of(make(), built=log) == 1 and builds(log) == 2


def test_objects_go_with_their_stage_or_before_it(make: Make, tmp_path: Path) -> None:
    store = make()
    for number in (1, 2):
        store.put_weights(stage(number), weights(8), [])
        object_of(store, number)
    object_of(store, 3)
    assert store.stored() == {stage(1), stage(2), stage(3)}
    store.free_weights(stage(1))
    store.free_objects(stage(2))
    store.free_weights(stage(3))
    assert make().stored() == {stage(2)} and make().has_weights(stage(2)) and make().weights(stage(2)) is not None
    assert not list((tmp_path / "store").rglob("object-*"))


def test_objects_count_under_the_limit_and_go_by_use(make: Make) -> None:
    limit = 30 * KIB
    for number in (1, 2):
        object_of(make(limit), number)
    time.sleep(0.02)
    assert make(limit).objects(stage(1)).built(MODEL, WHAT, never)["w"][0] == 1, "used again, so it stays"
    make(limit).put_weights(stage(3), weights(8), [])
    object_of(make(limit), 4)
    assert make(limit).stored() == {stage(1), stage(3), stage(4)}
    store = make(limit)
    assert object_of(store, 5, kib=40) == 5
    assert "not stored: no room" in store.take_notes()[0]


def test_a_store_that_does_not_answer_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> Any:
        raise StorageError("silent")

    store = StageStore(tmp_path / "store")
    for name in ("read", "write", "create", "put", "listing", "exists"):
        monkeypatch.setattr(LocalFiles, name, silent)
    assert object_of(store) == 1
    assert any("silent" in note for note in store.take_notes())
