"""`rayci report RUN --watch`: one page on the loopback, always as the run is now, and no other file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from rayci.commands.watch import WatchedRun, serve
from rayci.errors import RequestError
from rayci.table import write_part
from tests.analysis.synthetic_table import SCALES, row

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "table").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    with serve(WatchedRun(run), 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _get(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_follows_the_run(run: Path, port: int) -> None:
    assert "no result table" in _get(port, "/")[1]
    before = json.loads(_get(port, "/version")[1])
    write_part([row("ft", "mmlu", 0.5)], SCALES, run / "table" / "a.parquet")
    after = json.loads(_get(port, "/version")[1])
    assert before["version"] != after["version"]
    page = _get(port, "/")[1]
    assert "what survives composition" in page
    assert f'"version":"{after["version"]}"' in page
    assert "connect-src 'self'" in page


@pytest.mark.browser
def test_a_browser_that_is_left_alone_shows_the_news(chromium: Browser, run: Path, port: int) -> None:
    write_part([row("ft", "mmlu", 0.5)], SCALES, run / "table" / "a.parquet")
    page = chromium.new_page()
    page.clock.install()
    page.goto(f"http://127.0.0.1:{port}/")
    assert "1 composition of" in page.locator("#answer").inner_text()
    write_part([row("gd", "mmlu", 0.4)], SCALES, run / "table" / "b.parquet")
    page.keyboard.press("Tab")
    page.clock.fast_forward(6000)
    page.get_by_role("button", name="Show the news").wait_for()
    page.clock.fast_forward(30000)
    page.get_by_text("2 compositions of").wait_for()
    page.close()


@pytest.mark.parametrize("path", ["/secret.txt", "/table/a.parquet", "/../secret.txt", "/report.html"])
def test_nothing_else_is_served(port: int, path: str) -> None:
    assert _get(port, path)[0] == 404


def test_a_foreign_name_is_refused(port: int) -> None:
    assert _get(port, "/", Host="evil.example")[0] == 403


def test_what_cannot_be_watched(tmp_path: Path, port: int) -> None:
    with pytest.raises(RequestError, match="no run folder"):
        WatchedRun(tmp_path / "absent")
    with pytest.raises(RequestError, match="cannot listen at port"):
        serve(WatchedRun(tmp_path), port)


@pytest.fixture
def heard() -> Iterator[None]:
    """A shell that starts tests in the background has them, and what they start, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_ends_it(run: Path) -> None:
    command = [sys.executable, "-m", "rayci", "report", str(run), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as server:
        assert server.stdout is not None
        address = re.match(r"http://127\.0\.0\.1:(\d+)/ shows", server.stdout.readline())
        assert address
        assert _get(int(address[1]), "/version")[0] == 200
        server.send_signal(signal.SIGINT)
        try:
            assert server.wait(timeout=20) == 0
        finally:
            server.kill()
        assert server.stdout.read().strip() == "Stopped."
