"""The stage store in a folder and at a URL: damage, limits, full disks, many writers."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file

from rayci import table
from rayci.errors import RequestError, StorageError
from rayci.fingerprint import hash_file
from rayci.intervention import Receipt
from rayci.storage.files import LocalFiles
from rayci.storage.room import folder
from rayci.storage.stages import Outcome, StageStore, located
from tests import shared_disk

KIB = 1024
KEPT = {"mask": torch.tensor([True, False]), "scale": torch.ones(())}
RECEIPT = Receipt(("w",), {"edits": 2}, ("more damping",), KEPT)
Make = Callable[..., StageStore]


def stage(number: int) -> str:
    """A stage's fingerprint."""
    return f"{number:02x}" * 32


def weights(kib: int, value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"w": torch.full((kib * KIB // 4,), value, dtype=torch.float32)}


@pytest.fixture(params=["folder", "url"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the same store anew, as another worker does."""
    scheme = "" if request.param == "folder" else f"{shared_disk.SharedDisk.protocol[0]}://"

    def opened(limit: int | None = None) -> StageStore:
        return StageStore(f"{scheme}{tmp_path}/store", limit=limit, cache=tmp_path / "cache")

    return opened


def bytes_of_weights(root: Path) -> int:
    """What weights take on disk, temporary files and damaged copies included."""
    total = 0
    for path in root.rglob("*weights.safetensors*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # deleted meanwhile
            continue
    return total


def test_what_is_put_comes_back(make: Make) -> None:
    make().put_weights(stage(1), {"w": torch.arange(1, 6), "b": torch.ones(2, 3, dtype=torch.bfloat16)}, [RECEIPT])
    stored = make().weights(stage(1))
    assert stored is not None
    packed, (receipt,) = stored
    tensors = packed.tensors
    assert tensors["w"].tolist() == [1, 2, 3, 4, 5] and tensors["b"].dtype is torch.bfloat16
    assert (receipt.changed, receipt.counts, receipt.retries) == (("w",), {"edits": 2}, ("more damping",))
    assert receipt.kept["mask"].tolist() == [True, False] and receipt.kept["scale"].item() == 1
    assert make().stored() == {stage(1)} and make().weights(stage(2)) is None


def test_freed_weights_leave_outcome_and_readings(make: Make) -> None:
    store = make()
    store.put_weights(stage(1), weights(1), [])
    store.put_outcome(stage(1), Outcome(1.5, None, None))
    store.put_reading(stage(1), "c", {"value": float("inf")})
    store.free_weights(stage(1))
    store.free_weights(stage(2))  # never there
    assert make().weights(stage(1)) is None and not make().stored()
    assert make().outcome(stage(1)) == Outcome(1.5, None, None)
    assert make().reading(stage(1), "c") == {"value": float("inf")}
    store.forget(stage(1))
    assert make().outcome(stage(1)) is None and make().reading(stage(1), "c") is None


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign"])
def test_a_damaged_entry_counts_as_absent_and_is_overwritten(make: Make, tmp_path: Path, damage: str) -> None:
    make().put_outcome(stage(1), Outcome(1.5, None, None))
    path = tmp_path / "store" / folder(stage(1)) / "outcome.json"
    text = path.read_text()
    path.write_text({"cut": text[:-9], "changed": text.replace("1.5", "7.5"), "empty": "", "foreign": "[1]"}[damage])
    store = make()
    assert store.outcome(stage(1)) is None
    assert "outcome.json is damaged" in store.take_notes()[0] and not store.take_notes()
    store.put_outcome(stage(1), Outcome(2.5, None, None))
    assert make().outcome(stage(1)) == Outcome(2.5, None, None)


@pytest.mark.parametrize("damage", ["cut", "changed", "receipts"])
def test_damaged_weights_are_set_aside_noted_and_stored_anew(make: Make, tmp_path: Path, damage: str) -> None:
    make().put_weights(stage(1), weights(8), [])
    for copy in (tmp_path / "cache").glob("*.safetensors"):
        copy.unlink()
    place = tmp_path / "store" / folder(stage(1))
    path = place / ("receipts.json" if damage == "receipts" else "weights.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-100] if damage == "cut" else data[:-50] + b"?" + data[-49:])
    store = make()
    assert store.weights(stage(1)) is None
    (note,) = store.take_notes()
    assert "is damaged" in note if damage == "receipts" else "set aside" in note and str(tmp_path / "store") in note
    assert len(list(place.glob("damaged-*-weights.safetensors"))) == (damage != "receipts")
    store.put_weights(stage(1), weights(8), [])
    stored = make().weights(stage(1))
    assert stored is not None and torch.equal(stored[0].tensors["w"], weights(8)["w"])
    store.free_weights(stage(1))
    assert bytes_of_weights(tmp_path / "store") == 0, "a damaged copy goes with the stage"


def test_entries_without_a_checksum_are_not_believed_and_their_weights_count(make: Make, tmp_path: Path) -> None:
    for number in (1, 2):
        place = tmp_path / "store" / folder(stage(number))
        place.mkdir(parents=True)
        save_file(weights(8, number), place / "weights.safetensors")
        digest = hash_file(place / "weights.safetensors")
        (place / "receipts.json").write_text(json.dumps({"sha256": digest, "bytes": 9000, "receipts": []}))
        (place / "outcome.json").write_text(json.dumps({"seconds": 1.0, "peak_memory_bytes": None, "failure": "why"}))
    store = make()
    assert store.weights(stage(2)) is None and store.outcome(stage(1)) is None
    assert all("it has no checksum" in note for note in store.take_notes())
    assert make().stored() == {stage(1), stage(2)}
    make(limit=20 * KIB).put_weights(stage(3), weights(8), [])
    assert make().has_weights(stage(3)) and bytes_of_weights(tmp_path / "store") <= 20 * KIB


def test_an_entry_is_believed_in_its_own_place_alone(make: Make, tmp_path: Path) -> None:
    store = make()
    for number in (1, 2):
        store.put_outcome(stage(number), Outcome(float(number), None, None))
        store.put_reading(stage(number), "c", {"value": number})
        store.put_weights(stage(number), weights(1, number), [])
    for name in ("outcome.json", "readings/c.json", "receipts.json"):
        source, target = (tmp_path / "store" / folder(stage(number)) / name for number in (1, 2))
        target.write_bytes(source.read_bytes())
    assert make().outcome(stage(2)) is None and make().reading(stage(2), "c") is None
    assert make().weights(stage(2)) is None and make().weights(stage(1)) is not None


def evicting(other: StageStore, stage: str, times: int) -> Callable[[Path], dict[str, torch.Tensor]]:
    """`load_file` on a node where, the first `times`, another worker makes room for `stage` just before."""
    calls: list[Path] = []

    def load(path: Path) -> dict[str, torch.Tensor]:
        calls.append(path)
        if len(calls) % 2 and len(calls) < 2 * times:
            assert other.weights(stage) is not None  # reads too
            assert not path.exists()
        return load_file(path)

    return load


@pytest.mark.parametrize("times", [1, 9])
def test_a_copy_that_is_evicted_while_it_is_read_is_still_in_the_store(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside = (StageStore(f"disk://{tmp_path}/s", cache=tmp_path / "c", cache_limit=12 * KIB) for _ in range(2))
    for number in (2, 1):
        here.put_weights(stage(number), weights(8, number), [])
    monkeypatch.setattr(safetensors.torch, "load_file", evicting(beside, stage(2), times))
    stored = here.weights(stage(1))
    assert here.has_weights(stage(1)), "the receipts are the store's, whatever becomes of a copy"
    if times == 1:
        assert stored is not None and stored[0].tensors["w"][0] == 1 and not here.take_notes()
    else:
        assert stored is None and "evicted 3 times" in here.take_notes()[0]


def test_a_cache_that_someone_tidied_away_is_made_anew(tmp_path: Path) -> None:
    store = StageStore(f"disk://{tmp_path}/store", cache=tmp_path / "cache")
    store.put_weights(stage(1), weights(8), [])
    shutil.rmtree(tmp_path / "cache")
    assert store.weights(stage(1)) is not None and store.has_weights(stage(1))


def test_the_least_recently_used_goes_when_the_limit_would_be_passed(make: Make, tmp_path: Path) -> None:
    store = make(limit=25 * KIB)
    for number in (1, 2):
        store.put_weights(stage(number), weights(8), [])
        store.put_outcome(stage(number), Outcome(1.0, None, None))
        time.sleep(0.05)
    assert store.weights(stage(1)) is not None
    time.sleep(0.05)
    for number in (3, 4):
        store.put_weights(stage(number), weights(8), [])
        assert bytes_of_weights(tmp_path / "store") <= 25 * KIB
    assert store.stored() == {stage(1), stage(3), stage(4)} and store.outcome(stage(2)) is not None
    assert not store.take_notes()
    store.put_weights(stage(5), weights(40), [])
    assert store.stored() == {stage(1), stage(3), stage(4)}, "what is too large evicts nothing"
    assert "no room under 25600 bytes" in store.take_notes()[0]


def test_a_damaged_copy_counts_and_goes_first(make: Make, tmp_path: Path) -> None:
    store = make(limit=25 * KIB)
    for number in (1, 2):
        store.put_weights(stage(number), weights(8), [])
    for copy in (tmp_path / "cache").glob("*.safetensors"):
        copy.unlink()
    (tmp_path / "store" / folder(stage(2)) / "weights.safetensors").write_bytes(bytes(8 * KIB))
    assert make(limit=25 * KIB).weights(stage(2)) is None
    store.put_weights(stage(3), weights(8), [])
    assert bytes_of_weights(tmp_path / "store") > 24 * KIB
    store.put_weights(stage(2), weights(8), [])
    assert store.stored() == {stage(1), stage(2), stage(3)} and bytes_of_weights(tmp_path / "store") <= 25 * KIB
    assert not list((tmp_path / "store").rglob("damaged-*"))


def test_what_a_dead_writer_claimed_is_given_to_others(make: Make, tmp_path: Path) -> None:
    make(limit=20 * KIB).put_weights(stage(1), weights(1), [])
    claim = tmp_path / "store" / "index" / f"{stage(2)}-{15 * KIB}"
    claim.touch()
    part = tmp_path / "store" / folder(stage(2)) / ".weights.safetensors.0"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(9 * KIB))
    store = make(limit=20 * KIB)
    store.put_weights(stage(3), weights(8), [])
    assert not store.has_weights(stage(3)) and claim.exists(), "it may still be at work"
    for path in (claim, part):
        os.utime(path, (0, 0))
    store.put_weights(stage(3), weights(8), [])
    assert store.has_weights(stage(3)) and not claim.exists() and not part.exists()


def test_a_put_does_not_look_through_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    StageStore(tmp_path, limit=20 * KIB).put_weights(stage(1), weights(8), [])

    def refuse(self: LocalFiles) -> dict[str, int]:
        raise AssertionError("a walk through the whole store")

    monkeypatch.setattr(LocalFiles, "sizes", refuse)
    store = StageStore(tmp_path, limit=20 * KIB)
    for number in range(2, 6):
        store.put_weights(stage(number), weights(8), [])
    assert len(store.stored()) == 2


def _write_many(make: Make, limit: int, numbers: range) -> None:
    torch.set_num_threads(1)
    store = make(limit=limit)
    for number in numbers:
        store.put_weights(stage(number), weights(8, number + 1), [])
        stored = store.weights(stage(number))
        assert stored is None or stored[0].tensors["w"][0] == number + 1


@pytest.mark.parametrize("room", [7, 2])  # less than the writers: some must do without
def test_many_writers_keep_the_limit_at_all_times(make: Make, tmp_path: Path, room: int) -> None:
    limit = int((room + 0.5) * 8 * KIB)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(make, limit, range(10 * k, 10 * k + 10))) for k in range(4)]
    for worker in workers:
        worker.start()
    most = 0
    while any(worker.is_alive() for worker in workers):
        most = max(most, bytes_of_weights(tmp_path / "store"))
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert 0 < most <= limit
    left = make().stored()
    assert room - len(workers) <= len(left) <= room
    for name in left:
        stored = make().weights(name)
        assert stored is not None and stage(int(stored[0].tensors["w"][0]) - 1) == name


def _one_stage(make: Make, role: str) -> None:
    torch.set_num_threads(1)
    store = make()
    for _ in range(40):
        if role == "write":
            store.put_weights(stage(1), weights(8), [RECEIPT])
        elif role == "free":
            store.free_weights(stage(1))
        stored = store.weights(stage(1))
        assert stored is None or torch.equal(stored[0].tensors["w"], weights(8)["w"])
    assert not store.take_notes()


def test_writers_readers_and_one_who_frees_meet_in_one_stage(make: Make) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_one_stage, args=(make, role)) for role in ("write", "write", "read", "free")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    make().put_weights(stage(1), weights(8), [])
    assert make().weights(stage(1)) is not None


def test_a_full_disk_stores_nothing_and_says_so(tiny_disk: Path) -> None:
    store = StageStore(tiny_disk / "store")
    store.put_outcome(stage(1), Outcome(1.0, None, None))
    store.put_weights(stage(1), weights(200), [])
    (note,) = store.take_notes()
    assert "not stored: no space left on the disk" in note and str(tiny_disk) in note
    assert not store.stored() and not store.has_weights(stage(1)) and bytes_of_weights(tiny_disk) == 0
    store.put_weights(stage(1), weights(8), [])
    assert store.weights(stage(1)) is not None and store.outcome(stage(1)) is not None


def test_a_full_disk_of_the_cache(tiny_disk: Path, tmp_path: Path) -> None:
    there = StageStore(f"disk://{tmp_path}/store", cache=tmp_path / "large")
    there.put_weights(stage(1), weights(200), [])
    here = StageStore(f"disk://{tmp_path}/store", cache=tiny_disk / "cache", cache_limit=2**30)
    assert here.weights(stage(1)) is None
    assert "no space left on the disk" in here.take_notes()[0] and here.has_weights(stage(1))
    here.put_weights(stage(2), weights(200), [])
    assert "not stored" in here.take_notes()[0] and here.stored() == {stage(1)}
    assert [path.name for path in (tiny_disk / "cache").iterdir()] == [".lock"]


def test_rows_on_a_full_disk_are_one_clear_error(tiny_disk: Path) -> None:
    (tiny_disk / "filler").write_bytes(bytes(60 * KIB))
    with pytest.raises(StorageError, match=r"no space left.*part\.parquet.*same command again"):
        table.write_part([], {}, tiny_disk / "part.parquet")
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://x", "other processes cannot read"),
        ("carrier-pigeon://x", "unknown kind of URL"),
        ("gs://bucket/x", r"pip install 'rayci\[gcs\]'"),
        ("abfs://bucket/x", "adlfs"),
    ],
)
def test_a_url_that_cannot_be_read_here(url: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path))
    for package in ("gcsfs", "adlfs"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(RequestError, match=words):
        StageStore(url)


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        StageStore(tmp_path / "file").check()
    StageStore(tmp_path / "new").check()


def test_places_as_workers_know_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("s3://bucket/x") == "s3://bucket/x" and located("x") == str(tmp_path.resolve() / "x")
    StageStore(f"file://{tmp_path}/x").put_outcome(stage(1), Outcome(1.0, None, None))
    assert StageStore("x").outcome(stage(1)) is not None
