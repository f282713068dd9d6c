"""The hub, on loopback: what is fetched, at which commit, and every way in which it cannot be."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from rayci.errors import RequestError
from rayci.storage import hub_cache
from rayci.storage.hub_cache import Absent, access, snapshot
from tests.data.download_hub import DownloadHub, download_hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DownloadHub]:
    with download_hub(monkeypatch, tmp_path / "cache") as running:
        running.push("datasets/o/n", {"a.jsonl": b"1\n", "b.txt": b"no"})
        yield running


def fetched(revision: str | None = None, *, fetch: bool = True, name: str = "o/n") -> tuple[Path, str]:
    return snapshot(name, "dataset", revision, ["*.jsonl"], fetch=fetch)


def test_what_was_fetched_is_there_without_the_hub(hub: DownloadHub) -> None:
    folder, commit = fetched()
    assert commit == next(iter(hub.commits["datasets/o/n"]))
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]
    assert fetched(fetch=False) == (folder, commit)


def test_a_commit_stays_what_it_is_when_the_branch_moves(hub: DownloadHub) -> None:
    before, commit = fetched()
    hub.push("datasets/o/n", {"a.jsonl": b"2\n"})
    assert fetched(commit)[0] == before
    assert (fetched()[0] / "a.jsonl").read_text() == "2\n"


@pytest.mark.parametrize(
    ("name", "revision", "problem", "hint"),
    [
        ("o/gated", None, "o/gated is gated", "huggingface.co/datasets/o/gated, then `hf auth login`"),
        ("o/nothing", None, "there is no dataset o/nothing on the hub, or it is private", "check the name"),
        ("o/n", "v9", "o/n has no revision v9", ""),
        ("o/n/m", None, "'o/n/m' is no name on the hub", ""),
    ],
)
def test_refused(name: str, revision: str | None, problem: str, hint: str, hub: DownloadHub) -> None:
    hub.push("datasets/o/gated", {})
    hub.gated.add("datasets/o/gated")
    with pytest.raises(RequestError) as error:
        fetched(revision, name=name)
    assert problem in error.value.problem and hint in str(error.value.hint)
    assert not isinstance(error.value, Absent)


def test_access_is_asked_without_a_download(hub: DownloadHub, tmp_path: Path) -> None:
    hub.push("models/o/gated", {})
    hub.gated.add("models/o/gated")
    assert access("o/n", "dataset") is None
    assert "is gated" in str(access("o/gated", "model"))
    assert not (tmp_path / "cache").exists()


def test_offline_by_a_variable(hub: DownloadHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Absent, match="could not be fetched: HF_HUB_OFFLINE is set"):
        fetched()
    assert access("o/n", "dataset") is None and hub.asked == []


def test_a_hub_that_takes_a_call_and_says_nothing_is_waited_for_once(
    hub: DownloadHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = fetched()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub_cache, "PATIENCE", 0.2)
        for name in ("o/m", "o/l"):
            with pytest.raises(Absent, match="does not answer"):
                fetched(name=name)
        assert fetched()[0] == folder
        silent.settimeout(0.5)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()


def test_a_full_disk(hub: DownloadHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(RequestError, match="no room left for o/n") as error:
        fetched()
    assert "make room" in str(error.value.hint)
