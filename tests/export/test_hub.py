"""Uploads, against a real server on loopback that speaks the hub's endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from rayci.errors import RequestError, StorageError
from rayci.export import push
from tests.export.own_hub import Hub, own_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with own_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", running.token)
        yield running


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("---\ntags:\n- rayci\n---\n# A model\n")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    return tmp_path


@pytest.mark.parametrize("private", [False, True])
def test_every_file_arrives_in_a_repository_as_private_as_asked(private: bool, hub: Hub, checkpoint: Path) -> None:
    assert push(checkpoint, "owner/name", private=private) == f"{hub.url}/owner/name"
    assert hub.private == {"owner/name": private}
    assert hub.files["owner/name"] == {path.name: path.read_bytes() for path in checkpoint.iterdir()}


def test_a_repository_that_is_there_is_taken_where_it_is_empty_and_as_private(hub: Hub, checkpoint: Path) -> None:
    hub.private["owner/name"], hub.files["owner/name"] = False, {".gitattributes": b""}
    with pytest.raises(RequestError, match="is there and public"):
        push(checkpoint, "owner/name", private=True)
    push(checkpoint, "owner/name")
    with pytest.raises(RequestError, match="holds something already"):
        push(checkpoint, "owner/name")


def test_a_token_that_may_not_write(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(RequestError, match=r"the hub refuses owner/name.*\n.*\n.*try: hf auth login"):
        push(checkpoint, "owner/name")


def test_no_token(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(checkpoint / "none"))
    with pytest.raises(RequestError, match="no token"):
        push(checkpoint, "owner/name")


@pytest.mark.parametrize("name", ["name", "a/b/c", "owner/na me", "-owner/name", "owner/..", ""])
def test_names_that_are_none(name: str, checkpoint: Path) -> None:
    with pytest.raises(RequestError, match="is no name of a repository"):
        push(checkpoint, name)


def test_no_answer(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(StorageError, match="could not be uploaded"):
        push(checkpoint, "owner/name")
