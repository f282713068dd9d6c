"""A hub of one's own on loopback: the few endpoints that a download asks for, with branches that can move."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest


class DownloadHub(ThreadingHTTPServer):
    """`datasets/owner/name` or `models/owner/name` -> commit -> path -> content; the last commit is `main`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.gated: set[str] = set()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def push(self, name: str, files: dict[str, bytes]) -> str:
        """A new commit of `main`; its hash."""
        held = self.commits.setdefault(name, {})
        commit = hashlib.sha1(f"{name}{len(held)}".encode(), usedforsecurity=False).hexdigest()
        held[commit] = files
        return commit


class _Answers(BaseHTTPRequestHandler):
    server: DownloadHub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        self.server.asked.append(self.path)
        if path[0] == "api":
            name, rest = "/".join(path[1:4]), path[4:]
        else:
            kind, path = ("datasets", path[1:]) if path[0] == "datasets" else ("models", path)
            name, rest = "/".join([kind, *path[:2]]), path[2:]
        if name not in self.server.commits:
            return self._answer(404 if path != [""] else 200, b"{}", {"X-Error-Code": "RepoNotFound"})
        if name in self.server.gated:
            return self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        return self._of_repository(self.server.commits[name], rest or ["revision", "main"])

    def do_HEAD(self) -> None:
        self.do_GET()

    def _of_repository(self, commits: dict[str, dict[str, bytes]], rest: list[str]) -> None:
        commit = list(commits)[-1] if rest[-1] == "auth-check" or rest[1] == "main" else rest[1]
        if commit not in commits:
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = commits[commit]
        if rest[0] == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": _mark(content)}
                for path, content in files.items()
            ]
            return self._json(entries)
        if rest[0] == "resolve":
            content = files["/".join(rest[2:])]
            return self._answer(200, content, {"ETag": f'"{_mark(content)}"', "X-Repo-Commit": commit})
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        return self._json({"id": "o/n", "sha": commit, "siblings": siblings})

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""


def _mark(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def download_hub(monkeypatch: pytest.MonkeyPatch, cache: Any) -> Iterator[DownloadHub]:
    """A running hub that the library of this process asks, with an empty cache."""
    hub = DownloadHub()
    thread = Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
