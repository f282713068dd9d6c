"""`rayci report RUN --watch`: the report of a run that is still going, for a browser on this machine."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from rayci import analysis
from rayci.analysis.page.html_report import render, waiting
from rayci.analysis.page.page_context import About, News
from rayci.commands.run_facts import spec_of, tracebacks_of
from rayci.errors import RayciError, RequestError
from rayci.trials.run_folder import RunFolder

LOOPBACK = "127.0.0.1"


class WatchedRun:
    """A run folder as a page that is made anew when the folder has news."""

    def __init__(self, root: Path) -> None:
        """RequestError where `root` is no folder."""
        if not root.is_dir():
            raise RequestError(f"{root} is no run folder", at="--watch", hint="rayci run SPEC makes one, then watch it")
        self.folder = RunFolder(root)
        self._page, self._of = "", ""
        self._lock = Lock()

    def news(self) -> News:
        """What the folder holds now, as a mark that changes with it, and how far the run is in words."""
        parts = sorted(self.folder.parts.glob("[!.]*.parquet"))
        held = [(path.name, _changed(path)) for path in parts]
        return News(hashlib.sha256(repr(held).encode()).hexdigest()[:16], self._progress())

    def page(self) -> str:
        """The report, or a page that waits where there is nothing to report yet."""
        news = self.news()
        with self._lock:
            if self._of != news.version:
                try:
                    self._page, self._of = self._rendered(news), news.version
                except (RayciError, FileNotFoundError) as error:  # the run brings its files together at its end
                    return waiting(self.folder.root.name, f"{news.progress} {error}")
            return self._page

    def _rendered(self, news: News) -> str:
        root = self.folder.root
        table = analysis.load(root)
        about = About(tracebacks=tuple(tracebacks_of(root)), spec=spec_of(root), news=news)
        return render(table, analysis.metrics(table), about)

    def _progress(self) -> str:
        try:
            state = self.folder.state()
        except RequestError:
            return "The run has not begun."
        running = f", {state['trials_running']} running" if state.get("trials_running") else ""
        left = f", about {state['seconds_left'] / 60:.0f} min left" if state.get("seconds_left") else ""
        return f"Run {state['state']}: {state['stages_done']} of {state['stages']} stages done{running}{left}."


def serve(run: WatchedRun, port: int) -> ThreadingHTTPServer:
    """A server of that page on the loopback alone, at `port` or any free one; RequestError where it is taken."""

    class Handler(BaseHTTPRequestHandler):
        """Answers `/` and `/version`, nothing else: no other file of the machine is within reach."""

        def do_GET(self) -> None:
            if self.headers.get("Host", "").partition(":")[0] not in (LOOPBACK, "localhost"):
                self.send_error(403)  # a page from elsewhere whose name was pointed at this machine
            elif self.path == "/":
                self._answer("text/html", run.page())
            elif self.path == "/version":
                news = run.news()
                self._answer("application/json", json.dumps({"version": news.version, "progress": news.progress}))
            else:
                self.send_error(404)

        def _answer(self, kind: str, text: str) -> None:
            content = text.encode()
            self.send_response(200)
            for name, value in (
                ("Content-Type", f"{kind}; charset=utf-8"),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the terminal is for people."""

    try:
        return ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        problem = f"cannot listen at port {port}: {error.strerror}"
        raise RequestError(problem, at="--port", hint="without --port any free one is taken") from None


def _changed(path: Path) -> int:
    """When a part was written; 0 where it was moved away while it was looked at."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
