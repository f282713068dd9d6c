"""An S3 API server on the loopback, as a fixture."""

from __future__ import annotations

import http.client
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

moto = pytest.importorskip("moto.moto_server.werkzeug_app", reason="needs the packages of an S3 server")
pytest.importorskip("s3fs", reason="needs the extra s3")
fsspec = pytest.importorskip("fsspec")
serving = pytest.importorskip("werkzeug.serving")


SLOW = 0.2
"""Seconds that a slow answer takes."""


class Server:
    """An S3 API on a free port; counts requests by method and path."""

    def __init__(self) -> None:
        self._app = moto.DomainDispatcherApplication(moto.create_backend_app)
        self._server = serving.make_server("127.0.0.1", 0, self._count, threaded=True)
        self.requests: Counter[tuple[str, str]] = Counter()
        self.troubled = 0
        """Requests that failed or were slow."""
        self._trouble, self._draw = 0.0, random.Random()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _count(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests[environ["REQUEST_METHOD"], environ["PATH_INFO"]] += 1
        if self._draw.random() < self._trouble:
            self.troubled += 1
            if self._draw.random() < 0.5:
                start("503 Slow Down", [("Content-Length", "0")])
                return []
            time.sleep(SLOW)
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def trouble(self, share: float) -> None:
        """From now on this share of the requests fails, or is slow: the same ones in every test."""
        self._trouble, self._draw, self.troubled = share, random.Random(0), 0

    def downloads(self) -> int:
        """How often weights were read."""
        return sum(n for (method, path), n in self.requests.items() if method == "GET" and path.endswith("safetensors"))

    def forget(self) -> None:
        """No buckets, no requests."""
        self.trouble(0.0)
        connection = http.client.HTTPConnection("127.0.0.1", self._server.server_port)
        connection.request("POST", "/moto-api/reset")
        connection.getresponse().read()
        self.requests.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    one = Server()
    yield one
    one.close()


@pytest.fixture
def server(started: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """An empty server, where the environment says that S3 is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", started.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("RAYCI_CACHE", str(tmp_path / "default cache"))
    started.forget()
    bucket().mkdir("sweeps")
    return started


def bucket() -> Any:
    """The server's objects, read past the store."""
    return _client(os.environ["AWS_ENDPOINT_URL"])


@cache
def _client(url: str) -> Any:
    """One for each server: it takes half a second to start."""
    return fsspec.filesystem("s3", endpoint_url=url, skip_instance_cache=True, use_listings_cache=False)
