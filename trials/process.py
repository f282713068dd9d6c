"""What a sweep changes in the caller's process, and how it is put back: a later Ray of the caller's is not ours."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rayci.trials import ray_internals

_PREFIXES = ("RAY_", "TUNE_")
_VARIABLES = ("PYTHONBREAKPOINT",)
"""Set by Ray beside its own."""
_LOGGERS = dict.fromkeys(("ray", "ray.tune", "ray.train", "ray.data"), logging.ERROR)
_LOGGERS["ray.tune.tune"] = logging.CRITICAL
"""The last would list the trials that were given up."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Ray takes the first, Tune the others."""


def ray_runs() -> bool:
    """Whether this process is connected to a Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@contextmanager
def put_back() -> Iterator[None]:
    """Environment, loggers, signal handlers and Ray's authentication are afterwards as they were before.

    Inside, SIGTERM is an interruption like Ctrl-C.
    """
    variables, levels, handlers = _variables(), _levels(), _handlers()
    terminate_like_interrupt()
    try:
        yield
    finally:
        changed = _variables().get("RAY_AUTH_MODE") != variables.get("RAY_AUTH_MODE")
        for name in _variables():
            del os.environ[name]
        os.environ.update(variables)
        if changed and not ray_runs():
            ray_internals.reread_authentication()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def hush() -> None:
    """Let Ray's loggers say errors alone; after Ray is imported, which sets their levels."""
    for name, level in _LOGGERS.items():
        logging.getLogger(name).setLevel(level)


def terminate_like_interrupt() -> None:
    """SIGTERM does from now on what SIGINT does; Ray's own handler ends the process in its C++, with a stack dump."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # ignored, as in a shell's background job
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def _variables() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith(_PREFIXES) or k in _VARIABLES}


def _levels() -> dict[str, int]:
    return {name: logging.getLogger(name).level for name in _LOGGERS}


def _handlers() -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in _SIGNALS}
    return {number: handler for number, handler in found.items() if handler is not None}  # None: set by C, not ours
