"""A large file is hashed once a node; whatever touches it lets it be hashed again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayci.model.folder import hash_files, verify
from rayci.storage import file_hashes
from rayci.storage.file_hashes import hash_once
from rayci.testbed import checkpoint


@pytest.fixture(autouse=True)
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read; all are large, and have been left alone for long enough."""
    names: list[str] = []
    whole = file_hashes.hash_file

    def noted(path: Path) -> str:
        names.append(path.name)
        return whole(path)

    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "hash_file", noted)
    monkeypatch.setattr(file_hashes, "LARGE", 0)
    monkeypatch.setattr(file_hashes, "_SETTLED", 0.0)
    return names


def test_a_file_is_read_once_until_it_is_touched(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first, state = hash_once(path), path.stat()
    assert hash_once(path) == first and read == ["weights"]
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as if it had not been
    assert hash_once(path) != first and len(read) == 2
    copy = tmp_path / "copy"
    copy.write_bytes(b"one")
    assert hash_once(copy) == first and len(read) == 3


def test_what_was_changed_just_now_and_what_is_small_is_read(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    for name, value in (("_SETTLED", 60.0), ("LARGE", 4)):
        with monkeypatch.context() as patch:
            patch.setattr(file_hashes, name, value)
            hash_once(path)
            hash_once(path)
    assert len(read) == 4 and not (tmp_path / "cache").exists()


def test_a_node_without_room_reads(tmp_path: Path, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny_disk / "full").write_bytes(bytes(60 << 10))
    monkeypatch.setenv("RAYCI_CACHE", str(tiny_disk))
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert hash_once(path) == hash_once(path)


def test_commands_and_workers_hash_a_model_once(tmp_path: Path, read: list[str]) -> None:
    folder = checkpoint()
    hashes = hash_files(folder)
    assert hash_files(folder) == hashes and read.count("model.safetensors") == 1
    elsewhere = {name: type(file)(file.digest, file.size, file.modified + 1) for name, file in hashes.items()}
    for _ in range(8):  # as where a node has a copy of its own
        verify(folder, elsewhere)
    assert read.count("model.safetensors") == 1
